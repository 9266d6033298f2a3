#!/usr/bin/env python3
"""Instructions and system calls a request, of one fiberd binary or of several beside each other.

Instructions are counted by callgrind while 20,000 requests on 64 keep-alive connections are answered, for a short text
and a small file; system calls by strace for the same. Both are about the same on every machine, whatever else it does,
so a change of a few per cent is seen that no timing would show.

  tests/bench/instructions.py build/release/fiberd [OTHER-BINARY...]     the ratios are to the last one
"""
import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

from harness import free_port, wait_port

REQUESTS = 20_000
CONFIG = """runtime: {{gomaxprocs: 1}}
admin: {{address: "off"}}
log: {{level: warning}}
listeners:
  - name: web
    address: "127.0.0.1:{port}"
    http:
      routes:
        - {{path: /, respond: {{body: "Hello, World!", content_type: text/plain}}}}
        - {{path: /files/*, files: {{root: {root}}}}}
"""
PATHS = {"hello": "/", "file": "/files/page.html"}


def load(port, path, requests=REQUESTS):
    out = subprocess.run(["h2load", "--h1", "-n", str(requests), "-c", "64", f"http://127.0.0.1:{port}{path}"],
                         capture_output=True, text=True, timeout=300).stdout
    if f"status codes: {requests} 2xx" not in out:
        sys.exit(f"not all requests were answered:\n{out}")


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


def instructions(directory, binary, path):
    out = os.path.join(directory, "callgrind.out")
    server = Server(directory, binary, ["valgrind", "--tool=callgrind", "--instr-atstart=no",
                                        f"--callgrind-out-file={out}"])
    load(server.port, path, 4_000)
    for state in ("on", "off"):
        subprocess.run(["callgrind_control", "-i", state, str(server.process.pid)], stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, check=True)
        if state == "on":
            load(server.port, path)
    server.stop()
    with open(out) as f:
        totals = [int(m) for m in re.findall(r"^(?:summary|totals): (\d+)", f.read(), re.M)]
    return max(totals) / REQUESTS


def system_calls(directory, binary, path):
    out = os.path.join(directory, "strace.out")
    server = Server(directory, binary, [])
    load(server.port, path, 4_000)
    tracer = subprocess.Popen(["strace", "-c", "-f", "-o", out, "-p", str(server.process.pid)],
                              stderr=subprocess.PIPE, text=True)
    tracer.stderr.readline()  # it is attached
    load(server.port, path)
    tracer.send_signal(signal.SIGINT)
    tracer.wait(30)
    server.stop()
    with open(out) as f:
        calls = sum(int(m) for m in re.findall(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s", f.read(), re.M))
    return calls / REQUESTS


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binaries", nargs="+")
    args = parser.parse_args()
    for tool in ("valgrind", "strace", "h2load"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is needed (make packages)")
    print(f"| binary | {' | '.join(f'{w}: instructions | {w}: calls' for w in PATHS)} |")
    print("|---" * (1 + 2 * len(PATHS)) + "|")
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        with open(os.path.join(directory, "page.html"), "w") as f:
            f.write("x" * 2048)
        for binary in args.binaries:
            rows.append([(instructions(directory, binary, p), system_calls(directory, binary, p))
                         for p in PATHS.values()])
            print(f"| {os.path.basename(binary)} | " + " | ".join(f"{i:.0f} | {c:.2f}" for i, c in rows[-1]) + " |",
                  flush=True)
    for binary, row in zip(args.binaries[:-1], rows):
        ratios = [f"{w} {i / b:.3f}" for w, (i, _), (b, _) in zip(PATHS, row, rows[-1])]
        print(f"{os.path.basename(binary)} to {os.path.basename(args.binaries[-1])}: " + ", ".join(ratios))


if __name__ == "__main__":
    main()
