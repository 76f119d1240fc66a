"""Clients that keep the conversation themselves and send all of it each time: one session, one warm sandbox, as if they
had named it. With both real SDKs and with LangChain on top of them."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import make_sdk
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from scripts import COUNT, script, shell, text
from session_api import WAIT_SECONDS

WORK = script(
    {"reason": "Looking around.", "pre_text": "First I look.", "shell": COUNT}, text("{{stdout}} of {{history}}"))


def unlike(prompt: str) -> str:
    """What nobody else has said to the shared server: an equal conversation would be another's, too."""
    return f"{prompt} {uuid.uuid4()}"


def one_warm_sandbox(server, known: set[str], turns: int) -> str:
    """All turns were one session's, and its harness was started once."""
    [id] = server.api.known() - known
    [key] = [session["thread_key"] for session in server.api.all_sessions() if session["id"] == id]
    events = server.api.settled(key)
    kinds = [event["kind"] for event in events]
    assert kinds.count("execution.completed") == turns and kinds.count("sandbox.ready") == 1, kinds
    assert "session.forked" not in kinds
    return key


def counted(answer: str) -> list[str]:
    """How often the command was run in the workspace, and how much the agent was told: `2 of 3`."""
    return answer.replace("First I look.", "").replace("```", "").split()[-3:]


def sessions(server, known: set[str]) -> int:
    return len(server.api.known() - known)


# OpenAI's SDK


def openai_turns(sdk, keep, count: int = 3, **more) -> list[str]:
    """A chat loop: each answer is kept as `keep` makes it, and all is sent again."""
    messages, answers = [], []
    for _ in range(count):
        messages.append({"role": "user", "content": unlike(WORK)})
        response = sdk.responses.create(model="m", input=messages, **more)
        messages += keep(response)
        answers.append(response.output_text)
    return answers


@pytest.mark.parametrize("more", [{}, {"store": False}, {"reasoning": {"summary": "auto"}}], ids=str)
def test_items_that_are_sent_back(sdk, server, more):
    """OpenAI's documentation: `input += response.output`. The items' ids tell, whatever was shown, stored or not."""
    known = server.api.known()
    answers = openai_turns(sdk, lambda response: [item.to_dict() for item in response.output], **more)
    assert [counted(answer) for answer in answers] == [[str(n), "of", str(n)] for n in (1, 2, 3)]
    one_warm_sandbox(server, known, 3)


@pytest.mark.parametrize("keep", [
    lambda response: [{"role": "assistant", "content": response.output_text}],
    lambda response: [{"role": "assistant", "content": f" {item.content[0].text}\n"} for item in response.output],
    lambda response: [{"type": "message", "role": "assistant", "content": [
        {"type": "output_text", "text": item.content[0].text} for item in response.output]}],
], ids=["joined", "one by one", "in parts"])
def test_texts_that_are_sent_back(sdk, server, keep):
    """A client that keeps roles and texts alone is known by these, however it joins the pieces."""
    known = server.api.known()
    assert len(openai_turns(sdk, keep)) == 3
    one_warm_sandbox(server, known, 3)


def test_what_came_before_us_counts_too(sdk, server):
    """A conversation that began elsewhere is brought along once, and goes on from then."""
    known = server.api.known()
    messages = [
        {"role": "developer", "content": "Be brief."}, {"role": "user", "content": unlike("I am Ada.")},
        {"role": "assistant", "content": "Noted."}, {"role": "user", "content": "And 36."}]
    for count in (3, 4):
        messages.append({"role": "user", "content": script(text("{{history}}"))})
        response = sdk.responses.create(model="m", input=messages)
        assert response.output_text == str(count)
        messages.append({"role": "assistant", "content": response.output_text})
    one_warm_sandbox(server, known, 2)


def test_another_models_answer_between(sdk, server):
    """What the client has from elsewhere, behind an answer of ours, is told with the next turn."""
    known = server.api.known()
    first = sdk.responses.create(model="m", input=unlike(script(text("ONE"))))
    asked = [{"role": "user", "content": "Reply ONE"}, *(item.to_dict() for item in first.output)]
    between = [{"role": "user", "content": "Who are you?"}, {"role": "assistant", "content": "The other model 4711."}]
    sdk.responses.create(model="m", input=[*asked, *between, {"role": "user", "content": "Reply TWO"}])
    key = one_warm_sandbox(server, known, 2)
    assert "The other model 4711." in str([e for e in server.api.events(key) if e["kind"] == "message.appended"])


