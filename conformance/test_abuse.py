"""Clients and harnesses that take more than their share: the server stays within its bounds, and others notice nothing.

What is asserted here are counts (descriptors, connections, readers, files, events). Sizes are reported by `make bench`.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import resource
import socket
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from centaur_server import PROGRAM, CentaurServer, base_environment
from http_wire import request_head
from session_api import TERMINAL, WAIT_SECONDS, SessionAPI, answer, executions, items

HARNESS = Path(__file__).resolve().parent / "wordy_harness.py"
# The store opens its readers' files when it is asked by many at once, and keeps them: four, with two files each.
READERS = 8
# Threads belong to pools, which make them when they are needed: the main thread, NIO's loops, and Dispatch's workers, as
# many of either as there are cores; and one for each serial queue that is at work, which are the store's: a writer, four
# readers, and who waits for a reader. Dispatch makes some more of these in a crowd, and ends each after five seconds in
# which it had nothing to do.
POOLS = 1 + 2 * os.cpu_count() + 6
# With the debug program; `make bench` has 1 GB.
COMMAND = 16 << 20


class OneClient(CentaurServer):
    """With one connection of the test's own: connections are counted here."""

    @functools.cached_property
    def api(self) -> SessionAPI:
        return SessionAPI(self.url)


@contextlib.contextmanager
def soft_limit_of_files(limit: int) -> Iterator[None]:
    """What is started meanwhile begins with it, as is usual."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def running(directory: Path, **limits) -> Iterator[CentaurServer]:
    config = {"harnesses": {"codex": {"binary": str(HARNESS)}}, "sandbox": "process", "limits": limits}
    server = OneClient(directory / "server", config)
    try:
        with soft_limit_of_files(1024):
            server.start()
        yield server
    finally:
        server.end()


@pytest.fixture(autouse=True)
def many_files() -> None:
    """This side of 2,000 connections needs descriptors too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def run(server: CentaurServer, key: str, text: str) -> list[dict]:
    """One turn to its end, its events only."""
    admitted = server.api.execute(key, {"text": text}).raise_for_status().json()
    return server.api.wait(
        key, lambda event: event["kind"] in TERMINAL and event["execution_id"] == admitted["execution_id"],
        after=admitted["event_id"] - 1)


def new_session(server: CentaurServer) -> str:
    key = f"api:{uuid.uuid4()}"
    server.api.create(key).raise_for_status()
    return key


def descriptors(server: CentaurServer) -> int:
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


def threads(server: CentaurServer) -> Counter[str]:
    """How many there are of each name."""
    found: Counter[str] = Counter()
    for task in Path(f"/proc/{server.process.pid}/task").iterdir():
        # Any of them may end meanwhile.
        with contextlib.suppress(OSError):
            found[(task / "comm").read_text().strip()] += 1
    return found


def until_quiet(server: CentaurServer) -> None:
    """Nobody reads, and nothing is connected but the test's own client: only then are descriptors counted."""
    until(lambda: server.api.metric("centaur_event_subscribers") == 0, "somebody is still subscribed")
    until(lambda: server.api.metric("centaur_connections") <= 1, "other connections stay")


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def dial(server: CentaurServer, receive_buffer: int | None = None) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    connection = socket.socket()
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(WAIT_SECONDS)
    connection.connect((host, int(port)))
    return connection


def ask(connection: socket.socket, path: str, accept: str = "text/event-stream") -> None:
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n".encode())


def ask_for_response(connection: socket.socket, key: str, text: str) -> None:
    body = json.dumps({"model": "m", "input": text, "stream": True}).encode()
    connection.sendall(request_head("POST /v1/responses HTTP/1.1", {
        "Host": "localhost", "Content-Type": "application/json", "Content-Length": str(len(body)),
        "X-Centaur-Thread-Key": key, "Idempotency-Key": "once"}) + body)


def read_until(connection: socket.socket, mark: bytes) -> bytes:
    """Up to the mark, or to the connection's end."""
    seen = b""
    while mark not in seen:
        with contextlib.suppress(ConnectionResetError):
            if received := connection.recv(1 << 16):
                seen += received
                continue
        break
    return seen


@contextlib.contextmanager
def subscribers(server: CentaurServer, after: dict[str, int], count: int) -> Iterator[list[socket.socket]]:
    """Who waits for events of the sessions, in turn, each from its event on."""
    held: list[socket.socket] = []
    keys = list(after)
    try:
        for number in range(count):
            connection = dial(server)
            held.append(connection)
            key = keys[number % len(keys)]
            ask(connection, server.api.path(key, f"/events?after_event_id={after[key]}"))
        for connection in held:
            assert b": subscribed" in read_until(connection, b": subscribed")
        yield held
    finally:
        for connection in held:
            connection.close()


