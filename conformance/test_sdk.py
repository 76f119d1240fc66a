"""The real OpenAI SDK, and the wire underneath it."""

import concurrent.futures
import uuid

import httpx
import openai
import pydantic
import pytest
import schema
from conftest import make_sdk
from gate import Gate
from scripts import COUNT, script, shell, text
from session_api import executions, items, kinds, said
from wire import SSEStream, check_response, final_text

SUMMARY = {"summary": "auto"}


def test_answer(sdk, server):
    """`responses.create` gives an answer, and the header names its session."""
    raw = sdk.responses.with_raw_response.create(model="any-model", input="Reply PONG")
    response = raw.parse()
    assert response.output_text == "PONG" and response.status == "completed"
    assert response.model == "any-model"
    key = raw.headers["x-centaur-thread-key"]
    assert key.startswith("api:") and uuid.UUID(key.removeprefix("api:"))
    assert said(server.api.events(key)) == ["Reply PONG"]
    check_response(raw.http_response.json())


def test_stream(sdk):
    """The SDK's stream gives the text piece by piece, then the same response as without streaming."""
    words = "one two three four five six"
    deltas = []
    with sdk.responses.stream(model="any-model", input=script(text(words, chunks=6, delay=0.01))) as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                deltas.append(event.delta)
        final = stream.get_final_response()
    assert len(deltas) > 1 and "".join(deltas) == words
    assert final.output_text == words and final.usage.total_tokens > 0


def test_faults_are_seen():
    """The checks of this suite do see a fault, with the specification's schema and without: what has no id, a number that
    is a text, a type that is unknown."""
    assert schema.response_faults({"object": "response"})
    assert schema.event_faults({"type": "response.created"})
    assert schema.event_faults({"type": "response.dance", "sequence_number": 0})
    assert schema.event_faults({"type": "response.output_item.added", "sequence_number": "0", "output_index": 0, "item": {
        "type": "function_call", "id": "fc_1"}})


@schema.NEEDED
def test_the_schema_is_checked():
    """The specification's schema by itself sees them too."""
    assert schema.faults("ResponseResource", {"object": "response"})
    assert schema.faults("ResponseCreatedStreamingEvent", {"type": "response.created"})


def test_stream_keeps_the_rules(server):
    """Every event is valid, in order, one frame a write, and the stream ends with [DONE]."""
    with SSEStream(server.v1, {"model": "m", "input": script(text("a b c", chunks=3)), "stream": True}) as stream:
        answer = stream.all()
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert answer.text == "a b c"
    types = [event["type"] for event in answer.events]
    assert types[2:4] == ["response.output_item.added", "response.content_part.added"]
    assert types[-4:] == [
        "response.output_text.done", "response.content_part.done", "response.output_item.done", "response.completed"]


@pytest.mark.parametrize("reasoning", [SUMMARY, None], ids=["with the work", "without the work"])
def test_work_is_shown_to_those_who_ask(server, reasoning):
    """A program sees the agent's steps if it asks for summaries, and only the answer if not."""
    steps = script(
        {"reason": "Looking around.", "shell": "echo one"}, shell("echo two >&2; exit 3"),
        {"patch": "*** Begin Patch\n*** Add File: new.txt\n+hello\n*** End Patch"}, text("done"))
    body = {"model": "m", "input": steps, "stream": True}
    if reasoning:
        body["reasoning"] = reasoning
    with SSEStream(server.v1, body) as stream:
        answer = stream.all()
    assert answer.text == "done"
    shown = str(answer.response["output"])
    if reasoning:
        assert "Looking around." in shown and "echo one" in shown and "new.txt" in shown
        assert "exit" in shown and "3" in shown, "a command that failed is told so"
    else:
        assert len(answer.response["output"]) == 1, shown
    assert not any(item["type"].endswith("_call") for item in answer.response["output"])
    assert len(items(server.api.events(answer.key), "command")) == 2


def test_structured_work_items(server):
    """With `X-Centaur-Items: full` the commands come as items of their own."""
    body = {"model": "m", "input": script(shell("echo one"), text("done")), "stream": True}
    with SSEStream(server.v1, body, {"X-Centaur-Items": "full"}) as stream:
        events = list(stream.events())
    found = [item for item in events[-1]["response"]["output"] if item["type"] == "centaur:command"]
    assert len(found) == 1 and "one" in str(found[0]), events[-1]["response"]["output"]


