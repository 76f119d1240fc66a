"""What the demos print: calm text for a terminal."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap


class DemoFailed(Exception):
    """What went wrong, for the person who watches; `detail` is what a program said about it."""

    def __init__(self, message: str, detail: str = ""):
        super().__init__(message)
        self.detail = detail


class Screen:
    """Calm text for a terminal; coloured only where one watches."""

    def __init__(self):
        self.has_color = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        self.width = min(shutil.get_terminal_size((100, 24)).columns, 110)

    def paint(self, words: str, code: str) -> str:
        return f"\033[{code}m{words}\033[0m" if self.has_color else words

    def heading(self, words: str) -> None:
        print(f"\n{self.paint(words, '1')}", flush=True)

    def say(self, words: str) -> None:
        print(textwrap.fill(words, self.width, initial_indent="  ", subsequent_indent="  "), flush=True)

    def command(self, line: str) -> None:
        print(f"\n  {self.paint('$', '2')} {self.paint(line, '36')}", flush=True)

    def output(self, line: str) -> None:
        """A line that a program printed, as it printed it."""
        print(f"  {self.paint('│', '2')} {line}".rstrip(), flush=True)

    def fact(self, name: str, words: str) -> None:
        indent = " " * 13
        body = textwrap.fill(words, self.width, initial_indent=indent, subsequent_indent=indent).lstrip()
        print(f"  {self.paint(f'{name:<9}', '1')}  {body}", flush=True)
