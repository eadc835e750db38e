"""docs/clients.md: the settings of the agents, and what each of them did at each provider."""

import json
import pathlib
import textwrap

from clients import CLIENTS
from columns import CHAT, COLUMNS, GENERATE, MESSAGES, RESPONSES

HERE = pathlib.Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "clients.md"
URL = "http://HOST/ROUTE"
DIALECTS = {CHAT: "OpenAI Chat Completions", RESPONSES: "OpenAI Responses", MESSAGES: "Anthropic Messages",
            GENERATE: "Gemini"}

HEAD = """\
# Clients

Settings of agents and libraries for Tollgate, and what each agent did at each provider. `tests/agents/run` makes this
page: it installs the agents, runs them, and fails when the page is no longer true.

`http://HOST/ROUTE` is the Gateway and the path of a route whose Backend is any provider. The provider's key is the
Backend's, so the client's can be any text. A Backend with a `model` serves that model, whichever the client asks for;
the client keeps a model name that it knows.

## Agents at providers

Each agent runs without a terminal and gets one task. It reads a file and runs a command in one turn, calls a tool of an
MCP server, looks at a picture, writes a file, changes another one, and runs a check. The facts are random. A scripted
model decides each step from the offered tools and the history, in the provider's own API. Every request is checked
against the types of the vendor's SDK and the rules of the [simulator](simulator.md). The task is finished when the
files on disk have the right content.

| mark | means |
| --- | --- |
| ● | finished |
| ◐ | finished, but the model's signed reasoning does not come back to it, for the reason below the table |
| ○ | not finished, for the reason below the table |

"""

MIDDLE = """
Models of `deepseek` take no pictures, so that step is left out there. `compatible` stands for a server with Responses,
such as vLLM; `chatonly` has Chat Completions alone.

## Settings of agents

The versions are those of the run. Reports, updates and retries of the agents were turned off.
"""

TAIL = """
## Libraries

| library | base URL | shown by |
| --- | --- | --- |
| `openai` | `http://HOST/ROUTE/v1` | `just sdk-grid` |
| `anthropic` | `http://HOST/ROUTE` | `just sdk-grid` |
| `google-genai` | `http://HOST/ROUTE` in `http_options` | `just sdk-grid` |
| `boto3` | `http://HOST/ROUTE` as `endpoint_url` | `just sdk-grid` |
| Vercel `ai` | `http://HOST/ROUTE/v1` for OpenAI and Anthropic, `/v1beta` for Google | opencode, which uses it |
"""


def outcomes(found):
    """The table of the agents at the providers. `found`: a mark for each pair of names, and its reason."""
    ordered = [found[client.name, column.name][1] for client in CLIENTS for column in COLUMNS]
    reasons = [reason for reason in dict.fromkeys(ordered) if reason]

    def mark(client, column):
        sign, reason = found[client.name, column.name]
        return f"{sign}<sup>{reasons.index(reason) + 1}</sup>" if reason else sign

    lines = ["| agent | " + " | ".join(f"{column.name}<br>`{column.model}`" for column in COLUMNS) + " |",
             "| --- |" + " --- |" * len(COLUMNS)]
    lines += [f"| {client.title} | " + " | ".join(mark(client, column) for column in COLUMNS) + " |"
              for client in CLIENTS]
    return "\n".join([*lines, "", *(f"{number}. {reason}" for number, reason in enumerate(reasons, 1))]) + "\n"


def settings(client, version):
    about = f"`{client.package}` {version} speaks {DIALECTS[client.dialect]}. {client.about}"
    text = f"\n### {client.title}\n\n{textwrap.fill(about, 120, break_long_words=False)}\n"
    if client.environment:
        lines = "\n".join(f"export {name}={value}" for name, value in client.variables(URL).items())
        text += f"\n```sh\n{lines}\n```\n"
    if client.content:
        kind = "toml" if client.file.endswith(".toml") else "json"
        text += f"\n`~/{client.file}`:\n\n```{kind}\n{client.settings(URL, more=False).rstrip()}\n```\n"
    return text


def page(found):
    versions = json.loads((HERE / "package.json").read_text())["dependencies"]
    return HEAD + outcomes(found) + MIDDLE + "".join(settings(each, versions[each.package]) for each in CLIENTS) + TAIL
