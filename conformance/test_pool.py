"""Sandboxes that wait for sessions, idle ones that are stopped, and turns for which none is free: real harnesses."""

import json
import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from centaur_server import CentaurServer, content, processes_with, until
from claude_cli import ClaudeHome
from codex_cli import CodexHome
from conftest import make_anthropic, make_sdk
from gate import Gate
from scripts import COUNT, script, shell, text
from session_api import WAIT_SECONDS, answer, executions, items, kinds, said

HARNESSES = pytest.mark.parametrize("harness", ["codex", "claude"])


def waiting(server: CentaurServer) -> dict[str, Path]:
    """The sandboxes that wait for a session and whose harness has answered, by their ids."""
    found = {}
    for mark in (server.data / "pool").glob("*"):
        for sandbox in (server.data / "sessions" / mark.name / "sandboxes").glob("*"):
            # What the shim keeps of the harness's output: `thread/start` or `get_settings` was answered.
            output = b"".join(content(file) for file in sandbox.glob("spool/*"))
            if b'"thread/started"' in output or b'"control_response"' in output:
                found[sandbox.name] = sandbox
    return found


def pool(server: CentaurServer, count: int) -> dict[str, Path]:
    # The harness has answered; the server reads it a moment later.
    return until(lambda: len(found := waiting(server)) == count == server.api.metric("centaur_sandboxes_waiting") and found)


def harness_pid(server: CentaurServer, sandbox: Path) -> int:
    """The shim's child, where the harness is its child."""
    shim = (sandbox / "pid").read_text().split()[0]
    return int(Path(f"/proc/{shim}/task/{shim}/children").read_text().split()[0])


def parents(pid: int) -> list[int]:
    """A process, the one that started it, and so on."""
    found = []
    while pid > 1:
        found.append(pid)
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            break
    return found


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def ready_events(server: CentaurServer, key: str) -> list[dict]:
    return [event["payload"] for event in server.api.events(key) if event["kind"] == "sandbox.ready"]


def with_pool(make_server, model=None, **config) -> CentaurServer:
    if model is None:
        return make_server(config)
    config["providers"] = {
        "openai": {"base_url": f"{model.url}/v1", "api_key_env": "TEST_MODEL_KEY"},
        "anthropic": {"base_url": model.url, "api_key_env": "TEST_MODEL_KEY"}}
    return make_server(config, stand_in=False, environment={"TEST_MODEL_KEY": "sk-conformance"})


def sdk_for(server: CentaurServer, harness: str, **headers: str):
    return make_sdk(server, default_headers={"X-Centaur-Harness": harness, **headers})


def calls(model) -> list[dict]:
    return [request["body"] for request in model.requests() if request["path"].split("?")[0].endswith(
        ("/responses", "/messages"))]


@HARNESSES
def test_a_session_takes_the_sandbox_that_waits(make_server, harness):
    """The process that answers was there before the request and stays the session's; another comes up behind it."""
    server = with_pool(make_server, warm_pool={harness: 1})
    [(sandbox, directory)] = pool(server, 1).items()
    pid = harness_pid(server, directory)
    key = f"api:{uuid.uuid4()}"
    sdk = sdk_for(server, harness, **{"X-Centaur-Thread-Key": key})
    gate = Gate(server)
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(
            sdk.responses.create, model="m", input=script(shell(f"{COUNT}; {gate.command}"), text("{{stdout}}")))
        # The command is the harness's that waited.
        until(lambda: any(pid in parents(process) for process in processes_with(gate.name)))
        gate.open()
        assert asked.result(WAIT_SECONDS).output_text == "1"
    [ready] = ready_events(server, key)
    assert (ready["id"], ready["origin"]) == (sandbox, "warm")
    assert 0 <= ready["duration_ms"] < 60_000
    second = sdk.responses.create(model="m", input=script(shell(COUNT), text("{{stdout}} of {{history}}")))
    assert second.output_text.split() == ["2", "of", "2"]
    assert len(ready_events(server, key)) == 1
    assert set(pool(server, 1)) != {sandbox}
    assert alive(pid)


