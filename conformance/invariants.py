"""What must be true of every session's log, whatever was killed: read from a store, also of a server that is gone.

`python conformance/invariants.py DATA` checks a data directory. Nothing in it is changed.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

TERMINAL = {
    "execution.completed": "completed", "execution.failed": "failed", "execution.cancelled": "cancelled"}
ACTIVE = ("running", "waiting")
ITEMS = ("item.started", "item.delta", "item.completed")
# Around a violation so many events are shown.
AROUND = 6


class InvariantViolated(AssertionError):
    """The text shows each violation with the log around it."""


@dataclass
class Event:
    seq: int
    execution: str | None
    kind: str
    payload: dict
    source: tuple[int, int] | None

    def line(self) -> str:
        source = f" @{self.source[0]}.{self.source[1]}" if self.source else ""
        text = json.dumps(self.payload, ensure_ascii=False)
        return f"{self.seq:6} {self.kind:20} {self.execution or '-':20}{source} {text[:160]}"


@dataclass
class Session:
    """One session's rows."""

    row: sqlite3.Row
    events: list[Event]
    executions: list[sqlite3.Row]
    inputs: list[sqlite3.Row]
    replies: list[sqlite3.Row]

    @property
    def id(self) -> str:
        return self.row["id"]

    @property
    def key(self) -> str:
        return self.row["thread_key"]

    def shown(self, seq: int | None = None) -> str:
        """The log, or what is around one of its events."""
        lines = []
        for event in self.events:
            if seq is None or abs(event.seq - seq) <= AROUND:
                lines.append(("  >> " if event.seq == seq else "     ") + event.line())
        return "\n".join(lines) or "     (the log is empty)"


@dataclass
class Violation:
    session: Session
    what: str
    seq: int | None = None

    def __str__(self) -> str:
        seq = self.seq if self.seq is not None else len(self.session.events)
        return f"{self.session.key} ({self.session.id}): {self.what}\n{self.session.shown(seq)}"


@dataclass
class OpenItem:
    started: dict
    deltas: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


@dataclass
class Turn:
    """A fold of one execution's events."""

    first_seq: int
    ordinal: int = 0
    queued: dict | None = None
    status: str = "queued"
    # The client's tools that it waits for.
    calls: set[str] = field(default_factory=set)
    was_started: bool = False
    terminal_seq: int | None = None
    last_item: int = 0
    open: dict[int, OpenItem] = field(default_factory=dict)
    closed: set[int] = field(default_factory=set)


def store_of(data: Path) -> Path:
    return data / "centaur.sqlite"


def open_store(data: Path) -> sqlite3.Connection:
    """Read only: neither checkpoints the log of a killed server nor removes it."""
    database = sqlite3.connect(f"file:{store_of(data)}?mode=ro", uri=True, timeout=20, isolation_level=None)
    database.row_factory = sqlite3.Row
    return database


def sessions(data: Path) -> list[Session]:
    """All sessions, in one snapshot."""
    database = open_store(data)
    try:
        database.execute("BEGIN")
        return list(read(database))
    finally:
        database.close()


def read(database: sqlite3.Connection) -> Iterator[Session]:
    for row in database.execute("SELECT rowid AS number, * FROM sessions ORDER BY rowid").fetchall():
        events = [
            Event(
                event["seq"], event["execution"], event["kind"], json.loads(event["payload"]),
                None if event["source_offset"] is None else (event["source_offset"], event["source_index"]))
            for event in database.execute("SELECT * FROM events WHERE session = ? ORDER BY seq", (row["number"],))]

        def rows(table: str, of: object, order: str) -> list[sqlite3.Row]:
            return database.execute(f"SELECT * FROM {table} WHERE session = ? ORDER BY {order}", (of,)).fetchall()

        yield Session(
            row, events, rows("executions", row["number"], "ordinal"), rows("inputs", row["number"], "seq"),
            rows("replies", row["id"], "rowid"))


