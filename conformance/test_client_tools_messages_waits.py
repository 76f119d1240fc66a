"""Messages that end in a call of the program's tool: what else may come in the place of its result, and what survives. With
Anthropic's SDK; the like over `/v1/responses` is in `test_client_tools_waits`."""

from __future__ import annotations

import uuid

import anthropic
import invariants
import pytest
from centaur_server import CentaurServer
from client_tools import WaitingSession, call
from conftest import make_anthropic
from scripts import COUNT, script, shell, text
from session_api import kinds
from test_anthropic_sdk import ASK, answer, user
from test_client_tools_messages import WEATHER, result, uses

HARNESSES = pytest.mark.parametrize("harness", ["claude", "codex"])
# One tool, then a command that shows how often the turn went on.
STEPS = script(call("weather", city="Bern"), shell(COUNT), text("{{stdout}} of <{{history}}>"))
ONCE = script(shell(COUNT), text("{{stdout}}"))


class Waiting(WaitingSession):
    """A session whose turn waits for the program's tool."""

    def __init__(self, server: CentaurServer, harness: str, steps: str = STEPS):
        super().__init__(server, harness)
        self.first = self.ask(user(steps))
        [self.use] = uses(self.first)

    def ask(self, messages: list[dict]):
        sdk = make_anthropic(self.server, default_headers=self.headers)
        return sdk.messages.create(messages=messages, tools=[WEATHER], **ASK)

    def tell(self, said: str = "sunny"):
        return self.ask(user([result(self.use, said)]))


def refused(kind, ask) -> str:
    """The code of the error that it ends in."""
    with pytest.raises(kind) as raised:
        ask()
    return raised.value.body["error"]["code"]


@HARNESSES
def test_a_result_that_is_sent_twice(server, harness):
    """The same result is answered with the same message, also later; another one is refused. Nothing is run twice."""
    turn = Waiting(server, harness)
    first = turn.tell()
    assert answer(first) == "1 of <1>"
    again = turn.tell()
    assert (again.id, again.content) == (first.id, first.content)
    before = turn.log
    assert refused(anthropic.ConflictError, lambda: turn.tell("rainy")) == "call_closed"
    beside = user([result(turn.use, "rainy"), {"type": "text", "text": "And now?"}])
    assert refused(anthropic.ConflictError, lambda: turn.ask(beside)) == "call_closed"
    assert turn.log == before
    assert answer(turn.ask(user(ONCE))) == "2"
    assert turn.tell().id == first.id
    assert turn.statuses == ["completed", "completed"]


@HARNESSES
def test_a_wait_that_is_too_long(make_server, harness):
    """The turn fails with a code of its own, and the session goes on."""
    turn = Waiting(make_server({"limits": {"tool_wait": "1s"}}), harness)
    failed = turn.server.api.wait_for_kind(turn.key, "execution.failed")
    assert failed["payload"]["error"]["code"] == "tool_wait_limit"
    assert refused(anthropic.ConflictError, turn.tell) == "call_closed"
    assert answer(turn.ask(user(ONCE))) == "1"


@HARNESSES
def test_something_else_is_said(server, harness):
    """Who says something new in the place of a result has given the turn up: it ends, and the new one runs."""
    turn = Waiting(server, harness)
    assert answer(turn.ask(user(ONCE))) == "1"
    assert turn.statuses == ["cancelled", "completed"]
    assert refused(anthropic.ConflictError, turn.tell) == "call_closed"


@HARNESSES
def test_something_is_said_behind_the_whole_history(server, harness):
    """The same of a program that sends all it has: the call stands unanswered in it."""
    turn = Waiting(server, harness)
    history = [*user(STEPS), {"role": "assistant", "content": [turn.first.content[-1].model_dump(exclude_none=True)]}]
    assert answer(turn.ask([*history, *user(ONCE)])) == "1"
    assert turn.statuses == ["cancelled", "completed"]


@HARNESSES
def test_the_server_is_killed_meanwhile(make_server, harness):
    """`kill -9` while the turn waits: the result comes to the next server, and the turn goes on as if nothing was."""
    turn = Waiting(make_server(), harness)
    turn.server.kill()
    turn.server.start()
    assert answer(turn.tell()) == "1 of <1>"
    assert answer(turn.tell()) == "1 of <1>"
    assert turn.statuses == ["completed"] and kinds(turn.log).count("sandbox.ready") == 1
    invariants.check(turn.server.data)


@HARNESSES
def test_an_unknown_call_beside_a_turn_that_waits(server, harness):
    """A call that nobody asked is refused wherever it is sent, changes nothing, and the turn still takes its result."""
    turn = Waiting(server, harness)
    other = Waiting(server, harness)
    before = turn.log
    execution = turn.use.id.split("_")[1]
    for name in (f"toolu_{execution}_99", f"toolu_{uuid.uuid4().hex}_1", "toolu_01abc", "x", other.use.id):
        asked = user([{"type": "tool_result", "tool_use_id": name, "content": "x"}])
        assert refused(anthropic.BadRequestError, lambda: turn.ask(asked)) == "unknown_call", name
    assert turn.log == before
    assert answer(turn.tell()) == "1 of <1>" and answer(other.tell()) == "1 of <1>"
