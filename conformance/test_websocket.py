"""A WebSocket on `/v1/responses`: what OpenAI's SDK does with one, and what a client is told on it."""

from __future__ import annotations

import json
import threading
import time
import uuid

import httpx
import pytest
import schema
from centaur_server import until
from conftest import make_sdk
from openai.lib.responses_websocket import ResponsesWebSocketLimits, ResponsesWebSocketSession
from gate import Gate
from scripts import COUNT, script, shell, text
from session_api import WAIT_SECONDS, executions, items, said
from websocket_wire import CLOSE, RawSocket
from wire import final_text

BIG = {"max_lanes": 40, "max_events_per_lane": 1000, "max_events": 4000, "max_bytes_per_lane": 1 << 24, "max_bytes": 1 << 25}
HISTORY = script(text("{{history}}: {{first}}"))


def last(connection):
    """The response that the next events of the SDK's connection tell."""
    for event in connection:
        if event.type in ("response.completed", "response.failed", "response.incomplete"):
            return event.response
        assert event.type != "error", event


def keyed(**more) -> dict:
    """Headers that make a session with a key of the test's own."""
    return {"headers": {"x-centaur-thread-key": f"api:{uuid.uuid4()}", **more}}


# OpenAI's SDK


def test_a_conversation_by_the_sdk(sdk):
    """`client.responses.connect`: turn after turn on one connection, each from the one before."""
    with sdk.responses.connect() as connection:
        connection.response.create(model="gpt-5.5", input="Reply PONG")
        first = last(connection)
        assert first.output_text == "PONG"
        connection.response.create(model="gpt-5.5", input=HISTORY, previous_response_id=first.id)
        second = last(connection)
        assert second.output_text == "2: Reply PONG" and second.previous_response_id == first.id
    # What a socket gave is a response like any other.
    assert sdk.responses.retrieve(second.id).output_text == second.output_text


def test_streams_by_the_sdk(sdk, server):
    """Named streams run at the same time, each in its order, and a fork leaves its source as it was."""
    gate = Gate(server)
    with sdk.responses.connect() as connection, ResponsesWebSocketSession(
        connection, limits=ResponsesWebSocketLimits(**BIG)) as session:
        slow, quick = session.lane("slow"), session.lane("quick")
        slow.send({"type": "response.create", "model": "gpt-5.5", "input": script(shell(gate.command), text("slow"))})
        quick.send({"type": "response.create", "model": "gpt-5.5", "input": "Reply QUICK"})
        assert quick.get_final_response(timeout=WAIT_SECONDS).output_text == "QUICK"
        quick.send({"type": "response.create", "model": "gpt-5.5", "input": "Reply AGAIN"})
        again = quick.get_final_response(timeout=WAIT_SECONDS)
        assert again.output_text == "AGAIN"
        # The slow one is not at its end yet: nobody waited for it.
        assert slow._state.accumulator.final is None
        gate.open()
        assert slow.get_final_response(timeout=WAIT_SECONDS).output_text == "slow"
        session.default.send({
            "type": "response.create", "model": "gpt-5.5", "input": HISTORY, "previous_response_id": again.id})
        assert session.default.get_final_response(timeout=WAIT_SECONDS).output_text == "2: Reply AGAIN"


def test_a_warm_up_by_the_sdk(sdk, server):
    """`generate: false` answers with an id and does nothing; what it was given stands before what continues it."""
    known = server.api.known()
    with sdk.responses.connect() as connection:
        connection.response.create(model="gpt-5.5", generate=False)
        empty = last(connection)
        assert (empty.status, empty.output) == ("completed", [])
        connection.response.create(
            model="gpt-5.5", generate=False, previous_response_id=empty.id,
            input=[{"role": "user", "content": "Say this first."}])
        warm = last(connection)
        assert server.api.known() == known, "a warm-up made a session"
        connection.response.create(model="gpt-5.5", input="Reply WARM", previous_response_id=warm.id)
        response = last(connection)
        assert response.output_text == "WARM" and response.previous_response_id == warm.id
    assert said(server.api.events(server.api.new_session(known))) == ["Say this first.", "Reply WARM"]


# The exchange


def test_the_same_bytes_as_over_http(server):
    """Each message is what follows `data:` in the stream over HTTP, and nothing follows the last."""
    with RawSocket(server.v1) as socket:
        socket.create(script(shell("echo hi"), text("one two three", chunks=3)), reasoning={"summary": "auto"})
        response = socket.response()
        replay = httpx.get(f"{server.v1}/responses/{response['id']}", params={"stream": "true"}).text
        data = [line.removeprefix("data: ") for line in replay.splitlines() if line.startswith("data: ")]
        assert [message.decode() for message in socket.raw] == data[:-1] and data[-1] == "[DONE]"
        # Nothing more comes: the next message is the next response's.
        socket.create("Reply NEXT")
        assert socket.event()["type"] == "response.created"


