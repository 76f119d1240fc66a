"""The real TUIs under tmux: keys go in, the screen is read."""

from __future__ import annotations

import re
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from centaur_server import CLAUDE, CODEX
from claude_cli import ClaudeHome
from codex_cli import CodexHome
from session_api import WAIT_SECONDS

COLUMNS, ROWS = 140, 60


class Terminal:
    """One terminal of its own. The composer must be ready before anything is typed: `with` waits for it."""

    # What the composer shows before the text that is being written, and instead of it in the mode for shell commands.
    mark: str

    def __init__(self, home: CodexHome | ClaudeHome, program: Path, *arguments: str):
        self.home = home
        self.command = shlex.join([str(program), *arguments])
        self.socket = str(home.directory / "tmux")

    def tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", self.socket, "-f", "/dev/null", *arguments], capture_output=True, text=True,
            env=self.home.environment, cwd=self.home.work)
        return done.stdout

    def __enter__(self):
        self.tmux(
            "new-session", "-d", "-s", "tui", "-x", str(COLUMNS), "-y", str(ROWS), f"{self.command} 2>tui.err")
        self.wait_for(self.mark)
        return self

    def __exit__(self, *_) -> None:
        self.tmux("kill-server")

    def screen(self) -> str:
        """All that was shown, with what has scrolled away."""
        return self.tmux("capture-pane", "-p", "-J", "-S", "-2000", "-t", "tui")

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
        self.tmux("send-keys", "-t", "tui", "-l", text)
        tail = re.escape(re.sub(r"\s+", " ", text)[-12:]).replace(r"\ ", r"\s*")
        self.wait_for(tail)

    def press(self, *keys: str) -> None:
        self.tmux("send-keys", "-t", "tui", *keys)

    def submit(self, text: str) -> None:
        self.type(text)
        # An Enter that follows typed text at once is taken for a pasted line break: asked again until it is taken.
        for _ in range(20):
            time.sleep(0.4)
            self.press("Enter")
            if self._is_submitted(text):
                return
        raise AssertionError(f"the composer kept {text!r}:\n{self.screen()}")

    def composer(self) -> str | None:
        """The line that is being written: the last one that has the composer's mark."""
        marked = [line for line in self.screen().splitlines() if re.match(rf"({self.mark}|!)\s", line)]
        return marked[-1] if marked else None

    def _is_submitted(self, text: str) -> bool:
        def is_gone() -> bool:
            line = self.composer()
            return line is None or text.lstrip("!")[:12] not in line

        return self._until(is_gone, 2)

    def _until(self, what: Callable[[], bool], seconds: float) -> bool:
        """Whether it came to pass in a time after which a key is pressed again."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if what():
                return True
            time.sleep(0.05)
        return False


class CodexTUI(Terminal):
    mark = "›"

    def __init__(self, home: CodexHome, *arguments: str):
        super().__init__(home, CODEX, *arguments)


class ClaudeTUI(Terminal):
    """What the agent says stands behind a bullet: `●`."""

    mark = "❯"

    def __init__(self, home: ClaudeHome, *arguments: str):
        super().__init__(home, CLAUDE, *arguments)

    def leave(self) -> None:
        """`/exit`, when the turn has ended: what was said is in the client's transcript then, not only on the screen."""
        self.submit("/exit")
        deadline = time.monotonic() + WAIT_SECONDS
        while screen := self.screen():
            assert time.monotonic() < deadline, f"the client does not end:\n{screen}"
            time.sleep(0.05)

    def clear(self) -> None:
        """Empties the composer, into which the client may have put an earlier prompt again."""
        deadline = time.monotonic() + WAIT_SECONDS
        while (line := self.composer()) is None or line.strip() not in (self.mark, "!"):
            assert time.monotonic() < deadline, f"the composer cannot be emptied:\n{self.screen()}"
            self.press("C-u")
            time.sleep(0.1)

    def go_back_to(self, prompt: str, choice: str) -> None:
        """Esc Esc, an earlier message, and what to do about it."""
        # Two that come too close together, or too far apart, are none.
        while "Restore the code and/or conversation" not in self.screen():
            self.press("Escape")
            time.sleep(0.2)
            self.press("Escape")
            self._until(lambda: "Restore the code and/or conversation" in self.screen(), 10)
        self._select(prompt)
        self.wait_for("Never mind")
        self._select(choice)

    def _select(self, choice: str) -> None:
        for _ in range(12):
            marked = self._marked()
            if re.match(rf"❯ (\d\. )?{re.escape(choice)}", marked):
                return self.press("Enter")
            self.press("Up")
            self._until(lambda: self._marked() != marked, 5)
        raise AssertionError(f"{choice!r} cannot be chosen:\n{self.screen()}")

    def _marked(self) -> str:
        """What would be chosen."""
        found = re.findall("❯ .*", self.screen().split("Rewind")[-1])
        return found[0] if found else ""

    def wait_for_title(self, title: str) -> None:
        """Until the terminal's own title has it."""
        deadline = time.monotonic() + WAIT_SECONDS
        while title not in (shown := self.tmux("display-message", "-p", "-t", "tui", "#{pane_title}")):
            assert time.monotonic() < deadline, f"the terminal's title stays {shown!r}"
            time.sleep(0.05)
