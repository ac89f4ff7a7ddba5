"""What CreateTrainingJob accepts: checks beyond the shapes, and what cannot run without the real service."""

from __future__ import annotations

import re
from typing import Any, Final

from localcloud.aws.sagemaker.errors import not_implemented, validation
from localcloud.aws.sagemaker.training_files import ML

_REFUSED: Final = (
    "VpcConfig", "DebugHookConfig", "DebugRuleConfigurations", "TensorBoardOutputConfig", "ExperimentConfig",
    "ProfilerRuleConfigurations", "SessionChainingConfig", "ServerlessJobConfig", "MlflowConfig",
    "ModelPackageConfig",
)  # fmt: skip
_REFUSED_RESOURCES: Final = (
    "InstanceGroups", "TrainingPlanArn", "KeepAlivePeriodInSeconds", "InstancePlacementConfig", "InstancePreferences",
)  # fmt: skip
_SWITCHES: Final = (
    ("RemoteDebugConfig", "EnableRemoteDebug"),
    ("InfraCheckConfig", "EnableInfraCheck"),
)
MOST_INSTANCES: Final = 8
SCRIPT_MODE_PROGRAM: Final = "sagemaker_program"
SCRIPT_MODE_CODE: Final = "sagemaker_submit_directory"


def check(request: dict[str, Any]) -> None:
    """Raise for a request that the real service refuses, or that cannot run here."""
    _refuse_what_cannot_run(request)
    _check_resources(request)
    _check_stopping(request)
    _check_metrics(request["AlgorithmSpecification"])
    _check_algorithm(request)
    for channel in _channels(request):
        _check_channel(channel)


def _channels(request: dict[str, Any]) -> list[dict[str, Any]]:
    channels: list[dict[str, Any]] = request.get("InputDataConfig") or []
    names = [channel["ChannelName"] for channel in channels]
    if len(set(names)) < len(names):
        raise validation("Duplicate channel names in InputDataConfig. Channel names must be unique.")
    return channels


def _refuse_what_cannot_run(request: dict[str, Any]) -> None:
    for member in ("AlgorithmSpecification", "ResourceConfig", "StoppingCondition"):
        if not request.get(member):
            if request.get("ServerlessJobConfig"):
                raise not_implemented("CreateTrainingJob with ServerlessJobConfig")
            raise validation(f"{member} is required for training jobs.")
    for member in _REFUSED:
        if request.get(member):
            raise not_implemented(f"CreateTrainingJob with {member}")
    for member, switch in _SWITCHES:
        if (request.get(member) or {}).get(switch):
            raise not_implemented(f"CreateTrainingJob with {member}")
    profiler = request.get("ProfilerConfig") or {}
    if profiler and not profiler.get("DisableProfiler"):
        raise not_implemented("CreateTrainingJob with ProfilerConfig")


def _check_resources(request: dict[str, Any]) -> None:
    resources = request["ResourceConfig"]
    for member in _REFUSED_RESOURCES:
        if resources.get(member):
            raise not_implemented(f"ResourceConfig with {member}")
    for member in ("InstanceType", "InstanceCount"):
        if not resources.get(member):
            raise validation(f"ResourceConfig.{member} is required for training jobs.")
    if resources["InstanceCount"] > MOST_INSTANCES:
        raise validation(
            f"InstanceCount {resources['InstanceCount']}: the local cloud runs at most {MOST_INSTANCES} instances of a"
            " job on this machine. Ask for fewer."
        )
    checkpoints = (request.get("CheckpointConfig") or {}).get("LocalPath")
    if checkpoints and not checkpoints.startswith(f"{ML}/"):
        raise not_implemented(f"A checkpoint LocalPath outside of {ML}")


def _check_stopping(request: dict[str, Any]) -> None:
    stopping = request["StoppingCondition"]
    longest, wait = stopping.get("MaxRuntimeInSeconds", 86_400), stopping.get("MaxWaitTimeInSeconds")
    if request.get("EnableManagedSpotTraining"):
        if wait is None or wait < longest:
            raise validation(
                "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds"
            )
    elif wait is not None:
        raise validation("Invalid MaxWaitTimeInSeconds. It can only be set when EnableManagedSpotTraining is true")


def _check_metrics(algorithm: dict[str, Any]) -> None:
    for metric in algorithm.get("MetricDefinitions") or []:
        try:
            groups = re.compile(metric["Regex"]).groups
        except re.error as error:
            raise validation(f"Invalid regular expression for metric {metric['Name']}: {error}") from None
        if groups < 1:
            raise validation(f"The regular expression of metric {metric['Name']} needs a group around the number.")


def _check_algorithm(request: dict[str, Any]) -> None:
    algorithm = request["AlgorithmSpecification"]
    if algorithm.get("AlgorithmName"):
        raise not_implemented("CreateTrainingJob with AlgorithmName (AWS Marketplace algorithms)")
    if not algorithm.get("TrainingImage"):
        raise validation("AlgorithmSpecification must have a TrainingImage or an AlgorithmName.")
    if algorithm["TrainingInputMode"] == "Pipe":
        raise not_implemented("TrainingInputMode Pipe (use File or FastFile)")
    hyperparameters = request.get("HyperParameters") or {}
    has_command = algorithm.get("ContainerEntrypoint") or algorithm.get("ContainerArguments")
    if not has_command and SCRIPT_MODE_PROGRAM not in hyperparameters:
        raise not_implemented(
            f"Running the image {algorithm['TrainingImage']} by itself (a built-in algorithm or your own container)."
            " Give it code: ContainerEntrypoint, ModelTrainer's source_code, or the hyperparameters"
            f" {SCRIPT_MODE_PROGRAM} and {SCRIPT_MODE_CODE}. It"
        )


def _check_channel(channel: dict[str, Any]) -> None:
    name = channel["ChannelName"]
    if channel.get("InputMode") == "Pipe":
        raise not_implemented(f"InputMode Pipe of channel {name} (use File or FastFile)")
    source = channel["DataSource"].get("S3DataSource")
    if not source:
        raise not_implemented(f"Channel {name} without an S3DataSource")
    if source["S3DataType"] not in ("S3Prefix", "ManifestFile"):
        raise not_implemented(f"S3DataType {source['S3DataType']} of channel {name}")
    if channel.get("RecordWrapperType", "None") != "None":
        raise not_implemented(f"RecordWrapperType {channel['RecordWrapperType']} of channel {name}")
