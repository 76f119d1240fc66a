"""Requests that are not quite HTTP, or of which two readers may think differently: refused, and never two for one.

Raw bytes over a socket. What may hide in a request is another one that makes a session: it must never be there.
"""

from __future__ import annotations

import re
import socket
import time
import uuid
from collections.abc import Iterator

import pytest
from centaur_server import CentaurServer
from conftest import make_directory, serving
from scripts import script, shell, text
from session_api import WAIT_SECONDS, answer

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def strict() -> Iterator[CentaurServer]:
    """A server that takes small bodies and does not wait long for what is not coming."""
    config = {"sandbox": "process", "limits": {"body": "16KiB", "idle_connection": "2s"}}
    with serving(CentaurServer(make_directory(), config)) as server:
        yield server


class Answers:
    """What a server said to some bytes, until it closed or had answered as often as it was meant to."""

    def __init__(self, server: CentaurServer, sent: bytes, expected: int = 1, closes: bool = False):
        with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_SECONDS) as connection:
            self.said = b""
            self.closed = False
            try:
                connection.sendall(sent)
                while closes or len(self.heads) < expected or not self._is_whole():
                    received = connection.recv(1 << 16)
                    if not received:
                        self.closed = True
                        break
                    self.said += received
            except (ConnectionResetError, BrokenPipeError):
                self.closed = True

    @property
    def heads(self) -> list[bytes]:
        return re.findall(rb"HTTP/1\.1 (?!100)\d{3} .*?\r\n\r\n", self.said, re.DOTALL)

    @property
    def statuses(self) -> list[int]:
        return [int(head.split()[1]) for head in self.heads]

    def _is_whole(self) -> bool:
        head = self.heads[-1]
        length = re.search(rb"content-length: (\d+)", head.lower())
        return length is None or len(self.said.rsplit(head, 1)[1]) >= int(length[1])


