"""Claude Code as the agent: what a session does when the real `claude` works in it, whichever client drives it."""

import json
import uuid

import pytest
from centaur_server import processes_with, until
from codex_cli import CodexHome
from conftest import make_sdk
from scripts import COUNT, script, shell, text
from session_api import SessionAPI, answer, executions, items, kinds, said
from test_errors import PROVIDER_ERRORS, failure_of

PICTURE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAQAAAAECAIAAAAmkwkpAAAAEElEQVR4nGP4z8AARwzEcQCukw/x0F8jngAAAABJRU5E"
    "rkJggg==")


def new_session(api: SessionAPI, **more) -> str:
    key = f"api:{uuid.uuid4()}"
    assert api.create(key, harness="claude", **more).status_code == 201
    return key


@pytest.fixture
def api(server) -> SessionAPI:
    return server.api


@pytest.fixture
def key(api) -> str:
    return new_session(api)


@pytest.fixture
def claude_sdk(server):
    """The OpenAI SDK, whose sessions are Claude Code's."""
    return make_sdk(server, default_headers={"X-Centaur-Harness": "claude"})


def tool(name: str, **arguments) -> dict:
    return {"tool": name, "args": arguments}


def ended(events: list[dict]) -> str:
    return events[-1]["kind"].removeprefix("execution.")


def gone(mark: str) -> bool:
    """Whether nothing is left running whose command line holds `mark`; a killed process takes a moment."""
    return until(lambda: not processes_with(mark))


def with_model(make_server, model):
    """A server whose provider is the scripted model in a process of its own, which tells what it was sent."""
    return make_server(
        {"providers": {"anthropic": {"base_url": model.url, "api_key_env": "TEST_MODEL_KEY"}}}, stand_in=False,
        environment={"TEST_MODEL_KEY": "sk-conformance"})


def calls(model) -> list[dict]:
    """What the provider was asked."""
    return [request for request in model.requests() if request["path"].endswith("/messages")]


def test_answer(api, key):
    """A turn of Claude Code's is answered, billed and in the log."""
    events = api.run(key, "Reply PONG")
    assert ended(events) == "completed" and answer(events) == "PONG"
    [message] = items(events, "message")
    assert (message["phase"], message["status"]) == ("final", "completed")
    assert events[-1]["payload"]["usage"]["model_calls"] == 1
    assert events[-1]["payload"]["usage"]["sum"]["input_tokens"] > 0
    assert "warning" not in kinds(api.events(key))
    assert api.show(key).json()["harness"] == "claude"


def test_answer_to_a_program(claude_sdk, server):
    """A program that speaks OpenAI's dialect is answered by Claude Code, piece by piece if it likes."""
    words = "one two three four five six"
    raw = claude_sdk.responses.with_raw_response.create(model="any-model", input="Reply PONG")
    assert raw.parse().output_text == "PONG"
    assert server.api.show(raw.headers["x-centaur-thread-key"]).json()["harness"] == "claude"
    with claude_sdk.responses.stream(model="m", input=script(text(words, chunks=6, delay=0.01))) as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        assert stream.get_final_response().output_text == words
    assert len(deltas) > 1 and "".join(deltas) == words


def test_codex_drives_claude_code(directory, make_server):
    """A person at the Codex CLI works with Claude Code without knowing."""
    server = make_server({"ingress": {"responses": "claude"}})
    user = CodexHome(directory / "user", server.v1)
    run = user.exec(script(shell("echo from-$((40+2))"), text("finished: {{stdout}}"))).ok()
    assert run.answer == "finished: from-42"
    assert "echo from-$((40+2))" in run.stderr + run.stdout
    assert server.api.show(run.key).json()["harness"] == "claude"
    assert user.resume(run.session, script(text("{{history}}"))).ok().answer == "2"


