"""What /proc says: CPU time and memory of processes, what the machine does beside them, who listens.

Units: CPU time in nanoseconds, memory in bytes. A process that has ended counts as nothing.
"""

import gzip
import os
import platform

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def cpu_time(pids):
    """Of all threads that these processes have, user and system; to the nanosecond once a thread has gone to sleep."""
    return sum(int(line.split()[0]) for pid in pids for line in _of_threads(pid, "schedstat"))


def descendants(pid):
    """The process and all that it has forked, itself first."""
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (stat := _read(f"/proc/{name}/stat")):
            parent = int(stat.rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(name))
    family = [pid]
    for member in family:
        family += sorted(children.get(member, []))
    return family


def busy_time():
    """Of all CPUs, whoever used them; what the hypervisor took away counts, too."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = _cpu_line()
    interrupts = 0 if INTERRUPTS_APART else irq + softirq
    return (user + nice + system + steal + interrupts) * TICK_NS


def memory(pid, field):
    """A line of smaps_rollup: "Pss", "Private_Dirty" …"""
    for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/{pid}/smaps_rollup has no {field}: is the process gone?")


def is_listening(port):
    """On any IPv4 address: found without connecting, which would be work for the server."""
    rows = (line.split() for line in _read("/proc/net/tcp").splitlines()[1:])
    return any(row[3] == "0A" and int(row[1].split(":")[1], 16) == port for row in rows)


def _of_threads(pid, name):
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except FileNotFoundError:
        return []
    return filter(None, (_read(f"/proc/{pid}/task/{thread}/{name}") for thread in threads))


def _read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _cpu_line():
    return [int(field) for field in _read("/proc/stat").split("\n", 1)[0].split()[1:9]]


def _interrupts_apart():
    """Whether the kernel takes the time of interrupts off what schedstat says of the task they interrupted. Then network
    traffic is in no task's time, and must not count as somebody else's."""
    option = "CONFIG_IRQ_TIME_ACCOUNTING=y"
    try:
        with gzip.open("/proc/config.gz", "rt") as file:
            return option in file.read()
    except OSError:
        return option in _read(f"/boot/config-{platform.release()}")


INTERRUPTS_APART = _interrupts_apart()
