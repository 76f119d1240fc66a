"""Anthropic's real Python SDK."""

import asyncio
import concurrent.futures
import uuid

import anthropic
import httpx
import pytest
from anthropic import Anthropic, AsyncAnthropic
from conftest import make_anthropic, make_sdk, with_model
from files import PNG, base64_of, image_block, pdf_block, text_document
from gate import Gate
from messages_wire import answer_of, check_message
from scripts import COUNT, script, shell, text
from session_api import executions, items, said
from test_errors import failure_of

ASK = {"model": "any-model", "max_tokens": 1000}


def user(prompt) -> list[dict]:
    return [{"role": "user", "content": prompt}]


def answer(message) -> str:
    return [block.text for block in message.content if block.type == "text"][-1]


@pytest.fixture
def key() -> str:
    return f"api:sdk-{uuid.uuid4()}"


def on_thread(server, key: str, **more) -> Anthropic:
    return make_anthropic(server, default_headers={"X-Centaur-Thread-Key": key, **more})


def test_answer(anthropic_sdk, server):
    """`messages.create` gives an answer, and the header names its session."""
    raw = anthropic_sdk.messages.with_raw_response.create(messages=user("Reply PONG"), **ASK)
    message = raw.parse()
    assert answer(message) == "PONG" and message.stop_reason == "end_turn"
    assert message.model == "any-model" and message.id.startswith("msg_")
    assert message.usage.input_tokens > 0 and message.usage.output_tokens > 0
    key = raw.headers["x-centaur-thread-key"]
    assert key.startswith("api:") and uuid.UUID(key.removeprefix("api:"))
    assert raw.headers["request-id"] == message._request_id
    assert said(server.api.events(key)) == ["Reply PONG"]
    check_message(raw.http_response.json())


def test_stream(anthropic_sdk):
    """The SDK's stream gives the text piece by piece, then the same message as without streaming."""
    words = "one two three four five six"
    with anthropic_sdk.messages.stream(messages=user(script(text(words, chunks=6, delay=0.01))), **ASK) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert len(pieces) > 1 and "".join(pieces) == words == answer(final)
    assert final.stop_reason == "end_turn" and final.usage.output_tokens > 0


@pytest.mark.parametrize("thinking", [True, False], ids=["asked for", "not asked for"])
def test_thinking(anthropic_sdk, server, thinking):
    """Who asks for thinking sees the agent's reasoning and work; who does not gets text alone."""
    prompt = script({"reason": "Looking around.", "shell": "echo one"}, text("done"))
    asked = {"thinking": {"type": "adaptive"}} if thinking else {}
    message = anthropic_sdk.messages.create(messages=user(prompt), **ASK, **asked)
    types = [block.type for block in message.content]
    assert answer(message) == "done"
    if thinking:
        assert types == ["thinking", "text", "text"]
        assert message.content[0].thinking == "Looking around." and message.content[0].signature
        assert "echo one" in message.content[1].text
    else:
        assert types == ["text"]
    off = anthropic_sdk.messages.create(messages=user(prompt), thinking={"type": "disabled"}, **ASK)
    assert [block.type for block in off.content] == ["text"]


def test_system_is_the_newest_request_s(server, harness, key):
    """What a program puts into `system` holds until it says something else there: the agent is told once."""
    sdk = on_thread(server, key, **{"X-Centaur-Harness": harness})
    prompt = script(text("{{history}} {{instructions}}"))
    first = sdk.messages.create(messages=user(prompt), system="Speak like a pirate 4711.", **ASK)
    assert "Speak like a pirate 4711." in answer(first)
    judge = "Speak like a judge 815."
    for number, more in enumerate([{"system": [{"type": "text", "text": judge}]}, {"system": judge}, {}], 2):
        told = answer(sdk.messages.create(messages=user(prompt), **ASK, **more))
        assert told.startswith(f"{number} ") and told.count("<new_instructions>") == told.count(judge) == 1, told
    assert said(server.api.events(key)) == [prompt] * 4


def test_thread_key_names_the_session(server, key):
    """`X-Centaur-Thread-Key` names the session: the same key is the same conversation and workspace."""
    sdk = on_thread(server, key)
    first = sdk.messages.create(messages=user(script(shell(COUNT), text("{{stdout}}"))), **ASK)
    raw = sdk.messages.with_raw_response.create(
        messages=user(script(shell(COUNT), text("{{stdout}} of {{history}}"))), **ASK)
    assert answer(first) == "1" and answer(raw.parse()) == "2 of 2"
    assert raw.headers["x-centaur-thread-key"] == key


