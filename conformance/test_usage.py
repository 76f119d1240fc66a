"""What was written to a provider's cache is counted, from the model's answer through each harness to both dialects."""

from conftest import make_anthropic, make_sdk
from scripts import script, shell, text

USAGE = {"input_tokens": 9000, "cached_tokens": 5000, "cache_write_tokens": 3000, "output_tokens": 40}
TURN = script({**shell("echo hi"), "usage": {**USAGE, "cache_write_tokens": 700}}, text("done", usage=USAGE))


def test_responses(server, harness):
    """OpenAI's SDK has the last call's cache writes beside what was read; the bill has all of them."""
    sdk = make_sdk(server, default_headers={"X-Centaur-Harness": harness})
    raw = sdk.responses.with_raw_response.create(model="m", input=TURN)
    usage = raw.parse().usage
    assert (usage.input_tokens, usage.input_tokens_details.cached_tokens) == (9000, 5000)
    assert usage.input_tokens_details.cache_write_tokens == 3000
    bill = raw.http_response.json()["centaur_usage"]
    assert bill["last"]["cache_write_input_tokens"] == 3000 and bill["sum"]["cache_write_input_tokens"] == 3700
    [told] = [event["payload"]["usage"] for event in server.api.events(raw.headers["x-centaur-thread-key"])
              if event["kind"] == "execution.completed"]
    assert told == bill


def test_messages(server, harness):
    """Anthropic's SDK has them as `cache_creation_input_tokens`; the three parts are the whole input."""
    sdk = make_anthropic(server, default_headers={"X-Centaur-Harness": harness})
    message = sdk.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": TURN}])
    usage = message.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (1000, 5000, 3000)
