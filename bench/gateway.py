"""What the model gateway costs: calls through a sandbox's socket beside calls made straight to the same scripted model.

Client, gateway and model are processes of this machine; each call has a connection of its own on both ways, as the
gateway's have. The LiteLLM proxy stands in the gateway's place, in front of the same model, for the same calls.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import httpx
import litellm_proxy
from centaur_server import PROGRAM, StandInModel, base_environment
from figures import Figure
from http_bytes import request
from measure import DELTAS, Bench, milliseconds
from programs import BenchFailed, median, quantile

MODEL = "gpt-5.5"
# The proxy leaves the lines out that name events.
FIRST_TEXT = b"response.output_text.delta"


def call_bytes(text: str) -> bytes:
    body = {"model": MODEL, "stream": True, "input": [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}]}
    return request("POST", "/v1/responses", body, {"connection": "close"})


def connect(target: str | int) -> socket.socket:
    if isinstance(target, int):
        return socket.create_connection(("127.0.0.1", target), 30)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(30)
    connection.connect(target)
    return connection


def call(target: str | int, data: bytes) -> float:
    """One call to its end: the seconds from before the connection to the first text."""
    begun = time.perf_counter()
    first = None
    with connect(target) as connection:
        connection.sendall(data)
        tail = b""
        while piece := connection.recv(65536):
            tail = tail[-64:] + piece
            if first is None and FIRST_TEXT in tail:
                first = time.perf_counter() - begun
    if first is None or not tail.endswith(b"0\r\n\r\n"):
        raise BenchFailed(f"a model call was not answered: {tail[:200]!r}")
    return first


def calls(target: str | int, data: bytes, count: int) -> list[float]:
    return [call(target, data) for _ in range(count)]


def rate(pool: ProcessPoolExecutor, clients: int, target: str | int, data: bytes, count: int) -> float:
    begun = time.perf_counter()
    for done in [pool.submit(calls, target, data, count) for _ in range(clients)]:
        done.result()
    return clients * count / (time.perf_counter() - begun)


class Gateway:
    """`centaur gateway` on its own, with one sandbox."""

    def __init__(self, directory: Path, model: StandInModel):
        config = directory / "gateway.yaml"
        config.write_text(json.dumps({"providers": {"openai": {"base_url": f"{model.url}/v1"}}}))
        data = directory / "gateway-data"
        self.process = subprocess.Popen(
            [str(PROGRAM), "gateway", "--config", str(config), "--data", str(data)], env=base_environment(),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        if self.process.stdout.readline() != "ready\n":
            raise BenchFailed("the model gateway did not start")
        # Sockets' paths are short: they are named from within the directory.
        os.chdir(data / "gateway")
        grant = {"session": "bench", "provider": "openai", "models": [MODEL], "calls": 1024, "body": 1 << 28}
        with httpx.Client(transport=httpx.HTTPTransport(uds="control.sock"), base_url="http://gateway") as client:
            client.put("/v1/sandboxes/bench", json=grant).raise_for_status()
        self.socket = "sockets/bench/model.sock"

    @property
    def resident_megabytes(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) / 1024

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def measure(bench: Bench) -> None:
    before = os.getcwd()
    model = StandInModel(bench.directory / "gateway-model")
    port = int(model.url.rsplit(":", 1)[1])
    gateway = None
    try:
        gateway = Gateway(bench.directory, model)
        _measure(bench, gateway.socket, port)
        try:
            beside_litellm(bench, gateway.socket, port)
        except (BenchFailed, OSError) as failure:
            bench.notes.append(f"no LiteLLM proxy in the model gateway's place: {failure}")
        bench.notes.append(f"the model gateway takes {gateway.resident_megabytes:.0f} MB after that")
    finally:
        if gateway:
            gateway.end()
        model.end()
        os.chdir(before)


def streaming_call() -> bytes:
    words = " ".join(["word"] * DELTAS)
    return call_bytes("[[" + json.dumps({"steps": [{"text": words, "chunks": DELTAS}]}) + "]]")


def beside_litellm(bench: Bench, gateway: str, port: int) -> None:
    """One worker: more of them would share two cores with the model."""
    litellm_proxy.install()
    proxy = litellm_proxy.LiteLLMProxy(bench.directory, port, workers=1, model=MODEL)
    data = streaming_call()
    firsts: dict[str | int, list[float]] = {gateway: [], proxy.port: []}
    try:
        for _ in range(bench.times(60, 15) + 5):
            for target, found in firsts.items():
                found.append(call(target, data))
        ours, theirs = (median(found[5:]) for found in firsts.values())
        bench.figures.append(Figure(
            "model gateway: time to first byte in all, median", milliseconds(ours), "ms",
            "LiteLLM proxy, same model", milliseconds(theirs)))
        with ProcessPoolExecutor(16) as pool:
            for clients in (1, 16):
                count = bench.times(40, 10) if clients == 1 else bench.times(8, 3)
                rates = {target: rate(pool, clients, target, data, count) for target in firsts}
                bench.figures.append(Figure(
                    f"model gateway: streams a second, {named(clients)}", rates[gateway], "/s",
                    "LiteLLM proxy, same model", rates[proxy.port]))
    finally:
        proxy.end()


def named(clients: int) -> str:
    return f"{clients} client{'s' if clients > 1 else ''}"


def _measure(bench: Bench, gateway: str, port: int) -> None:
    data = streaming_call()

    def alternating(count: int, data: bytes) -> tuple[list[float], list[float]]:
        straight, through = [], []
        for number in range(count + 5):
            pair = call(port, data), call(gateway, data)
            if number >= 5:
                straight.append(pair[0])
                through.append(pair[1])
        return straight, through

    straight, through = alternating(bench.times(300, 60), data)
    figure(bench, "model gateway: time to first byte added, median", straight, through, median)
    figure(bench, "model gateway: time to first byte added, p99", straight, through, lambda one: quantile(one, 0.99))
    long = call_bytes("x" * 1_000_000)
    straight, through = alternating(bench.times(20, 6), long)
    figure(bench, "model gateway: the same, a call of 1 MB, median", straight, through, median)
    with ProcessPoolExecutor(16) as pool:
        for clients in (1, 16):
            count = bench.times(200, 40) if clients == 1 else bench.times(40, 10)
            found = {}
            for name, target in (("straight", port), ("gateway", gateway)):
                rate(pool, clients, target, data, 3)
                found[name] = rate(pool, clients, target, data, count)
            bench.figures.append(Figure(
                f"model gateway: streams a second, {named(clients)}", found["gateway"], "/s",
                "straight to the model", found["straight"]))


def figure(
    bench: Bench, name: str, straight: list[float], through: list[float], of: Callable[[list[float]], float]
) -> None:
    bench.figures.append(Figure(
        name, milliseconds(of(through) - of(straight)), "ms", "straight to the model, in all",
        milliseconds(of(straight))))
