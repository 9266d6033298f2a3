#!/usr/bin/env python3
"""Prometheus scrapes a fiberd that serves; each query of the dashboard returns data; alerts fire on their causes, reach a
webhook through Alertmanager, and are over when their cause is. Ends on "N passed, M failed".

  daemon_test.py FIBERD [--seconds N]     for how long the load goes on at least (10)
"""
import argparse
import http.server
import json
import math
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

import parts
from waiting import eventually

CONFIG = """
admin: {{address: "127.0.0.1:{admin}"}}
metrics: {{address: "127.0.0.1:{metrics}"}}
memory: {{limit: 1GiB}}
log: {{level: warning}}
tracing: {{endpoint: "http://127.0.0.1:{collector}/v1/traces", sample: {{ratio: 1}}}}
listeners:
  - name: web
    address: "127.0.0.1:{web}"
    http:
      h2c: true
      access_log: {{format: json, output: {directory}/access.log}}
      routes:
        - {{path: /, respond: {{body: "Hello, World!", content_type: text/plain}}}}
        - {{path: /bad, respond: {{status: 500, body: "no"}}}}
        - {{path: /limited, rate_limit: {{rate: 1/s}}, respond: {{body: "one"}}}}
        - {{path: /queue, concurrency: {{limit: 1, queue: 10, max_wait: 20s}}, echo: {{}}}}
        - {{path: /files/*, files: {{root: {directory}}}}}
  - name: secure
    address: "127.0.0.1:{secure}"
    tls: {{certificate: {directory}/web.pem, key: {directory}/web.key}}
    http: {{routes: [{{path: /, respond: {{body: "Hello, World!"}}}}]}}
  - name: ordered
    address: "127.0.0.1:{ordered}"
    tls: {{acme: {{domains: [a.example.test], directory: "https://127.0.0.1:{nobody}/", storage: {directory}/acme}}}}
    http: {{routes: [{{path: /, respond: {{body: "Hello, World!"}}}}]}}
  - {{name: echo, address: "127.0.0.1:{echo}", tcp: {{echo: {{}}}}}}
  - name: stats
    address: "127.0.0.1:{stats}"
    aggregate: {{flush_interval: 500ms, flush: [{{statsd: "127.0.0.1:{nobody}"}}]}}
"""


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


# A client of HTTP/2 that is answered, changes its mind, breaks a request's rule, and then the connection's.
GET = b"\x82\x86\x84\x41\x01a"
HTTP2 = (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0) + frame(1, 5, 1, GET) +
         frame(1, 4, 3, b"\x83\x86\x84\x41\x01a") + frame(3, 0, 3, struct.pack(">I", 8)) +
         frame(1, 5, 5, GET + b"\x10\x0aconnection\x05close"))
SHORT_PING = frame(6, 0, 0, b"short")
PRESSURE = "fiberd_memory_stalled_seconds_total"  # of kernels that measure it
passed = 0
failed = []


def check(name, ok):
    global passed
    if ok:
        passed += 1
    else:
        failed.append(name)
        print("FAILED:", name, flush=True)


class Webhook(http.server.ThreadingHTTPServer):
    """What Alertmanager tells whom: (receiver, status, alert) of each alert in each message. And a collector of spans."""

    def __init__(self):
        self.told = []
        self.spans = 0
        webhook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path == "/v1/traces":
                    webhook.spans += sum(len(scope["spans"]) for resource in message["resourceSpans"]
                                         for scope in resource["scopeSpans"])
                for alert in message.get("alerts", []):
                    webhook.told.append((self.path.strip("/"), alert["status"], alert["labels"]["alertname"],
                                         alert["annotations"]))
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def has(self, receiver, status, alert):
        return any(t[:3] == (receiver, status, alert) for t in self.told)


