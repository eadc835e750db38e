"""A real Prometheus scrapes the pods by their annotations and answers every expression of the alerts and the dashboard;
and the figures that docs/performance.md has for a cluster."""

import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import time
import urllib.parse
import urllib.request

import pytest
import yaml

from harness import traffic
from harness.kube import wait_for
from harness.manifests import INLINE, backend, route, serve, serve_openai, to_backend
from harness.release import CHART, NAMESPACE, ROOT

ROUTES = 2000

CONFIGURATION = """
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [rules.yaml]
scrape_configs:
- job_name: kubernetes-pods
  file_sd_configs: [{files: [targets.json]}]
"""


def targets(kube):
    """The pods with the plain annotations for scraping.

    Debian's Prometheus is built without Kubernetes, so this function reads the annotations as Prometheus' usual
    configuration for pods does.
    """
    found = []
    for pod in kube.list("Pod", NAMESPACE):
        metadata = pod["metadata"]
        annotations = metadata.get("annotations", {})
        if annotations.get("prometheus.io/scrape") == "true" and "deletionTimestamp" not in metadata:
            found.append({"targets": [f"{pod['status']['podIP']}:{annotations['prometheus.io/port']}"],
                          "labels": {"__metrics_path__": annotations["prometheus.io/path"],
                                     "namespace": NAMESPACE, "pod": metadata["name"]}})
    return found


