"""A person at Claude Code's TUI: answers, work shown, Esc, rewind, typing ahead."""

from centaur_server import until
from gate import Gate
from scripts import COUNT, script, shell, text
from session_api import executions, items, said
from tui import ClaudeTUI


def test_answer_and_second_turn(claude, server):
    """Two turns typed one after the other are answered in one session."""
    known = server.api.known()
    with ClaudeTUI(claude) as tui:
        tui.submit("Reply FIRST")
        tui.wait_for("● FIRST")
        tui.submit("Reply SECOND")
        tui.wait_for("● SECOND")
    events = server.api.settled(server.api.new_session(known))
    assert said(events) == ["Reply FIRST", "Reply SECOND"]
    assert list(executions(events).values()) == ["completed", "completed"]


def test_work_is_shown_as_it_is_done(claude, server):
    """Each finished command is on the screen while the next one runs, with what came out; so is what was said."""
    gate = Gate(server)
    with ClaudeTUI(claude) as tui:
        tui.submit(script(
            {"pre_text": "First I look.", "shell": "echo built-$((6*7))"}, shell(f"{gate.command}; exit 3"), text("all good")))
        screen = tui.wait_for("built-42")
        assert "● all good" not in screen and "● First I look." in screen
        gate.open()
        screen = tui.wait_for("● all good")
    assert "exit 0" in screen and "exit 3" in screen


def test_typing_ahead_is_the_next_turn(claude, server):
    """What is typed while the agent works waits, and is a turn of its own."""
    known, gate = server.api.known(), Gate(server)
    with ClaudeTUI(claude) as tui:
        tui.submit(script(shell(f"{gate.command}; {COUNT}"), text("first is done")))
        key = server.api.new_session(known)
        server.api.wait_for_kind(key, "item.started")
        tui.submit("Reply QUEUED")
        gate.open()
        tui.wait_for("● first is done")
        tui.wait_for("● QUEUED")
    events = server.api.settled(key)
    assert list(executions(events).values()) == ["completed", "completed"]
    assert said(events)[1:] == ["Reply QUEUED"]
    assert [command["output"].strip() for command in items(events, "command")] == ["1"]


def test_escape_then_another_prompt(claude, server):
    """Esc before anything was shown: what the user says instead replaces the running turn."""
    known = server.api.known()
    with ClaudeTUI(claude) as tui:
        tui.submit(script(shell("sleep 120"), text("never")))
        key = server.api.new_session(known)
        server.api.wait_for_kind(key, "item.started")
        tui.press("Escape")
        tui.wait_until_gone("esc to interrupt")
        tui.clear()
        tui.submit("Reply INSTEAD")
        screen = tui.wait_for("● INSTEAD")
    assert "taken back" not in screen
    events = server.api.settled(key)
    assert list(executions(events).values()) == ["cancelled", "completed"]
    assert said(events)[1:] == ["Reply INSTEAD"]


def test_escape_in_the_middle_of_the_work(claude, server):
    """Esc after something was shown: the agent stops as soon as the user says what they want instead."""
    known = server.api.known()
    with ClaudeTUI(claude) as tui:
        tui.submit(script({"pre_text": "I begin.", "shell": "sleep 120"}, text("never")))
        tui.wait_for("● I begin.")
        key = server.api.new_session(known)
        server.api.wait_for_kind(key, "item.started")
        tui.press("Escape")
        tui.wait_for("(?i)interrupted")
        tui.submit(script(text("{{history}} messages")))
        screen = tui.wait_for("● 2 messages")
    assert "taken back" not in screen
    events = server.api.settled(key)
    assert list(executions(events).values()) == ["cancelled", "completed"]
    assert len(said(events)) == 2 and "interrupted" not in str(said(events))


def test_escape_and_the_same_prompt_again(claude, server):
    """Esc, then Enter on the same prompt that stands in the composer again: the user sees that turn, run once."""
    known, gate = server.api.known(), Gate(server)
    prompt = script(shell(f"{gate.command}; {COUNT}"), text("ran {{stdout}}"))
    with ClaudeTUI(claude) as tui:
        tui.submit(prompt)
        key = server.api.new_session(known)
        server.api.wait_for_kind(key, "item.started")
        tui.press("Escape")
        tui.wait_until_gone("esc to interrupt")
        until(lambda: prompt[:12] in (tui.composer() or ""))
        tui.press("Enter")
        tui.wait_for("esc to interrupt")
        gate.open()
        tui.wait_for("● ran 1")
    assert list(executions(server.api.settled(key)).values()) == ["completed"]


def test_rewind(claude, server):
    """Esc Esc and an earlier message, edited: the agent goes on from where it is, and the user is told so."""
    known = server.api.known()
    with ClaudeTUI(claude) as tui:
        for word in ("ONE", "TWO"):
            tui.submit(f"Reply {word}")
            tui.wait_for(f"● {word}")
        key = server.api.new_session(known)
        tui.go_back_to("Reply ONE", "Restore conversation")
        tui.wait_until_gone("● TWO")
        tui.clear()
        tui.submit(script(text("{{history}} messages")))
        screen = tui.wait_for("● 3 messages")
        assert screen.count("taken back") == 1
        tui.submit("Reply ON")
        screen = tui.wait_for("● ON")
    assert screen.count("taken back") == 1, "told once"
    events = server.api.settled(key)
    assert list(executions(events).values()) == ["completed"] * 4
    assert len([event for event in events if event["kind"] == "warning" and "taken back" in str(event)]) == 1


def test_rewind_of_the_last_message(claude, server):
    """The last message taken back and said in other words is a new turn, and the user is told what stays."""
    known = server.api.known()
    with ClaudeTUI(claude) as tui:
        for word in ("ONE", "TWO"):
            tui.submit(f"Reply {word}")
            tui.wait_for(f"● {word}")
        tui.go_back_to("Reply TWO", "Restore conversation")
        tui.wait_until_gone("● TWO")
        tui.clear()
        tui.submit("Reply OTHER")
        screen = tui.wait_for("● OTHER")
    assert screen.count("taken back") == 1
    assert said(server.api.settled(server.api.new_session(known)))[-1] == "Reply OTHER"


def test_clear_begins_a_new_session(claude, server):
    """`/clear` is a new conversation: the agent knows nothing of the old one."""
    known = server.api.known()
    with ClaudeTUI(claude) as tui:
        tui.submit("Reply OLD")
        tui.wait_for("● OLD")
        old = server.api.new_session(known)
        known = server.api.known()
        tui.submit("/clear")
        tui.wait_until_gone("● OLD")
        tui.submit(script(text("{{history}} message")))
        tui.wait_for("● 1 message")
    assert server.api.new_session(known) != old


def test_resume_in_the_tui(claude, server):
    """A conversation begun by `claude -p` goes on in the TUI, and back again."""
    first = claude.ask("Reply PRINTED").ok()
    with ClaudeTUI(claude, "--resume", first.session) as tui:
        tui.wait_for("● PRINTED")
        tui.submit(script(text("{{history}} messages")))
        tui.wait_for("● 2 messages")
        tui.leave()
    assert claude.resume(first.session, script(text("{{history}} messages"))).ok().answer == "3 messages"
    assert len(executions(server.api.settled(first.key))) == 3
