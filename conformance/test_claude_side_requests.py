"""What Claude Code asks for itself (titles, compaction, side questions) needs no session and leaves the log alone."""

import json

import pytest
from claude_cli import JSON, STREAM, ClaudeHome
from gate import Gate
from scripts import COUNT, script, shell, text
from session_api import executions, said
from tui import ClaudeTUI

# Past what the client takes for the end of its window, which it is told of below, and far from the agent's own. It
# believes what it is told for a model that it does not know.
FULL = {"input_tokens": 95_000, "output_tokens": 10}
SMALL_WINDOW = {"CLAUDE_CODE_MAX_CONTEXT_TOKENS": "100000", "ANTHROPIC_MODEL": "thread-agent"}


def test_automatic_compaction(directory, server):
    """A client that compacts its history by itself loses nothing: the session keeps the whole conversation."""
    user = ClaudeHome(directory / "user", server.url, settings=SMALL_WINDOW)
    first = user.ask(script(text("big", usage=FULL))).ok()
    before = server.api.events(first.key)
    prompt = script(text("{{history}} messages"))
    second = user.resume(first.session, prompt, *STREAM).ok()
    assert [event for event in second.events if event.get("subtype") == "compact_boundary"], "nothing was compacted"
    assert second.result["result"] == "2 messages" and "taken back" not in str(second.texts)
    after = server.api.events(first.key)
    assert after[: len(before)] == before and said(after)[1:] == [prompt]
    assert "CRITICAL" not in str(after) and "continued from" not in str(after)
    third = user.resume(first.session, script(text("{{history}} messages")), *STREAM).ok()
    assert third.result["result"] == "3 messages" and "taken back" not in str(third.texts)


def test_compaction_by_command(claude, server):
    """`/compact` leaves the log as it was, and the same words after each are turns of their own."""
    first = claude.ask("Reply SOLID").ok()
    before = server.api.events(first.key)
    prompt = script(shell(COUNT), text("{{stdout}}"))
    for number in ("1", "2"):
        assert claude.resume(first.session, "/compact", *JSON).ok().result["is_error"] is False
        assert server.api.events(first.key) == before
        assert claude.resume(first.session, prompt).ok().answer == number
        before = server.api.events(first.key)
    assert said(before) == ["Reply SOLID", prompt, prompt]


def test_compaction_after_a_local_command(claude, server):
    """What `/context` printed stands before the compaction's request, and is no prompt of the user's."""
    with ClaudeTUI(claude) as tui:
        known = server.api.known()
        tui.submit("Reply SOLID")
        tui.wait_for("● SOLID")
        key = server.api.new_session(known)
        before = server.api.settled(key)
        tui.submit("/context")
        tui.wait_for("Context [uU]sage")
        tui.submit("/compact")
        tui.wait_for("Compacted")
        assert server.api.events(key) == before
        tui.submit("/context")
        tui.wait_for("Context [uU]sage", count=2)
        tui.submit("Reply AFTERWARDS")
        tui.wait_for("● AFTERWARDS")
    events = server.api.settled(key)
    assert said(events) == ["Reply SOLID", "Reply AFTERWARDS"]
    assert list(executions(events).values()) == ["completed", "completed"]


@pytest.mark.parametrize("choice", ["Summarize from here", "Summarize up to here"])
def test_summary_of_a_part(claude, server, choice):
    """A part of the conversation that the user has summarized in the TUI is no step back for the agent."""
    known = server.api.known()
    with ClaudeTUI(claude) as tui:
        for word in ("ONE", "TWO", "THREE"):
            tui.submit(f"Reply {word}")
            tui.wait_for(f"● {word}")
        key = server.api.new_session(known)
        before = server.api.settled(key)
        tui.go_back_to("Reply TWO", choice)
        tui.wait_for("Summarized conversation")
        tui.clear()
        assert server.api.events(key) == before
        tui.submit("Reply FOUR")
        screen = tui.wait_for("● FOUR")
    assert "taken back" not in screen
    assert said(server.api.events(key))[3:] == ["Reply FOUR"]


