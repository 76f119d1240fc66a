"""Frames that a WebSocket's client should not send, and clients that do not read, do not speak, or are not there."""

from __future__ import annotations

import socket as sockets
import threading
import time

import pytest
from centaur_server import until
from scripts import script, shell, text
from session_api import WAIT_SECONDS
from websocket_wire import BINARY, CLOSE, PING, PONG, TEXT, RawSocket
from wire import final_text

CREATE = b'{"type":"response.create","model":"gpt-5.5","input":"Reply PONG"}'
UMLAUT = '{"type":"response.create","model":"gpt-5.5","input":"Reply ÄÖÜ"}'.encode()


def test_a_message_in_pieces(server):
    """However many frames it comes in, and with pings between them, also where a frame ends within a character."""
    with RawSocket(server.v1) as socket:
        for cut in range(0, len(UMLAUT), 7):
            socket.send(TEXT if cut == 0 else 0, UMLAUT[cut : cut + 7], fin=False)
            socket.send(PING, b"still there?")
            assert socket.receive() == (PONG, b"still there?")
        socket.send(0, b"", fin=True)
        assert final_text(socket.response()) == "ÄÖÜ"


def test_a_message_byte_by_byte(server):
    """However many segments a frame comes in."""
    with RawSocket(server.v1) as socket:
        socket.socket.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
        for byte in RawSocket.frame(TEXT, CREATE):
            socket.socket.sendall(bytes([byte]))
        assert final_text(socket.response()) == "PONG"


def test_pings_are_answered(server):
    """With what they said; a pong that nobody asked for is no matter."""
    with RawSocket(server.v1) as socket:
        for said in (b"", b"x" * 125):
            socket.send(PING, said)
            assert socket.receive() == (PONG, said)
        socket.send(PONG, b"unasked")
        socket.say(CREATE)
        assert final_text(socket.response()) == "PONG"


@pytest.mark.parametrize(
    "frames, code", [
        ([RawSocket.frame(TEXT, CREATE, masked=False)], 1002),
        ([RawSocket.frame(TEXT, CREATE, rsv=4)], 1002), ([RawSocket.frame(PING, rsv=1)], 1002),
        ([RawSocket.frame(3, CREATE)], 1002), ([RawSocket.frame(11)], 1002),
        ([RawSocket.frame(0, CREATE)], 1002),
        ([RawSocket.frame(TEXT, b"{", fin=False), RawSocket.frame(TEXT, CREATE)], 1002),
        ([RawSocket.frame(PING, b"x", fin=False)], 1002), ([RawSocket.frame(PING, b"x" * 126)], 1002),
        ([RawSocket.frame(CLOSE, b"x")], 1002), ([RawSocket.frame(CLOSE, (1005).to_bytes(2, "big"))], 1002),
        ([RawSocket.frame(CLOSE, (999).to_bytes(2, "big"))], 1002),
        ([RawSocket.frame(CLOSE, (1000).to_bytes(2, "big") + b"\xff")], 1007),
        ([RawSocket.frame(BINARY, CREATE)], 1003),
        ([RawSocket.frame(TEXT, b'{"type":"\xff"}')], 1007),
        ([RawSocket.frame(TEXT, b'"\xc3', fin=False), RawSocket.frame(0, b'"')], 1007),
        ([RawSocket.frame(TEXT, b"\xed\xa0\x80")], 1007),
        ([RawSocket.frame(TEXT, b"x", length=1 << 40)], 1009), ([RawSocket.frame(TEXT, b"x", length=1 << 63)], 1009),
        ([RawSocket.frame(CLOSE, (3000).to_bytes(2, "big") + b"bye")], 3000), ([RawSocket.frame(CLOSE)], 1005),
    ],
    ids=lambda value: "" if isinstance(value, list) else None)
def test_the_code_of_the_end(server, frames, code):
    """Each fault has its code, the connection ends, and a response that was running on it goes on elsewhere."""
    with RawSocket(server.v1) as socket:
        socket.socket.sendall(b"".join(frames))
        assert socket.close_code() == code
        socket.send(CLOSE, code.to_bytes(2, "big")) if code not in (1005, 3000) else None
        with pytest.raises((EOFError, ConnectionError)):
            socket.receive()


def test_what_comes_behind_a_fault_is_not_read(server):
    """A message behind a frame that ended the connection asks for nothing."""
    known = server.api.known()
    with RawSocket(server.v1) as socket:
        socket.socket.sendall(RawSocket.frame(BINARY, b"x") + RawSocket.frame(TEXT, CREATE) * 3)
        assert socket.close_code() == 1003
    assert server.api.known() == known


def test_the_longest_message(make_server):
    """`limits.body`: at it, one byte over it, and over it in pieces."""
    server = make_server({"limits": {"body": "64KiB"}})
    longest = CREATE + b" " * ((64 << 10) - len(CREATE))
    with RawSocket(server.v1) as socket:
        socket.say(longest)
        assert final_text(socket.response()) == "PONG"
        socket.say(longest + b" ")
        assert socket.close_code() == 1009
    with RawSocket(server.v1) as socket:
        socket.send(TEXT, longest[: 40 << 10], fin=False)
        socket.send(0, longest[40 << 10 :], fin=False)
        socket.send(0, b" ")
        assert socket.close_code() == 1009


