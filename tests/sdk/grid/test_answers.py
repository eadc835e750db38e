"""The replies of each cell: texts, tool calls, JSON, reasoning."""

import base64
import json
import re

import pytest
from columns import VALIDATOR, only
from rows import ROWS

QUESTION = "Explain how AI works in a few words"
REPLY = "Learning patterns from data to make predictions.\n"
PROMPT_TOKENS, REPLY_TOKENS = 8, 9

streaming = pytest.mark.parametrize("stream", [False, True], ids=["buffered", "streamed"])


def spoke_natively(row, column):
    return row.dialect in column.native


def test_text(row, column):
    reply = row.ask(column, row.user(QUESTION))
    assert (reply.text, reply.stop) == (REPLY, row.stop)
    assert (reply.prompt_tokens, reply.output_tokens) == (PROMPT_TOKENS, REPLY_TOKENS)
    assert not reply.dropped


def test_stream(row, column):
    reply = row.ask(column, row.user(QUESTION), stream=True)
    assert "".join(reply.pieces) == reply.text == REPLY
    assert len(reply.pieces) > 4
    assert reply.stop == row.stop
    assert (reply.prompt_tokens, reply.output_tokens) == (PROMPT_TOKENS, REPLY_TOKENS)


def answered(row, column, history, words="Use the tools in parallel", **wants):
    """Requests two calls, answers them, and returns the history with the model's last text."""
    history = history + row.user(words)
    reply = row.ask(column, history, tools=True, **wants)
    assert reply.stop == row.tool_stop
    assert [(call.name, call.arguments) for call in reply.calls] == [
        ("get_weather", {"city": "city"}), ("get_time", {"zone": "utc"})]
    ids = [call.id for call in reply.calls]
    assert len(set(ids)) == 2 or ids == [None, None], ids
    history = history + reply.turn + row.results(reply.calls, ["sunny, 24 degrees", "noon"])
    last = row.ask(column, history, tools=True, **wants)
    assert last.text == "The tool answered: sunny, 24 degrees; noon"
    assert (last.stop, last.calls) == (row.stop, [])
    return reply, history + last.turn


def call_ids(body):
    """Ids of calls and results in a request, in whatever dialect."""
    text = json.dumps(body)
    return set(re.findall(r'"(?:tool_call_id|tool_use_id|toolUseId|call_id)": "([^"]+)"', text))


def unwrapped(reply):
    """Bedrock wraps the events of Claude in base64."""
    return reply + "".join(base64.b64decode(data).decode() for data in re.findall(r'"bytes":"([^"]+)"', reply))


@streaming
def test_two_calls_and_their_results(row, column, stream, exchanges):
    answered(row, column, [], stream=stream)
    [first, second] = exchanges()
    ids = call_ids(second["body"])
    assert len(ids) == 2 or column.name in ("gemini", "vertexai"), "two calls have two ids"
    for identity in ids:
        assert identity in unwrapped(first["reply"]), f"{identity} is not the provider's own"


@streaming
def test_structured_output(row, column, stream, exchanges):
    reply = row.ask(column, row.user("Where is it warm?"), structured=True, stream=stream)
    if column.name == "deepseek" and not spoke_natively(row, column):
        # It has no schemas: an instruction asks for JSON and describes the schema.
        assert reply.dropped == {"response_format"}
        assert json.loads(reply.text) and "additionalProperties" in json.dumps(exchanges()[-1]["body"])
        return
    assert json.loads(reply.text) == {"city": "city", "count": 1}
    assert (reply.stop, reply.calls) == (row.stop, [])
    # Nova takes three fields at a schema's root, and `additionalProperties` is none of them: the reply reports a hint.
    is_rewritten = column.name == "nova" and not spoke_natively(row, column)
    assert reply.dropped == ({"schema keywords"} if is_rewritten else set())


def test_image(row, column):
    reply = row.ask(column, row.user("Say: seen", image=True))
    if column.name == "deepseek" and not spoke_natively(row, column):
        assert (reply.text, reply.dropped) == ("seen", {"image"})  # it sees none
        return
    assert reply.text == "seen (with 1 image)"
    assert not reply.dropped