@HARNESSES
def test_no_sandbox_serves_two_sessions(make_server, harness):
    """Sessions that come at once each get a sandbox of their own, warm or cold."""
    server = with_pool(make_server, warm_pool={harness: 2})
    pool(server, 2)
    keys = [f"api:{uuid.uuid4()}" for _ in range(4)]

    def run(key: str) -> str:
        sdk = sdk_for(server, harness, **{"X-Centaur-Thread-Key": key})
        return sdk.responses.create(model="m", input=script(shell(COUNT), text("{{stdout}} {{history}}"))).output_text

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(run, keys))
    assert [answer.split() for answer in answers] == [["1", "1"]] * 4
    found = [ready for key in keys for ready in ready_events(server, key)]
    assert len({ready["id"] for ready in found}) == 4
    assert [ready["origin"] for ready in found].count("warm") >= 2
    assert len({session["id"] for session in server.api.all_sessions()}) == 4


@HARNESSES
def test_what_a_session_brings_reaches_a_harness_that_waited(make_server, model, harness):
    """Instructions, and where it can be told later also what was said before; else the session starts cold."""
    server = with_pool(make_server, model, warm_pool={harness: 1})
    pool(server, 1)
    key = f"api:{uuid.uuid4()}"
    sdk = sdk_for(server, harness, **{"X-Centaur-Thread-Key": key})
    sdk.responses.create(model="m", instructions="Speak like a pirate 4711." + " Arr." * 40_000, input="Reply ONE")
    assert ready_events(server, key)[0]["origin"] == "warm"
    assert "Speak like a pirate 4711." in json.dumps(calls(model)[-1])
    pool(server, 1)
    told = f"api:{uuid.uuid4()}"
    sdk_for(server, harness, **{"X-Centaur-Thread-Key": told}).responses.create(model="m", input=[
        {"role": "user", "content": "My name is Ada."}, {"role": "assistant", "content": "Noted."},
        {"role": "user", "content": "Reply TWO"}])
    assert ready_events(server, told)[0]["origin"] == {"codex": "warm", "claude": "cold"}[harness]
    sent = json.dumps(calls(model)[-1])
    assert sent.count("My name is Ada.") == 1 and sent.count("Noted.") == 1 and "pirate" not in sent


@HARNESSES
def test_a_template_starts_cold(make_server, directory, harness):
    """A session whose workspace is a copy gets that copy; the sandbox that waits is left for another."""
    template = directory / "template"
    template.mkdir()
    (template / "file.txt").write_text("from the template\n")
    server = with_pool(
        make_server, warm_pool={harness: 1},
        personas={
            "t": {"harness": harness, "workspace": str(template)}, "i": {"harness": harness, "instructions": "Hm 81."}})
    before = pool(server, 1)
    key = f"api:{uuid.uuid4()}"
    sdk = make_sdk(server, default_headers={"X-Centaur-Persona": "t", "X-Centaur-Thread-Key": key})
    assert "from the template" in sdk.responses.create(
        model="m", input=script(shell("cat file.txt"), text("{{stdout}}"))).output_text
    assert ready_events(server, key)[0]["origin"] == "cold"
    assert set(waiting(server)) == set(before)
    key = f"api:{uuid.uuid4()}"
    sdk = make_sdk(server, default_headers={"X-Centaur-Persona": "i", "X-Centaur-Thread-Key": key})
    assert "Hm 81." in sdk.responses.create(model="m", input=script(text("{{instructions}}"))).output_text
    assert ready_events(server, key)[0]["origin"] == "warm"


def test_each_ingress_has_its_harness_waiting(make_server):
    """Without a word in the configuration one sandbox waits for each harness that an ingress names."""
    server = CentaurServerWithDefaults(make_server)
    assert len(pool(server, 2)) == 2
    known = server.api.known()
    assert make_sdk(server).responses.create(model="m", input="Reply ONE").output_text == "ONE"
    assert ready_events(server, server.api.new_session(known))[0]["origin"] == "warm"
    known = server.api.known()
    answer = make_anthropic(server).messages.create(
        model="m", max_tokens=100, messages=[{"role": "user", "content": "Reply TWO"}])
    assert answer.content[0].text == "TWO"
    assert ready_events(server, server.api.new_session(known))[0]["origin"] == "warm"


def CentaurServerWithDefaults(make_server) -> CentaurServer:
    """A server whose configuration says nothing of the pool."""
    server = make_server()
    server.stop()
    del server.config["warm_pool"]
    return server.start()


