"""A connection that breaks: Codex asks again, attaches to the running turn, and the agent has run once."""

import json

import pytest
from codex_cli import CodexHome
from cutting_proxy import BEFORE_HEADERS, CuttingProxy, Cut
from scripts import COUNT, script, shell, text
from session_api import executions, items, said

DELTA = b"event: response.output_text.delta\n"
ITEM_DONE = b"event: response.output_item.done\n"
LONG = "the count is {{stdout}} and this sentence is long enough to be cut in its middle"


@pytest.mark.parametrize(
    "cut", [BEFORE_HEADERS, Cut(b"event: response.created\n", 1), Cut(ITEM_DONE, 1), Cut(DELTA, 3)],
    ids=["before the headers", "after the first event", "after an item", "inside an item"])
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
    process = codex.start(
        "--skip-git-repo-check", "--json", script(shell(f"sleep 2; {COUNT}"), text("{{stdout}}")))
    key = f"api:codex:{thread_of(process)}"
    server.api.wait_for_kind(key, "item.started")
    process.kill()
    process.wait()
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
