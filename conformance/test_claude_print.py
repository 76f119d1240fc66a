"""`claude -p` against the server: answers, what it shows of the agent's work, sessions that go on."""

import json
import uuid

import pytest
from claude_cli import JSON, STREAM, ClaudeHome
from conftest import with_model
from files import PDF, PNG, base64_of, image_block, pdf_block, text_document
from scripts import COUNT, script, shell, text
from session_api import executions, items, kinds, said


def test_prints_the_answer(claude, server):
    """A person who asks by `claude -p` gets the answer on standard output, and the turn is in the log."""
    run = claude.ask("Reply PONG").ok()
    assert run.answer == "PONG"
    events = server.api.events(run.key)
    assert kinds(events)[0] == "session.created" and events[0]["payload"]["origin"] == "messages"
    assert list(executions(events).values()) == ["completed"]
    assert said(events) == ["Reply PONG"]
    assert server.api.show(run.key).raise_for_status().json()["thread_key"] == run.key


def test_only_the_answer_is_printed(claude):
    """A script that pipes `claude -p` gets the answer and nothing of the work that led to it."""
    run = claude.ask(script(
        {"pre_text": "Let me look.", "shell": "echo from-$((40+2))-inside", "reason": "Looking."},
        text("finished: {{stdout}}"))).ok()
    assert run.answer == "finished: from-42-inside"


def test_command_and_its_output_are_readable(claude, server):
    """What the agent runs, and what came out, can be read by who watches; the answer comes last."""
    steps = {"pre_text": "Let me look.", "shell": "echo from-$((40+2))-inside"}
    run = claude.ask(script(steps, text("finished: {{stdout}}")), *STREAM).ok()
    assert run.texts[0] == "Let me look."
    [note] = run.texts[1:-1]
    assert "echo from-$((40+2))-inside" in note and "from-42-inside" in note and "exit 0" in note
    assert run.texts[-1] == run.result["result"] == "finished: from-42-inside"
    [command] = items(server.api.events(run.key), "command")
    assert command["command"] == "echo from-$((40+2))-inside"
    assert (command["output"].strip(), command["exit_code"]) == ("from-42-inside", 0)


def test_the_agent_works_in_its_own_workspace(claude):
    """What the agent writes does not land on the client's machine, and nothing is executed there."""
    prompt = script(shell("echo here > made-by-agent; pwd"), text("{{stdout}}"))
    run = claude.ask(prompt, *STREAM, "--dangerously-skip-permissions").ok()
    assert not (claude.work / "made-by-agent").exists()
    assert str(claude.work) not in run.result["result"]
    assert {block["type"] for block in run.blocks} == {"text"}
    assert [event for event in run.events if event["type"] == "user"] == [], "the client executed something"
    assert run.result["num_turns"] == 1 and run.result["permission_denials"] == []


def test_result_of_a_program(claude):
    """A program that reads `--output-format json` finds the answer, no error, and figures that make sense."""
    run = claude.ask(script(shell("echo 7"), text("seven")), *JSON).ok()
    result = run.result
    assert (result["result"], result["subtype"], result["is_error"]) == ("seven", "success", False)
    assert (result["terminal_reason"], result["stop_reason"]) == ("completed", "end_turn")
    assert result["session_id"] == run.session
    assert result["usage"]["input_tokens"] > 0 and result["usage"]["output_tokens"] > 0


def test_text_arrives_while_it_is_made(claude):
    """Who watches with `--include-partial-messages` sees the answer grow."""
    words = "one two three four five six"
    run = claude.ask(script(text(words, chunks=6, delay=0.02)), *STREAM, "--include-partial-messages").ok()
    deltas = [event["event"]["delta"] for event in run.events if event["type"] == "stream_event"
              and event["event"]["type"] == "content_block_delta"]
    pieces = [delta["text"] for delta in deltas if delta["type"] == "text_delta"]
    assert len(pieces) > 1 and "".join(pieces) == words == run.result["result"]


def test_reasoning_is_shown(claude):
    """The model's reasoning reaches the person who watches, as thinking and not as part of the answer."""
    run = claude.ask(script(text("decided", reason="Weighing the options.")), *STREAM).ok()
    [thinking] = [block for block in run.blocks if block["type"] == "thinking"]
    assert thinking["thinking"] == "Weighing the options."
    assert run.texts == ["decided"]


