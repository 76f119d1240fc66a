"""Text with everything in it that ends a line or a frame somewhere, or commands a terminal: it arrives as it was sent,
and breaks no stream, no header, no line of a log, no table."""

from __future__ import annotations

import json
import re
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from centaur_server import PROGRAM, CentaurServer, base_environment, content
from conftest import make_anthropic, make_directory, make_sdk, serving
from messages_wire import MessagesStream
from session_api import answer, items
from wire import SSEStream, check_stream

HARNESS = Path(__file__).resolve().parent / "wordy_harness.py"
FRAMES = "\n\ndata: {\"type\":\"evil\"}\n\nevent: evil\r\ndata: x\r\r"
HOSTILE = f"a{FRAMES}\u2028b\u2029c\x85d\x00e\x1b[2J\x9b2Jf\ufeffg\u202eh\x7fi\x0b\x0c\x1c\x1d\x1ej\ud7ff\U0001f642e\u0301"
# Of a line of the server's log.
LOG_LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} \w+ [\w.-]+: ")


@pytest.fixture(scope="module")
def wordy() -> Iterator[CentaurServer]:
    """Its harness says what it is told to say."""
    config = {"harnesses": {"codex": {"binary": str(HARNESS)}}, "ingress": {"messages": "codex"}, "sandbox": "process"}
    with serving(CentaurServer(make_directory(), config)) as server:
        yield server


def told(word: str, text: str | bytes) -> str:
    return f"{word}={(text if isinstance(text, bytes) else text.encode()).hex()}"


def check_frames(body: bytes) -> list[dict]:
    """Whoever splits the stream, at whatever ends a line for them, sees the same frames."""
    assert b"\r" not in body and b"\0" not in body
    text = body.decode()
    assert text.splitlines() == text.removesuffix("\n").split("\n")
    found = []
    for frame in text.removesuffix("\n\n").split("\n\n"):
        lines = [line for line in frame.split("\n") if not line.startswith(":")]
        if not lines or lines == ["data: [DONE]"]:
            continue
        fields = [line.partition(": ")[0] for line in lines]
        assert fields in (["event", "data"], ["id", "event", "data"]), frame
        found.append(json.loads(lines[-1].removeprefix("data: ")))
        assert lines[-2] == f"event: {found[-1].get('type') or found[-1]['kind']}"
    return found


def check_log(server: CentaurServer) -> None:
    for line in content(server.log).decode().split("\n"):
        assert not line or LOG_LINE.match(line), line
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202e]", line), line


# What a harness says


def said_in_responses(server: CentaurServer) -> tuple[list[dict], str]:
    """The messages of an answer whose harness says `HOSTILE`, and the text that the SDK puts together of another one's
    pieces. The frames hold."""
    body = {"model": "m", "input": told("say", HOSTILE), "stream": True, "reasoning": {"summary": "auto"}}
    with SSEStream(server.v1, body, {"x-centaur-items": "full"}) as stream:
        raw = b"".join(stream.chunks())
    events = check_frames(raw)
    check_stream(events)
    messages = [item for item in events[-1]["response"]["output"] if item["type"] == "message"]
    # What is said on the way to the answer ends with a blank line.
    assert HOSTILE + "\n\n" in [message["content"][0]["text"] for message in messages]
    with make_sdk(server).responses.create(model="m", input=told("say", HOSTILE), stream=True) as read:
        deltas = [event.delta for event in read if event.type == "response.output_text.delta"]
    return messages, "".join(deltas)


def said_in_messages(server: CentaurServer) -> tuple[list[dict], str]:
    """The same in the other dialect, whose SDK splits lines by itself: the pieces of an answer, and another one's text."""
    body = {"model": "m", "max_tokens": 100, "stream": True, "thinking": {"type": "enabled", "budget_tokens": 1024},
            "messages": [{"role": "user", "content": told("say", HOSTILE)}]}
    with MessagesStream(server.v1, body) as stream:
        raw = b"".join(stream.chunks())
    events = check_frames(raw)
    assert events[-1]["type"] == "message_stop"
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    with make_anthropic(server).messages.stream(
            model="m", max_tokens=100, messages=[{"role": "user", "content": told("say", HOSTILE)}]) as read:
        return deltas, "".join(read.text_stream)