@HARNESSES
def test_a_session_that_was_warm_is_resumed(make_server, model, harness):
    """A sandbox that came from the pool is stopped when idle, and its conversation goes on with its instructions."""
    server = with_pool(make_server, model, warm_pool={harness: 1}, limits={"idle_sandbox": "300ms"})
    pool(server, 1)
    key = f"api:{uuid.uuid4()}"
    sdk = sdk_for(server, harness, **{"X-Centaur-Thread-Key": key})
    for number, word in enumerate(("ONE", "TWO", "THREE")):
        events = server.api.events(key) if number else []
        sdk.responses.create(model="m", instructions="Speak like a pirate 4711.", input=f"Reply {word}")
        server.api.wait(key, lambda event: event["kind"] == "sandbox.stopped", after=len(events))
    assert [ready["origin"] for ready in ready_events(server, key)] == ["warm", "resumed", "resumed"]
    stopped = [event["payload"]["reason"] for event in server.api.events(key) if event["kind"] == "sandbox.stopped"]
    assert stopped == ["idle"] * 3
    sent = json.dumps(calls(model)[-1])
    for earlier in ("Reply ONE", "Reply TWO", "Reply THREE", "Speak like a pirate 4711."):
        assert sent.count(earlier) == 1, earlier


@pytest.mark.parametrize("harness", ["codex", "codex-exec", "claude"])
def test_an_idle_session_goes_on(make_server, model, harness):
    """After its sandbox was stopped the model is sent the earlier turns, tools and all; files are where they were."""
    server = with_pool(make_server, model, limits={"idle_sandbox": "200ms"})
    key = f"api:{uuid.uuid4()}"
    assert server.api.create(key, harness=harness).status_code == 201
    server.api.run(key, script(shell("echo marked-5150 | tee kept.txt"), text("first answer")))
    directory = server.data / "sessions" / server.api.show(key).json()["id"] / "sandboxes"
    until(lambda: not list(directory.glob("*")))
    assert not processes_with(str(directory)), "nothing of it is left"
    events = server.api.run(key, script(shell("cat kept.txt"), text("{{stdout}} of {{history}}")))
    assert answer(events).split() == ["marked-5150", "of", "2"]
    sent = json.dumps(calls(model)[-1])
    assert "first answer" in sent and sent.count("tee kept.txt") >= 1
    assert "conversation_restarted" not in json.dumps(server.api.events(key))


@HARNESSES
def test_shutdown_and_kill_leave_nothing(make_server, harness):
    """What waits ends with the server; after a kill the next server ends it, and goes on with sessions' sandboxes."""
    server = with_pool(make_server, warm_pool={harness: 1})
    [directory] = pool(server, 1).values()
    pid = harness_pid(server, directory)
    assert server.stop() == 0
    # The gateway stays a while for a next server.
    assert not alive(pid) and processes_with(str(server.data)) == [server.gateway_pid]
    assert not list((server.data / "pool").glob("*")) and not list((server.data / "sessions").glob("*"))

    server.start()
    pool(server, 1)
    key = f"api:{uuid.uuid4()}"
    sdk = sdk_for(server, harness, **{"X-Centaur-Thread-Key": key})
    sdk.responses.create(model="m", input=script(shell(COUNT), text("{{stdout}}")))
    [(left, directory)] = pool(server, 1).items()
    pid = harness_pid(server, directory)
    server.kill()
    assert alive(pid)
    server.start()
    until(lambda: not alive(pid) and not directory.exists())
    assert set(pool(server, 1)) != {left}
    again = make_sdk(server, default_headers={"X-Centaur-Thread-Key": key}).responses.create(
        model="m", input=script(shell(COUNT), text("{{stdout}} of {{history}}")))
    assert again.output_text.split() == ["2", "of", "2"]
    assert [ready["origin"] for ready in ready_events(server, key)] == ["warm"]
    assert kinds(server.api.events(key)).count("sandbox.reattached") == 1


@HARNESSES
def test_a_harness_that_dies_while_it_waits(make_server, harness):
    """It is replaced, and a session gets the new one."""
    server = with_pool(make_server, warm_pool={harness: 1})
    [(sandbox, directory)] = pool(server, 1).items()
    os.kill(harness_pid(server, directory), 9)
    until(lambda: sandbox not in waiting(server))
    assert sandbox not in pool(server, 1) and not directory.exists()
    known = server.api.known()
    assert sdk_for(server, harness).responses.create(model="m", input="Reply ONE").output_text == "ONE"
    assert ready_events(server, server.api.new_session(known))[0]["origin"] == "warm"


