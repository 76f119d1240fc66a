"""One round of chaos: clients at work, something is killed or cut, everything comes back, and nothing is lost.

`python conformance/chaos.py SEED…` runs rounds again (`SEED=FAULT`: with that fault in the place of the seed's own);
without seeds `CENTAUR_CHAOS_ROUNDS` (50) of them, the first with `CENTAUR_CHAOS_SEED` (the time). A round that fails
leaves `report.txt` in its directory.
"""

from __future__ import annotations

import json
import os
import random
import re
import sys
import time
from pathlib import Path

import httpx
import invariants
from centaur_server import CentaurServer, StandInModel, processes_with, until
from chaos_clients import LEDGER, Client, Console, Relay, Turn
from chaos_faults import CLIENT_SECONDS, LEASE_SECONDS, Faults
from chaos_plan import ALLOWED, KINDS, Plan
from conftest import make_directory, remove
from faulty_disk import FaultyDisk
from scripts import script, shell, text


class RoundFailed(AssertionError):
    """The text is the whole report."""


class Round(Faults):
    """A server, its clients, and one fault."""

    def __init__(self, plan: Plan, directory: Path, model: StandInModel):
        self.plan = plan
        self.directory = directory
        self.model = model
        self.mark = directory / "mark"
        self.random = random.Random(plan.seed)
        self.relay = Relay()
        providers = {
            "openai": {"base_url": f"{model.url}/v1", "api_key_env": "TEST_MODEL_KEY"},
            "anthropic": {"base_url": model.url, "api_key_env": "TEST_MODEL_KEY"}}
        self.calm = {"TEST_MODEL_KEY": "sk-chaos"}
        self.disk = FaultyDisk(directory)
        if plan.hits in ("disk", "power"):
            self.calm |= self.disk.environment
        limits = {"gateway_linger": "1s", **({"lease": f"{LEASE_SECONDS}s"} if plan.fault == "paused" else {})}
        self.server = CentaurServer(
            directory, {"providers": providers, "sandbox": plan.sandbox, "limits": limits}, stand_in=False,
            environment={**self.calm, **plan.environment, "CENTAUR_KILL_MARK": str(self.mark)})
        self.clients = [
            KINDS[kind](number, plan.seed, harness, self.relay, directory)
            for number, (kind, harness) in enumerate(plan.clients)]
        self.happened = ""
        self.again = plan.again

    def run(self) -> str:
        """Returns what happened. Raises `RoundFailed`."""
        try:
            httpx.delete(f"{self.model.url}/requests").raise_for_status()
            self.start()
            for client in self.clients:
                client.thread.start()
            self.break_something()
            for client in self.clients:
                client.thread.join(CLIENT_SECONDS)
                assert not client.thread.is_alive(), f"{client.kind} hangs"
            self.settle()
            self.check()
            self.go_on()
            self.stop()
        except Exception as error:
            raise RoundFailed(self.report(error)) from error
        finally:
            self.relay.end()
            for server in filter(None, (self.sleeper, self.server)):
                server.end()
        return f"{self.happened.strip() or 'nothing happened'}; {self.summary()}"

    # Afterwards.

    def settle(self) -> None:
        def is_settled() -> bool:
            if self.server.process.poll() is not None:
                self.died()
            database = invariants.open_store(self.server.data)
            try:
                return not database.execute("SELECT 1 FROM executions WHERE terminal_seq IS NULL").fetchone()
            finally:
                database.close()

        until(is_settled)
        # With a mark nobody dies any more.
        self.mark.touch()

    def check(self) -> None:
        invariants.check(self.server.data, settled=True)
        sessions = {session.key: session for session in invariants.sessions(self.server.data)}
        calls = self.calls()
        for client in self.clients:
            assert not client.problems, f"{client.kind}: {client.problems}"
            session = sessions.get(client.key)
            ledger = self.ledger(session)
            for turn in client.turns:
                self.check_turn(client, turn, session, ledger.count(turn.word), calls.get(turn.word, 0))
                assert f"late{turn.word}" not in ledger, f"{turn.word} ({client.kind}) worked on when it was ended"
            if isinstance(client, Console) and session:
                client.forget()
                self.check_seen(client.seen, session)

    def check_turn(
        self, client: Client, turn: Turn, session: invariants.Session | None, effects: int, calls: int) -> None:
        executions = executions_of(session, turn.word)
        what = f"{turn.word} ({client.kind}): executions {executions}, effects {effects}, model calls {calls}"
        states = [state for state, _ in executions]
        codes = {code for state, code in executions if state == "failed"}
        completed = states.count("completed")
        ended = states.count(turn.end_state)
        least = completed if turn.has_effect else 0
        assert least <= effects <= (len(executions) if turn.has_effect else 0), (
            f"a command was run twice, or never: {what}")
        assert ended or not turn.answered, f"an answer without a turn: {what}"
        assert completed <= 1, f"a turn was run twice: {what}"
        gave_up = client.is_cli and not turn.answered
        assert executions or gave_up, f"a turn was lost: {what}"
        assert "cancelled" not in states or gave_up or turn.end_state == "cancelled", f"a turn was cancelled: {what}"
        assert turn.end_state != "cancelled" or not completed, f"a cancel was lost: {what}"
        if self.plan.hits in ("server", "network"):
            assert ended, f"a turn did not come to its end: {what}"
            assert len(executions) == 1, f"a turn was run again: {what}"
            assert turn.answered, f"the client was not told: {what}"
        else:
            assert codes <= ALLOWED[self.plan.hits], f"a turn failed for another reason: {what}"
        if self.plan.hits in ("server", "network", "disk"):
            fewest, most = turn.calls
            assert fewest * ended <= calls <= most * len(executions), f"the model was asked too often: {what}"

    def check_seen(self, seen: list[dict], session: invariants.Session) -> None:
        """What a console was shown, over all its connections, is the log."""
        for shown, event in zip(seen, session.events, strict=False):
            assert (shown["id"], shown["kind"], shown["execution_id"]) == (event.seq, event.kind, event.execution), (
                f"shown {shown}, in the log {event.line()}")
            assert shown["payload"] == event.payload, f"shown {shown}, in the log {event.line()}"

    def go_on(self) -> None:
        """Each session takes the next turn, and its agent remembers what it did."""
        for session in invariants.sessions(self.server.data):
            done = sum(1 for row in session.executions if row["status"] == "completed")
            events = self.server.api.run(session.key, script(shell(f"cat {LEDGER}"), text("{{history}} messages")))
            assert events[-1]["kind"] == "execution.completed", f"no next turn: {events[-1]}"
            said = [
                event["payload"]["text"] for event in events
                if event["kind"] == "item.completed" and event["payload"]["type"] == "message"]
            count = int(re.match(r"(\d+) messages", said[-1]).group(1))
            assert count > done, f"{session.key} has forgotten: it knows {count} messages after {done} turns"

    def stop(self) -> None:
        """Nothing of the sandboxes is left when the server has ended."""
        sandboxes = str(self.server.data / "sessions")
        ended = [
            (session.id, event.payload["id"]) for session in invariants.sessions(self.server.data)
            for event in session.events if event.kind in ("sandbox.stopped", "sandbox.lost")]
        for session, sandbox in ended:
            until(lambda: not processes_with(f"{sandboxes}/{session}/sandboxes/{sandbox}"))
        assert (status := self.server.stop()) == 0, f"the server ended with {status}"
        until(lambda: not processes_with(sandboxes))
        invariants.check(self.server.data, settled=True)

    # What is known.

    def ledger(self, session: invariants.Session | None) -> list[str]:
        file = self.server.data / "sessions" / (session.id if session else "-") / "workspace" / LEDGER
        return file.read_text().split() if file.exists() else []

    def calls(self) -> dict[str, int]:
        """Model calls by turn: the newest word in a call's conversation says which it was made for."""
        found: dict[str, int] = {}
        for request in self.model.requests():
            if not request["path"].endswith(("/responses", "/messages")):
                continue
            words = re.findall(rf"w{self.plan.seed}x\d+x\d+", json.dumps(request["body"]))
            # Codex looks again after a command that runs for ten seconds, which one that waits for its end may do.
            looks_again = "Process running with session ID" in json.dumps(request["body"].get("input", [""])[-1])
            if words and not looks_again:
                found[max(words)] = found.get(max(words), 0) + 1
        return found

    def summary(self) -> str:
        """How the turns ended: `5 completed, 1 failed (server_restarted)`."""
        ends: dict[str, int] = {}
        for session in invariants.sessions(self.server.data):
            for client in self.clients:
                for turn in client.turns if client.key == session.key else []:
                    for state, code in executions_of(session, turn.word):
                        end = f"{state} ({code})" if code else state
                        ends[end] = ends.get(end, 0) + 1
        return ", ".join(f"{count} {end}" for end, count in sorted(ends.items()))

    def report(self, error: Exception) -> str:
        lines = [f"chaos round failed: {self.plan}", f"happened: {self.happened}", f"{type(error).__name__}: {error}"]
        lines.append(f"run it again: .venv/bin/python conformance/chaos.py '{self.plan.seed}={self.plan.fault}'")
        for client in self.clients:
            lines.append(f"\n{client.kind} ({client.harness}) {client.key}")
            lines += [f"  {turn.word} {turn.answered}: {turn.shown[-1500:]}" for turn in client.turns]
        try:
            for session in invariants.sessions(self.server.data):
                lines.append(f"\n{session.key} {session.id}, ledger {self.ledger(session)}\n{session.shown()}")
        except Exception as unreadable:
            lines.append(f"the store cannot be read: {unreadable}")
        lines.append(f"\nserver log\n{self.server.log_tail(80)}")
        report = "\n".join(lines)
        (self.directory / "report.txt").write_text(report)
        return f"{report}\n\nkept in {self.directory}"


