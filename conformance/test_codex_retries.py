"""A connection that breaks: Codex asks again, attaches to the running turn, and the agent has run once."""

import json
import os
import signal

import pytest
from codex_cli import CodexHome
from cutting_proxy import BEFORE_HEADERS, CuttingProxy, Cut
from gate import Gate
from scripts import COUNT, script, shell, text
from session_api import executions, items, said

DELTA = b"event: response.output_text.delta\n"
ITEM_DONE = b"event: response.output_item.done\n"
LONG = "the count is {{stdout}} and this sentence is long enough to be cut in its middle"


@pytest.mark.parametrize(
    "cut", [
        BEFORE_HEADERS, Cut(b"event: response.created\n", 1), Cut(ITEM_DONE, 1), Cut(DELTA, 3), Cut(ITEM_DONE, 3)],
    ids=["before the headers", "after the first event", "after an item", "inside an item", "before the end"])
def test_retry_attaches(directory, server, cut):
    """Wherever the connection breaks, the user gets the whole answer once, and the work is done once."""
    prompt = script(shell(COUNT), text(LONG, chunks=8, delay=0.05))
    with CuttingProxy(server.port, [cut]) as proxy:
        user = CodexHome(directory / "user", f"{proxy.url}/v1")
        run = user.exec("--json", prompt).ok()
        assert proxy.ends[:2] == ["cut", "whole"]
    messages = [item["text"] for item in run.items("agent_message")]
    assert messages[-1] == LONG.replace("{{stdout}}", "1")
    assert len(messages) == len(set(messages)), f"something was shown twice: {messages}"
    events = server.api.events(run.key)
    assert list(executions(events).values()) == ["completed"]
    assert said(events) == [prompt]
    assert len(items(events, "command")) == 1


def check_counted_once(server, key: str, events: list[dict]) -> None:
    """The side effect is in the workspace, once."""
    assert list(executions(events).values()) == ["completed"] and len(items(events, "command")) == 1
    assert server.api.http.get(server.api.path(key, "/files/count.txt")).text == "x\n"


@pytest.mark.parametrize("marker", [b"event: response.completed\n", b"data: [DONE]\n"], ids=["end", "closing"])
def test_a_cut_after_the_end(directory, server, marker):
    """When all is said, a connection that breaks is no matter: nothing is asked again."""
    prompt = script(shell(COUNT), text(LONG, chunks=8, delay=0.05))
    with CuttingProxy(server.port, [Cut(marker, 1, clean=True)]) as proxy:
        run = CodexHome(directory / "user", f"{proxy.url}/v1").exec("--json", prompt).ok()
        assert proxy.requests == 1
    messages = [item["text"] for item in run.items("agent_message")]
    assert messages[-1] == LONG.replace("{{stdout}}", "1") and len(messages) == len(set(messages))
    check_counted_once(server, run.key, server.api.settled(run.key))


def test_a_cut_with_the_end(directory, server):
    """A reset may take the end with it before it is read: whether Codex asks again or not, it shows the answer once."""
    prompt = script(shell(COUNT), text(LONG, chunks=8, delay=0.05))
    with CuttingProxy(server.port, [Cut(b"event: response.completed\n", 1)]) as proxy:
        run = CodexHome(directory / "user", f"{proxy.url}/v1").exec("--json", prompt).ok()
        assert proxy.ends in (["cut"], ["cut", "whole"])
    messages = [item["text"] for item in run.items("agent_message")]
    assert messages[-1] == LONG.replace("{{stdout}}", "1") and len(messages) == len(set(messages))
    check_counted_once(server, run.key, server.api.settled(run.key))


def test_a_laptop_that_was_closed(directory, make_server):
    """Closed in the middle of the work and opened much later, when the agent is done, its sandbox gone and its server
    another: the client asks again by itself, and its user sees the whole answer once."""
    server = make_server({"limits": {"idle_sandbox": "1s"}})
    gate = Gate(server)
    with CuttingProxy(server.port) as proxy:
        user = CodexHome(directory / "user", f"{proxy.url}/v1")
        prompt = script(shell(f"{gate.command}; {COUNT}"), text(LONG, chunks=8, delay=0.05))
        process = user.start("--skip-git-repo-check", "--json", prompt)
        key = f"api:codex:{thread_of(process)}"
        server.api.wait_for_kind(key, "item.started")
        os.killpg(process.pid, signal.SIGSTOP)
        proxy.cut_all()
        gate.open()
        server.api.wait_for_kind(key, "sandbox.stopped")
        server.kill()
        proxy.upstream = server.start().port
        os.killpg(process.pid, signal.SIGCONT)
        run = user.finish(process).ok()
        assert proxy.requests == 2
    messages = [item["text"] for item in run.items("agent_message")]
    assert messages[-1] == LONG.replace("{{stdout}}", "1") and len(messages) == len(set(messages))
    events = server.api.events(key)
    assert said(events) == [prompt]
    check_counted_once(server, key, events)


