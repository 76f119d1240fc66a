"""What a model's hostile command gets: nothing. The real harnesses run it in the default sandbox; each time another
session's turn runs beside it and ends well, and the attacker's own session takes a following turn."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import uuid
import warnings
from collections.abc import Iterator

import pytest
from centaur_server import CentaurServer, ServerFailed, processes_with, until
from conftest import make_directory, serving
from hostile import HARNESSES, NEEDLE, SECRET, attack, directory_of, failed_attack, guarded, neighbour, new_session, works
from scripts import script, shell, text
from session_api import WAIT_SECONDS, items


@pytest.fixture(scope="module")
def server(provider, request) -> Iterator[CentaurServer]:
    """One server for the attacks that need no limits of their own; its key is real to its provider."""
    with serving(guarded(make_directory(), provider)) as server:
        yield server


# Secrets


@HARNESSES
def test_no_secret_is_to_be_found(server, harness):
    """Not in any environment, command line or file that it can open (`/usr` is the machine's own, and not read through
    for its size); nor anything of other sessions."""
    key = new_session(server, harness)
    with neighbour(server):
        printed = attack(server, key, f"""{NEEDLE}
            (env; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline | tr '\\0' '\\n') > seen 2>/dev/null
            grep -cF "$NEEDLE" seen
            grep -rlF "$NEEDLE" / --exclude-dir=proc --exclude-dir=usr 2>/dev/null
            for place in /root /home /var/lib /etc/shadow /etc/ssl/private '{server.directory}/centaur.yaml' \\
              '{server.data}/centaur.sqlite' '{server.data}/gateway/control.sock' /proc/1/root/root
            do [ -e "$place" ] && echo "sees $place"; done
            ls '{server.data}/sessions' | wc -l""")
        assert printed.split() == ["0", "1"], printed
    assert processes_with(SECRET) == [], "the key stands in the environment of some process"
    works(server, key)


@HARNESSES
def test_the_machine_is_not_seen(server, harness):
    """No process, no mount, no capability, no user of the machine's."""
    key = new_session(server, harness)
    with neighbour(server):
        printed = attack(server, key, """
            id -u; grep CapEff /proc/self/status | tr -d '[:space:]'; echo
            cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'centaur serv[e]'
            (mount -t tmpfs none /mnt || mount -o remount,rw /usr || mknod /tmp/sda b 8 0 || chroot /usr /bin/true) 2>/dev/null
            (unshare -Ur true || nsenter -t 1 -m true) 2>/dev/null
            for file in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /sys/fs/cgroup/x /usr/x /etc/x /x /dev/x
            do (: >> $file) 2>/dev/null && echo "may write $file"; done; echo end""")
        assert printed.split() == ["1000", "CapEff:0000000000000000", "0", "end"], printed
    works(server, key)


# The network


