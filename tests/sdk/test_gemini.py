"""The `google-genai` client."""

import time

import pytest
from google.genai import errors, types

from conftest import (GATEWAY, GEMINI_MODEL, PROMPT_TOKENS, QUESTION, REPLY, REPLY_TOKENS, gemini_client, needs_metrics,
                      needs_own_key, scrape, simulator_requests)

CITY = {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}}
TOOLS = types.Tool(function_declarations=[
    types.FunctionDeclaration(name="get_weather", parameters=CITY),
    types.FunctionDeclaration(name="get_time"),
])


def generate(client, contents=QUESTION, **config):
    return client.models.generate_content(
        model=GEMINI_MODEL, contents=contents, config=types.GenerateContentConfig(**config))


def test_buffered_with_usage():
    reply = generate(gemini_client())
    assert reply.text == REPLY
    assert reply.model_version == GEMINI_MODEL
    assert reply.candidates[0].finish_reason == types.FinishReason.STOP
    usage = reply.usage_metadata
    assert (usage.prompt_token_count, usage.candidates_token_count) == (PROMPT_TOKENS, REPLY_TOKENS)


def test_streaming():
    chunks = list(gemini_client().models.generate_content_stream(model=GEMINI_MODEL, contents=QUESTION))
    pieces = [chunk.text for chunk in chunks if chunk.text]
    assert "".join(pieces) == REPLY
    assert len(pieces) > 1
    assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP
    assert chunks[-1].usage_metadata.total_token_count == PROMPT_TOKENS + REPLY_TOKENS


def results(reply, what):
    calls = [part.function_call for part in reply.candidates[0].content.parts if part.function_call]
    parts = [types.Part.from_function_response(name=call.name, response={"output": what(call)}) for call in calls]
    return calls, [reply.candidates[0].content, types.Content(role="user", parts=parts)]


def test_tool_call_and_its_result():
    client = gemini_client()
    contents = [types.Content(role="user", parts=[types.Part(text="What is the weather in Paris?")])]
    reply = generate(client, contents, tools=[TOOLS])
    [call], turns = results(reply, lambda _: "sunny, 24 degrees")
    assert (call.name, call.args) == ("get_weather", {"city": "city"})
    assert generate(client, contents + turns, tools=[TOOLS]).text == "The tool answered: sunny, 24 degrees"


def test_tool_calls_streamed_in_parallel():
    contents = [types.Content(role="user", parts=[types.Part(text="Use the tools in parallel")])]
    config = types.GenerateContentConfig(tools=[TOOLS])
    client = gemini_client()
    stream = client.models.generate_content_stream(model=GEMINI_MODEL, contents=contents, config=config)
    parts = [part for chunk in stream for part in chunk.candidates[0].content.parts if part.function_call]
    assert [part.function_call.name for part in parts] == ["get_weather", "get_time"]
    answers = [types.Part.from_function_response(name=part.function_call.name, response={"output": "done"})
               for part in parts]
    contents += [types.Content(role="model", parts=parts), types.Content(role="user", parts=answers)]
    stream = client.models.generate_content_stream(model=GEMINI_MODEL, contents=contents, config=config)
    assert "".join(chunk.text or "" for chunk in stream) == "The tool answered: done; done"


def test_forced_tool():
    calling = types.FunctionCallingConfig(mode="ANY", allowed_function_names=["get_time"])
    tool_config = types.ToolConfig(function_calling_config=calling)
    reply = generate(gemini_client(), tools=[TOOLS], tool_config=tool_config)
    assert [call.name for call in reply.function_calls] == ["get_time"]


@pytest.mark.skipif(GATEWAY, reason="the Backend of the example names the model")
def test_unknown_model():
    with pytest.raises(errors.ClientError) as error:
        gemini_client().models.generate_content(model="unknown-model", contents=QUESTION)
    assert (error.value.code, error.value.status) == (404, "NOT_FOUND")


@needs_own_key
def test_invalid_key():
    with pytest.raises(errors.ClientError) as error:
        generate(gemini_client("invalid"))
    assert (error.value.code, error.value.status) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize("status, kind, name", [
    (400, errors.ClientError, "INVALID_ARGUMENT"), (403, errors.ClientError, "PERMISSION_DENIED"),
    (404, errors.ClientError, "NOT_FOUND"), (429, errors.ClientError, "RESOURCE_EXHAUSTED"),
    (500, errors.ServerError, "INTERNAL"), (503, errors.ServerError, "UNAVAILABLE"),
])
@pytest.mark.parametrize("stream", [False, True])
def test_errors_of_the_provider(status, kind, name, stream):
    client = gemini_client(fault=f"status={status}; retry-after=7")
    with pytest.raises(kind) as error:
        if stream:
            list(client.models.generate_content_stream(model=GEMINI_MODEL, contents=QUESTION))
        else:
            generate(client)
    assert (error.value.code, error.value.status) == (status, name)
    assert error.value.details["error"]["details"][0]["retryDelay"] == "7s"


def test_error_within_a_stream():
    stream = gemini_client(fault="error-after=3").models.generate_content_stream(model=GEMINI_MODEL, contents=QUESTION)
    with pytest.raises(errors.APIError):
        list(stream)


def test_a_stream_that_is_cut_is_not_a_clean_end():
    client = gemini_client(fault="cut=3; event-delay=10ms")
    stream = client.models.generate_content_stream(model=GEMINI_MODEL, contents=QUESTION)
    seen = []
    with pytest.raises(Exception):
        for chunk in stream:
            seen.append(chunk)
    assert not any(chunk.candidates and chunk.candidates[0].finish_reason for chunk in seen)


def test_cancellation():
    before = simulator_requests()
    slow = gemini_client(fault="events=100; event-delay=300ms")
    stream = slow.models.generate_content_stream(model=GEMINI_MODEL, contents=QUESTION)
    for _, _chunk in zip(range(2), stream):
        pass
    stream.close()
    assert generate(gemini_client()).text == REPLY
    if before is not None:
        deadline = time.monotonic() + 10
        while simulator_requests()["cancelled"] == before["cancelled"]:
            assert time.monotonic() < deadline, "the provider did not see the client leave"
            time.sleep(0.02)


def test_structured_output():
    schema = {"type": "OBJECT", "properties": {"count": {"type": "INTEGER"}}}
    reply = generate(gemini_client(), response_mime_type="application/json", response_schema=schema)
    assert reply.parsed == {"count": 1}


def test_count_tokens():
    assert gemini_client().models.count_tokens(model=GEMINI_MODEL, contents=QUESTION).total_tokens == PROMPT_TOKENS


def test_embeddings():
    config = types.EmbedContentConfig(output_dimensionality=8)
    reply = gemini_client().models.embed_content(model="gemini-embedding-001", contents=["one", "two"], config=config)
    assert [len(embedding.values) for embedding in reply.embeddings] == [8, 8]


def test_models():
    assert f"models/{GEMINI_MODEL}" in [model.name for model in gemini_client().models.list()]


@needs_metrics
@pytest.mark.parametrize("stream", [False, True])
def test_tokens_are_counted(stream):
    before = [scrape(f"ai_{side}_tokens_total", llm="gemini", model=GEMINI_MODEL) for side in ("prompt", "completion")]
    if stream:
        list(gemini_client().models.generate_content_stream(model=GEMINI_MODEL, contents=QUESTION))
    else:
        generate(gemini_client())
    after = [scrape(f"ai_{side}_tokens_total", llm="gemini", model=GEMINI_MODEL) for side in ("prompt", "completion")]
    assert [new - old for new, old in zip(after, before)] == [PROMPT_TOKENS, REPLY_TOKENS]