def alertmanager(directory, webhook, port):
    config = parts.yaml.safe_load(parts.read("deploy/alertmanager/alertmanager.yml"))
    for receiver in config["receivers"]:
        receiver["webhook_configs"] = [{"url": f"http://127.0.0.1:{webhook}/{receiver['name']}"}]
    config["route"].update(group_wait="1s", group_interval="1s")
    file = os.path.join(directory, "alertmanager.yml")
    with open(file, "w") as f:
        parts.yaml.safe_dump(config, f)
    return parts.Program(directory, "alertmanager", parts.ALERTMANAGER, f"--config.file={file}",
                         f"--storage.path={directory}/alertmanager", f"--web.listen-address=127.0.0.1:{port}",
                         "--cluster.listen-address=", "--log.level=warn")


class Load(threading.Thread):
    """A little of everything, over and over."""

    def __init__(self, ports):
        super().__init__(daemon=True)
        self.ports = ports
        self.ended = threading.Event()
        self.start()

    def run(self):
        web = f"http://127.0.0.1:{self.ports['web']}"
        while not self.ended.is_set():
            for path in ("/", "/", "/bad", "/limited", "/limited", "/limited", "/files/page.txt", "/nowhere"):
                parts.get(web + path)
            try:
                self.connections()
            except OSError:
                pass  # the daemon is being restarted
            self.ended.wait(0.1)

    def connections(self):
        def connect(port):
            return socket.create_connection(("127.0.0.1", port), timeout=10)

        with connect(self.ports["web"]) as client:
            client.sendall(b"NOT HTTP\r\n\r\n")
            client.recv(4096)
        with connect(self.ports["echo"]) as client:
            client.sendall(b"x")
            client.recv(1)
        with connect(self.ports["stats"]) as client:
            client.sendall(b"requests:1|c\nlatency:3|ms\nbad line\n")
        with connect(self.ports["web"]) as client:
            client.sendall(HTTP2)
            said = more = client.recv(4096)
            while more and frame(3, 0, 5, struct.pack(">I", 1)) not in said:
                more = client.recv(4096)
                said += more
            client.sendall(SHORT_PING)
            while client.recv(4096):
                pass
        with connect(self.ports["secure"]) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            client.recv(4096)
        anybody = ssl.create_default_context()
        anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
        with connect(self.ports["secure"]) as client, anybody.wrap_socket(client) as secure:
            secure.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            secure.recv(4096)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"datagrams:1|c\n", ("127.0.0.1", self.ports["stats"]))
        # The second waits for the first one's place.
        post = b"POST /queue HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nConnection: close\r\n\r\n"
        with connect(self.ports["web"]) as first, connect(self.ports["web"]) as second:
            first.sendall(post)
            second.sendall(post + b"y")
            self.ended.wait(0.02)
            first.sendall(b"x")
            while first.recv(4096) or second.recv(4096):
                pass

    def stop(self):
        self.ended.set()
        self.join(60)


def has_data(samples):
    return any(not math.isnan(float(s["value"][1])) for s in samples)


def ask_dashboard(prometheus, within):
    """Each query until it has data, all of them together for so long."""
    left = [q for q in parts.dashboard_queries() if os.path.exists("/proc/pressure") or PRESSURE not in q[1]]
    until = time.monotonic() + within
    while left and time.monotonic() < until:
        left = [(title, expr) for title, expr in left if not has_data(prometheus.query(expr))]
        time.sleep(0.2)
    for title, expr in left:
        check(f"data for {title}: {expr}", False)
    check("each query of the dashboard has data", not left)


