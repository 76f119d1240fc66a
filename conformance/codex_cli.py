"""The real Codex CLI as a client: its homes, `codex exec`, `codex app-server`."""

from __future__ import annotations

import json
import os
import queue
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from centaur_server import CODEX, base_environment
from session_api import WAIT_SECONDS

RUN_SECONDS = 200

# Off in the tests' own clients: what would call hosts on the internet at start.
OFFLINE = """
check_for_update_on_startup = false
[analytics]
enabled = false
[features]
plugins = false
apps = false
remote_plugin = false
"""


@dataclass
class CodexRun:
    status: int
    stdout: str
    stderr: str

    @property
    def answer(self) -> str:
        """What `codex exec` prints on its standard output: the last message."""
        return self.stdout.strip()

    @property
    def events(self) -> list[dict]:
        """The lines of `codex exec --json`."""
        return [json.loads(line) for line in self.stdout.splitlines() if line.startswith("{")]

    @property
    def session(self) -> str:
        for event in self.events:
            if event["type"] == "thread.started":
                return event["thread_id"]
        return re.search(r"session id: ([0-9a-f-]{36})", self.stderr).group(1)

    @property
    def key(self) -> str:
        return f"api:codex:{self.session}"

    def items(self, type: str) -> list[dict]:
        found = [event["item"] for event in self.events if event["type"] == "item.completed"]
        return [item for item in found if item["type"] == type]

    def ok(self) -> CodexRun:
        assert self.status == 0, f"codex exited with {self.status}\n{self.stdout}\n{self.stderr}"
        return self


class CodexHome:
    """A user's `CODEX_HOME` that points at a server, and a working directory. `headers` go with each request, and so does
    the `key`, which Codex takes from its environment."""

    def __init__(
        self, directory: Path, base_url: str, *, provider: str = "Centaur", extra: str = "",
        headers: dict[str, str] | None = None, websockets: bool = False, key: str | None = None):
        self.directory = directory
        self.key = key
        self.home = directory / "codex-home"
        self.work = directory / "work"
        self.provider = provider
        self.extra = extra
        self.headers = dict(headers or {})
        self.websockets = websockets
        for path in (self.home, self.work, directory / "tmp"):
            path.mkdir(parents=True, exist_ok=True)
        self.point_at(base_url)

    def point_at(self, base_url: str) -> None:
        headers = ", ".join(f"{json.dumps(name)} = {json.dumps(value)}" for name, value in self.headers.items())
        (self.home / "config.toml").write_text(
            'model = "thread-agent"\nmodel_provider = "centaur"\n'
            f"{self.extra}\n{OFFLINE}\n"
            f'[projects."{self.work}"]\ntrust_level = "trusted"\n'
            "[model_providers.centaur]\n"
            f'name = "{self.provider}"\nbase_url = "{base_url}"\nwire_api = "responses"\n'
            f"http_headers = {{ {headers} }}\nsupports_websockets = {json.dumps(self.websockets)}\n"
            + ('env_key = "CENTAUR_KEY"\n' if self.key else ""))

    def copy(self, directory: Path, base_url: str) -> CodexHome:
        """The same user on another machine: all that Codex kept, elsewhere."""
        directory.mkdir(parents=True)
        shutil.copytree(self.home / "sessions", directory / "codex-home" / "sessions")
        return CodexHome(
            directory, base_url, provider=self.provider, extra=self.extra, headers=self.headers,
            websockets=self.websockets)

    @property
    def environment(self) -> dict[str, str]:
        return {
            **base_environment(), "HOME": str(self.directory), "CODEX_HOME": str(self.home),
            "TMPDIR": str(self.directory / "tmp"), "TERM": "xterm-256color",
            **({"CENTAUR_KEY": self.key} if self.key else {}),
        }

    def start(self, *arguments: str) -> subprocess.Popen:
        """`codex exec` in the background; `finish` waits for it."""
        return subprocess.Popen(
            [str(CODEX), "exec", *arguments], cwd=self.work, env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)

    def finish(self, process: subprocess.Popen, seconds: float = RUN_SECONDS) -> CodexRun:
        try:
            stdout, stderr = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            stdout, stderr = process.communicate()
            raise AssertionError(f"codex exec did not end within {seconds} s\n{stdout}\n{stderr}")
        return CodexRun(process.returncode, stdout, stderr)

    def exec(self, *arguments: str) -> CodexRun:
        return self.finish(self.start("--skip-git-repo-check", *arguments))

    def resume(self, session: str, *arguments: str) -> CodexRun:
        return self.finish(self.start("resume", "--skip-git-repo-check", session, *arguments))

    def fork(self, session: str, *arguments: str) -> CodexRun:
        return self.finish(self.start("fork", "--skip-git-repo-check", session, *arguments))

    def app_server(self) -> CodexAppServer:
        return CodexAppServer(self)


