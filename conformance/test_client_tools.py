"""A program's own functions, called by the agent: the OpenAI SDK at `/v1/responses`, with both harnesses behind it."""

import json
import uuid

import openai
import pytest
from client_tools import CLOCK, WEATHER, Loop, call, calls, function_calls, output
from conftest import make_sdk, with_model
from files import PDF, PNG, base64_of
from scripts import COUNT, script, shell, text
from session_api import executions, kinds

HARNESSES = ["codex", "claude"]


def headers(harness: str) -> dict:
    return {"X-Centaur-Harness": harness, "X-Centaur-Thread-Key": f"api:tools-{uuid.uuid4()}"}


def weather(name: str, arguments: dict) -> str:
    return json.dumps({"city": arguments["city"], "sky": "clear"})


@pytest.mark.parametrize("harness", HARNESSES)
@pytest.mark.parametrize("streams", [False, True], ids=["one body", "stream"])
def test_loop(server, sdk, harness, streams):
    """The agent works, calls the program's function, hears what it said and goes on: in one turn of one session."""
    named = headers(harness)
    loop = Loop(sdk, streams=streams, headers=named)
    steps = script(
        shell(COUNT), call("weather", city="Bern"), call("weather", city="Ulm"), shell(COUNT), text("It is {{stdout}}."))
    assert loop.run(steps, weather) == "It is 2."
    assert loop.asked == [("weather", {"city": "Bern"}), ("weather", {"city": "Ulm"})]
    execution = loop.responses[0].id.split("_")[1]
    assert [response.id for response in loop.responses] == [f"resp_{execution}_{n}" for n in (1, 2, 3)]
    log = server.api.events(named["X-Centaur-Thread-Key"])
    assert list(executions(log).values()) == ["completed"]
    assert kinds(log).count("execution.waiting") == kinds(log).count("execution.resumed") == 2
    assert sum(response.usage.output_tokens for response in loop.responses) > 0


PNG_URL = "data:image/png;base64," + base64_of(PNG)
# What a function said, and all that is to be seen of it by the agent's model.
SAID = {
    "a text": ("sunny <&> \"'", ["sunny <&> \"'"]),
    "nothing": ("", []),
    "two texts": ([{"type": "input_text", "text": "one"}, {"type": "input_text", "text": "two"}], ["one", "two"]),
    "an image": ([{"type": "input_image", "image_url": PNG_URL}], [base64_of(PNG)]),
    "an image between texts": (
        [{"type": "input_text", "text": "before"}, {"type": "input_image", "image_url": PNG_URL, "detail": "low"},
         {"type": "input_text", "text": "behind"}], ["before", base64_of(PNG), "behind"]),
    "a file of text": (
        [{"type": "input_file", "filename": "plan.txt", "file_data": "data:text/plain;base64," + base64_of(b"the plan is 4711")}],
        ["the plan is 4711"]),
    "a file that is no text": (
        [{"type": "input_file", "filename": "plan.pdf", "file_data": "data:application/pdf;base64," + base64_of(PDF)}],
        ["[The tool gave the file plan.pdf, which is not text.]"]),
}


def told_of_call(body: dict) -> str:
    """What the newest call of a tool is answered with, in what a harness sent to its model."""
    if "input" in body:
        [*_, item] = [item for item in body["input"] if item.get("type") == "function_call_output"]
        return json.dumps(item["output"], ensure_ascii=False)
    [*_, block] = [block for message in body["messages"] if isinstance(message["content"], list)
                   for block in message["content"] if block["type"] == "tool_result"]
    return json.dumps(block["content"], ensure_ascii=False)


@pytest.mark.parametrize("harness", HARNESSES)
def test_what_it_said_reaches_the_agent(make_server, model, harness):
    """Texts, images and files of an output are what the agent's model sees as the function's answer, in their order."""
    sdk = make_sdk(with_model(make_server, model))
    for name, (said, seen) in SAID.items():
        loop = Loop(sdk, headers=headers(harness))
        assert loop.run(script(call("weather", city="Bern"), text(f"heard {name}")), lambda *_: said) == f"heard {name}"
        told = told_of_call(model.requests()[-1]["body"])
        places = [told.find(json.dumps(part, ensure_ascii=False)[1:-1]) for part in seen]
        assert -1 not in places and places == sorted(places), (name, told[:500])
        if not seen:
            assert "Bern" not in told and len(told) < 100, told


@pytest.mark.parametrize("harness", HARNESSES)
def test_several_calls_at_once(sdk, harness):
    """A model that calls several functions in one message gets the answer of each."""
    loop = Loop(sdk, headers=headers(harness), tools=[WEATHER, CLOCK])
    steps = script(calls(call("weather", city="Bern"), call("clock"), call("weather", city="Ulm")), text("done"))
    said = loop.run(steps, lambda name, arguments: f"{name} {arguments}")
    assert said == "done"
    assert loop.asked == [("weather", {"city": "Bern"}), ("clock", {}), ("weather", {"city": "Ulm"})]