def test_requests_of_a_stream_wait_for_one_another(server):
    """Three at once, in their order; what belongs to one stream of several says so."""
    with RawSocket(server.v1) as socket:
        for word in ("ONE", "TWO", "THREE"):
            socket.create(f"Reply {word}")
        assert [final_text(socket.response()) for _ in range(3)] == ["ONE", "TWO", "THREE"]
        assert b"stream_id" not in b"".join(socket.raw)
        socket.create("Reply NAMED", stream_id="a-name.1")
        events = socket.answer()
        assert final_text(events[-1]["response"]) == "NAMED"
        assert {event["stream_id"] for event in events} == {"a-name.1"}


def test_stream_may_be_said(server):
    """Codex says `stream`, which means nothing here; nothing else than streams is to be had."""
    with RawSocket(server.v1) as socket:
        socket.create("Reply PONG", stream=False, stream_options={})
        assert final_text(socket.response()) == "PONG"


def test_headers_hold_for_each_request(server):
    """Our own headers in the request for the socket are each request's; an `Idempotency-Key` is none's."""
    key = f"api:{uuid.uuid4()}"
    with RawSocket(
        server.v1, headers={"x-centaur-thread-key": key, "x-centaur-harness": "claude", "idempotency-key": "one"}
    ) as socket:
        socket.create("Reply ONE")
        socket.create("Reply TWO")
        assert [final_text(socket.response()) for _ in range(2)] == ["ONE", "TWO"]
    assert server.api.show(key).json()["harness"] == "claude"
    assert said(server.api.events(key)) == ["Reply ONE", "Reply TWO"]


# What is continued


def test_a_response_that_was_not_to_be_kept(server):
    """`store: false`: its id is good on its socket and nowhere else; else it is good everywhere."""
    with RawSocket(server.v1) as socket, RawSocket(server.v1) as other:
        socket.create("Reply ONE", store=False)
        local = socket.response()["id"]
        socket.create(HISTORY, previous_response_id=local)
        kept = socket.response()
        assert final_text(kept) == "2: Reply ONE"
        other.create("Reply NO", previous_response_id=local)
        error = other.error()
        assert (error["status"], error["error"]["code"], error["error"]["param"]) == (
            400, "previous_response_not_found", "previous_response_id")
        assert schema.socket_error_faults(error) == []
        other.create(HISTORY, previous_response_id=kept["id"])
        assert final_text(other.response()) == "3: Reply ONE"
        other.create("Reply NO", previous_response_id="resp_of_nobody")
        assert other.error()["error"]["code"] == "previous_response_not_found"


def test_a_refused_continuation_forgets_what_it_continued(server):
    """On its own stream: its client is to tell the conversation anew. Another stream's mistake forgets nothing."""
    with RawSocket(server.v1) as socket:
        socket.create("Reply ONE", store=False)
        local = socket.response()["id"]
        socket.create("Reply NO", previous_response_id=local, temperature=99, stream_id="other")
        assert socket.error()["error"]["param"] == "temperature"
        socket.create("Reply TWO", previous_response_id=local)
        assert final_text(socket.response()) == "TWO"
        socket.create("Reply NO", previous_response_id=local, temperature=99)
        error = socket.error()
        assert (error["status"], error["error"]["type"], error["error"]["code"]) == (
            400, "invalid_request_error", "invalid_value")
        socket.create("Reply NO", previous_response_id=local)
        assert socket.error()["error"]["code"] == "previous_response_not_found"


# What is wrong


@pytest.mark.parametrize(
    "message, code, param", [
        ("{", "invalid_json", None), ("", "invalid_json", None), ("[]", "invalid_type", None),
        ("{}", "missing_field", "type"), ('{"type":1}', "invalid_type", "type"),
        ('{"type":"response.cancel"}', "invalid_value", "type"),
        ('{"type":"response.create"}', "missing_field", "input"),
        ('{"type":"response.create","input":"x","background":true}', "unsupported", "background"),
        ('{"type":"response.create","input":"x","generate":"no"}', "invalid_type", "generate"),
        ('{"type":"response.create","input":"x","previous_response_id":1}', "invalid_type", "previous_response_id"),
        ('{"type":"response.create","input":"x","stream_id":""}', "invalid_stream_id", "stream_id"),
        ('{"type":"response.create","input":"x","stream_id":"a b"}', "invalid_stream_id", "stream_id"),
        ('{"type":"response.create","input":"x","stream_id":"%s"}' % ("x" * 257), "invalid_stream_id", "stream_id"),
        ('{"type":"response.create","input":[{"role":"nobody","content":""}]}', "invalid_value", "input[0].role"),
        ("[" * 300, "invalid_json", None),
        # A warm-up echoes what it was given, so that is held to the same.
        ('{"type":"response.create","generate":false,"temperature":"hot","tool_choice":5}', "invalid_type", "temperature"),
        ('{"type":"response.create","generate":false,"tool_choice":5}', "invalid_type", "tool_choice"),
        ('{"type":"response.create","generate":false,"input":[{"type":"dance"}]}', "invalid_value", "input[0].type"),
        ('{"type":"response.create","generate":false,"tools":[{"type":"function","name":"f","parameters":{"type":"string"}}]}',
         "invalid_value", "tools[0].parameters.type"),
        ('{"type":"response.create","generate":false,"metadata":{"a":1}}', "invalid_type", "metadata.a"),
    ])
