"""Somebody else's ids are nobody's: every route of the server, with every kind of id, by two owners.

The routes are those of `routes.json`. A unit test (`RouteTableTests`) fails where the server has a route that is not
there. Each case of a route is a request that names something by an id; it is sent with an id of the other owner's, then
with one that nobody has, and the two answers must be the same.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from centaur_server import CentaurServer
from client_tools import WEATHER
from conftest import make_directory, serving
from scripts import COUNT, script, shell, text
from session_api import SessionAPI, answer, kinds, said
from websocket_wire import RawSocket

ROUTES = json.loads((Path(__file__).parent / "routes.json").read_text())
CASES = [
    pytest.param(route["route"], case, id=f"{route['route']} {place}")
    for route in ROUTES for place, case in enumerate(route.get("cases", []))
]
# Told by the other owner's sessions; no answer may have it.
SECRET = "what-only-alice-knows"
# What an answer is not compared by: when it was given, and ids that are made for it.
CHANGING = [
    (re.compile(r"\b(?:req|resp|msg|rs)_[0-9a-f_]+"), "ID"), (re.compile(r"\b[0-9a-f]{32}\b"), "ID"),
    (re.compile(r'"(created_at|created|completed_at)":\s*\d+'), r'"\1":0'),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z"), "TIME")]
NOT_COMPARED = {"date", "request-id", "x-request-id"}


def count_for_one() -> str:
    """What nobody else has said, in so many letters."""
    return script(shell(COUNT), text(f"{{{{stdout}}}} for {uuid.uuid4()}"))


class Alice:
    """The owner whose sessions are looked for: one that is idle, one that runs, and some for each case that would make a
    session of such a name."""

    def __init__(self, server: CentaurServer, key: str):
        self.api = server.api_of(key)
        self.http = self.api.http
        codex_session = str(uuid.uuid4())
        self.thread = f"api:codex:{codex_session}"
        self.api.create(self.thread).raise_for_status()
        first = self.respond(self.thread, f"Reply {SECRET}")
        self.api.message(self.thread, {"text": SECRET, "id": "once"}).raise_for_status()
        self.api.execute(self.thread, {}, **{"idempotency-key": "once"}).raise_for_status()
        events = self.api.settled(self.thread)
        execution = next(event["execution_id"] for event in events if event["kind"] == "execution.queued")
        self.http.put(self.api.path(self.thread, "/files/notes/secret.txt"), content=SECRET).raise_for_status()
        message = self.http.post("/v1/messages", headers={"x-centaur-harness": "codex"}, json={
            "model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": f"Reply {SECRET}"}]})
        conversation = self.http.post("/v1/conversations", json={"items": [{"role": "user", "content": SECRET}]})
        conversation = conversation.raise_for_status().json()["id"]
        listed = self.http.get(f"/v1/conversations/{conversation}/items").raise_for_status().json()["data"]
        compacted = self.http.post("/v1/responses/compact", json={"model": "m", "input": [
            {"role": "user", "content": SECRET}]}).raise_for_status().json()
        self.busy = f"api:{uuid.uuid4()}"
        self.api.create(self.busy).raise_for_status()
        running = self.http.post("/v1/responses", headers={"x-centaur-thread-key": self.busy}, json={
            "model": "m", "input": script(shell("sleep 600"), text(SECRET)), "background": True}).raise_for_status()
        started = self.api.wait_for_kind(self.busy, "item.started")
        # A turn that waits for what only she may answer, and a conversation that is known by all that was said in it.
        self.waits, self.kept = f"api:{uuid.uuid4()}", f"api:{uuid.uuid4()}"
        waiting = self.http.post("/v1/responses", headers={"x-centaur-thread-key": self.waits}, json={
            "model": "m", "input": script({"tool": "weather", "args": {}}, text("heard {{out}}")), "tools": [WEATHER]})
        waiting = waiting.raise_for_status().json()
        asked = count_for_one()
        kept = self.http.post("/v1/responses", headers={"x-centaur-thread-key": self.kept}, json={
            "model": "m", "input": asked}).raise_for_status().json()
        # As a client of `/v1/messages` is given it with its thinking.
        signature = f"rs_{kept['id'].split('_')[1]}_0"
        self.ids = {
            "thread": self.thread, "codex_thread": codex_session, "response": first["id"],
            "execution": execution, "item": f"msg_{execution}_1", "message": message.raise_for_status().json()["id"],
            "session": self.api.show(self.thread).json()["id"], "running": running.json()["id"],
            "running_execution": started["execution_id"], "conversation": conversation,
            "waiting": waiting["output"][-1]["call_id"].removeprefix("call_"), "waiting_response": waiting["id"],
            "asked": asked, "answered": kept["output"][-1]["content"][0]["text"], "signature": signature,
            "conversation_item": listed[0]["id"], "compaction": compacted["output"][-1]["encrypted_content"],
        }

    def respond(self, thread: str, prompt: str, **headers: str) -> dict:
        asked = self.http.post(
            "/v1/responses", headers={"x-centaur-thread-key": thread, **headers}, json={"model": "m", "input": prompt})
        return asked.raise_for_status().json()

    def spare(self) -> dict[str, str]:
        """Sessions of hers that nobody else has named yet."""
        names = {name: str(uuid.uuid4()) for name in ("spare", "codex_spare", "claude_spare", "keyed")}
        found = {**names, "spare": f"api:{names['spare']}", "keyed": f"api:{names['keyed']}"}
        for key in (found["spare"], f"api:codex:{found['codex_spare']}", f"api:claude:{found['claude_spare']}"):
            self.api.create(key).raise_for_status()
            self.api.message(key, {"text": SECRET}).raise_for_status()
        return found

    def keyed(self, thread: str) -> None:
        """Takes a turn under the Idempotency-Key that the other one will use."""
        self.respond(thread, f"Reply {SECRET}", **{"idempotency-key": "once"})

    def logs(self) -> dict[str, list[dict]]:
        """What others might have changed; the agent of the session that runs may say something meanwhile."""
        busy = [event for event in self.api.events(self.busy) if not event["kind"].startswith(("item.", "usage."))]
        conversation = f"/v1/conversations/{self.ids['conversation']}"
        kept = [self.http.get(path).raise_for_status().json() for path in (
            conversation, f"{conversation}/items", f"/v1/responses/{self.ids['response']}")]
        logs = {key: self.api.events(key) for key in (self.thread, self.waits, self.kept)}
        return {**logs, self.busy: busy, "kept": kept}


def nobodys() -> dict[str, str]:
    """Ids of the same forms that nobody has."""
    def hexadecimal() -> str:
        return uuid.uuid4().hex

    execution = hexadecimal()
    return {
        "thread": f"api:codex:{uuid.uuid4()}", "codex_thread": str(uuid.uuid4()),
        "response": f"resp_{hexadecimal()}_1", "execution": execution, "item": f"msg_{execution}_1",
        "message": f"msg_{hexadecimal()}_1", "session": hexadecimal(), "running": f"resp_{hexadecimal()}_1",
        "running_execution": hexadecimal(), "conversation": f"conv_{hexadecimal()}",
        "conversation_item": f"msg_{hexadecimal()}", "compaction": f"centaur_{hexadecimal()}{hexadecimal()}",
        "waiting": f"{hexadecimal()}_1", "waiting_response": f"resp_{hexadecimal()}_1", "asked": count_for_one(),
        "answered": f"1 for {uuid.uuid4()}", "signature": f"rs_{hexadecimal()}_0",
        "spare": f"api:{uuid.uuid4()}", "keyed": f"api:{uuid.uuid4()}",
        "codex_spare": str(uuid.uuid4()), "claude_spare": str(uuid.uuid4()),
    }


class World:
    def __init__(self, server: CentaurServer):
        self.server = server
        self.alice_key, self.bob_key = server.make_key("--owner", "alice"), server.make_key("--owner", "bob")
        self.bob = server.api_of(self.bob_key)
        # Older than all of hers, so that a list that goes back from one of hers would show it.
        self.own = f"api:{uuid.uuid4()}"
        self.bob.create(self.own).raise_for_status()
        made = self.bob.http.post("/v1/conversations", json={}).raise_for_status()
        self.own_names = {"own": self.own, "own_conversation": made.json()["id"]}
        self.alice = Alice(server, self.alice_key)


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    # Alike for both: what a pool has ready would tell them apart by chance.
    config = {"warm_pool": 0, "limits": {
        "key_requests": 100_000, "key_turns": 1000,
        # Bob's sessions are not to need the places of Alice's idle ones.
        "sandboxes": 400, "turns": 400}}
    with serving(CentaurServer(make_directory(), config), lambda: request.session.testsfailed > 0) as server:
        yield World(server)


def filled(value, names: dict[str, str]):
    """A part of a case with the ids in their places."""
    if isinstance(value, str):
        return re.sub(r"\{(\w+)\}", lambda found: names.get(found[1], found[0]), value)
    if isinstance(value, dict):
        return {name: filled(part, names) for name, part in value.items()}
    return [filled(part, names) for part in value] if isinstance(value, list) else value


def ask(api: SessionAPI, route: str, case: dict, ids: dict[str, str], own: dict[str, str]) -> tuple[int, dict, str]:
    """The answer to a case: status, headers and body, without what is new in each answer."""
    names = {**ids, **own, "fresh": str(uuid.uuid4())}
    method = route.split()[0]
    with api.http.stream(
        method, filled(case["path"], names), headers=filled(case.get("headers", {}), names),
        **({"json": filled(case["body"], names)} if "body" in case else {})) as response:
        # An event stream that was let in has no end.
        body = "endless" if case.get("endless") and response.status_code == 200 else response.read().decode()
        headers = {name: value for name, value in response.headers.items() if name not in NOT_COMPARED}
    assert SECRET not in body
    return response.status_code, {name: unnamed(value, names) for name, value in headers.items()}, unnamed(body, names)


def unnamed(text: str, names: dict[str, str]) -> str:
    for name, value in sorted(names.items(), key=lambda pair: -len(pair[1])):
        text = text.replace(value, f"<{name}>").replace(httpx.QueryParams({"": value}).__str__()[1:], f"<{name}>")
    for pattern, replacement in CHANGING:
        text = pattern.sub(replacement, text)
    return text


@pytest.mark.parametrize("route, case", CASES)
def test_somebody_elses_is_nobodys(world: World, route: str, case: dict):
    """What belongs to another owner is answered as what is not there, and nothing of it is changed or told."""
    before = world.alice.logs()
    hers = dict(world.alice.ids)
    if case.get("creates"):
        hers.update(world.alice.spare())
        if "{keyed}" in json.dumps(case):
            world.alice.keyed(hers["keyed"])
    told = ask(world.bob, route, case, hers, world.own_names)
    expected = ask(world.bob, route, case, nobodys(), world.own_names)
    assert told == expected
    if not case.get("creates") and not case["path"].startswith("/api/sessions"):
        assert 400 <= told[0] < 500, told
    assert world.alice.logs() == before, "the owner's log was changed"
    if case.get("creates"):
        for thread in (hers["spare"], f"api:codex:{hers['codex_spare']}", f"api:claude:{hers['claude_spare']}"):
            assert kinds(world.alice.api.events(thread)) == ["session.created", "message.appended"]


@pytest.mark.parametrize("route", [route["route"] for route in ROUTES if route["access"] == "owner"])
def test_every_route_that_takes_an_id_is_tried(route: str):
    """A new route comes with its cases."""
    assert any(found["route"] == route and found.get("cases") for found in ROUTES)


@pytest.mark.parametrize(
    "case", [pytest.param(route["cases"][0], id=route["route"]) for route in ROUTES
             if route["access"] == "owner" and route["route"].startswith("GET ")])
def test_the_owner_finds_it(world: World, case: dict):
    """The ids that are tried are real ones: their owner gets something for each."""
    found = world.alice.http.get(filled(case["path"], world.alice.ids), headers=case.get("headers", {}))
    assert found.status_code == 200, found.text


def test_the_owner_forks_it(world: World):
    """The fork that is tried is a real one, too."""
    case = next(case for _, case in ((param.values) for param in CASES) if case.get("what") == "a fork of Codex's")
    names = {**world.alice.ids, "fresh": str(uuid.uuid4())}
    world.alice.http.post(
        case["path"], headers=filled(case["headers"], names), json=filled(case["body"], names)).raise_for_status()
    events = world.alice.api.events(f"api:codex:{names['fresh']}")
    assert "session.forked" in kinds(events) and said(events)[0] == f"Reply {SECRET}"


@pytest.mark.parametrize("path, what", [
    ("/v1/responses", "an equal history"), ("/v1/messages", "an equal history"),
    ("/v1/messages", "a thought of hers in the history")])
def test_the_owner_is_known_by_it(world: World, path: str, what: str):
    """The histories that are tried are real ones, too: hers go on in her session, with its workspace, or branch off it."""
    [found] = [case for _, case in (param.values for param in CASES) if (case["path"], case.get("what")) == (path, what)]
    before = world.alice.api.known()
    answer = world.alice.http.post(
        path, headers=found.get("headers", {}), json=filled(found["body"], world.alice.ids))
    key = answer.raise_for_status().headers["x-centaur-thread-key"]
    forked = "session.forked" in kinds(world.alice.api.events(key))
    assert key == world.alice.kept or forked, "she is not known"
    assert len(world.alice.api.known() - before) == forked


def test_the_owner_answers_it(world: World):
    """The call that is tried waits for her, and her answer comes through whatever others have sent."""
    call_id = f"call_{world.alice.ids['waiting']}"
    answer = world.alice.http.post("/v1/responses", json={"model": "m", "input": [
        {"type": "function_call_output", "call_id": call_id, "output": "from alice"}]})
    assert "from alice" in json.dumps(answer.raise_for_status().json()["output"])
    assert kinds(world.alice.api.settled(world.alice.waits)).count("execution.resumed") == 1


@pytest.mark.parametrize("name", ["response", "running", "message", "waiting_response"])
def test_on_a_socket(world: World, name: str):
    """A WebSocket's requests find no more than those over HTTP."""
    told = []
    with RawSocket(world.server.v1, headers={"authorization": f"Bearer {world.bob_key}"}) as socket:
        for ids in (world.alice.ids, nobodys()):
            socket.create("Reply NO", previous_response_id=ids[name])
            told.append(json.loads(unnamed(json.dumps(socket.error()), ids)))
    assert told[0] == told[1] and told[0]["error"]["code"] == "previous_response_not_found"


