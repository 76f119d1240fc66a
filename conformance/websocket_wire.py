"""WebSockets byte by byte: a proxy that sees what a client says on them and may cut them, and a client that may say
anything."""

from __future__ import annotations

import base64
import json
import os
import socket
import threading
from dataclasses import dataclass, field

import httpx
from http_wire import Exchange, request_head
from session_api import WAIT_SECONDS
from tcp_proxy import TCPProxy, reset, shut
from wire import check_stream

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def mask(data: bytes, key: bytes) -> bytes:
    whole = (key * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(whole, "big")).to_bytes(len(data), "big")


class FrameReader:
    """Frames out of bytes; what is incomplete waits."""

    def __init__(self):
        self.buffer = b""

    def frames(self, data: bytes) -> list[tuple[int, bytes]]:
        self.buffer += data
        found = []
        while (frame := self._next()) is not None:
            found.append(frame)
        return found

    def _next(self) -> tuple[int, bytes] | None:
        data = self.buffer
        if len(data) < 2:
            return None
        length, at = data[1] & 0x7F, 2
        if length >= 126:
            size = 2 if length == 126 else 8
            if len(data) < at + size:
                return None
            length, at = int.from_bytes(data[at : at + size], "big"), at + size
        key = b""
        if data[1] & 0x80:
            key, at = data[at : at + 4], at + 4
        if len(data) < at + length:
            return None
        payload = data[at : at + length]
        self.buffer = data[at + length :]
        return data[0], mask(payload, key) if key else payload


@dataclass
class SeenSocket:
    """A connection of a client through the proxy: the first line of each request over HTTP, and its messages."""

    requests: list[str] = field(default_factory=list)
    messages: list[dict] = field(default_factory=list)
    end: str = ""


@dataclass(frozen=True)
class SocketCut:
    """After the `count`-th piece with `marker` of what the server sends has gone through."""

    marker: bytes
    count: int = 1


class SocketProxy(TCPProxy):
    """A TCP proxy before the server. The n-th WebSocket gets `cuts[n]`."""

    def __init__(self, port: int, cuts: list[SocketCut | None] | None = None):
        self.cuts = list(cuts or [])
        self.sockets: list[SeenSocket] = []
        self.open: set[tuple[socket.socket, socket.socket]] = set()
        self.changed = threading.Condition()
        super().__init__(port)

    def __exit__(self, *_) -> None:
        super().__exit__()
        self.cut_all()

    @property
    def posts(self) -> list[str]:
        """The requests that were no WebSocket."""
        return [line for seen in self.sockets for line in seen.requests if not line.startswith("GET /v1/responses ")]

    @property
    def creates(self) -> list[dict]:
        """The messages of all WebSockets that ask for an answer."""
        return [
            message for seen in self.sockets for message in seen.messages if message.get("generate") is not False]

    def wait(self, until) -> None:
        with self.changed:
            assert self.changed.wait_for(until, WAIT_SECONDS), [vars(seen) for seen in self.sockets]

    def _note(self, change) -> None:
        with self.changed:
            change()
            self.changed.notify_all()

    def take(self, client: socket.socket) -> None:
        seen, server = SeenSocket(), self.connect()
        with self.changed:
            self.sockets.append(seen)
            self.open.add((client, server))
        cut = self.cuts.pop(0) if self.cuts else None
        threading.Thread(target=self._requests, args=(client, server, seen), daemon=True).start()
        threading.Thread(target=self._answers, args=(client, server, seen, cut), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket, seen: SeenSocket) -> None:
        reader, is_socket = FrameReader(), False
        try:
            while data := client.recv(65536):
                if is_socket:
                    for first, payload in reader.frames(data):
                        if first & 0x0F == TEXT:
                            self._note(lambda: seen.messages.append(json.loads(payload)))
                elif data.split(b" ", 1)[0] in (b"GET", b"POST"):
                    # A request's head is one segment's beginning: clients send it in one write.
                    self._note(lambda: seen.requests.append(data.split(b" HTTP", 1)[0].decode() + " "))
                    is_socket = b"websocket" in data.lower()
                server.sendall(data)
        except OSError:
            pass
        self._end(client, server, seen, "client")

    def _answers(self, client: socket.socket, server: socket.socket, seen: SeenSocket, cut: SocketCut | None) -> None:
        count = 0
        try:
            while data := server.recv(65536):
                if cut is not None and (found := data.count(cut.marker)):
                    count += found
                    if count >= cut.count:
                        # The piece goes through as far as the marker: the client sees half a message.
                        client.sendall(data[: data.rfind(cut.marker) + len(cut.marker)])
                        return self._end(client, server, seen, "cut")
                client.sendall(data)
        except OSError:
            pass
        self._end(client, server, seen, "server")

    def cut_all(self) -> None:
        with self.changed:
            connections = list(self.open)
        for sides in connections:
            for side in sides:
                reset(side)

    def _end(self, client: socket.socket, server: socket.socket, seen: SeenSocket, how: str) -> None:
        def change() -> None:
            seen.end = seen.end or how
            self.open.discard((client, server))

        self._note(change)
        for side in (client, server):
            shut(side)