def test_previous_response_id_continues(sdk, server):
    """The next request by `previous_response_id` goes on in the same session and workspace."""
    first = sdk.responses.with_raw_response.create(model="m", input=script(shell(COUNT), text("{{stdout}}")))
    second = sdk.responses.with_raw_response.create(
        model="m", previous_response_id=first.parse().id,
        input=script(shell(COUNT), text("{{stdout}} of {{history}}")))
    assert first.headers["x-centaur-thread-key"] == second.headers["x-centaur-thread-key"]
    assert second.parse().output_text.split() == ["2", "of", "2"]
    assert second.parse().previous_response_id == first.parse().id
    third = sdk.responses.create(model="m", previous_response_id=second.parse().id, input=script(text("{{history}}")))
    assert third.output_text == "3"


def test_unknown_previous_response(sdk, server):
    """A `previous_response_id` that was never given is a 404 that names it, and makes no session."""
    known = server.api.known()
    with pytest.raises(openai.NotFoundError) as raised:
        sdk.responses.create(model="m", previous_response_id="resp_nowhere_1", input="hello")
    assert raised.value.code == "previous_response_not_found"
    assert raised.value.param == "previous_response_id"
    assert server.api.known() == known


@pytest.mark.parametrize("harness", ["codex", "claude"])
def test_instructions_are_the_newest_request_s(sdk, harness):
    """What a program instructs holds until it instructs otherwise: the agent is told once, and it is nobody's message."""
    ask = script(text("{{history}} {{instructions}}"))
    first = sdk.responses.create(
        model="m", instructions="Speak like a pirate 4711.", input=ask, extra_headers={"X-Centaur-Harness": harness})
    assert "Speak like a pirate 4711." in first.output_text
    assert first.instructions == "Speak like a pirate 4711."
    id = first.id
    for number, instructions in enumerate(["Speak like a judge 815.", "Speak like a judge 815.", None, ""], 2):
        response = sdk.responses.create(
            model="m", instructions=instructions, previous_response_id=id, input=ask)
        id = response.id
        assert response.output_text.startswith(f"{number} "), response.output_text
        told = response.output_text.split("<new_instructions>")
        assert len(told) == 2 and "in place of all" in told[1] and told[1].count("Speak like a judge 815.") == 1
    items = list(sdk.responses.input_items.list(id, order="asc", limit=100))
    assert [item.role for item in items] == ["system"] + ["user", "assistant"] * 4 + ["user"]
    assert not any("judge 815" in str(item) for item in items if item.role == "user")


@pytest.mark.parametrize("harness", ["codex", "claude"])
def test_instructions_of_a_conversation_that_its_client_keeps(sdk, server, harness):
    """The same where all is sent again each time: it stays one session, and one warm sandbox."""
    known = server.api.known()
    messages, told = [], []
    for instructions in (f"Pirate {uuid.uuid4()}.", "Judge 815.", "Judge 815.", "Monk 12."):
        messages.append({"role": "user", "content": script(text("{{instructions}}"))})
        response = sdk.responses.create(
            model="m", input=[{"role": "developer", "content": instructions}, *messages],
            extra_headers={"X-Centaur-Harness": harness})
        told.append(response.output_text)
        # The words alone: no id tells whose they are.
        messages.append({"role": "assistant", "content": response.output_text})
    assert [answer.count("<new_instructions>") for answer in told] == [0, 1, 1, 2]
    assert told[3].endswith("Monk 12.\n</new_instructions>")
    [id] = server.api.known() - known
    [key] = [session["thread_key"] for session in server.api.all_sessions() if session["id"] == id]
    assert [event["kind"] for event in server.api.settled(key)].count("sandbox.ready") == 1


def test_a_message_of_the_developer_adds_to_the_instructions(sdk):
    """A developer's message in a conversation that goes on takes nothing away."""
    ask = script(text("{{instructions}}"))
    first = sdk.responses.create(model="m", instructions="Pirate 4711.", input="Reply ONE")
    second = sdk.responses.create(model="m", previous_response_id=first.id, input=[
        {"role": "developer", "content": "Answer in French."}, {"role": "user", "content": ask}])
    assert "Pirate 4711.\n\nAnswer in French." in second.output_text


