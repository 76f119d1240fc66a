"""Requests that are almost right: JSON bodies with something odd at some place."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

ODD = [None, True, -1, 0, 1e308, "", "x" * 300, [], {}, [[]], {"type": "message"}, "\ud83d\ude42", 2**63]
NAMES = ["type", "id", "role", "content", "status", "new"]


def mutate(random_: random.Random, value):
    """Another value of any shape at one place of a JSON value."""
    if random_.random() < 0.25 or not isinstance(value, (dict, list)) or not value:
        return random_.choice(ODD)
    if isinstance(value, dict):
        key = random_.choice(list(value))
        changed = dict(value)
        match random_.randrange(3):
            case 0:
                del changed[key]
            case 1:
                changed[key] = mutate(random_, value[key])
            case _:
                changed[random_.choice(NAMES)] = random_.choice(ODD)
        return changed
    index = random_.randrange(len(value))
    return value[:index] + [mutate(random_, value[index])] + value[index + 1 :]


def bodies(random_: random.Random, base: dict, count: int) -> Iterator[bytes]:
    """`base`, changed at one to four places, and now and then at one byte."""
    for _ in range(count):
        body = base
        for _ in range(random_.randrange(1, 5)):
            body = mutate(random_, body)
        content = json.dumps(body).encode()
        if random_.random() < 0.2:
            position = random_.randrange(len(content) + 1)
            content = content[:position] + bytes([random_.randrange(256)]) + content[position + 1 :]
        yield content