HAVE_URLS = [row for row in ROWS if row.dialect in ("chat", "responses", "messages")]


@pytest.mark.parametrize("row", HAVE_URLS, ids=lambda row: row.name)
def test_image_by_url(row, column):
    """Tollgate fetches it for those that don't; the ones that do fetch it themselves."""
    if spoke_natively(row, column) and column.name in ("vertexclaude", "bedrock"):
        pytest.skip("what is forwarded as it is may have no URL there")
    if column.name == "deepseek":
        pytest.skip("sees no images")
    reply = row.ask(column, row.user("Say: seen", image=VALIDATOR + "/pixel.png"))
    assert reply.text == "seen (with 1 image)"
    assert not reply.dropped


def thought_of(row, column, reply, body):
    """The reasoning, its count where the provider shows none, or the report that it is unsupported."""
    if reply.dropped & {"reasoning", "reasoning_effort", "thinking"}:
        return True
    if row.dialect == "converse" and "gpt" in column.thinker:
        # OpenAI shows no reasoning unless it is requested, and Converse does not count it separately.
        return "reasoning_effort" in body or "effort" in body.get("reasoning", {})
    return reply.reasoning.startswith("Thinking about:") or reply.reasoning_tokens > 0


@streaming
def test_thinking(row, column, stream, exchanges):
    reply = row.ask(column, row.user("Say: done"), thinking=True, stream=stream)
    assert (reply.text, reply.stop) == ("done", row.stop)
    assert thought_of(row, column, reply, exchanges()[0]["body"]), reply


@streaming
def test_thinking_and_calling_twice_around(row, column, stream, exchanges):
    if (row.name, column.name, stream) == ("chat", "mistral", True):
        pytest.skip("forwarded as they are, and the client's own helper can't add up the lists that Mistral streams")
    first, history = answered(row, column, [], thinking=True, stream=stream)
    assert thought_of(row, column, first, exchanges()[0]["body"]), first
    answered(row, column, history, thinking=True, stream=stream)


@only("anthropic", "vertexclaude", "bedrock")
@streaming
def test_redacted_reasoning_is_sent_back(row, column, stream, exchanges):
    """Claude's redacted reasoning is sent back unchanged, or the simulator refuses the next call."""
    first, history = answered(row, column, [], words="Use the redacted tools in parallel", thinking=True, stream=stream)
    assert "redacted" in json.dumps(exchanges()[1]["body"]["messages"][1]).lower()
    answered(row, column, history, thinking=True, stream=stream)


def test_system_and_earlier_turns(row, column, exchanges):
    history = row.user("Say: one") + row.ask(column, row.user("Say: one")).turn + row.user("Say: two")
    reply = row.ask(column, history, system="You are the pilot.")
    assert reply.text == "two"
    body = json.dumps(exchanges()[-1]["body"])
    places = [body.index(words) for words in ("Say: one", '"one"', "Say: two")]
    assert places == sorted(places)
    assert body.count("You are the pilot.") == 1


# How a setting may be spelled on its way to a provider.
SPELLED = {
    "seed": r'"(random_)?seed"',
    "presence_penalty": r'"presence_?penalty"',
    "temperature": r'"temperature"',
    "top_p": r'"top_?p"',
    "top_k": r'"top_?k"',
    "logit_bias": r'"logit_bias"',
    "truncation": r'"truncation"',
    "inference_geo": r'"inference_geo"',
    "service_tier": r'"service_?tier"',
    "performanceConfig": r'"performanceConfig"',
}


def test_no_setting_is_lost_silently(row, column, exchanges):
    if spoke_natively(row, column):
        pytest.skip("forwarded as it is")
    reply = row.ask(column, row.user("Say: done"), settings=row.settings)
    assert reply.text == "done"
    body = json.dumps(exchanges()[-1]["body"])
    settings = {name for name in flat(row.settings) if name in SPELLED}
    lost = {name for name in settings if not re.search(SPELLED[name], body, re.IGNORECASE)}
    assert reply.dropped == lost


def flat(settings):
    for name, value in settings.items():
        yield name
        if isinstance(value, dict):
            yield from flat(value)
