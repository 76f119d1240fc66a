"""A connection that breaks: Claude Code asks again, attaches to the running turn, and the agent has run once."""

import os
import re
import signal
import uuid

import pytest
from claude_cli import STREAM, ClaudeHome, shown_by
from cutting_proxy import BEFORE_HEADERS, CuttingProxy, Cut
from gate import Gate
from scripts import COUNT, script, shell, text
from session_api import executions, items, said
from tui import ClaudeTUI

MESSAGES = b"/v1/messages"
START = b"event: message_start\n"
DELTA = b"event: content_block_delta\n"
STOP = b"event: content_block_stop\n"
LONG = "the count is {{stdout}} and this sentence is long enough to be cut in its middle"
ANSWER = LONG.replace("{{stdout}}", "1")
PROMPT = script(shell(COUNT), text(LONG, chunks=8, delay=0.05))


def check_ran_once(server, key: str, prompt: str = PROMPT) -> None:
    events = server.api.events(key)
    assert list(executions(events).values()) == ["completed"]
    assert said(events) == [prompt]
    assert len(items(events, "command")) == 1
    assert server.api.http.get(server.api.path(key, "/files/count.txt")).text == "x\n"


@pytest.fixture
def behind(directory, server):
    """A user whose connection goes through a proxy that cuts."""
    proxies = []

    def make(*cuts: Cut, headers: dict[str, str] | None = None) -> tuple[CuttingProxy, ClaudeHome]:
        proxy = CuttingProxy(server.port, list(cuts), path=MESSAGES)
        proxies.append(proxy)
        return proxy, ClaudeHome(directory / "user", proxy.url, headers=headers)

    yield make
    for proxy in proxies:
        proxy.__exit__()


@pytest.mark.parametrize(
    "cut", [
        BEFORE_HEADERS, Cut(START, 1), Cut(DELTA, 1), Cut(STOP, 1), Cut(DELTA, 4)],
    ids=["before the headers", "after the first event", "inside the first block", "after a block", "inside the answer"])
def test_retry_attaches(behind, server, harness, cut):
    """Wherever the connection breaks, the user gets the whole answer once, and the work is done once."""
    proxy, user = behind(cut, headers={"X-Centaur-Harness": harness})
    run = user.ask(PROMPT, *STREAM).ok()
    assert proxy.ends == ["cut", "whole"]
    assert run.result["result"] == ANSWER
    assert run.texts.count(ANSWER) == 1
    check_ran_once(server, run.key)


@pytest.mark.parametrize(
    "cut", [Cut(STOP, 2), Cut(b"event: message_delta\n", 1), Cut(b"event: message_stop\n", 1)],
    ids=["after the last block", "before the end", "with the end"])
def test_a_cut_before_the_end(behind, server, harness, cut):
    """When all is said but that it is all, or a reset takes the end with it unread: whether the client asks for more or not, it prints the whole answer, once."""
    proxy, user = behind(cut, headers={"X-Centaur-Harness": harness})
    run = user.ask(PROMPT).ok()
    assert proxy.ends in (["cut"], ["cut", "whole"])
    assert run.answer == ANSWER
    server.api.settled(run.key)
    check_ran_once(server, run.key)


def test_a_cut_after_the_end(behind, server):
    """When all is said, a connection that breaks is no matter: nothing is asked again."""
    proxy, user = behind(Cut(b"event: message_stop\n", 1, clean=True))
    run = user.ask(PROMPT, *STREAM).ok()
    assert proxy.requests == 1
    assert run.result["result"] == ANSWER and run.texts.count(ANSWER) == 1
    server.api.settled(run.key)
    check_ran_once(server, run.key)


def test_resent_at_the_screen(behind, server):
    """Behind a finished block the TUI does not ask again when its connection breaks, but tells its user to. Who does so
    gets the rest of the answer, and the work is done once; said once more when all of it is there, it is another turn."""
    known = server.api.known()
    prompt = script(shell(COUNT), text(LONG, chunks=4, delay=0.3))
    proxy, user = behind()
    with ClaudeTUI(user) as tui:
        proxy.cuts = [Cut(DELTA, 3)]
        tui.submit(prompt)
        tui.wait_for("Connection lost mid-response")
        key = server.api.new_session(known)
        tui.submit(prompt)
        screen = tui.wait_for("the count is 1 and this sentence")
        assert len(re.findall("● Ran ", screen)) == 1, screen
        server.api.settled(key)
        check_ran_once(server, key, prompt)
        tui.wait_until_gone("esc to interrupt")
        tui.submit(prompt)
        tui.wait_for("the count is 2 and this sentence")
    assert list(executions(server.api.settled(key)).values()) == ["completed", "completed"]


