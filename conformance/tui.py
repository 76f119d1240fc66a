"""The real Codex TUI under tmux: keys go in, the screen is read."""

from __future__ import annotations

import re
import shlex
import subprocess
import time

from centaur_server import CODEX
from codex_cli import CodexHome

WAIT_SECONDS = 45
COLUMNS, ROWS = 140, 60


class CodexTUI:
    """One terminal of its own. The composer must be ready before anything is typed: `with` waits for it."""

    def __init__(self, home: CodexHome, *arguments: str):
        self.home = home
        self.arguments = arguments
        self.socket = str(home.directory / "tmux")

    def tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", self.socket, "-f", "/dev/null", *arguments], capture_output=True, text=True,
            env=self.home.environment, cwd=self.home.work)
        return done.stdout

    def __enter__(self) -> CodexTUI:
        command = shlex.join([str(CODEX), *self.arguments])
        self.tmux(
            "new-session", "-d", "-s", "codex", "-x", str(COLUMNS), "-y", str(ROWS), f"{command} 2>codex-tui.err")
        self.wait_for(r"›")
        return self

    def __exit__(self, *_) -> None:
        self.tmux("kill-server")

    def screen(self) -> str:
        """All that was shown, with what has scrolled away."""
        return self.tmux("capture-pane", "-p", "-J", "-S", "-2000", "-t", "codex")

    def wait_for(self, pattern: str, count: int = 1) -> str:
        """Until the screen shows `pattern` at least `count` times; the screen then."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            screen = self.screen()
            if len(re.findall(pattern, screen)) >= count:
                return screen
            assert time.monotonic() < deadline, f"the screen never showed {pattern!r} {count} times:\n{screen}"
            time.sleep(0.05)

    def wait_until_gone(self, pattern: str) -> str:
        deadline = time.monotonic() + WAIT_SECONDS
        while re.search(pattern, screen := self.screen()):
            assert time.monotonic() < deadline, f"the screen still shows {pattern!r}:\n{screen}"
            time.sleep(0.05)
        return screen

    def type(self, text: str) -> None:
        """Puts text into the composer and waits until it stands there."""
        self.tmux("send-keys", "-t", "codex", "-l", text)
        tail = re.escape(re.sub(r"\s+", " ", text)[-12:]).replace(r"\ ", r"\s*")
        self.wait_for(tail)

    def press(self, *keys: str) -> None:
        self.tmux("send-keys", "-t", "codex", *keys)

    def submit(self, text: str) -> None:
        self.type(text)
        # Codex takes an Enter that follows typed text at once for a pasted line break: asked again until it is taken.
        for _ in range(6):
            time.sleep(0.4)
            self.press("Enter")
            if self._is_submitted(text):
                return
        raise AssertionError(f"the composer kept {text!r}:\n{self.screen()}")

    def _is_submitted(self, text: str) -> bool:
        """Whether the composer, the last line that has its mark, is free of the text."""
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            marked = [line for line in self.screen().splitlines() if re.match(r"[›!] ", line)]
            if not marked or text.lstrip("!")[:12] not in marked[-1]:
                return True
            time.sleep(0.05)
        return False