def test_words_before_the_answer(server):
    """What is sent before the server has agreed is no part of the conversation, and breaks nothing."""
    with RawSocket(server.v1, glued=RawSocket.frame(TEXT, b"{") + b"GET /v1/models HTTP/1.1\r\n\r\n") as socket:
        assert socket.status == 101
        socket.say(CREATE)
        assert final_text(socket.response()) == "PONG"


def test_behind_another_request(server):
    """A handshake that was sent before the request before it was answered: each has its own answer, in order."""
    body = b'{"model":"gpt-5.5","input":"Reply FIRST"}'
    with sockets.create_connection(("127.0.0.1", server.port), 60) as plain:
        head = f"host: 127.0.0.1:{server.port}\r\n".encode()
        plain.sendall(
            b"POST /v1/responses HTTP/1.1\r\n" + head + b"content-length: %d\r\n\r\n" % len(body) + body
            + b"GET /v1/responses HTTP/1.1\r\n" + head + b"connection: keep-alive, Upgrade\r\nupgrade: WebSocket\r\n"
            b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        seen = b""
        while b"HTTP/1.1 101" not in seen or not seen.endswith(b"\r\n\r\n"):
            assert (data := plain.recv(65536)), seen
            seen += data
        first, _, second = seen.partition(b"HTTP/1.1 101")
        assert first.startswith(b"HTTP/1.1 200") and b"FIRST" in first and b"connection: close" not in first.lower()
        # RFC 6455 §1.3: the answer to this key.
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in second
        plain.sendall(RawSocket.frame(TEXT, CREATE))
        seen = b""
        while b"response.completed" not in seen:
            assert (data := plain.recv(65536)), seen
            seen += data


def test_half_a_frame_and_the_end(server):
    """A client that breaks off within a frame leaves nothing behind."""
    before = server.api.metric("centaur_connections")
    for bytes_sent in (1, 2, 5, 20):
        with RawSocket(server.v1) as socket:
            socket.socket.sendall(RawSocket.frame(TEXT, CREATE)[:bytes_sent])
    until(lambda: server.api.metric("centaur_connections") <= before)


# Clients that are not there


def test_a_client_that_is_not_there(make_server):
    """A peer that answers no ping is let go; one that does stays, however quiet it is."""
    server = make_server({"limits": {"keep_alive": "1s", "idle_connection": "3s"}})
    with RawSocket(server.v1, is_dead=True) as dead, RawSocket(server.v1) as quiet:
        alive = threading.Thread(target=lambda: [quiet.receive()], daemon=True)
        alive.start()
        begun = time.monotonic()
        with pytest.raises((EOFError, ConnectionError)):
            dead.receive()
        assert dead.pings >= 1
        until(lambda: quiet.pings >= 4 and time.monotonic() - begun >= 3)
        assert alive.is_alive()
        # The answer to what it says now is what the thread waits for.
        quiet.say(CREATE)
        alive.join(WAIT_SECONDS)
        assert not alive.is_alive()


def test_a_quiet_turn_is_kept_alive(make_server):
    """A response that is quiet has an event now and then: Codex counts nothing else."""
    server = make_server({"limits": {"keep_alive": "1s"}})
    with RawSocket(server.v1) as socket:
        socket.create(script(shell("sleep 4"), text("at last")))
        events = socket.answer()
        kinds = [event["type"] for event in events]
        assert kinds.count("response.in_progress") >= 3 and final_text(events[-1]["response"]) == "at last"


def test_a_client_that_does_not_read(make_server):
    """What it leaves unread does not grow in the server's memory; in time it is cut off, and its turn goes on."""
    server = make_server({"limits": {"write_stall": "4s", "turn_output": "200MiB"}})
    words = "word " * 20_000
    with RawSocket(server.v1, receive_buffer=4096) as reading, RawSocket(server.v1, receive_buffer=4096) as stalled:
        reading.create("Reply PONG")
        reading.response()
        before = server.resident_kilobytes()
        for _ in range(40):
            stalled.create(script(text(words, chunks=50)))
        # It may ask as much as it likes: what it says is not read either.
        pings = RawSocket.frame(PING, b"x" * 125) * 1000
        stalled.socket.settimeout(0.2)
        try:
            for _ in range(1000):
                stalled.socket.sendall(pings)
        except OSError:
            pass
        until(lambda: is_cut_off(stalled))
        assert server.resident_kilobytes() - before < 60 << 10
        reading.create("Reply STILL")
        assert final_text(reading.response()) == "STILL"


def is_cut_off(socket: RawSocket) -> bool:
    try:
        socket.socket.sendall(RawSocket.frame(PING))
        return False
    except TimeoutError:
        return False
    except OSError:
        return True
