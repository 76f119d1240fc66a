"""Conversations: contexts that a program opens by name, with the real OpenAI SDK's `client.conversations`."""

from __future__ import annotations

import httpx
import openai
import pytest
from centaur_server import until
from conftest import make_sdk, with_model
from files import PNG, base64_of
from scripts import COUNT, script, shell, text
from test_recovery import GATE, open_gate

HISTORY = script(text("{{history}} {{first}}"))


def words(item) -> str:
    return "".join(part.text for part in item.content)


def test_a_conversation(sdk, server):
    """Opened, looked at, changed, forgotten."""
    made = sdk.conversations.create(metadata={"topic": "demo"})
    assert made.id.startswith("conv_") and made.object == "conversation" and made.metadata == {"topic": "demo"}
    assert sdk.conversations.retrieve(made.id).to_dict() == made.to_dict()
    changed = sdk.conversations.update(made.id, metadata={"topic": "other"})
    assert (changed.id, changed.created_at, changed.metadata) == (made.id, made.created_at, {"topic": "other"})
    assert sdk.conversations.retrieve(made.id).metadata == {"topic": "other"}
    gone = sdk.conversations.delete(made.id)
    assert (gone.id, gone.deleted, gone.object) == (made.id, True, "conversation.deleted")
    for ask in (
        sdk.conversations.retrieve, sdk.conversations.delete, lambda id: sdk.conversations.update(id, metadata={}),
        lambda id: sdk.conversations.items.list(id),
        lambda id: sdk.conversations.items.create(id, items=[{"role": "user", "content": "x"}]),
        lambda id: sdk.conversations.items.retrieve("msg_a", conversation_id=id),
        lambda id: sdk.responses.create(model="m", input="x", conversation=id),
    ):
        with pytest.raises(openai.NotFoundError) as raised:
            ask(made.id)
        assert raised.value.code == "conversation_not_found"
    assert sdk.conversations.create().metadata == {}
    assert sdk.conversations.create(metadata=None).metadata == {}, "a null is none"


def test_responses_in_a_conversation(sdk, server):
    """Each response goes on where the last one ended, in one session, and says which conversation it is in."""
    conversation = sdk.conversations.create()
    keys = set()
    for number, name in enumerate((conversation.id, {"id": conversation.id}, conversation.id), 1):
        raw = sdk.responses.with_raw_response.create(
            model="m", conversation=name, input=script(shell(COUNT), text("{{stdout}} of {{history}}")))
        response = raw.parse()
        assert response.output_text == f"{number} of {number}"
        assert response.conversation.id == conversation.id
        assert sdk.responses.retrieve(response.id).conversation.id == conversation.id
        keys.add(raw.headers["x-centaur-thread-key"])
    assert len(keys) == 1
    roles = [item.role for item in sdk.conversations.items.list(conversation.id, order="asc")]
    assert roles == ["user", "assistant"] * 3
    # The first request's instructions are the session's, though the conversation was there before.
    other = sdk.conversations.create()
    told = sdk.responses.create(
        model="m", conversation=other.id, instructions="Pirate 4711.", input=script(text("{{instructions}}")))
    assert "Pirate 4711." in told.output_text


def test_items_before_the_first_response(sdk, server):
    """What a conversation is opened with is its history."""
    conversation = sdk.conversations.create(items=[
        {"role": "user", "content": "My name is Ada."}, {"role": "assistant", "content": "Noted."}])
    listed = list(sdk.conversations.items.list(conversation.id, order="asc"))
    assert [(item.role, words(item)) for item in listed] == [("user", "My name is Ada."), ("assistant", "Noted.")]
    response = sdk.responses.create(model="m", conversation=conversation.id, input=HISTORY)
    assert response.output_text == "2 My name is Ada."
    after = list(sdk.conversations.items.list(conversation.id, order="asc"))
    assert [item.id for item in after[:2]] == [item.id for item in listed], "an item keeps its id"
    assert [item.role for item in after] == ["user", "assistant", "user", "assistant"]
    assert after[3].id == response.output[-1].id


