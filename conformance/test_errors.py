"""What goes wrong is said in the caller's own dialect, and leaves the log whole."""

import json
import re
import uuid

import httpx
import openai
import pytest
from codex_cli import CodexHome
from conftest import make_sdk
from scripts import script, shell, text
from session_api import TERMINAL, executions
from wire import SSEStream, check_stream


def post(server, body: bytes | dict, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.post(
        f"{server.v1}/responses", content=content, headers={"content-type": "application/json", **headers})


BAD_REQUESTS = {
    "no JSON": (b"{not json", 400, "invalid_json", None),
    "cut JSON": (b'{"model":"m","input":"x"', 400, "invalid_json", None),
    "not UTF-8": (b'{"input":"\xff\xfe"}', 400, "invalid_json", None),
    "an array": (b"[]", 400, "invalid_type", None),
    "empty body": (b"", 400, "invalid_json", None),
    "no input": ({"model": "m"}, 400, None, "input"),
    "input a number": ({"model": "m", "input": 7}, 400, "invalid_type", "input"),
    "empty text": ({"model": "m", "input": ""}, 400, "empty_input", "input"),
    "empty list": ({"model": "m", "input": []}, 400, "empty_input", "input"),
    "an item that is no object": ({"model": "m", "input": [7]}, 400, "invalid_type", "input[0]"),
    "stream a text": ({"model": "m", "input": "x", "stream": "yes"}, 400, "invalid_type", "stream"),
    "model a number": ({"model": 5, "input": "x"}, 400, "invalid_type", "model"),
    "temperature too high": ({"model": "m", "input": "x", "temperature": 9}, 400, "invalid_value", "temperature"),
    "an image by address": (
        {"model": "m", "input": [{"role": "user", "content": [
            {"type": "input_image", "image_url": "http://127.0.0.1:9/x.png"}]}]}, 400, "unsupported", None),
    "background": ({"model": "m", "input": "x", "background": "yes"}, 400, "invalid_type", "background"),
    "unknown previous response": (
        {"model": "m", "input": "x", "previous_response_id": "resp_none_1"}, 404, "previous_response_not_found",
        "previous_response_id"),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_bad_requests(server, name):
    """A request that is wrong is told what is wrong with it, and leaves no session."""
    body, status, code, parameter = BAD_REQUESTS[name]
    known = server.api.known()
    answer = post(server, body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["message"] and error["type"], error
    if code:
        assert error["code"] == code, error
    if parameter:
        assert error["param"] == parameter, error
    assert server.api.known() == known


@pytest.mark.parametrize(
    "key, code", [
        ("api:" + "x" * 600, "thread_key_too_long"), ("nocolon", "thread_key_malformed"),
        (":x", "thread_key_malformed"), ("api:", "thread_key_malformed"), ("api:tab\tin", "thread_key_malformed")],
    ids=["too long", "no colon", "no source", "no id", "a control character"])
def test_thread_keys_that_cannot_be(server, key, code):
    """A thread key that cannot be is refused, never cut or repaired."""
    answer = post(server, {"model": "m", "input": "x"}, **{"X-Centaur-Thread-Key": key})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
    answer = server.api.create(key)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)


def test_thread_key_at_its_limit(server):
    """512 bytes are a thread key, 513 are not."""
    fits = "api:" + "k" * 508
    assert server.api.create(fits).status_code == 201
    assert server.api.create(fits + "k").status_code == 400


def test_body_limit(directory, make_server):
    """A body over the limit is refused with 413, one at the limit is not; Codex's user reads why."""
    server = make_server({"limits": {"body": "16KiB"}})
    frame = len(json.dumps({"model": "m", "input": "Reply FITS", "padding": {"pad": ""}}))
    for size, status in ((16 * 1024, 200), (16 * 1024 + 1, 413)):
        pad = "p" * (size - frame)
        answer = post(server, {"model": "m", "input": "Reply FITS", "padding": {"pad": pad}})
        assert len(answer.request.content) == size
        assert answer.status_code == status, answer.text[:500]
    assert answer.json()["error"]["code"] == "body_too_large"
    with pytest.raises(openai.APIStatusError) as raised:
        make_sdk(server).responses.create(model="m", input="x" * 20_000)
    assert raised.value.status_code == 413
    run = CodexHome(directory / "user", server.v1).exec("Reply FITS")
    assert run.status != 0 and "16384" in run.stderr + run.stdout


def test_unknown_paths_and_methods(server):
    """A wrong address is told so, in JSON."""
    for method, path, status in (
        ("GET", "/v1/nothing", 404), ("POST", "/nothing", 404), ("DELETE", "/v1/responses", (404, 405)),
        ("GET", "/v1/responses", (404, 405, 426))):
        answer = httpx.request(method, f"{server.url}{path}")
        assert answer.status_code in (status if isinstance(status, tuple) else (status,)), (path, answer.status_code)
        if answer.status_code != 426:
            assert answer.json()["error"]["message"]


def test_websocket_is_declined_as_codex_expects(server):
    """A client of another WebSocket than there is, is sent to HTTP at once, as Codex takes it."""
    answer = httpx.get(
        f"{server.v1}/responses", headers={
            "connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "99",
            "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="})
    assert answer.status_code == 426


PROVIDER_ERRORS = {
    "401": ({"error": 401}, "provider_authentication"),
    "429": ({"error": 429}, "provider_rate_limit"),
    "500": ({"error": 500}, "provider_unavailable"),
    "dropped stream": ({"text": "half of it", "drop": True}, "provider_stream_cut"),
    "context too long": ({"fail": "context_length_exceeded"}, "context_window_exceeded"),
}


def failure_of(server, key: str) -> dict:
    """The error of the session's only execution, which ended once, as failed."""
    events = server.api.events(key)
    assert list(executions(events).values()) == ["failed"]
    [failed] = [event for event in events if event["kind"] in TERMINAL]
    open_items = {event["payload"]["item_id"] for event in events if event["kind"] == "item.started"}
    closed = {event["payload"]["item_id"] for event in events if event["kind"] == "item.completed"}
    assert open_items == closed, "an item was left open"
    return failed["payload"]["error"]


@pytest.mark.parametrize("name", PROVIDER_ERRORS)
def test_provider_errors_for_codex(codex, server, name):
    """When the model's provider fails, a Codex user reads why, and the agent is not run again for it."""
    step, code = PROVIDER_ERRORS[name]
    run = codex.exec("--json", script(step))
    assert run.status == 1
    error = failure_of(server, run.key)
    assert error["code"] == code and error["message"]
    [failed] = [event for event in run.events if event["type"] == "turn.failed"]
    if code != "context_window_exceeded":
        assert error["message"] in failed["error"]["message"]
    again = codex.resume(run.session, "Reply STILL").ok()
    assert again.answer == "STILL"


@pytest.mark.parametrize("name", PROVIDER_ERRORS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streaming"])
def test_provider_errors_for_a_program(server, name, stream):
    """When the model's provider fails, the SDK raises or the stream says so, with our code."""
    step, code = PROVIDER_ERRORS[name]
    key = f"api:{uuid.uuid4()}"
    headers = {"X-Centaur-Thread-Key": key}
    body = {"model": "m", "input": script(step), "stream": stream}
    if stream:
        with SSEStream(server.v1, body, headers) as answer:
            events = list(answer.events())
        check_stream(events)
        assert events[-1]["type"] == "response.failed"
        assert events[-1]["response"]["error"]["code"] == code
    else:
        with pytest.raises(openai.APIStatusError) as raised:
            make_sdk(server, default_headers=headers).responses.create(model="m", input=script(step))
        assert raised.value.code == code
        assert raised.value.status_code in (400, 401, 413, 424, 429, 500, 502, 503), raised.value.status_code
    assert failure_of(server, key)["code"] == code


def test_a_passing_provider_error_is_not_the_users(codex, server):
    """One failed model call is tried again; the user sees the answer, the log a warning."""
    run = codex.exec(script({"error": 500, "times": 1}, text("made it"))).ok()
    assert run.answer == "made it"
    events = server.api.events(run.key)
    assert list(executions(events).values()) == ["completed"]


def test_a_harness_that_dies(codex, server):
    """An agent whose process dies in a turn fails that turn, and the next one gets a new process."""
    run = codex.exec("--json", script(shell("kill -9 $PPID; sleep 30"), text("never")))
    assert run.status == 1
    error = failure_of(server, run.key)
    assert error["code"] == "harness_died"
    assert error["message"] in str(run.events[-1])
    again = codex.resume(run.session, script(text("{{history}}")))
    assert again.ok().answer == "2", "the new process goes on in the same conversation"


@pytest.mark.parametrize("binary", ["/nonexistent/codex", "/bin/false", "/bin/cat"])
def test_a_harness_that_does_not_start(directory, make_server, binary):
    """A server whose harness cannot start says so to each client, and stays up."""
    server = make_server({"harnesses": {"codex": {"binary": binary}}, "limits": {"harness_start": "3s"}})
    run = CodexHome(directory / "user", server.v1).exec("--json", "Reply PONG")
    assert run.status == 1
    error = failure_of(server, run.key)
    assert error["code"] == "harness_start_failed" and error["message"] in str(run.events[-1])
    with pytest.raises(openai.APIStatusError) as raised:
        make_sdk(server).responses.create(model="m", input="Reply PONG")
    assert raised.value.code == "harness_start_failed" and raised.value.status_code >= 500
    assert httpx.get(f"{server.url}/healthz").status_code == 200


def test_turn_time_limit(directory, make_server):
    """A turn over its time is ended, with its command; the session goes on."""
    # The next turn is to come to its end in that time.
    server = make_server({"limits": {"turn": "15s"}})
    user = CodexHome(directory / "user", server.v1)
    run = user.exec("--json", script(shell("sleep 61; echo x"), text("never")))
    assert run.status == 1
    error = failure_of(server, run.key)
    assert error["code"] == "turn_time_limit" and error["message"] in str(run.events[-1])
    assert user.resume(run.session, "Reply ON").ok().answer == "ON"


def test_a_model_that_hangs_does_not_outlast_the_limit(make_server):
    """A provider that never answers costs a turn its time limit, not more."""
    server = make_server({"limits": {"turn": "3s"}})
    with pytest.raises(openai.APIStatusError) as raised:
        make_sdk(server).responses.create(model="m", input=script({"hang": 40}, text("never")))
    assert raised.value.code == "turn_time_limit"


def test_no_error_shows_what_is_inside(server):
    """Error texts name no path of this machine and no key."""
    answers = [post(server, body).text for body, *_ in BAD_REQUESTS.values()]
    answers.append(server.api.show("api:nobody").text)
    for answer in answers:
        assert not re.search(r"/tmp/|/work/|\.swift|sk-|Optional\(", answer), answer
