"""The control plane: one Starlette application with the facades and the control API, on loopback."""

from __future__ import annotations

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from localcloud.home import Home, read_state


async def _health(_: Request) -> Response:
    return JSONResponse({"ready": True, "parts": {}})


def serve(home: Home) -> None:
    """Serve until SIGTERM."""
    state = read_state(home)
    app = Starlette(routes=[Route("/_lab/health", _health)])
    uvicorn.run(app, host="127.0.0.1", port=state.ports["control"], log_level="warning", access_log=False)