def test_items_between_responses(sdk, server):
    """What is added between responses is told with the next one, in a restarted server too."""
    conversation = sdk.conversations.create()
    sdk.responses.create(model="m", conversation=conversation.id, input="Reply ONE")
    added = sdk.conversations.items.create(conversation.id, items=[
        {"role": "user", "content": "My name is Ada."},
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "sunny"}])
    assert [item.type for item in added.data] == ["message", "function_call", "function_call_output"]
    assert (added.first_id, added.last_id, added.has_more) == (added.data[0].id, added.data[2].id, False)
    response = sdk.responses.create(model="m", conversation=conversation.id, input=script(text("{{history}}")))
    events = server.api.events(response_key(server, response.id))
    said = [part["text"] for event in events if event["kind"] == "message.appended" for part in event["payload"]["parts"]]
    assert said[1] == "My name is Ada." and "look" in said[2] and "sunny" in said[3]
    listed = list(sdk.conversations.items.list(conversation.id, order="asc"))
    assert [item.id for item in listed[2:5]] == [item.id for item in added.data]
    assert listed[3].name == "look" and listed[4].output == "sunny"
    assert len(listed) == 7


def test_items_that_a_cancelled_response_took_along(make_server, model):
    """It never began: what it took along is told with the response behind it, once, and listed once."""
    server = with_model(make_server, model)
    sdk = make_sdk(server)
    conversation = sdk.conversations.create()

    def ask(words: str):
        return sdk.responses.create(model="m", conversation=conversation.id, input=words, background=True)

    first = ask(script(shell(GATE), text("one")))
    key = response_key(server, first.id)
    server.api.wait(key, lambda event: event["kind"] == "item.started" and event["payload"]["type"] == "command")
    added = sdk.conversations.items.create(conversation.id, items=[
        {"role": "user", "content": "My name is Ada."}, {"role": "user", "content": "I am nobody."}])
    never = ask(script(text("never")))
    behind = ask("Reply TWO")
    assert sdk.responses.cancel(never.id).status == "cancelled"
    sdk.conversations.items.delete(added.data[1].id, conversation_id=conversation.id)
    open_gate(server, key)
    until(lambda: sdk.responses.retrieve(behind.id).status == "completed")
    assert sdk.responses.retrieve(behind.id).output_text == "TWO"
    told = str(model.requests()[-1]["body"]["input"])
    assert told.count("My name is Ada.") == 1 and "nobody" not in told and "never" not in told
    listed = [item.id for item in sdk.conversations.items.list(conversation.id, order="asc", limit=100)]
    assert listed.count(added.data[0].id) == 1


def response_key(server, id: str) -> str:
    return httpx.get(f"{server.v1}/responses/{id}").headers["x-centaur-thread-key"]


def test_items_by_pages(sdk, server):
    """Pages go over what was said and what waits without a gap, in both orders."""
    conversation = sdk.conversations.create(items=[{"role": "user", "content": f"{n}"} for n in range(20)])
    sdk.responses.create(model="m", conversation=conversation.id, input="Reply ONE")
    sdk.conversations.items.create(conversation.id, items=[{"role": "user", "content": "w"} for _ in range(3)])
    everything = [item.id for item in sdk.conversations.items.list(conversation.id, order="asc", limit=100)]
    assert len(set(everything)) == 25
    for limit in (1, 4, 24, 25):
        listed = [item.id for item in sdk.conversations.items.list(conversation.id, order="asc", limit=limit)]
        assert listed == everything
        assert [item.id for item in sdk.conversations.items.list(conversation.id, limit=limit)] == everything[::-1]
    assert len(sdk.conversations.items.list(conversation.id).data) == 20


