"""Twenty kills of the cloud's parts while clients work: nothing acknowledged is lost, and little is noticed.

`pytest -m chaos -s` prints what was measured.
"""

from __future__ import annotations

import http.client
import io
import itertools
import json
import os
import signal
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from localcloud import processes
from localcloud.gateway.log_entry import parse_line
from localcloud.meter.requests import usage_of

ROUNDS = 20
PARTS = ("controlplane", "supervisor", "ministack", "envoy")
INSTANCE = "ml.m5.large"
INFERENCE = b"""
import json
def model_fn(model_dir):
    return 2
def predict_fn(values, model):
    return [model * value for value in values]
def input_fn(body, content_type):
    return json.loads(body)
def output_fn(prediction, accept):
    return json.dumps(prediction), "application/json"
"""
TRAIN = b"""
import pathlib, time
time.sleep(1.5)
pathlib.Path("/opt/ml/model/model.txt").write_text("trained")
"""


@dataclass
class Account:
    """The tenant's clients, with the SDK's default retries."""

    cloud: Any
    tenant: Any

    def client(self, service: str) -> Any:
        return self.cloud.client(service, self.tenant, retries=None)

    @property
    def bucket(self) -> str:
        return f"chaos-{self.tenant.account}"

    @property
    def image(self) -> str:
        return f"{self.tenant.account}.dkr.ecr.us-east-1.amazonaws.com/local-sklearn:1.5"

    @property
    def role(self) -> str:
        return f"arn:aws:iam::{self.tenant.account}:role/SageMakerExec"