def executions_of(session: invariants.Session | None, word: str) -> list[tuple[str, str | None]]:
    """How each turn ended that was asked for with this word: its state and the code of its failure."""
    if session is None:
        return []
    asked = {
        event.execution for event in session.events
        if event.kind == "message.appended" and word in json.dumps(event.payload) and event.execution}
    found = []
    for row in session.executions:
        if row["id"] in asked:
            end = next(event for event in session.events if event.seq == row["terminal_seq"])
            found.append((row["status"], (end.payload.get("error") or {}).get("code")))
    return found


def run(plan: Plan, model: StandInModel) -> None:
    """One round in a directory of its own, which is kept where it fails."""
    print(plan, flush=True)
    begun = time.monotonic()
    directory = make_directory()
    happened = Round(plan, directory, model).run()
    remove(directory, False)
    print(f"  well: {happened}; {time.monotonic() - begun:.1f} s", flush=True)


def main(arguments: list[str]) -> int:
    plans = []
    for argument in arguments:
        seed, _, fault = argument.partition("=")
        plans.append(Plan.of(int(seed), fault or None))
    if not plans:
        first = int(os.environ.get("CENTAUR_CHAOS_SEED") or time.time())
        plans = [Plan.of(first + number) for number in range(int(os.environ.get("CENTAUR_CHAOS_ROUNDS") or 50))]
    directory = make_directory()
    model = StandInModel(directory)
    failed = []
    try:
        for plan in plans:
            try:
                run(plan, model)
            except RoundFailed as failure:
                failed.append(plan.seed)
                lines = str(failure).splitlines()
                print("\n".join([*lines[1:4], lines[-1]]), flush=True)
    finally:
        model.end()
        remove(directory, False)
    print(f"{len(plans) - len(failed)} of {len(plans)} rounds went well" + (f"; failed: {failed}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