def test_what_a_harness_says_in_a_stream_of_responses(wordy):
    """As message, command, path, item and warning: the frames hold, and the message arrives to the letter."""
    _, text = said_in_responses(wordy)
    assert HOSTILE in text
    check_log(wordy)


def test_what_a_harness_says_in_a_stream_of_messages(wordy):
    """The same in the other dialect, whose SDK splits lines by itself."""
    deltas, text = said_in_messages(wordy)
    assert HOSTILE in "".join(delta.get("text", "") for delta in deltas)
    assert HOSTILE in text


def test_what_a_harness_says_in_the_log_of_a_session(wordy):
    """Each field of each item, as a page and as a stream."""
    key = f"api:{uuid.uuid4()}"
    wordy.api.create(key).raise_for_status()
    wordy.api.run(key, told("say", HOSTILE))
    page = wordy.api.page(key)
    assert not re.search("[\x00-\x1f\x80-\x9f\u2028\u2029]", page.text)
    events = page.json()["data"]
    assert HOSTILE in [item["text"] for item in items(events, "message")]
    [command] = items(events, "command")
    assert [command["command"], command["cwd"], command["output"]] == [HOSTILE] * 3
    [change] = items(events, "file_change")
    assert change["changes"][0] == {"path": HOSTILE, "kind": "add", "diff": HOSTILE}
    assert [item["name"] for item in items(events, "other")] == [HOSTILE]
    assert [event["payload"]["message"] for event in events if event["kind"] == "warning"] == [HOSTILE]
    with wordy.api.http.stream("GET", wordy.api.path(key, "/events")) as stream:
        raw = b""
        for piece in stream.iter_raw():
            raw += piece
            if b"event: execution.completed" in raw and raw.endswith(b"\n\n"):
                break
    assert check_frames(raw)[:len(events)] == events[:len(events)]


@pytest.mark.parametrize("line", [
    b'{"method":"item/agentMessage/delta","params":{"delta":"\xff\xfe\xc0\x80"}}', b"\xff" * 100, b"\0" * 100,
    b'{"method":"turn/completed","params":{"turn":{"id":', b"[" * 100_000, b"1e999", b"\xe2\x80\xa8", b"\r\r\r",
    b'{"method":"thread/tokenUsage/updated","params":{"threadId":"t","tokenUsage":{"last":{"inputTokens":9e18,'
    b'"outputTokens":9223372036854775807,"cachedInputTokens":-1}}}}'],
    ids=["not UTF-8", "no text", "NUL", "cut", "deep", "a number", "a separator", "returns", "tokens"])
def test_a_line_that_no_harness_prints(wordy, line):
    """It is passed over, with a word of warning for what cannot be read; the turn ends as it would have."""
    key = f"api:{uuid.uuid4()}"
    wordy.api.create(key).raise_for_status()
    events = wordy.api.run(key, told("raw", line) + " " + told("raw", line))
    assert events[-1]["kind"] == "execution.completed" and answer(events) == "PONG"
    assert check_frames(httpx.post(f"{wordy.v1}/responses", json={
        "model": "m", "input": told("raw", line), "stream": True}).content)[-1]["type"] == "response.completed"


def test_what_a_harness_says_when_it_dies(wordy):
    """The end of its standard error stands in the server's log, as one line and not as one of the server's own."""
    lie = "gone\r\n2026-11-26T00:00:00+0000 notice centaur: all is well\x1b[2J\x00\u2028"
    key = f"api:{uuid.uuid4()}"
    wordy.api.create(key).raise_for_status()
    events = wordy.api.run(key, told("die", lie))
    assert events[-1]["payload"]["error"]["code"] == "harness_died"
    log = wordy.log.read_text()
    assert "all is well" in log
    assert not re.search(r"^\S+ notice centaur: all is well", log, re.MULTILINE)
    check_log(wordy)


