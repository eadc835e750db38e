"""A model that always takes the likeliest word gives the same answer to each client, whichever API carries it."""

import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import anthropic
import boto3
import botocore
import openai
import pytest
from google import genai
from google.genai import types

HERE = pathlib.Path(__file__).parent
QUESTION = "Count from one to ten in words: one, two, three,"
TOKENS = 16
APIS = ["chat", "responses", "messages"]

MANIFESTS = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: real}}
spec:
  gatewayClassName: tollgate
  listeners:
  - {{name: http, protocol: HTTP, port: {port}}}
"""
EACH = """
---
apiVersion: gateway.kgateway.dev/v1alpha1
kind: Backend
metadata: {{name: {api}}}
spec:
  type: AI
  ai:
    llm:
      host: {host}
      port: {server}
      apis: [{api}]
      openai: {{preset: llamacpp, model: gemma, authToken: {{kind: Inline, inline: any}}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {api}}}
spec:
  parentRefs: [{{name: real}}]
  rules:
  - matches: [{{path: {{type: PathPrefix, value: /{api}}}}}]
    backendRefs: [{{group: gateway.kgateway.dev, kind: Backend, name: {api}}}]
"""


def free_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


@pytest.fixture(scope="session")
def server():
    """The model's server."""
    command = [sys.executable, HERE / "serve.py", os.environ["REAL_CACHE"]]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as started:
        lines = iter(started.stdout.readline, "")
        yield next(line.strip() for line in lines if line.startswith("http://"))
        started.stdin.close()


@pytest.fixture(scope="session")
def base(server, tmp_path_factory):
    """The Gateway, with a route for each API of the server."""
    host, port = server.removeprefix("http://").split(":")
    gateway, admin = free_port(), free_port()
    folder = tmp_path_factory.mktemp("tollgate")
    routes = "".join(EACH.format(api=api, host=host, server=port) for api in APIS)
    (folder / "real.yaml").write_text(MANIFESTS.format(port=gateway) + routes)
    command = [os.environ["TOLLGATE"], "run", "--manifests", folder, "--admin-listen", f"127.0.0.1:{admin}"]
    process = subprocess.Popen(command)
    for _ in range(200):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{admin}/readyz", timeout=5).close()
            break
        except OSError:
            time.sleep(0.1)
    yield f"http://127.0.0.1:{gateway}"
    process.terminate()
    process.wait(10)


def chat(url, stream):
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0)
    asked = {"model": "m", "max_tokens": TOKENS, "temperature": 0, "messages": [{"role": "user", "content": QUESTION}]}
    if not stream:
        reply = client.chat.completions.create(**asked)
        return reply.choices[0].message.content, reply.usage.completion_tokens, reply.choices[0].finish_reason
    chunks = list(client.chat.completions.create(stream=True, stream_options={"include_usage": True}, **asked))
    choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
    text = "".join(choice.delta.content or "" for choice in choices)
    return text, chunks[-1].usage.completion_tokens, choices[-1].finish_reason


def responses(url, stream):
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0)
    asked = {"model": "m", "max_output_tokens": TOKENS, "temperature": 0, "input": QUESTION, "store": False}
    if not stream:
        reply = client.responses.create(**asked)
        return reply.output_text, reply.usage.output_tokens, reply.status
    events = list(client.responses.create(stream=True, **asked))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    return text, events[-1].response.usage.output_tokens, events[-1].response.status


def messages(url, stream):
    client = anthropic.Anthropic(base_url=url, api_key="any", max_retries=0)
    asked = {"model": "m", "max_tokens": TOKENS, "messages": [{"role": "user", "content": QUESTION}],
             "extra_body": {"temperature": 0}}
    if not stream:
        reply = client.messages.create(**asked)
        return reply.content[0].text, reply.usage.output_tokens, reply.stop_reason
    with client.messages.stream(**asked) as events:
        text = "".join(events.text_stream)
        reply = events.get_final_message()
    return text, reply.usage.output_tokens, reply.stop_reason


def gemini(url, stream):
    client = genai.Client(api_key="any", http_options=types.HttpOptions(base_url=url))
    asked = {"model": "m", "contents": QUESTION,
             "config": types.GenerateContentConfig(max_output_tokens=TOKENS, temperature=0)}
    replies = client.models.generate_content_stream(**asked) if stream else [client.models.generate_content(**asked)]
    replies = list(replies)
    text = "".join(reply.text or "" for reply in replies)
    last = replies[-1]
    return text, last.usage_metadata.candidates_token_count, last.candidates[0].finish_reason.value


def converse(url, stream):
    config = botocore.config.Config(retries={"total_max_attempts": 1})
    client = boto3.client("bedrock-runtime", endpoint_url=url, region_name="us-east-1", aws_access_key_id="any",
                          aws_secret_access_key="any", config=config)
    asked = {"modelId": "m", "messages": [{"role": "user", "content": [{"text": QUESTION}]}],
             "inferenceConfig": {"maxTokens": TOKENS, "temperature": 0}}
    if not stream:
        reply = client.converse(**asked)
        text = "".join(block["text"] for block in reply["output"]["message"]["content"])
        return text, reply["usage"]["outputTokens"], reply["stopReason"]
    events = list(client.converse_stream(**asked)["stream"])
    text = "".join(event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event)
    stop = next(event["messageStop"]["stopReason"] for event in events if "messageStop" in event)
    return text, events[-1]["metadata"]["usage"]["outputTokens"], stop


CLIENTS = [chat, responses, messages, gemini, converse]
# The words for an answer that was cut. llama.cpp's Responses call it complete.
CUT = {
    "chat": {"length"}, "responses": {"incomplete"}, "messages": {"max_tokens"}, "gemini": {"MAX_TOKENS"},
    "converse": {"max_tokens"},
}
WHOLE = {
    "chat": {"stop"}, "responses": {"completed"}, "messages": {"end_turn"}, "gemini": {"STOP"},
    "converse": {"end_turn"},
}


@pytest.fixture(scope="session")
def answer(server):
    """What the server answers without Tollgate."""
    text, tokens, reason = chat(server, stream=False)
    assert (tokens, reason) == (TOKENS, "length") and text, text
    return text


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.__name__)
def test_each_client_gets_the_models_answer(client, api, stream, base, answer):
    text, tokens, reason = client(f"{base}/{api}", stream)
    assert (text, tokens) == (answer, TOKENS)
    allowed = CUT if api != "responses" else WHOLE
    assert reason in allowed[client.__name__]
