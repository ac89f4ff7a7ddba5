"""Standing on a real account: refusals, tags on everything, a ledger that survives a crash, and a budget."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from labs import cleanup, cost
from labs.control import Leftover

if TYPE_CHECKING:
    import boto3

    from labs.aws import Lab

CONFIRM_VARIABLE: Final = "LABS_CONFIRM_REAL"
BUDGET_VARIABLE: Final = "LABS_BUDGET_USD"
_KINDS: Final[Mapping[str, tuple[str, str]]] = {
    "CreateEndpoint": ("endpoint", "EndpointName"),
    "CreateEndpointConfig": ("endpoint-config", "EndpointConfigName"),
    "CreateModel": ("model", "ModelName"),
    "CreateTrainingJob": ("training-job", "TrainingJobName"),
    "CreateModelPackageGroup": ("model-package-group", "ModelPackageGroupName"),
}
"""SageMaker operation: the kind of thing it makes (as in its ARN) and the field that names it."""
_COSTLY: Final = frozenset({"CreateEndpoint", "CreateTrainingJob"})
_BILLABLE: Final = frozenset({"endpoint", "training-job"})


class RealAccountRefusedError(RuntimeError):
    """A real account was asked for without what makes it safe; nothing was called. The message says what to add."""


class BudgetExceededError(RuntimeError):
    """The lab's estimate reached its budget; nothing more is started."""


@dataclass(frozen=True)
class Entry:
    """A line of the ledger: something was about to be made, or is gone. `time` is in unix seconds."""

    event: str
    """`create` or `delete`."""
    service: str
    kind: str
    name: str
    time: float
    detail: dict[str, Any] = field(default_factory=dict)
    """Of an endpoint-config and a training-job: `instances`, a list of [type, count]; of an endpoint: `config`."""


