"""The `openai` client."""

import json
import time

import openai
import pytest

from conftest import (PROMPT_TOKENS, QUESTION, REPLY, REPLY_TOKENS, WEATHER_SCHEMA, fault, needs_metrics, needs_own_key,
                      needs_websocket, openai_client, scrape, simulator_requests)

MODEL = "gpt-5.4-mini"
WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": WEATHER_SCHEMA}}
CLOCK = {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}}


def ask(text=QUESTION):
    return [{"role": "user", "content": text}]


def test_buffered_with_usage():
    reply = openai_client().chat.completions.create(model=MODEL, messages=ask())
    assert reply.choices[0].message.content == REPLY
    assert reply.choices[0].finish_reason == "stop"
    assert reply.model == MODEL
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (PROMPT_TOKENS, REPLY_TOKENS)
    assert reply.usage.total_tokens == PROMPT_TOKENS + REPLY_TOKENS


@pytest.mark.parametrize("with_usage", [True, False])
def test_streaming(with_usage):
    options = {"stream_options": {"include_usage": True}} if with_usage else {}
    stream = openai_client().chat.completions.create(model=MODEL, messages=ask(), stream=True, **options)
    chunks = list(stream)
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert "".join(pieces) == REPLY
    assert len(pieces) > 1
    usages = [chunk.usage for chunk in chunks if chunk.usage]
    assert [usage.total_tokens for usage in usages] == ([PROMPT_TOKENS + REPLY_TOKENS] if with_usage else [])


def test_tool_call_and_its_result():
    client = openai_client()
    messages = ask("What is the weather in Paris?")
    reply = client.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER, CLOCK])
    message = reply.choices[0].message
    assert reply.choices[0].finish_reason == "tool_calls"
    [call] = message.tool_calls
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "city"}
    messages += [message, {"role": "tool", "tool_call_id": call.id, "content": "sunny, 24 degrees"}]
    reply = client.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER, CLOCK])
    assert reply.choices[0].message.content == "The tool answered: sunny, 24 degrees"


