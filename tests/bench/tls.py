#!/usr/bin/env python3
"""TLS benchmark: fiberd beside nginx. TLS 1.3, a certificate on P-256.

Each server is pinned to one core, the load generator (h2load --h1; openssl s_time for handshakes; sockets of Python's
for idle connections) to another. A round visits every server once, in turn. CPU time is read from /proc; system calls
are counted by strace on a run of their own. Ratios are medians over rounds of fiberd / nginx.
"""
import argparse
import os
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

from harness import cpu, family, free_port, wait_port

FIBERD = """\
runtime: {{gomaxprocs: 1}}
listeners:
  - name: web
    address: "127.0.0.1:{port}"
    tls: {{certificate: {dir}/web.pem, key: {dir}/web.key}}
    http:
      access_log: {{format: off}}
      timeouts: {{idle: 600s}}
      routes: [{{path: /, respond: {{body: "Hello, World!"}}}}, {{path: /files/*, files: {{root: {dir}/site}}}}]
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


class Server:
    def __init__(self, name, command, port):
        self.name, self.port = name, port
        self.log = tempfile.TemporaryFile()
        self.proc = subprocess.Popen(["taskset", "-c", "0"] + command, stdout=self.log, stderr=self.log)
        wait_port(port, self.proc)

    def stop(self):
        self.proc.send_signal(signal.SIGTERM)
        self.proc.wait(20)


def load(server, path, requests, connections=64):
    """CPU microseconds of the server a request."""
    before = cpu(server.proc.pid)[0]
    out = subprocess.run(
        ["taskset", "-c", "1", "h2load", "--h1", "-t1", f"-c{connections}", f"-n{requests}",
         f"https://127.0.0.1:{server.port}{path}"], capture_output=True, text=True, check=True).stdout
    spent = cpu(server.proc.pid)[0] - before
    if f"{requests} succeeded" not in out:
        raise RuntimeError(f"{server.name}: {out}")
    return spent * 1e6 / requests


def handshakes(server, seconds, how):
    """CPU microseconds of the server a handshake."""
    before = cpu(server.proc.pid)[0]
    out = subprocess.run(["taskset", "-c", "1", "openssl", "s_time", "-connect", f"127.0.0.1:{server.port}", how,
                          "-time", str(seconds)], capture_output=True, text=True).stdout
    spent = cpu(server.proc.pid)[0] - before
    for line in out.splitlines():
        if "connections in" in line and "real seconds" in line:
            return spent * 1e6 / max(1, int(line.split()[0]))
    raise RuntimeError(f"{server.name}: {out}")


def calls(server, requests):
    """System calls a request, of a run on kept connections."""
    pids = [str(p) for p in family(server.proc.pid)]
    with tempfile.NamedTemporaryFile() as counted:
        trace = subprocess.Popen(["strace", "-c", "-f", "-o", counted.name] + sum((["-p", p] for p in pids), []),
                                 stderr=subprocess.DEVNULL)
        time.sleep(1)
        load(server, "/", requests)
        trace.send_signal(signal.SIGINT)
        trace.wait(20)
        lines = open(counted.name).read().splitlines()
    total = next(line for line in lines if line.rstrip().endswith("total"))
    return int(total.split()[3 if len(total.split()) > 4 else 2]) / requests


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
    before = private_memory(server.proc.pid)
    for _ in range(connections):
        connect()
    time.sleep(1)
    grown = private_memory(server.proc.pid) - before
    for s in held:
        s.close()
    return grown / connections


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("fiberd")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=20000)
    args = parser.parse_args()
    here = tempfile.mkdtemp()
    os.chmod(here, 0o755)  # nginx reads files as another user
    servers = []
    try:
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", f"{here}/web.key", "-out", f"{here}/web.pem", "-days", "30", "-subj", "/CN=localhost"],
                       check=True, stderr=subprocess.DEVNULL)
        os.mkdir(f"{here}/site")
        with open(f"{here}/site/100k.bin", "wb") as f:
            f.write(os.urandom(100 * 1024))
        for name, text, command in (("fiberd", FIBERD, [args.fiberd, "run", "-c", f"{here}/fiberd"]),
                                    ("nginx", NGINX, ["nginx", "-c", f"{here}/nginx"])):
            port = free_port()
            with open(f"{here}/{name}", "w") as f:
                f.write(text.format(port=port, dir=here))
            servers.append(Server(name, command, port))
        works = [("hello, CPU us a request", lambda s: load(s, "/", args.requests)),
                 ("100 KiB file, CPU us a request", lambda s: load(s, "/files/100k.bin", args.requests // 10)),
                 ("full handshake with a request, CPU us", lambda s: handshakes(s, 2, "-new")),
                 ("resumed handshake with a request, CPU us", lambda s: handshakes(s, 2, "-reuse"))]
        for title, work in works:
            seen = {s.name: [] for s in servers}
            for turn in range(args.rounds):
                for s in servers[turn % 2:] + servers[:turn % 2]:
                    seen[s.name].append(work(s))
            ratio = statistics.median(a / b for a, b in zip(seen["fiberd"], seen["nginx"]))
            print(f"{title}: " + ", ".join(f"{n} {statistics.median(v):.1f}" for n, v in seen.items()) +
                  f", ratio {ratio:.3f}", flush=True)
        print("idle connection, bytes: " + ", ".join(f"{s.name} {idle(s, 500):.0f}" for s in servers), flush=True)
        print("system calls a request: " + ", ".join(f"{s.name} {calls(s, 20000):.2f}" for s in servers), flush=True)
    finally:
        for s in servers:
            s.stop()
        shutil.rmtree(here)
    return 0


if __name__ == "__main__":
    sys.exit(main())
