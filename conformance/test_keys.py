"""Keys: who is let in, what each client says where it is not, what a key may take, and what becomes of a revoked one."""

from __future__ import annotations

import json
import re
import subprocess
import uuid
from collections.abc import Iterator

import anthropic
import httpx
import openai
import pytest
from centaur_server import PROGRAM, CentaurServer
from claude_cli import ClaudeHome
from codex_cli import CodexHome
from conftest import SERVERS, make_anthropic, make_directory, make_sdk, serving, with_model
from scripts import script, shell, text
from session_api import WAIT_SECONDS, answer, executions
from websocket_wire import RawSocket

WRONG = "centaur_sk_" + "0" * 48
REFUSED = "This key is not known here, or was revoked."


@pytest.fixture(scope="module")
def keyed(request: pytest.FixtureRequest) -> Iterator[CentaurServer]:
    """A server that wants keys."""
    with serving(CentaurServer(make_directory()), lambda: request.session.testsfailed > 0) as server:
        server.make_key("--owner", "local")
        yield server


@pytest.fixture(scope="module")
def key(keyed: CentaurServer) -> str:
    return keyed.make_key("--owner", "team")


def key_id(server: CentaurServer, owner: str) -> str:
    return next(key["id"] for key in json.loads(server.keys("list", "--json").stdout) if key["owner"] == owner)


# With the right key


def test_codex(directory, keyed, key):
    """Codex takes its key from its environment, and comes back to its session with it."""
    user = CodexHome(directory / "user", keyed.v1, key=key)
    first = user.exec("Reply ONE").ok()
    assert first.answer == "ONE"
    assert user.resume(first.session, script(text("{{history}}"))).ok().answer == "2"
    assert list(executions(keyed.api_of(key).events(first.key)).values()) == ["completed", "completed"]


def test_codex_on_a_socket(directory, keyed, key):
    """A WebSocket needs the key as any other request."""
    run = CodexHome(directory / "user", keyed.v1, key=key, websockets=True).exec("Reply ONE").ok()
    assert run.answer == "ONE"
    assert list(executions(keyed.api_of(key).events(run.key)).values()) == ["completed"]


@pytest.mark.parametrize("variable", ["ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY"])
def test_claude(directory, keyed, key, variable):
    """Claude Code has two variables for a key; each is right."""
    user = ClaudeHome(directory / "user", keyed.url, settings={"ANTHROPIC_AUTH_TOKEN": None, variable: key})
    run = user.ask("Reply ONE").ok()
    assert run.answer == "ONE"
    assert list(executions(keyed.api_of(key).events(run.key)).values()) == ["completed"]


def test_sdks(keyed, key):
    """Both SDKs send their `api_key` in a way that is understood."""
    assert make_sdk(keyed, api_key=key).responses.create(model="m", input="Reply ONE").output_text == "ONE"
    asked = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "Reply ONE"}],
             "extra_headers": {"X-Centaur-Harness": "codex"}}
    for credential in ({"api_key": key}, {"api_key": None, "auth_token": key}):
        assert make_anthropic(keyed, **credential).messages.create(**asked).content[-1].text == "ONE"


# With a wrong one


def test_codex_with_a_wrong_key(directory, keyed):
    """Codex shows the sentence, and asks once."""
    run = CodexHome(directory / "user", keyed.v1, key=WRONG).exec("Reply ONE")
    assert run.status == 1
    shown = run.stdout + run.stderr
    assert f"ERROR: {REFUSED}\n" in shown and "Reconnecting" not in shown and WRONG not in shown


def test_codex_with_a_wrong_key_on_a_socket(directory, keyed):
    """Where Codex would have used a WebSocket it says the same."""
    run = CodexHome(directory / "user", keyed.v1, key=WRONG, websockets=True).exec("Reply ONE")
    assert run.status == 1
    assert REFUSED in run.stdout + run.stderr and WRONG not in run.stdout + run.stderr


def test_codex_without_a_key(directory, keyed):
    """A user who has configured no key is told what is missing."""
    run = CodexHome(directory / "user", keyed.v1).exec("Reply ONE")
    assert run.status == 1
    assert "ERROR: This server wants a key" in run.stdout + run.stderr


@pytest.mark.parametrize("variable", ["ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY"])
def test_claude_with_a_wrong_key(directory, keyed, variable):
    """Claude Code says at once that it could not log in, with the sentence."""
    user = ClaudeHome(directory / "user", keyed.url, settings={"ANTHROPIC_AUTH_TOKEN": None, variable: WRONG})
    run = user.ask("Reply ONE", "--output-format", "stream-json", "--verbose")
    assert run.status == 1
    assert "401" in run.shown and REFUSED in run.shown and WRONG not in run.shown
    assert "api_retry" not in run.shown


