"""The agents, with the settings that docs/clients.md shows. `{url}` in them is the URL of a route."""

import json
import pathlib
import sys
from dataclasses import dataclass, field

from columns import CHAT, GENERATE, MESSAGES, RESPONSES

SERVER = [sys.executable, str(pathlib.Path(__file__).with_name("mcp_server.py"))]
MCP = {"mcpServers": {"demo": {"command": SERVER[0], "args": SERVER[1:]}}}


@dataclass
class Client:
    name: str
    title: str
    package: str
    program: str
    dialect: str
    arguments: list
    # What a user sets: variables, and a file in the home directory with its content, text or JSON.
    environment: dict
    file: str = ""
    content: str | dict = ""
    # What only the test sets: the MCP server, and nothing that reports, updates or repeats.
    quiet: dict = field(default_factory=dict)
    more: str | dict = ""
    # A sentence for the manual.
    about: str = ""
    # Whether it sends back the reasoning of a task's earlier turns.
    keeps: bool = True
    # Whether it opens a WebSocket.
    socket: bool = False
    # The provider of `run --quick`.
    quick: str = ""

    def variables(self, url):
        return {name: value.replace("{url}", url) for name, value in self.environment.items()}

    def settings(self, url, more=True):
        """The content of the file, with or without what only the test sets."""
        if isinstance(self.content, str):
            return (self.content + (self.more if more else "")).replace("{url}", url)
        return json.dumps(merged(self.content, self.more or {} if more else {}), indent=2).replace("{url}", url)


def merged(one, other):
    """Both objects, at every depth."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return other
    return {**one, **{name: merged(one[name], value) if name in one else value for name, value in other.items()}}


CLAUDE = {
    "package": "@anthropic-ai/claude-code",
    "program": "claude",
    "dialect": MESSAGES,
    "arguments": ["--print", "{prompt}", "--dangerously-skip-permissions", "--strict-mcp-config", "--mcp-config",
                  json.dumps(MCP)],
    "quiet": {"IS_SANDBOX": "1", "DISABLE_TELEMETRY": "1", "DISABLE_AUTOUPDATER": "1", "DISABLE_ERROR_REPORTING": "1",
              "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "CLAUDE_CODE_MAX_RETRIES": "0"},
}

CODEX = {
    "package": "@openai/codex",
    "program": "codex",
    "dialect": RESPONSES,
    "arguments": ["exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "{prompt}"],
    "file": ".codex/config.toml",
    "more": f"""
[analytics]
enabled = false
[mcp_servers.demo]
command = {json.dumps(SERVER[0])}
args = {json.dumps(SERVER[1:])}
""",
}


def codex_provider(model):
    return {
        "environment": {"TOLLGATE_KEY": "any"},
        "content": f"""model = "{model}"
model_provider = "tollgate"
check_for_update_on_startup = false

