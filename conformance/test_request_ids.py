"""Each request has a name, by which its client and whoever runs the server speak of the same one."""

import re

import httpx
import openai
import pytest
from conftest import make_anthropic, make_sdk
from scripts import script, text
from wire import SSEStream

FORM = re.compile(r"req_[0-9a-f]{16,}")


def test_the_sdk_is_told(server, sdk):
    """`_request_id` of whatever OpenAI's SDK asks for is that of this request, and of no other."""
    first = sdk.responses.create(model="m", input="Reply PONG")
    conversation = sdk.conversations.create()
    found = [
        first, sdk.responses.retrieve(first.id), sdk.responses.input_items.list(first.id),
        sdk.responses.input_tokens.count(model="m", input="x"), conversation, sdk.conversations.retrieve(conversation.id),
        sdk.models.list(), sdk.responses.create(model="m", input="Reply PONG", background=True)]
    ids = [answer._request_id for answer in found]
    assert all(FORM.fullmatch(id or "") for id in ids), ids
    assert len(set(ids)) == len(ids)


def test_errors_name_their_request(server, sdk):
    """The exception of each status has the id: it is what a program writes into its log."""
    ids = []
    for ask in (
        lambda: sdk.responses.create(model="m", input=[]), lambda: sdk.responses.retrieve("resp_nowhere_1"),
        lambda: sdk.models.retrieve("nobody"), lambda: sdk.conversations.retrieve("conv_nowhere"),
        lambda: sdk.responses.create(model="m", input=script({"error": 400})),
        lambda: sdk.get("/nothing", cast_to=httpx.Response),
        lambda: make_sdk(server, default_headers={"Origin": "https://evil.example"}).models.list(),
    ):
        with pytest.raises(openai.APIStatusError) as raised:
            ask()
        ids.append(raised.value.request_id)
    assert all(FORM.fullmatch(id or "") for id in ids) and len(set(ids)) == len(ids), ids


def test_streams_and_sockets_name_their_request(server, sdk):
    """The head of a stream has it, of Codex's too, also where that fails at once; and so has a WebSocket's handshake."""
    ids = []
    with sdk.responses.with_streaming_response.create(model="m", input="Reply PONG", stream=True) as stream:
        ids.append(stream.request_id)
    for body in ({"input": "Reply PONG"}, {"input": []}):
        with SSEStream(server.v1, {"model": "m", "stream": True, **body}, {"originator": "codex_exec"}) as stream:
            stream.body()
            ids.append(stream.headers["x-request-id"])
    with sdk.responses.connect() as connection:
        ids.append(connection._connection.response.headers["x-request-id"])
    for headers in ({}, {"Origin": "https://evil.example"}):
        refused = httpx.get(f"{server.v1}/responses", headers=headers)
        ids.append(refused.headers["x-request-id"])
    assert all(FORM.fullmatch(id) for id in ids) and len(set(ids)) == len(ids), ids


def test_the_other_dialect_has_its_own_header(server):
    """Anthropic's SDK finds it under its own name, in an error's body too; nobody is told two."""
    sdk = make_anthropic(server)
    message = sdk.messages.with_raw_response.create(
        model="m", max_tokens=9, messages=[{"role": "user", "content": script(text("hi"))}])
    assert FORM.fullmatch(message.headers["request-id"]) and "x-request-id" not in message.headers
    refused = httpx.post(f"{server.v1}/messages", json={"messages": []})
    assert refused.json()["request_id"] == refused.headers["request-id"]
    assert "x-request-id" not in refused.headers
    assert FORM.fullmatch(httpx.get(f"{server.url}/api/sessions").headers["x-request-id"])

