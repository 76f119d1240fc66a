"""Nothing is lost when the server dies: real clients and real harnesses over kills, stops and servers side by side.

Each turn leaves a line in its workspace, so that a test counts how often it was run.
"""

import os
import signal
import sqlite3
import subprocess
import threading
import uuid
from pathlib import Path

import httpx
import pytest
from centaur_server import CentaurServer, content, until
from chaos_faults import descendants
from claude_cli import STREAM, ClaudeHome
from codex_cli import CodexHome
from conftest import SERVERS
from scripts import COUNT, script, shell, text
from session_api import answer, executions, items, kinds
from test_codex_retries import thread_of
from turns import GATE, HARNESSES, die, model_calls, open_gate, ran_once, until_at_work, workspace

LONG = "the count is {{stdout}} and this sentence is long enough to be cut in its middle"
SAID = LONG.replace("{{stdout}}", "1")


@pytest.fixture
def server(make_server) -> CentaurServer:
    """A server that is found at the same place after a restart."""
    server = make_server()
    server.keeps_port = True
    return server


@HARNESSES
@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_turn_goes_on_without_its_server(server, harness, how):
    """A command runs while the server dies; its output, the rest of the turn and nothing twice are in the log."""
    key = f"api:{uuid.uuid4()}"
    server.api.create(key, harness=harness)
    server.api.execute(key, {"text": script(
        shell(f"{COUNT}; {GATE}; seq 2000"), shell("echo second"), text("done"))})
    server.api.wait_for_kind(key, "item.started")
    workspace_of = workspace(server, key)
    die(server, how)
    # It is done while nobody is there.
    (workspace_of / "go").touch()
    server.start()
    server.api.wait_for_kind(key, "execution.completed")
    events = ran_once(server, key, commands=2)
    first, second = items(events, "command")
    assert "2000" in first["output"] and second["output"].strip() == "second"
    assert answer(events) == "done"
    assert kinds(events).count("sandbox.reattached") == 1
    assert model_calls(server, 3) == 3
    again = server.api.run(key, script(text("{{history}}")))
    assert answer(again) == "2"
    assert kinds(server.api.events(key)).count("sandbox.ready") == 1


@HARNESSES
def test_a_model_call_is_not_cut(server, harness):
    """The model's answer streams on through the gateway while the server is not there; the model is called once."""
    key = f"api:{uuid.uuid4()}"
    server.api.create(key, harness=harness)
    words = " ".join(f"word{number}" for number in range(30))
    server.api.execute(key, {"text": script(text(words, chunks=30, delay=0.1))})
    server.api.wait_for_kind(key, "item.delta")
    server.kill()
    server.start()
    server.api.wait_for_kind(key, "execution.completed")
    events = server.api.settled(key)
    [message] = items(events, "message")
    assert message["text"] == words
    deltas = [event["payload"]["delta"] for event in events if event["kind"] == "item.delta"]
    assert "".join(deltas) == words
    assert model_calls(server, 1) == 1


@HARNESSES
def test_a_call_waits_for_the_next_gateway(server, harness):
    """The gateway dies while a command runs; the call that comes before another gateway is there is answered by that."""
    key = f"api:{uuid.uuid4()}"
    server.api.create(key, harness=harness)
    server.api.execute(key, {"text": script(shell(f"{COUNT}; {GATE}"), text("done"))})
    server.api.wait_for_kind(key, "item.started")
    gate = workspace(server, key) / "go"
    [shim] = [int(file.read_text()) for file in server.data.glob("sessions/*/sandboxes/*/pid")]
    [carrier] = [pid for pid in descendants(shim) if b"\0carry\0" in content(Path(f"/proc/{pid}/cmdline"))]
    # Who would start another gateway sleeps until the call is there.
    server.pause()
    try:
        os.kill(server.gateway_pid, signal.SIGKILL)
        until(lambda: not connections(carrier))
        gate.touch()
        until(lambda: connections(carrier))
    finally:
        server.resume()
    server.api.wait_for_kind(key, "execution.completed")
    events = ran_once(server, key)
    assert answer(events) == "done"
    assert "warning" not in kinds(events), "the harness had to ask again"
    assert model_calls(server, 2) == 2


