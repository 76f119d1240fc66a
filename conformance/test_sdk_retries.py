"""The SDKs' own retries: `openai` and `anthropic` send a request again by themselves after a timeout, a broken connection
or a status that asks for it. The work behind it is done once, in one session, and the client gets its answer.

Each command leaves a line in its workspace, so that a test counts how often it ran, and in how many sessions.
"""

from __future__ import annotations

import concurrent.futures
import uuid
from collections.abc import Iterator
from pathlib import Path

import anthropic
import httpx2
import openai
import pytest
from centaur_server import CentaurServer, until
from conftest import make_anthropic, make_directory, make_sdk, serving
from scripts import script, shell, text
from session_api import WAIT_SECONDS, executions, said

RESPONSES, MESSAGES = "responses", "messages"
BOTH = pytest.mark.parametrize("dialect", [RESPONSES, MESSAGES])


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[CentaurServer]:
    config = {"limits": {"sandboxes": 40, "turns": 80, "idle_sandbox": "5s"}}
    with serving(CentaurServer(make_directory(), config), lambda: request.session.testsfailed > 0) as server:
        yield server


class Work:
    """A command that counts its runs, and waits for a gate where it is to."""

    def __init__(self, server: CentaurServer):
        self.server = server
        self.name = f"ran-{uuid.uuid4().hex}"

    def prompt(self, *, waits: bool = False, then: str = "true", end: dict | None = None) -> str:
        gate = f"while [ ! -e go ]; do sleep 0.05; done; {then}" if waits else then
        return script(shell(f"echo x >> {self.name}; {gate}"), end or text(self.said))

    @property
    def said(self) -> str:
        return f"done {self.name}"

    @property
    def files(self) -> list[Path]:
        return list(self.server.data.glob(f"sessions/*/workspace/{self.name}"))

    @property
    def runs(self) -> list[int]:
        """How often it ran, in each session that ran it."""
        return [len(file.read_text().splitlines()) for file in self.files]

    def begun(self) -> None:
        until(lambda: self.files)

    def open(self) -> None:
        for file in self.files:
            (file.parent / "go").touch()


@pytest.fixture
def work(server: CentaurServer) -> Work:
    return Work(server)


class Client:
    """One of the SDKs, which retries by itself."""

    def __init__(self, server: CentaurServer, dialect: str, **more):
        self.dialect = dialect
        self.sdk = (make_sdk if dialect == RESPONSES else make_anthropic)(server, **{"max_retries": 2, **more})

    def ask(self, prompt: str, **more) -> tuple[str, str]:
        """The answer's id and its text."""
        if self.dialect == RESPONSES:
            response = self.sdk.responses.create(model="m", input=prompt, **more)
            return response.id, response.output_text
        message = self.sdk.messages.create(
            model="m", max_tokens=1000, messages=[{"role": "user", "content": prompt}], **more)
        return message.id, message.content[-1].text

    def stream(self, prompt: str) -> tuple[str, str]:
        if self.dialect == RESPONSES:
            events = list(self.sdk.responses.create(model="m", input=prompt, stream=True))
            return events[-1].response.id, events[-1].response.output_text
        with self.sdk.messages.stream(
            model="m", max_tokens=1000, messages=[{"role": "user", "content": prompt}]
        ) as stream:
            message = stream.get_final_message()
        return message.id, message.content[-1].text


class Losing(httpx2.BaseTransport):
    """A network that loses the first answers: what was asked is done, and its client does not learn of it."""

    def __init__(self, answers: int = 1):
        self.under = httpx2.HTTPTransport()
        self.answers = answers
        self.counts: list[str] = []
        self.statuses: list[int] = []
        self.bodies: list[str] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.counts.append(request.headers["x-stainless-retry-count"])
        if self.counts[-1] != "0":
            # Who gives up while the answer is on its way cannot be told from who has read it.
            request.extensions["timeout"] = httpx2.Timeout(WAIT_SECONDS).as_dict()
        response = self.under.handle_request(request)
        body = b"".join(response.stream)
        self.statuses.append(response.status_code)
        self.bodies.append(body.decode())
        if len(self.statuses) <= self.answers:
            response.close()
            raise httpx2.ReadError("the answer was lost", request=request)
        headers = [(name, value) for name, value in response.headers.raw if name.lower() != b"transfer-encoding"]
        return httpx2.Response(response.status_code, headers=headers, content=body, request=request)

    def close(self) -> None:
        self.under.close()


