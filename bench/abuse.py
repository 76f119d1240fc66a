"""What clients and harnesses cost that take more than their share: resident memory, disk and time. The counts are
asserted by `conformance/test_abuse.py`; here are the sizes.

The harness is `conformance/wordy_harness.py`, which prints as fast as it is read.
"""

from __future__ import annotations

import socket
import time
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


def subscribers(bench: measure.Bench) -> None:
    count = bench.times(2000, 500)
    running = server(bench, "subscribers")
    held: list[socket.socket] = []
    try:
        api = running.start().api
        key = "bench:subscribed"
        api.create(key).raise_for_status()
        api.run(key, "Reply PONG")
        after = api.settled(key)[-1]["id"]
        before = status(running, "VmRSS")
        host, port = running.url.removeprefix("http://").split(":")
        for _ in range(count):
            connection = socket.create_connection((host, int(port)))
            path = api.path(key, f"/events?after_event_id={after}")
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            held.append(connection)
        for connection in held:
            connection.recv(1 << 16)
        time.sleep(1)
        each = (status(running, "VmRSS") - before) * 1024 / count
        figure(bench, f"abuse: an idle subscriber, of {count:,}", each, "kB", 64)
        begun = time.monotonic()
        api.execute(key, {"text": "Reply PONG"}).raise_for_status()
        for connection in held:
            seen = b""
            while b"execution.completed" not in seen:
                seen += connection.recv(1 << 16)
        figure(bench, "abuse: … until all are told of a turn", (time.monotonic() - begun) * 1000, "ms")
    finally:
        for connection in held:
            connection.close()
        running.end()


def command(bench: measure.Bench) -> None:
    size = bench.times(GIGABYTE, GIGABYTE // 8)
    running = server(bench, "command")
    try:
        api = running.start().api
        key = "bench:command"
        api.create(key).raise_for_status()
        api.run(key, "Reply PONG")
        before, stored = status(running, "VmRSS"), store_size(running)
        forget_peak(running)
        begun = time.monotonic()
        admitted = api.execute(key, {"text": f"command={size}"}).raise_for_status().json()["execution_id"]
        wait(api, key, admitted)
        seconds = time.monotonic() - begun
        named = f"a command of {size / MEGABYTE:,.0f} MB"
        figure(bench, f"abuse: {named}: memory at most", status(running, "VmHWM") - before, "MB", 100)
        figure(bench, "abuse: … what the store grew by", store_size(running) - stored, "MB", 24)
        spool = sum(file.stat().st_size for file in (running.data / "sessions").glob("*/sandboxes/*/spool/*"))
        figure(bench, "abuse: … the spool behind it", spool / MEGABYTE, "MB", 32)
        figure(bench, "abuse: … output read", size / MEGABYTE / seconds, "MB/s")
    finally:
        running.end()


def line(bench: measure.Bench) -> None:
    running = server(bench, "line")
    try:
        api = running.start().api
        key = "bench:line"
        api.create(key).raise_for_status()
        api.run(key, "Reply PONG")
        before = status(running, "VmRSS")
        forget_peak(running)
        begun = time.monotonic()
        admitted = api.execute(key, {"text": f"line={GIGABYTE}"}).raise_for_status().json()["execution_id"]
        wait(api, key, admitted)
        figure(bench, "abuse: a line of 1 GB: memory at most", status(running, "VmHWM") - before, "MB", 256)
        figure(bench, "abuse: … until the harness is ended", time.monotonic() - begun, "s")
    finally:
        running.end()


def long_turn(bench: measure.Bench) -> None:
    """A 5-hour turn's worth of events: about 30 a second."""
    count = bench.times(500_000, 50_000)
    running = server(bench, "long")
    try:
        api = running.start().api
        key = "bench:long"
        api.create(key).raise_for_status()
        api.run(key, "Reply PONG")
        before, stored = status(running, "VmRSS"), store_size(running)
        forget_peak(running)
        begun = time.monotonic()
        admitted = api.execute(key, {"text": f"events={count}"}).raise_for_status().json()["execution_id"]
        wait(api, key, admitted)
        figure(bench, f"abuse: a turn of {count:,} events", count / (time.monotonic() - begun), "events/s")
        figure(bench, "abuse: … memory at most", status(running, "VmHWM") - before, "MB", 200)
        grown = (store_size(running) - stored) * MEGABYTE / count
        figure(bench, "abuse: … disk an event (16 bytes of text)", grown, "B", 300)
        begun, seen = time.monotonic(), 0
        while True:
            page = api.page(key, after=seen, limit=1000).raise_for_status().json()
            seen += len(page["data"])
            if not page["has_more"]:
                break
        figure(bench, "abuse: … read from 0 by pages, JSON decoded", seen / (time.monotonic() - begun), "events/s")
        running.stop()
        begun = time.monotonic()
        api = running.start().api
        figure(bench, "abuse: … start of a server on that store", (time.monotonic() - begun) * 1000, "ms", 1000)
        begun = time.monotonic()
        wait(api, key, api.execute(key, {"text": "Reply PONG"}).raise_for_status().json()["execution_id"])
        figure(bench, "abuse: … the session's next turn there", (time.monotonic() - begun) * 1000, "ms")
        figure(bench, "abuse: … memory of that server", status(running, "VmRSS"), "MB", 100)
    finally:
        running.end()


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
