#!/usr/bin/env python3
"""A scripted harness that prints more than any real one: as much of `codex app-server`'s protocol (Codex 0.163.0) as
Centaur's adapter speaks. The user's text says what:

- `command=N`: a command whose output has N bytes, in pieces of 8 KiB
- `events=N`: a message in N pieces of 16 bytes
- `line=N`: one line of N bytes
- `say=HEX`: a message whose text is these bytes as UTF-8, in two pieces, and a command that prints them
- `raw=HEX`: these bytes as they are, a line between others
- `die=HEX`: these bytes on standard error, and the end of the process
- `hold`: nothing more, until the process is ended

Anything else is answered with `PONG`.
"""

from __future__ import annotations

import json
import os
import re
import sys

turns = 0


def write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data):]


def say(value: dict) -> None:
    write(json.dumps(value, separators=(",", ":")).encode() + b"\n")


def notify(method: str, **parameters) -> None:
    say({"method": method, "params": {"threadId": "t", "turnId": f"turn-{turns}", **parameters}})


def repeat(line: bytes, count: int) -> None:
    block = max(1, min(count, (1 << 16) // len(line)))
    for _ in range(count // block):
        write(line * block)
    write(line * (count % block))


def delta(kind: str, text: str, item: str = "i") -> bytes:
    return json.dumps({"method": f"item/{kind}", "params": {
        "threadId": "t", "turnId": f"turn-{turns}", "itemId": f"{item}{turns}", "delta": text}}).encode() + b"\n"


def run_command(size: int) -> None:
    item = {"type": "commandExecution", "id": f"i{turns}", "command": "yes", "cwd": "/", "status": "inProgress"}
    notify("item/started", item=item)
    repeat(delta("commandExecution/outputDelta", "y\n" * 4096), size // 8192)
    # Codex keeps 1 MiB.
    kept = "y\n" * (min(size, 1 << 20) // 2)
    notify("item/completed", item={**item, "status": "completed", "exitCode": 0, "aggregatedOutput": kept})


def say_message(pieces: list[str] | int) -> None:
    item = {"type": "agentMessage", "id": f"i{turns}", "text": "", "phase": None}
    notify("item/started", item=item)
    if isinstance(pieces, int):
        repeat(delta("agentMessage/delta", "0123456789abcde "), pieces)
        text = "0123456789abcde " * pieces
    else:
        for piece in pieces:
            write(delta("agentMessage/delta", piece))
        text = "".join(pieces)
    notify("item/completed", item={**item, "text": text})


def say_hostile(text: str) -> None:
    """As command, as path, as the name of an item that is not known, as reasoning and as a message."""
    for number, item in enumerate([
            {"type": "commandExecution", "command": text, "cwd": text, "status": "completed", "exitCode": 0,
             "aggregatedOutput": text},
            {"type": "fileChange", "status": "completed", "changes": [{"path": text, "kind": {"type": "add"}, "diff": text}]},
            {"type": text, "text": text}, {"type": "reasoning", "summary": [text], "content": []}]):
        notify("item/started", item={**item, "id": f"h{turns}-{number}"})
        notify("item/completed", item={**item, "id": f"h{turns}-{number}"})
    notify("warning", message=text)
    middle = len(text) // 2
    item = {"type": "agentMessage", "id": f"h{turns}", "text": "", "phase": None}
    notify("item/started", item=item)
    write(delta("agentMessage/delta", text[:middle], "h"))
    write(delta("agentMessage/delta", text[middle:], "h"))
    notify("item/completed", item={**item, "text": text, "phase": "commentary"})


def take_turn(identifier: int, text: str) -> None:
    global turns
    turns += 1
    turn = {"id": f"turn-{turns}", "items": [], "error": None}
    say({"id": identifier, "result": {"turn": {**turn, "status": "inProgress"}}})
    notify("turn/started", turn={**turn, "status": "inProgress"})
    asked = dict(re.findall(r"(command|events|line)=(\d+)", text))
    if "command" in asked:
        run_command(int(asked["command"]))
    if "line" in asked:
        left = int(asked["line"])
        while left > 0:
            write(b"x" * min(left, 1 << 20))
            left -= 1 << 20
        write(b"\n")
    hostile = {word: bytes.fromhex(digits) for word, digits in re.findall(r"(say|raw|die)=([0-9a-f]+)", text)}
    if "die" in hostile:
        os.write(2, hostile["die"])
        sys.exit(3)
    if "raw" in hostile:
        write(hostile["raw"] + b"\n")
    if "say" in hostile:
        say_hostile(hostile["say"].decode())
    if "hold" in text:
        return
    say_message(int(asked["events"]) if "events" in asked else ["PONG"])
    notify("thread/tokenUsage/updated", tokenUsage={"last": {"inputTokens": 1, "outputTokens": 1}})
    notify("turn/completed", turn={**turn, "status": "completed"})


for received in sys.stdin:
    request = json.loads(received)
    method, identifier = request.get("method"), request.get("id")
    if identifier is None:
        continue
    if method == "turn/start":
        take_turn(identifier, "".join(part.get("text", "") for part in request["params"]["input"]))
    elif method in ("thread/start", "thread/resume"):
        say({"id": identifier, "result": {"thread": {"id": "t"}}})
    else:
        say({"id": identifier, "result": {}})
