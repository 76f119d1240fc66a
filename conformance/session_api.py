"""The session API, as a program of a user's would call it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from urllib.parse import quote

import httpx

TERMINAL = ("execution.completed", "execution.failed", "execution.cancelled")
# Against hanging alone: whatever a test waits for may take this long on a machine with much to do.
WAIT_SECONDS = 120


class SessionAPI:
    def __init__(self, url: str, key: str | None = None):
        self.url = url
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        self.http = httpx.Client(base_url=url, timeout=WAIT_SECONDS, headers=headers)

    def path(self, key: str, rest: str = "") -> str:
        return f"/api/session/{quote(key, safe='')}{rest}"

    def create(self, key: str, **body) -> httpx.Response:
        return self.http.post(self.path(key), json=body)

    def show(self, key: str) -> httpx.Response:
        return self.http.get(self.path(key))

    def message(self, key: str, body: dict, **headers: str) -> httpx.Response:
        return self.http.post(self.path(key, "/messages"), json=body, headers=headers)

    def execute(self, key: str, body: dict | None = None, **headers: str) -> httpx.Response:
        return self.http.post(self.path(key, "/execute"), json=body or {}, headers=headers)

    def interrupt(self, key: str, execution: str | None = None, **headers: str) -> httpx.Response:
        body = {} if execution is None else {"json": {"execution_id": execution}}
        return self.http.post(self.path(key, "/interrupt"), headers=headers, **body)

    def page(self, key: str, after: int = 0, limit: int = 200) -> httpx.Response:
        return self.http.get(
            self.path(key, "/events"), params={"after_event_id": after, "limit": limit},
            headers={"accept": "application/json"})

    def metric(self, name: str) -> float:
        """What `/metrics` says of it; 0 where it was not counted yet."""
        for line in self.http.get("/metrics").raise_for_status().text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
        return 0

    def sessions(self, **query) -> dict:
        return self.http.get("/api/sessions", params=query).raise_for_status().json()

    def all_sessions(self) -> list[dict]:
        found, after = [], {}
        while True:
            page = self.sessions(limit=200, **after)
            found += page["data"]
            if not page["has_more"]:
                return found
            after = {"after": page["next"]}

    def known(self) -> set[str]:
        """The ids of all sessions, to tell new ones from them."""
        return {session["id"] for session in self.all_sessions()}

    def new_session(self, known: set[str]) -> str:
        """The key of the one session that is not `known`, as soon as it is there."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            found = [session["thread_key"] for session in self.all_sessions() if session["id"] not in known]
            assert len(found) < 2, f"more than one new session: {found}"
            if found:
                return found[0]
            assert time.monotonic() < deadline, "no session was made"
            time.sleep(0.05)

    def events(self, key: str) -> list[dict]:
        """The whole log, page by page, checked to be dense."""
        events: list[dict] = []
        while True:
            page = self.page(key, after=len(events), limit=1000).raise_for_status().json()
            events += page["data"]
            if not page["has_more"]:
                break
        assert [event["id"] for event in events] == list(range(1, len(events) + 1)), "the log has gaps"
        return events

    def settled(self, key: str) -> list[dict]:
        """The whole log, once no turn runs: a client may show an answer a moment before its turn's end is written."""
        deadline = time.monotonic() + WAIT_SECONDS
        while "running" in executions(events := self.events(key)).values() and time.monotonic() < deadline:
            time.sleep(0.05)
        return events

    def stream(self, key: str, after: int = 0, last_event_id: str | None = None) -> Iterator[dict]:
        """Follows the log by server-sent events; the caller stops by leaving the loop."""
        headers = {"accept": "text/event-stream"}
        if last_event_id is not None:
            headers["last-event-id"] = last_event_id
        query = {"after_event_id": after} if last_event_id is None else {}
        with self.http.stream(
            "GET", self.path(key, "/events"), params=query, headers=headers, timeout=WAIT_SECONDS) as response:
            response.raise_for_status()
            fields: dict[str, str] = {}
            for line in response.iter_lines():
                if line.startswith(":"):
                    continue
                if line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif fields:
                    event = json.loads(fields["data"])
                    assert fields["id"] == str(event["id"]) and fields["event"] == event["kind"]
                    yield event
                    fields = {}

    def wait(self, key: str, until: Callable[[dict], bool], after: int = 0) -> list[dict]:
        """The events from `after` up to the first one that `until` takes; the session may be yet to come."""
        deadline = time.monotonic() + WAIT_SECONDS
        while self.show(key).status_code == 404 and time.monotonic() < deadline:
            time.sleep(0.05)
        seen = []
        for event in self.stream(key, after):
            seen.append(event)
            if until(event):
                return seen
        raise AssertionError(f"the event stream of {key} ended early: {[event['kind'] for event in seen]}")

    def run(self, key: str, text: str, **more) -> list[dict]:
        """One turn to its end: its events, the terminal one last."""
        admitted = self.execute(key, {"text": text, **more}).raise_for_status().json()
        events = self.wait(
            key, lambda event: event["kind"] in TERMINAL and event["execution_id"] == admitted["execution_id"])
        return [event for event in events if event["execution_id"] == admitted["execution_id"]]

    def wait_for_kind(self, key: str, *kinds: str, after: int = 0) -> dict:
        return self.wait(key, lambda event: event["kind"] in kinds, after)[-1]


def kinds(events: list[dict]) -> list[str]:
    return [event["kind"] for event in events]


def executions(events: list[dict]) -> dict[str, str]:
    """Each execution with the one terminal state that it has, or `running`."""
    found: dict[str, str] = {}
    for event in events:
        execution = event["execution_id"]
        if event["kind"] == "execution.queued":
            found[execution] = "running"
        elif event["kind"] in TERMINAL:
            assert found[execution] == "running", f"{execution} ended twice"
            found[execution] = event["kind"].removeprefix("execution.")
    return found


def items(events: list[dict], type: str) -> list[dict]:
    """The finished items of one type."""
    found = [event["payload"] for event in events if event["kind"] == "item.completed"]
    return [item for item in found if item["type"] == type]


def answer(events: list[dict]) -> str:
    """The last message that the agent wrote."""
    return items(events, "message")[-1]["text"]


def said(events: list[dict]) -> list[str]:
    """What the user said, message by message."""
    return [
        "".join(part.get("text", "") for part in event["payload"]["parts"])
        for event in events if event["kind"] == "message.appended" and event["payload"]["role"] == "user"
    ]
