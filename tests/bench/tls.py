#!/usr/bin/env python3
"""TLS benchmark: fiberd beside nginx and a bare epoll loop on OpenSSL. TLS 1.3, a certificate on P-256.

Each server is pinned to one core, the load generator (h2load --h1; tls_load for handshakes; sockets of Python's for idle
connections) to another. A round visits every server once, in turn. CPU time is read from /proc, system calls are counted by
perf. Handshakes a second are of 32 clients at a time, which keep the server's core busy. Ratios are medians over rounds,
with a 95 % bootstrap interval; its worse end decides. Idle memory is private memory in a fresh process, for connections
that were answered once.
"""
import argparse
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time

from beside import Server, Table, h2load, rounds_of, run_load, spent, system_calls
from harness import family, free_port, machine, write_between

FIBERD = """\
runtime: {{gomaxprocs: 1}}
admin: {{address: "off"}}
listeners:
  - name: web
    address: "127.0.0.1:{port}"
    tls: {{certificate: {dir}/web.pem, key: {dir}/web.key}}
    http:
      timeouts: {{idle: 600s}}
      routes:
        - {{path: /, respond: {{body: "Hello, World!", content_type: text/plain}}}}
        - {{path: /files/*, files: {{root: {dir}/site}}}}
"""
NGINX = """\
worker_processes 1; daemon off; master_process on;
pid {dir}/nginx.pid; error_log {dir}/nginx.error.log; worker_rlimit_nofile 20000;
events {{ worker_connections 19000; }}
http {{
  access_log off; sendfile on; tcp_nodelay on; keepalive_timeout 600s; keepalive_requests 100000000;
  open_file_cache max=1000 inactive=600s; open_file_cache_valid 600s;
  client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u;
  scgi_temp_path {dir}/s;
  server {{
    listen 127.0.0.1:{port} ssl backlog=4096 deferred;
    ssl_certificate {dir}/web.pem; ssl_certificate_key {dir}/web.key; ssl_protocols TLSv1.2 TLSv1.3;
    location = / {{ default_type text/plain; return 200 "Hello, World!"; }}
    location /files/ {{ alias {dir}/site/; }}
  }}
}}
"""


def private_memory(pid):
    total = 0
    for p in family(pid):
        with open(f"/proc/{p}/smaps_rollup") as f:
            total += sum(int(line.split()[1]) for line in f if line.startswith(("Private_Dirty:", "Private_Clean:")))
    return total * 1024


def load(server, path, requests):
    """CPU microseconds of the server a request."""
    seconds, _ = spent(server, lambda: h2load(f"https://127.0.0.1:{server.port}{path}", requests, 64, ["--h1"]))
    return seconds * 1e6 / requests


def handshakes(args, server, how):
    """(handshakes a second, CPU microseconds of one with its request)."""
    seconds, out = spent(server, lambda: run_load([os.path.join(args.bin, "tls_load"), how, str(server.port), "32", str(args.seconds)]))
    said = json.loads(out)
    if said["failed"] or (how == "resumed" and said["resumed"] < (said["handshakes"] - 32) * 0.95):
        raise RuntimeError(f"{server.name}: {out}")
    return said["handshakes"] / said["seconds"], seconds * 1e6 / said["handshakes"]


