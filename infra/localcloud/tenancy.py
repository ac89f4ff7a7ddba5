"""What tenants have, across all services: what is left over, and how everything is removed."""

from __future__ import annotations

import logging
import time
from typing import Any, Final

from localcloud.aws import belongings
from localcloud.cloud import Cloud
from localcloud.runtime.deployment import DeploymentError

_STOP_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.02
_LOG: Final = logging.getLogger(__name__)


def leftovers(cloud: Cloud, account: str) -> list[dict[str, Any]]:
    """What a tenant still has: service, kind, name, billable. Raises UnknownTenantError."""
    cloud.tenants.get(account)
    executed = [found for facade in cloud.facades for found in facade.leftovers(account)]
    return executed + [each.as_json() for each in belongings.of_account(cloud.clients, cloud.home, account)]


def delete_tenant(cloud: Cloud, account: str) -> None:
    """Stop and remove everything a tenant has, then the tenant; its usage is kept. Raises UnknownTenantError.

    May be repeated after a failure: the tenant goes last.
    """
    cloud.tenants.get(account)
    for facade in cloud.facades:
        facade.delete_tenant(account)
    _await_end_of_deployments(cloud, account)
    belongings.remove(cloud.clients, cloud.home, account)
    cloud.clients.forget(account)
    cloud.tenants.forget(account)


def _await_end_of_deployments(cloud: Cloud, account: str) -> None:
    deadline = time.monotonic() + _STOP_SECONDS
    while left := cloud.deployments.ids(account):
        if time.monotonic() > deadline:
            raise DeploymentError(f"{left} did not stop within {_STOP_SECONDS:.0f} s. Delete the tenant again.")
        time.sleep(_POLL_SECONDS)


def remove_overdue(cloud: Cloud) -> None:
    """Remove the tenants that expired long ago."""
    for tenant in cloud.tenants.overdue():
        _LOG.info("tenant %s (%s) has expired and is removed", tenant.account, tenant.name)
        delete_tenant(cloud, tenant.account)
