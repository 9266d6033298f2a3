#!/usr/bin/env python3
"""Instructions a request with tracing: off, at 1 % with a collector that takes the spans, and with none there.

Counted by callgrind over 20,000 requests on 64 keep-alive connections, as tests/bench/instructions.py counts. The whole
process counts, the fiber that sends spans with it. Each row is the median of ROUNDS runs, taken in turn: two runs of one
binary differ by half a per cent, for the scheduler looks at timers by time.

  tests/bench/tracing.py build/release/fiberd

More than 1.02 × the instructions with a collector, or 1.01 × without, is a miss, and exit code 1.
"""
import http.server
import os
import shutil
import statistics
import sys
import tempfile
import threading

import instructions
from harness import free_port

ROUNDS = 5
# Formatted here, and once more where the port is known.
TRACING = 'tracing: {{{{endpoint: "http://127.0.0.1:{port}/v1/traces", sample: {{{{ratio: {ratio}{more}}}}}}}}}\n'


class Collector(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    spans = 0

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        Collector.spans += body.count(b'"traceId"')
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args):
        pass


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for tool in ("valgrind", "h2load"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is needed (make packages)")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    up, down = server.server_address[1], free_port()
    plain = instructions.CONFIG
    rows = {
        "off": plain,
        "nothing sampled": TRACING.format(port=up, ratio=0, more=", errors: never") + plain,
        "1 %, collector there": TRACING.format(port=up, ratio=0.01, more="") + plain,
        "1 %, no collector": TRACING.format(port=down, ratio=0.01, more="") + plain,
        "all, collector there": TRACING.format(port=up, ratio=1, more=", per_second: 0") + plain,
    }
    print("| tracing | instructions a request | to off |\n|---|---|---|")
    counts = {}
    with tempfile.TemporaryDirectory() as directory:
        with open(os.path.join(directory, "page.html"), "w") as f:
            f.write("x" * 2048)
        runs = {name: [] for name in rows}
        for _ in range(ROUNDS):
            for name, config in rows.items():
                instructions.CONFIG = config
                runs[name].append(instructions.instructions(directory, sys.argv[1], instructions.WORKLOADS["hello"]))
        for name, all_runs in runs.items():
            counts[name] = statistics.median(all_runs)
            print(f"| {name} | {counts[name]:.0f} | {counts[name] / counts['off']:.3f} |", flush=True)
    if Collector.spans == 0:
        sys.exit("the collector has got nothing")
    missed = [f"{name}: {counts[name] / counts['off']:.3f}" for name, most in
              (("1 %, collector there", 1.02), ("1 %, no collector", 1.01)) if counts[name] > most * counts["off"]]
    if missed:
        sys.exit("MISSED: " + "; ".join(missed))


if __name__ == "__main__":
    main()
