"""`lab bench`: what the local cloud costs in time and memory, as ratios measured in one run on this machine."""

from __future__ import annotations

import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil

from labs import cloud_process, control, flights, home, show, target
from labs.wait import wait_for_status, wait_until

if TYPE_CHECKING:
    from labs.aws import Lab

_CONNECTIONS: Final = 8
_ROUND_SECONDS: Final = 1.0
_ROUNDS: Final = 9
_REPEATS: Final = 3
_CLIENT: Final = "own client (asyncio, httptools, one process)"
_QUIET_PERCENT: Final = 15.0
_SCRIPT: Final = "import time; time.sleep(1.0); print('slept=1.0;')"
_SLEPT: Final = 1.0


@dataclass(frozen=True)
class Measure:
    """One figure and what it should be."""

    name: str
    value: float
    unit: str
    limit: float | None
    """None: told, not judged."""
    at_least: bool = False
    detail: str = ""

    @property
    def ok(self) -> bool:
        """Whether it is within its limit."""
        return self.limit is None or (self.value >= self.limit if self.at_least else self.value <= self.limit)


@dataclass(frozen=True)
class Served:
    """An endpoint that serves the flights model, and how long it took to be InService (seconds)."""

    endpoint: str
    container: dict[str, Any]
    in_service: list[float]


def main(*, full: bool = False, only: tuple[str, ...] = ()) -> int:
    """Measure, print a table, write _build/bench.json; 0 when every target is met."""
    wanted = only or tuple(name for name in _GROUPS if full or name != "run")
    unknown = [name for name in wanted if name not in _GROUPS]
    if unknown:
        sys.stderr.write(f"lab: there is no measure {unknown[0]!r}. Known: {', '.join(_GROUPS)}\n")
        return 2
    busy = psutil.cpu_percent(interval=1.0)
    found = [measure for name in wanted for measure in _GROUPS[name]()]
    _write(found, busy)
    sys.stdout.write(_table(found) + "\n")
    if busy > _QUIET_PERCENT:
        sys.stdout.write(
            f"Before the first measure other programs used {busy:.0f}% of the processors: measure again.\n"
        )
    return 0 if all(each.ok for each in found) else 1


def measure_serving() -> Iterator[Measure]:
    """CreateEndpoint to InService, and the gateway against the bare replica."""
    with _lab() as lab:
        served = _serve(lab)
        seconds = served.in_service
        yield Measure("CreateEndpoint to InService", statistics.median(seconds), "s", 3.0, detail=_each(seconds))
        yield from _compare(lab, served.endpoint)


def measure_job() -> Iterator[Measure]:
    """What a training job adds to its script."""
    with _lab() as lab:
        _upload(lab, "code/script.py", _SCRIPT.encode())
        seconds = [_job(lab) - _SLEPT for _ in range(_REPEATS)]
        detail = f"{_each(seconds)}; CreateTrainingJob to Completed, minus a script that sleeps 1 s"
        yield Measure("job overhead", statistics.median(seconds), "s", 2.0, detail=detail)


def measure_start() -> Iterator[Measure]:
    """Ready from nothing, and memory when idle, of a cloud of its own."""
    with tempfile.TemporaryDirectory(prefix="labs-bench-") as folder:
        arguments = ["--home", str(Path(folder) / "home")]
        began = time.perf_counter()
        done = _localcloud("up", "--aws-port", "0", *arguments)
        seconds = time.perf_counter() - began
        if done.returncode != 0:
            raise cloud_process.CloudError(done.stderr[-2000:])
        try:
            detail = "empty state folder, no process running; the disk cache may be warm"
            yield Measure("ready from cold", seconds, "s", 4.0, detail=detail)
            state = cloud_process.read_state(Path(folder) / "home")
            yield _idle_memory(state)
        finally:
            _localcloud("down", *arguments)


def measure_functions() -> Iterator[Measure]:
    """Lambda warm, cold and provisioned, API Gateway, throttling, and S3 through the gateway."""
    from labs import bench_functions

    with _lab() as lab:
        yield from bench_functions.measure(lab)


def measure_run() -> Iterator[Measure]:
    """A warm `lab run`: all labs and the book."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "labs.cli", "run"], cwd=home.repository(), check=False)
    seconds = time.perf_counter() - began
    yield Measure("lab run", seconds if done.returncode == 0 else float("inf"), "s", 120.0, detail="labs and book")


_GROUPS: Final[Mapping[str, Callable[[], Iterator[Measure]]]] = {
    "start": measure_start,
    "job": measure_job,
    "serving": measure_serving,
    "functions": measure_functions,
    "run": measure_run,
}


@contextmanager
def _lab() -> Iterator[Lab]:
    """A tenant for the benchmark, removed afterwards; this process's environment is put back."""
    before, name = dict(os.environ), "bench"
    os.environ["LAB_TENANT_NAME"] = name
    made = target.connect(lab=name)
    try:
        yield made
    finally:
        control.connect().delete_tenant(made.account)
        os.environ.clear()
        os.environ.update(before)