def test_sdks_with_a_wrong_key(keyed):
    """Both SDKs raise their error for it, and do not try again."""
    with pytest.raises(openai.AuthenticationError) as told:
        make_sdk(keyed, api_key=WRONG, max_retries=3).responses.create(model="m", input="Reply ONE")
    assert told.value.code == "key_refused" and REFUSED in str(told.value)
    assert told.value.response.headers["x-should-retry"] == "false"
    with pytest.raises(anthropic.AuthenticationError) as told:
        make_anthropic(keyed, api_key=WRONG, max_retries=3).messages.create(
            model="m", max_tokens=100, messages=[{"role": "user", "content": "Reply ONE"}])
    assert told.value.body["error"]["type"] == "authentication_error"
    assert told.value.body["error"]["code"] == "key_refused"


def test_what_is_told_without_a_key(keyed):
    """Whether somebody is there, and nothing else."""
    for path in ("/healthz", "/readyz"):
        assert httpx.get(f"{keyed.url}{path}").status_code == 200
    assert httpx.head(keyed.url).status_code == 200
    for path in ("/", "/metrics", "/api/sessions", "/v1/models", "/v1/responses/resp_1_1", "/nothing"):
        refused = httpx.get(f"{keyed.url}{path}")
        assert refused.status_code == 401 and refused.headers["www-authenticate"] == "Bearer"
        assert refused.json()["error"]["code"] == "key_missing"


# From one moment to the next


def test_a_revoked_key(keyed):
    """A key that is revoked opens nothing any more, on a server that runs; what was being told is cut, and work goes on."""
    secret = keyed.make_key("--owner", "leaver")
    api, key = keyed.api_of(secret), f"api:{uuid.uuid4()}"
    api.create(key).raise_for_status()
    api.execute(key, {"text": script(shell("until test -e go; do sleep 0.1; done"), text("done"))}).raise_for_status()
    api.wait_for_kind(key, "item.started")
    with api.http.stream("GET", api.path(key, "/events"), headers={"accept": "text/event-stream"}) as console:
        lines = console.iter_lines()
        assert next(lines) == ": subscribed"
        assert keyed.keys("revoke", key_id(keyed, "leaver")).returncode == 0
        assert api.show(key).status_code == 401
        with pytest.raises(httpx.TransportError):
            for _ in lines:
                pass
    other = keyed.api_of(keyed.make_key("--owner", "leaver"))
    other.http.put(other.path(key, "/files/go"), content="").raise_for_status()
    other.wait_for_kind(key, "execution.completed")
    assert keyed.keys("revoke", "key_nobody").returncode == 1


def test_a_revoked_key_on_a_socket(keyed):
    """A WebSocket ends with its key."""
    secret = keyed.make_key("--owner", "socket")
    with RawSocket(keyed.v1, headers={"authorization": f"Bearer {secret}"}) as socket:
        socket.create("Reply ONE")
        assert socket.response()["status"] == "completed"
        assert keyed.keys("revoke", key_id(keyed, "socket")).returncode == 0
        with pytest.raises((EOFError, ConnectionError)):
            socket.receive()
    with RawSocket(keyed.v1, headers={"authorization": f"Bearer {secret}"}) as socket:
        assert socket.status == 401


def test_what_waits_on_the_socket_of_a_revoked_key(keyed):
    """The turn that runs goes on; what waits behind it on the socket is not begun any more."""
    secret, key = keyed.make_key("--owner", "queue"), f"api:{uuid.uuid4()}"
    api = keyed.api_of(secret)
    headers = {"authorization": f"Bearer {secret}", "x-centaur-thread-key": key}
    with RawSocket(keyed.v1, headers=headers) as socket:
        socket.create(script(shell("until test -e go; do sleep 0.1; done"), text("done")))
        for word in ("TWO", "THREE"):
            socket.create(f"Reply {word}")
        api.wait_for_kind(key, "item.started")
        assert keyed.keys("revoke", key_id(keyed, "queue")).returncode == 0
        with pytest.raises((EOFError, ConnectionError)):
            while True:
                socket.receive()
    other = keyed.api_of(keyed.make_key("--owner", "queue"))
    other.http.put(other.path(key, "/files/go"), content="").raise_for_status()
    assert list(executions(other.settled(key)).values()) == ["completed"]


