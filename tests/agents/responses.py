"""OpenAI Responses."""

import json

from chat import error
from conversation import Call, Conversation, Result, Tool
from wire import compact, data_url, event, pieces, signature

__all__ = ["error", "read", "reply", "stream"]

CALLS = ("function_call", "custom_tool_call", "tool_search_call")
OUTPUTS = ("function_call_output", "custom_tool_call_output", "tool_search_output")


def tools(given, namespace=None):
    """The tools of a list that the client runs, those in namespaces among them."""
    for tool in given or []:
        kind = tool["type"]
        if kind == "function":
            # A tool that waits for a search is offered by the search's output.
            yield Tool(tool["name"], tool.get("parameters") or {}, namespace)
        elif kind == "custom":
            yield Tool(tool["name"], None, namespace)
        elif kind == "namespace":
            yield from tools(tool["tools"], tool["name"])
        elif kind == "tool_search" and tool.get("execution") == "client":
            yield Tool("tool_search", tool["parameters"], search=True)


def texts(content):
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text", "") for part in content or [])


def pictures(content):
    return [data_url(part["image_url"]) for part in content or []
            if isinstance(part, dict) and part["type"] == "input_image"]


def called(item):
    if item["type"] == "custom_tool_call":
        return Call(item["name"], item["input"], item["call_id"], item.get("namespace"))
    if item["type"] == "tool_search_call":
        return Call("tool_search", item["arguments"], item["call_id"], search=True)
    return Call(item["name"], json.loads(item["arguments"]), item["call_id"], item.get("namespace"))


def read(request):
    body = request.body
    items = body["input"] if isinstance(body["input"], list) else [{"role": "user", "content": body["input"]}]
    offered, said, calls, images, results = list(tools(body.get("tools"))), [], [], [], {}
    for item in items:
        kind = item.get("type", "message")
        if kind == "message" and item["role"] == "user":
            said.append(texts(item["content"]))
            images += pictures(item["content"])
        elif kind in CALLS:
            calls.append(called(item))
        elif kind in OUTPUTS:
            results[item["call_id"]] = Result(item["call_id"], texts(item.get("output")), pictures(item.get("output")))
        if kind in ("additional_tools", "tool_search_output"):
            offered += tools(item["tools"])
    format = body.get("text", {}).get("format") or {}
    schema = {"json_schema": format.get("schema", {}), "json_object": {}}.get(format.get("type"))
    reasoning = "reasoning.encrypted_content" in (body.get("include") or [])
    return Conversation(offered, "\n".join(said), calls, [results.get(call.id) for call in calls], schema, images,
                        reasoning, forced(body.get("tool_choice")))


def forced(choice):
    """The name of the tool that must be called; empty where any must."""
    if isinstance(choice, dict):
        return choice.get("name")
    return "" if choice == "required" else None


def output(request, step):
    """The items of the output at their end."""
    items = []
    if step.reasoning:
        summary = [{"type": "summary_text", "text": step.reasoning}] if (
            request.body.get("reasoning") or {}).get("summary") else []
        items.append({"id": f"rs_{request.serial:024}", "type": "reasoning", "summary": summary,
                      "encrypted_content": signature("openai", step.reasoning)})
    if step.text:
        part = {"type": "output_text", "text": step.text, "annotations": [], "logprobs": []}
        items.append({"id": f"msg_{request.serial:024}", "type": "message", "status": "completed", "role": "assistant",
                      "content": [part]})
    for number, call in enumerate(step.calls):
        place = f"{request.serial:023}{number}"
        item = {"status": "completed", "call_id": f"call_{place}"}
        if call.search:
            item |= {"id": f"tsc_{place}", "type": "tool_search_call", "execution": "client",
                     "arguments": call.arguments}
        elif isinstance(call.arguments, str):
            item |= {"id": f"ctc_{place}", "type": "custom_tool_call", "name": call.name, "input": call.arguments}
        else:
            item |= {"id": f"fc_{place}", "type": "function_call", "name": call.name,
                     "arguments": compact(call.arguments)}
        if call.namespace:
            item["namespace"] = call.namespace
        items.append(item)
    return items


def whole(request, items, status):
    body = request.body
    usage = {"input_tokens": 100, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 20,
             "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 120}
    return {"id": f"resp_{request.serial:024}", "object": "response", "created_at": 1767225600, "status": status,
            "error": None, "incomplete_details": None, "instructions": body.get("instructions"),
            "model": body["model"], "output": items, "parallel_tool_calls": True, "previous_response_id": None,
            "reasoning": body.get("reasoning") or {}, "store": body.get("store", True), "temperature": 1.0,
            "text": body.get("text") or {"format": {"type": "text"}}, "tool_choice": body.get("tool_choice", "auto"),
            "tools": body.get("tools") or [], "top_p": 1.0, "truncation": "disabled", "metadata": {},
            "usage": usage if status == "completed" else None}


def reply(request, step):
    return whole(request, output(request, step), "completed")


def events(request, step):
    """The events of a stream, without their sequence numbers."""
    items = output(request, step)
    yield "response.created", {"response": whole(request, [], "in_progress")}
    yield "response.in_progress", {"response": whole(request, [], "in_progress")}
    for index, item in enumerate(items):
        place = {"item_id": item["id"], "output_index": index}
        kind = item["type"]
        empty = {"message": {"content": []}, "reasoning": {"summary": []}, "function_call": {"arguments": ""},
                 "custom_tool_call": {"input": ""}, "tool_search_call": {}}[kind]
        started = item | empty | ({"status": "in_progress"} if "status" in item else {})
        yield "response.output_item.added", {"output_index": index, "item": started}
        if kind == "message":
            [part], place = item["content"], {**place, "content_index": 0}
            yield "response.content_part.added", {**place, "part": {**part, "text": ""}}
            for piece in pieces(part["text"]):
                yield "response.output_text.delta", {**place, "delta": piece, "logprobs": []}
            yield "response.output_text.done", {**place, "text": part["text"], "logprobs": []}
            yield "response.content_part.done", {**place, "part": part}
        elif kind == "reasoning" and item["summary"]:
            [part], place = item["summary"], {**place, "summary_index": 0}
            yield "response.reasoning_summary_part.added", {**place, "part": {**part, "text": ""}}
            for piece in pieces(part["text"]):
                yield "response.reasoning_summary_text.delta", {**place, "delta": piece}
            yield "response.reasoning_summary_text.done", {**place, "text": part["text"]}
            yield "response.reasoning_summary_part.done", {**place, "part": part}
        elif kind == "function_call":
            for piece in pieces(item["arguments"]):
                yield "response.function_call_arguments.delta", {**place, "delta": piece}
            yield "response.function_call_arguments.done", {**place, "arguments": item["arguments"],
                                                            "name": item["name"]}
        elif kind == "custom_tool_call":
            for piece in pieces(item["input"]):
                yield "response.custom_tool_call_input.delta", {**place, "delta": piece}
            yield "response.custom_tool_call_input.done", {**place, "input": item["input"]}
        yield "response.output_item.done", {"output_index": index, "item": item}
    yield "response.completed", {"response": whole(request, items, "completed")}


def stream(request, step):
    for number, (name, fields) in enumerate(events(request, step)):
        yield event({"type": name, "sequence_number": number, **fields}, name)
