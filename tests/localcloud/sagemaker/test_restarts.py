"""What survives the death of the control plane, and what is said when a part is missing."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from localcloud.aws.sagemaker.job_outputs import failure_reason
from localcloud.aws.sagemaker.service_model import LazyModel
from localcloud.aws.sagemaker.training_files import InstanceFolder
from localcloud.aws.sagemaker.wire import Wire
from localcloud.runtime import job as runtime
from localcloud.runtime.spec import JobSpec, Limits
from localcloud.store import StoreFullError

from .conftest import SageMaker, model_archive


@pytest.mark.chaos
def test_jobs_and_endpoints_survive_a_killed_control_plane(own_cloud, wait_until, tmp_path):
    tenant = own_cloud.tenant("survivor")
    sagemaker = SageMaker(
        lambda service, **options: own_cloud.client(service, tenant, retries=8, **options), tenant.account, wait_until
    )
    sagemaker.model("m", model_archive(2))
    sagemaker.config("c", {"VariantName": "A", "ModelName": "m"})
    sagemaker.endpoint("e", "c")
    gate = tmp_path / "gate"
    sagemaker.start(
        "j",
        f"""
        import os, time
        for number in range(50): print("before", number)
        print("ready", flush=True)
        while not os.path.exists({str(gate)!r}): time.sleep(0.01)
        print("after")
        open("/opt/ml/model/m", "w").write("1")
        """,
    )
    sagemaker.in_training("j", "ready")
    for _ in range(3):
        pid = own_cloud.state.parts["controlplane"]["pid"]
        os.kill(pid, signal.SIGKILL)
        assert sagemaker.invoke("e")[1]["answer"] == [2], "endpoints serve without the control plane"
        wait_until(lambda pid=pid: own_cloud.state.parts["controlplane"]["pid"] != pid)
        own_cloud.wait_ready()
    gate.touch()
    job = sagemaker.ended("j")
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    log = sagemaker.log("j")
    assert log == [*(f"before {number}" for number in range(50)), "ready", "after"], "each line once"
    assert sagemaker.settled("e")["EndpointStatus"] == "InService"
    rows = own_cloud.control("GET", f"/_lab/tenants/{tenant.account}/usage")
    assert [row["resource"] for row in rows if row["id"].startswith("job:")] == ["j"]


@pytest.mark.chaos
def test_job_rides_out_a_dead_ministack(own_cloud, wait_until):
    tenant = own_cloud.tenant("rider")
    sagemaker = SageMaker(
        lambda service, **options: own_cloud.client(service, tenant, retries=8, **options), tenant.account, wait_until
    )
    sagemaker.start(
        "j", "import time; print('ready', flush=True); time.sleep(1); open('/opt/ml/model/m','w').write('1')"
    )
    sagemaker.in_training("j", "ready")
    os.kill(own_cloud.state.parts["ministack"]["pid"], signal.SIGKILL)
    job = sagemaker.ended("j")
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert sagemaker.get(job["ModelArtifacts"]["S3ModelArtifacts"])


def test_job_that_eats_memory(tmp_path: Path):
    folder = InstanceFolder(tmp_path / "algo-1")
    folder.begin()
    script = "held = []\nwhile True: held.append(bytearray(8 << 20))"
    runtime.start(
        JobSpec(
            folder=folder.root,
            command=("python3", "-c", script),
            env={"PATH": os.environ["PATH"]},
            working_folder=folder.ml,
            log=folder.log,
            limits=Limits(memory_bytes=128 << 20),
        )
    )
    reason = failure_reason(folder, "algo-1", runtime.wait(folder.root, 30))
    assert reason.startswith("ClientError: Please use an instance type with more memory")
    assert "more than its limit of 128 MiB" in reason
    assert reason.endswith("exit code: 137")


def test_job_whose_shim_was_killed(tmp_path: Path, wait_until):
    folder = InstanceFolder(tmp_path / "algo-1")
    folder.begin()
    runtime.start(
        JobSpec(
            folder=folder.root,
            command=("sleep", "600"),
            env={"PATH": os.environ["PATH"]},
            working_folder=folder.ml,
            log=folder.log,
        )
    )
    shim = wait_until(lambda: runtime.shim_identity(folder.root))
    os.kill(shim.pid, signal.SIGKILL)
    wait_until(lambda: runtime.status(folder.root).state == "ended")
    reason = failure_reason(folder, "algo-1", runtime.status(folder.root))
    assert reason.startswith("InternalServerError: algo-1 was lost")
    assert reason.endswith("Create the training job again.")


def answer(error: Exception) -> tuple[int, dict[str, str]]:
    """The wire's answer when an operation raises."""

    def operation(scope, request):
        raise error

    wire = Wire({"ListModels": operation}, LazyModel())
    authorization = "AWS4-HMAC-SHA256 Credential=123456789012/20260101/us-east-1/sagemaker/aws4_request, x"
    response = wire.answer("SageMaker.ListModels", authorization, b"{}")
    return response.status_code, json.loads(bytes(response.body))


def test_full_disk_is_a_vendors_error():
    status, body = answer(StoreFullError("The disk that holds x is full; nothing was changed. Free some space"))
    assert (status, body["__type"]) == (500, "InternalFailure")
    assert "nothing was changed. Free some space" in body["message"]


def test_unexpected_error_is_a_vendors_error():
    status, body = answer(RuntimeError("something odd"))
    assert (status, body["__type"]) == (500, "InternalFailure")
    assert "something odd" in body["message"]
    assert "lab logs controlplane" in body["message"]
