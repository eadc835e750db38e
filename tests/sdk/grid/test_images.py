"""Images that a model makes: each client asks for them, reads them, and sends them back."""

import base64

import google_row
import openai_rows
import pytest
from clients import Row
from columns import only
from google.genai import types

MODEL = "gemini-2.5-flash-image"
PNG = b"\x89PNG\r\n\x1a\n"
gemini = only("gemini")


def named():
    return {"x-simulator-grid-test": Row.test}


def of_url(url):
    head, _, data = url.partition(",")
    assert head == "data:image/png;base64"
    return base64.b64decode(data)


@gemini
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_chat(column, stream):
    client = openai_rows.client(column.url())
    asked = {"modalities": ["image", "text"], "image_config": {"aspect_ratio": "1:1"}}
    history = [{"role": "user", "content": "Draw a dot"}]
    for _ in range(2):
        reply = client.chat.completions.create(
            model=MODEL, messages=history, stream=stream, extra_body=asked, extra_headers=named())
        if stream:
            deltas = [chunk.choices[0].delta for chunk in reply if chunk.choices]
            images = [image for delta in deltas for image in getattr(delta, "images", None) or []]
            text = "".join(delta.content or "" for delta in deltas)
        else:
            images, text = reply.choices[0].message.images, reply.choices[0].message.content
        [image] = images
        assert of_url(image["image_url"]["url"]).startswith(PNG) and image["index"] == 0 and text
        history += [{"role": "assistant", "content": text, "images": images}, {"role": "user", "content": "Bigger"}]


@gemini
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_responses(column, stream):
    client = openai_rows.client(column.url())
    history = [{"role": "user", "content": "Draw a dot"}]
    for _ in range(2):
        reply = client.responses.create(
            model=MODEL, input=history, stream=stream, tools=[{"type": "image_generation", "size": "1024x1024"}],
            extra_headers=named())
        if stream:
            events = list(reply)
            kinds = [event.type for event in events if "image_generation_call" in event.type]
            steps = ("in_progress", "generating", "completed")
            assert kinds == [f"response.image_generation_call.{step}" for step in steps]
            reply = events[-1].response
        [image] = [item for item in reply.output if item.type == "image_generation_call"]
        assert base64.b64decode(image.result).startswith(PNG) and image.status == "completed"
        history += [item.model_dump(exclude_none=True) for item in reply.output]
        history.append({"role": "user", "content": "Bigger"})


@gemini
def test_gemini(column):
    config = types.GenerateContentConfig(
        response_modalities=["TEXT", "IMAGE"], http_options=types.HttpOptions(headers=named()))
    reply = google_row.client(column.url(), None).models.generate_content(
        model=MODEL, contents="Draw a dot", config=config)
    [image] = [part.inline_data for part in reply.candidates[0].content.parts if part.inline_data]
    assert image.data.startswith(PNG)