def test_resume_goes_on_in_the_same_conversation(claude, server):
    """A resumed session is the same one, and its model still knows what was said before."""
    first = claude.ask("Reply BLUE").ok()
    second = claude.resume(first.session, script(text("{{history}} messages, first: {{first}}"))).ok()
    assert second.answer == "2 messages, first: Reply BLUE"
    third = claude.resume(first.session, script(text("{{history}} messages"))).ok()
    assert third.answer == "3 messages"
    events = server.api.events(first.key)
    assert list(executions(events).values()) == ["completed"] * 3
    # One process served all turns, so one conversation of the harness did.
    assert kinds(events).count("session.created") == 1 and kinds(events).count("sandbox.ready") == 1
    assert "warning" not in [event["kind"] for event in events if "rewound" in str(event["payload"])]


def test_continue_goes_on_in_the_newest_conversation(claude, server):
    """`claude -p --continue` needs no id: it goes on where this directory's last conversation stopped."""
    claude.ask("Reply OLDER").ok()
    first = claude.ask(script(shell(COUNT), text("{{stdout}}"))).ok()
    second = claude.go_on(first.session, script(shell(COUNT), text("{{stdout}} of {{history}}"))).ok()
    assert (first.answer, second.answer) == ("1", "2 of 2")
    assert list(executions(server.api.events(first.key)).values()) == ["completed", "completed"]


def test_two_sessions_never_share(claude, server):
    """Two Claude Code sessions have each their own conversation and workspace."""
    one = claude.ask(script(shell("echo secret > note; ls"), text("{{stdout}}"))).ok()
    two = claude.ask(script(shell("ls -A"), text("[{{stdout}}] {{history}}"))).ok()
    assert one.key != two.key and "note" in one.answer
    assert "note" not in two.answer and two.answer.endswith("1")
    assert len({server.api.show(run.key).json()["id"] for run in (one, two)}) == 2


def test_fork_begins_a_new_session_with_the_old_conversation(claude, server):
    """A fork knows what was said before it, and what it does is not in its parent."""
    parent = claude.ask("Reply TRUNK").ok()
    fork = claude.fork(parent.session, script(text("{{history}} messages, first: {{first}}"))).ok()
    assert fork.answer == "2 messages, first: Reply TRUNK"
    assert said(server.api.events(fork.key))[0] == "Reply TRUNK"
    assert list(executions(server.api.events(fork.key)).values()) == ["completed"]
    assert said(server.api.events(parent.key)) == ["Reply TRUNK"]
    again = claude.resume(parent.session, script(text("{{history}}"))).ok()
    assert again.answer == "2", "the parent learnt of its fork"
    assert claude.resume(fork.session, script(text("{{history}}"))).ok().answer == "3"


def test_an_unknown_session_brings_its_history(claude, directory, make_server):
    """A session that this server never saw goes on from the history that its client brings."""
    first = claude.ask(script(shell("echo did-$((6*7))"), text("Old answer."))).ok()
    claude.resume(first.session, "Reply SECOND").ok()
    other = make_server()
    moved = claude.copy(directory / "moved", other.url)
    run = moved.resume(first.session, script(text("{{history}} messages"))).ok()
    assert run.answer == "3 messages"
    events = other.api.events(first.key)
    assert list(executions(events).values()) == ["completed"]
    told = [event["payload"] for event in events if event["kind"] == "message.appended"]
    assert [message["role"] for message in told] == ["user", "assistant", "user", "assistant", "user"]
    assert "Old answer." in str(told[1]) and "did-42" in str(told[1]) and "SECOND" in str(told[3])
    assert "system-reminder" not in str(told), "what the client wrote by itself is no history"


