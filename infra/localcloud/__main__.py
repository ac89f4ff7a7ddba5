"""The local cloud's commands: `python -m localcloud up|down|status|coverage|supervise|controlplane`."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Final

from localcloud.home import Home, StateError, default_home, read_state


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    home = Home(options.home.resolve()) if options.home else default_home()
    return _COMMANDS[options.command](home, options)


def _up(home: Home, options: argparse.Namespace) -> int:
    from localcloud.lifecycle import LifecycleError, up

    try:
        result = up(home, options.aws_port, _say)
    except LifecycleError as error:
        return _fail(error)
    took = f"after {result.seconds:.1f} s" if result.seconds else "(it ran already)"
    _say(f"The local cloud is ready {took}: http://127.0.0.1:{result.state.ports['aws']}")
    if options.json:
        print(json.dumps(asdict(result.state)))
    return 0


def _down(home: Home, _: argparse.Namespace) -> int:
    from localcloud.lifecycle import LifecycleError, down

    try:
        down(home, _say)
    except LifecycleError as error:
        return _fail(error)
    return 0


def _status(home: Home, options: argparse.Namespace) -> int:
    from localcloud.lifecycle import ready_state

    ready = ready_state(home)
    try:
        state = ready or read_state(home)
    except StateError as error:
        return _fail(error)
    if options.json:
        print(json.dumps({"ready": ready is not None, **asdict(state)}))
    else:
        print(_table(home, ready is not None, state.ports["aws"], state.parts))
    return 0 if ready else 1


def _coverage(_: Home, options: argparse.Namespace) -> int:
    from localcloud.coverage import as_text, implemented

    table = implemented()
    print(json.dumps(table, indent=1) if options.json else as_text(table))
    return 0


def _supervise(home: Home, options: argparse.Namespace) -> int:
    from localcloud.parts import parse_ports
    from localcloud.supervisor import AlreadySupervisedError, supervise

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        supervise(home, parse_ports(options.ports) if options.ports else None)
    except AlreadySupervisedError as error:
        _say(str(error))
    except StateError as error:
        return _fail(error)
    return 0


def _controlplane(home: Home, _: argparse.Namespace) -> int:
    from localcloud.controlplane import serve

    serve(home)
    return 0


_COMMANDS: Final[dict[str, Callable[[Home, argparse.Namespace], int]]] = {
    "up": _up,
    "down": _down,
    "status": _status,
    "coverage": _coverage,
    "supervise": _supervise,
    "controlplane": _controlplane,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m localcloud", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--home", type=Path, help="state folder (default: LAB_HOME, else .lab in the repository)")
    shared.add_argument("--json", action="store_true", help="print JSON on stdout")
    up = commands.add_parser("up", parents=[shared], help="start what does not run, and wait until it is ready")
    up.add_argument("--aws-port", type=int, help="port that AWS SDKs talk to (default: 4566; 0: any free one)")
    commands.add_parser("down", parents=[shared], help="stop everything; what is stored stays")
    commands.add_parser("status", parents=[shared], help="parts, ports and processes")
    commands.add_parser("coverage", parents=[shared], help="implemented operations per service")
    supervise = commands.add_parser("supervise", parents=[shared], help="(internal) keep the parts running")
    supervise.add_argument("--ports", help="name=port,…")
    commands.add_parser("controlplane", parents=[shared], help="(internal) serve the control plane")
    return parser


def _table(home: Home, ready: bool, port: int, parts: dict[str, dict[str, object]]) -> str:
    lines = [f"{'ready' if ready else 'not ready'}  http://127.0.0.1:{port}  {home.root}"]
    lines += [
        f"  {name:<13} pid {part['pid']!s:<8} {'ready' if part['ready'] else 'not ready':<10}"
        f" restarts {part['restarts']}  {part['message']}"
        for name, part in parts.items()
    ]
    return "\n".join(lines)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _fail(error: Exception) -> int:
    _say(str(error))
    return 1


if __name__ == "__main__":
    sys.exit(main())