def test_commands(api, key):
    """A command is in the log with its output and its exit status; the words before it are not the answer."""
    events = api.run(key, script(
        shell("echo out; echo err >&2", pre_text="Looking."), shell("echo no; exit 4"), text("done {{stdout}}")))
    good, bad = items(events, "command")
    assert (good["command"], good["output"], good["exit_code"], good["status"]) == (
        "echo out; echo err >&2", "out\nerr", 0, "completed")
    assert (bad["output"], bad["exit_code"], bad["status"]) == ("no", 4, "failed")
    assert good["duration_ms"] >= 0
    assert [(item["phase"], item["text"].split()[0]) for item in items(events, "message")] == [
        ("commentary", "Looking."), ("final", "done")]
    assert events[-1]["payload"]["usage"]["model_calls"] == 3


def test_edits(api, key):
    """Files that the agent writes and changes are in the log as changes, and in the workspace."""
    events = api.run(key, script(
        tool("Write", file_path="a.txt", content="alpha\nbeta\n"),
        tool("Edit", file_path="a.txt", old_string="beta", new_string="gamma"),
        tool("Edit", file_path="a.txt", old_string="nowhere", new_string="x"), shell("cat a.txt"), text("{{stdout}}")))
    made, changed, failed = items(events, "file_change")
    assert [entry["kind"] for entry in made["changes"]] == ["add"] and made["changes"][0]["path"].endswith("a.txt")
    assert made["changes"][0]["diff"] == "alpha\nbeta\n"
    assert changed["changes"][0]["diff"] == "@@ -1,2 +1,2 @@\n alpha\n-beta\n+gamma\n"
    assert failed["status"] == "failed"
    assert answer(events) == "alpha\ngamma"


def test_reasoning_and_other_tools(api, key):
    """Thoughts are reasoning; tools that have no place of their own are calls with their results."""
    events = api.run(key, script(
        {"reason": "Thinking first.", **tool("Write", file_path="n.txt", content="needle\n")},
        tool("Grep", pattern="needle"), tool("Nothing", a=1), text("done")))
    assert [item["summary"] for item in items(events, "reasoning")] == [["Thinking first."]]
    found, unknown = items(events, "tool_call")
    assert (found["name"], found["origin"], found["status"]) == ("Grep", "harness", "completed")
    assert "n.txt" in str(found["result"])
    assert (unknown["name"], unknown["status"]) == ("Nothing", "failed")


def test_agents_of_the_agent(api, key):
    """What an agent does that Claude Code sends out is told under its name, and its words are not the answer."""
    inner = script(shell("echo from-inside"), text("the report"))
    events = api.run(key, script(
        tool("Agent", description="look", prompt=inner, subagent_type="general-purpose"), text("the answer")))
    assert [item["text"] for item in items(events, "message")] == ["the answer"]
    inside, agent = items(events, "tool_call")
    assert (inside["name"], inside["arguments"]["command"]) == ("Agent/Bash", "echo from-inside")
    assert inside["result"] == "from-inside"
    assert agent["name"] == "Agent" and "the report" in str(agent["result"])
    usage = events[-1]["payload"]["usage"]
    assert usage["sum"]["input_tokens"] > 2 * usage["last"]["input_tokens"], "the agent's own calls are billed"


def test_the_conversation_goes_on(api, key):
    """A later turn knows the earlier ones and finds their files; one process serves them."""
    first = api.run(key, script(shell(COUNT), text("{{stdout}}")))
    second = api.run(key, script(shell(COUNT), text("{{stdout}} of {{history}}")))
    assert (answer(first), answer(second).split()) == ("1", ["2", "of", "2"])
    assert kinds(api.events(key)).count("sandbox.ready") == 1


def test_what_was_said_elsewhere_is_known(claude_sdk):
    """A conversation that a program brings along is the model's own: who said what, in order."""
    response = claude_sdk.responses.create(model="m", input=[
        {"role": "user", "content": "My name is Ada."}, {"role": "assistant", "content": "Noted."},
        {"role": "user", "content": script(text("{{history}} {{first}}"))}])
    assert response.output_text == "2 My name is Ada."


