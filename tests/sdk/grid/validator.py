"""A proxy between Tollgate and the simulator that checks every request against the vendor's types.

    validator.py PORT SIMULATOR_PORT

`GET /violations?test=ID` lists the violations of the requests with `x-simulator-grid-test: ID` (without `test`: of all
requests).
`GET /exchanges?test=ID` has the requests themselves, with the first bytes of each reply and whether Tollgate
disconnected before its end.
`GET /pixel.png` is an image.
"""

import asyncio
import base64
import json
import sys
import urllib.parse

from vendors import Request, complaints

KEPT = 256 * 1024
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

violations = []
exchanges = []


async def read_request(reader):
    """The head and the body of the next request, and the bytes that they were."""
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body, raw = b"", b""
    if "content-length" in headers:
        body = raw = await reader.readexactly(int(headers["content-length"]))
    elif headers.get("transfer-encoding") == "chunked":
        size = -1
        while size != 0:
            line = await reader.readuntil(b"\r\n")
            size = int(line.split(b";")[0], 16)
            chunk = await reader.readexactly(size + 2)
            body, raw = body + chunk[:size], raw + line + chunk
    return method, path, headers, body, head, raw


def judge(method, path, headers, body):
    test = headers.get("x-simulator-grid-test", "")
    exchange = {"test": test, "method": method, "host": headers.get("host", ""), "path": path, "headers": headers,
                "body": None, "reply": "", "left": False}
    exchanges.append(exchange)
    if method == "GET":
        return exchange
    try:
        exchange["body"] = json.loads(body)
        wrong = complaints(Request(exchange["host"], path, headers, exchange["body"]))
    except Exception as error:
        wrong = [f"{type(error).__name__}: {error}"]
    if wrong:
        shown = body.decode(errors="replace")[:4000]
        violations.append({"test": test, "host": exchange["host"], "path": path, "complaints": wrong, "body": shown})
    return exchange


async def own(writer, path):
    url = urllib.parse.urlsplit(path)
    [test] = urllib.parse.parse_qs(url.query, keep_blank_values=True).get("test", [None])
    kind = "application/json"
    if url.path == "/pixel.png":
        kind, content = "image/png", PIXEL
    else:
        rows = {"/violations": violations, "/exchanges": exchanges}[url.path]
        content = json.dumps([row for row in rows if test is None or row["test"] == test]).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(content)}\r\nconnection: close\r\n\r\n"
    writer.write(head.encode() + content)
    await writer.drain()
    writer.close()


async def forward(reader, writer, exchange, head, raw, simulator):
    upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", simulator, limit=1 << 26)
    # One request a connection, so that the end of the reply is the end of the stream.
    upstream.write(head[:-2] + b"connection: close\r\n\r\n" + raw)

    async def back():
        while data := await upstream_reader.read(65536):
            if len(exchange["reply"]) < KEPT:
                exchange["reply"] += data.decode("latin-1")
            writer.write(data)
            await writer.drain()

    replying = asyncio.create_task(back())
    leaving = asyncio.create_task(reader.read(1))
    await asyncio.wait({replying, leaving}, return_when=asyncio.FIRST_COMPLETED)
    exchange["left"] = not replying.done()
    broken = replying.done() and replying.exception() is not None
    for task in (replying, leaving):
        task.cancel()
    await asyncio.gather(replying, leaving, return_exceptions=True)
    upstream.transport.abort() if exchange["left"] else upstream.close()
    writer.transport.abort() if broken or exchange["left"] else writer.close()


async def serve(port, simulator):
    async def connection(reader, writer):
        try:
            method, path, headers, body, head, raw = await read_request(reader)
            if headers.get("host", "").startswith("127.0.0.1:"):
                await own(writer, path)
            else:
                exchange = judge(method, path, headers, body)
                await forward(reader, writer, exchange, head, raw, simulator)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.transport.abort()

    async with await asyncio.start_server(connection, "127.0.0.1", port, limit=1 << 26) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
