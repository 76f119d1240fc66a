"""A console that comes back at any point of a session's log: it gets each event once, and the bytes of one that stayed."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator

import httpx
import pytest
from scripts import script, shell, text
from session_api import WAIT_SECONDS, SessionAPI
from test_session_api import error

WORK = script(
    {"reason": "Looking.", "pre_text": "First I look.", "shell": "sleep 0.5; echo a"},
    text("one two three four", chunks=4, delay=0.1))


@pytest.fixture
def key() -> str:
    return f"api:events-{uuid.uuid4()}"


@pytest.fixture
def api(server) -> SessionAPI:
    return server.api


def frames(api: SessionAPI, key: str, last: int | None = None, query: dict | None = None) -> Iterator[bytes]:
    """The frames of a session's events, comments left out."""
    headers = {} if last is None else {"last-event-id": str(last)}
    with httpx.stream(
        "GET", api.url + api.path(key, "/events"), params=query or {}, headers=headers) as response:
        assert response.status_code == 200, response.read()
        buffer = b""
        for data in response.iter_raw():
            buffer += data
            while (end := buffer.find(b"\n\n")) >= 0:
                frame, buffer = buffer[: end + 2], buffer[end + 2 :]
                if not frame.startswith(b":"):
                    yield frame


def id_of(frame: bytes) -> int:
    return int(frame.split(b"\n", 1)[0].removeprefix(b"id: "))


def until(frames: Iterator[bytes], last: int) -> list[bytes]:
    seen = []
    for frame in frames:
        seen.append(frame)
        if id_of(frame) == last:
            return seen
    raise AssertionError(f"the stream ended before {last}: {seen[-1:]}")


def until_end(frames: Iterator[bytes]) -> list[bytes]:
    seen = []
    for frame in frames:
        seen.append(frame)
        if frame.split(b"\n")[1].startswith(b"event: execution.completed"):
            return seen
    raise AssertionError("the stream ended before the turn")


def ran(api: SessionAPI, key: str) -> int:
    """A session with one turn in it: the id of its newest event."""
    api.create(key)
    api.run(key, WORK)
    return api.show(key).json()["last_event_id"]


def test_live_and_later(api, key):
    """Who reads later reads the bytes that who read live did."""
    api.create(key)
    live: list[bytes] = []
    reader = threading.Thread(target=lambda: live.extend(until_end(frames(api, key))))
    reader.start()
    api.execute(key, {"text": WORK}).raise_for_status()
    reader.join(WAIT_SECONDS)
    assert until_end(frames(api, key)) == live and [id_of(frame) for frame in live] == list(range(1, len(live) + 1))


def test_cut_at_every_event(api, key):
    """Cut behind each event of a finished turn: the rest comes, each event once, by header and by parameter."""
    head = ran(api, key)
    whole = until(frames(api, key), head)
    for last in range(head):
        assert until(frames(api, key, last), head) == whole[last:], f"Last-Event-ID: {last}"
        assert until(frames(api, key, query={"after_event_id": last}), head) == whole[last:], last
    assert [json.loads(frame.split(b"data: ")[1]) for frame in whole] == api.events(key)[:head]


def test_cut_at_every_event_while_it_runs(api, key):
    """Cut behind each event while the agent works: a console that comes back each time sees every event once."""
    api.create(key)
    api.execute(key, {"text": WORK}).raise_for_status()
    seen: list[bytes] = []
    while not seen or b"\nevent: execution.completed\n" not in seen[-1]:
        seen.append(next(frames(api, key, id_of(seen[-1]) if seen else 0)))
    assert seen == until(frames(api, key), id_of(seen[-1]))


def test_cut_by_the_servers_death(make_server, key):
    """Killed while a console reads: what it saw and what it comes back for are one log, without a gap or a double."""
    server = make_server()
    server.api.create(key)
    server.api.execute(key, {"text": script(shell("echo a"), text("a b c d e f", chunks=6, delay=0.2))})
    seen = []
    with pytest.raises(httpx.TransportError):
        for frame in frames(server.api, key):
            seen.append(frame)
            if b"\nevent: item.delta\n" in frame and server.process.poll() is None:
                server.kill()
    server.start()
    rest = frames(server.api, key, id_of(seen[-1]))
    seen += until_end(rest)
    assert [id_of(frame) for frame in seen] == list(range(1, len(seen) + 1))
    assert until(frames(server.api, key), id_of(seen[-1])) == seen


def test_from_the_head_and_from_the_future(api, key):
    """From the head the next event comes; from the future nothing comes before that event is there."""
    head = ran(api, key)
    for ahead in (0, 2):
        begun = threading.Event()
        seen: list[bytes] = []

        def read(last: int = head + ahead) -> None:
            url = api.url + api.path(key, "/events")
            with httpx.stream("GET", url, headers={"last-event-id": str(last)}) as response:
                for line in response.iter_lines():
                    begun.set()
                    if line.startswith("id: "):
                        seen.append(int(line.removeprefix("id: ")))
                        return

        reader = threading.Thread(target=read)
        reader.start()
        assert begun.wait(WAIT_SECONDS), "a subscriber is told that it is one"
        for _ in range(ahead + 1):
            assert reader.is_alive() and not seen
            head = api.message(key, {"text": "x"}).json()["event_id"]
        reader.join(WAIT_SECONDS)
        assert seen == [head]


def test_beyond_what_there_is(api, key):
    """A page behind the newest event is empty; a session that there is not has no events to wait for."""
    head = ran(api, key)
    for after in (head, head + 1, 2**62):
        assert api.page(key, after=after).json() == {"data": [], "has_more": False}
    for headers in ({"accept": "application/json"}, {"accept": "text/event-stream"}, {"last-event-id": "5"}):
        assert error(api.http.get(api.path("api:gone", "/events"), headers=headers)) == (404, "session_not_found")


def test_header_and_parameter(api, key):
    """An EventSource comes back with the address that it began with and the header of where it is: the header counts."""
    head = ran(api, key)
    assert id_of(next(frames(api, key, head - 1, {"after_event_id": 2}))) == head
    page = api.http.get(
        api.path(key, "/events"), params={"after_event_id": 2},
        headers={"accept": "application/json", "last-event-id": str(head - 1)})
    assert [event["id"] for event in page.json()["data"]] == [head]
    for name, value in (("last-event-id", "-1"), ("last-event-id", "1.5"), ("last-event-id", "")):
        assert error(api.http.get(api.path(key, "/events"), headers={name: value})) == (400, "invalid_value")
    for after in ("-1", "x", "9" * 30):
        answer = api.http.get(api.path(key, "/events"), params={"after_event_id": after})
        assert error(answer) == (400, "invalid_value")