def test_the_first_key_closes_the_door(make_server):
    """A server without keys wants one as soon as one is made; what was there is the owner `local`'s. A second server on
    the data directory knows it too."""
    server, key = make_server(), f"api:{uuid.uuid4()}"
    second = CentaurServer(server.directory / "second", server.config)
    second.data = server.data
    assert "no keys" in doctor(server)
    server.api.create(key).raise_for_status()
    SERVERS.append(second)
    try:
        second.start()
        console = server.api.http.stream("GET", server.api.path(key, "/events"), headers={"accept": "text/event-stream"})
        with RawSocket(second.v1) as socket, console as events:
            socket.create("Reply ONE")
            assert socket.response()["status"] == "completed"
            keys = [session["thread_key"] for session in server.api.all_sessions()]
            lines = events.iter_lines()
            assert next(lines) == ": subscribed"
            made = server.keys("create")
            # Whoever came before there was a key is told no more.
            with pytest.raises(httpx.TransportError):
                for _ in lines:
                    pass
            with pytest.raises((EOFError, ConnectionError)):
                socket.receive()
        secret = made.stdout.strip()
        assert re.fullmatch(r"centaur_sk_[0-9a-f]{48}", secret) and "first one here" in made.stderr
        assert "1 keys" in doctor(server)
        for one in (server, second):
            assert one.api.show(key).status_code == 401
            assert one.api_of(secret).all_sessions() == []
            assert one.api_of(secret).show(key).status_code == 404
        local = server.make_key("--owner", "local")
        assert [session["thread_key"] for session in server.api_of(local).all_sessions()] == keys and key in keys
        listed = server.keys("list").stdout
        assert "local" in listed and local not in listed and secret not in listed
        for owner in json.loads(server.keys("list", "--json").stdout):
            assert server.keys("revoke", owner["id"]).returncode == 0
        assert server.api.show(key).status_code == 401, "nobody is let in without a key because all are revoked"
        assert "nobody is let in" in doctor(server)
        server.stop()
        used = {owner["owner"]: owner["last_used_at"] for owner in json.loads(server.keys("list", "--json").stdout)}
        assert all(used.values()), "a key's last use is not written down"
        assert server.start().api.show(key).status_code == 401
    finally:
        second.end()
        SERVERS.remove(second)


def doctor(server: CentaurServer) -> str:
    return subprocess.run(
        [str(PROGRAM), "doctor", "--data", str(server.data), "--sandbox", "process"], env=server.environment, text=True,
        capture_output=True, timeout=WAIT_SECONDS).stdout


def test_sessions_from_the_command_line(keyed, key):
    """`centaur sessions` shows its key's sessions, and says what to do without one."""
    name = f"api:{uuid.uuid4()}"
    keyed.api_of(key).create(name).raise_for_status()

    def run(**more: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [str(PROGRAM), "sessions", "list", "--server", keyed.url], env={**keyed.environment, **more}, text=True,
            capture_output=True, timeout=WAIT_SECONDS)

    assert name in run(CENTAUR_KEY=key).stdout
    refused = run()
    assert refused.returncode == 1 and "CENTAUR_KEY" in refused.stderr
    refused = run(CENTAUR_KEY=WRONG)
    assert refused.returncode == 1 and REFUSED in refused.stderr and WRONG not in refused.stderr


# Where it listens


def test_other_machines(make_server):
    """Beyond this machine the server listens only where there is a key; then it may be called by any name, and pages of
    other origins are refused still."""
    server = make_server()
    server.stop()

    def serve() -> subprocess.CompletedProcess:
        return subprocess.run(
            [str(PROGRAM), "serve", "--listen", "0.0.0.0:0", "--data", str(server.data), "--sandbox", "process",
             "--stand-in-model"], env=server.environment, text=True, capture_output=True, timeout=WAIT_SECONDS)

    refused = serve()
    assert refused.returncode == 64 and "centaur keys create" in refused.stderr
    key = server.make_key("--owner", "team")
    server.listen = "0.0.0.0"
    server.start()
    assert any("TLS" in line for line in server.lines)
    url = f"http://127.0.0.1:{server.port}"
    asked = {"authorization": f"Bearer {key}", "host": "build.example.com"}
    assert httpx.get(f"{url}/api/sessions", headers=asked).status_code == 200
    assert httpx.get(f"{url}/healthz", headers={"host": "build.example.com"}).status_code == 200
    foreign = httpx.get(f"{url}/api/sessions", headers={**asked, "origin": "https://evil.example"})
    assert foreign.status_code == 403 and foreign.json()["error"]["code"] == "foreign_origin"
    assert httpx.get(f"{url}/api/sessions", headers={"host": "build.example.com"}).status_code == 401


# Where it goes


