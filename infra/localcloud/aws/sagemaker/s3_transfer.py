"""Moves data between S3 and folders: channels, archives, checkpoints. Memory use does not grow with the data."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

_MULTIPART: Final = TransferConfig(multipart_chunksize=8 << 20, max_concurrency=2)
_PLAIN: Final = TransferConfig(use_threads=False)
_WORKERS: Final = 4


class TransferError(Exception):
    """S3 refused, or holds nothing there; the message is SageMaker's."""


@dataclass(frozen=True)
class Location:
    """A bucket and a key or prefix."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, uri: str) -> Location:
        """Parse `s3://bucket/key`; raises TransferError."""
        scheme, _, rest = uri.partition("://")
        bucket, _, key = rest.partition("/")
        if scheme != "s3" or not bucket:
            raise TransferError(f"The S3 URI {uri!r} is not of the form s3://bucket/key.")
        return cls(bucket, key)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class Item:
    """One object and the file it becomes, relative to a folder."""

    bucket: str
    key: str
    path: str
    etag: str = ""


def items_of_prefix(s3: Any, location: Location) -> list[Item]:
    """All objects under a prefix, sorted by key, with the paths that SageMaker gives them."""
    try:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=location.bucket, Prefix=location.key)
        found = [entry for page in pages for entry in page.get("Contents", [])]
    except ClientError as error:
        raise TransferError(_nothing_found(location, error.response["Error"].get("Message", ""))) from None
    items = (
        Item(location.bucket, entry["Key"], _relative(entry["Key"], location.key), entry["ETag"]) for entry in found
    )
    return sorted((item for item in items if item.path and not item.key.endswith("/")), key=lambda item: item.key)


def items_of_manifest(s3: Any, location: Location) -> list[Item]:
    """The objects that a manifest lists. https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_S3DataSource.html"""
    try:
        manifest = json.loads(s3.get_object(Bucket=location.bucket, Key=location.key)["Body"].read())
        prefix = Location.parse(manifest[0]["prefix"])
        names = [str(name) for name in manifest[1:]]
    except ClientError as error:
        raise TransferError(_nothing_found(location, error.response["Error"].get("Message", ""))) from None
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise TransferError(
            f"The manifest {location} is not valid: {error}. It must be [{{prefix}}, name, …]."
        ) from None
    return [Item(prefix.bucket, prefix.key + name, name) for name in names]


def require(items: list[Item], location: Location) -> list[Item]:
    """The items; raises when there are none."""
    if not items:
        raise TransferError(_nothing_found(location, ""))
    return items


def _nothing_found(location: Location, detail: str) -> str:
    reason = f" Error message from S3: {detail}" if detail else ""
    return (
        f'No S3 objects found under S3 URL "{location}" given in input data source. Please ensure that the bucket'
        f" exists in the selected region, that objects exist under that S3 prefix, and that the role has"
        f' "s3:ListBucket" permissions on bucket "{location.bucket}".{reason}'
    )


def _relative(key: str, prefix: str) -> str:
    """`a/b.csv` under `a/b.csv` is b.csv; under `a` or `a/` it is b.csv too; `a/bc` under `a/b` is bc."""
    if key == prefix:
        return PurePosixPath(key).name
    if prefix.endswith("/") or not prefix or key[len(prefix)] == "/":
        return key[len(prefix) :].lstrip("/")
    return key[prefix.rfind("/") + 1 :]


def download(s3: Any, items: list[Item], folder: Path) -> None:
    """Fetch objects into a folder. Keys that would leave it are refused."""
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(_WORKERS) as pool:
        list(pool.map(lambda item: _download_one(s3, item, folder), items))


def _download_one(s3: Any, item: Item, folder: Path) -> None:
    target = folder / item.path
    if ".." in PurePosixPath(item.path).parts or PurePosixPath(item.path).is_absolute():
        raise TransferError(f"The key {item.key!r} would be written outside of its folder. Rename the object.")
    target.parent.mkdir(parents=True, exist_ok=True)
    fetch(s3, Location(item.bucket, item.key), target)


def fetch(s3: Any, location: Location, target: Path) -> None:
    """Fetch one object into a file."""
    try:
        s3.download_file(location.bucket, location.key, str(target), Config=_PLAIN)
    except ClientError as error:
        raise TransferError(f"Could not read {location}: {error.response['Error'].get('Message', error)}") from None


def put(s3: Any, source: Path, location: Location) -> None:
    """Upload a file, in parts when it is large. The bucket's own words are in the error."""
    try:
        s3.upload_file(str(source), location.bucket, location.key, Config=_MULTIPART)
    except Exception as error:
        if isinstance(error, ClientError) or "S3UploadFailedError" in type(error).__name__:
            raise TransferError(f"Could not upload to {location}: {error}") from None
        raise


def files_in(folder: Path) -> Iterator[Path]:
    """All files below a folder, sorted; links are not followed."""
    for root, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(root) / name for name in sorted(names))


class FolderSync:
    """Copies new and changed files of a folder to S3, again and again (checkpoints)."""

    def __init__(self, s3: Any, folder: Path, location: Location) -> None:
        self._s3 = s3
        self._folder = folder
        self._location = location
        self._seen: dict[Path, tuple[int, int]] = {}

    def restore(self) -> int:
        """Fetch what S3 holds already; returns the number of files."""
        prefix = Location(self._location.bucket, self._location.key.rstrip("/") + "/")
        try:
            items = items_of_prefix(self._s3, prefix)
        except TransferError:
            return 0
        download(self._s3, items, self._folder)
        self._seen = {path: _version(path) for path in files_in(self._folder)}
        return len(items)

    def push(self) -> None:
        """Upload what is new or has changed since."""
        for path in files_in(self._folder):
            try:
                version = _version(path)
                if self._seen.get(path) == version:
                    continue
                name = path.relative_to(self._folder).as_posix()
                put(self._s3, path, Location(self._location.bucket, f"{self._location.key.rstrip('/')}/{name}"))
            except FileNotFoundError:  # replaced or removed by the job meanwhile
                continue
            self._seen[path] = version


def _version(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns
