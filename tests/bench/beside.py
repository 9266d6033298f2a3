"""Servers beside each other: each on core 0, load on core 1, in rounds that visit each of them in turn."""
import os
import signal
import statistics
import subprocess
import tempfile
import time

from harness import cpu, family, interval, wait_port


class Server:
    def __init__(self, name, command, port, env=None):
        self.name, self.port = name, port
        self.log = tempfile.TemporaryFile()
        self.proc = subprocess.Popen(["taskset", "-c", "0"] + command, stdin=subprocess.DEVNULL, stdout=self.log,
                                     stderr=self.log, env=dict(os.environ, **(env or {})))
        try:
            wait_port(port, self.proc)
        except RuntimeError as e:
            self.stop()
            self.log.seek(0)
            raise RuntimeError(f"{name}: {e}\n{self.log.read().decode(errors='replace')}") from None

    @property
    def pid(self):
        return self.proc.pid

    def stop(self):
        if self.proc.poll() is not None:
            return
        self.proc.send_signal(signal.SIGTERM)
        try:
            self.proc.wait(20)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()


def run_load(command, timeout=120):
    """What a load generator prints; it has core 1."""
    return subprocess.run(["taskset", "-c", "1"] + command, capture_output=True, text=True, timeout=timeout).stdout


def h2load(url, requests, clients, more=()):
    """Seconds that it took. RuntimeError when not all were answered well."""
    begin = time.monotonic()
    out = run_load(["h2load", "-t1", f"-c{clients}", f"-n{requests}", *more, url])
    if f"{requests} succeeded" not in out or f"{requests} 2xx" not in out:
        raise RuntimeError(f"{url}: {out}")
    return time.monotonic() - begin


def spent(server, work):
    """(CPU seconds of the server while `work` ran, what it returned)."""
    before = cpu(server.pid)[0]
    result = work()
    return cpu(server.pid)[0] - before, result


def rounds_of(servers, rounds, work):
    """{server's name: [work(server) of each round]}, in an order that turns."""
    seen = {s.name: [] for s in servers}
    for s in servers:
        work(s)  # warm
    for r in range(rounds):
        for s in servers[r % len(servers):] + servers[:r % len(servers)]:
            seen[s.name].append(work(s))
    return seen


def ratio(a, b):
    """Of paired rounds: the median, and its 95 % interval."""
    return interval([x / y for x, y in zip(a, b)])


def system_calls(server, work, requests):
    """A request, counted by the kernel: under strace each look would find one request."""
    pids = ",".join(str(p) for p in family(server.pid))
    with tempfile.NamedTemporaryFile() as out:
        counter = subprocess.Popen(["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p", pids, "-o", out.name],
                                   stderr=subprocess.DEVNULL)
        time.sleep(0.5)
        work()
        counter.send_signal(signal.SIGINT)
        counter.wait(20)
        with open(out.name) as f:
            counts = [line.split(",")[0] for line in f if "sys_enter" in line]
    if not counts or not counts[0].isdigit():
        return None
    return int(counts[0]) / requests


class Table:
    """Rows of figures and of goals, as Markdown."""

    def __init__(self, servers):
        self.servers = [s.name for s in servers]
        self.rows, self.goals = [], []

    def add(self, title, values, digits=1):
        """`values`: by server, a list (its median stands) or a number; None or nothing: not measured."""
        def text(v):
            if v is None:
                return "–"
            return f"{statistics.median(v) if isinstance(v, list) else v:,.{digits}f}"
        self.rows.append(f"| {title} | " + " | ".join(text(values.get(s)) for s in self.servers) + " |")
        print(self.rows[-1], flush=True)

    def goal(self, title, measured, met):
        self.goals.append(f"| {title} | {measured} | {'met' if met else 'MISSED'} |")
        print(self.goals[-1], flush=True)

    def at_most(self, title, a, b, limit):
        """The upper end of the interval decides."""
        r = ratio(a, b)
        self.goal(title, f"{r[0]:.2f} ({r[1]:.2f} … {r[2]:.2f})", r[2] <= limit)

    def at_least(self, title, a, b, limit):
        r = ratio(a, b)
        self.goal(title, f"{r[0]:.2f} ({r[1]:.2f} … {r[2]:.2f})", r[1] >= limit)

    def text(self):
        return "\n".join(["| work | " + " | ".join(self.servers) + " |", "|---" * (len(self.servers) + 1) + "|"] + self.rows +
                         ["", "| target | measured | |", "|---|---|---|"] + self.goals)
