"""Every agent finishes a task at every provider: what counts is the content of the files on disk."""

import hashlib
import json
import os
import pathlib
import secrets
import signal
import subprocess
import time

import pytest
from clients import CLIENTS
from columns import COLUMNS
from known import UNFINISHED, WITHOUT_REASONING, reasons
from mcp_server import secret
from picture import picture
from script import HARD, LOOK, PROMPT

PROGRAMS = pathlib.Path(os.environ["AGENTS_PROGRAMS"])
SECONDS = 180
QUICK = bool(os.environ.get("AGENTS_QUICK"))


def cells():
    for client in CLIENTS:
        for column in COLUMNS:
            if QUICK and client.quick != column.name:
                continue
            unfinished = reasons(UNFINISHED, client, column)
            marks = [pytest.mark.xfail(strict=True, reason=reason) for reason in unfinished]
            yield pytest.param(client, column, marks=marks, id=f"{client.name}-{column.name}")


def started(client, url, home, folder, prompt, said):
    """The agent's process, whose environment has nothing of this machine's but the path."""
    if client.file:
        settings = home / client.file
        settings.parent.mkdir(parents=True)
        settings.write_text(client.settings(url))
    environment = {"PATH": f"{PROGRAMS}:{os.environ['PATH']}", "HOME": str(home), "TERM": "dumb", "LANG": "C.UTF-8",
                   "CI": "1", **client.quiet, **client.variables(url)}
    command = [PROGRAMS / client.program, *(argument.replace("{prompt}", prompt) for argument in client.arguments)]
    return subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=said,
                            stderr=subprocess.STDOUT, start_new_session=True)


def ended(process, cell, said):
    """Waits for the agent, and ends it with all that it started."""
    deadline, why = time.monotonic() + SECONDS, f"after {SECONDS} s"
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
        if cell.problems and why:
            # The test has failed; the agent may still say what it makes of it.
            deadline, why = min(deadline, time.monotonic() + 10), ""
    if process.poll() is None:
        said.write(f"\nkilled {why or 'because the provider refused a request'}\n".encode())
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


@pytest.mark.parametrize("client, column", list(cells()))
def test_an_agent_finishes_its_task(client, column, servers, cell, tmp_path, record_property):
    without = reasons(WITHOUT_REASONING, client, column)
    record_property("cell", [client.name, column.name, *without])
    base, _, log = servers
    cell.translated = client.dialect not in column.native
    home, folder = tmp_path / "home", tmp_path / "project"
    home.mkdir()
    folder.mkdir()
    key, token, colour = secrets.token_hex(8), secrets.token_hex(8), secrets.token_bytes(3)
    (folder / "notes.txt").write_text(f"# Notes\nkey: {key}\nstatus: open\n")
    (folder / "token.txt").write_text(f"token-{token}\n")
    (folder / "picture.png").write_bytes(picture(*colour))
    begun = log.stat().st_size
    prompt = PROMPT.format(folder=folder, look=LOOK if column.sees else "")
    with (tmp_path / "said").open("wb") as said:
        ended(started(client, f"{base}/{column.name}", home, folder, prompt, said), cell, said)
    said = (tmp_path / "said").read_text(errors="replace")
    report(cell, said, log, tmp_path)

    assert not cell.problems, "\n".join(cell.problems)
    seen = [f"colour {colour.hex()}"] if column.sees else []
    answer = (folder / "answer.txt").read_text()
    assert answer == "\n".join([f"token token-{token}", f"secret {secret(key)}", *seen, HARD, ""])
    assert (folder / "notes.txt").read_text() == f"# Notes\nkey: {key}\nstatus: done\n"
    total = hashlib.sha256(answer.encode()).hexdigest()
    assert (folder / "sum.txt").read_text().split()[0] == total
    assert total in said
    handshake = f'"path":"/{column.name}/v1/responses"'
    assert client.socket == any(handshake in line and '"status":101' in line for line in news(log, begun))
    assert bool(cell.lost and client.keeps) == bool(without), f"lost reasoning: {cell.lost} of {cell.signed}"


def news(log, begun):
    """The lines of Tollgate's log after its first `begun` bytes."""
    return log.read_bytes()[begun:].decode().splitlines()


def report(cell, said, log, folder):
    """Shown by pytest when the test fails; whole exchanges are in a file."""
    (folder / "exchanges.json").write_text(json.dumps(cell.exchanges, indent=1))
    seen = [f"{each.get('status')} {each['method']} {each['url']}" for each in cell.exchanges]
    print(f"exchanges: {folder / 'exchanges.json'}\nthe agent said:\n{said[-3000:]}")
    print("the provider saw:", *seen, sep="\n")
    print("Tollgate's log:", *log.read_text().splitlines()[-15:], sep="\n")
