"""What must hold in everything the chart renders."""

import json
import re
import shutil

import pytest
import yaml

from conftest import CHART, CLUSTER, NAMESPACE, RELEASE, ROOT, SETS, Objects, helm, parse, render, template

# Kinds that have no namespace.
CLUSTER_SCOPED = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "GatewayClass"}
ALWAYS = {"Deployment", "Service"}


def pods(objects):
    return [(o["metadata"]["name"], o["spec"]["template"]) for o in objects.of("Deployment")]


def containers(objects):
    return [c for _, pod in pods(objects) for c in pod["spec"]["containers"]]


def env(objects):
    return {e["name"]: e.get("value") for e in objects.gateway()["spec"]["template"]["spec"]["containers"][0]["env"]}


def selects(selector, labels):
    return all(labels.get(key) == value for key, value in selector.items())


@pytest.mark.parametrize("name", SETS)
def test_lint_has_no_complaint(name):
    done = helm("lint", "--strict", CHART, "--values", CHART / "ci" / f"{name}-values.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout and "[ERROR]" not in done.stdout, done.stdout


def test_each_object_is_there_once_and_in_the_releases_namespace(rendered):
    names = [(o["apiVersion"], o["kind"], o["metadata"]["name"]) for o in rendered.all]
    assert len(names) == len(set(names)), names
    for o in rendered.all:
        namespace = None if o["kind"] in CLUSTER_SCOPED else NAMESPACE
        assert o["metadata"].get("namespace") == namespace, o["kind"]
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", o["metadata"]["name"]), o["metadata"]["name"]


def test_what_is_switched_on_is_there_and_nothing_else(rendered):
    v = rendered.values
    wanted = set(ALWAYS)
    wanted |= {"ServiceAccount"} if v["serviceAccount"]["create"] else set()
    wanted |= {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"} if v["rbac"]["create"] else set()
    wanted |= {"CustomResourceDefinition"} if v["crds"]["install"] else set()
    wanted |= {"GatewayClass"} if v["gatewayClasses"] else set()
    wanted |= {"Job"} if v["uninstallJob"]["enabled"] else set()
    wanted |= {"HorizontalPodAutoscaler"} if v["autoscaling"]["enabled"] else set()
    wanted |= {"PodDisruptionBudget"} if v["autoscaling"]["enabled"] or v["replicas"] > 1 else set()
    wanted |= {"ConfigMap"} if v["modelFacts"] else set()
    wanted |= {"ServiceMonitor"} if v["metrics"]["serviceMonitor"]["enabled"] else set()
    wanted |= {"PrometheusRule"} if v["metrics"]["prometheusRule"]["enabled"] else set()
    wanted |= {"ConfigMap"} if v["metrics"]["dashboard"]["enabled"] else set()
    assert rendered.kinds() == wanted
    assert len(rendered.of("Deployment")) == len(rendered.of("Service")) == (2 if v["simulator"]["enabled"] else 1)


def test_nothing_needs_a_definition_of_the_same_install(rendered):
    # Helm looks up every kind before it creates anything.
    assert not [o["kind"] for o in rendered.all if o["apiVersion"].startswith("gateway.kgateway.dev/")]


def test_pods_meet_the_restricted_pod_security_standard(rendered):
    for name, pod in pods(rendered):
        security = pod["spec"]["securityContext"]
        assert security["runAsNonRoot"] is True and security["runAsUser"] == 65532, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod["spec"].keys(), name
        for container in pod["spec"]["containers"]:
            security = container["securityContext"]
            assert security == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert all(port["containerPort"] >= 1024 and "hostPort" not in port for port in container["ports"]), name


def test_ports_that_are_named_exist(rendered):
    for _, pod in pods(rendered):
        for container in pod["spec"]["containers"]:
            ports = {port["name"] for port in container["ports"]}
            probes = [container[key] for key in ("readinessProbe", "livenessProbe", "startupProbe") if key in container]
            assert probes and {probe["httpGet"]["port"] for probe in probes} <= ports
    for service in rendered.of("Service"):
        behind = [pod for _, pod in pods(rendered) if selects(service["spec"]["selector"], pod["metadata"]["labels"])]
        assert len(behind) == 1, service["metadata"]["name"]
        ports = {port["name"] for port in behind[0]["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


def test_selectors_match_the_gateways_pods_and_not_the_simulators(rendered):
    gateway = rendered.gateway()
    labels = {name: pod["metadata"]["labels"] for name, pod in pods(rendered)}
    for deployment in rendered.of("Deployment"):
        assert selects(deployment["spec"]["selector"]["matchLabels"], labels[deployment["metadata"]["name"]])
    selectors = [gateway["spec"]["selector"]["matchLabels"]]
    # What Services of Gateways select.
    selectors.append(dict(pair.split("=") for pair in env(rendered)["TOLLGATE_POD_SELECTOR"].split(",")))
    selectors.append(service(rendered)["spec"]["selector"])
    selectors += [o["spec"]["selector"]["matchLabels"] for o in rendered.of("PodDisruptionBudget")]
    for selector in selectors:
        assert [name for name in labels if selects(selector, labels[name])] == [gateway["metadata"]["name"]], selector
    services = {o["metadata"]["name"]: o["metadata"]["labels"] for o in rendered.of("Service")}
    for monitor in rendered.of("ServiceMonitor"):
        selector = monitor["spec"]["selector"]["matchLabels"]
        assert [name for name in services if selects(selector, services[name])] == [env(rendered)["TOLLGATE_SERVICE"]]
        ports = {port["name"] for port in service(rendered)["spec"]["ports"]}
        assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= ports


def service(rendered):
    """Tollgate's own Service, by the name in the program's flags."""
    return next(o for o in rendered.of("Service") if o["metadata"]["name"] == env(rendered)["TOLLGATE_SERVICE"])


def test_a_selector_does_not_change_with_the_version(rendered):
    for o in rendered.of("Deployment"):
        assert o["spec"]["selector"]["matchLabels"].keys() == {"app.kubernetes.io/name", "app.kubernetes.io/instance"}


def test_the_grace_period_holds_the_delay_and_the_drain(rendered):
    delay, drain = int(env(rendered)["TOLLGATE_DRAIN_DELAY"]), int(env(rendered)["TOLLGATE_DRAIN_SECONDS"])
    assert (delay, drain) == (rendered.values["drainDelaySeconds"], rendered.values["drainSeconds"])
    assert rendered.gateway()["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == delay + drain + 10


def test_a_rolling_update_never_has_less_than_all(rendered):
    strategy = rendered.gateway()["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}


def test_an_autoscaler_is_not_fought(rendered):
    enabled = rendered.values["autoscaling"]["enabled"]
    assert ("replicas" in rendered.gateway()["spec"]) is not enabled
    for o in rendered.of("HorizontalPodAutoscaler"):
        assert o["spec"]["scaleTargetRef"]["name"] == rendered.gateway()["metadata"]["name"]


def test_variables_are_flags_of_the_program(rendered):
    known = set(re.findall(r'env = "(TOLLGATE_\w+)"', (ROOT / "src/args.rs").read_text()))
    ours = {name for name in env(rendered) if name.startswith("TOLLGATE_")}
    assert ours <= known, ours - known
    downward = {
        e["name"]: e["valueFrom"]["fieldRef"]["fieldPath"] for e in containers(rendered)[0]["env"] if "valueFrom" in e
    }
    assert downward["TOLLGATE_POD_NAME"] == "metadata.name"
    assert downward["TOLLGATE_NAMESPACE"] == "metadata.namespace"


def test_values_reach_the_pod():
    pod = Objects({}, render("--values", CHART / "ci/everything-values.yaml")).gateway()["spec"]["template"]
    container = pod["spec"]["containers"][0]
    assert container["args"] == ["run", "--max-body-bytes=1048576", "--worker-threads=2"]
    assert container["image"] == "registry.example.com/ai/tollgate:1.2" and container["imagePullPolicy"] == "Always"
    assert {"name": "SSL_CERT_FILE", "value": "/roots/ca.crt"} in container["env"]
    assert {"name": "TOLLGATE_SIMULATE_PROVIDERS", "value": "true"} in container["env"]
    assert container["volumeMounts"][0]["name"] == pod["spec"]["volumes"][0]["name"] == "roots"
    assert container["resources"]["limits"] == {"cpu": "2", "memory": "1Gi"}
    assert pod["metadata"]["annotations"] == {"changed": "1"}
    assert pod["metadata"]["labels"]["team"] == "llm"
    for field in (
        "imagePullSecrets",
        "nodeSelector",
        "tolerations",
        "affinity",
        "topologySpreadConstraints",
        "priorityClassName",
    ):
        assert pod["spec"][field], field


def test_model_facts_are_the_file_that_the_program_reads(tmp_path):
    facts = '[[model]]\nname = "own"\nefforts = ["low", "high"]\n'
    (tmp_path / "models.toml").write_text(facts)
    objects = Objects({}, render("--set-file", f"modelFacts={tmp_path}/models.toml"))
    path = env(objects)["TOLLGATE_MODEL_FACTS"]
    spec = objects.gateway()["spec"]["template"]["spec"]
    mount = next(m for m in spec["containers"][0]["volumeMounts"] if path.startswith(m["mountPath"] + "/"))
    assert "subPath" not in mount, "such a mount is not updated"
    volume = next(v for v in spec["volumes"] if v["name"] == mount["name"])
    config = next(o for o in objects.of("ConfigMap") if o["metadata"]["name"] == volume["configMap"]["name"])
    assert config["data"][path.removeprefix(mount["mountPath"] + "/")].strip() == facts.strip()
    assert "TOLLGATE_MODEL_FACTS" not in env(Objects({}, render()))


def test_prometheus_finds_the_port_by_annotation():
    pod = Objects({}, render()).gateway()["spec"]["template"]
    annotations = pod["metadata"]["annotations"]
    ports = {port["name"]: str(port["containerPort"]) for port in pod["spec"]["containers"][0]["ports"]}
    assert annotations["prometheus.io/scrape"] == "true" and annotations["prometheus.io/path"] == "/metrics"
    assert annotations["prometheus.io/port"] == ports["metrics"]


def test_a_proxy_is_in_the_environment():
    objects = Objects(
        {},
        render(
            *("--set", "proxy.https=http://p.example:3128,proxy.http=https://q.example"),
            *("--set", "proxy.noProxy={10.0.0.0/8,.corp.example}"),
        ),
    )
    names = {name: value for name, value in env(objects).items() if name.endswith("_PROXY")}
    assert names == {
        "HTTPS_PROXY": "http://p.example:3128",
        "HTTP_PROXY": "https://q.example",
        "NO_PROXY": "10.0.0.0/8,.corp.example",
    }
    assert not [name for name in env(Objects({}, render())) if name.endswith("_PROXY")]


@pytest.mark.parametrize("value", ["http://user:pw@p.example:3128", "p.example:3128", "socks5://p.example:1080"])
def test_a_proxy_with_a_password_or_of_another_kind_is_refused(value):
    assert template("--set", f"proxy.https={value}").returncode != 0


# Permissions


def rules(role):
    """Every rule as (group, resource, verbs, names)."""
    return {
        (group or "core", resource, tuple(sorted(rule["verbs"])), tuple(rule.get("resourceNames", ())))
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def test_roles_are_the_manuals_table():
    objects = Objects({}, render())
    rows = re.findall(r"^\| `?([\w.-]+)`? \| ([^|]+) \| ([^|]+) \| [^|]+ \|$", section("Permissions"), re.M)
    # The Lease's rules are the own namespace's.
    wanted = {
        (group, resource, tuple(sorted(re.findall(r"`(\w+)`", verbs))))
        for group, resources, verbs in rows
        for resource in re.findall(r"`([\w/]+)`", resources)
    }
    assert len(wanted) > 10, "the table was not found"
    ours = {rule[:3] for kind in ("ClusterRole", "Role") for rule in rules(objects.one(kind))}
    assert ours == wanted


def test_roles_change_nothing_that_users_wrote():
    role = rules(Objects({}, render()).one("ClusterRole"))
    for group, resource, verbs, _ in role:
        assert "*" not in (group, resource, *verbs)
        if set(verbs) - {"get", "list", "watch"}:
            written = resource.endswith("/status") or resource in ("services", "endpointslices", "events")
            assert written, f"{verbs} on {resource}"
        if resource.endswith("/status"):
            assert set(verbs) == {"patch"}, resource


def test_roles_are_bound_to_the_account_of_the_pods(rendered):
    account = rendered.gateway()["spec"]["template"]["spec"]["serviceAccountName"]
    for o in rendered.of("ServiceAccount"):
        assert o["metadata"]["name"] == account
    for binding in rendered.of("ClusterRoleBinding", "RoleBinding"):
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}]
        assert binding["roleRef"]["name"] in {o["metadata"]["name"] for o in rendered.of(binding["roleRef"]["kind"])}


def test_the_lease_that_may_be_written_is_the_services(rendered):
    for role in rendered.of("Role"):
        names = {name for *_, names in rules(role) for name in names}
        assert names == {env(rendered)["TOLLGATE_SERVICE"]}


# Definitions and classes


def test_definitions_are_the_generated_ones():
    generated = {path.name: path.read_text() for path in (ROOT / "crds").glob("*.yaml")}
    copied = {path.name: path.read_text() for path in (CHART / "files/crds").glob("*.yaml")}
    assert generated and copied == generated, "cp crds/*.yaml helm/tollgate/files/crds/"


def test_definitions_are_rendered_whole_and_are_kept():
    wanted = {}
    for path in (ROOT / "crds").glob("*.yaml"):
        for definition in parse(path.read_text()):
            wanted[definition["metadata"]["name"]] = definition
    rendered = {o["metadata"]["name"]: o for o in Objects({}, render()).of("CustomResourceDefinition")}
    assert rendered.keys() == wanted.keys()
    for name, definition in rendered.items():
        assert definition["metadata"]["annotations"].pop("helm.sh/resource-policy") == "keep", name
        if not definition["metadata"]["annotations"]:
            del definition["metadata"]["annotations"]
        assert definition == wanted[name], name


def test_classes_name_this_controller(rendered):
    controller = rendered.values["controllerName"]
    assert env(rendered)["TOLLGATE_CONTROLLER_NAME"] == controller
    assert [o["metadata"]["name"] for o in rendered.of("GatewayClass")] == rendered.values["gatewayClasses"]
    assert {o["spec"]["controllerName"] for o in rendered.of("GatewayClass")} <= {controller}


def test_the_controllers_name_is_the_programs():
    default = yaml.safe_load((CHART / "values.yaml").read_text())["controllerName"]
    assert default == re.search(r'DEFAULT_CONTROLLER_NAME: &str = "([^"]+)"', sources()).group(1)


def sources():
    return "\n".join(path.read_text() for path in sorted((ROOT / "src/compile").rglob("*.rs")))


def test_a_job_cleans_up_before_an_uninstall(rendered):
    assert len(rendered.of("Job")) == 1
    for job in rendered.of("Job"):
        assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete", "with every permission of the pods"
        pod, gateway = job["spec"]["template"], rendered.gateway()["spec"]["template"]
        assert pod["spec"]["serviceAccountName"] == gateway["spec"]["serviceAccountName"]
        assert not selects(service(rendered)["spec"]["selector"], pod["metadata"]["labels"]), "no pod of the Service"
        container = pod["spec"]["containers"][0]
        assert container["image"] == gateway["spec"]["containers"][0]["image"] and container["args"] == ["uninstall"]
        variables = {e["name"]: e["value"] for e in container["env"]}
        assert variables.pop("TOLLGATE_NAMESPACE") == NAMESPACE
        assert variables == {name: env(rendered)[name] for name in ("TOLLGATE_SERVICE", "TOLLGATE_CONTROLLER_NAME")}
        assert pod["spec"]["securityContext"]["runAsNonRoot"] and container["securityContext"]["readOnlyRootFilesystem"]
    assert not Objects({}, render("--set", "uninstallJob.enabled=false")).of("Job")


def test_without_the_gateway_api_the_install_says_what_to_do():
    version = CLUSTER[:2]
    refused = template(cluster=version)
    assert refused.returncode != 0
    assert "kubectl apply -f https://github.com/kubernetes-sigs/gateway-api/releases/" in refused.stderr
    assert template("--set", "gatewayApiCheck=false", cluster=version).returncode == 0
    for none in ("gatewayClasses={}", "gatewayClasses=null"):
        done = template("--set", none, cluster=version)
        assert done.returncode == 0, done.stderr
        assert "kind: GatewayClass\n" not in done.stdout


# Values


@pytest.mark.parametrize("typo", [
    "replica=2",
    "replicas=two",
    "image.tagg=1",
    "image.pullPolicy=Sometimes",
    "log.format=xml",
    "log.level=info",
    "drainSeconds=-1",
    "crds.enabled=false",
    "gatewayClasses=tollgate",
    "controllerName=tollgate",
    "uninstallJob.enable=true",
    "controllerName=a.b/c/d",
    "controllerName=A.b/c",
    "gatewayClasses={Tollgate}",
    "extraEnv[0].nam=A",
    "podLabels.a=1",
    "autoscaling.minReplicas=0",
    "podDisruptionBudget.maxUnavailable=lots",
    "metrics.serviceMonitor.interval=soon",
    "metrics.serviceMonitors.enabled=true",
    "resources.limit.memory=1Gi",
    "simulator.enable=true",
])
def test_the_schema_refuses(typo):
    done = template("--set", typo)
    assert done.returncode != 0 and "values don't meet the specifications" in done.stderr, done.stderr


def test_the_schema_and_the_defaults_have_the_same_values():
    def compare(values, schema, path):
        if "properties" not in schema:
            return
        if values:
            known = set(schema["properties"]) - {"global"}
            assert set(values) == known or path.endswith(".resources"), path
        for key, value in (values or {}).items():
            compare(value, schema["properties"][key], f"{path}.{key}")

    compare(
        yaml.safe_load((CHART / "values.yaml").read_text()), json.loads((CHART / "values.schema.json").read_text()), ""
    )


def test_the_chart_has_the_programs_version():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = re.search(r'^version = "(.+)"', (ROOT / "Cargo.toml").read_text(), re.M).group(1)
    assert (chart["version"], chart["appVersion"]) == (version, version)


# Notes


def notes(folder, *args):
    """The notes, which helm renders only with a cluster: here as an object of a copy of the chart."""
    chart = shutil.copytree(CHART, folder / "tollgate")
    (chart / "templates/NOTES.txt").rename(chart / "NOTES.txt")
    (chart / "templates/notes.yaml").write_text('notes: |\n{{- tpl (.Files.Get "NOTES.txt") . | nindent 2 }}\n')
    done = helm(
        "template", RELEASE, chart, "--namespace", NAMESPACE, *CLUSTER, "--show-only", "templates/notes.yaml", *args
    )
    assert done.returncode == 0, done.stderr
    return parse(done.stdout)[0]["notes"]


@pytest.mark.parametrize("name", SETS)
def test_the_notes_have_the_next_command(name, tmp_path):
    file = CHART / "ci" / f"{name}-values.yaml"
    text = notes(tmp_path, "--values", file)
    objects = Objects({}, render("--values", file))
    assert f"deployment/{objects.gateway()['metadata']['name']}\n" in text
    written = [parse(manifest)[0] for manifest in re.findall(r"<<EOF\n(.*?)\n  EOF\n", text, re.S)]
    classes = {o["metadata"]["name"] for o in objects.of("GatewayClass")}
    assert {m["spec"]["gatewayClassName"] for m in written if m["kind"] == "Gateway"} <= classes
    services = {
        f"{o['metadata']['name']}.{NAMESPACE}.svc": o["spec"]["ports"][0]["port"] for o in objects.of("Service")
    }
    for backend in (m for m in written if m["kind"] == "Backend"):
        override = backend["spec"]["ai"]["llm"]["hostOverride"]
        assert services[override["host"]] == override["port"]


# Alerts and the dashboard


def metrics_of(expression):
    """Names of metrics in an expression, as the manual lists them."""
    names = re.findall(
        r"\b((?:tollgate|ai|gen_ai|process)_\w+)", re.sub(r"\b(?:by|on) \([^)]*\)|\"[^\"]*\"|\w+=", "", expression)
    )
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}


def documented():
    return set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/metrics.md").read_text(), re.M))


def alerts():
    return [
        rule for group in yaml.safe_load((CHART / "files/alerts.yaml").read_text())["groups"] for rule in group["rules"]
    ]


def section(title):
    """A section of the operations manual."""
    text = (ROOT / "docs/operations.md").read_text()
    found = re.search(rf"^(#+) {title}\n(.*?)(?=^#{{1,2}} |\Z)", text, re.S | re.M)
    assert found, f"docs/operations.md has no section {title}"
    return found.group(2)


def test_alerts_ask_for_metrics_that_exist():
    for rule in alerts():
        names = metrics_of(rule["expr"])
        assert names and names <= documented(), f"{rule['alert']}: {names - documented()}"


def test_each_alert_says_what_it_means_and_the_manual_what_to_do():
    names = [rule["alert"] for rule in alerts()]
    assert len(names) == len(set(names))
    for rule in alerts():
        assert rule["labels"]["severity"] in ("critical", "warning", "info"), rule["alert"]
        assert rule["annotations"]["summary"] and rule["annotations"]["description"], rule["alert"]
    assert re.findall(r"^\| `(\w+)` \|", section("Alerts"), re.M) == names


def test_the_rule_is_the_file(rendered):
    for o in rendered.of("PrometheusRule"):
        assert o["spec"] == yaml.safe_load((CHART / "files/alerts.yaml").read_text())


def test_the_dashboard_is_the_file_and_asks_for_metrics_that_exist():
    objects = Objects({}, render("--values", CHART / "ci/everything-values.yaml"))
    dashboard = json.loads((CHART / "files/dashboard.json").read_text())
    assert json.loads(objects.one("ConfigMap")["data"]["tollgate.json"]) == dashboard
    assert objects.one("ConfigMap")["metadata"]["labels"]["grafana_dashboard"] == "1"
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    queries += [v["definition"] for v in dashboard["templating"]["list"] if v["type"] == "query"]
    assert len(queries) > 20
    for query in queries:
        names = metrics_of(query)
        assert names and names <= documented(), f"{query}: {names - documented()}"


def test_panels_have_names_of_their_own_and_do_not_overlap():
    panels = json.loads((CHART / "files/dashboard.json").read_text())["panels"]
    ids, taken = [panel["id"] for panel in panels], set()
    assert len(ids) == len(set(ids))
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells
