"""Open Responses 2026-04-24, rule by rule, over every transport and with both harnesses.

Where the specification's schema is not at hand (`schema.available`), the rules of `response_rules` and `wire` are what is
checked, and the tests that need the schema itself say so by being skipped.
"""

from __future__ import annotations

import base64
import concurrent.futures
import json
import re
import socket
import uuid

import httpx
import pytest
import schema
from centaur_server import ROOT, CentaurServer
from conftest import make_directory, remove, with_model
from open_responses import TRANSPORTS, Refused, checked, spec_fields
from response_rules import RESPONSE, check_response
from scripts import script, shell, text
from session_api import executions, kinds
from wire import final_text

PIXEL = base64.b64encode(bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c49444154789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082")).decode()
FUNCTION = {"type": "function", "name": "look_up", "parameters": {"type": "object", "properties": {}}}
STRICT = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}


@pytest.fixture(params=TRANSPORTS)
def way(request) -> str:
    return request.param


@pytest.fixture
def transport(way, server, harness):
    return TRANSPORTS[way](server, harness)


@pytest.fixture
def key() -> str:
    return f"api:{uuid.uuid4()}"


def ask(words: str, **more) -> dict:
    return {"model": "m", "input": words, **more}


def warnings(server, key: str, code: str) -> list[str]:
    events = [event["payload"] for event in server.api.events(key) if event["kind"] == "warning"]
    return [event["message"] for event in events if event["code"] == code]


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
    phases = [item["phase"] for item in response["output"] if item["type"] == "message"]
    assert phases[-1] == "final_answer" and set(phases[:-1]) == {"commentary"} and final_text(response) == "done"


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


# What is asked of the answer


class Watched:
    """A server whose model tells what it was sent, by either harness's dialect; shared by this file's tests."""

    def __init__(self, server, model):
        self.server = server
        self.model = model
        self.seen = 0

    def by(self, harness: str, way: str = "http"):
        self.seen = len(self.model.requests())
        return TRANSPORTS[way](self.server, harness)

    def sent(self, harness: str) -> list[dict]:
        """What the harness's model was sent since the test began to use it."""
        path = "/messages" if harness == "claude" else "/responses"
        requests = self.model.requests()[self.seen:]
        return [request["body"] for request in requests if request["path"].split("?")[0].endswith(path)]


@pytest.fixture(scope="module")
def watched(provider):
    directory = make_directory()
    server = with_model(lambda config, **more: CentaurServer(directory, config, **more), provider)
    yield Watched(server.start(), provider)
    server.end()
    remove(directory, False)


def by_tool(answer: dict) -> str:
    """Claude Code's model answers by a tool; what it says first does not follow the schema, and is not the answer."""
    return script({"tool": "StructuredOutput", "args": {"n": "none"}}, {"tool": "StructuredOutput", "args": answer})


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "loose"])
def test_a_schema_for_the_answer(watched, harness, way, strict):
    """`json_schema` reaches the model: by the provider's own field where it can, else in words."""
    wanted = STRICT if strict else {"type": "object", "properties": {"n": {"type": "integer"}}}
    form = {"type": "json_schema", "name": "number", "schema": wanted, "strict": strict}
    transport = watched.by(harness, way)
    says = by_tool({"n": 3}) if harness == "claude" else script(text('{"n":3}'))
    response = checked(transport.create(ask(says, text={"format": form})))
    assert json.loads(final_text(response)) == {"n": 3}
    assert response["text"]["format"] == {**form, "description": None, "schema": None}
    bodies = watched.sent(harness)
    assert ("<answer_format>" in json.dumps(bodies)) == (harness == "codex" and not strict)
    if harness == "claude":
        tools = {tool["name"]: tool["input_schema"] for tool in bodies[-1]["tools"]}
        assert tools["StructuredOutput"]["properties"] == wanted["properties"]
    elif strict:
        assert any(body.get("text", {}).get("format", {}).get("schema") == wanted for body in bodies), bodies


