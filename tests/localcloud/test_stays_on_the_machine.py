"""Local mode never opens a connection off the machine.

The whole path of a lab (cloud up, train, register, serve, invoke, clean up, cloud down) runs in a network namespace
that has nothing but loopback. There the kernel itself counts every packet that had nowhere to go, of every process,
also of attempts whose errors are swallowed. A second run, in the ordinary network, looks at each socket call of every
Python process with an audit hook that refuses anything but loopback.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
DRIVER = HERE / "stays_on_the_machine" / "drive_a_lab.py"
AUDIT = HERE / "stays_on_the_machine" / "audit"


def _isolate() -> list[str] | None:
    """A command prefix for a namespace without a network, or None where the kernel does not allow one."""
    if sys.platform != "linux" or not shutil.which("unshare"):
        return None
    for prefix in (["unshare", "--net"], ["unshare", "--map-root-user", "--net"]):
        if subprocess.run([*prefix, "true"], capture_output=True).returncode == 0:
            return prefix
    return None


def _drive(prefix: list[str], home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*prefix, sys.executable, str(DRIVER)],
        env=os.environ | {"LAB_HOME": str(home), "LAB_TENANT_NAME": "stays"} | environment,
        capture_output=True,
        text=True,
    )


def test_a_whole_lab_sends_no_packet_off_the_machine(tmp_path):
    prefix = _isolate()
    if prefix is None:
        pytest.skip("network namespaces are not available here (needs Linux and unshare)")
    result = _drive(prefix, tmp_path / "home", COUNT_PACKETS="1")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "packets without a route: 0" in result.stdout, result.stdout


def test_no_python_process_of_a_lab_connects_anywhere_but_loopback(tmp_path):
    attempts = tmp_path / "attempts.txt"
    result = _drive([], tmp_path / "home", PYTHONPATH=str(AUDIT), LAB_AUDIT_FILE=str(attempts))
    assert result.returncode == 0, result.stdout + result.stderr
    assert not attempts.exists(), attempts.read_text()


def test_the_audit_hook_would_notice(tmp_path):
    attempts = tmp_path / "attempts.txt"
    code = "import socket; socket.socket().connect(('192.0.2.1', 80))"
    environment = os.environ | {"PYTHONPATH": str(AUDIT), "LAB_AUDIT_FILE": str(attempts)}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert result.returncode != 0
    assert "192.0.2.1" in attempts.read_text()
