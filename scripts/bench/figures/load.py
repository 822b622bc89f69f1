"""One server under one load: how much CPU time a request took it, and what the client saw.

A measurement: the server is started, warmed up, put under wrk's load for some seconds, and ended. Its CPU time is read
while it rests, before and after. If somebody else used the machine meanwhile, it is repeated.
"""

import json
import os
import resource
import subprocess
import time
from dataclasses import dataclass

from . import build, procfs


@dataclass(frozen=True)
class Load:
    connections: int
    depth: int = 1
    close: bool = False
    warm_up: int = 20_000  # requests: time for Node to compile the code


@dataclass
class Measurement:
    requests: int
    seconds: float
    cpu_ns: int  # of the workers
    master_ns: int
    foreign: float  # CPUs in use by others
    p50: float  # microseconds, as all percentiles
    p99: float
    p999: float

    @property
    def cost(self):
        """Nanoseconds of CPU per request."""
        return self.cpu_ns / self.requests

    @property
    def rate(self):
        return self.requests / self.seconds


def measure(server, load, settings):
    """The least disturbed of at most TRIES. `settings.repeats`: how many more there may be in this workload."""
    best = _measure(server, load, settings.seconds, settings.cpus)
    for _ in range(TRIES - 1):
        if best.foreign <= MOST_FOREIGN or settings.repeats == 0:
            break
        settings.repeats -= 1
        best = min(best, _measure(server, load, settings.seconds, settings.cpus), key=lambda one: one.foreign)
    return best


def _measure(server, load, seconds, cpus):
    with server.start(1, cpus.server) as running:
        running.answer()
        with Client(running, cpus, load.connections, load.warm_up, load.depth, load.close) as client:
            client.go()
        master, workers = running.processes()
        before = [procfs.cpu_time(workers), procfs.cpu_time(master), procfs.busy_time(), _own_time(), time.monotonic()]
        said = _wrk(running.port, load, seconds, cpus)
        time.sleep(REST_S)
        after = [procfs.cpu_time(workers), procfs.cpu_time(master), procfs.busy_time(), _own_time(), time.monotonic()]
    worker_ns, master_ns, busy_ns, own_ns, passed = (end - start for start, end in zip(before, after))
    if said["errors"]:
        raise RuntimeError(f"{server.name}: wrk met {said['errors']} errors under {load}")
    return Measurement(
        said["requests"], said["microseconds"] / 1e6, worker_ns, master_ns,
        max(0.0, (busy_ns - worker_ns - master_ns - own_ns) / 1e9 / passed),
        said["p50"], said["p99"], said["p999"],
    )


def _own_time():
    """Of this process and of those that have ended: wrk."""
    uses = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return int(sum(use.ru_utime + use.ru_stime for use in uses) * 1e9)


def _wrk(port, load, seconds, cpus):
    command = ["wrk", "-t1", f"-c{load.connections}", f"-d{seconds}s", "-s", os.path.join(build.HERE, "report.lua")]
    command += ["-H", "Connection: close"] if load.close else []
    command += [f"http://127.0.0.1:{port}/", str(load.depth)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=cpus.take_clients)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


class Client:
    """An exact number of requests: connected when entered, they are made by `go`, the connections stay until the end."""

    def __init__(self, running, cpus, connections, requests, depth=1, close=False):
        counts = [running.port, connections, requests, depth]
        self.name = running.server.name
        self.process = subprocess.Popen(
            [client_program(), "load", *map(str, counts), "close" if close else "keep"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=cpus.take_clients,
        )

    def __enter__(self):
        self._expect("ready")
        return self

    def go(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        self._expect("done")

    def __exit__(self, *_failure):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def _expect(self, word):
        if self.process.stdout.readline().strip() != word:
            raise RuntimeError(f"the client of {self.name} has failed, see above")


def client_program():
    return os.path.join(build.OUT, "client")


TRIES = 3

# Of one CPU.
MOST_FOREIGN = 0.10

# Until the server has seen wrk's connections close.
REST_S = 0.03
