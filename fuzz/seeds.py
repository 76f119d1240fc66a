"""Where the fuzzer begins: the recordings of the real clients and harnesses, cut to a size at which it is quick, and the
words that the readers look for."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "Tests"
LONGEST = 6 << 10

# What has broken one reader or another, in text and in numbers.
HOSTILE_TEXT = ["\r", "\n", "\r\n\r\ndata: x\n\n", "\u2028", "\u2029", "\x85", "\x00", "\x1b[2J", "\ufeff", "\U0001f642", "e\u0301"]
HOSTILE_JSON = [
    "1e400", "-1e400", "1e-400", "-0", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "1.0",
    "4611686018427387904", "9" * 400, "0." + "0" * 400 + "1", '"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"',
    '{"a":1,"a":2}', "[" * 300 + "]" * 300, '{"model":"m","model":"n","input":"x"}']


def small(value):
    """The same shape with less in it."""
    if isinstance(value, str):
        return value if len(value) <= 240 else value[:200] + value[-40:]
    if isinstance(value, list):
        return [small(part) for part in (value if len(value) <= 8 else value[:4] + value[-4:])]
    if isinstance(value, dict):
        return {key: small(part) for key, part in value.items() if key not in ("slash_commands", "skills", "agents")}
    return value


def text(value) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def requests(folder: Path, headers: tuple[str, ...]) -> Iterator[str]:
    """The recorded requests of a client, with those headers that are read."""
    for file in sorted(folder.glob("*.json")):
        for entry in json.loads(file.read_text()):
            if entry.get("method") != "POST" or not isinstance(entry.get("body"), dict):
                continue
            body = small({key: part for key, part in entry["body"].items() if key != "tools"})
            kept = [f"{name}:{value}" for name, value in entry["headers"] if name.lower().startswith(headers)]
            yield "\n".join([*kept, "", text(body)])


def codex() -> Iterator[str]:
    """A life of a recorded process each, as a script of HarnessTarget."""
    answered = {"initialize", "thread/start", "thread/resume", "turn/start", "turn/interrupt", "turn/steer"}
    for file in sorted((TESTS / "HarnessTests/Fixtures/codex").glob("*.jsonl")):
        steps: list[str] = []
        asked: dict = {}
        for line in map(json.loads, file.read_text().splitlines()):
            message = line["msg"]
            if line["dir"] == "meta" and "spawn" in message:
                if steps:
                    yield "\n".join(steps)
                steps, asked = [], {}
            elif line["dir"] == ">":
                method = message.get("method")
                if "id" in message:
                    asked[message["id"]] = method
                match method:
                    case "turn/start":
                        steps.append(">begin " + text(small(message["params"].get("input", ""))))
                    case "turn/interrupt":
                        steps.append(">interrupt")
                    case "turn/steer":
                        steps.append(">steer more")
                    case "thread/resume":
                        steps.insert(0, ">with " + text({"state": {"thread": message["params"].get("threadId")}}))
            elif line["dir"] == "<":
                if "method" not in message:
                    if asked.get(message.get("id")) not in answered:
                        continue
                    message = {**message, "id": "@asked@"}
                steps.append(text(small(message)).replace('"@asked@"', "%ASKED%"))
        yield "\n".join(steps)


def codex_exec() -> Iterator[str]:
    for file in sorted((TESTS / "HarnessTests/Fixtures/codex").glob("22*.jsonl")):
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        yield "\n".join([">begin go", *(text(small(line["msg"])) for line in lines if line["dir"] == "<")])


def claude() -> Iterator[str]:
    begun = '{"type":"control_response","response":{"subtype":"success","request_id":%ASKED%,"response":{}}}'
    for file in sorted((TESTS / "HarnessTests/Fixtures/claude").glob("*.jsonl")):
        steps, running, name = [begun], False, None
        for line in map(json.loads, file.read_text().splitlines()):
            message = line["msg"]
            if line["dir"] == "meta" and "spawn" in message:
                if len(steps) > 1:
                    yield "\n".join(steps)
                steps, running, name = [begun], False, None
            elif line["dir"] == ">" and message.get("type") == "user" and not running:
                steps.append(">begin go")
                running, name = True, message.get("uuid")
                if name is None:
                    steps.append('{"type":"command_lifecycle","command_uuid":%TURN%,"state":"started"}')
            elif line["dir"] == ">" and message.get("request", {}).get("subtype") == "interrupt":
                steps.append(">interrupt")
            elif line["dir"] == "<" and message.get("type") != "control_response":
                running = running and message.get("type") != "result"
                step = text(small(message))
                steps.append(step.replace(f'"{name}"', "%TURN%") if name else step)
        yield "\n".join(steps)


def parts(script: str) -> Iterator[str]:
    """A script in pieces that are not too long, each with the steps that lead to a turn."""
    steps = script.split("\n")
    begin = next((index for index, step in enumerate(steps) if step.startswith(">begin")), 0)
    head = [step for step in steps[:begin + 2] if "%ASKED%" in step or step.startswith(">") or "%TURN%" in step]
    rest, piece = steps[begin + 2:], []
    for step in rest:
        if sum(map(len, [*head, *piece, step])) > LONGEST:
            yield "\n".join([*head, *piece])
            piece = []
        piece.append(step)
    yield "\n".join([*head, *piece])


def shim() -> Iterator[bytes]:
    def number(value: int) -> bytes:
        return struct.pack(">q", value)

    def run(value: bytes) -> bytes:
        return number(len(value)) + value

    def frame(kind: int, *fields: bytes) -> bytes:
        body = bytes([kind]) + b"".join(fields)
        return struct.pack(">I", len(body)) + body

    server = [frame(1, number(3), number(77)), frame(2, run(b"e1/start"), number(1), run(b"hello\n")), frame(3, number(2)),
              frame(4, number(9)), frame(5), frame(6), frame(7)]
    shim = [frame(65, number(1), number(2), number(3), number(0), number(99), number(2), run(b"a"), run(b"b")),
            frame(66, number(5), run(b"line\n")), frame(67, run(b"e1/start")),
            frame(68, number(0), number(-1), run(b"tail"), b"\x01"), frame(69, run(b"older")), frame(70)]
    for size in (1, 5, 255):
        yield bytes([size]) + b"".join(server)
        yield bytes([size]) + b"".join(shim)
    yield b"\x01" + struct.pack(">I", 1 << 31) + b"x"


def gateway() -> Iterator[str]:
    for body in requests(TESTS / "ResponsesIngressTests/Fixtures/codex-client", ("-",)):
        yield "c" + body.lstrip("\n")
        break
    yield 'c{"model":"gpt-5.5","input":"x","stream":true}'
    yield 'c{"model":"claude-opus-5-5","messages":[],"tools":[{"type":"web_search"}]}'
    yield 'b{"usage":{"input_tokens":1,"output_tokens":2,"cache_read_input_tokens":3,"cache_creation_input_tokens":4}}'
    yield ('eevent: message_start\ndata: {"type":"message_start","message":{"usage":{"input_tokens":3,"output_tokens":1}}}\n\n'
           'data: {"type":"message_delta","usage":{"output_tokens":9}}\n\ndata: {"type":"message_stop"}\n\n')
    yield ('edata: {"type":"response.completed","response":{"usage":{"input_tokens":3,"output_tokens":1,'
           '"input_tokens_details":{"cached_tokens":2},"output_tokens_details":{"reasoning_tokens":1}}}}\n\n')
    for head in ("CONNECT pypi.org:443 HTTP/1.1\r\nhost: pypi.org\r\n\r\n", "10.0.0.0/8", "fd00:1::/64", "*.debian.org:8443"):
        yield "p" + head


def configurations() -> Iterator[str]:
    for file in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        yield from re.findall(r"```yaml\n(.*?)```", file.read_text(), re.DOTALL)


# Ids of our calls, of which one is larger than any number.
CALLS = ["call_0199aabb_1", "toolu_0199aabb_2", "call_x_99999999999999999999", "call_foreign"]
PNG = "data:image/png;base64,iVBORw0KGgo="


def outputs() -> Iterator[str]:
    said = ["sunny", "", [{"type": "input_text", "text": "a"}, {"type": "input_image", "image_url": PNG}],
            [{"type": "input_file", "filename": "n", "file_data": "data:,x"}]]
    for call, output in zip(CALLS, said):
        item = {"type": "function_call_output", "call_id": call, "output": output}
        yield "r" + text([{"role": "user", "content": "hi"}, item])
        yield "r" + text([{"type": "function_call", "call_id": call, "name": "f", "arguments": "{}"}, item, item])
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
    told = ["sunny", "", [{"type": "text", "text": " a "}, image], [image]]
    for call, content in zip(CALLS, told):
        result = {"type": "tool_result", "tool_use_id": call, "content": content, "is_error": call == CALLS[0]}
        asked = {"role": "assistant", "content": [{"type": "tool_use", "id": call, "name": "f", "input": {}}]}
        yield "m" + text([asked, {"role": "user", "content": [result, {"type": "text", "text": "and"}]}])


def conversations() -> Iterator[str]:
    yield text({"metadata": {"a": "b"}})
    yield text({"metadata": None, "items": None})
    yield text({"items": [{"type": "message", "role": role, "content": "hi"} for role in ("user", "assistant", "system")]})
    yield text({"items": [{"role": "user", "content": [{"type": "input_text", "text": "a"}, {
        "type": "input_image", "image_url": PNG}, {"type": "input_file", "filename": "n", "file_data": "data:,x"}]}]})
    yield text({"items": [
        {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "x"}, {"type": "item_reference", "id": "msg_1"},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "t"}]}, {"type": "local_shell_call"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "x"}, {"type": "compaction"}]})


def keys() -> Iterator[str]:
    secret = "centaur_sk_" + "0123456789abcdef" * 3
    for prefix in ("aBearer ", "abearer  ", "aBasic ", "x", "x ", "bBearer not-a-key\n", f"bBearer {secret}\n"):
        yield prefix + secret
    yield from ("f" + secret + "\n", "fsk-proj-A_b\r\nmore", "f \n", "f\nsk", "x" + secret[:-1], "x" + secret.upper())


def seeds(target: str) -> Iterator[bytes]:
    match target:
        case "json" | "session":
            yield from (value.encode() for value in HOSTILE_JSON)
            yield text(HOSTILE_TEXT).encode()
            yield json.dumps(HOSTILE_TEXT).encode()
            yield b'{"text":"hi","id":"m1","busy":"queue","parts":[{"type":"image","data_url":"data:image/png;base64,AA=="}]}'
            yield b'{"parts":[{"type":"text","text":"a"},{"type":"file","name":"n","data_url":"data:,x"}],"role":"user"}'
        case "responses":
            names = ("session-id", "thread-id", "originator", "x-codex", "x-openai-subagent")
            found = requests(TESTS / "ResponsesIngressTests/Fixtures/codex-client", names)
            yield from (seed.encode() for seed in found)
            yield b'x-centaur-thread-key:api:k%0A\nx-centaur-items:full\n\n{"model":"centaur/p","input":"hi","previous_response_id":"r"}'
        case "messages":
            found = requests(TESTS / "MessagesIngressTests/Fixtures/claude-client", ("x-claude", "user-agent"))
            yield from (seed.encode() for seed in found)
        case "codex":
            yield from (part.encode() for script in codex() for part in parts(script))
        case "codex-exec":
            yield from (script.encode() for script in codex_exec())
        case "claude":
            yield from (part.encode() for script in claude() for part in parts(script))
        case "socket":
            yield b'm{"type":"response.create","stream_id":"a","model":"m","input":"hi"}'
            yield b'm{"type":"response.steer","previous_response_id":"r","input":[]}'
            yield b"f\x81\x02hi\x01\x01a\x00\x01b\x80\x01c\x89\x02xy\x8a\x00\x88\x02\x03\xe8"
            yield b"f\x82\x01x"
            yield b"f\x81\xff" + b"a" * 255
        case "shim":
            yield from shim()
        case "gateway":
            yield from (seed.encode() for seed in gateway())
        case "configuration":
            yield from (seed.encode() for seed in configurations())
        case "outputs":
            yield from (seed.encode() for seed in outputs())
        case "conversations":
            yield from (seed.encode() for seed in conversations())
        case "keys":
            yield from (seed.encode() for seed in keys())


ROOMS = {
    "responses": ["ResponsesIngress", "Ingress"], "messages": ["MessagesIngress", "Ingress"], "session": ["SessionAPI"],
    "codex": ["Harness/Codex", "Harness"], "codex-exec": ["Harness/CodexExec"], "claude": ["Harness/ClaudeCode"],
    "socket": ["ResponsesIngress"], "gateway": ["ModelGateway"], "configuration": ["CentaurServer/Configuration"],
    "outputs": ["ResponsesIngress", "MessagesIngress", "Harness"], "conversations": ["ResponsesIngress"],
    "keys": ["CentaurServer/Keys"],
}


def words(target: str) -> set[str]:
    """The texts that a target's readers compare with, in JSON's quotes where they read JSON."""
    found: set[str] = set()
    for room in ROOMS.get(target, []):
        for file in (ROOT / "Sources" / room).glob("*.swift"):
            found |= set(re.findall(r'"([A-Za-z0-9_<>/.: -]{2,48})"', file.read_text()))
    if target in ("codex", "codex-exec", "claude"):
        found |= {">begin x", ">steer x", ">interrupt", ">timer", ">restore", ">warm", "%ASKED%", "%TURN%"}
    return found


def dictionary(target: str) -> str:
    """In libFuzzer's form."""
    tokens = sorted(words(target)) + HOSTILE_TEXT + [value for value in HOSTILE_JSON if len(value) < 40]
    lines = {"".join(
        chr(byte) if 0x20 <= byte < 0x7F and byte not in b'"\\' else f"\\x{byte:02x}" for byte in token.encode())
        for token in tokens}
    return "".join(f'"{line}"\n' for line in sorted(lines))
