"""Runs MiniStack as a part of the local cloud: loopback only, behind the gateway, and durable.

Started by the supervisor as `python -m localcloud.aws.ministack`; home and ports come from the environment.
MiniStack is the package `ministack` (MIT).
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import sys
from pathlib import Path
from typing import Any, Final

from localcloud.home import Home
from localcloud.parts import HOME_VARIABLE, PORTS_VARIABLE, parse_ports
from localcloud.tenants import SECRET

VERSION: Final = "1.5.33"
"""We build on MiniStack's internals (localcloud.aws.durability), so any other version is refused."""
_LOOPBACK: Final = "127.0.0.1"
_KEEP_ALIVE_SECONDS: Final = 75


class WrongVersionError(Exception):
    """The installed MiniStack is not the one that this code was written for."""


def check_version(installed: str | None = None) -> None:
    """Raise WrongVersionError unless exactly VERSION is installed."""
    found = installed or importlib.metadata.version("ministack")
    if found != VERSION:
        raise WrongVersionError(
            f"MiniStack {found} is installed; the local cloud needs exactly {VERSION}. Run: ./lab (it repairs .venv)"
        )


def settings(home: Home, gateway_port: int) -> dict[str, str]:
    """MiniStack's environment. Its port variable holds the gateway's port, because it builds URLs from it."""
    state, objects = home.ministack / "state", home.ministack / "s3"
    for folder in (state, objects):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return {
        "GATEWAY_PORT": str(gateway_port),
        "BIND_HOST": _LOOPBACK,
        "MINISTACK_HOST": _LOOPBACK,
        "MINISTACK_REGION": "us-east-1",
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
        "DOCKER_HOST": f"unix://{home.ministack}/no-docker.sock",
        "PERSIST_STATE": "1",
        "STATE_DIR": str(state),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(objects),
        "AWS_SECRET_ACCESS_KEY": SECRET,  # presigned URLs are the one thing whose signature MiniStack checks
        "LOG_LEVEL": "WARNING",
        "TMPDIR": str(_folder(home.ministack / "tmp")),
    }


def main() -> None:
    """Serve until SIGTERM."""
    check_version()
    home = Home(Path(os.environ[HOME_VARIABLE]))
    ports = parse_ports(os.environ[PORTS_VARIABLE])
    os.environ.update(settings(home, ports["aws"]))
    asyncio.run(_serve(ports["ministack"], home, f"http://{_LOOPBACK}:{ports['aws']}"))


async def _serve(port: int, home: Home, gateway: str) -> None:
    # MiniStack reads its settings when it is imported. Without Docker's SDK, which it would not use, that is quicker.
    sys.modules["docker"] = None  # type: ignore[assignment] # documented: the import then fails
    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from ministack.app import app

    from localcloud.aws import durability
    from localcloud.aws.functions.install import Functions

    functions = Functions(home, gateway)
    saver = durability.install(functions.start)
    functions.install(saver.settle_later)
    config = Config()
    config.bind = [f"{_LOOPBACK}:{port}"]
    config.keep_alive_timeout = _KEEP_ALIVE_SECONDS
    application: Any = app
    await serve(application, config)


def _folder(path: Path) -> Path:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


if __name__ == "__main__":
    try:
        main()
    except WrongVersionError as error:
        sys.exit(str(error))
