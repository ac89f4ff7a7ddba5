"""`labs.connect`: the local cloud with nothing to configure, a real account only when it is meant."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import boto3
import pytest

import labs
from labs import aws, home, local, real
from labs.control import Control
from labs.real import RealAccountRefusedError
from labs.target import UnknownTargetError

PACKAGE = "arn:aws:sagemaker:us-east-1:123456789012:model-package/late/3"
SAGEMAKER_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")


@pytest.fixture
def lab(cloud: Any, monkeypatch: pytest.MonkeyPatch, clean_environment: None, request: pytest.FixtureRequest) -> Any:
    """A connected lab on the session's cloud."""
    monkeypatch.setenv("LAB_HOME", str(cloud.home.root))
    monkeypatch.setenv("LAB_TENANT_NAME", f"tests/{request.node.name}")
    made = labs.connect()
    yield made
    cloud.control("DELETE", f"/_lab/tenants/{made.account}")


def test_local_reaches_only_the_tenant(lab: aws.Lab, cloud: Any) -> None:
    assert lab.client("s3").meta.endpoint_url == cloud.url
    assert lab.client("sts").get_caller_identity()["Account"] == lab.account
    assert boto3.client("s3").meta.endpoint_url == cloud.url  # what a vendor's own example does
    assert lab.role == f"arn:aws:iam::{lab.account}:role/LabRole"
    assert [each["Name"] for each in lab.client("s3").list_buckets()["Buckets"]] == [lab.bucket]