def test_thread_key_names_the_session(directory, server):
    """With `X-Centaur-Thread-Key` separate runs of `claude -p` are turns of one session."""
    key = f"api:slack-{uuid.uuid4()}"
    user = ClaudeHome(directory / "user", server.url, headers={"X-Centaur-Thread-Key": key})
    first = user.ask(script(shell(COUNT), text("{{stdout}}"))).ok()
    second = user.ask(script(shell(COUNT), text("{{stdout}} of {{history}}"))).ok()
    assert (first.answer, second.answer) == ("1", "2 of 2")
    assert list(executions(server.api.events(key)).values()) == ["completed", "completed"]
    for run in (first, second):
        assert server.api.show(run.key).status_code == 404, "the client's own session id named a session"


def test_conversations_on_one_thread_key_take_turns(directory, server):
    """A long conversation, then a new one under the same thread key: nobody is told that they went back."""
    key = f"api:slack-{uuid.uuid4()}"
    user = ClaudeHome(directory / "user", server.url, headers={"X-Centaur-Thread-Key": key})
    first = user.ask("Reply ONE").ok()
    user.resume(first.session, "Reply TWO").ok()
    other = user.ask("Reply THREE", *STREAM).ok()
    assert other.texts == ["THREE"]
    assert user.resume(first.session, "Reply FOUR", *STREAM).ok().texts == ["FOUR"]
    events = server.api.events(key)
    assert said(events) == [f"Reply {word}" for word in ("ONE", "TWO", "THREE", "FOUR")]


