"""What a new user does: the README's walk, with the manifests of the guide "Cloud LLM providers"."""

import os
import re
import subprocess

import pytest

from harness import traffic
from harness.kube import wait_for
from harness.manifests import GUIDE, GatewayHandle, documents, gateway
from harness.release import NAMESPACE, ROOT, SIMULATOR

QUESTION = "Explain how AI works in a few words"
ANSWER = "Learning patterns from data to make predictions.\n"

def at_simulator(document):
    """The Backend with its host overridden to the simulator's Service, everything else as it was."""
    if document["kind"] == "Backend":
        document["spec"]["ai"]["llm"]["hostOverride"] = {"host": SIMULATOR, "port": 80}
    return document


class PortForward:
    """`kubectl port-forward` to a Service, on a port that kubectl chooses."""

    def __init__(self, ns, name, port):
        command = ["kubectl", "port-forward", "-n", ns, f"svc/{name}", f":{port}"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        line = self.process.stdout.readline()
        found = re.search(r"127\.0\.0\.1:(\d+) ->", line)
        if not found:
            self.process.terminate()
            raise AssertionError(f"kubectl port-forward: {line}{self.process.stdout.read()}")
        self.port = int(found[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


@pytest.fixture
def own_namespace(kube):
    """Tollgate's own namespace, cleared of what a test applied there."""
    yield NAMESPACE
    for kind in ("HTTPRoute", "Backend", "Gateway", "GatewayParameters"):
        for found in kube.list(kind, NAMESPACE):
            kube.remove(kind, NAMESPACE, found["metadata"]["name"])
    kube.remove("Secret", NAMESPACE, "google-secret")
    wait_for("the Gateway's Service to go", lambda: kube.get("Service", NAMESPACE, "ai-gateway") is None, 30)


def test_the_guide_in_tollgates_own_namespace(kube, tollgate, own_namespace):
    kube.apply(gateway(NAMESPACE, "ai-gateway"))
    for document in documents(GUIDE.replace("NAMESPACE", NAMESPACE)):
        kube.apply(at_simulator(document))
    handle = GatewayHandle(kube, NAMESPACE, "ai-gateway", 8080)
    handle.serves(path="/gemini", body=traffic.GEMINI)

    before = tollgate.metrics()
    tokens = lambda m, what: m.sum(
        f"ai_{what}_tokens_total", llm="gemini", model="gemini-1.5-flash-latest"
    )  # noqa: E731
    with PortForward(NAMESPACE, "ai-gateway", 8080) as forward:
        reply = traffic.request("127.0.0.1", forward.port, "/gemini", traffic.GEMINI)
    assert reply.status == 200, reply
    found = reply.json()
    assert found["candidates"][0]["content"]["parts"] == [{"text": ANSWER}]
    assert found["usageMetadata"]["promptTokenCount"] == 8
    assert found["usageMetadata"]["candidatesTokenCount"] == 9
    assert found["modelVersion"] == "gemini-1.5-flash-latest"

    # Its tokens, as the README has them: through the chart's Service, at its port for metrics.
    with PortForward(NAMESPACE, "tollgate", 9092) as forward:
        after = traffic.Metrics("127.0.0.1", forward.port)
    assert tokens(after, "prompt") - tokens(before, "prompt") == 8
    assert tokens(after, "completion") - tokens(before, "completion") == 9


def test_kubectl_get_shows_what_a_user_looks_for(kube, tollgate, own_namespace):
    kube.apply(gateway(NAMESPACE, "ai-gateway"), *map(at_simulator, documents(GUIDE.replace("NAMESPACE", NAMESPACE))))
    kube.expect_condition("Backend", NAMESPACE, "google", "Accepted", True, "Accepted")

    def table(*what):
        header, *rows = kube.kubectl("get", *what, "-n", NAMESPACE).splitlines()
        columns = [(m.group(), m.start()) for m in re.finditer(r"\S+(?: \S+)*", header)]
        ends = [start for _, start in columns[1:]] + [None]
        return [{name: row[start:end].strip() for (name, start), end in zip(columns, ends)} for row in rows]

    [row] = table("backend")
    assert row["NAME"] == "google" and row["TYPE"] == "AI" and row["ACCEPTED"] == "True", row
    assert "gemini" in row.values(), f"no column has the provider: {row}"
    assert row["AGE"], row
    # Each of the category, and the short names.
    assert "google" in kube.kubectl("get", "kgateway", "-n", NAMESPACE)
    [row] = table("be")
    assert row["NAME"] == "google"
    wait_for("the class to be accepted", lambda: "True" in kube.kubectl("get", "gatewayclass", "tollgate"))


def test_the_examples_of_the_repository(kube, tollgate, make_ns):
    """examples/cloud-llm-providers, in a namespace of its own: three providers, buffered and streaming."""
    ns = make_ns("examples")
    folder = os.path.join(ROOT, "examples", "cloud-llm-providers")
    applied = []
    for name in ("00-namespace.yaml", "gateway.yaml", "gemini.yaml", "openai.yaml", "anthropic.yaml"):
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            text = re.sub(r"\$[A-Z_]+", "a-key", file.read()).replace("kgateway-system", ns)
        applied += [at_simulator(d) for d in documents(text) if d["kind"] != "Namespace"]
    assert len(applied) == 10, [d["kind"] for d in applied]
    kube.apply(*applied)
    handle = GatewayHandle(kube, ns, "ai-gateway", 8080)

    messages = [{"role": "user", "content": QUESTION}]
    anthropic = {"model": "claude-sonnet-4-6", "max_tokens": 256, "messages": messages}
    version = {"anthropic-version": "2023-06-01"}
    reply = handle.serves(path="/gemini", body=traffic.GEMINI).json()
    assert reply["candidates"][0]["content"]["parts"][0]["text"] == ANSWER
    reply = handle.serves(path="/openai/v1/chat/completions").json()
    assert reply["choices"][0]["message"]["content"] == ANSWER
    reply = handle.serves(path="/anthropic/v1/messages", body=anthropic, headers=version).json()
    assert reply["content"][0]["text"] == ANSWER

    streams = [
        ("/gemini/v1beta/models/m:streamGenerateContent?alt=sse", traffic.GEMINI, {}, '"finishReason":"STOP"'),
        ("/openai/v1/chat/completions", {**traffic.CHAT, "stream": True}, {}, "data: [DONE]"),
        ("/anthropic/v1/messages", {**anthropic, "stream": True}, version, "event: message_stop"),
    ]
    for path, body, headers, end in streams:
        reply = handle.chat(path, body, headers=headers)
        assert reply.status == 200 and reply.headers["content-type"].startswith("text/event-stream"), reply
        assert end in reply.body.replace('": "', '":"'), f"{path}: {reply.body[-300:]}"
    for name in ("google", "openai", "anthropic"):
        kube.expect_condition("HTTPRoute", ns, name, "Accepted", True, "Accepted")
        kube.expect_condition("HTTPRoute", ns, name, "ResolvedRefs", True, "ResolvedRefs")


def test_the_guide_with_the_class_of_its_time(kube, tollgate, ns):
    """`gatewayClassName: kgateway` works where the chart's value names that class."""
    kube.apply(gateway(ns, "ai-gateway", gateway_class="kgateway"),
               *map(at_simulator, documents(GUIDE.replace("NAMESPACE", ns))))
    GatewayHandle(kube, ns, "ai-gateway", 8080).serves(path="/gemini", body=traffic.GEMINI)