def losing(server: CentaurServer, dialect: str, answers: int = 1, **more) -> tuple[Client, Losing]:
    network = Losing(answers)
    library = openai if dialect == RESPONSES else anthropic
    return Client(server, dialect, http_client=library.DefaultHttpxClient(transport=network), **more), network


def replayed(server: CentaurServer) -> float:
    return server.api.metric("centaur_turns_replayed_total")


@BOTH
def test_timeout(server, work, dialect):
    """Who gives up waiting and asks again waits for the same turn."""
    known, before = server.api.known(), replayed(server)
    client = Client(server, dialect, timeout=2, max_retries=20)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.ask, work.prompt(waits=True))
        work.begun()
        until(lambda: replayed(server) >= before + 2)
        work.open()
        assert asked.result()[1] == work.said
    assert work.runs == [1]
    key = server.api.new_session(known)
    events = server.api.events(key)
    assert len(said(events)) == 1 and list(executions(events).values()) == ["completed"]


@BOTH
@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_server_dies(make_server, dialect, how):
    """A server that dies or is replaced during a call costs its client some waiting, and nothing is done twice."""
    server = make_server()
    server.keeps_port = True
    work = Work(server)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(Client(server, dialect, max_retries=20).ask, work.prompt(waits=True))
        work.begun()
        if how == "killed":
            server.kill()
        else:
            assert server.stop() == 0
        server.start()
        work.open()
        assert asked.result()[1] == work.said
    assert work.runs == [1]
    [session] = server.api.all_sessions()
    events = server.api.events(session["thread_key"])
    assert len(said(events)) == 1 and list(executions(events).values()) == ["completed"]
    assert replayed(server) == 1


@BOTH
@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
def test_lost_answer(server, work, dialect, streams):
    """An answer that was lost on its way is shown again, under the same id; the header counts as the SDK says."""
    known = server.api.known()
    client, network = losing(server, dialect, answers=2)
    identity, answer = (client.stream if streams else client.ask)(work.prompt())
    assert answer == work.said and work.runs == [1]
    assert network.counts == ["0", "1", "2"]
    assert all(identity in body for body in network.bodies)
    server.api.new_session(known)


def test_previous_response(server, work):
    """A retry that goes on from a response is shown its turn; no branch with an empty workspace."""
    known = server.api.known()
    client, _ = losing(server, RESPONSES, answers=0)
    first, _ = client.ask("Reply FIRST")
    client, _ = losing(server, RESPONSES)
    second, answer = client.ask(work.prompt(), previous_response_id=first)
    assert answer == work.said and work.runs == [1]
    client, _ = losing(server, RESPONSES)
    assert client.ask(script(text("{{history}}")), previous_response_id=second)[1] == "3"
    assert len(said(server.api.events(server.api.new_session(known)))) == 3


def test_previous_response_of_a_server_that_dies(make_server):
    """The same where the server is killed meanwhile."""
    server = make_server()
    server.keeps_port = True
    work = Work(server)
    client = Client(server, RESPONSES, max_retries=20)
    first, _ = client.ask("Reply FIRST")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.ask, work.prompt(waits=True), previous_response_id=first)
        work.begun()
        server.kill()
        server.start()
        work.open()
        assert asked.result()[1] == work.said
    assert work.runs == [1] and len(server.api.all_sessions()) == 1


def test_conversation(server, work):
    """In a conversation the message is said once, and the list of its items has it once."""
    client, network = losing(server, RESPONSES, answers=2)
    plain = make_sdk(server)
    conversation = plain.conversations.create()
    prompt = work.prompt()
    assert client.ask(prompt, conversation=conversation.id)[1] == work.said
    assert work.runs == [1] and network.counts == ["0", "1", "2"]
    assert said(server.api.events(f"api:conv:{conversation.id.removeprefix('conv_')}")) == [prompt]
    listed = plain.conversations.items.list(conversation.id).data
    assert [item.role for item in listed if item.type == "message"] == ["assistant", "user"]


