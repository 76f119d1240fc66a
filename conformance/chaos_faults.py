"""What happens to a chaos round's server, and how it comes back."""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path

import httpx
import invariants
from centaur_server import CentaurServer, ServerFailed, base_environment, content, end_processes_of, until
from chaos_clients import Client, Relay
from chaos_plan import Plan
from faulty_disk import FaultyDisk
from session_api import WAIT_SECONDS

CLIENT_SECONDS = 500
# Of the servers of a round in which one sleeps.
LEASE_SECONDS = 2


class Faults:
    """A server and its clients, and what `plan` does to them."""

    plan: Plan
    directory: Path
    mark: Path
    relay: Relay
    server: CentaurServer
    # Of a plan with two: the one that slept.
    sleeper: CentaurServer | None = None
    clients: list[Client]
    disk: FaultyDisk
    random: random.Random
    # What servers after the first one are told.
    calm: dict[str, str]
    again: str
    happened: str

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
        self.server.process.wait(WAIT_SECONDS)
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
            case "nothing" | "gateway at a point" | "shim at a point":
                until(self.is_over, CLIENT_SECONDS)
                self.happened = self.mark.read_text().split()[0] if self.mark.exists() else ""
            case fault:
                until(lambda: self.events() >= int(self.plan.at) or self.is_over(), CLIENT_SECONDS)
                self.happened = f"{fault} after {self.events()} events"
                getattr(self, f"break_{fault.replace(' ', '_')}")()

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
        assert (status := self.server.process.wait(WAIT_SECONDS)) == -signal.SIGKILL, f"SIGTERM ended it with {status}"
        self.died()

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
                victim = self.random.choice(inside)
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

    def break_paused(self) -> None:
        """The server sleeps beyond its lease, another one takes its sessions, and it wakes up."""
        sleeper = self.sleeper = self.server
        sleeper.pause()
        try:
            self.server = CentaurServer(
                self.directory / "second", sleeper.config, stand_in=False,
                environment={**base_environment(), **self.calm})
            self.server.data = sleeper.data
            self.start()
            if self.random.random() < 0.5:
                # Else its clients wait for it until it can tell them that it is not theirs any more.
                self.relay.cut()
            time.sleep(LEASE_SECONDS)
            until(lambda: not self.left_to_take_over())
        finally:
            sleeper.resume()
        until(lambda: httpx.get(f"{sleeper.url}/healthz").status_code == 200)
        # It is a server like any other again, with the sessions that nobody has taken from it; until it ends in order.
        time.sleep(self.random.uniform(0, 2))
        assert (status := sleeper.stop()) == 0, f"the server that slept ended with {status}"

    def left_to_take_over(self) -> bool:
        """Whether a turn is still with the server that sleeps: with a lease of before."""
        database = invariants.open_store(self.server.data)
        try:
            return bool(database.execute(
                "SELECT 1 FROM executions JOIN sessions ON sessions.rowid = executions.session"
                " WHERE terminal_seq IS NULL AND lease_until < ?", (time.time() * 1000,)).fetchone())
        finally:
            database.close()

    def break_power(self) -> None:
        """Everything dies at once, and of the store a part of what was not synced is gone, of spools anything."""
        self.relay.upstream = None
        self.server.kill()
        end_processes_of(self.server.data / "sessions")
        if (gateway := self.server.data / "gateway/pid").exists():
            kill(int(gateway.read_text()))
        lost = self.disk.lose_unsynced(self.server.data / "centaur.sqlite-wal", self.random)
        for spool in sorted(self.server.data.glob("sessions/*/sandboxes/*/spool/*")):
            size = self.random.choice([0, 1, 40, 5000])
            os.truncate(spool, max(0, spool.stat().st_size - size))
        self.happened += f", {lost} bytes of the store lost"
        kept = {session.key: len(session.events) for session in invariants.sessions(self.server.data)}
        for client in self.clients:
            client.kept = kept.get(client.key, 0)
        self.restart()

    def break_full_disk(self) -> None:
        """No file of the server's takes anything for a while."""
        self.disk.fail("write", errno.ENOSPC, path=str(self.server.data))
        time.sleep(self.random.uniform(0.1, 1.5))
        self.disk.heal()
        self.happened += f", {self.disk.failed} calls"

    def break_failing_store(self) -> None:
        """Calls on the store fail: one of those that come next, or all of a while."""
        calls, number = self.random.choice(
            [("write", errno.ENOSPC), ("sync", errno.EIO), ("write,sync,open", errno.EIO)])
        if self.random.random() < 0.5:
            self.disk.fail(calls, number, skip=self.random.randrange(6), count=1)
            until(lambda: self.disk.failed or self.is_over(), CLIENT_SECONDS)
        else:
            self.disk.fail(calls, number)
            time.sleep(self.random.uniform(0.1, 1.5))
        self.disk.heal()
        self.happened += f", {self.disk.failed} calls ({calls})"

    def shims(self) -> list[int]:
        """Those that live, at work first."""
        busy = {
            session.id for session in invariants.sessions(self.server.data)
            if any(row["status"] == "running" for row in session.executions)}
        files = sorted(self.server.data.glob("sessions/*/sandboxes/*/pid"), key=lambda file: file.parts[-4] not in busy)
        # One that comes up has not written it down yet, one that ends takes it along.
        return [pid for file in files if (pid := int(content(file) or 0)) and Path(f"/proc/{pid}").exists()]

    def is_over(self) -> bool:
        return not any(client.thread.is_alive() for client in self.clients)

    def events(self) -> int:
        database = invariants.open_store(self.server.data)
        try:
            return database.execute("SELECT count(*) FROM events").fetchone()[0]
        finally:
            database.close()


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
