"""The server as an operator meets it: start, health, restart, a run without a terminal."""

import fcntl
import json
import random
import signal
import subprocess
import uuid

import httpx
import pytest
from centaur_server import PROGRAM, base_environment
from codex_cli import CodexHome
from conftest import make_sdk
from fuzzing import bodies
from scripts import COUNT, script, shell, text
from session_api import WAIT_SECONDS, answer, executions, kinds


def test_health(server):
    """Probes answer, and the counters can be scraped."""
    assert httpx.get(f"{server.url}/healthz").status_code == 200
    assert httpx.get(f"{server.url}/readyz").status_code == 200
    metrics = httpx.get(f"{server.url}/metrics")
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    for line in metrics.text.splitlines():
        assert line.startswith("#") or len(line.rsplit(" ", 1)) == 2 and float(line.rsplit(" ", 1)[1]) is not None
    assert "centaur_" in metrics.text


def test_says_what_it_is(server, make_server):
    """Who starts the server is told that the model is scripted, and, where it is so, that nothing is isolated."""
    said = "\n".join(server.lines).lower()
    assert "isolat" not in said and "script" in said
    said = "\n".join(make_server({"sandbox": "process"}).lines).lower()
    assert "nothing is isolated" in said and "script" in said


def test_a_session_outlives_a_restart(directory, make_server):
    """A session goes on after its server was stopped and started: same log, same workspace, same conversation."""
    server = make_server()
    user = CodexHome(directory / "user", server.v1)
    first = user.exec(script(shell(COUNT), text("{{stdout}}"))).ok()
    before = server.api.events(first.key)
    assert server.stop() == 0
    server.start()
    user.point_at(server.v1)
    after = server.api.events(first.key)
    assert after[: len(before)] == before
    second = user.resume(first.session, script(shell(COUNT), text("{{stdout}} of {{history}}"))).ok()
    assert second.answer.split() == ["2", "of", "2"]
    assert list(executions(server.api.events(first.key)).values()) == ["completed", "completed"]


def test_an_answer_can_be_continued_after_a_restart(make_server):
    """`previous_response_id` from before a restart is still known."""
    server = make_server()
    first = make_sdk(server).responses.create(model="m", input="Reply ONE")
    server.stop()
    server.start()
    second = make_sdk(server).responses.create(
        model="m", previous_response_id=first.id, input=script(text("{{history}}")))
    assert second.output_text == "2"


def test_a_turn_outlives_a_killed_server(make_server):
    """After a crash the turn that ran goes on by itself, and its session takes the next one."""
    server = make_server()
    key = f"api:{uuid.uuid4()}"
    server.api.create(key)
    server.api.execute(key, {"text": script(shell("sleep 3; echo x >> ran"), text("late"))})
    server.api.wait_for_kind(key, "item.started")
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    server.start()
    server.api.wait_for_kind(key, "execution.completed", "execution.failed", "execution.cancelled")
    assert answer(server.api.events(key)) == "late"
    assert answer(server.api.run(key, script(shell("wc -l < ran"), text("{{stdout}}")))).strip() == "1"
    assert list(executions(server.api.events(key)).values()) == ["completed", "completed"]
    assert kinds(server.api.events(key)).count("sandbox.ready") == 1


def test_stops_in_the_middle_of_a_turn(make_server):
    """SIGTERM ends the server soon even while a turn runs and consoles listen."""
    server = make_server()
    key = f"api:{uuid.uuid4()}"
    server.api.create(key)
    server.api.execute(key, {"text": script(shell("sleep 100"), text("late"))})
    server.api.wait_for_kind(key, "item.started")
    stream = server.api.stream(key)
    next(stream)
    server.stop()


