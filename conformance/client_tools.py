"""Programs with functions of their own: what they offer, and the loops in which they run them."""

from __future__ import annotations

import json
import uuid

from centaur_server import CentaurServer
from openai import OpenAI
from session_api import executions

WEATHER = {
    "type": "function", "name": "weather", "description": "The weather of a city.", "strict": True,
    "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
        "additionalProperties": False}}
CLOCK = {"type": "function", "name": "clock", "description": "The time.", "parameters": None}


def call(name: str, **arguments) -> dict:
    """A step of the script: the model calls a tool."""
    return {"tool": name, "args": arguments}


def calls(*steps: dict) -> dict:
    """A step in which the model calls several tools at once."""
    return {"calls": list(steps)}


def function_calls(response) -> list:
    return [item for item in response.output if item.type == "function_call"]


def output(asked, said) -> dict:
    return {"type": "function_call_output", "call_id": asked.call_id, "output": said}


class WaitingSession:
    """A session of its own for a turn that is to wait for its program's functions, by either API."""

    def __init__(self, server: CentaurServer, harness: str):
        self.server = server
        self.key = f"api:waits-{uuid.uuid4()}"
        self.headers = {"X-Centaur-Harness": harness, "X-Centaur-Thread-Key": self.key}

    @property
    def log(self) -> list[dict]:
        return self.server.api.events(self.key)

    @property
    def statuses(self) -> list[str]:
        return list(executions(self.log).values())


class Loop:
    """A program's loop around `/v1/responses`: asks, runs the functions that are called, tells what they said."""

    def __init__(self, sdk: OpenAI, *, streams: bool = False, stateless: bool = False, headers=None, tools=(WEATHER,),
                 **body):
        self.sdk, self.streams, self.stateless, self.tools = sdk, streams, stateless, list(tools)
        self.headers = headers or {}
        self.body = body
        self.asked: list[tuple[str, dict]] = []
        self.responses: list = []
        self.input: list = []

    def create(self, **body):
        body = {"model": "m", "tools": self.tools, "extra_headers": self.headers, **self.body, **body}
        if self.streams:
            with self.sdk.responses.stream(**body) as stream:
                for event in stream:
                    assert event.type != "response.failed", event
                response = stream.get_final_response()
        else:
            response = self.sdk.responses.create(**body)
        self.responses.append(response)
        return response

    def begin(self, prompt: str):
        self.input = [{"role": "user", "content": prompt}]
        return self.create(input=self.input)

    def tell(self, outputs: list[dict], **body):
        """Goes on with what the functions said: by the response's id, or with all that was said so far."""
        if self.stateless:
            self.input += [item.model_dump(exclude_none=True) for item in self.responses[-1].output] + outputs
            return self.create(input=self.input, **body)
        return self.create(input=outputs, previous_response_id=self.responses[-1].id, **body)

    def run(self, prompt: str, answer) -> str:
        response = self.begin(prompt)
        while asked := function_calls(response):
            assert response.status == "completed" and response.output[-1].type == "function_call"
            self.asked += [(item.name, json.loads(item.arguments)) for item in asked]
            response = self.tell([output(item, answer(item.name, json.loads(item.arguments))) for item in asked])
        return response.output_text