def test_real_credentials_cannot_be_used_after_connect(
    cloud: Any, monkeypatch: pytest.MonkeyPatch, clean_environment: None, tmp_path: Path
) -> None:
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id=AKIAREAL\naws_secret_access_key=real\n")
    for name, value in {
        "LAB_HOME": str(cloud.home.root), "AWS_PROFILE": "work", "AWS_SESSION_TOKEN": "real",
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"), "AWS_ENDPOINT_URL_S3": "https://s3.example",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    lab = labs.connect(lab="secrets")
    found = boto3.Session().get_credentials().get_frozen_credentials()
    assert (found.access_key, found.token) == (lab.account, None)
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"} & set(os.environ)


def test_connecting_again_gives_the_same_account(lab: aws.Lab) -> None:
    again = labs.connect()
    assert (again.account, again.bucket, again.role) == (lab.account, lab.bucket, lab.role)


def test_client_is_cached_by_what_it_is(lab: aws.Lab) -> None:
    assert lab.client("s3") is lab.client("s3")
    once = lab.client("s3", retries=0)
    assert once is not lab.client("s3")
    assert once.meta.config.retries["total_max_attempts"] == 1


def test_s3_client_is_path_style_and_presigns_with_version_4(lab: aws.Lab) -> None:
    url = lab.client("s3").generate_presigned_url("get_object", Params={"Bucket": lab.bucket, "Key": "a"})
    assert f"/{lab.bucket}/a?" in url
    assert "X-Amz-Credential" in url


def test_sagemaker_sdk_uses_this_account_bucket_and_prefix(lab: aws.Lab) -> None:
    session = lab.sagemaker_session()
    assert session.boto_region_name == lab.region
    assert (session.default_bucket(), session.default_bucket_prefix) == (lab.bucket, lab.prefix)


def test_spend_counts_requests_and_bytes(lab: aws.Lab) -> None:
    lab.client("s3").put_object(Bucket=lab.bucket, Key="a", Body=b"x" * 1000)
    before = lab.spend().quantity("Standard GET/SELECT", "request")
    lab.client("s3").get_object(Bucket=lab.bucket, Key="a")
    assert lab.spend().quantity("Standard GET/SELECT", "request") == before + 1


def test_cleanup_leaves_nothing_and_can_be_repeated(lab: aws.Lab, capsys: pytest.CaptureFixture[str]) -> None:
    lab.client("s3").put_bucket_versioning(Bucket=lab.bucket, VersioningConfiguration={"Status": "Enabled"})
    for body in (b"1", b"2"):
        lab.client("s3").put_object(Bucket=lab.bucket, Key="a", Body=body)
    lab.client("sqs").create_queue(QueueName="waiting")
    lab.client("logs").create_log_group(logGroupName="/labs/test")
    lab.client("cloudwatch").put_metric_alarm(
        AlarmName="hot", Namespace="n", MetricName="m", Statistic="Sum", Period=60, EvaluationPeriods=1,
        Threshold=1, ComparisonOperator="GreaterThanThreshold",
    )  # fmt: skip
    kinds = {(each.service, each.kind) for each in lab.leftovers()}
    assert ("s3", "bucket") in kinds
    assert lab.leftovers()[0].billable
    lab.cleanup()
    assert lab.leftovers() == []
    lab.cleanup()
    assert "Nothing is left." in capsys.readouterr().out
    assert lab.bucket in [each["Name"] for each in lab.client("s3").list_buckets()["Buckets"]]


def test_cleanup_names_everything_it_could_not_delete(lab: aws.Lab) -> None:
    from labs.cleanup import CleanupError, Thing, run

    deleted: list[str] = []

    def fail() -> None:
        raise ValueError("in use")

    things = [Thing("s", "a", "1", fail), Thing("s", "b", "2", lambda: None), Thing("s", "c", "3", fail)]
    with pytest.raises(CleanupError, match=r"s a 1: in use\n  s c 3: in use"):
        run(things, lambda service, kind, name: deleted.append(name))
    assert deleted == ["2"]


@pytest.mark.parametrize("base", ["late", "Late flights, v2!", "x" * 200, "--", "ü"])
def test_names_are_valid_and_new(base: str, lab: aws.Lab) -> None:
    names = [lab.name(base) for _ in range(20)]
    assert len(set(names)) == 20
    for name in names:
        assert len(name) <= 63
        assert SAGEMAKER_NAME.fullmatch(name)
        assert lab.short_id in name


def test_tags_say_owner_lab_and_expiry(lab: aws.Lab) -> None:
    tags = {each["Key"]: each["Value"] for each in lab.tags}
    assert tags["owner"] == lab.owner
    assert tags["lab"] == lab.lab
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", tags["expires"])


def test_unknown_target_and_image_say_what_there_is(lab: aws.Lab) -> None:
    with pytest.raises(UnknownTargetError, match="local, aws"):
        labs.connect("azur")
    with pytest.raises(KeyError, match="sklearn"):
        lab.image("scikit")


def test_fault_is_of_this_tenant_and_ends_with_the_block(lab: aws.Lab, cloud: Any) -> None:
    with labs.fault("error", service="s3", status=503) as broken:
        (found,) = [each for each in cloud.control("GET", "/_lab/faults") if each["id"] in broken.ids]
        assert found["tenant"] == lab.account
    broken.clear()
    assert cloud.control("GET", "/_lab/faults") == []


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        ({}, {}, "budget in US dollars"),
        ({"budget_usd": 0, "confirm": True}, {}, "budget in US dollars"),
        ({"budget_usd": float("nan"), "confirm": True}, {}, "budget in US dollars"),
        ({"confirm": True}, {"LABS_BUDGET_USD": "five"}, "budget in US dollars"),
        ({"budget_usd": 5}, {}, "confirm=True"),
        ({"budget_usd": 5}, {"LABS_CONFIRM_REAL": "true"}, "confirm=True"),
        ({"budget_usd": 5, "confirm": True}, {"AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}, "Restart the kernel"),
        ({"budget_usd": 5, "confirm": True}, {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1"}, "AWS_ENDPOINT_URL_S3"),
        ({"budget_usd": 5, "confirm": True}, {}, "No AWS credentials were found"),
        ({}, {"LABS_BUDGET_USD": "5", "LABS_CONFIRM_REAL": "yes"}, "No AWS credentials were found"),
        (
            {"budget_usd": 5, "confirm": True},
            {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "x", "HTTPS_PROXY": "http://127.0.0.1:9"},
            "could not be verified",
        ),
    ],
)
def test_real_account_is_refused(
    arguments: dict[str, Any],
    environment: dict[str, str],
    words: str,
    lab_home: Path,
    clean_environment: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nowhere = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull, "AWS_MAX_ATTEMPTS": "1",
               "AWS_SHARED_CREDENTIALS_FILE": os.devnull}  # fmt: skip
    for name, value in {**nowhere, **environment}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RealAccountRefusedError, match=words):
        labs.connect("aws", **arguments)
    assert not lab_home.exists()  # nothing was begun


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({"LAB_TENANT_NAME": "run/x"}, "run/x"),
        ({"JPY_SESSION_NAME": str(home.repository() / "notebooks/start/00_tour.ipynb")}, "start/00_tour"),
        ({"JPY_SESSION_NAME": "/elsewhere/mine/try.ipynb"}, "mine/try"),
        ({}, "default"),
    ],
)
def test_tenant_is_named_after_the_notebook(
    variables: dict[str, str], name: str, lab_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in variables.items():
        monkeypatch.setenv(key, value)
    assert home.tenant_name() == name


def test_environment_sends_nothing_off_the_machine(lab: aws.Lab) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
        assert os.environ[name] == "http://127.0.0.1:9"
    assert set(local.to_remove(["AWS_PROFILE", "AWS_ENDPOINT_URL_STS", "AWS_REGION"])) == {
        "AWS_PROFILE", "AWS_ENDPOINT_URL_STS",
    }  # fmt: skip


@pytest.fixture
def ground(lab: aws.Lab, tmp_path: Path) -> tuple[real.RealGround, aws.Lab]:
    """The code for real accounts, on the local cloud."""
    session = boto3.Session(region_name=lab.region)
    made = real.RealGround(real.Ledger(tmp_path / "ledger.jsonl"), session, budget_usd=1.0)
    real_lab = aws.Lab(made, session, account=lab.account, tenant="t", lab="real", expires=2e9)
    made.watch(real_lab)
    return made, real_lab


def test_real_account_tags_and_records_what_is_made(ground: tuple[real.RealGround, aws.Lab]) -> None:
    made, lab = ground
    sagemaker = lab.client("sagemaker")
    answer = sagemaker.create_model_package_group(
        ModelPackageGroupName="late", Tags=[{"Key": "lab", "Value": "mine"}]
    )  # fmt: skip
    tags = {t["Key"]: t["Value"] for t in sagemaker.list_tags(ResourceArn=answer["ModelPackageGroupArn"])["Tags"]}
    assert tags == {"lab": "mine", "owner": lab.owner, "expires": "2033-05-18T03:33:20Z"}
    assert [(each.kind, each.name) for each in made.ledger.alive()] == [("model-package-group", "late")]
    made.deleted("sagemaker", "model-package-group", "late")
    assert made.ledger.alive() == []


def test_real_account_stops_at_the_budget(ground: tuple[real.RealGround, aws.Lab]) -> None:
    made, lab = ground
    entry = real.Entry("create", "sagemaker", "endpoint-config", "c", 0.0, {"instances": [["ml.m5.large", 2]]})
    made.ledger.write(entry)
    made.ledger.write(real.Entry("create", "sagemaker", "endpoint", "e", 0.0, {"config": "c"}))
    made.ledger.write(real.Entry("delete", "sagemaker", "endpoint", "e", 5 * 3600.0))
    assert lab.spend().seconds("ml.m5.large Hosting") == 2 * 5 * 3600
    with pytest.raises(real.BudgetExceededError, match=r"\$1\.15, has reached its budget of \$1\.00"):
        lab.client("sagemaker").create_endpoint(EndpointName="next", EndpointConfigName="c")


def test_ledger_survives_a_crash_while_writing(tmp_path: Path) -> None:
    ledger = real.Ledger(tmp_path / "l.jsonl")
    ledger.write(real.Entry("create", "s3", "bucket", "b", 1.0))
    with ledger.path.open("a") as file:
        file.write('{"event": "create", "serv')
    ledger.write(real.Entry("create", "s3", "bucket", "c", 2.0))
    assert [each.name for each in ledger.alive()] == ["b", "c"]


@pytest.mark.parametrize(
    ("arn", "parsed"),
    [
        ("arn:aws:sagemaker:us-east-1:123456789012:endpoint/late", ("sagemaker", "endpoint", "late")),
        ("arn:aws:s3:::bucket", ("s3", "bucket", "bucket")),
        (PACKAGE, ("sagemaker", "model-package", PACKAGE)),
        ("arn:aws:sns:us-east-1:123456789012:topic", None),
        ("nonsense", None),
    ],
)  # fmt: skip
def test_arn(arn: str, parsed: tuple[str, str, str] | None) -> None:
    assert real.parse_arn(arn) == parsed


def test_control_api_that_is_gone_says_what_to_do(cloud: Any, tmp_path: Path) -> None:
    from labs.cloud_process import CloudState
    from labs.control import ControlError

    state = CloudState(tmp_path, "token", {"control": 9, "aws": 9}, {})
    with pytest.raises(ControlError, match="Run: lab up"):
        Control(state).health()


@pytest.mark.parametrize(
    ("text", "words"),
    [(None, "No local cloud runs in"), ("{", "corrupt"), ('{"token": "t"}', "corrupt"), ("[]", "corrupt")],
)
def test_state_file_that_is_unusable_says_what_to_do(text: str | None, words: str, tmp_path: Path) -> None:
    from labs.cloud_process import CloudError, read_state

    if text is not None:
        (tmp_path / "state.json").write_text(text)
    with pytest.raises(CloudError, match=words) as found:
        read_state(tmp_path)
    assert "Run: lab up" in str(found.value)
