#!/usr/bin/env python3
"""Instructions and system calls a request, of one fiberd binary or of several beside each other.

Instructions are counted by callgrind while requests are answered: 20,000 on 64 keep-alive connections for a short text
and for a small file, 20,000 in pipelines of 16, 4,000 with a connection each, and 40,000 on 10,000 connections, which
are made for them; system calls by perf for the same.
Both are about the same on every machine, whatever else it does, so a change of a few per cent is seen that no timing
would show.

  tests/bench/instructions.py build/release/fiberd [OTHER-BINARY...]

The ratios are to the last one; more than 1.01 × its instructions or 0.02 calls more is a miss, and exit code 1.
"""
import argparse
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile

from harness import free_port, wait_port

REQUESTS = 20_000
CONNECTIONS = 4_000
PIPELINE = 16
CROWD = 10_000
RUNS = 9
CONFIG = """runtime: {{gomaxprocs: 1}}
admin: {{address: "off"}}
log: {{level: warning}}
listeners:
  - name: web
    address: "127.0.0.1:{port}"
    http:
      limits: {{connections: 20000}}
      routes:
        - {{path: /, respond: {{body: "Hello, World!", content_type: text/plain}}}}
        - {{path: /files/*, files: {{root: {root}}}}}
"""


def answers(client, count):
    """Reads until `count` answers with the known body are there."""
    seen = b""
    while seen.count(b"Hello, World!") < count:
        piece = client.recv(65536)
        if not piece:
            sys.exit(f"the connection ended behind {seen.count(b'Hello, World!')} of {count} answers")
        seen += piece


def pipelined(port, requests):
    batch = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * PIPELINE
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(64)]
    for i in range(requests // PIPELINE):
        client = clients[i % len(clients)]
        client.sendall(batch)
        answers(client, PIPELINE)
    for client in clients:
        client.close()


def connected(port, requests):
    for _ in range(requests):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            answers(client, 1)
            if client.recv(1) != b"":
                sys.exit("bytes behind the answer")


def load(port, path, requests, clients=64):
    out = subprocess.run(["h2load", "--h1", "-n", str(requests), "-c", str(clients),
                          f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True, timeout=300).stdout
    if f"status codes: {requests} 2xx" not in out:
        sys.exit(f"not all requests were answered:\n{out}")


# Each: what sends so many requests, how many are measured, how many go before.
WORKLOADS = {
    "hello": (lambda port, n: load(port, "/", n), REQUESTS, 4_000),
    "pipeline": (pipelined, REQUESTS, 4_000),
    "file": (lambda port, n: load(port, "/files/page.html", n), REQUESTS, 4_000),
    "connect": (connected, CONNECTIONS, 400),
    "crowd": (lambda port, n: load(port, "/", n, CROWD), 4 * CROWD, CROWD),
}


class Server:
    def __init__(self, directory, binary, prefix):
        self.port = free_port()
        config = os.path.join(directory, "fiberd.yaml")
        with open(config, "w") as f:
            f.write(CONFIG.format(port=self.port, root=directory))
        self.process = subprocess.Popen([*prefix, binary, "run", "-c", config], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        wait_port(self.port, self.process)

    def stop(self, pid=None):
        os.kill(pid or self.process.pid, signal.SIGTERM)
        self.process.wait(60)


def instructions(directory, binary, workload):
    send, requests, before = workload
    out = os.path.join(directory, "callgrind.out")
    server = Server(directory, binary, ["valgrind", "--tool=callgrind", "--instr-atstart=no",
                                        f"--callgrind-out-file={out}"])
    send(server.port, before)
    for state in ("on", "off"):
        subprocess.run(["callgrind_control", "-i", state, str(server.process.pid)], stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, check=True)
        if state == "on":
            send(server.port, requests)
    server.stop()
    with open(out) as f:
        totals = [int(m) for m in re.findall(r"^(?:summary|totals): (\d+)", f.read(), re.M)]
    return max(totals) / requests


def system_calls(directory, binary, workload):
    """Counted by the kernel: under strace a request lasts so long that there is a look for each."""
    send, requests, before = workload
    out = os.path.join(directory, "perf.out")
    server = Server(directory, binary, [])
    send(server.port, before)
    (hears, tells), (hears_back, tells_back) = os.pipe(), os.pipe()
    counter = subprocess.Popen(["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p", str(server.process.pid),
                                "-o", out, "--delay=-1", "--control", f"fd:{hears},{tells_back}"],
                               pass_fds=(hears, tells_back), stderr=subprocess.DEVNULL)
    os.close(hears)
    os.close(tells_back)
    os.write(tells, b"enable\n")
    if not os.read(hears_back, 16).startswith(b"ack"):
        sys.exit("perf cannot count system calls here (it needs tracefs, and the right to read it)")
    send(server.port, requests)
    os.close(tells)
    os.close(hears_back)
    counter.send_signal(signal.SIGINT)
    counter.wait(30)
    server.stop()
    with open(out) as f:
        return next(int(line.split(",")[0]) for line in f if "sys_enter" in line) / requests


def all_system_calls(directory, binaries, workload):
    """For each binary the median of RUNS counts, taken in turn: how many requests a look finds ready, and each look is a
    call, goes up and down with the machine, for all of them alike."""
    rounds = [[system_calls(directory, binary, workload) for binary in binaries] for _ in range(RUNS)]
    return [statistics.median(counts) for counts in zip(*rounds)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binaries", nargs="+")
    args = parser.parse_args()
    for tool in ("valgrind", "perf", "h2load"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is needed (make packages)")
    print(f"| binary | {' | '.join(f'{w}: instructions | {w}: calls' for w in WORKLOADS)} |")
    print("|---" * (1 + 2 * len(WORKLOADS)) + "|")
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        with open(os.path.join(directory, "page.html"), "w") as f:
            f.write("x" * 2048)
        calls = [all_system_calls(directory, args.binaries, w) for w in WORKLOADS.values()]
        for binary, counts in zip(args.binaries, zip(*calls)):
            rows.append([(instructions(directory, binary, w), c) for w, c in zip(WORKLOADS.values(), counts)])
            print(f"| {os.path.basename(binary)} | " + " | ".join(f"{i:.0f} | {c:.2f}" for i, c in rows[-1]) + " |",
                  flush=True)
    missed = []
    for binary, row in zip(args.binaries[:-1], rows):
        ratios = [f"{w} {i / b:.3f}" for w, (i, _), (b, _) in zip(WORKLOADS, row, rows[-1])]
        print(f"{os.path.basename(binary)} to {os.path.basename(args.binaries[-1])}: " + ", ".join(ratios))
        for w, (i, c), (b, calls) in zip(WORKLOADS, row, rows[-1]):
            if i > 1.01 * b or c > calls + 0.02:
                missed.append(f"{w}: {i / b:.3f} × the instructions, {c:.2f} system calls where there were {calls:.2f}")
    if missed:
        sys.exit("MISSED: " + "; ".join(missed))


if __name__ == "__main__":
    main()