def test_a_mistake_is_told_and_the_socket_stays(server, message, code, param):
    """An error in the form of the specification, and then everything is as before."""
    with RawSocket(server.v1) as socket:
        socket.say(message)
        error = socket.error()
        assert (error["status"], error["error"]["code"], error["error"].get("param")) == (400, code, param)
        assert schema.socket_error_faults(error) == []
        socket.create("Reply PONG")
        assert final_text(socket.response()) == "PONG"


def test_steering_is_refused_in_its_own_form(sdk):
    """`response.steer` gets the event for it, with what was to be said: the SDK's user may send it as the next request."""
    with sdk.responses.connect() as connection:
        connection.response.steer(previous_response_id="resp_1", input="and this")
        event = connection.recv()
        assert (event.type, event.error.code) == ("response.steer.failed", "steering_not_supported")
        assert (event.steer.previous_response_id, event.steer.input) == ("resp_1", "and this")


@pytest.mark.parametrize(
    "head, status, code", [
        ({"origin": "https://evil.example"}, 403, "foreign_origin"), ({"host": "evil.example"}, 403, "foreign_origin"),
        ({"sec-websocket-key": "short"}, 400, "invalid_value"), ({"sec-websocket-key": ""}, 400, "invalid_value"),
        ({"sec-websocket-version": "12"}, 426, None), ({"upgrade": "h2c"}, 426, None),
        ({"content-length": "3"}, 426, None),
    ])
def test_a_request_that_is_refused(server, head, status, code):
    """It goes the way of every request: our error, no WebSocket, and the connection ends behind the answer."""
    with RawSocket(server.v1, head=head, glued=b"abc" if "content-length" in head else b"") as socket:
        assert socket.status == status and "sec-websocket-accept" not in socket.headers
        body = socket.body()
        if code:
            assert json.loads(body)["error"]["code"] == code
        else:
            assert socket.headers["upgrade"] == "websocket" and socket.headers["sec-websocket-version"] == "13"


def test_without_asking_for_one(server):
    """A `GET` that asks for no upgrade is told that there is one, and its connection goes on."""
    with httpx.Client() as client:
        for _ in range(2):
            answer = client.get(f"{server.v1}/responses")
            assert (answer.status_code, answer.content) == (426, b"")
        assert client.get(f"{server.v1}/models").status_code == 200


# The end


def test_a_turn_goes_on_without_its_socket(server):
    """A client that goes away stops nothing, and finds the answer by its id."""
    head = keyed()
    with RawSocket(server.v1, **head) as socket:
        socket.create(script(shell(f"sleep 1; {COUNT}"), text("done {{stdout}}")))
        response = socket.event()["response"]["id"]
    key = head["headers"]["x-centaur-thread-key"]
    events = server.api.settled(key)
    assert list(executions(events).values()) == ["completed"] and len(items(events, "command")) == 1
    with RawSocket(server.v1) as socket:
        socket.create(HISTORY, previous_response_id=response)
        assert final_text(socket.response()).startswith("2: ")


@pytest.mark.parametrize("clean", [True, False], ids=["closed", "broken off"])
def test_a_turn_that_ends_with_its_socket(server, clean):
    """`X-Centaur-On-Disconnect: cancel` holds here too."""
    head = keyed(**{"x-centaur-on-disconnect": "cancel"})
    with RawSocket(server.v1, **head) as socket:
        socket.create(script(shell("sleep 120"), text("never")))
        key = head["headers"]["x-centaur-thread-key"]
        until(lambda: server.api.show(key).status_code == 200)
        server.api.wait_for_kind(key, "item.started")
        if clean:
            socket.ended()
    assert list(executions(server.api.settled(key)).values()) == ["cancelled"]


def test_a_server_that_shuts_down(make_server):
    """Sockets are closed with a word, at work or not, and the server does not wait for them."""
    server = make_server()
    with RawSocket(server.v1) as idle, RawSocket(server.v1) as busy:
        busy.create(script(shell("sleep 30"), text("late")))
        assert busy.event()["type"] == "response.created"
        begun = time.monotonic()
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        assert idle.close_code() == 1012
        assert busy.close_code() == 1012
        for socket in (idle, busy):
            socket.send(CLOSE, (1012).to_bytes(2, "big"))
        stopping.join()
        assert time.monotonic() - begun < 20, "the server waited for its sockets"