def test_a_schema_is_for_one_turn(watched):
    """Claude Code, held to a schema for one turn, says what it likes in the next, and remembers the one before."""
    transport = watched.by("claude")
    form = {"type": "json_schema", "name": "number", "schema": STRICT}
    first = checked(transport.create(ask("Reply FREE")))
    second = checked(transport.create(
        ask(by_tool({"n": 4}), text={"format": form}, previous_response_id=first["id"])))
    assert json.loads(final_text(second)) == {"n": 4}
    third = checked(transport.create(
        ask(script(text("{{history}} free again")), previous_response_id=second["id"])))
    assert final_text(third) == "3 free again"
    assert "StructuredOutput" not in [tool["name"] for tool in watched.sent("claude")[-1]["tools"]]


@pytest.mark.parametrize("answer, place", [
    ('{"n":"three"}', "'n'"), ('{"n":3,"m":4}', "'m'"), ("{}", "lacks 'n'"), ("Three.", "not JSON"),
    ("```json\n{\"n\":3}\n```", "not JSON")])
def test_an_answer_that_does_not_fit(transport, server, key, answer, place):
    """A model that does not keep to the schema: the response says so, and so does the session's log; one that does is not
    warned of."""
    form = {"type": "json_schema", "name": "number", "schema": STRICT}
    response = checked(transport.create(ask(script(text(answer)), text={"format": form}), key))
    if transport.headers["X-Centaur-Harness"] == "claude" and json_or_none(final_text(response)) == {"n": 3}:
        # Claude Code has asked its model until it was right.
        assert warnings(server, key, "answer_misfit") == []
        return
    [said] = warnings(server, key, "answer_misfit")
    assert place in said or transport.headers["X-Centaur-Harness"] == "claude"
    assert {"code": "answer_misfit", "message": said} in response["centaur_warnings"]
    fits = by_tool({"n": 3}) if transport.headers["X-Centaur-Harness"] == "claude" else script(text('{"n":3}'))
    response = checked(transport.create(ask(fits, text={"format": form}), key))
    assert "answer_misfit" not in str(response.get("centaur_warnings")), response
    assert len(warnings(server, key, "answer_misfit")) == 1


def json_or_none(words: str):
    try:
        return json.loads(words)
    except ValueError:
        return None


def test_any_json_for_the_answer(watched, harness, way):
    """`json_object`: the model is told to answer with an object."""
    transport = watched.by(harness, way)
    says = script({"tool": "StructuredOutput", "args": {}}) if harness == "claude" else script(text("{}"))
    response = checked(transport.create(ask(says, text={"format": {"type": "json_object"}})))
    assert response["text"] == {"format": {"type": "json_object"}} and final_text(response) == "{}"
    assert ("<answer_format>" if harness == "codex" else "StructuredOutput") in json.dumps(watched.sent(harness))


def test_codex_exec_is_asked_the_same(watched):
    """The harness that is started for each turn is started for what the turn asks: model, effort, schema."""
    form = {"type": "json_schema", "name": "number", "schema": STRICT, "strict": True}
    transport = watched.by("codex-exec")
    first = checked(transport.create(
        ask(script(text('{"n":3}')), text={"format": form}, reasoning={"effort": "high", "summary": "detailed"})))
    assert final_text(first) == '{"n":3}'
    asked = watched.sent("codex-exec")[-1]
    assert asked["text"]["format"]["schema"] == STRICT and asked["reasoning"]["effort"] == "high"
    checked(transport.create(ask("Reply PLAIN", previous_response_id=first["id"])))
    asked = watched.sent("codex-exec")[-1]
    assert "format" not in asked.get("text", {}) and asked["reasoning"]["effort"] == "medium"


