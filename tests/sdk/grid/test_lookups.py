"""Embeddings, lists of models and counts of tokens."""

import anthropic_rows
import google_row
import openai_rows
import pytest
from clients import Row
from columns import COLUMNS, only
from google.genai import types

EMBEDDERS = {
    "openai": "text-embedding-3-small", "azureopenai": "text-embedding-3-small", "gemini": "gemini-embedding-001",
    "vertexai": "text-embedding-005", "bedrock": "amazon.titan-embed-text-v2:0", "nova": "cohere.embed-english-v3",
    "compatible": "bge-m3", "mistral": "mistral-embed",
}
# Bedrock lists its models elsewhere, and the Backends here name none.
UNLISTED = ("bedrock", "nova")
# Who counts tokens without answering.
COUNTING = ("openai", "anthropic", "vertexclaude", "gemini", "vertexai")
embedding = only(*EMBEDDERS)
VERSIONS = pytest.mark.parametrize("version", [None, "v1beta"], ids=["v1", "v1beta"])


def named():
    return {"x-simulator-grid-test": Row.test}


@embedding
@pytest.mark.parametrize("encoding", ["float", "base64"])
@pytest.mark.parametrize("many", [False, True], ids=["one", "several"])
def test_openai_embeddings(column, encoding, many):
    # The client decodes base64 itself, and requests it by default.
    asked = {"encoding_format": "float"} if encoding == "float" else {}
    texts = ["one", "two", "three"] if many else "one"
    reply = openai_rows.client(column.url()).embeddings.create(
        model=EMBEDDERS[column.name], input=texts, extra_headers=named(), **asked)
    vectors = [item.embedding for item in sorted(reply.data, key=lambda item: item.index)]
    assert len(vectors) == (3 if many else 1)
    assert len({len(vector) for vector in vectors}) == 1
    assert all(isinstance(number, float) for vector in vectors for number in vector)
    assert len(vectors) == 1 or vectors[0] != vectors[1]
    assert reply.usage.total_tokens >= reply.usage.prompt_tokens > 0


@only("openai", "azureopenai", "gemini", "vertexai", "bedrock", "compatible")
def test_openai_embeddings_of_a_size(column):
    reply = openai_rows.client(column.url()).embeddings.create(
        model=EMBEDDERS[column.name], input="one", dimensions=256, extra_headers=named())
    assert len(reply.data[0].embedding) == 256


@embedding
@VERSIONS
def test_gemini_embeddings(column, version):
    options = types.HttpOptions(headers=named())
    reply = google_row.client(column.url(), version).models.embed_content(
        model=EMBEDDERS[column.name], contents=["one", "two"], config=types.EmbedContentConfig(http_options=options))
    [first, second] = [item.values for item in reply.embeddings]
    assert len(first) == len(second) > 0
    assert first != second


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
class TestModels:
    def test_openai(self, column):
        models = openai_rows.client(column.url()).models.list(extra_headers=named()).data
        assert (models or column.name in UNLISTED) and all(model.id and model.object == "model" for model in models)

    def test_anthropic(self, column):
        models = anthropic_rows.client(column.url(), None).models.list(extra_headers=named()).data
        assert (models or column.name in UNLISTED) and all(model.id and model.type == "model" for model in models)

    @VERSIONS
    def test_gemini(self, column, version):
        config = types.ListModelsConfig(http_options=types.HttpOptions(headers=named()))
        models = list(google_row.client(column.url(), version).models.list(config=config))
        assert (models or column.name in UNLISTED) and all(model.name for model in models)


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
class TestCounts:
    QUESTION = "Explain how AI works in a few words"

    @pytest.mark.parametrize("version", [None, "2023-06-01"], ids=["2026-10-21", "2023-06-01"])
    def test_anthropic(self, column, version):
        raw = anthropic_rows.client(column.url(), version).messages.with_raw_response.count_tokens(
            model=column.model, messages=[{"role": "user", "content": self.QUESTION}], extra_headers=named())
        self.judge(column, raw.parse().input_tokens, raw.headers)

    def test_openai(self, column):
        client = openai_rows.client(column.url())
        raw = client.responses.input_tokens.with_raw_response.count(
            model=column.model, input=self.QUESTION, extra_headers=named())
        self.judge(column, raw.parse().input_tokens, raw.headers, ("azureopenai", "compatible"))

    @VERSIONS
    def test_gemini(self, column, version):
        config = types.CountTokensConfig(http_options=types.HttpOptions(headers=named()))
        reply = google_row.client(column.url(), version).models.count_tokens(
            model=column.model, contents=self.QUESTION, config=config)
        self.judge(column, reply.total_tokens, reply.sdk_http_response.headers)

    @staticmethod
    def judge(column, count, headers, native=()):
        """A count by the provider is the simulator's; an estimate is marked."""
        estimated = "x-tollgate-estimated" in {name.lower() for name in headers}
        assert estimated or count == 8
        assert 4 <= count <= 20
        assert column.name in ("bedrock", "nova") or estimated == (column.name not in (*COUNTING, *native))
