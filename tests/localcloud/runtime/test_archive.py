"""Archives that others made: what is safe is unpacked as it was, what is not is refused by name."""

import io
import os
import stat
import tarfile
import zipfile

import pytest
from localcloud.runtime.archive import ArchiveError, pack, unpack


def entry(name, kind=tarfile.REGTYPE, data=b"", target="", mode=0o644):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname, info.mode = kind, len(data), target, mode
    return info, data


def tar(path, *entries, compression="gz"):
    with tarfile.open(path, f"w:{compression}") as archive:
        for info, data in entries:
            archive.addfile(info, io.BytesIO(data))
    return path


FILE = tarfile.REGTYPE
FOLDER = tarfile.DIRTYPE
LINK = tarfile.SYMTYPE
HARD = tarfile.LNKTYPE


@pytest.mark.parametrize(
    ("bad", "entries"),
    [
        ("../evil", [entry("../evil", data=b"x")]),
        ("a/../../evil", [entry("a/../../evil", data=b"x")]),
        ("/etc/evil", [entry("/etc/evil", data=b"x")]),
        ("pipe", [entry("pipe", tarfile.FIFOTYPE)]),
        ("device", [entry("device", tarfile.CHRTYPE)]),
        ("out", [entry("out", LINK, target="../elsewhere")]),
        ("absolute", [entry("absolute", LINK, target="/etc/passwd")]),
        ("out/evil", [entry("out", LINK, target="sub"), entry("out/evil", data=b"x")]),
        ("second", [entry("first", LINK, target="."), entry("second", LINK, target="first/../..")]),
        ("second", [entry("second", LINK, target="first/.."), entry("first", LINK, target=".")]),
        ("hard", [entry("hard", HARD, target="/etc/passwd")]),
        ("hard", [entry("hard", HARD, target="../secret")]),
        ("hard", [entry("link", LINK, target="file"), entry("hard", HARD, target="missing")]),
        ("n" * 80, [entry("n" * 2000)]),
    ],
)
def test_unsafe_members_are_refused_by_name(tmp_path, bad, entries):
    archive = tar(tmp_path / "model.tar.gz", *entries)
    with pytest.raises(ArchiveError, match=r"model\.tar\.gz") as error:
        unpack(archive, tmp_path / "out")
    assert bad in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.tar.gz"]


@pytest.mark.parametrize("compression", ["", "gz", "bz2", "xz"])
def test_safe_members_arrive(tmp_path, compression):
    archive = tar(
        tmp_path / "model.tar",
        entry("./", FOLDER),
        entry("./code", FOLDER, mode=0o777),
        entry("./code/inference.py", data=b"pass", mode=0o4777),
        entry("weights/model.bin", data=b"\0" * 1000),
        entry("latest", LINK, target="weights/model.bin"),
        entry("weights/up", LINK, target="../code/inference.py"),
        entry("copy", HARD, target="weights/model.bin"),
        compression=compression,
    )
    folder = tmp_path / "out"
    folder.mkdir()
    unpack(archive, folder)
    assert (folder / "latest").read_bytes() == (folder / "copy").read_bytes() == b"\0" * 1000
    assert (folder / "weights/up").read_text() == "pass"
    assert stat.S_IMODE((folder / "code/inference.py").stat().st_mode) == 0o755


def test_too_large_names_the_member_that_went_over(tmp_path):
    archive = tar(tmp_path / "bomb.tar.gz", entry("small", data=b"x"), entry("large", data=b"\0" * (2 << 20)))
    with pytest.raises(ArchiveError, match="'large' it grows beyond"):
        unpack(archive, tmp_path / "out", most_bytes=1 << 20)


@pytest.mark.parametrize("content", [b"", b"not an archive", b"\x1f\x8b\x08" + b"\0" * 50])
def test_damaged_archives_are_said_to_be_damaged(tmp_path, content):
    (tmp_path / "model.tar.gz").write_bytes(content)
    with pytest.raises(ArchiveError, match=r"model\.tar\.gz cannot be unpacked"):
        unpack(tmp_path / "model.tar.gz", tmp_path / "out")


def test_a_cut_off_archive_leaves_nothing(tmp_path):
    archive = tar(tmp_path / "model.tar.gz", entry("noise", data=os.urandom(1 << 16)))
    archive.write_bytes(archive.read_bytes()[: 1 << 15])
    with pytest.raises(ArchiveError):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_in_use_is_refused(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").touch()
    with pytest.raises(ArchiveError, match="not empty"):
        unpack(tar(tmp_path / "a.tar", entry("b"), compression=""), tmp_path / "out")


@pytest.mark.parametrize("name", ["../evil", "/evil", "a\\..\\evil"])
def test_zip_members_are_checked_too(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"x")
    with pytest.raises(ArchiveError, match="evil"):
        unpack(tmp_path / "code.zip", tmp_path / "out")


def test_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "code.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/", b"")
        archive.writestr("folder/file", b"\0" * 5000)
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "folder/file")
    unpack(tmp_path / "code.zip", tmp_path / "out")
    assert len((tmp_path / "out/link").read_bytes()) == 5000
    with pytest.raises(ArchiveError, match="grows beyond"):
        unpack(tmp_path / "code.zip", tmp_path / "small", most_bytes=100)


def test_pack_and_unpack(tmp_path):
    source = tmp_path / "model"
    (source / "code").mkdir(parents=True)
    (source / "code/inference.py").write_text("pass")
    (source / "model.joblib").write_bytes(b"weights")
    pack(source, tmp_path / "model.tar.gz")
    unpack(tmp_path / "model.tar.gz", tmp_path / "out")
    assert sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*")) == [
        "code", "code/inference.py", "model.joblib",
    ]  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "model.tar.gz", "out"]
