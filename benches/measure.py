"""What every benchmark of this folder does: processors, the load generator, memory, token counts, tables."""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from proxies import CACHE, REPOSITORY, Process, free_port, listens, run_quietly

QUIET_SHARE = 0.85
"""At c=32 a proxy always has something to do, so on a quiet machine it has at least this share of its processor."""

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def processors():
    """One processor for the proxy, the others for the mock and the load generator."""
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:
        print("only one processor: the proxy shares it, so only CPU time means anything", file=sys.stderr)
        return available, available
    return available[:1], available[1:]


def build_load_generator():
    target = CACHE / "bench-target"
    run_quietly(
        ["cargo", "build", "--release", "--locked", "--manifest-path", REPOSITORY / "benches/loadgen/Cargo.toml"],
        env={**os.environ, "CARGO_TARGET_DIR": str(target)},
    )
    return target / "release" / "loadgen"


@contextmanager
def running_mock(generator, cpus, events_per_write=4, events_per_chunk=1):
    """The bare upstream, as a context; gives its port."""
    port = free_port()
    command = [generator, "mock", "--listen", f"127.0.0.1:{port}"]
    command += ["--events-per-write", events_per_write, "--events-per-chunk", events_per_chunk]
    with tempfile.NamedTemporaryFile(prefix="tollgate-bench-") as output:
        with Process(command, cpus, output.name) as mock:
            mock.wait_for(listens(port))
            yield port


def memory(pids, field):
    """`VmRSS` or `VmHWM`, summed over the processes, in MiB."""
    kib = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                kib += int(line.split()[1])
    return kib / 1024


def reset_peak(pids):
    """Makes `VmHWM` start again from what is used now."""
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text("5")


class LoadFailed(Exception):
    """A reply that was not what it must be, or was not counted."""


def load(generator, cpus, port, path, kind, connections, cpu_seconds, pids=(), warmup=64, dialect=None):
    """One scenario against one target, in Chat Completions or in `dialect`, whose replies may then be translated.

    `warmup` is requests a connection. Raises LoadFailed when a single reply is not what it must be.
    """
    command = [generator, "load", "--target", f"127.0.0.1:{port}", "--path", path, "--scenario", kind]
    command += ["--connections", connections, "--warmup", warmup * connections]
    if dialect:
        command += ["--dialect", dialect, "--translated", "yes"]
    # Without a proxy there is no CPU time to wait for. With one, the limit is for one that hardly works at all.
    command += ["--seconds", cpu_seconds * 10 if pids else cpu_seconds]
    if pids:
        command += ["--proxy-ticks", max(1, round(cpu_seconds * TICKS_PER_SECOND))]
    for pid in pids:
        command += ["--proxy-pid", pid]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, preexec_fn=lambda: os.sched_setaffinity(0, cpus)
    )
    if done.returncode != 0:
        raise LoadFailed(done.stderr.strip())
    seen = json.loads(done.stdout)
    result = {
        "requests": seen["requests"],
        "sent": seen["requests"] + seen["warmup"],
        "requests_per_second": seen["requests"] / (seen["elapsed_ns"] / 1e9),
        "reconnects": seen["reconnects"],
    }
    for name in ["p50", "p99", "first_p50", "first_p99"]:
        result[f"{name}_us"] = seen[f"{name}_ns"] / 1e3
    if pids:
        cpu_seconds = seen["proxy_ticks"] / TICKS_PER_SECOND
        result["cpu_us_per_request"] = cpu_seconds * 1e6 / seen["requests"]
        result["cpu_share"] = cpu_seconds / (seen["elapsed_ns"] / 1e9)
    return result


def check_tokens(proxy, label, before, sent, shape):
    """Every reply's tokens must have been counted, exactly once; raises LoadFailed otherwise."""
    if before is None:
        return
    wanted = sent * shape["prompt_tokens"], sent * shape["completion_tokens"]
    end = time.monotonic() + 2
    while True:
        now = proxy.tokens()
        counted = now[0] - before[0], now[1] - before[1]
        if counted == wanted:
            return
        if time.monotonic() > end:
            raise LoadFailed(f"{label}: {counted} tokens counted for {sent} requests, not {wanted}")
        time.sleep(0.05)


def check_log(proxy, sent):
    """Every request must have its line in the access log."""
    with open(proxy.log, "rb") as log:
        lines = sum(1 for _ in log)
    if lines < sent:
        raise SystemExit(f"{proxy.name}: {lines} lines in the access log for {sent} requests")


def markdown(rows, left):
    """A Markdown table whose source reads well, the first `left` columns aligned to the left."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = []
    for number, row in enumerate(rows):
        cells = [
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        ]
        lines.append(f"| {' | '.join(cells)} |")
        if number == 0:
            rules = ["-" * width if at < left else "-" * (width - 1) + ":" for at, width in enumerate(widths)]
            lines.append(f"| {' | '.join(rules)} |")
    return "\n".join(lines)


def judge(checks):
    """The table of (what, reached, at most), and whether one was missed."""
    rows = [["target", "reached", "at most", ""]]
    for what, reached, most in checks:
        rows.append([what, f"{reached:.2f}", f"{most:.2f}", "ok" if reached <= most else "MISSED"])
    return markdown(rows, left=1), any(reached > most for _, reached, most in checks)


def machine():
    """What numbers depend on, for the reader and for the JSON."""
    model = next(
        (line.partition(":")[2].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown"
    )
    return {
        "processor": model,
        "processors": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "load_average_before": os.getloadavg()[0],
    }
