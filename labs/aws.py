"""Ready-made AWS clients of one tenant: the vendor's own SDKs, aimed at the local cloud or at a real account."""

from __future__ import annotations

import itertools
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from labs import cleanup as _cleanup
from labs import show, spend
from labs.control import Leftover

if TYPE_CHECKING:
    import boto3

ROLE_NAME: Final = "LabRole"
_POLICY_NAME: Final = "labs"
_TRUST: Final = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"},
    ],
}
_ON_ANYTHING: Final = (
    "ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability",
    "cloudwatch:PutMetricData",
    # The SageMaker SDK asks for these before each training job, with or without a VPC (its iam_policies.py).
    "ec2:CreateNetworkInterface", "ec2:CreateNetworkInterfacePermission", "ec2:DeleteNetworkInterface",
    "ec2:DeleteNetworkInterfacePermission", "ec2:DescribeNetworkInterfaces", "ec2:DescribeVpcs",
    "ec2:DescribeDhcpOptions", "ec2:DescribeSubnets", "ec2:DescribeSecurityGroups",
)  # fmt: skip
_ON_LOGS: Final = ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams")
_ON_BUCKET: Final = ("s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket", "s3:GetBucketLocation")
_NAME_LIMIT: Final = 63
"""SageMaker: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62} (API reference, CreateEndpoint)."""

IMAGES: Final[Mapping[str, Mapping[str, str]]] = {
    "sklearn": {"framework": "sklearn", "version": "1.4-2", "py_version": "py3", "instance_type": "ml.m5.large"},
}
"""The vendor's containers that labs use, by short name."""


class Ground(Protocol):
    """Where a lab stands: what differs between the local cloud and a real account."""

    target: str

    def usage(self) -> list[dict[str, Any]]:
        """Usage rows of this tenant up to now (the ledger's fields)."""

    def leftovers(self) -> list[Leftover]:
        """What this tenant still has."""

    def to_delete(self, lab: Lab) -> Iterable[_cleanup.Thing]:
        """What `cleanup` may delete."""

    def track(self, service: str, kind: str, name: str, detail: Mapping[str, Any]) -> None:
        """Remember that something is about to be made."""

    def deleted(self, service: str, kind: str, name: str) -> None:
        """Remember that something is gone."""


