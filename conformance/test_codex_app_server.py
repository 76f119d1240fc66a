"""An editor that drives `codex app-server`: turns, steer, interrupt, fork."""

from gate import Gate
from scripts import COUNT, script, shell, text
from session_api import executions, items, said


def key_of(thread: str) -> str:
    return f"api:codex:{thread}"


def test_turns_of_a_thread(codex, server):
    """Turns of one thread are turns of one session, and text arrives while it is made."""
    with codex.app_server() as app:
        thread = app.start_thread()
        turn = app.start_turn(thread, script(text("one two three four five six", chunks=6, delay=0.02)))
        assert app.end_of_turn(turn)["status"] == "completed"
        deltas = [message for message in app.seen if message["method"] == "item/agentMessage/delta"]
        assert len(deltas) > 1
        assert "".join(message["params"]["delta"] for message in deltas) == "one two three four five six"
        assert app.run(thread, script(text("{{history}}"))) == "2"
    assert list(executions(server.api.events(key_of(thread))).values()) == ["completed", "completed"]


def test_two_texts_of_one_turn(codex, server):
    """An input of several parts arrives whole."""
    with codex.app_server() as app:
        thread = app.start_thread()
        app.run(thread, "one part", "Reply BOTH")
    assert "one part" in said(server.api.events(key_of(thread)))[0]
    assert "Reply BOTH" in said(server.api.events(key_of(thread)))[0]


def test_steer(codex, server):
    """A word put in while the agent works reaches the running turn; the agent is not begun anew."""
    gate = Gate(server)
    with codex.app_server() as app:
        thread = app.start_thread()
        turn = app.start_turn(thread, script(shell(f"{gate.command}; {COUNT}"), text("unsteered")))
        server.api.wait_for_kind(key_of(thread), "item.started")
        app.request(
            "turn/steer", threadId=thread, expectedTurnId=turn, input=[{"type": "text", "text": "Reply STEERED"}])
        server.api.wait(key_of(thread), lambda event: said([event]) == ["Reply STEERED"])
        gate.open()
        assert app.end_of_turn(turn)["status"] == "completed"
        assert app.answers(turn)[-1] == "STEERED"
    events = server.api.events(key_of(thread))
    assert list(executions(events).values()) == ["completed"]
    assert said(events)[1:] == ["Reply STEERED"]
    [command] = items(events, "command")
    assert command["output"].strip() == "1"


def test_interrupt_then_another_turn(codex, server):
    """Who interrupts and goes on gets the new turn, and the old one's command is gone."""
    with codex.app_server() as app:
        thread = app.start_thread()
        turn = app.start_turn(thread, script(shell("sleep 120"), text("never")))
        server.api.wait_for_kind(key_of(thread), "item.started")
        app.request("turn/interrupt", threadId=thread, turnId=turn)
        assert app.end_of_turn(turn)["status"] == "interrupted"
        assert app.run(thread, "Reply RECOVERED") == "RECOVERED"
    events = server.api.events(key_of(thread))
    assert list(executions(events).values()) == ["cancelled", "completed"]
    [command] = items(events, "command")
    assert command["status"] != "in_progress"


def test_warm_fork(codex, server):
    """A thread forked in a running editor has its parent's conversation."""
    with codex.app_server() as app:
        thread = app.start_thread()
        app.run(thread, "Reply TRUNK")
        fork = app.request("thread/fork", threadId=thread)["thread"]["id"]
        assert fork != thread
        assert app.run(fork, script(text("{{history}} {{first}}"))) == "2 Reply TRUNK"
        assert app.run(thread, script(text("{{history}}"))) == "2"
    forked = [event for event in server.api.events(key_of(fork)) if event["kind"] == "session.forked"]
    assert [event["payload"]["from"] for event in forked] == [key_of(thread)]


def test_two_threads_at_once(codex):
    """Two threads of one editor run side by side and do not mix."""
    with codex.app_server() as app:
        threads = [app.start_thread(), app.start_thread()]
        turns = [
            app.start_turn(thread, script(shell(f"sleep 1; echo {name}"), text("{{stdout}}")))
            for thread, name in zip(threads, ("left", "right"))
        ]
        for turn in turns:
            assert app.end_of_turn(turn)["status"] == "completed"
        assert [app.answers(turn)[-1] for turn in turns] == ["left", "right"]
