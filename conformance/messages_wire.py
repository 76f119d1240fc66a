"""`POST /v1/messages` byte by byte, and the rules that every stream of this dialect keeps."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from wire import SSEStream

PING = {"type": "ping"}
# What a delta of each kind of block is called, and where its piece stands.
PIECES = {
    "text": {"text_delta": "text"},
    "thinking": {"thinking_delta": "thinking", "signature_delta": "signature"},
    "tool_use": {"input_json_delta": "partial_json"},
}
# The only tool that may ever be called: Claude Code's own, which runs nothing.
STRUCTURED_OUTPUT = "StructuredOutput"


class MessagesStream(SSEStream):
    """One streaming request. `events` yields each event when its chunk is there; nothing follows the last one."""

    path = "/messages"
    closing = None

    def all(self) -> Message:
        assert self.status == 200, (self.status, self.reader.read(4096))
        assert self.headers["content-type"].startswith("text/event-stream")
        assert self.headers["request-id"].startswith("req_")
        return Message(list(self.events()), self.headers).checked()

    def without_pings(self) -> bytes:
        """The bytes without the keep-alive: a ping later than the second frame depends on the time."""
        return b"".join(self.raw[:2] + [chunk for chunk in self.raw[2:] if not chunk.startswith(b"event: ping\n")])


@dataclass
class Message:
    """A streamed message, put together as a client does it."""

    events: list[dict]
    headers: dict[str, str] = field(default_factory=dict)

    def checked(self) -> Message:
        check_stream(self.events)
        return self

    @property
    def key(self) -> str:
        return self.headers["x-centaur-thread-key"]

    @property
    def id(self) -> str:
        return self.events[0]["message"]["id"]

    @property
    def blocks(self) -> list[dict]:
        return blocks(self.events)

    @property
    def texts(self) -> list[str]:
        return [block["text"] for block in self.blocks if block["type"] == "text"]

    @property
    def text(self) -> str:
        """What a client takes as the answer: the last text."""
        return self.texts[-1]

    @property
    def error(self) -> dict | None:
        return self.events[-1]["error"] if self.events[-1]["type"] == "error" else None

    @property
    def usage(self) -> dict:
        [delta] = [event for event in self.events if event["type"] == "message_delta"]
        return delta["usage"]


def blocks(events: list[dict]) -> list[dict]:
    """The content blocks that the deltas add up to."""
    made: list[dict] = []
    for event in events:
        if event["type"] == "content_block_start":
            made.append(dict(event["content_block"]))
        elif event["type"] == "content_block_delta":
            block, delta = made[event["index"]], event["delta"]
            name = PIECES[block["type"]][delta["type"]]
            block[name] = block.get(name, "") + delta[name]
        elif event["type"] == "content_block_stop" and "partial_json" in made[event["index"]]:
            block = made[event["index"]]
            block["input"] = json.loads(block.pop("partial_json"))
    return made


def check_stream(events: list[dict]) -> None:
    """Every rule that Claude Code or an SDK needs kept; `event:` and framing are checked while the stream is read."""
    types = [event["type"] for event in events]
    assert types[:2] == ["message_start", "ping"], types[:2]
    assert types.count("message_start") == 1
    begun = events[0]["message"]
    assert begun["id"].startswith("msg_") and (begun["type"], begun["role"]) == ("message", "assistant"), begun
    assert begun["content"] == [] and begun["stop_reason"] is None and begun["model"], begun
    check_usage(begun["usage"])

    open_block: dict | None = None
    signed = False
    count = 0
    for event in events[1:]:
        match event["type"]:
            case "ping":
                assert event == PING
            case "content_block_start":
                assert open_block is None, "a block begins before the one before it is closed"
                assert event["index"] == count, event
                open_block, signed = event["content_block"], False
                check_start(open_block)
            case "content_block_delta":
                assert open_block is not None and event["index"] == count, event
                [name] = [PIECES[open_block["type"]][event["delta"]["type"]]]
                assert event["delta"][name], f"an empty piece: {event}"
                assert not signed, "the signature closes a thinking block"
                signed = event["delta"]["type"] == "signature_delta"
            case "content_block_stop":
                assert open_block is not None and event["index"] == count, event
                assert signed == (open_block["type"] == "thinking"), "a thinking block is signed"
                open_block = None
                count += 1
            case "message_delta" | "message_stop" | "error":
                assert open_block is None, "the message ends in the middle of a block"
            case other:
                raise AssertionError(f"an event of no known type: {other}")
    made = blocks(events)
    for block in made:
        assert block.get("text") or block.get("thinking") or block["type"] == "tool_use", f"an empty block: {block}"
    check_end(events, made)


def check_start(block: dict) -> None:
    """Nothing may stand in a block's beginning: clients read a text from the deltas alone."""
    match block["type"]:
        case "text":
            assert block == {"type": "text", "text": ""}, block
        case "thinking":
            assert block == {"type": "thinking", "thinking": "", "signature": ""}, block
        case "tool_use":
            assert block["name"] == STRUCTURED_OUTPUT and block["input"] == {} and block["id"], block
        case other:
            raise AssertionError(f"a block of no known type: {other}")


def check_end(events: list[dict], made: list[dict]) -> None:
    last = events[-1]
    if last["type"] == "error":
        assert last["error"]["type"].endswith("_error") and last["error"]["message"], last
        assert not [event for event in events if event["type"].startswith("message_")][1:], "an error ends the stream"
        return
    assert [event["type"] for event in events[-2:]] == ["message_delta", "message_stop"], events[-2:]
    assert [event["type"] for event in events].count("message_delta") == 1
    called = [block for block in made if block["type"] == "tool_use"]
    assert called in ([], made[-1:]), "a structured answer comes last and once"
    check_stop(events[-2]["delta"], made)
    check_usage(events[-2]["usage"])


def check_stop(message: dict, content: list[dict]) -> None:
    """How a message ends, streamed or not."""
    assert content, "a message without any content"
    is_structured = content[-1]["type"] == "tool_use"
    assert is_structured or (content[-1]["type"] == "text" and content[-1]["text"]), content[-1]
    assert message["stop_reason"] == ("tool_use" if is_structured else "end_turn"), message
    assert message["stop_sequence"] is None


def check_usage(usage: dict) -> None:
    for name in ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"):
        assert isinstance(usage[name], int) and usage[name] >= 0, usage


def check_message(message: dict) -> None:
    """A message object that came as one body."""
    assert message["id"].startswith("msg_") and (message["type"], message["role"]) == ("message", "assistant")
    assert message["model"]
    check_stop(message, message["content"])
    check_usage(message["usage"])


def answer_of(message: dict) -> str:
    """What a client takes as the answer."""
    return [block["text"] for block in message["content"] if block["type"] == "text"][-1]