class Lab:
    """One tenant's account: clients, names, spend, clean-up. `labs.connect` makes it."""

    def __init__(
        self, ground: Ground, session: boto3.Session, *, account: str, tenant: str, lab: str, expires: float
    ) -> None:
        self.target = ground.target
        """`local` or `aws`."""
        self.session = session
        self.account = account
        self.region: str = session.region_name or "us-east-1"
        self.lab = lab
        self.tenant = tenant
        self.expires = expires
        """Unix seconds after which what this lab made may be removed."""
        self._ground = ground
        self._clients: dict[tuple[Any, ...], Any] = {}
        self._names: dict[str, int] = {}
        self._has_role = self._has_bucket = False

    def __repr__(self) -> str:
        return f"Lab({self.lab!r} on {self.target}: account {self.account}, {self.region})"

    @property
    def short_id(self) -> str:
        """Four characters that tell this tenant's names from those of others."""
        return short_id(self.account, self.tenant)

    @property
    def prefix(self) -> str:
        """The prefix in the bucket under which this lab writes."""
        return f"labs/{self.lab}-{self.short_id}"

    @property
    def owner(self) -> str:
        """The value of the tag `owner` on everything this lab makes."""
        return f"labs-{self.short_id}"

    @property
    def tags(self) -> list[dict[str, str]]:
        """Owner, lab and expiry, in the form most AWS calls take."""
        expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.expires))
        return [
            {"Key": "owner", "Value": self.owner},
            {"Key": "lab", "Value": self.lab},
            {"Key": "expires", "Value": expires},
        ]

    @property
    def role(self) -> str:
        """The ARN of the role that jobs and endpoints run with; made on first use."""
        if not self._has_role:
            _make_role(self)
            self._has_role = True
        return f"arn:aws:iam::{self.account}:role/{ROLE_NAME}"

    @property
    def bucket(self) -> str:
        """The name of the lab's bucket (the SageMaker SDK's default bucket); made on first use."""
        if not self._has_bucket:
            _make_bucket(self, self.bucket_name)
            self._has_bucket = True
        return self.bucket_name

    @property
    def bucket_name(self) -> str:
        """The same name, without making the bucket."""
        return bucket_name(self.region, self.account)

    def client(self, service: str, *, retries: int | None = None, **options: Any) -> Any:
        """A boto3 client, cached. `retries=0` makes each call once, so that failures can be counted honestly."""
        key = (service, retries, *sorted((name, repr(value)) for name, value in options.items()))
        if key not in self._clients:
            self._clients[key] = self._make_client(service, retries, options)
        return self._clients[key]

    def _make_client(self, service: str, retries: int | None, options: dict[str, Any]) -> Any:
        from botocore.config import Config

        config = Config(signature_version="s3v4") if service == "s3" else Config()
        if service == "s3" and self.target == "local":
            config = config.merge(Config(s3={"addressing_style": "path"}))
        if retries is not None:
            config = config.merge(Config(retries={"mode": "standard", "total_max_attempts": retries + 1}))
        config = config.merge(options.pop("config", None) or Config())
        # The stubs know only the literal names of services.
        return cast("Any", self.session).client(service, config=config, **options)

    def sagemaker_session(self) -> Any:
        """A session for the SageMaker SDK (`sagemaker_session=`) that uses this account, bucket and prefix."""
        from sagemaker.core.helper.session_helper import Session

        return Session(
            boto_session=self.session,
            sagemaker_client=self.client("sagemaker"),
            sagemaker_runtime_client=self.client("sagemaker-runtime"),
            default_bucket=self.bucket,
            default_bucket_prefix=self.prefix,
        )

    def image(self, name: str) -> str:
        """The URI of a vendor's container, the same on both targets; KeyError names the known ones."""
        if name not in IMAGES:
            raise KeyError(f"No container is known as {name!r}. Known: {', '.join(IMAGES)}")
        from sagemaker.core import image_uris

        return str(image_uris.retrieve(region=self.region, **IMAGES[name]))

    def name(self, base: str) -> str:
        """A name that is new on each call and valid for SageMaker: base, tenant, moment, and a counter if needed."""
        stamp = time.strftime("%m%d-%H%M%S", time.gmtime())
        clean = re.sub(r"[^a-zA-Z0-9]+", "-", base).strip("-") or "lab"
        tail = f"-{self.short_id}-{stamp}"
        for number in itertools.count(1):
            ending = tail if number == 1 else f"{tail}-{number}"
            candidate = f"{clean[: _NAME_LIMIT - len(ending)].rstrip('-')}{ending}"
            if candidate not in self._names:
                self._names[candidate] = number
                return candidate
        raise AssertionError

    def track(self, service: str, kind: str, name: str, **detail: Any) -> None:
        """Tell the ledger of a real account about something made with other clients, so that clean-up finds it."""
        self._ground.track(service, kind, name, detail)

    def spend(self) -> spend.Spend:
        """What this tenant used so far, at list price. Shows itself as a table."""
        return spend.of_usage(self._ground.usage(), f"Spend of {self.lab} so far")

    def leftovers(self) -> list[Leftover]:
        """What this tenant still has, billable things first."""
        return sorted(
            self._ground.leftovers(), key=lambda each: (not each.billable, each.service, each.kind, each.name)
        )

    def cleanup(self) -> _cleanup.Cleaned:
        """Delete everything this lab made, through the vendor's own calls; doing it again does no harm.

        Raises CleanupError with every failure when something could not be deleted, or is still there.
        """
        cleaned = _cleanup.run(self._ground.to_delete(self), self._ground.deleted)
        self._has_role = self._has_bucket = False
        _cleanup.refuse_leftovers(self.leftovers())
        show.note(str(cleaned), "right")
        return cleaned


def short_id(account: str, tenant: str) -> str:
    """Four characters from the account and the tenant's name."""
    return sha256(f"{account}/{tenant}".encode()).hexdigest()[:4]


def bucket_name(region: str, account: str) -> str:
    """The SageMaker SDK's default bucket."""
    return f"sagemaker-{region}-{account}"


def role_policy(bucket: str) -> dict[str, Any]:
    """What jobs and endpoints may do: fetch images, write logs and metrics, use this one bucket."""
    bucket_arn = f"arn:aws:s3:::{bucket}"
    allowed = (
        (_ON_ANYTHING, "*"),
        (_ON_LOGS, "arn:aws:logs:*:*:log-group:/aws/sagemaker/*"),
        (_ON_BUCKET, [bucket_arn, f"{bucket_arn}/*"]),
    )
    statements = [{"Effect": "Allow", "Action": list(actions), "Resource": where} for actions, where in allowed]
    return {"Version": "2012-10-17", "Statement": statements}


def ignoring(code: str, call: Callable[..., Any], **arguments: Any) -> bool:
    """Call AWS; False when it answers with this error code (or one of several, separated by |), else True."""
    from botocore.exceptions import ClientError

    try:
        call(**arguments)
    except ClientError as error:
        if error.response["Error"]["Code"] not in code.split("|"):
            raise
        return False
    return True


def _make_role(lab: Lab) -> None:
    iam = lab.client("iam")
    trust = json.dumps(_TRUST)
    ignoring("EntityAlreadyExists", iam.create_role, RoleName=ROLE_NAME, AssumeRolePolicyDocument=trust, Tags=lab.tags)
    policy = json.dumps(role_policy(lab.bucket_name))
    iam.put_role_policy(RoleName=ROLE_NAME, PolicyName=_POLICY_NAME, PolicyDocument=policy)


def _make_bucket(lab: Lab, name: str) -> None:
    s3 = lab.client("s3")
    where = {} if lab.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": lab.region}}
    ignoring("BucketAlreadyOwnedByYou", s3.create_bucket, Bucket=name, **where)
