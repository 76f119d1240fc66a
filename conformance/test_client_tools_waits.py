"""Turns that wait for a program's functions: what else may come, and what survives."""

import os
import pathlib
import shutil
import signal
import time
import uuid

import invariants
import openai
import pytest
from centaur_server import CentaurServer, processes_with, until
from client_tools import CLOCK, WEATHER, WaitingSession, call, function_calls, output
from conftest import make_sdk
from scripts import COUNT, script, shell, text
from session_api import WAIT_SECONDS, kinds
from test_pool import pool, ready_events
from wire import SSEStream

HARNESSES = pytest.mark.parametrize("harness", ["codex", "claude"])
# One function, then a command that shows how often the turn went on.
STEPS = script(call("weather", city="Bern"), shell(COUNT), text("{{stdout}} of <{{history}}>"))


class Waiting(WaitingSession):
    """A session whose turn waits for the program's function."""

    def __init__(self, server: CentaurServer, harness: str = "codex", steps: str = STEPS, **more):
        super().__init__(server, harness)
        self.first = self.sdk.responses.create(model="m", input=steps, tools=[WEATHER], **more)
        [self.call] = function_calls(self.first)

    @property
    def sdk(self):
        return make_sdk(self.server, default_headers=self.headers)

    def tell(self, said: str = "sunny", **more):
        return self.sdk.responses.create(model="m", input=[output(self.call, said)], tools=[WEATHER], **more)

    def say(self, words: str, **more):
        return self.sdk.responses.create(model="m", input=words, tools=[WEATHER], **more)


def refused(kind, ask) -> str:
    """The code of the error that it ends in."""
    with pytest.raises(kind) as raised:
        ask()
    return raised.value.code


def end_sandboxes(server: CentaurServer) -> None:
    for pid in processes_with(f"{server.data}/sessions"):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def test_unknown_calls(server, sdk):
    """A call that was never asked, wherever it is sent, is refused and changes nothing."""
    turn = Waiting(server)
    before = turn.log
    execution = turn.first.id.split("_")[1]
    for name in (f"call_{execution}_99", f"call_{uuid.uuid4().hex}_1", "call_x_1", "call_abc", "x"):
        asked = [{"type": "function_call_output", "call_id": name, "output": "x"}]
        for where in ({}, {"previous_response_id": turn.first.id},
                      {"extra_headers": {"X-Centaur-Thread-Key": f"api:{uuid.uuid4()}"}}):
            assert refused(openai.BadRequestError, lambda: turn.sdk.responses.create(
                model="m", input=asked, **where)) == "unknown_call", (name, where)
        assert refused(openai.BadRequestError, lambda: sdk.responses.create(model="m", input=asked)) == "unknown_call"
        # Nor is the true one taken that stands beside it.
        assert refused(openai.BadRequestError, lambda: turn.sdk.responses.create(
            model="m", input=[output(turn.call, "x"), *asked])) == "unknown_call"
    # A call of another session's.
    other = Waiting(server)
    assert refused(openai.BadRequestError, lambda: turn.sdk.responses.create(
        model="m", input=[output(other.call, "x")])) == "unknown_call"
    assert turn.log == before
    turn.tell()


@HARNESSES
def test_an_output_that_is_sent_twice(server, harness):
    """The same output is answered with the same response, also later; another one is refused. Nothing is run twice."""
    turn = Waiting(server, harness)
    first = turn.tell()
    assert first.output_text == "1 of <1>"
    again = turn.tell()
    assert (again.id, again.output) == (first.id, first.output)
    assert refused(openai.ConflictError, lambda: turn.tell("rainy")) == "call_closed"
    beside = [output(turn.call, "rainy"), {"role": "user", "content": "And now?"}]
    assert refused(openai.ConflictError, lambda: turn.sdk.responses.create(
        model="m", input=beside, tools=[WEATHER])) == "call_closed"
    assert turn.say(script(text("{{history}}"))).output_text == "2"
    assert turn.tell().id == first.id
    assert turn.statuses == ["completed", "completed"]


@HARNESSES
def test_a_wait_that_is_too_long(make_server, harness):
    """The turn fails with a code of its own, and the session goes on."""
    turn = Waiting(make_server({"limits": {"tool_wait": "1s"}}), harness)
    failed = turn.server.api.wait_for_kind(turn.key, "execution.failed")
    assert failed["payload"]["error"]["code"] == "tool_wait_limit"
    assert refused(openai.ConflictError, turn.tell) == "call_closed"
    assert turn.say(script(shell(COUNT), text("{{stdout}}"))).output_text == "1"