@pytest.mark.parametrize("sessions", [1, 20])
def test_idle_subscribers(directory, sessions):
    """2,000 who wait for events cost a descriptor each, all are told of what happens, and nothing stays of them."""
    with running(directory) as server:
        keys = [new_session(server) for _ in range(sessions)]
        for key in keys:
            assert answer(run(server, key, "Reply PONG")) == "PONG"
        until_quiet(server)
        before = descriptors(server)
        after = {key: server.api.settled(key)[-1]["id"] for key in keys}
        with subscribers(server, after, 2000) as held:
            assert server.api.metric("centaur_event_subscribers") == 2000
            assert before + 2000 <= descriptors(server) <= before + 2000 + READERS
            until(lambda: threads(server).total() <= POOLS, f"more threads stay than {POOLS}: {threads(server)}")
            run(server, keys[0], "Reply PONG")
            for connection in held[::sessions]:
                assert b"event: execution.completed" in read_until(connection, b"event: execution.completed")
        until(lambda: server.api.metric("centaur_event_subscribers") == 0, "readers stay that have gone")
        until(lambda: descriptors(server) <= before + READERS, f"{descriptors(server)} descriptors, {before} before")


@pytest.mark.parametrize("api", ["events", "responses"])
def test_streams_that_are_dropped(directory, api):
    """1,000 streams of a turn, opened and dropped, leave no descriptor and no reader; the turn goes on, and is one."""
    with running(directory) as server:
        key = new_session(server)

        def drop(reads: bool) -> None:
            with contextlib.closing(dial(server)) as connection:
                if api == "events":
                    ask(connection, server.api.path(key, "/events?after_event_id=0"))
                else:
                    ask_for_response(connection, key, "hold")
                if reads:
                    read_until(connection, b"execution.started" if api == "events" else b"response.created")

        if api == "events":
            server.api.execute(key, {"text": "hold"}).raise_for_status()
        else:
            drop(reads=True)
        server.api.wait_for_kind(key, "execution.started")
        until_quiet(server)
        before = descriptors(server)
        for number in range(1000):
            drop(reads=number % 2 == 1)
        until(lambda: server.api.metric("centaur_event_subscribers") == 0, "readers stay that have gone")
        until(lambda: descriptors(server) <= before + READERS, f"{descriptors(server)} descriptors, {before} before")
        assert list(executions(server.api.events(key)).values()) == ["running"]


def test_connections_beyond_the_limit(directory):
    """As many as the limit are served, the next is told why it is not, and health checks come through."""
    with running(directory, connections=20) as server:
        key = new_session(server)
        # The test's own connection is one.
        until(lambda: server.api.metric("centaur_connections") == 1, "other connections stay")
        with subscribers(server, {key: 0}, 19) as held:
            for path, code in (
                ("/api/sessions", b'"code":"too_many_connections"'), ("/v1/models", b'"code":"too_many_connections"'),
                ("/healthz", b"200 OK"), ("/readyz", b"200 OK"), ("/metrics", b"200 OK")):
                with contextlib.closing(dial(server)) as connection:
                    ask(connection, path, "*/*")
                    seen = read_until(connection, code)
                    assert code in seen, seen
                    if path == "/api/sessions":
                        assert b"503" in seen.splitlines()[0] and b"retry-after: 5" in seen.lower()
                        assert b"connection: close" in seen.lower()
            until(lambda: server.api.metric("centaur_connections") == 20, "refused connections stay")
            # Who opens more all the same is cut off.
            surplus = [dial(server) for _ in range(80)]
            cut = 0
            for connection in surplus[64:]:
                with contextlib.suppress(ConnectionResetError):
                    cut += connection.recv(1) != b""
            assert cut == 0
            for connection in surplus:
                connection.close()
            until(lambda: server.api.metric("centaur_connections") == 20, "cut connections stay")
            held.pop().close()
            until(lambda: server.api.metric("centaur_connections") == 19, "a closed connection still counts")
            with contextlib.closing(dial(server)) as connection:
                ask(connection, "/api/sessions", "*/*")
                assert b"200 OK" in read_until(connection, b"200 OK")