def test_resumed_long_after(directory, make_server):
    """A client that ended before its answer came, and is resumed when sandbox and server are others: the work is done,
    once, the agent remembers it, and the user sees the next answer whole."""
    server = make_server({"limits": {"idle_sandbox": "1s"}})
    gate = Gate(server)
    user = CodexHome(directory / "user", server.v1)
    prompt = script(shell(f"{gate.command}; {COUNT}"), text("{{stdout}}"))
    process = user.start("--skip-git-repo-check", "--json", prompt)
    thread = thread_of(process)
    key = f"api:codex:{thread}"
    server.api.wait_for_kind(key, "item.started")
    process.kill()
    process.communicate()
    gate.open()
    server.api.wait_for_kind(key, "sandbox.stopped")
    server.kill()
    user.point_at(server.start().v1)
    again = script(shell(COUNT), text("{{stdout}} of {{history}}: {{first}}"))
    run = user.resume(thread, "--json", again).ok()
    assert run.items("agent_message")[-1]["text"] == f"2 of 2: {prompt}"
    events = server.api.events(key)
    assert said(events) == [prompt, again] and list(executions(events).values()) == ["completed", "completed"]
    assert [command["output"].strip() for command in items(events, "command")] == ["1", "2"]


def test_retry_after_retry(directory, server):
    """Breaking again and again costs time, never work."""
    prompt = script(shell(COUNT), text(LONG, chunks=8, delay=0.05))
    cuts = [Cut(ITEM_DONE, 1), Cut(DELTA, 2), BEFORE_HEADERS, Cut(DELTA, 5)]
    with CuttingProxy(server.port, cuts) as proxy:
        user = CodexHome(directory / "user", f"{proxy.url}/v1")
        run = user.exec("--json", prompt).ok()
        assert proxy.ends == ["cut"] * 4 + ["whole"]
    assert run.items("agent_message")[-1]["text"] == LONG.replace("{{stdout}}", "1")
    events = server.api.events(run.key)
    assert list(executions(events).values()) == ["completed"] and len(items(events, "command")) == 1


def test_the_turn_ends_without_its_client(codex, server):
    """A client that is killed does not take the agent's work with it; a resumed session finds it done."""
    gate = Gate(server)
    process = codex.start(
        "--skip-git-repo-check", "--json", script(shell(f"{gate.command}; {COUNT}"), text("{{stdout}}")))
    key = f"api:codex:{thread_of(process)}"
    server.api.wait_for_kind(key, "item.started")
    process.kill()
    process.wait()
    gate.open()
    server.api.wait_for_kind(key, "execution.completed")
    [command] = items(server.api.events(key), "command")
    assert command["output"].strip() == "1"
    run = codex.resume(key.rsplit(":", 1)[1], script(shell(COUNT), text("{{stdout}}"))).ok()
    assert run.answer == "2"


def thread_of(process) -> str:
    """The thread of a `codex exec --json` that runs, from its first line."""
    for line in process.stdout:
        if line.startswith("{") and (event := json.loads(line))["type"] == "thread.started":
            return event["thread_id"]
    raise AssertionError("codex named no thread")


def test_another_input_supersedes_the_running_turn(codex, server):
    """Who stopped a client and asks for something else gets that, and the old turn ends."""
    process = codex.start("--skip-git-repo-check", "--json", script(shell("sleep 60"), text("too late")))
    session = thread_of(process)
    server.api.wait_for_kind(f"api:codex:{session}", "item.started")
    process.kill()
    process.wait()
    run = codex.resume(session, "Reply INSTEAD").ok()
    assert run.answer == "INSTEAD"
    events = server.api.events(f"api:codex:{session}")
    assert list(executions(events).values()) == ["cancelled", "completed"]
    assert "too late" not in str(events[-5:])