@HARNESSES
def test_waiting_is_not_working(make_server, harness):
    """The time that the program takes is not the turn's: it is not ended by `limits.turn`."""
    turn = Waiting(make_server({"limits": {"turn": "20s"}}), harness)
    # There is no event for a limit that does not strike.
    time.sleep(21)
    assert turn.tell().output_text == "1 of <1>"


@HARNESSES
def test_something_else_is_said(server, harness):
    """Who says something new in the place of an output has given the turn up: it ends, and the new one runs."""
    turn = Waiting(server, harness)
    assert turn.say(script(shell(COUNT), text("{{stdout}}"))).output_text == "1"
    assert turn.statuses == ["cancelled", "completed"]
    assert refused(openai.ConflictError, turn.tell) == "call_closed"


def test_busy_policies(server):
    """A program that says so waits behind the turn, or is told that one runs."""
    turn = Waiting(server)
    assert refused(openai.ConflictError, lambda: turn.say(
        "Reply NO", extra_headers={"X-Centaur-Busy": "reject"})) == "session_busy"
    waiting = turn.say("Reply LATER", background=True, extra_headers={"X-Centaur-Busy": "queue"})
    assert waiting.status == "queued"
    assert turn.tell().output_text == "1 of <1>"
    later = until(lambda: (found := turn.sdk.responses.retrieve(waiting.id)).status == "completed" and found)
    assert later.output_text == "LATER"
    assert turn.statuses == ["completed", "completed"]


@HARNESSES
@pytest.mark.parametrize("how", ["cancel", "interrupt"])
def test_cancelled_while_it_waits(server, harness, how):
    """A turn that waits can be ended; its session goes on."""
    turn = Waiting(server, harness)
    shown = server.api.show(turn.key).json()
    assert shown["newest_execution"]["status"] == "waiting", shown
    if how == "cancel":
        turn.sdk.responses.cancel(turn.first.id)
    else:
        server.api.interrupt(turn.key).raise_for_status()
    server.api.wait_for_kind(turn.key, "execution.cancelled")
    assert refused(openai.ConflictError, turn.tell) == "call_closed"
    assert turn.say("Reply ON").output_text == "ON"


def test_an_output_right_behind_a_cancel(server):
    """The turn is told to end, and takes no more: not even while its harness has not confirmed it."""
    for _ in range(5):
        turn = Waiting(server)
        turn.sdk.responses.cancel(turn.first.id)
        with pytest.raises(openai.ConflictError) as raised:
            turn.tell()
        assert raised.value.code == "call_closed"
        server.api.settled(turn.key)
        assert turn.statuses == ["cancelled"]


@HARNESSES
def test_a_branch_in_the_middle_of_a_turn(server, harness):
    """A response that ended with a call stays a point to go on from when the call was answered: what came behind is not
    of that conversation."""
    sdk = make_sdk(server, default_headers={"X-Centaur-Harness": harness})
    first = sdk.responses.create(model="m", input=STEPS, tools=[WEATHER])
    second = sdk.responses.create(
        model="m", input=[output(function_calls(first)[0], "sunny")], previous_response_id=first.id)
    assert "1 of" in second.output_text
    known = server.api.known()
    words = script(text("{{history}}"))
    branch = sdk.responses.create(model="m", input=words, previous_response_id=first.id)
    session = server.api.events(server.api.new_session(known))
    assert [event["payload"]["from"] for event in session if event["kind"] == "session.forked"]
    told = str([event["payload"] for event in session if event["kind"] == "message.appended"])
    assert "[called weather" in told and "sunny" not in told and branch.status == "completed"
    same = sdk.responses.create(model="m", input="Reply ON", previous_response_id=second.id)
    assert same.output_text == "ON" and len(server.api.known() - known) == 1, "the head is where it was"


@HARNESSES
@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_the_next_server_takes_the_output(make_server, harness, how):
    """The server dies while the turn waits; the output comes to the next one, and the turn goes on as if nothing was."""
    turn = Waiting(make_server(), harness)
    if how == "killed":
        turn.server.kill()
    else:
        assert turn.server.stop() == 0
    turn.server.start()
    assert turn.tell().output_text == "1 of <1>"
    assert turn.statuses == ["completed"] and kinds(turn.log).count("sandbox.ready") == 1
    invariants.check(turn.server.data)


@pytest.mark.parametrize("harness, point", [
    *(("codex", point) for point in (
        "commit.before:execution.resumed", "commit.written:execution.resumed", "commit.after:execution.resumed",
        "input.before", "input.after", "commit.before:execution.waiting", "commit.after:execution.waiting")),
    *(("claude", point) for point in (
        "commit.written:execution.resumed", "input.before", "commit.after:execution.waiting"))])