class Check:
    """Goes through one session's log once and gathers what is wrong with it."""

    def __init__(self, session: Session, settled: bool):
        self.session = session
        self.settled = settled
        self.found: list[Violation] = []
        self.turns: dict[str, Turn] = {}
        # Who took a client's message, in the order of the log.
        self.takers: dict[str, list[tuple[str | None, int]]] = defaultdict(list)
        self.asked: dict[str, int] = {}
        self.status = "active"
        # Those that were told last, where they are others than the session began with.
        self.instructions: str | None = None
        self.source: tuple[int, int] | None = None
        self.highest: tuple[int, int] | None = None

    def wrong(self, what: str, seq: int | None = None) -> None:
        self.found.append(Violation(self.session, what, seq))

    def run(self) -> list[Violation]:
        for position, event in enumerate(self.session.events, 1):
            if event.seq != position:
                self.wrong(f"seq is not dense: {position} is missing", event.seq)
                break
        for event in self.session.events:
            self.fold(event)
        self.check_turns()
        self.check_projections()
        self.check_inputs()
        self.check_replies()
        return self.found

    # The log.

    def fold(self, event: Event) -> None:
        if (event.kind == "session.created") != (event.seq == 1):
            self.wrong("a log begins with session.created, and has one", event.seq)
        if event.kind == "session.archived":
            self.status = "archived"
        elif event.kind in ("message.appended", "execution.queued"):
            self.status = "active"
        self.fold_source(event)
        if event.kind in ("sandbox.ready", "sandbox.stopped", "sandbox.lost"):
            self.check_left_open(event)
        if event.kind == "message.appended":
            self.fold_message(event)
        if event.execution is not None:
            self.fold_turn(event)

    def fold_source(self, event: Event) -> None:
        if event.kind == "sandbox.ready":
            self.source = self.highest = None
        if event.kind in ("sandbox.stopped", "sandbox.lost"):
            # What the next process says before it is ready begins at 0 again; the projection stays until then.
            self.highest = None
        if event.source is None:
            return
        if self.highest is not None and event.source <= self.highest:
            self.wrong(f"the harness's output {event.source} comes after {self.highest}: read twice?", event.seq)
        self.source = self.highest = event.source

    def check_left_open(self, event: Event) -> None:
        for id, turn in self.turns.items():
            if turn.terminal_seq is not None and turn.open:
                self.wrong(f"items {sorted(turn.open)} of {id} are open though their sandbox is gone", event.seq)
                turn.open.clear()

    def fold_message(self, event: Event) -> None:
        if event.payload["role"] != "user":
            return
        if event.execution is not None:
            self.asked.setdefault(event.execution, event.seq)
        if (client := event.payload.get("client_id")) is not None:
            self.takers[client].append((event.execution, event.seq))

    def fold_turn(self, event: Event) -> None:
        turn = self.turns.setdefault(event.execution, Turn(event.seq))
        if turn.terminal_seq is not None and event.kind not in ITEMS:
            self.wrong(f"{event.kind} after its turn's end at {turn.terminal_seq}", event.seq)
            return
        if event.kind == "execution.queued":
            if turn.queued is not None:
                self.wrong("a turn is queued twice", event.seq)
            turn.queued = event.payload
            turn.ordinal = sum(1 for other in self.turns.values() if other.queued is not None)
        elif event.kind == "execution.started":
            self.fold_start(event, turn)
        elif event.kind in ("execution.waiting", "execution.resumed"):
            self.fold_wait(event, turn)
        elif event.kind in TERMINAL:
            if turn.queued is None:
                self.wrong("a turn ends that was never queued", event.seq)
            turn.status = TERMINAL[event.kind]
            turn.terminal_seq = event.seq
            for ordinal, item in list(turn.open.items()):
                if item.started["type"] != "command":
                    self.wrong(f"item {ordinal} ({item.started['type']}) is open at its turn's end", event.seq)
                    del turn.open[ordinal]
        elif event.kind in ITEMS:
            self.fold_item(event, turn)

    def fold_start(self, event: Event, turn: Turn) -> None:
        if turn.queued is None:
            self.wrong("a turn starts that was never queued", event.seq)
        if event.kind == "execution.started" and turn.was_started:
            self.wrong("a turn starts twice", event.seq)
        others = [
            id for id, other in self.turns.items()
            if other is not turn and other.status in ACTIVE and other.terminal_seq is None]
        if others:
            self.wrong(f"a turn starts while {others} runs", event.seq)
        turn.was_started = True
        turn.status = "running"
        told = event.payload.get("instructions", (turn.queued or {}).get("instructions"))
        self.instructions = told or self.instructions

    def fold_wait(self, event: Event, turn: Turn) -> None:
        """A turn waits for calls that it asked, and is told each of them once."""
        if not turn.was_started:
            self.wrong("a turn waits that has not started", event.seq)
        if event.kind == "execution.waiting":
            calls = [call["call_id"] for call in event.payload["calls"]]
            if not calls or turn.status == "waiting":
                self.wrong("a turn waits for nothing, or while it waits", event.seq)
            for call in calls:
                if int(call.rsplit("_", 1)[1]) not in turn.open:
                    self.wrong(f"a turn waits for {call}, which is no open item", event.seq)
            turn.calls = set(calls)
            turn.status = "waiting"
            return
        told = [output["call_id"] for output in event.payload["outputs"]]
        if turn.status != "waiting" or len(set(told)) != len(told) or not set(told) <= turn.calls:
            self.wrong(f"a turn is told of {told} while {sorted(turn.calls)} wait", event.seq)
        for output in event.payload["outputs"]:
            self.instructions = output.get("instructions") or self.instructions
        turn.calls -= set(told)
        turn.status = "running"

    def fold_item(self, event: Event, turn: Turn) -> None:
        payload = event.payload
        ordinal = payload["item_id"]
        item = turn.open.get(ordinal)
        if not turn.was_started:
            self.wrong("an item of a turn that has not started", event.seq)
        if event.kind == "item.started":
            if ordinal <= turn.last_item:
                self.wrong(f"item {ordinal} is opened after item {turn.last_item}: opened twice?", event.seq)
            if turn.terminal_seq is not None:
                self.wrong(f"item {ordinal} is opened after its turn's end at {turn.terminal_seq}", event.seq)
            turn.last_item = max(turn.last_item, ordinal)
            turn.open[ordinal] = OpenItem(payload)
        elif item is None:
            state = "closed" if ordinal in turn.closed else "never opened"
            self.wrong(f"{event.kind} of item {ordinal}, which is {state}", event.seq)
        elif turn.terminal_seq is not None and item.started["type"] != "command":
            self.wrong(f"{event.kind} of a {item.started['type']} after its turn's end", event.seq)
        elif event.kind == "item.delta":
            item.deltas[payload["field"]].append(payload["delta"])
        else:
            self.close(event, turn, item, ordinal)

    def close(self, event: Event, turn: Turn, item: OpenItem, ordinal: int) -> None:
        del turn.open[ordinal]
        turn.closed.add(ordinal)
        if event.payload["type"] != item.started["type"]:
            self.wrong(f"item {ordinal} began as {item.started['type']}", event.seq)
        pieces = item.deltas.get("text")
        if event.payload["type"] == "message" and pieces:
            shown = item.started.get("text", "") + "".join(pieces)
            if shown != event.payload["text"]:
                self.wrong(
                    f"the pieces of item {ordinal} add up to {shown!r}, its text is {event.payload['text']!r}",
                    event.seq)

    # What is beside the log.

    def check_turns(self) -> None:
        for id, turn in self.turns.items():
            if turn.queued is None:
                self.wrong(f"events of {id}, which was never queued", turn.first_seq)
            if self.settled and turn.terminal_seq is None:
                self.wrong(f"{id} has no end", turn.first_seq)

    def check_projections(self) -> None:
        row = self.session.row
        queued = [turn for turn in self.turns.values() if turn.queued is not None]
        expected = {
            "next_seq": len(self.session.events) + 1, "next_ordinal": len(queued) + 1, "status": self.status,
            "source_offset": self.source and self.source[0], "source_index": self.source and self.source[1]}
        for column, value in expected.items():
            if row[column] != value:
                self.wrong(f"sessions.{column} is {row[column]!r}, its log gives {value!r}")
        if created := next((event.payload for event in self.session.events if event.kind == "session.created"), None):
            expected = {
                "harness": created.get("harness"), "persona": created.get("persona"),
                "instructions": self.instructions or created.get("instructions")}
            for column, value in expected.items():
                if row[column] != value:
                    self.wrong(f"sessions.{column} is {row[column]!r}, its log gives {value!r}", 1)
        rows = {execution["id"]: execution for execution in self.session.executions}
        for id in rows.keys() - {id for id, turn in self.turns.items() if turn.queued is not None}:
            self.wrong(f"executions has {id}, its log does not")
        for id, turn in self.turns.items():
            if turn.queued is None:
                continue
            if id not in rows:
                self.wrong(f"executions lacks {id}", turn.first_seq)
                continue
            expected = {
                "ordinal": turn.ordinal, "status": turn.status, "first_seq": turn.first_seq,
                "terminal_seq": turn.terminal_seq}
            for column, value in expected.items():
                if rows[id][column] != value:
                    self.wrong(
                        f"executions.{column} of {id} is {rows[id][column]!r}, its log gives {value!r}",
                        turn.terminal_seq or turn.first_seq)
            if json.loads(rows[id]["options"]) != turn.queued:
                self.wrong(f"executions.options of {id} is not what the log says", turn.first_seq)

    def check_inputs(self) -> None:
        """What a user said is answered by one turn. Said again after a turn that failed, it may have a second one."""
        for id, seq in self.asked.items():
            if self.turns[id].queued is None:
                self.wrong(f"what was said has no turn {id}", seq)
        for client, takers in self.takers.items():
            for id, seq in takers[:-1]:
                if id is None or self.turns[id].status not in ("failed", "cancelled"):
                    self.wrong(f"message {client!r} was taken at {[seq for _, seq in takers]}", takers[-1][1])
        by_seq = {event.seq: event for event in self.session.events}
        known = {row["client_id"] for row in self.session.inputs}
        for row in self.session.inputs:
            if row["execution"] is not None and row["execution"] not in self.turns:
                self.wrong(f"inputs gives {row['client_id']!r} to {row['execution']}, which is not in the log")
            event = by_seq.get(row["seq"])
            if row["seq"] == 0:
                continue
            if event is None or event.kind != "message.appended" or event.payload.get("client_id") != row["client_id"]:
                self.wrong(f"inputs says that {row['client_id']!r} is at {row['seq']}", row["seq"])
            elif row["execution"] not in (None, event.execution) and event.execution is not None:
                self.wrong(f"inputs gives {row['client_id']!r} to {row['execution']}", row["seq"])
        for client, takers in self.takers.items():
            id, seq = takers[-1]
            # A turn that never ran has given back what it took.
            if client not in known and (id is None or self.turns[id].was_started):
                self.wrong(f"message {client!r} is not in inputs: it would be taken again", seq)

    def check_replies(self) -> None:
        answered = set()
        for row in self.session.replies:
            answered.add(row["execution"])
            turn = self.turns.get(row["execution"])
            if turn is None or turn.queued is None:
                self.wrong(f"reply {row['wire_id']} points to {row['execution']}, which is not in the log")
            if row["owner"] != self.session.row["owner"]:
                self.wrong(f"reply {row['wire_id']} is another owner's")
        for id, turn in self.turns.items():
            if id not in answered:
                self.wrong(f"{id} has no reply", turn.first_seq)


