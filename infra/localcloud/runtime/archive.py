"""Unpacks archives that others made, and packs folders.

Nothing is written through a link: files and folders come first into a fresh folder, links after them, and each link
is resolved once all of them exist. (The standard library's `data` filter resolves a link before later ones exist.)
"""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Final, Literal

MOST_BYTES: Final = 4 << 30
MOST_MEMBERS: Final = 100_000
_LONGEST_NAME: Final = 1000  # so that no resolved path comes near PATH_MAX, where resolution gives up
_CHUNK: Final = 1 << 20


class ArchiveError(Exception):
    """The archive is damaged or asks for something unsafe; the message names the member."""


@dataclass(frozen=True)
class _Member:
    name: str
    kind: Literal["file", "folder", "link", "hard link"]
    mode: int
    target: str
    data: IO[bytes] | None


def unpack(archive: Path, folder: Path, *, most_bytes: int = MOST_BYTES) -> None:
    """Unpack a tar (any compression) or zip file into a folder that is empty or does not exist yet.

    Raises ArchiveError, and leaves the folder as it was, when a member has an absolute path or `..`, is a device, is
    a link that leaves the folder, or when all of it exceeds `most_bytes`.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ArchiveError(f"{folder} is not empty. Unpack {archive.name} into a new folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        _unpack_into(archive, fresh, most_bytes)
        fresh.replace(folder)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
        raise ArchiveError(f"{archive.name} cannot be unpacked: {error}") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def pack(folder: Path, archive: Path) -> None:
    """Write what is in a folder into a tar.gz, sorted by name, without the owner's names; appears by rename."""
    temporary = archive.with_name(f".{archive.name}.{os.getpid()}")
    try:
        with tarfile.open(temporary, "w:gz", compresslevel=6) as tar:
            for path in sorted(folder.iterdir()):
                tar.add(path, arcname=path.name, filter=_anonymous)
        temporary.replace(archive)
    finally:
        temporary.unlink(missing_ok=True)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _unpack_into(archive: Path, root: Path, most_bytes: int) -> None:
    links: dict[Path, _Member] = {}
    left = most_bytes
    for count, member in enumerate(_members(archive), start=1):
        if count > MOST_MEMBERS:
            raise ArchiveError(f"{archive.name} has more than {MOST_MEMBERS} members.")
        path = root / _clean(member.name, archive)
        if any(parent in links for parent in (path, *path.parents)):
            raise ArchiveError(f"{archive.name}: {member.name!r} would be written through a link.")
        if member.kind == "link":
            links[path] = member
        else:
            left -= _write(member, path, root, archive, left)
    _make_links(links, root, archive)


def _write(member: _Member, path: Path, root: Path, archive: Path, left: int) -> int:
    """Create one folder or file; returns the bytes written."""
    if member.kind == "folder":
        path.mkdir(parents=True, exist_ok=True)
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)
    if member.kind == "hard link":
        return _copy_of_member(member, path, root, archive, left)
    assert member.data is not None
    path.unlink(missing_ok=True)
    written = 0
    with member.data as source, path.open("xb") as file:
        while chunk := source.read(_CHUNK):
            written += len(chunk)
            if written > left:
                raise ArchiveError(f"{archive.name}: with {member.name!r} it grows beyond its size limit.")
            file.write(chunk)
    path.chmod((member.mode & 0o755) | 0o600)
    return written


def _copy_of_member(member: _Member, path: Path, root: Path, archive: Path, left: int) -> int:
    target = PurePosixPath(member.target)
    source = root / target
    if target.is_absolute() or ".." in target.parts or not source.is_file():
        raise ArchiveError(f"{archive.name}: {member.name!r} is a hard link to {member.target!r}, which is not in it.")
    if source.stat().st_size > left:
        raise ArchiveError(f"{archive.name}: with {member.name!r} it grows beyond its size limit.")
    shutil.copy2(source, path)
    return path.stat().st_size


def _make_links(links: dict[Path, _Member], root: Path, archive: Path) -> None:
    for path, member in links.items():
        if len(member.target) > _LONGEST_NAME:
            raise ArchiveError(f"{archive.name}: {member.name!r} is a link with too long a target.")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(member.target)
    inside = root.resolve()
    for path, member in links.items():
        if PurePosixPath(member.target).is_absolute() or not Path(os.path.realpath(path)).is_relative_to(inside):
            raise ArchiveError(f"{archive.name}: {member.name!r} is a link to {member.target!r}, outside the archive.")


def _clean(name: str, archive: Path) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise ArchiveError(f"{archive.name}: {name!r} leads out of the folder it is unpacked into.")
    if len(name) > _LONGEST_NAME:
        raise ArchiveError(f"{archive.name}: {name[:80]!r}… is longer than {_LONGEST_NAME} characters.")
    return path


def _members(archive: Path) -> Iterator[_Member]:
    if zipfile.is_zipfile(archive):
        yield from _zip_members(archive)
    else:
        yield from _tar_members(archive)


def _tar_members(archive: Path) -> Iterator[_Member]:
    with tarfile.open(archive, "r:*") as tar:
        for info in tar:
            data = tar.extractfile(info) if info.isreg() else None
            yield _Member(info.name, _tar_kind(info, archive), info.mode, info.linkname, data)


def _tar_kind(info: tarfile.TarInfo, archive: Path) -> Literal["file", "folder", "link", "hard link"]:
    if info.isreg():
        return "file"
    if info.isdir():
        return "folder"
    if info.issym():
        return "link"
    if info.islnk():
        return "hard link"
    raise ArchiveError(f"{archive.name}: {info.name!r} is a device or a pipe.")


def _zip_members(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as packed:
        for info in packed.infolist():
            mode = info.external_attr >> 16
            if stat.S_ISLNK(mode) and info.file_size <= _LONGEST_NAME:
                yield _Member(info.filename, "link", 0, packed.read(info).decode(), None)
            elif info.is_dir():
                yield _Member(info.filename, "folder", mode, "", None)
            elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                raise ArchiveError(f"{archive.name}: {info.filename!r} is neither file, folder nor (short) link.")
            else:
                yield _Member(info.filename, "file", mode, "", packed.open(info))
