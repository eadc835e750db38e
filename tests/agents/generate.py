"""Gemini `generateContent`, at Google and on Vertex AI."""

import base64
import re

from conversation import Call, Conversation, Lost, Result, Tool
from wire import compact, event, pieces, signature


def get(value, name):
    """A field in either spelling: Google takes `functionCall` and `function_call`."""
    snake = re.sub("[A-Z]", lambda letter: "_" + letter[0].lower(), name)
    return value.get(name, value.get(snake))


def pictures(parts):
    return [base64.b64decode(get(part, "inlineData")["data"], validate=True) for part in parts or []
            if get(part, "inlineData")]


def read(request):
    body = request.body
    said, calls, images, results = [], [], [], []
    for content in body["contents"]:
        parts = content.get("parts") or []
        called = [get(part, "functionCall") for part in parts if get(part, "functionCall")]
        answers = [get(part, "functionResponse") for part in parts if get(part, "functionResponse")]
        if content.get("role", "user") == "user":
            said += [part["text"] for part in parts if part.get("text")]
            images += pictures(parts)
        if called:
            calls += [Call(call["name"], call.get("args") or {}, call.get("id")) for call in called]
            results += [None] * len(called)
        if answers:
            results[len(results) - len(answers):] = matched(calls[len(results) - len(answers):], answers)
    tools = []
    for group in body.get("tools") or []:
        for tool in get(group, "functionDeclarations") or []:
            schema = get(tool, "parametersJsonSchema") or tool.get("parameters") or {}
            tools.append(Tool(tool["name"], schema))
    config = get(body, "generationConfig") or {}
    schema = get(config, "responseJsonSchema") or get(config, "responseSchema")
    if schema is None and get(config, "responseMimeType") == "application/json":
        schema = {}
    thinking = get(config, "thinkingConfig") or {}
    return Conversation(tools, "\n".join(said), calls, results, schema, images,
                        bool(get(thinking, "includeThoughts")) or "gemini-3" in request.model, forced(body))


def forced(body):
    """The name of the tool that must be called; empty where any must."""
    config = get(get(body, "toolConfig") or {}, "functionCallingConfig") or {}
    names = get(config, "allowedFunctionNames") or [""]
    return names[0] if config.get("mode") == "ANY" else None


def matched(calls, answers):
    """The results in the order of the calls: by their ids where they have some, else by their order."""
    for call, answer in zip(calls, answers):
        if call.id and answer.get("id") and call.id != answer["id"]:
            by_id = {answer["id"]: answer for answer in answers}
            answers = [by_id[call.id] for call in calls]
            break
    for call, answer in zip(calls, answers):
        if call.name != answer["name"]:
            raise Lost(f"the result of {answer['name']} answers the call of {call.name}")
    made = []
    for call, answer in zip(calls, answers):
        response = answer["response"]
        said = "\n".join(value for value in response.values() if isinstance(value, str)) or compact(response)
        made.append(Result(call.id, said, pictures(answer.get("parts"))))
    return made


def parts(request, step):
    made = []
    thinks = get(get(get(request.body, "generationConfig") or {}, "thinkingConfig") or {}, "includeThoughts")
    if step.reasoning and thinks:
        made.append({"text": step.reasoning, "thought": True})
    if step.text:
        made.append({"text": step.text})
    for number, call in enumerate(step.calls):
        part = {"functionCall": {"name": call.name, "args": call.arguments}}
        if step.reasoning and number == 0:
            part["thoughtSignature"] = signature("gemini", step.reasoning)
        made.append(part)
    return made


def whole(request, made, reason):
    candidate = {"content": {"role": "model", "parts": made}, "index": 0}
    if reason:
        candidate["finishReason"] = reason
    usage = {"promptTokenCount": 100, "candidatesTokenCount": 20, "totalTokenCount": 120}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": request.model,
            "responseId": f"response-{request.serial}"}


def reply(request, step):
    return whole(request, parts(request, step), "STOP")


def stream(request, step):
    for part in parts(request, step):
        for piece in pieces(part["text"], 24) if "text" in part else [None]:
            yield event(whole(request, [part if piece is None else {**part, "text": piece}], None))
    yield event(whole(request, [{"text": ""}], "STOP"))


def error(message):
    return {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}
