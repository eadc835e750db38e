"""Embeddings, rankings, lists of models and counts of tokens."""

import anthropic_rows
import boto3
import botocore.config
import cohere
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


RANKERS = {
    "compatible": "bge-reranker-v2-m3", "bedrock": "cohere.rerank-v3-5:0", "nova": "amazon.rerank-v1:0",
    "vertexai": "semantic-ranker-default@latest",
}
QUERY = "What is the capital of the United States?"
DOCUMENTS = ["Carson City is the capital of Nevada.", "Saipan is an island.",
             "Washington is the capital of the United States."]
# Of 450 documents one is about the query. No provider but Cohere's servers takes them in one request.
MANY = [f"number {number}" for number in range(449)] + [DOCUMENTS[2]]
ranking = only(*RANKERS)


@ranking
@pytest.mark.parametrize("documents", [DOCUMENTS, MANY], ids=["few", "many"])
@pytest.mark.parametrize("top", [None, 2], ids=["all", "best"])
def test_cohere_ranking(column, documents, top):
    client = cohere.ClientV2(api_key="client", base_url=column.url())
    asked = {} if top is None else {"top_n": top}
    reply = client.rerank(
        model=RANKERS[column.name], query=QUERY, documents=documents, request_options={"additional_headers": named()},
        **asked)
    assert len(reply.results) == (top or len(documents))
    assert documents[reply.results[0].index] == DOCUMENTS[2]
    scores = [result.relevance_score for result in reply.results]
    assert scores == sorted(scores, reverse=True) and scores[0] > 0.5
    assert len({result.index for result in reply.results}) == len(reply.results)


# botocore sends no name of a model with an `@`, as those of Google have.
@only("compatible", "bedrock", "nova")
def test_bedrock_agent_runtime_ranking(column):
    config = botocore.config.Config(retries={"total_max_attempts": 1})
    client = boto3.client("bedrock-agent-runtime", region_name="us-west-2", endpoint_url=column.url(), config=config,
                          aws_access_key_id="client", aws_secret_access_key="client")
    client.meta.events.register(
        "before-call.*", lambda params, **_: params["headers"].update(named()))
    sources = [{"type": "INLINE", "inlineDocumentSource": {"type": "TEXT", "textDocument": {"text": text}}}
               for text in DOCUMENTS]
    model = RANKERS[column.name]
    arn = f"arn:aws:bedrock:us-west-2::foundation-model/{model}" if column.name in ("bedrock", "nova") else model
    reply = client.rerank(
        queries=[{"type": "TEXT", "textQuery": {"text": QUERY}}], sources=sources,
        rerankingConfiguration={
            "type": "BEDROCK_RERANKING_MODEL",
            "bedrockRerankingConfiguration": {"numberOfResults": 2, "modelConfiguration": {"modelArn": arn}},
        })
    assert [result["index"] for result in reply["results"]] == [2, 0]


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
