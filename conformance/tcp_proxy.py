"""An address before the server: what the proxies have in common, whatever they do to the connections."""

from __future__ import annotations

import socket
import struct
import threading
from typing import Self


class TCPProxy:
    """Takes connections until it is left. Who fills in `take` sets its own fields before it calls this `__init__`."""

    def __init__(self, port: int | None = None):
        # Where connections made from now on lead to.
        self.upstream = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self.listener.close()

    def take(self, client: socket.socket) -> None:
        """A new connection, one at a time; returns at once."""
        raise NotImplementedError

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.upstream))

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.take(client)


def shut(side: socket.socket) -> None:
    """Ends a connection in which another thread may wait in a `recv`: closing alone would not."""
    try:
        side.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    side.close()


def reset(side: socket.socket) -> None:
    """Ends it as a network fails: whatever was on the way is lost."""
    try:
        side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        # Other threads were faster.
        pass
    shut(side)
