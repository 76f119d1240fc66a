"""What a response was asked, as its own request had it: instructions, and how closely an image is to be looked at."""

import pytest
from files import PNG, base64_of
from scripts import script, text

IMAGE = {"type": "input_image", "image_url": f"data:image/png;base64,{base64_of(PNG)}"}


def told(sdk, id: str) -> list[str]:
    """The instructions in a response's input."""
    items = list(sdk.responses.input_items.list(id, order="asc", limit=100))
    assert not any(getattr(item, "role", None) == "system" for item in items[1:])
    return [item.content[0].text for item in items[:1] if getattr(item, "role", None) == "system"]


def test_instructions_are_the_response_s_own(sdk):
    """Each response shows the instructions that held in it, whatever was instructed before and since."""
    responses, previous = [], None
    for instructions in ("Pirate 1.", None, "Judge 2.", None, "Pirate 1."):
        responses.append(sdk.responses.create(
            model="m", input="Reply YES", instructions=instructions, previous_response_id=previous))
        previous = responses[-1].id
    assert [told(sdk, response.id) for response in responses] == [
        ["Pirate 1."], ["Pirate 1."], ["Judge 2."], ["Judge 2."], ["Pirate 1."]]
    assert [sdk.responses.retrieve(response.id).instructions for response in responses] == [
        "Pirate 1.", None, "Judge 2.", None, "Pirate 1."]


def test_instructions_that_came_later(sdk):
    """A conversation that began without any shows none there, and those that were added later where they hold."""
    first = sdk.responses.create(model="m", input="Reply ONE")
    second = sdk.responses.create(model="m", previous_response_id=first.id, input=[
        {"role": "developer", "content": "Answer in French."}, {"role": "user", "content": "Reply TWO"}])
    assert (told(sdk, first.id), told(sdk, second.id)) == ([], ["Answer in French."])


def test_instructions_behind_a_call(sdk):
    """Instructions that came with a function's output hold in the response that goes on, not in the one before."""
    tool = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}, "strict": False}
    first = sdk.responses.create(
        model="m", instructions="Pirate 1.", tools=[tool], input=script({"tool": "look", "args": {}}, text("seen")))
    [call] = [item for item in first.output if item.type == "function_call"]
    second = sdk.responses.create(
        model="m", instructions="Judge 2.", previous_response_id=first.id, tools=[tool],
        input=[{"type": "function_call_output", "call_id": call.call_id, "output": "a door"}])
    assert second.output_text == "seen"
    assert (told(sdk, first.id), told(sdk, second.id)) == (["Pirate 1."], ["Judge 2."])


def test_instructions_of_a_turn_that_waits(sdk):
    """What waits in line with other instructions changes nothing of what runs before it, also where it never begins."""
    running = sdk.responses.create(
        model="m", instructions="Pirate 1.", input=script({"shell": "sleep 3"}, text("done")), background=True)
    waiting = sdk.responses.create(
        model="m", instructions="Judge 2.", input="Reply TWO", previous_response_id=running.id, background=True)
    assert told(sdk, waiting.id) == ["Judge 2."]
    assert sdk.responses.cancel(waiting.id).status == "cancelled"
    after = sdk.responses.create(model="m", input="Reply THREE", previous_response_id=running.id)
    assert [told(sdk, response.id) for response in (running, after)] == [["Pirate 1."], ["Pirate 1."]]


@pytest.mark.parametrize("detail", ["low", "high", "original", "auto", None])
def test_detail_is_kept(sdk, detail):
    """An image's `detail` comes back as it was sent; one that was not sent is `auto`."""
    image = IMAGE if detail is None else {**IMAGE, "detail": detail}
    response = sdk.responses.create(
        model="m", input=[{"role": "user", "content": [{"type": "input_text", "text": "Reply SEEN"}, image]}])
    [item] = sdk.responses.input_items.list(response.id)
    assert item.content[1].detail == (detail or "auto") and item.content[1].image_url == IMAGE["image_url"]