def test_a_key_is_told_to_nobody(make_server, model):
    """A client's key is in no file, no log, no model call, and not where an agent could find it."""
    server = with_model(make_server, model)
    key = server.make_key("--owner", "team")
    sdk = make_sdk(server, api_key=key)
    seen = sdk.responses.create(model="m", input=script(shell("env; cat /proc/*/environ 2>/dev/null"), text("{{out}}")))
    sdk.with_options(default_headers={"x-api-key": key}).responses.create(
        model="m", input="Reply ONE", previous_response_id=seen.id)
    with pytest.raises(openai.NotFoundError):
        sdk.responses.retrieve("resp_1_1")
    assert "PATH=" in seen.output_text and key not in seen.output_text
    assert model.requests() and key not in json.dumps(model.requests())
    server.stop()
    digits = key.removeprefix("centaur_sk_").encode()
    for file in server.directory.rglob("*"):
        if file.is_file() and not file.is_symlink():
            assert digits not in file.read_bytes(), file


# What it may take


def test_requests_a_minute(keyed):
    """A key's requests are counted; the one too many is told when to come back, and other keys are not bound by it."""
    secret, other = (keyed.make_key("--owner", "busy", "--requests", "3") for _ in range(2))
    sdk = make_sdk(keyed, api_key=secret)
    for _ in range(3):
        sdk.models.list()
    with pytest.raises(openai.RateLimitError) as told:
        sdk.models.list()
    assert told.value.code == "key_request_limit" and 0 < int(told.value.response.headers["retry-after"]) <= 21
    with pytest.raises(anthropic.RateLimitError) as told:
        make_anthropic(keyed, api_key=secret).models.list()
    assert told.value.body["error"]["code"] == "key_request_limit"
    assert make_sdk(keyed, api_key=other).models.list().data


def test_requests_a_minute_on_a_socket(keyed):
    """Each message of a WebSocket counts, and so does the request for it."""
    secret = keyed.make_key("--owner", "chatty", "--requests", "2")
    with RawSocket(keyed.v1, headers={"authorization": f"Bearer {secret}"}) as socket:
        socket.create("Reply ONE")
        assert socket.response()["status"] == "completed"
        socket.create("Reply TWO")
        refused = socket.error()
    assert refused["status"] == 429 and refused["error"]["code"] == "key_request_limit"
    assert 0 < int(refused["headers"]["retry-after"]) <= 31


def test_refused_messages_of_a_socket_count(keyed):
    """A client that says nonsense on a socket, or steers, takes its key's requests as one that does so over HTTP: nobody
    keeps the server busy for nothing."""
    secret = keyed.make_key("--owner", "garbled", "--requests", "5")
    with RawSocket(keyed.v1, headers={"authorization": f"Bearer {secret}"}) as socket:
        for message, code in (
            ("{", "invalid_json"), ('{"type":"response.cancel"}', "invalid_value"),
            ('{"type":"response.create","stream_id":"a b","input":"x"}', "invalid_stream_id")):
            socket.say(message)
            assert socket.error()["error"]["code"] == code
        socket.say('{"type":"response.steer","input":"x"}')
        assert socket.event()["type"] == "response.steer.failed"
        for message, stream in (("{", None), ('{"type":"response.create","stream_id":"s","input":"Reply ONE"}', "s")):
            socket.say(message)
            refused = socket.error()
            assert (refused["status"], refused["error"]["code"]) == (429, "key_request_limit")
            assert 0 < int(refused["headers"]["retry-after"]) <= 13 and refused.get("stream_id") == stream
    with pytest.raises(openai.RateLimitError):
        make_sdk(keyed, api_key=secret).models.list()


def test_turns_at_once(directory, keyed):
    """A key's turns are counted until they end; whoever asks for one more waits for that, Codex by itself."""
    secret = keyed.make_key("--owner", "worker", "--turns", "1")
    api, key = keyed.api_of(secret), f"api:{uuid.uuid4()}"
    api.create(key).raise_for_status()
    api.execute(key, {"text": script(shell("until test -e go; do sleep 0.1; done"), text("done"))}).raise_for_status()
    refused = api.execute(key, {"text": "Reply TWO"})
    assert refused.status_code == 429 and refused.json()["error"]["code"] == "key_turn_limit"
    assert refused.headers["retry-after"] == "5"
    with pytest.raises(openai.RateLimitError) as told:
        make_sdk(keyed, api_key=secret).responses.create(model="m", input="Reply TWO")
    assert told.value.code == "key_turn_limit"
    assert len(executions(api.events(key))) == 1
    user = CodexHome(directory / "user", keyed.v1, key=secret)
    process = user.start("--skip-git-repo-check", "Reply CODEX")
    api.wait_for_kind(key, "item.started")
    api.http.put(api.path(key, "/files/go"), content="").raise_for_status()
    run = user.finish(process).ok()
    assert run.answer == "CODEX"
    assert answer(api.settled(key)) == "done"
