"""Script mode: a Python script named by hyperparameters, run as the framework images' toolkit runs it.

https://github.com/aws/sagemaker-training-toolkit/blob/master/ENVIRONMENT_VARIABLES.md
"""

from __future__ import annotations

import json
import shlex
from typing import Any

from localcloud.aws.instances import find
from localcloud.aws.sagemaker.s3_transfer import Location, fetch
from localcloud.aws.sagemaker.training_files import InstanceFolder
from localcloud.aws.sagemaker.training_request import SCRIPT_MODE_CODE, SCRIPT_MODE_PROGRAM
from localcloud.runtime.archive import unpack


def hyperparameters(job: dict[str, Any]) -> dict[str, Any]:
    """All hyperparameters with their values decoded: SDKs send each as JSON."""
    return {name: _decoded(value) for name, value in (job.get("HyperParameters") or {}).items()}


def is_used(job: dict[str, Any]) -> bool:
    """True when the job names no command of its own."""
    algorithm = job["AlgorithmSpecification"]
    return not algorithm.get("ContainerEntrypoint") and not algorithm.get("ContainerArguments")


def fetch_code(s3: Any, job: dict[str, Any], folder: InstanceFolder) -> None:
    """Unpack `sagemaker_submit_directory` into /opt/ml/code."""
    source = str(hyperparameters(job).get(SCRIPT_MODE_CODE, ""))
    if not source.startswith("s3://"):
        folder.code.mkdir(parents=True, exist_ok=True)
        return
    archive = folder.root / "sourcedir.tar.gz"
    fetch(s3, Location.parse(source), archive)
    unpack(archive, folder.code)
    archive.unlink()


def command(job: dict[str, Any], folder: InstanceFolder) -> tuple[str, ...]:
    """`pip install` of the requirements when there are any, then the script with its hyperparameters as arguments."""
    program = str(hyperparameters(job)[SCRIPT_MODE_PROGRAM])
    arguments = [part for name, value in _own(job).items() for part in (f"--{name}", _text(value))]
    run = ["/bin/sh", program] if program.endswith(".sh") else ["python3", program]
    script = f"exec {shlex.join([*run, *arguments])}"
    if (folder.code / "requirements.txt").exists():
        script = f"pip3 install -r requirements.txt && {script}"
    return ("/bin/sh", "-c", f"cd {shlex.quote(str(folder.code))} && {script}")


def variables(job: dict[str, Any], folder: InstanceFolder, host: str, hosts: list[str]) -> dict[str, str]:
    """The SM_ variables of the toolkit."""
    channels = {
        each["ChannelName"]: str(folder.data / each["ChannelName"]) for each in job.get("InputDataConfig") or []
    }
    own = _own(job)
    instance = find(job["ResourceConfig"]["InstanceType"])
    return {
        "SM_MODEL_DIR": str(folder.model),
        "SM_OUTPUT_DIR": str(folder.output.parent),
        "SM_OUTPUT_DATA_DIR": str(folder.output),
        "SM_INPUT_DIR": str(folder.data.parent),
        "SM_INPUT_CONFIG_DIR": str(folder.config),
        "SM_CHANNELS": json.dumps(sorted(channels)),
        **{f"SM_CHANNEL_{name.upper()}": path for name, path in channels.items()},
        "SM_HPS": json.dumps(own),
        **{f"SM_HP_{name.upper().replace('-', '_')}": _text(value) for name, value in own.items()},
        "SM_CURRENT_HOST": host,
        "SM_HOSTS": json.dumps(hosts),
        "SM_NETWORK_INTERFACE_NAME": "lo",
        "SM_NUM_CPUS": str(instance.threads_here),
        "SM_NUM_GPUS": "0",
        "SM_USER_ENTRY_POINT": str(hyperparameters(job)[SCRIPT_MODE_PROGRAM]),
        "SM_MODULE_DIR": str(hyperparameters(job).get(SCRIPT_MODE_CODE, "")),
    }


def _own(job: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in hyperparameters(job).items() if not name.startswith("sagemaker_")}


def _decoded(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
