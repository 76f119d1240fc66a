"""A real `centaur serve` as a process of its own, for one test or for many."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import threading
import time
from pathlib import Path

import httpx

from session_api import WAIT_SECONDS, SessionAPI

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = Path(os.environ.get("CENTAUR_PROGRAM", ROOT / ".build/debug/centaur"))
CODEX = ROOT / ".venv/bin/codex"
CLAUDE = ROOT / ".venv/bin/claude"
# Longer than a server takes that has to cut its clients off: 25 s.
STOP_SECONDS = 90


def base_environment() -> dict[str, str]:
    """The environment for servers and clients: no keys, no settings of the person who runs the tests."""
    kept = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment.setdefault("LANG", "C.UTF-8")
    return environment


def until(what, seconds: float = WAIT_SECONDS):
    """The first true value of `what`."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)
    return found


class ServerFailed(Exception):
    """The server did not start, or ended by itself."""


class CentaurServer:
    """`config` is the configuration file's content. The scripted model is used unless `stand_in` is false."""

    def __init__(self, directory: Path, config: dict | None = None, *, stand_in: bool = True, environment=None):
        self.directory = directory
        self.data = directory / "data"
        self.log = directory / "server.log"
        self.stand_in = stand_in
        self.environment = {**base_environment(), **(environment or {})}
        self.config = {"harnesses": {
            "codex": {"binary": str(CODEX)}, "codex-exec": {"binary": str(CODEX)}, "claude": {"binary": str(CLAUDE)}},
            # Many servers run at once on few cores: a test that wants harnesses to wait asks for them.
            "warm_pool": 0}
        for key, value in (config or {}).items():
            self.config[key] = value
        # What stands before the server's command and becomes it.
        self.wrapper: list[str] = []
        self.process: subprocess.Popen | None = None
        self.lines: list[str] = []
        self.url = ""
        # A restart is where its clients look for it.
        self.keeps_port = False
        self.listen = "127.0.0.1"
        self.program = PROGRAM
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def v1(self) -> str:
        return f"{self.url}/v1"

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    @property
    def api(self) -> SessionAPI:
        return SessionAPI(self.url)

    def api_of(self, key: str) -> SessionAPI:
        """The session API for whoever has a key."""
        return SessionAPI(self.url, key)

    def keys(self, *arguments: str) -> subprocess.CompletedProcess:
        """`centaur keys …` on the server's data directory."""
        return subprocess.run(
            [str(PROGRAM), "keys", *arguments, "--data", str(self.data)], env=self.environment, text=True,
            capture_output=True, timeout=WAIT_SECONDS)

    def make_key(self, *arguments: str) -> str:
        """The secret of a new key."""
        made = self.keys("create", *arguments)
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    def start(self) -> CentaurServer:
        # JSON is YAML.
        file = self.directory / "centaur.yaml"
        file.write_text(json.dumps(self.config, indent=1))
        port = self.port if self.keeps_port and self.url else 0
        command = [
            *self.wrapper, str(self.program), "serve", "--config", str(file), "--listen", f"{self.listen}:{port}",
            "--data", str(self.data)]
        if self.stand_in:
            command.append("--stand-in-model")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                text=True)
        listening = threading.Event()
        threading.Thread(target=self._read, args=(self.process, listening), daemon=True).start()
        if not listening.wait(WAIT_SECONDS) or not self.url:
            self.kill()
            raise ServerFailed(f"no listening line from {' '.join(command)}\n{self.log_tail()}")
        return self

    def _read(self, process: subprocess.Popen, listening: threading.Event) -> None:
        self.url = ""
        for line in process.stdout:
            self.lines.append(line.rstrip("\n"))
            if line.startswith("listening on "):
                self.url = line.split()[-1].rstrip("/")
                listening.set()
        listening.set()

    def stop(self) -> int:
        """Ends the server as an operator would. Returns its exit status."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise ServerFailed(f"the server did not end within {STOP_SECONDS} s of SIGTERM\n{self.log_tail()}")

    def pause(self) -> None:
        """Stops the process where it stands; `resume` lets it go on. Not while it writes to the store: whoever sleeps with
        SQLite's lock in hand keeps all others from writing."""
        while True:
            self.process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)
            try:
                with contextlib.closing(sqlite3.connect(self.data / "centaur.sqlite", timeout=0)) as database:
                    database.execute("BEGIN IMMEDIATE")
                    return database.rollback()
            except sqlite3.OperationalError:
                self.resume()
                time.sleep(0.01)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def end(self) -> None:
        """Leaves no process behind, whatever state the test left."""
        try:
            if self.process and self.process.poll() is None:
                self.stop()
        finally:
            self.kill()
            end_processes_of(self.data)

    def log_tail(self, lines: int = 60) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(self.lines[-10:] + text.splitlines()[-lines:])

    @property
    def gateway_pid(self) -> int:
        return int((self.data / "gateway/pid").read_text())

    def audit(self) -> list[dict]:
        """What the gateway has written down, oldest first."""
        file = self.data / "gateway/audit.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def resident_kilobytes(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")))


class StandInModel:
    """The scripted model as a process of its own: `GET /requests` tells what the harness sent."""

    def __init__(self, directory: Path):
        directory.mkdir(parents=True, exist_ok=True)
        self.log = (directory / "model.log").open("wb")
        self.process = subprocess.Popen(
            [str(PROGRAM.parent / "centaur-stand-in-model"), "--listen", "127.0.0.1:0"], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=self.log, text=True, env=base_environment())
        self.url = ""
        for line in self.process.stdout:
            if line.startswith("listening on "):
                self.url = line.split()[-1].rstrip("/")
                break
        if not self.url:
            raise ServerFailed("the scripted model did not start")

    def requests(self) -> list[dict]:
        found = httpx.get(f"{self.url}/requests", timeout=WAIT_SECONDS).raise_for_status().json()
        return found["data"] if isinstance(found, dict) else found

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()


def content(file: Path) -> bytes:
    """Of a file that may be gone, or be somebody else's."""
    try:
        return file.read_bytes()
    except OSError:
        return b""


def processes_with(mark: str) -> list[int]:
    """The processes, other than this one, whose command line or environment holds `mark`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            if any(os.fsencode(mark) in content(entry / name) for name in ("cmdline", "environ")):
                found.append(int(entry.name))
    return found


def end_processes_of(data: Path) -> None:
    """Ends what a server left running: the gateway, shims and harnesses whose command line names its data directory."""
    deadline = time.monotonic() + 30
    while left := processes_with(str(data)):
        if time.monotonic() > deadline:
            return
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
        time.sleep(0.05)