def test_history_in_the_request_seeds_a_new_session(anthropic_sdk):
    """A program that keeps the conversation itself is understood: what came before is history."""
    message = anthropic_sdk.messages.create(messages=[
        {"role": "user", "content": "My name is Ada."}, {"role": "assistant", "content": "Noted."},
        {"role": "user", "content": script(text("{{history}} {{first}}"))}], **ASK)
    assert answer(message) == "2 My name is Ada."


def test_history_on_a_thread_key_is_not_told_twice(server, key):
    """A program that sends its whole conversation each time, under a thread key, is heard once."""
    sdk = on_thread(server, key)
    messages = user("Reply ONE")
    for number in ("2", "3"):
        reply = sdk.messages.create(messages=messages, **ASK)
        prompt = script(text("{{history}} is " + number))
        messages += [{"role": "assistant", "content": reply.content}, *user(prompt)]
    assert answer(sdk.messages.create(messages=messages, **ASK)) == "3 is 3"
    assert len(said(server.api.events(key))) == 3


@pytest.mark.parametrize(
    "headers", [
        {"Authorization": "Bearer sk-x"}, {"x-api-key": "sk-x"}, {"Authorization": "Bearer sk-x", "x-api-key": "y"}],
    ids=["Bearer", "x-api-key", "both"])
def test_both_ways_to_show_a_key(server, headers):
    """The SDK's way of today and its way of before are both taken."""
    body = {**ASK, "messages": user("Reply IN")}
    reply = httpx.post(f"{server.v1}/messages", json=body, headers=headers).raise_for_status()
    assert answer_of(reply.json()) == "IN"


def test_count_tokens(anthropic_sdk, server):
    """A token count costs no session and grows with what is there."""
    known = server.api.known()
    small = anthropic_sdk.messages.count_tokens(model="m", messages=user("hello"))
    large = anthropic_sdk.messages.count_tokens(model="m", messages=user("hello " * 1000), system="be kind")
    assert 0 < small.input_tokens < 20 < 500 < large.input_tokens < 3000
    assert server.api.known() == known


def test_models(anthropic_sdk, server):
    """Both SDKs list the models that the harnesses run, each finds what it needs, and one that is not there is told."""
    ids = [model.id for model in anthropic_sdk.models.list(limit=1000)]
    assert "gpt-5.5" in ids and ids == [model.id for model in make_sdk(server).models.list()]
    model = anthropic_sdk.models.retrieve("gpt-5.5")
    assert (model.id, model.type) == ("gpt-5.5", "model") and model.display_name and model.created_at.year >= 1970
    with pytest.raises(anthropic.NotFoundError) as raised:
        anthropic_sdk.models.retrieve("nobody")
    assert raised.value.body["error"]["type"] == "not_found_error"


def test_an_unknown_model_is_echoed(anthropic_sdk, server):
    """A model that the server does not run is echoed, its own runs, and the log warns."""
    raw = anthropic_sdk.messages.with_raw_response.create(
        model="claude-nobody", max_tokens=10, messages=user("Reply X"))
    assert raw.parse().model == "claude-nobody"
    events = server.api.events(raw.headers["x-centaur-thread-key"])
    assert [event for event in events if event["kind"] == "warning" and "claude-nobody" in str(event["payload"])]


def test_images_and_documents_reach_the_model(make_server, model):
    """What a program attaches reaches the agent's model."""
    sdk = make_anthropic(with_model(make_server, model))
    message = sdk.messages.create(messages=user(
        [image_block(), text_document("the plan is 4711"), {"type": "text", "text": "Reply SEEN"}]), **ASK)
    assert answer(message) == "SEEN"
    sent = str([request["body"] for request in model.requests()])
    assert base64_of(PNG) in sent and "the plan is 4711" in sent
    assert answer(sdk.messages.create(
        messages=user([pdf_block(), {"type": "text", "text": "Reply TOLD"}]), **ASK)) == "TOLD"


def test_fields_that_programs_send_are_accepted(anthropic_sdk):
    """Settings that an agent has no use for do no harm."""
    message = anthropic_sdk.messages.create(
        messages=user("Reply YES"), stop_sequences=["END"], metadata={"user_id": "u1"}, service_tier="auto",
        extra_body={"temperature": 0.3, "top_p": 0.9, "top_k": 5, "something_new": {"deep": [1]}},
        tools=[{"name": "lookup", "description": "d", "input_schema": {"type": "object", "properties": {}}}],
        tool_choice={"type": "auto"}, extra_headers={"anthropic-beta": "unheard-of-2030-01-01"}, **ASK)
    assert answer(message) == "YES"


