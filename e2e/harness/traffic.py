"""Requests, load, and what the pods' metrics say of them."""

import collections
import http.client
import json
import re
import threading
import time

CHAT = {"model": "gpt-5.4-mini", "messages": [{"role": "user", "content": "Explain how AI works in a few words"}]}
GEMINI = {"contents": [{"parts": [{"text": "Explain how AI works in a few words"}]}]}
JSON = {"content-type": "application/json"}


class Reply:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


def request(host, port, path, body=None, headers=None, method=None, timeout=15):
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    payload = body if body is None or isinstance(body, (bytes, str)) else json.dumps(body)
    try:
        connection.request(
            method or ("POST" if payload is not None else "GET"), path, payload, {**JSON, **(headers or {})}
        )
        reply = connection.getresponse()
        return Reply(reply.status, reply.headers, reply.read().decode(errors="replace"))
    finally:
        connection.close()


def chat(host, port, path="/openai/v1/chat/completions", body=None, **more):
    return request(host, port, path, CHAT if body is None else body, **more)


class Load:
    """Clients that post again and again until `stop`; every request that is not answered whole with 200 is a failure.

    `keep_alive` clients keep one connection as SDKs do and never send a request twice; the others make a connection
    for each request. A client pauses between requests so that load does not become a benchmark of a small machine.
    """

    running = []

    @classmethod
    def end_all(cls):
        """Ends what a test that failed left running."""
        while cls.running:
            cls.running.pop().stopping.set()

    def __init__(self, host, port, path="/openai/v1/chat/completions", body=None, headers=None, keep_alive=4, fresh=2,
                 pause=0.01):
        self.target = (host, port)
        self.path = path
        self.body = json.dumps(CHAT if body is None else body)
        self.headers = {**JSON, **(headers or {})}
        self.pause = pause
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.served = 0
        self.failures = collections.Counter()
        self.started = time.monotonic()
        kinds = [True] * keep_alive + [False] * fresh
        self.threads = [threading.Thread(target=self._client, args=(kind,), daemon=True) for kind in kinds]
        self.running.append(self)
        for thread in self.threads:
            thread.start()

    def _client(self, keep_alive):
        connection = None
        while not self.stopping.is_set():
            reused = connection is not None
            if connection is None:
                connection = http.client.HTTPConnection(*self.target, timeout=20)
            begun = time.monotonic() - self.started
            try:
                connection.request("POST", self.path, self.body, self.headers)
                reply = connection.getresponse()
                text = reply.read()
                problem = None if reply.status == 200 else f"{reply.status} {text[:200]!r}"
                if not keep_alive or reply.will_close:
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException) as error:
                problem = f"{type(error).__name__}: {error} on a {'kept' if reused else 'fresh'} connection"
                connection.close()
                connection = None
            with self.lock:
                if problem is None:
                    self.served += 1
                else:
                    elapsed = time.monotonic() - self.started
                    self.failures[problem] += 1
                    if self.failures[problem] == 1:
                        print(f"first, begun after {begun:.2f} s, at {elapsed:.2f} s of the load: {problem}")
            self.stopping.wait(self.pause)
        if connection is not None:
            connection.close()

    def reach(self, more):
        """Waits until so many more requests were served: the sign that traffic goes on. Fails when it stops."""
        goal = self.served + more
        deadline = time.monotonic() + 30
        while self.served < goal:
            assert time.monotonic() < deadline, f"traffic has stopped at {self.served}: {dict(self.failures)}"
            time.sleep(0.02)

    def stop(self):
        """Ends the clients; how many requests were served. Fails when any was not."""
        self.stopping.set()
        self.running.remove(self)
        for thread in self.threads:
            thread.join(30)
        failed = sum(self.failures.values())
        elapsed = time.monotonic() - self.started
        print(f"{self.served} requests served in {elapsed:.1f} s, {failed} failed")
        assert failed == 0, f"{failed} of {self.served + failed} requests failed: {self.failures.most_common(5)}"
        assert self.served > 0, "no request was served"
        return self.served


SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Metrics:
    """One scrape of a pod's admin port."""

    def __init__(self, host, port=9092):
        self.text = request(host, port, "/metrics").body
        self.samples = []
        for line in self.text.splitlines():
            found = SAMPLE.match(line)
            if found:
                self.samples.append((found[1], dict(LABEL.findall(found[2] or "")), float(found[3])))

    def sum(self, name, **labels):
        """The sum of all series of this name with these labels."""
        wanted = labels.items()
        return sum(v for n, has, v in self.samples if n == name and wanted <= has.items())

    def families(self):
        return set(re.findall(r"^# TYPE (\S+)", self.text, re.M))

    def rss_mib(self):
        return self.sum("process_resident_memory_bytes") / 2**20