def test_a_harness_that_cannot_wait(make_server):
    """One that does not start is tried later and later, and the other harness's sessions are not touched by it."""
    server = make_server({
        "warm_pool": {"codex": 1, "claude": 1},
        "harnesses": {**CentaurServer(Path("/tmp")).config["harnesses"], "claude": {"binary": "/bin/false"}}})
    pool(server, 1)
    until(lambda: server.log.read_text().count("the warm pool waits before it starts a harness again") >= 2)
    assert make_sdk(server).responses.create(model="m", input="Reply ONE").output_text == "ONE"
    assert server.log.read_text().count("the warm pool waits before it starts a harness again") < 10
    assert server.stop() == 0


def test_the_pool_gives_way(make_server):
    """At capacity a turn that the waiting sandbox does not fit takes its place, and an idle session's is left alone."""
    server = with_pool(make_server, warm_pool={"codex": 1}, limits={"sandboxes": 2})
    [directory] = pool(server, 1).values()
    idle = f"api:{uuid.uuid4()}"
    server.api.create(idle, harness="claude")
    server.api.run(idle, "Reply ONE")
    key = f"api:{uuid.uuid4()}"
    server.api.create(key, harness="claude")
    assert answer(server.api.run(key, "Reply TWO")) == "TWO"
    assert not directory.exists() and not waiting(server)
    assert "sandbox.stopped" not in kinds(server.api.events(idle))


def test_the_longest_idle_gives_way(make_server, model):
    """At capacity the longest idle session is stopped, and later the model is sent its earlier turns."""
    server = with_pool(make_server, model, limits={"sandboxes": 2})
    keys = [f"api:{uuid.uuid4()}" for _ in range(3)]
    for number, (key, harness) in enumerate(zip(keys, ("claude", "codex", "codex"))):
        server.api.create(key, harness=harness)
        server.api.run(key, f"Reply WORD{number}")
    assert ["sandbox.stopped" in kinds(server.api.events(key)) for key in keys] == [True, False, False]
    server.api.run(keys[0], script(text("{{history}}")))
    assert "Reply WORD0" in json.dumps(calls(model)[-1])
    assert ["sandbox.stopped" in kinds(server.api.events(key)) for key in keys] == [True, True, False]


# MARK: No sandbox is free


@pytest.fixture
def busy(make_server):
    """A server whose one sandbox is at work until the file that is given is there; others wait for it in vain."""
    return at_work(make_server, "5s")


def ends(server: CentaurServer, gate: Path, key: str) -> None:
    """The turn that is at work."""
    gate.touch()
    server.api.wait_for_kind(key, "execution.completed")


def at_work(make_server, wait: str) -> tuple[CentaurServer, Path, str]:
    server = make_server({"limits": {"sandboxes": 1, "sandbox_wait": wait}})
    key = f"api:{uuid.uuid4()}"
    server.api.create(key)
    gate = server.data / "sessions" / server.api.show(key).json()["id"] / "workspace" / "gate"
    server.api.execute(key, {"text": script(shell("while [ ! -e gate ]; do sleep 0.05; done"), text("done"))})
    server.api.wait_for_kind(key, "item.started")
    return server, gate, key