def hidden(key: str) -> bytes:
    return (f"POST /api/session/{key} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            "Content-Length: 2\r\n\r\n{}").encode()


def outer(headers: bytes, body: bytes) -> bytes:
    return b"POST /api/session/api:outer HTTP/1.1\r\nHost: localhost\r\n" + headers + b"\r\n" + body


# Where the body ends is not clear, or is not to be found: `HIDDEN` is what another reader may take for a request.
SMUGGLED = {
    "length and chunks": (b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    "chunks and length": (b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", b"0\r\n\r\n"),
    "two lengths": (b"Content-Length: 2\r\nContent-Length: 4\r\n", b"{}"),
    "one length twice": (b"Content-Length: 2\r\nContent-Length: 2\r\n", b"{}"),
    "a list of lengths": (b"Content-Length: 2, 2\r\n", b"{}"),
    "a length with a sign": (b"Content-Length: +2\r\n", b"{}"),
    "a negative length": (b"Content-Length: -2\r\n", b"{}"),
    "a hexadecimal length": (b"Content-Length: 0x2\r\n", b"{}"),
    "a length beyond all numbers": (b"Content-Length: 99999999999999999999\r\n", b"{}"),
    "a space before the colon": (b"Content-Length : 2\r\n", b"{}"),
    "a space before the other colon": (b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n"),
    "a folded header": (b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n"),
    "a vertical tab": (b"Transfer-Encoding:\x0bchunked\r\n", b"0\r\n\r\n"),
    "chunks and then not": (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", b"0\r\n\r\n"),
    "another coding last": (b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n"),
    "another coding first": (b"Transfer-Encoding: identity, chunked\r\n", b"2\r\n{}\r\n0\r\n\r\n"),
    "almost chunked": (b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"),
    "compressed": (b"Transfer-Encoding: gzip\r\n", b"0\r\n\r\n"),
    "a header without its carriage return": (b"X-A: a\nContent-Length: 2\r\n", b"{}"),
    "a header without its newline": (b"X-A: a\rContent-Length: 2\r\n", b"{}"),
    "NUL in a header": (b"X-A: a\0\r\nContent-Length: 2\r\n", b"{}"),
    "a header that is none": (b"X A: a\r\nContent-Length: 2\r\n", b"{}"),
    "a header without a name": (b": a\r\nContent-Length: 2\r\n", b"{}"),
    "a chunk beyond all numbers": (b"Transfer-Encoding: chunked\r\n", b"FFFFFFFFFFFFFFFFF\r\n{}\r\n0\r\n\r\n"),
    "a negative chunk": (b"Transfer-Encoding: chunked\r\n", b"-2\r\n{}\r\n0\r\n\r\n"),
    "a chunk in another notation": (b"Transfer-Encoding: chunked\r\n", b"0x2\r\n{}\r\n0\r\n\r\n"),
    "a chunk that goes on": (b"Transfer-Encoding: chunked\r\n", b"2\r\n{}0\r\n\r\n"),
    "chunks without carriage returns": (b"Transfer-Encoding: chunked\r\n", b"2\n{}\n0\n\n"),
    "an extension that ends its line": (b"Transfer-Encoding: chunked\r\n", b"2;a\n{}\r\n0\r\n\r\n"),
    "a length behind the chunks": (b"Transfer-Encoding: chunked\r\n", b"2\r\n{}\r\n0\r\nContent-Length: 90\r\n\r\n"),
}


@pytest.mark.parametrize("name", SMUGGLED)
def test_no_request_hides_in_another(strict, name):
    """Where a request ends must be clear: else it is refused, and nothing behind it is read."""
    headers, body = SMUGGLED[name]
    key = f"api:{uuid.uuid4()}"
    answers = Answers(strict, outer(headers, body + hidden(key)), closes=True)
    assert answers.statuses == [400] and answers.closed, answers.said
    assert strict.api.show(key).status_code == 404


# The body is not read by the route that refuses it, or not to its end: what is in it is no request all the same.
UNREAD = {
    "of a GET": (b"GET /healthz", 200), "of a route that is not there": (b"POST /nothing", 404),
    "of a foreign page": (b"POST /v1/responses", 403), "that is no JSON": (b"POST /v1/messages", 400),
}


@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "in chunks"])
@pytest.mark.parametrize("name", UNREAD)
def test_a_body_is_not_the_next_request(strict, name, chunked):
    """Whether or not a body was wanted, the next request begins behind it."""
    line, status = UNREAD[name]
    key = f"api:{uuid.uuid4()}"
    body = hidden(key)
    host = b"evil.example" if status == 403 else b"localhost"
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body)
    sent = line + b" HTTP/1.1\r\nHost: " + host + b"\r\n" + framing + b"\r\n\r\n"
    sent += b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if chunked else body
    answers = Answers(strict, sent + GET + b"\r\n", expected=2)
    assert answers.statuses == [status, 200], answers.said
    assert strict.api.show(key).status_code == 404


@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "in chunks"])
def test_a_body_that_is_too_large_is_not_the_next_request(strict, chunked):
    """The rest of a refused body is thrown away, or the connection with it."""
    key = f"api:{uuid.uuid4()}"
    body = b"x" * 20_000 + hidden(key)
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body)
    sent = b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\n" + framing + b"\r\n\r\n"
    sent += b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if chunked else body
    answers = Answers(strict, sent + GET + b"\r\n", expected=2)
    assert answers.statuses in ([413], [413, 200]), answers.said
    assert strict.api.show(key).status_code == 404


REFUSED = {
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two hosts": GET + b"Host: evil.example\r\n\r\n",
    "a folded header": GET + b"X-A: a\r\n b\r\n\r\n",
    "a header before the first": b"GET /healthz HTTP/1.1\r\n Host: localhost\r\n\r\n",
    "lines without carriage returns": b"GET /healthz HTTP/1.1\nHost: localhost\n\n",
    "a control character in a header": GET + b"X-A: a\x01b\r\n\r\n",
    "NUL in the path": b"GET /health\0z HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "bytes in the path": b"GET /api/session/api:\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a space in the path": b"GET /healthz x HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an old version": b"GET /healthz\r\n\r\n",
    "a version to come": b"GET /healthz HTTP/1.9\r\nHost: localhost\r\n\r\n",
    "another protocol": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a method in small letters": b"get /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a long path": b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a long header": GET + b"X-A: " + b"a" * 200_000 + b"\r\n\r\n",
    "many headers": GET + b"".join(b"X-%d: a\r\n" % number for number in range(20_000)) + b"\r\n",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_http_is_refused(strict, name):
    """A request that breaks HTTP's grammar gets 400 and the end of its connection; the server answers others."""
    answers = Answers(strict, REFUSED[name] + GET + b"\r\n", closes=True)
    assert answers.closed and answers.statuses in ([400], []), answers.said
    # Where much was sent that is not read, the connection's end may come before the answer is read.
    assert answers.statuses or len(REFUSED[name]) > 100_000
    assert Answers(strict, GET + b"\r\n").statuses == [200]


@pytest.fixture(scope="module")
def hasty() -> Iterator[CentaurServer]:
    """A server that waits two seconds for a request, however steadily it comes."""
    config = {"sandbox": "process", "limits": {"request": "2s"}}
    with serving(CentaurServer(make_directory(), config)) as server:
        yield server


SLOW = {"/v1/responses": b'"type":"invalid_request_error"', "/v1/messages": b'"type":"timeout_error"',
        "/v1/conversations": b'"type":"invalid_request_error"', "/api/session/api:slow/messages": b'"param":null'}


@pytest.mark.parametrize("path", SLOW)
def test_a_request_that_never_ends(hasty, path):
    """A client that sends a byte now and then is told, in its own dialect, that its time is over, and is cut off; others
    are answered meanwhile."""
    with socket.create_connection(("127.0.0.1", hasty.port), timeout=WAIT_SECONDS) as slow:
        slow.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n{{".encode())
        slow.settimeout(0.2)
        said, closed = b"", False
        while not closed:
            try:
                received = slow.recv(1 << 16)
                said, closed = said + received, not received
            except TimeoutError:
                slow.sendall(b" ")
            except (ConnectionResetError, BrokenPipeError):
                closed = True
        assert said.startswith(b"HTTP/1.1 408 ") and b'"code":"request_timeout"' in said, said
        assert SLOW[path] in said and b"connection: close" in said.lower()
    assert Answers(hasty, GET + b"\r\n").statuses == [200]


def test_a_slow_codex_is_shown_why(hasty):
    """Codex shows the sentence as it is, once."""
    with socket.create_connection(("127.0.0.1", hasty.port), timeout=WAIT_SECONDS) as slow:
        slow.sendall(b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nsession-id: s\r\nContent-Length: 9\r\n\r\n{")
        said = b""
        while received := slow.recv(1 << 16):
            said += received
    assert said.startswith(b"HTTP/1.1 200 ") and b"response.failed" in said and b"was not whole after 2 seconds" in said


def test_a_long_answer_is_no_slow_request(hasty):
    """The time is the request's own, not that of its answer."""
    key = f"api:{uuid.uuid4()}"
    hasty.api.create(key).raise_for_status()
    assert answer(hasty.api.run(key, script(shell("sleep 4"), text("slept")))) == "slept"


# A target that names a host, the `Host` beside it, and what is said: 403 where both are another's, 400 where they differ.
ELSEWHERE = {
    "by the target and Host": (b"http://evil.example/api/sessions", b"evil.example", 403),
    "by the target": (b"http://evil.example/api/sessions", b"localhost", 400),
    "by the target, with a port": (b"http://evil.example:8787/api/sessions", b"localhost", 400),
    "by another scheme": (b"HTTPS://evil.example/api/sessions", b"localhost", 400),
    "by a scheme that is none": (b"a:b://evil.example/api/sessions", b"localhost", 400),
    "behind a name like ours": (b"http://localhost:80@evil.example/api/sessions", b"localhost", 400),
    "twice behind a name like ours": (
        b"http://localhost:80@evil.example/api/sessions", b"localhost:80@evil.example", 403),
    "in front of a query": (b"http://evil.example?/api/sessions", b"localhost", 400),
    "by an authority that is none": (b"http:///api/sessions", b"localhost", 400),
    "by Host alone": (b"http://localhost/api/sessions", b"evil.example", 400),
    "by Host behind a name like ours": (b"/api/sessions", b"localhost:80@evil.example", 403),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_request_to_somebody_else(strict, name):
    """A target that names another host is as a foreign Host: a page whose name was made to point here reads nothing."""
    target, host, status = ELSEWHERE[name]
    answers = Answers(strict, b"GET " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
    assert answers.statuses == [status], answers.said


@pytest.mark.parametrize("authority", [b"localhost", b"127.0.0.1:%d", b"[::1]:%d", b"LOCALHOST:1"])
def test_a_target_that_names_this_server(strict, authority):
    """A proxy's form of a request is answered like any other."""
    ours = authority % strict.port if b"%d" in authority else authority
    sent = b"GET http://" + ours + b"/api/sessions HTTP/1.1\r\nHost: " + ours + b"\r\n\r\n"
    answers = Answers(strict, sent)
    assert answers.statuses == [200] and b'"data"' in answers.said


def test_there_is_no_http_2(strict):
    """It is not offered: its preface is refused, and an upgrade to it is not taken up. Nothing of it is there to reset."""
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0" + b"\0\0\4\3\0\0\0\0\1\0\0\0\x08" * 100
    answers = Answers(strict, preface, closes=True)
    assert answers.closed and answers.statuses in ([400], []), answers.said
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
    assert Answers(strict, GET + upgrade).statuses == [200]


def test_pipelined_requests_are_answered_in_order(strict):
    """Requests that do not wait for their answers get them one by one."""
    key = f"api:{uuid.uuid4()}"
    paths = [b"/healthz", b"/nothing", b"/api/sessions", b"/v1/models"] * 10
    sent = b"".join(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n" for path in paths)
    answers = Answers(strict, sent + hidden(key) + GET + b"\r\n", expected=len(paths) + 2)
    assert answers.statuses == [200, 404, 200, 200] * 10 + [201, 200]
    assert strict.api.show(key).status_code == 200


def test_nothing_is_read_behind_the_last_request(strict):
    """`Connection: close` ends it."""
    key = f"api:{uuid.uuid4()}"
    answers = Answers(strict, GET + b"Connection: close\r\n\r\n" + hidden(key), closes=True)
    assert answers.statuses == [200] and answers.closed
    assert strict.api.show(key).status_code == 404


def test_a_slow_request_holds_up_nobody(strict):
    """Head and body byte by byte: it is answered when it is whole, and others are meanwhile."""
    body = b'{"messages":[{"role":"user","content":"hi"}]}'
    sent = b"POST /v1/messages/count_tokens HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with socket.create_connection(("127.0.0.1", strict.port), timeout=WAIT_SECONDS) as connection:
        for number, byte in enumerate(sent):
            connection.sendall(bytes([byte]))
            if number % 20 == 0:
                assert Answers(strict, GET + b"\r\n").statuses == [200]
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("sent", [
    outer(b"Content-Length: 100\r\n", b"{"), outer(b"Transfer-Encoding: chunked\r\n", b"FFFFFFFFFFFFFFFF\r\n{"),
    outer(b"Transfer-Encoding: chunked\r\n", b"5\r\n{"), outer(b"Expect: 100-continue\r\nContent-Length: 2\r\n", b"")],
    ids=["half a body", "an endless chunk", "half a chunk", "a body that is not sent"])
def test_a_body_that_does_not_come(strict, sent):
    """The connection ends when its time is over, and there is no session of it."""
    begun = time.monotonic()
    answers = Answers(strict, sent, closes=True)
    assert answers.closed and not set(answers.statuses) & {200, 201}, answers.said
    assert time.monotonic() - begun < WAIT_SECONDS
    assert Answers(strict, GET + b"\r\n").statuses == [200]


def test_the_log_blames_nobody_for_it(strict):
    """What clients do wrong is no error of the server's: nothing of all this stands in its log."""
    Answers(strict, outer(b"Transfer-Encoding: chunked\r\n", b"-2\r\n{}\r\n0\r\n\r\n"), closes=True)
    assert " error " not in strict.log.read_text()
