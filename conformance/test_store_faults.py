"""The store's disk fails: who asks is told so and may come back, nothing acknowledged is lost, and the session goes on
when the disk does, without a restart."""

import errno
import shutil
import threading
import uuid
from pathlib import Path

import anthropic
import httpx
import invariants
import openai
import pytest
from centaur_server import CentaurServer, ServerFailed, until
from claude_cli import ClaudeHome
from codex_cli import CodexHome
from conftest import make_anthropic, make_sdk
from faulty_disk import STORE, FaultyDisk, own_file_system, seen_by
from scripts import COUNT, script, shell, text
from session_api import TERMINAL, answer, executions, kinds
from turns import workspace

TURN = script(shell(COUNT), text("{{stdout}}"))
# Until a file is there the command waits.
GATED = script(shell(f"until [ -e go ]; do sleep 0.05; done; {COUNT}"), text("{{stdout}}"))
FAULTS = pytest.mark.parametrize(
    "calls, number", [("write", errno.ENOSPC), ("sync", errno.EIO), ("write,sync,open", errno.EIO)],
    ids=["full", "sync fails", "all fails"])


@pytest.fixture
def disk(directory) -> FaultyDisk:
    return FaultyDisk(directory)


@pytest.fixture
def server(make_server, disk) -> CentaurServer:
    """A server of the test's own, on a disk that may fail."""
    return make_server(environment=disk.environment)


def headers(key: str) -> dict[str, str]:
    return {"X-Centaur-Thread-Key": key, "Idempotency-Key": "once"}


def goes_on(server: CentaurServer, key: str, count: str) -> None:
    """The session takes a turn, in the same process, and its log is whole."""
    assert server.process.poll() is None
    assert answer(server.api.run(key, TURN)) == count
    invariants.check(server.data, settled=True)


@FAULTS
def test_a_request_that_cannot_be_stored(server, disk, calls, number):
    """Each dialect says that the store is at fault and when to come back; nothing has begun."""
    key = f"api:{uuid.uuid4()}"
    disk.fail(calls, number)
    with pytest.raises(openai.InternalServerError) as by_openai:
        make_sdk(server).responses.create(model="m", input=TURN, extra_headers=headers(key))
    with pytest.raises(anthropic.InternalServerError) as by_anthropic:
        make_anthropic(server).messages.create(
            model="m", max_tokens=9, messages=[{"role": "user", "content": TURN}], extra_headers=headers(key))
    by_api = server.api.create(key)
    for told in (by_openai.value.response, by_anthropic.value.response, by_api):
        assert (told.status_code, told.json()["error"]["code"]) == (503, "store_unavailable")
        assert told.headers["retry-after"] == "2" and "x-should-retry" not in told.headers
    disk.heal()
    assert server.api.show(key).status_code == 404
    answered = make_sdk(server).responses.create(model="m", input=TURN, extra_headers=headers(key))
    assert answered.output_text == "1"
    goes_on(server, key, "2")


def heal_after(disk: FaultyDisk, failures: int) -> threading.Thread:
    def heal() -> None:
        disk.wait(failures)
        disk.heal()

    thread = threading.Thread(target=heal)
    thread.start()
    return thread


@pytest.mark.parametrize("client", ["codex", "claude", "openai", "anthropic"])
def test_clients_come_back_by_themselves(server, disk, directory, client):
    """A disk that is full for a moment costs a client a moment: it asks again, and the agent runs once."""
    key = f"api:{uuid.uuid4()}"
    disk.fail("write")
    healing = heal_after(disk, 1)
    match client:
        case "codex":
            run = CodexHome(directory / "user", server.v1).exec(TURN).ok()
            shown, key = run.answer, run.key
        case "claude":
            run = ClaudeHome(directory / "user", server.url).ask(TURN).ok()
            shown, key = run.answer, run.key
        case "openai":
            shown = make_sdk(server, max_retries=5).responses.create(
                model="m", input=TURN, extra_headers=headers(key)).output_text
        case _:
            shown = make_anthropic(server, max_retries=5).messages.create(
                model="m", max_tokens=9, messages=[{"role": "user", "content": TURN}],
                extra_headers=headers(key)).content[-1].text
    healing.join()
    assert shown == "1"
    assert list(executions(server.api.events(key)).values()) == ["completed"]
    goes_on(server, key, "2")