def idle(server, connections):
    """Bytes of private memory an idle connection, each of which has been answered once."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    held = []

    def connect():
        s = context.wrap_socket(socket.create_connection(("127.0.0.1", server.port)))
        s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        while b"Hello" not in s.recv(4096):
            pass
        held.append(s)

    for _ in range(50):
        connect()
    before = private_memory(server.pid)
    for _ in range(connections):
        connect()
    time.sleep(2)
    grown = private_memory(server.pid) - before
    for s in held:
        s.close()
    return grown / connections


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fiberd", required=True, help="the daemon's path")
    parser.add_argument("--bin", required=True, help="directory of the peers' binaries")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--requests", type=int, default=20000)
    parser.add_argument("--seconds", type=float, default=2, help="of handshakes, a round")
    parser.add_argument("--works", nargs="+", default=["hello", "file", "full", "resumed", "idle"],
                        choices=["hello", "file", "full", "resumed", "idle"])
    parser.add_argument("--markdown", help="a page with the markers <!-- tls: begin --> and <!-- tls: end -->")
    args = parser.parse_args()
    here = tempfile.mkdtemp(prefix="fiberd-tls-")
    os.chmod(here, 0o755)  # nginx reads files as another user
    servers = []

    def start(name):
        port = free_port()
        if name == "epoll":
            return Server(name, [os.path.join(args.bin, "tls_epoll_loop"), str(port), f"{here}/web.pem", f"{here}/web.key"], port)
        with open(f"{here}/{name}", "w") as f:
            f.write((FIBERD if name == "fiberd" else NGINX).format(port=port, dir=here))
        return Server(name, [args.fiberd, "run", "-c", f"{here}/fiberd"] if name == "fiberd" else ["nginx", "-c", f"{here}/nginx"], port)

    try:
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", f"{here}/web.key", "-out", f"{here}/web.pem", "-days", "30", "-subj", "/CN=localhost"],
                       check=True, stderr=subprocess.DEVNULL)
        os.mkdir(f"{here}/site")
        with open(f"{here}/site/100k.bin", "wb") as f:
            f.write(os.urandom(100 * 1024))
        servers = [start(name) for name in ("fiberd", "nginx", "epoll")]
        table = Table(servers)
        if "hello" in args.works:
            seen = rounds_of(servers, args.rounds, lambda s: load(s, "/", args.requests))
            calls = {s.name: system_calls(s, lambda: load(s, "/", 40000), 40000) for s in servers}
            table.add("hello, 64 connections: CPU µs a request", seen, 2)
            table.add("hello: system calls a request", calls, 2)
            table.at_most("hello: CPU ≤ nginx", seen["fiberd"], seen["nginx"], 1.0)
            table.at_most("hello: CPU ≤ 1.08 × the epoll loop", seen["fiberd"], seen["epoll"], 1.08)
            if calls["fiberd"] is not None:
                table.goal("hello: ≤ 2.3 system calls a request", f"{calls['fiberd']:.2f}", calls["fiberd"] <= 2.3)
        if "file" in args.works:
            seen = rounds_of(servers[:2], args.rounds, lambda s: load(s, "/files/100k.bin", args.requests // 10))
            calls = {s.name: system_calls(s, lambda: load(s, "/files/100k.bin", 4000), 4000) for s in servers[:2]}
            table.add("100 KiB file: CPU µs a request", seen)
            table.add("100 KiB file: system calls a request", calls, 2)
            table.at_most("100 KiB file: CPU ≤ nginx", seen["fiberd"], seen["nginx"], 1.0)
        for how, title, limit in (("full", "full handshakes", 0.97), ("resumed", "resumed handshakes", 1.0)):
            if how not in args.works:
                continue
            seen = rounds_of(servers, args.rounds, lambda s, how=how: handshakes(args, s, how))
            rates, cost = ({name: [v[k] for v in values] for name, values in seen.items()} for k in (0, 1))
            table.add(f"{title} with a request, a second", rates, 0)
            table.add(f"{title}: CPU µs", cost)
            table.at_least(f"{title} a second ≥ {limit} × nginx", rates["fiberd"], rates["nginx"], limit)
        if "idle" in args.works:
            bytes_ = {}
            for i, name in enumerate(("fiberd", "nginx", "epoll")):
                servers[i].stop()
                servers[i] = start(name)
                bytes_[name] = idle(servers[i], 500)
            table.add("idle keep-alive connection: bytes of private memory", bytes_, 0)
            table.goal("idle: ≤ 16 KiB a connection", f"{bytes_['fiberd']:,.0f}", bytes_["fiberd"] <= 16384)
            table.goal("idle: ≤ nginx", f"{bytes_['fiberd'] / bytes_['nginx']:.2f}", bytes_["fiberd"] <= bytes_["nginx"])
    finally:
        for s in servers:
            s.stop()
        shutil.rmtree(here)
    text = f"{machine()}; servers on core 0, load on core 1; {args.rounds} interleaved rounds.\n\n{table.text()}"
    if args.markdown:
        write_between(args.markdown, "tls", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
