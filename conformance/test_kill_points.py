"""The places at which a debug build can be made to die: they are reached, they kill, and nobody else is told of them."""

import contextlib
import os
import signal
import uuid
from pathlib import Path

import httpx
import invariants
import openai
import pytest
from centaur_server import ROOT, CentaurServer, until
from client_tools import CLOCK, call, output
from scripts import COUNT, script, shell, text
from session_api import WAIT_SECONDS, answer, executions, items
from test_client_tools_waits import Waiting
from turns import GATE, HARNESSES, arm, await_death, die, model_calls, open_gate, until_at_work

TURN = script(shell(COUNT), text("{{stdout}}"))
# What a server with one turn reaches; a turn's gateway and shim have theirs.
SERVER = {
    "commit.before", "commit.written", "commit.after", "commit.before:session.created",
    "commit.after:execution.queued", "commit.written:execution.completed", "sandbox.directories", "sandbox.spawned",
    "sandbox.reachable", "gateway.opened", "input.before", "input.after", "sweep.before", "sweep.after", "shutdown"}
GATEWAY = {"gateway.call.begun", "gateway.call.streaming", "gateway.call.ended"}
# Where a server dies in a turn: at its admission, its sandbox's start, its command, its end; and in order. Each server
# has tried a sandbox of its own before it listens.
STARTS = ("sandbox.spawned#2", "gateway.opened#1")
IN_A_TURN = (
    "commit.before:execution.queued#1", "commit.after:execution.queued#1", *STARTS, "input.after#1",
    "commit.after:item.started#1", "commit.before:execution.completed#1", "commit.after:execution.completed#1",
    "shutdown#1")
SHIM = ("spool.before", "spool.after", "input.taken", "input.given")


def counts(file: Path) -> dict[str, int]:
    """How often each point was reached, by all processes that have ended."""
    found: dict[str, int] = {}
    for line in file.read_text().splitlines():
        name, count = line.rsplit(" ", 1)
        found[name] = found.get(name, 0) + int(count)
    return found


def new_key(server: CentaurServer) -> str:
    key = f"api:{uuid.uuid4()}"
    server.api.create(key).raise_for_status()
    return key


def test_each_is_reached(make_server, directory):
    """A point that nothing reaches tests nothing."""
    file = directory / "counts"
    server = make_server(environment={"CENTAUR_KILL_COUNT": str(file)})
    server.api.run(new_key(server), TURN)
    gateway = server.gateway_pid
    server.stop()
    found = counts(file)
    assert SERVER <= found.keys(), SERVER - found.keys()
    assert found["commit.before"] == found["commit.written"] == found["commit.after"] > 5
    os.kill(gateway, signal.SIGTERM)
    until(lambda: not Path(f"/proc/{gateway}").exists())
    assert GATEWAY <= counts(file).keys(), GATEWAY - counts(file).keys()


@HARNESSES
def test_a_turn_survives(make_server, harness):
    """Wherever its server is killed, a turn is done, once, when the client asks again, and the next one knows of it."""
    server = make_server()
    key = f"api:{uuid.uuid4()}"
    server.api.create(key, harness=harness).raise_for_status()
    for number, point in enumerate(IN_A_TURN, 1):
        arm(server, point)
        # An idle sandbox ends with its server's stop, and outlives a kill.
        die(server, "stopped" if point in STARTS else "killed")
        known = server.start().api.show(key).json()["last_event_id"]
        body = {"text": script(shell(f"{COUNT}; {GATE}; rm go"), text("{{stdout}} {{history}}"))}
        if "completed" in point:
            open_gate(server, key)
        with contextlib.suppress(httpx.TransportError):
            server.api.execute(key, body, **{"Idempotency-Key": point})
        if point == "shutdown#1":
            until_at_work(server, key, after=known)
            server.process.send_signal(signal.SIGTERM)
        await_death(server)
        server.start()
        told = server.api.execute(key, body, **{"Idempotency-Key": point}).raise_for_status().json()
        assert told["replayed"] == (point != "commit.before:execution.queued#1"), point
        if "completed" not in point:
            until_at_work(server, key, after=known)
            open_gate(server, key)
        events = server.api.settled(key)
        assert list(executions(events).values()) == ["completed"] * number, point
        assert answer(events) == f"{number} {number}", point
        assert model_calls(server, 2 * number) == 2 * number, point
    invariants.check(server.data, settled=True)