# What a client says


def test_what_a_client_says_of_itself(server):
    """Names, numbers and labels that a client may choose come back to the letter, in frames that hold."""
    # Names have at most 64 characters.
    begin, end = HOSTILE[:64], HOSTILE[-64:]
    assert len(HOSTILE) <= 128
    given = {
        "model": f"m{HOSTILE}", "instructions": HOSTILE, "metadata": {begin: HOSTILE, end: HOSTILE},
        "prompt_cache_key": begin, "safety_identifier": end}
    answer = httpx.post(f"{server.v1}/responses", json={**given, "input": "Reply PONG", "stream": True})
    last = check_frames(answer.content)[-1]["response"]
    assert {name: last[name] for name in given} == given
    answer = httpx.post(f"{server.v1}/messages", json={
        "model": f"m{HOSTILE}", "max_tokens": 9, "stream": True, "metadata": {"user_id": HOSTILE},
        "messages": [{"role": "user", "content": "Reply PONG"}]})
    assert check_frames(answer.content)[0]["message"]["model"] == f"m{HOSTILE}"
    check_log(server)


def test_thread_keys_in_headers_paths_and_tables(server):
    """A key may hold any letter. In a header it is ASCII, and in a terminal it neither moves nor turns anything."""
    key = f"api:\u202eé%0d%0aX-Evil: 1\u200f/{uuid.uuid4()}"
    answer = httpx.post(f"{server.v1}/responses", json={"model": "m", "input": "Reply PONG"}, headers={
        "X-Centaur-Thread-Key": quote(key)})
    assert answer.status_code == 200 and "x-evil" not in answer.headers
    header = answer.headers["x-centaur-thread-key"]
    assert header.isascii() and header.isprintable()
    assert server.api.show(key).json()["thread_key"] == key
    for command in ("list", "show"):
        shown = subprocess.run(
            [PROGRAM, "sessions", command, *([key] if command == "show" else []), "--server", server.url],
            capture_output=True, text=True, env=base_environment(), check=True).stdout
        assert "api:\\u{202E}é%0d%0aX-Evil: 1\\u{200F}/" in shown
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u200f]", shown)
    for character in ("\r", "\n", "\0", "\x1b", "\x85", "\x9b", "\u2028", "\u2029"):
        refused = httpx.post(f"{server.v1}/responses", json={"model": "m", "input": "x"}, headers={
            "X-Centaur-Thread-Key": quote(f"api:a{character}b")})
        assert refused.json()["error"]["code"] == "thread_key_malformed"
        assert server.api.create(f"api:a{character}b").json()["error"]["code"] == "thread_key_malformed"


@pytest.mark.parametrize("path", [
    "/api/session/api:%0d%0aX-Evil:%201", "/api/sessions?limit=%0d%0aX-Evil:%201", 
    "/v1/responses/resp_%0d%0aX-Evil:%201_1", "/v1/models/%0d%0aX-Evil:%201", "/%0d%0aX-Evil:%201", "/%u2028%e2%80%a8",
    "/api/session/api:x/files/%0d%0aX-Evil:%201", "/api/session/api:x/events?after_event_id=1%0a2"])
def test_paths_and_queries_are_refused_in_one_piece(server, path):
    """What stands in an address comes back in an error's JSON, if at all, and never in a header or the log."""
    answer = httpx.get(f"{server.url}{path}")
    assert 400 <= answer.status_code < 500 and answer.json()["error"]["message"]
    assert not [name for name in answer.headers if "evil" in name]
    assert not re.search("[\x00-\x1f\x80-\x9f\u2028\u2029]", answer.text)
    check_log(server)


@pytest.mark.parametrize(
    "value", [b"\xff\xfe", "é\u2028".encode(), b"\xc2\x85", b"a" * 4000], ids=["not UTF-8", "separator", "NEL", "long"])
@pytest.mark.parametrize("name", [
    "X-Centaur-Thread-Key", "X-Centaur-Harness", "X-Centaur-Persona", "X-Centaur-Busy", "Idempotency-Key", "session-id",
    "x-codex-turn-metadata", "X-Claude-Code-Session-Id", "User-Agent"])