def connections(carrier: int) -> list[str]:
    """What a sandbox's way to the gateway holds open, other than the socket that it listens on."""
    targets = {file.name: os.readlink(file) for file in Path(f"/proc/{carrier}/fd").iterdir()}
    listener = targets.pop("0")
    return [target for target in targets.values() if target.startswith("socket:") and target != listener]


@pytest.mark.parametrize("how", ["killed", "stopped"])
@pytest.mark.parametrize("moment", ["command", "answer"])
def test_codex_comes_back(directory, server, how, moment):
    """The Codex CLI asks again by itself, and its user sees the whole answer once."""
    user = CodexHome(directory / "user", server.v1)
    process = user.start("--skip-git-repo-check", "--json", script(
        shell(f"{COUNT}; {GATE}") if moment == "command" else shell(COUNT), text(LONG, chunks=12, delay=0.2)))
    key = f"api:codex:{thread_of(process)}"
    server.api.wait_for_kind(key, "item.started" if moment == "command" else "item.delta")
    die(server, how)
    server.start()
    if moment == "command":
        open_gate(server, key)
    run = user.finish(process).ok()
    messages = [item["text"] for item in run.items("agent_message")]
    assert messages[-1] == SAID
    assert len(messages) == len(set(messages)), f"something was shown twice: {messages}"
    ran_once(server, key)
    assert model_calls(server, 2) == 2


@pytest.mark.parametrize("how", ["killed", "stopped"])
@pytest.mark.parametrize("moment", ["command", "answer"])
def test_claude_comes_back(directory, server, how, moment):
    """Claude Code asks again by itself, and its user sees the whole answer once."""
    user = ClaudeHome(directory / "user", server.url)
    session = str(uuid.uuid4())
    key = f"api:claude:{session}"
    process = user.start(script(
        shell(f"{COUNT}; {GATE}") if moment == "command" else shell(COUNT), text(LONG, chunks=12, delay=0.2)),
        "--session-id", session, *STREAM)
    server.api.wait(key, lambda event: event["kind"] == "item.started" if moment == "command" else (
        event["kind"] == "item.delta" and event["payload"]["field"] == "text"))
    die(server, how)
    server.start()
    if moment == "command":
        open_gate(server, key)
    run = user.finish(process, session).ok()
    assert run.result["result"].strip() == SAID
    ran_once(server, key)
    assert model_calls(server, 2) == 2


def test_a_reader_of_events_misses_nothing(server):
    """Who follows the log and comes back with `Last-Event-ID` has each event once, whatever dies; and it stays so."""
    key = f"api:{uuid.uuid4()}"
    server.api.create(key)
    server.api.execute(key, {"text": script(shell(COUNT), text(LONG, chunks=20, delay=0.3))})
    seen: list[dict] = []

    def follow() -> bool:
        try:
            for event in server.api.stream(key, last_event_id=str(len(seen))):
                seen.append(event)
                if event["kind"] == "execution.completed":
                    return True
        except httpx.HTTPError:
            pass
        return False

    def restart() -> None:
        for _ in range(2):
            known = len(seen)
            # All of it may have been told at once.
            until(lambda: len(seen) >= known + 4 or seen and seen[-1]["kind"] == "execution.completed")
            server.kill()
            server.start()

    restarts = threading.Thread(target=restart)
    restarts.start()
    until(follow)
    restarts.join()
    assert seen == server.api.events(key)[:len(seen)]
    assert seen[-1]["kind"] == "execution.completed"
    ran_once(server, key)


