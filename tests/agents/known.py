"""What is known not to work yet, with reasons that docs/clients.md shows. A cell that passes has no place here."""

# Where the task can't be finished.
OVERRIDE = "The Backend's model refuses settings that the agent makes for its own, and the body is forwarded as it is."
INVOKE = "InvokeModel is served by `bedrock` alone."
THINKING = "The history has no reasoning, and thinking is not turned off when a picture stands behind a result."
FALLBACK = "Responses are not translated to Chat Completions for a server without them."
ORDER = "Mistral refuses the user's turn after a result, in which the agent puts the picture."
UNFINISHED = {
    OVERRIDE: {
        "claude-code": ["vertexclaude", "bedrock"],
        "gemini-cli": ["vertexai"],
        "opencode-anthropic": ["anthropic"],
        "opencode-openai": ["openai", "azureopenai"],
        "opencode-google": ["vertexai"],
        "opencode-compatible": ["openai", "azureopenai"],
        "qwen-code": ["openai", "azureopenai"],
    },
    INVOKE: {
        "claude-code-bedrock": ["openai", "azureopenai", "anthropic", "gemini", "vertexai", "vertexclaude",
                                "compatible", "chatonly", "mistral", "deepseek"],
    },
    THINKING: {"gemini-cli": ["vertexclaude"], "opencode-google": ["vertexclaude"]},
    FALLBACK: {
        "codex": ["chatonly"],
        "codex-code-mode": ["chatonly"],
        "codex-builtin": ["chatonly"],
        "opencode-openai": ["chatonly"],
    },
    ORDER: {"opencode-compatible": ["mistral"], "qwen-code": ["mistral"]},
}
# Where the task is finished, and the agent brings back no reasoning that the model signed.
NAMED = "The reply names the Backend's model. Claude Code keeps no reasoning of another model than it asked for."
UNSIGNED = "The reasoning's signature is on an empty part, and the agent brings back those of calls and texts."
WITHOUT_REASONING = {
    NAMED: {"claude-code": ["openai", "azureopenai", "gemini", "vertexai"]},
    UNSIGNED: {
        "gemini-cli": ["openai", "azureopenai", "anthropic", "bedrock"],
        "opencode-google": ["openai", "azureopenai", "anthropic", "bedrock"],
    },
}


def reasons(table, client, column):
    return [why for why, where in table.items() if column.name in where.get(client.name, [])]
