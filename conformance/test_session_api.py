"""The session API: create, add, execute, interrupt, read."""

import json
import uuid

import httpx
import pytest
from gate import Gate
from scripts import COUNT, script, shell, text
from session_api import SessionAPI, executions, items, kinds, said


@pytest.fixture
def key() -> str:
    return f"api:console/ä {uuid.uuid4()}"


@pytest.fixture
def api(server) -> SessionAPI:
    return server.api


def error(response: httpx.Response) -> tuple[int, str]:
    found = response.json()["error"]
    assert found["message"] and set(found) == {"code", "message", "param"}
    return response.status_code, found["code"]


def test_create_and_read(api, key):
    """A session is made once; who makes it again gets the same one."""
    assert error(api.show(key)) == (404, "session_not_found")
    made = api.create(key)
    assert made.status_code == 201
    session = made.json()
    assert (session["thread_key"], session["harness"], session["last_event_id"]) == (key, "codex", 1)
    again = api.create(key)
    assert (again.status_code, again.json()) == (200, session)
    assert api.show(key).json()["id"] == session["id"]
    [created] = api.events(key)
    assert created["kind"] == "session.created" and created["payload"]["origin"] == "session_api"
    assert created["execution_id"] is None and created["created_at"].endswith("Z")


def test_another_harness_or_persona_is_a_conflict(make_server, key):
    """A session keeps the harness and the persona that it began with."""
    api = make_server({"personas": {"one": {}, "two": {}}}).api
    assert api.create(key, harness="codex", persona="one").status_code == 201
    assert api.create(key, harness="codex", persona="one").status_code == 200
    assert api.create(key).status_code == 200
    assert error(api.create(key, harness="codex-exec")) == (409, "harness_conflict")
    assert error(api.create(key, persona="two")) == (409, "persona_conflict")
    assert error(api.create("api:new", harness="nobody")) == (400, "unknown_harness")
    assert error(api.create("api:new", persona="nobody")) == (400, "unknown_persona")
    assert error(api.show("api:new")) == (404, "session_not_found")


def test_instructions_are_those_of_the_newest_turn(api, key):
    """Instructions of `execute` hold from that turn on, as in the other APIs; another opening with others is told that
    they would have no effect, and changes nothing."""
    ask = script(text("{{instructions}}"))
    assert api.create(key, instructions="Pirate 1.").status_code == 201
    assert api.create(key, instructions="Pirate 1.").status_code == 200
    refused = api.create(key, instructions="Judge 2.")
    assert error(refused) == (409, "instructions_conflict") and refused.json()["error"]["param"] == "instructions"
    answers = []
    for instructions in (None, "Judge 2.", None):
        more = {} if instructions is None else {"instructions": instructions}
        answers.append(items(api.run(key, ask, **more), "message")[-1]["text"])
    assert "Pirate 1." in answers[0] and "Judge" not in answers[0]
    assert all("Judge 2." in answer and answer.count("<new_instructions>") == 1 for answer in answers[1:])
    assert api.create(key, instructions="Judge 2.").status_code == 200
    assert error(api.execute(key, {"text": ask, "instructions": 7})) == (400, "invalid_type")


def test_message_then_execute(api, key):
    """What was added waits for the next execution, which answers all of it."""
    api.create(key)
    first = api.message(key, {"text": "a word before"})
    assert first.status_code == 201 and first.json()["event_id"] == 2
    api.message(key, {"role": "user", "parts": [{"type": "text", "text": "Reply HEARD"}], "id": "mine-1"})
    admitted = api.execute(key)
    assert admitted.status_code == 202 and admitted.json()["status"] in ("queued", "running")
    events = api.wait(key, lambda event: event["kind"] == "execution.completed")
    assert events[-1]["execution_id"] == admitted.json()["execution_id"]
    assert said(events) == ["a word before", "Reply HEARD"]
    assert items(events, "message")[-1]["text"] == "HEARD"
    usage = events[-1]["payload"]["usage"]
    assert usage["model_calls"] >= 1 and usage["sum"]["input_tokens"] > 0
    shown = api.show(key).json()
    assert shown["newest_execution"]["status"] == "completed"
    assert shown["last_event_id"] == events[-1]["id"]


