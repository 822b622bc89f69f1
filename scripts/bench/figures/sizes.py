"""Memory in user space: of connections that are idle, and of workers that have nothing to do."""

import resource
import statistics
import sys

from . import procfs
from .load import Client
from .servers import attempt
from .table import Row

CONNECTIONS = 10_000
DESCRIPTORS = CONNECTIONS + 200
WORKERS = 2


def connections(present, settings):
    """Each has made one request; what else the server keeps from the first of them on counts, too."""
    row = Row(f"memory per idle connection, {CONNECTIONS:,} of them", "bytes", 300)
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < DESCRIPTORS:
        row.problem, row.failed = f"not measured: needs {DESCRIPTORS} open files (ulimit -n)", True
        return [row]
    for server in present:
        print(f"{row.workload}: {server.name}", file=sys.stderr, flush=True)
        row.values[server.name] = attempt(server, row.notes, lambda: _per_connection(server, settings))
    return [row]


def _per_connection(server, settings):
    with server.start(1, settings.cpus.server) as running:
        running.answer()
        running.settle()
        _, workers = running.processes()
        before = sum(procfs.memory(pid, "Private_Dirty") for pid in workers)
        with Client(running, settings.cpus, CONNECTIONS, CONNECTIONS) as client:
            client.go()
            running.settle()
            after = sum(procfs.memory(pid, "Private_Dirty") for pid in workers)
    return (after - before) / CONNECTIONS


def idle(present, settings):
    """Never asked anything: they listen, that is seen in /proc. Of one of several, since they share pages."""
    row = Row(f"PSS of an idle worker, {WORKERS} of them", "KiB", 500)
    for server in present:
        if not server.forks:
            continue
        with server.start(WORKERS, settings.cpus.server) as running:
            running.settle()
            _, workers = running.processes()
            row.values[server.name] = statistics.mean(procfs.memory(pid, "Pss") for pid in workers) / 1024
    return [row]
