"""The model gateway as a process: what outlives what, who knows the key, what passes."""

import json
import os
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import uuid
from pathlib import Path

import httpx
import pytest
from centaur_server import PROGRAM, CentaurServer, base_environment, processes_with
from scripts import script, shell, text
from session_api import WAIT_SECONDS, SessionAPI, answer

# Of this process's tests alone: others start servers meanwhile.
SECRET = f"sk-gateway-{uuid.uuid4().hex}"


def eventually(condition, seconds: float = WAIT_SECONDS, what: str = ""):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, what or "it did not come about"
        time.sleep(0.05)
    return found


def new_session(api: SessionAPI, harness: str, **more) -> str:
    key = f"api:{uuid.uuid4()}"
    assert api.create(key, harness=harness, **more).status_code == 201
    return key


def failure(events: list[dict]) -> dict:
    assert events[-1]["kind"] == "execution.failed", events[-1]
    return events[-1]["payload"]["error"]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def with_model(make_server, model, config: dict | None = None, **environment) -> CentaurServer:
    providers = {
        "openai": {"base_url": f"{model.url}/v1", "api_key_env": "TEST_MODEL_KEY"},
        "anthropic": {"base_url": model.url, "api_key_env": "TEST_MODEL_KEY"}}
    return make_server(
        {"providers": providers, **(config or {})}, stand_in=False,
        environment={"TEST_MODEL_KEY": SECRET, **environment})