def test_a_laptop_that_was_closed(directory, make_server):
    """Closed in the middle of the work and opened much later, when the agent is done, its sandbox gone and its server
    another: the client asks again by itself, and its user sees the whole answer once."""
    server = make_server({"limits": {"idle_sandbox": "1s"}})
    gate = Gate(server)
    with CuttingProxy(server.port, path=MESSAGES) as proxy:
        user = ClaudeHome(directory / "user", proxy.url)
        prompt = script(shell(f"{gate.command}; {COUNT}"), text(LONG, chunks=8, delay=0.05))
        process, session = running(user, server, prompt)
        key = f"api:claude:{session}"
        os.killpg(process.pid, signal.SIGSTOP)
        proxy.cut_all()
        gate.open()
        server.api.wait_for_kind(key, "sandbox.stopped")
        server.kill()
        proxy.upstream = server.start().port
        os.killpg(process.pid, signal.SIGCONT)
        run = user.finish(process, session).ok()
        assert proxy.requests == 2
    assert run.result["result"] == ANSWER and run.texts.count(ANSWER) == 1
    check_ran_once(server, key, prompt)


def test_resumed_long_after(directory, make_server):
    """A client that ended before its answer came, and is resumed when sandbox and server are others: the work is done,
    once, the agent remembers it, and the user sees the next answer whole."""
    server = make_server({"limits": {"idle_sandbox": "1s"}})
    gate = Gate(server)
    user = ClaudeHome(directory / "user", server.url)
    prompt = script(shell(f"{gate.command}; {COUNT}"), text("{{stdout}}"))
    process, session = running(user, server, prompt)
    key = f"api:claude:{session}"
    process.kill()
    process.communicate()
    gate.open()
    server.api.wait_for_kind(key, "sandbox.stopped")
    server.kill()
    user.url = server.start().url
    again = script(shell(COUNT), text("{{stdout}} of {{history}}: {{first}}"))
    run = user.resume(session, again, *STREAM).ok()
    assert run.result["result"] == f"2 of 2: {prompt}"
    events = server.api.events(key)
    assert said(events) == [prompt, again] and list(executions(events).values()) == ["completed", "completed"]
    assert [command["output"].strip() for command in items(events, "command")] == ["1", "2"]


def test_retry_after_retry(behind, server):
    """Breaking again and again costs time, never work."""
    proxy, user = behind(Cut(STOP, 1), Cut(DELTA, 3), BEFORE_HEADERS, Cut(DELTA, 6))
    run = user.ask(PROMPT, *STREAM).ok()
    assert proxy.ends == ["cut"] * 4 + ["whole"]
    assert run.result["result"] == ANSWER and run.texts.count(ANSWER) == 1
    check_ran_once(server, run.key)


def test_a_stream_that_ends_early_is_told_on(behind, server):
    """A proxy that ends the stream after a block makes the client ask for the rest: it gets just that."""
    proxy, user = behind(Cut(STOP, 1, clean=True))
    run = user.ask(PROMPT, *STREAM).ok()
    assert proxy.requests == 2
    assert run.result["result"] == ANSWER
    assert len(run.texts) == len(set(run.texts)) == 2, f"something was shown twice: {run.texts}"
    check_ran_once(server, run.key)
    again = user.resume(run.session, script(shell(COUNT), text("{{stdout}} of {{history}}"))).ok()
    assert again.answer == "2 of 2"


def test_a_stream_that_ends_early_again_and_again_is_told_on(behind, server):
    """However often the stream ends after a block, each block is shown once, and the answer comes last."""
    prompt = script(
        {"pre_text": "First I look.", "shell": "echo one"}, {"pre_text": "Then I count.", "shell": COUNT}, text("done"))
    proxy, user = behind(Cut(STOP, 1, clean=True), Cut(STOP, 1, clean=True), Cut(STOP, 1, clean=True))
    run = user.ask(prompt, *STREAM).ok()
    assert proxy.requests == 4
    assert len(run.texts) == len(set(run.texts)) == 5 and run.texts[-1] == run.result["result"] == "done", run.texts
    events = server.api.events(run.key)
    assert list(executions(events).values()) == ["completed"] and said(events) == [prompt]