class Listener:
    """Counts who connects. `inside` gives the command that runs it in a network namespace."""

    PROGRAM = """
import socket, sys
server = socket.create_server((sys.argv[1], 0), family=socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
print(server.getsockname()[1], flush=True)
while True:
    connection, _ = server.accept()
    print("reached", flush=True)
"""

    def __init__(self, address: str, inside: list[str] | None = None):
        self.address = address
        self.process = subprocess.Popen(
            [*(inside or []), sys.executable, "-c", self.PROGRAM, address], stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())
        self.reached = 0
        self.once = threading.Event()
        threading.Thread(target=self._count, daemon=True).start()

    def _count(self) -> None:
        for _ in self.process.stdout:
            self.reached += 1
            self.once.set()

    def check(self) -> None:
        """It can be reached by whoever has a network."""
        socket.create_connection((self.address, self.port), timeout=WAIT_SECONDS).close()
        assert self.once.wait(WAIT_SECONDS)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def listeners() -> Iterator[list[Listener]]:
    """On the machine's loopback, and behind an interface in a network namespace of the test's own."""
    made = [Listener("127.0.0.1"), Listener("::1")]
    name = f"centaur{uuid.uuid4().hex[:6]}"
    # Each test's own, as several run at once.
    net = f"10.{uuid.uuid4().int % 100 + 100}.{uuid.uuid4().int % 256}", f"fd99:{uuid.uuid4().hex[:4]}::"
    commands = [
        f"ip netns add {name}", f"ip link add {name}a type veth peer name {name}b netns {name}",
        f"ip addr add {net[0]}.1/30 dev {name}a", f"ip addr add {net[1]}1/64 dev {name}a nodad", f"ip link set {name}a up",
        f"ip -n {name} addr add {net[0]}.2/30 dev {name}b", f"ip -n {name} addr add {net[1]}2/64 dev {name}b nodad",
        f"ip -n {name} link set {name}b up"]
    refused = next((done.stderr for done in (
        subprocess.run(command.split(), capture_output=True, text=True) for command in commands) if done.returncode), None)
    if refused is None:
        made += [Listener(address, ["ip", "netns", "exec", name]) for address in (f"{net[0]}.2", f"{net[1]}2")]
    else:
        warnings.warn(f"no network namespace of the test's own, loopback only: {refused}", stacklevel=1)
    try:
        for listener in made:
            listener.check()
        yield made
    finally:
        for listener in made:
            listener.end()
        subprocess.run(["ip", "netns", "del", name], capture_output=True)


@HARNESSES
def test_there_is_no_network(server, harness, listeners):
    """Not by address, not by name, not by IPv4 nor IPv6, not to the server's own API, not by an abstract socket."""
    key = new_session(server, harness)
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind(f"\0centaur-{uuid.uuid4()}")
    abstract.listen()
    addresses = [(listener.address, listener.port) for listener in listeners] + [("127.0.0.1", server.port)]
    names = [(name, port) for name in ("localhost", "ip6-localhost", socket.gethostname()) for _, port in addresses]
    program = f"""
import socket
for place in {addresses + names!r}:
    try:
        socket.create_connection(place, timeout=2).close()
        print("reached", place)
    except OSError as error:
        pass
try:
    link = socket.socket(socket.AF_UNIX)
    link.connect({abstract.getsockname()!r})
    print("reached the abstract socket")
except OSError:
    pass
print([name for _, name in socket.if_nameindex()])
"""
    with neighbour(server):
        assert attack(server, key, f"python3 - <<'PROGRAM'\n{program}\nPROGRAM").strip() == "['lo']"
    assert [listener.reached for listener in listeners] == [1] * len(listeners), "only the test itself was there"
    works(server, key)


GATEWAY = """
import glob, json, os, socket
def call(method, path, body, *headers):
    link = socket.socket(socket.AF_UNIX)
    link.settimeout(100)
    link.connect("/run/centaur/gateway/model.sock")
    data = json.dumps(body).encode()
    head = [f"{method} {path} HTTP/1.1", "host: gateway", "connection: close", "content-type: application/json",
            f"content-length: {len(data)}", *headers]
    link.sendall("\\r\\n".join(head).encode() + b"\\r\\n\\r\\n" + data)
    answer = b""
    while piece := link.recv(65536):
        answer += piece
    return int(answer.split()[1])
print(sorted(os.listdir("/run/centaur/gateway")))
ask = {"model": "MODEL", "input": "Reply PONG", "messages": [{"role": "user", "content": "Reply PONG"}], "max_tokens": 9}
print([call(*what) for what in [
    ("GET", "/v1/models", {}), ("POST", "/v1/files", ask), ("POST", "/v1/responses/../files", ask),
    ("POST", "http://127.0.0.1/v1/files", ask), ("PUT", "/sandboxes/other", ask), ("GET", "/requests", {}),
    ("POST", "PATH", {**ask, "model": "gpt-expensive"})]])
for other in OTHERS + ["/run/centaur/gateway/../gateway/control.sock"]:
    link = socket.socket(socket.AF_UNIX)
    try:
        link.connect(other[-100:] if len(other) > 100 else other)
        print("reached", other)
    except OSError:
        pass
print(call("POST", "PATH", ask, "authorization: Bearer stolen", "x-api-key: stolen", "x-centaur-session: other"))
for trick in (lambda: os.unlink("/run/centaur/gateway/model.sock"),
              lambda: os.rename("/run/centaur/gateway", "/run/centaur/mine"),
              lambda: open("/run/centaur/gateway/x", "w")):
    try:
        trick()
        print("it could")
    except OSError:
        pass
"""