def test_a_branch_has_the_instructions_of_its_point(sdk):
    """Going on from an older response is going on under what held then."""
    ask = script(text("{{instructions}}"))
    first = sdk.responses.create(model="m", instructions="Pirate 4711.", input="Reply ONE")
    sdk.responses.create(model="m", instructions="Judge 815.", previous_response_id=first.id, input="Reply TWO")
    branch = sdk.responses.create(model="m", previous_response_id=first.id, input=ask)
    assert "Pirate 4711." in branch.output_text and "Judge 815" not in branch.output_text


def test_system_messages_are_instructions(sdk):
    """A developer or system message counts as instructions too."""
    response = sdk.responses.create(
        model="m", input=[
            {"role": "developer", "content": "Be terse 99."}, {"role": "user", "content": script(text("{{instructions}}"))}])
    assert "Be terse 99." in response.output_text


def test_history_in_the_request_seeds_a_new_session(sdk):
    """A program that keeps the conversation itself is understood: what came before is history."""
    response = sdk.responses.create(
        model="m", input=[
            {"role": "user", "content": "My name is Ada."}, {"role": "assistant", "content": "Noted."},
            {"role": "user", "content": script(text("{{history}} {{first}}"))}])
    assert response.output_text == "2 My name is Ada."


def test_thread_key_of_the_program(server):
    """`X-Centaur-Thread-Key` names the session; the same key is the same session."""
    key = f"api:test-{uuid.uuid4()}"
    sdk = make_sdk(server, default_headers={"X-Centaur-Thread-Key": key})
    assert sdk.responses.create(model="m", input="Reply ONE").output_text == "ONE"
    raw = sdk.responses.with_raw_response.create(model="m", input=script(text("{{history}}")))
    assert raw.headers["x-centaur-thread-key"] == key and raw.parse().output_text == "2"
    assert said(server.api.events(key))[0] == "Reply ONE"


def test_idempotency_key_repeats_the_first_answer(server):
    """A request sent twice under one Idempotency-Key runs once and is answered twice alike."""
    headers = {"Idempotency-Key": str(uuid.uuid4()), "X-Centaur-Thread-Key": f"api:{uuid.uuid4()}"}
    body = {"model": "m", "input": script(shell(COUNT), text("{{stdout}}"))}
    one, two = (
        httpx.post(f"{server.v1}/responses", json=body, headers=headers).raise_for_status().json()
        for _ in range(2))
    assert one == two and final_text(one) == "1"
    events = server.api.events(headers["X-Centaur-Thread-Key"])
    assert list(executions(events).values()) == ["completed"] and len(said(events)) == 1


def test_replay_is_the_live_stream(server):
    """Who comes back under the same Idempotency-Key gets the same bytes, while it runs and after it."""
    headers = {"Idempotency-Key": str(uuid.uuid4()), "X-Centaur-Thread-Key": f"api:{uuid.uuid4()}"}
    body = {
        "model": "m", "stream": True, "reasoning": SUMMARY,
        "input": script(shell("sleep 1; echo x"), text("a b c d e f", chunks=6, delay=0.05))}

    def raw() -> bytes:
        with SSEStream(server.v1, body, headers) as stream:
            stream.all()
            return b"".join(stream.raw)

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        live = [future.result() for future in [pool.submit(raw) for _ in range(3)]]
    assert live[0] == live[1] == live[2] == raw()


def test_model_of_the_list_is_used_and_another_is_echoed(server, sdk):
    """A model that the server does not run is echoed, its own runs, and the log warns."""
    raw = sdk.responses.with_raw_response.create(model="gpt-nobody", input="Reply X")
    assert raw.parse().model == "gpt-nobody"
    events = server.api.events(raw.headers["x-centaur-thread-key"])
    [started] = [event for event in events if event["kind"] == "execution.started"]
    assert started["payload"]["model"] == "gpt-5.5" and "warning" in kinds(events)
    raw = sdk.responses.with_raw_response.create(model="gpt-5.5", input="Reply X")
    assert "warning" not in kinds(server.api.events(raw.headers["x-centaur-thread-key"]))


