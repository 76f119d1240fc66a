"""A person at the Codex TUI: answers, work shown live, steer, Esc, queue."""

from gate import Gate
from scripts import COUNT, script, shell, text
from session_api import executions, items, said
from tui import CodexTUI


def test_answer_and_second_turn(codex, server):
    """Two turns typed one after the other are answered in one session."""
    known = server.api.known()
    with CodexTUI(codex) as tui:
        tui.submit("Reply FIRST")
        tui.wait_for("• FIRST")
        tui.submit("Reply SECOND")
        tui.wait_for("• SECOND")
    events = server.api.settled(server.api.new_session(known))
    assert said(events) == ["Reply FIRST", "Reply SECOND"]
    assert list(executions(events).values()) == ["completed", "completed"]


def test_work_is_shown_while_it_runs(codex, server):
    """The status line says what the agent is doing while it does it; what it did stays on the screen."""
    gate = Gate(server)
    with CodexTUI(codex) as tui:
        tui.submit(script(shell(f": seen; {gate.command}; echo built-$((6*7))"), text("all good")))
        # The prompt itself shows the command too: the status line is what stands with the way to interrupt it.
        tui.wait_for(r"(?s): seen; touch.*: seen; touch.*esc to interrupt")
        gate.open()
        screen = tui.wait_for("• all good")
    assert "built-42" in screen


def test_steer(codex, server):
    """Enter while the agent works puts the text into the running turn."""
    known, gate = server.api.known(), Gate(server)
    with CodexTUI(codex) as tui:
        tui.submit(script(shell(f"{gate.command}; {COUNT}"), text("unsteered")))
        key = server.api.new_session(known)
        server.api.wait_for_kind(key, "item.started")
        tui.submit("Reply STEERED")
        server.api.wait(key, lambda event: said([event]) == ["Reply STEERED"])
        gate.open()
        tui.wait_for("• STEERED")
    events = server.api.settled(key)
    assert list(executions(events).values()) == ["completed"]
    assert said(events)[1:] == ["Reply STEERED"]
    assert [command["output"].strip() for command in items(events, "command")] == ["1"]


def test_escape_then_another_prompt(codex, server):
    """Esc ends what runs as soon as the user says what they want instead."""
    known = server.api.known()
    with CodexTUI(codex) as tui:
        tui.submit(script(shell("sleep 120"), text("never")))
        key = server.api.new_session(known)
        server.api.wait_for_kind(key, "item.started")
        tui.press("Escape")
        tui.wait_for("(?i)interrupted")
        tui.submit("Reply INSTEAD")
        tui.wait_for("• INSTEAD")
    events = server.api.settled(key)
    assert list(executions(events).values()) == ["cancelled", "completed"]
    assert said(events)[1:] == ["Reply INSTEAD"]


def test_queue(codex, server):
    """Tab keeps a prompt for later: two turns, one after the other, both whole."""
    known, gate = server.api.known(), Gate(server)
    with CodexTUI(codex) as tui:
        tui.submit(script(shell(f"{gate.command}; echo one"), text("first is done")))
        key = server.api.new_session(known)
        server.api.wait_for_kind(key, "item.started")
        tui.type("Reply QUEUED")
        tui.press("Tab")
        tui.wait_until_gone("› Reply QUEUED")
        gate.open()
        tui.wait_for("• first is done")
        tui.wait_for("• QUEUED")
    events = server.api.settled(key)
    assert list(executions(events).values()) == ["completed", "completed"]
    assert said(events)[1:] == ["Reply QUEUED"]


def test_shell_command_of_the_user(codex, server):
    """`!command` runs on the user's machine and is not taken for a prompt."""
    known = server.api.known()
    with CodexTUI(codex) as tui:
        tui.submit("!echo on-my-machine")
        tui.wait_for("on-my-machine", count=2)
        tui.submit("Reply AFTER")
        tui.wait_for("• AFTER")
    events = server.api.settled(server.api.new_session(known))
    assert said(events) == ["Reply AFTER"]
