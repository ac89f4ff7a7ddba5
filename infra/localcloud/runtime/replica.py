"""Starts, probes, stops and buries replicas, and writes down how long each was used."""

from __future__ import annotations

import http.client
import os
import secrets
import shutil
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from localcloud.meter import usage
from localcloud.runtime import process, procfs
from localcloud.runtime.records import Deployment, Records, Replica, Revision
from localcloud.runtime.spec import Pool

REPLICA_VARIABLE: Final = "LAB_REPLICA"
"""Every replica finds its own id here."""
_PROBE_SECONDS: Final = 2.0
_EXIT_CODE_SECONDS: Final = 0.5


@dataclass
class Exits:
    """How the replicas ended that this process started. One that was adopted leaves no exit code."""

    _expected: set[str] = field(default_factory=set)
    _codes: dict[str, int] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    """Why a replica was killed, by its id."""

    def expect(self, replica_id: str) -> Callable[[int], None]:
        """Where to report the exit code of a replica that is about to start."""
        self._expected.add(replica_id)
        return lambda code: self._codes.__setitem__(replica_id, code)

    def describe(self, replica: Replica) -> str:
        """How it ended, in words: `exited with code 1`."""
        if note := self.notes.pop(replica.id, None):
            return note
        deadline = time.monotonic() + _EXIT_CODE_SECONDS  # it is dead, but may not have been collected yet
        while replica.id in self._expected and replica.id not in self._codes and time.monotonic() < deadline:
            time.sleep(0.005)
        self._expected.discard(replica.id)
        code = self._codes.pop(replica.id, None)
        if code is None:
            return "ended"
        return f"was ended by signal {code - 128}" if code > 128 else f"exited with code {code}"


def start(
    records: Records, deployment: Deployment, revision: Revision, pool: Pool, replicas_folder: Path, exits: Exits
) -> Replica:
    """Start one replica. It is in the store before it runs, so that none is ever forgotten."""
    replica_id = secrets.token_hex(9)[:17]
    replica = Replica(
        id=replica_id,
        deployment=deployment.id,
        tenant=deployment.tenant,
        region=deployment.region,
        revision=revision.number,
        pool=pool,
        port=process.free_port(taken=(each.port for each in records.replicas())),
        token=process.new_token(scope(replicas_folder)),
        folder=replicas_folder / f"{deployment.id}-{replica_id}",
        started=time.time(),
    )
    with records.store.transaction():
        records.save(replica)
        usage.record(records.store, replica.used(until=replica.started))
    replica = replace(replica, identity=_spawn(replica, exits))
    try:
        records.save(replica)
    except Exception:
        kill(replica)  # a full disk: what cannot be written down must not run
        raise
    return replica


def scope(replicas_folder: Path) -> str:
    """By this the replicas of one local cloud are told from those of another (see process.find_by_token)."""
    return f"replica-{process.digest(str(replicas_folder.resolve()))}"


def _spawn(replica: Replica, exits: Exits) -> process.Identity | None:
    """The running process; None, with the cause in `exits` and the log, when it cannot start."""
    pool = replica.pool
    replica.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    replica.log.parent.mkdir(parents=True, exist_ok=True)
    try:
        identity = process.spawn(
            [_filled_in(word, replica) for word in pool.command],
            env={**pool.env, REPLICA_VARIABLE: replica.id},
            cwd=replica.folder,
            log=replica.log,
            token=replica.token,
            on_exit=exits.expect(replica.id),
        )
    except OSError as error:
        exits.notes[replica.id] = f"could not be started ({error})"
        return None
    process.limit_core_dumps(identity.pid)
    return identity


def _filled_in(word: str, replica: Replica) -> str:
    return word.replace("{port}", str(replica.port)).replace("{folder}", str(replica.folder))


def is_alive(replica: Replica) -> bool:
    """True while its process runs."""
    return replica.state != "dead" and replica.identity is not None and process.is_alive(replica.identity)


def is_healthy(replica: Replica) -> bool:
    """True when it answers its health check with 200."""
    connection = http.client.HTTPConnection("127.0.0.1", replica.port, timeout=_PROBE_SECONDS)
    try:
        connection.request("GET", replica.pool.health_path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def begin_stop(records: Records, replica: Replica) -> Replica:
    """SIGTERM now; `finish_stop` does the rest."""
    if replica.identity is not None:
        process.kill_group(replica.identity, signal.SIGTERM)
    stopping = replace(replica, state="stopping", stop_by=time.time() + replica.pool.limits.stop_grace_seconds)
    records.save(stopping)
    return stopping


def finish_stop(replica: Replica) -> None:
    """Kill a stopping replica when its grace is over."""
    if time.time() >= replica.stop_by:
        kill(replica)


def kill(replica: Replica) -> None:
    """SIGKILL to everything the replica is; found by its token when its process was never written down."""
    process.kill_all(replica.identity or process.Identity(0, 0, "", replica.token))


def declare_dead(records: Records, replica: Replica, until: float | None) -> Replica:
    """Write down that it ended, with its use until that moment (None: its last sample stands)."""
    kill(replica)  # what a dead main process left behind
    dead = replace(replica, state="dead")
    with records.store.transaction():
        records.save(dead)
        if until is not None:
            usage.record(records.store, dead.used(until))
    return dead


def bury(records: Records, replica: Replica) -> None:
    """Forget a dead replica. Its log stays."""
    shutil.rmtree(replica.folder, ignore_errors=True)
    records.remove(replica)


def sample(records: Records, now: float) -> None:
    """Write the seconds so far of every living replica into the ledger."""
    with records.store.transaction():  # so that no replica is declared dead in between and then billed on
        for replica in records.replicas():
            if is_alive(replica):
                usage.record(records.store, replica.used(now))


def enforce_limits(replicas: Iterable[Replica], exits: Exits) -> None:
    """Kill what holds too much memory; cut logs that are too long (a server's log has no natural end)."""
    memory: dict[int, int] = {}
    for each in procfs.snapshot():
        memory[each.session] = memory.get(each.session, 0) + each.resident_bytes
    for replica in replicas:
        limits = replica.pool.limits
        used = memory.get(replica.identity.pid, 0) if replica.identity and is_alive(replica) else 0
        if limits.memory_bytes is not None and used > limits.memory_bytes:
            most = limits.memory_bytes >> 20
            exits.notes[replica.id] = (
                f"was killed: it used {used >> 20} MiB of memory, more than its limit of {most} MiB"
            )
            kill(replica)
        if limits.log_bytes is not None and replica.log.exists() and replica.log.stat().st_size > limits.log_bytes:
            os.truncate(replica.log, 0)
