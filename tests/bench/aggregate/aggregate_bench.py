#!/usr/bin/env python3
"""Aggregation: StatsD lines by TCP into fiberd, and beside it into the npm package statsd, on one core each.

The server is pinned to one core, the generator (statsd_load) to another. A round visits every server once; the figures
are medians over rounds. Lines a second: all lines, from the first byte sent until the server has read the last and closed
its side. CPU: of all threads of the server (schedstat), until nothing is left to do. Lost: the sum of all counters sent
less the sum that the server shows afterwards.

With --instructions also what readers cost the writers: callgrind counts the instructions of Aggregator::add (parsing,
looking up, adding) a line, without a reader and with one that asks for the page a hundred times a second.

  aggregate_bench.py --fiberd build/release/fiberd --bin build/release/tests/bench [--statsd DIR] [--write PAGE]

The package is installed by npm into a temporary directory unless --statsd says where it is (a directory that holds
node_modules/statsd); without node it is left out, and the table says so.
"""
import argparse
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import family, free_port, wait_port, write_between  # noqa: E402

PACKAGE = "statsd@0.9.0"
SERVER_CORE, LOAD_CORE = "0", "1"
CONFIG = """
runtime: {{gomaxprocs: 1}}
log: {{level: warning}}
admin: {{address: "127.0.0.1:{admin}"}}
listeners:
  - {{name: stats, address: "127.0.0.1:{port}", aggregate: {{protocol: tcp, flush_interval: {interval}}}}}
"""


def cpu_seconds(pid):
    total = 0
    for p in family(pid):
        for task in os.listdir(f"/proc/{p}/task"):
            with open(f"/proc/{p}/task/{task}/schedstat") as f:
                total += int(f.read().split()[0])
    return total * 1e-9


