"""Model data on this machine: fetched from S3 and unpacked once for each version of an object.

What a container finds under /opt/ml/model is here `<folder>/opt/ml/model`.
https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import ClientError

from localcloud.aws.sagemaker import python_environment
from localcloud.aws.sagemaker.s3_transfer import Location, TransferError, download, fetch, items_of_prefix, require
from localcloud.aws.sagemaker.training_files import ML, relocate
from localcloud.runtime.archive import ArchiveError, unpack

SUBMIT_DIRECTORY: Final = "SAGEMAKER_SUBMIT_DIRECTORY"
_PIP_SECONDS: Final = 300
_ML_HERE: Final = re.compile(r"/[^\s'\":]*/models/\d{12}/[0-9a-f]{24}/opt/ml")


class ModelDataError(Exception):
    """The model cannot be put in place; the message is SageMaker's, with the cause."""


@dataclass(frozen=True)
class ModelFolder:
    """A model in place."""

    root: Path

    @property
    def model(self) -> Path:
        """What the container knows as /opt/ml/model."""
        return self.root / "opt" / "ml" / "model"

    @property
    def code(self) -> Path:
        """What SAGEMAKER_SUBMIT_DIRECTORY brings when it is an archive in S3."""
        return self.root / "opt" / "ml" / "code"

    @property
    def environment(self) -> Path:
        """The Python environment with the model's own requirements; missing when it has none."""
        return self.root / "env"

    def variables(self, container: dict[str, Any]) -> dict[str, str]:
        """The container's environment, with /opt/ml leading here."""
        given: dict[str, str] = dict(container.get("Environment") or {})
        submit = given.get(SUBMIT_DIRECTORY, "")
        if submit.startswith("s3://"):
            given[SUBMIT_DIRECTORY] = str(self.code)
        elif submit.startswith("file://"):
            given[SUBMIT_DIRECTORY] = submit.removeprefix("file://")
        return {name: value.replace(ML, str(self.root / "opt" / "ml")) for name, value in given.items()}


