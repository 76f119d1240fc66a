"""Open Responses 2026-04-24: requests that are wrong. Each is refused, names the field that is at fault, changes nothing."""

from __future__ import annotations

import pytest
import schema
from open_responses import TRANSPORTS, Refused, checked, spec_fields
from response_rules import NULL, has

LONG = "x" * 65
FUNCTION = {"type": "function", "name": "f"}
# Of each type one value; what a field may be is left out.
SAMPLES = {"text": "abc", "number": 3, "fraction": 1.5, "boolean": True, "list": [], "object": {}}

# Field by field: the kinds of value that it may be, and values of the right kind that it may not have.
FIELDS: dict[str, tuple[set[str], list]] = {
    "model": ({"text"}, ["m" * 513]),
    "input": ({"text", "list"}, ["", []]),
    "instructions": ({"text"}, []),
    "previous_response_id": ({"text"}, ["r" * 513]),
    "stream_options": ({"object"}, []),
    "include": ({"list"}, [["everything"], [3]]),
    "tools": ({"list"}, [[3], [{}], [FUNCTION, FUNCTION]]),
    "tool_choice": ({"text", "object"}, ["any", {}, {"type": "magic"}, "required"]),
    "metadata": ({"object"}, [
        {f"k{n}": "v" for n in range(17)}, {"k" * 65: "v"}, {"k": "v" * 513}, {"k": 3}, {"k": {}}]),
    "text": ({"object"}, [{"format": 3}, {"format": {}}, {"format": {"type": "xml"}}, {"verbosity": "loud"}]),
    "temperature": ({"number", "fraction"}, [-0.1, 2.1, 1e300]),
    "top_p": ({"fraction", "number"}, [-1, 1.01]),
    "presence_penalty": ({"number", "fraction"}, [-2.5, 2.5]),
    "frequency_penalty": ({"number", "fraction"}, [-2.5, 2.5]),
    "parallel_tool_calls": ({"boolean"}, []),
    "background": ({"boolean"}, []),
    "max_output_tokens": ({"number"}, [-1, 0, 15, 10**30]),
    "max_tool_calls": ({"number"}, [-1, 0, 10**30]),
    "reasoning": ({"object"}, [{"effort": "frantic"}, {"effort": 3}, {"summary": "long"}, {"summary": []}]),
    "safety_identifier": ({"text"}, [LONG]),
    "prompt_cache_key": ({"text"}, [LONG]),
    "truncation": ({"text"}, ["some", ""]),
    "store": ({"boolean"}, []),
    "service_tier": ({"text"}, ["gold"]),
    "top_logprobs": ({"number"}, [-1, 21, 10**30]),
    "user": ({"text"}, []),
}
# Numbers of the sample that are out of a field's range by themselves.
OUT_OF_RANGE = {"top_p": {"number", "fraction"}, "max_output_tokens": {"number"}, "presence_penalty": {"number"},
                "frequency_penalty": {"number"}, "temperature": {"number"}}

WRONG_ITEMS = {
    "no object": (7, ""), "an unknown type": ({"type": "dance"}, ".type"), "a type that is no text": ({"type": 3}, ".type"),
    "an unknown role": ({"role": "robot", "content": "x"}, ".role"), "no role": ({"content": "x"}, ".role"),
    "no content": ({"role": "user"}, ".content"), "content a number": ({"role": "user", "content": 3}, ".content"),
    "an unknown part": ({"role": "user", "content": [{"type": "hologram"}]}, ".content[0].type"),
    "a part without a type": ({"role": "user", "content": [{"text": "x"}]}, ".content[0].type"),
    "a text that is none": ({"role": "user", "content": [{"type": "input_text", "text": 3}]}, ".content[0].text"),
    "audio": ({"role": "user", "content": [{"type": "input_audio", "data": "x"}]}, ".content[0].type"),
    "an image of the assistant": (
        {"role": "assistant", "content": [{"type": "input_image", "image_url": "data:image/png;base64,AAAA"}]},
        ".content[0].type"),
    "an image that is none": (
        {"role": "user", "content": [{"type": "input_image", "image_url": "data:text/html,x"}]}, ".content[0].image_url"),
    "an image that is no base64": (
        {"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,§"}]},
        ".content[0].image_url"),
    "an unknown detail": (
        {"role": "user", "content": [
            {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "huge"}]}, ".content[0].detail"),
    "an unknown phase": ({"role": "assistant", "content": "x", "phase": "last"}, ".phase"),
    "a call without an id": ({"type": "function_call", "name": "f", "arguments": "{}"}, ".call_id"),
    "a call with a long id": ({"type": "function_call_output", "call_id": LONG, "output": "x"}, ".call_id"),
    "an output that is none": ({"type": "function_call_output", "call_id": "c", "output": 3}, ".output"),
    "reasoning without a summary": ({"type": "reasoning", "id": "rs_1"}, ".summary"),
    "a compaction without content": ({"type": "compaction"}, ".encrypted_content"),
    "a reference to nothing": ({"type": "item_reference"}, ".id"),
}

WRONG_FORMATS = {
    "no name": ({"schema": {}}, "name"), "a name with a space": ({"name": "a b", "schema": {}}, "name"),
    "a long name": ({"name": LONG, "schema": {}}, "name"), "no schema": ({"name": "n"}, "schema"),
    "a schema that is a text": ({"name": "n", "schema": "s"}, "schema"),
    "an unknown type": ({"name": "n", "schema": {"type": "thing"}}, "schema.type"),
    "deep inside": (
        {"name": "n", "schema": {"properties": {"a": {"items": {"type": "int"}}}}}, "schema.properties.a.items.type"),
    "a reference to elsewhere": (
        {"name": "n", "schema": {"$ref": "http://127.0.0.1:9/s.json"}}, "schema.$ref"),
    "not strict": ({"name": "n", "strict": True, "schema": {"type": "object", "properties": {"a": {}}}}, "schema"),
    "strict a text": ({"name": "n", "strict": "yes", "schema": {}}, "strict"),
}

