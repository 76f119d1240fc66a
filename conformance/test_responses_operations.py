"""What a program does with a response once it has its id: lists what it was asked, branches off, forgets it; and holds
less of a conversation. With the real OpenAI SDK's own methods."""

from __future__ import annotations

import json
import uuid

import httpx
import openai
import pytest
from centaur_server import CentaurServer
from conftest import make_sdk
from scripts import COUNT, script, shell, text
from session_api import executions
from wire import check_schema
import schema

HISTORY = script(text("{{history}} {{first}}"))


@pytest.fixture
def key() -> str:
    return f"api:{uuid.uuid4()}"


def at(server: CentaurServer, key: str) -> openai.OpenAI:
    return make_sdk(server, default_headers={"X-Centaur-Thread-Key": key})


def key_of(server: CentaurServer, id: str) -> str:
    return httpx.get(f"{server.v1}/responses/{id}").headers["x-centaur-thread-key"]


def words(item) -> str:
    return "".join(part.text for part in item.content)


def check_item(item: dict) -> None:
    check_schema(item, schema.item_faults(item))


# Deleted


def test_delete(sdk, server):
    """A deleted response is unknown from then on, to every operation; its session goes on."""
    first = sdk.responses.create(model="m", input="Reply ONE")
    second = sdk.responses.create(model="m", input="Reply TWO", previous_response_id=first.id)
    raw = sdk.responses.with_raw_response.delete(second.id)
    assert raw.http_response.json() == {"id": second.id, "object": "response", "deleted": True}
    for ask in (
        sdk.responses.retrieve, sdk.responses.cancel, sdk.responses.delete,
        lambda id: list(sdk.responses.input_items.list(id)),
    ):
        with pytest.raises(openai.NotFoundError) as raised:
            ask(second.id)
        assert raised.value.code == "response_not_found"
    with pytest.raises(openai.NotFoundError) as raised:
        sdk.responses.create(model="m", input="x", previous_response_id=second.id)
    assert raised.value.code == "previous_response_not_found"
    assert sdk.responses.retrieve(first.id).output_text == "ONE"
    key = key_of(server, first.id)
    assert at(server, key).responses.create(model="m", input=script(text("{{history}}"))).output_text == "3"


def test_deleted_stays_deleted(make_server):
    """Also for the next server on the same data."""
    server = make_server()
    sdk = make_sdk(server)
    kept, gone = (sdk.responses.create(model="m", input=f"Reply {word}") for word in ("KEPT", "GONE"))
    sdk.responses.delete(gone.id)
    server.stop()
    server.start()
    assert make_sdk(server).responses.retrieve(kept.id).output_text == "KEPT"
    with pytest.raises(openai.NotFoundError):
        make_sdk(server).responses.retrieve(gone.id)


def test_delete_one_that_runs(server, key):
    """Nobody can come back for its answer: its turn is ended."""
    sdk = at(server, key)
    id = sdk.responses.create(model="m", input=script(shell("sleep 120"), text("never")), background=True).id
    server.api.wait_for_kind(key, "item.started")
    sdk.responses.delete(id)
    server.api.wait_for_kind(key, "execution.cancelled")
    with pytest.raises(openai.NotFoundError):
        sdk.responses.retrieve(id)
    assert sdk.responses.create(model="m", input="Reply ON").output_text == "ON"


def test_not_stored(server, sdk, key):
    """`store: false`: the answer is given once; it can neither be looked at nor gone on from. The session has it."""
    response = at(server, key).responses.create(model="m", input="Reply ONCE", store=False)
    assert response.output_text == "ONCE" and response.store is False
    for ask in (sdk.responses.retrieve, sdk.responses.delete):
        with pytest.raises(openai.NotFoundError):
            ask(response.id)
    with pytest.raises(openai.NotFoundError) as raised:
        sdk.responses.create(model="m", input="x", previous_response_id=response.id)
    assert raised.value.code == "previous_response_not_found"
    assert at(server, key).responses.create(model="m", input=script(text("{{history}}"))).output_text == "2"
    with pytest.raises(openai.BadRequestError) as raised:
        sdk.responses.create(model="m", input="x", store=False, background=True)
    assert raised.value.param == "background"


# What it was asked