def test_personas(make_server, directory):
    """A persona brings its instructions and its workspace, by header or by model name."""
    template = directory / "template"
    template.mkdir()
    (template / "brought.txt").write_text("from the template\n")
    server = make_server({
        "personas": {"reviewer": {"harness": "codex", "instructions": "Review well 31.", "workspace": str(template)}}})
    ask = script(shell("cat brought.txt"), text("{{stdout}} {{instructions}}"))
    by_header = make_sdk(server, default_headers={"X-Centaur-Persona": "reviewer"})
    for answer in (
        by_header.responses.create(model="m", input=ask).output_text,
        make_sdk(server).responses.create(model="centaur/reviewer", input=ask).output_text,
    ):
        assert "from the template" in answer and "Review well 31." in answer
    with pytest.raises(openai.BadRequestError) as raised:
        make_sdk(server, default_headers={"X-Centaur-Persona": "nobody"}).responses.create(model="m", input="x")
    assert raised.value.code == "unknown_persona"


def test_the_other_harness(server):
    """`codex-exec` runs one process a turn and answers the same."""
    key = f"api:{uuid.uuid4()}"
    sdk = make_sdk(server, default_headers={"X-Centaur-Harness": "codex-exec", "X-Centaur-Thread-Key": key})
    first = sdk.responses.create(model="m", input=script(shell(COUNT), text("{{stdout}}")))
    assert first.output_text.strip() == "1"
    second = sdk.responses.create(model="m", input=script(shell(COUNT), text("{{stdout}} of {{history}}")))
    assert second.output_text.split() == ["2", "of", "2"]
    assert server.api.show(key).json()["harness"] == "codex-exec"
    with pytest.raises(openai.ConflictError) as raised:
        make_sdk(server, default_headers={"X-Centaur-Harness": "codex", "X-Centaur-Thread-Key": key}).responses.create(
            model="m", input="x")
    assert raised.value.code == "harness_conflict"


def test_unknown_harness(server):
    """A harness that there is not is refused by name."""
    with pytest.raises(openai.BadRequestError) as raised:
        make_sdk(server, default_headers={"X-Centaur-Harness": "nobody"}).responses.create(model="m", input="x")
    assert raised.value.code == "unknown_harness"


def test_requests_of_a_program_wait_for_one_another(server):
    """Two requests of a program to one session both run, one after the other."""
    key = f"api:{uuid.uuid4()}"
    sdk = make_sdk(server, default_headers={"X-Centaur-Thread-Key": key})
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        slow = pool.submit(sdk.responses.create, model="m", input=script(shell("sleep 1"), text("slow")))
        server.api.wait_for_kind(key, "item.started")
        quick = pool.submit(sdk.responses.create, model="m", input="Reply QUICK")
        assert (slow.result().output_text, quick.result().output_text) == ("slow", "QUICK")
    assert list(executions(server.api.events(key)).values()) == ["completed", "completed"]


@pytest.mark.parametrize("policy", ["supersede", "reject", "steer"])
def test_busy_policies(server, policy):
    """`X-Centaur-Busy` says what a request to a busy session does."""
    key = f"api:{uuid.uuid4()}"
    headers = {"X-Centaur-Thread-Key": key, "X-Centaur-Busy": policy}
    gate = Gate(server)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        def ask(words: str) -> concurrent.futures.Future:
            return pool.submit(
                httpx.post, f"{server.v1}/responses", json={"model": "m", "input": words}, headers=headers)

        slow = ask(script(shell(gate.command), text("slow")))
        server.api.wait_for_kind(key, "item.started")
        asked = ask("Reply OTHER")
        if policy == "steer":
            server.api.wait(key, lambda event: said([event]) == ["Reply OTHER"])
            gate.open()
        other = asked.result()
        if policy == "reject":
            gate.open()
            assert other.status_code == 409 and other.json()["error"]["code"] == "session_busy"
            assert final_text(slow.result().json()) == "slow"
            assert list(executions(server.api.events(key)).values()) == ["completed"]
            return
        assert final_text(other.json()) == "OTHER"
        slow.result()
    states = ["cancelled", "completed"] if policy == "supersede" else ["completed"]
    assert list(executions(server.api.events(key)).values()) == states


def test_on_disconnect_cancel(server):
    """With `X-Centaur-On-Disconnect: cancel` a turn ends with its client."""
    key = f"api:{uuid.uuid4()}"
    body = {"model": "m", "stream": True, "input": script(shell("sleep 120"), text("never"))}
    with SSEStream(server.v1, body, {"X-Centaur-Thread-Key": key, "X-Centaur-On-Disconnect": "cancel"}):
        server.api.wait_for_kind(key, "item.started")
    server.api.wait_for_kind(key, "execution.cancelled")


