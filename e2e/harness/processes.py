"""The cluster's own processes, where they are visible from here and ours to stop: a cluster on this machine."""

import os
import signal
import subprocess

import pytest


def processes():
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    yield int(entry), file.read().split(b"\0")[:-1]
            except OSError:
                continue


def named(program):
    return [pid for pid, arguments in processes() if arguments and os.path.basename(arguments[0]).decode() == program]


def of_pod(uid):
    """Processes in the pod's control groups, the sandbox's own aside."""
    found = []
    for pid, arguments in processes():
        try:
            with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
                groups = file.read()
        except OSError:
            continue
        if uid in groups.replace("_", "-") and arguments and b"pause" not in arguments[0]:
            found.append(pid)
    return found


class ApiServer:
    """The API server's process: frozen, or killed and started again as it was."""

    def __init__(self):
        found = named("kube-apiserver")
        if len(found) != 1 or os.geteuid() != 0:
            pytest.skip("the API server's process can't be stopped from here")
        self.pid = found[0]
        self.stopped = None

    def freeze(self):
        """A stopped process accepts connections and never answers, which is the hardest kind of outage."""
        os.kill(self.pid, signal.SIGSTOP)
        self.stopped = "frozen"

    def kill(self):
        """It is gone, and its connections are reset."""
        with open(f"/proc/{self.pid}/cmdline", "rb") as file:
            self.command = [a.decode() for a in file.read().split(b"\0")[:-1]]
        with open(f"/proc/{self.pid}/environ", "rb") as file:
            self.environment = dict(e.decode().split("=", 1) for e in file.read().split(b"\0") if b"=" in e)
        self.program = os.readlink(f"/proc/{self.pid}/exe")
        self.log = os.readlink(f"/proc/{self.pid}/fd/2")
        os.kill(self.pid, signal.SIGKILL)
        self.stopped = "killed"

    def back(self):
        if self.stopped == "frozen":
            os.kill(self.pid, signal.SIGCONT)
        elif self.stopped == "killed":
            with open(self.log if os.path.isfile(self.log) else os.devnull, "ab") as log:
                started = subprocess.Popen(self.command, executable=self.program, env=self.environment, stdout=log,
                                           stderr=log, stdin=subprocess.DEVNULL, start_new_session=True, cwd="/")
            self.pid = started.pid
        self.stopped = None