WRONG_TOOLS = {
    "hosted by OpenAI": ({"type": "web_search"}, "tools[0].type"), "no name": ({"type": "function"}, "tools[0].name"),
    "a name with a dot": ({"type": "function", "name": "a.b"}, "tools[0].name"),
    "parameters a list": ({**FUNCTION, "parameters": []}, "tools[0].parameters"),
    "strict a text": ({**FUNCTION, "strict": "yes"}, "tools[0].strict"),
    "description a number": ({**FUNCTION, "description": 3}, "tools[0].description"),
}


@pytest.fixture(params=TRANSPORTS)
def transport(request, server):
    return TRANSPORTS[request.param](server, "codex")


@pytest.fixture
def unchanged(server):
    """No session is made of a request that is refused."""
    known = server.api.known()
    yield
    assert server.api.known() == known


def refused(transport, body: dict) -> dict:
    """The error of a request that is refused, its envelope checked."""
    with pytest.raises(Refused) as caught:
        transport.create({"model": "m", "input": "x", **body})
    assert caught.value.status == 400, caught.value
    error = caught.value.error
    has(error, {"type": str, "code": str, "message": str, "param": (str, NULL)})
    assert error["type"] == "invalid_request_error" and error["message"], error
    return error


@pytest.mark.parametrize("field", FIELDS)
def test_wrong_values(transport, unchanged, field):
    """Wrong types, unknown words, negative and far too large numbers: 400, and the field is named."""
    kinds, values = FIELDS[field]
    for kind in SAMPLES.keys() - kinds:
        error = refused(transport, {field: SAMPLES[kind]})
        assert (error["code"], error["param"]) == ("invalid_type", field), (kind, error)
    for value in values:
        error = refused(transport, {field: value})
        # A WebSocket knows its own responses before it looks at the rest.
        assert error["code"] in (
            "invalid_value", "invalid_type", "missing_field", "empty_input", "previous_response_not_found"), error
        assert error["param"].startswith(field), (value, error)
        assert field in error["message"] or error["code"] == "previous_response_not_found", error


@schema.NEEDED
def test_every_field_is_tried():
    """No field of the specification is left out here."""
    assert spec_fields() - {"stream"} <= set(FIELDS)


@pytest.mark.parametrize("name", WRONG_ITEMS)
def test_wrong_items(transport, unchanged, name):
    """An input item that is wrong is named by its place, also in the middle of a history."""
    item, path = WRONG_ITEMS[name]
    history = [{"role": "user", "content": "a"}, item, {"role": "user", "content": "b"}]
    assert refused(transport, {"input": history})["param"] == f"input[1]{path}"


@pytest.mark.parametrize("name", WRONG_FORMATS)
def test_wrong_formats(transport, unchanged, name):
    """A schema that cannot be held to is refused before the agent works."""
    form, path = WRONG_FORMATS[name]
    error = refused(transport, {"text": {"format": {"type": "json_schema", **form}}})
    assert error["param"] == f"text.format.{path}", error


@pytest.mark.parametrize("name", WRONG_TOOLS)
def test_wrong_tools(transport, unchanged, name):
    """A tool that this server cannot give its agent is refused, by its place."""
    tool, path = WRONG_TOOLS[name]
    assert refused(transport, {"tools": [tool]})["param"] == path


def test_rules_between_fields(transport, unchanged):
    """A choice of a tool that is not there, a response in the background that is not stored."""
    for body, field in (
        ({"tool_choice": {"type": "function", "name": "g"}, "tools": [FUNCTION]}, "tool_choice"),
        ({"tool_choice": {"type": "allowed_tools", "tools": [{"type": "function", "name": "g"}]}}, "tool_choice"),
        ({"tool_choice": {"type": "allowed_tools", "tools": []}}, "tool_choice.tools"),
        ({"background": True, "store": False}, "background"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
    ):
        assert refused(transport, body)["param"] == field


def test_at_the_limits(transport):
    """Sixteen pairs of 64 and 512 characters, in any script, are metadata; the largest of every number is taken."""
    metadata = {f"{n:02}" + "é" * 62: "ü" * 512 for n in range(16)}
    response = checked(transport.create({
        "model": "m", "input": "Reply FITS", "metadata": metadata, "safety_identifier": "é" * 64, "top_logprobs": 20,
        "prompt_cache_key": "ü" * 64, "temperature": 2, "top_p": 1, "presence_penalty": -2, "frequency_penalty": 2,
        "max_output_tokens": 2**53, "max_tool_calls": 2**53}))
    assert response["metadata"] == metadata and response["max_output_tokens"] == 2**53


def test_null_is_absent(transport):
    """A field that is null is a field that is not there."""
    names = (spec_fields() if schema.available else set(FIELDS)) - {"input", "model", "stream"}
    response = checked(transport.create({"model": "m", "input": "Reply PONG", **dict.fromkeys(names)}))
    assert response["temperature"] == 1 and response["tools"] == [] and response["metadata"] == {}


def test_an_unknown_previous_response(transport, unchanged):
    """A `previous_response_id` that was never given is not found, in the same envelope."""
    with pytest.raises(Refused) as caught:
        transport.create({"model": "m", "input": "x", "previous_response_id": "resp_nowhere_1"})
    has(caught.value.error, {"type": str, "code": str, "message": str, "param": str})
    assert caught.value.status == transport.not_found
    assert (caught.value.error["code"], caught.value.error["param"]) == (
        "previous_response_not_found", "previous_response_id")