@FAULTS
def test_in_the_middle_of_a_turn(server, disk, calls, number):
    """A turn whose events cannot be stored shows none of them; what was shown before stays, and the session goes on."""
    key = f"api:{uuid.uuid4()}"
    server.api.create(key)
    server.api.execute(key, {"text": GATED}, **{"Idempotency-Key": "once"}).raise_for_status()
    acknowledged = server.api.wait(key, lambda event: event["kind"] == "item.started")
    place = workspace(server, key)
    disk.fail(calls, number)
    (place / "go").touch()
    disk.wait()
    # Whoever looks on sees the stream end, not an event that is not stored.
    with pytest.raises((httpx.HTTPError, AssertionError)):
        server.api.wait(key, lambda event: event["kind"] in TERMINAL, after=len(acknowledged))
    disk.heal()
    [state] = until(lambda: states if "running" not in (states := after_asking(server, key)) else None)
    events = server.api.events(key)
    assert events[: len(acknowledged)] == acknowledged
    ran = (place / "count.txt").read_text().split()
    assert ran == ["x"] and state in ("completed", "failed"), (state, ran)
    goes_on(server, key, "2")


def after_asking(server: CentaurServer, key: str) -> list[str]:
    """How the turns stand once the session's log has been asked for, as a client does that comes back."""
    try:
        server.api.wait(key, lambda event: event["id"] == 1)
    except (httpx.HTTPError, AssertionError):
        return ["running"]
    return list(executions(server.api.events(key)).values())


@FAULTS
def test_killed_after_a_refusal(server, disk, calls, number):
    """A request that was refused is there wholly or not at all after a kill: asked again it runs once."""
    key = f"api:{uuid.uuid4()}"
    server.api.create(key)
    disk.fail(calls, number)
    with pytest.raises(openai.InternalServerError):
        make_sdk(server).responses.create(model="m", input=TURN, extra_headers=headers(key))
    server.kill()
    disk.heal()
    invariants.check(server.data)
    server.start()
    answered = make_sdk(server).responses.create(model="m", input=TURN, extra_headers=headers(key))
    assert answered.output_text == "1"
    assert list(executions(server.api.events(key)).values()) == ["completed"]
    goes_on(server, key, "2")


@pytest.mark.parametrize("calls, number", [("write", errno.ENOSPC), ("sync", errno.EIO)], ids=["full", "sync fails"])
def test_any_one_call_of_a_turn(server, disk, calls, number):
    """Whichever call fails, once: a program that comes back under its key gets the turn's one end, run at most once."""
    for skip in (*range(4), 6, 10):
        key = f"api:{uuid.uuid4()}"
        server.api.create(key)
        before = disk.failed
        disk.fail(calls, number, skip=skip, count=1)

        def ask() -> str | None:
            try:
                return make_sdk(server, max_retries=3).responses.create(
                    model="m", input=TURN, extra_headers=headers(key)).output_text
            except openai.APIStatusError as error:
                # A turn that failed stays failed; one that was not taken, or whose events were not, is asked for again.
                code = (error.body or {}).get("code")
                return None if code in ("store_unavailable", "shutting_down") else code

        ended = until(ask)
        disk.heal()
        events = server.api.events(key)
        assert len(executions(events)) == 1 and "running" not in executions(events).values(), (skip, events)
        counted = workspace(server, key) / "count.txt"
        effects = len(counted.read_text().split()) if counted.exists() else 0
        assert effects <= 1 and (ended != "1" or effects == 1), (skip, ended, effects)
        assert ended == "1" or disk.failed > before, (skip, ended)
        goes_on(server, key, str(effects + 1))


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_at_the_end_of_a_turn(server, disk, number):
    """The turn's end cannot be stored: its client is not told of it, comes back, and gets one end."""
    key = f"api:{uuid.uuid4()}"
    prompt = script(shell(COUNT), text("a few words in pieces", chunks=6, delay=0.6))
    server.api.create(key)
    server.api.execute(key, {"text": prompt}, **{"Idempotency-Key": "once"}).raise_for_status()
    server.api.wait_for_kind(key, "item.delta")
    # Pieces of a running turn are not synced; its end is.
    disk.fail("sync", number, count=1)
    disk.wait()
    until(lambda: "running" not in after_asking(server, key))
    assert kinds(server.api.events(key)).count("execution.completed") <= 1
    answered = server.api.execute(key, {"text": prompt}, **{"Idempotency-Key": "once"}).json()
    assert answered["replayed"], answered
    goes_on(server, key, "2")


