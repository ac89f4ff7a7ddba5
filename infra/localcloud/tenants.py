"""The tenants of the local cloud: AWS accounts that are made by name, expire, and are removed with all they have."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from localcloud.store import Key, Resource, Store

KIND: Final = "tenant"
SECRET: Final = "local"  # noqa: S105  # every tenant's: of signatures only those of presigned URLs are checked
DEFAULT_TTL_HOURS: Final = 7 * 24.0
KEPT_AFTER_EXPIRY_SECONDS: Final = 86_400.0
"""An expired tenant is refused at once, but its belongings stay for another day: asking for it again renews it."""
DEFAULT_REGION: Final = "us-east-1"


class UnknownTenantError(Exception):
    """There is no such tenant."""


@dataclass(frozen=True)
class Tenant:
    """An account. `expires` in unix seconds."""

    account: str
    name: str
    lab: str
    region: str
    expires: float
    labels: Mapping[str, str]

    def as_json(self) -> dict[str, Any]:
        """For the control API; with the secret that SDKs sign with (the local cloud does not check signatures)."""
        return {**asdict(self), "secret": SECRET}


class Tenants:
    """The register of tenants. `publish` tells the gateway which accounts are valid until when."""

    def __init__(self, store: Store, publish: Callable[[Mapping[str, float]], None]) -> None:
        self._store = store
        self._publish = publish

    def ensure(self, name: str, lab: str, ttl_hours: float | None = None, region: str = DEFAULT_REGION) -> Tenant:
        """The tenant of that name, made when there is none; its expiry is renewed. Valid when this returns."""
        expires = time.time() + 3600 * (DEFAULT_TTL_HOURS if ttl_hours is None else ttl_hours)
        with self._store.transaction():
            known = next((each for each in self.all() if each.name == name), None)
            account = known.account if known else self._unused_account()
            tenant = Tenant(account, name, lab, known.region if known else region, expires, {"lab": lab})
            self._store.put(_key(account), asdict(tenant))
        self._publish(self.expiries())
        return tenant

    def all(self) -> list[Tenant]:
        """Every tenant, the oldest first; expired ones too."""
        return [_tenant(each) for each in self._store.list(KIND)]

    def get(self, account: str) -> Tenant:
        """Raises UnknownTenantError."""
        found = self._store.get(_key(account))
        if found is None:
            raise UnknownTenantError(f"There is no tenant {account}. List them: GET /_lab/tenants")
        return _tenant(found)

    def forget(self, account: str) -> None:
        """Remove the account from the register; requests signed with it are refused from now on."""
        self._store.delete(_key(account))
        self._publish(self.expiries())

    def expiries(self) -> dict[str, float]:
        """Every account, and until when it may send requests."""
        return {each.account: each.expires for each in self.all()}

    def overdue(self) -> list[Tenant]:
        """Those whose belongings may be removed."""
        limit = time.time() - KEPT_AFTER_EXPIRY_SECONDS
        return [each for each in self.all() if each.expires < limit]

    def _unused_account(self) -> str:
        taken = {each.account for each in self.all()}
        while (account := str(secrets.randbelow(9 * 10**11) + 10**11)) in taken:
            pass
        return account


def _key(account: str) -> Key:
    return Key(KIND, account, "", account)


def _tenant(resource: Resource) -> Tenant:
    return Tenant(**resource.body)