def test_a_stream_that_ends_before_its_last_words(behind, server):
    """A stream that ends when all blocks are there is told on with the answer: the client takes nothing for it."""
    proxy, user = behind(Cut(STOP, 2, clean=True))
    run = user.ask(PROMPT, *STREAM).ok()
    assert proxy.requests == 2
    assert run.result["result"] == ANSWER
    check_ran_once(server, run.key)


def test_fallback_without_streaming_attaches(behind, server):
    """When streaming fails twice, the client asks for a whole body: it gets the answer of the same turn."""
    proxy, user = behind(Cut(DELTA, 1, clean=True), Cut(DELTA, 1, clean=True))
    run = user.ask(PROMPT, *STREAM).ok()
    assert proxy.types[-1].startswith("application/json"), proxy.types
    assert run.result["result"] == ANSWER
    check_ran_once(server, run.key)


def test_fallback_at_once(behind, server):
    """An answer that ends before its first block is asked for as a whole body at once."""
    proxy, user = behind(Cut(START, 1, clean=True))
    run = user.ask(PROMPT, *STREAM).ok()
    assert proxy.types[-1].startswith("application/json"), proxy.types
    assert run.result["result"] == ANSWER
    check_ran_once(server, run.key)


def running(claude, server, prompt: str) -> tuple:
    """A client whose agent is at work."""
    session = str(uuid.uuid4())
    process = claude.start(prompt, "--session-id", session, *STREAM)
    server.api.wait_for_kind(f"api:claude:{session}", "item.started")
    return process, session


def test_the_turn_ends_without_its_client(claude, server):
    """A client that is killed does not take the agent's work with it; a resumed session finds it done."""
    gate = Gate(server)
    process, session = running(claude, server, script(shell(f"{gate.command}; {COUNT}"), text("{{stdout}}")))
    process.kill()
    process.wait()
    gate.open()
    key = f"api:claude:{session}"
    server.api.wait_for_kind(key, "execution.completed")
    [command] = items(server.api.events(key), "command")
    assert command["output"].strip() == "1"
    prompt = script(shell(COUNT), text("{{stdout}} of {{history}}"))
    run = claude.resume(session, prompt, *STREAM).ok()
    assert run.result["result"] == "2 of 2"
    assert "taken back" not in str(run.texts), "nobody went back"
    assert said(server.api.events(key))[1:] == [prompt]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "killed"])
def test_another_prompt_supersedes_the_running_turn(claude, server, how):
    """Who stopped a client and asks for something else gets that, and the old turn ends."""
    process, session = running(claude, server, script(shell("sleep 60"), text("too late")))
    process.send_signal(how)
    process.communicate()
    run = claude.resume(session, "Reply INSTEAD").ok()
    assert run.answer == "INSTEAD"
    events = server.api.events(f"api:claude:{session}")
    assert list(executions(events).values()) == ["cancelled", "completed"]
    assert said(events)[1:] == ["Reply INSTEAD"]


def test_interrupt_after_something_was_shown(claude, server):
    """Ctrl-C in the middle of the work, then a prompt: the agent stops, remembers, and does what it is told."""
    prompt = script({"pre_text": "I begin.", "shell": "sleep 60"}, text("too late"))
    session = str(uuid.uuid4())
    process = claude.start(prompt, "--session-id", session, *STREAM)
    for event in shown_by(process):
        if event["type"] == "assistant" and "I begin." in str(event):
            break
    process.send_signal(signal.SIGINT)
    process.communicate()
    run = claude.resume(session, script(text("{{first}}"))).ok()
    assert run.answer.startswith("[[") and "I begin." in run.answer
    events = server.api.events(f"api:claude:{session}")
    assert list(executions(events).values()) == ["cancelled", "completed"]
    [command] = items(events, "command")
    assert command["status"] != "in_progress"


def test_the_same_words_again_are_another_turn(claude, server):
    """Saying the same thing twice is two turns: only a retry is a retry."""
    first = claude.ask(script(shell(COUNT), text("{{stdout}}"))).ok()
    second = claude.resume(first.session, script(shell(COUNT), text("{{stdout}}"))).ok()
    assert (first.answer, second.answer) == ("1", "2")
    assert list(executions(server.api.events(first.key)).values()) == ["completed", "completed"]
