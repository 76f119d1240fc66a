"""Fixtures: servers, clients' homes. Everything that a test made is kept where it failed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from openai import OpenAI

from centaur_server import CentaurServer, StandInModel, end_processes_of
from codex_cli import CodexHome

KEPT = pytest.StashKey[bool]()
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
    # Codex's TUI leaves a daemon behind.
    end_processes_of(made)
    remove(made, request.node.stash.get(KEPT, False))


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


@pytest.fixture
def codex(directory: Path, server: CentaurServer) -> CodexHome:
    """A user of the shared server."""
    return CodexHome(directory / "user", server.v1)


@pytest.fixture
def sdk(server: CentaurServer) -> OpenAI:
    """The OpenAI SDK at the shared server, without retries of its own."""
    return make_sdk(server)


def make_sdk(server: CentaurServer, **more) -> OpenAI:
    return OpenAI(base_url=server.v1, api_key="not-a-key", **{"max_retries": 0, "timeout": 60, **more})
