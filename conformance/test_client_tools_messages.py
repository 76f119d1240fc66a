"""A program's own tools, called by the agent: Anthropic's SDK at `/v1/messages`, with both harnesses behind it."""

import asyncio
import base64
import uuid

import anthropic
import pytest
from anthropic import AsyncAnthropic
from client_tools import call, calls
from conftest import make_anthropic, with_model
from files import PNG
from scripts import COUNT, script, shell, text
from session_api import WAIT_SECONDS, executions, kinds
from test_anthropic_sdk import ASK, answer, user
from test_client_tools import told_of_call

HARNESSES = ["claude", "codex"]
WEATHER = {
    "name": "weather", "description": "The weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}


def headers(harness: str) -> dict:
    return {"X-Centaur-Harness": harness, "X-Centaur-Thread-Key": f"api:tools-{uuid.uuid4()}"}


def uses(message) -> list:
    return [block for block in message.content if block.type == "tool_use"]


def result(asked, said, **more) -> dict:
    return {"type": "tool_result", "tool_use_id": asked.id, "content": said, **more}


@pytest.mark.parametrize("harness", HARNESSES)
def test_tool_runner(server, harness):
    """The SDK's tool runner runs the program's tools as the agent calls them, and comes to its answer."""
    named = headers(harness)
    sdk = make_anthropic(server, default_headers=named)
    called = []

    @anthropic.beta_tool
    def weather(city: str) -> str:
        """The weather of a city.

        Args:
            city: its name
        """
        called.append(city)
        return f"sunny in {city}"

    runner = sdk.beta.messages.tool_runner(
        model="m", max_tokens=100, tools=[weather],
        messages=user(script(shell(COUNT), call("weather", city="Bern"), call("weather", city="Ulm"), shell(COUNT),
                             text("{{stdout}}"))))
    assert answer(runner.until_done()) == "2" and called == ["Bern", "Ulm"]
    log = server.api.events(named["X-Centaur-Thread-Key"])
    assert list(executions(log).values()) == ["completed"] and kinds(log).count("execution.resumed") == 2


@pytest.mark.parametrize("harness", HARNESSES)
def test_streaming_tool_runner(server, harness):
    """The same with streams, asynchronously, with several calls in one of the model's messages."""
    called = []

    @anthropic.beta_async_tool
    async def weather(city: str) -> str:
        """The weather of a city."""
        called.append(city)
        return f"sunny in {city}"

    async def run() -> str:
        async with AsyncAnthropic(
                base_url=server.url, api_key="not-a-key", max_retries=0, timeout=WAIT_SECONDS,
                default_headers=headers(harness)) as sdk:
            runner = sdk.beta.messages.tool_runner(
                model="m", max_tokens=100, tools=[weather], stream=True,
                messages=user(script(calls(call("weather", city="Bern"), call("weather", city="Ulm")), text("done"))))
            async for stream in runner:
                message = await stream.get_final_message()
            return answer(message)

    assert asyncio.run(run()) == "done" and called == ["Bern", "Ulm"]


@pytest.mark.parametrize("harness", HARNESSES)
def test_whole_history(make_server, model, harness):
    """A program that keeps its conversation itself goes on in the turn that waits, by the ids of its calls."""
    server = with_model(make_server, model)
    anthropic_sdk = make_anthropic(server)
    messages = user(script(call("weather", city="Bern"), text("said {{out}}")))
    known = server.api.known()
    ask = {"tools": [WEATHER], **ASK, "extra_headers": {"X-Centaur-Harness": harness}}
    first = anthropic_sdk.messages.create(messages=messages, **ask)
    assert first.stop_reason == "tool_use" and first.content[-1].type == "tool_use"
    assert (first.content[-1].name, first.content[-1].input) == ("weather", {"city": "Bern"})
    assert first.content[-1].id.startswith("toolu_")
    image = {"type": "image", "source": {
        "type": "base64", "media_type": "image/png", "data": base64.b64encode(PNG).decode()}}
    messages += [
        {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in first.content]},
        {"role": "user", "content": [
            result(uses(first)[0], [{"type": "text", "text": "sunny"}, image]), {"type": "text", "text": "thanks"}]}]
    second = anthropic_sdk.messages.create(messages=messages, **ask)
    told = told_of_call(model.requests()[-1]["body"])
    assert "sunny" in told and image["source"]["data"] in told, told[:500]
    assert second.stop_reason == "end_turn" and "sunny" in answer(second) and "thanks" in answer(second)
    log = server.api.events(server.api.new_session(known))
    assert list(executions(log).values()) == ["completed"]
    # Sent again: the same answer, and nothing is run.
    again = anthropic_sdk.messages.create(messages=messages, **ask)
    assert again.content == second.content and again.id == second.id


@pytest.mark.parametrize("harness", HARNESSES)
def test_errors_as_results(server, harness):
    """A tool that failed is told to the agent as failed."""
    named = headers(harness)
    sdk = make_anthropic(server, default_headers=named)
    first = sdk.messages.create(
        messages=user(script(call("weather", city="Bern"), text("said {{out}}"))), tools=[WEATHER], **ASK)
    second = sdk.messages.create(
        messages=user([result(uses(first)[0], "no such city", is_error=True)]), tools=[WEATHER], **ASK)
    assert "no such city" in answer(second)
    log = server.api.events(named["X-Centaur-Thread-Key"])
    done = [event["payload"] for event in log if event["kind"] == "item.completed"]
    assert [item["status"] for item in done if item["type"] == "tool_call"] == ["failed"]


def test_unknown_call(anthropic_sdk):
    for name in ("toolu_01abcdef", f"toolu_{uuid.uuid4().hex}_1", "x", ""):
        with pytest.raises(anthropic.BadRequestError) as raised:
            anthropic_sdk.messages.create(
                messages=user([{"type": "tool_result", "tool_use_id": name, "content": "x"}]), tools=[WEATHER], **ASK)
        assert "no call with the id" in str(raised.value), name


def test_nothing_is_offered(anthropic_sdk):
    """Tools that the program does not want called, and those that Anthropic's servers would run."""
    steps = user(script(call("weather", city="Bern"), text("done")))
    for more in ({"tools": [WEATHER], "tool_choice": {"type": "none"}},
                 {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}):
        message = anthropic_sdk.messages.create(messages=steps, **more, **ASK)
        assert answer(message) == "done" and not uses(message)
