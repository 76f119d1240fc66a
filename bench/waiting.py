"""What a new session waits for, and what one that waits takes: with the real harnesses and the scripted model."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from by_hand import Harness, Recipe, family, megabytes
from centaur_server import CentaurServer, StandInModel, processes_with
from figures import Figure
from http_bytes import FIRST_TEXT, Connection, request, turn
from measure import Bench, milliseconds
from programs import BenchFailed, load_http, median, quantile

HARNESSES = ("codex", "claude")
TEXT = "Reply PONG"
IDLE_SESSIONS = 10


@contextmanager
def real_server(bench: Bench, model: StandInModel, **config) -> Iterator[CentaurServer]:
    """A server with the real harnesses."""
    bench.servers += 1
    config["providers"] = {
        "openai": {"base_url": f"{model.url}/v1", "api_key_env": "BENCH_MODEL_KEY"},
        "anthropic": {"base_url": model.url, "api_key_env": "BENCH_MODEL_KEY"}}
    server = CentaurServer(
        bench.directory / f"server{bench.servers}", config, stand_in=False, environment={"BENCH_MODEL_KEY": "none"})
    try:
        yield server.start()
    finally:
        server.end()


def first_delta(server: CentaurServer, harness: str) -> float:
    """Seconds from a request for a session that is new to its first text."""
    ask = turn(TEXT, f"bench:{uuid.uuid4()}", **{"x-centaur-harness": harness})
    return load_http(server.port, ask, FIRST_TEXT, turns=1).turns[0].first


def session_root(server: CentaurServer) -> Path:
    return max((server.data / "sessions").iterdir(), key=lambda path: path.name)


def starts(bench: Bench) -> None:
    model = StandInModel(bench.directory / "model")
    try:
        for harness in HARNESSES:
            cold_and_claimed(bench, model, harness)
        for harness in HARNESSES:
            idle_sessions(bench, model, harness)
    finally:
        model.end()


def cold_and_claimed(bench: Bench, model: StandInModel, harness: str) -> None:
    times = bench.times(12, 4)
    cold: list[float] = []
    claimed: list[float] = []
    by_hand_cold: list[float] = []
    by_hand_up: list[float] = []
    with real_server(bench, model) as server, real_server(bench, model, warm_pool={harness: 1}) as warm:
        first_delta(server, harness)
        recipe = Recipe(harness, session_root(server), model.url)
        for number in range(times):
            cold.append(first_delta(server, harness))
            wait_for_pool(warm, harness)
            claimed.append(first_delta(warm, harness))
            # The one that comes up behind it is not to be in the next figure.
            wait_for_pool(warm, harness)
            one = Harness(recipe, bench.directory / f"by-hand-{harness}-{number}")
            one.shake_hands()
            one.turn(TEXT)
            by_hand_cold.append(time.monotonic() - one.begun)
            one.end()
            one = Harness(recipe, bench.directory / f"by-hand-up-{harness}-{number}")
            one.shake_hands()
            time.sleep(0.5)
            by_hand_up.append(one.turn(TEXT))
            one.end()
    bench.figures.append(Figure(
        f"claim from the pool to first delta, {harness}", milliseconds(median(claimed)), "ms",
        "by hand, handshake done", milliseconds(median(by_hand_up))))
    bench.figures.append(Figure(
        f"cold start to first delta, {harness}", milliseconds(median(cold)), "ms", "by hand, from exec",
        milliseconds(median(by_hand_cold))))
    bench.notes.append(
        f"{harness}, worst of {times}: claimed {milliseconds(quantile(claimed, 1)):.0f} ms, cold "
        f"{milliseconds(quantile(cold, 1)):.0f} ms, by hand {milliseconds(quantile(by_hand_up, 1)):.0f} and "
        f"{milliseconds(quantile(by_hand_cold, 1)):.0f} ms")


def wait_for_pool(server: CentaurServer, harness: str) -> None:
    """Until one waits whose harness has answered; a moment more, so that nothing else is at work."""
    said = {"codex": b'"thread/started"', "claude": b'"control_response"'}[harness]
    deadline = time.monotonic() + 60
    while True:
        for mark in (server.data / "pool").glob("*"):
            spools = (server.data / "sessions" / mark.name).glob("sandboxes/*/spool/*")
            if any(said in file.read_bytes() for file in spools):
                time.sleep(0.5)
                return
        if time.monotonic() > deadline:
            raise BenchFailed("nothing waits in the warm pool")
        time.sleep(0.01)


def idle_sessions(bench: Bench, model: StandInModel, harness: str) -> None:
    with real_server(bench, model) as server:
        for _ in range(IDLE_SESSIONS):
            first_delta(server, harness)
        with Connection(server.port) as connection:
            connection.ask(request("GET", "/readyz"))
        recipe = Recipe(harness, session_root(server), model.url)
        time.sleep(1)
        # Shims and harnesses: all that has the sessions' directory on its command line, and what that has started.
        pids = set(processes_with(str(server.data))) - {server.process.pid, os.getpid()}
        pids |= {child for pid in pids for child in family(pid)}
        resident, shared = megabytes(sorted(pids))
    by_hand = []
    try:
        for number in range(IDLE_SESSIONS):
            by_hand.append(Harness(recipe, bench.directory / f"idle-{harness}-{number}"))
            by_hand[-1].shake_hands()
            by_hand[-1].turn(TEXT)
        time.sleep(1)
        pids = {child for one in by_hand for child in family(one.process.pid)}
        resident_by_hand, shared_by_hand = megabytes(sorted(pids))
    finally:
        for one in by_hand:
            one.end()
    bench.figures.append(Figure(
        f"resident memory of {IDLE_SESSIONS} idle sessions, {harness}", resident, "MB", "as many by hand",
        resident_by_hand))
    bench.notes.append(
        f"{IDLE_SESSIONS} idle {harness} sessions with what they share counted once: {shared:.0f} MB, by hand "
        f"{shared_by_hand:.0f} MB")