def test_a_schema_for_the_answer_reaches_the_model(make_server, model):
    """A structured output format holds for the agent's answer."""
    sdk = make_anthropic(with_model(make_server, model))
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"],
              "additionalProperties": False}
    message = sdk.messages.create(
        messages=user(script(text('{"n":3}'))),
        extra_body={"output_config": {"format": {"type": "json_schema", "schema": schema}}}, **ASK)
    assert answer(message) == '{"n":3}'
    assert "'additionalProperties': False" in str([request["body"] for request in model.requests()])


def test_idempotency_key_repeats_the_first_answer(server, key):
    """A request sent twice under one Idempotency-Key runs once and is answered twice alike."""
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    sdk = on_thread(server, key)
    prompt = user(script(shell(COUNT), text("{{stdout}}")))
    one, two = (sdk.messages.create(messages=prompt, extra_headers=headers, **ASK) for _ in range(2))
    assert one.id == two.id and one.content == two.content and answer(one) == "1"
    assert list(executions(server.api.events(key)).values()) == ["completed"]
    assert answer(sdk.messages.create(messages=prompt, **ASK)) == "2", "without the key it is another turn"


def test_the_sdks_own_retries_without_a_key_are_other_turns(server, key):
    """Two equal requests of a program are two turns: a program says what it repeats by Idempotency-Key."""
    sdk = on_thread(server, key)
    for number in ("1", "2"):
        assert answer(sdk.messages.create(messages=user(script(shell(COUNT), text("{{stdout}}"))), **ASK)) == number


def test_threads(anthropic_sdk, server):
    """The SDK's threads (beta) keep the conversation on the server: each request sends only what is new."""
    thread = anthropic_sdk.beta.messages.thread(model="m", max_tokens=100)
    first = thread.send({"role": "user", "content": script(shell(COUNT), text("{{stdout}}"))})
    second = thread.send({"role": "user", "content": script(shell(COUNT), text("{{stdout}} of {{history}}"))})
    assert (answer(first), answer(second)) == ("1", "2 of 2")
    with thread.stream({"role": "user", "content": script(text("{{history}}"))}) as stream:
        assert "".join(stream.text_stream) == "3"


def test_a_thread_that_the_server_does_not_know(server, make_server):
    """A thread that is lost is told so in the form in which the SDK sends its whole conversation again."""
    sdk = make_anthropic(server)
    thread = sdk.beta.messages.thread(model="m", max_tokens=100)
    thread.send({"role": "user", "content": "Reply ONE"})
    other = make_server()
    sdk.base_url = other.url
    reply = thread.send({"role": "user", "content": script(text("{{history}} {{first}}"))})
    assert answer(reply) == "2 Reply ONE"
    assert len(other.api.known()) == 1
    with pytest.raises(anthropic.NotFoundError) as raised:
        sdk.beta.messages.create(
            messages=user("x"), extra_body={"thread": {"type": "continue", "previous_message_id": "msg_none_1"}}, **ASK)
    assert raised.value.body["error"]["details"] == {"error_code": "thread_not_found"}


def test_tool_runner(anthropic_sdk, server):
    """The SDK's tool runner comes to the agent's answer, and a next one goes on in the same session."""
    called = []

    @anthropic.beta_tool
    def lookup(word: str) -> str:
        """Looks a word up.

        Args:
            word: the word
        """
        called.append(word)
        return "found"

    runner = anthropic_sdk.beta.messages.tool_runner(
        model="m", max_tokens=100, tools=[lookup], messages=user(script(shell("echo one"), text("done"))))
    message = runner.until_done()
    assert answer(message) == "done" and called == []
    went_on = anthropic_sdk.beta.messages.create(
        messages=user(script(text("{{history}}"))),
        extra_body={"thread": {"type": "continue", "previous_message_id": message.id}}, **ASK)
    assert answer(went_on) == "2"


