"""The provider columns, each a Backend with a model of its own: the agents keep the model that they ask for."""

from dataclasses import dataclass

CHAT, RESPONSES, MESSAGES, GENERATE, CONVERSE = "chat", "responses", "messages", "generate", "converse"
KEY = "authToken: {kind: Inline, inline: simulated}"


@dataclass(frozen=True)
class Column:
    name: str
    # What stands in the Backend below `ai.llm`, and the model as docs/clients.md shows it.
    backend: str
    model: str
    # The dialects that the provider speaks itself: such requests are forwarded as they are.
    native: frozenset
    # Whether the model takes pictures.
    sees: bool = True


def column(name, backend, model, *native, sees=True):
    return Column(name, backend, model, frozenset(native), sees)


def compatible(name, host, model, *native, sees=True):
    return column(name, f"{{host: {host}, port: 443, openai: {{model: {model}, {KEY}}}}}", model, *native, sees=sees)


def vertex(name, model, publisher, native):
    settings = f'projectId: agents, location: us-central1, apiVersion: v1, model: "{model}", publisher: {publisher}'
    return column(name, f"{{vertexai: {{{settings}, {KEY}}}}}", model, native)


def bedrock(name, model, *native):
    auth = "auth: {type: Secret, secretRef: {name: aws}}"
    return column(name, f'{{bedrock: {{region: us-east-1, model: "{model}", {auth}}}}}', model, *native)


COLUMNS = [
    column("openai", f"{{openai: {{model: gpt-5.5, {KEY}}}}}", "gpt-5.5", CHAT, RESPONSES),
    column(
        "azureopenai",
        "{azureopenai: {endpoint: agents.openai.azure.com, deploymentName: gpt-5.4, "
        f"apiVersion: 2025-04-01-preview, {KEY}}}}}",
        "gpt-5.4",
        CHAT,
        RESPONSES,
    ),
    column("anthropic", f"{{anthropic: {{model: claude-opus-4-8, {KEY}}}}}", "claude-opus-4-8", MESSAGES),
    column(
        "gemini",
        f"{{gemini: {{apiVersion: v1beta, model: gemini-3-flash-preview, {KEY}}}}}",
        "gemini-3-flash-preview",
        GENERATE,
    ),
    vertex("vertexai", "gemini-2.5-pro", "GOOGLE", GENERATE),
    vertex("vertexclaude", "claude-sonnet-4-5@20250929", "ANTHROPIC", MESSAGES),
    bedrock("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", MESSAGES, CONVERSE),
    bedrock("nova", "us.amazon.nova-2-lite-v1:0", CONVERSE),
    compatible("compatible", "vllm.example", "qwen3-vl-32b", CHAT, RESPONSES),
    compatible("chatonly", "llama.example", "gemma-3-27b", CHAT),
    compatible("mistral", "api.mistral.ai", "mistral-large-latest", CHAT),
    compatible("deepseek", "api.deepseek.com", "deepseek-reasoner", CHAT, sees=False),
]

HEAD = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: agents}}
spec:
  gatewayClassName: tollgate
  listeners:
  - {{name: http, protocol: HTTP, port: {port}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: aws}}
stringData: {{accessKey: AKIASIMULATED, secretKey: simulated-secret}}
"""

EACH = """
---
apiVersion: gateway.kgateway.dev/v1alpha1
kind: Backend
metadata: {{name: {name}}}
spec: {{type: AI, ai: {{llm: {backend}}}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}}}
spec:
  parentRefs: [{{name: agents}}]
  rules:
  - matches: [{{path: {{type: PathPrefix, value: /{name}}}}}]
    backendRefs: [{{group: gateway.kgateway.dev, kind: Backend, name: {name}}}]
"""


def manifests(port):
    """All of it for a Gateway on this port; a column is below the path of its name."""
    return HEAD.format(port=port) + "".join(EACH.format(name=each.name, backend=each.backend) for each in COLUMNS)
