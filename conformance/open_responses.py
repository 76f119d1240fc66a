"""The ways in which a request for a response is made, and its answer held to Open Responses 2026-04-24.

A transport carries requests: an object with `create(body, key=None) -> list of events`, which raises `Refused` where the
server refuses. Whoever adds one to `TRANSPORTS` has the whole suite run over it.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import schema
from centaur_server import CentaurServer
from websocket_wire import RawSocket
from wire import SSEStream, check_stream


class Refused(Exception):
    """The server refused a request: its status, and the error that it said why with."""

    def __init__(self, status: int, error: dict):
        super().__init__(status, error)
        self.status = status
        self.error = error


class HTTPTransport:
    """Server-sent events over HTTP."""

    # How it is told of a previous response that there is not.
    not_found = 404

    def __init__(self, server: CentaurServer, harness: str):
        self.server = server
        self.headers = {"X-Centaur-Harness": harness}

    def create(self, body: dict, key: str | None = None) -> list[dict]:
        headers = dict(self.headers, **({"X-Centaur-Thread-Key": key} if key else {}))
        with SSEStream(self.server.v1, {**body, "stream": True}, headers) as stream:
            if stream.status != 200:
                raise Refused(stream.status, json.loads(stream.body())["error"])
            return list(stream.events())


class SocketTransport:
    """A WebSocket for each request."""

    # As Codex wants it, which then tells its conversation anew.
    not_found = 400

    def __init__(self, server: CentaurServer, harness: str):
        self.server = server
        self.headers = {"X-Centaur-Harness": harness}

    def create(self, body: dict, key: str | None = None) -> list[dict]:
        headers = dict(self.headers, **({"X-Centaur-Thread-Key": key} if key else {}))
        with RawSocket(self.server.v1, headers=headers) as socket:
            socket.say({**body, "type": "response.create"})
            events = socket.answer()
        if events[-1]["type"] == "error":
            raise Refused(events[-1]["status"], events[-1]["error"])
        return events


TRANSPORTS: dict[str, Callable[[CentaurServer, str], HTTPTransport | SocketTransport]] = {
    "http": HTTPTransport, "websocket": SocketTransport}


def ask(words: str, **more) -> dict:
    return {"model": "m", "input": words, **more}


def warnings(server: CentaurServer, key: str, code: str) -> list[str]:
    events = [event["payload"] for event in server.api.events(key) if event["kind"] == "warning"]
    return [event["message"] for event in events if event["code"] == code]


def checked(events: list[dict]) -> dict:
    """The finished response of a stream that keeps every rule."""
    check_stream(events)
    return events[-1]["response"]


def spec_fields(name: str = "CreateResponseBody") -> set[str]:
    """The members that the specification's own schema names."""
    return set(schema.document()["components"]["schemas"][name]["properties"])