def test_a_branch(sdk, server):
    """A history that ends earlier than the session branches off; both go on from there."""
    known = server.api.known()
    one = {"role": "user", "content": unlike(WORK)}
    history = [one, {"role": "assistant", "content": (first := sdk.responses.create(model="m", input=[one])).output_text}]
    two = sdk.responses.create(model="m", input=[*history, {"role": "user", "content": WORK}])
    branch = sdk.responses.create(model="m", input=[*history, {"role": "user", "content": WORK}])
    assert [counted(r.output_text) for r in (first, two, branch)] == [
        ["1", "of", "1"], ["2", "of", "2"], ["1", "of", "2"]], "the branch has a workspace of its own"
    assert sessions(server, known) == 2
    by_id = [one, *(item.to_dict() for item in first.output), {"role": "user", "content": WORK}]
    assert counted(sdk.responses.create(model="m", input=by_id).output_text) == ["1", "of", "2"]
    assert sessions(server, known) == 3


def test_equal_conversations_of_two_clients(sdk, server):
    """Where two clients' conversations went the same way it is not known whose this is: nobody gets the other's session."""
    prompt = unlike(script(text("HELLO")))
    known = server.api.known()
    for _ in range(2):
        assert sdk.responses.create(model="m", input=prompt).output_text == "HELLO"
    assert sessions(server, known) == 2
    history = [{"role": "user", "content": prompt}, {"role": "assistant", "content": "HELLO"},
               {"role": "user", "content": unlike(script(text("ON")))}]
    answer = sdk.responses.create(model="m", input=history)
    assert sessions(server, known) == 3, "it is told what was said, in a session of its own"
    # From here on it is one of a kind.
    history += [{"role": "assistant", "content": answer.output_text}, {"role": "user", "content": "Reply X"}]
    sdk.responses.create(model="m", input=history)
    assert sessions(server, known) == 3


def test_the_same_words_another_day(sdk, server):
    """A loop that is run again says the same words: it goes on in its own session, not in one that has gone on since."""
    prompts = [unlike(WORK), "Reply TWO"]
    known = server.api.known()
    for run in range(1, 4):
        history = []
        for prompt in prompts:
            history.append({"role": "user", "content": prompt})
            answer = sdk.responses.create(model="m", input=history)
            history.append({"role": "assistant", "content": answer.output_text})
        assert sessions(server, known) == run


def test_at_once(sdk, server):
    """Of requests that go on from one history at once, one has the session; the others branch off; none is lost."""
    known = server.api.known()
    prompt = unlike(script(text("HELLO")))
    sdk.responses.create(model="m", input=prompt)
    history = [{"role": "user", "content": prompt}, {"role": "assistant", "content": "HELLO"}]
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(
            lambda n: sdk.responses.create(model="m", input=[*history, {"role": "user", "content": f"Reply {n}"}]),
            "ABC"))
    assert [answer.output_text for answer in answers] == ["A", "B", "C"]
    assert sessions(server, known) == 3


def test_a_thread_key_wins(sdk, server):
    """A request that names its session is in that one, whatever its history says."""
    first = sdk.responses.create(model="m", input=unlike(script(text("ONE"))))
    key = f"api:{uuid.uuid4()}"
    history = [*(item.to_dict() for item in first.output), {"role": "user", "content": "Reply TWO"}]
    raw = sdk.responses.with_raw_response.create(model="m", input=history, extra_headers={"X-Centaur-Thread-Key": key})
    assert raw.headers["x-centaur-thread-key"] == key


@pytest.mark.parametrize("id", ["msg_{}_1", "msg_{}_x", "msg__", "call_{}_1"])
def test_ids_that_are_not_ours(sdk, server, id):
    """Ids of another server are not in the way: the conversation is what the client says."""
    known = server.api.known()
    response = sdk.responses.create(model="m", input=[
        {"role": "user", "content": "I am Ada."},
        {"type": "message", "role": "assistant", "id": id.format(uuid.uuid4().hex), "content": unlike("Noted.")},
        {"role": "user", "content": script(text("{{history}} {{first}}"))}])
    assert response.output_text == "2 I am Ada." and sessions(server, known) == 1


def test_after_a_restart(make_server):
    """The next server knows the conversation."""
    server = make_server()
    known = server.api.known()
    messages = [{"role": "user", "content": WORK}]
    for count in ("1", "2"):
        answer = make_sdk(server).responses.create(model="m", input=messages).output_text
        assert counted(answer) == [count, "of", count]
        messages += [{"role": "assistant", "content": answer}, {"role": "user", "content": WORK}]
        server.stop()
        server.start()
    assert sessions(server, known) == 1


# Anthropic's SDK


