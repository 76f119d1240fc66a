"""What clients and harnesses cost that take more than their share: resident memory, disk and time. The counts are
asserted by `conformance/test_abuse.py`; here are the sizes.

The harness is `conformance/wordy_harness.py`, which prints as fast as it is read.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import measure
from centaur_server import ROOT, CentaurServer
from figures import Figure
from programs import BenchFailed

GIGABYTE = 1 << 30
MEGABYTE = 1 << 20


def measure_all(bench: measure.Bench) -> None:
    subscribers(bench)
    command(bench)
    line(bench)
    long_turn(bench)


def server(bench: measure.Bench, name: str) -> CentaurServer:
    return CentaurServer(bench.directory / name, {
        "harnesses": {"codex": {"binary": str(ROOT / "conformance/wordy_harness.py")}}, "sandbox": "process"})


def status(server: CentaurServer, name: str) -> float:
    """A line of the server's `/proc/…/status`, in MB."""
    for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise BenchFailed(f"no {name} in /proc")


def forget_peak(server: CentaurServer) -> None:
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")


def store_size(server: CentaurServer) -> float:
    return sum(file.stat().st_size for file in server.data.glob("centaur.sqlite*")) / MEGABYTE


def figure(bench: measure.Bench, name: str, value: float, unit: str, bound: float | None = None) -> None:
    said = "" if bound is None else f"≤ {bound:,.0f} {unit}"
    bench.figures.append(Figure(name, value, unit, bound=said, holds=None if bound is None else value <= bound))


class Warm:
    """A server with one session whose harness is warm, and what it took before anything was asked of it."""

    def __init__(self, bench: measure.Bench, name: str):
        self.server = server(bench, name)
        self.key = f"bench:{name}"

    def start(self) -> None:
        self.api = self.server.start().api
        self.api.create(self.key).raise_for_status()
        self.api.run(self.key, "Reply PONG")
        self.memory, self.stored = status(self.server, "VmRSS"), store_size(self.server)
        forget_peak(self.server)

    def turn(self, prompt: str) -> float:
        """Seconds from its wish to its end."""
        begun = time.monotonic()
        execution = self.api.execute(self.key, {"text": prompt}).raise_for_status().json()["execution_id"]
        wait(self.api, self.key, execution)
        return time.monotonic() - begun

    @property
    def peak(self) -> float:
        """What memory grew by at most, in MB."""
        return status(self.server, "VmHWM") - self.memory

    @property
    def grown(self) -> float:
        """What the store grew by, in MB."""
        return store_size(self.server) - self.stored


@contextmanager
def warm(bench: measure.Bench, name: str) -> Iterator[Warm]:
    session = Warm(bench, name)
    try:
        session.start()
        yield session
    finally:
        session.server.end()


def subscribers(bench: measure.Bench) -> None:
    count = bench.times(2000, 500)
    held: list[socket.socket] = []
    with warm(bench, "subscribed") as session:
        try:
            after = session.api.settled(session.key)[-1]["id"]
            before = status(session.server, "VmRSS")
            host, port = session.server.url.removeprefix("http://").split(":")
            for _ in range(count):
                connection = socket.create_connection((host, int(port)))
                path = session.api.path(session.key, f"/events?after_event_id={after}")
                connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                held.append(connection)
            for connection in held:
                connection.recv(1 << 16)
            time.sleep(1)
            each = (status(session.server, "VmRSS") - before) * 1024 / count
            figure(bench, f"abuse: an idle subscriber, of {count:,}", each, "kB", 64)
            begun = time.monotonic()
            session.api.execute(session.key, {"text": "Reply PONG"}).raise_for_status()
            for connection in held:
                seen = b""
                while b"execution.completed" not in seen:
                    seen += connection.recv(1 << 16)
            figure(bench, "abuse: … until all are told of a turn", (time.monotonic() - begun) * 1000, "ms")
        finally:
            for connection in held:
                connection.close()


def command(bench: measure.Bench) -> None:
    size = bench.times(GIGABYTE, GIGABYTE // 8)
    with warm(bench, "command") as session:
        seconds = session.turn(f"command={size}")
        named = f"a command of {size / MEGABYTE:,.0f} MB"
        figure(bench, f"abuse: {named}: memory at most", session.peak, "MB", 100)
        figure(bench, "abuse: … what the store grew by", session.grown, "MB", 24)
        spool = sum(
            file.stat().st_size for file in (session.server.data / "sessions").glob("*/sandboxes/*/spool/*"))
        figure(bench, "abuse: … the spool behind it", spool / MEGABYTE, "MB", 32)
        figure(bench, "abuse: … output read", size / MEGABYTE / seconds, "MB/s")


def line(bench: measure.Bench) -> None:
    with warm(bench, "line") as session:
        seconds = session.turn(f"line={GIGABYTE}")
        figure(bench, "abuse: a line of 1 GB: memory at most", session.peak, "MB", 256)
        figure(bench, "abuse: … until the harness is ended", seconds, "s")


def long_turn(bench: measure.Bench) -> None:
    """A 5-hour turn's worth of events: about 30 a second."""
    count = bench.times(500_000, 50_000)
    with warm(bench, "long") as session:
        seconds = session.turn(f"events={count}")
        figure(bench, f"abuse: a turn of {count:,} events", count / seconds, "events/s")
        figure(bench, "abuse: … memory at most", session.peak, "MB", 200)
        figure(bench, "abuse: … disk an event (16 bytes of text)", session.grown * MEGABYTE / count, "B", 300)
        begun, seen = time.monotonic(), 0
        while True:
            page = session.api.page(session.key, after=seen, limit=1000).raise_for_status().json()
            seen += len(page["data"])
            if not page["has_more"]:
                break
        figure(bench, "abuse: … read from 0 by pages, JSON decoded", seen / (time.monotonic() - begun), "events/s")
        session.server.stop()
        begun = time.monotonic()
        session.api = session.server.start().api
        figure(bench, "abuse: … start of a server on that store", (time.monotonic() - begun) * 1000, "ms", 1000)
        figure(bench, "abuse: … the session's next turn there", session.turn("Reply PONG") * 1000, "ms")
        figure(bench, "abuse: … memory of that server", status(session.server, "VmRSS"), "MB", 100)


def wait(api, key: str, execution: str) -> None:
    """Until the turn has ended, without reading its events: a reader is not what is measured."""
    deadline = time.monotonic() + 100
    while True:
        newest = api.show(key).json()["newest_execution"]
        if newest["id"] == execution and newest["status"] not in ("queued", "running"):
            return
        if time.monotonic() > deadline:
            raise BenchFailed("a turn did not end in 100 s")
        time.sleep(0.05)
