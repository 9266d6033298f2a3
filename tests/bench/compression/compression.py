#!/usr/bin/env python3
"""Compression beside nginx: what comes out, and what CPU it costs, for the same files at the same level.

  compression.py --server build/bench/tests/bench/compression_server [--rounds 15] [--requests 60] [--instructions]

Both servers have one thread, and the same files in a directory; one kept connection asks for one file after the other. The
two take turns, round by round. CPU is the server's own (schedstat), per request; the ratio is what passes, with its 95 %
bootstrap interval. br and zstd are told beside it: nginx of Debian has neither. --instructions counts instead of timing, by
callgrind: about the same on every machine, whatever else it does.
"""
import argparse
import gzip
import json
import os
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness  # noqa: E402

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))

NGINX = """
daemon off; master_process @MASTER@; worker_processes 1; pid @DIR@/nginx.pid; error_log @DIR@/error.log;
events { worker_connections 256; }
http {
  access_log off; include /etc/nginx/mime.types; sendfile on; tcp_nodelay on; keepalive_requests 1000000;
  open_file_cache max=100; client_body_temp_path @DIR@/b; proxy_temp_path @DIR@/p;
  fastcgi_temp_path @DIR@/f; uwsgi_temp_path @DIR@/u; scgi_temp_path @DIR@/s;
  gzip on; gzip_comp_level @LEVEL@; gzip_min_length 0; gzip_vary on;
  gzip_types text/plain text/css application/javascript application/json;
  server { listen 127.0.0.1:@PORT@; root @ROOT@; }
}
"""


def make_files(root):
    """Kinds of text that sites send, 2 KiB to 1 MiB: from this tree, and JSON of a fixed seed."""
    def tree(ending, limit):
        text = ""
        for folder, _, names in sorted(os.walk(os.path.join(ROOT, "core"))):
            for name in sorted(names):
                if name.endswith(ending):
                    text += open(os.path.join(folder, name), errors="replace").read()
        return text[:limit]
    rng = random.Random(1)
    rows = [{"id": i, "name": f"user{rng.randrange(10**6)}", "score": rng.random(), "tags": rng.sample(["a", "b", "c", "d"], 2),
             "seen": f"2024-0{rng.randrange(1, 10)}-1{rng.randrange(10)}T00:00:00Z"} for i in range(2000)]
    pages = {
        "small.css": tree(".hpp", 2 * 1024),
        "page.html": "<pre>" + tree(".hpp", 30 * 1024).replace("<", "&lt;") + "</pre>",
        "script.js": tree(".cpp", 120 * 1024),
        "data.json": json.dumps(rows),
        "large.txt": tree(".cpp", 1024 * 1024),
    }
    for name, text in pages.items():
        with open(os.path.join(root, name), "w") as f:
            f.write(text)
    return list(pages)


class Client:
    def __init__(self, port, coding):
        self.coding = coding
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def get(self, name):
        """The body as it came."""
        self.socket.sendall(f"GET /{name} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {self.coding}\r\n\r\n".encode())
        if b" 200 " not in self.file.readline():
            raise RuntimeError("not 200")
        fields = {}
        while (line := self.file.readline()) != b"\r\n":
            key, value = line.decode().split(":", 1)
            fields[key.lower()] = value.strip()
        if fields.get("content-encoding", "") != self.coding:
            raise RuntimeError(f"{name} is not {self.coding}")
        if "content-length" in fields:
            return self.file.read(int(fields["content-length"]))
        body = b""
        while (size := int(self.file.readline(), 16)) != 0:
            body += self.file.read(size)
            self.file.readline()
        self.file.readline()
        return body


def start(command):
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def nginx_config(work, root, level, port, master="on"):
    config = os.path.join(work, f"nginx-{level}-{port}.conf")
    text = NGINX
    for name, value in {"DIR": work, "LEVEL": level, "PORT": port, "ROOT": root, "MASTER": master}.items():
        text = text.replace(f"@{name}@", str(value))
    with open(config, "w") as f:
        f.write(text)
    return config


def instructions(work, command, port, name, requests):
    """Of one request, from the second on."""
    out = os.path.join(work, "callgrind.out")
    process = start(["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}", *command])
    try:
        harness.wait_port(port, process)
        client = Client(port, "gzip")
        client.socket.settimeout(120)
        client.get(name)
        for state in ("on", "off"):
            subprocess.run(["callgrind_control", "-i", state, str(process.pid)], stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL, check=True)
            if state == "on":
                for _ in range(requests):
                    client.get(name)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
    with open(out) as f:
        return max(int(m) for m in re.findall(r"^(?:summary|totals): (\d+)", f.read(), re.M)) / requests