def test_instructions(claude_sdk):
    """What a program instructs reaches Claude Code's model, however long it is."""
    response = claude_sdk.responses.create(
        model="m", instructions="Speak like a pirate 4711." + " Arr." * 40_000, input=script(text("{{instructions}}")))
    assert "Speak like a pirate 4711." in response.output_text


def test_interrupt(api, key):
    """An interrupt ends the turn, its command and whatever that started; the session goes on."""
    seconds = str(90_000_000 + uuid.uuid4().int % 1_000_000)
    api.execute(key, {"text": script(shell(f"setsid sleep {seconds} & sleep {seconds}"), text("never"))})
    api.wait_for_kind(key, "item.started")
    until(lambda: processes_with(seconds))
    assert api.interrupt(key).status_code == 202
    api.wait_for_kind(key, "execution.cancelled")
    assert gone(seconds)
    [command] = items(api.events(key), "command")
    assert (command["status"], command["output"]) == ("incomplete", "")
    again = api.run(key, script(text("{{history}}")))
    assert answer(again) == "2"
    assert kinds(api.events(key)).count("sandbox.ready") == 1, "the same process goes on"


def test_interrupt_while_the_model_speaks(api, key):
    """What the model had said when it was interrupted is kept, as incomplete."""
    api.execute(key, {"text": script(text("one two three four five six", chunks=6, delay=1))})
    api.wait_for_kind(key, "item.delta")
    api.interrupt(key)
    api.wait_for_kind(key, "execution.cancelled")
    [message] = items(api.events(key), "message")
    assert message["status"] == "incomplete" and "one".startswith(message["text"].strip()[:3])
    assert answer(api.run(key, "Reply AFTER")) == "AFTER"


def test_a_second_message_waits(api, key):
    """A message that comes while Claude Code works is a turn of its own, after the running one."""
    api.execute(key, {"text": script(shell("sleep 2"), text("one"))})
    api.wait_for_kind(key, "item.started")
    events = api.run(key, "Reply TWO")
    assert ended(events) == "completed" and answer(events) == "TWO"
    assert list(executions(api.events(key)).values()) == ["completed", "completed"]


CLAUDE_ERRORS = {**PROVIDER_ERRORS, "context too long": (
    {"error": 400, "emsg": "prompt is too long: 250000 tokens > 200000 maximum"}, "context_window_exceeded")}


@pytest.mark.parametrize("name", CLAUDE_ERRORS)
def test_provider_errors(server, key, name):
    """When the model's provider fails, the turn fails with our code and the provider's words, and the session goes on."""
    step, code = CLAUDE_ERRORS[name]
    assert ended(server.api.run(key, script(step))) == "failed"
    error = failure_of(server, key)
    assert error["code"] == code and error["message"]
    assert "127.0.0.1" not in error["message"] and "API Error" not in error["message"]
    assert answer(server.api.run(key, "Reply STILL")) == "STILL"


def test_a_passing_provider_error(api, key):
    """One failed model call is asked again; the log warns."""
    events = api.run(key, script({"error": 500, "times": 1}, text("made it")))
    assert ended(events) == "completed" and answer(events) == "made it"
    [warning] = [event for event in events if event["kind"] == "warning"]
    assert warning["payload"]["code"] == "provider_retry"


def test_a_process_that_is_killed(server, key):
    """A `claude` that dies in a turn fails it and leaves nothing running; the next one goes on where it was."""
    seconds = str(80_000_000 + uuid.uuid4().int % 1_000_000)
    assert ended(server.api.run(key, script(shell(f"kill -9 $PPID; sleep {seconds}"), text("never")))) == "failed"
    assert failure_of(server, key)["code"] == "harness_died"
    assert gone(seconds)
    again = server.api.run(key, script(text("{{history}} {{first}}")))
    assert answer(again).startswith("2 ") and "kill -9" in answer(again)


