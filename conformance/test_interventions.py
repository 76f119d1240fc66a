"""A turn that somebody ends or adds to, and a server that is killed at that moment: it is done once, and all of it."""

import contextlib
import signal
import sqlite3
import threading
import uuid

import httpx
import invariants
import openai
from centaur_server import CentaurServer, processes_with, until
from conftest import make_sdk
from scripts import COUNT, script, shell, text
from session_api import answer, executions, said
from turns import GATE, HARNESSES, arm, await_death, model_calls, open_gate, until_at_work, workspace


def lasting(server: CentaurServer, key: str) -> tuple[str, str]:
    """A turn that does not end by itself, with a command in a session of its own beside it; and what both are known by."""
    mark = str(60_000_000 + uuid.uuid4().int % 1_000_000)
    return script(shell(f"{COUNT}; (setsid sleep {mark} &); sleep {mark}; echo late >> count.txt"), text("no")), mark


def is_gone(mark: str) -> None:
    until(lambda: not processes_with(mark), 20)
