"""What Codex asks for itself (titles, compaction, reviews) is answered without a session and without an agent."""

import subprocess

from codex_cli import CodexHome
from scripts import script, text
from session_api import executions, kinds, said
from tui import CodexTUI

# A usage that is past 90 % of the window which the client is told of below, and far from the agent's own.
FULL = {"input_tokens": 50_000, "output_tokens": 10}
SMALL_WINDOW = "model_context_window = 40000"


def test_local_compaction(directory, server):
    """A client that compacts its history loses nothing: the session keeps the whole conversation."""
    user = CodexHome(directory / "user", server.v1, extra=SMALL_WINDOW)
    first = user.exec(script(text("big", usage=FULL))).ok()
    before = server.api.events(first.key)
    second = user.resume(first.session, script(text("{{history}} messages"))).ok()
    assert second.answer == "2 messages"
    assert "compacted" in (second.stderr + second.stdout).lower()
    after = server.api.events(first.key)
    assert list(executions(after).values()) == ["completed", "completed"]
    assert after[: len(before)] == before
    # The compaction's own prompt and answer are nowhere.
    assert len(said(after)) == 2 and "CHECKPOINT" not in str(after)
    third = user.resume(first.session, "Reply THIRD").ok()
    assert third.answer == "THIRD" and len(said(server.api.events(first.key))) == 3


def test_compaction_of_the_second_kind(directory, server):
    """A provider named OpenAI makes Codex ask for a compaction item; it gets one."""
    user = CodexHome(directory / "user", server.v1, provider="OpenAI", extra=SMALL_WINDOW)
    first = user.exec(script(text("big", usage=FULL))).ok()
    second = user.resume(first.session, script(text("{{history}} messages"))).ok()
    assert second.answer == "2 messages"
    assert list(executions(server.api.events(first.key)).values()) == ["completed", "completed"]
    third = user.resume(first.session, "Reply THIRD").ok()
    assert third.answer == "THIRD"


def test_review_leaves_the_session_alone(directory, server):
    """`codex exec review` is answered, and neither makes nor touches a session."""
    user = CodexHome(directory / "user", server.v1)
    for command in (["init", "-q"], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "--allow-empty",
                                     "-m", "start"]):
        subprocess.run(["git", *command], cwd=user.work, check=True, env=user.environment)
    (user.work / "file.txt").write_text("changed\n")
    known = server.api.known()
    run = user.finish(user.start("review", "--uncommitted")).ok()
    assert (run.stdout + run.stderr).strip()
    assert server.api.known() == known


def test_review_within_a_thread(codex, server):
    """A review that an editor starts beside a conversation is not part of it."""
    with codex.app_server() as app:
        thread = app.start_thread()
        assert app.run(thread, "Reply ONE") == "ONE"
        before = server.api.events(f"api:codex:{thread}")
        review = app.request(
            "review/start", threadId=thread, delivery="inline",
            target={"type": "custom", "instructions": "look for mistakes"})
        assert app.end_of_turn(review["turn"]["id"])["status"] == "completed"
        assert server.api.events(f"api:codex:{thread}") == before
        assert app.run(thread, script(text("{{history}}"))) == "2"


def test_title_request_of_the_tui(codex, server):
    """The TUI's request for a title makes no session and runs no agent."""
    known = server.api.known()
    with CodexTUI(codex) as tui:
        tui.submit("Reply TITLED")
        tui.wait_for("• TITLED")
    events = server.api.settled(server.api.new_session(known))
    assert said(events) == ["Reply TITLED"] and kinds(events).count("execution.queued") == 1


def test_compaction_by_command(codex, server):
    """`/compact` in the TUI is answered at once and leaves the log as it was."""
    known = server.api.known()
    with CodexTUI(codex) as tui:
        tui.submit("Reply SOLID")
        tui.wait_for("• SOLID")
        key = server.api.new_session(known)
        before = server.api.settled(key)
        tui.submit("/compact")
        tui.wait_for("(?i)context compacted")
        assert server.api.events(key) == before
        tui.submit("Reply AFTERWARDS")
        tui.wait_for("• AFTERWARDS")
    assert list(executions(server.api.settled(key)).values()) == ["completed", "completed"]
