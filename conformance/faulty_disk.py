"""Disks that fail: chosen calls of a process on chosen files (LD_PRELOAD), and a small file system of its own."""

from __future__ import annotations

import errno
import functools
import os
import random
import subprocess
import tempfile
from pathlib import Path

import pytest
from centaur_server import ROOT, until

STORE = "centaur.sqlite"


@functools.cache
def library() -> Path:
    """`faults/failing_files.c`, compiled once a run."""
    made = Path(tempfile.mkdtemp(prefix="centaur-faults-")) / "failing_files.so"
    source = ROOT / "conformance/faults/failing_files.c"
    subprocess.run(
        ["cc", "-Wall", "-Werror", "-O1", "-shared", "-fPIC", "-o", str(made), str(source), "-ldl"], check=True)
    return made


class FaultyDisk:
    """What a process that was started with `environment` gets of its files."""

    def __init__(self, directory: Path):
        self.rule = directory / "rule"
        self.log = directory / "rule.log"
        self.writes = directory / "rule.writes"
        self.heal()

    @property
    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(library()), "FAILING_FILES": str(self.rule), "WRITTEN_FILES": f"{STORE}-wal"}

    def fail(self, calls: str, number: int = errno.ENOSPC, *, path: str = STORE, skip: int = 0, count: int = -1) -> None:
        """The calls (`write`, `sync`, `open`, with commas) after the first `skip` fail, `count` of them or all."""
        self._write(f"{calls} {path} {number} {skip} {count}\n")

    def heal(self) -> None:
        self._write("")

    def _write(self, rule: str) -> None:
        new = self.rule.with_suffix(".new")
        new.write_text(rule)
        new.rename(self.rule)

    def lose_unsynced(self, file: Path, random_: random.Random) -> int:
        """What a power loss may take of a file whose process is dead: from somewhere in what was written since its last
        sync on, everything. Returns how many bytes."""
        end = file.stat().st_size
        start = end
        if self.writes.exists():
            for line in self.writes.read_text().splitlines():
                call, offset, path = line.split(" ", 2)
                if path == str(file):
                    start = end if call == "sync" else min(start, int(offset))
        kept = random_.randint(start, end)
        os.truncate(file, kept)
        return end - kept

    @property
    def failed(self) -> int:
        """How many calls have failed so far."""
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0

    def wait(self, count: int = 1) -> None:
        until(lambda: self.failed >= count)


def own_file_system(directory: Path, size: str) -> list[str]:
    """A command's beginning: `directory` is a file system of this size for what follows and for nobody else."""
    script = 'mount -t tmpfs -o "size=$0,mode=700" tmpfs "$1" && shift && exec "$@"'
    command = ["unshare", "-m", "sh", "-c", script, size, str(directory)]
    directory.mkdir(parents=True, exist_ok=True)
    tried = subprocess.run([*command, "true"], capture_output=True, text=True)
    if tried.returncode != 0:
        pytest.skip(f"no file system of our own can be mounted here: {tried.stderr.strip()}")
    return command


def seen_by(pid: int, path: Path) -> Path:
    """A file as a process sees it that has mounts of its own."""
    return Path(f"/proc/{pid}/root{path}")