def test_a_store_that_cannot_be_opened(make_server, disk):
    """A server whose store cannot be opened says so and ends; when it can be, everything is there."""
    server = make_server(environment=disk.environment)
    key = f"api:{uuid.uuid4()}"
    server.api.create(key)
    server.api.run(key, TURN)
    server.stop()
    disk.fail("open", errno.EACCES)
    with pytest.raises(ServerFailed, match="store cannot be opened"):
        server.start()
    disk.heal()
    server.start()
    goes_on(server, key, "2")


@pytest.fixture
def small(directory, make_server):
    """A server whose data directory is a file system of 24 MB, and that file system."""
    server = CentaurServer(directory / "small")
    server.wrapper = own_file_system(server.data, "24m")
    yield server.start(), seen_by(server.process.pid, server.data)
    server.end()


def fill(place: Path) -> Path:
    """Nothing more fits."""
    ballast = place / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while file.write(b"\0" * size):
                    pass
            except OSError:
                continue
    return ballast


def check(place: Path, directory: Path) -> None:
    """SQLite cannot open a file of another process's mounts: of a server that does nothing a copy will do."""
    copy = directory / "copy"
    copy.mkdir()
    for name in (STORE, f"{STORE}-wal"):
        shutil.copy(place / name, copy)
    invariants.check(copy, settled=True)


def test_a_full_disk(small, directory):
    """On a full disk requests are refused in words; with space again the session goes on as if nothing had been."""
    server, place = small
    key = f"api:{uuid.uuid4()}"
    server.api.create(key)
    assert answer(server.api.run(key, TURN)) == "1"
    ballast = fill(place)
    refused = until(lambda: one if (one := server.api.execute(key, {"text": TURN})).status_code != 202 else None)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_unavailable")
    assert httpx.get(f"{server.url}/healthz").status_code == 200
    ballast.unlink()
    server.api.wait(key, lambda event: event["id"] == 1)
    until(lambda: "running" not in executions(server.api.events(key)).values())
    events = server.api.run(key, script(shell("cat count.txt"), text("{{history}}")))
    assert events[-1]["kind"] == "execution.completed"
    check(place, directory)


def test_a_disk_that_fills_up_in_a_turn(small, directory):
    """A turn that meets a full disk ends, or goes on when there is space; the session takes the next one."""
    server, place = small
    key = f"api:{uuid.uuid4()}"
    server.api.create(key)
    # More than fits into what files have in reserve.
    prompt = script(shell(f"until [ -e go ]; do sleep 0.05; done; {COUNT}"), text("long " * 100_000))
    server.api.execute(key, {"text": prompt}).raise_for_status()
    acknowledged = server.api.wait(key, lambda event: event["kind"] == "item.started")
    ballast = fill(place)
    [workspace] = place.glob("sessions/*/workspace")
    (workspace / "go").touch()
    # Its words cannot be kept, which ends it; or its events cannot, which ends the stream.
    try:
        server.api.wait(key, lambda event: event["kind"] in TERMINAL, after=len(acknowledged))
    except (httpx.HTTPError, AssertionError):
        pass
    ballast.unlink()
    until(lambda: "running" not in after_asking(server, key))
    assert server.api.events(key)[: len(acknowledged)] == acknowledged
    assert server.api.run(key, "Reply AGAIN")[-1]["kind"] == "execution.completed"
    check(place, directory)
