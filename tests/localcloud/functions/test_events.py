"""Functions set off by other services, and functions that call them; all through the gateway."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

PASS_ON = """
import boto3, json, os
sqs = boto3.client('sqs')
def handler(event, context):
    sqs.send_message(QueueUrl=os.environ['QUEUE'], MessageBody=json.dumps(event))
    if os.environ.get('FAIL'):
        raise ValueError('as told')
"""


@pytest.fixture
def queue(aws: Callable[..., Any]) -> Callable[..., tuple[str, str]]:
    """`queue(name)` makes one: URL and ARN."""
    sqs = aws("sqs")

    def make(name: str, **attributes: str) -> tuple[str, str]:
        url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    return make


@pytest.fixture
def receive(aws: Callable[..., Any], wait_until: Any) -> Callable[[str, int], list[dict[str, Any]]]:
    """`receive(url, count)`: so many messages, deleted."""
    sqs = aws("sqs")

    def some(url: str) -> Iterator[dict[str, Any]]:
        answer = sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], WaitTimeSeconds=1
        )
        for message in answer.get("Messages", []):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            yield message

    def take(url: str, count: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        wait_until(lambda: found.extend(some(url)) or len(found) >= count, timeout=30, what=f"{count} messages")
        return found

    return take


def _create(functions: Any, source: str, **variables: str) -> str:
    name: str = functions.create(source, Timeout=30, MemorySize=512, Environment={"Variables": variables})
    return name


def _arn(functions: Any, name: str) -> str:
    return f"arn:aws:lambda:us-east-1:{functions.account}:function:{name}"


@pytest.mark.contract
def test_an_asynchronous_event_is_tried_three_times_and_then_a_dead_letter(
    tenant_functions: Any, queue: Any, receive: Any
) -> None:
    tries, (letters, letters_arn) = queue("tries")[0], queue("letters")
    name = _create(tenant_functions, PASS_ON, QUEUE=tries, FAIL="1")
    tenant_functions.client.update_function_configuration(
        FunctionName=name, DeadLetterConfig={"TargetArn": letters_arn}
    )
    answer = tenant_functions.client.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"n": 1}')
    assert answer["StatusCode"] == 202
    assert [json.loads(each["Body"]) for each in receive(tries, 3)] == [{"n": 1}] * 3
    (letter,) = receive(letters, 1)
    assert json.loads(letter["Body"]) == {"n": 1}
    assert letter["MessageAttributes"]["ErrorMessage"]["StringValue"] == "as told"


def test_destinations_of_asynchronous_events(tenant_functions: Any, queue: Any, receive: Any) -> None:
    good, good_arn = queue("good")
    bad, bad_arn = queue("bad")
    name = tenant_functions.create(
        "def handler(e, c):\n    if e.get('fail'):\n        raise ValueError('x')\n    return 5\n"
    )
    tenant_functions.client.put_function_event_invoke_config(
        FunctionName=name, MaximumRetryAttempts=0,
        DestinationConfig={"OnSuccess": {"Destination": good_arn}, "OnFailure": {"Destination": bad_arn}},
    )  # fmt: skip
    for event in ({}, {"fail": True}):
        tenant_functions.client.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(event))
    success, failure = json.loads(receive(good, 1)[0]["Body"]), json.loads(receive(bad, 1)[0]["Body"])
    assert (success["requestContext"]["condition"], success["responsePayload"]) == ("Success", 5)
    assert failure["requestContext"]["condition"] == "RetriesExhausted"
    assert failure["responseContext"]["functionError"] == "Unhandled"
    assert failure["requestPayload"] == {"fail": True}


@pytest.mark.contract
def test_a_queue_as_event_source_with_partial_failures_and_dead_letters(
    aws: Any, tenant_functions: Any, queue: Any, receive: Any
) -> None:
    seen = queue("seen")[0]
    dead, dead_arn = queue("dead")
    policy = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 2})
    source_url, source_arn = queue("source", VisibilityTimeout="1", RedrivePolicy=policy)
    source = (
        "import boto3, json, os\nsqs = boto3.client('sqs')\ndef handler(event, context):\n"
        "    bad = [r['messageId'] for r in event['Records'] if r['body'] == 'bad']\n"
        "    for r in event['Records']:\n"
        "        sqs.send_message(QueueUrl=os.environ['QUEUE'], MessageBody=r['body'])\n"
        "    return {'batchItemFailures': [{'itemIdentifier': i} for i in bad]}\n"
    )
    name = tenant_functions.create(source, Timeout=1, MemorySize=512, Environment={"Variables": {"QUEUE": seen}})
    tenant_functions.client.update_function_configuration(FunctionName=name, Timeout=30)
    sqs = aws("sqs")
    sqs.send_message_batch(
        QueueUrl=source_url, Entries=[{"Id": str(i), "MessageBody": body} for i, body in enumerate(("a", "bad", "b"))]
    )
    tenant_functions.client.create_event_source_mapping(
        FunctionName=name, EventSourceArn=source_arn, BatchSize=10, FunctionResponseTypes=["ReportBatchItemFailures"]
    )
    assert [each["Body"] for each in receive(dead, 1)] == ["bad"]
    bodies = sorted(each["Body"] for each in receive(seen, 4))
    assert bodies == ["a", "b", "bad", "bad"]


@pytest.mark.contract
def test_a_rule_of_the_event_bus_invokes_a_function(aws: Any, tenant_functions: Any, queue: Any, receive: Any) -> None:
    seen = queue("seen")[0]
    name = _create(tenant_functions, PASS_ON, QUEUE=seen)
    events = aws("events")
    events.put_rule(Name="flights", EventPattern=json.dumps({"source": ["labs.flights"]}))
    events.put_targets(Rule="flights", Targets=[{"Id": "1", "Arn": _arn(tenant_functions, name)}])
    for source in ("labs.other", "labs.flights"):
        events.put_events(Entries=[{"Source": source, "DetailType": "late", "Detail": '{"minutes": 20}'}])
    (message,) = receive(seen, 1)
    event = json.loads(message["Body"])
    assert (event["source"], event["detail-type"], event["detail"]) == ("labs.flights", "late", {"minutes": 20})


@pytest.mark.contract
def test_a_topic_and_a_bucket_invoke_a_function(aws: Any, tenant_functions: Any, queue: Any, receive: Any) -> None:
    seen = queue("seen")[0]
    name = _create(tenant_functions, PASS_ON, QUEUE=seen)
    sns, s3, bucket = aws("sns"), aws("s3"), f"bucket-{tenant_functions.account}"
    topic = sns.create_topic(Name="topic")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=_arn(tenant_functions, name))
    sns.publish(TopicArn=topic, Message="from the topic")
    assert json.loads(receive(seen, 1)[0]["Body"])["Records"][0]["Sns"]["Message"] == "from the topic"
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_notification_configuration(
        Bucket=bucket,
        NotificationConfiguration={
            "LambdaFunctionConfigurations": [
                {"LambdaFunctionArn": _arn(tenant_functions, name), "Events": ["s3:ObjectCreated:*"]}
            ]
        },
    )
    s3.put_object(Bucket=bucket, Key="new.csv", Body=b"1")
    assert json.loads(receive(seen, 1)[0]["Body"])["Records"][0]["s3"]["object"]["key"] == "new.csv"


@pytest.mark.contract
def test_a_secret_in_a_function(aws: Any, tenant_functions: Any) -> None:
    aws("secretsmanager").create_secret(Name="key", SecretString="s3cret")
    source = (
        "import boto3\ndef handler(event, context):\n"
        "    return boto3.client('secretsmanager').get_secret_value(SecretId='key')['SecretString']\n"
    )
    assert tenant_functions.invoke(_create(tenant_functions, source)).payload == "s3cret"
