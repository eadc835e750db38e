"""Checks requests to providers against the vendors' own SDK types.

`complaints(request)` is the whole interface. The SDKs' types are meant for writing requests, so they are made stricter
here. An unknown key is an error at every level, as it is for the vendors' servers, and no value is converted.
"""

import base64
import binascii
import functools
import json
import re
import types as builtin
import typing
import urllib.parse
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import botocore.session
import botocore.validate
import pydantic
import typing_extensions
from anthropic.types import message_count_tokens_params, message_create_params
from google.genai import types as genai
from openai.types import embedding_create_params, moderation_create_params
from openai.types.chat import completion_create_params
from openai.types.responses import input_token_count_params, response_create_params
from typing_extensions import Annotated, Any, Literal, NotRequired, Required, TypedDict, Union

CLOSED = pydantic.ConfigDict(extra="forbid", strict=True)
# Servers that are compatible with OpenAI have fields of their own.
OPEN = pydantic.ConfigDict(extra="allow", strict=True)
ANTHROPIC_VERSIONS = {"vertex": "vertex-2023-10-16", "bedrock": "bedrock-2023-05-31"}


@dataclass
class Request:
    host: str
    path: str
    headers: dict
    body: object

    @property
    def url_path(self):
        return self.path.partition("?")[0]


def complaints(request):
    """What is wrong with a request, one line each; empty when its vendor would take it."""
    try:
        check = vendor(request.host)
        # The SDK of Google warns of values that its enums do not have.
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check(request)
        return []
    except pydantic.ValidationError as error:
        return readable(error.errors(include_url=False, include_input=False))
    except (UserWarning, ValueError, KeyError) as error:
        return [f"{type(error).__name__}: {error}"]


def readable(errors):
    """Removes the errors of union branches with another `type` or `role`, because pydantic reports all branches."""
    other = {e["loc"][:-1] for e in errors if e["type"] in ("literal_error", "missing", "list_type", "string_type")}
    reported = [e for e in errors if not any(e["loc"][:len(branch)] == branch for branch in other if branch)] or errors
    return [".".join(re.sub(r".*\[.*", "*", str(part)) for part in e["loc"]) + ": " + e["msg"] for e in reported[:12]]


def vendor(host):
    if host == "discoveryengine.googleapis.com":
        return discovery_engine
    if host.startswith("bedrock-runtime."):
        return bedrock
    if host.endswith("aiplatform.googleapis.com") or host.endswith(".rep.googleapis.com"):
        return vertex
    for name, check in {"generativelanguage.googleapis.com": gemini, "api.anthropic.com": anthropic,
                        "api.openai.com": openai, ".openai.azure.com": openai}.items():
        if host.endswith(name):
            return check
    return compatible


# The SDKs' TypedDicts as types that pydantic checks to the end.


# Fields that the SDK's types require and the API does not. OpenAI compares the id of a reasoning item with the one in
# its encrypted content, and accepts an item without an id. Clients that store nothing remove the ids.
OPTIONAL = {("ResponseReasoningItemParam", "id")}