def test_one_item(sdk, server):
    """An item is found by its id, whoever said it; one that is taken out is not shown again."""
    conversation = sdk.conversations.create(items=[{"role": "user", "content": "My name is Ada."}])
    response = sdk.responses.create(model="m", conversation=conversation.id, input="Reply ONE")
    sdk.conversations.items.create(conversation.id, items=[{"role": "user", "content": "Forget this."}])
    items = list(sdk.conversations.items.list(conversation.id, order="asc"))
    assert [words(item) for item in items] == ["My name is Ada.", "Reply ONE", "ONE", "Forget this."]
    for item in items:
        assert sdk.conversations.items.retrieve(item.id, conversation_id=conversation.id).to_dict() == item.to_dict()
    for item in (items[0], items[2], items[3]):
        shown = sdk.conversations.items.delete(item.id, conversation_id=conversation.id)
        assert (shown.id, shown.object) == (conversation.id, "conversation")
        for ask in (sdk.conversations.items.retrieve, sdk.conversations.items.delete):
            with pytest.raises(openai.NotFoundError) as raised:
                ask(item.id, conversation_id=conversation.id)
            assert raised.value.code == "item_not_found"
    assert [words(item) for item in sdk.conversations.items.list(conversation.id)] == ["Reply ONE"]
    assert sdk.responses.create(
        model="m", conversation=conversation.id, input=script(text("{{history}}"))).output_text == "3"
    with pytest.raises(openai.NotFoundError):
        sdk.conversations.items.retrieve(response.id, conversation_id=conversation.id)


def test_it_is_kept(make_server):
    """A conversation, what was said in it and what waits are there for the next server."""
    server = make_server()
    sdk = make_sdk(server)
    conversation = sdk.conversations.create(metadata={"a": "b"}, items=[{"role": "user", "content": "I am Ada."}])
    sdk.responses.create(model="m", conversation=conversation.id, input="Reply ONE")
    sdk.conversations.items.create(conversation.id, items=[{"role": "user", "content": "I am 36."}])
    server.stop()
    server.start()
    sdk = make_sdk(server)
    assert sdk.conversations.retrieve(conversation.id).metadata == {"a": "b"}
    items = [words(item) for item in sdk.conversations.items.list(conversation.id, order="asc")]
    assert items == ["I am Ada.", "Reply ONE", "ONE", "I am 36."]
    assert sdk.responses.create(model="m", conversation=conversation.id, input="Reply TWO").output_text == "TWO"


def test_what_is_kept_has_a_limit(make_server):
    """Items that wait and compacted conversations have `limits.kept` bytes; over it nothing is added, and a response that
    takes what waits makes room."""
    server = make_server({"limits": {"kept": "16KiB"}})
    sdk = make_sdk(server)

    def item(size: int) -> dict:
        return {"role": "user", "content": "x" * size}

    conversation = sdk.conversations.create(items=[item(6000)])

    def refused(ask) -> None:
        with pytest.raises(openai.APIStatusError) as raised:
            ask()
        assert (raised.value.status_code, raised.value.code) == (413, "kept_limit"), raised.value

    refused(lambda: sdk.conversations.items.create(conversation.id, items=[item(6000)]))
    refused(lambda: sdk.conversations.create(items=[item(6000)]))
    refused(lambda: sdk.responses.compact(model="m", input=[item(6000)]))
    assert len(list(sdk.conversations.items.list(conversation.id))) == 1
    other = sdk.conversations.create()
    assert sdk.responses.create(model="m", conversation=conversation.id, input="Reply ONE").output_text == "ONE"
    sdk.responses.compact(model="m", input=[item(3000)])
    sdk.conversations.items.create(other.id, items=[item(4000)])
    refused(lambda: sdk.conversations.items.create(other.id, items=[item(4000)]))
    sdk.conversations.delete(other.id)
    sdk.conversations.items.create(conversation.id, items=[item(4000)])


