"""`POST /v1/messages` on the wire: the stream's rules, what is refused and how, bodies that are almost right."""

import concurrent.futures
import json
import random
import re
import uuid

import httpx
import pytest
from files import image_block
from fuzzing import bodies
from messages_wire import PING, MessagesStream, answer_of, blocks, check_message
from scripts import COUNT, script, shell, text
from session_api import executions, items, kinds, said
from test_errors import failure_of

THINKING = {"type": "adaptive"}
JSON = {"content-type": "application/json"}


def user(prompt: str, **more) -> dict:
    return {"model": "m", "max_tokens": 1000, "messages": [{"role": "user", "content": prompt}], **more}


def claude_code(session: str | None = None) -> dict[str, str]:
    """The headers by which Claude Code is known."""
    return {
        "user-agent": "claude-cli/2.1.330 (external, sdk-cli)",
        "x-claude-code-session-id": session or str(uuid.uuid4())}


def post(server, body: bytes | dict, path: str = "/messages", **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.post(f"{server.v1}{path}", content=content, headers={**JSON, **headers})


STEPS = script(
    {"reason": "Looking around.", "pre_text": "First.", "shell": "echo one"}, shell("echo two >&2; exit 3"),
    {"patch": "*** Begin Patch\n*** Add File: new.txt\n+hello\n*** End Patch"},
    text("a b c d e f", chunks=6, delay=0.01))


@pytest.mark.parametrize("caller", ["Claude Code", "a program that asks for thinking", "a program"])
def test_stream_keeps_the_rules(server, harness, caller):
    """Every event is in order, one frame a write, for each kind of client; it sees of the work what is meant for it."""
    headers = {"x-centaur-harness": harness, **(claude_code() if caller == "Claude Code" else {})}
    body = user(STEPS, stream=True, **({} if caller == "a program" else {"thinking": THINKING}))
    with MessagesStream(server.v1, body, headers) as stream:
        message = stream.all()
    assert message.text == "a b c d e f"
    kinds_ = [block["type"] for block in message.blocks]
    shown = str(message.blocks)
    if caller == "a program":
        assert message.texts == ["First.", "a b c d e f"] and set(kinds_) == {"text"}
    else:
        assert kinds_[0] == "thinking" and message.blocks[0]["thinking"] == "Looking around."
        assert "echo one" in shown and "exit 3" in shown and "new.txt" in shown
    assert len(items(server.api.events(message.key), "command")) >= 2


@pytest.mark.parametrize("query", ["", "?beta=true"])
def test_with_and_without_beta(server, query):
    """Both addresses that clients use are served, streamed and whole."""
    whole = post(server, user("Reply PONG"), f"/messages{query}").raise_for_status()
    check_message(whole.json())
    assert answer_of(whole.json()) == "PONG" and whole.headers["request-id"].startswith("req_")
    assert whole.headers["x-centaur-thread-key"].startswith("api:")
    counted = post(server, user("x" * 4000), f"/messages/count_tokens{query}").raise_for_status()
    assert 500 < counted.json()["input_tokens"] < 2000


def test_replay_is_the_live_stream(server):
    """Who comes back with the same request gets the same bytes, while it runs and after it; streamed or whole."""
    headers = claude_code()
    body = user(STEPS, stream=True, thinking=THINKING)

    def raw(changed: dict | None = None) -> tuple[bytes, list[dict]]:
        with MessagesStream(server.v1, {**body, **(changed or {})}, headers) as stream:
            message = stream.all()
            return stream.without_pings(), message.blocks

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        live = [future.result() for future in [pool.submit(raw) for _ in range(3)]]
    assert live[0] == live[1] == live[2] == raw()
    assert raw({"max_tokens": 64_000, "tools": [{"name": "Bash", "input_schema": {}}]}) == live[0]
    whole = post(server, {**body, "stream": False}, **headers).raise_for_status().json()
    check_message(whole)
    assert whole["content"] == live[0][1]
    events = server.api.events(f"api:claude:{headers['x-claude-code-session-id']}")
    assert list(executions(events).values()) == ["completed"] and said(events) == [STEPS]


def test_pings_while_the_agent_is_silent(make_server):
    """A silent agent is no silent stream: the client is told that somebody is there."""
    server = make_server({"limits": {"keep_alive": "200ms"}})
    with MessagesStream(server.v1, user(script(shell("sleep 1"), text("late")), stream=True)) as stream:
        message = stream.all()
    assert message.text == "late"
    assert message.events.count(PING) >= 4


def test_history_in_other_spelling_is_the_same_request(server):
    """Claude Code writes the same conversation in other ways each time; a retry is known through all of them."""
    headers = claude_code()
    prompt = script(shell(COUNT), text("{{stdout}}"))
    first = {"role": "user", "content": [
        {"type": "text", "text": "<system-reminder>be kind</system-reminder>"}, {"type": "text", "text": prompt}]}
    cached = {"cache_control": {"type": "ephemeral"}}
    system = {"role": "system", "content": [{"type": "text", "text": "# Env", **cached}]}
    for messages in (
        [first, system], [{"role": "user", "content": prompt}],
        [{"role": "user", "content": [{"type": "text", "text": f"{prompt}\n", **cached}]}],
        [{"role": "system", "content": "# Env"}, first]):
        answer = post(server, {"model": "m", "max_tokens": 9, "messages": messages}, **headers).raise_for_status()
        assert answer_of(answer.json()) == "1"


def test_session_of_the_metadata(server):
    """Where a proxy drops the header, the session's name is found in the metadata."""
    session = str(uuid.uuid4())
    metadata = {"user_id": json.dumps({"device_id": "d", "account_uuid": "", "session_id": session})}
    answer = post(server, user("Reply X", metadata=metadata), **{"user-agent": "claude-cli/2.1.330 (external, cli)"})
    assert answer.headers["x-centaur-thread-key"] == f"api:claude:{session}"


def test_nudges_start_nothing(server):
    """What the client says by itself when it did not like an answer is answered with that turn again."""
    headers = claude_code()
    prompt = script(shell(COUNT), text("ran {{stdout}}"))
    first = [{"role": "user", "content": prompt}]
    told = post(server, {"model": "m", "messages": first}, **headers).raise_for_status().json()
    for nudge in (
        "Your response above was cut off mid-stream. Resume directly from where it stops",
        "[Your previous response had no visible output. Please continue]",
        "Output token limit hit. Resume directly", "Stop hook feedback:\n[x]: no"):
        messages = [*first, {"role": "assistant", "content": told["content"][:1]}, {"role": "user", "content": nudge}]
        answer = post(server, {"model": "m", "messages": messages}, **headers).raise_for_status().json()
        check_message(answer)
        assert answer_of(answer) == "ran 1" and len(answer["content"]) == 1, "what the client has is left out"
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "x", "is_error": True}
    messages = [*first, {"role": "assistant", "content": told["content"]}, {"role": "user", "content": [result]}]
    answer = post(server, {"model": "m", "messages": messages}, **headers).raise_for_status().json()
    assert answer_of(answer) == "ran 1"
    events = server.api.events(f"api:claude:{headers['x-claude-code-session-id']}")
    assert list(executions(events).values()) == ["completed"] and said(events) == [prompt]


