"""The scripted provider: every vendor on one port, told apart by host and path.

A request is judged first: by the types of the vendor's SDK, by Tollgate's simulator, which refuses what the vendor
refuses, and by the script itself, which knows what the model said before. What one of them refuses is answered with
400, and is in the cell's problems, which fail the test.
"""

import http.client
import http.server
import importlib.util
import json
import pathlib
import re
import threading
import urllib.parse
from dataclasses import dataclass, field

import chat
import converse
import generate
import messages
import responses
from conversation import Lost
from script import following
from wire import signature

GRID = pathlib.Path(__file__).parent.parent / "sdk" / "grid"
_spec = importlib.util.spec_from_file_location("vendors", GRID / "vendors.py")
vendors = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(vendors)

# Servers without the Responses API.
NO_RESPONSES = ("api.mistral.ai", "api.deepseek.com", "llama.example")


@dataclass
class Request:
    method: str
    host: str
    path: str
    headers: dict
    raw: bytes
    serial: int
    body: dict = field(default_factory=dict)

    @property
    def vendor(self):
        return "openai" if self.host == "api.openai.com" or self.host.endswith(".openai.azure.com") else self.host

    @property
    def url(self):
        return urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)

    @property
    def model(self):
        found = re.search(r"/model/(.+)/[^/]+$|/models/([^/:]+):", self.url)
        return (found[1] or found[2]) if found else self.body.get("model", "")


@dataclass
class Cell:
    """An agent at a provider: what the model did, and what was wrong."""

    # Whether Tollgate translates. Else the body is the agent's own, which may use more than the SDK's types have.
    translated: bool = True
    issued: list = field(default_factory=list)
    last: int = 0
    turns: int = 0
    # Signatures of the model's reasoning, and those that a later request did not bring back.
    signed: list = field(default_factory=list)
    lost: list = field(default_factory=list)
    problems: list = field(default_factory=list)
    exchanges: list = field(default_factory=list)


class Endpoint:
    """What a path is: the module of its dialect, whether it streams, and how."""

    def __init__(self, dialect, streams, stream=None, kind="text/event-stream"):
        self.dialect, self.streams, self.stream, self.kind = dialect, streams, stream or dialect.stream, kind


AWS = "application/vnd.amazon.eventstream"
COUNTS = {"/messages/count_tokens": "input_tokens", "/responses/input_tokens": "input_tokens",
          ":countTokens": "totalTokens", "/count-tokens:rawPredict": "input_tokens", "/count-tokens": "inputTokens"}


def endpoint(request):
    url, streams = request.url, bool(request.body.get("stream"))
    for end, found in {
        "/chat/completions": Endpoint(chat, streams),
        "/responses": Endpoint(responses, streams),
        "/messages": Endpoint(messages, streams),
        ":rawPredict": Endpoint(messages, False),
        ":streamRawPredict": Endpoint(messages, True),
        "/invoke": Endpoint(messages, False),
        "/invoke-with-response-stream": Endpoint(messages, True, messages.frames, AWS),
        "/converse": Endpoint(converse, False),
        "/converse-stream": Endpoint(converse, True, kind=AWS),
        ":generateContent": Endpoint(generate, False),
        ":streamGenerateContent": Endpoint(generate, True),
    }.items():
        if url.endswith(end):
            return found
    return None


def signers(request):
    """The vendor that signs the model's reasoning in this reply, if one does."""
    dialect = endpoint(request).dialect
    if dialect is converse:
        return ["claude"] if "claude" in request.model else []
    return {responses: ["openai"], messages: ["claude"], generate: ["gemini"]}.get(dialect, [])


