"""The `anthropic` client: Messages, in both versions of the API."""

import base64
import functools

import anthropic

from clients import BUDGET, CITY, LIMIT, PIXEL, TOOLS, Call, Reply, Row, dropped


@functools.cache
def client(url, version):
    headers = {"anthropic-version": version} if version else {}
    return anthropic.Anthropic(base_url=url, api_key="mine", max_retries=0, timeout=30, default_headers=headers)


class Messages(Row):
    name = dialect = "messages"
    # The client's own, 2026-10-21.
    version = None
    not_found = anthropic.NotFoundError
    rate_limited = anthropic.RateLimitError
    any_error = anthropic.APIError
    unknown_word, limited_word = "not_found_error", "rate_limit_error"
    stop, tool_stop = "end_turn", "tool_use"
    settings = {"inference_geo": "us"}

    def error_says(self, error):
        assert error.body["type"] == "error" and error.body["error"]["message"], error.body
        return error.status_code, error.body["error"]["type"], error.response.headers.get("retry-after")

    def user(self, text, image=False):
        if not image:
            return [{"role": "user", "content": text}]
        source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(PIXEL).decode()}
        if image is not True:
            source = {"type": "url", "url": image}
        return [{"role": "user", "content": [{"type": "image", "source": source}, {"type": "text", "text": text}]}]

    def results(self, calls, texts):
        return [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": text}
                                             for call, text in zip(calls, texts)]}]

    def request(self, ask):
        request = {"model": ask.named, "max_tokens": LIMIT, "messages": ask.history, "extra_headers": self.headers(ask),
                   **ask.settings}
        if ask.system:
            request["system"] = ask.system
        if ask.tools:
            request["tools"] = [{"name": name, "description": about, "input_schema": shape}
                                for name, (about, shape) in TOOLS.items()]
        if ask.structured:
            request["output_config"] = {"format": {"type": "json_schema", "schema": CITY}}
        if ask.thinking:
            adaptive = "opus-4-7" in ask.named
            request["thinking"] = {"type": "adaptive", "display": "summarized"} if adaptive else {
                "type": "enabled", "budget_tokens": BUDGET}
        return request

    def buffered(self, ask):
        raw = client(ask.url, self.version).messages.with_raw_response.create(**self.request(ask))
        return self.read(raw.parse(), dropped(raw.headers))

    def events(self, ask):
        stream = client(ask.url, self.version).messages.create(stream=True, **self.request(ask))
        return stream, stream.close, stream.response.headers

    def streamed(self, ask):
        with client(ask.url, self.version).messages.stream(**self.request(ask)) as stream:
            pieces = list(stream.text_stream)
            reply = self.read(stream.get_final_message(), dropped(stream.response.headers))
        reply.pieces = pieces
        return reply

    def read(self, message, lost):
        assert message.id and message.model and message.role == "assistant"
        calls = [Call(block.id, block.name, block.input) for block in message.content if block.type == "tool_use"]
        reasoning = "".join(block.thinking for block in message.content if block.type == "thinking")
        details = getattr(message.usage, "output_tokens_details", None)
        content = [block.model_dump(exclude_none=True, exclude={"parsed_output"}) for block in message.content]
        return Reply("".join(block.text for block in message.content if block.type == "text"), message.stop_reason,
                     message.usage.input_tokens, message.usage.output_tokens,
                     [{"role": "assistant", "content": content}], calls, reasoning,
                     details and details.thinking_tokens or 0, dropped=lost)


class Messages2023(Messages):
    name, version = "messages-2023", "2023-06-01"
    # The client's types do not have them any more.
    settings = {"extra_body": {"temperature": 0.5, "top_k": 5}}