class Closing:
    """Rewrites a type so that it is strict.

    Unknown keys are errors. `Iterable`, which pydantic would check only when it is read, becomes a list. Values that
    JSON cannot hold, such as files and the SDK's own response objects, are removed from unions.
    """

    def __init__(self, config):
        self.config = config
        self.known = {}

    def of(self, kind):
        if kind in (Any, object):
            return Any
        if kind in (str, int, float, bool, type(None)):
            return kind
        if typing_extensions.is_typeddict(kind):
            return self.typed_dict(kind)
        origin, arguments = typing_extensions.get_origin(kind), typing_extensions.get_args(kind)
        if isinstance(kind, typing_extensions.TypeAliasType):
            return self.of(kind.__value__)
        if origin is Literal:
            return kind
        if origin in (Required, NotRequired):
            inner = self.of(arguments[0])
            return None if inner is None else origin[inner]
        if origin is Annotated:
            return self.of(arguments[0])
        if origin in (Union, builtin.UnionType):
            members = [self.of(a) for a in arguments]
            left = tuple(m for m in members if m is not None)
            return Union[left] if left else None
        if origin is dict or getattr(origin, "__name__", "") in ("Mapping", "MutableMapping"):
            return dict[str, self.of(arguments[1])]
        if origin in (list, Iterable) or getattr(origin, "__name__", "") in ("Sequence", "SequenceNotStr"):
            inner = self.of(arguments[0])
            return None if inner is None else list[inner]
        return dict if kind is dict else None

    def typed_dict(self, kind, without=(), more=None):
        if kind in self.known and not without and more is None:
            return self.known[kind]
        # A type within itself (a schema, a filter) is any object there.
        self.known.setdefault(kind, dict[str, Any])
        fields = {}
        for name, hint in typing_extensions.get_type_hints(kind, include_extras=True).items():
            if name in without:
                continue
            needed = typing_extensions.get_origin(hint) is Required or (
                name in kind.__required_keys__ and typing_extensions.get_origin(hint) is not NotRequired)
            needed = needed and (kind.__name__, name) not in OPTIONAL
            inside = typing_extensions.get_origin(hint) in (Required, NotRequired)
            bare = typing_extensions.get_args(hint)[0] if inside else hint
            inner = self.of(bare)
            if inner is not None:
                fields[alias(bare) or name] = (Required if needed else NotRequired)[inner]
        closed = TypedDict(kind.__name__, {**fields, **(more or {})}, total=False)
        closed.__pydantic_config__ = self.config
        if not without and more is None:
            self.known[kind] = closed
        return closed

    def checker(self, *kinds, without=(), more=None):
        return pydantic.TypeAdapter(Union[tuple(self.typed_dict(kind, without, more) for kind in kinds)])


def alias(hint):
    """The key on the wire, where it is another than in Python (`PropertyInfo(alias=...)`)."""
    found = [getattr(extra, "alias", None) for extra in typing_extensions.get_args(hint)[1:]]
    return next((name for name in found if isinstance(name, str)), None) if \
        typing_extensions.get_origin(hint) is Annotated else None


@functools.cache
def checker(module, name, config="closed", without=(), more=()):
    closing = Closing(CLOSED if config == "closed" else OPEN)
    return closing.checker(
        getattr(module, name), without=without, more={key: NotRequired[kind] for key, kind in more} or None
    )


def streaming(module, name, body, **rest):
    return checker(module, name + ("Streaming" if body.get("stream") else "NonStreaming"), **rest)


# OpenAI, Azure and the compatible servers.


