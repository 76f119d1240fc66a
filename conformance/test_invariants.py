"""The invariant checker against itself: a log that a real server wrote keeps them, and each way to spoil it is found."""

import hashlib
import json
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path

import invariants
import pytest
from centaur_server import CentaurServer
from conftest import KEPT, make_directory, remove
from scripts import COUNT, script, shell, text


@pytest.fixture(scope="module")
def written(request) -> Iterator[Path]:
    """The data directory of a server that was killed after two turns of one session."""
    made = make_directory()
    server = CentaurServer(made)
    try:
        server.start()
        key = f"api:{uuid.uuid4()}"
        server.api.create(key)
        for number in range(2):
            message = {"id": f"m{number}", "text": script(
                shell(COUNT), text("the answer comes in pieces", chunks=4, delay=0.01))}
            server.api.message(key, message).raise_for_status()
            server.api.run(key, f"Reply {number}")
        server.kill()
        yield server.data
    finally:
        server.end()
        remove(made, request.session.stash.get(KEPT, False))


def copy_of(data: Path, directory: Path) -> Path:
    copy = directory / "data"
    copy.mkdir()
    for file in data.glob("centaur.sqlite*"):
        shutil.copy(file, copy)
    return copy


def digests(data: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in data.glob("centaur.sqlite*")}


def test_what_a_killed_server_wrote_keeps_them(written):
    """The checker neither cries wolf nor touches the store that it reads."""
    before = digests(written)
    assert any(name.endswith("-wal") for name in before), "the server was killed: its log is there"
    invariants.check(written, settled=True)
    after = digests(written)
    assert {name: after[name] for name in before if not name.endswith("-shm")} == {
        name: digest for name, digest in before.items() if not name.endswith("-shm")}


EVENTS = "seq, execution, kind, payload, created_at, source_offset, source_index"
END = "(SELECT max(seq) FROM events WHERE kind = 'execution.completed')"
# Each spoils the log, or what is kept beside it, and what the checker is to say then.
SPOILED = {
    "an event is lost": ("DELETE FROM events WHERE seq = 5", "seq is not dense: 5 is missing"),
    "the last event is lost": (
        "DELETE FROM events WHERE seq = (SELECT max(seq) FROM events)", "sessions.next_seq is"),
    "a turn ends twice": (
        f"INSERT INTO events SELECT session, (SELECT max(seq) FROM events) + 1, {EVENTS.removeprefix('seq, ')}"
        f" FROM events WHERE seq = {END}", "after its turn's end"),
    "a turn's end is lost": (
        f"UPDATE events SET kind = 'warning' WHERE seq = {END}", "has no end"),
    "a turn starts twice": (
        "UPDATE events SET kind = 'execution.started' WHERE kind = 'usage.updated'", "a turn starts twice"),
    "a turn starts while another runs": (
        "DELETE FROM events WHERE seq = (SELECT min(seq) FROM events WHERE kind = 'execution.completed')",
        "a turn starts while"),
    "an item is closed twice": (
        "UPDATE events SET kind = 'item.completed', payload = (SELECT payload FROM events WHERE kind = 'item.completed'"
        " AND CAST(payload AS TEXT) LIKE '%the answer comes%' LIMIT 1) WHERE kind = 'item.started' AND seq ="
        " (SELECT max(seq) FROM events WHERE kind = 'item.started')", "which is"),
    "an item is never closed": (
        "UPDATE events SET kind = 'warning' WHERE kind = 'item.completed' AND CAST(payload AS TEXT)"
        " LIKE '%the answer comes%'",
        "is open at its turn's end"),
    "an item is opened twice": (
        "UPDATE events SET kind = 'item.started', payload = (SELECT payload FROM events WHERE kind = 'item.started'"
        " ORDER BY seq LIMIT 1) WHERE seq = (SELECT max(seq) FROM events WHERE kind = 'item.delta')", "opened twice?"),
    "a piece is lost": (
        """UPDATE events SET payload = replace(payload, '"delta":"', '"delta":"X') WHERE seq ="""
        """ (SELECT max(seq) FROM events WHERE kind = 'item.delta')""", "add up to"),
    "the output is read twice": (
        "UPDATE events SET source_offset = 1 WHERE seq ="
        " (SELECT max(seq) FROM events WHERE kind = 'item.completed')", "read twice?"),
    "the projection of a turn is stale": (
        "UPDATE executions SET status = 'running' WHERE ordinal = 2", "executions.status of"),
    "a turn is in no log": (
        "INSERT INTO executions (id, session, ordinal, status, options, first_seq, created_at)"
        " SELECT 'ghost', session, 99, 'queued', options, 1, 1 FROM executions LIMIT 1", "executions has ghost"),
    "the session's status is stale": ("UPDATE sessions SET status = 'archived'", "sessions.status is 'archived'"),
    "the place in the output is stale": ("UPDATE sessions SET source_offset = 7", "sessions.source_offset is 7"),
    "a reply leads nowhere": (
        "UPDATE replies SET execution = 'ghost' WHERE rowid = 1", "points to ghost"),
    "a reply of no session": ("UPDATE replies SET session = 'ghost'", "belong to no session"),
    "a message was taken twice": (
        """UPDATE events SET payload = replace(payload, '"m1"', '"m0"') WHERE kind = 'message.appended'""",
        "was taken at"),
    "a message can be taken again": ("DELETE FROM inputs WHERE client_id = 'm1'", "it would be taken again"),
    "a message is given to a turn that is not there": (
        "UPDATE inputs SET execution = 'ghost' WHERE client_id = 'm1'", "gives 'm1' to ghost"),
}


@pytest.mark.parametrize("spoiled", SPOILED)
def test_what_is_spoiled_is_found(written, directory, spoiled):
    """Each violation is found, and shown with the log around it."""
    statement, said = SPOILED[spoiled]
    data = copy_of(written, directory)
    with sqlite3.connect(data / "centaur.sqlite") as database:
        changed = database.execute(statement).rowcount
    database.close()
    assert changed >= 1, "nothing was spoiled"
    with pytest.raises(invariants.InvariantViolated) as found:
        invariants.check(data, settled=True)
    assert said in str(found.value), str(found.value)


def test_the_log_around_a_violation_is_shown(written, directory):
    """Who reads the message sees where it happened, without opening the store."""
    data = copy_of(written, directory)
    with sqlite3.connect(data / "centaur.sqlite") as database:
        [(seq, payload)] = database.execute(
            "SELECT seq, payload FROM events WHERE kind = 'item.completed' AND CAST(payload AS TEXT) LIKE '%the answer%'"
            " LIMIT 1")
        spoiled = json.loads(payload) | {"text": "another answer"}
        database.execute("UPDATE events SET payload = ? WHERE seq = ?", (json.dumps(spoiled), seq))
    database.close()
    with pytest.raises(invariants.InvariantViolated, match="another answer") as found:
        invariants.check(data)
    marked = [line for line in str(found.value).splitlines() if line.startswith("  >> ")]
    assert len(marked) == 1 and f"{seq} item.completed" in marked[0]
    assert "item.delta" in str(found.value)
