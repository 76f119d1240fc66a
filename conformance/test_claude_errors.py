"""What goes wrong behind `claude -p` is said to its user in our words, by one attempt, and leaves the session whole."""

import re
import uuid

import pytest
from claude_cli import STREAM, ClaudeHome, shown_by
from cutting_proxy import CuttingProxy
from scripts import script, shell, text
from session_api import executions, said
from test_errors import failure_of

TOO_LONG = "prompt is too long: 210000 tokens > 200000 maximum"
# What the agent's model does, by the API that the harness speaks, and the code of what it comes to.
PROVIDER_ERRORS = {
    "401": ({"error": 401}, {"error": 401}, "provider_authentication"),
    "429": ({"error": 429}, {"error": 429}, "provider_rate_limit"),
    "500": ({"error": 500}, {"error": 500}, "provider_unavailable"),
    "dropped stream": (
        {"text": "half of it", "drop": True}, {"text": "half of it", "drop": True}, "provider_stream_cut"),
    "context too long": (
        {"fail": "context_length_exceeded"}, {"error": 400, "etype": "invalid_request_error", "emsg": TOO_LONG},
        "context_window_exceeded"),
}


@pytest.mark.parametrize("name", PROVIDER_ERRORS)
def test_provider_errors(directory, server, harness, name):
    """When the model's provider fails, the user reads why, once, and the next turn works."""
    of_codex, of_claude, code = PROVIDER_ERRORS[name]
    step = of_claude if harness == "claude" else of_codex
    with CuttingProxy(server.port, path=b"/v1/messages") as proxy:
        user = ClaudeHome(directory / "user", proxy.url, headers={"X-Centaur-Harness": harness})
        run = user.ask(script(step), *STREAM)
        assert run.status == 1 and run.result["is_error"]
        assert proxy.requests == 1, "asked again for what will not change"
        error = failure_of(server, run.key)
        assert error["code"] == code and error["message"]
        assert error["message"] in run.result["result"]
        assert user.resume(run.session, "Reply STILL").ok().answer == "STILL"


def test_what_was_done_before_a_failure_is_shown(claude, server):
    """A turn that fails in its middle keeps what the user has seen, and the reason comes last."""
    run = claude.ask(script({"pre_text": "I begin.", "shell": "echo done-$((6*7))"}, {"error": 401}), *STREAM)
    assert run.status == 1
    assert run.texts[0] == "I begin." and "done-42" in run.texts[1]
    assert failure_of(server, run.key)["message"] in run.result["result"]
    again = claude.resume(run.session, script(text("{{history}} messages"))).ok()
    assert again.answer == "2 messages"
    assert len(said(server.api.events(run.key))) == 2


def test_a_failed_turn_asked_again_runs_again(claude, server):
    """A prompt that failed and is sent again by its user is a turn of its own, though the client merges the two."""
    prompt = script(shell("test -e once && exit; touch once; kill -9 $PPID; sleep 30"), text("made it"))
    first = claude.ask(prompt)
    assert first.status == 1
    second = claude.resume(first.session, prompt).ok()
    assert second.answer == "made it"
    assert list(executions(server.api.events(first.key)).values()) == ["failed", "completed"]


def test_a_passing_provider_error_is_not_the_users(claude, server):
    """One failed model call is tried again; the user sees the answer."""
    run = claude.ask(script({"error": 500, "times": 1}, text("made it"))).ok()
    assert run.answer == "made it"
    assert list(executions(server.api.events(run.key)).values()) == ["completed"]


def test_a_harness_that_dies(directory, server, harness):
    """An agent whose process dies in a turn fails that turn, and the next one gets a new process."""
    user = ClaudeHome(directory / "user", server.url, headers={"X-Centaur-Harness": harness})
    run = user.ask(script(shell("kill -9 $PPID; sleep 30"), text("never")), *STREAM)
    assert run.status == 1
    error = failure_of(server, run.key)
    assert error["code"] == "harness_died" and error["message"] in run.result["result"]
    again = user.resume(run.session, script(text("{{history}}"))).ok()
    assert again.answer == "2", "the new process goes on in the same conversation"


def test_a_harness_that_does_not_start(directory, make_server):
    """A server whose harness cannot start says so to Claude Code's user, once, and stays up."""
    server = make_server({"harnesses": {"codex": {"binary": "/nonexistent/codex"}}})
    user = ClaudeHome(directory / "user", server.url, headers={"X-Centaur-Harness": "codex"})
    run = user.ask("Reply PONG", *STREAM)
    assert run.status == 1
    error = failure_of(server, run.key)
    assert error["code"] == "harness_start_failed" and error["message"] in run.result["result"]