def test_effort_and_tier(watched, harness, way, key):
    """`reasoning.effort` reaches the model of both harnesses, for this turn only; a tier that of Codex, else a warning."""
    transport = watched.by(harness, way)
    body = ask("Reply ONE", model="gpt-5.5", reasoning={"effort": "high"}, service_tier="flex")
    assert checked(transport.create(body, key))["service_tier"] == "flex"
    first = watched.sent(harness)[-1]
    checked(transport.create(ask("Reply TWO"), key))
    second = watched.sent(harness)[-1]
    if harness == "codex":
        assert (first["reasoning"]["effort"], second["reasoning"]["effort"]) == ("high", "medium")
        assert first.get("service_tier") == "flex" and second.get("service_tier", "default") == "default"
    else:
        assert first["output_config"]["effort"] == "high" != second.get("output_config", {}).get("effort")
        assert warnings(watched.server, key, "service_tier_not_supported")


def test_phases_in_the_history(watched, harness, way):
    """A history whose assistant messages have phases is taken; Codex's model is told them."""
    transport = watched.by(harness, way)
    history = [
        {"role": "user", "content": "My name is Ada."},
        {"type": "message", "role": "assistant", "phase": "commentary", "id": "msg_a_1", "status": "completed",
         "content": [{"type": "output_text", "text": "Noting it.", "annotations": []}]},
        {"role": "assistant", "phase": "final_answer", "content": "Noted."},
        {"role": "user", "content": script(text("{{first}}"))}]
    response = checked(transport.create({"model": "m", "input": history}))
    assert "My name is Ada." in final_text(response) or harness == "claude"
    told = json.dumps(watched.sent(harness)[-1])
    assert "Noting it." in told and "Noted." in told
    if harness == "codex":
        assert '"phase": "commentary"' in told and '"phase": "final_answer"' in told


# Images and files


def test_images_and_files_reach_the_model(watched, harness, way):
    """An image and a text file in the request are before the agent's model."""
    transport = watched.by(harness, way)
    note = base64.b64encode(b"the word is 4711").decode()
    response = checked(transport.create({"model": "m", "input": [{"role": "user", "content": [
        {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "low"},
        {"type": "input_file", "filename": "note.txt", "file_data": f"data:text/plain;base64,{note}"},
        {"type": "input_text", "text": "Reply SEEN"}]}]}))
    assert final_text(response) == "SEEN"
    told = json.dumps(watched.sent(harness)[-1])
    assert PIXEL in told and "4711" in told


def test_nothing_is_fetched(transport):
    """An address in the place of an image or a file is refused, and nobody asks there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.5)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/secret.png"
        for part, name in (
            ({"type": "input_image", "image_url": address}, "image_url"),
            ({"type": "input_image", "file_id": "file_1"}, "file_id"),
            ({"type": "input_file", "file_url": address}, "file_url"),
            ({"type": "input_file", "file_id": "file_1"}, "file_id"),
            ({"type": "input_file", "filename": "a", "file_data": address}, "file_data"),
        ):
            with pytest.raises(Refused) as refused:
                transport.create({"model": "m", "input": [{"role": "user", "content": [part]}]})
            assert refused.value.status == 400 and refused.value.error["code"] == "unsupported"
            assert refused.value.error["param"] == f"input[0].content[0].{name}"
        with pytest.raises(TimeoutError):
            listener.accept()


# What cannot be honoured, and many at once


def test_what_is_not_honoured_is_said(transport, server, key):
    """Fields that no harness can be asked for are named in the session's log; usual values are not."""
    checked(transport.create(ask("Reply PONG", **FULL, text={"verbosity": "low"}), key))
    [said] = warnings(server, key, "not_honoured")
    for name in ("temperature", "top_p", "presence_penalty", "frequency_penalty", "top_logprobs", "max_tool_calls",
                 "text.verbosity"):
        assert name in said, said
    for name in ("parallel_tool_calls", "metadata", "max_output_tokens", "truncation", "instructions"):
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