def test_what_waits_in_line_is_run_after_a_kill(server):
    """Turns that were accepted and had not begun are run by the next server, in order, each once."""
    key = f"api:{uuid.uuid4()}"
    server.api.create(key)
    server.api.execute(key, {"text": script(shell(GATE), text("first"))})
    for number in range(3):
        server.api.execute(key, {"text": script(shell(f"echo {number} >> order"), text(f"turn {number}"))})
    server.api.wait_for_kind(key, "item.started")
    server.kill()
    server.start()
    open_gate(server, key)
    server.api.wait(key, lambda event: list(executions(server.api.events(key)).values()) == ["completed"] * 4)
    assert (workspace(server, key) / "order").read_text().split() == ["0", "1", "2"]


@HARNESSES
def test_a_cancel_that_was_acknowledged(server, harness):
    """An interrupt that was answered before the server was killed is carried out; nothing of the turn stays behind."""
    key = f"api:{uuid.uuid4()}"
    server.api.create(key, harness=harness)
    server.api.execute(key, {"text": script(shell(f"echo x >> count.txt; {GATE}; echo late >> count.txt"), text("no"))})
    server.api.wait_for_kind(key, "item.started")
    until((workspace(server, key) / "count.txt").exists)
    assert server.api.interrupt(key).status_code == 202
    server.kill()
    server.start()
    server.api.wait(key, lambda event: event["kind"].startswith("execution.c"))
    events = server.api.settled(key)
    assert list(executions(events).values()) == ["cancelled"]
    again = server.api.run(key, script(shell("touch go; sleep 0.3; cat count.txt"), text("{{stdout}}")))
    assert answer(again).split() == ["x"]


@HARNESSES
def test_a_sandbox_that_died_with_the_server(server, harness):
    """A turn whose sandbox is gone ends once, with that code; the next turn knows the conversation."""
    key = f"api:{uuid.uuid4()}"
    server.api.create(key, harness=harness)
    server.api.run(key, "Reply BLUE")
    known = len(server.api.events(key))
    server.api.execute(key, {"text": script(shell(f"{COUNT}; {GATE}"), text("no"))})
    server.api.wait_for_kind(key, "item.started", after=known)
    [pid] = [int(file.read_text()) for file in server.data.glob("sessions/*/sandboxes/*/pid")]
    server.kill()
    os.kill(pid, signal.SIGKILL)
    server.start()
    server.api.wait_for_kind(key, "execution.failed")
    events = server.api.settled(key)
    [failure] = [event["payload"]["error"] for event in events if event["kind"] == "execution.failed"]
    assert failure["code"] == "sandbox_lost"
    assert [item["status"] for item in items(events, "command")] == ["incomplete"]
    again = server.api.run(key, script(text("{{history}} {{first}}")))
    assert "Reply BLUE" in answer(again)
    assert not list(server.data.glob(f"sessions/*/sandboxes/{pid}"))


@pytest.mark.parametrize("sandbox", ["bubblewrap", "process"])
def test_a_backup_is_tried_out(make_server, directory, sandbox):
    """A copy of the data that is served beside the original ends nothing of the original's."""
    server = make_server({"sandbox": sandbox})
    key = f"api:{uuid.uuid4()}"
    server.api.create(key, harness="codex")
    server.api.execute(key, {"text": script(shell(f"{COUNT}; {GATE}"), text("done"))})
    server.api.wait_for_kind(key, "item.started")
    copy = CentaurServer(directory / "copy", {"sandbox": sandbox})
    copy.data.mkdir(mode=0o700)
    with sqlite3.connect(f"file:{server.data}/centaur.sqlite?mode=ro", uri=True) as original:
        original.backup(sqlite3.connect(copy.data / "centaur.sqlite"))
    subprocess.run(["cp", "-r", server.data / "sessions", copy.data], check=True)
    SERVERS.append(copy)
    try:
        copy.start()
        events = copy.api.settled(key)
        assert set(executions(events).values()) == {"failed"}
    finally:
        copy.end()
    assert "execution.failed" not in kinds(server.api.events(key))
    open_gate(server, key)
    ran_once(server, key)