def violations(data: Path, settled: bool = False) -> list[Violation]:
    """What is wrong in a data directory.

    `settled`: nothing is to be under way any more, so every turn has its end.
    """
    found = []
    known = set()
    for session in sessions(data):
        known.add(session.id)
        found += Check(session, settled).run()
    return found


def check(data: Path, settled: bool = False) -> None:
    """Raises `InvariantViolated` with the log around each violation."""
    database = open_store(data)
    try:
        [state] = database.execute("PRAGMA integrity_check(5)").fetchone()
        orphans = [row["wire_id"] for row in database.execute(
            "SELECT wire_id FROM replies WHERE session NOT IN (SELECT id FROM sessions)")]
        stray = [row[0] for row in database.execute(
            "SELECT DISTINCT session FROM events WHERE session NOT IN (SELECT rowid FROM sessions)")]
    finally:
        database.close()
    if state != "ok":
        raise InvariantViolated(f"the store is damaged: {state}")
    if orphans or stray:
        raise InvariantViolated(f"replies {orphans} and events of {stray} belong to no session")
    if found := violations(data, settled):
        raise InvariantViolated(f"{len(found)} violations\n\n" + "\n\n".join(str(violation) for violation in found))


if __name__ == "__main__":
    try:
        check(Path(sys.argv[1]), settled="--settled" in sys.argv)
    except InvariantViolated as violated:
        sys.exit(str(violated))
    print("every session keeps its invariants")
