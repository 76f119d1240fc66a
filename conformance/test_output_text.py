"""What OpenAI's SDK takes for the answer: `output_text`, and the pieces that a program prints as they come."""

import uuid

import pytest
from conftest import make_sdk
from scripts import script, shell, text

SUMMARY = {"summary": "auto"}
WORK = script({"pre_text": "Let me look.", **shell("echo one")}, shell("echo two"), text("Found both."))


def summaries(response) -> str:
    return "\n".join(part.text for item in response.output if item.type == "reasoning" for part in item.summary)


@pytest.mark.parametrize("reasoning", [None, SUMMARY], ids=["without the work", "with the work"])
def test_it_is_what_the_agent_said(server, harness, reasoning):
    """`output_text` is the agent's own words, one thing apart from the next; its work is in the summary that was asked
    for, and nowhere else."""
    sdk = make_sdk(server, default_headers={"X-Centaur-Harness": harness})
    response = sdk.responses.create(model="m", input=WORK, reasoning=reasoning)
    assert response.output_text == "Let me look.\n\nFound both."
    assert [item.phase for item in response.output if item.type == "message"] == ["commentary", "final_answer"]
    if reasoning:
        for told in ("**Running a command**", "Ran `echo one` → exit 0", "two"):
            assert told in summaries(response), summaries(response)
    else:
        assert {item.type for item in response.output} == {"message"}


def test_printed_as_it_comes(server, harness):
    """Who prints each piece has printed `output_text`; the answer alone is its last message, unchanged."""
    sdk = make_sdk(server, default_headers={"X-Centaur-Harness": harness})
    with sdk.responses.stream(model="m", input=WORK, reasoning=SUMMARY) as stream:
        printed = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        response = stream.get_final_response()
    assert printed == response.output_text == "Let me look.\n\nFound both."
    assert response.output[-1].content[0].text == "Found both."


def test_the_work_of_commands_side_by_side(server, sdk):
    """Each command's outcome is told once, also where it runs on while something else is said."""
    answer = sdk.responses.create(model="m", reasoning=SUMMARY, input=script(shell("echo 1"), shell("exit 3"), text("ok")))
    assert answer.output_text == "ok"
    assert summaries(answer).count("Ran `") == 2 and "→ exit 3" in summaries(answer)
    ids = [item.id for item in answer.output]
    assert len(set(ids)) == len(ids)


def test_output_text_sent_back_is_known_again(server, sdk):
    """A program that asks for summaries and keeps nothing but `output_text` goes on in its session."""
    known = server.api.known()
    # Nobody else says the same.
    work = f"{WORK} {uuid.uuid4()}"
    first = sdk.responses.create(model="m", input=work, reasoning=SUMMARY)
    second = sdk.responses.create(model="m", reasoning=SUMMARY, input=[
        {"role": "user", "content": work}, {"role": "assistant", "content": first.output_text},
        {"role": "user", "content": script(text("{{history}}"))}])
    assert second.output_text == "2"
    assert len(server.api.known() - known) == 1
