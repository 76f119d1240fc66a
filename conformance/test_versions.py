"""What another version has left is refused with a clear word and not touched, and goes on with that version."""

import contextlib
import os
import socket
import sqlite3
import struct
import threading
import uuid
from pathlib import Path

import httpx
import pytest
from centaur_server import CentaurServer, ServerFailed, content
from scripts import COUNT, script, shell, text
from turns import GATE, open_gate, ran_once, until_at_work

# `ShimFrame.hello` on the wire (`FrameCodec`).
HELLO = 65


@pytest.fixture
def key() -> str:
    return f"api:{uuid.uuid4()}"


def at_work(make_server, key: str) -> tuple[CentaurServer, Path]:
    """A server with a turn, and its sandbox's directory."""
    server = make_server()
    server.api.create(key).raise_for_status()
    server.api.execute(key, {"text": script(shell(f"{COUNT}; {GATE}"), text("done"))}).raise_for_status()
    until_at_work(server, key)
    [pid] = server.data.glob("sessions/*/sandboxes/*/pid")
    return server, pid.parent


def lives(sandbox: Path) -> bool:
    return Path(f"/proc/{(sandbox / 'pid').read_text().strip()}").exists()


class OtherShim(threading.Thread):
    """Answers in a shim's place, with a version of the protocol that is not ours; what it is sent is kept."""

    def __init__(self, sandbox: Path, version: int):
        super().__init__(daemon=True)
        pid = int((sandbox / "pid").read_text())
        body = bytes([HELLO]) + struct.pack(">6q", version, pid, pid, 0, 0, 0)
        self.hello = struct.pack(">I", len(body)) + body
        self.said: list[bytes] = []
        self.listener = socket.socket(socket.AF_UNIX)
        # The path itself may be longer than a socket's can be.
        directory = os.open(sandbox, os.O_RDONLY | os.O_DIRECTORY)
        self.listener.bind(f"/proc/self/fd/{directory}/socket")
        os.close(directory)
        self.listener.listen()
        self.start()

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                with connection, connection.makefile("rwb") as stream:
                    stream.write(self.hello)
                    stream.flush()
                    self.said.append(stream.read())


def test_a_shim_of_another_version(make_server, key):
    """A sandbox whose shim this server does not understand is left alone, whatever is asked of its session."""
    server, sandbox = at_work(make_server, key)
    before = server.api.events(key)
    server.kill()
    own = sandbox / "socket"
    own.rename(sandbox / "aside")
    shim = OtherShim(sandbox, version=2)
    server.start()
    for told in (
        server.api.execute(key, {"text": "Reply NO"}), server.api.interrupt(key),
        httpx.post(
            f"{server.v1}/responses", json={"model": "m", "input": "no"}, headers={"X-Centaur-Thread-Key": key})):
        assert (told.status_code, told.json()["error"]["code"]) == (503, "sandbox_version"), told.text
        assert told.headers["retry-after"] == "30"
    assert server.api.events(key) == before
    assert server.stop() == 0
    assert lives(sandbox)
    assert set(shim.said) == {b""}
    shim.listener.close()
    own.unlink()
    (sandbox / "aside").rename(own)
    server.start()
    open_gate(server, key)
    ran_once(server, key)


def kept(data: Path) -> dict[Path, int]:
    """When the store and the sandboxes' files were written, but for what sandboxes write themselves: they go on."""
    theirs = {"workspace", "home", "tmp", "spool"}
    files = [data / "centaur.sqlite", *(data / "sessions").rglob("*")]
    return {file: file.stat().st_mtime_ns for file in files if not theirs & set(file.parts)}


def migrate(data: Path, change: str) -> None:
    with contextlib.closing(sqlite3.connect(data / "centaur.sqlite")) as store, store:
        store.execute(change)


def test_a_newer_store(make_server, key):
    """A server does not begin on a store that a newer one has written: it says so, and sandboxes go on without it."""
    server, sandbox = at_work(make_server, key)
    server.kill()
    migrate(server.data, "INSERT INTO grdb_migrations (identifier) VALUES ('v999')")
    before = kept(server.data)
    with pytest.raises(ServerFailed, match="written by a newer version"):
        server.start()
    assert kept(server.data) == before and not content(server.data / "centaur.sqlite-wal")
    assert lives(sandbox) and Path(f"/proc/{server.gateway_pid}").exists()
    migrate(server.data, "DELETE FROM grdb_migrations WHERE identifier = 'v999'")
    server.start()
    open_gate(server, key)
    ran_once(server, key)