@pytest.mark.parametrize("streams", [False, True])
def test_no_free_sandbox_is_a_503(busy, streams):
    """A program that waited too long gets 503 and when to come back, in its dialect, with a stream or without."""
    server, gate, first = busy
    key = f"api:{uuid.uuid4()}"
    for path, body, kind in (
        ("/v1/responses", {"model": "m", "input": "Reply ONE"}, "server_error"),
        ("/v1/messages", {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Reply ONE"}]},
         "overloaded_error")):
        answer = httpx.post(
            f"{server.url}{path}", json={**body, "stream": streams},
            headers={"x-centaur-thread-key": key, "x-centaur-harness": "codex"})
        assert answer.status_code == 503 and answer.headers["retry-after"] == "5"
        assert "x-should-retry" not in answer.headers
        error = answer.json()["error"]
        assert (error["code"], error["type"]) == ("no_free_sandbox", kind)
    assert list(executions(server.api.events(key)).values()) == ["failed", "failed"]
    ends(server, gate, first)
    sdk = make_sdk(server, default_headers={"X-Centaur-Thread-Key": key})
    # What was asked in vain is not told to the harness.
    assert sdk.responses.create(model="m", input=script(text("{{history}} {{first}}"))).output_text.startswith("1 [[")


def test_an_sdk_comes_back_by_itself(busy):
    """The SDKs' own retries run the turn once there is room, under the same idempotency key, once."""
    server, gate, _ = busy
    key = f"api:{uuid.uuid4()}"
    headers = {"X-Centaur-Thread-Key": key, "Idempotency-Key": "once"}
    sdk = make_sdk(server, max_retries=4, default_headers=headers)
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(
            sdk.responses.create, model="m", input=script(shell(COUNT), text("{{stdout}} of {{history}}")))
        server.api.wait_for_kind(key, "execution.failed")
        gate.touch()
        assert asked.result(WAIT_SECONDS).output_text.split() == ["1", "of", "1"]
    again = sdk.responses.create(model="m", input=script(shell(COUNT), text("{{stdout}} of {{history}}")))
    assert again.output_text.split() == ["1", "of", "1"]
    assert list(executions(server.api.events(key)).values())[-1] == "completed"
    assert list(executions(server.api.events(key)).values()).count("completed") == 1


def test_codex_comes_back_by_itself(busy, directory):
    """The Codex CLI waits and asks again without a word, and the turn is run once."""
    server, gate, _ = busy
    user = CodexHome(directory / "user", server.v1)
    known = server.api.known()
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(user.exec, script(shell(COUNT), text("{{stdout}} of {{history}}")))
        key = server.api.new_session(known)
        server.api.wait_for_kind(key, "execution.failed")
        gate.touch()
        run = asked.result(2 * WAIT_SECONDS).ok()
    assert run.answer.split() == ["1", "of", "1"]
    states = list(executions(server.api.events(key)).values())
    assert states[-1] == "completed" and states.count("completed") == 1
    second = user.resume(run.session, script(shell(COUNT), text("{{stdout}} of {{history}}"))).ok()
    assert second.answer.split() == ["2", "of", "2"]


def test_claude_comes_back_by_itself(busy, directory):
    """Claude Code waits and asks again, and the turn is run once."""
    server, gate, _ = busy
    user = ClaudeHome(directory / "user", server.url)
    known = server.api.known()
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(user.ask, script(shell(COUNT), text("{{stdout}} of {{history}}")))
        key = server.api.new_session(known)
        server.api.wait_for_kind(key, "execution.failed")
        gate.touch()
        run = asked.result(2 * WAIT_SECONDS)
    assert run.ok().answer.split() == ["1", "of", "1"]
    states = list(executions(server.api.events(key)).values())
    assert states[-1] == "completed" and states.count("completed") == 1


def test_a_turn_that_gets_its_sandbox_in_time(make_server):
    """One that waits and is then given a sandbox is answered as ever, streamed."""
    server, gate, _ = at_work(make_server, f"{WAIT_SECONDS}s")
    known = server.api.known()
    with ThreadPoolExecutor(1) as threads:
        def types() -> list[str]:
            return [event.type for event in make_sdk(server).responses.create(model="m", input="Reply ONE", stream=True)]

        asked = threads.submit(types)
        server.api.wait_for_kind(server.api.new_session(known), "execution.queued")
        gate.touch()
        assert asked.result(WAIT_SECONDS)[-1] == "response.completed"


def test_waiting_messages_wait_again(busy):
    """Messages that a turn of the session API would have taken are part of the one that is asked for later."""
    server, gate, first = busy
    key = f"api:{uuid.uuid4()}"
    server.api.create(key)
    server.api.message(key, {"text": "a word before"})
    server.api.execute(key, {"text": "Reply HEARD"})
    server.api.wait_for_kind(key, "execution.failed")
    ends(server, gate, first)
    events = server.api.run(key, script(text("{{history}}")))
    assert events[-1]["kind"] == "execution.completed" and items(events, "message")
    assert said(server.api.events(key)) == ["a word before", "Reply HEARD", script(text("{{history}}"))]