def _compare(lab: Lab, endpoint: str) -> Iterator[Measure]:
    """Pairs of short rounds, compared pair by pair: whatever else the machine does meanwhile hits both alike."""
    body = flights.csv_row(flights.sample(1)[0])
    bare, gateway = _bare(lab, body), _gateway(lab, endpoint, body)
    pairs = [(_send(bare), _send(gateway)) for _ in range(_ROUNDS)]
    ratio = statistics.median(through["per_second"] / alone["per_second"] for alone, through in pairs)
    slower = statistics.median(through["p50_ms"] - alone["p50_ms"] for alone, through in pairs)
    rate, p50 = _medians(pairs, "per_second"), _medians(pairs, "p50_ms")
    cpu = max(each["client_cpu"] for pair in pairs for each in pair)
    yield Measure(
        "gateway throughput / bare replica", ratio, "", 0.5, at_least=True,
        detail=f"{rate[1]:.0f} of {rate[0]:.0f} requests per second; {_CLIENT}, {_CONNECTIONS} connections,"
        f" at most {cpu:.0%} of a core; median of {_ROUNDS} pairs of rounds",
    )  # fmt: skip
    yield Measure("gateway p50 - bare replica p50", slower, "ms", 1.0, detail=f"{p50[1]:.2f} and {p50[0]:.2f} ms")
    yield Measure("failed requests", sum(each["errors"] for pair in pairs for each in pair), "", 0.0)


def _medians(pairs: list[tuple[dict[str, Any], dict[str, Any]]], name: str) -> tuple[float, float]:
    """Of the bare replica and of the gateway."""
    return statistics.median(pair[0][name] for pair in pairs), statistics.median(pair[1][name] for pair in pairs)


def _gateway(lab: Lab, endpoint: str, body: str) -> dict[str, Any]:
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest

    state = cloud_process.read_state()
    path = f"/endpoints/{endpoint}/invocations"
    request = AWSRequest("POST", state.aws_url + path, data=body, headers={"Content-Type": "text/csv"})
    credentials = lab.session.get_credentials()
    assert credentials is not None  # connect has set them
    SigV4Auth(credentials, "sagemaker", lab.region).add_auth(request)
    return _spec(state.ports["aws"], path, dict(request.headers.items()), body)


def _bare(lab: Lab, body: str) -> dict[str, Any]:
    replicas = [
        port
        for each in control.connect().processes()
        if each["kind"] == "replica" and lab.account in each["name"]
        for port in _listening(each["pid"])
    ]
    if len(replicas) != 1:
        raise cloud_process.CloudError(
            f"One replica should serve the benchmark; found ports {replicas}. Run: lab doctor"
        )
    return _spec(replicas[0], "/invocations", {"Content-Type": "text/csv"}, body)


def _listening(pid: int) -> list[int]:
    try:
        found = psutil.Process(pid).net_connections("tcp")
    except psutil.Error:
        return []
    return [each.laddr.port for each in found if each.status == psutil.CONN_LISTEN]


def _spec(port: int, path: str, headers: dict[str, str], body: str) -> dict[str, Any]:
    return {
        "host": "127.0.0.1", "port": port, "path": path, "headers": headers, "body": body,
        "connections": _CONNECTIONS, "seconds": _ROUND_SECONDS,
    }  # fmt: skip


