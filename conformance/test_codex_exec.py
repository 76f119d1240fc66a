"""`codex exec` against the server: answers, what it shows of the agent's work, sessions that go on."""

from codex_cli import CodexHome
from conftest import with_model
from scripts import COUNT, script, shell, text
from session_api import executions, items, kinds, said


def test_prints_the_answer(codex, server):
    """A person who asks by `codex exec` gets the answer on standard output, and the turn is in the log."""
    run = codex.exec("Reply PONG").ok()
    assert run.answer == "PONG"
    events = server.api.events(run.key)
    assert kinds(events)[0] == "session.created"
    assert list(executions(events).values()) == ["completed"]
    assert said(events) == ["Reply PONG"]
    session = server.api.show(run.key).raise_for_status().json()
    assert (session["thread_key"], session["harness"]) == (run.key, "codex")


def test_command_and_its_output_are_readable(codex, server):
    """What the agent runs, and what came out, can be read in the terminal; the answer comes last."""
    run = codex.exec(script(shell("echo from-$((40+2))-inside"), text("finished: {{stdout}}"))).ok()
    assert run.answer.startswith("finished: from-42-inside")
    shown = run.stderr + run.stdout
    assert "echo from-$((40+2))-inside" in shown
    assert shown.count("from-42-inside") >= 2, "the command's output is shown beside the answer"
    [command] = items(server.api.events(run.key), "command")
    assert command["command"] == "echo from-$((40+2))-inside"
    assert (command["output"].strip(), command["exit_code"]) == ("from-42-inside", 0)


def test_the_agent_works_in_its_own_workspace(codex, server):
    """What the agent writes does not land on the client's machine, and nothing is executed there."""
    run = codex.exec("--json", script(shell("echo here > made-by-agent; pwd"), text("{{stdout}}"))).ok()
    assert not (codex.work / "made-by-agent").exists()
    assert str(codex.work) not in run.items("agent_message")[-1]["text"]
    assert not run.items("command_execution"), "the client itself executed something"


def test_json_events(codex):
    """A program that reads `--json` finds the answer in the last agent_message, and no work of the client's own."""
    run = codex.exec("--json", script(shell("echo 7"), text("seven", reason="Thinking it over."))).ok()
    types = [event["type"] for event in run.events]
    assert types[0] == "thread.started" and "turn.started" in types and types[-1] == "turn.completed"
    assert run.items("agent_message")[-1]["text"] == "seven"
    assert [item["type"] for item in run.items("reasoning")], "the work is told"
    # Codex warns of a model that it does not know, by an item of its own.
    shown = [event["item"] for event in run.events if "item" in event]
    assert all("Model metadata" in item["message"] for item in shown if item["type"] == "error")
    assert {item["type"] for item in shown} <= {"agent_message", "reasoning", "error"}
    usage = run.events[-1]["usage"]
    assert usage["input_tokens"] > 0 and usage["output_tokens"] > 0


def test_reasoning_is_shown(codex):
    """The model's reasoning summary reaches the person who watches."""
    run = codex.exec("--json", script(text("decided", reason="Weighing the options."))).ok()
    assert "Weighing the options." in " ".join(item["text"] for item in run.items("reasoning"))
    assert run.items("agent_message")[-1]["text"] == "decided"


def test_resume_goes_on_in_the_same_conversation(codex, server):
    """A resumed session is the same one, and its model still knows what was said before."""
    first = codex.exec("Reply BLUE").ok()
    second = codex.resume(first.session, script(text("{{history}} messages, first: {{first}}"))).ok()
    assert second.answer == "2 messages, first: Reply BLUE"
    events = server.api.events(first.key)
    assert list(executions(events).values()) == ["completed", "completed"]
    assert kinds(events).count("session.created") == 1
    # One process served both turns, so one thread of the harness did.
    assert kinds(events).count("sandbox.ready") == 1


def test_the_workspace_lives_as_long_as_the_session(codex):
    """Files of an earlier turn are there in a later one."""
    first = codex.exec(script(shell(COUNT), text("{{stdout}}"))).ok()
    second = codex.resume(first.session, script(shell(COUNT), text("{{stdout}}"))).ok()
    assert (first.answer, second.answer) == ("1", "2")


def test_two_sessions_never_share(codex, server):
    """Two Codex sessions have each their own conversation and workspace."""
    one = codex.exec(script(shell("echo secret > note; ls"), text("{{stdout}}"))).ok()
    two = codex.exec(script(shell("ls -A"), text("[{{stdout}}] {{history}}"))).ok()
    assert one.key != two.key
    assert "note" not in two.answer and two.answer.endswith("1")
    ids = {server.api.show(run.key).json()["id"] for run in (one, two)}
    assert len(ids) == 2


def test_fork_begins_a_new_session_with_the_old_conversation(codex, server):
    """A fork knows what was said before it, and what it does is not in its parent."""
    parent = codex.exec("Reply TRUNK").ok()
    fork = codex.fork(parent.session, script(text("{{history}} messages, first: {{first}}"))).ok()
    assert fork.session != parent.session
    assert fork.answer == "2 messages, first: Reply TRUNK"
    events = server.api.events(fork.key)
    [forked] = [event for event in events if event["kind"] == "session.forked"]
    assert forked["payload"]["from"] == parent.key
    assert said(server.api.events(parent.key)) == ["Reply TRUNK"]
    again = codex.resume(parent.session, script(text("{{history}}"))).ok()
    assert again.answer == "2", "the parent has not learnt what its fork was told"


def test_an_unknown_session_brings_its_history(codex, directory, make_server):
    """A session that this server never saw goes on from the history that its client brings."""
    codex.exec("Reply NORTH").ok()
    first = codex.exec("Reply OLD").ok()
    other = make_server()
    moved = codex.copy(directory / "moved", other.v1)
    run = moved.resume(first.session, script(text("{{history}} messages, first: {{first}}"))).ok()
    assert run.answer == "2 messages, first: Reply OLD"
    assert list(executions(other.api.events(first.key)).values()) == ["completed"]


def test_a_schema_for_the_answer_reaches_the_model(codex, directory, make_server, model):
    """`codex exec --output-schema` holds for the agent's answer too."""
    server = with_model(make_server, model)
    user = CodexHome(directory / "schema-user", server.v1)
    schema = directory / "schema.json"
    schema.write_text('{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"],'
                      '"additionalProperties":false}')
    run = user.exec("--output-schema", str(schema), script(text('{"n":3}'))).ok()
    assert run.answer == '{"n":3}'
    formats = [request["body"].get("text", {}).get("format", {}) for request in model.requests()
               if request["path"].endswith("/responses")]
    assert any("n" in found.get("schema", {}).get("properties", {}) for found in formats), formats


def test_an_image_reaches_the_model(directory, make_server, model):
    """A picture that the user attaches is seen by the agent's model."""
    server = with_model(make_server, model)
    user = CodexHome(directory / "image-user", server.v1)
    picture = directory / "dot.png"
    picture.write_bytes(bytes.fromhex(
        "89504e470d0a1a0a0000000d494844520000000100000001080200000090775"
        "3de0000000c49444154789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082"))
    run = user.exec("-i", str(picture), "--", "Reply SEEN").ok()
    assert run.answer == "SEEN"
    assert '"input_image"' in str(model.requests()).replace("'", '"')