@pytest.mark.parametrize("body, param, code", [
    ({"items": [{"role": "user", "content": "x"}] * 21}, "items", "invalid_value"),
    ({"items": [{"role": "nobody", "content": "x"}]}, "items[0].role", "invalid_value"),
    ({"items": [{"role": "user"}]}, "items[0].content", "missing_field"),
    ({"items": "x"}, "items", "invalid_type"),
    ({"items": [{"type": "item_reference", "id": "msg_a"}]}, "items[0]", "unsupported"),
    ({"items": [{"role": "user", "content": [{"type": "input_image", "image_url": "http://127.0.0.1/x.png"}]}]},
     "items[0].content[0].image_url", "unsupported"),
    ({"items": [{"role": "user", "content": "x"}, {"type": "dance"}]}, "items[1].type", "invalid_value"),
    ({"items": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
     "items[0].content[0].type", "unsupported"),
    ({"items": [{"type": "function_call_output", "output": "x"}]}, "items[0].call_id", "missing_field"),
    ({"items": [{"type": "function_call", "call_id": "c", "name": "f"}]}, "items[0].arguments", "missing_field"),
    ({"items": [{"type": "reasoning", "id": "rs_1"}]}, "items[0].summary", "missing_field"),
    ({"items": [{"role": "assistant", "content": "x", "phase": "last"}]}, "items[0].phase", "invalid_value"),
    ({"metadata": []}, "metadata", "invalid_type"),
    ({"metadata": {"a": 1}}, "metadata.a", "invalid_type"),
    ({"metadata": {str(n): "" for n in range(17)}}, "metadata", "invalid_value"),
    ({"metadata": {"a": "x" * 513}}, "metadata.a", "invalid_value")])
def test_what_cannot_be(server, body, param, code):
    """Bad input is refused by its place."""
    paths = ["/conversations"]
    if "items" in body:
        paths.append(f"/conversations/{httpx.post(f'{server.v1}/conversations', json={}).json()['id']}/items")
    for path in paths:
        answer = httpx.post(f"{server.v1}{path}", json=body)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (400, code, param)


def test_items_come_back_as_they_were_sent(sdk, server):
    """Phase and detail are the client's, before a turn takes them and after."""
    image = {"type": "input_image", "image_url": f"data:image/png;base64,{base64_of(PNG)}", "detail": "high"}
    conversation = sdk.conversations.create(items=[
        {"role": "user", "content": [{"type": "input_text", "text": "look"}, image]},
        {"role": "assistant", "phase": "commentary", "content": "Looking."},
        {"role": "assistant", "phase": "final_answer", "content": "A dot."}])

    def shown() -> list[dict]:
        return [item.to_dict() for item in sdk.conversations.items.list(conversation.id, order="asc")][:3]

    before = shown()
    assert before[0]["content"][1] == image
    assert [item.get("phase") for item in before] == [None, "commentary", "final_answer"]
    sdk.responses.create(model="m", conversation=conversation.id, input="Reply ONE")
    assert shown() == before


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_page_is_no_larger_than_its_items_make_it(sdk, order):
    """Images are listed whole, so a page ends when it holds some megabytes, says that there are more, and is never empty;
    no item is missing, whatever its size, whether it waits or was taken."""
    def image(size: int) -> dict:
        return {"role": "user", "content": [
            {"type": "input_image", "image_url": f"data:image/png;base64,{'A' * size}"}]}

    small, large = 1_500_000, 6_000_000
    conversation = sdk.conversations.create(items=[image(n) for n in (small, small, small, small, large, small)])
    for state in ("waiting", "taken"):
        sizes = [len(item.content[0].image_url) for item in sdk.conversations.items.list(
            conversation.id, order=order, limit=100) if item.content[0].type == "input_image"]
        assert sorted(sizes) == sorted(len(image(n)["content"][0]["image_url"]) for n in [small] * 5 + [large])
        page = sdk.conversations.items.list(conversation.id, order=order, limit=100)
        seen = 0
        while True:
            assert page.data and sum(len(item.to_json()) for item in page.data[:-1]) < 4 << 20
            seen += len(page.data)
            if not page.has_more:
                break
            page = page.get_next_page()
        assert seen == (6 if state == "waiting" else 8)
        if state == "waiting":
            sdk.responses.create(model="m", conversation=conversation.id, input="Reply ONE", extra_headers={
                "X-Centaur-Harness": "codex-exec"})


def test_one_context(sdk, server):
    """A thread key that names another session than the conversation is refused."""
    conversation = sdk.conversations.create()
    with pytest.raises(openai.BadRequestError) as raised:
        sdk.responses.create(
            model="m", conversation=conversation.id, input="x", extra_headers={"X-Centaur-Thread-Key": "api:other"})
    assert (raised.value.code, raised.value.param) == ("mutually_exclusive_parameters", "conversation")
    for wrong in (5, {"name": "x"}):
        answer = httpx.post(f"{server.v1}/responses", json={"model": "m", "input": "x", "conversation": wrong})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "conversation")
