"""What is known not to work yet, with reasons that docs/clients.md shows. A cell that passes has no place here."""

# Where the task can't be finished.
INVOKE = "InvokeModel is served by `bedrock` alone."
ORDER = "Mistral refuses the user's turn after a result, in which the agent puts the picture."
LATER = "The agent puts instructions between the turns, and the Backend's model takes them in `system` alone."
UNFINISHED = {
    LATER: {"claude-code": ["vertexclaude", "bedrock"]},
    INVOKE: {
        "claude-code-bedrock": ["openai", "azureopenai", "anthropic", "gemini", "vertexai", "vertexclaude",
                                "compatible", "chatonly", "mistral", "deepseek"],
    },
    ORDER: {"opencode-compatible": ["mistral"], "qwen-code": ["mistral"]},
}
# Where the task is finished, and the agent brings back no reasoning that the model signed.
WITHOUT_REASONING = {}


def reasons(table, client, column):
    return [why for why, where in table.items() if column.name in where.get(client.name, [])]