@HARNESSES
def test_the_gateway_gives_nothing_but_model_calls(server, provider, harness):
    """Other routes, models and sessions asked for at the socket itself: refused, and written down as this session's."""
    key = new_session(server, harness)
    model, path = {"codex": ("gpt-5.5", "/v1/responses"), "claude": ("claude-opus-5-5", "/v1/messages")}[harness]
    others = [str(path) for path in server.data.glob("gateway/sockets/*/*")]
    others += [str(path) for path in server.data.glob("sessions/*/sandboxes/*/socket")]
    program = GATEWAY.replace("MODEL", model).replace("PATH", path).replace("OTHERS", repr(others))
    heard = len(provider.requests())
    with neighbour(server):
        printed = attack(server, key, f"python3 - <<'PROGRAM'\n{program}\nPROGRAM").strip().splitlines()
    assert printed[0] == "['model.sock']"
    refused = [int(status) for status in printed[1].strip("[]").split(",")]
    assert all(400 <= status < 500 for status in refused), refused
    assert printed[2:] == ["200"], printed
    calls = provider.requests()[heard:]
    assert {call["path"] for call in calls} <= {"/v1/responses", "/v1/messages"}
    assert "gpt-expensive" not in {call["body"]["model"] for call in calls}
    for call in calls:
        headers = {name.lower(): value for name, value in call["headers"].items()}
        assert SECRET in headers.get("authorization", headers.get("x-api-key")) and "stolen" not in str(headers)
    own = server.api.show(key).json()["id"]
    assert {call["session"] for call in server.audit() if "refused" in call and harness in str(call)} <= {own}
    works(server, key)


# Files


@HARNESSES
def test_links_lead_nowhere(server, harness, directory):
    """Links that the agent leaves in its home and workspace: what the server writes or reads there later does not follow
    them."""
    victim = directory / "victim"
    victim.write_text("untouched")
    key = new_session(server, harness)
    with neighbour(server):
        printed = attack(server, key, f"""
            for name in catalog.json instructions.md config.toml .credentials.json settings.json
            do ln -sfn '{victim}' "$HOME/$name"; done
            ln -s '{victim}' leak; ln -s / root; ln -s '{directory}' outside; mkfifo pipe
            cat leak 2>/dev/null; ls root/root 2>/dev/null; echo end""")
        assert printed.split() == ["end"], printed
    files = server.api.path(key, "/files/")
    for name in ("leak", "root/etc/passwd", "outside/victim", "pipe"):
        answered = server.api.http.get(files + name)
        assert answered.status_code == 403, (name, answered.text)
        assert server.api.http.put(files + name, content=b"changed").status_code in (201, 204, 200, 403)
    assert victim.read_text() == "untouched"
    # The next sandbox of the session is given its files anew.
    server.api.http.post(server.api.path(key, "/archive")).raise_for_status()
    works(server, key)
    assert victim.read_text() == "untouched"


# A life of its own


@HARNESSES
def test_killing_everything(server, harness):
    """It kills what is its own; its turn fails, and a new sandbox takes the next one."""
    key = new_session(server, harness)
    with neighbour(server):
        assert failed_attack(server, key, "kill -9 -1; echo alive") == "harness_died"
        works(server, key)