def test_more_sandboxes_than_places(make_server):
    """A killed server's idle sandboxes, more than the next one has places for, make room for whoever comes."""
    server = make_server({"limits": {"sandboxes": 4}})
    for _ in range(4):
        key = f"api:{uuid.uuid4()}"
        server.api.create(key, harness="codex")
        server.api.run(key, "Reply ONE")
    server.kill()
    server.config["limits"] = {"sandboxes": 2}
    server.config["warm_pool"] = 1
    server.start()
    until(lambda: 'centaur_sandboxes_taken_over_total{found="alive"} 4' in httpx.get(f"{server.url}/metrics").text)
    for _ in range(2):
        key = f"api:{uuid.uuid4()}"
        server.api.create(key, harness="codex")
        assert answer(server.api.run(key, "Reply TWO")) == "TWO"


# MARK: Two servers


@pytest.fixture
def pair(make_server, directory):
    """Two servers on one data directory, each with a lease that it does not lose where it is only slow."""
    first = make_server({"limits": {"lease": "6s"}})
    first.keeps_port = True
    second = CentaurServer(directory / "second", first.config)
    second.data = first.data
    second.start()
    yield first, second
    if first.process.poll() is None:
        first.resume()
    second.stop()


def test_a_session_has_one_server(pair):
    """Where two servers use one data directory, each session is driven by one of them; the other says so, and takes over
    when that one is gone."""
    first, second = pair
    key = f"api:{uuid.uuid4()}"
    # Codex looks after a command of its own for ten seconds only.
    first.api.create(key, harness="claude")
    first.api.execute(key, {"text": script(shell(f"{COUNT}; {GATE}"), text("done"))})
    # Nothing is told between the beginning of a command and its end, once the call that asked for it is counted.
    first.api.wait_for_kind(key, "usage.updated")
    until_at_work(first, key)
    before = first.api.events(key)
    for refused in (
        second.api.execute(key, {"text": "Reply NO"}), second.api.interrupt(key),
        second.api.http.get(second.api.path(key, "/events"), headers={"accept": "text/event-stream"}),
        httpx.post(f"{second.v1}/responses", json={"model": "m", "input": "no"}, headers={"x-centaur-thread-key": key})):
        assert refused.status_code == 503 and "retry-after" in refused.headers, refused.text
        assert refused.json()["error"]["code"] == "session_elsewhere"
    assert second.api.events(key) == before
    other = f"api:{uuid.uuid4()}"
    second.api.create(other)
    assert answer(second.api.run(other, "Reply YES")) == "YES"
    first.kill()
    # Nobody asks for it.
    until(lambda: "sandbox.reattached" in kinds(second.api.events(key)))
    open_gate(second, key)
    second.api.wait_for_kind(key, "execution.completed")
    ran_once(second, key)


def test_a_server_that_sleeps_longer_than_its_lease(pair):
    """A paused server loses its sessions; when it wakes up it writes nothing and ends nothing."""
    first, second = pair
    key, idle = f"api:{uuid.uuid4()}", f"api:{uuid.uuid4()}"
    for name in (key, idle):
        # Codex looks after a command of its own for ten seconds only, and what it does then is written down.
        first.api.create(name, harness="claude")
    first.api.run(idle, "Reply IDLE")
    first.api.execute(key, {"text": script(shell(f"{COUNT}; {GATE}"), text("done"))})
    first.api.wait_for_kind(key, "item.started")
    first.pause()
    until(lambda: "sandbox.reattached" in kinds(second.api.events(key)))
    assert answer(second.api.run(idle, script(text("{{history}}")))) == "2"
    before = second.api.events(key), second.api.events(idle)
    first.resume()
    answered = first.api.execute(key, {"text": "Reply NO"})
    assert answered.status_code in (409, 503), answered.text
    assert (second.api.events(key), second.api.events(idle)) == before
    open_gate(second, key)
    second.api.wait_for_kind(key, "execution.completed")
    ran_once(second, key)
    # It is a server like any other again.
    fresh = f"api:{uuid.uuid4()}"
    first.api.create(fresh)
    assert answer(first.api.run(fresh, "Reply AWAKE")) == "AWAKE"
    assert kinds(second.api.events(idle)).count("sandbox.ready") == 1
