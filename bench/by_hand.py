"""A real harness started by hand: the command line and environment that the server gives it, its stdio driven here."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
import uuid
from pathlib import Path

from centaur_server import processes_with
from programs import BenchFailed

# The gateway's address, where the server has put it; with a path of the session's own, or without.
GATEWAY = re.compile(r"http://127\.0\.0\.1:\d+(/s/[^/\"\s]+)?")
# Ways out of a sandbox, which by hand are not needed.
WAYS_OUT = {"ANTHROPIC_UNIX_SOCKET", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"}


class Recipe:
    """What the server has started for a session, with its own directory and the gateway left open."""

    def __init__(self, harness: str, root: Path, model: str):
        self.harness, self.root, self.model = harness, root, model
        program = {"codex": "app-server", "claude": "stream-json"}[harness]
        for pid in processes_with(str(root)):
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[:-1]
            if program in command and "centaur-shim" not in command[0] and "bwrap" not in command[0]:
                self.command = command
                environment = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")[:-1]
                self.environment = dict(entry.split("=", 1) for entry in environment if "=" in entry)
                for name in WAYS_OUT:
                    self.environment.pop(name, None)
                catalogue = root / "home/catalog.json"
                self.files = {"catalog.json": catalogue.read_bytes()} if catalogue.exists() else {}
                return
        raise BenchFailed(f"no {harness} was found that the server had started")

    def placed(self, text: str, directory: Path) -> str:
        return GATEWAY.sub(self.model, text.replace(str(self.root), str(directory)))


class Harness:
    """One process; times are those at which a line was read."""

    def __init__(self, recipe: Recipe, directory: Path):
        self.recipe, self.directory = recipe, directory
        for name in ("home", "workspace", "tmp"):
            (directory / name).mkdir(parents=True)
        for name, content in recipe.files.items():
            (directory / "home" / name).write_bytes(content)
        command = [recipe.placed(argument, directory) for argument in recipe.command]
        if "--session-id" in command:
            command[command.index("--session-id") + 1] = str(uuid.uuid4())
        environment = {name: recipe.placed(value, directory) for name, value in recipe.environment.items()}
        self.number = 0
        self.begun = time.monotonic()
        self.process = subprocess.Popen(
            command, cwd=directory / "workspace", env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL)

    def send(self, message: dict) -> None:
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def read(self, until) -> dict:
        for line in self.process.stdout:
            message = json.loads(line)
            if until(message):
                return message
        raise BenchFailed(f"{self.recipe.harness} by hand ended with status {self.process.wait()}")

    def ask(self, method: str, **params) -> dict:
        self.number += 1
        number = self.number
        self.send({"id": number, "method": method, "params": params})
        return self.read(lambda message: message.get("id") == number and "method" not in message)["result"]

    def shake_hands(self) -> None:
        if self.recipe.harness == "codex":
            self.ask("initialize", clientInfo={"name": "bench", "title": "bench", "version": "1"},
                     capabilities={"experimentalApi": True})
            self.send({"method": "initialized"})
            self.thread = self.ask(
                "thread/start", cwd=str(self.directory / "workspace"), modelProvider="centaur",
                sandbox="danger-full-access", approvalPolicy="never")["thread"]["id"]
        else:
            initialize = {"subtype": "initialize", "hooks": None}
            self.send({"type": "control_request", "request_id": "1", "request": initialize})
            self.read(lambda message: message["type"] == "control_response")

    def turn(self, text: str) -> float:
        """Seconds from giving it the turn to its first delta."""
        begun = time.monotonic()
        if self.recipe.harness == "codex":
            self.ask("turn/start", threadId=self.thread, input=[{"type": "text", "text": text}])
            self.read(lambda message: message.get("method") == "item/agentMessage/delta")
            first = time.monotonic() - begun
            self.read(lambda message: message.get("method") == "turn/completed")
        else:
            self.send({"type": "user", "uuid": str(uuid.uuid4()), "message": {"role": "user", "content": text}})
            self.read(lambda message: message["type"] == "stream_event"
                      and message["event"]["type"] == "content_block_delta")
            first = time.monotonic() - begun
            self.read(lambda message: message["type"] == "result")
        return first

    def end(self) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        shutil.rmtree(self.directory, ignore_errors=True)


def megabytes(pids: list[int]) -> tuple[float, float]:
    """The resident memory of processes: summed up, and with what they share counted once."""
    resident = shared = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            if line.startswith("Rss:"):
                resident += int(line.split()[1])
            if line.startswith("Pss:"):
                shared += int(line.split()[1])
    return resident / 1024, shared / 1024


def family(pid: int) -> list[int]:
    """A process and all that it has started."""
    found = [pid]
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return found
    for child in children:
        found += family(int(child))
    return found
