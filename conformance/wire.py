"""`POST /v1/responses` byte by byte: a plain socket, the chunks as they came, and the rules that every stream keeps.

The other dialect's are in `messages_wire`.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import schema
from http_wire import Exchange, request_head
from session_api import WAIT_SECONDS

KEEPALIVE = "response.in_progress"
TERMINAL = ("response.completed", "response.failed", "response.incomplete")


class SSEStream(Exchange):
    """One streaming request, read chunk by chunk; `events` yields each event when its chunk is there."""

    path = "/responses"
    # What follows the last event, where something does.
    closing: str | None = "[DONE]"

    def __init__(self, base_url: str, body: dict | bytes, headers: dict[str, str] | None = None, timeout: float = WAIT_SECONDS):
        url = httpx.URL(f"{base_url}{self.path}")
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = request_head(f"POST {url.raw_path.decode()} HTTP/1.1", {
            "host": f"{url.host}:{url.port}", "content-type": "application/json", "content-length": str(len(data)),
            **(headers or {})})
        super().__init__(socket.create_connection((url.host, url.port), timeout), head + data)

    def chunks(self) -> Iterator[bytes]:
        assert self.headers.get("transfer-encoding") == "chunked", self.headers
        while True:
            size = int(self.reader.readline().split(b";")[0], 16)
            chunk = self.reader.read(size)
            self.reader.readline()
            if size == 0:
                return
            self.raw.append(chunk)
            yield chunk

    def events(self) -> Iterator[dict]:
        """Each event's data; the closing frame is checked, not yielded."""
        done = self.closing is None
        for chunk in self.chunks():
            assert not done or self.closing is None, f"bytes after {self.closing}: {chunk!r}"
            assert chunk.endswith(b"\n\n") and chunk.count(b"\n\n") == 1, f"not one frame a chunk: {chunk!r}"
            name, data = frame(chunk)
            if self.closing is not None and data == self.closing:
                done = True
                continue
            event = json.loads(data)
            assert name == event["type"], f"event: {name}, type: {event['type']}"
            yield event
        assert done, f"the stream ended without {self.closing}"

    def all(self) -> Answer:
        assert self.status == 200, (self.status, self.reader.read(4096))
        return Answer(list(self.events()), self.headers).checked()

    def body(self) -> bytes:
        """The whole body of an answer that is no stream."""
        if "content-length" in self.headers:
            return self.reader.read(int(self.headers["content-length"]))
        return b"".join(self.chunks())


def frame(chunk: bytes) -> tuple[str | None, str]:
    name, data = None, []
    for line in chunk.decode().splitlines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            data.append(line.removeprefix("data: "))
    return name, "\n".join(data)


@dataclass
class Answer:
    events: list[dict]
    headers: dict[str, str] = field(default_factory=dict)

    def checked(self) -> Answer:
        check_stream(self.events)
        return self

    @property
    def key(self) -> str:
        return self.headers["x-centaur-thread-key"]

    @property
    def response(self) -> dict:
        return self.events[-1]["response"]

    @property
    def text(self) -> str:
        return final_text(self.response)

    def of(self, type: str) -> list[dict]:
        return [event for event in self.events if event["type"] == type]


def final_text(response: dict) -> str:
    """What a client takes as the answer: the text of the last message."""
    message = [item for item in response["output"] if item["type"] == "message"][-1]
    return "".join(part["text"] for part in message["content"] if part["type"] == "output_text")


def check_stream(events: list[dict]) -> None:
    """The rules of the stream, beside the schema of each event."""
    types = [event["type"] for event in events]
    assert types[:2] == ["response.created", "response.in_progress"], types[:2]
    assert types[-1] in TERMINAL and not set(types[:-1]) & set(TERMINAL), types
    numbers = [event["sequence_number"] for event in events]
    assert numbers[0] == 0, "the first sequence_number is 0"
    for before, after, event in zip(numbers, numbers[1:], events[1:]):
        # A keep-alive repeats what was said, under the number that it was said with.
        assert after == before + 1 or (event["type"] == KEEPALIVE and after >= before), numbers
    identity = {(event["response"]["id"], event["response"]["model"]) for event in events if "response" in event}
    assert len(identity) == 1, identity

    open_items: dict[int, str] = {}
    finished: list[dict] = []
    parts: dict[tuple, str] = {}
    arguments: dict[int, str] = {}
    for event in events:
        kind, index = event["type"], event.get("output_index")
        if kind == "response.output_item.added":
            assert index == len(finished) + len(open_items) and event["item"]["status"] == "in_progress", event
            open_items[index] = event["item"]["id"]
        elif kind == "response.output_item.done":
            assert open_items.pop(index) == event["item"]["id"], event
            assert event["item"]["status"] in ("completed", "incomplete"), event
            finished.append(event["item"])
        elif kind.endswith("part.added"):
            assert open_items[index] == event["item_id"], event
            parts[place(event)] = ""
        elif kind == "response.function_call_arguments.delta":
            assert event["delta"] and open_items[index] == event["item_id"], event
            arguments[index] = arguments.get(index, "") + event["delta"]
        elif kind == "response.function_call_arguments.done":
            assert arguments.pop(index) == event["arguments"], "the deltas do not add up to the arguments"
        elif kind.endswith(".delta"):
            assert event["delta"] and open_items[index] == event["item_id"], event
            parts[place(event)] += event["delta"]
        elif kind.endswith("text.done"):
            assert parts[place(event)] == event["text"], "the deltas do not add up to the text"
        elif kind.endswith("part.done"):
            assert parts.pop(place(event)) == event["part"]["text"], event
    assert not open_items and not parts and not arguments, f"left open: {open_items} {parts} {arguments}"
    last = events[-1]["response"]
    assert last["output"] == finished, "the response's output is not what was streamed"
    ids = [item["id"] for item in finished]
    assert len(set(ids)) == len(ids) and all("_" in id.strip("_") for id in ids), ids
    for event in events:
        check_schema(event, schema.event_faults(event))
    check_response(last)


def place(event: dict) -> tuple:
    """Which part of which item an event is about."""
    return event["output_index"], "content_index" in event, event.get("content_index", event.get("summary_index"))


def check_response(response: dict) -> None:
    """A response object by itself, streamed or not."""
    check_schema(response, schema.response_faults(response))
    assert response["status"] in ("completed", "failed", "incomplete", "cancelled"), response["status"]
    assert (response["status"] == "failed") == (response["error"] is not None)
    if response["status"] == "completed":
        usage = response["usage"]
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
        assert usage["input_tokens_details"].keys() == {"cached_tokens", "cache_write_tokens"}
        assert "reasoning_tokens" in usage["output_tokens_details"]
        # The wire says the size of the last model call's context; the sum of all calls is ours to tell.
        assert response["centaur_usage"]["model_calls"] >= 1


def check_schema(value: dict, faults: list[str]) -> None:
    assert not faults, f"not valid against the schema: {faults}\n{json.dumps(value, indent=1)[:4000]}"
