"""A shim that is killed: nothing of its sandbox lives on, in any backend, with or without a server."""

import os
import signal
import uuid
from pathlib import Path

import invariants
import pytest
from centaur_server import CentaurServer, processes_with, until
from scripts import COUNT, script, shell, text
from session_api import answer, executions

BACKENDS = pytest.mark.parametrize("backend", ["process", "bubblewrap"])
HARNESSES = pytest.mark.parametrize("harness", ["codex", "claude"])
# One command in a session of its own, and one that its turn waits for.
LONG = script(shell(f"{COUNT}; setsid sleep 1234 & sleep 1235"), text("too late"))


def at_work(make_server, backend: str, harness: str) -> tuple[CentaurServer, str, int]:
    server = make_server({"sandbox": backend})
    key = f"api:{uuid.uuid4()}"
    server.api.create(key, harness=harness)
    server.api.execute(key, {"text": LONG})
    server.api.wait_for_kind(key, "item.started")
    until(lambda: any(server.data.glob("sessions/*/workspace/count.txt")))
    [pid] = server.data.glob("sessions/*/sandboxes/*/pid")
    return server, key, int(pid.read_text())


def inside(server: CentaurServer) -> list[int]:
    return processes_with(str(server.data / "sessions"))


def goes_on(server: CentaurServer, key: str) -> None:
    assert answer(server.api.run(key, script(shell(COUNT), text("{{stdout}}")))) == "2"
    assert list(executions(server.api.events(key)).values()) == ["failed", "completed"]
    invariants.check(server.data, settled=True)


@BACKENDS
@HARNESSES
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "ended by hand"])
def test_beside_its_server(make_server, backend, harness, how):
    """The turn fails and says that its sandbox ended, what it ran is gone, and the session has another sandbox."""
    server, key, shim = at_work(make_server, backend, harness)
    os.kill(shim, how)
    server.api.wait_for_kind(key, "sandbox.lost")
    failed = server.api.wait_for_kind(key, "execution.failed")
    assert failed["payload"]["error"]["code"] == "sandbox_lost", failed
    until(lambda: not inside(server))
    goes_on(server, key)


@BACKENDS
@HARNESSES
def test_after_its_server(make_server, backend, harness):
    """The next server ends what is left of it, and the session goes on."""
    server, key, shim = at_work(make_server, backend, harness)
    server.kill()
    os.kill(shim, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{shim}").exists())
    server.start()
    until(lambda: "running" not in executions(server.api.events(key)).values())
    until(lambda: not inside(server))
    goes_on(server, key)
