"""The scripted provider itself: the vendors' own clients read what it says, and it notices what gets lost."""

import base64
import json

import anthropic
import boto3
import botocore.config
import openai
import pytest
from conversation import Call, Conversation, Lost, Result, Tool
from google import genai
from google.genai import types
from picture import colour, picture
from script import following

FOLDER = "/project"
TASK = f"Work in the folder `{FOLDER}`."
# The model's first step with these tools.
SHELL = {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}
FIRST = [("bash", {"command": "cat notes.txt"}), ("bash", {"command": "cat token.txt"})]
TEXT = "I read the notes and the token."


@pytest.fixture
def url(servers, cell):
    # The clients' own requests: nobody translated them.
    cell.translated = False
    return f"http://127.0.0.1:{servers[1].port}"


def chat(url, streams):
    tools = [{"type": "function", "function": {"name": "bash", "parameters": SHELL}}]
    request = {"model": "any", "messages": [{"role": "user", "content": TASK}], "tools": tools}
    client = openai.OpenAI(base_url=url + "/v1", api_key="any", max_retries=0)
    if streams:
        with client.chat.completions.stream(**request) as stream:
            message = stream.get_final_completion().choices[0].message
    else:
        message = client.chat.completions.create(**request).choices[0].message
    return message.content, [(each.function.name, json.loads(each.function.arguments)) for each in message.tool_calls]


def responses(url, streams):
    tools = [{"type": "function", "name": "bash", "parameters": SHELL, "strict": False}]
    request = {"model": "any", "input": TASK, "tools": tools, "reasoning": {"effort": "low", "summary": "auto"},
               "include": ["reasoning.encrypted_content"]}
    client = openai.OpenAI(base_url=url + "/v1", api_key="any", max_retries=0)
    if streams:
        with client.responses.stream(**request) as stream:
            response = stream.get_final_response()
    else:
        response = client.responses.create(**request)
    assert response.output[0].encrypted_content and TEXT in response.output[0].summary[0].text
    return response.output_text, [(each.name, json.loads(each.arguments)) for each in response.output
                                  if each.type == "function_call"]


def messages(url, streams):
    request = {"model": "claude-opus-4-8", "max_tokens": 4000, "messages": [{"role": "user", "content": TASK}],
               "tools": [{"name": "bash", "input_schema": SHELL}], "thinking": {"type": "adaptive"}}
    client = anthropic.Anthropic(base_url=url, api_key="any", max_retries=0)
    if streams:
        with client.messages.stream(**request) as stream:
            message = stream.get_final_message()
    else:
        message = client.messages.create(**request)
    assert message.content[0].signature and TEXT in message.content[0].thinking
    return message.content[1].text, [(each.name, each.input) for each in message.content if each.type == "tool_use"]


def generate(url, streams):
    client = genai.Client(api_key="any", http_options=types.HttpOptions(base_url=url))
    declaration = types.FunctionDeclaration(name="bash", parameters_json_schema=SHELL)
    config = types.GenerateContentConfig(tools=[types.Tool(function_declarations=[declaration])],
                                         automatic_function_calling={"disable": True})
    request = {"model": "gemini-3-flash-preview", "contents": TASK, "config": config}
    if streams:
        replies = list(client.models.generate_content_stream(**request))
    else:
        replies = [client.models.generate_content(**request)]
    parts = [part for reply in replies for part in reply.candidates[0].content.parts]
    calls = [part.function_call for part in parts if part.function_call]
    assert any(part.thought_signature for part in parts)
    return "".join(part.text for part in parts if part.text), [(call.name, call.args) for call in calls]


