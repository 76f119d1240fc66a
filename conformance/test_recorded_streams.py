"""The golden streams of the translator's unit tests are what Open Responses asks for: by our own rules, and by its schema
where that is at hand."""

import json
from pathlib import Path

import pytest
from wire import check_stream

GOLDEN = Path(__file__).resolve().parent.parent / "Tests/ResponsesIngressTests/Fixtures/golden/streams"
FILES = sorted(GOLDEN.glob("*.txt"))


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_golden_stream(file):
    """What the unit tests hold for right is right by the specification too."""
    check_stream([json.loads(line) for line in file.read_text().splitlines()])


def test_there_are_golden_streams():
    assert len(FILES) > 30
