"""A turn at work in a server that dies: how it waits, where that server dies, and how often the turn was done."""

from __future__ import annotations

import signal
import uuid
from pathlib import Path

import pytest
from centaur_server import CentaurServer, until
from session_api import WAIT_SECONDS, executions, items, kinds

HARNESSES = pytest.mark.parametrize("harness", ["codex", "claude"])
# A command that waits until `open_gate`.
GATE = "while [ ! -e go ]; do sleep 0.05; done"


def workspace(server: CentaurServer, key: str) -> Path:
    return server.data / "sessions" / server.api.show(key).json()["id"] / "workspace"


def open_gate(server: CentaurServer, key: str) -> None:
    (workspace(server, key) / "go").touch()


def until_at_work(server: CentaurServer, key: str, after: int = 0) -> None:
    """Returns when the turn's command has begun."""
    server.api.wait(
        key, lambda event: event["kind"] == "item.started" and event["payload"]["type"] == "command", after)


def die(server: CentaurServer, how: str) -> None:
    if how == "killed":
        server.kill()
    else:
        assert server.stop() == 0


def arm(server: CentaurServer, point: str) -> None:
    """The next server dies at this point, once: the one behind it finds the mark."""
    mark = server.directory / f"mark-{uuid.uuid4()}"
    server.environment |= {"CENTAUR_KILL_AT": point, "CENTAUR_KILL_MARK": str(mark)}


def await_death(server: CentaurServer) -> None:
    """At the point that it was armed for."""
    assert server.process.wait(WAIT_SECONDS) == -signal.SIGKILL
    assert Path(server.environment["CENTAUR_KILL_MARK"]).read_text().split()[0] == server.environment["CENTAUR_KILL_AT"]


def ran_once(server: CentaurServer, key: str, commands: int = 1) -> list[dict]:
    """The log of a session whose one turn was done, once, whatever happened meanwhile."""
    events = server.api.settled(key)
    assert list(executions(events).values()) == ["completed"]
    assert (workspace(server, key) / "count.txt").read_text() == "x\n"
    assert len(items(events, "command")) == commands
    started = [event["payload"]["item_id"] for event in events if event["kind"] == "item.started"]
    closed = [event["payload"]["item_id"] for event in events if event["kind"] == "item.completed"]
    assert sorted(started) == sorted(closed) == sorted(set(started))
    assert kinds(events).count("sandbox.ready") == 1
    return events


def model_calls(server: CentaurServer, least: int) -> int:
    """How many there were, once there are so many: each is written down when its answer has gone out."""
    def count() -> int:
        return len([call for call in server.audit() if call.get("path", "").endswith(("/responses", "/messages"))])

    until(lambda: count() >= least)
    return count()