@pytest.mark.parametrize("point", [
    "commit.before:execution.queued#2", "commit.written:execution.queued#2", "commit.after:execution.queued#2",
    "commit.after:execution.cancelled#1", "commit.before:execution.started#2"])
def test_a_handover(make_server, directory, point):
    """The server dies while one agent hands its conversation over to another: the program asks again, and is answered by
    one turn."""
    mark = directory / "mark"
    server = make_server(environment={"CENTAUR_KILL_AT": f"{point},never#1", "CENTAUR_KILL_MARK": str(mark)})
    turn = Waiting(server, steps=script(call("weather", city="Bern"), text("done")))

    def hand_over(**more):
        said = output(turn.call, script(shell(COUNT), text("{{stdout}}")))
        return turn.sdk.responses.create(model="m", input=[said], tools=[CLOCK], **more)

    with pytest.raises(openai.APIConnectionError):
        hand_over()
    assert server.process.wait(WAIT_SECONDS) == -signal.SIGKILL
    assert mark.read_text().split()[0] == point
    server.start()
    # The turn that waits is the next server's now, with whatever it was told.
    server.api.wait_for_kind(turn.key, "sandbox.reattached")
    answer = hand_over(extra_headers={"X-Stainless-Retry-Count": "1"})
    assert answer.output_text == "1"
    assert hand_over().id == answer.id
    assert list(executions(server.api.settled(turn.key)).values()) == ["cancelled", "completed"]
    invariants.check(server.data, settled=True)


@pytest.mark.parametrize("point", SHIM)
def test_a_shim_dies(make_server, directory, point):
    """A sandbox's shim dies where it is told to; its turn ends, and the session takes the next one."""
    mark = directory / "mark"
    server = make_server(environment={"CENTAUR_SHIM_KILL_AT": f"{point}#2", "CENTAUR_KILL_MARK": str(mark)})
    key = new_key(server)
    server.api.run(key, TURN)
    assert mark.read_text().split()[0] == f"{point}#2"
    assert server.api.run(key, TURN)[-1]["kind"] == "execution.completed"
    invariants.check(server.data, settled=True)


def test_a_gateway_dies(make_server, directory):
    """The model gateway dies in the middle of a call; another one comes, and the next turn is answered."""
    mark = directory / "mark"
    server = make_server(environment={
        "CENTAUR_KILL_AT": "gateway.call.streaming#1", "CENTAUR_KILL_MARK": str(mark)})
    key = new_key(server)
    server.api.run(key, TURN)
    assert mark.exists() and int(mark.read_text().split()[1]) != server.gateway_pid
    assert server.process.poll() is None
    assert server.api.run(key, TURN)[-1]["kind"] == "execution.completed"
    invariants.check(server.data, settled=True)


def test_the_harness_knows_nothing_of_them(make_server, directory):
    """What an agent runs is not told that it is part of a test."""
    server = make_server(environment={
        "CENTAUR_KILL_AT": "never#1", "CENTAUR_KILL_COUNT": str(directory / "counts"),
        "CENTAUR_KILL_MARK": str(directory / "mark"), "CENTAUR_SHIM_KILL_AT": "never#1"})
    events = server.api.run(new_key(server), script(
        shell("env; cat /proc/[0-9]*/environ | tr '\\0' '\\n'"), text("done")))
    [command] = items(events, "command")
    assert "PATH=" in command["output"] and "CENTAUR_KILL" not in command["output"]
    assert "CENTAUR_SHIM" not in command["output"]


@pytest.mark.parametrize("program", ["centaur", "centaur-shim"])
def test_a_release_has_none(program):
    """What users run cannot be told to die."""
    built = ROOT / ".build/release" / program
    if not built.exists():
        pytest.skip("there is no release build here; `make release` makes one")
    content = built.read_bytes()
    for word in (b"CENTAUR_KILL_AT", b"--kill-at", b"commit.written", b"spool.before"):
        assert word not in content, word
