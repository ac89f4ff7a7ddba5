"""Local or real: `connect` gives a notebook its account, by one parameter."""

from __future__ import annotations

import os
import re
import time
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from labs import cloud_process, control, home, local, real, show
from labs.aws import Lab, bucket_name, short_id

if TYPE_CHECKING:
    from labs.cloud_process import CloudState

TARGETS: Final = ("local", "aws")
_REAL_HOURS: Final = 4.0


class UnknownTargetError(ValueError):
    """There is no such target; the message lists those there are."""


def connect(
    target: str = "local",
    *,
    lab: str | None = None,
    budget_usd: float | None = None,
    confirm: bool = False,
    region: str | None = None,
    ttl_hours: float | None = None,
) -> Lab:
    """The tenant of this notebook, with ready-made SDK clients.

    `local` starts the local cloud when it is not running and aims this process's SDKs at it; nothing leaves the
    machine. `aws` uses the default credential chain and refuses without a budget (`budget_usd`, or LABS_BUDGET_USD) and
    a confirmation (`confirm=True`, or LABS_CONFIRM_REAL=yes). `lab` names the lab in tags and reports (default: the
    notebook's name); `ttl_hours` is how long what it makes may live (a real account: 4).

    Raises UnknownTargetError, RealAccountRefusedError, CloudError.
    """
    tenant = home.tenant_name()
    lab = slug(lab or PurePosixPath(tenant).name)
    if target == "local":
        return _connect_local(tenant, lab, ttl_hours)
    if target == "aws":
        return _connect_aws(tenant, lab, real.refuse_unless_safe(budget_usd, confirm, os.environ), region, ttl_hours)
    raise UnknownTargetError(f"There is no target {target!r}. Use one of: {', '.join(TARGETS)}")


def ready_cloud(aws_port: int | None = None) -> CloudState:
    """The local cloud of this home, started if it does not run; says so when that takes a moment."""
    try:
        state = cloud_process.read_state()
        if aws_port is None and control.is_ready(state):
            return state
    except cloud_process.CloudError:
        pass  # `up` repairs or replaces the state
    began = time.monotonic()
    with show.Progress("Starting the local cloud"):
        state = cloud_process.start(aws_port)
    show.note(f"The local cloud is up ({time.monotonic() - began:.1f} s).", "right")
    return state


def slug(text: str) -> str:
    """A text as tags and names take it: letters, digits and dashes."""
    return re.sub(r"[^a-zA-Z0-9]+", "-", text).strip("-").lower() or "lab"


def local_tenant(state: CloudState, name: str, lab: str, ttl_hours: float | None = None) -> control.Tenant:
    """The tenant of that name on the local cloud, made when there is none."""
    api = control.Control(state)
    try:
        return api.tenant(name, lab, ttl_hours)
    finally:
        api.close()


def local_environment(state: CloudState, tenant: control.Tenant) -> dict[str, str]:
    """The variables that aim SDKs and command lines at a tenant; writes its SageMaker SDK configuration."""
    prefix = f"labs/{slug(tenant.lab)}-{short_id(tenant.account, tenant.name)}"
    bucket = bucket_name(tenant.region, tenant.account)
    config = local.write_sagemaker_config(state.folder, tenant.account, bucket, prefix)
    return local.environment(state, tenant, config)


def _connect_local(name: str, lab: str, ttl_hours: float | None) -> Lab:
    state = ready_cloud()
    tenant = local_tenant(state, name, lab, ttl_hours)
    local.apply(local_environment(state, tenant))
    import boto3

    ground = local.LocalGround(control.Control(state), tenant.account)
    session = boto3.Session(region_name=tenant.region)
    made = Lab(ground, session, account=tenant.account, tenant=name, lab=lab, expires=tenant.expires)
    _make_ready(made)
    show.note(f"Connected to the local cloud, tenant {name}, {made.region}. Nothing leaves this machine.", "right")
    return made


def _connect_aws(name: str, lab: str, budget_usd: float, region: str | None, ttl_hours: float | None) -> Lab:
    import boto3

    session = boto3.Session(region_name=region or os.environ.get("AWS_REGION"))
    if session.region_name is None:
        session = boto3.Session(region_name="us-east-1")
    real.refuse_without_credentials(session)
    account = real.identify(session)
    ledger = real.Ledger(home.folder() / "real" / f"{account}-{short_id(account, name)}.jsonl")
    ground = real.RealGround(ledger, session, budget_usd)
    expires = time.time() + (ttl_hours or _REAL_HOURS) * 3600
    made = Lab(ground, session, account=account, tenant=name, lab=lab, expires=expires)
    ground.watch(made)
    show.note(f"Connected to the real account {account}, {made.region}, budget {budget_usd:.2f} USD.", "problem")
    return made


def _make_ready(lab: Lab) -> None:
    """Make the role and the bucket now: a call that fails here is understood better than in the middle of a lab."""
    _ = lab.role, lab.bucket
