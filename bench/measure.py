# SPDX-License-Identifier: Apache-2.0
"""What run.py needs of the machine: what processes cost, how the disk is, what all this is."""
import contextlib
import os
import platform
import socket
import statistics
import subprocess
import time

BLOCK = 4096
PROBE_BYTES = 4 << 20


# ---- processes ----------------------------------------------------------------------------------


def cpu_ns(pid):
    """User and system time of all threads of a process, in nanoseconds (its CPU clock; the ticks
    of /proc/PID/stat are 10 ms)."""
    return time.clock_gettime_ns((~pid << 3) | 2)


def switches(pid, kinds=("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")):
    """Context switches, summed over the threads: /proc/PID/status has the first thread's only."""
    total = 0
    with contextlib.suppress(FileNotFoundError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError), \
                 open(f"/proc/{pid}/task/{thread}/status", encoding="ascii") as f:
                total += sum(int(line.split()[1]) for line in f if line.startswith(kinds))
    return total


def wake_ups(pid):
    """How often a thread went to sleep, and so was woken: not how often it had to make room."""
    return switches(pid, ("voluntary_ctxt_switches",))


def rss_bytes(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def available_bytes():
    with open("/proc/meminfo", encoding="ascii") as f:
        return next(int(line.split()[1]) << 10 for line in f if line.startswith("MemAvailable"))


def children(pid):
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError), \
             open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as f:
            if int(f.read().rsplit(")", 1)[1].split()[1]) == pid:
                found.append(int(name))
    return found


class Usage:
    """What some processes and the disk below a folder have spent until now."""

    def __init__(self, pids, folder):
        self.at = time.monotonic()
        self.cpu_ns = sum(cpu_ns(pid) for pid in pids)
        self.switches = sum(switches(pid) for pid in pids)
        self.flushes = flushes(folder)

    def each(self, before, operations):
        """Per operation, in the names of the result lines."""
        out = {"cpu_us_per_operation": (self.cpu_ns - before.cpu_ns) / 1e3 / operations,
               "context_switches_per_operation": (self.switches - before.switches) / operations}
        if self.flushes is not None:
            out["device_flushes_per_operation"] = (self.flushes - before.flushes) / operations
        return out


# ---- the disk -----------------------------------------------------------------------------------


def flushes(folder):
    """Flushes the device has done, by anyone; None where there is no device of its own."""
    device = os.stat(folder).st_dev
    base = f"/sys/dev/block/{os.major(device)}:{os.minor(device)}"
    if os.path.exists(base + "/partition"):  # the kernel counts them for whole disks only
        base += "/.."
    try:
        with open(base + "/stat", encoding="ascii") as f:
            return int(f.read().split()[15])
    except (FileNotFoundError, IndexError):
        return None


def busy_ticks():
    with open("/proc/stat", encoding="ascii") as f:
        fields = [int(x) for x in f.readline().split()[1:9]]
    idle = fields[3] + fields[4]
    return sum(fields) - idle, sum(fields)


def probe(folder, seconds):
    """How this moment is: the median of fdatasync after 4 KiB into zero-written space, in us, and
    the share of all processors that others were using meanwhile."""
    path = os.path.join(folder, "probe")
    block, times = b"k" * BLOCK, []
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.pwrite(fd, bytes(PROBE_BYTES), 0)
        os.fsync(fd)
        busy, ticks = busy_ticks()
        own, end = time.process_time(), time.monotonic() + seconds
        while time.monotonic() < end:
            os.pwrite(fd, block, len(times) * BLOCK % PROBE_BYTES)
            began = time.monotonic_ns()
            os.fdatasync(fd)
            times.append(time.monotonic_ns() - began)
        busy, ticks = busy_ticks()[0] - busy, busy_ticks()[1] - ticks
        own = (time.process_time() - own) * os.sysconf("SC_CLK_TCK")
    finally:
        os.close(fd)
        os.unlink(path)
    return {"sync_us": statistics.median(times) / 1e3,
            "busy": round(max(0.0, busy - own) / max(ticks, 1), 3)}


# ---- the machine --------------------------------------------------------------------------------


def cpu_model():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        for line in f:
            if line.lower().startswith(("model name", "hardware")):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def file_system(folder):
    """The type of the mount that holds a folder."""
    best, kind = "", "unknown"
    with open("/proc/self/mounts", encoding="utf-8") as f:
        for line in f:
            _, where, what = line.split()[:3]
            inside = folder == where or folder.startswith(where.rstrip("/") + "/")
            if inside and len(where) >= len(best):
                best, kind = where, what
    return kind


def machine(folder):
    return {"cpu": cpu_model(), "cores": len(os.sched_getaffinity(0)),
            "kernel": platform.release(), "fs": file_system(folder)}


def commit(root):
    def git(*words):
        return subprocess.run(["git", "-C", root, *words], capture_output=True, text=True,
                              check=False).stdout.strip()
    return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain") else "")


def free_ports(count):
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


def call(port, *words):
    """One command to a RESP server, the first bytes of its answer; None: nobody there."""
    request = b"*%d\r\n" % len(words) + b"".join(
        b"$%d\r\n%s\r\n" % (len(w), w) for w in (word.encode() for word in words))
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as s:
            s.sendall(request)
            return s.recv(65536)  # enough for all that is asked here, and they come in one piece
    except OSError:
        return None


def wait_for(condition, what, seconds=60):
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise RuntimeError(f"after {seconds} s still not: {what}")
        time.sleep(0.02)
    return value