SCHEMA = json.dumps({
    "type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False})


def test_structured_output(claude, server, directory, make_server, model):
    """`--json-schema` gives the structured answer in one request, and the agent's model knows the schema."""
    other = with_model(make_server, model)
    user = ClaudeHome(directory / "schema-user", other.url)
    run = user.ask(script(shell("echo work"), text('{"n": 3}')), *JSON, "--json-schema", SCHEMA).ok()
    assert run.result["structured_output"] == {"n": 3}
    assert list(executions(other.api.events(run.key)).values()) == ["completed"]
    calls = [request["body"] for request in model.requests() if "count_tokens" not in request["path"]]
    # To Claude Code's model the schema is told in words, as a text within the JSON.
    told = [json.dumps(call).replace("\\", "") for call in calls]
    assert any('"additionalProperties"' in call and '"n"' in call for call in told)
    again = user.resume(run.session, script(text('{"n": {{history}}}')), *JSON, "--json-schema", SCHEMA).ok()
    assert again.result["structured_output"] == {"n": 2}
    plain = user.resume(run.session, "Reply PLAIN").ok()
    assert plain.answer == "PLAIN", "the session goes on without a schema"


def test_an_answer_that_is_not_structured_ends(claude, server):
    """An agent that answers in prose where JSON was asked for costs one turn of the agent, not a loop."""
    run = claude.ask("Reply PROSE", *JSON, "--json-schema", SCHEMA)
    assert run.result["result"] == "PROSE" and "structured_output" not in run.result
    assert list(executions(server.api.events(run.key)).values()) == ["completed"]
    assert said(server.api.events(run.key)) == ["Reply PROSE"]


def bodies(model) -> str:
    """All that the harness' model was sent."""
    return json.dumps([request["body"] for request in model.requests()])


def test_images_and_documents_reach_the_model(directory, make_server, model):
    """A picture, a text and a PDF that the user attaches reach the agent's model, each once."""
    server = with_model(make_server, model)
    user = ClaudeHome(directory / "user", server.url)
    session = str(uuid.uuid4())
    run = user.say(
        session, [image_block(), {"type": "text", "text": "Reply SEEN"}],
        [text_document("the plan is 4711"), {"type": "text", "text": "Reply READ"}],
        [pdf_block(), {"type": "text", "text": "Reply PRINTED"}]).ok()
    results = [event["result"] for event in run.events if event["type"] == "result"]
    assert results == ["SEEN", "READ", "PRINTED"]
    assert base64_of(PNG) in bodies(model) and "the plan is 4711" in bodies(model)
    events = server.api.events(run.key)
    assert list(executions(events).values()) == ["completed"] * 3
    if server.api.show(run.key).json()["harness"] == "claude":
        assert base64_of(PDF) in bodies(model)
    else:
        # Codex has no input for a PDF: the agent is told of it, and the log says so.
        assert "plan.pdf" in bodies(model)
        assert [event for event in events if event["kind"] == "warning" and "plan.pdf" in str(event["payload"])]
    assert "[Image: source" not in str(said(events)), "the client's own note is not the user's"


SHAPES = {
    "an older model": ({}, ["--model", "claude-sonnet-4-5"]),
    "a small model": ({}, ["--model", "claude-3-5-haiku-latest"]),
    "a model that nobody knows": ({}, ["--model", "thread-agent"]),
    "no tools": ({}, ["--tools", ""]),
    "a system prompt": ({}, ["--system-prompt", "You are a parrot."]),
    "plan mode": ({}, ["--permission-mode", "plan"]),
    "auto mode": ({}, ["--permission-mode", "auto"]),
    "no betas": ({"CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS": "1"}, []),
    "no caching": ({"DISABLE_PROMPT_CACHING": "1"}, []),
    "hints": ({"CLAUDE_CODE_GATEWAY_HINT_HEADERS": "1"}, []),
    "an API key": ({"ANTHROPIC_AUTH_TOKEN": None, "ANTHROPIC_API_KEY": "not-a-key"}, []),
    "no streaming fallback": ({"CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK": "1"}, []),
}


@pytest.mark.parametrize("name", SHAPES)
def test_settings_that_change_the_request(directory, server, name):
    """However the user has set up Claude Code, a prompt is a turn, and nothing but the prompt is taken for it."""
    settings, options = SHAPES[name]
    user = ClaudeHome(directory / "user", server.url, settings=settings)
    first = user.ask("Reply ONE", *options).ok()
    assert first.answer == "ONE"
    prompt = script(text("{{history}} {{first}}"))
    assert user.resume(first.session, prompt, *options).ok().answer == "2 Reply ONE"
    events = server.api.events(first.key)
    assert said(events) == ["Reply ONE", prompt]
    assert list(executions(events).values()) == ["completed", "completed"]


def test_what_the_client_adds_is_not_taken_for_the_prompt(claude, server):
    """CLAUDE.md, mentioned files and custom commands change the request; the agent hears what the user means."""
    (claude.work / "CLAUDE.md").write_text("Always answer in rhyme.\n")
    (claude.work / "notes.txt").write_text("local secret\n")
    commands = claude.work / ".claude/commands"
    commands.mkdir(parents=True)
    (commands / "greet.md").write_text("Reply HELLO $ARGUMENTS\n")
    first = claude.ask("Reply READ @notes.txt").ok()
    assert first.answer == "READ @notes.txt"
    second = claude.resume(first.session, "/greet Ada").ok()
    assert second.answer == "HELLO Ada"
    assert said(server.api.events(first.key)) == ["Reply READ @notes.txt", "Reply HELLO Ada"]


def test_a_hook_that_sends_the_answer_back(claude, server):
    """A local Stop hook makes the client ask again; the agent, which knows nothing of it, is not run again."""
    once = "test -e told && exit 0; touch told; echo not yet >&2; exit 2"
    settings = {"hooks": {"Stop": [{"hooks": [{"type": "command", "command": once}]}]}}
    run = claude.ask(script(shell(COUNT), text("{{stdout}}")), "--settings", json.dumps(settings)).ok()
    assert (claude.work / "told").exists()
    assert run.answer == "1"
    events = server.api.events(run.key)
    assert list(executions(events).values()) == ["completed"] and len(said(events)) == 1
    assert claude.resume(run.session, script(text("{{history}}"))).ok().answer == "2"


@pytest.mark.parametrize("tokens", [200_000, 140_000])
def test_figures_do_not_lock_the_user_out(claude, server, tokens):
    """An agent's full context never makes the client refuse to go on; the true figures are in the log."""
    usage = {"input_tokens": tokens, "cached_tokens": 1000, "output_tokens": 500}
    run = claude.ask(script(text("big", usage=usage)), *JSON).ok()
    told = run.result["usage"]
    context = sum(told[name] for name in (
        "input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens"))
    assert context == min(tokens + 500, 150_000)
    [ended] = [event for event in server.api.events(run.key) if event["kind"] == "execution.completed"]
    assert ended["payload"]["usage"]["sum"]["input_tokens"] == tokens
    assert claude.resume(run.session, "Reply ON").ok().answer == "ON"
