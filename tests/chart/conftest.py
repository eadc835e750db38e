"""The chart rendered by helm, as plain objects."""

import os
import pathlib
import subprocess

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "tollgate"
SETS = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml"))
RELEASE = "release-name"
NAMESPACE = "some-namespace"
# Helm knows of no cluster here; these describe one that has the Gateway API.
CLUSTER = ("--kube-version", "1.34.0", "--api-versions", "gateway.networking.k8s.io/v1/GatewayClass")


def helm(*args):
    return subprocess.run([os.environ.get("HELM", "helm"), *map(str, args)], capture_output=True, text=True)


def template(*args, cluster=CLUSTER):
    """`helm template` with these arguments: the completed process."""
    return helm("template", RELEASE, CHART, "--namespace", NAMESPACE, *cluster, *args)


class Loader(yaml.SafeLoader):
    """Refuses a key that is there twice: the API server would silently take the last."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"twice the same key: {sorted(keys)} at {node.start_mark}"
        return super().construct_mapping(node, deep)


def parse(text):
    return [document for document in yaml.load_all(text, Loader) if document is not None]


def render(*args):
    done = template(*args)
    assert done.returncode == 0, done.stderr
    return parse(done.stdout)


class Objects:
    """Rendered objects, by kind and name."""

    def __init__(self, values, objects):
        self.values = values
        self.all = objects

    def of(self, *kinds):
        return [o for o in self.all if o["kind"] in kinds]

    def kinds(self):
        return {o["kind"] for o in self.all}

    def one(self, kind, suffix=None):
        found = [o for o in self.of(kind) if suffix is None or o["metadata"]["name"].endswith(suffix)]
        assert len(found) == 1, f"{kind}: {[o['metadata']['name'] for o in found]}"
        return found[0]

    def gateway(self):
        """The Deployment of the gateway."""
        return next(o for o in self.of("Deployment") if not o["metadata"]["name"].endswith("-simulator"))


@pytest.fixture(scope="session", params=SETS)
def rendered(request):
    """Each set of values of the chart's ci/ folder."""
    file = CHART / "ci" / f"{request.param}-values.yaml"
    values = merged(parse((CHART / "values.yaml").read_text())[0], yaml.safe_load(file.read_text()) or {})
    return Objects(values, render("--values", file))


def merged(base, over):
    """What helm makes of the defaults and a file over them."""
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    return {**base, **{key: merged(base.get(key), value) for key, value in over.items()}}
