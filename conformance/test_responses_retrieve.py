"""A response, come back for: by its id, from any event on, in the background, cancelled. With the real OpenAI SDK."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator

import httpx
import openai
import pytest
from centaur_server import CentaurServer
from conftest import make_sdk
from gate import Gate
from scripts import COUNT, script, shell, text
from session_api import WAIT_SECONDS, executions, items
from wire import KEEPALIVE, SSEStream, check_schema, check_stream, final_text, frame
import schema

SUMMARY = {"summary": "auto"}
# Several items of each kind that a stream has: reasoning, narrated commands, a commentary message, the answer in pieces.
WORK = script(
    {"reason": "Looking around.", "pre_text": "First I look.", "shell": "echo one"}, shell("echo two; exit 3"),
    text("one two three four", chunks=4, delay=0.02))
DONE = b"data: [DONE]\n\n"


def path(server: CentaurServer, id: str, rest: str = "") -> str:
    return f"{server.v1}/responses/{id}{rest}"


def frames(body: bytes) -> list[bytes]:
    """The frames of a stream, keep-alives aside: these stand for no event."""
    found = [part + b"\n\n" for part in body.split(b"\n\n") if part]
    return [part for place, part in enumerate(found) if place == 1 or b"event: response.in_progress\n" not in part]


def again(server: CentaurServer, id: str, after: int | None = None, until: int | None = None) -> list[bytes]:
    """The response's frames from an event on, all of them or those up to a number."""
    query = {"stream": "true"} if after is None else {"stream": "true", "starting_after": after}
    seen = []
    with httpx.stream("GET", path(server, id), params=query) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        buffer = b""
        for data in response.iter_raw():
            buffer += data
            while (end := buffer.find(b"\n\n")) >= 0:
                part, buffer = buffer[: end + 2], buffer[end + 2 :]
                seen.append(part)
                if until is not None and part != DONE and number(part) >= until:
                    return seen
    assert not buffer
    return seen


def number(part: bytes) -> int:
    return json.loads(frame(part)[1])["sequence_number"]


def begin(server: CentaurServer, prompt: str = WORK, **more) -> tuple[str, bytes, str]:
    """One response, streamed to its end: its id, its bytes, its session's key."""
    body = {"model": "m", "input": prompt, "stream": True, "reasoning": SUMMARY, "metadata": {"a": "b"}, **more}
    with SSEStream(server.v1, body) as stream:
        answer = stream.all()
    return answer.response["id"], b"".join(stream.raw), answer.key


@pytest.fixture
def key() -> str:
    return f"api:{uuid.uuid4()}"


def running(server: CentaurServer, key: str, prompt: str, **more) -> openai.types.responses.Response:
    """A response in the background, at work in its session."""
    sdk = make_sdk(server, default_headers={"X-Centaur-Thread-Key": key})
    begun = sdk.responses.create(model="m", input=prompt, background=True, **more)
    server.api.wait_for_kind(key, "item.started")
    return begun


def polled(sdk: openai.OpenAI, id: str):
    """As OpenAI's guide does it."""
    deadline = time.monotonic() + WAIT_SECONDS
    while (response := sdk.responses.retrieve(id)).status in ("queued", "in_progress"):
        assert time.monotonic() < deadline, response
        time.sleep(0.1)
    return response


# The whole response


def test_background(sdk, server, key):
    """A program that does not wait is told the response's id at once, and finds the answer there later."""
    begun = sdk.responses.with_raw_response.create(
        model="m", input=script(shell(f"sleep 1; {COUNT}"), text("{{stdout}} done")), background=True,
        extra_headers={"X-Centaur-Thread-Key": key})
    response = begun.parse()
    assert begun.headers["x-centaur-thread-key"] == key
    assert response.status in ("queued", "in_progress") and response.background is True and response.output == []
    check_schema({}, schema.response_faults(begun.http_response.json()))
    done = polled(sdk, response.id)
    assert (done.status, done.output_text, done.background) == ("completed", "1 done", True)
    assert done.usage.total_tokens > 0 and done.completed_at >= done.created_at
    assert list(executions(server.api.events(key)).values()) == ["completed"]


def test_background_streams(sdk):
    """In the background and streamed: the stream is as any other, and says that it is in the background."""
    events = list(sdk.responses.create(model="m", input=script(text("a b", chunks=2)), background=True, stream=True))
    assert events[0].type == "response.created" and events[0].response.background is True
    assert events[-1].type == "response.completed" and events[-1].response.output_text == "a b"
    assert sdk.responses.retrieve(events[0].response.id).to_dict() == events[-1].response.to_dict()


