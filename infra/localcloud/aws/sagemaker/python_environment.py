"""A Python environment of its own for a job or a model: pip installs there, never into the kit.

It sees the kit's packages through a .pth file, so that it costs milliseconds and no disk; what pip puts into it comes
first. pip works offline: wheels come from the source folder and from the folders that LAB_WHEELS names.
"""

from __future__ import annotations

import os
import site
import sysconfig
import venv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

_DEAD_PROXY: Final = "http://127.0.0.1:9"
_LOOPBACK: Final = "127.0.0.1,localhost,::1"
_SYSTEM_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
OFFLINE_HINT: Final = (
    "pip ran offline. Put a wheel of the package into the source folder, or into a folder that LAB_WHEELS names:"
    " pip download --only-binary :all: -d FOLDER PACKAGE"
)


def create(folder: Path) -> Path:
    """Make the environment, unless it exists; returns its `bin`."""
    scripts = folder / "bin"
    if (scripts / "pip").exists():
        return scripts
    venv.EnvBuilder(symlinks=True, with_pip=False).create(folder)
    library = folder / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    (library / "kit.pth").write_text("\n".join(_kit_packages()) + "\n")
    for name in ("pip3", "pip"):
        shim = scripts / name
        shim.write_text(f'#!/bin/sh\nexec "{scripts / "python3"}" -m pip "$@"\n')
        shim.chmod(0o755)
    return scripts


def _kit_packages() -> list[str]:
    paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()}
    return sorted(path for path in paths if Path(path).is_dir())


def pip_variables(wheel_folders: Iterable[Path]) -> dict[str, str]:
    """pip settings: no index, wheels only from these folders and from LAB_WHEELS."""
    folders = [*wheel_folders, *(Path(part) for part in os.environ.get("LAB_WHEELS", "").split(os.pathsep) if part)]
    return {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": " ".join(folder.absolute().as_uri() for folder in folders),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        "PIP_CONFIG_FILE": os.devnull,
        "UV_OFFLINE": "1",
    }


def minimal_variables(scripts: Path, home: Path, threads: int) -> dict[str, str]:
    """The whole base environment of a process of ours: nothing of the user's shell gets in, nothing leaves the machine.

    The proxy leads nowhere: whatever tries to reach the internet fails at once instead of leaking.
    """
    temporary = home / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    return {
        "PATH": f"{scripts}:{_SYSTEM_PATH}",
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": str(threads),
        "HTTP_PROXY": _DEAD_PROXY,
        "HTTPS_PROXY": _DEAD_PROXY,
        "http_proxy": _DEAD_PROXY,
        "https_proxy": _DEAD_PROXY,
        "NO_PROXY": _LOOPBACK,
        "no_proxy": _LOOPBACK,
    }


def aws_variables(endpoint: str, account: str, region: str) -> dict[str, str]:
    """Credentials and endpoint with which any AWS SDK finds the local cloud."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": account,
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": region,
        "AWS_REGION": region,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def explained(log_tail: str) -> str:
    """What to do about a package that pip could not find; empty when that is not what the log says."""
    return OFFLINE_HINT if "No matching distribution found for" in log_tail else ""


def with_users(base: Mapping[str, str], users: Mapping[str, str]) -> dict[str, str]:
    """The base environment with the user's variables, which win; LAB_WHEELS of the user adds to pip's folders."""
    merged = {**base, **users}
    wheels = [Path(part).absolute().as_uri() for part in users.get("LAB_WHEELS", "").split(os.pathsep) if part]
    merged["PIP_FIND_LINKS"] = " ".join([base.get("PIP_FIND_LINKS", ""), *wheels]).strip()
    return merged
