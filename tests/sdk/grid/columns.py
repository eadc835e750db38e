"""The provider columns of the grid: `manifests/` has their Backends, each below a path of its name."""

import os
from dataclasses import dataclass

import pytest

BASE = os.environ.get("GRID_BASE_URL", "http://127.0.0.1:8080").rstrip("/")
VALIDATOR = os.environ.get("GRID_VALIDATOR_URL", "http://127.0.0.1:9100")
SIMULATOR = os.environ.get("GRID_SIMULATOR_URL", "http://127.0.0.1:9099")


@dataclass(frozen=True)
class Column:
    name: str
    # The model that talks, and the one that thinks.
    model: str
    thinker: str
    # The dialects that the provider speaks itself, by the names of rows: such requests are forwarded unchanged.
    native: frozenset
    # Path prefixes of Backends of other models, where the client's choice does not count.
    thinking_path: str = ""
    unknown_path: str = ""
    unknown: str = "unknown-model"
    # Bedrock calls it a bad request.
    unknown_status: int = 404

    def path(self, thinking=False, model=None):
        if model == self.unknown:
            return f"{self.unknown_path}/{self.name}"
        return f"{self.thinking_path if thinking else ''}/{self.name}"

    def url(self, **which):
        return BASE + self.path(**which)


def column(name, model, thinker, *native, **rest):
    return Column(name, model, thinker, frozenset(native), **rest)


CHAT, RESPONSES, MESSAGES, GENERATE, CONVERSE = "chat", "responses", "messages", "generate", "converse"

COLUMNS = [
    column("openai", "gpt-4.1", "gpt-5.4-mini", CHAT, RESPONSES),
    column(
        "azureopenai", "gpt-4.1", "gpt-5.4-mini", CHAT, RESPONSES, thinking_path="/thinking", unknown_path="/unknown"
    ),
    column("anthropic", "claude-sonnet-4-6", "claude-opus-4-7", MESSAGES),
    column("gemini", "gemini-2.5-flash", "gemini-3-flash-preview", GENERATE),
    column("vertexai", "gemini-2.5-flash", "gemini-2.5-flash", GENERATE, unknown_path="/unknown"),
    column(
        "vertexclaude", "claude-sonnet-4-5@20250929", "claude-sonnet-4-5@20250929", MESSAGES, unknown_path="/unknown"
    ),
    column(
        "bedrock",
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        MESSAGES,
        CONVERSE,
        unknown="anthropic.claude-unknown-v1:0",
        unknown_status=400,
    ),
    column(
        "nova",
        "amazon.nova-pro-v1:0",
        "us.amazon.nova-2-lite-v1:0",
        CONVERSE,
        unknown="amazon.nova-unknown-v1:0",
        unknown_status=400,
    ),
    column("compatible", "qwen3-32b", "qwen3-32b", CHAT, RESPONSES),
    column("mistral", "mistral-large-latest", "magistral-medium-latest", CHAT),
    column("deepseek", "deepseek-chat", "deepseek-reasoner", CHAT),
]
BY_NAME = {each.name: each for each in COLUMNS}


def only(*names):
    """For tests of a few columns."""
    return pytest.mark.parametrize("column", [BY_NAME[name] for name in names], ids=names)
