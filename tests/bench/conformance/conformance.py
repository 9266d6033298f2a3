#!/usr/bin/env python3
"""The raw-socket suite's scores: fiberd beside Debian's nginx and Go's net/http.

  tests/bench/conformance/conformance.py --fiberd build/release/fiberd --bin build/release/tests/bench [--markdown FILE]

All are judged by what the RFCs allow (run_leniently in tests/protocol/run_case.hpp); the tests hold fiberd to the letter
of each row besides. --markdown rewrites the part of FILE between the markers.
"""
import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from harness import fill_in, free_port, wait_port, write_between  # noqa: E402



def start(command, port, env=None):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               env={**os.environ, **(env or {})})
    wait_port(port, process)
    return process


def servers(args, directory, site):
    port = free_port()
    config = os.path.join(directory, "fiberd.yaml")
    with open(config, "w") as f:
        f.write(f"""admin: {{address: "off"}}
log: {{level: warning}}
listeners:
  - name: web
    address: "127.0.0.1:{port}"
    http:
      routes:
        - {{path: /, respond: {{body: "Hello, World!", content_type: text/plain}}}}
        - {{path: /sentinel, respond: {{body: sentinel, content_type: text/plain}}}}
        - {{path: /echo, echo: {{}}}}
        - {{path: /files/*, files: {{root: "{site}"}}}}
""")
    yield "fiberd", port, [args.fiberd, "run", "-c", config]
    port = free_port()
    config = os.path.join(directory, "nginx.conf")
    with open(config, "w") as f:
        f.write(fill_in(os.path.join(HERE, "nginx.conf.in"), {"DIR": directory, "PORT": port, "SITE": site}))
    yield "nginx", port, ["nginx", "-c", config, "-p", directory]
    port = free_port()
    yield "Go", port, [os.path.join(args.bin, "go_http"), f"127.0.0.1:{port}", f"127.0.0.1:{free_port()}", site]


def version(name, args):
    command = {"fiberd": [args.fiberd, "version"], "nginx": ["nginx", "-v"], "Go": ["go", "version"]}[name]
    run = subprocess.run(command, capture_output=True, text=True)
    words = (run.stdout + run.stderr).split()
    return {"fiberd": "", "nginx": words[-1].removeprefix("nginx/"), "Go": words[2].removeprefix("go") if len(words) > 2 else ""}[name]


def score(args, port):
    out = subprocess.run([os.path.join(args.bin, "conformance_score"), str(port)], capture_output=True, text=True,
                         timeout=1200, check=True).stdout.splitlines()
    return json.loads(out[0]), [line.split("\t") for line in out[1:]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fiberd", required=True)
    parser.add_argument("--bin", required=True, help="where conformance_score and go_http are")
    parser.add_argument("--markdown")
    args = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="fiberd-conformance-")
    lines = ["| server | rows that RFCs decide: passed | house rows: passed |", "|---|---|---|"]
    details = []
    try:
        os.chmod(directory, 0o755)
        site = os.path.join(directory, "site")
        os.mkdir(site)
        subprocess.run([os.path.join(args.bin, "conformance_score"), "--site", site], check=True)
        for name, port, command in servers(args, directory, site):
            process = start(command, port)
            try:
                sums, failures = score(args, port)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(30)
            title = f"{name} {version(name, args)}".strip()
            lines.append(f"| {title} | {sums['rfc_passed']} of {sums['rfc']} | "
                         f"{sums['house_passed']} of {sums['house']} |")
            asked = [f for f in failures if "house" not in f[0]]
            if asked:
                details += ["", f"What {title} fails of the first column:", "", "| section | row | what it did |",
                            "|---|---|---|"]
                details += [f"| {rfc} | {row} | {wrong} |".replace("\\", "\\\\") for rfc, row, wrong in asked]
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    text = "\n".join(lines + details)
    print(text)
    if args.markdown:
        write_between(args.markdown, "conformance", text)


if __name__ == "__main__":
    main()
