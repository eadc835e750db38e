"""The common interface of the rows of the grid, which are the official clients.

A row keeps its own dialect's messages: `user`, `results` and `Reply.turn` are lists of them. A history is their
sum, and only `ask` reads a reply.
"""

import base64
from dataclasses import dataclass, field

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PIXEL_URL = "data:image/png;base64," + base64.b64encode(PIXEL).decode()

# The model must think less than it may say.
BUDGET, LIMIT = 1024, 4000


def schema(**properties):
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


CITY = schema(city={"type": "string"}, count={"type": "integer"})
TOOLS = {
    "get_weather": ("The weather of a city.", schema(city={"type": "string"})),
    "get_time": ("The time in a zone.", schema(zone={"type": "string", "enum": ["utc", "local"]})),
}


@dataclass
class Call:
    id: str | None
    name: str
    arguments: dict


@dataclass
class Reply:
    """What came back, in no dialect; `turn` is how it is said in the history."""

    text: str
    stop: str
    prompt_tokens: int
    output_tokens: int
    turn: list
    calls: list = field(default_factory=list)
    reasoning: str = ""
    reasoning_tokens: int = 0
    # The texts of a stream as they came.
    pieces: list = field(default_factory=list)
    # Names of what Tollgate left out.
    dropped: set = field(default_factory=set)


@dataclass
class Ask:
    """What a test wants of `Row.ask`."""

    column: object
    history: list
    stream: bool = False
    system: str | None = None
    tools: bool = False
    structured: bool = False
    thinking: bool = False
    # Parameters as the row's client names them.
    settings: dict = field(default_factory=dict)
    model: str | None = None
    fault: str | None = None

    @property
    def named(self):
        return self.model or (self.column.thinker if self.thinking else self.column.model)

    @property
    def url(self):
        return self.column.url(thinking=self.thinking, model=self.model)


class Row:
    """One client. Subclasses have `dialect`, `not_found` and `rate_limited` (exceptions), and the methods below."""

    name = dialect = ""
    # What a test named itself, for the validator; set by its fixture.
    test = ""
    # Settings that few providers have, with what they look like on the way to those that do.
    settings = {}

    def headers(self, ask):
        headers = {"x-simulator-grid-test": Row.test}
        return headers | ({"x-simulator-fault": ask.fault} if ask.fault else {})

    def ask(self, column, history, **wants):
        """Asks and reads the reply to its end."""
        ask = Ask(column, history, **wants)
        return self.streamed(ask) if ask.stream else self.buffered(ask)

    def user(self, text, image=False):
        raise NotImplementedError

    def results(self, calls, texts):
        raise NotImplementedError

    def buffered(self, ask):
        raise NotImplementedError

    def streamed(self, ask):
        raise NotImplementedError

    def events(self, ask):
        """A stream of native events, the function that closes it, and the reply's headers."""
        raise NotImplementedError


def dropped(headers):
    """What the reply says that was left out of the request, hints included."""
    header = {name.lower(): value for name, value in headers.items()}.get("x-tollgate-dropped")
    return {name.removesuffix(";hint") for name in header.split(", ")} if header else set()