def test_seventeen_at_once(server):
    """More programs at once than there are sandboxes: each gets its own answer."""
    sdk = make_sdk(server, timeout=120)
    names = [f"number-{index}" for index in range(17)]
    with concurrent.futures.ThreadPoolExecutor(17) as pool:
        answers = list(pool.map(lambda name: sdk.responses.create(
            model="m", input=script(shell(f"echo {name}"), text("{{stdout}}"))).output_text.strip(), names))
    assert answers == names


def test_fields_that_programs_send_are_accepted(sdk):
    """Settings that an agent has no use for do no harm, and come back as they were sent."""
    response = sdk.responses.create(
        model="m", input="Reply YES", temperature=0.3, top_p=0.9, max_output_tokens=1000, store=True,
        metadata={"team": "blue"}, parallel_tool_calls=False, truncation="auto", user="u1",
        extra_body={"something_new": {"deep": [1]}})
    assert response.output_text == "YES"
    assert (response.metadata, response.temperature, response.top_p) == ({"team": "blue"}, 0.3, 0.9)


def test_a_field_that_is_wrong_is_named(sdk, server):
    """A program that asks for what cannot be is told which field, and nothing has begun."""
    known = server.api.known()
    for field, value in {
        "temperature": 9, "metadata.k": {"k": "v" * 513}, "reasoning.effort": {"effort": "frantic"},
        "tools[0].type": [{"type": "web_search"}], "max_output_tokens": 3, "tool_choice": "required",
    }.items():
        with pytest.raises(openai.BadRequestError) as raised:
            sdk.responses.create(model="m", input="x", **{field.partition(".")[0].partition("[")[0]: value})
        assert raised.value.param == field and raised.value.type == "invalid_request_error", raised.value
    assert server.api.known() == known


def test_an_answer_is_parsed(server, harness):
    """`responses.parse` gives the answer as the program's own type, whichever harness worked for it."""

    class Count(pydantic.BaseModel):
        n: int
        of: str

    sdk = make_sdk(server, default_headers={"X-Centaur-Harness": harness})
    response = sdk.responses.parse(
        model="m", input=script(shell("echo work"), text('{"n": 3, "of": "files"}')), text_format=Count)
    assert response.output_parsed == Count(n=3, of="files")


def test_models_are_listed(sdk):
    """`models.list` names the models that the harnesses run."""
    assert "gpt-5.5" in [model.id for model in sdk.models.list()]


def test_long_answers_and_unicode(sdk):
    """A long answer in many scripts arrives as it was."""
    words = "Grüße — 你好 🙂 \u2028 \"quoted\" \\ back\n\ttab " * 400
    assert sdk.responses.create(model="m", input=script(text(words, chunks=50))).output_text == words


@pytest.mark.parametrize("harness", ["codex", "codex-exec", "claude"])
def test_the_agent_may_remove_files(server, harness):
    """The sandbox keeps the agent from harm: its harness does not refuse what only a careful user's machine would."""
    sdk = make_sdk(server, default_headers={"X-Centaur-Harness": harness})
    for command in ("touch a && rm -f a && echo gone", "bash -c 'mkdir -p d/e && rm -rf d && echo gone'"):
        answer = sdk.responses.create(model="m", input=script(shell(command), text("{{stdout}}")))
        assert answer.output_text.strip() == "gone"


@pytest.mark.parametrize("harness", ["codex", "codex-exec"])
def test_more_text_than_the_harness_takes(server, harness):
    """Codex takes 1,048,576 characters a turn: one more is the client's error, and changes nothing."""
    key = f"api:{uuid.uuid4()}"
    sdk = make_sdk(server, default_headers={"X-Centaur-Harness": harness, "X-Centaur-Thread-Key": key})
    words = "Reply PONG "
    longest = words + "ä" * ((1 << 20) - len(words))
    with pytest.raises(openai.BadRequestError) as raised:
        sdk.responses.create(model="m", input=longest + "x")
    assert raised.value.code == "input_too_long" and raised.value.body["param"] == "input"
    assert server.api.show(key).status_code == 404
    assert sdk.responses.create(model="m", input=longest).status == "completed"
