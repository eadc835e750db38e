"""The `openai` client: Chat Completions and Responses."""

import functools
import json

import openai
from openai.lib.streaming.chat import ChatCompletionStreamState

from clients import CITY, PIXEL_URL, TOOLS, Call, Reply, Row, dropped


@functools.cache
def client(url):
    return openai.OpenAI(base_url=url + "/v1", api_key="mine", max_retries=0, timeout=30)


class OpenAI(Row):
    not_found = openai.NotFoundError
    rate_limited = openai.RateLimitError
    any_error = openai.APIError

    def error_says(self, error):
        """The status, the dialect's error code and its retry delay."""
        assert isinstance(error.body, dict) and error.body["message"], error.body
        assert "type" in error.body and "code" in error.body, error.body
        return error.status_code, error.body["code"], error.response.headers.get("retry-after")


class Chat(OpenAI):
    name = dialect = "chat"
    unknown_word, limited_word = "model_not_found", "rate_limit_exceeded"
    stop, tool_stop = "stop", "tool_calls"
    settings = {"seed": 7, "presence_penalty": 0.5, "temperature": 0.5, "top_p": 0.9, "logit_bias": {"17": -100}}

    def user(self, text, image=False):
        if not image:
            return [{"role": "user", "content": text}]
        return [{"role": "user", "content": [{"type": "text", "text": text},
                                             {"type": "image_url", "image_url": {"url": image_url(image)}}]}]

    def results(self, calls, texts):
        return [{"role": "tool", "tool_call_id": call.id, "content": text} for call, text in zip(calls, texts)]

    def request(self, ask):
        system = [{"role": "system", "content": ask.system}] if ask.system else []
        request = {
            "model": ask.named,
            "messages": system + ask.history,
            "extra_headers": self.headers(ask),
            **ask.settings,
        }
        if ask.tools:
            request["tools"] = [
                {"type": "function", "function": {"name": name, "description": about, "parameters": shape}}
                for name, (about, shape) in TOOLS.items()
            ]
        if ask.structured:
            shape = {"name": "city", "schema": CITY, "strict": True}
            request["response_format"] = {"type": "json_schema", "json_schema": shape}
        if ask.thinking:
            # Each has its own parameters, which a direct client must know.
            request |= {
                "mistral": {"reasoning_effort": "high"}, "deepseek": {"extra_body": {"thinking": {"type": "enabled"}}},
            }.get(ask.column.name, {"reasoning_effort": "low"})
        # Mistral refuses the option and sends its usage anyway.
        if ask.stream and ask.column.name != "mistral":
            request["stream_options"] = {"include_usage": True}
        return request

    def buffered(self, ask):
        raw = client(ask.url).chat.completions.with_raw_response.create(**self.request(ask))
        return self.read(raw.parse(), dropped(raw.headers))

    def events(self, ask):
        stream = client(ask.url).chat.completions.create(stream=True, **self.request(ask))
        return stream, stream.close, stream.response.headers

    def streamed(self, ask):
        state, pieces = ChatCompletionStreamState(), []
        usages = []
        stream, _, headers = self.events(ask)
        for chunk in stream:
            state.handle_chunk(chunk)
            pieces += [choice.delta.content for choice in chunk.choices if choice.delta.content]
            usages += [chunk.usage] if chunk.usage else []
        assert usages, "no usage in the stream"
        completion = state.get_final_completion()
        completion.usage = usages[-1]
        reply = self.read(completion, dropped(headers))
        reply.pieces = pieces
        return reply

    def read(self, completion, lost):
        [choice] = completion.choices
        assert completion.object == "chat.completion"
        message, usage = choice.message, completion.usage
        assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
        calls = [
            Call(call.id, call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls or []
        ]
        content = message.content or ""
        reasoning = getattr(message, "reasoning_content", None) or ""
        if not isinstance(content, str):
            # Mistral's reasoning is a part of the content.
            reasoning = "".join(
                part["text"] for chunk in content if chunk["type"] == "thinking" for part in chunk["thinking"]
            )
            content = "".join(chunk["text"] for chunk in content if chunk["type"] == "text")
        details = usage.completion_tokens_details
        return Reply(content, choice.finish_reason, usage.prompt_tokens, usage.completion_tokens,
                     [clean(message.model_dump(exclude_none=True, exclude={"annotations"}))], calls, reasoning,
                     details and details.reasoning_tokens or 0, dropped=lost)


def image_url(image):
    return PIXEL_URL if image is True else image


def clean(value):
    """Without what the client's own helpers and its types of streams add to a message."""
    if isinstance(value, list):
        return [clean(item) for item in value]
    if isinstance(value, dict):
        calls = "function" in value and "index" in value
        own = ("parsed", "parsed_arguments") + (("index",) if calls else ())
        return {key: clean(item) for key, item in value.items() if key not in own}
    return value


class Responses(OpenAI):
    name = dialect = "responses"
    unknown_word, limited_word = "model_not_found", "rate_limit_exceeded"
    stop, tool_stop = "completed", "completed"
    settings = {"temperature": 0.5, "top_p": 0.9, "truncation": "auto"}

    def user(self, text, image=False):
        if not image:
            return [{"role": "user", "content": text}]
        return [{"role": "user", "content": [{"type": "input_text", "text": text},
                                             {"type": "input_image", "image_url": image_url(image), "detail": "auto"}]}]

    def results(self, calls, texts):
        return [
            {"type": "function_call_output", "call_id": call.id, "output": text} for call, text in zip(calls, texts)
        ]

    def request(self, ask):
        request = {
            "model": ask.named,
            "input": ask.history,
            "extra_headers": self.headers(ask),
            "store": False,
            **ask.settings,
        }
        if ask.system:
            request["instructions"] = ask.system
        if ask.tools:
            request["tools"] = [
                {"type": "function", "name": name, "description": about, "parameters": shape, "strict": False}
                for name, (about, shape) in TOOLS.items()
            ]
        if ask.structured:
            request["text"] = {"format": {"type": "json_schema", "name": "city", "schema": CITY, "strict": True}}
        if ask.thinking:
            request |= {"reasoning": {"effort": "low", "summary": "auto"}, "include": ["reasoning.encrypted_content"]}
        return request

    def buffered(self, ask):
        raw = client(ask.url).responses.with_raw_response.create(**self.request(ask))
        return self.read(raw.parse(), dropped(raw.headers))

    def events(self, ask):
        stream = client(ask.url).responses.create(stream=True, **self.request(ask))
        return self.failing(stream), stream.close, stream.response.headers

    @staticmethod
    def failing(stream):
        """The client does not raise for a reply that fails within its stream."""
        for event in stream:
            if event.type in ("error", "response.failed"):
                raise openai.APIError(str(event), request=None, body=None)
            yield event

    def streamed(self, ask):
        pieces, final = [], None
        with client(ask.url).responses.stream(**self.request(ask)) as stream:
            for number, event in enumerate(stream):
                assert event.sequence_number == number, event
                if event.type == "response.output_text.delta":
                    pieces.append(event.delta)
                if event.type in ("error", "response.failed"):
                    raise openai.APIError(str(event), request=None, body=None)
            final = stream.get_final_response()
        reply = self.read(final, dropped(stream._response.headers))
        reply.pieces = pieces
        return reply

    def read(self, response, lost):
        assert response.id and response.model and response.created_at and response.object == "response"
        usage = response.usage
        calls = [Call(item.call_id, item.name, json.loads(item.arguments)) for item in response.output
                 if item.type == "function_call"]
        reasoning = "".join(part.text for item in response.output if item.type == "reasoning" for part in item.summary)
        return Reply(response.output_text, response.status, usage.input_tokens, usage.output_tokens,
                     [clean(item.model_dump(exclude_none=True)) for item in response.output], calls, reasoning,
                     usage.output_tokens_details.reasoning_tokens, dropped=lost)
