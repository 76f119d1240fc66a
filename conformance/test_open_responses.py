"""Open Responses 2026-04-24, rule by rule, over every transport and with both harnesses.

Where the specification's schema is not at hand (`schema.available`), the rules of `response_rules` and `wire` are what is
checked, and the tests that need the schema itself say so by being skipped.
"""

from __future__ import annotations

import concurrent.futures
import re
import uuid

import httpx
import pytest
import schema
from centaur_server import ROOT
from open_responses import TRANSPORTS, ask, checked, spec_fields, warnings
from response_rules import RESPONSE, check_response
from scripts import script, shell, text
from session_api import executions, kinds
from wire import final_text

FUNCTION = {"type": "function", "name": "look_up", "parameters": {"type": "object", "properties": {}}}


@pytest.fixture(params=TRANSPORTS)
def transport(request, server, harness):
    return TRANSPORTS[request.param](server, harness)


@pytest.fixture
def key() -> str:
    return f"api:{uuid.uuid4()}"


# Shapes


def test_a_bare_request(transport):
    """A request that says nothing of itself gets a response with every member, numbers as numbers, the rest null."""
    response = checked(transport.create(ask("Reply PONG")))
    assert final_text(response) == "PONG" and response["status"] == "completed"
    numbers = {"temperature": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0, "top_logprobs": 0}
    assert {name: response[name] for name in numbers} == numbers
    for name in ("previous_response_id", "instructions", "reasoning", "max_output_tokens", "max_tool_calls",
                 "safety_identifier", "prompt_cache_key", "error", "incomplete_details"):
        assert response[name] is None, name
    assert (response["tools"], response["tool_choice"], response["metadata"]) == ([], "auto", {})
    assert (response["store"], response["background"], response["parallel_tool_calls"]) == (True, False, True)
    assert response["text"] == {"format": {"type": "text"}} and response["truncation"] == "disabled"


FULL = {
    "instructions": "Be brief.", "temperature": 0.5, "top_p": 0.25, "presence_penalty": -1, "frequency_penalty": 1.5,
    "top_logprobs": 3, "max_output_tokens": 100_000, "max_tool_calls": 7, "metadata": {"team": "blue"},
    "parallel_tool_calls": False, "store": True, "truncation": "auto", "service_tier": "default",
    "safety_identifier": "user-1", "prompt_cache_key": "cache-1"}


def test_fields_come_back(transport):
    """What a request sets is what its response says, in every event that has a response."""
    body = ask("Reply PONG", **FULL, tools=[FUNCTION], tool_choice="none", reasoning={"effort": "low", "summary": "auto"},
               text={"format": {"type": "text"}, "verbosity": "low"})
    events = transport.create(body)
    checked(events)
    for event in events:
        if "response" in event:
            assert {name: event["response"][name] for name in FULL} == FULL
            assert event["response"]["reasoning"] == {"effort": "low", "summary": "auto"}
            assert event["response"]["text"] == {"format": {"type": "text"}, "verbosity": "low"}
            assert event["response"]["tools"] == [
                {**FUNCTION, "description": None, "strict": None}] and event["response"]["tool_choice"] == "none"


CHOICES = {
    "none": "none", "auto": "auto", "required": "required", "named": {"type": "function", "name": "look_up"},
    "allowed": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "look_up"}]}}


def test_tool_choices(transport):
    """Each way to choose a tool is taken, and comes back in the form of a response."""
    for choice in CHOICES.values():
        response = checked(transport.create(ask("Reply PONG", tools=[FUNCTION], tool_choice=choice)))
        assert response["tool_choice"] == choice
    bare = {"type": "allowed_tools", "tools": [{"type": "function", "name": "look_up"}]}
    response = checked(transport.create(ask("Reply PONG", tools=[FUNCTION], tool_choice=bare)))
    assert response["tool_choice"] == {**bare, "mode": "auto"}


