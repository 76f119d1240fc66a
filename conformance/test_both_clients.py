"""Each client with each harness, and both clients in one session."""

import uuid

import pytest
from claude_cli import STREAM, ClaudeHome
from codex_cli import CodexHome
from cutting_proxy import CuttingProxy, Cut
from scripts import COUNT, script, shell, text
from session_api import executions, items, kinds, said


class Codex:
    """`codex exec`, as far as these tests drive it. Under a thread key of its own: the session is known beforehand."""

    posts_to = b"/responses"
    first_piece = b"event: response.output_text.delta\n"

    def __init__(self, directory, url: str, headers: dict[str, str]):
        self.home = CodexHome(directory / "codex", f"{url}/v1", headers=headers)
        self.session: str | None = None

    def ask(self, prompt: str):
        """The first prompt of a conversation, or the next one."""
        options = ("--json", prompt)
        run = self.home.resume(self.session, *options) if self.session else self.home.exec(*options)
        self.session = run.ok().session
        return run.items("agent_message")[-1]["text"], run.stdout

    def start(self, prompt: str):
        return self.home.start("--skip-git-repo-check", prompt)


class Claude:
    """`claude -p`, likewise."""

    posts_to = b"/v1/messages"
    first_piece = b"event: content_block_delta\n"

    def __init__(self, directory, url: str, headers: dict[str, str]):
        self.home = ClaudeHome(directory / "claude", url, headers=headers)
        self.session: str | None = None

    def ask(self, prompt: str):
        run = self.home.resume(self.session, prompt, *STREAM) if self.session else self.home.ask(prompt, *STREAM)
        self.session = run.ok().session
        return run.result["result"], run.stdout

    def start(self, prompt: str):
        return self.home.start(prompt)


@pytest.fixture(params=[Codex, Claude], ids=["codex exec", "claude -p"])
def client(request) -> type:
    return request.param


@pytest.fixture
def key() -> str:
    return f"api:thread-{uuid.uuid4()}"


def headers_of(key: str, harness: str) -> dict[str, str]:
    return {"X-Centaur-Thread-Key": key, "X-Centaur-Harness": harness}


def test_answer_and_resume(directory, server, client, harness, key):
    """Any client gets an answer from any harness, with the agent's work shown, and the next turn remembers."""
    user = client(directory, server.url, headers_of(key, harness))
    answer, shown = user.ask(script(shell("echo from-$((40+2))-inside"), text("finished: {{stdout}}")))
    assert answer == "finished: from-42-inside"
    assert shown.count("from-42-inside") >= 2 and "echo from-$((40+2))-inside" in shown
    answer, _ = user.ask(script(text("{{history}} messages")))
    assert answer == "2 messages"
    events = server.api.events(key)
    assert server.api.show(key).json()["harness"] == harness
    assert list(executions(events).values()) == ["completed", "completed"]
    [command] = items(events, "command")
    assert command["exit_code"] == 0 and command["output"].strip() == "from-42-inside"


def test_interrupt(directory, server, client, harness, key):
    """A client that is stopped, and another prompt: the running turn ends, the session goes on."""
    user = client(directory, server.url, headers_of(key, harness))
    process = user.start(script(shell("sleep 60"), text("too late")))
    server.api.wait_for_kind(key, "item.started")
    process.kill()
    process.communicate()
    assert user.ask("Reply INSTEAD")[0] == "INSTEAD"
    events = server.api.events(key)
    assert list(executions(events).values()) == ["cancelled", "completed"]
    assert all(command["status"] != "in_progress" for command in items(events, "command"))


def test_retry_after_a_cut(directory, server, client, harness, key):
    """A connection that breaks in the middle of the answer costs the user nothing, and the agent runs once."""
    words = "the count is {{stdout}} and this sentence is long enough to be cut in its middle"
    with CuttingProxy(server.port, [Cut(client.first_piece, 4)], path=client.posts_to) as proxy:
        user = client(directory, proxy.url, headers_of(key, harness))
        answer, _ = user.ask(script(shell(COUNT), text(words, chunks=8, delay=0.05)))
        assert proxy.ends == ["cut", "whole"]
    assert answer == words.replace("{{stdout}}", "1")
    events = server.api.events(key)
    assert list(executions(events).values()) == ["completed"] and len(items(events, "command")) == 1


@pytest.mark.parametrize("order", [(Codex, Claude), (Claude, Codex)], ids=["Codex first", "Claude Code first"])
def test_both_clients_in_one_session(directory, server, harness, order, key):
    """A thread key that both clients name is one session: each goes on where the other stopped, in turn."""
    first, second = (client(directory, server.url, headers_of(key, harness)) for client in order)
    count = script(shell(COUNT), text("{{stdout}} of {{history}}"))
    assert first.ask(count)[0] == "1 of 1"
    assert second.ask(count)[0] == "2 of 2"
    assert first.ask(count)[0] == "3 of 3"
    answer, shown = second.ask(count)
    assert answer == "4 of 4" and "taken back" not in shown
    events = server.api.events(key)
    assert list(executions(events).values()) == ["completed"] * 4
    assert kinds(events).count("session.created") == 1 and kinds(events).count("sandbox.ready") == 1
    assert said(events) == [count] * 4


def test_one_client_takes_over_from_the_other(directory, server, harness, key):
    """Who stops Codex in the middle of its work and asks Claude Code instead has one agent, which obeys."""
    codex, claude = (client(directory, server.url, headers_of(key, harness)) for client in (Codex, Claude))
    process = codex.start(script(shell("sleep 60"), text("too late")))
    server.api.wait_for_kind(key, "item.started")
    process.kill()
    process.communicate()
    assert claude.ask("Reply TAKEN")[0] == "TAKEN"
    assert list(executions(server.api.events(key)).values()) == ["cancelled", "completed"]
