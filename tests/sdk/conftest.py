"""Clients of each provider, pointed at Tollgate or straight at the simulator (see `run`)."""

import functools
import json
import os
import urllib.request

import anthropic
import openai
import pytest
from google import genai
from google.genai import types

BASE = os.environ.get("SDK_BASE_URL", "http://127.0.0.1:8080").rstrip("/")
TARGET = os.environ.get("SDK_TARGET", "gateway")
METRICS = os.environ.get("SDK_METRICS_URL")

GATEWAY = TARGET == "gateway"
OPENAI_URL = BASE + ("/openai/v1" if GATEWAY else "/v1")
ANTHROPIC_URL = BASE + ("/anthropic" if GATEWAY else "")
GEMINI_URL = BASE + ("/gemini" if GATEWAY else "")

# Through the gateway the provider sees the gateway's key, not the client's.
needs_own_key = pytest.mark.skipif(GATEWAY, reason="the gateway replaces the client's key")
needs_websocket = pytest.mark.skipif(not GATEWAY, reason="only Tollgate serves WebSockets")
needs_metrics = pytest.mark.skipif(METRICS is None, reason="only Tollgate counts")

# The model of the Gemini Backend in the example, so that it is the same with and without the gateway.
GEMINI_MODEL = "gemini-1.5-flash-latest"

QUESTION = "Explain how AI works in a few words"
REPLY = "Learning patterns from data to make predictions.\n"
PROMPT_TOKENS, REPLY_TOKENS = 8, 9

WEATHER_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def openai_client(key="sk-test"):
    return openai.OpenAI(base_url=OPENAI_URL, api_key=key, max_retries=0, timeout=20)


def anthropic_client(key="sk-ant-test"):
    return anthropic.Anthropic(base_url=ANTHROPIC_URL, api_key=key, max_retries=0, timeout=20)


@functools.cache
def gemini_client(key="AIza-test", fault=None):
    """The client sets headers, and so the fault. It is cached, because a collected client closes its streams."""
    headers = {"x-simulator-fault": fault} if fault else {}
    retry = types.HttpRetryOptions(attempts=1)
    options = types.HttpOptions(base_url=GEMINI_URL, timeout=20_000, headers=headers, retry_options=retry)
    return genai.Client(api_key=key, http_options=options)


def fault(what):
    """The header that asks the simulator for a fault; a gateway forwards it like any header it does not know."""
    return {"x-simulator-fault": what}


def simulator_requests():
    """What the simulator counted, or None where it is behind the gateway."""
    if GATEWAY:
        return None
    with urllib.request.urlopen(BASE + "/simulator/requests", timeout=10) as reply:
        return json.load(reply)


def scrape(name, **labels):
    """The sum of a counter over all series that have these labels."""
    with urllib.request.urlopen(METRICS, timeout=10) as reply:
        lines = reply.read().decode().splitlines()
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    series = (line for line in lines if line.startswith(name + "{") and all(label in line for label in wanted))
    return sum(float(line.rsplit(" ", 1)[1]) for line in series)
