"""Round trips of one connection, and the time that a start takes. The client spins; see client.c."""

import statistics
import subprocess
import sys

from . import load, servers
from .servers import SUBJECT, YARDSTICK
from .table import Row, digits, ratios, spread

BUSY = ("--busy-poll", "1000")  # microseconds; many round trips
WORKERS = 2
START_ROUNDS = 3  # times the rounds of the others: a start is short
STARTED = (YARDSTICK, SUBJECT, "nginx", "Node")


def latency(present, settings):
    busy = servers.http_server(*BUSY)
    row = Row("p50, one connection, busy polling", "× raw epoll (sleeping)", 0.4, busy.name, problem=busy.absent)
    takes_part = [server for server in present if server.name in (YARDSTICK, SUBJECT)]
    takes_part += [] if busy.absent else [busy]
    medians = {server.name: [] for server in takes_part}
    tails = {server.name: [] for server in takes_part}
    for turn in range(settings.rounds):
        print(f"{row.workload}: round {turn + 1} of {settings.rounds}", file=sys.stderr, flush=True)
        at = turn % len(takes_part)
        for server in takes_part[at:] + takes_part[:at]:
            with server.start(1, settings.cpus.server) as running:
                p50, p99, _count = _client(settings, "latency", running.port, 1)
            medians[server.name].append(p50 / 1e3)
            tails[server.name].append(p99 / 1e3)
    row.values = ratios(medians)
    row.details = [["server", "p50, µs", "× raw epoll", "rounds", "p99, µs"]]
    for name, own in medians.items():
        each = digits(statistics.median(own)), f"{row.values[name]:.3f}", spread(own, medians[YARDSTICK])
        row.details.append([name, *each, digits(statistics.median(tails[name]))])
    return [row]


def start(present, settings):
    row = Row(f"start to first answer, {WORKERS} workers", "× raw epoll", 1.7)
    takes_part = [server for server in present if server.name in STARTED]
    times = {server.name: [] for server in takes_part}
    print(row.workload, file=sys.stderr, flush=True)
    for turn in range(settings.rounds * START_ROUNDS):
        at = turn % len(takes_part)
        for server in takes_part[at:] + takes_part[:at]:
            port = servers.free_port()
            (nanoseconds,) = _client(settings, "first", port, settings.cpus.server, *server.command(port, WORKERS))
            times[server.name].append(nanoseconds / 1e6)
    row.values = ratios(times)
    row.details = [["server", "median, ms", "× raw epoll", "rounds"]]
    for name, own in times.items():
        row.details.append([name, f"{statistics.median(own):.2f}", f"{row.values[name]:.2f}", spread(own, times[YARDSTICK])])
    return [row]


def _client(settings, *words):
    """What client.c prints, as numbers. A server that it starts prints to nowhere."""
    command = [load.client_program(), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=settings.cpus.take_clients)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
    return [int(word) for word in done.stdout.split("\n")[-2].split()]
