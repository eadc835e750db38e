"""An agent framework, pydantic-ai, which calls tools in a loop of its own, by each of the clients that it knows."""

import anthropic
import openai
import pytest
from clients import Row
from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider


def openai_provider(column):
    client = openai.AsyncOpenAI(base_url=column.url() + "/v1", api_key="mine", max_retries=0, default_headers=named())
    return OpenAIProvider(openai_client=client)


def anthropic_provider(column):
    client = anthropic.AsyncAnthropic(base_url=column.url(), api_key="mine", max_retries=0, default_headers=named())
    return AnthropicProvider(anthropic_client=client)


def named():
    return {"x-simulator-grid-test": Row.test}


MODELS = {
    "chat": lambda column: OpenAIChatModel(column.model, provider=openai_provider(column)),
    "responses": lambda column: OpenAIResponsesModel(column.model, provider=openai_provider(column)),
    "messages": lambda column: AnthropicModel(column.model, provider=anthropic_provider(column)),
}


@pytest.fixture(params=MODELS)
def agent(request, column):
    if request.param == "chat" and column.name == "mistral" and "streamed" in request.node.name:
        pytest.skip(
            "asks Mistral for stream_options, which it refuses, and what is of its own dialect is forwarded as it is"
        )
    agent = Agent(MODELS[request.param](column), system_prompt="You help.")

    @agent.tool_plain
    def get_weather(city: str) -> str:
        """The weather of a city."""
        return f"sunny in {city}"

    @agent.tool_plain
    def get_time(zone: str) -> dict:
        """The time in a zone."""
        return {zone: "noon"}

    return agent


def test_a_loop(agent):
    result = agent.run_sync("Use the tools in parallel")
    assert "sunny in city" in result.output
    assert "noon" in result.output
    assert result.usage.requests == 2
    again = agent.run_sync("Say: thanks", message_history=result.all_messages())
    assert again.output == "thanks"


def test_a_streamed_loop(agent):
    with agent.run_stream_sync("Use the tools in parallel") as result:
        pieces = list(result.stream_text(delta=True, debounce_by=None))
    assert "sunny in city" in "".join(pieces)
    assert len(pieces) > 1
