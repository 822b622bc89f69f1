"""The servers, each with the command that starts it, and one of them while it runs.

All answer `GET /` with the same body on 127.0.0.1. One that cannot be had says why in `absent`.
"""

import os
import signal
import socket
import subprocess
import time

from . import build, procfs

BODY = b"Hello, World!"
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
LAST_REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

YARDSTICK, SUBJECT = "raw epoll", "http_server"
PATIENCE_S = 20

# What the yardstick sends: files written by `share_answers`.
ANSWERS = (os.path.join(build.OUT, "answer"), os.path.join(build.OUT, "last-answer"))


class Server:
    """`command(port, workers)`; `closes`: it honours `Connection: close`; `forks`: its workers are processes;
    `body`: what it answers."""

    def __init__(self, name, command, absent=None, closes=True, forks=False, body=BODY):
        self.name, self.command, self.absent, self.closes, self.forks = name, command, absent, closes, forks
        self.body = body

    def start(self, workers, cpu):
        return Running(self, workers, cpu)


class Running:
    """A context manager: started on that CPU, listening when entered, killed at the end."""

    def __init__(self, server, workers, cpu):
        self.server, self.workers, self.cpu, self.port = server, workers, cpu, free_port()

    def __enter__(self):
        command = self.server.command(self.port, self.workers)
        with open(os.path.join(build.OUT, f"{self.server.name}.log"), "wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                preexec_fn=lambda: os.sched_setaffinity(0, {self.cpu}),
            )
        try:
            self._wait(lambda: procfs.is_listening(self.port), "listen")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_failure):
        # Not in good order: that takes time, and what a server does after the measurement is of no interest.
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def answer(self, request=REQUEST):
        """One answer as bytes, on a connection of its own. **Errors**: it is not what all servers say."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S) as client:
            client.sendall(request)
            received = b""
            while not received.endswith(self.server.body):
                piece = client.recv(65536)
                if not piece:
                    raise RuntimeError(f"{self.server.name} answers {received!r}")
                received += piece
        if not received.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"{self.server.name} answers {received!r}")
        return received

    def processes(self):
        """(the master, its workers); of a server of one process it is the worker."""
        first, *others = procfs.descendants(self.process.pid)
        return ([first], others) if self.server.forks else ([], [first, *others])

    def settle(self):
        """Until all workers are there and do next to nothing; some never sleep for long."""
        self._wait(lambda: not self.server.forks or len(self.processes()[1]) >= self.workers, "fork")
        self._wait(self._rests, "come to rest")

    def _rests(self):
        before = sum(map(procfs.cpu_time, self.processes()))
        time.sleep(QUIET_S)
        return sum(map(procfs.cpu_time, self.processes())) - before < REST_NS

    def _wait(self, condition, what):
        until = time.monotonic() + PATIENCE_S
        while not condition():
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{self.server.name} did not {what}, see {build.OUT}/{self.server.name}.log")
            time.sleep(0.002)


def attempt(server, notes, work):
    """What `work` returns; None if it fails with a peer, which is noted: then the others are measured all the same."""
    try:
        return work()
    except (OSError, RuntimeError) as error:
        if server.name == YARDSTICK or server.name.startswith(SUBJECT):
            raise
        notes.append(f"{server.name} is left out: {error}")
        return None


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def all_servers(not_built):
    """In the order of the tables. `not_built`: {name: reason}, from `build`."""
    raw = os.path.join(build.OUT, "raw_epoll")
    cluster = os.path.join(build.HERE, "peers", "cluster.js")
    return [
        Server(YARDSTICK, lambda port, workers: [raw, str(port), str(workers), *ANSWERS], forks=True),
        http_server(),
        Server("nginx", nginx, build.missing("nginx"), forks=True),
        *(Server(name, rust_peer(name), not_built.get(name), closes=name != "may") for name in build.RUST_PEERS),
        Server("Node", lambda port, workers: ["node", cluster, str(port), str(workers)], build.missing("node"), forks=True),
    ]


def http_server(*options):
    """With options that this build may not have yet."""
    name = " ".join((SUBJECT, *options))
    lacks = [option for option in options if option.startswith("--") and option not in _help()]
    absent = f"{' '.join(lacks)}: not in this build" if lacks else None

    def command(port, workers):
        return [build.HTTP_SERVER, "--listen", f"127.0.0.1:{port}", "--workers", str(workers), *options]

    return Server(name, command, absent, forks=True)


def _help():
    return subprocess.run([build.HTTP_SERVER, "--help"], capture_output=True, text=True, check=True).stdout


def rust_peer(name):
    return lambda port, workers: [build.peer(name), str(port), str(workers)]


def nginx(port, workers):
    folder = os.path.join(build.OUT, "nginx")
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, f"{port}.conf")
    with open(path, "w", encoding="utf-8") as file:
        file.write(NGINX % {"folder": folder, "port": port, "workers": workers, "body": BODY.decode()})
    return [build.found("nginx"), "-p", folder, "-e", "stderr", "-c", path]


def share_answers(cpu):
    """The yardstick sends what http_server sends, byte for byte as it was today: asks the one for the other's files."""
    with http_server().start(1, cpu) as running:
        for path, request in zip(ANSWERS, (REQUEST, LAST_REQUEST)):
            with open(path, "wb") as file:
                file.write(running.answer(request))


def check_lengths(servers, cpu):
    """**Errors**: yardstick and http_server do not send equally much, so they could not be compared."""
    lengths = {}
    for server in servers:
        if server.name in (YARDSTICK, SUBJECT):
            with server.start(1, cpu) as running:
                lengths[server.name] = [len(running.answer(request)) for request in (REQUEST, LAST_REQUEST)]
    if len(set(map(tuple, lengths.values()))) > 1:
        raise RuntimeError(f"the answers differ in length: {lengths}")


# A server is at rest when it takes less CPU time than this in so long.
QUIET_S = 0.1
REST_NS = 2_000_000

NGINX = """
daemon off;
error_log stderr;
pid %(folder)s/%(port)d.pid;
worker_processes %(workers)d;
events { worker_connections 16384; }
http {
    access_log off;
    default_type text/plain;
    keepalive_requests 1000000000;
    keepalive_timeout 75s;
    tcp_nodelay on;
    server {
        listen 127.0.0.1:%(port)d reuseport;
        location = / { return 200 '%(body)s'; }
    }
}
"""