def test_several_at_once(server):
    """An asynchronous program with many requests at once gets each its own answer."""
    names = [f"number-{index}" for index in range(12)]

    async def ask_all() -> list[str]:
        async with AsyncAnthropic(base_url=server.url, api_key="not-a-key", max_retries=0, timeout=120) as sdk:
            replies = await asyncio.gather(*(
                sdk.messages.create(messages=user(script(shell(f"echo {name}"), text("{{stdout}}"))), **ASK)
                for name in names))
            async with sdk.messages.stream(messages=user("Reply STREAMED"), **ASK) as stream:
                assert await stream.get_final_text() == "STREAMED"
        return [answer(reply) for reply in replies]

    assert asyncio.run(ask_all()) == names


def test_requests_of_a_program_wait_for_one_another(server, key):
    """Two requests of a program to one session both run, one after the other."""
    sdk = on_thread(server, key)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        slow = pool.submit(sdk.messages.create, messages=user(script(shell("sleep 1"), text("slow"))), **ASK)
        server.api.wait_for_kind(key, "item.started")
        quick = pool.submit(sdk.messages.create, messages=user("Reply QUICK"), **ASK)
        assert (answer(slow.result()), answer(quick.result())) == ("slow", "QUICK")
    assert list(executions(server.api.events(key)).values()) == ["completed", "completed"]


@pytest.mark.parametrize("policy", ["supersede", "reject", "steer"])
def test_busy_policies(server, key, policy):
    """`X-Centaur-Busy` says what a request to a busy session does."""
    # A running Claude Code cannot be steered: there the message becomes a turn of its own.
    sdk = on_thread(server, key, **{"X-Centaur-Busy": policy, "X-Centaur-Harness": "codex"})
    gate = Gate(server)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        slow = pool.submit(sdk.messages.create, messages=user(script(shell(gate.command), text("slow"))), **ASK)
        server.api.wait_for_kind(key, "item.started")
        if policy == "reject":
            with pytest.raises(anthropic.ConflictError) as raised:
                sdk.messages.create(messages=user("Reply OTHER"), **ASK)
            assert raised.value.body["error"]["code"] == "session_busy"
            gate.open()
            assert answer(slow.result()) == "slow"
            return
        other = pool.submit(sdk.messages.create, messages=user("Reply OTHER"), **ASK)
        if policy == "steer":
            server.api.wait(key, lambda event: said([event]) == ["Reply OTHER"])
            gate.open()
        assert answer(other.result()) == "OTHER"
        if policy == "supersede":
            with pytest.raises(anthropic.ConflictError):
                slow.result()
    states = ["cancelled", "completed"] if policy == "supersede" else ["completed"]
    assert list(executions(server.api.events(key)).values()) == states


def test_on_disconnect_cancel(server, key):
    """With `X-Centaur-On-Disconnect: cancel` a turn ends with its client."""
    sdk = on_thread(server, key, **{"X-Centaur-On-Disconnect": "cancel"})
    with sdk.messages.stream(messages=user(script(shell("sleep 120"), text("never"))), **ASK):
        server.api.wait_for_kind(key, "item.started")
    server.api.wait_for_kind(key, "execution.cancelled")