def converse(url, streams):
    session = boto3.Session(aws_access_key_id="AKIASIMULATED", aws_secret_access_key="simulated-secret",
                            region_name="us-east-1")
    config = botocore.config.Config(retries={"total_max_attempts": 1})
    client = session.client("bedrock-runtime", endpoint_url=url, config=config)
    request = {"modelId": "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
               "messages": [{"role": "user", "content": [{"text": TASK}]}],
               "toolConfig": {"tools": [{"toolSpec": {"name": "bash", "inputSchema": {"json": SHELL}}}]}}
    if not streams:
        content = client.converse(**request)["output"]["message"]["content"]
        uses = [block["toolUse"] for block in content if "toolUse" in block]
        return content[0]["text"], [(use["name"], use["input"]) for use in uses]
    text, calls = "", []
    for event in client.converse_stream(**request)["stream"]:
        start = event.get("contentBlockStart", {}).get("start", {})
        delta = event.get("contentBlockDelta", {}).get("delta", {})
        text += delta.get("text", "")
        if start:
            calls.append([start["toolUse"]["name"], ""])
        if "toolUse" in delta:
            calls[-1][1] += delta["toolUse"]["input"]
    return text, [(name, json.loads(arguments)) for name, arguments in calls]


@pytest.mark.parametrize("streams", [False, True], ids=["buffered", "streamed"])
@pytest.mark.parametrize("ask", [chat, responses, messages, generate, converse], ids=lambda ask: ask.__name__)
def test_the_vendors_client_reads_a_step(ask, streams, url, cell):
    assert ask(url, streams) == (TEXT, FIRST)
    assert cell.problems == []


def test_what_the_vendor_refuses_is_a_problem_of_the_cell(url, cell):
    client = anthropic.Anthropic(base_url=url, api_key="any", max_retries=0)
    with pytest.raises(anthropic.BadRequestError, match="tool_result"):
        turn = [{"type": "tool_use", "id": "toolu_1", "name": "bash", "input": {}}]
        client.messages.create(model="claude-opus-4-8", max_tokens=9, tools=[{"name": "bash", "input_schema": SHELL}],
                               messages=[{"role": "user", "content": TASK}, {"role": "assistant", "content": turn},
                                         {"role": "user", "content": "go on"}])
    assert len(cell.problems) == 1


def test_what_the_types_refuse_is_a_problem_of_a_translated_cell(url, cell):
    cell.translated = True
    client = openai.OpenAI(base_url=url + "/v1", api_key="any", max_retries=0)
    with pytest.raises(openai.BadRequestError, match="types"):
        client.responses.create(model="any", input=[{"type": "no_item"}])
    assert len(cell.problems) == 1


CALLS = [Call(name, arguments, str(number)) for number, (name, arguments) in enumerate(FIRST)]
RESULTS = [Result("0", "key: k1"), Result("1", "token-t1")]


def history(calls, results):
    return Conversation([Tool("bash", SHELL), Tool("demo_lookup", {})], TASK, calls, results)


def test_the_next_step_follows_from_the_history():
    step = following(history(CALLS, RESULTS), CALLS, 2)
    assert [(call.name, call.arguments["key"]) for call in step.calls] == [("demo_lookup", "k1")]


CHANGED = [CALLS[0], Call("bash", {"command": "cat other.txt"}, "1")]


@pytest.mark.parametrize(
    "calls, results, issued",
    [
        (CALLS, [RESULTS[0], None], CALLS),
        (CHANGED, RESULTS, CALLS),
        (CALLS, RESULTS, [*CALLS, *CALLS, *CALLS]),
        (CALLS, RESULTS, []),
        (CALLS, [RESULTS[0], Result("1", "nothing")], CALLS),
    ],
    ids=["a result", "an argument", "a turn", "what the model said", "a fact"],
)
def test_what_is_lost_is_noticed(calls, results, issued):
    with pytest.raises(Lost):
        following(history(calls, results), issued, 2)


def test_the_colour_of_a_picture_is_read():
    assert colour(picture(1, 171, 254)) == "01abfe"
    # Another encoder's, with a palette.
    other = ("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABAQMAAAAl21bKAAAAA1BMVEUBq/4m3ZkuAAAACklEQVQI12NgAAAAAgAB4iG8MwAAAABJ"
             "RU5ErkJggg==")
    assert colour(base64.b64decode(other)) == "01abfe"
    with pytest.raises(Lost):
        colour(b"\xff\xd8\xff")