def test_side_question(claude, server):
    """`/btw` is answered beside the conversation, even while the agent works, and is not part of it."""
    known, gate = server.api.known(), Gate(server)
    with ClaudeTUI(claude) as tui:
        tui.submit(script(shell(gate.command), text("worked")))
        key = server.api.new_session(known)
        server.api.wait_for_kind(key, "item.started")
        tui.submit("/btw how far are you")
        tui.wait_for(r"(?s)/btw how far are you.*ordinary message")
        tui.press("Escape")
        gate.open()
        tui.wait_for("● worked")
        tui.submit("/context")
        tui.wait_for("Context [uU]sage")
        tui.submit("/btw and now")
        tui.wait_for(r"(?s)/btw and now.*ordinary message")
        tui.press("Escape")
        tui.wait_until_gone("Esc to close")
        tui.submit(script(text("{{history}} messages")))
        tui.wait_for("● 2 messages")
    events = server.api.settled(key)
    assert list(executions(events).values()) == ["completed", "completed"]
    assert len(said(events)) == 2


def test_title(directory, server):
    """The TUI's request for a title makes no session, runs no agent, and is answered with what the user said."""
    user = ClaudeHome(directory / "user", server.url, settings={
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": None, "DISABLE_TELEMETRY": "1", "DISABLE_ERROR_REPORTING": "1"})
    known = server.api.known()
    with ClaudeTUI(user) as tui:
        tui.submit("Reply TITLED")
        tui.wait_for("● TITLED")
        key = server.api.new_session(known)
        events = server.api.settled(key)
        tui.wait_for_title("Reply TITLED")
    assert said(events) == ["Reply TITLED"] and list(executions(events).values()) == ["completed"]


def test_context_counts_tokens(claude, server):
    """`/context` counts tokens by dozens of requests; none of them makes a session."""
    first = claude.ask("Reply COUNTED").ok()
    known = server.api.known()
    before = server.api.events(first.key)
    run = claude.resume(first.session, "/context").ok()
    assert "System prompt" in run.answer
    assert server.api.known() == known and server.api.events(first.key) == before


def test_shell_command_of_the_user(claude, server):
    """`!command` runs on the user's machine, runs no agent, and is told to it with the next prompt."""
    known = server.api.known()
    with ClaudeTUI(claude) as tui:
        tui.submit("Reply BEFORE")
        tui.wait_for("● BEFORE")
        key = server.api.new_session(known)
        tui.submit("!echo on-my-$((6*7))-machine")
        tui.wait_for("on-my-42-machine")
        tui.wait_for("● Noted")
        assert list(executions(server.api.settled(key)).values()) == ["completed"]
        tui.submit("Reply AFTER")
        tui.wait_for("● AFTER")
    events = server.api.settled(key)
    assert list(executions(events).values()) == ["completed", "completed"]
    assert said(events)[1].endswith("Reply AFTER") and "on-my-42-machine" in said(events)[1]


def test_hook_that_asks_a_model(claude, server):
    """A hook of the user's own that asks a model for its judgement is answered without the agent."""
    settings = {"hooks": {"Stop": [{"hooks": [{"type": "prompt", "prompt": "Is the answer polite? $ARGUMENTS"}]}]}}
    run = claude.ask("Reply POLITE", "--settings", json.dumps(settings)).ok()
    assert run.answer == "POLITE"
    events = server.api.events(run.key)
    assert said(events) == ["Reply POLITE"] and list(executions(events).values()) == ["completed"]


def test_side_requests_under_a_thread_key(directory, server):
    """With `X-Centaur-Thread-Key` the client's own requests carry the key too, and still start nothing."""
    user = ClaudeHome(
        directory / "user", server.url, headers={"X-Centaur-Thread-Key": f"api:side-{directory.name}"})
    first = user.ask("Reply ONE").ok()
    before = server.api.events(f"api:side-{directory.name}")
    user.resume(first.session, "/compact").ok()
    user.resume(first.session, "/context").ok()
    assert server.api.events(f"api:side-{directory.name}") == before
