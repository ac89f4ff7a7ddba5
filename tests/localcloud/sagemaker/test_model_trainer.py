"""The SDK's ModelTrainer, unmodified. All jobs are started by one process, for importing the SDK takes seconds."""

from __future__ import annotations

import io
import tarfile
import textwrap
import zipfile
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.contract

SCRIPTS = {
    "good": """
        import argparse, json, os
        parser = argparse.ArgumentParser()
        parser.add_argument("--rate", type=float)
        rate = parser.parse_args().rate
        with open(os.path.join(os.environ["SM_CHANNEL_TRAIN"], "train.csv")) as file:
            rows = len(file.readlines())
        print(f"rows={rows} rate={rate} accuracy=0.875")
        with open(os.path.join(os.environ["SM_MODEL_DIR"], "model.json"), "w") as file:
            json.dump({"factor": rate}, file)
    """,
    "bad": "raise ValueError('the data is upside down')",
    "wheel": "import lab_greeting; print(lab_greeting.TEXT)",
    "missing": "print('never reached')",
    "sharded": """
        import os
        names = sorted(os.listdir(os.environ["SM_CHANNEL_PARTS"]))
        print(os.environ["SM_CURRENT_HOST"], os.environ["SM_HOST_COUNT"], *names)
    """,
    "spot": """
        import pathlib, time
        step = pathlib.Path("/opt/ml/checkpoints/step")
        if step.exists():
            print("resumed at", step.read_text())
        else:
            step.write_text("7")
            print("waiting", flush=True)
            time.sleep(600)
    """,
}

PROGRAM = """
    from sagemaker.core.shapes import S3DataSource
    from sagemaker.core.utils.utils import configure_logging
    from sagemaker.train import ModelTrainer
    from sagemaker.train.configs import (
        CheckpointConfig, Compute, InputData, MetricDefinition, SourceCode, StoppingCondition,
    )
    configure_logging("INFO")
    result = {}

    def train(name, requirements=None, compute=None, inputs=(), wait=False, **options):
        trainer = ModelTrainer(
            training_image=IMAGE, role=ROLE, base_job_name=name,
            compute=compute or Compute(instance_type=INSTANCE, instance_count=1),
            source_code=SourceCode(source_dir=name, entry_script="train.py", requirements=requirements),
            **{"stopping_condition": StoppingCondition(max_runtime_in_seconds=600), **options},
        ).with_metric_definitions([MetricDefinition(name="accuracy", regex=r"accuracy=([0-9.]+)")])
        try:
            trainer.train(input_data_config=list(inputs), wait=wait, logs=wait)
            error = ""
        except Exception as raised:
            error = f"{type(raised).__name__}: {raised}"
        result[name] = {"name": trainer._latest_training_job.training_job_name, "error": error}

    train("spot",
          compute=Compute(instance_type=INSTANCE, instance_count=1, enable_managed_spot_training=True),
          stopping_condition=StoppingCondition(max_runtime_in_seconds=600, max_wait_time_in_seconds=1200),
          checkpoint_config=CheckpointConfig(s3_uri=f"s3://{BUCKET}/checkpoints"))
    train("wheel", requirements="requirements.txt")
    train("missing", requirements="requirements.txt")
    parts = S3DataSource(s3_uri=f"s3://{BUCKET}/parts/", s3_data_type="S3Prefix",
                         s3_data_distribution_type="ShardedByS3Key")
    train("sharded", compute=Compute(instance_type=INSTANCE, instance_count=2),
          inputs=[InputData(channel_name="parts", data_source=parts)])
    train("bad", wait=True)
    train("good", hyperparameters={"rate": 0.5}, wait=True,
          inputs=[InputData(channel_name="train", data_source="train.csv")])
"""


@pytest.fixture(scope="module")
def jobs(run_sdk, module_sagemaker, tmp_path_factory) -> dict[str, dict[str, str]]:
    """The jobs by script: their full names and what `train` raised."""
    folder = tmp_path_factory.mktemp("sources")
    for name, script in SCRIPTS.items():
        (folder / name).mkdir()
        (folder / name / "train.py").write_text(textwrap.dedent(script))
    for name in ("wheel", "missing"):
        (folder / name / "requirements.txt").write_text("lab_greeting==1.0\n")
    write_wheel(folder / "wheel")
    (folder / "train.csv").write_text("1\n2\n3\n")
    for number in range(4):
        module_sagemaker.put(f"parts/{number}", str(number))
    started: dict[str, dict[str, str]] = run_sdk(PROGRAM, folder)
    return started


def write_wheel(folder: Path) -> None:
    """A wheel with one module."""
    info = "lab_greeting-1.0.dist-info"
    with zipfile.ZipFile(folder / "lab_greeting-1.0-py3-none-any.whl", "w") as file:
        file.writestr("lab_greeting.py", "TEXT = 'installed in the job'")
        file.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: lab_greeting\nVersion: 1.0\n")
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/RECORD", "")


def ended(sagemaker: Any, jobs: dict[str, dict[str, str]], which: str) -> tuple[dict[str, Any], list[str]]:
    """A job's description and log."""
    name = jobs[which]["name"]
    return sagemaker.ended(name), sagemaker.log(name)


def test_trains_with_metrics_logs_and_a_model(jobs, module_sagemaker):
    job, log = ended(module_sagemaker, jobs, "good")
    assert (jobs["good"]["error"], job["TrainingJobStatus"]) == ("", "Completed")
    assert {each["MetricName"]: each["Value"] for each in job["FinalMetricDataList"]} == {"accuracy": 0.875}
    assert any("rows=3 rate=0.5" in line for line in log)
    with tarfile.open(fileobj=io.BytesIO(module_sagemaker.get(job["ModelArtifacts"]["S3ModelArtifacts"]))) as tar:
        assert tar.getnames() == ["model.json"]


def test_failure_is_raised_with_the_scripts_own_error(jobs):
    error = jobs["bad"]["error"]
    assert error.startswith("FailedStatusError")
    assert "ValueError: the data is upside down" in error
    assert "exit code: 1" in error


def test_requirements_come_from_a_local_wheel(jobs, module_sagemaker):
    job, log = ended(module_sagemaker, jobs, "wheel")
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert "installed in the job" in log


def test_requirement_that_is_not_available_offline_is_explained(jobs, module_sagemaker):
    job, log = ended(module_sagemaker, jobs, "missing")
    assert job["TrainingJobStatus"] == "Failed"
    assert "pip ran offline" in job["FailureReason"]
    assert "LAB_WHEELS" in job["FailureReason"]
    assert "never reached" not in log


def test_two_instances_share_a_sharded_channel(jobs, module_sagemaker):
    job, log = ended(module_sagemaker, jobs, "sharded")
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert len(module_sagemaker.streams(job["TrainingJobName"])) == 2
    assert {"algo-1 2 0 2", "algo-2 2 1 3"} <= set(log)


def test_spot_job_restarts_from_its_checkpoint(jobs, module_sagemaker, cloud):
    name = jobs["spot"]["name"]
    module_sagemaker.in_training(name, "waiting")
    cloud.control("POST", "/_lab/faults", {"kind": "spot-reclaim", "target": name, "tenant": module_sagemaker.account})
    job, log = ended(module_sagemaker, jobs, "spot")
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert "resumed at 7" in log
    assert "Interrupted" in [each["Status"] for each in job["SecondaryStatusTransitions"]]
    assert job["BillableTimeInSeconds"] < job["TrainingTimeInSeconds"]
    assert len(module_sagemaker.streams(name)) == 1
