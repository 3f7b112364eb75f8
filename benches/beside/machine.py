"""Processes on their core, and what they cost: CPU time, memory, and who else was there."""

import os
import re
import resource
import signal
import subprocess
import time
from pathlib import Path

PROXY_CORE, LOAD_CORE = 0, 1
LOOPBACK = "127.0.0.1"


class Wrong(Exception):
    """A peer did not run, or gave a wrong answer."""


def start(argv, core, log, environment=None):
    """A child on `core`, in a process group of its own; its output goes to `log`."""
    with open(log, "ab") as out:
        return subprocess.Popen(
            [str(part) for part in argv],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**os.environ, **(environment or {})},
            preexec_fn=lambda: os.sched_setaffinity(0, {core} if core is not None else {PROXY_CORE, LOAD_CORE}),
            start_new_session=True,
        )


def stop(child):
    """SIGTERM twice (the second ends a drain), then SIGKILL for its whole group."""
    for patience in (0.1, 3):
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(patience)
            except subprocess.TimeoutExpired:
                pass
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def output(argv, core=LOAD_CORE, seconds=120):
    """What a child wrote that must end well."""
    done = subprocess.run(
        [str(part) for part in argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    if done.returncode != 0:
        raise Wrong(f"{argv[0]} ended with {done.returncode}: {done.stdout[-300:]}")
    return done.stdout


def tree(pid):
    """A process and all that it started."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            for child in task.read_text().split():
                found += tree(int(child))
        except OSError:
            pass
    return found


def cpu_by_thread(pid):
    """Run time of each thread of a process tree, in ns (the first figure of schedstat)."""
    found = {}
    for process in tree(pid):
        for task in Path(f"/proc/{process}/task").glob("*"):
            try:
                found[int(task.name)] = int((task / "schedstat").read_text().split()[0])
            except (OSError, IndexError):
                pass
    return found


def cpu(pid):
    """Run time of a process tree, in ns."""
    return sum(cpu_by_thread(pid).values())


def memory_kb(pid, field="VmRSS"):
    """`VmRSS` or `VmHWM` of a process tree, in kB."""
    total = 0
    for process in tree(pid):
        try:
            total += int(re.search(rf"{field}:\s+(\d+)", Path(f"/proc/{process}/status").read_text())[1])
        except (OSError, TypeError):
            pass
    return total


def busy_ns(core):
    """Time that `core` spent on anything, in ns; to a clock tick (10 ms)."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            figures = [int(one) for one in line.split()[1:9]]
            return (sum(figures) - figures[3] - figures[4]) * 10**9 // os.sysconf("SC_CLK_TCK")
    raise Wrong(f"this machine has no core {core}")


class other_work:
    """How much of the proxy's core others used while a sample was taken."""

    def __enter__(self):
        self.busy, self.since = busy_ns(PROXY_CORE), time.monotonic_ns()
        return self

    def __exit__(self, *_):
        self.busy = busy_ns(PROXY_CORE) - self.busy
        self.since = time.monotonic_ns() - self.since

    def share(self, got):
        """Part of the time; what the proxy itself used is in `got`."""
        return max(0, self.busy - got.get("core_ns", self.busy)) / self.since


def many_files():
    """As many descriptors as this machine gives: 1,000 connections are 2,000 sockets."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
