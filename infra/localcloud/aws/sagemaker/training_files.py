"""The folder of one training instance: what a container finds under /opt/ml, here under the job's own folder.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html
There is no container, so /opt/ml is replaced by the folder's path in the copies of the code.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from localcloud.aws.sagemaker.errors import not_implemented

ML: Final = "/opt/ml"
DEFAULT_CHECKPOINTS: Final = "/opt/ml/checkpoints"
_CODE_CHANNELS: Final = ("sm_drivers", "code")
_TEXT: Final = frozenset({".sh", ".py", ".json", ".yaml", ".yml", ".toml", ".cfg", ".ini", ".txt", ""})
_LARGEST_TEXT: Final = 4 << 20
_PLAIN_PATH: Final = re.compile(r"[A-Za-z0-9_./+-]+")


@dataclass(frozen=True)
class InstanceFolder:
    """One instance (host) of one attempt of a job. `root` is also the folder of its runtime job."""

    root: Path

    @property
    def ml(self) -> Path:
        """What the code sees as /opt/ml. Never holds characters that a shell script without quotes trips over."""
        return plain(self.root) / "opt" / "ml"

    @property
    def config(self) -> Path:
        """The JSON files that describe the job."""
        return self.ml / "input" / "config"

    @property
    def data(self) -> Path:
        """One folder per channel."""
        return self.ml / "input" / "data"

    @property
    def model(self) -> Path:
        """What becomes model.tar.gz."""
        return self.ml / "model"

    @property
    def output(self) -> Path:
        """What becomes output.tar.gz."""
        return self.ml / "output" / "data"

    @property
    def failure(self) -> Path:
        """Why the job failed, in the algorithm's own words."""
        return self.ml / "output" / "failure"

    @property
    def code(self) -> Path:
        """Where script mode puts its code."""
        return self.ml / "code"

    @property
    def environment(self) -> Path:
        """The job's Python environment."""
        return plain(self.root) / "env"

    @property
    def log(self) -> Path:
        """stdout and stderr."""
        return self.root / "job.log"

    @property
    def is_prepared(self) -> bool:
        """True once everything is in place."""
        return (self.root / "prepared").exists()

    def mark_prepared(self) -> None:
        """Remember that everything is in place."""
        (self.root / "prepared").touch()

    def begin(self) -> None:
        """Make the folders, after removing what an interrupted preparation left."""
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True, mode=0o700)
        for folder in (self.config, self.data, self.model, self.output):
            folder.mkdir(parents=True)

    def clear(self) -> None:
        """Free the disk: everything but the log goes."""
        for folder in ("opt", "env", "tmp"):
            shutil.rmtree(self.root / folder, ignore_errors=True)

    def local(self, text: str) -> str:
        """The text with /opt/ml replaced by this folder."""
        return text.replace(ML, str(self.ml))

    def vendor(self, text: str) -> str:
        """The text with this folder replaced by /opt/ml: what a log or an error shows."""
        return text.replace(str(self.ml), ML)

    def checkpoints(self, config: dict[str, Any]) -> Path:
        """The folder of a CheckpointConfig; only paths below /opt/ml can be relocated."""
        path = config.get("LocalPath") or DEFAULT_CHECKPOINTS
        if not path.startswith(f"{ML}/"):
            raise not_implemented(f"A checkpoint LocalPath outside of {ML}")
        folder = Path(self.local(path))
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def relocate_code(self) -> None:
        """Replace /opt/ml in the copies of the SDK's drivers and of the user's code."""
        for folder in (*(self.data / channel for channel in _CODE_CHANNELS), self.code):
            for path in folder.rglob("*"):
                relocate(path, str(self.ml))


def relocate(path: Path, ml: str) -> None:
    """Replace /opt/ml by `ml` in one text file; other files stay as they are."""
    if path.suffix not in _TEXT or path.is_symlink() or not path.is_file() or path.stat().st_size > _LARGEST_TEXT:
        return
    data = path.read_bytes()
    if ML.encode() in data and b"\0" not in data:
        path.write_bytes(data.replace(ML.encode(), ml.encode()))


def plain(folder: Path) -> Path:
    """The folder, or a link to it in the system's temporary folder when its path holds spaces or quotes."""
    if _PLAIN_PATH.fullmatch(str(folder)):
        return folder
    link = Path(tempfile.gettempdir()).resolve() / f"lab-{sha256(str(folder).encode()).hexdigest()[:20]}"
    if not link.is_symlink():
        link.symlink_to(folder)
    return link


def write_config(folder: InstanceFolder, job: dict[str, Any], host: str, hosts: list[str]) -> None:
    """Write hyperparameters.json, inputdataconfig.json and resourceconfig.json."""
    files = {
        "hyperparameters.json": job.get("HyperParameters") or {},
        "inputdataconfig.json": {each["ChannelName"]: _channel(each, job) for each in job.get("InputDataConfig") or []},
        "resourceconfig.json": _resources(job["ResourceConfig"], host, hosts),
    }
    if job.get("CheckpointConfig"):
        files["checkpointconfig.json"] = job["CheckpointConfig"]
    for name, content in files.items():
        (folder.config / name).write_text(json.dumps(content))


def _channel(channel: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:
    source = channel["DataSource"]["S3DataSource"]
    mode = channel.get("InputMode") or job["AlgorithmSpecification"]["TrainingInputMode"]
    described = {
        "TrainingInputMode": mode,
        "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
        "RecordWrapperType": channel.get("RecordWrapperType", "None"),
    }
    return {**described, "ContentType": channel["ContentType"]} if channel.get("ContentType") else described


def _resources(resources: dict[str, Any], host: str, hosts: list[str]) -> dict[str, Any]:
    group = {
        "instance_group_name": "homogeneousCluster",
        "instance_type": resources["InstanceType"],
        "hosts": hosts,
    }
    return {
        "current_host": host,
        "current_instance_type": resources["InstanceType"],
        "current_group_name": "homogeneousCluster",
        "hosts": hosts,
        "instance_groups": [group],
        "network_interface_name": "lo",
    }