class Prometheus:
    def __init__(self, folder, pods):
        program = shutil.which("prometheus")
        assert program, "no prometheus in PATH: e2e/run --prepare gets Debian's"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        (folder / "prometheus.yaml").write_text(CONFIGURATION)
        (folder / "targets.json").write_text(json.dumps(pods))
        (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": groups()}))
        self.log = open(folder / "log", "wb")
        self.process = subprocess.Popen(
            [program, f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address=127.0.0.1:{self.port}"], stdout=self.log, stderr=self.log)
        self.log_path = folder / "log"
        wait_for("Prometheus", lambda: self.get("-/ready", raw=True), 30, 0.2)

    def get(self, path, raw=False, **parameters):
        assert self.process.poll() is None, self.log_path.read_text()[-2000:]
        url = f"http://127.0.0.1:{self.port}/{path}"
        if parameters:
            url += "?" + urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(url, timeout=20) as reply:
                text = reply.read()
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from error
        return text if raw else json.loads(text)

    def query(self, expression):
        """The answer's series. Fails on what does not parse or can't be evaluated."""
        found = self.get("api/v1/query", query=expression)
        assert found["status"] == "success", found
        return found["data"]["result"]

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()


def groups():
    with open(os.path.join(CHART, "files", "alerts.yaml"), encoding="utf-8") as file:
        found = yaml.safe_load(file)
    # Either the groups themselves, or what holds them.
    return found if isinstance(found, list) else found.get("groups") or found["spec"]["groups"]


def alerts():
    return [(rule["alert"], rule["expr"]) for group in groups() for rule in group["rules"] if "alert" in rule]


def panels():
    with open(os.path.join(CHART, "files", "dashboard.json"), encoding="utf-8") as file:
        dashboard = json.load(file)

    def walk(panel):
        for target in panel.get("targets", []):
            if target.get("expr"):
                yield panel.get("title", "?"), target["expr"]
        for inner in panel.get("panels", []):
            yield from walk(inner)

    found = [pair for panel in dashboard["panels"] for pair in walk(panel)]
    for variable in dashboard.get("templating", {}).get("list", []):
        query = variable.get("query")
        query = query.get("query") if isinstance(query, dict) else query
        inner = re.match(r"label_values\((.+), *\w+\)$", query or "")
        if inner:
            found.append((f"variable {variable['name']}", inner[1]))
    return found


def plain(expression):
    """A dashboard's expression with its variables as Grafana fills them in for "all"."""
    expression = re.sub(r"\$\{?__(rate_interval|interval|range)\}?", "30s", expression)
    expression = re.sub(r'=~?"\$\{?\w+(?::\w+)?\}?"', '=~".*"', expression)
    return re.sub(r"\$\{?\w+(?::\w+)?\}?", ".*", expression)


METRIC = re.compile(r"\b((?:tollgate|ai|gen_ai|process)_[a-z0-9_]+|up)\b(?=\s*[\[{)]|\s|$)")


def metrics_of(expression):
    """The names of metrics in an expression, label lists and groupings aside."""
    without = re.sub(r"\{[^}]*\}", "{", re.sub(r'"[^"]*"', '""', expression))
    without = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", "", without)
    return set(METRIC.findall(without))


@pytest.fixture(scope="module")
def prometheus(kube, release, module_ns, tmp_path_factory):
    """Prometheus, after a while of traffic of every kind."""
    release.ensure()
    found = Prometheus(tmp_path_factory.mktemp("prometheus"), targets(kube))
    try:
        handle = serve_openai(kube, module_ns)
        kube.apply(backend(module_ns, "gone"), route(module_ns, "gone", handle, "/gone"))
        handle.serves(500, "/gone")
        load = traffic.Load(handle.address(), handle.port)
        stream = {**traffic.CHAT, "stream": True}
        started = time.monotonic()

        def enough():
            handle.chat(body=stream)
            handle.chat("/gone")
            handle.chat("/nowhere")
            handle.chat(headers={"x-simulator-fault": "status=503"})
            # Enough samples for a rate over the shortest window.
            return time.monotonic() - started > 8 and found.query("count_over_time(up[30s]) > 6")

        wait_for("samples", enough, 60)
        load.stop()
        yield found
    finally:
        found.close()


def test_the_pods_are_scraped_by_their_annotations(kube, release, prometheus):
    targets = prometheus.get("api/v1/targets")["data"]["activeTargets"]
    assert [t["health"] for t in targets] == ["up"], [(t["scrapeUrl"], t["lastError"]) for t in targets]
    assert targets[0]["labels"]["pod"] == release.pod()["metadata"]["name"]
    [tokens] = prometheus.query('sum(ai_completion_tokens_total{llm="openai"})')
    assert float(tokens["value"][1]) > 0


def known(release):
    """Tells metrics that there are: in the scrape, or, as a family without a series is in none, in docs/metrics.md."""
    with open(os.path.join(ROOT, "docs", "metrics.md"), encoding="utf-8") as file:
        families = release.metrics().families() | set(re.findall(r"^\| `(\w+)`", file.read(), re.M)) | {"up"}
    return lambda name: name in families or re.sub(r"_(bucket|sum|count|total)$", "", name) in families


def test_every_alert_can_be_evaluated(release, prometheus):
    found = alerts()
    assert len(found) >= 3, found
    is_known = known(release)
    for name, expression in found:
        prometheus.query(expression)
        unknown = [m for m in metrics_of(expression) if not is_known(m)]
        assert not unknown, f"{name}: {unknown} are not exported"
        assert metrics_of(expression), f"{name}: {expression}"
    rules = [rule for group in prometheus.get("api/v1/rules")["data"]["groups"] for rule in group["rules"]]
    assert len(rules) >= len(found)
    wait_for("the rules to be evaluated", lambda: all(
        r["health"] == "ok" for g in prometheus.get("api/v1/rules")["data"]["groups"] for r in g["rules"]))


def test_no_alert_fires_on_a_good_day(release, prometheus):
    """No alert about Tollgate itself is pending; the load above made errors, which may be alerted."""
    active = prometheus.get("api/v1/alerts")["data"]["alerts"]
    about_itself = re.compile(r"leader|watch|publish|write|down|restart|absent|stale", re.I)
    wrong = [a["labels"]["alertname"] for a in active if about_itself.search(a["labels"]["alertname"])]
    assert not wrong, active


def test_every_panel_answers(release, prometheus):
    found = panels()
    assert len(found) >= 5, found
    is_known = known(release)
    problems, answered, empty = [], 0, []
    for title, written in found:
        expression = plain(written)
        names = metrics_of(expression)
        problems += [f"{title}: {m} is not exported" for m in names if not is_known(m)]
        try:
            answer = prometheus.query(expression)
        except AssertionError as error:
            problems.append(f"{title}: {expression}: {error}")
            continue
        if answer:
            answered += 1
        elif all(prometheus.query(f"count({name})") for name in names) and not re.search(
            r"[<>]|[=!]~?\"(?!\.\*)", expression
        ):
            # There is data for each name and no condition, and still no result.
            problems.append(f"{title}: no data: {expression}")
        else:
            empty.append(title)
    print(f"{answered} of {len(found)} expressions have data; without: {', '.join(empty) or 'none'}")
    assert not problems, "\n".join(problems)
    assert answered >= len(found) * 0.7


# Figures


def test_a_change_is_live_within_a_second_at_two_thousand_routes(kube, release, make_ns):
    release.ensure()
    release.restart()
    empty = release.metrics().rss_mib()
    ns = make_ns("many")
    handle = serve(kube, ns)
    kube.apply(backend(ns, "one", auth=INLINE, model="one"), backend(ns, "two", auth=INLINE, model="two"))
    started = time.monotonic()
    kube.create_all([route(ns, f"r{i}", handle, f"/r{i}", refs=[to_backend("one")]) for i in range(ROUTES)])
    created = time.monotonic() - started
    handle.serves(200, f"/r{ROUTES - 1}/v1/chat/completions", timeout=30)
    all_served = time.monotonic() - started

    def all_told():
        routes = kube.list("HTTPRoute", ns)
        return len([r for r in routes if r.get("status", {}).get("parents")]) == ROUTES

    wait_for("every route's status", all_told, 120, 1)
    all_written = time.monotonic() - started
    load = traffic.Load(handle.address(), handle.port, "/r0/v1/chat/completions")
    times = []
    for turn in range(6):
        model = "two" if turn % 2 == 0 else "one"
        path = "/r1000/v1/chat/completions"
        kube.patch("HTTPRoute", ns, "r1000", {"spec": {"rules": [{
            "matches": [{"path": {"type": "PathPrefix", "value": "/r1000"}}], "backendRefs": [to_backend(model)]}]}})
        changed = time.monotonic()
        wait_for("the change", lambda: handle.chat(path).json()["model"] == model, 10, 0.01)  # noqa: B023
        times.append(time.monotonic() - changed)
    load.stop()
    full = release.metrics().rss_mib()
    print(f"{ROUTES} routes: created in {created:.1f} s, served after {all_served:.1f} s, all status written after "
          f"{all_written:.1f} s; a change live after {', '.join(f'{t * 1000:.0f}' for t in times)} ms; "
          f"resident {empty:.1f} MiB without, {full:.1f} MiB with them")
    assert statistics.median(times) < 1 and max(times) < 3, times
    assert full < 128, "over what the chart asks for"