def test_input_items(sdk):
    """The list is what the agent was told: the instructions, earlier turns and their answers, this turn's input."""
    first = sdk.responses.create(model="m", input="Reply ONE", instructions="Be brief.")
    image = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    second = sdk.responses.create(
        model="m", previous_response_id=first.id, input=[{"role": "user", "content": [
            {"type": "input_text", "text": "Reply TWO"}, {"type": "input_image", "image_url": image, "detail": "auto"}]}])
    items = list(sdk.responses.input_items.list(second.id, order="asc"))
    assert [item.role for item in items] == ["system", "user", "assistant", "user"]
    assert [words(item) for item in items[:3]] == ["Be brief.", "Reply ONE", "ONE"]
    assert items[2].id == first.output[-1].id, "an answer has one id wherever it is shown"
    assert items[3].content[0].text == "Reply TWO" and items[3].content[1].image_url == image
    assert all(item.status == "completed" for item in items)
    assert [item.id for item in sdk.responses.input_items.list(second.id)] == [item.id for item in reversed(items)]
    assert [words(item) for item in sdk.responses.input_items.list(first.id)] == ["Reply ONE", "Be brief."]
    for item in sdk.responses.input_items.with_raw_response.list(second.id).http_response.json()["data"]:
        check_item(item)


def test_input_items_by_pages(sdk, server):
    """Pages meet without a gap and without anything twice, in both orders and both directions."""
    id = None
    for number in range(4):
        id = sdk.responses.create(model="m", input=f"Reply {number}", previous_response_id=id or openai.NOT_GIVEN).id
    everything = [item.id for item in sdk.responses.input_items.list(id, order="asc", limit=100)]
    assert len(set(everything)) == 7
    for limit in (1, 2, 3, 7):
        assert [item.id for item in sdk.responses.input_items.list(id, order="asc", limit=limit)] == everything
        assert [item.id for item in sdk.responses.input_items.list(id, limit=limit)] == everything[::-1]
    path = f"{server.v1}/responses/{id}/input_items"

    def page(**query) -> dict:
        return httpx.get(path, params=query).json()

    first = page(limit=3, order="asc", include="message.input_image.image_url")
    assert (first["object"], first["first_id"], first["last_id"], first["has_more"]) == (
        "list", everything[0], everything[2], True)
    before = page(limit=2, order="asc", before=everything[5])
    assert [item["id"] for item in before["data"]] == everything[3:5] and before["has_more"] is True
    before = page(limit=5, order="asc", before=everything[2])
    assert [item["id"] for item in before["data"]] == everything[:2] and before["has_more"] is False
    between = page(after=everything[1], before=everything[4], order="asc")
    assert [item["id"] for item in between["data"]] == everything[2:4]
    assert page(after=everything[-1], order="asc") == {
        "object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


@pytest.mark.parametrize("query, param", [
    ({"limit": 0}, "limit"), ({"limit": 101}, "limit"), ({"limit": "x"}, "limit"), ({"order": "up"}, "order"),
    ({"after": "msg_none_1"}, "after"), ({"before": "msg_none_m1"}, "before")])
def test_pages_that_cannot_be(sdk, server, query, param):
    """A cursor or a number that cannot be is refused by its name."""
    id = sdk.responses.create(model="m", input="Reply X").id
    answer = httpx.get(f"{server.v1}/responses/{id}/input_items", params=query)
    assert (answer.status_code, answer.json()["error"]["code"], answer.json()["error"]["param"]) == (
        400, "invalid_value", param)


def test_a_cursor_of_another_session(sdk):
    """An id of another conversation is no cursor of this one."""
    one, two = (sdk.responses.create(model="m", input="Reply X") for _ in range(2))
    for cursor in (two.output[-1].id, next(iter(sdk.responses.input_items.list(two.id))).id):
        with pytest.raises(openai.BadRequestError) as raised:
            sdk.responses.input_items.list(one.id, after=cursor)
        assert raised.value.param == "after"


# Gone on from


def test_an_older_response_branches_off(sdk, server):
    """From an older response a new session goes on, with what was said up to there and a workspace of its own."""
    first = sdk.responses.create(model="m", instructions="Speak like a pirate 4711.", input=script(shell(COUNT), text("{{stdout}}")))
    second = sdk.responses.create(model="m", previous_response_id=first.id, input=script(shell(COUNT), text("{{stdout}}")))
    assert (first.output_text, second.output_text) == ("1", "2")
    branch = sdk.responses.create(
        model="m", previous_response_id=first.id,
        input=script(shell(COUNT), text("{{stdout}} of {{history}} {{instructions}}")))
    assert branch.output_text.startswith("1 of 2 ") and "pirate 4711" in branch.output_text
    own, parent = key_of(server, branch.id), key_of(server, first.id)
    assert own != parent == key_of(server, second.id)
    forked = next(event for event in server.api.events(own) if event["kind"] == "session.forked")
    assert forked["payload"]["from"] == parent
    warnings = [e["payload"]["code"] for e in server.api.events(own) if e["kind"] == "warning"]
    assert "workspace_not_forked" in warnings
    # Both go on, each from its own newest response.
    for id, key, count in ((branch.id, own, "2"), (second.id, parent, "3")):
        last = sdk.responses.create(model="m", previous_response_id=id, input=script(shell(COUNT), text("{{stdout}}")))
        assert (last.output_text, key_of(server, last.id)) == (count, key)


def test_a_branch_is_asked_for_again(sdk, server):
    """A request that is sent again under its `Idempotency-Key` makes no second branch."""
    first = sdk.responses.create(model="m", input="Reply ONE")
    sdk.responses.create(model="m", input="Reply TWO", previous_response_id=first.id)
    known = server.api.known()
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    branches = [
        sdk.responses.create(model="m", input="Reply THREE", previous_response_id=first.id, extra_headers=headers)
        for _ in range(2)]
    assert branches[0].to_dict() == branches[1].to_dict()
    assert len(server.api.known() - known) == 1


def test_previous_response_or_conversation(sdk, server):
    """Both name a context; only one may."""
    known = server.api.known()
    with pytest.raises(openai.BadRequestError) as raised:
        sdk.responses.create(model="m", input="x", previous_response_id="resp_a_1", conversation="conv_a")
    assert (raised.value.code, raised.value.param) == ("mutually_exclusive_parameters", "conversation")
    assert server.api.known() == known


# Held by the client


def test_compact(sdk, server):
    """A compacted conversation goes on in its session, and its agent knows all that was said."""
    first = sdk.responses.create(model="m", input=script(shell(COUNT), text("{{stdout}}")))
    raw = sdk.responses.with_raw_response.compact(model="m", previous_response_id=first.id)
    body = raw.http_response.json()
    check_schema(body, schema.compaction_faults(body))
    compacted = raw.parse()
    assert compacted.object == "response.compaction" and [item.type for item in compacted.output] == ["compaction"]
    request = [*(item.to_dict() for item in compacted.output), {"role": "user", "content": script(
        shell(COUNT), text("{{stdout}} of {{history}}"))}]
    second = sdk.responses.create(model="m", input=request)
    assert second.output_text == "2 of 2" and key_of(server, second.id) == key_of(server, first.id)
    # A client that keeps what comes behind the item goes on there.
    later = [*request, *(item.to_dict() for item in second.output), {"role": "user", "content": script(
        shell(COUNT), text("{{stdout}}"))}]
    on = sdk.responses.create(model="m", input=later)
    assert on.output_text == "3" and key_of(server, on.id) == key_of(server, first.id)
    # The same item again is the same point, from which another answer branches off.
    third = sdk.responses.create(model="m", input=request)
    assert third.output_text == "1 of 2" and key_of(server, third.id) != key_of(server, first.id)


def test_compact_what_the_client_tells(sdk, server):
    """A conversation that no session has led is kept too, also when it is compacted twice."""
    told = [{"role": "user", "content": "I am Ada."}, {"role": "assistant", "content": "Noted."},
            {"role": "user", "content": "I am 36."}]
    compacted = sdk.responses.compact(model="m", input=told)
    assert [item.type for item in compacted.output] == ["message", "message", "compaction"]
    assert [words(item) for item in compacted.output[:2]] == ["I am Ada.", "I am 36."]
    output = [item.to_dict() for item in compacted.output]
    twice = sdk.responses.compact(model="m", input=[*output, {"role": "user", "content": "Remember it."}])
    answer = sdk.responses.create(
        model="m", input=[*(item.to_dict() for item in twice.output), {"role": "user", "content": HISTORY}])
    assert answer.output_text.startswith("4 ") and "I am Ada." in answer.output_text


def test_compaction_items_that_are_not_ours(sdk, server):
    """One that was changed, or that another server gave, is refused where it stands, and makes no session."""
    first = sdk.responses.create(model="m", input="Reply ONE")
    [item] = sdk.responses.compact(model="m", previous_response_id=first.id).output
    known = server.api.known()
    for content in (item.encrypted_content[:-1] + "x", "gAAAAABpM0Yj", ""):
        for ask in (sdk.responses.create, sdk.responses.compact):
            with pytest.raises(openai.BadRequestError) as raised:
                ask(model="m", input=[
                    {"type": "compaction", "encrypted_content": content}, {"role": "user", "content": "x"}])
            assert (raised.value.code, raised.value.param) == ("invalid_value", "input[0].encrypted_content")
    with pytest.raises(openai.BadRequestError) as raised:
        sdk.responses.compact(model="m")
    assert raised.value.param == "input"
    with pytest.raises(openai.NotFoundError):
        sdk.responses.compact(model="m", previous_response_id="resp_none_1")
    assert server.api.known() == known


WRONG_CONTEXTS = [
    ({"input": [{"type": "dance"}]}, "input[0].type", "invalid_value"),
    ({"input": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
     "input[0].content[0].type", "unsupported"),
    ({"input": [{"role": "user", "content": "x"}, {"type": "function_call_output", "output": "x"}]},
     "input[1].call_id", "missing_field"),
    ({"input": [{"role": "assistant", "content": "x", "phase": "last"}]}, "input[0].phase", "invalid_value"),
    ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,#"}]}]},
     "input[0].content[0].image_url", "invalid_value"),
    ({"input": 5}, "input", "invalid_type"), ({"input": "x", "model": 5}, "model", "invalid_type"),
    ({"input": "x", "instructions": []}, "instructions", "invalid_type"),
    ({"input": "x", "tools": [{"type": "function"}]}, "tools[0].name", "missing_field")]


@pytest.mark.parametrize("body, param, code", WRONG_CONTEXTS)
@pytest.mark.parametrize("operation", ["", "/compact", "/input_tokens"])
def test_a_context_is_read_as_an_input(server, operation, body, param, code):
    """What a response's `input` may not hold is neither compacted nor counted: it would be lost without a word."""
    answer = httpx.post(f"{server.v1}/responses{operation}", json={"model": "m", **body})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, code, param)