def test_execute_with_its_own_message(api, key):
    """One request is enough for a turn."""
    api.create(key)
    api.execute(key, {"text": script(shell(COUNT), text("{{stdout}}"))}).raise_for_status()
    events = api.wait(key, lambda event: event["kind"] == "execution.completed")
    [command] = items(events, "command")
    assert (command["output"].strip(), command["exit_code"]) == ("1", 0)
    assert "echo x >> count.txt" in command["command"]


def test_every_kind_of_work_is_in_the_log(api, key):
    """Reasoning, commands, edits and messages are items with all that they hold."""
    api.create(key)
    api.execute(key, {"text": script(
        shell("echo out; exit 4", reason="Thinking first."),
        {"patch": "*** Begin Patch\n*** Add File: made.txt\n+content\n*** End Patch"}, text("done"))})
    events = api.wait(key, lambda event: event["kind"] in ("execution.completed", "execution.failed"))
    assert events[-1]["kind"] == "execution.completed", events[-1]
    assert "Thinking first." in str(items(events, "reasoning"))
    [command] = items(events, "command")
    assert (command["exit_code"], command["status"]) == (4, "failed")
    [change] = items(events, "file_change")
    assert [entry["kind"] for entry in change["changes"]] == ["add"] and "made.txt" in change["changes"][0]["path"]
    assert "content" in change["changes"][0]["diff"]
    assert items(events, "message")[-1]["text"] == "done"
    started = [event["payload"]["item_id"] for event in events if event["kind"] == "item.started"]
    closed = [event["payload"]["item_id"] for event in events if event["kind"] == "item.completed"]
    assert len(set(started)) == len(started) and set(started) <= set(closed)


def test_idempotency_keys(api, key):
    """A repeated request under one key does its work once and is answered alike."""
    api.create(key)
    headers = {"idempotency-key": str(uuid.uuid4())}
    one = api.message(key, {"text": "Reply ONCE"}, **headers)
    two = api.message(key, {"text": "Reply ONCE"}, **headers)
    assert one.json() == two.json()
    headers = {"idempotency-key": str(uuid.uuid4())}
    first = api.execute(key, **headers).json()
    api.wait_for_kind(key, "execution.completed")
    second = api.execute(key, **headers).json()
    assert first["execution_id"] == second["execution_id"] and second["replayed"] is True
    events = api.events(key)
    assert len(said(events)) == 1 and len(executions(events)) == 1


def test_nothing_to_execute(api, key):
    """An execution without anything said is refused."""
    api.create(key)
    assert error(api.execute(key)) == (400, "empty_input")
    assert kinds(api.events(key)) == ["session.created"]


def test_interrupt(api, key):
    """An interrupt ends the running turn and its command; without one it is a conflict."""
    api.create(key)
    assert error(api.interrupt(key)) == (409, "nothing_running")
    execution = api.execute(key, {"text": script(shell("sleep 120"), text("never"))}).json()["execution_id"]
    api.wait_for_kind(key, "item.started")
    answer = api.interrupt(key)
    assert (answer.status_code, answer.json()["execution_id"]) == (202, execution)
    cancelled = api.wait_for_kind(key, "execution.cancelled")
    assert cancelled["execution_id"] == execution
    assert error(api.interrupt(key)) == (409, "nothing_running")
    api.execute(key, {"text": "Reply AFTER"})
    api.wait_for_kind(key, "execution.completed")


def begin(api: SessionAPI, key: str, prompt: str) -> str:
    """A turn at work: its id."""
    after = api.show(key).json()["last_event_id"]
    execution = api.execute(key, {"text": prompt}).raise_for_status().json()["execution_id"]
    api.wait(key, lambda event: event["kind"] == "item.started" and event["execution_id"] == execution, after)
    return execution


def ended(api: SessionAPI, key: str, execution: str) -> str:
    events = api.wait(key, lambda event: event["execution_id"] == execution and event["kind"] in (
        "execution.completed", "execution.cancelled", "execution.failed"))
    return events[-1]["kind"].removeprefix("execution.")