@schema.NEEDED
def test_the_rules_are_the_specifications():
    """Our own rules name what the specification's schema does: no member is forgotten."""
    assert set(RESPONSE) == set(schema.document()["components"]["schemas"]["ResponseResource"]["required"])
    documented = (ROOT / "docs/wire.md").read_text()
    section = documented[documented.index("## Fields"):documented.index("### Input items")]
    missing = {name for name in spec_fields() if f"`{name}`" not in section}
    assert not missing, f"docs/wire.md says nothing of {missing}"


# The stream


def test_the_order_of_a_message(transport):
    """created, in_progress, then the message piece by piece, then completed; ids and indices name one thing."""
    events = transport.create(ask(script(text("one two three", chunks=3))))
    response = checked(events)
    types = [event["type"].removeprefix("response.") for event in events]
    pieces = types[4:-4]
    assert types[:4] == ["created", "in_progress", "output_item.added", "content_part.added"]
    assert pieces and set(pieces) == {"output_text.delta"}
    assert types[-4:] == ["output_text.done", "content_part.done", "output_item.done", "completed"]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    id = response["output"][0]["id"]
    assert {event["item_id"] for event in events if "item_id" in event} == {id}
    assert {event["item"]["id"] for event in events if "item" in event} == {id}
    assert {event["output_index"] for event in events if "output_index" in event} == {0}
    assert {event["content_index"] for event in events if "content_index" in event} == {0}
    assert "".join(event["delta"] for event in events if "delta" in event) == "one two three" == final_text(response)
    assert response["output"][0]["role"] == "assistant" and response["output"][0]["phase"] == "final_answer"


def test_the_order_of_work(transport):
    """With summaries asked for, the agent's work comes as items before its answer; each has an index and an id."""
    steps = script({"reason": "Looking.", "shell": "echo one"}, shell("echo two; exit 3"), text("done"))
    events = transport.create(ask(steps, reasoning={"summary": "auto"}))
    response = checked(events)
    added = [event for event in events if event["type"] == "response.output_item.added"]
    assert [event["output_index"] for event in added] == list(range(len(response["output"])))
    assert [event["item"]["id"] for event in added] == [item["id"] for item in response["output"]]
    assert {"reasoning", "message"} == {item["type"] for item in response["output"]}
    assert [item["phase"] for item in response["output"] if item["type"] == "message"] == ["final_answer"]
    assert response["output"][-1]["type"] == "message" and final_text(response) == "done"
    told = [part["text"] for item in response["output"] if item["type"] == "reasoning" for part in item["summary"]]
    outcomes = [text for text in told if text.startswith("Ran `")]
    assert ["→ exit 0" in outcomes[0], "→ exit 3" in outcomes[1]] == [True, True], told


def test_the_body_without_a_stream(server, harness):
    """Without `stream` the body is the response that the stream would have ended in."""
    answer = httpx.post(
        f"{server.v1}/responses", json=ask("Reply PONG", **FULL), headers={"X-Centaur-Harness": harness})
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    response = answer.json()
    check_response(response)
    assert not schema.response_faults(response)
    assert final_text(response) == "PONG" and {name: response[name] for name in FULL} == FULL


# Its end


def test_a_response_that_fails(transport):
    """A failed response says why, by a code and a sentence."""
    response = checked(transport.create(ask(script({"error": 401}))))
    assert response["status"] == "failed" and response["error"]["code"] == "provider_authentication"


