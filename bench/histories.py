"""Programs that keep the conversation themselves and send all of it with each request: what a long one costs."""

from __future__ import annotations

import socket
import time

from centaur_server import CentaurServer
from figures import Figure
from http_bytes import request
from measure import Bench, milliseconds
from programs import Backend, BenchFailed, median

ASK = "deltas=2 size=16"


def told(size: int, name: str) -> list[dict]:
    """A conversation of so many bytes that no session of this server has led: roles and texts alone."""
    messages, written = [], 0
    while written < size or not messages:
        number = len(messages) // 2 + 1
        answer = f"Part {number} of {name} is done: " + "the function `read` now returns what it has read;\n" * 80
        messages += [
            {"role": "user", "content": f"What about part {number} of {name}?\nTell me \"briefly\"."},
            {"role": "assistant", "content": answer}]
        written += len(answer) + 200
    return messages


def body(messages: list[dict]) -> bytes:
    return request("POST", "/v1/responses", {"model": "gpt-5.5", "input": messages, "stream": True})


def stream(port: int, ask: bytes, end: bytes = b"[DONE]") -> tuple[float, float, bytes]:
    """Seconds from before the request is sent to the first text, that moment, and all that came up to `end`."""
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        begun, first, seen = time.monotonic(), None, bytearray()
        connection.sendall(ask)
        while end not in seen:
            piece = connection.recv(1 << 16)
            if not piece:
                break
            seen += piece
            if first is None and b"response.output_text.delta" in seen:
                first = time.monotonic() - begun
        if first is None:
            raise BenchFailed(f"no answer: {bytes(seen[:300])!r}")
        return first, begun, bytes(seen)


def answer_of(seen: bytes) -> str:
    """The answer's text: its first words are the harness's times."""
    mark = seen.index(b'"text":"@') + len(b'"text":"')
    return seen[mark:seen.index(b'"', mark)].decode()


class Program:
    """One conversation, kept by its program."""

    def __init__(self, server: CentaurServer, size: int, name: str):
        self.server, self.messages, self.threads = server, told(size, name), set()

    def turn(self) -> float:
        """Seconds until the harness had read what the user says."""
        self.messages.append({"role": "user", "content": ASK})
        _, begun, seen = stream(self.server.port, body(self.messages))
        for line in seen.split(b"\r\n\r\n")[0].lower().split(b"\r\n"):
            if line.startswith(b"x-centaur-thread-key:"):
                self.threads.add(line)
        text = answer_of(seen)
        self.messages.append({"role": "assistant", "content": text})
        return int(text[1:text.index(",")]) / 1e9 - begun


def stateless(bench: Bench, server: CentaurServer) -> None:
    turns, size = bench.times(20, 6), 10_000_000
    # Side by side, so that what else the machine does meets both alike.
    programs = [Program(server, 0, "a"), Program(server, size, "b")]
    new = [program.turn() for program in programs]
    found = [[program.turn() for program in programs] for _ in range(turns)]
    if any(len(program.threads) != 1 for program in programs):
        raise BenchFailed("a conversation that its program keeps did not stay in its session")
    added = median([large - small for small, large in found])
    backend = Backend(2, 16)
    try:
        ask = body(programs[1].messages)
        carried = median([stream(backend.port, ask, b"response.completed")[0] for _ in range(turns)])
    finally:
        backend.end()
    megabytes = len(ask) / 1e6
    bench.figures.append(Figure(
        f"a program's own history of {megabytes:.0f} MB adds", milliseconds(added), "ms",
        "to carry and read those bytes", milliseconds(carried), "< 30 ms", added < 0.03))
    bench.notes.append(
        f"a session that is new and told {megabytes:.0f} MB: {milliseconds(new[1] - new[0]):.0f} ms more until its "
        "harness has the first input, which it is told behind them")