def test_headers_that_are_no_ascii(server, name, value):
    """Whatever bytes a header holds, there is an answer, its own headers are ASCII, and the log stays whole."""
    for path in ("responses", "messages"):
        body = {"model": "m", "max_tokens": 9, "input": "Reply PONG", "messages": [{"role": "user", "content": "Reply PONG"}]}
        headers = [(b"content-type", b"application/json"), (name.encode(), value)]
        answer = httpx.post(f"{server.v1}/{path}", json=body, headers=headers)
        # One Idempotency-Key stands for one request: the second dialect's is another.
        assert answer.status_code in (200, 400, 404, 409), answer.text
        assert all(byte < 0x7F for _, said in answer.headers.raw for byte in said)
    check_log(server)


def test_names_of_files(server):
    """A name that would end a header's line is a name like others, or refused."""
    key = f"api:{uuid.uuid4()}"
    server.api.create(key).raise_for_status()
    for name in ('a\r\nX-Evil: 1', 'b"; filename="c', "d\u2028e", "f\x1bg", "%0a"):
        address = server.api.path(key, f"/files/{quote(name, safe='')}")
        written = server.api.http.put(address, content=b"content")
        assert written.status_code in (201, 400), written.text
        read = server.api.http.get(address)
        assert "x-evil" not in read.headers
        if written.status_code == 201:
            assert read.content == b"content"
            listed = server.api.http.get(server.api.path(key, "/files/"))
            assert name in [entry["name"] for entry in listed.json()["data"]]
            assert not re.search("[\x00-\x1f\x80-\x9f\u2028]", listed.text)


# Numbers, names said twice, depth


NUMBERS = {
    "1e400": 400, "-1e400": 400, "1e-400": 200, "-0": 200, "0.0": 200, "1" + "0" * 400: 400, "0." + "9" * 500: 200,
    "9223372036854775807": 400, "9223372036854775808": 400, "1E0": 200, "01": 400, "+1": 400, ".5": 400, "1.": 400,
    "NaN": 400, "Infinity": 400, "0x1": 400}


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number[:24])
def test_numbers(server, number):
    """A number that JSON has and a double can hold is one; what it may be for a field is another question."""
    body = f'{{"model":"m","input":"Reply PONG","temperature":{number}}}'
    answer = httpx.post(f"{server.v1}/responses", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == NUMBERS[number], answer.text
    if answer.status_code == 200:
        assert answer.json()["temperature"] == float(number)
    else:
        assert answer.json()["error"]["code"] in ("invalid_json", "invalid_value")


def test_a_name_said_twice(server):
    """The last one counts, as with most readers of JSON."""
    body = '{"model":"m","input":"Reply FIRST","input":"Reply LAST","stream":true,"stream":false}'
    answer = httpx.post(f"{server.v1}/responses", content=body, headers={"content-type": "application/json"})
    assert "LAST" in answer.text and "FIRST" not in answer.text


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/messages", "/api/session/api:deep/messages"])
@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":'], ids=["arrays", "objects", "both"])
def test_depth(server, path, opening):
    """A hundred thousand levels cost an error, in each dialect; 256 are read."""
    for levels in (257, 100_000):
        answer = httpx.post(
            f"{server.url}{path}", content=opening * levels, headers={"content-type": "application/json"})
        assert answer.status_code == 400 and answer.json()["error"]["code"] == "invalid_json"
    value: dict | list = []
    for _ in range(254):
        value = [value]
    answer = httpx.post(f"{server.v1}/responses", json={"model": "m", "input": "Reply PONG", "x": value})
    assert answer.status_code == 200, answer.text


def test_the_gateways_audit_log(server):
    """A line a call, whatever the call names."""
    for call in server.audit():
        assert call["kind"] in ("model", "egress")
    text = content(server.data / "gateway/audit.jsonl").decode()
    assert not re.search("[\x00-\x09\x0b-\x1f\x80-\x9f\u2028\u2029]", text)