def test_background_is_repeated(server, key):
    """The same request under the same Idempotency-Key is the same response, as far as it has come by then."""
    headers = {"X-Centaur-Thread-Key": key, "Idempotency-Key": str(uuid.uuid4())}
    body = {"model": "m", "input": script(shell(COUNT), text("{{stdout}}")), "background": True}
    first, second = (httpx.post(f"{server.v1}/responses", json=body, headers=headers).json() for _ in range(2))
    assert first["id"] == second["id"]
    assert polled(make_sdk(server), first["id"]).output_text == "1"
    third = httpx.post(f"{server.v1}/responses", json=body, headers=headers).json()
    assert (third["id"], third["status"], final_text(third)) == (first["id"], "completed", "1")
    assert list(executions(server.api.events(key)).values()) == ["completed"]


def test_the_answer_is_kept(sdk, server):
    """Any answer can be read again by its id, streamed or not, and is the same object."""
    whole = sdk.responses.with_raw_response.create(model="m", input="Reply KEPT", temperature=0.3)
    id = whole.parse().id
    found = httpx.get(path(server, id))
    assert found.json() == whole.http_response.json() and found.json()["background"] is False
    assert found.headers["x-centaur-thread-key"] == whole.headers["x-centaur-thread-key"]
    id, raw, _ = begin(server)
    assert httpx.get(path(server, id)).json() == json.loads(frame(frames(raw)[-2])[1])["response"]


def test_what_there_is_so_far(server, sdk, key):
    """Who looks while the agent works sees what is finished and what is being written."""
    prompt = script({"pre_text": "First I look.", "shell": "sleep 60"}, text("never"))
    id = running(server, key, prompt, reasoning=SUMMARY).id
    server.api.wait(key, lambda event: event["kind"] == "item.started" and event["payload"]["type"] == "command")
    response = sdk.responses.retrieve(id)
    assert response.status == "in_progress" and response.usage is None
    done, open_item = response.output
    assert (done.content[0].text, done.status) == ("First I look.\n\n", "completed")
    assert (open_item.type, open_item.status) == ("reasoning", "in_progress")
    assert "Running a command" in open_item.summary[0].text
    check_schema({}, schema.response_faults(httpx.get(path(server, id)).json()))
    assert sdk.responses.cancel(id).status == "cancelled"


def test_one_that_waits(server, sdk, key):
    """A response behind another one is queued, and its turn comes."""
    gate = Gate(server)
    first = running(server, key, script(shell(gate.command), text("one")))
    second = sdk.responses.create(model="m", input="Reply TWO", background=True, previous_response_id=first.id)
    assert sdk.responses.retrieve(second.id).status == "queued"
    gate.open()
    assert polled(sdk, second.id).output_text == "TWO"
    assert sdk.responses.retrieve(first.id).output_text == "one"


def test_a_failed_one(sdk):
    """A response that failed says why, with 200: that it could be read is no failure."""
    begun = sdk.responses.create(model="m", input=script({"error": 400}), background=True)
    response = polled(sdk, begun.id)
    assert response.status == "failed" and response.error.code and response.error.message


def test_steered(server, sdk, key):
    """Each reply of a steered turn can be read by its own id, and streamed from any event on."""
    gate = Gate(server)
    running(server, key, script(shell(gate.command), text("first")))
    steering = {"model": "m", "input": "Reply STEERED", "stream": True}
    with SSEStream(server.v1, steering, {"X-Centaur-Thread-Key": key, "X-Centaur-Busy": "steer"}) as stream:
        gate.open()
        answer = stream.all()
    second = answer.response["id"]
    assert second.endswith("_2") and len(executions(server.api.events(key))) == 1
    assert httpx.get(path(server, second)).json() == answer.response
    assert frames(b"".join(again(server, second))) == frames(b"".join(stream.raw))
    first = sdk.responses.retrieve(second.removesuffix("_2") + "_1")
    assert first.output_text == answer.text and first.background is True


# The stream, from any event on


def test_cut_at_every_event(server):
    """After its end: whatever event a client saw last, what comes is the rest, byte for byte."""
    id, raw, _ = begin(server)
    whole = frames(raw)
    assert {"message", "reasoning"} <= {item["type"] for item in httpx.get(path(server, id)).json()["output"]}
    assert again(server, id) == whole
    for last in range(len(whole) - 1):
        assert number(whole[last]) == last
        assert again(server, id, after=last) == whole[last + 1 :], f"after {last}"
    assert again(server, id, after=len(whole) - 2) == [DONE], "of what is all seen, the end"