@pytest.mark.parametrize("binary", ["/nonexistent/claude", "/bin/false", "/bin/cat"])
def test_a_process_that_does_not_start(make_server, binary):
    """A server whose `claude` cannot start says so, and stays up."""
    server = make_server({"harnesses": {"claude": {"binary": binary}}, "limits": {"harness_start": "3s"}})
    key = new_session(server.api)
    assert ended(server.api.run(key, "Reply PONG")) == "failed"
    assert failure_of(server, key)["code"] == "harness_start_failed"
    assert server.api.show(key).status_code == 200


def test_a_session_outlives_a_restart(make_server):
    """A session goes on after its server was stopped and started: same workspace, same conversation."""
    server = make_server()
    key = new_session(server.api)
    server.api.run(key, script(shell(COUNT), text("{{stdout}}")))
    assert server.stop() == 0
    server.start()
    second = server.api.run(key, script(shell(COUNT), text("{{stdout}} of {{history}}")))
    assert answer(second).split() == ["2", "of", "2"]
    ready = [event["payload"]["origin"] for event in server.api.events(key) if event["kind"] == "sandbox.ready"]
    assert ready == ["cold", "resumed"]


def test_a_server_that_is_killed(make_server):
    """After a crash of the server the turn goes on, and so does its interrupt: then its command is gone, and the
    conversation goes on."""
    server = make_server()
    key = new_session(server.api)
    seconds = str(70_000_000 + uuid.uuid4().int % 1_000_000)
    server.api.execute(key, {"text": script(shell(f"sleep {seconds}"), text("never"))})
    server.api.wait_for_kind(key, "item.started")
    server.kill()
    server.start()
    server.api.wait_for_kind(key, "sandbox.reattached")
    until(lambda: processes_with(seconds))
    assert server.api.interrupt(key).status_code == 202
    again = server.api.run(key, script(text("{{history}} {{first}}")))
    assert answer(again).startswith("2 ") and seconds in answer(again)
    assert list(executions(server.api.events(key)).values()) == ["cancelled", "completed"]
    assert gone(seconds)


def test_a_conversation_that_is_lost_is_told_again(make_server):
    """Where Claude Code's own files are gone the session still knows what was said, and the log says what happened."""
    server = make_server()
    key = new_session(server.api)
    server.api.run(key, "Reply BLUE")
    server.stop()
    transcripts = list(server.data.glob("sessions/*/home/projects/*/*.jsonl"))
    assert transcripts
    for transcript in transcripts:
        transcript.unlink()
    server.start()
    events = server.api.run(key, script(text("{{history}} {{first}}")))
    assert answer(events) == "2 Reply BLUE"
    codes = [event["payload"]["code"] for event in server.api.events(key) if event["kind"] == "warning"]
    assert codes == ["conversation_restarted"]
    assert answer(server.api.run(key, script(text("{{history}}")))) == "3"


def test_a_data_directory_behind_a_link(directory, make_server, model):
    """What was said before is told also where Claude Code sees the workspace under another path than we do."""
    (directory / "real").mkdir()
    (directory / "server0").mkdir()
    (directory / "server0" / "data").symlink_to(directory / "real")
    sdk = make_sdk(with_model(make_server, model), default_headers={"X-Centaur-Harness": "claude"})
    response = sdk.responses.create(model="m", input=[
        {"role": "user", "content": "My name is Ada."}, {"role": "assistant", "content": "Noted."},
        {"role": "user", "content": "Reply HEARD"}])
    assert response.output_text == "HEARD"
    assert "My name is Ada." in str(calls(model)[-1]["body"]["messages"])


