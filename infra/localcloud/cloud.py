"""The local cloud's composition: every object that the control plane works with, built once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.routing import Route

from localcloud.clients import Clients
from localcloud.faults import Faults
from localcloud.gateway.access_log import Tailer
from localcloud.gateway.gateway import Gateway
from localcloud.home import Home, State, read_state
from localcloud.loops import Loop
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
    deployments: Any
    tenants: Tenants
    faults: Faults
    clients: Clients
    access_log: Tailer
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
        deployments=_deployments(store, gateway, home),
        tenants=Tenants(store, gateway.set_tenants),
        faults=Faults(store, gateway.set_faults),
        clients=Clients(f"http://127.0.0.1:{state.ports['ministack']}"),
        access_log=Tailer(store, gateway),
    )
    try:
        from localcloud.aws.sagemaker.facade import SageMaker
        built.facades.append(SageMaker(built))
    except ImportError:
        pass
    return built


def _deployments(store, gateway, home):
    try:
        from localcloud.runtime.deployment import Deployments
        return Deployments(store, gateway, home)
    except ImportError:
        class None_:
            def publications(self): return []
            def adopt(self): pass
            def sample_usage(self): pass
        return None_()