def test_the_server_dies_in_the_instant(make_server, directory, harness, point):
    """Wherever the server dies around a wait, the program that asks again comes to its answer, and all was run once."""
    # Of frames the one that carries the output: those before are counted in a server that is not killed.
    number = 1
    if point.startswith("input."):
        counted = directory / "counts"
        whole = Waiting(make_server(environment={"CENTAUR_KILL_COUNT": str(counted)}), harness)
        whole.tell()
        whole.server.stop()
        number = [int(line.split()[1]) for line in counted.read_text().splitlines() if line.split()[0] == point][0]
    server = make_server(environment={
        "CENTAUR_KILL_AT": f"{point}#{number}", "CENTAUR_KILL_MARK": str(directory / "mark")})
    key = {"Idempotency-Key": "one"}
    try:
        turn = Waiting(server, harness, extra_headers=key)
        turn.tell()
    except openai.APIConnectionError:
        pass
    assert server.process.wait(WAIT_SECONDS) == -signal.SIGKILL
    server.start()
    if "waiting" in point:
        known = server.api.all_sessions()[0]["thread_key"]
        turn = Waiting.__new__(Waiting)
        turn.server, turn.key = server, known
        turn.headers = {"X-Centaur-Thread-Key": known}
        turn.first = turn.sdk.responses.create(model="m", input=STEPS, tools=[WEATHER], extra_headers=key)
        [turn.call] = function_calls(turn.first)
    assert turn.tell().output_text == "1 of <1>"
    assert turn.tell().output_text == "1 of <1>"
    assert turn.statuses == ["completed"]
    assert kinds(turn.log).count("execution.waiting") == kinds(turn.log).count("execution.resumed") == 1
    invariants.check(server.data)


@HARNESSES
def test_the_sandbox_dies_while_the_turn_waits(make_server, harness):
    """The turn ends with the sandbox; the output is refused, and the session goes on."""
    turn = Waiting(make_server(), harness)
    end_sandboxes(turn.server)
    turn.server.api.wait_for_kind(turn.key, "execution.failed")
    assert refused(openai.ConflictError, turn.tell) == "call_closed"
    assert turn.say("Reply ON").output_text == "ON"


@HARNESSES
@pytest.mark.parametrize("how", ["killed", "removed"])
def test_server_and_sandbox_are_gone(make_server, harness, how):
    """Nobody is left to hear the output: the program is told so at once, and the session goes on with what was said."""
    turn = Waiting(make_server(), harness)
    turn.server.kill()
    for pid in processes_with(f"{turn.server.data}/sessions"):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    if how == "removed":
        for directory in pathlib.Path(turn.server.data).glob("sessions/*/sandboxes"):
            shutil.rmtree(directory)
    turn.server.start()
    with pytest.raises(openai.ConflictError) as raised:
        turn.tell()
    assert raised.value.code == "call_closed" and "ended before it was answered" in raised.value.message
    [failed] = [event for event in turn.log if event["kind"] == "execution.failed"]
    assert failed["payload"]["error"]["code"] == {"killed": "sandbox_lost", "removed": "server_restarted"}[how]
    assert turn.say("Reply ON").output_text == "ON"
    invariants.check(turn.server.data)


def test_codex_with_tools_that_come_and_go(server):
    """A changed set of functions costs one new conversation, which is told each word once; the log says what it costs.
    The same set and a smaller one cost nothing."""
    key = f"api:{uuid.uuid4()}"
    sdk = make_sdk(server, default_headers={"X-Centaur-Harness": "codex", "X-Centaur-Thread-Key": key})
    sets = [WEATHER], [WEATHER, CLOCK], [CLOCK], [], [WEATHER, CLOCK], [{**WEATHER, "description": "Other."}]
    heard = [sdk.responses.create(model="m", input=script(text("{{history}}")), tools=tools).output_text for tools in sets]
    assert heard == ["1", "2", "3", "4", "5", "6"]
    log = server.api.events(key)
    warnings = [event["payload"]["code"] for event in log if event["kind"] == "warning"]
    assert warnings.count("conversation_retold") == 2
    assert [event["payload"]["origin"] for event in log if event["kind"] == "sandbox.ready"][1:] == ["cold"] * 2


