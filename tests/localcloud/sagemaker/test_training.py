"""Training jobs through boto3: what runs, what it leaves, and how it ends."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections import Counter
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from localcloud.aws.logs import MOST_BYTES

from .conftest import archive

pytestmark = pytest.mark.contract


def members(data: bytes) -> list[str]:
    """Names in a tar.gz."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return tar.getnames()


def usage_of(cloud, account, job):
    """The ledger's training rows of a job."""
    rows = cloud.control("GET", f"/_lab/tenants/{account}/usage")
    return [row for row in rows if row["resource"] == job and row["unit"] == "second"]


def test_job_gets_its_inputs_and_leaves_its_outputs(sagemaker, cloud):
    sagemaker.put("data/deep/a.csv", "1")
    sagemaker.put("data/b.csv", "2")
    job = sagemaker.train(
        "complete",
        """
        import json, os, pathlib
        data = pathlib.Path("/opt/ml/input/data/train")
        print("files", sorted(path.relative_to(data).as_posix() for path in data.rglob("*.csv")))
        print("hyper", json.load(open("/opt/ml/input/config/hyperparameters.json")))
        print("resources", json.load(open("/opt/ml/input/config/resourceconfig.json"))["hosts"])
        print("variables", sorted(name for name in os.environ if name.startswith(("LAB_", "JPY_", "VIRTUAL"))))
        print("user", os.environ["GREETING"])
        print("accuracy=0.5"); print("accuracy=0.75")
        pathlib.Path("/opt/ml/model/model.json").write_text("{}")
        pathlib.Path("/opt/ml/output/data/report.txt").write_text("fine")
        """,
        sagemaker.channel("train", f"s3://{sagemaker.bucket}/data/"),
        HyperParameters={"depth": "3"},
        Environment={"GREETING": "hello"},
    )
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    log = sagemaker.log("complete")
    assert "files ['b.csv', 'deep/a.csv']" in log
    assert "hyper {'depth': '3'}" in log
    assert "resources ['algo-1']" in log
    assert "variables ['LAB_PROCESS']" in log
    assert "user hello" in log
    assert [each["Value"] for each in job["FinalMetricDataList"]] == [0.75]
    base = f"s3://{sagemaker.bucket}/output/complete/output"
    assert job["ModelArtifacts"]["S3ModelArtifacts"] == f"{base}/model.tar.gz"
    assert members(sagemaker.get(f"{base}/model.tar.gz")) == ["model.json"]
    assert members(sagemaker.get(f"{base}/output.tar.gz")) == ["report.txt"]
    assert [each["Status"] for each in job["SecondaryStatusTransitions"]] == [
        "Starting", "Downloading", "Training", "Uploading", "Completed",
    ]  # fmt: skip
    rows = usage_of(cloud, sagemaker.account, "complete")
    assert [(row["sku"], row["quantity"]) for row in rows] == [("ml.m5.large Training", job["TrainingTimeInSeconds"])]


def test_metrics_are_in_cloudwatch(module_sagemaker):
    module_sagemaker.train("measured", "for value in (1, 2, 3): print(f'accuracy={value}')")
    found = module_sagemaker.cloudwatch.list_metrics(Namespace="/aws/sagemaker/TrainingJobs")["Metrics"]
    dimensions = [each["Dimensions"] for each in found if each["MetricName"] == "accuracy"]
    assert [{"Name": "TrainingJobName", "Value": "measured"}] in dimensions


def test_job_uses_the_cloud_as_its_tenant_and_reaches_nothing_else(module_sagemaker):
    job = module_sagemaker.train(
        "inside",
        """
        import boto3, urllib.request
        print("buckets", [each["Name"] for each in boto3.client("s3").list_buckets()["Buckets"]])
        try:
            urllib.request.urlopen("https://example.com", timeout=5)
        except OSError as error:
            print("outside:", error.reason)
        """,
    )
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    log = module_sagemaker.log("inside")
    assert f"buckets ['{module_sagemaker.bucket}']" in log
    assert any(line.startswith("outside:") and "refused" in line for line in log)


def test_classic_script_mode(module_sagemaker):
    code = archive({"train.py": b"import os, sys; print(sys.argv[1:], os.environ['SM_HP_DEPTH'])\n"})
    request = module_sagemaker.job_request("classic", "")
    request["AlgorithmSpecification"].pop("ContainerEntrypoint")
    request["HyperParameters"] = {
        "sagemaker_program": json.dumps("train.py"),
        "sagemaker_submit_directory": json.dumps(module_sagemaker.put("sourcedir.tar.gz", code)),
        "depth": "3",
    }
    module_sagemaker.client.create_training_job(**request)
    job = module_sagemaker.ended("classic")
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert "['--depth', '3'] 3" in module_sagemaker.log("classic")


