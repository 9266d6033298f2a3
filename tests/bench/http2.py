#!/usr/bin/env python3
"""HTTP/2 benchmark: fiberd beside nginx, h2o and Go, by prior knowledge without TLS.

Each server is pinned to one core, h2load to another. A round visits every server once, in turn. CPU time is read from
/proc, system calls are counted by perf. Ratios are medians over rounds, with a 95 % bootstrap interval; its worse end decides.

Uploads: none of the daemon's handlers only takes a body, so fiberd's is sink_server, a program on its library. nginx reads
the body into memory and then hands it to an upstream of its own, which answers without looking: what it does with it before
that is the greater part. h2o has nothing that takes 100 MiB, so it has no row there.
"""
import argparse
import os
import shutil
import sys
import tempfile

from beside import Server, Table, h2load, rounds_of, spent, system_calls
from harness import free_port, machine, write_between

MIB = 1 << 20
FIBERD = """\
runtime: {{gomaxprocs: 1}}
admin: {{address: "off"}}
listeners:
  - name: web
    address: "127.0.0.1:{port}"
    http:
      h2c: true
      timeouts: {{idle: 600s}}
      routes:
        - {{path: /, respond: {{body: "Hello, World!", content_type: text/plain}}}}
        - {{path: /files/*, files: {{root: {dir}/site}}}}
"""
NGINX = """\
worker_processes 1; daemon off; master_process on;
pid {dir}/nginx.pid; error_log {dir}/nginx.error.log; worker_rlimit_nofile 20000;
events {{ worker_connections 4096; }}
http {{
  access_log off; sendfile on; tcp_nodelay on; keepalive_timeout 600s; keepalive_requests 100000000;
  open_file_cache max=1000 inactive=600s; open_file_cache_valid 600s;
  client_max_body_size 0; client_body_buffer_size 128m;
  client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u;
  scgi_temp_path {dir}/s;
  server {{
    listen 127.0.0.1:{port} http2 backlog=4096 deferred;
    http2_max_concurrent_streams 128;
    location = / {{ default_type text/plain; return 200 "Hello, World!"; }}
    location = /sink {{ proxy_pass http://unix:{dir}/sink.sock; }}
    location /files/ {{ alias {dir}/site/; }}
  }}
  server {{ listen unix:{dir}/sink.sock; location / {{ return 200 "taken"; }} }}
}}
"""
# Its own handler for a fixed text would be in mruby; a file of 13 bytes from its cache of open files is what it is good at.
H2O = """\
num-threads: 1
max-connections: 4096
user: root
pid-file: {dir}/h2o.pid
error-log: {dir}/h2o.log
http2-idle-timeout: 600
listen: {{host: 127.0.0.1, port: {port}}}
hosts:
  default:
    paths:
      /: {{file.dir: {dir}/hello, file.index: [hello.txt]}}
      /files: {{file.dir: {dir}/site}}
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fiberd", required=True, help="the daemon's path")
    parser.add_argument("--bin", required=True, help="directory of the peers' binaries")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--requests", type=int, default=100000)
    parser.add_argument("--works", nargs="+", default=["10", "100", "download", "upload"], choices=["10", "100", "download", "upload"])
    parser.add_argument("--markdown", help="a page with the markers <!-- http2: begin --> and <!-- http2: end -->")
    args = parser.parse_args()
    here = tempfile.mkdtemp(prefix="fiberd-http2-")
    os.chmod(here, 0o755)
    servers = []
    try:
        for directory, file, size in (("site", "large.bin", 100 * MIB), ("hello", "hello.txt", 0)):
            os.mkdir(f"{here}/{directory}")
            with open(f"{here}/{directory}/{file}", "wb") as f:
                f.write(b"x" * size if size else b"Hello, World!")
        for name, text, command in (("fiberd", FIBERD, [args.fiberd, "run", "-c"]), ("nginx", NGINX, ["nginx", "-c"]),
                                    ("h2o", H2O, ["h2o", "-c"])):
            if shutil.which(command[0]) is None and not os.path.exists(command[0]):
                continue
            port = free_port()
            with open(f"{here}/{name}.conf", "w") as f:
                f.write(text.format(port=port, dir=here))
            servers.append(Server(name, command + [f"{here}/{name}.conf"], port))
        port = free_port()
        servers.append(Server("go", [os.path.join(args.bin, "go_http"), f"127.0.0.1:{port}", f"127.0.0.1:{free_port()}",
                                     f"{here}/site", "h2c", "idle=600s"], port, {"GOMAXPROCS": "1"}))
        names = [s.name for s in servers]
        table = Table(servers)
        for streams in (10, 100):
            if str(streams) not in args.works:
                continue

            def hello(s, n=args.requests, streams=streams):
                seconds, _ = spent(s, lambda: h2load(f"http://127.0.0.1:{s.port}/", n, 64, [f"-m{streams}"]))
                return seconds * 1e6 / n
            seen = rounds_of(servers, args.rounds, hello)
            what = f"hello, 64 connections × {streams} streams"
            table.add(f"{what}: CPU µs a request", seen, 2)
            table.add(f"{what}: system calls a request", {s.name: system_calls(s, lambda: hello(s), args.requests) for s in servers}, 2)
            table.at_most(f"{streams} streams: CPU ≤ 0.5 × nginx", seen["fiberd"], seen["nginx"], 0.5)
            if "h2o" in names:
                table.at_most(f"{streams} streams: CPU ≤ 1.1 × h2o", seen["fiberd"], seen["h2o"], 1.1)
            table.at_least(f"{streams} streams: Go's CPU ≥ 4 × ours", seen["go"], seen["fiberd"], 4)
        if "download" in args.works:
            def download(s):
                seconds, took = spent(s, lambda: h2load(f"http://127.0.0.1:{s.port}/files/large.bin", 4, 1, ["-m1", "-w24", "-W24"]))
                return 400 / took, seconds * 1e3 / 4
            seen = rounds_of(servers, args.rounds, download)
            rates, cost = ({name: [v[k] for v in values] for name, values in seen.items()} for k in (0, 1))
            table.add("download of 100 MiB: MiB a second", rates, 0)
            table.add("download of 100 MiB: CPU ms", cost, 0)
            table.at_least("download: ≥ 0.95 × nginx", rates["fiberd"], rates["nginx"], 0.95)
        if "upload" in args.works:
            port = free_port()
            ours = Server("fiberd", [os.path.join(args.bin, "sink_server"), str(port)], port)
            servers.append(ours)
            takers = [ours] + [s for s in servers if s.name in ("nginx", "go")]

            def upload(s):
                seconds, took = spent(s, lambda: h2load(f"http://127.0.0.1:{s.port}/sink", 4, 1, ["-m1", f"-d{here}/site/large.bin"]))
                return 400 / took, seconds * 1e3 / 4
            seen = rounds_of(takers, args.rounds, upload)
            rates, cost = ({name: [v[k] for v in values] for name, values in seen.items()} for k in (0, 1))
            table.add("upload of 100 MiB: MiB a second", rates, 0)
            table.add("upload of 100 MiB: CPU ms", cost, 0)
            table.at_least("upload: ≥ 0.95 × nginx", rates["fiberd"], rates["nginx"], 0.95)
    finally:
        for s in servers:
            s.stop()
        shutil.rmtree(here)
    text = f"{machine()}; servers on core 0, load on core 1; {args.rounds} interleaved rounds.\n\n{table.text()}"
    if args.markdown:
        write_between(args.markdown, "http2", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
