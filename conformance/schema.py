"""Checks events and response objects against the Open Responses schema, where the schema is at hand.

The schema is not part of this repository: it is looked for in `../shared/wire/open-responses`, or where
OPEN_RESPONSES_SCHEMA points. Without it nothing is checked here, and the test that needs it says so by being skipped.
"""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path

import jsonschema
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

FILE = Path(
    os.environ.get("OPEN_RESPONSES_SCHEMA")
    or Path(__file__).resolve().parents[2] / "shared/wire/open-responses/openapi.json")
BASE = "urn:open-responses"

available = FILE.is_file()


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
    return [
        f"{'/'.join(map(str, error.absolute_path))}: {error.message[:300]}"
        for error in validator(name).iter_errors(value)
    ]


def event_faults(event: dict) -> list[str]:
    if not available:
        return []
    name = events_by_type().get(event["type"])
    if name is None:
        # An extension's type has the vendor's prefix.
        return [] if event["type"].startswith("centaur:") else [f"unknown event type {event['type']}"]
    return faults(name, event)


def response_faults(response: dict) -> list[str]:
    return faults("ResponseResource", response) if available else []