def test_manifest_and_uncompressed_output(module_sagemaker):
    for name in ("a", "b", "c"):
        module_sagemaker.put(f"set/{name}", name)
    manifest = module_sagemaker.put(
        "manifest", json.dumps([{"prefix": f"s3://{module_sagemaker.bucket}/set/"}, "a", "c"])
    )
    job = module_sagemaker.train(
        "manifest",
        """
        import os, pathlib
        print(sorted(os.listdir("/opt/ml/input/data/train")))
        pathlib.Path("/opt/ml/model/weights").write_text("w")
        """,
        module_sagemaker.channel("train", manifest, S3DataType="ManifestFile"),
        OutputDataConfig={"S3OutputPath": f"s3://{module_sagemaker.bucket}/output", "CompressionType": "NONE"},
    )
    assert "['a', 'c']" in module_sagemaker.log("manifest"), job.get("FailureReason")
    assert module_sagemaker.get(f"{job['ModelArtifacts']['S3ModelArtifacts']}/weights") == b"w"


def test_script_that_writes_no_model_completes_without_one(module_sagemaker):
    job = module_sagemaker.train("modelless", "print('nothing to save')")
    assert job["TrainingJobStatus"] == "Completed"
    assert "Contents" not in module_sagemaker.s3.list_objects_v2(
        Bucket=module_sagemaker.bucket, Prefix="output/modelless"
    )


@pytest.mark.parametrize(
    ("name", "script", "reason"),
    [
        ("raises", "raise KeyError('no such column')", "KeyError: 'no such column', exit code: 1"),
        ("exits", "raise SystemExit(7)", "exit code: 7"),
        ("says-why", "open('/opt/ml/output/failure', 'w').write('bad data'); exit(3)", "bad data, exit code: 3"),
        ("signals", "import os; os.kill(os.getpid(), 11)", "exit code: 139"),
        ("wordy", "open('/opt/ml/output/failure', 'w').write('x' * 5000); exit(1)", "xxx, exit code: 1"),
    ],
)
def test_script_that_fails(module_sagemaker, name, script, reason):
    job = module_sagemaker.train(name, script)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Failed", "Failed")
    assert job["FailureReason"].startswith("AlgorithmError: ")
    assert job["FailureReason"].endswith(reason)
    assert len(job["FailureReason"]) <= 1024
    assert str(job["FailureReason"]).count("/jobs/") == 0, "paths are those of the container"


def test_script_that_never_ends_is_stopped_and_keeps_its_model(module_sagemaker):
    job = module_sagemaker.train(
        "endless",
        "import time; open('/opt/ml/model/half', 'w').write('1'); time.sleep(600)",
        StoppingCondition={"MaxRuntimeInSeconds": 1},
    )
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert members(module_sagemaker.get(job["ModelArtifacts"]["S3ModelArtifacts"])) == ["half"]


def test_stop_lets_the_script_finish_its_work(module_sagemaker):
    module_sagemaker.start(
        "stopped",
        """
        import signal, sys, time
        def save(*_):
            open("/opt/ml/model/saved", "w").write("1")
            sys.exit(0)
        signal.signal(signal.SIGTERM, save)
        print("ready", flush=True)
        time.sleep(600)
        """,
    )
    module_sagemaker.in_training("stopped", "ready")
    module_sagemaker.client.stop_training_job(TrainingJobName="stopped")
    assert module_sagemaker.job("stopped")["TrainingJobStatus"] in ("Stopping", "Stopped")
    job = module_sagemaker.ended("stopped")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert members(module_sagemaker.get(job["ModelArtifacts"]["S3ModelArtifacts"])) == ["saved"]
    with pytest.raises(ClientError, match=r"is in status Stopped\. Only jobs in progress can be stopped"):
        module_sagemaker.client.stop_training_job(TrainingJobName="stopped")


def test_long_log_is_cut_in_cloudwatch_and_whole_on_disk(module_sagemaker):
    lines = 2 * MOST_BYTES // 1000
    job = module_sagemaker.train(
        "chatty", f"for number in range({lines}): print(number, 'x' * 990)\nprint('accuracy=0.5')"
    )
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert job["FinalMetricDataList"][0]["Value"] == 0.5, "metrics are found beyond the limit too"
    stream = module_sagemaker.logs.get_log_events(
        logGroupName="/aws/sagemaker/TrainingJobs", logStreamName=module_sagemaker.streams("chatty")[0], limit=1
    )
    message = stream["events"][-1]["message"]
    assert message.startswith("[local cloud] CloudWatch gets the first 10 MB of a log. All of it is in ")
    with Path(message.rsplit(" ", 1)[-1]).open() as file:
        assert sum(1 for _ in file) == lines + 1


