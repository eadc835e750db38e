#!/usr/bin/env python3
"""An MCP server on stdin and stdout with one tool, `lookup`: it answers with the secret of a key.

The secret is right only if the arguments arrived with the right types at every level.
"""

import hashlib
import json
import sys

TOOL = {
    "name": "lookup",
    "description": "Looks up the secret of a key.",
    "inputSchema": {
        "type": "object",
        "properties": {
            "key": {"type": "string", "description": "The key", "minLength": 1},
            "options": {
                "anyOf": [
                    {
                        "type": "object",
                        "properties": {"depth": {"type": "integer", "minimum": 0, "maximum": 9},
                                       "exact": {"type": "boolean"}},
                        "required": ["depth"],
                    },
                    {"type": "null"},
                ]
            },
            "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 4},
        },
        "required": ["key"],
    },
}


def secret(key):
    return "secret-" + hashlib.sha256(f"of {key}".encode()).hexdigest()[:16]


def lookup(arguments):
    wanted = {"options": {"depth": 3, "exact": True}, "tags": ["first", "sec ond"]}
    rest = {name: value for name, value in arguments.items() if name != "key"}
    if rest != wanted or not isinstance(arguments.get("key"), str):
        return {"content": [{"type": "text", "text": f"wrong arguments: {arguments!r}"}], "isError": True}
    return {"content": [{"type": "text", "text": f"It is {secret(arguments['key'])}."}]}


def answer(method, params):
    if method == "initialize":
        return {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}},
                "serverInfo": {"name": "demo", "version": "1"}}
    if method == "tools/list":
        return {"tools": [TOOL]}
    if method == "tools/call":
        return lookup(params.get("arguments") or {})
    return {}


if __name__ == "__main__":
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message and "method" in message:
            result = answer(message["method"], message.get("params") or {})
            print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
