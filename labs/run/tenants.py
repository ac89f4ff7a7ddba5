"""One tenant per notebook run: opened before, priced and removed after. The usage ledger outlives the tenant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

_HOURS: Final = 3.0
"""A tenant that nobody removes (the machine went down) expires after this time."""


@dataclass(frozen=True)
class Opened:
    """What a notebook's process needs: the tenant's name for its environment, and its account (None: no tenant)."""

    name: str
    account: str | None


class Tenants(Protocol):
    """Where notebooks of a run get their tenants."""

    def open(self, name: str, lab: str) -> Opened:
        """A tenant for one notebook."""

    def cost_usd(self, opened: Opened) -> float | None:
        """What it has used at list price, in US dollars; None when unknown."""

    def close(self, opened: Opened) -> None:
        """Stop and remove everything it has."""


class LocalTenants:
    """Tenants of the local cloud, which is started when it does not run."""

    def __init__(self) -> None:
        from labs import cloud_process, control

        self._control = control.Control(cloud_process.start())

    def open(self, name: str, lab: str) -> Opened:
        """A new account of the local cloud."""
        return Opened(name, self._control.tenant(name, lab, _HOURS).account)

    def cost_usd(self, opened: Opened) -> float | None:
        """The priced usage ledger of the account; None when the local cloud cannot tell."""
        from labs import spend
        from labs.cloud_process import CloudError

        if opened.account is None:
            return None
        try:
            return spend.of_usage(self._control.usage(opened.account), opened.name).total_usd
        except CloudError:
            return None

    def close(self, opened: Opened) -> None:
        """Remove the account's endpoints, jobs, buckets and all else. Raises CloudError when that fails."""
        if opened.account is not None:
            self._control.delete_tenant(opened.account)


class NoTenants:
    """For real accounts, where the account is given, and its own bill tells the cost."""

    def open(self, name: str, lab: str) -> Opened:  # noqa: ARG002  # the protocol's signature
        """The name alone."""
        return Opened(name, None)

    def cost_usd(self, opened: Opened) -> float | None:  # noqa: ARG002  # the protocol's signature
        """Unknown."""
        return None

    def close(self, opened: Opened) -> None:
        """Nothing: labs clean up after themselves, and what they make expires."""
