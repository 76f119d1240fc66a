"""What is measured of Centaur, part by part. Each part gives figures and, where a reader must know it, notes."""

from __future__ import annotations

import os
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from centaur_server import CentaurServer
from figures import Figure
from http_bytes import (
    FIRST_TEXT, FIRST_TEXT_OF_MESSAGES, Connection, codex_turn, messages_turn, request, turn)
from programs import Backend, Load, load_http, load_stdio, median, program, quantile

# Of a stream whose number a second is measured: an answer of 100 tokens.
DELTAS = 100
CODEX_SESSION = "01a20bee-23d5-7ce3-8342-b353b68f98d5"


@dataclass
class Bench:
    """A directory on the project's own disk, what a full run or a quick one does, and what was found."""

    directory: Path
    quick: bool
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    servers: int = 0

    def times(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    @contextmanager
    def server(self, directory: Path | None = None) -> Iterator[CentaurServer]:
        """A server of its own whose harness is the scripted one; nothing leaves the machine."""
        self.servers += 1
        config = {
            "harnesses": {"codex": {"binary": str(program("harness"))}}, "limits": {"sandboxes": 64, "turns": 128}}
        server = CentaurServer(directory or self.directory / f"server{self.servers}", config, stand_in=False)
        try:
            yield server.start()
        finally:
            server.end()


def milliseconds(seconds: float) -> float:
    return seconds * 1000


# MARK: What the machine does beside


def others(bench: Bench) -> None:
    """Whether something else is at work: then the figures are worth little, and say so."""

    def times() -> tuple[int, int]:
        fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
        return fields[3], sum(fields)

    idle, whole = times()
    time.sleep(1)
    idle, whole = times()[0] - idle, times()[1] - whole
    busy = 1 - idle / whole
    if busy > 0.1:
        bench.notes.append(
            f"THE MACHINE WAS {100 * busy:.0f} % BUSY before the bench began: measure again when it is not")


def disk(bench: Bench) -> None:
    """What one durable write costs here: every figure that commits is made of it."""
    file = os.open(bench.directory / "disk", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    times = []
    for _ in range(bench.times(300, 100)):
        begun = time.monotonic()
        os.write(file, bytes(4096))
        os.fdatasync(file)
        times.append(time.monotonic() - begun)
    os.close(file)
    bench.notes.append(
        f"this disk makes 4 KB durable in {milliseconds(median(times)):.2f} ms (median), "
        f"{milliseconds(quantile(times, 0.99)):.2f} ms (p99)")


# MARK: Start and memory


def start_and_memory(bench: Bench, litellm_start: float | None, litellm_memory: float | None) -> None:
    starts, resident = [], []
    directory = bench.directory / "starts"
    for _ in range(bench.times(10, 4)):
        begun = time.monotonic()
        with bench.server(directory) as server:
            with Connection(server.port) as connection:
                status, _ = connection.ask(request("GET", "/readyz"))
            starts.append(time.monotonic() - begun)
            assert status == 200
            time.sleep(0.3)
            resident.append(server.resident_kilobytes() / 1024)
    start = median(starts)
    bench.figures.append(Figure(
        "from exec to ready", milliseconds(start), "ms", "LiteLLM proxy", litellm_start and milliseconds(litellm_start),
        "< 300 ms", start < 0.3))
    idle = median(resident)
    bench.figures.append(Figure(
        "resident memory, idle", idle, "MB", "LiteLLM proxy", litellm_memory, "≤ 60 MB", idle <= 60))
    subscribers(bench)


def subscribers(bench: Bench, count: int = 1000) -> None:
    with bench.server() as server:
        with Connection(server.port) as connection:
            connection.ask(request("POST", "/api/session/bench:idle", {}))
        before = server.resident_kilobytes()
        listening = []
        for _ in range(count):
            listening.append(socket.create_connection(("127.0.0.1", server.port), 30))
            listening[-1].sendall(request("GET", "/api/session/bench:idle/events"))
        for one in listening:
            seen = b""
            while b"session.created" not in seen:
                seen += one.recv(4096)
        time.sleep(0.3)
        after = server.resident_kilobytes()
        for one in listening:
            one.close()
    bench.figures.append(Figure(
        f"resident memory, {count:,} idle event subscribers", after / 1024, "MB", "the same server before",
        before / 1024))
    bench.notes.append(f"an idle subscriber takes {(after - before) / count:.1f} KB")


# MARK: Time to first byte


def first_byte(bench: Bench, server: CentaurServer) -> None:
    # As fast as a fast model: 100 deltas a second and stream.
    text, pause = "deltas=20 size=16 gap=10000", 0.1
    for streams in (1, 16):
        turns = bench.times(60, 15) if streams == 1 else bench.times(40, 12)
        by_hand = load_stdio(text, streams=streams, turns=turns, warm=2, pause=pause)
        ours = load_http(
            server.port, turn(text), FIRST_TEXT, clients=streams, turns=turns, warm=2, pause=pause)
        name = "1 stream" if streams == 1 else f"{streams} streams"
        for share, label in ((0.5, "median"), (0.99, "p99")):
            added = milliseconds(ours.first(share) - by_hand.first(share))
            bound = {(1, 0.5): 1, (16, 0.5): 1, (16, 0.99): 5}.get((streams, share))
            bench.figures.append(Figure(
                f"time to first byte added, {name}, {label}", added, "ms", "the harness by hand, in all",
                milliseconds(by_hand.first(share)), f"≤ {bound} ms" if bound else "",
                added <= bound if bound else None))
        other = load_http(
            server.port, messages_turn(text), FIRST_TEXT_OF_MESSAGES, clients=streams, turns=turns, warm=2, pause=pause)
        added = milliseconds(other.first(0.5) - by_hand.first(0.5))
        bench.figures.append(Figure(
            f"time to first byte added, /v1/messages, {name}, median", added, "ms", "/v1/responses, in all",
            milliseconds(ours.first(0.5)), "≤ 1 ms", added <= 1))
        read = median([turn.harness_read for turn in ours.turns])
        back = median([turn.first - turn.harness_wrote for turn in ours.turns])
        bench.notes.append(
            f"time to first byte, {name}, median: {milliseconds(read):.2f} ms from the client to the harness, "
            f"{milliseconds(back):.2f} ms from the harness to the client")
        if streams == 1:
            bench.figures.append(Figure(
                "warm thread: from the request to the harness's input", milliseconds(read), "ms",
                "the harness by hand", milliseconds(median([turn.harness_read for turn in by_hand.turns])),
                "< 20 ms", read < 0.02))


# MARK: Streams a second


def streams(bench: Bench, server: CentaurServer, litellm: dict[int, float], first: dict[int, float]) -> None:
    for clients in (1, 16):
        turns = bench.times(500, 100) if clients == 1 else bench.times(150, 25)
        used = cpu_seconds(server)
        ours = load_http(
            server.port, turn(f"deltas={DELTAS} size=16", f"bench:streams-{clients}:%CLIENT%"), FIRST_TEXT,
            clients=clients, turns=turns, warm=3)
        used = cpu_seconds(server) - used
        baseline = litellm.get(clients)
        holds = None if baseline is None else ours.streams_a_second >= 50 * baseline
        name = "1 client" if clients == 1 else f"{clients} clients"
        bench.figures.append(Figure(
            f"streams a second, {name}", ours.streams_a_second, "/s", "LiteLLM proxy", baseline,
            "≥ 50 × LiteLLM", holds))
        bench.figures.append(Figure(
            f"time to first byte in all, {name}, median", milliseconds(ours.first(0.5)), "ms", "LiteLLM proxy",
            first.get(clients) and milliseconds(first[clients])))
        other = load_http(
            server.port, messages_turn(f"deltas={DELTAS} size=16", f"bench:messages-{clients}:%CLIENT%"),
            FIRST_TEXT_OF_MESSAGES, clients=clients, turns=turns, warm=3)
        bench.figures.append(Figure(
            f"streams a second, /v1/messages, {name}", other.streams_a_second, "/s", "/v1/responses",
            ours.streams_a_second))
        bench.notes.append(
            f"streams a second, {name}: the server used {1000 * used / (len(ours.turns) + 3 * clients):.2f} ms of "
            f"processor time a stream, the load generator {100 * ours.client_share:.0f} % of one core")
    ceiling(bench)


def ceiling(bench: Bench) -> None:
    """What the load generator can at most, so that nobody takes its limit for the server's."""
    backend = Backend(DELTAS, 16)
    try:
        found = load_http(
            backend.port, request("POST", "/v1/responses", {}), "response.output_text.delta", clients=16,
            turns=bench.times(500, 100), warm=10)
    finally:
        backend.end()
    by_hand = load_stdio(f"deltas={DELTAS} size=16", streams=16, turns=bench.times(1000, 200), warm=10)
    bench.notes.append(
        f"the load generator reads {found.streams_a_second:,.0f} streams/s from the scripted backend, and drives "
        f"{by_hand.streams_a_second:,.0f} turns/s of 16 scripted harnesses by hand")


def cpu_seconds(server: CentaurServer) -> float:
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# MARK: Replay


def replay(bench: Bench, server: CentaurServer) -> None:
    deltas = bench.times(50_000, 20_000)
    key = "bench:replay"
    begin = turn(f"deltas={deltas} size=16", key, **{"idempotency-key": "replay"})
    load_http(server.port, begin, FIRST_TEXT, turns=1)
    with Connection(server.port) as connection:
        _, shown = connection.ask(request("GET", f"/api/session/{key}"))
    events = int(shown.split(b'"last_event_id":')[1].split(b",")[0])

    raw = events / median([read_rows(server, events) for _ in range(3)])
    subscribed = load_http(
        server.port, request("GET", f"/api/session/{key}/events"), "\nevent: ", clients=1, turns=1, stop=events)
    for name, seconds in (
        ("pages of 1,000", median([read_pages(server, key, events) for _ in range(3)])),
        ("event stream from 0", subscribed.turns[0].total),
    ):
        bench.figures.append(Figure(
            f"replay, {name}", events / seconds, "events/s", "the rows by sqlite3", raw, "≥ 50,000/s",
            events / seconds >= 50_000))
    retried = load_http(server.port, begin, FIRST_TEXT, turns=2)
    rate = deltas / median([turn.total for turn in retried.turns])
    assert all(turn.markers == deltas for turn in retried.turns)
    bench.figures.append(Figure(
        "replay, a finished response by retry", rate, "events/s", "the rows by sqlite3", raw, "≥ 50,000/s",
        rate >= 50_000))


def read_rows(server: CentaurServer, events: int) -> float:
    store = sqlite3.connect(f"file:{server.data}/centaur.sqlite?mode=ro", uri=True)
    begun = time.monotonic()
    rows = store.execute(
        "SELECT seq, execution, kind, payload, created_at, source_offset, source_index FROM events WHERE session = "
        "(SELECT rowid FROM sessions WHERE thread_key = 'bench:replay') AND seq > 0 ORDER BY seq").fetchall()
    seconds = time.monotonic() - begun
    store.close()
    assert len(rows) == events
    return seconds


def read_pages(server: CentaurServer, key: str, events: int) -> float:
    begun, seen = time.monotonic(), 0
    with Connection(server.port) as connection:
        while seen < events:
            _, page = connection.ask(request(
                "GET", f"/api/session/{key}/events?after_event_id={seen}&limit=1000", None,
                {"accept": "application/json"}))
            seen += page.count(b'"execution_id":')
    assert seen == events
    return time.monotonic() - begun


# MARK: Long sessions, long histories


def long_session(bench: Bench, server: CentaurServer) -> None:
    text, last, window = "deltas=4 size=16", bench.times(1000, 300), bench.times(50, 30)
    ask = turn(text, "bench:long")

    def turns(count: int) -> Load:
        return load_http(server.port, ask, FIRST_TEXT, turns=count)

    def measured() -> tuple[float, float]:
        written = bytes_written(server)
        found = turns(window)
        return median([turn.total for turn in found.turns]), (bytes_written(server) - written) / window

    turns(9)
    early, early_bytes = measured()
    turns(last - 9 - 2 * window)
    late, late_bytes = measured()
    bench.figures.append(Figure(
        f"a turn's time, turn {last:,} of a session", milliseconds(late), "ms", "turn 10", milliseconds(early),
        "equal (≤ 1.1 ×)", late <= 1.1 * early))
    bench.figures.append(Figure(
        f"bytes written for a turn, turn {last:,}", late_bytes / 1024, "KB", "turn 10", early_bytes / 1024,
        "equal (≤ 1.1 ×)", late_bytes <= 1.1 * early_bytes))


def bytes_written(server: CentaurServer) -> int:
    for line in Path(f"/proc/{server.process.pid}/io").read_text().splitlines():
        if line.startswith("wchar:"):
            return int(line.split()[1])
    return 0


def long_history(bench: Bench, server: CentaurServer) -> None:
    turns, size = bench.times(20, 6), 10_000_000
    small = codex_turn(CODEX_SESSION, "deltas=2 size=16", 0)
    large = codex_turn(CODEX_SESSION, "deltas=2 size=16", size)

    def harness_read(ask: bytes) -> float:
        found = load_http(server.port, ask, FIRST_TEXT, turns=turns, warm=2)
        return median([turn.harness_read for turn in found.turns])

    added = harness_read(large) - harness_read(small)
    backend = Backend(2, 16)
    try:
        carried = load_http(backend.port, large, "response.output_text.delta", turns=turns, warm=2)
    finally:
        backend.end()
    bench.figures.append(Figure(
        f"a history of {len(large) / 1e6:.0f} MB adds", milliseconds(added), "ms", "to carry and read those bytes",
        milliseconds(quantile([turn.first for turn in carried.turns], 0.5)), "< 30 ms", added < 0.03))
