"""Tools of other kinds than functions, at providers that have only those."""

import json

import pytest
from clients import Row
from columns import CHAT, RESPONSES
from openai_rows import client

streaming = pytest.mark.parametrize("stream", [False, True], ids=["buffered", "streamed"])

CUSTOM = {"name": "run", "description": "Runs a program."}
ZONE = {"type": "object", "properties": {"zone": {"type": "string", "enum": ["utc", "local"]}}, "required": ["zone"]}
CLOCK = {
    "type": "namespace", "name": "mcp__clock", "description": "Time.",
    "tools": [
        {"type": "function", "name": "get_time", "description": "The time.", "parameters": ZONE, "strict": False},
    ],
}


def headers():
    return {"x-simulator-grid-test": Row.test}


@streaming
def test_custom_tools_and_namespaces(column, stream):
    """A loop of Responses as Codex has it, with a custom tool and a tool of an MCP server."""
    if RESPONSES in column.native:
        pytest.skip("forwarded as it is")
    tools = [{"type": "custom", **CUSTOM}, CLOCK]

    def ask(history):
        request = {"model": column.model, "input": history, "tools": tools, "store": False, "extra_headers": headers()}
        responses = client(column.url()).responses
        if not stream:
            return responses.create(**request)
        inputs = {}
        with responses.stream(**request) as events:
            for event in events:
                if event.type == "response.custom_tool_call_input.delta":
                    inputs[event.item_id] = inputs.get(event.item_id, "") + event.delta
                if event.type == "response.custom_tool_call_input.done":
                    assert inputs.get(event.item_id, "") == event.input
            return events.get_final_response()

    history = [{"role": "user", "content": "Use the tools in parallel"}]
    [custom, function] = [item for item in ask(history).output if item.type.endswith("_call")]
    assert (custom.type, custom.name) == ("custom_tool_call", "run") and custom.input
    assert (function.type, function.name, function.namespace) == ("function_call", "get_time", "mcp__clock")
    assert json.loads(function.arguments) == {"zone": "utc"}
    history += [item.model_dump(exclude_none=True) for item in (custom, function)]
    history += [
        {"type": "custom_tool_call_output", "call_id": custom.call_id, "output": "it ran"},
        {"type": "function_call_output", "call_id": function.call_id, "output": "noon"},
    ]
    assert ask(history).output_text == "The tool answered: it ran; noon"


@streaming
def test_custom_tools_of_chat(column, stream):
    if CHAT in column.native:
        pytest.skip("forwarded as it is")
    request = {
        "model": column.model,
        "messages": [{"role": "user", "content": "Use the tools in parallel"}],
        "tools": [{"type": "custom", "custom": CUSTOM}],
        "extra_headers": headers(),
    }
    completions = client(column.url()).chat.completions
    if stream:
        deltas = [
            call
            for chunk in completions.create(stream=True, **request)
            for choice in chunk.choices
            for call in choice.delta.tool_calls or []
        ]
        assert (deltas[0].type, deltas[0].custom["name"]) == ("custom", "run")
        assert "".join(delta.custom["input"] for delta in deltas)
    else:
        [call] = completions.create(**request).choices[0].message.tool_calls
        assert (call.type, call.custom.name) == ("custom", "run") and call.custom.input
