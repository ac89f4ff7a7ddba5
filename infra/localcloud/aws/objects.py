"""S3's part of durability: what MiniStack keeps only in memory (uploads in parts, locks) or hides (failed writes).

MiniStack stores an object as a file and a `.meta.json` beside it, each by rename (ministack/services/s3.py).
"""

from __future__ import annotations

import contextlib
import contextvars
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ministack import app as ministack
from ministack.core import persistence
from ministack.core.responses import get_account_id

_LOG: Final = logging.getLogger(__name__)
_SIDECAR: Final = ".meta.json"
_failures: Final[contextvars.ContextVar[list[OSError] | None]] = contextvars.ContextVar("failures", default=None)


def watch_writes() -> list[OSError]:
    """A list that will hold what goes wrong when this request's objects are written: MiniStack only logs it."""
    _s3()
    failures: list[OSError] = []
    _failures.set(failures)
    return failures


def notifies(bucket: str) -> bool:
    """Whether changes in the bucket are told to another service."""
    found = _s3()._bucket_notifications.get(bucket)
    return bool(found)


def changes_a_lock(headers: Mapping[str, str], query: Mapping[str, Any]) -> bool:
    """Whether a request sets an object's retention or legal hold, which MiniStack keeps in memory."""
    return "retention" in query or "legal-hold" in query or any(h.startswith("x-amz-object-lock-") for h in headers)


def save_uploads(query: Mapping[str, Any]) -> None:
    """Write what a request has changed in uploads in parts; raises OSError."""
    s3 = _s3()
    folder = _uploads_folder()
    asked = query.get("uploadId")
    for id in [asked[0]] if asked else list(s3._multipart_uploads.keys()):
        upload = s3._multipart_uploads.get(id)
        if upload is not None:
            _save_upload(folder / id, upload, query.get("partNumber"))
        elif id in s3._completed_multipart_uploads:
            _save_completed(folder / id, s3._completed_multipart_uploads[id])
        else:
            shutil.rmtree(folder / id, ignore_errors=True)


def prepare() -> None:
    """Load S3 if it was used before, with its locks, which MiniStack would not restore. Call repair first."""
    if any(Path(os.environ["S3_DATA_DIR"]).glob("*")):
        _s3()


def restore_uploads() -> None:
    """Load uploads in parts."""
    for folder in sorted(_uploads_folder().glob("*/")):
        with contextlib.suppress(FileNotFoundError, ValueError):
            _restore_upload(_s3(), folder)


def repair() -> None:
    """Correct sidecars older than their object: a kill came between the two writes of a request never answered.

    Must run before MiniStack loads its S3 service.
    """
    root = Path(os.environ["S3_DATA_DIR"])
    for sidecar in root.rglob(f"*{_SIDECAR}"):
        data = sidecar.with_name(sidecar.name.removesuffix(_SIDECAR))
        with contextlib.suppress(FileNotFoundError, ValueError):
            if data.stat().st_mtime_ns > sidecar.stat().st_mtime_ns:
                _describe_anew(data, sidecar)


def _describe_anew(data: Path, sidecar: Path) -> None:
    content = data.read_bytes()
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    described = {**json.loads(sidecar.read_text()), "size": len(content), "etag": f'"{digest}"', "checksums": {}}
    described.pop("is_delete_marker", None)
    _replace(sidecar, json.dumps(described).encode())
    _LOG.warning("%s was overwritten when MiniStack was killed; its description is corrected", data)


def _s3() -> Any:
    """MiniStack's S3 service, with our watch on its writes."""
    s3 = ministack._get_module("s3")
    if not getattr(s3, "_is_watched", False):
        s3._is_watched = True
        s3._atomic_write = _watched(s3._atomic_write)
        s3._PERSISTED_BUCKET_DICTS["object_retention"] = s3._object_retention
        s3._PERSISTED_BUCKET_DICTS["object_legal_hold"] = s3._object_legal_hold
    return s3


def _watched(write: Any) -> Any:
    def atomic_write(*arguments: Any, **keywords: Any) -> None:
        try:
            write(*arguments, **keywords)
        except OSError as error:
            failures = _failures.get()
            if failures is not None:
                failures.append(error)
            raise

    return atomic_write


def _uploads_folder() -> Path:
    return Path(persistence.STATE_DIR) / "uploads"


def _save_upload(folder: Path, upload: Mapping[str, Any], part: Any) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if part:
        number = int(part[0])
        _replace(folder / f"{number}.part", upload["parts"][number]["body"])
    parts = {str(n): {k: v for k, v in each.items() if k != "body"} for n, each in upload["parts"].items()}
    about = {"account": str(get_account_id()), "upload": {**upload, "parts": parts}}
    _replace(folder / "upload.json", json.dumps(about).encode())


def _save_completed(folder: Path, completed: Mapping[str, Any]) -> None:
    """Keep the answer for a client that asks again; the parts can go."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    about = {"account": str(get_account_id()), "completed": completed}
    _replace(folder / "upload.json", json.dumps(about, default=persistence._json_default).encode())
    for part in folder.glob("*.part"):
        part.unlink(missing_ok=True)


def _restore_upload(s3: Any, folder: Path) -> None:
    about = json.loads((folder / "upload.json").read_text(), object_hook=persistence._json_object_hook)
    key = (about["account"], folder.name)
    if "completed" in about:
        status, headers, body = about["completed"]["response"]
        s3._completed_multipart_uploads._data[key] = {**about["completed"], "response": (status, headers, body)}
        return
    upload = about["upload"]
    upload["parts"] = dict(_restored_parts(folder, upload["parts"]))
    s3._multipart_uploads._data[key] = upload


def _restored_parts(folder: Path, parts: Mapping[str, Any]) -> Iterator[tuple[int, Any]]:
    for number, part in parts.items():
        yield int(number), {**part, "body": (folder / f"{number}.part").read_bytes()}


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(path.name + ".writing")
    temporary.write_bytes(content)
    temporary.replace(path)
