"""A TCP proxy before the server that cuts a client's connection at a chosen point of an answer."""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass

from tcp_proxy import TCPProxy, reset, shut


@dataclass(frozen=True)
class Cut:
    """After the `count`-th frame that holds `marker` has gone through; with `count` 0 before the answer's first byte.

    As a network fails, or, where it is `clean`, as a proxy that gives up: the body ends as if it were whole.
    """

    marker: bytes = b""
    count: int = 0
    clean: bool = False


BEFORE_HEADERS = Cut()


class CuttingProxy(TCPProxy):
    """Connections go through untouched but for answers to POSTs to `path`: the n-th of these gets `cuts[n]`."""

    def __init__(self, port: int, cuts: list[Cut | None] | None = None, *, path: bytes = b"/responses"):
        self.path = path
        self.cuts = list(cuts or [])
        # How many requests to the path there were, how the answers to them ended ("cut" or "whole"), and their types.
        self.requests = 0
        self.ends: list[str] = []
        self.types: list[str] = []
        self.connections: set[tuple[socket.socket, socket.socket]] = set()
        self.lock = threading.Lock()
        super().__init__(port)

    def take(self, client: socket.socket) -> None:
        threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        server = self.connect()
        with self.lock:
            self.connections.add((client, server))
        pending: list[Cut | None] = []
        wanted = threading.Event()

        def requests() -> None:
            try:
                while data := client.recv(65536):
                    # A request's head is one segment's beginning: clients send it in one write.
                    if data.startswith(b"POST ") and self._is_to_path(data):
                        with self.lock:
                            self.requests += 1
                            pending.append(self.cuts.pop(0) if self.cuts else None)
                        wanted.set()
                    server.sendall(data)
            except OSError:
                pass
            try:
                server.shutdown(socket.SHUT_WR)
            except OSError:
                pass

        threading.Thread(target=requests, daemon=True).start()
        buffer, seen, cut, begun, length = b"", 0, None, False, None
        try:
            while data := server.recv(65536):
                if not begun and pending:
                    cut, begun, seen, buffer, length = pending.pop(0), True, 0, b"", None
                    if cut is None or cut.count > 0:
                        length = self._head(data)
                if cut is None:
                    if length is not None:
                        length -= len(data)
                    # Noted before it is sent: the client may be gone a moment later.
                    if length == 0 or (length is None and data.endswith(b"0\r\n\r\n")):
                        self._ended("whole", begun)
                        begun = False
                    client.sendall(data)
                    continue
                if cut.count == 0:
                    return self._cut(client, server)
                buffer += data
                while (end := buffer.find(b"\n\n")) >= 0:
                    frame, buffer = buffer[: end + 2], buffer[end + 2 :]
                    client.sendall(frame)
                    seen += cut.marker in frame
                    if seen == cut.count and cut.clean:
                        client.sendall(b"\r\n0\r\n\r\n")
                        return self._end(client, server)
                    if seen == cut.count:
                        return self._cut(client, server)
        except OSError:
            pass
        finally:
            with self.lock:
                self.connections.discard((client, server))
            for side in (client, server):
                side.close()

    def cut_all(self) -> None:
        """Cuts whatever goes through now, as when a laptop is closed: nobody hears of it before it wakes."""
        with self.lock:
            connections = list(self.connections)
        for client, server in connections:
            self._cut(client, server)

    def _is_to_path(self, data: bytes) -> bool:
        return data.split(b" ", 2)[1].split(b"?")[0].endswith(self.path)

    def _head(self, data: bytes) -> int | None:
        """Notes what comes; its whole length where the head tells it. The head is one segment's beginning too."""
        head = data.split(b"\r\n\r\n", 1)[0]
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        with self.lock:
            self.types.append(fields.get(b"content-type", b"").decode())
        return len(head) + 4 + int(fields[b"content-length"]) if b"content-length" in fields else None

    def _ended(self, how: str, was_answer: bool) -> None:
        if was_answer:
            with self.lock:
                self.ends.append(how)

    def _cut(self, client: socket.socket, server: socket.socket) -> None:
        """As a network fails: no closing chunk, and a reset for both sides."""
        self._ended("cut", True)
        for side in (client, server):
            reset(side)

    def _end(self, client: socket.socket, server: socket.socket) -> None:
        self._ended("cut", True)
        for side in (client, server):
            shut(side)
