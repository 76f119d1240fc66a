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
import signal
import sys
import time
from pathlib import Path

import httpx
import invariants
from centaur_server import CentaurServer, ServerFailed, StandInModel, base_environment, processes_with, until
from chaos_clients import CALLS, KINDS, LEDGER, Client, Relay, Turn
from chaos_plan import ALLOWED, Plan
from conftest import make_directory, remove
from scripts import script, shell, text

# Whether a turn outlives its server. Not yet: it ends with `server_restarted` (docs/architecture.md, "Restarts").
SURVIVES = True
TURNS = 2
CLIENT_SECONDS = 200
SETTLE_SECONDS = 60

class RoundFailed(AssertionError):
    """The text is the whole report."""


class Round:
    """A server, its clients, and one fault."""

    def __init__(self, plan: Plan, directory: Path, model: StandInModel, survives: bool = SURVIVES):
        self.plan = plan
        self.directory = directory
        self.model = model
        self.survives = survives
        self.mark = directory / "mark"
        self.relay = Relay()
        providers = {
            "openai": {"base_url": f"{model.url}/v1", "api_key_env": "TEST_MODEL_KEY"},
            "anthropic": {"base_url": model.url, "api_key_env": "TEST_MODEL_KEY"}}
        self.calm = {"TEST_MODEL_KEY": "sk-chaos"}
        self.server = CentaurServer(
            directory, {"providers": providers, "sandbox": plan.sandbox, "limits": {"gateway_linger": "1s"}}, stand_in=False,
            environment={**self.calm, **plan.environment, "CENTAUR_KILL_MARK": str(self.mark)})
        self.clients = [
            KINDS[kind](number, [f"w{plan.seed}x{number}x{turn}" for turn in range(TURNS)], harness, self.relay, directory)
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
            self.server.end()
        return f"{self.happened.strip() or 'nothing happened'}; {self.summary()}"

    def start(self) -> None:
        """A server that answers, also where one dies on its way there: each tries a sandbox before it listens."""
        try:
            self.server.start()
        except ServerFailed:
            if not self.mark.exists():
                raise
            return self.died()
        self.relay.upstream = self.server.port

    def restart(self, environment: dict[str, str] | None = None) -> None:
        self.relay.upstream = None
        self.server.environment = {**base_environment(), **self.calm, **(environment or {})}
        self.start()

    def died(self) -> None:
        """A server has ended at a kill point: another one takes its place, which may have one of its own."""
        self.server.process.wait(10)
        assert self.mark.exists(), f"the server ended by itself: {self.server.process.returncode}"
        self.happened += f" {self.mark.read_text().split()[0]}"
        self.mark.unlink()
        again, self.again = self.again, ""
        if not again:
            return self.restart()
        self.restart({"CENTAUR_KILL_AT": again, "CENTAUR_KILL_MARK": str(self.mark)})
        self.await_death()

    # The fault.

    def break_something(self) -> None:
        match self.plan.fault:
            case "server at a point" | "server twice":
                self.await_death()
            case "server" | "term" | "shutdown" | "gateway" | "shim" | "harness" | "anything" | "sandbox" | "cut" | "stall":
                until(lambda: self.events() >= int(self.plan.at) or self.is_over(), CLIENT_SECONDS)
                self.happened = f"{self.plan.fault} after {self.events()} events"
                getattr(self, f"break_{self.plan.fault}")()
            case _:
                until(self.is_over, CLIENT_SECONDS)
                self.happened = self.mark.read_text().split()[0] if self.mark.exists() else ""

    def await_death(self) -> None:
        until(lambda: self.server.process.poll() is not None or self.is_over(), CLIENT_SECONDS)
        if self.server.process.poll() is not None:
            self.died()

    def break_server(self) -> None:
        self.server.kill()
        self.restart()

    def break_term(self) -> None:
        assert (status := self.server.stop()) == 0, f"SIGTERM ended the server with {status}"
        self.restart()

    def break_shutdown(self) -> None:
        self.server.process.send_signal(signal.SIGTERM)
        self.server.process.wait(60)
        self.restart()

    def break_gateway(self) -> None:
        kill(self.server.gateway_pid)

    def break_shim(self) -> None:
        for shim in self.shims()[:1]:
            kill(shim)

    def break_harness(self) -> None:
        for shim in self.shims()[:1]:
            for pid in descendants(shim):
                if program(pid) in ("codex", "claude"):
                    return kill(pid)

    def break_anything(self) -> None:
        """Any process of a sandbox: bubblewrap, the way to the gateway, a command."""
        for shim in self.shims()[:1]:
            if inside := descendants(shim):
                victim = random.Random(self.plan.seed).choice(inside)
                self.happened += f": {program(victim)}"
                kill(victim)

    def break_sandbox(self) -> None:
        for shim in self.shims()[:1]:
            for pid in [shim, *descendants(shim)]:
                kill(pid)

    def break_cut(self) -> None:
        self.relay.cut()

    def break_stall(self) -> None:
        self.relay.flowing.clear()
        time.sleep(2)
        self.relay.cut()
        self.relay.flowing.set()

    def shims(self) -> list[int]:
        """Those that live, at work first."""
        busy = {
            session.id for session in invariants.sessions(self.server.data)
            if any(row["status"] == "running" for row in session.executions)}
        files = sorted(self.server.data.glob("sessions/*/sandboxes/*/pid"), key=lambda file: file.parts[-4] not in busy)
        return [pid for file in files if Path(f"/proc/{(pid := int(file.read_text()))}").exists()]

    def is_over(self) -> bool:
        return not any(client.thread.is_alive() for client in self.clients)

    def events(self) -> int:
        database = invariants.open_store(self.server.data)
        try:
            return database.execute("SELECT count(*) FROM events").fetchone()[0]
        finally:
            database.close()

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

        until(is_settled, SETTLE_SECONDS)
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
            if seen := getattr(client, "seen", None):
                self.check_seen(seen, session)

    def check_turn(
        self, client: Client, turn: Turn, session: invariants.Session | None, effects: int, calls: int) -> None:
        executions = executions_of(session, turn.word)
        what = f"{turn.word} ({client.kind}): executions {executions}, effects {effects}, model calls {calls}"
        states = [state for state, _ in executions]
        codes = {code for state, code in executions if state == "failed"}
        completed = states.count("completed")
        assert completed <= effects <= len(executions), f"a command was run twice, or never: {what}"
        assert completed or not turn.answered, f"an answer without a turn: {what}"
        assert completed <= 1, f"a turn was run twice: {what}"
        gave_up = client.is_cli and not turn.answered
        assert executions or gave_up, f"a turn was lost: {what}"
        assert "cancelled" not in states or gave_up, f"a turn was cancelled: {what}"
        is_safe = self.plan.hits == "network" or self.survives and self.plan.hits == "server"
        if is_safe:
            assert completed, f"a turn did not come to its end: {what}"
            assert len(executions) == 1, f"a turn was run again: {what}"
            assert turn.answered, f"the client was not told: {what}"
        else:
            assert codes <= ALLOWED[self.plan.hits], f"a turn failed for another reason: {what}"
        if self.plan.hits in ("server", "network"):
            assert CALLS * completed <= calls <= CALLS * len(executions), f"the model was asked too often: {what}"

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
            until(lambda: not processes_with(f"{sandboxes}/{session}/sandboxes/{sandbox}"), 20)
        status = self.server.stop()
        assert status == 0, f"the server ended with {status}"
        until(lambda: not processes_with(sandboxes), 20)
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
            if words:
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


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def program(pid: int) -> str:
    try:
        return Path(os.readlink(f"/proc/{pid}/exe")).name
    except OSError:
        return "(gone)"


def descendants(pid: int) -> list[int]:
    """Children, their children and so on, nearest first."""
    found = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *descendants(int(child))]
    except OSError:
        pass
    return found


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


def run(plan: Plan, model: StandInModel, survives: bool = SURVIVES) -> None:
    """One round in a directory of its own, which is kept where it fails."""
    print(plan, flush=True)
    begun = time.monotonic()
    directory = make_directory()
    happened = Round(plan, directory, model, survives).run()
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
