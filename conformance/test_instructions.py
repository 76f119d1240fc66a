"""Instructions that change in a conversation, and what dies or is cancelled before the agent has them for sure."""

import uuid

import pytest
from centaur_server import until
from client_tools import WEATHER, WaitingSession, call
from conftest import make_sdk
from scripts import script, shell, text
from test_client_tools_waits import Waiting, end_sandboxes
from test_recovery import GATE, open_gate

HARNESSES = pytest.mark.parametrize("harness", ["codex", "claude"])
ASKED = script(text("{{instructions}}"))


def commands(log: list[dict]) -> list[dict]:
    return [event for event in log if event["kind"] == "item.started" and event["payload"]["type"] == "command"]


@HARNESSES
def test_a_sandbox_that_dies_behind_an_output(make_server, harness):
    """What an agent was told beside an output is told once more where its sandbox died before the turn was answered."""
    turn = Waiting(make_server(), harness, script(call("weather", city="Bern"), shell("sleep 300"), text("never")))
    turn.tell(instructions="You are the judge 4711.", background=True)
    until(lambda: commands(turn.log))
    end_sandboxes(turn.server)
    turn.server.api.wait_for_kind(turn.key, "execution.failed")
    told = turn.say(ASKED).output_text
    assert "You are the judge 4711." in told
    assert turn.say(ASKED).output_text.count("4711") == told.count("4711"), "told once"


@HARNESSES
@pytest.mark.parametrize("own", ["You are the judge 4711.", None])
def test_a_turn_in_line_is_cancelled(server, harness, own):
    """The turn behind it runs under the newest instructions, though the one that brought them never began."""
    session = WaitingSession(server, harness)
    sdk = make_sdk(server, default_headers={**session.headers, "X-Centaur-Busy": "queue"})

    def ask(words: str, instructions: str | None):
        more = {} if instructions is None else {"instructions": instructions}
        return sdk.responses.create(model="m", input=words, tools=[WEATHER], background=True, **more)

    ask(script(shell(GATE), text("one")), f"You are the clerk {uuid.uuid4()}.")
    until(lambda: commands(session.log))
    never = ask(script(text("never")), "You are the judge 4711.")
    behind = ask(ASKED, own)
    assert sdk.responses.cancel(never.id).status == "cancelled"
    open_gate(server, session.key)
    until(lambda: sdk.responses.retrieve(behind.id).status == "completed")
    assert sdk.responses.retrieve(behind.id).output_text.count("You are the judge 4711.") == 1
    assert session.statuses == ["completed", "cancelled", "completed"]