# What the agent's model does, the error that the SDK raises, its code, and Anthropic's name for it.
FAILURES = {
    "401": ({"error": 401}, anthropic.InternalServerError, "provider_authentication", "api_error"),
    "429": ({"error": 429}, anthropic.RateLimitError, "provider_rate_limit", "rate_limit_error"),
    "500": ({"error": 500}, anthropic.InternalServerError, "provider_unavailable", "api_error"),
    "dropped stream": (
        {"text": "half", "drop": True}, anthropic.InternalServerError, "provider_stream_cut", "api_error"),
    "context too long": (
        {"fail": "context_length_exceeded"}, anthropic.BadRequestError, "context_window_exceeded",
        "invalid_request_error"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_failures_are_typed_exceptions(server, key, name):
    """A turn that fails raises what the SDK has for it, at once, though the SDK would try again by itself."""
    step, expected, code, type = FAILURES[name]
    sdk = on_thread(server, key, **{"X-Centaur-Harness": "codex"}).with_options(max_retries=2)
    with pytest.raises(expected) as raised:
        sdk.messages.create(messages=user(script(step)), **ASK)
    error = raised.value.body["error"]
    assert (error["code"], error["type"]) == (code, type) and raised.value.request_id.startswith("req_")
    assert failure_of(server, key)["message"] == error["message"], "one turn, which was not repeated"


@pytest.mark.parametrize("name", FAILURES)
def test_failures_in_a_stream_are_exceptions(server, key, name):
    """A streamed turn that fails raises with our code, after the text that there was."""
    step, _, code, type = FAILURES[name]
    sdk = on_thread(server, key, **{"X-Centaur-Harness": "codex"})
    with pytest.raises(anthropic.APIStatusError) as raised:
        with sdk.messages.stream(messages=user(script(step)), **ASK) as stream:
            stream.get_final_message()
    error = raised.value.body["error"]
    assert (error["code"], error["type"]) == (code, type)


def test_a_wrong_request_is_a_typed_exception(anthropic_sdk):
    """What is wrong with a request is in the exception."""
    with pytest.raises(anthropic.BadRequestError) as raised:
        anthropic_sdk.messages.create(messages=[], **ASK)
    assert raised.value.body["error"]["param"] == "messages" and "empty" in raised.value.message


def test_the_session_is_everybodys(anthropic_sdk, server):
    """A session that this SDK began is the console's and the other SDK's too."""
    prompt = script(shell(COUNT), text("{{stdout}} of {{history}}"))
    raw = anthropic_sdk.messages.with_raw_response.create(messages=user(prompt), **ASK)
    key = raw.headers["x-centaur-thread-key"]
    other = make_sdk(server, default_headers={"X-Centaur-Thread-Key": key})
    assert other.responses.create(model="m", input=prompt).output_text == "2 of 2"
    server.api.execute(key, {"text": script(text("{{history}}"))}).raise_for_status()
    server.api.wait(key, lambda event: event["kind"] == "execution.completed", after=len(server.api.events(key)) - 1)
    assert items(server.api.events(key), "message")[-1]["text"] == "3"


def test_long_answers_and_unicode(anthropic_sdk):
    """A long answer in many scripts arrives as it was."""
    words = "Grüße — 你好 🙂 \u2028 \"quoted\" \\ back\n\ttab " * 400
    prompt = user(script(text(words, chunks=50)))
    assert answer(anthropic_sdk.messages.create(messages=prompt, **ASK)) == words
    with anthropic_sdk.messages.stream(messages=prompt, **ASK) as stream:
        assert stream.get_final_text() == words


def test_what_is_not_honoured_is_said(server, key):
    """Settings that do nothing are named, in the message and in the session's log; what every request must have is not."""
    sdk = on_thread(server, key)
    message = sdk.messages.create(
        messages=user("Reply PONG"), stop_sequences=["END"], extra_body={"temperature": 0.1}, output_config={
            "effort": "low"}, thinking={"type": "enabled", "budget_tokens": 1024}, **ASK)
    [said] = [warning for warning in message.model_extra["centaur_warnings"] if warning["code"] == "not_honoured"]
    assert "temperature, stop_sequences, thinking.budget_tokens" in said["message"] and "max_tokens" not in said["message"]
    warned = [event["payload"] for event in server.api.events(key) if event["kind"] == "warning"]
    assert {"code": said["code"], "message": said["message"]} in [
        {name: event[name] for name in ("code", "message")} for event in warned]
    with sdk.messages.stream(messages=user("Reply PONG"), extra_body={"temperature": 0.1}, **ASK) as stream:
        [told] = [event for event in stream if event.type == "message_delta"]
    assert "temperature" in str(told.model_extra["centaur_warnings"])
    usual = sdk.messages.create(messages=user("Reply PONG"), **{**ASK, "model": "claude-opus-5-5"})
    assert "centaur_warnings" not in usual.model_extra


def test_an_answer_that_does_not_fit_its_schema(server, key):
    """A program that asks for JSON and gets something else is told so beside the answer."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    message = on_thread(server, key, **{"X-Centaur-Harness": "codex"}).messages.create(
        messages=user(script(text('{"m":3}'))), extra_body={"output_format": {"type": "json_schema", "schema": schema}},
        **ASK)
    assert answer(message) == '{"m":3}'
    [said] = [warning for warning in message.model_extra["centaur_warnings"] if warning["code"] == "answer_misfit"]
    assert "lacks 'n'" in said["message"]


def test_a_format_that_cannot_be(anthropic_sdk, server):
    """A schema that is none is refused before the agent has worked for it."""
    known = server.api.known()
    with pytest.raises(anthropic.BadRequestError) as raised:
        anthropic_sdk.messages.create(messages=user("x"), extra_body={"output_config": {"format": {
            "type": "json_schema", "schema": {"type": "int"}}}}, **ASK)
    assert raised.value.body["error"]["param"] == "output_config.format.schema.type"
    assert server.api.known() == known
