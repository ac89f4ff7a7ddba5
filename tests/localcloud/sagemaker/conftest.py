"""Helpers for SageMaker tests: tiny jobs and models through boto3, vendor SDKs in a process of their own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from .shapes import check_answers

ENDED = ("Completed", "Failed", "Stopped")
INSTANCE = "ml.m5.large"
INFERENCE = b"""
import json, os
def model_fn(model_dir):
    with open(os.path.join(model_dir, "model.json")) as file:
        return json.load(file)
def input_fn(body, content_type):
    return json.loads(body)
def predict_fn(values, model):
    return [model["factor"] * value for value in values]
def output_fn(prediction, accept):
    return json.dumps({"answer": prediction, "pid": os.getpid()}), "application/json"
"""


def archive(files: Mapping[str, bytes]) -> bytes:
    """A tar.gz with these members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def model_archive(factor: int) -> bytes:
    """A model that multiplies by a factor."""
    return archive({"model.json": json.dumps({"factor": factor}).encode(), "code/inference.py": INFERENCE})


@dataclass
class SageMaker:
    """A tenant's clients, and shortcuts that make jobs, models and endpoints."""

    aws: Callable[..., Any]
    account: str
    wait_until: Callable[..., Any]

    def __post_init__(self) -> None:
        self.client = self.aws("sagemaker")
        check_answers(self.client)
        self.bucket = f"bucket-{self.account}"
        self.role = f"arn:aws:iam::{self.account}:role/SageMakerExec"
        self.image = f"{self.account}.dkr.ecr.us-east-1.amazonaws.com/local-sklearn:1.5"

    @cached_property
    def runtime(self) -> Any:
        """sagemaker-runtime."""
        return self.aws("sagemaker-runtime")

    @cached_property
    def s3(self) -> Any:
        """S3, with a bucket of the tenant's own."""
        client = self.aws("s3")
        client.create_bucket(Bucket=self.bucket)
        return client

    @cached_property
    def logs(self) -> Any:
        """CloudWatch Logs."""
        return self.aws("logs")

    @cached_property
    def cloudwatch(self) -> Any:
        """CloudWatch."""
        return self.aws("cloudwatch")

    def put(self, key: str, data: bytes | str) -> str:
        """An object; returns its URI."""
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=data)
        return f"s3://{self.bucket}/{key}"

    def get(self, uri: str) -> bytes:
        """The content of an object."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        data: bytes = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return data

    def channel(self, name: str, uri: str, **source: Any) -> dict[str, Any]:
        """An S3Prefix channel."""
        return {
            "ChannelName": name,
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri, **source}},
        }

    def job_request(self, name: str, script: str, *channels: dict[str, Any], **changes: Any) -> dict[str, Any]:
        """A CreateTrainingJob request that runs a Python script."""
        code = self.put(f"code/{name}/train.py", textwrap.dedent(script))
        return {
            "TrainingJobName": name,
            "RoleArn": self.role,
            "AlgorithmSpecification": {
                "TrainingImage": self.image,
                "TrainingInputMode": "File",
                "ContainerEntrypoint": ["python3", "/opt/ml/input/data/code/train.py"],
                "MetricDefinitions": [{"Name": "accuracy", "Regex": r"accuracy=([0-9.]+)"}],
            },
            "InputDataConfig": [self.channel("code", code), *channels],
            "OutputDataConfig": {"S3OutputPath": f"s3://{self.bucket}/output"},
            "ResourceConfig": {"InstanceType": INSTANCE, "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 600},
            **changes,
        }

    def start(self, name: str, script: str, *channels: dict[str, Any], **changes: Any) -> None:
        """Create a job."""
        self.client.create_training_job(**self.job_request(name, script, *channels, **changes))

    def train(self, name: str, script: str, *channels: dict[str, Any], **changes: Any) -> dict[str, Any]:
        """Create a job and wait for its end."""
        self.start(name, script, *channels, **changes)
        return self.ended(name)

    def job(self, name: str) -> dict[str, Any]:
        """A job's description."""
        found: dict[str, Any] = self.client.describe_training_job(TrainingJobName=name)
        return found

    def ended(self, name: str) -> dict[str, Any]:
        """The description when the job has ended."""
        self.wait_until(lambda: self.job(name)["TrainingJobStatus"] in ENDED, what=f"the end of {name}")
        return self.job(name)

    def in_training(self, name: str, line: str) -> None:
        """Wait until the job has printed a line."""
        self.wait_until(lambda: line in self.log(name), what=f"{line!r} in the log of {name}")

    def streams(self, name: str) -> list[str]:
        """The log streams of a job."""
        found = self.logs.describe_log_streams(
            logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix=f"{name}/"
        )
        return [stream["logStreamName"] for stream in found["logStreams"]]

    def log(self, name: str) -> list[str]:
        """The lines of all of a job's streams."""
        try:
            streams = self.streams(name)
        except self.logs.exceptions.ResourceNotFoundException:
            return []
        return [line for stream in streams for line in self.lines("/aws/sagemaker/TrainingJobs", stream)]

    def lines(self, group: str, stream: str) -> list[str]:
        """All lines of a stream."""
        lines: list[str] = []
        token: dict[str, Any] = {}
        while True:
            answer = self.logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True, **token)
            lines += [event["message"] for event in answer["events"]]
            if not answer["events"] or answer["nextForwardToken"] == token.get("nextToken"):
                return lines
            token = {"nextToken": answer["nextForwardToken"]}

    def model(self, name: str, data: bytes | None, **container: Any) -> None:
        """A model with this archive (None: the archive is missing)."""
        if data is not None:
            self.put(f"models/{name}.tar.gz", data)
        url = f"s3://{self.bucket}/models/{name}.tar.gz"
        primary = {"Image": self.image, "ModelDataUrl": url, **container}
        self.client.create_model(ModelName=name, ExecutionRoleArn=self.role, PrimaryContainer=primary)

    def config(self, name: str, *variants: dict[str, Any]) -> None:
        """An endpoint configuration; a variant needs only VariantName and ModelName."""
        full = [{"InstanceType": INSTANCE, "InitialInstanceCount": 1, **variant} for variant in variants]
        self.client.create_endpoint_config(EndpointConfigName=name, ProductionVariants=full)

    def endpoint(self, name: str, config: str) -> dict[str, Any]:
        """Create an endpoint and wait until it serves or has failed."""
        self.client.create_endpoint(EndpointName=name, EndpointConfigName=config)
        return self.settled(name)

    def settled(self, name: str) -> dict[str, Any]:
        """The description once the endpoint is InService or Failed."""
        describe = self.client.describe_endpoint
        self.wait_until(
            lambda: describe(EndpointName=name)["EndpointStatus"] in ("InService", "Failed"), what=f"endpoint {name}"
        )
        found: dict[str, Any] = describe(EndpointName=name)
        return found

    def invoke(self, endpoint: str, body: bytes = b"[1]", **options: Any) -> tuple[str, dict[str, Any]]:
        """The variant that answered and its answer."""
        answer = self.runtime.invoke_endpoint(
            EndpointName=endpoint, ContentType="application/json", Body=body, **options
        )
        return answer["InvokedProductionVariant"], json.loads(answer["Body"].read())


