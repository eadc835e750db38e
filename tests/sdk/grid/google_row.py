"""The `google-genai` client: generateContent, in v1 and v1beta."""

import functools

from google import genai
from google.genai import errors, types

from clients import BUDGET, CITY, PIXEL, TOOLS, Call, Reply, Row, dropped


@functools.cache
def client(url, version):
    """Kept: a client that is collected closes its streams."""
    options = types.HttpOptions(base_url=url, api_version=version, timeout=30_000,
                                retry_options=types.HttpRetryOptions(attempts=1))
    return genai.Client(api_key="mine", http_options=options)


class Generate(Row):
    name = dialect = "generate"
    # The client's own, v1.
    version = None
    not_found = errors.ClientError
    rate_limited = errors.ClientError
    any_error = errors.APIError
    unknown_word, limited_word = "NOT_FOUND", "RESOURCE_EXHAUSTED"
    stop = tool_stop = "STOP"
    settings = {"seed": 7, "top_k": 5, "presence_penalty": 0.5, "temperature": 0.5}

    def error_says(self, error):
        assert error.message, error.details
        return error.code, error.status, error.response.headers.get("retry-after")

    def user(self, text, image=False):
        parts = [types.Part(text=text)]
        if image:
            assert image is True, "Gemini's clients upload files, and name no other URLs"
            parts.append(types.Part.from_bytes(data=PIXEL, mime_type="image/png"))
        return [types.Content(role="user", parts=parts)]

    def results(self, calls, texts):
        parts = [
            types.Part(function_response=types.FunctionResponse(id=call.id, name=call.name, response={"output": text}))
            for call, text in zip(calls, texts)
        ]
        return [types.Content(role="user", parts=parts)]

    def request(self, ask):
        config = types.GenerateContentConfig(http_options=types.HttpOptions(headers=self.headers(ask)), **ask.settings)
        config.automatic_function_calling = types.AutomaticFunctionCallingConfig(disable=True)
        config.system_instruction = ask.system
        if ask.tools:
            config.tools = [types.Tool(function_declarations=[
                types.FunctionDeclaration(name=name, description=about, parameters_json_schema=shape)
                for name, (about, shape) in TOOLS.items()])]
        if ask.structured:
            config.response_mime_type, config.response_json_schema = "application/json", CITY
        if ask.thinking:
            how = {"thinking_level": "LOW"} if "gemini-3" in ask.named else {"thinking_budget": BUDGET}
            config.thinking_config = types.ThinkingConfig(include_thoughts=True, **how)
        return {"model": ask.named, "contents": ask.history, "config": config}

    def buffered(self, ask):
        reply = client(ask.url, self.version).models.generate_content(**self.request(ask))
        return self.read([reply])

    def events(self, ask):
        stream = client(ask.url, self.version).models.generate_content_stream(**self.request(ask))
        return stream, stream.close, None

    def streamed(self, ask):
        return self.read(list(self.events(ask)[0]))

    def read(self, chunks):
        parts = [part for chunk in chunks for candidate in (chunk.candidates or [])[:1]
                 for part in (candidate.content and candidate.content.parts) or []]
        stops = [
            candidate.finish_reason
            for chunk in chunks
            for candidate in chunk.candidates or []
            if candidate.finish_reason
        ]
        assert len(stops) == 1 and chunks[-1].candidates[0].finish_reason, stops
        assert chunks[-1].model_version and chunks[-1].response_id
        pieces = [part.text for part in parts if part.text and not part.thought]
        calls = [Call(call.id, call.name, call.args or {}) for part in parts if (call := part.function_call)]
        usage = chunks[-1].usage_metadata
        thought = usage.thoughts_token_count or 0
        assert usage.total_token_count == usage.prompt_token_count + (usage.candidates_token_count or 0) + thought
        # An empty text at the end of a stream, which carries the finish reason, is not sent back by clients.
        kept = [part for part in parts if part.text or part.function_call or part.thought_signature]
        return Reply(
            "".join(pieces),
            stops[0].value,
            usage.prompt_token_count,
            (usage.candidates_token_count or 0) + thought,
            [types.Content(role="model", parts=kept)],
            calls,
            "".join(part.text for part in parts if part.text and part.thought),
            thought,
            pieces=pieces,
            dropped=dropped(chunks[0].sdk_http_response.headers),
        )


class GenerateBeta(Generate):
    name, version = "generate-v1beta", "v1beta"
