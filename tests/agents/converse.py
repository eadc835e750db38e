"""Bedrock Converse and ConverseStream."""

import base64
import json

from conversation import Call, Conversation, Result, Tool
from wire import compact, frame, pieces, signature


def pictures(blocks):
    return [base64.b64decode(block["image"]["source"]["bytes"], validate=True) for block in blocks if "image" in block]


def read(request):
    body = request.body
    said, calls, images, results = [], [], [], {}
    for message in body["messages"]:
        blocks = message["content"]
        if message["role"] == "user":
            said += [block["text"] for block in blocks if "text" in block]
            images += pictures(blocks)
        for block in blocks:
            if "toolUse" in block:
                use = block["toolUse"]
                calls.append(Call(use["name"], use["input"], use["toolUseId"]))
            elif "toolResult" in block:
                inner, name = block["toolResult"]["content"], block["toolResult"]["toolUseId"]
                text = "\n".join(each["text"] if "text" in each else compact(each.get("json", "")) for each in inner)
                results[name] = Result(name, text, pictures(inner))
    specs = [tool["toolSpec"] for tool in (body.get("toolConfig") or {}).get("tools", []) if "toolSpec" in tool]
    tools = [Tool(spec["name"], spec["inputSchema"]["json"]) for spec in specs]
    format = (body.get("outputConfig") or {}).get("textFormat")
    schema = json.loads(format["structure"]["jsonSchema"]["schema"]) if format else None
    more = body.get("additionalModelRequestFields") or {}
    thinking = more.get("thinking", {}).get("type", "disabled") != "disabled" or "reasoningConfig" in more
    return Conversation(tools, "\n".join(said), calls, [results.get(call.id) for call in calls],
                        schema, images, thinking, forced((body.get("toolConfig") or {}).get("toolChoice") or {}))


def forced(choice):
    """The name of the tool that must be called; empty where any must."""
    return choice["tool"]["name"] if "tool" in choice else "" if "any" in choice else None


def reasoning(request, step):
    # Only Claude signs.
    signed = {"signature": signature("claude", step.reasoning)} if "claude" in request.model else {}
    return {"text": step.reasoning, **signed}


def content(request, step):
    made = []
    if step.reasoning:
        made.append({"reasoningContent": {"reasoningText": reasoning(request, step)}})
    if step.text:
        made.append({"text": step.text})
    made += [{"toolUse": {"toolUseId": f"tooluse_{request.serial:020}{number}", "name": call.name,
                          "input": call.arguments}} for number, call in enumerate(step.calls)]
    return made


USAGE = {"usage": {"inputTokens": 100, "outputTokens": 20, "totalTokens": 120}, "metrics": {"latencyMs": 5}}


def stop(step):
    return "tool_use" if step.calls else "end_turn"


def reply(request, step):
    return {"output": {"message": {"role": "assistant", "content": content(request, step)}}, "stopReason": stop(step),
            **USAGE}


def stream(request, step):
    yield frame("messageStart", {"role": "assistant"})
    for index, block in enumerate(content(request, step)):
        place = {"contentBlockIndex": index}
        [(kind, value)] = block.items()
        if kind == "toolUse":
            start = {name: value[name] for name in ("toolUseId", "name")}
            yield frame("contentBlockStart", {**place, "start": {"toolUse": start}})
            deltas = [{"toolUse": {"input": piece}} for piece in pieces(compact(value["input"]))]
        elif kind == "text":
            deltas = [{"text": piece} for piece in pieces(value)]
        else:
            thought = value["reasoningText"]
            deltas = [{"reasoningContent": {"text": piece}} for piece in pieces(thought["text"])]
            if "signature" in thought:
                deltas.append({"reasoningContent": {"signature": thought["signature"]}})
        for delta in deltas:
            yield frame("contentBlockDelta", {**place, "delta": delta})
        yield frame("contentBlockStop", place)
    yield frame("messageStop", {"stopReason": stop(step)})
    yield frame("metadata", USAGE)


def error(message):
    return {"message": message}
