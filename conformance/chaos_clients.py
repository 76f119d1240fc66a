"""The clients of a chaos round: each leads one session through a few turns and comes back as its kind does by itself."""

from __future__ import annotations

import json
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import anthropic
import httpx
import httpx2
import openai
from claude_cli import ClaudeHome
from codex_cli import CodexHome
from scripts import script, shell, text
from session_api import TERMINAL, SessionAPI
from tcp_proxy import TCPProxy, reset

# As long a program comes back before it gives up; servers are down for a second here.
PATIENCE = 120
LEDGER = "ledger.txt"
# Model calls of a turn.
CALLS = 3


@dataclass
class Turn:
    """One turn: what a client asks, and how that ended for the client."""

    word: str
    answered: bool = False
    # What the client was shown, or why it gave up.
    shown: str = "(not asked)"
    # How it ends where nothing is in its way.
    end_state = "completed"
    # Model calls of one that came to that end, the fewest and the most.
    calls = (CALLS, CALLS)
    # It leaves a line in the ledger.
    has_effect = True

    @property
    def prompt(self) -> str:
        # No text beside a call: a harness keeps a text that was whole when its call's answer was cut, and the scripted
        # model takes its step for done.
        return script(
            shell(f"echo {self.word} >> {LEDGER}; sleep 0.3"),
            shell("echo more; sleep 0.2"), text(self.answer, chunks=6, delay=0.05))

    @property
    def answer(self) -> str:
        return f"{self.word} is done"

    def end(self, shown: str, answered: bool | None = None) -> None:
        self.shown = shown
        self.answered = self.answer in shown if answered is None else answered


class Relay(TCPProxy):
    """The network between clients and the server: an address that stays, whatever the server's port; can fail."""

    def __init__(self):
        self.open: set[socket.socket] = set()
        self.lock = threading.Lock()
        self.flowing = threading.Event()
        self.flowing.set()
        super().__init__()

    def take(self, client: socket.socket) -> None:
        try:
            server = self.connect()
        except OSError:
            return reset(client)
        with self.lock:
            self.open |= {client, server}
        for source, target in ((client, server), (server, client)):
            threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                self.flowing.wait()
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            # What one side did not see to its end, the other must not take for whole.
            for side in (source, target):
                reset(side)

    def cut(self) -> None:
        """Every connection breaks, as when a network changes."""
        with self.lock:
            sides, self.open = self.open, set()
        for side in sides:
            reset(side)

    def end(self) -> None:
        self.flowing.set()
        self.listener.close()
        self.cut()


class Broken(Exception):
    """A stream that ended without its last event."""


# Anthropic's SDK has a copy of httpx of its own.
UNREACHABLE = (
    openai.APIConnectionError, anthropic.APIConnectionError, httpx.TransportError, httpx2.TransportError, Broken)


class Client:
    """One user or program with one session."""

    kind = ""
    is_cli = False
    # What it asks, one after the other.
    asks: tuple[type[Turn], ...] = (Turn, Turn)

    def __init__(self, number: int, seed: int, harness: str, relay: Relay, directory: Path):
        self.harness = harness
        self.relay = relay
        self.directory = directory / f"client{number}"
        self.key = f"api:{uuid.uuid4()}"
        # In a conversation the newest is the greatest.
        self.turns = [turn(f"w{seed}x{number}x{place}") for place, turn in enumerate(self.asks)]
        self.problems: list[str] = []
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        for turn in self.turns:
            try:
                self.take(turn)
            except Exception as error:  # Whatever it is, the round's report is to tell it.
                turn.end(f"{type(error)}: {error}", False)

    def take(self, turn: Turn) -> None:
        raise NotImplementedError

    def insist(self, attempt: Callable[[], str]) -> str:
        """Asks again where a program should: no connection, a broken one, a server that says it cannot now."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return attempt()
            except (openai.APIStatusError, anthropic.APIStatusError, httpx.HTTPStatusError) as error:
                status = error.response.status_code
                # A stream's error has the stream's status: that turn has failed.
                if status < 500 and status != 429 or time.monotonic() > deadline:
                    return f"(status {status}) {error}"
            except UNREACHABLE as error:
                if time.monotonic() > deadline:
                    return f"(unreachable) {error}"
            time.sleep(0.1)

    def headers(self, turn: Turn) -> dict[str, str]:
        return {
            "X-Centaur-Thread-Key": self.key, "X-Centaur-Harness": self.harness, "Idempotency-Key": turn.word}


class OpenAIProgram(Client):
    kind = "openai-sdk"

    def sdk(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.relay.url}/v1", api_key="none", max_retries=2, timeout=PATIENCE)

    def take(self, turn: Turn) -> None:
        turn.end(self.ask(turn))

    def ask(self, turn: Turn, **headers: str) -> str:
        """The turn's last words."""
        client = self.sdk()

        def attempt() -> str:
            with client.responses.create(
                model="m", input=turn.prompt, stream=True, extra_headers=self.headers(turn) | headers) as stream:
                for event in stream:
                    if event.type == "response.completed":
                        return event.response.output_text
                    if event.type == "response.failed":
                        return f"(failed) {event.response.error}"
            raise Broken("no response.completed")

        return self.insist(attempt)