def test_a_server_of_an_earlier_version(make_server):
    """One that takes the data directory for itself alone, as earlier versions did, is not joined; the reason is told."""
    server = make_server()
    server.stop()
    with (server.data / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = subprocess.run(
            [str(PROGRAM), "serve", "--listen", "127.0.0.1:0", "--data", str(server.data), "--stand-in-model"],
            env=base_environment(), capture_output=True, text=True, timeout=WAIT_SECONDS)
    assert second.returncode != 0 and str(server.data) in second.stderr and "earlier version" in second.stderr


def test_web_pages_of_others_are_refused(server):
    """A page in a browser on this machine cannot start an agent, whatever name it gives itself or the server."""
    known = server.api.known()
    for headers in (
        {"origin": "https://evil.example"}, {"origin": "null"}, {"origin": "http://203.0.113.5"}, {"host": "evil.example"},
        {"host": "evil.example", "origin": "http://evil.example"}):
        for path, body in (
            ("/v1/responses", {"model": "m", "input": "run id"}),
            ("/v1/messages", {"model": "m", "messages": [{"role": "user", "content": "run id"}]}),
            ("/api/session/api:page", {})):
            answer = httpx.post(f"{server.url}{path}", content=json.dumps(body), headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "foreign_origin"), (path, headers)
    assert server.api.known() == known
    for headers in ({"origin": server.url}, {"host": "localhost"}, {"host": "[::1]:1"}):
        assert httpx.get(f"{server.url}/api/sessions", headers=headers).status_code == 200, headers


@pytest.mark.parametrize(
    "config, said", [
        ("listen: [1]\n", "line|:1:"), ("nonsense: 1\n", "nonsense"), ("limits:\n  turn: soon\n", ":2:"),
        ("harnesses:\n  codex:\n    provider: nobody\n", "nobody")],
    ids=["wrong type", "unknown key", "wrong value", "unknown provider"])
def test_configuration_mistakes(directory, config, said):
    """A mistake in the configuration stops the start and names its place."""
    file = directory / "bad.yaml"
    file.write_text(config)
    run = subprocess.run(
        [str(PROGRAM), "serve", "--config", str(file), "--data", str(directory / "data")], env=base_environment(),
        capture_output=True, text=True, timeout=WAIT_SECONDS)
    assert run.returncode != 0
    assert any(word in run.stderr for word in said.split("|")), run.stderr


def test_an_address_in_use(server, directory):
    """Who starts a second server by mistake is told so, and nothing of the first one's is touched."""
    before = sorted(server.data.glob("nodes/*"))
    run = subprocess.run(
        [str(PROGRAM), "serve", "--listen", f"127.0.0.1:{server.port}", "--data", str(server.data)],
        env=base_environment(), capture_output=True, text=True, timeout=WAIT_SECONDS)
    assert run.returncode == 1
    assert f"127.0.0.1:{server.port} is in use" in run.stderr and "--listen" in run.stderr
    assert sorted(server.data.glob("nodes/*")) == before


def test_the_doctor_looks_at_a_directory_that_is_there(directory):
    """`centaur doctor` says the same of a relative directory as the server would."""
    (directory / "data").mkdir()
    for data in ("data", "./data/"):
        run = subprocess.run(
            [str(PROGRAM), "doctor", "--data", data], cwd=directory, env=base_environment(), capture_output=True,
            text=True, timeout=WAIT_SECONDS)
        assert run.returncode == 0 and "FAIL" not in run.stdout, run.stdout


def test_a_command_that_takes_its_time(server, harness):
    """A command that runs longer than Codex waits for it at once is still waited for by the scripted model."""
    key = f"api:{uuid.uuid4()}"
    server.api.create(key, harness=harness)
    log = server.api.run(key, script(shell("echo one; sleep 11; echo two"), text("{{stdout}}")))
    assert answer(log).split() == ["one", "two"]


def test_the_real_key_stays_outside(make_server, model):
    """The provider gets the real key; the agent's commands cannot find it."""
    config = {"providers": {"openai": {"base_url": f"{model.url}/v1", "api_key_env": "TEST_MODEL_KEY"}}}
    secret = f"sk-conformance-{uuid.uuid4()}"
    server = make_server(config, stand_in=False, environment={"TEST_MODEL_KEY": secret})
    answer = make_sdk(server).responses.create(
        model="m", input=script(shell("env; cat /proc/$PPID/environ | tr '\\0' '\\n'"), text("{{stdout}}")))
    assert "CODEX_HOME" in answer.output_text, "the agent's environment was printed"
    assert secret not in answer.output_text
    # Nor in the environment of any other process, the server's among them.
    found = make_sdk(server).responses.create(
        model="m", input=script(shell("grep -aho 'sk-conformance-[0-9a-f-]*' /proc/[0-9]*/environ"), text("[{{stdout}}]")))
    assert secret not in found.output_text and found.output_text.startswith("["), found.output_text
    calls = [request for request in model.requests() if request["path"].endswith("/responses")]
    assert calls
    for call in calls:
        headers = {name.lower(): value for name, value in (
            call["headers"].items() if isinstance(call["headers"], dict) else call["headers"])}
        assert headers["authorization"] == f"Bearer {secret}"


@pytest.mark.parametrize("seed", range(4))
def test_fuzzed_bodies(make_server, seed):
    """No body, however wrong, brings the server down or gets anything but an answer or an error object."""
    server = make_server()
    random_ = random.Random(seed)
    base = {
        "model": "m", "stream": False, "instructions": "x", "temperature": 1, "metadata": {"a": "b"},
        "reasoning": {"effort": "low", "summary": "auto"}, "text": {"format": {"type": "text"}},
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}], "tool_choice": "auto",
        "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "earlier"}]},
            {"type": "message", "role": "assistant", "id": "msg_a_1", "status": "completed",
             "content": [{"type": "output_text", "text": "said", "annotations": []}]},
            {"type": "reasoning", "id": "rs_a_1", "summary": []},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "o"},
            {"role": "user", "content": [{"type": "input_text", "text": "Reply OK"}]},
        ],
    }
    with httpx.Client() as client:
        for number, content in enumerate(bodies(random_, base, 60)):
            headers = {"content-type": "application/json", "x-centaur-thread-key": f"api:fuzz-{seed}"}
            answer = client.post(f"{server.v1}/responses", content=content, headers=headers)
            assert answer.status_code < 500, (number, content, answer.text)
            if answer.headers["content-type"].startswith("text/event-stream"):
                assert "[DONE]" in answer.text, (number, content)
            elif answer.status_code == 200:
                assert answer.json()["object"] == "response", (number, content)
            else:
                assert answer.json()["error"]["message"], (number, content)
    assert httpx.get(f"{server.url}/healthz").status_code == 200
    response = server.api.show(f"api:fuzz-{seed}")
    if response.status_code == 200:
        states = executions(server.api.events(f"api:fuzz-{seed}")).values()
        assert set(states) <= {"completed", "failed", "cancelled"}
        assert "session.created" in kinds(server.api.events(f"api:fuzz-{seed}"))
