"""How soon a server that comes after a killed one has its sessions again: ready, and attached to every harness."""

from __future__ import annotations

import sqlite3
import time

import measure
from centaur_server import CentaurServer
from figures import Figure
from programs import BenchFailed, program

WAIT_SECONDS = 60


def measure_all(bench: measure.Bench) -> None:
    """Each session's turn is in the middle of its answer when the server is killed."""
    count = bench.times(100, 20)
    server = CentaurServer(bench.directory / "recovery", {
        "harnesses": {"codex": {"binary": str(program("harness"))}},
        "limits": {"sandboxes": count, "turns": count}}, stand_in=False)
    try:
        empty = started(server)
        for number in range(count):
            key = f"bench:recovery{number}"
            server.api.create(key).raise_for_status()
            server.api.execute(key, {"text": "deltas=3 gap=120000000"}).raise_for_status()
        until(server, "item.delta", count)
        server.kill()
        begun = time.time()
        ready = started(server)
        newest = until(server, "sandbox.reattached", count)
        bench.figures.append(Figure(
            f"recovery: ready, {count} running sessions left", ready * 1000, "ms", "with none", empty * 1000))
        bench.figures.append(Figure(
            f"recovery: … attached to all {count}, from the start of the process", (newest - begun) * 1000, "ms",
            bound="< 1,000 ms", holds=newest - begun < 1))
    finally:
        server.end()


def started(server: CentaurServer) -> float:
    """Seconds from the process's start to its `listening on`."""
    begun = time.monotonic()
    server.start()
    return time.monotonic() - begun


def until(server: CentaurServer, kind: str, count: int) -> float:
    """Waits until so many sessions have an event of the kind; returns when the last one had its first, as `time.time`."""
    deadline = time.monotonic() + WAIT_SECONDS
    database = sqlite3.connect(f"file:{server.data}/centaur.sqlite?mode=ro", uri=True)
    try:
        while True:
            first = database.execute(
                "SELECT min(created_at) FROM events WHERE kind = ? GROUP BY session", (kind,)).fetchall()
            if len(first) >= count:
                return max(at for at, in first) / 1000
            if time.monotonic() > deadline:
                raise BenchFailed(f"{len(first)} of {count} sessions have {kind}")
            time.sleep(0.02)
    finally:
        database.close()