class ModelStore:
    """The models on this machine. Safe to share between threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def ready(self, s3: Any, account: str, container: dict[str, Any]) -> ModelFolder:
        """The model of a container, in place. Raises ModelDataError."""
        folder = ModelFolder(self._folder / account / _version(s3, container))
        with self._lock:
            if not folder.root.exists():
                self._build(s3, container, folder)
        return folder

    def forget(self, account: str) -> None:
        """Remove all models of an account."""
        shutil.rmtree(self._folder / account, ignore_errors=True)

    def _build(self, s3: Any, container: dict[str, Any], folder: ModelFolder) -> None:
        """Build in place, because paths are written into files, and remove it if anything fails."""
        try:
            folder.model.mkdir(parents=True)
            marker = folder.root / "building"
            marker.touch()
            _place_model(s3, container, folder)
            _place_code(s3, container, folder)
            for code in (folder.model / "code", folder.code):
                for path in code.rglob("*.py"):
                    relocate(path, str(folder.root / "opt" / "ml"))
            _install_requirements(folder)
            marker.unlink()
        except BaseException:
            shutil.rmtree(folder.root, ignore_errors=True)
            raise

    def clean(self) -> None:
        """Remove what an interrupted build left behind: called before anything else happens."""
        for marker in self._folder.glob("*/*/building"):
            shutil.rmtree(marker.parent, ignore_errors=True)


def _version(s3: Any, container: dict[str, Any]) -> str:
    parts = [uri for uri in (_data_uri(container), _code_uri(container)) if uri]
    tags = [_etags(s3, uri) for uri in parts]
    return sha256(repr((parts, tags, sorted((container.get("Environment") or {}).items()))).encode()).hexdigest()[:24]


def _etags(s3: Any, uri: str) -> list[str]:
    location = _location(uri)
    try:
        if uri.endswith("/"):
            return [item.etag for item in require(items_of_prefix(s3, location), location)]
        return [s3.head_object(Bucket=location.bucket, Key=location.key)["ETag"]]
    except (ClientError, TransferError):
        raise ModelDataError(_cannot_download(uri)) from None


def _location(uri: str) -> Location:
    try:
        return Location.parse(uri)
    except TransferError as error:
        raise ModelDataError(f"{_cannot_download(uri)} {error}") from None


def _cannot_download(uri: str) -> str:
    return (
        f'Failed to download model data for container "container_1" from URL: "{uri}". Please ensure that there is an'
        " object located at the URL and that the role passed to CreateModel has permissions to download the model."
    )


def _cannot_extract(uri: str, error: object) -> str:
    return (
        f'Failed to extract model data archive for container "container_1" from URL "{uri}". Please ensure that the'
        f" object located at the URL is a valid tar.gz archive. {error}"
    )


def _source(container: dict[str, Any]) -> dict[str, Any]:
    """The ModelDataSource, also for the older ModelDataUrl."""
    if container.get("ModelDataUrl"):
        return {"S3Uri": container["ModelDataUrl"], "S3DataType": "S3Object", "CompressionType": "Gzip"}
    source: dict[str, Any] = (container.get("ModelDataSource") or {}).get("S3DataSource") or {}
    return source


def _data_uri(container: dict[str, Any]) -> str:
    source = _source(container)
    uri = str(source.get("S3Uri", ""))
    return uri.rstrip("/") + "/" if uri and source.get("S3DataType") == "S3Prefix" else uri


def _code_uri(container: dict[str, Any]) -> str:
    submit = str((container.get("Environment") or {}).get(SUBMIT_DIRECTORY, ""))
    return submit if submit.startswith("s3://") else ""


def _place_model(s3: Any, container: dict[str, Any], folder: ModelFolder) -> None:
    source, uri = _source(container), _data_uri(container)
    if not uri:
        return
    location = _location(uri)
    try:
        if source["S3DataType"] == "S3Prefix":
            download(s3, items_of_prefix(s3, location), folder.model)
        elif source["CompressionType"] == "None":
            fetch(s3, location, folder.model / location.key.rsplit("/", 1)[-1])
        else:
            _fetch_archive(s3, uri, folder.model)
    except TransferError as error:
        raise ModelDataError(f"{_cannot_download(uri)} {error}") from None


def _place_code(s3: Any, container: dict[str, Any], folder: ModelFolder) -> None:
    if _code_uri(container):
        _fetch_archive(s3, _code_uri(container), folder.code)


def _fetch_archive(s3: Any, uri: str, target: Path) -> None:
    archive = target.parent / f"{target.name}.tar.gz"
    try:
        fetch(s3, _location(uri), archive)
        unpack(archive, target)
    except TransferError as error:
        raise ModelDataError(f"{_cannot_download(uri)} {error}") from None
    except ArchiveError as error:
        raise ModelDataError(_cannot_extract(uri, error)) from None
    finally:
        archive.unlink(missing_ok=True)


def _install_requirements(folder: ModelFolder) -> None:
    """Install code/requirements.txt into an environment of the model's own, offline."""
    found = [path for path in (folder.code, folder.model / "code") if (path / "requirements.txt").exists()]
    if not found:
        return
    scripts = python_environment.create(folder.environment)
    env = {
        **python_environment.minimal_variables(scripts, folder.root, threads=1),
        **python_environment.pip_variables(found),
    }
    command = [str(scripts / "python3"), "-m", "pip", "install", "-r", "requirements.txt"]
    done = subprocess.run(
        command, cwd=found[0], env=env, capture_output=True, text=True, timeout=_PIP_SECONDS, check=False
    )
    if done.returncode:
        hint = python_environment.explained(done.stderr)
        raise ModelDataError(f"Installing code/requirements.txt of the model failed. {hint} {done.stderr[-400:]}")


def vendor_text(text: str) -> str:
    """A text with the paths of models on this machine as the container would know them."""
    return _ML_HERE.sub(ML, text)


def package_path() -> str:
    """Where the serving adapter is importable from, for interpreters other than the kit's own."""
    return os.fspath(Path(__file__).resolve().parents[3])
