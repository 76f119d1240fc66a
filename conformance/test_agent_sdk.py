"""The real Claude Agent SDK, which drives Claude Code as a program."""

import asyncio
import uuid

import pytest
from claude_agent_sdk import AssistantMessage, ClaudeAgentOptions, ClaudeSDKClient, ResultMessage, TextBlock, query
from centaur_server import CLAUDE
from scripts import COUNT, script, shell, text
from session_api import WAIT_SECONDS, executions, said


@pytest.fixture
def options(claude, monkeypatch):
    """Options for a program of the shared server's user; the SDK adds to the environment and does not replace it."""
    for name, value in claude.environment.items():
        monkeypatch.setenv(name, value)

    def make(**more) -> ClaudeAgentOptions:
        return ClaudeAgentOptions(cwd=str(claude.work), cli_path=str(CLAUDE), **more)

    return make


def texts(messages: list) -> list[str]:
    return [block.text for message in messages if isinstance(message, AssistantMessage)
            for block in message.content if isinstance(block, TextBlock)]


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 2 * WAIT_SECONDS))


def test_query(options, server):
    """`query()` gives the agent's work and its answer, and a next one resumes the session."""

    async def ask(prompt: str, **more) -> tuple[list, ResultMessage]:
        messages = [message async for message in query(prompt=prompt, options=options(**more))]
        [result] = [message for message in messages if isinstance(message, ResultMessage)]
        return messages, result

    messages, result = run(ask(script(shell("echo from-$((40+2))"), text("finished"))))
    assert (result.result, result.is_error) == ("finished", False)
    shown = texts(messages)
    assert shown[-1] == "finished" and "from-42" in shown[0]
    _, second = run(ask(script(text("{{history}} messages")), resume=result.session_id))
    assert second.result == "2 messages" and second.session_id == result.session_id
    events = server.api.events(f"api:claude:{result.session_id}")
    assert list(executions(events).values()) == ["completed", "completed"]


def test_settings_of_the_program_do_not_reach_the_agent(options, server):
    """A system prompt that the program gives to Claude Code stays with the client: the server's agent has its own."""
    session = str(uuid.uuid4())

    async def ask() -> list:
        asked = query(prompt=script(text("{{instructions}}")), options=options(
            session_id=session, system_prompt="Speak like a pirate 4711.", allowed_tools=["Read"]))
        return [message async for message in asked]

    assert "pirate 4711" not in texts(run(ask()))[-1]
    assert len(said(server.api.events(f"api:claude:{session}"))) == 1


def test_structured_output(options):
    """A program that asks for JSON gets it as data."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}

    async def ask() -> ResultMessage:
        asked = query(
            prompt=script(shell("echo x"), text('{"n": 3}')),
            options=options(output_format={"type": "json_schema", "schema": schema}))
        return [message async for message in asked if isinstance(message, ResultMessage)][-1]

    assert run(ask()).structured_output == {"n": 3}


def test_two_turns(options, server):
    """A `ClaudeSDKClient` holds a conversation of several turns in one session."""

    async def talk() -> list[ResultMessage]:
        results = []
        async with ClaudeSDKClient(options()) as client:
            for _ in range(2):
                await client.query(script(shell(COUNT), text("{{stdout}} of {{history}}")))
                results += [message async for message in client.receive_response()][-1:]
        return results

    first, second = run(talk())
    assert (first.result, second.result) == ("1 of 1", "2 of 2")
    assert len(executions(server.api.events(f"api:claude:{first.session_id}"))) == 2


def test_interrupt(options, server):
    """`interrupt()` gives the program its turn back; the agent stops when it is told something else."""
    session = str(uuid.uuid4())
    key = f"api:claude:{session}"

    async def talk() -> ResultMessage:
        async with ClaudeSDKClient(options(session_id=session)) as client:
            await client.query(script({"pre_text": "I begin.", "shell": "sleep 60"}, text("never")))
            async for message in client.receive_response():
                if isinstance(message, AssistantMessage):
                    await client.interrupt()
            await client.query(script(text("{{history}} messages")))
            return [message async for message in client.receive_response()][-1]

    assert run(talk()).result == "2 messages"
    events = server.api.events(key)
    assert list(executions(events).values()) == ["cancelled", "completed"]
    assert "interrupted" not in str(said(events))
