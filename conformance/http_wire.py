"""One request over HTTP/1.1 on a socket of its own, byte by byte, and the head of its answer."""

from __future__ import annotations

import socket
from typing import Self


def request_head(line: str, fields: dict[str, str]) -> bytes:
    return "\r\n".join([line, *(f"{name}: {value}" for name, value in fields.items())]).encode() + b"\r\n\r\n"


class Exchange:
    """What was asked is sent, and the answer's head is read; the body is for whoever fills this in."""

    def __init__(self, connection: socket.socket, request: bytes):
        self.socket = connection
        self.socket.sendall(request)
        self.reader = self.socket.makefile("rb")
        self.status = int(self.reader.readline().split()[1])
        self.headers: dict[str, str] = {}
        while line := self.reader.readline().strip():
            name, _, value = line.decode().partition(":")
            self.headers[name.lower()] = value.strip()
        # The body's pieces as they came.
        self.raw: list[bytes] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        self.reader.close()
        self.socket.close()
