"""The real Codex CLI with `supports_websockets`: it warms up, asks, goes on, breaks off and comes back on WebSockets, and
never falls back to HTTP."""

import json

import pytest
from codex_cli import CodexHome
from gate import Gate
from scripts import COUNT, script, shell, text
from session_api import executions, items, kinds, said
from tui import CodexTUI
from websocket_wire import SocketCut, SocketProxy

LONG = "the count is {{stdout}} and this sentence is long enough to be cut in its middle"


@pytest.fixture
def proxy(server):
    with SocketProxy(server.port) as proxy:
        yield proxy
        assert proxy.posts == [], "Codex fell back to HTTP"


@pytest.fixture
def user(directory, proxy):
    return CodexHome(directory / "user", f"{proxy.url}/v1", websockets=True)


def prompts(create: dict) -> list[str]:
    """What a message's input has of a user's, without Codex's own."""
    found = [
        part["text"] for item in create["input"] if item.get("role") == "user" for part in item["content"]
        if part["type"] == "input_text"]
    return [prompt for prompt in found if not prompt.startswith(("<", "# AGENTS.md"))]


def test_answers_after_a_warm_up(user, proxy, server):
    """The first message warms up and makes no session; the second goes on from it with only what is new."""
    run = user.exec("Reply PONG").ok()
    assert run.answer == "PONG"
    [seen] = proxy.sockets
    warm_up, create = seen.messages
    assert warm_up["generate"] is False and create["previous_response_id"].startswith("resp_side_")
    assert prompts(create) == ["Reply PONG"]
    events = server.api.events(run.key)
    assert kinds(events)[0] == "session.created" and list(executions(events).values()) == ["completed"]
    assert said(events) == ["Reply PONG"]


def test_a_session_of_many_processes(user, proxy, server):
    """A resumed session is the same one: a new process warms up anew and sends everything, which is known."""
    first = user.exec(script(shell(COUNT), text("{{stdout}}"))).ok()
    second = user.resume(first.session, script(shell(COUNT), text("{{stdout}} of {{history}}"))).ok()
    assert (first.answer, second.answer) == ("1", "2 of 2")
    events = server.api.events(first.key)
    assert kinds(events).count("session.created") == 1 and kinds(events).count("sandbox.ready") == 1
    assert len(proxy.sockets) == 2


def test_turns_on_one_socket(user, proxy):
    """An editor's turns go on one socket, each from the one before, with nothing but the new prompt."""
    with user.app_server() as editor:
        thread = editor.start_thread()
        assert [editor.run(thread, f"Reply {word}") for word in ("ONE", "TWO", "THREE")] == ["ONE", "TWO", "THREE"]
        assert editor.run(thread, script(text("{{history}} messages, first: {{first}}"))) == "4 messages, first: Reply ONE"
    assert len(proxy.sockets) == 1
    assert [prompts(create) for create in proxy.creates[1:3]] == [["Reply TWO"], ["Reply THREE"]]
    assert all(len(create["input"]) == 1 and create["previous_response_id"] for create in proxy.creates[1:])


@pytest.mark.parametrize(
    "cut", [
        SocketCut(b'"type":"response.created"', 2), SocketCut(b'"type":"response.output_item.done"'),
        SocketCut(b'"type":"response.output_text.delta"', 3), SocketCut(b'"type":"response.output_item.done"', 3)],
    ids=["after the first event", "after an item", "inside an item", "before the end"])
def test_a_socket_that_breaks(directory, server, cut):
    """Wherever it breaks, Codex connects anew and attaches: the whole answer is shown once, the work is done once."""
    prompt = script(shell(COUNT), text(LONG, chunks=8, delay=0.05))
    with SocketProxy(server.port, [cut]) as proxy:
        run = CodexHome(directory / "user", f"{proxy.url}/v1", websockets=True).exec("--json", prompt).ok()
        assert [seen.end == "cut" for seen in proxy.sockets] == [True, False] and proxy.posts == []
        # It came back with everything, and without the id that its first socket had given it.
        again = proxy.sockets[1].messages[0]
        assert prompts(again)[0] == prompt and "previous_response_id" not in again
    messages = [item["text"] for item in run.items("agent_message")]
    assert messages[-1] == LONG.replace("{{stdout}}", "1")
    assert len(messages) == len(set(messages)), f"something was shown twice: {messages}"
    events = server.api.events(run.key)
    assert list(executions(events).values()) == ["completed"] and said(events) == [prompt]
    assert len(items(events, "command")) == 1


