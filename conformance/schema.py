"""Checks events and response objects against our own rules for them (`response_rules`), and against the Open Responses
schema where that is at hand.

The schema is not part of this repository: it is looked for in `../shared/wire/open-responses`, or where
OPEN_RESPONSES_SCHEMA points. Without it our own rules are what is checked, and a test that rests on the schema alone says
so by being skipped (`NEEDED`).
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from response_rules import check_compaction, check_event, check_item, check_response, check_socket_error

FILE = Path(
    os.environ.get("OPEN_RESPONSES_SCHEMA")
    or Path(__file__).resolve().parents[2] / "shared/wire/open-responses/openapi.json")
BASE = "urn:open-responses"

available = FILE.is_file()
NEEDED = pytest.mark.skipif(not available, reason=f"the Open Responses schema is not at hand: no {FILE}")


@functools.cache
def document() -> dict:
    return json.loads(FILE.read_text())


@functools.cache
def validator(name: str) -> jsonschema.Draft202012Validator:
    registry = Registry().with_resource(BASE, Resource(document(), DRAFT202012))
    return jsonschema.Draft202012Validator(
        {"$ref": f"{BASE}#/components/schemas/{name}"}, registry=registry)


@functools.cache
def events_by_type() -> dict[str, str]:
    """`response.created` → the name of its schema."""
    found = {}
    for name, schema in document()["components"]["schemas"].items():
        if name.endswith("StreamingEvent"):
            type = schema["properties"]["type"]
            for value in type.get("enum", [type.get("const", type.get("default"))]):
                found[value] = name
    return found


def faults(name: str, value: dict) -> list[str]:
    found: list[str] = []
    value = without_extensions(value, found)
    return found + [
        f"{'/'.join(map(str, error.absolute_path))}: {error.message[:300]}"
        for error in validator(name).iter_errors(value)
    ]


def without_extensions(value, found: list[str]):
    """The value with an item of the schema's own in the place of each extension item.

    The specification lets a vendor add item types under its prefix; its schema is a closed list. What the
    specification asks of every item is checked here.
    """
    if isinstance(value, list):
        return [without_extensions(element, found) for element in value]
    if not isinstance(value, dict):
        return value
    if str(value.get("type", "")).startswith("centaur:"):
        if not isinstance(value.get("id"), str) or not value["id"]:
            found.append(f"an extension item without an id: {value}")
        if value.get("status") not in ("in_progress", "completed", "incomplete"):
            found.append(f"an extension item without a status: {value}")
        return {"type": "reasoning", "id": value.get("id"), "summary": []}
    return {key: without_extensions(element, found) for key, element in value.items()}


def own_faults(check: Callable[[dict], None], value: dict) -> list[str]:
    try:
        check(value)
    except (AssertionError, KeyError) as error:
        return [f"our own rules: {error!r}"]
    return []


def event_faults(event: dict) -> list[str]:
    found = own_faults(check_event, event)
    if not available:
        return found
    name = events_by_type().get(event["type"])
    if name is None:
        # An extension's type has the vendor's prefix.
        return found + ([] if event["type"].startswith("centaur:") else [f"unknown event type {event['type']}"])
    return found + faults(name, event)


def response_faults(response: dict) -> list[str]:
    return both(check_response, "ResponseResource", response)


def item_faults(item: dict) -> list[str]:
    """An item of a list of items."""
    return both(check_item, "ItemField", item)


def compaction_faults(body: dict) -> list[str]:
    return both(check_compaction, "CompactResource", body)


def socket_error_faults(message: dict) -> list[str]:
    return both(check_socket_error, "WebSocketErrorEvent", message)


def both(check: Callable[[dict], None], name: str, value: dict) -> list[str]:
    return own_faults(check, value) + (faults(name, value) if available else [])
