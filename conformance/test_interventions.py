"""A turn that somebody ends or adds to, and a server that is killed at that moment: what was asked is done, once."""

import contextlib
import functools
import uuid

import httpx
import invariants
import openai
import pytest
from centaur_server import CentaurServer, processes_with, until
from chaos_faults import program
from conftest import make_sdk
from scripts import COUNT, script, shell, text
from session_api import answer, executions, said
from turns import GATE, HARNESSES, arm, await_death, open_gate, until_at_work, workspace


@pytest.fixture
def key() -> str:
    return f"api:{uuid.uuid4()}"


def endless() -> tuple[str, str]:
    """A turn that does not end by itself, with a detached command beside it; and a mark of both processes."""
    mark = str(60_000_000 + uuid.uuid4().int % 1_000_000)
    return script(shell(f"{COUNT}; (setsid sleep {mark} &); sleep {mark}; echo late >> count.txt"), text("no")), mark


def until_run(server: CentaurServer, key: str, mark: str, after: int) -> None:
    """Returns when the turn's command and what it left beside it run."""
    until_at_work(server, key, after)
    until(lambda: sum(program(pid) == "sleep" for pid in processes_with(mark)) == 2)


@HARNESSES
def test_supersede(make_server, key, harness):
    """A turn in the place of another: that one ends, once, with all that it started, and the new one is done, once."""
    server = make_server()
    server.api.create(key, harness=harness).raise_for_status()
    ends: list[str] = []
    for point in ("commit.before:execution.queued#2", "commit.after:execution.queued#2"):
        arm(server, point)
        server.kill()
        known = server.start().api.show(key).json()["last_event_id"]
        work, mark = endless()
        server.api.execute(key, {"text": work}).raise_for_status()
        until_run(server, key, mark, known)
        body = {"text": script(shell(COUNT), text("{{stdout}}")), "busy": "supersede"}
        with contextlib.suppress(httpx.TransportError):
            server.api.execute(key, body, **{"Idempotency-Key": point})
        await_death(server)
        server.start()
        told = server.api.execute(key, body, **{"Idempotency-Key": point}).raise_for_status().json()
        assert told["replayed"] == point.startswith("commit.after")
        ends += ["cancelled", "completed"]
        until(lambda: list(executions(server.api.events(key)).values()) == ends)
        until(lambda: not processes_with(mark))
        assert server.api.execute(key, body, **{"Idempotency-Key": point}).json()["replayed"]
        assert answer(server.api.events(key)) == str(len(ends))
    assert (workspace(server, key) / "count.txt").read_text() == "x\n" * len(ends)
    assert list(executions(server.api.events(key)).values()) == ends
    invariants.check(server.data, settled=True)


@HARNESSES
def test_cancel(make_server, key, harness):
    """A response that is cancelled ends, once, with all that it started, acknowledged before the kill or not."""
    server = make_server()
    server.keeps_port = True
    sdk = make_sdk(server, default_headers={"X-Centaur-Thread-Key": key, "X-Centaur-Harness": harness})
    server.api.create(key, harness=harness).raise_for_status()
    points = ("commit.before:execution.cancelled#1", "commit.after:execution.cancelled#1", None)
    for number, point in enumerate(points, 1):
        if point:
            arm(server, point)
        server.kill()
        known = server.start().api.show(key).json()["last_event_id"]
        work, mark = endless()
        response = sdk.responses.create(model="m", background=True, input=work)
        until_run(server, key, mark, known)
        if point:
            with pytest.raises(openai.APIConnectionError):
                sdk.responses.cancel(response.id)
            await_death(server)
        else:
            assert sdk.responses.cancel(response.id).status == "cancelled"
            server.kill()
        server.start()
        # Nobody asks for it.
        until(lambda: list(executions(server.api.events(key)).values()) == ["cancelled"] * number)
        until(lambda: not processes_with(mark))
        assert sdk.responses.cancel(response.id).status == "cancelled"
    assert answer(server.api.run(key, script(shell(COUNT), text("{{stdout}}")))) == str(len(points) + 1)
    invariants.check(server.data, settled=True)


@HARNESSES
def test_steer(make_server, key, harness):
    """Words that are added to a turn reach it once (a harness that cannot be steered, as a turn of their own), and who says
    them again is shown the same response."""
    server = make_server()
    server.keeps_port = True
    server.api.create(key, harness=harness).raise_for_status()
    sdk = make_sdk(server, default_headers={"X-Centaur-Thread-Key": key, "X-Centaur-Busy": "steer"})
    for number, point in enumerate(("commit.before:message.appended#2", "commit.after:message.appended#2"), 1):
        arm(server, point)
        server.kill()
        known = server.start().api.show(key).json()["last_event_id"]
        server.api.execute(key, {"text": script(shell(f"{COUNT}; {GATE}; rm go"), text("done"))}).raise_for_status()
        until_at_work(server, key, known)
        steer = functools.partial(
            sdk.responses.create, model="m", input=f"Also this {number}.", extra_headers={"Idempotency-Key": point})
        with pytest.raises(openai.APIConnectionError):
            steer()
        await_death(server)
        server.start()
        open_gate(server, key)
        first, second = steer(), steer()
        assert first.to_dict() == second.to_dict()
        events = server.api.settled(key)
        turns = 1 if harness == "codex" else 2
        assert list(executions(events).values()) == ["completed"] * turns * number
        assert said(events).count(f"Also this {number}.") == 1
        assert (workspace(server, key) / "count.txt").read_text() == "x\n" * number
    invariants.check(server.data, settled=True)