def test_background(server, work):
    """A response in the background has the id that the lost answer had, and goes on once."""
    client, network = losing(server, RESPONSES)
    prompt = work.prompt(waits=True)
    begun = client.sdk.responses.create(model="m", input=prompt, background=True)
    assert all(begun.id in body for body in network.bodies) and len(network.bodies) == 2
    assert begun.status in ("queued", "in_progress")
    work.begun()
    work.open()
    done = until(lambda: (found := make_sdk(server).responses.retrieve(begun.id)).status == "completed" and found)
    assert done.output_text == work.said and work.runs == [1]


@BOTH
def test_twins(server, work, dialect):
    """Equal requests at the same time run each for its own. Those whose clients wait no more are shown to these when
    they come back, each to another one."""
    patient = [losing(server, dialect, answers=0) for _ in range(3)]
    hasty = [losing(server, dialect, answers=0, timeout=3, max_retries=20) for _ in range(3)]
    twins = patient + hasty
    prompt = work.prompt(waits=True)
    with concurrent.futures.ThreadPoolExecutor(len(twins)) as pool:
        asked = [pool.submit(client.ask, prompt) for client, _ in twins]
        until(lambda: len(work.files) == len(twins) and all("1" in network.counts for _, network in hasty))
        work.open()
        answers = [future.result() for future in asked]
    assert [answer for _, answer in answers] == [work.said] * len(twins)
    assert work.runs == [1] * len(twins)
    assert len({identity for identity, _ in answers}) == len(twins)


def test_twenty_at_once(server):
    """Twenty programs that say the same are twenty sessions."""
    known = server.api.known()
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: Client(server, RESPONSES).ask("Reply PONG"), range(20)))
    assert [answer for _, answer in answers] == ["PONG"] * 20
    assert len({identity for identity, _ in answers}) == 20 and len(server.api.known() - known) == 20


@BOTH
def test_failed_turn(server, work, dialect):
    """A turn that failed is what a retry is for: it is run again."""
    client, network = losing(server, dialect)
    with pytest.raises((openai.APIStatusError, anthropic.APIStatusError)):
        client.ask(work.prompt(end={"error": 400}))
    assert network.counts == ["0", "1"] and all(status >= 400 for status in network.statuses)
    assert sum(work.runs) == 2


@BOTH
def test_asked_anew(server, work, dialect):
    """Who asks the same again, and not as a retry, has it done again."""
    client, _ = losing(server, dialect)
    one, two = client.ask(work.prompt()), client.ask(work.prompt())
    assert one[0] != two[0] and sorted(work.runs) == [1, 1]


@BOTH
def test_another_owner(make_server, dialect):
    """What another owner asked in the same words is nobody's answer."""
    server = make_server({"limits": {"key_turns": 1}})
    work = Work(server)
    keys = [server.make_key("--owner", owner) for owner in ("alice", "bob")]
    prompt = work.prompt()
    mine, _ = losing(server, dialect, api_key=keys[0])
    identity, answer = mine.ask(prompt)
    assert answer == work.said and work.runs == [1], "a retry is no second turn of its key"
    theirs = Client(server, dialect, api_key=keys[1])
    other, answer = theirs.ask(prompt, extra_headers={"x-stainless-retry-count": "1"})
    assert answer == work.said and other != identity and work.runs == [1, 1]


@BOTH
def test_idempotency_key_alone(server, work, dialect):
    """A name that the program gives its request holds among all of its sessions, with and without retries."""
    known = server.api.known()
    named = {"extra_headers": {"Idempotency-Key": str(uuid.uuid4())}}
    client, _ = losing(server, dialect)
    first = client.ask(work.prompt(), **named)
    assert client.ask(work.prompt(), **named) == first and first[1] == work.said
    assert work.runs == [1]
    with pytest.raises((openai.ConflictError, anthropic.ConflictError)) as raised:
        client.ask("Reply OTHER", **named)
    assert "idempotency_conflict" in str(raised.value.body)
    server.api.new_session(known)


@BOTH
def test_idempotency_key_alone_at_once(server, work, dialect):
    """Also where the requests of one name come at once, and behind a restart."""
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(
            lambda _: Client(server, dialect).ask(work.prompt(), extra_headers=headers), range(5)))
    assert len(set(answers)) == 1 and work.runs == [1]