@pytest.fixture
def sagemaker(aws: Callable[..., Any], tenant: Any, wait_until: Callable[..., Any]) -> SageMaker:
    """SageMaker as a fresh tenant."""
    return SageMaker(aws, tenant.account, wait_until)


@pytest.fixture(scope="module")
def module_sagemaker(cloud: Any, wait_until: Callable[..., Any], request: Any) -> Iterator[SageMaker]:
    """SageMaker as a tenant that all tests of a module share."""
    tenant = cloud.tenant(f"{request.module.__name__}-{time.time_ns()}")
    yield SageMaker(lambda service, **options: cloud.client(service, tenant, **options), tenant.account, wait_until)
    cloud.control("DELETE", f"/_lab/tenants/{tenant.account}")


@pytest.fixture(scope="module")
def run_sdk(cloud: Any, module_sagemaker: SageMaker, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """`run_sdk(code, folder)` runs Python with the vendor's SDKs; returns what it assigns to `result`.

    One process for a whole module where possible: importing the SDK takes seconds.
    """
    sagemaker = module_sagemaker
    tmp_path = tmp_path_factory.mktemp("sdk")
    config = tmp_path / "sagemaker.yaml"
    config.write_text(
        f"SchemaVersion: '1.0'\nSageMaker: {{PythonSDK: {{Modules: {{TelemetryOptOut: true,"
        f" Session: {{DefaultS3Bucket: {sagemaker.bucket}}}}}}}}}\n"
    )
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "AWS_ENDPOINT_URL": cloud.url,
        "AWS_ACCESS_KEY_ID": sagemaker.account,
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "SAGEMAKER_USER_CONFIG_OVERRIDE": str(config),
        "SAGEMAKER_VALIDATE_ROLE": "false",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "127.0.0.1,localhost",
        "COLUMNS": "200",
    }
    names = {"ROLE": sagemaker.role, "IMAGE": sagemaker.image, "BUCKET": sagemaker.bucket, "INSTANCE": INSTANCE}

    def run(code: str, folder: Path) -> Any:
        answer = tmp_path / "answer.json"
        head = "".join(f"{name} = {value!r}\n" for name, value in names.items())
        tail = f"\nimport json\nwith open({str(answer)!r}, 'w') as file: json.dump(result, file, default=str)\n"
        program = tmp_path / "program.py"
        program.write_text(head + textwrap.dedent(code) + tail)
        done = subprocess.run(
            [sys.executable, str(program)], cwd=folder, env=environment, capture_output=True, text=True, timeout=240,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
        return json.loads(answer.read_text())

    return run
