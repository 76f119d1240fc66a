"""Function calls by the rules of Open Responses 2026-04-24: over every transport, with both harnesses."""

import json
import uuid

import pytest
from client_tools import WEATHER, call
from open_responses import TRANSPORTS, checked
from scripts import script, shell, text
from wire import final_text

STEPS = script(shell("echo one"), {**call("weather", city="Bern"), "pre_text": "Let me ask."}, text("It is {{out}}."))


@pytest.fixture(params=TRANSPORTS)
def transport(request, server, harness):
    return TRANSPORTS[request.param](server, harness)


@pytest.mark.parametrize("how", ["previous_response_id", "thread key", "whole history"])
def test_a_call_and_its_output(transport, how):
    """The stream ends with the call, whole and in order; the next one goes on behind it, whichever way it is named."""
    key = f"api:{uuid.uuid4()}" if how == "thread key" else None
    events = transport.create({"model": "m", "input": STEPS, "tools": [WEATHER]}, key)
    first = checked(events)
    asked = first["output"][-1]
    assert first["status"] == "completed" and asked["type"] == "function_call" and asked["status"] == "completed"
    assert (asked["name"], json.loads(asked["arguments"])) == ("weather", {"city": "Bern"})
    assert [event["type"] for event in events[-5:]] == [
        "response.output_item.added", "response.function_call_arguments.delta",
        "response.function_call_arguments.done", "response.output_item.done", "response.completed"]
    assert events[-5]["item"] == {**asked, "status": "in_progress", "arguments": ""}
    assert events[-4]["delta"] == events[-3]["arguments"] == asked["arguments"]
    assert first["output"][-2]["phase"] == "commentary", "what is said before a call is no answer"
    output = [{"type": "function_call_output", "call_id": asked["call_id"], "output": "sunny"}]
    body = {"model": "m", "input": output, "tools": [WEATHER]}
    if how == "previous_response_id":
        body["previous_response_id"] = first["id"]
    elif how == "whole history":
        body["input"] = [{"role": "user", "content": STEPS}, *first["output"], *output]
    second = checked(transport.create(body, key))
    assert final_text(second) == "It is sunny." and len(second["output"]) == 1
    assert second["id"].rsplit("_", 1)[0] == first["id"].rsplit("_", 1)[0]
