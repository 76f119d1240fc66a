"""What a seed of a chaos round stands for: its clients, and what happens to them."""

from __future__ import annotations

import random
from dataclasses import dataclass

from chaos_clients import AnthropicProgram, ClaudeUser, Client, CodexUser, Console, OpenAIProgram
from chaos_meddlers import CancellingProgram, InterruptingConsole, SteeringProgram, SupersedingProgram

CLIENTS = 3
KINDS: dict[str, type[Client]] = {
    client.kind: client for client in (
        OpenAIProgram, AnthropicProgram, Console, CodexUser, ClaudeUser, SteeringProgram, CancellingProgram,
        SupersedingProgram, InterruptingConsole)}
# Points of the server, and up to which number they are surely reached in a round with three clients of two turns.
SERVER_POINTS = {
    "commit.before": 60, "commit.written": 60, "commit.after": 60, "input.before": 8, "input.after": 8,
    "sweep.before": 4, "sweep.after": 4, "sandbox.directories": 3, "sandbox.spawned": 3, "sandbox.reachable": 3,
    "gateway.opened": 3,
    **{f"commit.{place}:{kind}": number for place in ("before", "written", "after") for kind, number in (
        ("session.created", 3), ("message.appended", 5), ("execution.queued", 5), ("execution.started", 5),
        ("sandbox.ready", 3), ("item.started", 10), ("item.delta", 10), ("item.completed", 10),
        ("execution.completed", 5))}}
GATEWAY_POINTS = {"gateway.call.begun": 12, "gateway.call.streaming": 30, "gateway.call.ended": 12}
SHIM_POINTS = {"spool.before": 20, "spool.after": 20, "input.taken": 3, "input.given": 3}
# Events in all logs together, at which something happens that is not at a kill point.
MOMENTS = (5, 90)

FAULTS = {
    "server at a point": 10, "server twice": 4, "server": 4, "term": 2, "shutdown": 1, "gateway at a point": 2, "gateway": 1,
    "shim at a point": 2, "shim": 1, "harness": 2, "anything": 1, "sandbox": 1, "cut": 2, "stall": 1, "nothing": 1,
    "paused": 3, "power": 3, "full disk": 2, "failing store": 3}
# What a turn may fail with when something is killed that it cannot do without.
ALLOWED = {
    "server": {"server_restarted"},
    "gateway": {"provider_unavailable", "provider_stream_cut", "harness_died", "harness_start_failed"},
    "sandbox": {
        "harness_died", "harness_start_failed", "sandbox_lost", "provider_unavailable", "provider_stream_cut"},
    "network": set(),
    "disk": set(),
    # Every sandbox dies with the machine.
    "power": {"server_restarted", "sandbox_lost"}}


@dataclass
class Plan:
    """What a seed stands for."""

    seed: int
    fault: str
    # `NAME#7`, or the number of events after which it happens.
    at: str
    # Where the server dies that comes after it, while it looks after what the first one left.
    again: str
    clients: list[tuple[str, str]]
    # The backend: where one isolates nothing, what dies must take its children along by other means.
    sandbox: str

    @classmethod
    def of(cls, seed: int, fault: str | None = None) -> Plan:
        random_ = random.Random(seed)
        drawn = random_.choices(list(FAULTS), list(FAULTS.values()))[0]
        fault = fault or drawn
        points = {
            "server at a point": SERVER_POINTS, "server twice": SERVER_POINTS, "gateway at a point": GATEWAY_POINTS,
            "shim at a point": SHIM_POINTS}.get(fault)
        if points:
            point = random_.choice(sorted(points))
            at = f"{point}#{random_.randint(1, points[point])}"
        else:
            at = str(random_.randint(*MOMENTS))
        again = f"{random_.choice(sorted(SERVER_POINTS))}#{random_.randint(1, 4)}" if fault == "server twice" else ""
        clients = [
            (kind, random_.choice(["codex", "claude"])) for kind in random_.sample(sorted(KINDS), CLIENTS)]
        return cls(seed, fault, at, again, clients, random_.choice(["bubblewrap", "bubblewrap", "process"]))

    @property
    def hits(self) -> str:
        """What cannot be done without: a key of `ALLOWED`."""
        if self.fault.startswith(("server", "term", "shutdown", "paused")):
            return "server"
        if self.fault.startswith("gateway"):
            return "gateway"
        if self.fault == "power":
            return "power"
        if self.fault in ("full disk", "failing store"):
            return "disk"
        return "network" if self.fault in ("cut", "stall", "nothing") else "sandbox"

    @property
    def environment(self) -> dict[str, str]:
        if self.fault in ("server at a point", "server twice", "gateway at a point"):
            return {"CENTAUR_KILL_AT": self.at}
        if self.fault == "shim at a point":
            return {"CENTAUR_SHIM_KILL_AT": self.at}
        return {"CENTAUR_KILL_AT": "shutdown#1"} if self.fault == "shutdown" else {}

    def __str__(self) -> str:
        clients = ", ".join(f"{kind} → {harness}" for kind, harness in self.clients)
        again = f" and at {self.again}" if self.again else ""
        return f"seed {self.seed}={self.fault} at {self.at}{again}; {self.sandbox}; {clients}"
