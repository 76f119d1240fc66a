"""Clients of a chaos round that meddle with their turns: one adds words to a turn that runs, others end one."""

from __future__ import annotations

import threading
import time

import httpx
from chaos_clients import LEDGER, PATIENCE, Broken, Client, Console, OpenAIProgram, Turn
from openai.types.responses import Response
from scripts import script, shell, text
from session_api import TERMINAL, SessionAPI

# Longer than any cancel takes, in seconds: a turn that reaches its end was not cancelled.
LONG = 300


class SteeredTurn(Turn):
    """One that hears something new while its first command runs, and may say what that asks for."""

    calls = (1, 3)

    @property
    def prompt(self) -> str:
        return script(
            shell(f"echo {self.word} >> {LEDGER}; sleep 1"), shell("echo more"),
            text(self.answer, chunks=6, delay=0.05))


class Steer(Turn):
    """What is added: words only, which make the agent say words only."""

    calls = (1, 1)
    has_effect = False

    @property
    def prompt(self) -> str:
        return script(text(self.answer, chunks=6, delay=0.05))


class CancelledTurn(Turn):
    """One that is ended while its command runs: what comes behind that in its command must not come to pass."""

    end_state = "cancelled"
    calls = (1, 1)

    @property
    def prompt(self) -> str:
        return script(
            shell(f"echo {self.word} >> {LEDGER}; sleep {LONG}; echo late{self.word} >> {LEDGER}"), text(self.answer))


def until_at_work(client: Client, execution: str | None = None) -> None:
    """Returns when a command of the turn has begun, or the turn has ended; the newest turn where none is named."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            with httpx.Client(base_url=client.relay.url, timeout=10) as http:
                events, more = [], True
                while more:
                    page = http.get(
                        SessionAPI.path(None, client.key, "/events"), headers={"accept": "application/json"},
                        params={"after_event_id": len(events), "limit": 1000}).raise_for_status().json()
                    events, more = events + page["data"], page["has_more"]
        except httpx.HTTPError:
            events = []
        turns = [event["execution_id"] for event in events if event["kind"] == "execution.queued"]
        turn = execution or (turns[-1] if turns else None)
        for event in events:
            is_command = event["kind"] == "item.started" and event["payload"]["type"] == "command"
            if event["execution_id"] == turn and (is_command or event["kind"] in TERMINAL):
                return
        time.sleep(0.05)


class SteeringProgram(OpenAIProgram):
    """Adds a message to its turn. A harness that cannot be steered, or is about to end, has it as a turn of its own."""

    kind = "openai-steers"
    asks = (SteeredTurn, Steer)

    def take(self, turn: Turn) -> None:
        if isinstance(turn, Steer):
            # It went with the turn before it.
            return
        [steer] = [other for other in self.turns if isinstance(other, Steer)]
        asking = threading.Thread(target=self.end, args=(turn, steer), daemon=True)
        asking.start()
        until_at_work(self)
        shown = self.ask(steer, **{"X-Centaur-Busy": "steer"})
        steer.end(shown)
        asking.join()

    def end(self, turn: Turn, steer: Turn) -> None:
        shown = self.ask(turn)
        turn.end(shown, turn.answer in shown or steer.answer in shown)


class CancellingProgram(OpenAIProgram):
    """Has its turn in the background, and cancels it by its response's id."""

    kind = "openai-cancels"
    asks = (CancelledTurn, Turn)

    def take(self, turn: Turn) -> None:
        if not isinstance(turn, CancelledTurn):
            return super().take(turn)
        client = self.sdk()
        begun: list[str] = []

        def begin() -> str:
            response = client.responses.create(
                model="m", input=turn.prompt, background=True, extra_headers=self.headers(turn))
            begun.append(response.id)
            return response.id

        shown = self.insist(begin)
        if begun:
            until_at_work(self)
            shown = self.end(begun[0])
        turn.end(shown, shown.startswith("(cancelled)"))

    def end(self, id: str) -> str:
        return self.insist(lambda: self.ended(self.sdk().responses.cancel(id)))

    def ended(self, response: Response) -> str:
        if response.status in ("queued", "in_progress"):
            raise Broken("not cancelled yet")
        return f"({response.status}) {response.error}"


class SupersedingProgram(CancellingProgram):
    """Has its turn in the background, and asks for another one in its place."""

    kind = "openai-supersedes"

    def take(self, turn: Turn) -> None:
        # Else it has come with the end of the turn before it.
        if not turn.answered:
            super().take(turn)

    def end(self, id: str) -> str:
        turn = self.turns[1]
        turn.end(self.ask(turn, **{"X-Centaur-Busy": "supersede"}))
        return self.insist(lambda: self.ended(self.sdk().responses.retrieve(id)))


class InterruptingConsole(Console):
    """Interrupts its turn by the session API, and asks again until it was told that this is done."""

    kind = "session-interrupts"
    asks = (CancelledTurn, Turn)

    def take(self, turn: Turn) -> None:
        if not isinstance(turn, CancelledTurn):
            return super().take(turn)
        execution = self.insist(lambda: self.admit(turn))
        until_at_work(self, execution)

        def interrupt() -> str:
            api = SessionAPI(self.relay.url)
            found = api.interrupt(self.key, **{"Idempotency-Key": f"end-{turn.word}"})
            # What is over needs no end.
            return found.text if found.status_code == 409 else found.raise_for_status().text

        told = self.insist(interrupt)
        shown = self.insist(lambda: self.follow(execution))
        turn.end(f"{told} {shown}", shown.startswith("(execution.cancelled)"))
