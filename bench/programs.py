"""The C programs of the bench: compiled where they are newer than their binary, run, and their output read."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = Path(__file__).resolve().parent / "programs"
BINARIES = ROOT / ".cache/bench"
RUN_SECONDS = 120


class BenchFailed(Exception):
    """A part of the bench cannot be measured; the text says why."""


def program(name: str) -> Path:
    source, binary = SOURCES / f"{name}.c", BINARIES / name
    if not binary.exists() or binary.stat().st_mtime < source.stat().st_mtime:
        compiler = shutil.which("cc") or shutil.which("clang")
        if not compiler:
            raise BenchFailed("there is no C compiler (cc or clang)")
        BINARIES.mkdir(parents=True, exist_ok=True)
        subprocess.run([compiler, "-O2", "-Wall", "-pthread", "-o", binary, source], check=True)
    return binary


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: list[float]) -> float:
    return quantile(values, 0.5)


@dataclass
class Turn:
    """Seconds from the moment before the request was sent."""

    first: float
    harness_read: float
    harness_wrote: float
    total: float
    bytes: int
    markers: int


@dataclass
class Load:
    """What one run of the load generator saw; turns in the order of clients."""

    turns: list[Turn]
    wall: float
    cpu: float

    def first(self, share: float) -> float:
        return quantile([turn.first for turn in self.turns], share)

    @property
    def streams_a_second(self) -> float:
        return len(self.turns) / self.wall

    @property
    def client_share(self) -> float:
        """Of one core: what the load generator itself used."""
        return self.cpu / self.wall


def _load(arguments: list[str]) -> Load:
    try:
        run = subprocess.run([program("client"), *arguments], capture_output=True, text=True, timeout=RUN_SECONDS)
    except subprocess.TimeoutExpired:
        raise BenchFailed(f"answers did not come within {RUN_SECONDS} s") from None
    if run.returncode != 0:
        raise BenchFailed(f"the load generator failed: {run.stderr.strip()[-500:]}")
    lines = [line.split() for line in run.stdout.splitlines()]
    turns = []
    for line in lines[:-1]:
        first, read, wrote, total = (int(field) / 1e9 for field in line[1:5])
        turns.append(Turn(first, read, wrote, total, int(line[5]), int(line[6])))
    return Load(turns, int(lines[-1][1]) / 1e9, int(lines[-1][3]) / 1e9)


def load_http(
    port: int, request: bytes, marker: str, *, clients: int = 1, turns: int, warm: int = 0, pause: float = 0,
    stop: int = 0
) -> Load:
    """`pause`: the most seconds that a client waits between turns, at random."""
    BINARIES.mkdir(parents=True, exist_ok=True)
    file = BINARIES / f"request-{os.getpid()}"
    file.write_bytes(request)
    try:
        numbers = (port, clients, turns, warm, round(pause * 1e6))
        return _load(["http", *map(str, numbers), str(file), marker, str(stop)])
    finally:
        file.unlink()


def load_stdio(text: str, *, streams: int, turns: int, warm: int, pause: float = 0) -> Load:
    """The scripted harness by hand: no server, no log, no HTTP."""
    numbers = (streams, turns, warm, round(pause * 1e6))
    return _load(["stdio", str(program("harness")), *map(str, numbers), text])


class Backend:
    """The scripted model backend as a process."""

    def __init__(self, deltas: int, size: int):
        self.process = subprocess.Popen(
            [program("backend"), str(deltas), str(size)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