def test_interrupt_of_a_named_turn(api, key):
    """A named interrupt may be sent again at any time: it is about that turn, never about the one behind it."""
    api.create(key)
    first = begin(api, key, script(shell("sleep 120"), text("never")))
    second = api.execute(key, {"text": script(shell(f"sleep 1; {COUNT}"), text("{{stdout}}"))}).json()["execution_id"]
    answer = api.interrupt(key, first)
    assert answer.status_code == 202 and answer.json()["execution_id"] == first
    assert answer.json()["status"] in ("running", "cancelled")
    assert ended(api, key, first) == "cancelled"
    again = api.interrupt(key, first)
    assert (again.status_code, again.json()) == (202, {"execution_id": first, "status": "cancelled"})
    assert ended(api, key, second) == "completed"
    assert api.interrupt(key, second).json() == {"execution_id": second, "status": "completed"}
    events = api.settled(key)
    assert list(executions(events).values()) == ["cancelled", "completed"]
    assert items(events, "command")[-1]["output"].strip() == "1"
    assert error(api.interrupt(key, "nowhere")) == (404, "execution_not_found")
    api.create(f"{key}-other")
    assert error(api.interrupt(f"{key}-other", first)) == (404, "execution_not_found")
    assert error(api.http.post(api.path(key, "/interrupt"), json={"execution_id": 5})) == (400, "invalid_type")


def test_interrupt_of_a_turn_that_waits(make_server, key):
    """Where nothing runs, the turn that would be next is ended before it began."""
    api = make_server({"limits": {"sandboxes": 1}}).api
    api.create("api:other")
    other = begin(api, "api:other", script(shell("sleep 120"), text("never")))
    api.create(key)
    waiting = api.execute(key, {"text": script(shell(COUNT), text("x"))}).json()["execution_id"]
    assert api.interrupt(key).json() == {"execution_id": waiting, "status": "cancelled"}
    assert error(api.interrupt(key)) == (409, "nothing_running")
    api.interrupt("api:other", other)
    assert ended(api, "api:other", other) == "cancelled"
    assert [event["kind"] for event in api.events(key)][-1] == "execution.cancelled"


def test_interrupt_under_a_key(make_server, key):
    """Sent again under its key, an interrupt is answered alike and ends nothing else, also by the next server."""
    server = make_server()
    api = server.api
    api.create(key)
    again = {"idempotency-key": str(uuid.uuid4())}
    first = begin(api, key, script(shell("sleep 120"), text("never")))
    assert api.interrupt(key, **again).json()["execution_id"] == first
    assert ended(api, key, first) == "cancelled"
    second = begin(api, key, script(shell("sleep 1"), text("two")))
    assert api.interrupt(key, **again).json() == {"execution_id": first, "status": "cancelled"}
    assert error(api.interrupt(key, second, **again)) == (409, "idempotency_conflict")
    assert ended(api, key, second) == "completed"
    server.kill()
    api = server.start().api
    third = begin(api, key, script(shell("sleep 1"), text("three")))
    assert api.interrupt(key, **again).json() == {"execution_id": first, "status": "cancelled"}
    assert ended(api, key, third) == "completed"


def test_busy(api, server, key):
    """A second execution waits, replaces the first, or is refused, as asked."""
    api.create(key)
    gate = Gate(server)
    api.execute(key, {"text": script(shell(gate.command), text("one"))})
    api.wait_for_kind(key, "item.started")
    assert error(api.execute(key, {"text": "Reply X", "busy": "reject"})) == (409, "session_busy")
    queued = api.execute(key, {"text": "Reply TWO"}).json()
    assert queued["status"] == "queued"
    gate.open()
    api.wait(key, lambda event: event["kind"] == "execution.completed"
             and event["execution_id"] == queued["execution_id"])
    assert list(executions(api.events(key)).values()) == ["completed", "completed"]
    api.execute(key, {"text": script(shell("sleep 120"), text("three"))})
    last = api.wait(key, lambda event: event["kind"] == "item.started"
                    and "sleep 120" in json.dumps(event["payload"]))[-1]
    api.execute(key, {"text": "Reply FOUR", "busy": "supersede"})
    api.wait_for_kind(key, "execution.completed", after=last["id"])
    assert list(executions(api.events(key)).values()) == ["completed", "completed", "cancelled", "completed"]