def test_no_tool_is_ever_called(server):
    """An agent that writes a tool call into its answer moves no hand on the user's machine."""
    trap = json.dumps({"type": "tool_use", "id": "t", "name": "Bash", "input": {"command": "touch /tmp/pwned"}})
    tools = [{"name": "Bash", "input_schema": {"type": "object"}}]
    for headers in (claude_code(), {}):
        body = user(script(text(trap.replace('"', "'"))), stream=True, tools=tools)
        with MessagesStream(server.v1, body, headers) as stream:
            assert {block["type"] for block in stream.all().blocks} == {"text"}


def test_structured_output_only_where_it_is_asked_for(server):
    """JSON is a structured answer for a Claude Code that lists the tool for it, and text for everybody else."""
    tool = {"name": "StructuredOutput", "input_schema": {"type": "object", "properties": {"n": {"type": "integer"}}}}
    body = user(script(text('{"n": 3}')), stream=True)
    for headers, tools, expected in (
        (claude_code(), [tool], "tool_use"), (claude_code(), [], "text"), ({}, [tool], "text")):
        with MessagesStream(server.v1, {**body, "tools": tools}, headers) as stream:
            assert stream.all().blocks[-1]["type"] == expected


@pytest.mark.parametrize("caller", ["Claude Code", "a program"])
def test_usage(server, caller):
    """The figures are the size of the conversation; for Claude Code never so large that it refuses to go on."""
    usage = {"input_tokens": 200_000, "cached_tokens": 1000, "cache_write_tokens": 2000, "output_tokens": 500}
    headers = claude_code() if caller == "Claude Code" else {}
    with MessagesStream(server.v1, user(script(text("big", usage=usage)), stream=True), headers) as stream:
        message = stream.all()
    told = message.usage
    if caller == "a program":
        assert told == {
            "input_tokens": 197_000, "cache_read_input_tokens": 1000, "cache_creation_input_tokens": 2000,
            "output_tokens": 500}
    else:
        assert sum(told.values()) == 150_000 and told["output_tokens"] == 500
    [delta] = [event for event in message.events if event["type"] == "message_delta"]
    assert delta["centaur_usage"]["sum"]["input_tokens"] == 200_000


