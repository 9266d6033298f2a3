#!/usr/bin/env python3
"""What sampling of allocations costs a handler that allocates: instructions a request, counted by callgrind.

The handler (`moment` of tests/integration/programs/allocating.cpp) makes and frees 100 pieces of 1,000 bytes. PROGRAM is
that program; a second one, linked without fiberd::heap_profile (configured with -DFIBERD_HEAP_PROFILE=OFF), is the
measure without any of it.

  tests/bench/heap_profile.py build/release/tests/allocating [OTHER/allocating]

Sampling at 512 KiB may cost 1 % of what the same program needs with it off; more is a miss, and exit code 1.
"""
import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile

from harness import free_port, wait_port
from instructions import load

REQUESTS = 5_000
BEFORE = 1_000
CONFIG = """runtime: {{gomaxprocs: 1}}
admin: {{address: "off"}}
log: {{level: warning}}
profiles: {{heap_rate: {rate}}}
listeners:
  - name: web
    address: "127.0.0.1:{port}"
    http:
      routes:
        - {{path: /moment, handler: moment}}
"""


def instructions(directory, program, rate):
    port = free_port()
    config = os.path.join(directory, "fiberd.yaml")
    out = os.path.join(directory, "callgrind.out")
    with open(config, "w") as f:
        f.write(CONFIG.format(port=port, rate=rate))
    server = subprocess.Popen(["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}",
                               program, "run", "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_port(port, server)
    load(port, "/moment", BEFORE)
    for state in ("on", "off"):
        subprocess.run(["callgrind_control", "-i", state, str(server.pid)], stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, check=True)
        if state == "on":
            load(port, "/moment", REQUESTS)
    os.kill(server.pid, signal.SIGTERM)
    server.wait(60)
    with open(out) as f:
        totals = [int(m) for m in re.findall(r"^(?:summary|totals): (\d+)", f.read(), re.M)]
    return max(totals) / REQUESTS


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("without", nargs="?")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        off = instructions(directory, options.program, "0")
        rows = [("off", off)]
        for rate in ("512KiB", "64KiB"):
            rows.append((rate, instructions(directory, options.program, rate)))
        if options.without:
            rows.append(("not linked in", instructions(directory, options.without, "0")))
    for name, count in rows:
        print(f"{name:14} {count:10.0f} instructions a request   {count / off:.4f} of off")
    return 1 if rows[1][1] > 1.01 * off else 0


if __name__ == "__main__":
    sys.exit(main())