class Rerank(pydantic.BaseModel):
    """The arguments of `rerank` of Cohere's client, which has no types for requests."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)
    model: str
    query: str
    documents: list[str]
    top_n: int | None = None
    max_tokens_per_doc: int | None = None
    priority: int | None = None


def openai(request, config="closed"):
    path, body = request.url_path, request.body
    if path.endswith("/chat/completions"):
        kind = streaming(completion_create_params, "CompletionCreateParams", body, config=config)
    elif path.endswith("/responses"):
        kind = streaming(response_create_params, "ResponseCreateParams", body, config=config)
    elif path.endswith("/responses/input_tokens"):
        kind = checker(input_token_count_params, "InputTokenCountParams", config=config)
    elif path.endswith("/embeddings"):
        kind = checker(embedding_create_params, "EmbeddingCreateParams", config=config)
    elif path.endswith("/moderations"):
        kind = checker(moderation_create_params, "ModerationCreateParams", config=config)
    elif path.endswith("/rerank"):
        kind = pydantic.TypeAdapter(Rerank)
    else:
        raise ValueError(f"no endpoint of OpenAI: {path}")
    kind.validate_python(body)


def compatible(request):
    # Mistral and DeepSeek have values and content of their own, and no SDK here. Their parts are removed.
    body = json.loads(json.dumps(request.body))
    if "mistral" in request.host and body.get("tool_choice") == "any":
        body["tool_choice"] = "required"
    for message in body.get("messages", []):
        content = message.get("content")
        if isinstance(content, list):
            message["content"] = [part for part in content if part.get("type") != "thinking"] or ""
    openai(Request(request.host, request.path, request.headers, body), config="open")


# Anthropic, at home and elsewhere.

# What the types of version 2026-10-21 do not have any more.
SAMPLING = (("temperature", float), ("top_p", float), ("top_k", int))


def anthropic(request):
    body, version = request.body, request.headers.get("anthropic-version")
    if version not in ("2023-06-01", "2026-10-21"):
        raise ValueError(f"no version of the API: {version}")
    more = SAMPLING if version == "2023-06-01" else ()
    if request.url_path.endswith("/messages/count_tokens"):
        checker(message_count_tokens_params, "MessageCountTokensParams").validate_python(body)
    elif request.url_path.endswith("/messages"):
        streaming(message_create_params, "MessageCreateParams", body, more=more).validate_python(body)
    else:
        raise ValueError(f"no endpoint of Anthropic: {request.url_path}")


def hosted_claude(body, where, more):
    if body.get("anthropic_version") != ANTHROPIC_VERSIONS[where]:
        raise ValueError(f"anthropic_version: {body.get('anthropic_version')}")
    streaming(message_create_params, "MessageCreateParams", body, without=("model",),
              more=(*SAMPLING, ("anthropic_version", str), *more)).validate_python(body)


# Google.


class GeminiModel(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", alias_generator=pydantic.alias_generators.to_camel)


class GenerationConfig(genai.GenerationConfig):
    # The client writes it there, and the type for reading does not have it.
    image_config: genai.ImageConfig | None = None


class Generate(GeminiModel):
    contents: list[genai.Content]
    systemInstruction: genai.Content | None = None
    tools: list[genai.Tool] | None = None
    toolConfig: genai.ToolConfig | None = None
    safetySettings: list[genai.SafetySetting] | None = None
    generationConfig: GenerationConfig | None = None
    cachedContent: str | None = None
    serviceTier: str | None = None


class VertexGenerate(Generate):
    labels: dict[str, str] | None = None


class GeminiCount(GeminiModel):
    contents: list[genai.Content] | None = None
    generateContentRequest: dict | None = None


class VertexCount(VertexGenerate):
    pass


class Embed(GeminiModel):
    model: str
    content: genai.Content
    taskType: str | None = None
    title: str | None = None
    outputDimensionality: int | None = None


class EmbedBatch(GeminiModel):
    requests: list[Embed]


class Instance(GeminiModel):
    content: str
    task_type: str | None = None
    title: str | None = None
    mimeType: str | None = None


class Predict(GeminiModel):
    instances: list[Instance]
    parameters: dict | None = None


def google(request, kinds):
    verb = request.url_path.rpartition(":")[2]
    if verb not in kinds:
        raise ValueError(f"no verb of Google: {request.url_path}")
    # From JSON, since images are base64 there. Google takes both spellings of a name, and its client writes both.
    kinds[verb].model_validate_json(json.dumps(request.body), by_name=True, by_alias=True)


def gemini(request):
    google(request, {"generateContent": Generate, "streamGenerateContent": Generate, "countTokens": GeminiCount,
                     "embedContent": Embed, "batchEmbedContents": EmbedBatch})
    counted = request.body.get("generateContentRequest")
    if counted is not None:
        inner = {key: value for key, value in counted.items() if key != "model"}
        Generate.model_validate_json(json.dumps(inner), by_name=True, by_alias=True)


def vertex(request):
    if "/publishers/anthropic/" not in request.url_path:
        return google(request, {"generateContent": VertexGenerate, "streamGenerateContent": VertexGenerate,
                                "countTokens": VertexCount, "predict": Predict, "embedContent": Embed})
    body = request.body
    if "/count-tokens:" in request.url_path:
        return checker(message_count_tokens_params, "MessageCountTokensParams",
                       more=(("anthropic_version", str),)).validate_python(body)
    if body.get("stream", False) is not request.url_path.endswith(":streamRawPredict"):
        raise ValueError(f"stream: {body.get('stream')} at {request.url_path}")
    return hosted_claude(body, "vertex", ())


class Record(pydantic.BaseModel):
    model_config = CLOSED
    id: str
    title: str | None = None
    content: str | None = None


class Rank(pydantic.BaseModel):
    """`RankRequest` of `google-cloud-discoveryengine`, as its REST transport writes it."""

    model_config = CLOSED
    model: str
    query: str
    records: list[Record] = pydantic.Field(min_length=1, max_length=200)
    topN: int | None = None
    ignoreRecordDetailsInResponse: bool | None = None
    userLabels: dict[str, str] | None = None


def discovery_engine(request):
    if not re.fullmatch(r"/v1/projects/[^/]+/locations/[^/]+/rankingConfigs/[^/]+:rank", request.url_path):
        raise ValueError(f"no method of Discovery Engine: {request.url_path}")
    Rank.model_validate(request.body)


# Bedrock: botocore's model of the service.


@functools.cache
def bedrock_shape(operation):
    model = botocore.session.Session().get_service_model("bedrock-runtime")
    return model.operation_model(operation).input_shape


OPERATIONS = {"converse": "Converse", "converse-stream": "ConverseStream", "count-tokens": "CountTokens"}


class Titan(pydantic.BaseModel):
    model_config = CLOSED
    inputText: str
    dimensions: int | None = None
    normalize: bool | None = None
    embeddingTypes: list[str] | None = None


class Cohere(pydantic.BaseModel):
    model_config = CLOSED
    texts: list[str]
    input_type: Literal["search_document", "search_query", "classification", "clustering"]
    embedding_types: list[str] | None = None
    truncate: str | None = None
    output_dimension: int | None = None


class AmazonRerank(pydantic.BaseModel):
    model_config = CLOSED
    query: str
    documents: list[str] = pydantic.Field(min_length=1, max_length=1000)
    top_n: int | None = None


class CohereRerank(AmazonRerank):
    api_version: Literal[2]
    max_tokens_per_doc: int | None = None


def bedrock(request):
    [_, root, model, operation] = request.url_path.split("/")
    model = urllib.parse.unquote(model)
    if root != "model":
        raise ValueError(f"no path of Bedrock: {request.url_path}")
    if operation in OPERATIONS:
        shape = bedrock_shape(OPERATIONS[operation])
        found = []
        params = decoded({"modelId": model, **request.body}, shape, "", found)
        report = botocore.validate.ParamValidator().validate(params, shape)
        if report.has_errors():
            found.append(report.generate_report())
        if found:
            raise ValueError("; ".join(found))
    elif "titan-embed" in model:
        Titan.model_validate(request.body)
    elif "rerank" in model:
        (CohereRerank if "cohere" in model else AmazonRerank).model_validate(request.body)
    elif "embed" in model:
        Cohere.model_validate(request.body)
    elif "stream" in request.body:
        raise ValueError("stream: Bedrock has it in the path")
    else:
        hosted_claude(request.body, "bedrock", (("anthropic_beta", list[str]),))


def decoded(value, shape, where, found):
    """The value with its blobs decoded; what botocore does not check (enums, patterns) is checked here."""
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict) and not getattr(shape, "is_document_type", False):
        return {key: decoded(item, shape.members[key], f"{where}.{key}", found) if key in shape.members else item
                for key, item in value.items()}
    if kind == "list" and isinstance(value, list):
        return [decoded(item, shape.member, f"{where}[{n}]", found) for n, item in enumerate(value)]
    if kind == "map" and isinstance(value, dict):
        return {key: decoded(item, shape.value, f"{where}.{key}", found) for key, item in value.items()}
    if kind == "blob" and isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except binascii.Error as error:
            found.append(f"{where}: no base64: {error}")
    if kind == "string" and isinstance(value, str):
        words, pattern = getattr(shape, "enum", None), shape.metadata.get("pattern")
        if words and value not in words:
            found.append(f"{where}: {value!r} is none of {words}")
        if pattern and "\\p" not in pattern and not re.fullmatch(pattern, value, re.DOTALL):
            found.append(f"{where}: {value!r} is not of {pattern}")
    return value
