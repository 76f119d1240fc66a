"""Harnesses and clients of their own kinds over a restart: one process a turn, a model call cut on its way, streams."""

import os
import signal
import threading
import uuid
from collections.abc import Callable, Iterable

import httpx
import httpx2
import invariants
import openai
import pytest
from conftest import make_anthropic, make_sdk
from scripts import COUNT, script, shell, text
from session_api import answer, executions
from turns import GATE, HARNESSES, die, open_gate, ran_once, until_at_work, workspace

GATED = script(shell(f"{COUNT}; {GATE}; rm go"), text("done {{stdout}}"))


def new_key() -> str:
    return f"api:{uuid.uuid4()}"


def test_codex_exec(make_server):
    """A harness that is a process of each turn goes on without its server, killed or stopped, and remembers."""
    server = make_server()
    key = new_key()
    server.api.create(key, harness="codex-exec").raise_for_status()
    for number, how in enumerate(("killed", "stopped"), 1):
        known = server.api.show(key).json()["last_event_id"]
        server.api.execute(key, {"text": GATED}).raise_for_status()
        until_at_work(server, key, known)
        gate = workspace(server, key) / "go"
        die(server, how)
        # It is done while nobody is there.
        gate.touch()
        server.start()
        events = server.api.settled(key)
        assert list(executions(events).values()) == ["completed"] * number
        assert answer(events) == f"done {number}"
    assert answer(server.api.run(key, script(text("{{history}}")))) == "3"
    invariants.check(server.data, settled=True)


@HARNESSES
def test_the_gateway_dies_too(make_server, harness):
    """Server and gateway killed in the middle of a model call: the harness asks again, and its turn is done, once."""
    server = make_server()
    key = new_key()
    server.api.create(key, harness=harness).raise_for_status()
    server.api.execute(key, {"text": script(shell(COUNT), text("a b c d e f", chunks=6, delay=0.5))}).raise_for_status()
    server.api.wait(key, lambda event: event["kind"] == "item.delta" and event["payload"]["field"] == "text")
    gateway = server.gateway_pid
    server.kill()
    os.kill(gateway, signal.SIGKILL)
    server.start()
    assert answer(ran_once(server, key)) == "a b c d e f"
    invariants.check(server.data, settled=True)


class Reader(threading.Thread):
    """Reads a stream to its end, whichever it has."""

    def __init__(self, begin: Callable[[], Iterable]):
        super().__init__(daemon=True)
        self.begin = begin
        self.seen: list = []
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self.seen.extend(self.begin())
        except Exception as error:
            self.error = error

    def end(self) -> Exception | None:
        self.join(30)
        assert not self.is_alive(), "the stream goes on though its server is gone"
        return self.error


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_streams_end_loudly(make_server, how):
    """No SDK takes the end of its server for the end of its answer; a console has the rest from where it was."""
    server = make_server()
    server.keeps_port = True
    keys = [new_key() for _ in range(3)]
    for key in keys:
        server.api.create(key).raise_for_status()
    console = keys[2]
    server.api.execute(console, {"text": GATED}).raise_for_status()
    readers = [
        Reader(lambda: make_sdk(server).responses.create(
            model="m", input=GATED, stream=True, extra_headers={"X-Centaur-Thread-Key": keys[0]})),
        Reader(lambda: make_anthropic(server).messages.create(
            model="m", max_tokens=99, messages=[{"role": "user", "content": GATED}], stream=True,
            extra_headers={"X-Centaur-Thread-Key": keys[1]})),
        Reader(lambda: server.api.stream(console))]
    for key in keys:
        until_at_work(server, key)
    die(server, how)
    by_openai, by_anthropic, to_console = [reader.end() for reader in readers]
    assert isinstance(by_openai, openai.APIConnectionError)
    assert isinstance(by_anthropic, httpx2.TransportError)
    # An EventSource comes back from either.
    assert to_console is None if how == "stopped" else isinstance(to_console, httpx.TransportError)
    seen = readers[2].seen
    server.start()
    for key in keys:
        open_gate(server, key)
        ran_once(server, key)
    events = server.api.events(console)
    for event in server.api.stream(console, last_event_id=str(seen[-1]["id"])):
        seen.append(event)
        if event["id"] == events[-1]["id"]:
            break
    assert seen == events
