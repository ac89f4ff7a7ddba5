"""`lab start`: JupyterLab on loopback with a token; Ctrl-C ends it and its kernels."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil


def test_start_opens_jupyterlab_and_ends_with_its_kernels(
    cloud: Any, tmp_path: Path, wait_until: Callable[..., Any]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    log = tmp_path / "log"
    command = [sys.executable, "-m", "labs.cli", "start", "--no-browser", "--port", str(port)]
    env = {**os.environ, "LAB_HOME": str(cloud.home.root), "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime")}
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=env, start_new_session=True)
    try:
        url = wait_until(lambda: re.search(r"http://127\.0\.0\.1:\d+/lab\?token=(\w+)", log.read_text()), 60, "a URL")
        api = httpx.Client(base_url=f"http://127.0.0.1:{port}/api", trust_env=False)
        token = {"Authorization": f"token {url.group(1)}"}
        wait_until(lambda: _answers(api, token), 30, "JupyterLab")
        assert httpx.get(f"{api.base_url}contents", trust_env=False).status_code == 403
        made = api.post("/kernels", headers=token, json={"name": "python3"})
        assert made.status_code == 201, made.text
        kernels = psutil.Process(process.pid).children(recursive=True)
        assert any("ipykernel" in " ".join(each.cmdline()) for each in kernels)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == 0
        wait_until(lambda: not any(each.is_running() for each in kernels), 10, "the kernels to end")
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert "00_tour.ipynb" in log.read_text()


def _answers(api: httpx.Client, token: dict[str, str]) -> bool:
    try:
        return api.get("/status", headers=token).status_code == 200
    except httpx.TransportError:
        return False