# Limits


def test_a_socket_that_is_old(make_server):
    """What runs is told to its end; then the client is told to connect anew."""
    server = make_server({"limits": {"websocket": "3s"}})
    gate = Gate(server)
    with RawSocket(server.v1) as busy, RawSocket(server.v1) as idle:
        busy.create(script(shell(gate.command), text("done")))
        error = idle.error()
        assert (error["status"], error["error"]["code"]) == (400, "websocket_connection_limit_reached")
        assert idle.close_code() == 1001
        busy.begun()
        # The request that comes too late is refused at once, the response before it goes on.
        busy.create("Reply LATE")
        assert busy.error()["error"]["code"] == "websocket_connection_limit_reached"
        gate.open()
        assert final_text(busy.answer()[-1]["response"]) == "done"
        assert busy.error()["error"]["code"] == "websocket_connection_limit_reached"
        assert busy.close_code() == 1001


def test_how_many_streams_and_requests(make_server):
    """So many streams, so many responses at one time, so many requests that wait; one more is refused."""
    server = make_server({
        "limits": {"websocket_streams": 2, "websocket_responses": 1, "websocket_queue": 2, "body": "64KiB"}})
    gate = Gate(server)
    with RawSocket(server.v1) as socket:
        socket.create(script(shell(gate.command), text("first")), stream_id="a")
        assert socket.begun()["stream_id"] == "a"
        socket.create("Reply SECOND", stream_id="b")
        socket.create("Reply THIRD", stream_id="c")
        error = socket.error()
        assert (error["error"]["code"], error["stream_id"]) == ("websocket_stream_limit_reached", "c")
        socket.create("Reply FOURTH")
        socket.create("Reply FIFTH")
        error = socket.error()
        assert (error["status"], error["error"]["code"]) == (429, "websocket_queue_full")
        assert error["headers"]["retry-after"] == "1"
        gate.open()
        answers = [socket.answer() for _ in range(3)]
        # One at a time: those of different streams did not mix.
        assert [final_text(events[-1]["response"]) for events in answers] == ["first", "SECOND", "FOURTH"]


def test_how_much_may_wait(make_server):
    """What waits is held to the size of one body."""
    server = make_server({"limits": {"body": "64KiB"}})
    gate = Gate(server)
    with RawSocket(server.v1) as socket:
        socket.create(script(shell(gate.command), text("first")))
        socket.begun()
        socket.create("Reply SECOND", padding={"much": "x" * 40_000})
        socket.create("Reply THIRD", padding={"much": "x" * 40_000})
        assert socket.error()["error"]["code"] == "websocket_queue_full"
        gate.open()
        assert final_text(socket.answer()[-1]["response"]) == "first"
        assert final_text(socket.answer()[-1]["response"]) == "SECOND"


def test_sockets_are_connections(make_server):
    """They count: one more than there may be is refused as any request is."""
    server = make_server({"limits": {"connections": 16}})
    sockets = [RawSocket(server.v1) for _ in range(16)]
    try:
        with RawSocket(server.v1) as one_more:
            assert one_more.status == 503
            assert json.loads(one_more.body())["error"]["code"] == "too_many_connections"
        sockets.pop().ended()
        with RawSocket(server.v1) as socket:
            socket.create("Reply PONG")
            assert final_text(socket.response()) == "PONG"
    finally:
        for socket in sockets:
            socket.close()


def test_many_sockets_at_once(server):
    """Each has its own answer."""
    def ask(number: int) -> None:
        with RawSocket(server.v1, timeout=120) as socket:
            socket.create(f"Reply N{number}")
            found[number] = final_text(socket.response())

    found: dict[int, str] = {}
    threads = [threading.Thread(target=ask, args=(number,)) for number in range(17)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: f"N{number}" for number in range(17)}


def test_the_sdk_comes_back_by_itself(make_server):
    """With the SDK's own reconnecting, a server that is replaced is one short pause."""
    server = make_server()
    server.keeps_port = True
    came_back, found = threading.Event(), []
    with make_sdk(server).responses.connect(on_reconnecting=lambda _: came_back.set()) as connection:
        connection.response.create(model="gpt-5.5", input="Reply ONE")
        first = last(connection)
        reader = threading.Thread(target=lambda: found.append(last(connection)), daemon=True)
        reader.start()
        server.stop()
        server.start()
        assert came_back.wait(WAIT_SECONDS)
        until(lambda: not connection._is_reconnecting)
        connection.response.create(model="gpt-5.5", input=HISTORY, previous_response_id=first.id)
        reader.join(WAIT_SECONDS)
        assert [response.output_text for response in found] == ["2: Reply ONE"]
