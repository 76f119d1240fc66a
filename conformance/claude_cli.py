"""The real Claude Code as a client: its homes and `claude -p`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from centaur_server import CLAUDE, base_environment

RUN_SECONDS = 200


@dataclass
class ClaudeRun:
    status: int
    stdout: str
    stderr: str
    session: str

    @property
    def answer(self) -> str:
        """What `claude -p` prints: the last text of the last message."""
        return self.stdout.strip()

    @property
    def key(self) -> str:
        return f"api:claude:{self.session}"

    @property
    def events(self) -> list[dict]:
        """The lines of `--output-format stream-json`, or the one of `json`."""
        return [json.loads(line) for line in self.stdout.splitlines() if line.startswith("{")]

    @property
    def result(self) -> dict:
        return [event for event in self.events if event["type"] == "result"][-1]

    @property
    def blocks(self) -> list[dict]:
        """Every content block that the client was shown, in order."""
        messages = [event["message"] for event in self.events if event["type"] == "assistant"]
        return [block for message in messages for block in message["content"]]

    @property
    def texts(self) -> list[str]:
        return [block["text"] for block in self.blocks if block["type"] == "text"]

    @property
    def shown(self) -> str:
        """All that a person can read, whatever the format."""
        return self.stdout + self.stderr

    def ok(self) -> ClaudeRun:
        assert self.status == 0, f"claude exited with {self.status}\n{self.stdout}\n{self.stderr}"
        return self


class ClaudeHome:
    """A user's `CLAUDE_CONFIG_DIR`, a working directory, and the environment that points at a server.

    `headers` go with each request. `settings` are further environment variables; None takes one away.
    """

    def __init__(
        self, directory: Path, url: str, *, headers: dict[str, str] | None = None,
        settings: dict[str, str | None] | None = None):
        self.directory = directory
        self.home = directory / "claude-home"
        self.work = directory / "work"
        self.url = url
        self.headers = dict(headers or {})
        self.settings = dict(settings or {})
        for path in (self.home, self.work, directory / "tmp"):
            path.mkdir(parents=True, exist_ok=True)
        config = self.home / ".claude.json"
        if not config.exists():
            # As after the first start of the TUI: its welcome and its question of trust are answered.
            config.write_text(json.dumps({
                "hasCompletedOnboarding": True, "lastOnboardingVersion": "2.1.330", "theme": "dark",
                "projects": {str(self.work): {"hasTrustDialogAccepted": True}}}))

    def copy(self, directory: Path, url: str) -> ClaudeHome:
        """The same user and working directory on another machine: all that Claude Code kept, elsewhere."""
        directory.mkdir(parents=True)
        shutil.copytree(self.home, directory / "claude-home")
        moved = ClaudeHome(directory, url, headers=self.headers, settings=self.settings)
        # A conversation is found by the path of its working directory.
        moved.work = self.work
        return moved

    @property
    def environment(self) -> dict[str, str]:
        environment: dict[str, str | None] = {
            **base_environment(), "HOME": str(self.directory), "CLAUDE_CONFIG_DIR": str(self.home),
            "TMPDIR": str(self.directory / "tmp"), "TERM": "xterm-256color",
            "ANTHROPIC_BASE_URL": self.url, "ANTHROPIC_AUTH_TOKEN": "not-a-key",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1",
            # Lets root use it.
            "IS_SANDBOX": "1",
            "ANTHROPIC_CUSTOM_HEADERS": "\n".join(f"{name}: {value}" for name, value in self.headers.items()),
            **self.settings,
        }
        return {name: value for name, value in environment.items() if value}

    def start(self, *arguments: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen:
        """`claude -p` in the background; `finish` waits for it."""
        return subprocess.Popen(
            [str(CLAUDE), "-p", *arguments], cwd=self.work, env=self.environment, stdin=stdin,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)

    def finish(self, process: subprocess.Popen, session: str, seconds: float = RUN_SECONDS) -> ClaudeRun:
        try:
            stdout, stderr = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            stdout, stderr = process.communicate()
            raise AssertionError(f"claude -p did not end within {seconds} s\n{stdout}\n{stderr}")
        return ClaudeRun(process.returncode, stdout, stderr, session)

    def ask(self, prompt: str, *arguments: str, session: str | None = None) -> ClaudeRun:
        """A new conversation; its id is chosen here, so that the session is known while it runs."""
        session = session or str(uuid.uuid4())
        return self.finish(self.start(prompt, "--session-id", session, *arguments), session)

    def resume(self, session: str, prompt: str, *arguments: str) -> ClaudeRun:
        return self.finish(self.start(prompt, "--resume", session, *arguments), session)

    def go_on(self, session: str, prompt: str, *arguments: str) -> ClaudeRun:
        """`--continue`: the newest conversation of this working directory, which should be `session`."""
        return self.finish(self.start(prompt, "--continue", *arguments), session)

    def fork(self, session: str, prompt: str, *arguments: str) -> ClaudeRun:
        forked = str(uuid.uuid4())
        options = ("--resume", session, "--fork-session", "--session-id", forked)
        return self.finish(self.start(prompt, *options, *arguments), forked)

    def say(self, session: str, *messages: list[dict] | str) -> ClaudeRun:
        """A conversation by `--input-format stream-json`: each message follows the answer to the one before it."""
        options = ("--input-format", "stream-json", *STREAM, "--session-id", session)
        process = self.start(*options, stdin=subprocess.PIPE)
        watchdog = threading.Timer(RUN_SECONDS, process.kill)
        watchdog.start()
        seen: list[str] = []
        for message in messages:
            line = json.dumps({"type": "user", "message": {"role": "user", "content": message}})
            process.stdin.write(line + "\n")
            process.stdin.flush()
            for line in process.stdout:
                seen.append(line)
                if line.startswith("{") and json.loads(line)["type"] == "result":
                    break
        rest, stderr = process.communicate()
        watchdog.cancel()
        return ClaudeRun(process.returncode, "".join(seen) + rest, stderr, session)


STREAM = ("--output-format", "stream-json", "--verbose")
JSON = ("--output-format", "json")


def shown_by(process: subprocess.Popen) -> Iterator[dict]:
    """The lines of a `stream-json` run in the background, as they come."""
    for line in process.stdout:
        if line.startswith("{"):
            yield json.loads(line)
