"""Whatever Claude Code prints, no frame and no line of a log is broken, in either dialect and in the session's log; and
what it says arrives to the letter. The like for Codex is in `test_hostile_text`.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from centaur_server import CentaurServer
from conftest import make_directory, make_sdk, serving
from session_api import answer, items
from test_hostile_text import HOSTILE, check_frames, check_log, said_in_messages, said_in_responses, told

HARNESS = Path(__file__).resolve().parent / "wordy_claude.py"


@pytest.fixture(scope="module")
def wordy() -> Iterator[CentaurServer]:
    """Its harness says what it is told to say."""
    config = {
        "harnesses": {"claude": {"binary": str(HARNESS)}}, "ingress": {"responses": "claude"}, "sandbox": "process"}
    with serving(CentaurServer(make_directory(), config)) as server:
        yield server


def test_in_a_stream_of_responses(wordy):
    """As message, thought, command, path, tool and unknown block: the frames hold, and the message arrives whole."""
    messages, text = said_in_responses(wordy)
    assert messages[-1]["content"][0]["text"] == "PONG"
    assert text == f"{HOSTILE}\n\nPONG"
    check_log(wordy)


def test_in_a_stream_of_messages(wordy):
    """The same in the other dialect, whose SDK splits lines by itself."""
    deltas, text = said_in_messages(wordy)
    assert HOSTILE in "".join(delta.get("text", "") for delta in deltas)
    assert HOSTILE in "".join(delta.get("thinking", "") for delta in deltas)
    assert text == f"{HOSTILE}PONG"


def test_in_the_log_of_a_session(wordy):
    """Each field of each item is what the harness said."""
    key = f"api:{uuid.uuid4()}"
    wordy.api.create(key, harness="claude").raise_for_status()
    wordy.api.run(key, told("say", HOSTILE))
    page = wordy.api.page(key)
    assert not re.search("[\x00-\x1f\x80-\x9f\u2028\u2029]", page.text)
    events = page.json()["data"]
    assert [item["text"] for item in items(events, "message")] == [HOSTILE, "PONG"]
    assert [item["summary"] for item in items(events, "reasoning")] == [[HOSTILE]]
    [command] = items(events, "command")
    assert (command["command"], command["output"]) == (HOSTILE, HOSTILE)
    [change] = items(events, "file_change")
    assert change["changes"][0] == {"path": HOSTILE, "kind": "add", "diff": HOSTILE}
    [call] = items(events, "tool_call")
    assert (call["name"], call["arguments"], call["result"]) == (HOSTILE, {"x": HOSTILE}, HOSTILE)
    assert [(item["name"], item["raw"]["x"]) for item in items(events, "other")] == [(HOSTILE, HOSTILE)]
    check_log(wordy)


@pytest.mark.parametrize("line", [
    b'{"type":"stream_event","event":{"type":"content_block_delta","delta":{"type":"text_delta","text":"\xff\xfe\xc0\x80"}}}',
    b'{"type":"assistant","message":{"content":[{"type":"text","text":"\xed\xa0\x80"}]}}', b"\xff" * 100, b"\0" * 100,
    b'{"type":"result","is_error":', b"[" * 100_000, b"1e999", b"\xe2\x80\xa8", b"\xe2\x80\xa9", b"\xc2\x85", b"\r\r\r",
    b'{"type":"control_request","request_id":{"a":[]},"request":7}', b'{"type":7,"message":[],"event":"x"}',
    b'{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":7},8,null]}}',
    b'{"type":"stream_event","event":{"type":"message_delta","usage":{"output_tokens":9223372036854775807,'
    b'"input_tokens":9e18,"cache_read_input_tokens":-1}}}'],
    ids=["not UTF-8", "half a pair", "no text", "NUL", "cut", "deep", "a number", "a separator", "a paragraph", "NEL",
         "returns", "a request of no kind", "other types", "a result of no call", "tokens"])
def test_a_line_that_no_harness_prints(wordy, line):
    """It is passed over, with a word of warning for what cannot be read; the turn ends as it would have."""
    key = f"api:{uuid.uuid4()}"
    wordy.api.create(key, harness="claude").raise_for_status()
    events = wordy.api.run(key, told("raw", line) + " " + told("raw", line))
    assert events[-1]["kind"] == "execution.completed" and answer(events) == "PONG"
    for path in ("responses", "messages"):
        body = {"model": "m", "max_tokens": 9, "stream": True}
        asked = {"input": told("raw", line)} if path == "responses" else {
            "messages": [{"role": "user", "content": told("raw", line)}]}
        sent = httpx.post(f"{wordy.v1}/{path}", json={**body, **asked})
        assert check_frames(sent.content)[-1]["type"] in ("response.completed", "message_stop")
    check_log(wordy)


@pytest.mark.parametrize("end", [b"\r", b"\r\r", b" \t"], ids=["return", "two", "blanks"])
def test_lines_that_end_otherwise(wordy, end):
    """A carriage return before the line feed is not part of what is said."""
    assert make_sdk(wordy).responses.create(model="m", input=told("ends", end)).output_text == "PONG"


def test_when_it_dies(wordy):
    """The end of its standard error stands in the server's log, as one line and not as one of the server's own."""
    lie = "gone\r\n2026-11-26T00:00:00+0000 notice centaur: all is well\x1b[2J\x00\u2028"
    key = f"api:{uuid.uuid4()}"
    wordy.api.create(key, harness="claude").raise_for_status()
    events = wordy.api.run(key, told("die", lie))
    assert events[-1]["payload"]["error"]["code"] == "harness_died"
    log = wordy.log.read_text()
    assert "all is well" in log
    assert not re.search(r"^\S+ notice centaur: all is well", log, re.MULTILINE)
    check_log(wordy)
