"""What Open Responses 2026-04-24 asks of each event, item and response object, in rules of our own: they hold where its
schema is not at hand, and beside it where it is.

A test of the suite compares them with the schema (`test_the_rules_are_the_specifications`).
"""

from __future__ import annotations

NULL = type(None)
NUMBER = (int, float)
# Members of a response: what each may be. All of them are there always.
RESPONSE = {
    "id": str, "object": str, "created_at": int, "completed_at": (int, NULL), "status": str,
    "incomplete_details": (dict, NULL), "model": str, "previous_response_id": (str, NULL), "instructions": (str, NULL),
    "output": list, "error": (dict, NULL), "tools": list, "tool_choice": (str, dict), "truncation": str,
    "parallel_tool_calls": bool, "text": dict, "top_p": NUMBER, "presence_penalty": NUMBER, "frequency_penalty": NUMBER,
    "top_logprobs": int, "temperature": NUMBER, "reasoning": (dict, NULL), "usage": (dict, NULL),
    "max_output_tokens": (int, NULL), "max_tool_calls": (int, NULL), "store": bool, "background": bool,
    "service_tier": str, "metadata": dict, "safety_identifier": (str, NULL), "prompt_cache_key": (str, NULL),
}
ITEM_PLACE = {"item_id": str, "output_index": int}
# Members of an event beside `type` and `sequence_number`.
EVENTS = {
    **{f"response.{state}": {"response": dict} for state in (
        "created", "queued", "in_progress", "completed", "failed", "incomplete")},
    "response.output_item.added": {"output_index": int, "item": dict},
    "response.output_item.done": {"output_index": int, "item": dict},
    "response.content_part.added": {**ITEM_PLACE, "content_index": int, "part": dict},
    "response.content_part.done": {**ITEM_PLACE, "content_index": int, "part": dict},
    "response.output_text.delta": {**ITEM_PLACE, "content_index": int, "delta": str, "logprobs": list},
    "response.output_text.done": {**ITEM_PLACE, "content_index": int, "text": str, "logprobs": list},
    "response.reasoning_summary_part.added": {**ITEM_PLACE, "summary_index": int, "part": dict},
    "response.reasoning_summary_part.done": {**ITEM_PLACE, "summary_index": int, "part": dict},
    "response.reasoning_summary_text.delta": {**ITEM_PLACE, "summary_index": int, "delta": str},
    "response.reasoning_summary_text.done": {**ITEM_PLACE, "summary_index": int, "text": str},
    "response.function_call_arguments.delta": {**ITEM_PLACE, "delta": str},
    "response.function_call_arguments.done": {**ITEM_PLACE, "arguments": str},
}
ITEMS = {
    "message": {"id": str, "status": str, "role": str, "content": list},
    "reasoning": {"id": str, "summary": list},
    "function_call": {"id": str, "call_id": str, "name": str, "arguments": str, "status": str},
    "function_call_output": {"id": str, "call_id": str, "output": (str, list), "status": str},
    "compaction": {"id": str, "encrypted_content": str},
}
STATUSES = {
    "response.created": ("in_progress", "queued"), "response.queued": ("queued",), "response.in_progress": ("in_progress",),
    "response.completed": ("completed",), "response.failed": ("failed",), "response.incomplete": ("incomplete",)}


def check_event(event: dict) -> None:
    if event["type"].startswith("centaur:"):
        return
    assert event["type"] in EVENTS, event
    has(event, {"sequence_number": int, **EVENTS[event["type"]]})
    if "response" in event:
        check_response(event["response"])
        assert event["response"]["status"] in STATUSES[event["type"]], event
    if "item" in event:
        check_item(event["item"])
    part = event.get("part")
    if part is not None:
        has(part, {"type": str, "text": str})
        assert part["type"] == ("output_text" if "content_index" in event else "summary_text"), event
        if part["type"] == "output_text":
            has(part, {"annotations": list, "logprobs": list})


def check_response(response: dict) -> None:
    has(response, RESPONSE)
    assert response["object"] == "response"
    assert response["truncation"] in ("auto", "disabled")
    assert (response["status"] == "failed") == (response["error"] is not None), response["error"]
    # A cancelled one, which the specification has no event for, says why in the same place.
    assert (response["status"] in ("incomplete", "cancelled")) == (response["incomplete_details"] is not None)
    assert (response["completed_at"] is not None) == (response["status"] == "completed")
    if response["error"] is not None:
        has(response["error"], {"code": str, "message": str})
    if response["incomplete_details"] is not None:
        has(response["incomplete_details"], {"reason": str})
    if response["reasoning"] is not None:
        has(response["reasoning"], {"effort": (str, NULL), "summary": (str, NULL)})
    for tool in response["tools"]:
        has(tool, {"type": str, "name": str, "description": (str, NULL), "parameters": (dict, NULL),
                   "strict": (bool, NULL)})
    form = response["text"]["format"]
    if form["type"] == "json_schema":
        has(form, {"name": str, "description": (str, NULL), "schema": NULL, "strict": bool})
    for item in response["output"]:
        check_item(item)
    if response["usage"] is not None:
        usage = response["usage"]
        has(usage, {"input_tokens": int, "output_tokens": int, "total_tokens": int, "input_tokens_details": dict,
                    "output_tokens_details": dict})
        has(usage["input_tokens_details"], {"cached_tokens": int, "cache_write_tokens": int})
        has(usage["output_tokens_details"], {"reasoning_tokens": int})


def check_item(item: dict) -> None:
    if ":" in item["type"]:
        return has(item, {"id": str, "status": str})
    has(item, ITEMS[item["type"]])
    if "status" in item:
        assert item["status"] in ("in_progress", "completed", "incomplete"), item
    assert item.get("phase", "commentary") in ("commentary", "final_answer"), item


def has(value: dict, members: dict) -> None:
    for name, types in members.items():
        assert name in value, f"'{name}' is missing: {value}"
        types = types if isinstance(types, tuple) else (types,)
        assert isinstance(value[name], types), f"'{name}' is {value[name]!r}"
        assert bool in types or not isinstance(value[name], bool), f"'{name}' is {value[name]!r}"


def check_compaction(body: dict) -> None:
    """What `POST /v1/responses/compact` answers."""
    has(body, {"id": str, "object": str, "created_at": int, "output": list, "usage": dict})
    assert body["object"] == "response.compaction"
    for item in body["output"]:
        check_item(item)


def check_socket_error(message: dict) -> None:
    """An error as a WebSocket says it."""
    has(message, {"type": str, "status": int, "error": dict})
    has(message["error"], {"type": str, "code": str, "message": str})
    assert message["type"] == "error" and isinstance(message["error"].get("param"), (str, NULL))