[model_providers.tollgate]
name = "Tollgate"
base_url = "{{url}}/v1"
env_key = "TOLLGATE_KEY"
wire_api = "responses"
""",
        **CODEX,
        "more": "request_max_retries = 0\nstream_max_retries = 0\n" + CODEX["more"],
    }


def opencode(kind, base, model, provider=None):
    settings = {
        "$schema": "https://opencode.ai/config.json",
        "model": f"{kind}/{model}",
        "provider": {kind: {"options": {"baseURL": "{url}" + base, "apiKey": "any"}, **(provider or {})}},
    }
    return {
        "package": "opencode-ai",
        "program": "opencode",
        "arguments": ["run", "--auto", "{prompt}"],
        "environment": {},
        "file": ".config/opencode/opencode.json",
        "content": settings,
        "quiet": {"OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_MODELS_FETCH": "1",
                  "OPENCODE_DISABLE_SHARE": "1", "OPENCODE_DISABLE_LSP_DOWNLOAD": "1"},
        "more": {"autoupdate": False, "share": "disabled", "permission": {"*": "allow"},
                 "mcp": {"demo": {"type": "local", "command": SERVER}}},
    }


OTHER = {
    "npm": "@ai-sdk/openai-compatible",
    "name": "Tollgate",
    "models": {"any": {"name": "any", "attachment": True, "tool_call": True,
                       "modalities": {"input": ["text", "image"], "output": ["text"]}}},
}

CLIENTS = [
    Client(
        "claude-code",
        "Claude Code",
        environment={"ANTHROPIC_BASE_URL": "{url}", "ANTHROPIC_API_KEY": "any"},
        quick="vertexclaude",
        **CLAUDE,
    ),
    Client(
        "claude-code-bedrock",
        "Claude Code, Bedrock mode",
        about="It uses InvokeModel, which Tollgate serves at every provider.",
        environment={
            "CLAUDE_CODE_USE_BEDROCK": "1",
            "ANTHROPIC_BEDROCK_BASE_URL": "{url}",
            "CLAUDE_CODE_SKIP_BEDROCK_AUTH": "1",
            "AWS_REGION": "us-east-1",
            "ANTHROPIC_MODEL": "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        },
        quick="openai",
        **CLAUDE,
    ),
    Client(
        "codex",
        "Codex",
        about="A provider of its own, so that Codex tries no WebSocket.",
        quick="anthropic",
        **codex_provider("gpt-5.5"),
    ),
    Client(
        "codex-code-mode",
        "Codex, newest models",
        about="Codex puts all tools into an item of the input, and the model calls them in JavaScript.",
        quick="gemini",
        **codex_provider("gpt-6.2-sol"),
    ),
    Client(
        "codex-builtin",
        "Codex, built-in provider",
        about="Codex uses a WebSocket.",
        socket=True,
        environment={"OPENAI_API_KEY": "any"},
        content='model = "gpt-5.4"\nopenai_base_url = "{url}/v1"\ncheck_for_update_on_startup = false\n',
        quick="vertexai",
        **CODEX,
    ),
    Client(
        "gemini-cli",
        "Gemini CLI",
        "@google/gemini-cli",
        "gemini",
        GENERATE,
        ["--prompt", "{prompt}", "--yolo", "--skip-trust"],
        {"GOOGLE_GEMINI_BASE_URL": "{url}", "GEMINI_API_KEY": "any"},
        ".gemini/settings.json",
        {"security": {"auth": {"selectedType": "gemini-api-key"}}},
        more={
            "telemetry": {"enabled": False},
            "privacy": {"usageStatisticsEnabled": False},
            "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False},
            **MCP,
        },
        quick="mistral",
    ),
    Client(
        "opencode-anthropic",
        "opencode, Anthropic",
        dialect=MESSAGES,
        quick="compatible",
        **opencode("anthropic", "/v1", "claude-sonnet-4-5"),
    ),
    Client(
        "opencode-openai",
        "opencode, OpenAI",
        dialect=RESPONSES,
        quick="vertexclaude",
        **opencode("openai", "/v1", "gpt-5.1"),
    ),
    Client(
        "opencode-google",
        "opencode, Google",
        dialect=GENERATE,
        quick="nova",
        **opencode("google", "/v1beta", "gemini-2.5-pro"),
    ),
    Client(
        "opencode-compatible",
        "opencode, any model",
        dialect=CHAT,
        about="A provider for models that opencode does not know.",
        keeps=False,
        quick="deepseek",
        **opencode("tollgate", "/v1", "any", OTHER),
    ),
    Client(
        "qwen-code",
        "Qwen Code",
        "@qwen-code/qwen-code",
        "qwen",
        CHAT,
        ["{prompt}", "--yolo", "--auth-type", "openai"],
        {"OPENAI_BASE_URL": "{url}/v1", "OPENAI_API_KEY": "any", "OPENAI_MODEL": "qwen3.6-plus"},
        ".qwen/settings.json",
        {
            "security": {"auth": {"selectedType": "openai"}},
            "model": {"generationConfig": {"modalities": {"image": True}, "splitToolMedia": True}},
        },
        more={
            "telemetry": {"enabled": False},
            "privacy": {"usageStatisticsEnabled": False},
            "general": {"enableAutoUpdate": False},
            **MCP,
        },
        keeps=False,
        quick="anthropic",
    ),
]
