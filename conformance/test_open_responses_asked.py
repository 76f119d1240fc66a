"""What an Open Responses request asks of the answer, and whether it reaches the model: over every transport, with both
harnesses."""

from __future__ import annotations

import base64
import json
import socket
import uuid

import pytest
from centaur_server import CentaurServer
from conftest import make_directory, remove, with_model
from open_responses import TRANSPORTS, Refused, ask, checked, warnings
from scripts import script, text
from wire import final_text

PIXEL = base64.b64encode(bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c49444154789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082")).decode()
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


@pytest.mark.parametrize("tier, told", [("fast", "priority"), ("priority", "priority"), ("ultrafast", "ultrafast")])
def test_fast_mode(watched, way, key, tier, told):
    """The tiers of OpenAI's fast modes are taken by the names that its SDKs and the Codex CLI have for them."""
    response = checked(watched.by("codex", way).create(ask("Reply ONE", service_tier=tier), key))
    assert response["service_tier"] == told
    assert watched.sent("codex")[-1]["service_tier"] == told


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


@pytest.mark.parametrize("detail, told", [("high", "high"), ("auto", "auto"), ("original", None), ("low", None)])
def test_how_closely_an_image_is_looked_at(watched, way, key, detail, told):
    """An image's `detail` is told to Codex's model, which gets the image in any case: Codex itself drops one with `low`."""
    image = {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": detail}
    checked(watched.by("codex", way).create(
        {"model": "m", "input": [{"role": "user", "content": [{"type": "input_text", "text": "Reply SEEN"}, image]}]}, key))
    parts = [part for item in watched.sent("codex")[-1]["input"] for part in item.get("content") or []]
    [seen] = [part for part in parts if part["type"] == "input_image"]
    assert seen["image_url"].endswith(PIXEL) and (told is None or seen["detail"] == told)


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