def test_compact_keeps_how_an_image_was_sent(sdk):
    """The user's messages come back as they were."""
    image = {"type": "input_image", "detail": "low", "image_url":
             "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="}
    compacted = sdk.responses.compact(model="m", input=[
        {"role": "user", "content": [{"type": "input_text", "text": "look"}, image]}])
    assert [part.to_dict() for part in compacted.output[0].content] == [{"type": "input_text", "text": "look"}, image]


def test_input_tokens(sdk):
    """How large a request is, about, and with what its session holds already."""
    short = sdk.responses.input_tokens.count(model="m", input="hi")
    long = sdk.responses.input_tokens.count(model="m", input="word " * 1000, instructions="Be brief. " * 100)
    assert short.object == "response.input_tokens" and 0 < short.input_tokens < 20 < 1000 < long.input_tokens
    first = sdk.responses.create(model="m", input="Reply ONE")
    after = sdk.responses.input_tokens.count(model="m", input="hi", previous_response_id=first.id)
    assert after.input_tokens == short.input_tokens + first.usage.total_tokens
    with pytest.raises(openai.NotFoundError):
        sdk.responses.input_tokens.count(model="m", input="hi", previous_response_id="resp_none_1")


def test_metadata_is_kept(sdk):
    """What a program notes about a response comes back with it."""
    response = sdk.responses.create(model="m", input="Reply X", metadata={"ticket": "815"})
    assert sdk.responses.retrieve(response.id).metadata == response.metadata == {"ticket": "815"}


