"""From requests to the usage ledger: counts and bytes per tenant, service, resource and minute."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

from localcloud.gateway.log_entry import Entry
from localcloud.meter.usage import Usage

MINUTE: Final = 60

_NAMES: Final = {
    "apigateway": "API Gateway", "application-autoscaling": "Application Auto Scaling", "bedrock": "Bedrock",
    "budgets": "Budgets", "ce": "Cost Explorer", "cloudformation": "CloudFormation", "dynamodb": "DynamoDB",
    "ecr": "ECR", "events": "EventBridge", "execute-api": "API Gateway", "iam": "IAM", "kinesis": "Kinesis",
    "kms": "KMS", "lambda": "Lambda", "logs": "CloudWatch Logs", "monitoring": "CloudWatch", "s3": "S3",
    "sagemaker": "SageMaker AI", "sagemaker-runtime": "SageMaker AI", "secretsmanager": "Secrets Manager",
    "sns": "SNS", "sqs": "SQS", "ssm": "Systems Manager", "states": "Step Functions", "sts": "STS",
}  # fmt: skip
"""SigV4 names to the price book's names."""
_REQUESTS: Final = "requests"
_S3_WRITES: Final = "Standard PUT/COPY/POST/LIST"
_S3_READS: Final = "Standard GET/SELECT"
_S3_DELETES: Final = "Standard DELETE"
_DATA_PLANE: Final = frozenset({"sagemaker-runtime"})
"""Services that bill the bytes that go in and out."""


def usage_of(entries: Iterable[Entry]) -> list[Usage]:
    """Rows to be added to the ledger, one per thing counted and minute."""
    sums: dict[tuple[str, ...], float] = defaultdict(float)
    for entry in filter(_is_billed, entries):
        for sku, unit, quantity in _quantities(entry):
            key = (entry.listener, entry.tenant, entry.region, entry.service, _resource(entry), sku, unit)
            sums[(*key, str(_minute(entry.time)))] += quantity
    return [_row(*key, quantity=quantity) for key, quantity in sums.items()]


def service_name(service: str) -> str:
    """The price book's name of a SigV4 service name."""
    return _NAMES.get(service, service)


def _is_billed(entry: Entry) -> bool:
    """As AWS bills: not what failed on the cloud's side (5xx, injected or not), nor what got no answer."""
    return bool(entry.tenant and entry.service and not entry.fault) and 100 <= entry.status < 500


def _quantities(entry: Entry) -> Iterator[tuple[str, str, float]]:
    yield _s3_class(entry) if entry.service == "s3" else _REQUESTS, "request", 1
    if entry.service in _DATA_PLANE:
        yield "data in", "byte", entry.bytes_in
        yield "data out", "byte", entry.bytes_out


def _s3_class(entry: Entry) -> str:
    """What S3 bills a request as: https://aws.amazon.com/s3/pricing/

    The log has no query, so any GET of a whole bucket counts as a list, and a POST that deletes many as a write.
    """
    of_object = bool(entry.path.strip("/").partition("/")[2])
    if entry.method == "DELETE":
        return _S3_DELETES
    return _S3_READS if entry.method == "HEAD" or (entry.method == "GET" and of_object) else _S3_WRITES


def _resource(entry: Entry) -> str:
    """The endpoint, or the bucket (path-style), when there is one."""
    if entry.service == "s3":
        return entry.path.split("/", 2)[1] if entry.path.startswith("/") else ""
    return entry.resource


def _minute(moment: float) -> int:
    return int(moment // MINUTE) * MINUTE


def _row(
    provider: str, tenant: str, region: str, service: str, resource: str, sku: str, unit: str, minute: str,
    *, quantity: float,
) -> Usage:  # fmt: skip
    return Usage(
        id=":".join((sku, provider, tenant, region, service, resource, minute)),
        tenant=tenant,
        provider=provider,
        region=region,
        service=service_name(service),
        sku=sku,
        resource=resource,
        unit=unit,
        quantity=quantity,
        started=float(minute),
        ended=float(minute) + MINUTE,
    )