@pytest.mark.parametrize("keep", [
    lambda message: message.content,
    lambda message: "".join(block.text for block in message.content),
    lambda message: [{"type": "text", "text": block.text} for block in message.content],
], ids=["blocks", "joined", "texts"])
def test_messages(anthropic_sdk, server, keep):
    """The same over `/v1/messages`, where a message has no id at all."""
    known = server.api.known()
    messages = []
    for count in ("1", "2", "3"):
        messages.append({"role": "user", "content": unlike(WORK)})
        message = anthropic_sdk.messages.create(model="m", max_tokens=1000, messages=messages, system="Be brief.")
        assert counted(message.content[-1].text) == [count, "of", count]
        messages.append({"role": "assistant", "content": keep(message)})
    one_warm_sandbox(server, known, 3)


LOOK = {"name": "look_up", "description": "Looks something up.", "input_schema": {"type": "object", "properties": {}}}


def test_plain_turns_behind_one_with_tools(anthropic_sdk, server):
    """A call's id names its turn only: the plain answers behind it are of the same conversation."""
    known = server.api.known()
    ask = script({"tool": "look_up", "args": {}}, text("{{stdout}} found"))
    messages = [{"role": "user", "content": unlike(ask)}]
    while True:
        message = anthropic_sdk.messages.create(model="m", max_tokens=1000, messages=messages, tools=[LOOK])
        messages.append({"role": "assistant", "content": message.content})
        calls = [block for block in message.content if block.type == "tool_use"]
        if not calls:
            break
        messages.append({"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": call.id, "content": "seven"} for call in calls]})
    assert "seven found" in message.content[-1].text
    for count in ("2", "3", "4"):
        messages.append({"role": "user", "content": unlike(script(text("turn {{history}}")))})
        message = anthropic_sdk.messages.create(model="m", max_tokens=1000, messages=messages, tools=[LOOK])
        assert message.content[-1].text == f"turn {count}"
        messages.append({"role": "assistant", "content": message.content[-1].text})
    one_warm_sandbox(server, known, 4)


def test_texts_behind_a_call(sdk, server):
    """The same over `/v1/responses`, where of an answer its text alone is kept."""
    known = server.api.known()
    tool = {"type": "function", "name": "look_up", "parameters": LOOK["input_schema"]}
    messages = [{"role": "user", "content": unlike(script({"tool": "look_up", "args": {}}, text("{{stdout}} found")))}]
    response = sdk.responses.create(model="m", input=messages, tools=[tool])
    [call] = [item for item in response.output if item.type == "function_call"]
    messages += [call.model_dump(exclude_none=True), {
        "type": "function_call_output", "call_id": call.call_id, "output": "seven"}]
    response = sdk.responses.create(model="m", input=messages, tools=[tool])
    assert "seven found" in response.output_text
    messages.append({"role": "assistant", "content": response.output_text})
    for count in ("2", "3", "4"):
        messages.append({"role": "user", "content": unlike(script(text("turn {{history}}")))})
        response = sdk.responses.create(model="m", input=messages, tools=[tool])
        assert response.output_text == f"turn {count}"
        messages.append({"role": "assistant", "content": response.output_text})
    one_warm_sandbox(server, known, 4)


def test_thinking_in_some_answers(anthropic_sdk, server):
    """Whoever sees the work keeps more than was said, and not each answer has a block with an id: what the user said tells
    how far the conversation has gone."""
    known = server.api.known()
    thinking = {"thinking": {"type": "adaptive"}}
    messages = []
    for step in (WORK, script(shell(COUNT), text("{{stdout}}")), script(shell(COUNT), text("{{stdout}}")), "Reply ON"):
        messages.append({"role": "user", "content": unlike(step)})
        message = anthropic_sdk.messages.create(model="m", max_tokens=1000, messages=messages, **thinking)
        messages.append({"role": "assistant", "content": message.content})
    one_warm_sandbox(server, known, 4)
    # Something else than was said there is another conversation: a branch of what it shares.
    messages[2:] = [{"role": "user", "content": unlike("Reply OTHER")}]
    anthropic_sdk.messages.create(model="m", max_tokens=1000, messages=messages, **thinking)
    assert sessions(server, known) == 2