def get(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        return answer.read().decode()


class Fiberd:
    def __init__(self, directory, binary, prefix=("taskset", "-c", SERVER_CORE), interval="1s"):
        self.port, self.admin = free_port(), free_port()
        config = os.path.join(directory, "aggregate.yaml")
        with open(config, "w") as f:
            f.write(CONFIG.format(port=self.port, admin=self.admin, interval=interval))
        self.process = subprocess.Popen([*prefix, binary, "run", "-c", config], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        wait_port(self.port, self.process, 60)

    def counted(self):
        """The sum of all counters on the page."""
        page = get(self.admin, "/aggregate/metrics")
        return sum(float(line.rsplit(" ", 1)[1]) for line in page.splitlines()
                   if not line.startswith("#") and line.split("{")[0].split(" ")[0].endswith("_total"))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


class NpmStatsd:
    def __init__(self, directory, package):
        self.port, self.management = free_port(), free_port()
        config = os.path.join(directory, "statsd.js")
        # No backend and no flush while it is measured: its counters are read over its management port.
        with open(config, "w") as f:
            f.write(json.dumps({"servers": [{"server": "./servers/tcp", "address": "127.0.0.1", "port": self.port}],
                                "mgmt_address": "127.0.0.1", "mgmt_port": self.management, "backends": [],
                                "flushInterval": 3_600_000}))
        self.process = subprocess.Popen(["taskset", "-c", SERVER_CORE, "node", os.path.join(package, "stats.js"), config],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_port(self.port, self.process)

    def counted(self):
        with socket.create_connection(("127.0.0.1", self.management), 60) as s:
            s.sendall(b"counters\n")
            text = b""
            while b"\nEND\n" not in text:
                part = s.recv(1 << 20)
                if not part:
                    break
                text += part
        return sum(float(v) for name, v in re.findall(r"'([^']+)': ([\d.]+)", text.decode())
                   if not name.startswith("statsd.")) if text else 0

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Reader:
    """Asks for the page `rate` times a second while it lives."""

    def __init__(self, port, rate=100):
        self.port, self.pause = port, 1 / rate
        self.reads, self.ended = 0, threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        next_read = time.monotonic()
        while not self.ended.is_set():
            get(self.port, "/aggregate/metrics")
            self.reads += 1
            next_read += self.pause
            self.ended.wait(max(0.0, next_read - time.monotonic()))

    def stop(self):
        self.ended.set()
        self.thread.join(60)


def load(args, port, lines, mode):
    out = subprocess.run(["taskset", "-c", LOAD_CORE, os.path.join(args.bin, "statsd_load"), str(port),
                          str(args.connections), str(lines), mode], capture_output=True, text=True, timeout=1200)
    if out.returncode != 0:
        sys.exit(f"statsd_load: {out.stderr}")
    return json.loads(out.stdout)


def settle(server, wanted, limit=60.0):
    """The sum of counters once it is what was sent, or stands still."""
    end = time.monotonic() + limit
    last, same = -1.0, 0
    while time.monotonic() < end:
        now = server.counted()
        if now >= wanted:
            return now
        same = same + 1 if now == last else 0
        if same >= 5:
            return now
        last = now
        time.sleep(0.5)
    return last


def measure(args, server, lines, mode, reader=False):
    before = cpu_seconds(server.process.pid)
    asking = Reader(server.admin) if reader else None
    sent = load(args, server.port, lines, mode)
    if asking:
        asking.stop()
    time.sleep(0.3)  # what is still in channels
    cpu = cpu_seconds(server.process.pid) - before
    counted = settle(server, sent["counted"])
    return {"lines": sent["lines"], "rate": sent["lines"] / sent["seconds"], "cpu": cpu / sent["lines"] * 1e6,
            "lost": sent["counted"] - counted, "reads": asking.reads if asking else 0,
            "bytes": sent["bytes"] / sent["lines"]}


def install(directory):
    """The package's directory, or None and why."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return None, "node or npm is not installed"
    done = subprocess.run(["npm", "install", PACKAGE, "--prefix", directory, "--ignore-scripts", "--no-audit", "--no-fund"],
                          capture_output=True, text=True, timeout=300)
    package = os.path.join(directory, "node_modules", "statsd")
    return (package, "") if os.path.isdir(package) else (None, f"npm install failed: {done.stderr.strip()[-200:]}")


def instructions(args, directory, reader, lines=400_000):
    """Of Aggregator::add, a line."""
    out = os.path.join(directory, f"callgrind.{int(reader)}")
    server = Fiberd(directory, args.fiberd, interval="500ms",
                    prefix=["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}"])
    load(args, server.port, 20_000, "counters")
    asking = Reader(server.admin) if reader else None

    def control(state):
        subprocess.run(["callgrind_control", "-i", state, str(server.process.pid)], stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, check=True)
    control("on")
    sent = load(args, server.port, lines, "counters")
    time.sleep(1)
    control("off")
    if asking:
        asking.stop()
    server.stop()
    annotated = subprocess.run(["callgrind_annotate", "--inclusive=yes", "--threshold=100", out], capture_output=True,
                               text=True, check=True).stdout
    for line in annotated.splitlines():
        found = re.match(r"\s*([\d,]+).*Aggregator::add\(", line)
        if found:
            return int(found.group(1).replace(",", "")) / sent["lines"], asking.reads if asking else 0
    sys.exit(f"callgrind saw no Aggregator::add:\n{annotated[:2000]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fiberd", required=True)
    parser.add_argument("--bin", required=True, help="where statsd_load is")
    parser.add_argument("--statsd", help="a directory that holds node_modules/statsd")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lines", type=int, default=5_000_000)
    parser.add_argument("--peer-lines", type=int, default=500_000)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--instructions", action="store_true")
    parser.add_argument("--write", metavar="PAGE", help="the page whose part `aggregate` is rewritten")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="fiberd-bench-") as directory:
        package, why_not = (os.path.join(args.statsd, "node_modules", "statsd"), "") if args.statsd else install(directory)
        rows = {}

        def note(name, result):
            rows.setdefault(name, []).append(result)
            print(f"{name}: {result['rate']:,.0f} lines/s, {result['cpu']:.3f} µs a line, lost {result['lost']:g}",
                  flush=True)
        for _ in range(args.rounds):
            for name, mode, reader in (("fiberd", "mixed", False), ("fiberd, a reader 100 times a second", "mixed", True),
                                       ("fiberd, with tags", "tags", False)):
                server = Fiberd(directory, args.fiberd)
                note(name, measure(args, server, args.lines, mode, reader))
                server.stop()
            if package:
                server = NpmStatsd(directory, package)
                note(f"npm {PACKAGE}", measure(args, server, args.peer_lines, "mixed"))
                server.stop()
        table = ["| server, one core | lines a round | lines/s | CPU µs a line | lost, all rounds |", "|---|---|---|---|---|"]
        for name, results in rows.items():
            def median(key):
                return statistics.median(r[key] for r in results)
            table.append(f"| {name} | {results[0]['lines']:,} | {median('rate'):,.0f} | {median('cpu'):.3f} | "
                         f"{sum(r['lost'] for r in results):g} |")
        if not package:
            table.append(f"| npm {PACKAGE} | not measured: {why_not} | | | |")
        text = "\n".join(table)
        if args.instructions:
            alone, _ = instructions(args, directory, False)
            asked, reads = instructions(args, directory, True)
            text += (f"\n\nInstructions of a writer a line (callgrind, counters only): {alone:.1f} without a reader, "
                     f"{asked:.1f} while the page was read {reads} times.")
    print("\n" + text)
    if args.write:
        write_between(args.write, "aggregate", text)
    worst = max(abs(r["lost"]) for name, results in rows.items() if name.startswith("fiberd") for r in results)
    sys.exit(0 if worst == 0 else "fiberd lost lines")


if __name__ == "__main__":
    main()
