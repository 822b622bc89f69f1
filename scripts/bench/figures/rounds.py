"""CPU time per request under wrk: all servers in turn, from another one on in each round."""

import statistics
import sys
from dataclasses import dataclass

from . import load, servers
from .load import Load
from .servers import SUBJECT, YARDSTICK, attempt
from .table import Row, digits, ratios, spread


@dataclass(frozen=True)
class Workload:
    name: str  # on the command line
    title: str
    load: Load
    most: float
    variants: tuple = ()  # (options of http_server, title, bar)


WORKLOADS = (
    Workload("keep-alive-64", "keep-alive, 64 connections", Load(64), 1.05),
    Workload("keep-alive-512", "keep-alive, 512 connections", Load(512), 1.05),
    Workload("pipelined", "pipelined ×16, 64 connections", Load(64, depth=16, warm_up=100_000), 1.15),
    Workload(
        "new-connection", "new connection per request, 64", Load(64, close=True, warm_up=3_000), 1.05,
        ((("--defer-accept",), "the same, defer_accept (raw epoll without)", 0.85),),
    ),
)


def rows(workload, present, settings):
    """`present`: the servers that are there. The first row holds the details of all."""
    variants = [(servers.http_server(*options), title, most) for options, title, most in workload.variants]
    takes_part = [server for server in present if server.closes or not workload.load.close]
    if any(server.name == SUBJECT for server in present):
        takes_part += [server for server, _, _ in variants if not server.absent]
    notes = []
    measured = _rounds(workload, takes_part, settings, notes)
    costs = {name: [one.cost for one in each] for name, each in measured.items()}
    ratio = ratios(costs)
    notes += _notes(workload, measured)
    first = Row(workload.title, UNIT, workload.most, values=ratio, details=_details(workload, measured, ratio), notes=notes)
    others = [
        Row(title, UNIT, most, subject=server.name, values=ratio, problem=server.absent) for server, title, most in variants
    ]
    for other in others:
        other.values = {name: value for name, value in ratio.items() if name in (other.subject, YARDSTICK)}
    return [first, *others]


def _rounds(workload, takes_part, settings, notes):
    """{server: [measurement of each round]}"""
    measured = {server.name: [] for server in takes_part}
    settings.repeats = len(takes_part) * settings.rounds // 2
    for turn in range(settings.rounds):
        print(f"{workload.title}: round {turn + 1} of {settings.rounds}", file=sys.stderr, flush=True)
        at = turn % len(takes_part)
        for server in takes_part[at:] + takes_part[:at]:
            if server.name not in measured:
                continue
            one = attempt(server, notes, lambda: load.measure(server, workload.load, settings))
            if one is None:
                del measured[server.name]
            else:
                measured[server.name].append(one)
    return measured


def _details(workload, measured, ratio):
    base = [one.cost for one in measured[YARDSTICK]]
    lines = [HEAD]
    for name, each in measured.items():
        def middle(of):
            return statistics.median(map(of, each))

        seen = ["-" if workload.load.depth > 1 else digits(middle(of)) for of in PERCENTILES]
        cost, master = middle(lambda one: one.cost) / 1e3, middle(lambda one: one.master_ns / one.requests) / 1e3
        rate, rounds = middle(lambda one: one.rate), spread([one.cost for one in each], base)
        lines.append([name, f"{cost:.2f}", f"{ratio[name]:.3f}", rounds, f"{master:.2f}", f"{rate:,.0f}", *seen])
    return lines


def _notes(workload, measured):
    everything = [one for each in measured.values() for one in each]
    disturbed = [one.foreign for one in everything if one.foreign > load.MOST_FOREIGN]
    notes = []
    if disturbed:
        notes.append(
            f"{len(disturbed)} of {len(everything)} measurements are disturbed though many were repeated: "
            f"others used up to {max(disturbed):.2f} CPUs"
        )
    if workload.load.depth > 1:
        notes.append("no percentiles: wrk's correction for coordinated omission spoils them for pipelined requests")
    return notes


UNIT = "CPU per request, × raw epoll"
PERCENTILES = (lambda one: one.p50, lambda one: one.p99, lambda one: one.p999)
HEAD = ["server", "CPU per request, µs", "× raw epoll", "rounds", "master, µs", "requests/s"]
HEAD += ["p50, µs", "p99, µs", "p99.9, µs"]