def test_calls_of_another_server(anthropic_sdk, sdk, server):
    """A history with another model's calls begins a session. The next request is known by what was said in it, with the
    calls or without."""
    known = server.api.known()
    messages = [
        {"role": "user", "content": unlike("Look.")},
        {"role": "assistant", "content": [
            {"type": "text", "text": "I look."}, {"type": "tool_use", "id": "toolu_other", "name": "look_up", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_other", "content": "seven"}]},
        {"role": "assistant", "content": "It is seven."}]
    for _ in range(2):
        messages.append({"role": "user", "content": unlike(script(text("ON")))})
        message = anthropic_sdk.messages.create(model="m", max_tokens=1000, messages=messages)
        messages.append({"role": "assistant", "content": message.content[-1].text})
    one_warm_sandbox(server, known, 2)
    known = server.api.known()
    items = [
        {"role": "user", "content": unlike("Look.")}, {"role": "assistant", "content": "I look."},
        {"type": "function_call", "call_id": "call_other", "name": "look_up", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_other", "output": "seven"},
        {"role": "assistant", "content": "It is seven."}]
    for _ in range(2):
        items.append({"role": "user", "content": unlike(script(text("ON")))})
        items.append({"role": "assistant", "content": sdk.responses.create(model="m", input=items).output_text})
        items = [item for item in items if "call_id" not in item]
    one_warm_sandbox(server, known, 2)


def test_one_conversation_in_both_dialects(anthropic_sdk, sdk, server):
    """A conversation is the same whichever API it is told by."""
    known = server.api.known()
    messages = [{"role": "user", "content": unlike(script(text("ONE")))}]
    messages.append({"role": "assistant", "content": sdk.responses.create(model="m", input=messages).output_text})
    messages.append({"role": "user", "content": script(text("{{history}}"))})
    message = anthropic_sdk.messages.create(model="m", max_tokens=1000, messages=messages)
    assert message.content[-1].text == "2"
    one_warm_sandbox(server, known, 2)


# LangChain


def langchain_turns(model) -> list[str]:
    """LangChain's own loop: the list of messages grows, and is sent whole."""
    messages, answers = [], []
    for _ in range(3):
        messages.append(HumanMessage(unlike(WORK)))
        answer = model.invoke(messages)
        assert isinstance(answer, AIMessage)
        messages.append(answer)
        answers.append(answer.text)
    return answers


@pytest.mark.parametrize("more", [
    {}, {"output_version": "v0"}, {"output_version": "v1"}, {"reasoning": {"summary": "auto"}}, {"store": False}], ids=str)
def test_langchain_openai(server, more):
    """LangChain over the Responses API keeps one session."""
    known = server.api.known()
    model = ChatOpenAI(
        model="m", base_url=server.v1, api_key="not-a-key", use_responses_api=True, max_retries=0, **more)
    assert [counted(answer) for answer in langchain_turns(model)] == [[str(n), "of", str(n)] for n in (1, 2, 3)]
    one_warm_sandbox(server, known, 3)


def test_langchain_anthropic(server):
    """LangChain over the Messages API keeps one session."""
    known = server.api.known()
    model = ChatAnthropic(
        model_name="m", base_url=server.url, api_key="not-a-key", max_tokens=1000, max_retries=0, timeout=WAIT_SECONDS, stop=None)
    assert [counted(answer) for answer in langchain_turns(model)] == [[str(n), "of", str(n)] for n in (1, 2, 3)]
    one_warm_sandbox(server, known, 3)


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"sunny in {city}"


def langchain_agent(model) -> list[str]:
    """LangChain's loop with tools: the model is asked, its calls are run, and all is sent again, in three turns."""
    model = model.bind_tools([weather])
    messages, answers = [], []
    for city in ("Bern", "Ulm", "Genf"):
        messages.append(HumanMessage(unlike(script(
            shell(COUNT), {"tool": "weather", "args": {"city": city}}, text("{{out}}"),
        ))))
        while True:
            answer = model.invoke(messages)
            messages.append(answer)
            if not answer.tool_calls:
                break
            for call in answer.tool_calls:
                assert call["args"] == {"city": city}
                messages.append(ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"]))
        answers.append(answer.text)
    messages.append(HumanMessage(unlike(script(shell(COUNT), text("{{stdout}} of {{history}}")))))
    return [*answers, model.invoke(messages).text]


LANGCHAIN = {
    "responses": lambda server, **more: ChatOpenAI(
        model="m", base_url=server.v1, api_key="not-a-key", use_responses_api=True, max_retries=0, **more),
    "messages": lambda server, **more: ChatAnthropic(
        model_name="m", base_url=server.url, api_key="not-a-key", max_tokens=1000, max_retries=0, timeout=WAIT_SECONDS, stop=None,
        **more)}


@pytest.mark.parametrize("harness", ["codex", "claude"])
@pytest.mark.parametrize("dialect, more", [
    ("responses", {}), ("responses", {"output_version": "v0"}), ("responses", {"store": False}), ("messages", {})], ids=str)
def test_langchain_with_tools(server, harness, dialect, more):
    """LangChain with tools of its own keeps one session, turn after turn, and none is run twice."""
    known = server.api.known()
    model = LANGCHAIN[dialect](server, default_headers={"X-Centaur-Harness": harness}, **more)
    answers = langchain_agent(model)
    assert ["sunny in Bern" in answers[0], "sunny in Ulm" in answers[1], "sunny in Genf" in answers[2]] == [True] * 3
    assert counted(answers[3]) == ["4", "of", "4"]
    key = one_warm_sandbox(server, known, 4)
    assert [event["kind"] for event in server.api.events(key)].count("execution.resumed") == 3
