"""The control plane: one Starlette application with the facades and the control API, on loopback.

It holds nothing that is not in the store: killed at any moment, it continues where it was. Endpoints and jobs do not
need it while it is away.
"""

from __future__ import annotations

import contextlib
import logging
import subprocess
from collections.abc import AsyncIterator, Callable
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool

from localcloud import cloud, control_api, lifecycle, supervisor, tenancy
from localcloud.cloud import Cloud
from localcloud.home import Home, StateError, read_state
from localcloud.loops import Loop
from localcloud.meter import storage

_LOG: Final = logging.getLogger(__name__)
_GATEWAY_SECONDS: Final = 0.2
_SUPERVISOR_SECONDS: Final = 0.2
_ACCESS_LOG_SECONDS: Final = 1.0
_RECONCILE_SECONDS: Final = 0.1
_USAGE_SECONDS: Final = 10.0
_STORAGE_SECONDS: Final = 60.0
_TENANTS_SECONDS: Final = 300.0
_SHUTDOWN_SECONDS: Final = 5


def serve(home: Home) -> None:
    """Serve until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("botocore").setLevel(logging.WARNING)
    built = cloud.build(home)
    uvicorn.run(
        application(built), host="127.0.0.1", port=built.state.ports["control"], log_level="warning",
        access_log=False, timeout_graceful_shutdown=_SHUTDOWN_SECONDS, timeout_keep_alive=75,
    )  # fmt: skip


def application(built: Cloud) -> Starlette:
    """The whole application; its lifespan adopts what runs and starts the loops."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await run_in_threadpool(adopt, built)
        running = loops(built)
        for loop in running:
            loop.start()
        yield
        for loop in running:
            await run_in_threadpool(loop.stop)
        await run_in_threadpool(built.deployments.close)

    facades = [route for facade in built.facades for route in facade.routes()]
    return Starlette(
        routes=[*control_api.routes(built, lambda: bring_usage_up_to_now(built)), *facades], lifespan=lifespan
    )


def adopt(built: Cloud) -> None:
    """Continue what was going on before a restart."""
    built.gateway.restore(built.deployments.publications(), built.tenants.expiries(), built.faults.at_the_gateway())
    built.deployments.adopt()
    for facade in built.facades:
        facade.adopt()


def loops(built: Cloud) -> list[Loop]:
    """Everything that happens in the background."""
    own = [
        Loop("supervisor", _SUPERVISOR_SECONDS, SupervisorWatch(built.home).look),
        Loop("gateway", _GATEWAY_SECONDS, built.gateway.refresh),
        Loop("faults", _GATEWAY_SECONDS, built.faults.run_due),
        Loop("access log", _ACCESS_LOG_SECONDS, built.access_log.read),
        Loop("deployments", _RECONCILE_SECONDS, built.deployments.reconcile),
        Loop("usage", _USAGE_SECONDS, built.deployments.sample_usage),
        Loop("storage", _STORAGE_SECONDS, lambda: storage.sample(built.store, built.home)),
        Loop("tenants", _TENANTS_SECONDS, lambda: tenancy.remove_overdue(built)),
    ]
    return [*own, *(loop for facade in built.facades for loop in facade.loops())]


def bring_usage_up_to_now(built: Cloud) -> None:
    """Every request answered and every second used until now is in the ledger when this returns."""
    steps: list[Callable[[], object]] = [
        built.access_log.drain,
        built.deployments.sample_usage,
        *(facade.sample_usage for facade in built.facades),
        lambda: storage.sample(built.store, built.home),
    ]
    for step in steps:
        step()


class SupervisorWatch:
    """Starts the supervisor again when it has died, but not when the cloud is being taken down."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._child: subprocess.Popen[bytes] | None = None

    def look(self) -> None:
        """One look."""
        if self._child is not None:
            self._child.poll()  # else it stays a zombie
        if supervisor.is_supervised(self._home):
            return
        with contextlib.suppress(StateError):
            if not read_state(self._home).parts:
                return
        _LOG.warning("the supervisor has died; starting it again")
        self._child = lifecycle.start_supervisor(self._home)