def test_models(sdk, anthropic_sdk):
    """Both SDKs list the models and look one up."""
    for client in (sdk, anthropic_sdk):
        models = list(client.models.list())
        assert models
        found = client.models.retrieve(models[0].id)
        assert found.id == models[0].id
    assert (models[0].type, models[0].lifecycle, models[0].display_name) == ("model", "active", models[0].id)
    assert sdk.models.retrieve(models[0].id).object == "model"


# Items by their ids


def by_id(item) -> dict:
    return {"type": "item_reference", "id": item.id if hasattr(item, "id") else item}


def test_items_by_their_ids(sdk, server):
    """A program that keeps ids alone (`item_reference`): they stand for what they name, and its conversation goes on."""
    known = server.api.known()
    first = sdk.responses.create(
        model="m", input=script({**shell(COUNT), "reason": "hm"}, text("ONE")), reasoning={"summary": "auto"})
    [asked] = sdk.responses.input_items.list(first.id)
    shown = [by_id(item) for item in first.output]
    assert {item.type for item in first.output} == {"reasoning", "message"}
    second = sdk.responses.create(
        model="m", input=[by_id(asked), *shown, {"role": "user", "content": script(text("{{history}}"))}])
    assert second.output_text == "2", "it goes on in the session that has the items"
    third = sdk.responses.create(model="m", input=[{"id": asked.id}, {"id": second.output[-1].id}, by_id(asked)])
    assert third.output_text == "ONE", "a user's message by its id is said again"
    assert len(server.api.known() - known) <= 2
    assert sdk.responses.input_tokens.count(input=[by_id(asked)]).input_tokens > 10
    compacted = sdk.responses.compact(model="m", input=[by_id(asked)])
    assert compacted.output[0].content[0].text == words(asked)


