"""What a power cut leaves: the newest of what was written is missing or garbled. What is left is a beginning of the log,
and each session goes on from there."""

import os
import socket
import struct
import subprocess
import uuid
from pathlib import Path

import invariants
import pytest
from centaur_server import PROGRAM, CentaurServer, end_processes_of, until
from faulty_disk import FaultyDisk, own_file_system
from scripts import COUNT, script, shell, text
from session_api import WAIT_SECONDS, answer, executions

TURN = script(shell(COUNT), text("{{stdout}}"))
# Comes in pieces, so that the log's end is a piece of it.
SLOW = script(shell(COUNT), text("word " * 40, chunks=40, delay=0.1))
FRAME = 4096 + 24


def power_cut(server: CentaurServer) -> list[invariants.Session]:
    """Everything dies at once. Returns what the log held."""
    server.kill()
    end_processes_of(server.data)
    return invariants.sessions(server.data)


def log_of(server: CentaurServer) -> Path:
    return server.data / "centaur.sqlite-wal"


def cut(file: Path, size: int) -> None:
    os.truncate(file, max(0, file.stat().st_size - size))


def garble(file: Path, size: int) -> None:
    with file.open("r+b") as opened:
        opened.seek(max(0, file.stat().st_size - size))
        opened.write(os.urandom(min(size, file.stat().st_size)))


def speaks(server: CentaurServer, key: str) -> None:
    """Waits until the second turn has said some of its words."""
    before = len(server.api.events(key))
    pieces = 0
    for event in server.api.stream(key, after=before):
        pieces += event["kind"] == "item.delta"
        if pieces == 8:
            return


@pytest.mark.parametrize("spoil", [cut, garble], ids=["cut", "garbled"])
@pytest.mark.parametrize(
    "harness, size", [("codex", 1), ("codex", FRAME), ("codex", 5 * FRAME + 7), ("claude", 3 * FRAME)],
    ids=["a byte", "a page", "pages", "pages of claude's"])
def test_the_newest_of_the_store_is_lost(make_server, harness, size, spoil):
    """The log that is left is a beginning of the one that was, and the session takes the next turn."""
    server = make_server()
    key = f"api:{uuid.uuid4()}"
    server.api.create(key, harness=harness)
    server.api.run(key, TURN)
    server.api.execute(key, {"text": SLOW})
    speaks(server, key)
    [before] = power_cut(server)
    spoil(log_of(server), size)
    [left] = invariants.sessions(server.data)
    assert left.events == before.events[: len(left.events)] and len(left.events) >= 8
    invariants.check(server.data)
    server.start()
    server.api.wait(key, lambda event: event["id"] == 1)
    until(lambda: "running" not in executions(server.api.events(key)).values())
    again = server.api.events(key)
    assert [event["payload"] for event in again[: len(left.events)]] == [event.payload for event in left.events]
    assert answer(server.api.run(key, TURN)) == "3"
    invariants.check(server.data, settled=True)


@pytest.mark.parametrize("size", [1, 40, 5000])
def test_the_newest_of_the_spool_is_lost(make_server, size):
    """A harness's last words that were not kept whole are nobody's words; the session takes the next turn."""
    server = make_server()
    key = f"api:{uuid.uuid4()}"
    server.api.create(key)
    server.api.run(key, TURN)
    server.api.execute(key, {"text": SLOW})
    speaks(server, key)
    [before] = power_cut(server)
    [spool] = server.data.glob("sessions/*/sandboxes/*/spool/*")
    cut(spool, size)
    server.start()
    server.api.wait(key, lambda event: event["id"] == 1)
    until(lambda: "running" not in executions(server.api.events(key)).values())
    assert [event["payload"] for event in server.api.events(key)[: len(before.events)]] == [
        event.payload for event in before.events]
    assert answer(server.api.run(key, TURN)) == "3"
    invariants.check(server.data, settled=True)


SHIM = PROGRAM.parent / "centaur-shim"
# Each line says how many came before it.
LINES = "i=0; while [ $i -lt 400 ]; do printf '%0255d\\n' $i; i=$((i+1)); done"


