"""What the tests of hostile commands share: a server whose key is worth something, an attacker, a neighbour."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from centaur_server import CentaurServer, StandInModel
from scripts import script, shell, text
from session_api import TERMINAL, answer, items

# Of this process's tests alone: others start servers meanwhile.
NAME = f"hostile-{uuid.uuid4().hex}"
SECRET = f"sk-{NAME}"
# So that no file which only holds the attack holds the key.
NEEDLE = f"NEEDLE=$(printf '%s-%s' sk {NAME})"
HARNESSES = pytest.mark.parametrize("harness", ["codex", "claude"])


def guarded(directory: Path, provider: StandInModel, **limits) -> CentaurServer:
    return CentaurServer(
        directory, {
            "providers": {
                "openai": {"base_url": f"{provider.url}/v1", "api_key_env": "TEST_MODEL_KEY"},
                "anthropic": {"base_url": provider.url, "api_key_env": "TEST_MODEL_KEY"}},
            "limits": limits},
        stand_in=False, environment={"TEST_MODEL_KEY": SECRET})


@contextlib.contextmanager
def running(server: CentaurServer) -> Iterator[CentaurServer]:
    try:
        yield server.start()
    finally:
        server.end()


def new_session(server: CentaurServer, harness: str) -> str:
    key = f"api:{uuid.uuid4()}"
    server.api.create(key, harness=harness).raise_for_status()
    return key


def directory_of(server: CentaurServer, key: str) -> Path:
    return server.data / "sessions" / server.api.show(key).json()["id"]


@contextlib.contextmanager
def neighbour(server: CentaurServer) -> Iterator[None]:
    """Another session, whose turn runs while the body does, and is done afterwards."""
    # Codex looks after a command of its own for ten seconds only.
    key = new_session(server, "claude")
    wait = shell("echo begun; until [ -e go ]; do sleep 0.05; done; echo still here")
    server.api.execute(key, {"text": script(wait, text("{{out}}"))}).raise_for_status()
    server.api.wait(key, lambda event: event["kind"] == "item.started" and event["payload"]["type"] == "command")
    yield
    (directory_of(server, key) / "workspace/go").touch()
    last = server.api.wait_for_kind(key, *TERMINAL)
    assert last["kind"] == "execution.completed", last
    assert "still here" in answer(server.api.events(key))


def attack(server: CentaurServer, key: str, command: str) -> str:
    """What a command printed that the agent ran."""
    events = server.api.run(key, script(shell(command), text("done")))
    assert events[-1]["kind"] == "execution.completed", events[-1]
    return items(events, "command")[-1]["output"]


def failed_attack(server: CentaurServer, key: str, command: str) -> str:
    """The code with which a turn failed whose agent ran a command."""
    events = server.api.run(key, script(shell(command), text("done")))
    assert events[-1]["kind"] == "execution.failed", events[-1]
    return events[-1]["payload"]["error"]["code"]


def works(server: CentaurServer, key: str) -> None:
    assert answer(server.api.run(key, "Reply PONG")) == "PONG"
