"""The `boto3` client: Converse and ConverseStream."""

import functools
import json

import boto3
import botocore.config
import botocore.exceptions

from clients import BUDGET, CITY, LIMIT, PIXEL, TOOLS, Call, Reply, Row, dropped

# What the next request carries; boto3 has headers by hook only.
extra = {}


@functools.cache
def client(url):
    session = boto3.Session(aws_access_key_id="mine", aws_secret_access_key="mine", region_name="eu-west-1")
    config = botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=30)
    made = session.client("bedrock-runtime", endpoint_url=url, config=config)
    made.meta.events.register("before-call.bedrock-runtime.*", lambda params, **_: params["headers"].update(extra))
    return made


class Converse(Row):
    name = dialect = "converse"
    not_found = rate_limited = botocore.exceptions.ClientError
    any_error = botocore.exceptions.ClientError  # EventStreamError is one
    unknown_word, limited_word = "ResourceNotFoundException", "ThrottlingException"
    stop, tool_stop = "end_turn", "tool_use"
    settings = {"inferenceConfig": {"temperature": 0.5, "maxTokens": 500}, "performanceConfig": {"latency": "standard"},
                "additionalModelRequestFields": {"top_k": 5}}

    def error_says(self, error):
        response = error.response
        assert response["Error"]["Message"], response
        meta = response["ResponseMetadata"]
        return meta["HTTPStatusCode"], response["Error"]["Code"], meta["HTTPHeaders"].get("retry-after")

    def user(self, text, image=False):
        blocks = [{"text": text}]
        if image:
            assert image is True, "Converse has no URLs"
            blocks.append({"image": {"format": "png", "source": {"bytes": PIXEL}}})
        return [{"role": "user", "content": blocks}]

    def results(self, calls, texts):
        return [{"role": "user", "content": [{"toolResult": {"toolUseId": call.id, "content": [{"text": text}]}}
                                             for call, text in zip(calls, texts)]}]

    def request(self, ask):
        extra.clear()
        extra.update(self.headers(ask))
        request = {"modelId": ask.named, "messages": ask.history, **ask.settings}
        if ask.system:
            request["system"] = [{"text": ask.system}]
        if ask.tools:
            request["toolConfig"] = {"tools": [
                {"toolSpec": {"name": name, "description": about, "inputSchema": {"json": shape}}}
                for name, (about, shape) in TOOLS.items()]}
        if ask.structured:
            shape = {"schema": json.dumps(CITY), "name": "city"}
            request["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": shape}}}
        if ask.thinking:
            thinking = {"thinking": {"type": "enabled", "budget_tokens": BUDGET}}
            if "nova" in ask.named:
                thinking = {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}
            request |= {"additionalModelRequestFields": thinking, "inferenceConfig": {"maxTokens": LIMIT}}
        return request

    def buffered(self, ask):
        reply = client(ask.url).converse(**self.request(ask))
        return self.read(reply["output"]["message"]["content"], reply["stopReason"], reply["usage"],
                         dropped(reply["ResponseMetadata"]["HTTPHeaders"]))

    def events(self, ask):
        reply = client(ask.url).converse_stream(**self.request(ask))
        return reply["stream"], reply["stream"].close, reply["ResponseMetadata"]["HTTPHeaders"]

    def streamed(self, ask):
        blocks, stop, usage, pieces, stopped = {}, None, None, [], set()
        stream, _, headers = self.events(ask)
        for event in stream:
            [(kind, payload)] = event.items()
            if kind == "contentBlockStart":
                tool = payload["start"]["toolUse"]
                blocks[payload["contentBlockIndex"]] = {"toolUse": {**tool, "input": ""}}
            elif kind == "contentBlockDelta":
                self.add(blocks, payload["contentBlockIndex"], payload["delta"], pieces)
            elif kind == "contentBlockStop":
                stopped.add(payload["contentBlockIndex"])
            elif kind == "messageStop":
                stop = payload["stopReason"]
            elif kind == "metadata":
                usage = payload["usage"]
        assert stopped == set(blocks), "a block has no end"
        for block in blocks.values():
            if "toolUse" in block:
                block["toolUse"]["input"] = json.loads(block["toolUse"]["input"] or "{}")
        reply = self.read([block for _, block in sorted(blocks.items())], stop, usage, dropped(headers))
        reply.pieces = pieces
        return reply

    @staticmethod
    def add(blocks, index, delta, pieces):
        [(kind, value)] = delta.items()
        if kind == "text":
            blocks.setdefault(index, {"text": ""})["text"] += value
            pieces.append(value)
        elif kind == "toolUse":
            blocks[index]["toolUse"]["input"] += value["input"]
        elif "redactedContent" in value:
            blocks.setdefault(index, {"reasoningContent": {"redactedContent": b""}})
            blocks[index]["reasoningContent"]["redactedContent"] += value["redactedContent"]
        else:
            block = blocks.setdefault(index, {"reasoningContent": {"reasoningText": {"text": ""}}})
            text = block["reasoningContent"]["reasoningText"]
            for key, more in value.items():
                text[key] = text.get(key, "") + more

    def read(self, blocks, stop, usage, lost):
        assert usage["totalTokens"] == usage["inputTokens"] + usage["outputTokens"]
        calls = [Call(use["toolUseId"], use["name"], use["input"]) for block in blocks if (use := block.get("toolUse"))]
        reasoning = "".join(block["reasoningContent"].get("reasoningText", {}).get("text", "")
                           for block in blocks if "reasoningContent" in block)
        return Reply(
            "".join(block.get("text", "") for block in blocks),
            stop,
            usage["inputTokens"],
            usage["outputTokens"],
            [{"role": "assistant", "content": blocks}],
            calls,
            reasoning,
            dropped=lost,
        )
