#!/usr/bin/env python3
"""`make bench`: what Centaur costs, measured against baselines in the same run. bench/README.md tells how.

`bench/run.py --quick` does less of everything; `--only PART…` measures some parts.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
os.environ.setdefault("CENTAUR_PROGRAM", str(ROOT / ".build/release/centaur"))
sys.path.insert(0, str(ROOT / "conformance"))
sys.dont_write_bytecode = True

import abuse  # noqa: E402
import figures  # noqa: E402
import gateway  # noqa: E402
import histories  # noqa: E402
import litellm_proxy  # noqa: E402
import measure  # noqa: E402
import recovery  # noqa: E402
import waiting  # noqa: E402
from centaur_server import PROGRAM, ServerFailed, end_processes_of  # noqa: E402
from programs import Backend, BenchFailed, load_http  # noqa: E402

PARTS = ("start", "gateway", "first", "streams", "replay", "turns", "history", "harnesses", "recovery", "abuse")


class LiteLLM:
    """What the proxy does, as far as it can be had here."""

    def __init__(self):
        self.streams: dict[int, float] = {}
        # Seconds, the median.
        self.first: dict[int, float] = {}
        self.start: float | None = None
        self.memory: float | None = None

    def measure(self, bench: measure.Bench) -> None:
        """The baseline is, for each number of clients, the better of its two dialects and of one worker or two."""
        version = litellm_proxy.install()
        backend = Backend(measure.DELTAS, 16)
        rates: dict[int, dict[str, float]] = {1: {}, 16: {}}
        firsts: dict[int, dict[str, float]] = {1: {}, 16: {}}
        try:
            for workers in (1, 2):
                proxy = litellm_proxy.LiteLLMProxy(bench.directory, backend.port, workers)
                try:
                    if workers == 1:
                        self.start, self.memory = proxy.start_seconds, proxy.resident_megabytes
                    self._measure(bench, proxy.port, f"{workers} worker{'s' if workers > 1 else ''}", rates, firsts)
                finally:
                    proxy.end()
        finally:
            backend.end()
        for clients, found in rates.items():
            self.streams[clients] = max(found.values())
            self.first[clients] = min(firsts[clients].values())
            listed = ", ".join(f"{name} {rate:.0f}" for name, rate in found.items())
            bench.notes.append(f"LiteLLM proxy {version}, streams a second, clients {clients}: {listed}")

    def _measure(
        self, bench: measure.Bench, port: int, name: str, rates: dict[int, dict[str, float]],
        firsts: dict[int, dict[str, float]],
    ) -> None:
        for path, marker in (("/v1/chat/completions", '"content":"'), ("/v1/responses", "output_text.delta")):
            for clients, turns in ((1, bench.times(40, 15)), (16, bench.times(10, 3))):
                found = load_http(
                    port, litellm_proxy.chat_request(path), marker, clients=clients, turns=turns, warm=2)
                rates[clients][f"{path} with {name}"] = found.streams_a_second
                firsts[clients][f"{path} with {name}"] = found.first(0.5)


def run(bench: measure.Bench, parts: set[str]) -> None:
    measure.others(bench)
    measure.disk(bench)
    litellm = LiteLLM()
    if parts & {"start", "streams"}:
        say("the LiteLLM proxy")
        try:
            litellm.measure(bench)
        except (BenchFailed, OSError) as failure:
            bench.notes.append(f"no LiteLLM baseline: {failure}")
    if "start" in parts:
        say("start and memory")
        measure.start_and_memory(bench, litellm.start, litellm.memory)
    if "gateway" in parts:
        say("the model gateway")
        gateway.measure(bench)
    if "harnesses" in parts:
        say("starts of the real harnesses")
        waiting.starts(bench)
    if "recovery" in parts:
        say("a server that comes after a killed one")
        recovery.measure_all(bench)
    if "abuse" in parts:
        say("clients and harnesses that take more than their share")
        abuse.measure_all(bench)
    with bench.server() as server:
        if "first" in parts:
            say("time to first byte")
            measure.first_byte(bench, server)
        if "streams" in parts:
            say("streams a second")
            measure.streams(bench, server, litellm.streams, litellm.first)
        if "replay" in parts:
            say("replay")
            measure.replay(bench, server)
        if "turns" in parts:
            say("a long session")
            measure.long_session(bench, server)
        if "history" in parts:
            say("a long history")
            measure.long_history(bench, server)
            histories.stateless(bench, server)


def say(part: str) -> None:
    print(f"measuring: {part}", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="do less of everything")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="measure these parts alone")
    options = parser.parse_args()
    if not PROGRAM.exists():
        print(f"{PROGRAM} is missing: run `make release`", file=sys.stderr)
        return 1
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 65536), most))
    begun = time.monotonic()
    # On the project's own disk: a temporary directory in memory would make durable writes free.
    (ROOT / ".cache").mkdir(exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="bench-run-", dir=ROOT / ".cache"))
    bench = measure.Bench(directory, options.quick)
    try:
        run(bench, set(options.only))
    except (BenchFailed, ServerFailed, OSError) as failure:
        print(f"the bench failed: {failure}", file=sys.stderr)
        return 1
    finally:
        end_processes_of(directory)
        shutil.rmtree(directory, ignore_errors=True)
    file = figures.write(bench.figures, bench.notes, options.quick)
    print(f"\n{figures.table(bench.figures)}\n")
    for note in bench.notes:
        print(f"· {note}")
    print(f"\n{time.monotonic() - begun:.0f} s; written to {file.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