@pytest.mark.parametrize("store", [True, False])
def test_by_the_call_alone(server, sdk, store):
    """A program that keeps no ids and sends its whole conversation is known by the ids of its calls."""
    loop = Loop(sdk, stateless=True, store=store)
    steps = script(shell(COUNT), call("weather", city="Bern"), shell(COUNT), call("weather", city="Ulm"),
                   text("{{stdout}}"))
    known = server.api.known()
    loop.run(steps, weather)
    log = server.api.events(server.api.new_session(known))
    assert list(executions(log).values()) == ["completed"] and kinds(log).count("execution.resumed") == 2


def test_in_the_background(sdk):
    """A response in the background comes to its call by itself, and so does the next one."""
    def come(response):
        while response.status in ("queued", "in_progress"):
            response = sdk.responses.retrieve(response.id)
        return response

    first = come(sdk.responses.create(
        model="m", tools=[WEATHER], background=True, input=script(call("weather", city="Bern"), text("{{out}}"))))
    assert first.status == "completed" and first.output[-1].name == "weather"
    second = come(sdk.responses.create(
        model="m", tools=[WEATHER], background=True, previous_response_id=first.id,
        input=[output(first.output[-1], "sunny")]))
    assert second.status == "completed" and "sunny" in second.output_text
    # Both are as they were, whenever they are asked for.
    assert sdk.responses.retrieve(first.id).output[-1].call_id == first.output[-1].call_id
    assert sdk.responses.retrieve(second.id).output_text == second.output_text


def test_nothing_is_offered(server, sdk):
    """`tool_choice: none`, no tools at all, and those that are not allowed: the agent has its own and no others."""
    steps = script(call("weather", city="Bern"), text("it said {{out}}"))
    for more in ({"tools": [WEATHER], "tool_choice": "none"}, {"tools": []},
                 {"tools": [WEATHER, CLOCK], "tool_choice": {
                     "type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "clock"}]}}):
        response = sdk.responses.create(model="m", input=steps, **more)
        assert response.status == "completed" and not function_calls(response)


@pytest.mark.parametrize("name", ["exec_command", "view_image", "apply_patch", "Bash", "Read", "a" * 64])
@pytest.mark.parametrize("harness", HARNESSES)
def test_names_of_the_harness(sdk, harness, name):
    """A function may be called as one of the harness's own tools, and long: it is the program's none the less."""
    loop = Loop(sdk, headers=headers(harness), tools=[{**WEATHER, "name": name}])
    shown = f"client_{name}" if harness == "codex" and "_" in name else name
    if harness == "claude":
        shown = f"mcp__cp__{name}"
    response = loop.begin(script(call(shown, city="Bern"), text("{{out}}")))
    if name.startswith("a" * 10) and harness == "claude":
        return  # Its name is shortened: the script cannot know it.
    assert [item.name for item in function_calls(response)] == [name]
    assert "sunny" in loop.tell([output(response.output[-1], "sunny")]).output_text


@pytest.mark.parametrize("tool, field", [
    ({**WEATHER, "name": "has.dots"}, "tools[0].name"), ({**WEATHER, "name": ""}, "tools[0].name"),
    ({**WEATHER, "name": "a" * 65}, "tools[0].name"), ({**WEATHER, "parameters": []}, "tools[0].parameters"),
    ({**WEATHER, "parameters": {"type": "string"}}, "tools[0].parameters.type"),
    ({**WEATHER, "parameters": {"properties": {"x": 7}}}, "tools[0].parameters.properties.x"),
    ({**WEATHER, "parameters": {"required": "x"}}, "tools[0].parameters.required"),
    ({**WEATHER, "parameters": {"properties": {"x": {"enum": "x"}}}}, "tools[0].parameters.properties.x.enum"),
    ({**WEATHER, "parameters": {"properties": {"x": {"items": "string"}}}}, "tools[0].parameters.properties.x.items"),
    ({"type": "function"}, "tools[0].name")])
def test_wrong_tools(sdk, tool, field):
    """One that a harness could not take would cost the agent all the others: it is refused here."""
    with pytest.raises(openai.BadRequestError) as raised:
        sdk.responses.create(model="m", input="Reply NO", tools=[tool])
    assert raised.value.body["param"] == field


def test_too_many_tools(make_server):
    """`limits.tools` functions are offered, one more is refused. It may be more than the specification's 128."""
    for limit in (3, 130):
        sdk = make_sdk(make_server({"limits": {"tools": limit}}))
        many = [{**WEATHER, "name": f"f{n}"} for n in range(limit + 1)]
        with pytest.raises(openai.BadRequestError) as raised:
            sdk.responses.create(model="m", input="Reply NO", tools=many)
        assert raised.value.code == "too_many_tools" and raised.value.body["param"] == "tools"
        assert sdk.responses.create(model="m", input="Reply YES", tools=many[:limit]).output_text == "YES"