def test_cut_at_every_event_while_it_runs(server, key):
    """While it runs: a client that is cut again and again sees every event once, with the bytes of one that stayed."""
    id = running(server, key, script(
        {"reason": "Looking around.", "pre_text": "First I look.", "shell": "sleep 1"}, shell("sleep 1; echo two"),
        text("one two three four five six", chunks=6, delay=0.1)), reasoning=SUMMARY).id
    seen: list[bytes] = []
    while not seen or seen[-1] != DONE:
        last = number(seen[-1]) if seen else None
        seen += again(server, id, after=last, until=0 if last is None else last + 1)
    assert seen == again(server, id)
    check_stream([json.loads(frame(part)[1]) for part in seen[:-1]])


def resumed(sdk: openai.OpenAI, id: str, after: int) -> Iterator:
    return sdk.responses.retrieve(id, stream=True, starting_after=after)


def test_the_sdk_resumes(server, sdk):
    """The SDK, cut at every event while the response runs: both halves together are the whole."""
    cursors = []
    prompt = script(
        {"reason": "Looking.", "shell": "sleep 0.5"}, text("one two three four five six", chunks=6, delay=0.05))
    live = sdk.responses.create(model="m", input=prompt, background=True, stream=True, reasoning=SUMMARY)
    first = [next(live)]
    id = first[0].response.id
    while True:
        cursors.append(first[-1].sequence_number)
        with resumed(sdk, id, cursors[-1]) as rest:
            event = next(iter(rest), None)
        if event is None:
            break
        first.append(event)
    whole = list(live)
    assert [event.to_dict() for event in first] == [first[0].to_dict()] + [event.to_dict() for event in whole]
    for last in cursors:
        halves = [event.to_dict() for event in resumed(sdk, id, last)]
        assert halves == [event.to_dict() for event in first[last + 1 :]]
    # The SDK's own helper reads the whole stream and leaves out what was seen.
    with sdk.responses.stream(response_id=id, starting_after=5) as stream:
        assert next(iter(stream)).sequence_number == 6
        assert stream.get_final_response().output[-1].content[0].text == "one two three four five six"


def test_after_the_server_was_killed(make_server):
    """After kill -9 and a new server on the same data: every cut of a finished response is as before, and so is it."""
    server = make_server()
    id, raw, _ = begin(server)
    whole, response = frames(raw), httpx.get(path(server, id)).json()
    server.kill()
    server.start()
    assert httpx.get(path(server, id)).json() == response
    assert again(server, id) == whole
    for last in range(len(whole) - 1):
        assert again(server, id, after=last) == whole[last + 1 :], f"after {last}"


@pytest.mark.parametrize("at", [1, 4, 12])
def test_the_server_is_killed_in_between(make_server, at):
    """Killed while a client reads: what it saw and what it comes back for are one stream, without a gap or a double."""
    server = make_server()
    body = {"model": "m", "stream": True, "background": True, "reasoning": SUMMARY, "input": script(
        {"reason": "Looking around.", "shell": "echo one"}, text("a b c d e f g h", chunks=8, delay=0.3))}
    with SSEStream(server.v1, body) as stream:
        chunks = stream.chunks()
        seen = [next(chunks)]
        while number(seen[-1]) < at:
            seen.append(next(chunks))
        id = json.loads(frame(seen[0])[1])["response"]["id"]
        server.kill()
    server.start()
    rest = again(server, id, after=number(seen[-1]))
    assert seen + rest == again(server, id)
    check_stream([json.loads(frame(part)[1]) for part in (seen + rest)[:-1]])
    assert polled(make_sdk(server), id).status == "completed"


def test_from_the_future(server, key):
    """A number that is yet to come is waited for: nothing before it is told, and the head of the answer is there."""
    gate = Gate(server)
    id = running(server, key, script(shell(gate.command), text("one two three", chunks=3))).id
    with httpx.stream("GET", path(server, id), params={"stream": "true", "starting_after": 5}) as response:
        assert response.status_code == 200
        assert httpx.get(path(server, id)).json()["status"] == "in_progress", "the head came before the turn's end"
        gate.open()
        late = frames(b"".join([b"x\n\n", b"x\n\n", response.read()]))[2:]
    assert late == again(server, id)[6:] and number(late[0]) == 6


def test_from_a_future_that_never_comes(server, key):
    """A running response that ends before the number that was waited for ends the stream."""
    id = running(server, key, script(shell("sleep 1"), text("short"))).id
    assert again(server, id, after=500) == [DONE]


def test_keep_alives_move_no_cursor(make_server, key):
    """A client that counts by the last number that it saw loses nothing by a keep-alive, and sees nothing twice."""
    server = make_server({"limits": {"keep_alive": "200ms"}})
    id = running(server, key, script(shell("sleep 2"), text("one two", chunks=2)), reasoning=SUMMARY).id
    seen, last = [], None
    while not seen or seen[-1] != DONE:
        part = again(server, id, after=last, until=-1)[0]
        if part != DONE and json.loads(frame(part)[1])["type"] == KEEPALIVE and last not in (None, 0):
            assert number(part) == last, "a keep-alive stands where the client is"
            continue
        seen.append(part)
        last = number(part) if part != DONE else last
    assert seen == frames(b"".join(again(server, id)))
    # The same for one that waits in the future.
    id = running(server, key, script(shell("sleep 1"), text("one"))).id
    waiting = again(server, id, after=300)
    assert len(waiting) > 1 and {number(part) for part in waiting[:-1]} == {300} and waiting[-1] == DONE


