"""OpenAI Chat Completions, and what Mistral and DeepSeek do otherwise."""

import json
import re

from conversation import Call, Conversation, Lost, Result, Tool
from wire import compact, data_url, event, pieces


def texts(content):
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text", "") for part in content or [])


def pictures(content):
    return [data_url(part["image_url"]["url"]) for part in content or []
            if isinstance(part, dict) and part["type"] == "image_url"]


def tool(given):
    if given["type"] == "custom":
        return Tool(given["custom"]["name"], None)
    return Tool(given["function"]["name"], given["function"].get("parameters") or {})


def called(given):
    if given.get("type") == "custom":
        return Call(given["custom"]["name"], given["custom"]["input"], given["id"])
    return Call(given["function"]["name"], json.loads(given["function"]["arguments"]), given["id"])


def read(request):
    body, host = request.body, request.host
    refuse(body, host)
    said, calls, images, results = [], [], [], {}
    for message in body["messages"]:
        role, content = message["role"], message.get("content")
        if role == "user":
            said.append(texts(content))
            images += pictures(content)
        elif role == "assistant":
            calls += map(called, message.get("tool_calls") or [])
        elif role == "tool":
            results[message["tool_call_id"]] = Result(message["tool_call_id"], texts(content), pictures(content))
    format = body.get("response_format") or {}
    schema = {"json_schema": format.get("json_schema", {}).get("schema", {}), "json_object": {}}.get(format.get("type"))
    # OpenAI's models keep their thoughts to themselves in this dialect.
    reasoning = request.vendor != "openai" and (thinks(body, host) or bool(body.get("reasoning_effort")))
    return Conversation([tool(each) for each in body.get("tools") or []], "\n".join(said), calls,
                        [results.get(call.id) for call in calls], schema, images, reasoning, forced(body))


def forced(body):
    """The name of the tool that must be called; empty where any must."""
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        return (choice.get("function") or choice.get("custom") or {}).get("name")
    return "" if choice in ("required", "any") else None


def thinks(body, host):
    return "deepseek" in host and body.get("thinking", {}).get("type") != "disabled"


def refuse(body, host):
    """What these servers refuse, beyond what the types of the SDK say."""
    model, effort = body.get("model", ""), body.get("reasoning_effort")
    # Seen in public threads about gpt-5.4 and later.
    if host == "api.openai.com" and re.match(r"gpt-5\.[4-9]", model) and body.get("tools") and effort != "none":
        raise Lost(f"Function tools with reasoning_effort are not supported for {model} in /v1/chat/completions. To "
                   "use function tools, use /v1/responses or set reasoning_effort to 'none'.")
    if thinks(body, host):
        for message in body["messages"]:
            if message.get("tool_calls") and not isinstance(message.get("reasoning_content"), str):
                raise Lost("The `reasoning_content` in the thinking mode must be passed back to the API.")


def call_id(request, number):
    if "mistral" in request.host:
        return f"{request.serial:05}{number:04}"
    return f"call_{request.serial:020}{number}"


def tool_call(request, number, call):
    name = call_id(request, number)
    if isinstance(call.arguments, str):
        return {"id": name, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    return {"id": name, "type": "function", "function": {"name": call.name, "arguments": compact(call.arguments)}}


USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}


def head(request, kind):
    return {"id": f"chatcmpl-{request.serial}", "object": kind, "created": 1767225600, "model": request.body["model"]}


def finish(step):
    return "tool_calls" if step.calls else "stop"


def reply(request, step):
    message = {"role": "assistant", "content": step.text or None}
    if step.reasoning:
        message["reasoning_content"] = step.reasoning
    if step.calls:
        message["tool_calls"] = [tool_call(request, number, call) for number, call in enumerate(step.calls)]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish(step)}
    return {**head(request, "chat.completion"), "choices": [choice], "usage": USAGE}


def stream(request, step):
    base = head(request, "chat.completion.chunk")

    def chunk(delta, reason=None, **more):
        return event({**base, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}], **more})

    yield chunk({"role": "assistant", "content": ""})
    for piece in pieces(step.reasoning):
        yield chunk({"reasoning_content": piece})
    for piece in pieces(step.text):
        yield chunk({"content": piece})
    mistral = "mistral" in request.host
    for number, call in enumerate(step.calls):
        whole = {"index": number, **tool_call(request, number, call)}
        kind, field = ("custom", "input") if whole["type"] == "custom" else ("function", "arguments")
        if mistral:
            # Calls are never split there.
            yield chunk({"tool_calls": [whole]})
            continue
        said = whole[kind].pop(field)
        yield chunk({"tool_calls": [{**whole, kind: {**whole[kind], field: ""}}]})
        for piece in pieces(said):
            yield chunk({"tool_calls": [{"index": number, kind: {field: piece}}]})
    yield chunk({}, finish(step), **({"usage": USAGE} if mistral else {}))
    if not mistral and (request.body.get("stream_options") or {}).get("include_usage"):
        yield event({**base, "choices": [], "usage": USAGE})
    yield event("[DONE]")


def error(message):
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}