def test_a_response_that_is_cancelled(transport, server, key):
    """A response that is ended from elsewhere is incomplete, keeps what it has, and says why."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(transport.create, ask(script({"pre_text": "so far", "shell": "sleep 60"}, text("no"))), key)
        event = server.api.wait_for_kind(key, "item.started")
        server.api.wait(key, lambda event: event["kind"] == "item.started" and event["payload"]["type"] == "command")
        id = f"resp_{event['execution_id']}_1"
        assert httpx.post(f"{server.v1}/responses/{id}/cancel").json()["status"] == "cancelled"
        response = checked(running.result())
    assert response["status"] == "incomplete" and response["incomplete_details"] == {"reason": "cancelled"}
    assert "so far" in str(response["output"])


def test_a_limit_of_tokens(transport, server, key):
    """Over `max_output_tokens` no further model call is made: the response is incomplete, and says so by its id too."""
    steps = script(
        {**shell("sleep 30"), "usage": {"out": 500}}, text("never"))
    events = transport.create(ask(steps, max_output_tokens=400), key)
    response = checked(events)
    assert response["status"] == "incomplete" and response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert response["max_output_tokens"] == 400 and "never" not in str(response["output"])
    assert httpx.get(f"{server.v1}/responses/{response['id']}").json()["status"] == "incomplete"
    within = checked(transport.create(ask("Reply ON", max_output_tokens=1000), key))
    assert final_text(within) == "ON", "the session goes on"
    exact = checked(transport.create(ask(script({**shell("echo hi"), "usage": {"out": 400}}, text("more")),
                                         max_output_tokens=5000), key))
    assert exact["status"] == "completed" and final_text(exact) == "more"


def test_a_limit_of_tool_calls(transport, server, key):
    """A turn that begins more calls than `max_tool_calls` is ended: the response is incomplete, and the session goes on.
    As many calls as that are none too many, and neither is what is said."""
    steps = script(shell("echo one"), shell("sleep 30"), text("never"))
    response = checked(transport.create(ask(steps, max_tool_calls=1), key))
    assert response["status"] == "incomplete" and response["incomplete_details"] == {"reason": "max_tool_calls"}
    assert response["max_tool_calls"] == 1 and "never" not in str(response["output"])
    assert httpx.get(f"{server.v1}/responses/{response['id']}").json()["status"] == "incomplete"
    within = checked(transport.create(ask(script(shell("echo one"), shell("echo two"), text("done")), max_tool_calls=2), key))
    assert within["status"] == "completed" and final_text(within) == "done"
    assert not warnings(server, key, "not_honoured")


def test_store_false(transport, server):
    """A response that is not to be stored is not to be had by its id."""
    response = checked(transport.create(ask("Reply PONG", store=False)))
    assert response["store"] is False
    for method, rest in (("GET", ""), ("GET", "?stream=true"), ("POST", "/cancel")):
        answer = httpx.request(method, f"{server.v1}/responses/{response['id']}{rest}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "response_not_found")
    kept = checked(transport.create(ask("Reply PONG", store=True)))
    assert httpx.get(f"{server.v1}/responses/{kept['id']}").status_code == 200


def test_previous_response(transport):
    """A response continues another by its id, and names it."""
    first = checked(transport.create(ask("Reply ONE")))
    second = checked(transport.create(ask(script(text("{{history}}")), previous_response_id=first["id"])))
    assert second["previous_response_id"] == first["id"] and final_text(second) == "2"


# What cannot be honoured, and many at once


def test_what_is_not_honoured_is_said(transport, server, key):
    """Fields that no harness can be asked for are named in the session's log; usual values are not."""
    checked(transport.create(ask("Reply PONG", **FULL, text={"verbosity": "low"}), key))
    [said] = warnings(server, key, "not_honoured")
    for name in ("temperature", "top_p", "presence_penalty", "frequency_penalty", "top_logprobs", "text.verbosity"):
        assert name in said, said
    for name in ("parallel_tool_calls", "metadata", "max_output_tokens", "max_tool_calls", "truncation",
                 "instructions"):
        assert not re.search(rf"\b{name}\b", said), said
    checked(transport.create(ask("Reply PONG", temperature=1, top_p=1, top_logprobs=0), key))
    assert len(warnings(server, key, "not_honoured")) == 1
    assert kinds(server.api.events(key)).count("session.created") == 1


def test_seventeen_at_once(transport, server):
    """Seventeen requests at once: each gets its own answer, whole and in order."""
    keys = [f"api:{uuid.uuid4()}" for _ in range(17)]
    with concurrent.futures.ThreadPoolExecutor(17) as pool:
        answers = list(pool.map(lambda key: transport.create(ask(f"Reply {key}"), key), keys))
    for key, events in zip(keys, answers):
        assert final_text(checked(events)) == key
        assert list(executions(server.api.events(key)).values()) == ["completed"]