BAD_REQUESTS = {
    "no JSON": (b"{not json", "invalid_json", None),
    "cut JSON": (b'{"model":"m","messages":[', "invalid_json", None),
    "not UTF-8": (b'{"messages":"\xff\xfe"}', "invalid_json", None),
    "an array": (b"[]", "invalid_type", None),
    "empty body": (b"", "invalid_json", None),
    "no messages": ({"model": "m"}, None, "messages"),
    "messages a text": ({"model": "m", "messages": "x"}, "invalid_type", "messages"),
    "no message": ({"model": "m", "messages": []}, "empty_input", "messages"),
    "empty text": (user(""), "empty_input", "messages"),
    "no blocks": (user([]), "empty_input", "messages"),
    "only the assistant": (
        {"model": "m", "messages": [{"role": "assistant", "content": "x"}]}, "empty_input", "messages"),
    "a message that is no object": ({"model": "m", "messages": [7]}, "invalid_type", "messages[0]"),
    "no role": ({"model": "m", "messages": [{"content": "x"}]}, None, "messages[0].role"),
    "another role": ({"model": "m", "messages": [{"role": "king", "content": "x"}]}, None, "messages[0].role"),
    "no content": ({"model": "m", "messages": [{"role": "user"}]}, None, "messages[0].content"),
    "content a number": (user(7), "invalid_type", "messages[0].content"),
    "a block without a type": (user([{"text": "x"}]), None, "messages[0].content[0].type"),
    "stream a text": (user("x", stream="yes"), "invalid_type", "stream"),
    "model a number": ({**user("x"), "model": 5}, "invalid_type", "model"),
    "system a number": (user("x", system=5), "invalid_type", "system"),
    "max_tokens nothing": (user("x", max_tokens=0), "invalid_value", "max_tokens"),
    "temperature too high": (user("x", temperature=9), "invalid_value", "temperature"),
    "tools an object": (user("x", tools={}), "invalid_type", "tools"),
    "an image by address": (
        user([{"type": "image", "source": {"type": "url", "url": "http://127.0.0.1:9/x.png"}}]), "unsupported",
        "messages[0].content[0].source"),
    "an image without data": (
        user([{"type": "image", "source": {"type": "base64", "media_type": "image/png"}}]), "missing_field",
        "messages[0].content[0].source"),
    "an image that is no base64": (
        user([{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "###"}}]),
        "invalid_value", "messages[0].content[0].source.data"),
    "an image of another kind": (
        user([{"type": "image", "source": {"type": "base64", "media_type": "image/tiff", "data": "AAAA"}}]),
        "invalid_value", "messages[0].content[0].source.media_type"),
    "a document that is no base64": (
        user([{"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "a b"}}]),
        "invalid_value", "messages[0].content[0].source.data"),
    "an uploaded file": (
        user([{"type": "document", "source": {"type": "file", "file_id": "file_1"}}]), "unsupported",
        "messages[0].content[0].source"),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
@pytest.mark.parametrize("caller", ["a program", "Claude Code"])
def test_bad_requests(server, name, caller):
    """A request that is wrong is told what is wrong with it, in Anthropic's words, and leaves no session."""
    body, code, parameter = BAD_REQUESTS[name]
    known = server.api.known()
    answer = post(server, body, **(claude_code() if caller == "Claude Code" else {}))
    assert answer.status_code == 400, answer.text
    told = answer.json()
    assert told["type"] == "error" and told["request_id"] == answer.headers["request-id"]
    error = told["error"]
    assert error["type"] == "invalid_request_error" and error["message"], error
    assert error["code"] == (code or error["code"]) and error["param"] == (parameter or error["param"]), error
    assert server.api.known() == known
    assert not re.search(r"/tmp/|/work/|\.swift|Optional\(", answer.text), answer.text


@pytest.mark.parametrize(
    "key, code", [
        ("api:" + "x" * 600, "thread_key_too_long"), ("nocolon", "thread_key_malformed"),
        (":x", "thread_key_malformed"), ("api:", "thread_key_malformed"), ("api:tab\tin", "thread_key_malformed")],
    ids=["too long", "no colon", "no source", "no id", "a control character"])
def test_thread_keys_that_cannot_be(server, key, code):
    """A thread key that cannot be is refused, never cut or repaired."""
    answer = post(server, user("x"), **{"X-Centaur-Thread-Key": key})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)


def test_a_session_id_that_cannot_be_a_key(server):
    """A client's session id that cannot name a session is refused like any other thread key."""
    answer = post(server, user("x"), **claude_code("x" * 600))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "thread_key_too_long")


def test_body_limit(make_server):
    """A body over the limit is refused, one at the limit is not; Claude Code, which hides a 413, is told by a 400."""
    server = make_server({"limits": {"body": "16KiB"}})
    frame = len(json.dumps(user("Reply FITS", metadata={"pad": ""})))
    for size, headers, status in (
        (16 * 1024, {}, 200), (16 * 1024 + 1, {}, 413), (16 * 1024 + 1, claude_code(), 400)):
        answer = post(server, user("Reply FITS", metadata={"pad": "p" * (size - frame)}), **headers)
        assert len(answer.request.content) == size
        assert answer.status_code == status, answer.text[:500]
        if status != 200:
            error = answer.json()["error"]
            assert (error["type"], error["code"]) == ("request_too_large", "body_too_large")
            assert answer.headers["x-should-retry"] == "false"


def test_a_full_server_says_when_to_come_back(make_server):
    """A server at its limit of turns refuses with 503 and the time to wait, and nothing of the request is kept."""
    server = make_server({"limits": {"turns": 1, "sandboxes": 1}})
    with MessagesStream(server.v1, user(script(shell("sleep 120"), text("x")), stream=True)) as stream:
        key = stream.headers["x-centaur-thread-key"]
        server.api.wait_for_kind(key, "item.started")
        known = server.api.known()
        answer = post(server, user("Reply X"))
        assert answer.status_code == 503 and int(answer.headers["retry-after"]) > 0
        assert "x-should-retry" not in answer.headers
        assert answer.json()["error"]["type"] == "overloaded_error"
        assert server.api.known() == known
        server.api.interrupt(key).raise_for_status()
        assert stream.all().error["code"] == "turn_cancelled"
    assert answer_of(post(server, user("Reply X")).raise_for_status().json()) == "X"


@pytest.mark.parametrize("caller", ["Claude Code", "a program"])
def test_a_failure_after_output(server, caller):
    """A turn that fails in its middle closes what is open and says why, in the form that ends the client's turn."""
    step, code = {"text": "half of it", "drop": True}, "provider_stream_cut"
    headers = claude_code() if caller == "Claude Code" else {}
    with MessagesStream(server.v1, user(script(shell("echo x"), step), stream=True), headers) as stream:
        message = stream.all()
    error = message.error
    assert error["code"] == code
    assert error["type"] == ("invalid_request_error" if caller == "Claude Code" else "api_error")
    assert failure_of(server, message.key)["message"] == error["message"]
    if caller == "Claude Code":
        assert message.blocks, "an error before any block would be asked for again"


@pytest.mark.parametrize("caller", ["Claude Code", "a program"])
def test_a_failure_without_streaming(server, caller):
    """A failed turn without streaming is a status with our reason, and is not to be repeated by itself."""
    headers = claude_code() if caller == "Claude Code" else {}
    answer = post(server, user(script({"error": 401})), **headers)
    assert answer.status_code == 502 and answer.headers["x-should-retry"] == "false"
    assert answer.json()["error"]["code"] == "provider_authentication"


def test_models(server):
    """The list of models serves both SDKs and Codex; a model that is not there is a 404 in the caller's dialect."""
    listed = httpx.get(f"{server.v1}/models?limit=1000", headers={"anthropic-version": "2023-06-01"}).json()
    ids = [model["id"] for model in listed["data"]]
    assert ids and (listed["first_id"], listed["last_id"], listed["has_more"]) == (ids[0], ids[-1], False)
    for model in listed["data"]:
        assert model["type"] == "model" and model["display_name"] and model["created_at"]
    assert [model["slug"] for model in listed["models"]] == ids
    one = httpx.get(f"{server.v1}/models/{ids[0]}").json()
    assert one == listed["data"][0]
    missing = httpx.get(f"{server.v1}/models/nobody", headers={"anthropic-version": "2023-06-01"})
    assert missing.status_code == 404
    assert missing.json()["type"] == "error" and missing.json()["error"]["type"] == "not_found_error"
    assert "type" not in httpx.get(f"{server.v1}/models/nobody").json(), "OpenAI's form for the others"


def test_somebody_is_there(server):
    """Claude Code's look whether there is a server at all is answered."""
    for path in ("/", "/api/hello"):
        assert httpx.head(f"{server.url}{path}").status_code == 200


def test_counting_tokens(server):
    """A token count is an estimate of what is there, costs no session, and a wrong request is told so."""
    known = server.api.known()
    small = post(server, user("x"), "/messages/count_tokens").json()["input_tokens"]
    much = user("word " * 2000, system="be kind " * 1000)
    large = post(server, much, "/messages/count_tokens").json()["input_tokens"]
    picture = post(server, user([image_block()]), "/messages/count_tokens").json()["input_tokens"]
    assert 0 < small < 20 and 3000 < large < 8000 and picture > 100
    assert post(server, {"messages": []}, "/messages/count_tokens").status_code == 400
    assert server.api.known() == known


BASE = {
    "model": "m", "stream": False, "max_tokens": 1000, "temperature": 1,
    "system": [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.330.a71"}, {"type": "text", "text": "y"}],
    "metadata": {"user_id": json.dumps({"session_id": "s"})}, "thinking": {"type": "adaptive", "display": "omitted"},
    "output_config": {"effort": "medium"}, "context_management": {"edits": [{"type": "clear_thinking_20251015"}]},
    "tools": [{"name": "Bash", "description": "d", "input_schema": {"type": "object"}}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "<system-reminder>r</system-reminder>"},
                                     {"type": "text", "text": "earlier"}]},
        {"role": "system", "content": "environment"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "t", "signature": "s"}, {"type": "text", "text": "said"},
            {"type": "tool_use", "id": "t", "name": "Bash", "input": {"command": "ls"}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "o"}]},
            image_block(), {"type": "text", "text": "Reply OK", "cache_control": {"type": "ephemeral"}},
            {"type": "text", "text": "[Image: source: /x.png]"}]},
    ],
}