@HARNESSES
def test_ending_the_way_to_the_model(server, harness):
    """It ends what carries calls to the gateway: its turn fails for want of a model, and the next one has a way again."""
    key = new_session(server, harness)
    with neighbour(server):
        events = server.api.run(key, script(shell("pkill -9 -f 'centaur/shim carr[y]'; echo gone"), text("done")))
        assert items(events, "command")[-1]["output"].strip() == "gone"
        assert events[-1]["kind"] == "execution.failed", events[-1]
        works(server, key)


@HARNESSES
def test_a_daemon_does_not_outlive_its_turn(server, harness):
    """However it hides, what a turn started is gone when the turn is over; the harness stays."""
    key = new_session(server, harness)
    mark = f"mark-{uuid.uuid4()}"
    daemon = f"sh -c 'while :; do date +%s%N > alive.new; mv alive.new alive; sleep 0.05; done' {mark}"
    with neighbour(server):
        works(server, key)
        sandbox = [event["payload"]["id"] for event in server.api.events(key) if event["kind"] == "sandbox.ready"]
        printed = attack(
            server, key, f"(setsid nohup {daemon} >/dev/null 2>&1 &); ({daemon} & ) >/dev/null 2>&1; "
            "until [ -s alive ]; do sleep 0.02; done; echo works")
        assert printed.split() == ["works"], printed
        until(lambda: not processes_with(mark))
        works(server, key)
    again = [event["payload"]["id"] for event in server.api.events(key) if event["kind"] == "sandbox.ready"]
    assert again == sandbox, "the sandbox was not a new one"


# Where it cannot work


def test_no_isolation_only_knowingly(directory, provider):
    """A server that is to isolate and cannot does not start; it says what failed and how to do without."""
    server = guarded(directory / "server", provider)
    server.environment["PATH"] = str(directory)
    with pytest.raises(ServerFailed) as raised:
        server.start()
    assert "bubblewrap: there is no `bwrap` on PATH" in str(raised.value)
    assert "`sandbox: process`" in str(raised.value) and "centaur doctor" in str(raised.value)
    server.config["sandbox"] = "process"
    try:
        server.start()
        assert any("nothing is isolated" in line for line in server.lines)
    finally:
        server.end()


# What lies in the repository


@HARNESSES
def test_the_repository_starts_nothing(directory, provider, harness):
    """Settings, hooks, servers and instructions of tools that lie in a workspace are read by nobody before the agent
    decides to."""
    template = directory / "template"
    start = "echo started >> started.txt"
    files = {
        ".claude/settings.json": json.dumps({
            "hooks": {name: [{"hooks": [{"type": "command", "command": start}]}]
                      for name in ("SessionStart", "UserPromptSubmit", "Stop")},
            "apiKeyHelper": start, "statusLine": {"type": "command", "command": start}}),
        ".claude/settings.local.json": json.dumps({"permissions": {"allow": ["Bash"]}, "env": {"BASH_ENV": "./start.sh"}}),
        ".mcp.json": json.dumps({"mcpServers": {"bad": {"command": "sh", "args": ["-c", start]}}}),
        ".codex/config.toml": f'notify = ["sh", "-c", "{start}"]\n[mcp_servers.bad]\ncommand = "sh"\nargs = ["-c", "{start}"]\n',
        ".codex/hooks.json": json.dumps({"hooks": {"SessionStart": [{"hooks": [{"type": "command", "command": start}]}]}}),
        ".git/config": f'[core]\n\tfsmonitor = "{start} #"\n\thooksPath = .\n',
        ".git/HEAD": "ref: refs/heads/main\n",
        "start.sh": start + "\n", ".bashrc": start + "\n", ".profile": start + "\n",
    }
    for name, content in files.items():
        (template / name).parent.mkdir(parents=True, exist_ok=True)
        (template / name).write_text(content)
    server = guarded(directory / "server", provider)
    server.config["workspace"] = str(template)
    try:
        server.start()
        key = new_session(server, harness)
        works(server, key)
        works(server, key)
        assert not list(directory_of(server, key).rglob("started.txt"))
        assert attack(server, key, "ls -A | sort | head -3").split() == [".bashrc", ".claude", ".codex"]
    finally:
        server.end()