class RawSocket(Exchange):
    """A client that may say anything. Pings are answered unless `is_dead`."""

    def __init__(
        self, base_url: str, *, headers: dict[str, str] | None = None, timeout: float = WAIT_SECONDS, is_dead: bool = False,
        receive_buffer: int | None = None, head: dict[str, str] | None = None, glued: bytes = b""):
        url = httpx.URL(f"{base_url}/responses")
        self.is_dead = is_dead
        connection = socket.socket()
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(timeout)
        connection.connect((url.host, url.port))
        fields = {
            "host": f"{url.host}:{url.port}", "upgrade": "websocket", "connection": "Upgrade",
            "sec-websocket-version": "13", "sec-websocket-key": base64.b64encode(os.urandom(16)).decode(),
            **(headers or {}), **(head or {})}
        asked = request_head(
            f"GET {url.raw_path.decode()} HTTP/1.1", {name: value for name, value in fields.items() if value})
        super().__init__(connection, asked + glued)
        self.pings = 0

    def body(self) -> bytes:
        """Of an answer that is no WebSocket; the connection ends behind it."""
        found = self.reader.read(int(self.headers["content-length"]))
        assert self.reader.read() == b"", "the connection goes on"
        return found

    @staticmethod
    def frame(
        opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True,
        length: int | None = None
    ) -> bytes:
        size = len(payload) if length is None else length
        head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
        bit = 0x80 if masked else 0
        if size < 126:
            head += bytes([bit | size])
        elif size < 1 << 16:
            head += bytes([bit | 126]) + size.to_bytes(2, "big")
        else:
            head += bytes([bit | 127]) + size.to_bytes(8, "big")
        key = os.urandom(4)
        return head + (key + mask(payload, key) if masked else payload)

    def send(self, opcode: int, payload: bytes = b"", **more) -> None:
        self.socket.sendall(self.frame(opcode, payload, **more))

    def say(self, message: dict | str | bytes) -> None:
        data = message if isinstance(message, bytes) else (
            message.encode() if isinstance(message, str) else json.dumps(message).encode())
        self.send(TEXT, data)

    def create(self, input=None, **more) -> None:
        body = {"type": "response.create", "model": "gpt-5.5", **more}
        self.say(body if input is None else {**body, "input": input})

    def receive(self) -> tuple[int, bytes]:
        """The next frame; an answer to a ping is given by the way. `EOFError` at the connection's end."""
        while True:
            head = self._read(2)
            assert head[0] & 0xF0 == 0x80 and head[1] & 0x80 == 0, f"frame head {head!r}"
            size = head[1] & 0x7F
            if size >= 126:
                size = int.from_bytes(self._read(2 if size == 126 else 8), "big")
            payload = self._read(size)
            if head[0] & 0x0F != PING:
                return head[0] & 0x0F, payload
            self.pings += 1
            if not self.is_dead:
                self.send(PONG, payload)

    def _read(self, size: int) -> bytes:
        data = self.reader.read(size)
        if len(data) < size:
            raise EOFError
        return data

    def event(self) -> dict:
        opcode, payload = self.receive()
        assert opcode == TEXT, (opcode, payload)
        self.raw.append(payload)
        return json.loads(payload)

    def answer(self) -> list[dict]:
        """The events of one response, to its end, or an error."""
        events = [self.event()]
        while events[-1]["type"] not in ("response.completed", "response.failed", "response.incomplete", "error"):
            events.append(self.event())
        return events

    def response(self) -> dict:
        """The next response, whose stream keeps the rules."""
        events = self.answer()
        assert "response" in events[-1], events[-1]
        check_stream(events)
        return events[-1]["response"]

    def begun(self) -> dict:
        """The second event of a response, behind which its agent works."""
        assert self.event()["type"] == "response.created"
        event = self.event()
        assert event["type"] == "response.in_progress", event
        return event

    def error(self) -> dict:
        event = self.event()
        assert event["type"] == "error", event
        return event

    def close_code(self) -> int:
        """Reads on to the server's closing; the code."""
        while True:
            opcode, payload = self.receive()
            if opcode == CLOSE:
                return int.from_bytes(payload[:2], "big") if payload else 1005

    def ended(self) -> None:
        """Closes as one does, and sees the connection end."""
        self.send(CLOSE, (1000).to_bytes(2, "big"))
        try:
            while True:
                self.receive()
        except (EOFError, ConnectionError):
            pass
