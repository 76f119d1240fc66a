"""Fixtures: servers, clients' homes. Everything that a test made is kept where it failed."""

from __future__ import annotations

import contextlib
import inspect
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from anthropic import Anthropic
from openai import OpenAI

from centaur_server import CentaurServer, StandInModel, end_processes_of
from claude_cli import ClaudeHome
from codex_cli import CodexHome
from session_api import WAIT_SECONDS

KEPT = pytest.StashKey[bool]()
# Who says nothing else has httpx's own five seconds, which a machine with much to do may take for anything.
for step in ("connect", "read", "write", "pool"):
    setattr(inspect.signature(httpx.get).parameters["timeout"].default, step, WAIT_SECONDS)
SERVERS: list[CentaurServer] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    report = yield
    if report.failed:
        item.session.stash[KEPT] = item.stash[KEPT] = True
        for server in SERVERS:
            report.sections.append((f"server in {server.directory}", server.log_tail()))
    return report


def make_directory() -> Path:
    # Short: the path of a Unix socket holds 107 bytes.
    return Path(tempfile.mkdtemp(prefix="centaur-", dir="/tmp"))


def remove(directory: Path, failed: bool) -> None:
    if not failed:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def directory(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A directory of the test's own."""
    made = make_directory()
    yield made
    # The TUIs leave daemons behind.
    end_processes_of(made)
    remove(made, request.node.stash.get(KEPT, False))


@contextlib.contextmanager
def serving(server: CentaurServer, keeps: Callable[[], bool] = lambda: False) -> Iterator[CentaurServer]:
    """A server that several tests share, in a directory of its own, which stays where `keeps` says so."""
    SERVERS.append(server)
    try:
        yield server.start()
    finally:
        server.end()
        SERVERS.remove(server)
        remove(server.directory, keeps())


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Iterator[CentaurServer]:
    """The server that most tests share: scripted model, default limits."""
    made = make_directory()
    server = CentaurServer(made)
    SERVERS.append(server)
    try:
        yield server.start()
    finally:
        server.end()
        remove(made, request.session.stash.get(KEPT, False))


@pytest.fixture
def make_server(directory: Path) -> Iterator[Callable[..., CentaurServer]]:
    """Starts servers with settings or data of the test's own: `make_server({"limits": {…}})`."""
    made: list[CentaurServer] = []

    def make(config: dict | None = None, **more) -> CentaurServer:
        server = CentaurServer(directory / f"server{len(made)}", config, **more)
        made.append(server)
        SERVERS.append(server)
        return server.start()

    yield make
    for server in made:
        server.end()
        SERVERS.remove(server)


@pytest.fixture
def model(directory: Path) -> Iterator[StandInModel]:
    model = StandInModel(directory / "model")
    yield model
    model.end()


@pytest.fixture(scope="module")
def provider() -> Iterator[StandInModel]:
    """A scripted model that a module's servers share."""
    made = make_directory()
    model = StandInModel(made)
    yield model
    model.end()
    remove(made, False)


@pytest.fixture
def codex(directory: Path, server: CentaurServer) -> CodexHome:
    """A user of the shared server."""
    return CodexHome(directory / "user", server.v1)


@pytest.fixture
def claude(directory: Path, server: CentaurServer) -> ClaudeHome:
    """A user of the shared server."""
    return ClaudeHome(directory / "user", server.url)


@pytest.fixture(params=["codex", "claude"])
def harness(request: pytest.FixtureRequest, server: CentaurServer) -> str:
    """Each harness; skipped where the server has none of that name."""
    answer = server.api.create(f"api:{uuid.uuid4()}", harness=request.param)
    if answer.status_code == 400 and answer.json()["error"]["code"] == "unknown_harness":
        pytest.skip(f"this server has no harness '{request.param}'")
    answer.raise_for_status()
    return request.param


@pytest.fixture
def sdk(server: CentaurServer) -> OpenAI:
    """The OpenAI SDK at the shared server, without retries of its own."""
    return make_sdk(server)


def make_sdk(server: CentaurServer, **more) -> OpenAI:
    return OpenAI(base_url=server.v1, **{"api_key": "not-a-key", "max_retries": 0, "timeout": WAIT_SECONDS, **more})


@pytest.fixture
def anthropic_sdk(server: CentaurServer) -> Anthropic:
    """Anthropic's SDK at the shared server, without retries of its own."""
    return make_anthropic(server)


def make_anthropic(server: CentaurServer, **more) -> Anthropic:
    return Anthropic(base_url=server.url, **{"api_key": "not-a-key", "max_retries": 0, "timeout": WAIT_SECONDS, **more})


def with_model(make_server: Callable[..., CentaurServer], model: StandInModel) -> CentaurServer:
    """A server whose providers are all the scripted model in a process of its own, which tells what it was sent."""
    providers = {
        "openai": {"base_url": f"{model.url}/v1", "api_key_env": "TEST_MODEL_KEY"},
        "anthropic": {"base_url": model.url, "api_key_env": "TEST_MODEL_KEY"},
    }
    return make_server({"providers": providers}, stand_in=False, environment={"TEST_MODEL_KEY": "sk-conformance"})
