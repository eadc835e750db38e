"""The commands of docs/getting-started.md in a cluster, taken out of the page and run as they are."""

import os
import re
import signal
import subprocess

import pytest

from harness.kube import wait_for
from harness.release import IMAGE, ROOT, helm

NAMESPACE = "kgateway-system"
# What brings a cluster or its prerequisites, which are there already.
ELSEWHERE = re.compile(r"^(kind |docker |kubectl apply -f https://)")


def commands():
    """The blocks of the section, each as one script."""
    with open(os.path.join(ROOT, "docs", "getting-started.md"), encoding="utf-8") as file:
        [section] = re.findall(r"^## In a cluster$(.*?)^## ", file.read(), re.M | re.S)
    blocks = re.findall(r"```sh\n(.*?)```", section, re.S)
    kept = ["\n".join(line for line in block.splitlines() if not ELSEWHERE.match(line)) for block in blocks]
    return [block for block in kept if block.strip()]


def run(script, env):
    # In the background of a shell that ends, a port-forward would hold the pipe.
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=ROOT, env=env, timeout=180, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, f"{script}\n{done.stdout}"
    return done.stdout


def programmed(kube):
    """Whether the Gateway's listener is bound, which takes a moment, and a script is faster than that."""
    [listener] = kube.get("Gateway", NAMESPACE, "ai-gateway").get("status", {}).get("listeners") or [{"conditions": []}]
    return any(c["type"] == "Programmed" and c["status"] == "True" for c in listener["conditions"])


def forwarded(script, env):
    """A port-forward as in another terminal, once it listens."""
    process = subprocess.Popen(["bash", "-c", f"exec {script}"], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)
    assert "Forwarding from" in process.stdout.readline()
    return process


@pytest.fixture
def nothing_installed(kube, release):
    """Nor the definitions that other releases leave: helm asks whose they are."""

    def remove():
        names = [c["metadata"]["name"] for c in kube.list("CustomResourceDefinition")
                 if c["spec"]["group"] == "gateway.kgateway.dev"]
        for name in names:
            kube.remove("CustomResourceDefinition", None, name)
        wait_for("the definitions to go", lambda: not any(
            kube.get("CustomResourceDefinition", None, name) for name in names), 60)

    if kube.get("Deployment", "tollgate-system", "tollgate"):
        release.uninstall()
    release.changed()
    remove()
    yield
    if kube.get("Deployment", NAMESPACE, "tollgate"):
        helm("uninstall", "tollgate", "-n", NAMESPACE, "--wait")
    if kube.get("Namespace", None, NAMESPACE):
        kube.remove("Namespace", None, NAMESPACE)
    remove()


def test_the_commands_of_getting_started(kube, nothing_installed):
    repository, tag = IMAGE.rsplit(":", 1)
    env = {**os.environ, "GOOGLE_KEY": "a-key"}
    # As the page offers it: another image, and no provider's key.
    given = f" --set image.repository={repository},image.tag={tag} --set simulateProviders=true"
    background, said = [], {}
    try:
        for block in commands():
            install = "helm install tollgate helm/tollgate"
            if block.strip().startswith("kubectl port-forward") and len(block.strip().splitlines()) == 1:
                background.append(forwarded(block.strip(), env))
                continue
            if "port-forward" in block:
                first, *rest = block.strip().splitlines()
                background.append(forwarded(first.removesuffix("&").strip(), env))
                block = "\n".join(rest)
            if "kubectl get backend" in block:
                *applied, last = block.strip().splitlines()
                run("\n".join(applied), env)
                wait_for("the Backend to be accepted", lambda: "True" in run(last, env).split("google", 1)[1], 40)
                said["backend"] = run(last, env)
                wait_for("the Gateway's listener to be programmed", lambda: programmed(kube), 20)
            else:
                said[block.strip().splitlines()[0]] = run(block.replace(install, install + given), env)
    finally:
        for process in background:
            process.send_signal(signal.SIGTERM)
            process.wait()
    assert re.search(r"google +AI +gemini +1/1 +True", said["backend"]), said["backend"]
    [reply] = [text for command, text in said.items() if command.startswith("curl localhost:8080/gemini")]
    assert '"candidates"' in reply and '"totalTokenCount": 17' in reply, reply
    [metrics] = [text for command, text in said.items() if "localhost:9092/metrics" in command]
    assert 'ai_prompt_tokens_total{llm="gemini",model="gemini-1.5-flash-latest"} 8' in metrics, metrics
    assert any(command.startswith("helm uninstall") for command in said), list(said)
    # It said what stays.
    assert kube.get("Backend", NAMESPACE, "google"), "definitions and Backends outlive the release"
    kube.remove("Namespace", None, NAMESPACE)
    wait_for("the namespace to go", lambda: kube.get("Namespace", None, NAMESPACE) is None, 60)
