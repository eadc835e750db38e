"""Anthropic Messages: at Anthropic, on Vertex AI, and on Bedrock in the frames of InvokeModel."""

import base64

from conversation import Call, Conversation, Result, Tool
from wire import compact, event, frame, pieces, signature


def blocks(content):
    return [{"type": "text", "text": content}] if isinstance(content, str) else content or []


def texts(content):
    return "\n".join(block["text"] for block in blocks(content) if block["type"] == "text")


def pictures(content):
    return [base64.b64decode(block["source"]["data"], validate=True) for block in blocks(content)
            if block["type"] == "image"]


def read(request):
    body = request.body
    said, calls, images, results = [], [], [], {}
    for message in body["messages"]:
        content = message["content"]
        if message["role"] == "user":
            said.append(texts(content))
            images += pictures(content)
        for block in blocks(content):
            if block["type"] == "tool_use":
                calls.append(Call(block["name"], block["input"], block["id"]))
            elif block["type"] == "tool_result":
                inner = block.get("content")
                results[block["tool_use_id"]] = Result(block["tool_use_id"], texts(inner), pictures(inner))
    # Tools of other types are Anthropic's own, and those that wait for a search can't be called before it.
    found = {reference["tool_name"] for message in body["messages"] for block in blocks(message["content"])
             if block["type"] == "tool_result" for reference in blocks(block.get("content"))
             if reference["type"] == "tool_reference"}
    tools = [Tool(tool["name"], tool["input_schema"]) for tool in body.get("tools") or []
             if tool.get("type", "custom") == "custom" and (not tool.get("defer_loading") or tool["name"] in found)]
    format = (body.get("output_config") or {}).get("format") or body.get("output_format") or {}
    choice = body.get("tool_choice") or {}
    thinking = (body.get("thinking") or {}).get("type", "disabled") != "disabled"
    return Conversation(tools, "\n".join(said), calls, [results.get(call.id) for call in calls], format.get("schema"),
                        images, thinking, {"any": "", "tool": choice.get("name")}.get(choice.get("type")))


def content(request, step):
    made = []
    if step.reasoning:
        made.append({"type": "thinking", "thinking": step.reasoning, "signature": signature("claude", step.reasoning)})
    if step.text:
        made.append({"type": "text", "text": step.text})
    made += [{"type": "tool_use", "id": f"toolu_{request.serial:023}{number}", "name": call.name,
              "input": call.arguments} for number, call in enumerate(step.calls)]
    return made


USAGE = {"input_tokens": 100, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 20}


def reply(request, step):
    return {"id": f"msg_{request.serial:024}", "type": "message", "role": "assistant", "model": request.model,
            "content": content(request, step), "stop_reason": "tool_use" if step.calls else "end_turn",
            "stop_sequence": None, "usage": USAGE}


def events(request, step):
    whole = reply(request, step)
    started = {**whole, "content": [], "stop_reason": None, "usage": {**USAGE, "output_tokens": 1}}
    yield {"type": "message_start", "message": started}
    yield {"type": "ping"}
    for index, block in enumerate(whole["content"]):
        kind = block["type"]
        empty = {"thinking": {"thinking": "", "signature": ""}, "text": {"text": ""}, "tool_use": {"input": {}}}[kind]
        yield {"type": "content_block_start", "index": index, "content_block": {**block, **empty}}
        if kind == "thinking":
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        elif kind == "text":
            deltas = [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
        else:
            said = ["", *pieces(compact(block["input"]))]
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in said]
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    yield {"type": "message_delta", "delta": {"stop_reason": whole["stop_reason"], "stop_sequence": None},
           "usage": {"output_tokens": 20}}
    yield {"type": "message_stop"}


def stream(request, step):
    for each in events(request, step):
        yield event(each, each["type"])


def frames(request, step):
    """The same in the frames of Bedrock's InvokeModelWithResponseStream."""
    for each in events(request, step):
        yield frame("chunk", {"bytes": base64.b64encode(compact(each).encode()).decode()})


def error(message):
    return {"type": "error", "error": {"type": "invalid_request_error", "message": message}, "request_id": "req_1"}
