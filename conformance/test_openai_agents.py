"""OpenAI's Agents SDK (`openai-agents`): an agent with tools of its own, over `/v1/responses`, with both harnesses."""

import asyncio
import uuid

import pytest
from agents import (
    Agent, ModelSettings, OpenAIResponsesModel, Runner, function_tool, handoff, set_tracing_disabled)
from client_tools import call, calls
from openai import AsyncOpenAI
from scripts import COUNT, script, shell, text
from session_api import WAIT_SECONDS, executions, kinds, said

set_tracing_disabled(True)
HARNESSES = pytest.mark.parametrize("harness", ["codex", "claude"])
STEPS = script(
    shell(COUNT), call("weather", city="Bern"), calls(call("weather", city="Ulm"), call("clock")), shell(COUNT),
    text("It is {{stdout}}."))


class Program:
    """A program with two tools, and what they were asked."""

    def __init__(self, server, harness: str):
        self.server = server
        self.asked: list[str] = []
        self.key = f"api:agents-{uuid.uuid4()}"

        @function_tool
        def weather(city: str) -> str:
            """The weather of a city."""
            self.asked.append(city)
            return f"sunny in {city}"

        @function_tool
        def clock() -> str:
            """The time."""
            self.asked.append("time")
            raise ValueError("it stands still")

        client = AsyncOpenAI(
            base_url=server.v1, api_key="not-a-key", max_retries=0, timeout=WAIT_SECONDS,
            default_headers={"X-Centaur-Harness": harness, "X-Centaur-Thread-Key": self.key})
        self.agent = Agent(
            name="Assistant", instructions="Be brief.", tools=[weather, clock],
            model=OpenAIResponsesModel(model="m", openai_client=client),
            model_settings=ModelSettings(store=True, parallel_tool_calls=True))

    @property
    def log(self) -> list[dict]:
        return self.server.api.events(self.key)


@HARNESSES
def test_a_multi_step_agent(server, harness):
    """The agent runs commands in its sandbox and the program's tools in the program, in one turn of one session."""
    program = Program(server, harness)

    async def run():
        result = await Runner.run(program.agent, STEPS)
        # Its whole conversation is sent with each step, and a next question behind it.
        question = {"role": "user", "content": script(text("{{history}}"))}
        return result, await Runner.run(program.agent, [*result.to_input_list(), question])

    result, follow = asyncio.run(run())
    assert result.final_output == "It is 2." and follow.final_output == "2"
    assert program.asked == ["Bern", "Ulm", "time"]
    assert list(executions(program.log).values()) == ["completed", "completed"]
    assert kinds(program.log).count("execution.resumed") == 3
    assert said(program.log)[0] == STEPS and len(said(program.log)) == 2


def handing_over(server, harness: str, **second) -> Agent:
    """An agent that hands over to another one, of whose instructions it knows nothing."""
    # Named by nothing: each request has the history alone.
    client = AsyncOpenAI(
        base_url=server.v1, api_key="not-a-key", max_retries=0, timeout=WAIT_SECONDS,
        default_headers={"X-Centaur-Harness": harness})
    model = {"model": OpenAIResponsesModel(model="m", openai_client=client)}
    judge = Agent(name="Judge", instructions="You are the judge 815.", **model, **second)
    return Agent(
        name="Clerk", instructions=f"You are the clerk {uuid.uuid4()}.", handoffs=[judge], **model)


@HARNESSES
def test_a_handoff(server, harness):
    """The agent that takes over is told who it is, in the conversation as it stands, and stays it."""
    clerk = handing_over(server, harness)
    known = server.api.known()

    async def run():
        first = await Runner.run(clerk, script(call("transfer_to_judge"), text("{{instructions}}")))
        question = {"role": "user", "content": script(text("{{history}} {{instructions}}"))}
        return first, await Runner.run(first.last_agent, [*first.to_input_list(), question])

    first, second = asyncio.run(run())
    assert first.last_agent.name == "Judge"
    assert first.final_output.count("You are the judge 815.") == 1 and "in place of all" in first.final_output
    assert second.final_output.startswith("2 ")
    assert second.final_output.count("<new_instructions>") == 1, "told once"
    [session] = server.api.known() - known
    [key] = [one["thread_key"] for one in server.api.all_sessions() if one["id"] == session]
    assert list(executions(server.api.settled(key)).values()) == ["completed", "completed"]


@HARNESSES
def test_a_handoff_to_an_agent_with_tools(server, harness):
    """The agent that takes over has tools of its own: they are there for it, and it knows what was said."""
    asked = []

    @function_tool
    def verdict(case: str) -> str:
        """The verdict in a case."""
        asked.append(case)
        return "guilty"

    clerk = handing_over(server, harness, tools=[verdict])
    transfer = handoff(clerk.handoffs[0])
    # What the second agent is told, so that the scripted model knows what it does then.
    transfer.get_transfer_message = lambda agent: script(call("verdict", case="7"), text("{{out}} {{instructions}}"))
    clerk.handoffs = [transfer]
    known = server.api.known()
    result = asyncio.run(Runner.run(clerk, script(call(transfer.tool_name))))
    assert asked == ["7"]
    assert result.final_output.startswith("guilty") and "You are the judge 815." in result.final_output
    [session] = server.api.known() - known
    [key] = [one["thread_key"] for one in server.api.all_sessions() if one["id"] == session]
    assert list(executions(server.api.settled(key)).values()) == ["cancelled", "completed"]


@HARNESSES
def test_streamed_by_response_ids(server, harness):
    """The same with streams, each step naming the response before it."""
    program = Program(server, harness)

    async def run() -> str:
        streamed = Runner.run_streamed(program.agent, STEPS, auto_previous_response_id=True)
        async for _ in streamed.stream_events():
            pass
        return streamed.final_output

    assert asyncio.run(run()) == "It is 2."
    assert program.asked == ["Bern", "Ulm", "time"]
    assert list(executions(program.log).values()) == ["completed"]