def check_spool(spool: bytes, times: int = 1) -> None:
    """A beginning of what was printed, without a gap."""
    expected = b"".join(b"%0255d\n" % number for number in range(400)) * times
    assert expected.startswith(spool)


@pytest.mark.parametrize("calls", ["write", "open"])
@pytest.mark.parametrize("skip", [0, 1, 5])
def test_a_spool_that_fails_once(directory, calls, skip):
    """After words that could not be kept none are kept: who reads the spool never takes what follows for them."""
    disk = FaultyDisk(directory)
    place = directory / "shim"
    place.mkdir()
    disk.fail(calls, path="spool/", skip=skip if calls == "write" else 0, count=1)
    # Slow enough that the shim reads it in several pieces.
    slowly = LINES.replace("i=$((i+1))", "i=$((i+1)); [ $((i % 20)) -ne 0 ] || sleep 0.1")
    subprocess.run(
        [SHIM, "run", "--dir", place, "--orphan-after", "20", "--", "/bin/sh", "-c", slowly], timeout=WAIT_SECONDS,
        env={"PATH": os.environ["PATH"], **disk.environment}, check=True)
    assert disk.failed == 1
    spool = b"".join(file.read_bytes() for file in sorted(place.glob("spool/*"), key=lambda file: int(file.name)))
    check_spool(spool)
    assert len(spool) < 400 * 256, "nothing was lost: the test is without meaning"
    assert "the spool cannot be written" in (place / "stderr").read_text()
    assert (place / "exit").exists()


def test_a_spool_on_a_full_disk(directory):
    """A disk that takes half a piece, and has space again a moment later, leaves no half piece in the spool."""
    place = directory / "shim"
    wrapper = own_file_system(place, "128k")
    copies = directory / "spool"
    # The ballast goes when the spool has met it.
    command = (
        f"head -c 60000 /dev/zero > {place}/ballast; ({SHIM} run --dir {place} --orphan-after 20 -- /bin/sh -c"
        f' "{LINES.replace("$", chr(92) + "$")}; rm {place}/ballast; {LINES.replace("$", chr(92) + "$")}"); cat'
        f" {place}/spool/* > {copies}")
    subprocess.run([*wrapper, "sh", "-c", command], timeout=WAIT_SECONDS, check=True)
    # Where the shim is slow the ballast goes before the spool has met it, and the disk is full in the second half.
    check_spool(copies.read_bytes(), times=2)
    assert 0 < copies.stat().st_size < 2 * 400 * 256


def frame(kind: int, *fields: int | bytes) -> bytes:
    """One of the shim's protocol, as `FrameCodec` writes it."""
    body = bytes([kind])
    for field in fields:
        body += struct.pack(">q", field if isinstance(field, int) else len(field))
        body += b"" if isinstance(field, int) else field
    return struct.pack(">I", len(body)) + body


def test_an_input_that_cannot_be_written_down(directory):
    """An input of which no trace would stay is not given: nobody could tell later whether it was."""
    disk = FaultyDisk(directory)
    place = directory / "shim"
    place.mkdir()
    disk.fail("write", path="/inputs", skip=1)
    shim = subprocess.Popen(
        [SHIM, "run", "--dir", place, "--orphan-after", "20", "--", "/bin/cat"],
        env={"PATH": os.environ["PATH"], **disk.environment})
    until(lambda: (place / "socket").exists())
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(place / "socket"))
        link.sendall(frame(1, 1, 0) + frame(2, b"first", 0, b"one\n") + frame(2, b"second", 0, b"two\n"))
        seen = b""
        while data := link.recv(65536):
            seen += data
    assert shim.wait(WAIT_SECONDS) == 0 and disk.failed == 1
    assert frame(67, b"first") in seen and b"second" not in seen
    assert (place / "spool/0").read_bytes() == b"one\n"
    assert (place / "inputs").read_text() == "first\n"
    assert "the inputs cannot be written down" in (place / "stderr").read_text()