def test_a_picture_reaches_the_model(make_server, model):
    """A picture in the input is a picture to Claude Code's model."""
    server = with_model(make_server, model)
    sdk = make_sdk(server, default_headers={"X-Centaur-Harness": "claude"})
    response = sdk.responses.create(model="m", input=[{"role": "user", "content": [
        {"type": "input_text", "text": "Reply SEEN"}, {"type": "input_image", "image_url": PICTURE}]}])
    assert response.output_text == "SEEN"
    blocks = [block for message in calls(model)[-1]["body"]["messages"] for block in message["content"]]
    [image] = [block for block in blocks if isinstance(block, dict) and block["type"] == "image"]
    assert image["source"]["data"] == PICTURE.split(",")[1]


def test_effort_and_schema_reach_the_model(make_server, model):
    """A turn's effort holds for that turn; a schema for its answer is the model's tool to answer by, for that turn too."""
    server = with_model(make_server, model)
    sdk = make_sdk(server, default_headers={
        "X-Centaur-Harness": "claude", "X-Centaur-Thread-Key": f"api:{uuid.uuid4()}"})
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    response = sdk.responses.create(
        model="m", reasoning={"effort": "low"}, input=script(text('{"n":3}')),
        text={"format": {"type": "json_schema", "name": "n", "schema": schema}})
    assert json.loads(response.output_text) == {"n": 3}
    asked = calls(model)[-1]["body"]
    assert asked["output_config"]["effort"] == "low"
    assert schema["properties"] == {
        tool["name"]: tool["input_schema"] for tool in asked["tools"]}["StructuredOutput"]["properties"]
    sdk.responses.create(model="m", input="Reply X")
    assert "StructuredOutput" not in str(calls(model)[-1]["body"]["tools"])
    assert calls(model)[-1]["body"]["output_config"]["effort"] != "low"


def test_words_that_look_like_commands(api, key):
    """What a user says is for the model, also where Claude Code has a command of that name."""
    assert answer(api.run(key, "/clear " + script(text("{{history}}")))) == "1"
    assert answer(api.run(key, "/compact " + script(text("{{history}}")))) == "2"


def test_the_repository_runs_nothing(make_server, directory):
    """Settings, hooks and servers that a workspace brings along are not run by opening it."""
    template, mark = directory / "template", directory / "ran"
    (template / ".claude").mkdir(parents=True)
    hook = {"matcher": "", "hooks": [{"type": "command", "command": f"touch {mark}"}]}
    events = ("SessionStart", "UserPromptSubmit", "PreToolUse", "Stop")
    (template / ".claude" / "settings.json").write_text(json.dumps({"hooks": {name: [hook] for name in events}}))
    (template / ".mcp.json").write_text(json.dumps({"mcpServers": {"x": {"command": "touch", "args": [str(mark)]}}}))
    server = make_server({"personas": {"guest": {"harness": "claude", "workspace": str(template)}}})
    key = new_session(server.api, persona="guest")
    events = server.api.run(key, script(shell("ls -A"), text("{{stdout}}")))
    assert ".mcp.json" in answer(events), "the workspace is the template's copy"
    assert not mark.exists()


def test_the_real_key_stays_outside(make_server, model):
    """The provider gets the real key in its own header; the agent's commands cannot find it."""
    server = with_model(make_server, model)
    key = new_session(server.api)
    events = server.api.run(
        key, script(shell("env; cat /proc/$PPID/environ | tr '\\0' '\\n'"), text("{{stdout}}")))
    assert "CLAUDE_MODEL" in answer(events), "the agent's environment was printed"
    assert "sk-conformance" not in answer(events)
    for call in calls(model):
        headers = {name.lower(): value for name, value in call["headers"].items()}
        assert headers["x-api-key"] == "sk-conformance" and "authorization" not in headers


def test_pending_messages_are_one_turn(api, key):
    """Messages that waited are answered together."""
    api.message(key, {"text": "a word before"})
    events = api.run(key, "Reply HEARD")
    assert answer(events) == "HEARD"
    assert said(api.events(key)) == ["a word before", "Reply HEARD"]