def alerts_reach_the_webhook(fiberd, prometheus, webhook, config):
    good = parts.read(config)
    with open(config, "a") as f:
        f.write("nonsense: true\n")
    fiberd.process.send_signal(signal.SIGHUP)
    eventually("FiberdReloadFailed fires", lambda: "FiberdReloadFailed" in prometheus.firing())
    eventually("the webhook hears of it", lambda: webhook.has("ticket", "firing", "FiberdReloadFailed"))
    with open(config, "w") as f:
        f.write(good)
    fiberd.process.send_signal(signal.SIGHUP)
    eventually("FiberdReloadFailed clears", lambda: "FiberdReloadFailed" not in prometheus.firing())
    eventually("the webhook hears of it", lambda: webhook.has("ticket", "resolved", "FiberdReloadFailed"))
    check("a ticket goes to nobody's pager", not any(t[0] == "page" and t[2] == "FiberdReloadFailed" for t in webhook.told))

    # One request in nine is a 500: its budget burns for sure.
    eventually("FiberdErrorBudgetBurn fires", lambda: "FiberdErrorBudgetBurn" in prometheus.firing())
    eventually("FiberdOverload fires", lambda: "FiberdOverload" in prometheus.firing())

    fiberd.stop()
    check("the daemon ended well", fiberd.process.returncode == 0)
    eventually("FiberdDown fires", lambda: "FiberdDown" in prometheus.firing())
    eventually("the webhook hears of it", lambda: webhook.has("page", "firing", "FiberdDown"))
    fiberd.start()
    eventually("FiberdDown clears", lambda: "FiberdDown" not in prometheus.firing())
    eventually("the webhook hears of it", lambda: webhook.has("page", "resolved", "FiberdDown"))
    check("its runbook is told", any(t[3].get("runbook", "").endswith("#fiberddown") for t in webhook.told))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("fiberd")
    parser.add_argument("--seconds", type=float, default=10)
    args = parser.parse_args()
    parts.need("prometheus", parts.ALERTMANAGER)
    with tempfile.TemporaryDirectory() as directory:
        names = ("admin", "metrics", "web", "secure", "ordered", "echo", "stats", "nobody", "prometheus", "alertmanager")
        ports = dict(zip(names, parts.free_ports(len(names))))
        webhook = Webhook()
        config = os.path.join(directory, "fiberd.yaml")
        with open(config, "w") as f:
            f.write(CONFIG.format(directory=directory, collector=webhook.server_address[1], **ports))
        with open(os.path.join(directory, "page.txt"), "w") as f:
            f.write("page\n")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "90",
                        "-subj", "/CN=localhost", "-keyout", directory + "/web.key", "-out", directory + "/web.pem"],
                       check=True, capture_output=True)
        os.chmod(directory + "/web.key", 0o600)
        with parts.Program(directory, "fiberd", args.fiberd, "run", "-c", config) as fiberd, \
                alertmanager(directory, webhook.server_address[1], ports["alertmanager"]), \
                parts.Prometheus(directory, [ports["metrics"]], ports["alertmanager"], ports["prometheus"]) as prometheus:
            eventually("Prometheus answers", lambda: parts.get(prometheus.url + "/-/ready")[0] == 200)
            eventually("fiberd is up", lambda: prometheus.value('up{job="fiberd"}') == 1)
            begun = time.monotonic()
            load = Load(ports)
            ask_dashboard(prometheus, 300)
            target = prometheus.api("targets")["activeTargets"][0]
            check(f"no error of the last scrape: {target['lastError']}", target["lastError"] == "")
            time.sleep(max(0.0, begun + args.seconds - time.monotonic()))
            # Not each one of a second: a machine without CPU for that long fails them, too.
            window = f"{int(args.seconds)}s"
            check("it was scraped all the time", (prometheus.value(f'avg_over_time(up{{job="fiberd"}}[{window}])') or 0) > 0.5)
            check("second by second", (prometheus.value(f'count_over_time(up{{job="fiberd"}}[{window}])') or 0) > args.seconds / 2)
            # Scraped as OpenMetrics: the older text has no such line.
            check("series say since when they count", has_data(prometheus.query("fiberd_http_requests_created")))
            # And says which trace was how slow: ids as the collector has them.
            exemplars = eventually("exemplars", lambda: prometheus.api(
                "query_exemplars", query="fiberd_http_request_duration_seconds_bucket", start=time.time() - 600,
                end=time.time() + 60))
            check("exemplars name traces", all(len(e["labels"]["trace_id"]) == 32 and len(e["labels"]["span_id"]) == 16
                                               for series in exemplars for e in series["exemplars"]))
            check("and the collector has spans", webhook.spans > 0)
            alerts_reach_the_webhook(fiberd, prometheus, webhook, config)
            load.stop()
            check("no bug was found", prometheus.value("fiberd_bugs_total") == 0)
        webhook.shutdown()
    print(f"{passed} passed, {len(failed)} failed")
    sys.exit(1 if failed else 0)


main()
