"""A base URL that is not quite right: each client's user reads in their own client what it should be."""

import anthropic
import httpx
import openai
import pytest
from claude_cli import ClaudeHome
from codex_cli import CodexHome
from cutting_proxy import CuttingProxy

OPENAI = "ends in one '/v1': http://HOST:PORT/v1"
ANTHROPIC = "is without '/v1': http://HOST:PORT"


@pytest.mark.parametrize("path", ["", "/", "/v1/v1", "/v1/responses", "/openai"])
def test_the_openai_sdk(server, path):
    """Its error is a 404 whose sentence names the base URL."""
    sdk = openai.OpenAI(base_url=server.url + path, api_key="not-a-key", max_retries=0)
    with pytest.raises(openai.NotFoundError) as raised:
        sdk.responses.create(model="m", input="Reply PONG")
    assert raised.value.code == "not_found" and OPENAI in raised.value.message


@pytest.mark.parametrize("path", ["/v1", "/v1/messages", "/anthropic"])
def test_the_anthropic_sdk(server, path):
    sdk = anthropic.Anthropic(base_url=server.url + path, api_key="not-a-key", max_retries=0)
    with pytest.raises(anthropic.NotFoundError) as raised:
        sdk.messages.create(model="m", max_tokens=100, messages=[{"role": "user", "content": "Reply PONG"}])
    assert raised.value.body["error"]["type"] == "not_found_error" and ANTHROPIC in raised.value.message


def test_chat_completions(server):
    """A program of another API is told which ones are spoken here."""
    for base in (server.url, server.v1):
        sdk = openai.OpenAI(base_url=base, api_key="not-a-key", max_retries=0)
        with pytest.raises(openai.NotFoundError) as raised:
            sdk.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
        assert "POST /v1/responses" in raised.value.message


@pytest.mark.parametrize("path", ["", "/v1/v1"])
def test_codex(directory, server, path):
    """Codex shows the sentence as it is, after one request."""
    with CuttingProxy(server.port) as proxy:
        run = CodexHome(directory / "user", proxy.url + path).exec("--json", "Reply PONG")
        assert run.status == 1 and proxy.requests == 1
    assert OPENAI in str(run.events[-1])


def test_claude_code(directory, server):
    """Claude Code shows the sentence, and not its own about a model that may not exist."""
    run = ClaudeHome(directory / "user", server.v1).ask("Reply PONG")
    assert run.status == 1
    assert ANTHROPIC in run.shown and "selected model" not in run.shown


def test_no_session_is_made(server):
    known = server.api.known()
    for path in ("/responses", "/v1/v1/responses", "/v1/v1/messages"):
        answer = httpx.post(f"{server.url}{path}", json={"model": "m", "input": "x", "messages": []})
        assert answer.status_code == 404 and "base URL" in answer.json()["error"]["message"]
    assert server.api.known() == known
