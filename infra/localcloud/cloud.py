"""The local cloud's composition: every object that the control plane works with, built once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.routing import Route

from localcloud.aws.functions.metering import FunctionUsage
from localcloud.aws.sagemaker.facade import SageMaker
from localcloud.clients import Clients
from localcloud.faults import Faults
from localcloud.gateway.access_log import Tailer
from localcloud.gateway.gateway import Gateway
from localcloud.home import Home, State, read_state
from localcloud.loops import Loop
from localcloud.runtime.deployment import Deployments
from localcloud.store import Store
from localcloud.tenants import Tenants


class Facade(Protocol):
    """A vendor's service that we execute ourselves."""

    def routes(self) -> list[Route]:
        """Where its requests arrive."""
        ...

    def loops(self) -> list[Loop]:
        """What it does in the background."""
        ...

    def adopt(self) -> None:
        """Continue what was going on before a restart."""
        ...

    def sample_usage(self) -> None:
        """Bring the ledger up to date for what runs now."""
        ...

    def leftovers(self, account: str) -> list[dict[str, Any]]:
        """What a tenant still has: service, kind, name, billable."""
        ...

    def delete_tenant(self, account: str) -> None:
        """Stop and remove everything a tenant has."""
        ...


@dataclass
class Cloud:
    """The parts of the control plane, for the facades."""

    home: Home
    state: State
    store: Store
    gateway: Gateway
    deployments: Deployments
    tenants: Tenants
    faults: Faults
    clients: Clients
    access_log: Tailer
    """Reads requests into the ledger; facades may listen."""
    facades: list[Facade] = field(default_factory=list)


def build(home: Home) -> Cloud:
    """Open the store and put everything together; starts nothing. Raises StateError."""
    state = read_state(home)
    store = Store(home.database)
    gateway = Gateway(home, state.ports)
    built = Cloud(
        home=home,
        state=state,
        store=store,
        gateway=gateway,
        deployments=Deployments(store, gateway, home),
        tenants=Tenants(store, gateway.set_tenants),
        faults=Faults(store, gateway.set_faults),
        clients=Clients(f"http://127.0.0.1:{state.ports['ministack']}"),
        access_log=Tailer(store, gateway),
    )
    built.facades += [SageMaker(built), FunctionUsage(store, home)]
    return built