def test_turn_time_limit(directory, make_server):
    """A turn over its time is ended, with its command; the session goes on."""
    # The next turn is to come to its end in that time.
    server = make_server({"limits": {"turn": "15s"}})
    user = ClaudeHome(directory / "user", server.url)
    run = user.ask(script(shell("sleep 61; echo x"), text("never")), *STREAM)
    assert run.status == 1
    error = failure_of(server, run.key)
    assert error["code"] == "turn_time_limit" and error["message"] in run.result["result"]
    assert user.resume(run.session, "Reply ON").ok().answer == "ON"


def test_a_busy_server_is_waited_for(directory, make_server):
    """A server at its limit of turns makes Claude Code wait and come back: its user gets the answer, later."""
    server = make_server({"limits": {"turns": 1, "sandboxes": 1}})
    user = ClaudeHome(directory / "user", server.url)
    session = str(uuid.uuid4())
    first = user.start(script(shell("sleep 120"), text("never")), "--session-id", session)
    server.api.wait_for_kind(f"api:claude:{session}", "item.started")
    waiting = str(uuid.uuid4())
    second = user.start("Reply SECOND", "--session-id", waiting, *STREAM)
    retry = next(event for event in shown_by(second) if event.get("subtype") == "api_retry")
    assert retry["error_status"] == 503
    server.api.interrupt(f"api:claude:{session}").raise_for_status()
    assert user.finish(second, waiting).ok().result["result"] == "SECOND"
    assert user.finish(first, session).status == 1
    assert list(executions(server.api.events(f"api:claude:{waiting}")).values()) == ["completed"]


def test_a_prompt_that_is_refused_can_be_said_again(claude, directory, make_server):
    """A request over the body limit is refused with our reason; the limit is not the server's end."""
    server = make_server({"limits": {"body": "16KiB"}})
    run = ClaudeHome(directory / "small", server.url).ask("Reply FITS", *STREAM)
    assert run.status == 1 and "16384 bytes" in run.result["result"], run.stdout
    assert server.api.known() == set()


@pytest.mark.parametrize(
    "headers, reason", [
        ({"X-Centaur-Thread-Key": "nocolon"}, "thread key"), ({"X-Centaur-Harness": "nobody"}, "nobody"),
        ({"X-Centaur-Persona": "nobody"}, "nobody"), ({"X-Centaur-Busy": "perhaps"}, "X-Centaur-Busy")],
    ids=["thread key", "harness", "persona", "busy policy"])
def test_wrong_headers_are_told(directory, server, headers, reason):
    """A header of ours that is wrong is told to the user, and makes no session."""
    known = server.api.known()
    run = ClaudeHome(directory / "user", server.url, headers=headers).ask("Reply X", *STREAM)
    assert run.status == 1 and reason in run.result["result"], run.result["result"]
    assert server.api.known() == known


def test_a_session_of_another_harness_is_told(directory, server):
    """A session cannot change its harness; who asks for that reads so."""
    key = f"api:{uuid.uuid4()}"
    server.api.create(key, harness="codex-exec").raise_for_status()
    headers = {"X-Centaur-Thread-Key": key, "X-Centaur-Harness": "codex"}
    run = ClaudeHome(directory / "user", server.url, headers=headers).ask("Reply X", *STREAM)
    assert run.status == 1 and "codex-exec" in run.result["result"]


def test_no_error_shows_what_is_inside(claude):
    """What a user reads of a failure names no path of the server's and no key."""
    run = claude.ask(script({"error": 401}))
    assert not re.search(r"/tmp/|\.swift|sk-|Optional\(|127\.0\.0\.1", run.answer.replace(claude.url, "")), run.answer


def test_a_resumed_turn_after_a_restart(directory, make_server):
    """A server that is stopped and started makes the client come back; the session goes on."""
    server = make_server()
    user = ClaudeHome(directory / "user", server.url)
    first = user.ask("Reply BEFORE").ok()
    assert server.stop() == 0
    server.start()
    user.url = server.url
    second = user.resume(first.session, script(text("{{history}} messages"))).ok()
    assert second.answer == "2 messages"
    assert list(executions(server.api.events(first.key)).values()) == ["completed", "completed"]