class Upstream:
    """Listens on a free port of this machine from `start` on."""

    def __init__(self, simulator):
        self.simulator, self.cell, self.lock, self.serial = simulator, Cell(), threading.Lock(), 0
        handler = type("Handler", (Handler,), {"upstream": self})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]

    def start(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, request):
        """The status, the media type, and the body: bytes, or an iterator of a stream's."""
        cell = self.cell
        if request.method == "GET" and request.url.endswith("/models"):
            return self.json(200, {"object": "list", "data": [], "models": []})
        found = endpoint(request)
        if request.url.endswith("/responses") and request.host in NO_RESPONSES:
            return self.json(404, {"detail": "Not Found"})
        counts = next((name for end, name in COUNTS.items() if request.url.endswith(end)), None)
        if request.method != "POST" or not (found or counts):
            cell.problems.append(f"{request.method} {request.host}{request.path}: there is nothing there")
            return self.json(404, {"error": {"message": "Not Found"}})
        wrong = self.judged(request, cell)
        if counts and not wrong:
            return self.json(200, {counts: 100})
        dialect = found.dialect if found else chat
        try:
            if wrong:
                raise Lost(wrong)
            step = self.step(request, dialect.read(request), cell)
        except (Lost, LookupError, TypeError, ValueError) as error:
            said = f"{type(error).__name__}: {error}"
            cell.problems.append(f"{request.host}{request.path}: {said}")
            return self.json(400, dialect.error(said))
        if found.streams:
            return 200, found.kind, found.stream(request, step)
        return self.json(200, dialect.reply(request, step))

    def step(self, request, conversation, cell):
        step = following(conversation, cell.issued, cell.last)
        if not conversation.reasoning:
            step.reasoning = ""
        if conversation.forced is None and conversation.tools and (step.calls or conversation.calls):
            if cell.turns and len(conversation.calls) < len(cell.issued):
                cell.problems.append("the agent asked again, so it could not use the reply")
            cell.turns += 1
            cell.lost = [each for each in cell.signed if each.encode() not in request.raw]
            cell.signed += [signature(vendor, step.reasoning) for vendor in signers(request) if step.reasoning]
            cell.issued = [*cell.issued[:len(conversation.calls)], *step.calls]
            cell.last = len(step.calls)
        if cell.turns > 30:
            raise Lost("the task takes too many turns")
        return step

    def judged(self, request, cell):
        """What is wrong with the request, in one line; empty when its vendor would take it."""
        if cell.translated:
            wrong = vendors.complaints(vendors.Request(request.host, request.path, request.headers, request.body))
            if wrong:
                return "the types of the vendor's SDK: " + "; ".join(wrong)
        if request.url.endswith("/responses/input_tokens"):
            # The simulator has no such endpoint.
            return ""
        connection = http.client.HTTPConnection("127.0.0.1", self.simulator, timeout=30)
        connection.putrequest(request.method, request.path, skip_host=True, skip_accept_encoding=True)
        for name, value in request.headers.items():
            if name not in ("connection", "transfer-encoding", "content-length"):
                connection.putheader(name, value)
        connection.putheader("content-length", str(len(request.raw)))
        connection.endheaders(request.raw)
        reply = connection.getresponse()
        wrong = f"the simulator: {reply.status} {reply.read().decode()[:2000]}" if reply.status >= 400 else ""
        connection.close()
        return wrong

    @staticmethod
    def json(status, value):
        return status, "application/json", json.dumps(value).encode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Small writes are events, which are not to wait for each other.
    disable_nagle_algorithm = True
    upstream = None

    def do_POST(self):
        raw = self.content()
        with self.upstream.lock:
            self.upstream.serial += 1
            headers = {name.lower(): value for name, value in self.headers.items()}
            host = headers.get("host", "").partition(":")[0]
            request = Request(self.command, host, self.path, headers, raw, self.upstream.serial)
            exchange = {"method": self.command, "url": host + self.path, "request": raw.decode(errors="replace")}
            self.upstream.cell.exchanges.append(exchange)
            try:
                request.body = json.loads(raw) if raw else {}
                status, kind, body = self.upstream.answer(request)
            except Exception as error:
                self.upstream.cell.problems.append(f"{host}{self.path}: {type(error).__name__}: {error}")
                status, kind, body = Upstream.json(500, {"error": {"message": str(error)}})
        exchange["status"] = status
        self.send_response(status)
        self.send_header("content-type", kind)
        if isinstance(body, bytes):
            exchange["reply"] = body.decode(errors="replace")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        exchange["reply"] = ""
        for piece in body:
            exchange["reply"] += piece.decode(errors="replace")
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    do_GET = do_DELETE = do_HEAD = do_POST

    def content(self):
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            content = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return content
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def log_message(self, *_):
        pass
