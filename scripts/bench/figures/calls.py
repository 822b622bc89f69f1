"""System calls per request: strace counts those of all processes of a server during an exact number of requests."""

import os
import signal
import subprocess
import sys

from . import build
from .load import Client
from .servers import SUBJECT, attempt
from .table import Row

# Title, bar, connections, requests, depth, a new connection for each. The connections are there before strace is.
KINDS = (
    ("system calls, keep-alive", 2.05, 64, 32_000, 1, False),
    ("system calls, pipelined ×16", 0.135, 64, 128_000, 16, False),
    ("system calls, new connection", 5.1, 64, 6_000, 1, True),
)


def rows(present, settings):
    return [_row(kind, present, settings) for kind in KINDS]


def _row(kind, present, settings):
    title, most, *work = kind
    row = Row(title, "calls per request", most, details=[["server", "calls per request", "which"]])
    if reason := build.missing("strace"):
        row.problem, row.failed = reason, True
        return row
    for server in present:
        if work[-1] and not server.closes:
            continue
        print(f"{title}: {server.name}", file=sys.stderr, flush=True)
        calls = attempt(server, row.notes, lambda: _count(server, work, settings))
        if calls is None:
            continue
        row.values[server.name] = sum(calls.values())
        often = sorted(((count, name) for name, count in calls.items() if count >= SHOWN), reverse=True)
        which = ", ".join(f"{name} {count:.2f}" for count, name in often[:MOST_SHOWN])
        row.details.append([server.name, f"{sum(calls.values()):.3f}", which])
    if SUBJECT not in row.values:
        row.problem = "not asked for"
    return row


def _count(server, work, settings):
    with server.start(1, settings.cpus.server) as running:
        running.answer()
        running.settle()
        return _count_of(running, work, settings)


def _count_of(running, work, settings):
    connections, requests, depth, close = work
    master, workers = running.processes()
    pids = master + workers
    path = os.path.join(build.OUT, "calls")
    with Client(running, settings.cpus, connections, requests, depth, close) as client:
        running.settle()
        command = ["strace", "-c", "-f", "-o", path, *(word for pid in pids for word in ("-p", str(pid)))]
        strace = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        for _ in pids:
            line = strace.stderr.readline()
            if " attached" not in line:
                strace.wait()
                raise RuntimeError(f"strace: {line.strip()}")
        client.go()
        strace.send_signal(signal.SIGINT)  # it detaches and writes its table
        strace.communicate()
    return _table(path, requests)


def _table(path, requests):
    """Columns: % time, seconds, usecs/call, calls, perhaps errors, name. The last line is the sum."""
    calls = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            fields = line.split()
            if len(fields) >= 5 and fields[3].isdigit() and fields[-1] != "total":
                calls[fields[-1]] = int(fields[3]) / requests
    return calls


# Rarer is no cost per request; and a line must end somewhere.
SHOWN = 0.005
MOST_SHOWN = 8