def test_pages(api, key):
    """A page says whether there is more, and begins after the event that was asked for."""
    api.create(key)
    for number in range(12):
        api.message(key, {"text": f"message {number}"})
    whole = api.page(key).json()
    assert len(whole["data"]) == 13 and whole["has_more"] is False
    first = api.page(key, limit=5).json()
    assert [event["id"] for event in first["data"]] == [1, 2, 3, 4, 5] and first["has_more"] is True
    rest = api.page(key, after=11, limit=5).json()
    assert [event["id"] for event in rest["data"]] == [12, 13] and rest["has_more"] is False
    assert api.page(key, after=500).json() == {"data": [], "has_more": False}


def test_event_stream_resumes(api, key):
    """A console that lost its connection misses nothing and sees nothing twice."""
    api.create(key)
    api.execute(key, {"text": script(shell("echo a"), text("one two three", chunks=3))})
    whole = api.wait(key, lambda event: event["kind"] == "execution.completed")
    assert [event["id"] for event in whole] == list(range(1, len(whole) + 1))
    middle = len(whole) // 2
    by_header = []
    for event in api.stream(key, last_event_id=str(middle)):
        by_header.append(event)
        if event["id"] == len(whole):
            break
    assert by_header == whole[middle:]
    assert api.wait(key, lambda event: event["id"] == len(whole), after=middle) == whole[middle:]
    assert api.events(key)[: len(whole)] == whole, "pages and stream tell the same"


def test_bad_parameters(api, key):
    """Parameters that cannot be are refused by name."""
    api.create(key)
    assert error(api.page(key, limit=0)) == (400, "invalid_value")
    assert error(api.page(key, limit=100_000)) == (400, "invalid_value")
    assert error(api.page(key, after=-1)) == (400, "invalid_value")
    response = api.http.get(
        api.path(key, "/events"), headers={"accept": "application/json", "last-event-id": "x"})
    assert error(response) == (400, "invalid_value")
    assert error(api.http.post(api.path(key, "/messages"), content=b"{")) == (400, "invalid_json")
    assert error(api.message(key, {"text": 5})) == (400, "invalid_type")
    assert error(api.message(key, {"text": ""})) == (400, "empty_input")
    assert error(api.message(key, {"role": "assistant", "text": "x"})) == (400, "invalid_value")
    assert kinds(api.events(key)) == ["session.created"]


@pytest.mark.parametrize("type, url", [
    ("image", "http://127.0.0.1:9/x.png"), ("image", "data:image/png;base64,###"), ("image", "data:image/png;base64,AAA"),
    ("image", "data:text/plain,x"), ("image", "data:image/png"), ("image", "data:image/png;base64,"), ("image", 7),
    ("file", "file:///etc/passwd"), ("file", "data:application/pdf;base64,é"), ("file", None)])
def test_content_that_nobody_could_read(api, key, type, url):
    """Where a message is kept for later, too: the turn would be the worse place to learn it."""
    api.create(key)
    part = {"type": type, "data_url": url}
    for send in (api.message, api.execute):
        response = send(key, {"parts": [{"type": "text", "text": "look"}, part]})
        assert error(response) == (400, "invalid_value"), response.text
        assert response.json()["error"]["param"] == "parts[1].data_url"
    assert kinds(api.events(key)) == ["session.created"]


def test_unknown_session(api):
    """Nothing can be done with a session that there is not."""
    for answer in (
        api.show("api:no"), api.message("api:no", {"text": "x"}), api.execute("api:no", {"text": "x"}),
        api.interrupt("api:no"), api.page("api:no")):
        assert error(answer) == (404, "session_not_found")


def test_list_of_sessions(make_server):
    """All sessions can be read, page by page, each once."""
    api = make_server().api
    keys = [f"api:list-{number}" for number in range(7)]
    for key in keys:
        api.create(key)
    seen, query = [], {}
    while True:
        page = api.sessions(limit=3, **query)
        assert len(page["data"]) <= 3
        seen += [session["thread_key"] for session in page["data"]]
        if not page["has_more"]:
            break
        query = {"after": page["next"]}
    assert sorted(seen) == keys


def test_both_ways_in(api, server, sdk, key):
    """A session that a program began is the console's too, and the other way round."""
    raw = sdk.responses.with_raw_response.create(model="m", input="Reply ONE")
    own = raw.headers["x-centaur-thread-key"]
    api.execute(own, {"text": script(text("{{history}}"))})
    second = api.wait(own, lambda event: event["kind"] == "execution.completed", after=len(api.events(own)) - 1)
    assert second
    assert items(api.events(own), "message")[-1]["text"] == "2"