@HARNESSES
def test_other_tools_in_the_next_turn(server, harness):
    """Each turn has the functions that its request offers, and remembers what was said before."""
    turn = Waiting(server, harness)
    turn.tell()
    steps = script(call("clock"), text("{{out}} {{history}}"))
    asked = turn.sdk.responses.create(model="m", input=steps, tools=[CLOCK])
    assert [item.name for item in function_calls(asked)] == ["clock"]
    told = turn.sdk.responses.create(model="m", input=[output(asked.output[-1], "noon")], tools=[CLOCK])
    # Codex has been told anew what the first function said.
    assert told.output_text.split() == ["noon", "3" if harness == "codex" else "2"]
    # Those of the turn before are not this one's.
    none = turn.sdk.responses.create(model="m", input=script(call("clock"), text("over")))
    assert none.output_text == "over" and not function_calls(none)
    back = turn.sdk.responses.create(model="m", input=script(call("weather", city="Ulm"), text("over")), tools=[WEATHER])
    assert [item.name for item in function_calls(back)] == ["weather"]


@HARNESSES
def test_a_sandbox_of_the_pool(make_server, harness):
    """A sandbox that waited for a session offers that session's functions."""
    server = make_server({"warm_pool": {harness: 1}})
    pool(server, 1)
    turn = Waiting(server, harness)
    assert turn.tell().output_text == "1 of <1>"
    [ready] = ready_events(server, turn.key)
    assert ready["origin"] == "warm"


def test_a_cli_is_never_asked(server):
    """Codex has tools of its own on its user's machine: what it lists is not offered, and no call is written to it."""
    body = {"model": "m", "input": script(call("weather", city="Bern"), text("done")), "tools": [WEATHER], "stream": True}
    with SSEStream(server.v1, body, headers={"session-id": str(uuid.uuid4()), "originator": "codex_cli_rs"}) as stream:
        answer = stream.all()
    assert not any(item["type"].endswith("_call") for item in answer.response["output"])
    # Nor is the call of a program's turn that it comes to look at.
    turn = Waiting(server)
    with SSEStream(server.v1, {**body, "input": "Reply SEEN"}, headers={
            "x-centaur-thread-key": turn.key, "originator": "codex_cli_rs"}) as stream:
        answer = stream.all()
    assert not any(item["type"].endswith("_call") for item in answer.response["output"])
    assert turn.statuses == ["cancelled", "completed"], "its user said something else"


def test_a_harness_without_client_tools(server):
    """`codex exec` cannot be given functions: the log says so, and the agent works without them."""
    key = f"api:{uuid.uuid4()}"
    sdk = make_sdk(server, default_headers={"X-Centaur-Harness": "codex-exec", "X-Centaur-Thread-Key": key})
    assert sdk.responses.create(model="m", input="Reply YES", tools=[WEATHER]).output_text == "YES"
    warnings = [event["payload"]["code"] for event in server.api.events(key) if event["kind"] == "warning"]
    assert "tools_not_offered" in warnings


def test_functions_that_codex_refuses(make_server):
    """Each turn that offers them is told that they are not there, also by a server and a process that come later."""
    # A schema as the older drafts have it, which Codex does not read.
    nonsense = {"type": "object", "properties": {"city": {"type": "array", "items": [{"type": "string"}]}}}
    refused_tool = {**WEATHER, "strict": False, "parameters": nonsense}
    server = make_server()
    key = f"api:{uuid.uuid4()}"

    def ask(steps: str, tool: dict):
        sdk = make_sdk(server, default_headers={"X-Centaur-Harness": "codex", "X-Centaur-Thread-Key": key})
        return sdk.responses.create(model="m", input=steps, tools=[tool])

    assert ask("Reply ONE", refused_tool).output_text == "ONE"
    server.stop()
    end_sandboxes(server)
    server.start()
    assert ask(script(text("{{history}}")), refused_tool).output_text == "2", "the thread went on"
    warnings = [event["payload"]["code"] for event in server.api.events(key) if event["kind"] == "warning"]
    assert warnings.count("tools_not_offered") == 2
    # Others may be to its taste.
    asked = ask(script(call("weather", city="Bern"), text("done")), WEATHER)
    assert [item.name for item in function_calls(asked)] == ["weather"]


@HARNESSES
def test_functions_that_are_named_as_those_of_mcp_servers(server, harness):
    """Codex refuses such names, and all other functions with them: it is given another name, the program is not."""
    sdk = make_sdk(server, default_headers={
        "X-Centaur-Harness": harness, "X-Centaur-Thread-Key": f"api:{uuid.uuid4()}"})
    tool = {**WEATHER, "name": "mcp__sky__weather"}
    name = {"codex": "client_mcp__sky__weather", "claude": "mcp__sky__weather"}[harness]
    asked = sdk.responses.create(
        model="m", input=script(call(name, city="Bern"), text("{{out}}")), tools=[CLOCK, tool])
    [item] = function_calls(asked)
    assert item.name == "mcp__sky__weather"
    told = sdk.responses.create(model="m", input=[output(item, "sunny")], tools=[CLOCK, tool])
    assert told.output_text == "sunny"
