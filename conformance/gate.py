"""A command that waits in its workspace until the test lets it go: what happens meanwhile takes as long as it takes."""

from __future__ import annotations

import uuid
from pathlib import Path

from centaur_server import CentaurServer, until


class Gate:
    """Whatever session it is in: its `command` leaves a file of a name that nobody else has."""

    def __init__(self, server: CentaurServer):
        self.server = server
        self.name = f"gate-{uuid.uuid4().hex[:8]}"

    @property
    def command(self) -> str:
        return f"touch {self.name}; until [ -e {self.name}.open ]; do sleep 0.05; done"

    @property
    def places(self) -> list[Path]:
        return list(self.server.data.glob(f"sessions/*/workspace/{self.name}"))

    def reached(self) -> None:
        """Returns when the command has begun."""
        until(lambda: self.places)

    def open(self) -> None:
        self.reached()
        for place in self.places:
            place.with_name(f"{self.name}.open").touch()
