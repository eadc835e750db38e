"""The `anthropic` client."""

import time

import anthropic
import pytest

from conftest import (PROMPT_TOKENS, QUESTION, REPLY, REPLY_TOKENS, WEATHER_SCHEMA, anthropic_client, fault,
                      needs_metrics, needs_own_key, scrape, simulator_requests)

MODEL = "claude-sonnet-4-6"
WEATHER = {"name": "get_weather", "input_schema": WEATHER_SCHEMA}
CLOCK = {"name": "get_time", "input_schema": {"type": "object", "properties": {}}}


def ask(text=QUESTION):
    return {"model": MODEL, "max_tokens": 200, "messages": [{"role": "user", "content": text}]}


def test_buffered_with_usage():
    reply = anthropic_client().messages.create(**ask())
    assert [block.text for block in reply.content] == [REPLY]
    assert (reply.stop_reason, reply.model) == ("end_turn", MODEL)
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (PROMPT_TOKENS, REPLY_TOKENS)


def test_streaming():
    with anthropic_client().messages.stream(**ask()) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert "".join(pieces) == REPLY
    assert len(pieces) > 1
    assert final.content[0].text == REPLY
    assert (final.usage.input_tokens, final.usage.output_tokens) == (PROMPT_TOKENS, REPLY_TOKENS)


def results(message, what):
    calls = [block for block in message.content if block.type == "tool_use"]
    blocks = [{"type": "tool_result", "tool_use_id": call.id, "content": what(call)} for call in calls]
    content = [block.model_dump(include={"type", "id", "name", "input"}) for block in calls]
    return calls, [{"role": "assistant", "content": content}, {"role": "user", "content": blocks}]


def test_tool_call_and_its_result():
    client = anthropic_client()
    request = ask("What is the weather in Paris?") | {"tools": [WEATHER, CLOCK]}
    reply = client.messages.create(**request)
    assert reply.stop_reason == "tool_use"
    [call], turns = results(reply, lambda _: "sunny, 24 degrees")
    assert (call.name, call.input) == ("get_weather", {"city": "city"})
    request["messages"] += turns
    assert client.messages.create(**request).content[0].text == "The tool answered: sunny, 24 degrees"


def test_tool_calls_streamed_in_parallel():
    client = anthropic_client()
    request = ask("Use the tools in parallel") | {"tools": [WEATHER, CLOCK]}
    with client.messages.stream(**request) as stream:
        final = stream.get_final_message()
    calls, turns = results(final, lambda call: call.name)
    assert [(call.name, call.input) for call in calls] == [("get_weather", {"city": "city"}), ("get_time", {})]
    request["messages"] += turns
    with client.messages.stream(**request) as stream:
        assert stream.get_final_text() == "The tool answered: get_weather; get_time"


def test_forced_tool():
    reply = anthropic_client().messages.create(
        **ask(), tools=[WEATHER, CLOCK], tool_choice={"type": "tool", "name": "get_time"})
    assert [block.name for block in reply.content] == ["get_time"]


def test_unknown_model():
    with pytest.raises(anthropic.NotFoundError) as error:
        anthropic_client().messages.create(**ask() | {"model": "unknown-model"})
    assert error.value.status_code == 404
    assert error.value.body["error"]["type"] == "not_found_error"


@needs_own_key
def test_invalid_key():
    with pytest.raises(anthropic.AuthenticationError) as error:
        anthropic_client("invalid").messages.create(**ask())
    assert error.value.status_code == 401


@pytest.mark.parametrize("status, kind", [
    (400, anthropic.BadRequestError), (401, anthropic.AuthenticationError), (403, anthropic.PermissionDeniedError),
    (429, anthropic.RateLimitError), (500, anthropic.InternalServerError), (529, anthropic.APIStatusError),
])
@pytest.mark.parametrize("stream", [False, True])
def test_errors_of_the_provider(status, kind, stream):
    with pytest.raises(kind) as error:
        anthropic_client().messages.create(
            **ask(), stream=stream, extra_headers=fault(f"status={status}; retry-after=7"))
    assert error.value.status_code == status
    assert error.value.response.headers["retry-after"] == "7"


def test_fault_by_model_name():
    with pytest.raises(anthropic.RateLimitError):
        anthropic_client().messages.create(**ask() | {"model": "fault-status-429"})


def test_error_within_a_stream():
    stream = anthropic_client().messages.create(**ask(), stream=True, extra_headers=fault("error-after=5"))
    with pytest.raises(anthropic.APIStatusError):
        list(stream)


def test_a_stream_that_is_cut_is_not_a_clean_end():
    stream = anthropic_client().messages.create(
        **ask(), stream=True, extra_headers=fault("cut=5; event-delay=10ms"))
    seen = []
    with pytest.raises(Exception):
        for event in stream:
            seen.append(event)
    assert "message_stop" not in [event.type for event in seen]


def test_cancellation():
    before = simulator_requests()
    client = anthropic_client()
    stream = client.messages.create(**ask(), stream=True, extra_headers=fault("events=100; event-delay=300ms"))
    for _, _event in zip(range(2), stream):
        pass
    stream.close()
    assert client.messages.create(**ask()).content[0].text == REPLY
    if before is not None:
        deadline = time.monotonic() + 10
        while simulator_requests()["cancelled"] == before["cancelled"]:
            assert time.monotonic() < deadline, "the provider did not see the client leave"
            time.sleep(0.02)


def test_count_tokens():
    request = ask()
    del request["max_tokens"]
    assert anthropic_client().messages.count_tokens(**request).input_tokens == PROMPT_TOKENS


def test_models():
    client = anthropic_client()
    assert MODEL in [model.id for model in client.models.list()]
    assert client.models.retrieve(MODEL).id == MODEL


def test_the_older_version_of_the_api():
    """Clients before 2.0 send the key as x-api-key and the version of 2023."""
    headers = {"anthropic-version": "2023-06-01", "x-api-key": "sk-ant-test", "authorization": anthropic.Omit()}
    reply = anthropic_client().messages.create(**ask(), extra_headers=headers, extra_body={"temperature": 0.5})
    assert reply.content[0].text == REPLY


@needs_metrics
@pytest.mark.parametrize("stream", [False, True])
def test_tokens_are_counted(stream):
    before = [scrape(f"ai_{side}_tokens_total", llm="anthropic", model=MODEL) for side in ("prompt", "completion")]
    reply = anthropic_client().messages.create(**ask(), stream=stream)
    if stream:
        list(reply)
    after = [scrape(f"ai_{side}_tokens_total", llm="anthropic", model=MODEL) for side in ("prompt", "completion")]
    assert [new - old for new, old in zip(after, before)] == [PROMPT_TOKENS, REPLY_TOKENS]