def test_tool_calls_streamed_in_parallel():
    messages = ask("Use the tools in parallel")
    with openai_client().chat.completions.stream(model=MODEL, messages=messages, tools=[WEATHER, CLOCK]) as stream:
        final = stream.get_final_completion()
    calls = final.choices[0].message.tool_calls
    assert [call.function.name for call in calls] == ["get_weather", "get_time"]
    assert [json.loads(call.function.arguments) for call in calls] == [{"city": "city"}, {}]
    results = [{"role": "tool", "tool_call_id": call.id, "content": call.function.name} for call in calls]
    assistant = {"role": "assistant", "tool_calls": [call.to_dict() for call in calls]}
    for call in assistant["tool_calls"]:
        call.pop("index", None)
        call["function"].pop("parsed_arguments", None)
    stream = openai_client().chat.completions.create(
        model=MODEL, messages=messages + [assistant] + results, stream=True
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert text == "The tool answered: get_weather; get_time"


def test_forced_tool():
    reply = openai_client().chat.completions.create(
        model=MODEL, messages=ask(), tools=[WEATHER, CLOCK],
        tool_choice={"type": "function", "function": {"name": "get_time"}})
    assert [call.function.name for call in reply.choices[0].message.tool_calls] == ["get_time"]


def test_unknown_model():
    with pytest.raises(openai.NotFoundError) as error:
        openai_client().chat.completions.create(model="unknown-model", messages=ask())
    assert (error.value.status_code, error.value.code) == (404, "model_not_found")


@needs_own_key
def test_invalid_key():
    with pytest.raises(openai.AuthenticationError) as error:
        openai_client("invalid").chat.completions.create(model=MODEL, messages=ask())
    assert (error.value.status_code, error.value.code) == (401, "invalid_api_key")


@pytest.mark.parametrize("status, kind", [
    (400, openai.BadRequestError), (401, openai.AuthenticationError), (403, openai.PermissionDeniedError),
    (429, openai.RateLimitError), (500, openai.InternalServerError), (503, openai.InternalServerError),
])
@pytest.mark.parametrize("stream", [False, True])
def test_errors_of_the_provider(status, kind, stream):
    headers = fault(f"status={status}; retry-after=7")
    with pytest.raises(kind) as error:
        openai_client().chat.completions.create(model=MODEL, messages=ask(), stream=stream, extra_headers=headers)
    assert error.value.status_code == status
    assert error.value.response.headers["retry-after"] == "7"


def test_fault_by_model_name():
    with pytest.raises(openai.RateLimitError):
        openai_client().chat.completions.create(model="fault-status-429", messages=ask())


def test_error_within_a_stream():
    stream = openai_client().chat.completions.create(
        model=MODEL, messages=ask(), stream=True, extra_headers=fault("error-after=3"))
    with pytest.raises(openai.APIError):
        list(stream)


def test_a_stream_that_is_cut_is_not_a_clean_end():
    stream = openai_client().chat.completions.create(
        model=MODEL, messages=ask(), stream=True, extra_headers=fault("cut=3; event-delay=10ms"))
    seen = []
    with pytest.raises(Exception):
        for chunk in stream:
            seen.append(chunk)
    assert 1 <= len(seen) <= 3


def test_cancellation():
    before = simulator_requests()
    client = openai_client()
    stream = client.chat.completions.create(
        model=MODEL, messages=ask(), stream=True, extra_headers=fault("events=100; event-delay=300ms"))
    for _, _chunk in zip(range(2), stream):
        pass
    stream.close()
    reply = client.chat.completions.create(model=MODEL, messages=ask())
    assert reply.choices[0].message.content == REPLY
    if before is not None:
        deadline = time.monotonic() + 10
        while simulator_requests()["cancelled"] == before["cancelled"]:
            assert time.monotonic() < deadline, "the provider did not see the client leave"
            time.sleep(0.02)


def test_unknown_fields_survive():
    reply = openai_client().chat.completions.create(
        model=MODEL, messages=ask(), extra_body={"x_new": {"b": 1, "a": 1.50}}, extra_headers={"x-simulator-echo": "1"})
    body = json.loads(json.loads(reply.choices[0].message.content)["body"])
    assert body["x_new"] == {"b": 1, "a": 1.5}


def test_structured_output():
    schema = {"type": "object", "properties": {"count": {"type": "integer"}}}
    response_format = {"type": "json_schema", "json_schema": {"name": "count", "schema": schema}}
    reply = openai_client().chat.completions.create(model=MODEL, messages=ask(), response_format=response_format)
    assert json.loads(reply.choices[0].message.content) == {"count": 1}


def test_embeddings():
    client = openai_client()
    base64 = client.embeddings.create(model="text-embedding-3-small", input=["one", "two"], dimensions=8)
    floats = client.embeddings.create(
        model="text-embedding-3-small", input=["one", "two"], dimensions=8, encoding_format="float")
    assert base64.usage.prompt_tokens == 2
    for ours, theirs in zip(base64.data, floats.data):
        assert ours.embedding == pytest.approx(theirs.embedding, abs=1e-6)
    assert base64.data[0].embedding != base64.data[1].embedding


def test_responses():
    client = openai_client()
    reply = client.responses.create(model="gpt-5", input=QUESTION)
    assert reply.output_text == REPLY
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (PROMPT_TOKENS, REPLY_TOKENS)
    with client.responses.stream(model="gpt-5", input=QUESTION) as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert "".join(deltas) == REPLY
    assert final.output_text == REPLY


def text_of(events):
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


def until_end(connection):
    """The events up to the last one of a response."""
    events = []
    for event in connection:
        events.append(event)
        if event.type in ("response.completed", "response.incomplete", "response.failed", "error"):
            return events
    raise AssertionError("the connection ended before the response")


@needs_websocket
def test_responses_over_websocket():
    with openai_client().responses.connect() as connection:
        def created(**fields):
            connection.send({"type": "response.create", "model": "gpt-5", "store": False, **fields})
            return until_end(connection)

        warm = created(input=ask("context"), generate=False)
        assert [event.type for event in warm] == ["response.created", "response.completed"]
        assert warm[-1].response.output == []
        first = created(input=QUESTION, previous_response_id=warm[-1].response.id)
        assert first[0].type == "response.created" and text_of(first) == REPLY
        assert first[-1].response.usage.output_tokens == REPLY_TOKENS
        second = created(input=QUESTION, previous_response_id=first[-1].response.id, stream_id="lane")
        assert second[-1].type == "response.completed" and text_of(second) == REPLY
        assert {event.stream_id for event in second} == {"lane"}
        [lost] = created(input=QUESTION, previous_response_id="resp_unknown")
        assert (lost.type, lost.status, lost.error.code) == ("error", 400, "previous_response_not_found")
        [wrong] = created(input=7)
        assert (wrong.type, wrong.status, wrong.error.type) == ("error", 400, "invalid_request_error")
        connection.response.steer(input="x", previous_response_id=first[-1].response.id)
        refused = connection.recv()
        assert (refused.type, refused.error.code) == ("response.steer.failed", "steering_not_supported")


@needs_websocket
def test_responses_over_websocket_with_an_error_of_the_provider():
    with openai_client().responses.connect(extra_headers=fault("status=429")) as connection:
        connection.send({"type": "response.create", "model": "gpt-5", "input": QUESTION})
        [error] = until_end(connection)
        assert (error.type, error.status) == ("error", 429)


def test_models():
    client = openai_client()
    assert "gpt-4o" in [model.id for model in client.models.list()]
    assert client.models.retrieve("gpt-4o").id == "gpt-4o"


def test_moderations():
    reply = openai_client().moderations.create(input="I will kill you")
    assert reply.results[0].flagged and reply.results[0].categories.violence


@needs_metrics
@pytest.mark.parametrize("stream", [False, True])
def test_tokens_are_counted(stream):
    before = [scrape(f"ai_{side}_tokens_total", llm="openai", model=MODEL) for side in ("prompt", "completion")]
    options = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    reply = openai_client().chat.completions.create(model=MODEL, messages=ask(), **options)
    if stream:
        list(reply)
    after = [scrape(f"ai_{side}_tokens_total", llm="openai", model=MODEL) for side in ("prompt", "completion")]
    assert [new - old for new, old in zip(after, before)] == [PROMPT_TOKENS, REPLY_TOKENS]