@pytest.mark.parametrize("caller", ["Claude Code", "a program"])
@pytest.mark.parametrize("seed", range(3))
def test_fuzzed_bodies(make_server, seed, caller):
    """No body, however wrong, brings the server down or gets anything but an answer or an error object."""
    server = make_server()
    session = f"fuzz-{seed}"
    named = claude_code(session) if caller == "Claude Code" else {"x-centaur-thread-key": f"api:{session}"}
    headers = {**JSON, **named}
    key = f"api:claude:{session}" if caller == "Claude Code" else f"api:{session}"
    with httpx.Client() as client:
        for number, content in enumerate(bodies(random.Random(seed), BASE, 60)):
            path = "messages/count_tokens" if number % 10 == 9 else "messages"
            answer = client.post(f"{server.v1}/{path}?beta=true", content=content, headers=headers)
            assert answer.status_code < 500, (number, content, answer.text)
            if answer.headers["content-type"].startswith("text/event-stream"):
                assert answer.text.rstrip().endswith("}"), (number, content)
            elif answer.status_code == 200 and path == "messages":
                assert answer.json()["content"], (number, content)
            elif answer.status_code == 200:
                assert answer.json()["input_tokens"] > 0, (number, content)
            else:
                assert answer.json()["type"] == "error" and answer.json()["error"]["message"], (number, content)
    assert httpx.get(f"{server.url}/healthz").status_code == 200
    if server.api.show(key).status_code == 200:
        events = server.api.events(key)
        assert set(executions(events).values()) <= {"completed", "failed", "cancelled"}
        assert "session.created" in kinds(events)


def test_the_checks_see_faults():
    """The checks of this suite do see a fault: a stream without an end, a text in a block's beginning, a tool call."""
    from messages_wire import check_stream

    usage = {"input_tokens": 1, "output_tokens": 1, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    start = {"type": "message_start", "message": {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None,
        "usage": usage}}
    begin = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    piece = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x"}}
    end = [{"type": "content_block_stop", "index": 0}, {
        "type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": usage},
        {"type": "message_stop"}]
    right = [start, PING, begin, piece, *end]
    check_stream(right)
    assert blocks(right) == [{"type": "text", "text": "x"}]
    whole = {**begin, "content_block": {"type": "text", "text": "x"}}
    call = {**begin, "content_block": {"type": "tool_use", "id": "t", "name": "Bash", "input": {}}}
    for wrong in (
        right[:-1], right[1:], [start, PING, whole, *end], [start, PING, call, *end], [start, PING, begin, *end],
        [start, PING, *end[1:]], [start, PING, begin, piece, begin, *end], [*right, PING]):
        with pytest.raises((AssertionError, KeyError, IndexError, ValueError)):
            check_stream(wrong)
