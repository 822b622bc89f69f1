"""Two CPUs: one for the servers, one for the clients."""

import os


class Cpus:
    def __init__(self):
        allowed = sorted(os.sched_getaffinity(0))
        if len(allowed) < 2:
            raise SystemExit("bench: servers and clients need a CPU each")
        self.server, self.clients = allowed[0], allowed[-1]

    def take_clients(self):
        """This process runs there only."""
        os.sched_setaffinity(0, {self.clients})
