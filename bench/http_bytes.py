"""Requests as bytes, and a plain socket to read small answers: what the bench sends is what is written here."""

from __future__ import annotations

import json
import socket

FIRST_TEXT = "event: response.output_text.delta"
FIRST_TEXT_OF_MESSAGES = "event: content_block_delta"


def request(method: str, path: str, body: dict | None = None, headers: dict[str, str] | None = None) -> bytes:
    data = json.dumps(body).encode() if body is not None else b""
    lines = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1"]
    if data:
        lines += ["content-type: application/json", f"content-length: {len(data)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def turn(text: str, key: str = "bench:%CLIENT%", **headers: str) -> bytes:
    """A program's streaming request for one turn of a session that it names."""
    body = {"model": "gpt-5.5", "input": text, "stream": True}
    return request("POST", "/v1/responses", body, {"x-centaur-thread-key": key, **headers})


def messages_turn(text: str, key: str = "bench:messages:%CLIENT%") -> bytes:
    """The same by the Messages API."""
    body = {"model": "gpt-5.5", "max_tokens": 1000, "messages": [{"role": "user", "content": text}], "stream": True}
    headers = {"x-centaur-thread-key": key, "x-centaur-harness": "codex", "anthropic-version": "2023-06-01"}
    return request("POST", "/v1/messages", body, headers)


def codex_turn(session: str, text: str, history_bytes: int) -> bytes:
    """The request of a Codex CLI (0.163.0) that resumes a session: each time its whole history, a new turn id, and one
    more message of the user."""
    metadata = json.dumps({
        "session_id": session, "thread_id": session, "turn_id": "01a20bee-23d5-7ce3-8342-%NUMBER%ffff",
        "request_kind": "turn", "thread_source": "user", "turn_trigger": "exec"})
    items = [_message("developer", "msg_6a34bb61-c863-5b64-9305-9e7cdbbeaaf9", "You are a coding agent. " * 700)]
    size, number = 0, 0
    while size < history_bytes:
        number += 1
        question = f"What about part {number} of it?\nTell me \"briefly\"."
        answer = f"Part {number} is done: " + "the function `read` now returns what it has read;\n" * 80
        items.append(_message("user", f"msg_01a20bee-2447-7000-8000-{number:012d}", question))
        items.append(_message("assistant", f"msg_01a20bee24477000800000000000_{number}", answer))
        size += len(question) + len(answer) + 400
    items.append(_message("user", "msg_01a20bee-23d5-7ce3-8342-%NUMBER%0000", text))
    body = {
        "model": "gpt-5.5", "stream": True, "input": items, "tools": [], "tool_choice": "auto",
        "parallel_tool_calls": True, "reasoning": {"summary": "auto"}, "store": False,
        "include": ["reasoning.encrypted_content"], "prompt_cache_key": session,
        "client_metadata": {"session_id": session, "thread_id": session, "x-codex-turn-metadata": metadata}}
    return request("POST", "/v1/responses", body, {
        "x-codex-turn-metadata": metadata, "session-id": session, "thread-id": session,
        "accept": "text/event-stream", "originator": "codex_exec"})


def _message(role: str, id: str, text: str) -> dict:
    type = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "id": id, "role": role, "content": [{"type": type, "text": text}]}


class Connection:
    """One keep-alive connection for answers that carry their length."""

    def __init__(self, port: int):
        self.socket = socket.create_connection(("127.0.0.1", port), 30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray(1 << 22)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_) -> None:
        self.socket.close()

    def ask(self, request: bytes) -> tuple[int, bytes]:
        self.socket.sendall(request)
        length, wanted, body = 0, None, 0
        while wanted is None or length < wanted:
            if length == len(self.buffer):
                self.buffer.extend(bytes(len(self.buffer)))
            with memoryview(self.buffer) as view:
                count = self.socket.recv_into(view[length:])
            if count == 0:
                raise ConnectionError("the connection ended in the middle of an answer")
            length += count
            if wanted is None and (end := self.buffer.find(b"\r\n\r\n", 0, length)) >= 0:
                body = end + 4
                wanted = body + content_length(bytes(self.buffer[:end]))
        return int(self.buffer[9:12]), bytes(self.buffer[body:wanted])


def content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.split(b":")[1])
    raise ConnectionError("an answer without its length")
