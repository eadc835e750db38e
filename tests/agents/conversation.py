"""What the dialects read requests into, and what a reply is made from."""

from dataclasses import dataclass, field


class Lost(Exception):
    """What arrived cannot be what the model said and the tools answered."""


@dataclass
class Tool:
    name: str
    # The JSON schema of its arguments; of a tool that takes text, `None`.
    schema: dict | None
    namespace: str | None = None
    # `search` finds tools that are not on offer yet.
    search: bool = False


@dataclass
class Call:
    name: str
    # An object, or the text of a tool without a schema.
    arguments: dict | str
    id: str | None = None
    namespace: str | None = None
    search: bool = False

    def same(self, other):
        """Whether `other` is this call. An agent may have written the defaults of what was left out into it."""
        mine, theirs = self.arguments, other.arguments
        if isinstance(mine, dict) and isinstance(theirs, dict):
            theirs = {name: value for name, value in theirs.items() if name in mine or value not in (False, None)}
        return (self.name, mine, self.namespace) == (other.name, theirs, other.namespace)


@dataclass
class Result:
    id: str | None
    text: str
    images: list = field(default_factory=list)


@dataclass
class Conversation:
    """A request as its dialect's module reads it."""

    tools: list
    # Texts of the user, instructions not among them.
    said: str
    calls: list
    # One for each call; `None` where it has no result.
    results: list
    # The schema of the wanted answer; `{}` for any JSON.
    schema: dict | None = None
    # Pictures that the user shows, in this dialect also those that belong to a result.
    images: list = field(default_factory=list)
    reasoning: bool = False
    # The name of the tool that must be called; empty where any must.
    forced: str | None = None


@dataclass
class Step:
    text: str = ""
    calls: list = field(default_factory=list)
    # What the model thinks before, where the request wants that it thinks.
    reasoning: str = ""


def sample(schema, name):
    """A value of the schema."""
    schema = schema if isinstance(schema, dict) else {}
    if "enum" in schema:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return sample(schema[several][0], name)
    kind = schema.get("type", "string")
    kind = (kind[0] if isinstance(kind, list) else kind).lower()
    if kind == "object":
        properties = schema.get("properties", {})
        return {each: sample(properties.get(each, {}), each) for each in schema.get("required", properties)}
    if kind == "array":
        return [sample(schema.get("items", {}), name)] * schema.get("minItems", 0)
    if kind in ("integer", "number"):
        return schema.get("minimum", 1)
    return {"boolean": False, "null": None}.get(kind, f"the {name}")
