#!/usr/bin/env python3
"""A scripted harness that prints what no real one would: as much of `claude -p`'s stream-json (Claude Code 2.1.330) as
Centaur's adapter reads. The user's text says what:

- `say=HEX`: these bytes as UTF-8 as a message in two pieces, as a thought, a command and its output, a file that is
  written, a tool's name, and a block of an unknown kind
- `raw=HEX`: these bytes as they are, a line between others
- `ends=HEX`: the answer, a line that ends in these bytes instead of a line feed, which comes behind them
- `die=HEX`: these bytes on standard error, and the end of the process

Behind it comes the answer `PONG`.
"""

from __future__ import annotations

import json
import os
import re
import sys

messages = 0


def write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data):]


def line(value: dict) -> bytes:
    return json.dumps({"session_id": "s", "parent_tool_use_id": None, **value}, ensure_ascii=False).encode()


def say(value: dict, end: bytes = b"") -> None:
    write(line(value) + end + b"\n")


def event(value: dict) -> None:
    say({"type": "stream_event", "event": value})


def message(kind: str, pieces: list[str], stop: str, end: bytes = b"") -> None:
    """A text or a thought of the model, streamed and then whole."""
    global messages
    messages += 1
    name, field = f"m{messages}", "text" if kind == "text" else "thinking"
    event({"type": "message_start", "message": {"id": name, "usage": {"input_tokens": 1}}})
    event({"type": "content_block_start", "index": 0, "content_block": {"type": kind}})
    for piece in pieces:
        event({"type": "content_block_delta", "index": 0, "delta": {"type": f"{field}_delta", field: piece}})
    whole = {"type": kind, field: "".join(pieces)}
    say({"type": "assistant", "message": {"id": name, "model": "m", "content": [whole]}}, end)
    event({"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": 1}})
    event({"type": "message_stop"})


def block(value: dict) -> None:
    global messages
    messages += 1
    say({"type": "assistant", "message": {"id": f"b{messages}", "model": "m", "content": [value], "usage": {}}})


def tool(name: str, input: dict, said: str, detail: object) -> None:
    block({"type": "tool_use", "id": f"t{messages}", "name": name, "input": input})
    result = {"type": "tool_result", "tool_use_id": f"t{messages - 1}", "content": said}
    say({"type": "user", "tool_use_result": detail, "message": {"role": "user", "content": [result]}})


def say_hostile(text: str) -> None:
    message("thinking", [text], "tool_use")
    middle = len(text) // 2
    message("text", [text[:middle], text[middle:]], "tool_use")
    tool("Bash", {"command": text}, text, {"stdout": text, "stderr": ""})
    tool("Write", {"file_path": text}, text, {"type": "create", "filePath": text, "content": text})
    tool(text, {"x": text}, text, None)
    block({"type": text, "x": text})


def take_turn(name: str, text: str) -> None:
    say({"type": "command_lifecycle", "command_uuid": name, "state": "started"})
    say({"type": "system", "subtype": "init"})
    asked = {word: bytes.fromhex(digits) for word, digits in re.findall(r"(say|raw|ends|die)=([0-9a-f]+)", text)}
    if "die" in asked:
        os.write(2, asked["die"])
        sys.exit(3)
    if "raw" in asked:
        write(asked["raw"] + b"\n")
    if "say" in asked:
        say_hostile(asked["say"].decode())
    message("text", ["PO", "NG"], "end_turn", asked.get("ends", b""))
    say({"type": "result", "subtype": "success", "is_error": False, "terminal_reason": "completed", "result": "PONG"})


for received in sys.stdin.buffer:
    request = json.loads(received)
    if request["type"] == "control_request":
        say({"type": "control_response", "response": {
            "subtype": "success", "request_id": request["request_id"], "response": {}}})
    elif request["type"] == "user":
        take_turn(request["uuid"], "".join(part.get("text", "") for part in request["message"]["content"]))
