"""The instances of one attempt of a training job: their folders, inputs, commands and environments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from localcloud.aws.instances import find
from localcloud.aws.sagemaker import python_environment, script_mode
from localcloud.aws.sagemaker.naming import Scope
from localcloud.aws.sagemaker.s3_transfer import (
    FolderSync,
    Item,
    Location,
    download,
    items_of_manifest,
    items_of_prefix,
    require,
)
from localcloud.aws.sagemaker.setting import Setting
from localcloud.aws.sagemaker.training_files import InstanceFolder, write_config
from localcloud.runtime.spec import JobSpec, Limits

STOP_GRACE_SECONDS: Final = 120.0
"""https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_StopTrainingJob.html"""


@dataclass(frozen=True)
class Attempt:
    """One try at a job: spot jobs may need several."""

    setting: Setting
    scope: Scope
    job: dict[str, Any]

    @property
    def name(self) -> str:
        """The job's name."""
        return str(self.job["TrainingJobName"])

    @property
    def hosts(self) -> list[str]:
        """The names of the instances."""
        return [f"algo-{number}" for number in range(1, self.job["ResourceConfig"]["InstanceCount"] + 1)]

    @property
    def folders(self) -> dict[str, InstanceFolder]:
        """The folder of each instance."""
        return {host: InstanceFolder(self.folder / host) for host in self.hosts}

    @property
    def folder(self) -> Path:
        """The folder of this attempt."""
        return job_folder(self.setting, self.scope, self.name) / str(self.job["_attempt"])

    @property
    def checkpoints(self) -> dict[str, Any] | None:
        """The CheckpointConfig."""
        return self.job.get("CheckpointConfig")

    def prepare(self, host: str) -> None:
        """Fill an instance's folder: inputs, configuration, code, checkpoints, Python environment. Repeatable."""
        folder = self.folders[host]
        if folder.is_prepared:
            return
        folder.begin()
        s3 = self.s3()
        for channel in self.job.get("InputDataConfig") or []:
            items = shard(channel, channel_items(s3, channel), self.hosts.index(host), len(self.hosts))
            download(s3, items, folder.data / channel["ChannelName"])
        if script_mode.is_used(self.job):
            script_mode.fetch_code(s3, self.job, folder)
        write_config(folder, self.job, host, self.hosts)
        folder.relocate_code()
        for sync in self.checkpoint_syncs(host):
            sync.restore()
        python_environment.create(folder.environment)
        folder.log.write_text("".join(f"[local cloud] {note}\n" for note in self._notes()))
        folder.mark_prepared()

    def spec(self, host: str, wall_seconds: float) -> JobSpec:
        """What the runtime has to run for one instance."""
        folder = self.folders[host]
        instance = find(self.job["ResourceConfig"]["InstanceType"])
        return JobSpec(
            folder=folder.root,
            command=self._command(folder),
            env=self._environment(folder, host),
            working_folder=folder.ml,
            log=folder.log,
            limits=Limits(
                wall_seconds=wall_seconds,
                memory_bytes=instance.memory_here,
                stop_grace_seconds=STOP_GRACE_SECONDS,
            ),
        )

    def checkpoint_syncs(self, *hosts: str) -> Iterator[FolderSync]:
        """What keeps the checkpoints of these instances in S3; empty without a CheckpointConfig."""
        if self.checkpoints:
            location = Location.parse(self.checkpoints["S3Uri"])
            for host in hosts:
                yield FolderSync(self.s3(), self.folders[host].checkpoints(self.checkpoints), location)

    def s3(self) -> Any:
        """A client of S3, as the tenant."""
        return self.setting.clients.aws("s3", self.scope.account, self.scope.region)

    def _command(self, folder: InstanceFolder) -> tuple[str, ...]:
        if script_mode.is_used(self.job):
            return script_mode.command(self.job, folder)
        algorithm = self.job["AlgorithmSpecification"]
        parts = (*(algorithm.get("ContainerEntrypoint") or ()), *(algorithm.get("ContainerArguments") or ()))
        return tuple(folder.local(part) for part in parts)

    def _environment(self, folder: InstanceFolder, host: str) -> dict[str, str]:
        instance = find(self.job["ResourceConfig"]["InstanceType"])
        base = {
            **python_environment.minimal_variables(
                folder.environment / "bin", folder.ml.parent.parent, instance.threads_here
            ),
            **python_environment.pip_variables([folder.data / "code", folder.code]),
            "TRAINING_JOB_NAME": self.name,
            "TRAINING_JOB_ARN": self.job["TrainingJobArn"],
            "CURRENT_HOST": host,
        }
        if not self.job["EnableNetworkIsolation"]:
            base |= python_environment.aws_variables(self.setting.endpoint, self.scope.account, self.scope.region)
        if script_mode.is_used(self.job):
            base |= script_mode.variables(self.job, folder, host, self.hosts)
        users = {name: folder.local(value) for name, value in (self.job.get("Environment") or {}).items()}
        return python_environment.with_users(base, users)

    def _notes(self) -> Iterator[str]:
        default = self.job["AlgorithmSpecification"]["TrainingInputMode"]
        for channel in self.job.get("InputDataConfig") or []:
            if (channel.get("InputMode") or default) == "FastFile":
                yield f"Channel {channel['ChannelName']}: FastFile data is copied before the start, as with File."


def job_folder(setting: Setting, scope: Scope, name: str) -> Path:
    """The folder of all attempts of a job."""
    return setting.home.jobs / scope.account / scope.region / name


def channel_items(s3: Any, channel: dict[str, Any]) -> list[Item]:
    """All objects of a channel; raises TransferError when there are none."""
    source = channel["DataSource"]["S3DataSource"]
    location = Location.parse(source["S3Uri"])
    find_items = items_of_manifest if source["S3DataType"] == "ManifestFile" else items_of_prefix
    return require(find_items(s3, location), location)


def shard(channel: dict[str, Any], items: list[Item], index: int, count: int) -> list[Item]:
    """The objects that one instance gets: all of them, or every n-th with ShardedByS3Key."""
    sharded = channel["DataSource"]["S3DataSource"].get("S3DataDistributionType") == "ShardedByS3Key"
    return items[index::count] if sharded else items