def test_calls_by_their_ids(sdk, server, key):
    """A function's call and its output may be named by their ids, too."""
    tool = {"type": "function", "name": "clock", "parameters": None, "strict": False}
    client = at(server, key)
    first = client.responses.create(model="m", tools=[tool], input=script({"tool": "clock", "args": {}}, text("done")))
    call = first.output[-1]
    client.responses.create(
        model="m", tools=[tool], input=[{"type": "function_call_output", "call_id": call.call_id, "output": "noon"}])
    execution = first.id.split("_")[1]
    told = sdk.responses.create(model="m", input=[
        {"role": "user", "content": "What did you do?"}, by_id(call), by_id(f"fco_{execution}_{call.id.split('_')[2]}"),
        {"role": "user", "content": script(text("said"))}])
    assert told.output_text == "said"


@pytest.mark.parametrize("name", ["nobody's", "of nothing", "not stored", "deleted", "of another form"])
def test_an_item_that_is_not_there(sdk, server, name):
    """An id that names nothing, or what its program did not want kept, is told by OpenAI's own words; nothing begins."""
    stored = name != "not stored"
    response = sdk.responses.create(model="m", input="Reply ONE", store=stored)
    item, execution = response.output[-1].id, response.id.split("_")[1]
    if name == "deleted":
        sdk.responses.delete(response.id)
    id = {"nobody's": f"msg_{uuid.uuid4().hex}_1", "of nothing": f"msg_{execution}_77",
          "of another form": "msg_abc"}.get(name, item)
    known = server.api.known()
    with pytest.raises(openai.NotFoundError) as raised:
        sdk.responses.create(model="m", input=[by_id(id), {"role": "user", "content": "Reply NO"}])
    assert raised.value.code == "item_not_found" and raised.value.param == "input[0].id"
    assert raised.value.body["message"] == f"Item with id '{id}' not found."
    assert server.api.known() == known


@pytest.mark.parametrize("count, status", [(255, 200), (256, 200), (257, 400)])
def test_how_many_items_by_their_ids(sdk, count, status):
    """Each costs a look-up: there may be 256 in a request."""
    item = sdk.responses.create(model="m", input="Reply ONE").output[-1].id
    answer = httpx.post(f"{sdk.base_url}responses/input_tokens", json={"input": [by_id(item)] * count})
    assert answer.status_code == status
    if status == 400:
        assert (answer.json()["error"]["code"], answer.json()["error"]["param"]) == ("invalid_value", "input")


# What is not stored, by whomever


def test_codex_stores_nothing(server):
    """Codex says `store: false` always, and it is true: nobody has its responses by their ids. It comes back by its turn."""
    session, turn = str(uuid.uuid4()), str(uuid.uuid4())
    headers = {"originator": "codex_exec", "session-id": session, "thread-id": session}
    body = {"model": "m", "stream": True, "store": False, "client_metadata": {
        "x-codex-turn-metadata": json.dumps({"turn_id": turn, "request_kind": "turn"})}, "input": [
            {"type": "message", "role": "user", "id": "msg_a", "content": [{"type": "input_text", "text": "Reply ONE"}]}]}
    first, again = (
        httpx.post(f"{server.v1}/responses", headers=headers, json=body).text for _ in range(2))
    id = json.loads(first.split("data: ", 1)[1].split("\n", 1)[0])["response"]["id"]
    assert first == again and "ONE" in first, "its retry is shown the same turn"
    for method, rest in (("GET", ""), ("GET", "/input_items"), ("POST", "/cancel"), ("DELETE", "")):
        answer = httpx.request(method, f"{server.v1}/responses/{id}{rest}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "response_not_found")
    assert len(executions(server.api.events(f"api:codex:{session}"))) == 1
