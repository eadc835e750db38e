"""Every row against every column; what the validator says of a test's requests is part of the test."""

import json
import urllib.parse
import urllib.request

import pytest
from clients import Row
from columns import COLUMNS, SIMULATOR, VALIDATOR
from rows import ROWS


@pytest.fixture(params=ROWS, ids=lambda row: row.name)
def row(request):
    return request.param


@pytest.fixture(params=COLUMNS, ids=lambda column: column.name)
def column(request):
    return request.param


def fetch(url, **query):
    with urllib.request.urlopen(url + "?" + urllib.parse.urlencode(query), timeout=10) as reply:
        return json.load(reply)


@pytest.fixture(autouse=True)
def judged(request):
    """Names the test to the validator, and fails it when the validator complains of a request."""
    Row.test = request.node.name
    yield
    found = fetch(VALIDATOR + "/violations", test=request.node.name)
    assert not found, "the vendor would refuse what Tollgate sends:\n" + "\n".join(map(shown, found))


@pytest.fixture(scope="session", autouse=True)
def all_judged():
    """Fails the run for requests that no test says are its own."""
    yield
    strangers = fetch(VALIDATOR + "/violations", test="")
    assert not strangers, "\n".join(map(shown, strangers))


def shown(violation):
    lines = "\n  ".join(violation["complaints"])
    return f"{violation['host']}{violation['path']}\n  {lines}\n  {violation['body']}"


@pytest.fixture
def exchanges(request):
    """What was sent to the provider so far, and the beginning of what came back."""
    return lambda: fetch(VALIDATOR + "/exchanges", test=request.node.name)


@pytest.fixture
def simulator_requests():
    return lambda: fetch(SIMULATOR + "/simulator/requests")