def keys_seen(model) -> set[str]:
    """What providers were given as keys."""
    seen = set()
    for request in model.requests():
        headers = {name.lower(): value for name, value in request["headers"].items()}
        seen.add(headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer "))
    return seen


@pytest.mark.parametrize("name", ["codex", "claude"])
def test_a_killed_server_does_not_cut_a_model_call(make_server, name):
    """The server is killed while the model answers: the call comes to its end, as the audit log shows."""
    server = make_server()
    key = new_session(server.api, name)
    words = " ".join(f"word{number}" for number in range(40))
    # Long enough for what follows: the start of another process, on a machine with much to do.
    server.api.execute(key, {"text": script(text(words, chunks=40, delay=0.3))}).raise_for_status()
    server.api.wait(key, lambda event: event["kind"] == "item.delta")
    gateway = server.gateway_pid
    assert server.audit() == [], "the call runs still"
    server.kill()
    [call] = eventually(server.audit, what="the call was not written down")
    assert (call["status"], call.get("cut")) == (200, None), call
    assert call["output_tokens"] > 0
    assert alive(gateway)
    server.start()
    assert server.gateway_pid == gateway, "the next server uses the gateway that is there"
    # Idle sandboxes and their calls go on through it.
    assert answer(server.api.run(new_session(server.api, name), "Reply PONG")) == "PONG"


def test_no_process_shows_the_key(make_server, model):
    """Neither the key nor a way to the provider stands in any command line or environment, nor in any file."""
    server = with_model(make_server, model)
    key = new_session(server.api, "codex")
    assert answer(server.api.run(key, "Reply PONG")) == "PONG"
    assert keys_seen(model) == {SECRET}
    assert processes_with(SECRET) == []
    shown = subprocess.run(["ps", "-ww", "-eo", "args"], capture_output=True, text=True).stdout
    assert SECRET not in shown and "/s/" not in shown
    assert f"gateway --data {server.data}" in shown
    found = subprocess.run(["grep", "-rlF", SECRET, str(server.directory)], capture_output=True, text=True).stdout
    assert found == "", found
    if os.geteuid() != 0:
        for pid in (server.process.pid, server.gateway_pid):
            closed_to_its_own_user(pid)


def closed_to_its_own_user(pid: int):
    """A process that is not dumpable belongs to root as far as /proc shows it, whoever its user is."""
    for name in ("environ", "mem"):
        assert os.stat(f"/proc/{pid}/{name}").st_uid == 0, name
        if os.geteuid() != 0:
            with pytest.raises(PermissionError):
                open(f"/proc/{pid}/{name}", "rb")


def ask_for_core_dumps():
    """Without a limit where the machine lets us lift it, else up to its own."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (most, most))


@pytest.fixture
def ordinary_user():
    """A user who is not root, and a directory of theirs: of root's processes /proc tells nothing."""
    user = os.geteuid() or 65534
    with tempfile.TemporaryDirectory(prefix="centaur-ordinary-") as name:
        os.chown(name, user, -1)
        yield user, Path(name)


def test_a_gateway_cannot_be_looked_into(ordinary_user):
    """No memory, no environment for others of its user; and it leaves no core dump, even where one is asked for."""
    user, directory = ordinary_user
    (directory / "centaur.yaml").write_text(json.dumps({"providers": {
        "openai": {"base_url": "http://127.0.0.1:1/v1", "api_key_env": "TEST_MODEL_KEY"}}}))
    os.chmod(directory / "centaur.yaml", 0o644)
    as_user = {"user": user} if os.geteuid() == 0 else {}
    # The project's own directory may be closed to that user.
    program = shutil.copy(PROGRAM, directory)
    # What the system does with a process that has nothing to hide.
    plain = subprocess.Popen(["sleep", "60"], **as_user)
    gateway = subprocess.Popen(
        [program, "gateway", "--data", str(directory / "data"), "--config", str(directory / "centaur.yaml")],
        cwd=directory, stdin=subprocess.DEVNULL,
        # Swift's own report of a crash would catch the signal, and the process would live on.
        env={**base_environment(), "TEST_MODEL_KEY": SECRET, "SWIFT_BACKTRACE": "enable=no"},
        stdout=subprocess.PIPE, text=True,
        preexec_fn=ask_for_core_dumps,
        **as_user)
    try:
        assert gateway.stdout.readline() == "ready\n"
        eventually(lambda: b"sleep" in Path(f"/proc/{plain.pid}/cmdline").read_bytes())
        assert os.stat(f"/proc/{plain.pid}/environ").st_uid == user
        closed_to_its_own_user(gateway.pid)
        assert os.fsencode(SECRET) not in Path(f"/proc/{gateway.pid}/cmdline").read_bytes()
        gateway.send_signal(signal.SIGABRT)
        _, status = os.waitpid(gateway.pid, 0)
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGABRT
        assert not os.WCOREDUMP(status)
        for file in directory.rglob("*"):
            assert not file.is_file() or os.fsencode(SECRET) not in file.read_bytes(), file
    finally:
        gateway.kill()
        gateway.wait()
        gateway.stdout.close()
        plain.kill()
        plain.wait()


def test_a_key_file_is_read_again(make_server, model, directory):
    """A key is rotated by writing a file; the next call carries the new one."""
    file = directory / "key"
    file.write_text("sk-first\n")
    providers = {"openai": {"base_url": f"{model.url}/v1", "api_key_file": str(file)}}
    server = make_server({"providers": providers}, stand_in=False)
    key = new_session(server.api, "codex")
    assert answer(server.api.run(key, "Reply ONE")) == "ONE"
    replacement = directory / "key.new"
    replacement.write_text("sk-second\n")
    replacement.rename(file)
    assert answer(server.api.run(key, "Reply TWO")) == "TWO"
    assert keys_seen(model) == {"sk-first", "sk-second"}


def test_a_new_key_in_the_environment(make_server, model):
    """A restarted server gives the gateway that still runs the key of its own environment."""
    server = with_model(make_server, model)
    assert answer(server.api.run(new_session(server.api, "codex"), "Reply ONE")) == "ONE"
    gateway = server.gateway_pid
    server.kill()
    server.environment["TEST_MODEL_KEY"] = "sk-newer"
    server.start()
    assert answer(server.api.run(new_session(server.api, "codex"), "Reply TWO")) == "TWO"
    assert server.gateway_pid == gateway
    assert keys_seen(model) == {SECRET, "sk-newer"}


@pytest.mark.parametrize(
    "method, path, body, code", [
        ("POST", "/v1/responses", '{"model":"gpt-expensive","input":"x"}', "model_not_allowed"),
        ("POST", "/v1/responses", '{"model":"gpt-5.5","model":"gpt-expensive","input":"x"}', "model_not_allowed"),
        ("POST", "/v1/files", '{"model":"gpt-5.5"}', "model_call_not_allowed"),
        ("GET", "/v1/models", "", "model_call_not_allowed"),
        ("POST", "/v1/messages", '{"model":"gpt-expensive"}', "model_not_allowed"),
        ("POST", "/v1/responses", '{"model":"gpt-5.5","tools":[{"type":"web_search"}]}', "model_call_not_allowed")])
def test_what_does_not_pass(make_server, model, method, path, body, code):
    """A sandbox that asks for another route or another model gets an error, and its provider hears nothing of it."""
    server = with_model(make_server, model)
    key = new_session(server.api, "codex")
    server.api.run(key, "Reply PONG")
    heard = len(model.requests())
    answered = over(socket_of(server, key), method, path, body)
    assert code in answered.text and answered.status_code in (400, 404), answered.text
    assert len(model.requests()) == heard
    # It is written down when it has been answered.
    eventually(lambda: [call["refused"] for call in server.audit() if "refused" in call] == [code])
    # The session works on.
    assert answer(server.api.run(key, "Reply AGAIN")) == "AGAIN"


def socket_of(server: CentaurServer, key: str) -> Path:
    """Where the harness of a session reaches the gateway."""
    session = server.api.show(key).json()["id"]
    known = over(server.data / "gateway/control.sock", "GET", "/v1/sandboxes").json()["data"]
    [sandbox] = [one["sandbox"] for one in known if one["grant"]["session"] == session]
    return server.data / "gateway/sockets" / sandbox / "model.sock"


def over(path: Path, method: str, route: str, body: str = "") -> httpx.Response:
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://gateway") as client:
        return client.request(method, route, content=body)


@pytest.mark.parametrize("name", ["codex", "claude"])
@pytest.mark.parametrize("limit", ["session_tokens", "session_requests"])
def test_limits_of_a_session(make_server, name, limit):
    """A session that has used what it may ends its turn at once with a clear error, and others work on."""
    server = make_server({"limits": {limit: 1}})
    key = new_session(server.api, name)
    assert answer(server.api.run(key, "Reply PONG")) == "PONG"
    begun = time.monotonic()
    error = failure(server.api.run(key, "Reply PONG"))
    assert error["code"] == limit.removesuffix("s") + "_limit", error
    assert "limit of a session is 1" in error["message"]
    assert time.monotonic() - begun < 15, "the harness gave up at once"
    assert answer(server.api.run(new_session(server.api, name), "Reply PONG")) == "PONG"


def has_settings(server: CentaurServer) -> bool:
    try:
        return over(server.data / "gateway/control.sock", "GET", "/v1/status").json()["has_settings"]
    except httpx.TransportError:
        return False  # its socket is not there yet


def test_a_newer_gateway_takes_over(make_server):
    """Another gateway is started while a call runs: the call goes on, the older one ends after it, the next call and the
    server use the newer one."""
    server = make_server({"limits": {"gateway_linger": "5s"}})
    key = new_session(server.api, "codex")
    words = " ".join(f"word{number}" for number in range(40))
    # Long enough for what follows: the start of another process, on a machine with much to do.
    server.api.execute(key, {"text": script(text(words, chunks=40, delay=0.3))}).raise_for_status()
    server.api.wait(key, lambda event: event["kind"] == "item.delta")
    old = server.gateway_pid
    newer = subprocess.Popen(
        [str(PROGRAM), "gateway", "--data", str(server.data), "--config", str(server.directory / "centaur.yaml"),
         "--stand-in-model"], env=base_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        assert newer.stdout.readline() == "ready\n"
        assert server.gateway_pid == newer.pid and alive(old)
        events = server.api.wait(key, lambda event: event["kind"].startswith("execution.") and event["kind"] not in (
            "execution.queued", "execution.started"))
        assert answer(events) == words
        [call] = eventually(server.audit)
        assert "cut" not in call
        eventually(lambda: not alive(old), what="the older gateway did not end")
        assert answer(server.api.run(key, "Reply PONG")) == "PONG"
        assert newer.poll() is None
    finally:
        newer.kill()
        newer.wait()
    # A gateway that dies is replaced by the server, with all that it had.
    eventually(lambda: server.gateway_pid != newer.pid, what="the server started no other gateway")
    eventually(lambda: has_settings(server))
    assert answer(server.api.run(key, "Reply AGAIN")) == "AGAIN"


def test_an_upgrade_brings_its_gateway(make_server, directory):
    """A server of another build does not leave its sandboxes to the older one's gateway: what that lets pass may be what
    the upgrade mends. A call that runs meanwhile comes to its end."""
    server = make_server()
    key = new_session(server.api, "codex")
    words = " ".join(f"word{number}" for number in range(40))
    server.api.execute(key, {"text": script(text(words, chunks=40, delay=0.3))}).raise_for_status()
    server.api.wait(key, lambda event: event["kind"] == "item.delta")
    old = server.gateway_pid
    server.kill()
    newer = directory / "newer"
    newer.mkdir()
    shutil.copy(PROGRAM, newer)
    (newer / "centaur-shim").symlink_to(PROGRAM.parent / "centaur-shim")
    server.program = newer / PROGRAM.name
    server.start()
    try:
        eventually(lambda: server.gateway_pid != old, what="the older gateway stayed")
        eventually(lambda: has_settings(server))
        server.api.wait_for_kind(key, "execution.completed")
        assert answer(server.api.events(key)) == words
        assert ["cut" in call for call in server.audit()] == [False]
        eventually(lambda: not alive(old), what="the older gateway did not end")
        assert answer(server.api.run(key, "Reply PONG")) == "PONG"
    finally:
        server.end()


def test_the_gateway_ends_when_nobody_needs_it(make_server):
    """After the server's end, and its sandboxes', the gateway goes too."""
    server = make_server({"limits": {"gateway_linger": "1s"}})
    server.api.run(new_session(server.api, "codex"), "Reply PONG")
    gateway = server.gateway_pid
    assert server.stop() == 0
    eventually(lambda: not alive(gateway), what="the gateway stayed")
    assert not (server.data / "gateway/control.sock").exists()
    assert list((server.data / "gateway/grants").iterdir()) == []


@pytest.fixture
def self_signed(directory):
    """An HTTPS server on this machine whose certificate nobody has signed; it tells what it heard."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", directory / "tls.key",
         "-out", directory / "tls.pem", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "tls.pem", directory / "tls.key")
    listener = socket.create_server(("127.0.0.1", 0))
    heard: list[bytes] = []

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(connection, server_side=True) as tls:
                    heard.append(tls.recv(65536))
            except OSError:
                heard.append(b"")

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1], heard
    listener.close()


def test_certificates_are_verified(make_server, self_signed):
    """A provider whose certificate cannot be verified is told nothing: neither the key nor the prompt."""
    port, heard = self_signed
    providers = {"openai": {"base_url": f"https://localhost:{port}/v1", "api_key_env": "TEST_MODEL_KEY"}}
    server = make_server({"providers": providers}, stand_in=False, environment={"TEST_MODEL_KEY": SECRET})
    error = failure(server.api.run(new_session(server.api, "codex"), "Reply PONG"))
    assert error["code"] == "provider_unavailable", error
    assert heard and set(heard) == {b""}


def test_extra_headers_and_a_base_url_with_a_path(make_server, model):
    """A provider's configured headers go with each call."""
    providers = {"openai": {
        "base_url": f"{model.url}/v1/", "api_key_env": "TEST_MODEL_KEY", "headers": {"X-Team": "conformance"}}}
    server = make_server({"providers": providers}, stand_in=False, environment={"TEST_MODEL_KEY": SECRET})
    assert answer(server.api.run(new_session(server.api, "codex"), "Reply PONG")) == "PONG"
    [call] = [request for request in model.requests() if request["path"] == "/v1/responses"]
    assert call["headers"]["x-team"] == "conformance"


class Host:
    """An HTTP server of the test's own on loopback, behind the egress proxy: it answers with one word."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.heard: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                self.heard.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\nconnection: close\r\n\r\nreached")


@pytest.fixture
def host():
    host = Host()
    yield host
    host.listener.close()


FETCH = (
    "python3 - <<'E'\nimport os,socket\np=os.environ.get('HTTPS_PROXY','')\nprint('proxy' if p else 'no proxy')\n"
    "if p:\n h,n=p.split('//')[1].split(':')\n for t in TARGETS:\n  s=socket.create_connection((h,int(n)))\n"
    "  s.sendall(f'CONNECT {t} HTTP/1.1\\r\\n\\r\\n'.encode())\n  f=s.makefile('rb')\n  l=f.readline().decode().split()[1]\n"
    "  if l=='200':\n   f.readline()\n   s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')\n   print(l,f.read().decode()[-7:])\n"
    "  else: print(l)\nE")


def fetch(*targets: str) -> str:
    return script(shell(FETCH.replace("TARGETS", repr(list(targets)))), text("{{stdout}}"))


@pytest.mark.parametrize("name", ["codex", "claude"])
def test_egress(make_server, host, name):
    """An agent's command reaches the hosts on the list by name, and nothing else; each attempt is written down."""
    server = make_server({"egress": {
        "allow": [f"inside.test:{host.port}", f"trap.test:{host.port}"], "allow_addresses": ["127.0.0.1/32"],
        "resolver": {"inside.test": "127.0.0.1", "trap.test": "127.0.0.2"}}})
    key = new_session(server.api, name)
    said = answer(server.api.run(key, fetch(
        f"inside.test:{host.port}", f"trap.test:{host.port}", f"other.test:{host.port}", f"127.0.0.1:{host.port}")))
    assert said.split("\n")[:5] == ["proxy", "200 reached", "403", "403", "403"], said
    assert len(host.heard) == 1
    def written() -> list[dict]:
        return [line for line in server.audit() if line["kind"] == "egress"]

    # A connection is written down when both its ends have ended: not at once, and not in the order in which they began.
    eventually(lambda: len(written()) == 4, what=f"not four lines: {written()}")
    lines = {line["verdict"]: line for line in written()}
    assert sorted(lines) == ["address_forbidden", "allowed", "not_a_name", "not_allowed"]
    assert all(line["session"] for line in lines.values()) and lines["allowed"]["bytes_in"] > 0


def test_egress_is_a_persona_s_or_none(make_server, host):
    """Without a list there is no proxy; a persona's list replaces the server's."""
    egress = {"allow": [f"inside.test:{host.port}"], "allow_addresses": ["127.0.0.1/32"],
              "resolver": {"inside.test": "127.0.0.1"}}
    server = make_server({"personas": {"outgoing": {"egress": egress}}})
    target = f"inside.test:{host.port}"
    said = answer(server.api.run(new_session(server.api, "codex"), fetch(target)))
    assert said.strip() == "no proxy"
    said = answer(server.api.run(new_session(server.api, "codex", persona="outgoing"), fetch(target)))
    assert said.split("\n")[:2] == ["proxy", "200 reached"]


def test_the_audit_log_holds_no_content(make_server):
    """Who, what model, how much: never what was said."""
    server = make_server()
    key = new_session(server.api, "claude")
    server.api.run(key, script(text("unmistakable words")))
    file = server.data / "gateway/audit.jsonl"
    eventually(server.audit)
    assert "unmistakable" not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    call = json.loads(file.read_text().splitlines()[0])
    assert call["session"] == server.api.show(key).json()["id"]
    assert call["model"] == "claude-opus-5-5" and call["path"] == "/v1/messages" and call["status"] == 200
    assert call["input_tokens"] > 0 and call["duration_ms"] >= 0