def test_too_few_files(directory):
    """Where the machine allows fewer files than there may be connections, whoever asks is told."""
    def doctor(hard: int) -> str:
        command = f"ulimit -n {hard}; exec {PROGRAM} doctor --sandbox process --data {directory}/data"
        return subprocess.run(
            ["bash", "-c", command], capture_output=True, text=True, env=base_environment(), cwd=directory).stdout

    files = next(line for line in doctor(1000).splitlines() if "open files" in line)
    assert "may have 1000" in files and "616 connections" in files, files
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard > 9000:
        assert "9000 may be open: 8192 connections" in doctor(9000)


def test_readers_that_do_not_read(directory):
    """Ten who stop reading in the middle of much output, and ten who go on byte by byte, are cut off after their time,
    and delay nobody meanwhile."""
    with running(directory, write_stall="2s") as server:
        key = new_session(server)
        run(server, key, "events=8000")
        until_quiet(server)
        before = descriptors(server)
        stalled = []
        for _ in range(20):
            connection = dial(server, receive_buffer=4096)
            ask(connection, server.api.path(key, "/events?after_event_id=0"))
            stalled.append(connection)
        # Who reads is served meanwhile.
        assert len(server.api.page(key, after=7000, limit=1000).json()["data"]) == 1000
        assert answer(run(server, key, "Reply PONG")) == "PONG"

        def are_cut() -> bool:
            for connection in stalled[::2]:
                with contextlib.suppress(ConnectionResetError):
                    connection.recv(1)
            return server.api.metric("centaur_event_subscribers") == 0

        until(are_cut, "who does not read is still served")
        until(lambda: descriptors(server) <= before + READERS, "the connections of those who do not read stay")
        for connection in stalled:
            connection.close()


def test_requests_that_never_end(directory):
    """Half a head, half a body, and nothing at all: such connections are closed after their time."""
    with running(directory, idle_connection="1s") as server:
        before = descriptors(server)
        begun = []
        for words in (
            b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: ",
            b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 1000\r\n\r\n{\"model\":"):
            connection = dial(server)
            connection.sendall(words)
            begun.append(connection)
        for connection in begun:
            # Closed, with a word or without.
            read_until(connection, b"nothing more")
        until(lambda: descriptors(server) <= before + READERS, "connections stay that ask nothing")
        for connection in begun:
            connection.close()


def test_a_command_that_prints_without_end(directory):
    """The log has both ends of it and says what is missing; the session goes on, and its spool is given back."""
    with running(directory) as server:
        key = new_session(server)
        events = run(server, key, f"command={COMMAND}")
        assert events[-1]["kind"] == "execution.completed", events[-1]
        output = items(events, "command")[0]["output"]
        assert len(output) < (1 << 20) + (1 << 18) + 100
        left_out = COMMAND - (1 << 20) - (1 << 18)
        assert f"\n… {left_out} bytes left out …\n" in output
        pieces = [event["payload"]["delta"] for event in events if event["kind"] == "item.delta"]
        assert output == "".join(piece for piece in pieces if piece != "PONG")
        assert len(events) < 300
        spool = next((server.data / "sessions").glob("*/sandboxes/*/spool"))
        assert len(list(spool.iterdir())) <= 2
        assert answer(run(server, key, "Reply PONG")) == "PONG"


def test_a_turn_that_fills_the_log(directory):
    """It ends with a code of its own, its message is closed, and the session goes on with another process."""
    with running(directory, turn_output="1MiB") as server:
        key = new_session(server)
        events = run(server, key, "events=1000000")
        assert events[-1]["payload"]["error"]["code"] == "turn_output_limit"
        message = items(events, "message")[0]
        deltas = "".join(event["payload"]["delta"] for event in events if event["kind"] == "item.delta")
        assert message["status"] == "incomplete" and message["text"] == deltas
        # A chunk of the harness's output more than the limit, of what weighs 16 bytes and 128.
        assert len(deltas) / 16 < (1 << 20) / 144 + 1000
        assert answer(run(server, key, "Reply PONG")) == "PONG"


def test_an_endless_line(directory):
    """A line beyond the limit ends the harness, and its spool goes; the session goes on."""
    with running(directory, harness_line="4MiB") as server:
        key = new_session(server)
        events = run(server, key, f"line={128 << 20}")
        assert events[-1]["payload"]["error"]["code"] == "harness_line_too_long"
        sandboxes = next((server.data / "sessions").glob("*/sandboxes"))
        until(lambda: not list(sandboxes.iterdir()), "the harness's files stay")
        assert answer(run(server, key, "Reply PONG")) == "PONG"