def test_one_thread_key_is_two_sessions(world: World):
    """Two owners may call their sessions by one name; neither hears of the other's."""
    key = f"api:{uuid.uuid4()}"
    for api, words in ((world.alice.api, "from-alice"), (world.bob, "from-bob")):
        api.create(key).raise_for_status()
        api.http.put(api.path(key, "/files/a.txt"), content=words).raise_for_status()
        assert answer(api.run(key, script(shell("cat a.txt"), text("{{stdout}}")))).strip() == words
    for api, words in ((world.alice.api, "from-alice"), (world.bob, "from-bob")):
        assert len(said(api.events(key))) == 1
        assert [session["thread_key"] for session in api.all_sessions()].count(key) == 1
        assert api.http.get(api.path(key, "/files/a.txt")).text == words


def test_lists_are_ones_own(world: World):
    """A list of sessions shows its owner's, page by page."""
    hers = {session["id"] for session in world.alice.api.all_sessions()}
    his = {session["id"] for session in world.bob.all_sessions()}
    assert hers and his and not hers & his


def test_two_keys_of_one_owner_open_the_same(world: World):
    """A key is replaced by making another one of the same owner."""
    second = world.server.api_of(world.server.make_key("--owner", "alice"))
    assert second.events(world.alice.thread) == world.alice.api.events(world.alice.thread)