class Ledger:
    """What a lab made on a real account: one JSON object per line, written before the call that makes it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    def write(self, entry: Entry) -> None:
        """Append a line, and return when it is on the disk."""
        with self.path.open("a") as file:
            # On a line of its own, even after a line that a crash cut off.
            file.write("\n" + json.dumps(asdict(entry)) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def entries(self) -> list[Entry]:
        """All lines; the last one may be missing after a crash while it was written."""
        if not self.path.exists():
            return []
        return [Entry(**raw) for raw in _whole_lines(self.path.read_text())]

    def alive(self) -> list[Entry]:
        """What was made and is not known to be gone, oldest first."""
        found: dict[tuple[str, str, str], Entry] = {}
        for entry in self.entries():
            key = (entry.service, entry.kind, entry.name)
            if entry.event == "create":
                found[key] = entry
            else:
                found.pop(key, None)
        return list(found.values())


class RealGround:
    """One lab on a real account."""

    target = "aws"

    def __init__(self, ledger: Ledger, session: boto3.Session, budget_usd: float) -> None:
        self.ledger = ledger
        self._session = session
        self._budget_usd = budget_usd
        self._lab: Lab | None = None

    def watch(self, lab: Lab) -> None:
        """From now on tag and record what any client of the lab's session makes, and keep the budget."""
        self._lab = lab
        self._session.events.register("before-parameter-build.sagemaker", self._before_call)

    def usage(self) -> list[dict[str, Any]]:
        """An estimate from the ledger (endpoints) and from DescribeTrainingJob: real bills come a day later."""
        entries = self.ledger.entries()
        return [*_endpoint_usage(entries, self._region()), *self._training_usage(entries)]

    def leftovers(self) -> list[Leftover]:
        """What the ledger and the account's tags say is there; ended training jobs cost nothing and stay."""
        return [Leftover(service, kind, name, kind in _BILLABLE) for service, kind, name in self._present()]

    def to_delete(self, lab: Lab) -> Iterable[cleanup.Thing]:
        """What carries this lab's tags or is in its ledger, and the objects under its prefix; nothing else."""
        for service, kind, name in self._present():
            if cleanup.can_delete((service, kind)):
                yield cleanup.thing(lab, (service, kind), name)
        yield from cleanup.objects(lab, lab.bucket_name, lab.prefix)

    def track(self, service: str, kind: str, name: str, detail: Mapping[str, Any]) -> None:
        """Write to the ledger."""
        self.ledger.write(Entry("create", service, kind, name, time.time(), dict(detail)))

    def deleted(self, service: str, kind: str, name: str) -> None:
        """Write to the ledger."""
        self.ledger.write(Entry("delete", service, kind, name, time.time()))

    def _region(self) -> str:
        return self._session.region_name or "us-east-1"

    def _before_call(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        if not model.name.startswith("Create") or self._lab is None:
            return
        if model.name in _COSTLY:
            self._keep_budget()
        # A version in a package group has the group's tags and may have none of its own.
        is_version = model.name == "CreateModelPackage" and "ModelPackageGroupName" in params
        if "Tags" in model.input_shape.members and not is_version:
            add_tags(params, self._lab.tags)
        if model.name in _KINDS:
            kind, field_name = _KINDS[model.name]
            self.track("sagemaker", kind, params[field_name], _detail(params))

    def _keep_budget(self) -> None:
        spent = cost.bill(self.usage()).total_usd
        if spent >= self._budget_usd:
            raise BudgetExceededError(
                f"The estimate of this lab's spend, ${spent:.2f}, has reached its budget of ${self._budget_usd:.2f}."
                " Nothing was started. Run the clean-up, or connect with a larger budget_usd."
            )

    def _training_usage(self, entries: list[Entry]) -> Iterator[dict[str, Any]]:
        for entry in entries:
            if (entry.event, entry.kind) != ("create", "training-job"):
                continue
            seconds = self._billable_seconds(entry.name)
            for instance, count in entry.detail.get("instances", []):
                yield _usage_row(self._region(), f"{instance} Training", seconds * count)

    def _billable_seconds(self, job: str) -> float:
        from botocore.exceptions import ClientError

        try:
            found = self._session.client("sagemaker").describe_training_job(TrainingJobName=job)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("ValidationException", "ResourceNotFound"):
                return 0.0  # it was refused when it was made
            raise
        running = time.time() - found["CreationTime"].timestamp()
        return float(found.get("BillableTimeInSeconds") or found.get("TrainingTimeInSeconds") or running)

    def _present(self) -> list[tuple[str, str, str]]:
        found = {(entry.service, entry.kind, entry.name): None for entry in self.ledger.alive()}
        found.update(dict.fromkeys(self._tagged()))
        return [key for key in found if key[1] != "training-job" or self._is_running(key[2])]

    def _tagged(self) -> Iterator[tuple[str, str, str]]:
        owner = self._lab.owner if self._lab else ""
        pages = self._session.client("resourcegroupstaggingapi").get_paginator("get_resources")
        for page in pages.paginate(TagFilters=[{"Key": "owner", "Values": [owner]}]):
            for each in page["ResourceTagMappingList"]:
                parsed = parse_arn(each["ResourceARN"])
                # The index lags behind deletions by minutes: what the ledger says is gone counts as gone.
                if parsed and not self._is_known_gone(parsed):
                    yield parsed

    def _is_known_gone(self, key: tuple[str, str, str]) -> bool:
        events = [each.event for each in self.ledger.entries() if (each.service, each.kind, each.name) == key]
        return bool(events) and events[-1] == "delete"

    def _is_running(self, job: str) -> bool:
        found = self._session.client("sagemaker").describe_training_job(TrainingJobName=job)
        return found["TrainingJobStatus"] in ("InProgress", "Stopping")


def refuse_unless_safe(budget_usd: float | None, confirm: bool, environ: Mapping[str, str]) -> float:
    """The budget in US dollars, when everything that makes a real account safe is there.

    Looks only at the arguments and the environment; raises RealAccountRefusedError before any call is made.
    """
    local = [name for name in environ if name.startswith("AWS_ENDPOINT_URL")]
    if local:
        raise RealAccountRefusedError(
            f"{', '.join(local)} is set, so the SDKs would not reach the real account."
            " Restart the kernel (one process serves one target), or unset it."
        )
    budget = _budget(budget_usd, environ)
    if not (confirm or environ.get(CONFIRM_VARIABLE) == "yes"):
        raise RealAccountRefusedError(
            f"A real account costs real money (budget: ${budget:.2f}). If you mean it, add confirm=True"
            f" (or set {CONFIRM_VARIABLE}=yes, or: lab run --target aws --budget {budget:g} --confirm)."
        )
    return budget


def refuse_without_credentials(session: boto3.Session) -> None:
    """Raise RealAccountRefusedError when the default credential chain finds nothing."""
    if session.get_credentials() is None:
        raise RealAccountRefusedError(
            "No AWS credentials were found. Sign in first (aws configure sso, aws sso login or AWS_PROFILE),"
            " then try again."
        )


def identify(session: boto3.Session) -> str:
    """The account id of the credentials; raises RealAccountRefusedError when they do not work."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return str(session.client("sts").get_caller_identity()["Account"])
    except (BotoCoreError, ClientError) as error:
        raise RealAccountRefusedError(
            f"The AWS credentials could not be verified ({error}). Sign in again, then try again."
        ) from error


def add_tags(params: dict[str, Any], tags: list[dict[str, str]]) -> None:
    """Add tags to a call's parameters, keeping those that are there."""
    given = list(params.get("Tags") or [])
    keys = {each["Key"] for each in given}
    params["Tags"] = given + [each for each in tags if each["Key"] not in keys]


def parse_arn(arn: str) -> tuple[str, str, str] | None:
    """Service, kind and name of an ARN (`arn:aws:sagemaker:us-east-1:123456789012:endpoint/late`), if it has them."""
    parts = arn.split(":", 5)
    if len(parts) < 6:
        return None
    service, resource = parts[2], parts[5]
    if service == "s3":
        return service, "bucket", resource
    kind, _, name = resource.partition("/")
    return (service, kind, arn if kind == "model-package" else name) if name else None


def _budget(budget_usd: float | None, environ: Mapping[str, str]) -> float:
    given = environ.get(BUDGET_VARIABLE) if budget_usd is None else budget_usd
    try:
        budget = float(given or 0)
    except ValueError:
        budget = 0.0
    if not 0 < budget < float("inf"):
        raise RealAccountRefusedError(
            "A real account needs a budget in US dollars: labs.connect('aws', budget_usd=5, confirm=True)"
            f" (or set {BUDGET_VARIABLE}=5, or: lab run --target aws --budget 5 --confirm)."
        )
    return budget


def _whole_lines(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue


def _detail(params: Mapping[str, Any]) -> dict[str, Any]:
    """What the estimate needs to know of a Create call."""
    if "ResourceConfig" in params:
        resources = params["ResourceConfig"]
        return {"instances": [[resources.get("InstanceType"), resources.get("InstanceCount", 1)]]}
    if "ProductionVariants" in params:
        variants = params["ProductionVariants"]
        return {"instances": [[v.get("InstanceType"), v.get("InitialInstanceCount", 1)] for v in variants]}
    if "EndpointConfigName" in params:
        return {"config": params["EndpointConfigName"]}
    return {}


def _endpoint_usage(entries: list[Entry], region: str) -> Iterator[dict[str, Any]]:
    """Hosting seconds of each endpoint, from its creation to its deletion or now, by its first configuration."""
    configs = {e.name: e.detail for e in entries if (e.event, e.kind) == ("create", "endpoint-config")}
    for entry in entries:
        if (entry.event, entry.kind) != ("create", "endpoint"):
            continue
        ended = [e.time for e in entries if (e.event, e.kind, e.name) == ("delete", "endpoint", entry.name)]
        seconds = (ended[0] if ended else time.time()) - entry.time
        for instance, count in configs.get(entry.detail.get("config", ""), {}).get("instances", []):
            yield _usage_row(region, f"{instance} Hosting", seconds * count)


def _usage_row(region: str, sku: str, seconds: float) -> dict[str, Any]:
    return {
        "provider": "aws", "region": region, "service": "SageMaker AI", "sku": sku, "unit": "second",
        "quantity": seconds,
    }  # fmt: skip