def test_the_server_is_replaced_between_turns(directory, make_server):
    """The socket is closed with a word, and the next turn goes on in the same session on a new one."""
    server = make_server()
    with SocketProxy(server.port) as proxy:
        user = CodexHome(directory / "user", f"{proxy.url}/v1", websockets=True)
        with user.app_server() as editor:
            thread = editor.start_thread()
            assert editor.run(thread, script(shell(COUNT), text("{{stdout}}"))) == "1"
            server.stop()
            proxy.upstream = server.start().port
            assert editor.run(thread, script(shell(COUNT), text("{{stdout}} of {{history}}"))) == "2 of 2"
        assert proxy.posts == []
    events = server.api.events(f"api:codex:{thread}")
    assert list(executions(events).values()) == ["completed", "completed"]


def test_the_server_is_replaced_in_a_turn(directory, make_server):
    """The turn goes on without it, and Codex attaches at the next server."""
    server = make_server()
    server.keeps_port = True
    user = CodexHome(directory / "user", server.v1, websockets=True)
    gate = Gate(server)
    prompt = script(shell(f"{gate.command}; {COUNT}"), text(LONG, chunks=8, delay=0.05))
    process = user.start("--skip-git-repo-check", "--json", prompt)
    key = server.api.new_session(set())
    server.api.wait_for_kind(key, "item.started")
    server.stop()
    server.start()
    gate.open()
    run = user.finish(process).ok()
    assert run.items("agent_message")[-1]["text"] == LONG.replace("{{stdout}}", "1")
    events = server.api.settled(key)
    assert list(executions(events).values()) == ["completed"] and len(items(events, "command")) == 1


def test_interrupted(user, proxy, server):
    """An interrupted turn ends as soon as the user says what they want instead."""
    with user.app_server() as editor:
        thread = editor.start_thread()
        key = f"api:codex:{thread}"
        turn = editor.start_turn(thread, script(shell("sleep 120"), text("never")))
        server.api.wait_for_kind(key, "item.started")
        editor.request("turn/interrupt", threadId=thread, turnId=turn)
        assert editor.end_of_turn(turn)["status"] == "interrupted"
        # Codex ends the socket with it.
        proxy.wait(lambda: proxy.sockets[0].end)
        assert editor.run(thread, "Reply INSTEAD") == "INSTEAD"
    events = server.api.settled(key)
    assert list(executions(events).values()) == ["cancelled", "completed"]
    assert said(events)[1:] == ["Reply INSTEAD"]


def test_what_cannot_be_done_is_shown_once(directory, server):
    """A permanent error is our own sentence, and asked for once."""
    with SocketProxy(server.port) as proxy:
        user = CodexHome(
            directory / "user", f"{proxy.url}/v1", headers={"X-Centaur-Persona": "nobody"}, websockets=True)
        run = user.exec("Reply PONG")
        assert run.status != 0 and "There is no persona named 'nobody'" in run.stderr
        assert len(proxy.creates) == 1 and proxy.posts == []


def test_what_cannot_be_done_now_is_tried_again(directory, make_server):
    """A server without a free sandbox says when it is worth coming back, and Codex comes."""
    server = make_server({"limits": {"sandboxes": 1, "sandbox_wait": "5s", "turns": 4}})
    busy, gate = "api:busy", Gate(server)
    server.api.create(busy).raise_for_status()
    server.api.message(busy, {"text": script(shell(gate.command), text("free"))}).raise_for_status()
    server.api.execute(busy).raise_for_status()
    server.api.wait_for_kind(busy, "item.started")
    with SocketProxy(server.port) as proxy:
        user = CodexHome(directory / "user", f"{proxy.url}/v1", websockets=True)
        process = user.start("--skip-git-repo-check", "Reply PONG")
        proxy.wait(lambda: len(proxy.creates) > 1)
        gate.open()
        run = user.finish(process).ok()
        assert run.answer == "PONG" and len(proxy.creates) > 1 and proxy.posts == []


def test_a_person_at_the_tui(user, proxy, server):
    """Title, two turns and a compaction go on sockets; the session has the two turns."""
    known = server.api.known()
    with CodexTUI(user) as tui:
        tui.submit("Reply FIRST")
        tui.wait_for("• FIRST")
        tui.submit("/compact")
        tui.wait_for("(?i)compacted")
        tui.submit("Reply SECOND")
        tui.wait_for("• SECOND")
    events = server.api.settled(server.api.new_session(known))
    assert said(events) == ["Reply FIRST", "Reply SECOND"]
    assert list(executions(events).values()) == ["completed", "completed"]
    kinds_of_request = {
        json.loads(message["client_metadata"]["x-codex-turn-metadata"])["request_kind"]
        for seen in proxy.sockets for message in seen.messages}
    assert {"turn", "compaction"} <= kinds_of_request
