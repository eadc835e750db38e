"""Tollgate in front of the scripted provider, one of each for a worker."""

import os
import pathlib
import socket
import subprocess
import time
import urllib.error
import urllib.request

import pytest
from clients import CLIENTS
from columns import COLUMNS, manifests
from manual import PAGE, page
from upstream import Cell, Upstream

ROOT = pathlib.Path(__file__).parents[2]
TOLLGATE = os.environ["TOLLGATE"]


def free_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


def started(url, log, *command):
    """The process of a command whose URL answers."""
    process = subprocess.Popen([TOLLGATE, *command], stdout=log, stderr=subprocess.STDOUT)
    for _ in range(200):
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return process
        except urllib.error.HTTPError:
            pass
        except OSError:
            assert process.poll() is None, f"{command} ended"
        time.sleep(0.1)
    process.kill()
    raise AssertionError(f"{command} is not ready")


@pytest.fixture(scope="session")
def servers(tmp_path_factory):
    """The Gateway's URL and the provider behind it."""
    folder = tmp_path_factory.mktemp("tollgate")
    simulator, gateway, admin = free_port(), free_port(), free_port()
    (folder / "manifests").mkdir()
    (folder / "manifests" / "agents.yaml").write_text(manifests(gateway))
    upstream = Upstream(simulator)
    upstream.start()
    with (folder / "log").open("wb") as log:
        processes = [
            started(f"http://127.0.0.1:{simulator}/", log, "simulate", "--listen", f"127.0.0.1:{simulator}"),
            started(f"http://127.0.0.1:{admin}/readyz", log, "run", "--manifests", str(folder / "manifests"),
                    "--admin-listen", f"127.0.0.1:{admin}", "--simulate-providers", "--simulator-address",
                    f"127.0.0.1:{upstream.port}"),
        ]
        yield f"http://127.0.0.1:{gateway}", upstream, folder / "log"
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(10)


@pytest.fixture
def cell(servers):
    """What the provider sees of one test."""
    _, upstream, _ = servers
    upstream.cell = Cell()
    yield upstream.cell
    upstream.cell = Cell()


class Outcomes:
    """Collects what became of each cell, and compares the manual with it after a run of all."""

    def __init__(self):
        self.found = {}

    def pytest_runtest_logreport(self, report):
        cell = dict(report.user_properties).get("cell")
        # An unfinished cell that failed as expected is skipped, with the reason.
        if report.when == "call" and cell and report.outcome != "failed":
            client, column, *without = cell
            unfinished = getattr(report, "wasxfail", "").removeprefix("reason: ")
            marked = ("○", unfinished) if unfinished else ("◐", without[0]) if without else ("●", "")
            self.found[client, column] = marked

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session):
        if len(self.found) < len(CLIENTS) * len(COLUMNS):
            return
        made = page(self.found)
        if os.environ.get("UPDATE_DOCS"):
            PAGE.write_text(made)
        elif not PAGE.exists() or PAGE.read_text() != made:
            print("\ndocs/clients.md is not what was found: UPDATE_DOCS=1 tests/agents/run writes it")
            session.exitstatus = 1


def pytest_configure(config):
    # Of several processes the one that gets the reports of all.
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Outcomes())