def test_killed_job_fails_with_its_exit_code(module_sagemaker, cloud):
    module_sagemaker.start("killed", "import time; print('ready', flush=True); time.sleep(600)")
    module_sagemaker.in_training("killed", "ready")
    cloud.control("POST", "/_lab/faults", {"kind": "kill", "target": "killed", "tenant": module_sagemaker.account})
    job = module_sagemaker.ended("killed")
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].endswith("exit code: 137")


def test_one_instance_that_fails_ends_the_others(module_sagemaker):
    job = module_sagemaker.train(
        "half",
        """
        import json, time
        if json.load(open("/opt/ml/input/config/resourceconfig.json"))["current_host"] == "algo-2":
            raise RuntimeError("second instance")
        time.sleep(600)
        """,
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1},
    )
    assert job["TrainingJobStatus"] == "Failed"
    assert "RuntimeError: second instance" in job["FailureReason"]


SPOT = {"EnableManagedSpotTraining": True}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"TrainingJobName": "a_b"}, "Member must satisfy regular expression pattern"),
        ({"RoleArn": "arn:aws:iam::1:user/somebody-or-other"}, "at 'roleArn' failed to satisfy constraint"),
        (SPOT | {"StoppingCondition": {"MaxRuntimeInSeconds": 9}}, "Invalid MaxWaitTimeInSeconds. It must be present"),
        (
            SPOT | {"StoppingCondition": {"MaxRuntimeInSeconds": 9, "MaxWaitTimeInSeconds": 8}},
            "greater than or equal to MaxRuntimeInSeconds",
        ),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": 9, "MaxWaitTimeInSeconds": 9}}, "It can only be set when"),
        (
            {"ResourceConfig": {"InstanceType": "ml.huge", "InstanceCount": 1, "VolumeSizeInGB": 1}},
            "Value 'ml.huge' at 'resourceConfig.instanceType' failed to satisfy constraint: Member must satisfy enum",
        ),
        (
            {"ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 9, "VolumeSizeInGB": 1}},
            "at most 8 instances of a job on this machine",
        ),
        ({"VpcConfig": {"SecurityGroupIds": ["a"], "Subnets": ["b"]}}, "CreateTrainingJob with VpcConfig is not part"),
        (
            {"AlgorithmSpecification": {"TrainingImage": "1.dkr.ecr/xgboost:1.7-1", "TrainingInputMode": "File"}},
            "Running the image 1.dkr.ecr/xgboost:1.7-1 by itself (a built-in algorithm",
        ),
    ],
)  # fmt: skip
def test_create_refuses(module_sagemaker, changes, message):
    request = {**module_sagemaker.job_request("refused", ""), **changes}
    with pytest.raises(ClientError) as raised:
        module_sagemaker.client.create_training_job(**request)
    assert message in str(raised.value)
    assert module_sagemaker.client.list_training_jobs(NameContains="refused")["TrainingJobSummaries"] == []


def test_channel_without_data_is_refused_at_once(module_sagemaker):
    channel = module_sagemaker.channel("train", f"s3://{module_sagemaker.bucket}/nothing/")
    with pytest.raises(ClientError, match=r'No S3 objects found under S3 URL "s3://.*/nothing/"'):
        module_sagemaker.train("empty", "", channel)


def test_name_can_be_used_once(module_sagemaker):
    module_sagemaker.start("once", "pass")
    with pytest.raises(module_sagemaker.client.exceptions.ResourceInUse, match="must be unique"):
        module_sagemaker.start("once", "pass")


def test_bucket_for_the_output_is_missing(module_sagemaker):
    job = module_sagemaker.train(
        "nowhere", "open('/opt/ml/model/m', 'w').write('1')", OutputDataConfig={"S3OutputPath": "s3://no-such-bucket/x"}
    )
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: Artifact upload failed: Could not upload to s3://no-such")


def test_leftovers_are_running_jobs_only(sagemaker, cloud):
    sagemaker.train("over", "pass")
    sagemaker.start("going", "import time; time.sleep(600)")
    found = cloud.control("GET", f"/_lab/tenants/{sagemaker.account}/leftovers")
    jobs = [(each["kind"], each["name"], each["billable"]) for each in found if each["service"] == "sagemaker"]
    assert jobs == [("training-job", "going", True)]


def test_overhead_of_a_job(sagemaker, record_property):
    """Not a limit, a figure: from CreateTrainingJob to Completed, minus what the script took."""
    began = time.time()
    job = sagemaker.train("quick", "import time; t = time.time(); print('began', t)")
    took = time.time() - began
    record_property("job_overhead_seconds", round(took, 3))
    assert Counter(each["Status"] for each in job["SecondaryStatusTransitions"])["Training"] == 1
