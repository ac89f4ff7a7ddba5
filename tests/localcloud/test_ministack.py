"""MiniStack as a part: the version, the internals that we build on, and that what it acknowledged survives kill -9."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from localcloud.aws import ministack
from localcloud.home import Home
from localcloud.parts import HOME_VARIABLE, PORTS_VARIABLE
from localcloud.ports import free_port

ACCOUNT = "123456789012"


class MiniStack:
    """The launcher in a process of its own, without the rest of the cloud."""

    def __init__(self, root: Path, make_client: Callable[..., Any], wait_until: Callable[..., Any]) -> None:
        self.home = Home(root).create()
        self.port, self.gateway_port = free_port(), free_port()
        self.log = root / "ministack.log"
        self._make_client, self._wait_until = make_client, wait_until
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        marks = {
            HOME_VARIABLE: str(self.home.root),
            PORTS_VARIABLE: f"aws={self.gateway_port},ministack={self.port}",
            "PATH": os.environ["PATH"],
        }
        with self.log.open("ab") as log:
            command = [sys.executable, "-P", "-m", "localcloud.aws.ministack"]
            self._process = subprocess.Popen(command, env=marks, cwd=self.home.root, stdout=log, stderr=log)
        self._wait_until(self._answers, what="MiniStack")

    def stop(self, number: int = signal.SIGKILL) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(20)

    def kill_and_start(self) -> None:
        self.stop()
        self.start()

    def client(self, service: str, retries: int = 2) -> Any:
        return self._make_client(service, f"http://127.0.0.1:{self.port}", ACCOUNT, "x", "us-east-1", retries)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/_ministack/health", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@pytest.fixture
def server(tmp_path: Path, make_client: Callable[..., Any], wait_until: Callable[..., Any]) -> Iterator[MiniStack]:
    running = MiniStack(tmp_path / "home", make_client, wait_until)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def small_server(
    small_disk: Path, make_client: Callable[..., Any], wait_until: Callable[..., Any]
) -> Iterator[MiniStack]:
    """On a disk of 1 MB."""
    running = MiniStack(small_disk / "home", make_client, wait_until)
    running.start()
    yield running
    running.stop()


@pytest.mark.parametrize("version", ["1.5.32", "1.6.0"])
def test_another_version_is_refused(version: str) -> None:
    with pytest.raises(ministack.WrongVersionError, match=f"MiniStack {version} .* exactly {ministack.VERSION}"):
        ministack.check_version(version)


@pytest.mark.contract
def test_the_internals_that_we_build_on_are_as_we_know_them() -> None:
    """Fails loudly when MiniStack moves what localcloud.aws.{durability,snapshots,journal,objects} use."""
    os.environ.setdefault("S3_PERSIST", "1")
    from ministack import app
    from ministack.core import persistence, responses
    from ministack.services import cloudwatch, cloudwatch_logs, s3, sqs

    ministack.check_version()
    arguments = ["method", "path", "headers", "body", "query_params"]
    for module in (s3, sqs, cloudwatch, cloudwatch_logs):
        assert list(inspect.signature(module.handle_request).parameters)[:5] == arguments
        assert set(module.get_state())
        assert module.copy.deepcopy
        assert module.time.time
    assert callable(app.SERVICE_HANDLERS["s3"])
    assert {"s3": "s3", "lambda": "lambda_svc", "cloudwatch_logs": "cloudwatch_logs"}.items() <= app._state_map.items()
    assert "SERVICE_HANDLERS.get(service)" in inspect.getsource(app._dispatch_service_request)
    assert "_load_persisted_state()" in inspect.getsource(app._handle_lifespan)
    assert "save_all(_build_persistence_save_dict())" in inspect.getsource(app._handle_lifespan)
    assert "load_state(state_key)" in inspect.getsource(app._load_persisted_state)
    assert list(inspect.signature(persistence._json_default).parameters) == ["obj"]
    assert persistence._state_format_version("cloudwatch_logs") == 3
    assert isinstance(s3._multipart_uploads, responses.AccountScopedDict)
    assert 'obj["body"] = None' in inspect.getsource(s3._persist_object)
    assert "_atomic_write(fpath, data)" in inspect.getsource(s3._persist_object)
    assert '"response": response' in inspect.getsource(s3._complete_multipart_upload)
    with responses.request_scope(ACCOUNT, "eu-west-1"):
        assert (responses.get_account_id(), responses.get_region()) == (ACCOUNT, "eu-west-1")


def test_what_was_acknowledged_survives_a_kill(server: MiniStack) -> None:
    s3, sqs, iam, logs, cloudwatch, sns = map(server.client, ("s3", "sqs", "iam", "logs", "cloudwatch", "sns"))
    s3.create_bucket(Bucket="bucket-one")
    s3.put_bucket_versioning(Bucket="bucket-one", VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_tagging(Bucket="bucket-one", Tagging={"TagSet": [{"Key": "owner", "Value": "me"}]})
    first = s3.put_object(Bucket="bucket-one", Key="a/b", Body=b"1", Metadata={"m": "1"}, ContentType="text/x")
    s3.put_object(Bucket="bucket-one", Key="a/b", Body=b"22", Metadata={"m": "2"})
    s3.put_object_tagging(Bucket="bucket-one", Key="a/b", Tagging={"TagSet": [{"Key": "t", "Value": "v"}]})
    s3.delete_object(Bucket="bucket-one", Key="gone")
    queue = sqs.create_queue(QueueName="queue")["QueueUrl"]
    sqs.send_message(QueueUrl=queue, MessageBody="stays")
    sqs.send_message(QueueUrl=queue, MessageBody="taken")
    topic = sns.create_topic(Name="topic")["TopicArn"]
    iam.create_role(RoleName="role", AssumeRolePolicyDocument="{}")
    now = int(time.time() * 1000)
    logs.create_log_group(logGroupName="group")
    logs.create_log_stream(logGroupName="group", logStreamName="stream")
    logs.put_log_events(
        logGroupName="group", logStreamName="stream", logEvents=[{"timestamp": now, "message": "hello"}]
    )
    logs.put_retention_policy(logGroupName="group", retentionInDays=7)
    logs.put_log_events(
        logGroupName="group", logStreamName="stream", logEvents=[{"timestamp": now + 1, "message": "again"}]
    )
    cloudwatch.put_metric_data(Namespace="N", MetricData=[{"MetricName": "m", "Value": 3.0}])

    for _ in range(2):
        server.kill_and_start()
        s3, sqs, iam, logs, cloudwatch, sns = map(server.client, ("s3", "sqs", "iam", "logs", "cloudwatch", "sns"))
        assert s3.get_bucket_versioning(Bucket="bucket-one")["Status"] == "Enabled"
        assert s3.get_bucket_tagging(Bucket="bucket-one")["TagSet"] == [{"Key": "owner", "Value": "me"}]
        found = s3.get_object(Bucket="bucket-one", Key="a/b")
        assert (found["Body"].read(), found["Metadata"]) == (b"22", {"m": "2"})
        old = s3.get_object(Bucket="bucket-one", Key="a/b", VersionId=first["VersionId"])
        assert (old["Body"].read(), old["Metadata"], old["ContentType"]) == (b"1", {"m": "1"}, "text/x")
        assert s3.get_object_tagging(Bucket="bucket-one", Key="a/b")["TagSet"] == [{"Key": "t", "Value": "v"}]
        counted = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
        assert counted["ApproximateNumberOfMessages"] == "2"
        assert sns.get_topic_attributes(TopicArn=topic)["Attributes"]["TopicArn"] == topic
        assert iam.get_role(RoleName="role")["Role"]["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/role"
        events = logs.get_log_events(logGroupName="group", logStreamName="stream", startFromHead=True)["events"]
        assert [event["message"] for event in events] == ["hello", "again"]
        assert logs.describe_log_groups()["logGroups"][0]["retentionInDays"] == 7
        points = cloudwatch.get_metric_statistics(
            Namespace="N", MetricName="m", StartTime=time.time() - 600, EndTime=time.time() + 60, Period=3600,
            Statistics=["Sum", "SampleCount"],
        )["Datapoints"]  # fmt: skip
        assert [(point["Sum"], point["SampleCount"]) for point in points] == [(3.0, 1.0)]


def test_deletions_survive_a_kill(server: MiniStack) -> None:
    s3, sqs, logs = map(server.client, ("s3", "sqs", "logs"))
    for name in ("bucket-gone", "bucket-kept"):
        s3.create_bucket(Bucket=name)
        s3.put_object(Bucket=name, Key="k", Body=b"x")
    s3.delete_object(Bucket="bucket-gone", Key="k")
    s3.delete_bucket(Bucket="bucket-gone")
    queue = sqs.create_queue(QueueName="queue")["QueueUrl"]
    sqs.send_message(QueueUrl=queue, MessageBody="done")
    received = sqs.receive_message(QueueUrl=queue)["Messages"][0]
    logs.create_log_group(logGroupName="gone")
    logs.delete_log_group(logGroupName="gone")
    server.kill_and_start()
    sqs = server.client("sqs")
    assert [b["Name"] for b in server.client("s3").list_buckets()["Buckets"]] == ["bucket-kept"]
    assert server.client("logs").describe_log_groups()["logGroups"] == []
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=received["ReceiptHandle"])  # taken before the kill
    server.kill_and_start()
    counted = server.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    assert (counted["ApproximateNumberOfMessages"], counted["ApproximateNumberOfMessagesNotVisible"]) == ("0", "0")


def test_an_upload_in_parts_survives_kills_and_its_end_may_be_asked_for_again(server: MiniStack) -> None:
    s3 = server.client("s3")
    s3.create_bucket(Bucket="bucket-parts")
    upload = {"Bucket": "bucket-parts", "Key": "big"}
    upload["UploadId"] = s3.create_multipart_upload(**upload, Metadata={"a": "b"})["UploadId"]
    server.kill_and_start()
    parts = []
    for number, body in ((1, b"a" * (5 << 20)), (2, b"b")):
        tag = server.client("s3").upload_part(**upload, PartNumber=number, Body=body)["ETag"]
        parts.append({"PartNumber": number, "ETag": tag})
        server.kill_and_start()
    ends = [
        server.client("s3").complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})["ETag"]
        for _ in (1, server.kill_and_start())
    ]
    assert ends[0] == ends[1]
    server.kill_and_start()
    again = server.client("s3").complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    found = server.client("s3").head_object(Bucket="bucket-parts", Key="big")
    assert (again["ETag"], found["ContentLength"], found["Metadata"]) == (ends[0], (5 << 20) + 1, {"a": "b"})


def test_an_aborted_upload_stays_aborted(server: MiniStack) -> None:
    s3 = server.client("s3")
    s3.create_bucket(Bucket="bucket-abort")
    upload = {"Bucket": "bucket-abort", "Key": "big"}
    upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
    s3.upload_part(**upload, PartNumber=1, Body=b"x")
    s3.abort_multipart_upload(**upload)
    server.kill_and_start()
    assert "Uploads" not in server.client("s3").list_multipart_uploads(Bucket="bucket-abort")


def test_locks_on_objects_survive_a_kill(server: MiniStack) -> None:
    s3 = server.client("s3")
    s3.create_bucket(Bucket="bucket-locked", ObjectLockEnabledForBucket=True)
    s3.put_object(Bucket="bucket-locked", Key="k", Body=b"x")
    s3.put_object_legal_hold(Bucket="bucket-locked", Key="k", LegalHold={"Status": "ON"})
    server.kill_and_start()
    held = server.client("s3").get_object_legal_hold(Bucket="bucket-locked", Key="k")
    assert held["LegalHold"]["Status"] == "ON"


def test_writers_at_the_moment_of_a_kill_lose_nothing_acknowledged(server: MiniStack) -> None:
    server.client("s3").create_bucket(Bucket="bucket-busy")
    queue = server.client("sqs").create_queue(QueueName="busy")["QueueUrl"]
    server.client("logs").create_log_group(logGroupName="busy")
    acknowledged: dict[str, set[str]] = {"s3": set(), "sqs": set(), "iam": set(), "logs": set()}
    stop = threading.Event()

    def write(service: str) -> None:
        client = server.client(service)
        actions: dict[str, Callable[[str], Any]] = {
            "s3": lambda name: client.put_object(Bucket="bucket-busy", Key=name, Body=name.encode()),
            "sqs": lambda name: client.send_message(QueueUrl=queue, MessageBody=name),
            "iam": lambda name: client.create_role(RoleName=name, AssumeRolePolicyDocument="{}"),
            "logs": lambda name: client.create_log_stream(logGroupName="busy", logStreamName=name),
        }
        number = 0
        while not stop.is_set():
            number += 1
            try:
                actions[service](f"n{number}")
                acknowledged[service].add(f"n{number}")
            except Exception:  # a kill; the name was not acknowledged, and the next one is tried
                continue

    writers = [threading.Thread(target=write, args=(service,)) for service in acknowledged]
    for writer in writers:
        writer.start()
    for kills in range(1, 4):
        server._wait_until(lambda: all(len(names) > 10 * kills for names in acknowledged.values()))  # noqa: B023
        server.kill_and_start()
    stop.set()
    for writer in writers:
        writer.join()
    server.kill_and_start()

    s3 = server.client("s3")
    assert all(
        s3.get_object(Bucket="bucket-busy", Key=name)["Body"].read() == name.encode() for name in acknowledged["s3"]
    )
    bodies = _receive_all(server.client("sqs"), queue)
    assert acknowledged["sqs"] <= set(bodies)
    roles = {r["RoleName"] for p in server.client("iam").get_paginator("list_roles").paginate() for r in p["Roles"]}
    assert acknowledged["iam"] <= roles
    pages = server.client("logs").get_paginator("describe_log_streams").paginate(logGroupName="busy")
    assert acknowledged["logs"] <= {s["logStreamName"] for p in pages for s in p["logStreams"]}


def _receive_all(sqs: Any, queue: str) -> list[str]:
    bodies: list[str] = []
    while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        bodies += [message["Body"] for message in messages]
        for message in messages:
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    return bodies


def test_an_overwrite_torn_by_a_kill_is_made_whole(server: MiniStack) -> None:
    s3 = server.client("s3")
    s3.create_bucket(Bucket="bucket-torn")
    s3.put_object(Bucket="bucket-torn", Key="k", Body=b"old", Metadata={"m": "1"})
    server.stop()
    # A kill between MiniStack's two renames: the object is new, its description old.
    (server.home.ministack / "s3" / ACCOUNT / "bucket-torn" / "k").write_bytes(b"longer and new")
    server.start()
    found = server.client("s3").get_object(Bucket="bucket-torn", Key="k")
    assert found["Body"].read() == b"longer and new"
    assert found["ContentLength"] == len(b"longer and new")


@pytest.mark.parametrize("text", ["", '{"__ministack_format__": 2, "payl', "[]"])
def test_a_corrupt_state_file_is_set_aside(server: MiniStack, text: str) -> None:
    server.client("s3").create_bucket(Bucket="bucket-kept")
    server.client("iam").create_role(RoleName="lost", AssumeRolePolicyDocument="{}")
    server.stop()
    (server.home.ministack / "state" / "iam.json").write_text(text)
    server.start()
    assert server.client("s3").list_buckets()["Buckets"][0]["Name"] == "bucket-kept"
    server.client("iam").create_role(RoleName="new", AssumeRolePolicyDocument="{}")
    [aside] = (server.home.ministack / "state").glob("iam.json.corrupt-*")
    assert aside.read_text() == text
    assert "cannot be read" in server.log.read_text()


def test_a_torn_line_of_a_journal_is_left_out(server: MiniStack) -> None:
    logs = server.client("logs")
    logs.create_log_group(logGroupName="group")
    server.stop()
    [journal] = (server.home.ministack / "state").glob("cloudwatch_logs.*.journal")
    with journal.open("ab") as file:
        file.write(b'{"account": "123')
    server.start()
    server.client("logs").create_log_group(logGroupName="after")
    server.kill_and_start()
    names = [group["logGroupName"] for group in server.client("logs").describe_log_groups()["logGroups"]]
    assert names == ["after", "group"]


def test_a_full_disk_refuses_and_keeps_what_was_acknowledged(small_server: MiniStack) -> None:
    s3, iam = small_server.client("s3", retries=0), small_server.client("iam", retries=0)
    s3.create_bucket(Bucket="bucket-small")
    s3.put_object(Bucket="bucket-small", Key="kept", Body=b"kept")
    iam.create_role(RoleName="kept", AssumeRolePolicyDocument="{}")
    filler = small_server.home.root / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096):
            pass
    for refused in (
        lambda: s3.put_object(Bucket="bucket-small", Key="big", Body=b"x" * 65_536),
        lambda: iam.create_role(RoleName="refused", AssumeRolePolicyDocument="x" * 8192),
    ):
        with pytest.raises(ClientError, match="not acknowledged") as failed:
            refused()
        assert failed.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    filler.unlink()
    small_server.kill_and_start()
    assert small_server.client("s3").get_object(Bucket="bucket-small", Key="kept")["Body"].read() == b"kept"
    assert small_server.client("iam").get_role(RoleName="kept")
    small_server.client("s3").put_object(Bucket="bucket-small", Key="big", Body=b"x" * 65_536)


def test_a_clean_stop_keeps_everything_too(server: MiniStack) -> None:
    server.client("dynamodb").create_table(
        TableName="table", BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
    )  # fmt: skip
    server.stop(signal.SIGTERM)
    server.start()
    assert server.client("dynamodb").list_tables()["TableNames"] == ["table"]


def test_urls_lead_to_the_gateway(server: MiniStack) -> None:
    url = server.client("sqs").create_queue(QueueName="q")["QueueUrl"]
    assert url == f"http://127.0.0.1:{server.gateway_port}/{ACCOUNT}/q"


@pytest.mark.contract
def test_s3_through_the_gateway(aws: Callable[..., Any], tenant: Any) -> None:
    s3 = aws("s3")
    bucket = f"bucket-{tenant.account}"
    s3.create_bucket(Bucket=bucket)
    for method, body in (("put_object", b"presigned"), ("get_object", None)):
        url = s3.generate_presigned_url(method, Params={"Bucket": bucket, "Key": "p"}, ExpiresIn=60)
        assert "X-Amz-Credential" in url
        request = urllib.request.Request(url, data=body, method="PUT" if body else "GET")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as answer:
            text = answer.read()
    assert text == b"presigned"


@pytest.mark.contract
def test_notifications_reach_a_queue(aws: Callable[..., Any], tenant: Any) -> None:
    s3, sqs = aws("s3"), aws("sqs")
    bucket = f"bucket-{tenant.account}"
    s3.create_bucket(Bucket=bucket)
    queue = sqs.create_queue(QueueName="told")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    statement = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
    s3.put_bucket_notification_configuration(
        Bucket=bucket,
        NotificationConfiguration={"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]},
    )
    s3.put_object(Bucket=bucket, Key="told", Body=b"x")
    keys = set()
    for _ in range(3):  # AWS and MiniStack first send a test event
        for message in sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=2, MaxNumberOfMessages=10).get(
            "Messages", []
        ):
            keys |= {record["s3"]["object"]["key"] for record in json.loads(message["Body"]).get("Records", [])}
        if keys:
            break
    assert keys == {"told"}