class AnthropicProgram(Client):
    kind = "anthropic-sdk"

    def take(self, turn: Turn) -> None:
        client = anthropic.Anthropic(base_url=self.relay.url, api_key="none", max_retries=2, timeout=PATIENCE)

        def attempt() -> str:
            said = []
            with client.messages.create(
                model="m", max_tokens=1000, messages=[{"role": "user", "content": turn.prompt}], stream=True,
                extra_headers=self.headers(turn)) as stream:
                for event in stream:
                    if event.type == "content_block_delta" and event.delta.type == "text_delta":
                        said.append(event.delta.text)
                    if event.type == "message_stop":
                        return "".join(said)
            raise Broken("no message_stop")

        turn.end(self.insist(attempt))


class Console(Client):
    """A program of the session API that follows the log and remembers where it was."""

    kind = "session-api"

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.seen: list[dict] = []
        # After a power loss: so many events were on the disk. It begins again behind them.
        self.kept: int | None = None

    def take(self, turn: Turn) -> None:
        execution = self.insist(lambda: self.admit(turn))
        shown = self.insist(lambda: self.follow(execution))
        turn.end(shown, turn.answer in shown and shown.startswith("(execution.completed)"))

    def admit(self, turn: Turn) -> str:
        api = SessionAPI(self.relay.url)
        api.create(self.key, harness=self.harness).raise_for_status()
        body = {"text": turn.prompt, "id": turn.word}
        return api.execute(self.key, body, **{"Idempotency-Key": turn.word}).raise_for_status().json()["execution_id"]

    def forget(self) -> None:
        """What a power loss took was not shown."""
        kept, self.kept = self.kept, None
        if kept is not None:
            del self.seen[kept:]

    def follow(self, execution: str) -> str:
        self.forget()
        api = SessionAPI(self.relay.url)
        for event in api.stream(self.key, last_event_id=str(len(self.seen))):
            if event["id"] != len(self.seen) + 1:
                self.problems.append(f"event {event['id']} came after {len(self.seen)}")
            self.seen.append(event)
            if event["kind"] in TERMINAL and event["execution_id"] == execution:
                answers = [
                    one["payload"]["text"] for one in self.seen
                    if one["kind"] == "item.completed" and one["execution_id"] == execution
                    and one["payload"]["type"] == "message"]
                return f"({event['kind']}) {answers[-1:]} {json.dumps(event['payload'].get('error'))}"
        raise Broken("the event stream ended")


class CodexUser(Client):
    kind = "codex"
    is_cli = True

    def __init__(self, *arguments):
        super().__init__(*arguments)
        headers = {"X-Centaur-Harness": self.harness}
        self.home = CodexHome(self.directory, f"{self.relay.url}/v1", headers=headers)
        self.session: str | None = None

    def take(self, turn: Turn) -> None:
        run = self.home.resume(self.session, turn.prompt) if self.session else self.home.exec(turn.prompt)
        if self.session is None:
            self.session = run.session
            self.key = run.key
        turn.end(run.stdout + run.stderr, run.status == 0 and turn.answer in run.stdout)


class ClaudeUser(Client):
    kind = "claude"
    is_cli = True

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.home = ClaudeHome(self.directory, self.relay.url, headers={"X-Centaur-Harness": self.harness})
        self.session: str | None = None

    def take(self, turn: Turn) -> None:
        run = self.home.resume(self.session, turn.prompt) if self.session else self.home.ask(turn.prompt)
        self.session = run.session
        self.key = run.key
        turn.end(run.shown, run.status == 0 and turn.answer in run.stdout)