class CodexAppServer:
    """The client's own `codex app-server` over stdio, as an editor drives it."""

    def __init__(self, home: CodexHome):
        self.home = home
        self.stderr = (home.directory / "app-server.log").open("ab")
        self.process = subprocess.Popen(
            [str(CODEX), "app-server"], cwd=home.work, env=home.environment, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self.stderr, text=True)
        self.next_id = 0
        self.replies: dict[int, queue.Queue] = {}
        self.seen: list[dict] = []
        self.changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> CodexAppServer:
        self.request(
            "initialize", clientInfo={"name": "conformance", "version": "1"},
            capabilities={"experimentalApi": True})
        self._send({"method": "initialized"})
        return self

    def __exit__(self, *_) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.stderr.close()

    def _read(self) -> None:
        for line in self.process.stdout:
            message = json.loads(line)
            if "method" not in message:
                self.replies[message["id"]].put(message)
                continue
            with self.changed:
                self.seen.append(message)
                self.changed.notify_all()

    def _send(self, message: dict) -> None:
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def request(self, method: str, **params) -> dict:
        self.next_id += 1
        reply = self.replies[self.next_id] = queue.Queue()
        self._send({"id": self.next_id, "method": method, "params": params})
        message = reply.get(timeout=WAIT_SECONDS)
        assert "error" not in message, f"{method}: {message['error']}"
        return message["result"]

    def wait(self, until: Callable[[dict], bool], start: int = 0) -> dict:
        """The first notification from the `start`-th on that `until` takes."""
        deadline = time.monotonic() + WAIT_SECONDS
        with self.changed:
            position = start
            while True:
                for message in self.seen[position:]:
                    if until(message):
                        return message
                position = len(self.seen)
                left = deadline - time.monotonic()
                assert left > 0, f"not seen; there were {[message['method'] for message in self.seen[start:]]}"
                self.changed.wait(left)

    def start_thread(self, **params) -> str:
        return self.request("thread/start", cwd=str(self.home.work), **params)["thread"]["id"]

    def start_turn(self, thread: str, *texts: str) -> str:
        found = self.request("turn/start", threadId=thread, input=[{"type": "text", "text": text} for text in texts])
        return found["turn"]["id"]

    def end_of_turn(self, turn: str) -> dict:
        found = self.wait(
            lambda message: message["method"] == "turn/completed" and message["params"]["turn"]["id"] == turn)
        return found["params"]["turn"]

    def answers(self, turn: str) -> list[str]:
        """The agent's messages of a turn, in order."""
        return [
            message["params"]["item"]["text"] for message in self.seen
            if message["method"] == "item/completed" and message["params"]["turnId"] == turn
            and message["params"]["item"]["type"] == "agentMessage"
        ]

    def run(self, thread: str, *texts: str) -> str:
        """A whole turn; the last message."""
        turn = self.start_turn(thread, *texts)
        ended = self.end_of_turn(turn)
        assert ended["status"] == "completed", ended
        return self.answers(turn)[-1]