@dataclass
class Worker:
    """Does one thing after the other until told to stop, and notes what was acknowledged."""

    name: str
    do: Callable[[int], Any]
    done: dict[int, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    attempts: int = 0

    def run(self, stop: threading.Event) -> None:
        for number in itertools.count():
            if stop.is_set():
                return
            self.attempts = number + 1
            try:
                self.done[number] = self.do(number)
            except Exception as error:
                self.failures.append(f"{self.name} {number}: {error}")


@dataclass
class Probe:
    """Invokes the endpoint over a new connection each time, without retries, and notes how each attempt ended."""

    port: int
    path: str
    authorization: str
    outcomes: list[tuple[float, float, str]] = field(default_factory=list)
    """Begin, end (monotonic seconds), and `ok`, `HTTP <status>` or the error's name."""

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            began = time.monotonic()
            outcome = self._invoke()
            self.outcomes.append((began, time.monotonic(), outcome))
            time.sleep(0.005)  # leaves the processor to the others

    def _invoke(self) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers = {"authorization": self.authorization, "content-type": "application/json"}
        try:
            connection.request("POST", self.path, b"[1, 2]", headers)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__
        finally:
            connection.close()
        return "ok" if (answer.status, body) == (200, b"[2, 4]") else f"HTTP {answer.status} {body[:200]!r}"

    def failures(self) -> list[tuple[float, float, str]]:
        return [each for each in self.outcomes if each[2] != "ok"]


def _archive(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def account(own_cloud: Any) -> Account:
    made = Account(own_cloud, own_cloud.tenant("chaos"))
    made.client("s3").create_bucket(Bucket=made.bucket)
    return made


@pytest.fixture
def endpoint(account: Account, wait_until: Callable[..., Any]) -> str:
    account.client("s3").put_object(
        Bucket=account.bucket, Key="model.tar.gz", Body=_archive("code/inference.py", INFERENCE)
    )
    sagemaker = account.client("sagemaker")
    sagemaker.create_model(ModelName="served", ExecutionRoleArn=account.role, PrimaryContainer=_container(account))
    variant = {"VariantName": "main", "ModelName": "served", "InstanceType": INSTANCE, "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName="config", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="endpoint", EndpointConfigName="config")
    describe = sagemaker.describe_endpoint
    wait_until(lambda: describe(EndpointName="endpoint")["EndpointStatus"] == "InService", 60, "the endpoint")
    return "endpoint"


def _container(account: Account) -> dict[str, str]:
    return {"Image": account.image, "ModelDataUrl": f"s3://{account.bucket}/model.tar.gz"}


def _workers(account: Account, endpoint: str, queue: str, wait_until: Callable[..., Any]) -> list[Worker]:
    s3, sqs, sagemaker, runtime = map(account.client, ("s3", "sqs", "sagemaker", "sagemaker-runtime"))

    def create_model(number: int) -> None:
        try:
            sagemaker.create_model(
                ModelName=f"model-{number}", ExecutionRoleArn=account.role, PrimaryContainer=_container(account)
            )
        except ClientError as error:  # the answer to the first attempt was lost in a kill, and the SDK tried again
            if "already exist" not in str(error):
                raise

    def train(number: int) -> str:
        name = f"job-{number}"
        try:
            sagemaker.create_training_job(**_job(account, name))
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceInUse":
                raise
        ended = ("Completed", "Failed", "Stopped")
        describe = sagemaker.describe_training_job
        wait_until(lambda: describe(TrainingJobName=name)["TrainingJobStatus"] in ended, 120, name)
        job = describe(TrainingJobName=name)
        return f"{job['TrainingJobStatus']} {job.get('FailureReason', '')}".strip()

    return [
        Worker("put", lambda n: s3.put_object(Bucket=account.bucket, Key=f"o/{n}", Body=f"body {n}".encode())),
        Worker("send", lambda n: sqs.send_message(QueueUrl=queue, MessageBody=f"message {n}")),
        Worker("model", create_model),
        Worker("train", train),
        Worker(
            "invoke",
            lambda _: runtime.invoke_endpoint(EndpointName=endpoint, ContentType="application/json", Body=b"[1]"),
        ),
    ]


def _job(account: Account, name: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{account.bucket}/code/"}
    return {
        "TrainingJobName": name,
        "RoleArn": account.role,
        "AlgorithmSpecification": {
            "TrainingImage": account.image,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["python3", "/opt/ml/input/data/code/train.py"],
        },
        "InputDataConfig": [{"ChannelName": "code", "DataSource": {"S3DataSource": source}}],
        "OutputDataConfig": {"S3OutputPath": f"s3://{account.bucket}/output"},
        "ResourceConfig": {"InstanceType": INSTANCE, "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
    }


@dataclass(frozen=True)
class Kill:
    """A kill, and the moments around it (monotonic seconds)."""

    part: str
    at: float
    ready: float


def _kill(cloud: Any, part: str, wait_until: Callable[..., Any]) -> Kill:
    pid = cloud.pid(part)
    at = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: cloud.pid(part) != pid, what=f"a new {part}")
    cloud.wait_ready()
    return Kill(part, at, time.monotonic())


def _outages(probe: Probe, kills: list[Kill]) -> Iterator[tuple[Kill, float]]:
    """For each kill of Envoy: how long the probe was refused, first failure to next success."""
    for kill in kills:
        failed = [each for each in probe.failures() if kill.at - 0.1 <= each[0] <= kill.ready + 0.1]
        if failed:
            after = [begin for begin, _, outcome in probe.outcomes if outcome == "ok" and begin > failed[-1][0]]
            yield kill, min(after) - failed[0][0]


@pytest.mark.chaos
@pytest.mark.timeout(300)
def test_twenty_kills_lose_nothing(
    own_cloud: Any, account: Account, endpoint: str, wait_until: Callable[..., Any]
) -> None:
    account.client("s3").put_object(Bucket=account.bucket, Key="code/train.py", Body=TRAIN)
    queue = account.client("sqs").create_queue(QueueName="chaos")["QueueUrl"]
    workers = _workers(account, endpoint, queue, wait_until)
    scope = f"{account.tenant.account}/20260101/us-east-1/sagemaker/aws4_request"
    probe = Probe(
        own_cloud.state.ports["aws"], f"/endpoints/{endpoint}/invocations",
        f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0",
    )  # fmt: skip
    stop = threading.Event()
    threads = [threading.Thread(target=each.run, args=(stop,)) for each in (*workers, probe)]
    for thread in threads:
        thread.start()
    try:
        kills = _kill_in_turn(own_cloud, workers, wait_until)
    finally:
        stop.set()
        for thread in threads:
            thread.join(120)
    by_name = {worker.name: worker for worker in workers}
    print("\n" + _report(workers, probe, kills))

    assert [failure for worker in workers for failure in worker.failures] == []
    _check_probe(probe, kills)
    _check_objects(account, by_name["put"])
    _check_messages(account, queue, by_name["send"])
    _check_models(account, by_name["model"])
    assert set(by_name["train"].done.values()) == {"Completed"}
    _check_usage(own_cloud, account, by_name)


@pytest.mark.contract
def test_a_cloud_taken_down_ends_its_jobs_and_serves_again_when_it_is_up(
    own_cloud: Any, account: Account, endpoint: str, wait_until: Callable[..., Any]
) -> None:
    sagemaker, runtime = account.client("sagemaker"), account.client("sagemaker-runtime")
    account.client("s3").put_object(Bucket=account.bucket, Key="code/train.py", Body=b"import time; time.sleep(600)")
    sagemaker.create_training_job(**_job(account, "endless"))
    wait_until(lambda: list(own_cloud.home.jobs.rglob("status.json")), what="a running job")
    kinds = Counter(each["kind"] for each in own_cloud.control("GET", "/_lab/processes") if each["main"])
    assert kinds.keys() == {"part", "job", "replica"}

    assert own_cloud.command("down").returncode == 0
    assert processes.of_home(own_cloud.home) == []
    assert [json.loads(s.read_text())["reason"] for s in own_cloud.home.jobs.rglob("status.json")] == ["stopped"]

    assert own_cloud.command("up").returncode == 0
    assert sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointStatus"] == "InService"
    wait_until(lambda: _serves(runtime, endpoint), 60, "the endpoint to serve again")
    describe = sagemaker.describe_training_job
    wait_until(lambda: describe(TrainingJobName="endless")["TrainingJobStatus"] in ("Failed", "Stopped"))


def _serves(runtime: Any, endpoint: str) -> bool:
    try:
        answer = runtime.invoke_endpoint(EndpointName=endpoint, ContentType="application/json", Body=b"[1]")
    except ClientError:
        return False
    return bool(answer["Body"].read() == b"[2]")


def _kill_in_turn(cloud: Any, workers: list[Worker], wait_until: Callable[..., Any]) -> list[Kill]:
    kills = []
    for number in range(ROUNDS):
        kills.append(_kill(cloud, PARTS[number % len(PARTS)], wait_until))
        before = {worker.name: len(worker.done) for worker in workers if worker.name != "train"}
        wait_until(
            lambda before=before: all(len(w.done) > before.get(w.name, -1) for w in workers),
            60,
            "progress of everybody",
        )
    wait_until(lambda: all(worker.done for worker in workers), 60, "a trained model")
    return kills


def _check_probe(probe: Probe, kills: list[Kill]) -> None:
    """Only the death of Envoy is noticed by who invokes without retries, and only as a broken connection."""
    envoy = [kill for kill in kills if kill.part == "envoy"]
    elsewhere = [
        each for each in probe.failures() if not any(k.at - 0.5 <= each[1] and each[0] <= k.ready for k in envoy)
    ]
    assert elsewhere == []
    assert {outcome for *_, outcome in probe.failures()} <= {
        "ConnectionRefusedError", "ConnectionResetError", "RemoteDisconnected", "BrokenPipeError",
    }  # fmt: skip


def _check_objects(account: Account, worker: Worker) -> None:
    s3 = account.client("s3")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=account.bucket, Prefix="o/")
    found = [each["Key"] for page in pages for each in page.get("Contents", [])]
    assert len(found) == len(set(found))
    assert {f"o/{number}" for number in worker.done} == set(found)
    for number in list(worker.done)[:: max(1, len(worker.done) // 50)]:
        assert s3.get_object(Bucket=account.bucket, Key=f"o/{number}")["Body"].read() == f"body {number}".encode()


def _check_messages(account: Account, queue: str, worker: Worker) -> None:
    sqs = account.client("sqs")
    found: Counter[str] = Counter()
    while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        found.update(message["Body"] for message in messages)
        entries = [{"Id": str(n), "ReceiptHandle": each["ReceiptHandle"]} for n, each in enumerate(messages)]
        sqs.delete_message_batch(QueueUrl=queue, Entries=entries)
    assert {f"message {number}" for number in worker.done} == set(found)
    # A message that the SDK had to send again may be there twice, as on AWS; every other one is there once.
    at_once = {f"message {n}" for n, answer in worker.done.items() if not answer["ResponseMetadata"]["RetryAttempts"]}
    assert {found[body] for body in at_once} == {1}


def _check_models(account: Account, worker: Worker) -> None:
    pages = account.client("sagemaker").get_paginator("list_models").paginate(NameContains="model-")
    names = [each["ModelName"] for page in pages for each in page["Models"]]
    assert len(names) == len(set(names))
    assert {f"model-{number}" for number in worker.done} == set(names)


def _check_usage(cloud: Any, account: Account, workers: dict[str, Worker]) -> None:
    """Each billed request that the gateway logged is in the ledger once, and each job has one row of seconds."""
    rows = cloud.control("GET", f"/_lab/tenants/{account.tenant.account}/usage")
    counted = _requests(rows)
    assert counted == _logged(cloud.home.root, account.tenant.account)
    assert counted["S3"] >= len(workers["put"].done)
    training = Counter(row["resource"] for row in rows if row["sku"] == f"{INSTANCE} Training")
    assert set(training) == {f"job-{number}" for number in workers["train"].done}
    assert set(training.values()) == {1}


def _logged(home: Path, account: str) -> Counter[str]:
    """Billed requests per service, from the whole access log at once."""
    entries = map(parse_line, (home / "gateway" / "access.log").read_bytes().splitlines())
    rows = usage_of(entry for entry in entries if entry is not None and entry.tenant == account)
    return _requests(asdict(row) for row in rows)


def _requests(rows: Iterable[dict[str, Any]]) -> Counter[str]:
    counted: Counter[str] = Counter()
    for row in rows:
        if row["unit"] == "request":
            counted[row["service"]] += row["quantity"]
    return counted


def _report(workers: list[Worker], probe: Probe, kills: list[Kill]) -> str:
    outages = [f"{seconds * 1000:.0f}" for _, seconds in _outages(probe, [k for k in kills if k.part == "envoy"])]
    ready = {part: max(k.ready - k.at for k in kills if k.part == part) for part in PARTS}
    lines = [f"{w.name}: {len(w.done)} acknowledged, {len(w.failures)} failed" for w in workers]
    lines.append(f"probe without retries: {Counter(outcome for *_, outcome in probe.outcomes)}")
    lines.append(f"refused at each kill of Envoy, ms: {', '.join(outages)}")
    lines.append("ready again after, s (longest): " + ", ".join(f"{p} {s:.2f}" for p, s in ready.items()))
    return "\n".join(lines)