@pytest.mark.parametrize("after", [-1, "x", "", "1.5", 100_000])
def test_numbers_that_cannot_be(server, after):
    """A number that no event has is refused by its name, not answered with an empty stream."""
    id, _, _ = begin(server, "Reply X")
    answer = httpx.get(path(server, id), params={"stream": "true", "starting_after": after})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "invalid_value", "starting_after")
    assert answer.headers["x-should-retry"] == "false"


def test_query_parameters(server):
    """Parameters that an agent has no use for do no harm; a `stream` that cannot be is refused."""
    id, raw, _ = begin(server, "Reply X")
    query = {"include[]": "reasoning.encrypted_content", "include_obfuscation": "true", "stream": "true"}
    assert frames(httpx.get(path(server, id), params=query).content) == frames(raw)
    assert httpx.get(path(server, id), params={"stream": "false", "starting_after": 3}).json()["id"] == id
    wrong = httpx.get(path(server, id), params={"stream": "1"})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "stream")


# Cancelled


def test_cancel(server, sdk, key):
    """`cancel` ends the turn, answers when it is over, and may be asked for again."""
    id = running(server, key, script(shell("sleep 120"), text("never"))).id
    cancelled = sdk.responses.cancel(id)
    assert (cancelled.id, cancelled.status) == (id, "cancelled") and cancelled.error is None
    assert list(executions(server.api.events(key)).values()) == ["cancelled"]
    events = server.api.events(key)
    assert sdk.responses.cancel(id).to_dict() == cancelled.to_dict() == sdk.responses.retrieve(id).to_dict()
    assert server.api.events(key) == events, "the second one changed nothing"
    [command] = items(events, "command")
    assert command["status"] != "in_progress"
    assert sdk.responses.create(model="m", input="Reply ON", previous_response_id=id).output_text == "ON"


def test_cancel_one_that_waits(server, sdk, key):
    """A response that waits is cancelled without being run; the one before it goes on."""
    gate = Gate(server)
    first = running(server, key, script(shell(gate.command), text("one")))
    second = sdk.responses.create(model="m", input="Reply TWO", background=True, previous_response_id=first.id)
    assert sdk.responses.cancel(second.id).status == "cancelled"
    gate.open()
    assert polled(sdk, first.id).output_text == "one"
    assert list(executions(server.api.events(key)).values()) == ["completed", "cancelled"]


def test_cancel_one_that_is_over(server, sdk):
    """What is over stays as it is."""
    done = sdk.responses.create(model="m", input="Reply DONE")
    assert sdk.responses.cancel(done.id).to_dict() == done.to_dict()


def test_cancel_ends_the_stream(server, sdk, key):
    """Who reads the stream of a response that is cancelled sees its end, and who comes back the same."""
    id = running(server, key, script(shell("sleep 120"), text("never"))).id
    with sdk.responses.retrieve(id, stream=True) as stream:
        seen = [next(iter(stream))]
        sdk.responses.cancel(id)
        seen += list(stream)
    assert seen[-1].type == "response.incomplete"
    assert [event.to_dict() for event in sdk.responses.retrieve(id, stream=True)] == [event.to_dict() for event in seen]


# Nothing there


def test_unknown_ids(server, sdk):
    """An id that was never given is a 404 in this API's form, whatever is asked of it."""
    for ask in (
        lambda: sdk.responses.retrieve("resp_none_1"), lambda: sdk.responses.cancel("resp_none_1"),
        lambda: sdk.responses.retrieve("resp_none_1", stream=True, starting_after=3)):
        with pytest.raises(openai.NotFoundError) as raised:
            ask()
        assert (raised.value.code, raised.value.param) == ("response_not_found", "response_id")
        assert raised.value.response.headers["x-should-retry"] == "false"


def test_other_methods(server):
    """A method that there is not is a 404 like everywhere, and does nothing."""
    id, _, _ = begin(server, "Reply X")
    for method, rest in (("PUT", ""), ("POST", ""), ("GET", "/cancel"), ("DELETE", "/cancel"), ("POST", "/input_items")):
        answer = httpx.request(method, path(server, id, rest))
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found"), (method, rest)
    assert httpx.head(path(server, id)).status_code == httpx.head(f"{server.v1}/models").status_code
