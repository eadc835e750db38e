"""The validator's own judgement: what each vendor takes, and what it must not let pass."""

import pytest
from vendors import Request, complaints

HI = [{"role": "user", "content": "hi"}]
BEDROCK = "bedrock-runtime.us-east-1.amazonaws.com"
VERTEX = "us-central1-aiplatform.googleapis.com"
CLAUDE = "/v1/projects/p/locations/l/publishers/anthropic/models/m:rawPredict"
GEMINI = "generativelanguage.googleapis.com"
GENERATE = "/v1beta/models/m:generateContent"
OLD = {"anthropic-version": "2023-06-01"}
NEW = {"anthropic-version": "2026-10-21"}
CONVERSE = "/model/m%3A0/converse"
BLOCKS = [{"role": "user", "content": [{"text": "hi"}]}]
CONTENTS = [{"role": "user", "parts": [{"text": "hi"}]}]

GOOD = [
    ("api.openai.com", "/v1/chat/completions", {"model": "m", "messages": HI}, {}),
    ("vllm.example", "/v1/chat/completions", {"model": "m", "messages": HI, "top_k": 3}, {}),
    ("api.openai.com", "/v1/responses", {"model": "m", "input": [{"role": "user", "content": "hi"}]}, {}),
    ("api.anthropic.com", "/v1/messages", {"model": "m", "max_tokens": 1, "temperature": 1, "messages": HI}, OLD),
    (VERTEX, CLAUDE, {"anthropic_version": "vertex-2023-10-16", "max_tokens": 1, "messages": HI}, {}),
    (GEMINI, GENERATE, {"contents": CONTENTS, "generationConfig": {"maxOutputTokens": 1}}, {}),
    (BEDROCK, CONVERSE, {"messages": BLOCKS, "inferenceConfig": {"maxTokens": 1}}, {}),
]
BAD = [
    (
        "a message of no known role",
        "api.openai.com",
        "/v1/chat/completions",
        {"model": "m", "messages": [{"role": "model", "content": "hi"}]},
        {},
    ),
    (
        "another server's field",
        "api.openai.com",
        "/v1/chat/completions",
        {"model": "m", "messages": HI, "top_k": 3},
        {},
    ),
    (
        "another server's field, deep down",
        "api.openai.com",
        "/v1/chat/completions",
        {"model": "m", "messages": [{"role": "assistant", "content": "hi", "reasoning_content": "hm"}]},
        {},
    ),
    (
        "a number as text",
        "vllm.example",
        "/v1/chat/completions",
        {"model": "m", "messages": HI, "temperature": "1"},
        {},
    ),
    (
        "arguments that are no text",
        "api.openai.com",
        "/v1/responses",
        {"model": "m", "input": [{"type": "function_call", "call_id": "1", "name": "f", "arguments": {}}]},
        {},
    ),
    ("no limit", "api.anthropic.com", "/v1/messages", {"model": "m", "messages": HI}, NEW),
    (
        "a setting that is gone",
        "api.anthropic.com",
        "/v1/messages",
        {"model": "m", "max_tokens": 1, "temperature": 1, "messages": HI},
        NEW,
    ),
    ("no version", "api.anthropic.com", "/v1/messages", {"model": "m", "max_tokens": 1, "messages": HI}, {}),
    (
        "a model that stands in the path",
        VERTEX,
        CLAUDE,
        {"anthropic_version": "vertex-2023-10-16", "model": "m", "max_tokens": 1, "messages": HI},
        {},
    ),
    ("an unknown field", GEMINI, GENERATE, {"contents": CONTENTS, "stream": True}, {}),
    (
        "an unknown word",
        GEMINI,
        GENERATE,
        {"contents": CONTENTS, "generationConfig": {"thinkingConfig": {"thinkingLevel": "SOME"}}},
        {},
    ),
    (
        "an image that is not base64",
        GEMINI,
        GENERATE,
        {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": "?"}}]}]},
        {},
    ),
    ("an unknown field", BEDROCK, CONVERSE, {"messages": BLOCKS, "max_tokens": 1}, {}),
    (
        "two members of a union",
        BEDROCK,
        CONVERSE,
        {"messages": [{"role": "user", "content": [{"text": "hi", "cachePoint": {"type": "default"}}]}]},
        {},
    ),
    ("a role that there is not", BEDROCK, CONVERSE, {"messages": [{"role": "tool", "content": [{"text": "hi"}]}]}, {}),
    (
        "a blob that is not base64",
        BEDROCK,
        CONVERSE,
        {"messages": [{"role": "user", "content": [{"image": {"format": "png", "source": {"bytes": "?"}}}]}]},
        {},
    ),
]


@pytest.mark.parametrize("host, path, body, headers", GOOD, ids=lambda value: value if isinstance(value, str) else "")
def test_a_vendor_takes(host, path, body, headers):
    assert complaints(Request(host, path, headers, body)) == []


@pytest.mark.parametrize(
    "why, host, path, body, headers", BAD, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_vendor_refuses(why, host, path, body, headers):
    assert complaints(Request(host, path, headers, body))