def count_instructions(args, work, root, names):
    worst = 0.0
    for level in [int(l) for l in args.levels.split(",")]:
        for name in names:
            size = os.path.getsize(os.path.join(root, name))
            requests = max(2, min(200, 1_000_000 // size))
            port = harness.free_port()
            theirs = instructions(work, ["/usr/sbin/nginx", "-c", nginx_config(work, root, level, port, "off")], port, name,
                                  requests)
            port = harness.free_port()
            ours = instructions(work, [args.server, root, str(port), "gzip", str(level)], port, name, requests)
            worst = max(worst, ours / theirs)
            print(f"level {level} {name:10} {size:8} bytes: instructions {ours:12.0f} {theirs:12.0f}, ratio "
                  f"{ours / theirs:.3f}", flush=True)
    print(f"worst ratio of instructions: {worst:.3f} (may be 1.05)")
    return worst


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--server", required=True)
    parser.add_argument("--levels", default="1,5,6")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--requests", type=int, default=40)
    parser.add_argument("--instructions", action="store_true")
    args = parser.parse_args()
    work = tempfile.mkdtemp(prefix="fiberd-compression-")
    root = os.path.join(work, "root")
    os.mkdir(root)
    os.chmod(work, 0o755)
    names = make_files(root)
    running = []
    worst = 0.0
    print(harness.machine())
    try:
        if args.instructions:
            worst = count_instructions(args, work, root, names)
            return 0 if worst <= 1.05 else 1
        for level in [int(l) for l in args.levels.split(",")]:
            peers = {}
            port = harness.free_port()
            config = nginx_config(work, root, level, port)
            peers["nginx"] = (start(["/usr/sbin/nginx", "-c", config]), port, "gzip")
            running.append(peers["nginx"][0])
            port = harness.free_port()
            peers["fiberd"] = (start([args.server, root, str(port), "gzip", str(level)]), port, "gzip")
            running.append(peers["fiberd"][0])
            if level == 5:
                for coding, at in (("br", 4), ("zstd", 3)):
                    port = harness.free_port()
                    peers[f"fiberd {coding} {at}"] = (start([args.server, root, str(port), coding, str(at)]), port, coding)
                    running.append(peers[f"fiberd {coding} {at}"][0])
            clients = {}
            for name, (process, port, coding) in peers.items():
                harness.wait_port(port, process)
                clients[name] = Client(port, coding)
            for file in names:
                plain = open(os.path.join(root, file), "rb").read()
                sizes = {n: len(c.get(file)) for n, c in clients.items()}
                for n in ("nginx", "fiberd"):
                    if gzip.decompress(clients[n].get(file)) != plain:
                        raise RuntimeError(f"{n} sends another {file}")
                count = max(4, min(args.requests * 20, args.requests * 100000 // len(plain)))
                cost = {n: [] for n in clients}
                order = list(clients)
                for r in range(args.rounds):
                    order.reverse()
                    for n in order:
                        before = harness.cpu(peers[n][0].pid)[0]
                        for _ in range(count):
                            clients[n].get(file)
                        cost[n].append((harness.cpu(peers[n][0].pid)[0] - before) / count * 1e6)
                ratios = [f / n for f, n in zip(cost["fiberd"], cost["nginx"])]
                middle, low, high = harness.interval(ratios)
                worst = max(worst, middle)
                print(f"level {level} {file:10} {len(plain):8} bytes: fiberd {sizes['fiberd']:7} nginx {sizes['nginx']:7} bytes; "
                      f"CPU us {statistics.median(cost['fiberd']):9.1f} {statistics.median(cost['nginx']):9.1f}, "
                      f"ratio {middle:.3f} [{low:.3f}, {high:.3f}]"
                      + "".join(f"; {n}: {sizes[n]} bytes {statistics.median(cost[n]):.1f} us" for n in clients if " " in n), flush=True)
            for process, _, _ in peers.values():
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()
                running.remove(process)
    finally:
        for process in running:
            os.killpg(process.pid, signal.SIGKILL)
        shutil.rmtree(work, ignore_errors=True)
    print(f"worst ratio of medians: {worst:.3f} (may be 1.05)")
    return 0 if worst <= 1.05 else 1


if __name__ == "__main__":
    sys.exit(main())
