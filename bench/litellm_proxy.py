"""The LiteLLM proxy as a baseline: in an environment of its own, in front of a scripted backend or the stand-in model."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from http_bytes import Connection, request
from programs import ROOT, BenchFailed

ENVIRONMENT = ROOT / ".cache/litellm-venv"
INSTALL_SECONDS = 600
START_SECONDS = 90


def install() -> str:
    """Installs the proxy where it is not yet. Returns its version.

    - Throws `BenchFailed` where it cannot be installed.
    """
    python = ENVIRONMENT / "bin/python"
    stamp = ENVIRONMENT / "installed"
    if not stamp.exists():
        print("installing litellm[proxy] into .cache/litellm-venv (once) …", flush=True)
        try:
            subprocess.run(["python3", "-m", "venv", "--clear", ENVIRONMENT], check=True, capture_output=True)
            subprocess.run(
                [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "litellm[proxy]"],
                check=True, capture_output=True, timeout=INSTALL_SECONDS)
        except (subprocess.SubprocessError, OSError) as failure:
            raise BenchFailed(f"litellm[proxy] could not be installed ({type(failure).__name__})") from None
        stamp.touch()
    version = "import importlib.metadata as m; print(m.version('litellm'))"
    return subprocess.run([python, "-c", version], check=True, capture_output=True, text=True).stdout.strip()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class LiteLLMProxy:
    """`litellm --num_workers WORKERS` in production mode, without a database, logs or retries."""

    def __init__(self, directory: Path, backend: int, workers: int, model: str = "bench"):
        """`backend`: the port of whatever answers behind it."""
        self.port = free_port()
        config = directory / "litellm.yaml"
        config.write_text(json.dumps({
            "model_list": [{"model_name": model, "litellm_params": {
                "model": f"openai/{model}", "api_base": f"http://127.0.0.1:{backend}/v1", "api_key": "none"}}],
            "litellm_settings": {"num_retries": 0, "telemetry": False},
            # Without keys, as Centaur is measured.
            "general_settings": {"dangerously_permit_weak_or_unset_master_key": True}}))
        environment = {
            **os.environ, "LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION", "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "NO_PROXY": "127.0.0.1", "PYTHONWARNINGS": "ignore"}
        self.log = (directory / "litellm.log").open("wb")
        begun = time.monotonic()
        self.process = subprocess.Popen(
            [ENVIRONMENT / "bin/litellm", "--config", config, "--host", "127.0.0.1", "--port", str(self.port),
             "--num_workers", str(workers)],
            cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
            start_new_session=True)
        self._wait(begun, directory)
        self.start_seconds = time.monotonic() - begun

    def _wait(self, begun: float, directory: Path) -> None:
        while time.monotonic() < begun + START_SECONDS and self.process.poll() is None:
            try:
                with Connection(self.port) as connection:
                    if connection.ask(request("GET", "/health/liveliness"))[0] == 200:
                        return
            except OSError:
                time.sleep(0.02)
        self.end()
        tail = (directory / "litellm.log").read_text(errors="replace").strip().splitlines()[-3:]
        raise BenchFailed(f"the LiteLLM proxy did not start: {' '.join(tail)}")

    @property
    def resident_megabytes(self) -> float:
        """Of all its processes."""
        total = 0
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                if os.getpgid(int(status.parent.name)) == self.process.pid:
                    lines = status.read_text().splitlines()
                    total += sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
            except OSError:
                continue
        return total / 1024

    def end(self) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.log.close()


def chat_request(path: str) -> bytes:
    if path.endswith("/responses"):
        return request("POST", path, {"model": "bench", "input": "hello", "stream": True})
    body = {"model": "bench", "messages": [{"role": "user", "content": "hello"}], "stream": True}
    return request("POST", path, body, {"authorization": "Bearer none"})
