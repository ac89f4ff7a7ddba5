"""The control API: what `labs` asks of the local cloud itself, on the control plane's own port.

Not part of any vendor's API. Every call but /_lab/health needs `Authorization: Bearer <token of the state file>`.
"""

from __future__ import annotations

import functools
import json
import logging
import secrets
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from localcloud import processes
from localcloud.cloud import Cloud
from localcloud.faults import FaultError
from localcloud.gateway.errors import GatewayError
from localcloud.home import StateError, read_state
from localcloud.meter import usage
from localcloud.store import StoreFullError
from localcloud.tenancy import delete_tenant, leftovers
from localcloud.tenants import UnknownTenantError


class BadRequestError(Exception):
    """The request is not what it should be; the message says what it should be."""


_LOG: Final = logging.getLogger(__name__)
_STATUS: Final[dict[type[Exception], int]] = {
    UnknownTenantError: 404,
    FaultError: 400,
    BadRequestError: 400,
    GatewayError: 503,
    StoreFullError: 507,
}

Answer = Callable[[Request, Any], Any]
"""From the request and its JSON body to what is answered as JSON (None: 204)."""


def routes(cloud: Cloud, drain: Callable[[], None]) -> list[Route]:
    """All of the control API. `drain` brings the usage ledger up to now."""
    bind = functools.partial(_route, cloud)
    return [
        Route("/_lab/health", _health(cloud)),
        bind("POST", "/_lab/tenants", lambda _, body: _make_tenant(cloud, body)),
        bind("GET", "/_lab/tenants", lambda *_: [each.as_json() for each in cloud.tenants.all()]),
        bind("DELETE", "/_lab/tenants/{account}", lambda r, _: delete_tenant(cloud, r.path_params["account"])),
        bind("GET", "/_lab/tenants/{account}/leftovers", lambda r, _: leftovers(cloud, r.path_params["account"])),
        bind("GET", "/_lab/tenants/{account}/usage", lambda r, _: _usage(cloud, drain, r.path_params["account"])),
        bind("GET", "/_lab/faults", lambda *_: [each.as_json() for each in cloud.faults.all()]),
        bind("POST", "/_lab/faults", lambda _, body: cloud.faults.add(_object(body)).as_json()),
        bind("DELETE", "/_lab/faults", lambda *_: {"cleared": cloud.faults.clear()}),
        bind("DELETE", "/_lab/faults/{id}", lambda r, _: _clear_fault(cloud, r.path_params["id"])),
        bind("GET", "/_lab/processes", lambda *_: [each.as_json() for each in processes.of_home(cloud.home)]),
    ]


def _route(cloud: Cloud, method: str, path: str, answer: Answer) -> Route:
    async def endpoint(request: Request) -> Response:
        if not _is_authorized(cloud, request):
            return _error(401, "The token is missing or wrong. It is in the state file: `token` of state.json")
        try:
            body = _json(await request.body())
            result = await run_in_threadpool(answer, request, body)
        except Exception as error:
            return _failure(request, error)
        return Response(status_code=204) if result is None else JSONResponse(result)

    return Route(path, endpoint, methods=[method])


def _is_authorized(cloud: Cloud, request: Request) -> bool:
    given = request.headers.get("authorization", "").removeprefix("Bearer ")
    return secrets.compare_digest(given.encode(), _token(cloud).encode())


def _token(cloud: Cloud) -> str:
    """The present token: the supervisor makes a new one when the state file was lost."""
    try:
        return read_state(cloud.home).token
    except StateError:
        return cloud.state.token


def _failure(request: Request, error: Exception) -> Response:
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
    if status == 500:
        _LOG.exception("%s %s failed", request.method, request.url.path)
        return _error(500, f"{type(error).__name__}: {error}. See logs/controlplane.log, or try: lab down && lab up")
    return _error(status, str(error))


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": status, "message": message}, status_code=status)


def _health(cloud: Cloud) -> Callable[[Request], Response]:
    def health(_: Request) -> Response:
        try:
            parts = read_state(cloud.home).parts
        except StateError as error:
            return JSONResponse({"ready": False, "parts": {}, "message": str(error)})
        shown = {name: {key: part[key] for key in ("ready", "restarts", "message")} for name, part in parts.items()}
        return JSONResponse({"ready": all(part["ready"] for part in parts.values()), "parts": shown})

    return health


def _make_tenant(cloud: Cloud, body: Any) -> dict[str, Any]:
    given = _object(body)
    name, lab, ttl = given.get("name"), given.get("lab"), given.get("ttl_hours")
    if not isinstance(name, str) or not name or not isinstance(lab, str):
        raise BadRequestError('A tenant needs a name and a lab: {"name": "…", "lab": "…", "ttl_hours": 24}')
    if ttl is not None and (isinstance(ttl, bool) or not isinstance(ttl, int | float) or not 0 < ttl < 10_000):
        raise BadRequestError(f"ttl_hours must be a number of hours above 0, not {ttl!r}")
    return cloud.tenants.ensure(name, lab, ttl).as_json()


def _usage(cloud: Cloud, drain: Callable[[], None], account: str) -> list[dict[str, Any]]:
    drain()
    return [asdict(each) for each in usage.of_tenant(cloud.store, account)]


def _clear_fault(cloud: Cloud, id: str) -> dict[str, Any]:
    if not cloud.faults.clear(id):
        raise FaultError(f"There is no fault {id}. List them: lab fault list")
    return {"cleared": 1}


def _json(text: bytes) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError as error:
        raise BadRequestError(f"The body is not JSON: {error}") from None


def _object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise BadRequestError("The body must be a JSON object")
    return body