def _send(spec: Mapping[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-m", "labs.bench_client"]
    done = subprocess.run(command, input=json.dumps(spec), capture_output=True, text=True, check=True, timeout=60)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _serve(lab: Lab) -> Served:
    """The flights model behind an endpoint: made and removed several times, the last one stays."""
    key = f"{lab.prefix}/model.tar.gz"
    with tempfile.TemporaryDirectory() as folder:
        lab.client("s3").upload_file(str(_train(Path(folder))), lab.bucket, key)
    container = {
        "Image": lab.image("sklearn"),
        "ModelDataUrl": f"s3://{lab.bucket}/{key}",
        "Environment": {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"},
    }
    sagemaker = lab.client("sagemaker")
    sagemaker.create_model(ModelName="bench", ExecutionRoleArn=lab.role, PrimaryContainer=container)
    variant = {"VariantName": "all", "ModelName": "bench", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName="bench", ProductionVariants=[variant])
    names = [f"bench-{number}" for number in range(_REPEATS)]
    seconds = []
    for number, name in enumerate(names):
        if number:
            _remove(sagemaker, names[number - 1])
        seconds.append(_in_service(sagemaker, name))
    return Served(names[-1], container, seconds)


def _in_service(sagemaker: Any, name: str) -> float:
    began = time.perf_counter()
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName="bench")
    wait_for_status(
        lambda: str(sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"]), "InService", 60,
        "CreateEndpoint", every=0.02,
        reason=lambda: str(sagemaker.describe_endpoint(EndpointName=name).get("FailureReason")),
    )  # fmt: skip
    return time.perf_counter() - began


def _remove(sagemaker: Any, name: str) -> None:
    sagemaker.delete_endpoint(EndpointName=name)
    wait_until(
        lambda: not sagemaker.list_endpoints(NameContains=name)["Endpoints"], 60, "DeleteEndpoint", every=0.05
    )  # fmt: skip


def _train(folder: Path) -> Path:
    """The flights model as a training job would leave it."""
    channels = flights.write_training_channel(folder / "data", rows=20_000)
    command = [
        sys.executable, str(flights.SCRIPTS / "train.py"), "--train", str(channels.train),
        "--validation", str(channels.validation), "--model_dir", str(folder / "model"), "--max_iter", "50",
        "--checkpoints", str(folder / "checkpoints"),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    archive = folder / "model.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted((folder / "model").iterdir()):
            tar.add(path, path.name)
    return archive


def _upload(lab: Lab, name: str, content: bytes) -> None:
    lab.client("s3").put_object(Bucket=lab.bucket, Key=f"{lab.prefix}/{name}", Body=content)


def _job(lab: Lab) -> float:
    """Seconds from CreateTrainingJob to Completed."""
    sagemaker, name = lab.client("sagemaker"), lab.name("bench")
    began = time.perf_counter()
    where = f"s3://{lab.bucket}/{lab.prefix}"
    source = {"S3DataType": "S3Prefix", "S3Uri": f"{where}/code/", "S3DataDistributionType": "FullyReplicated"}
    sagemaker.create_training_job(
        TrainingJobName=name,
        RoleArn=lab.role,
        AlgorithmSpecification={
            "TrainingImage": lab.image("sklearn"), "TrainingInputMode": "File",
            "ContainerEntrypoint": ["python3", "/opt/ml/input/data/code/script.py"],
        },
        InputDataConfig=[{"ChannelName": "code", "DataSource": {"S3DataSource": source}}],
        OutputDataConfig={"S3OutputPath": f"{where}/output"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 60},
    )  # fmt: skip
    wait_for_status(
        lambda: str(sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"]), "Completed", 60,
        "CreateTrainingJob", every=0.02,
        reason=lambda: str(sagemaker.describe_training_job(TrainingJobName=name).get("FailureReason")),
    )  # fmt: skip
    return time.perf_counter() - began


def _idle_memory(state: cloud_process.CloudState) -> Measure:
    """Waits until the memory no longer changes."""
    seen: list[float] = []

    def is_steady() -> bool:
        gc.collect()
        seen.append(_megabytes(state))
        return len(seen) >= 4 and max(seen[-4:]) - min(seen[-4:]) < 0.01 * seen[-1]

    wait_until(is_steady, 30, "Waiting for the memory to settle", every=0.5)
    detail = "sum of all parts; shared pages counted once" if sys.platform == "linux" else "sum of resident memory"
    return Measure("idle memory", seen[-1], "MB", 350.0, detail=detail)


def _megabytes(state: cloud_process.CloudState) -> float:
    return sum(_memory(each["pid"]) for each in control.Control(state).processes()) / 1e6


def _memory(pid: int) -> float:
    try:
        found = psutil.Process(pid).memory_full_info()
    except psutil.Error:
        return 0.0
    return float(getattr(found, "pss", 0) or found.rss)


def _localcloud(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "localcloud", *arguments]
    env = cloud_process.environment()
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=env)


def _each(values: list[float]) -> str:
    return "median of " + ", ".join(f"{value:.2f}" for value in values)


def _table(found: list[Measure]) -> str:
    rows = [
        [
            "✔ ok" if each.ok else "✘ missed", each.name, f"{each.value:.3g} {each.unit}".strip(),
            "" if each.limit is None else f"{'>=' if each.at_least else '<='} {each.limit:g} {each.unit}".strip(),
            each.detail,
        ]
        for each in found
    ]  # fmt: skip
    return show.text_table(["", "measure", "figure", "target", "how"], rows)


def _write(found: list[Measure], busy: float) -> None:
    path = home.build_folder() / "bench.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    report = {
        "measured": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {
            "system": platform.platform(), "python": platform.python_version(), "cores": os.cpu_count(),
            "busy_percent_before": busy,
        },
        "measures": [{**asdict(each), "ok": each.ok} for each in found],
    }  # fmt: skip
    path.write_text(json.dumps(report, indent=1))
