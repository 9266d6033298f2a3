#!/usr/bin/env python3
"""Fairness and lateness under more work than CPUs, beside Go in the same rounds.

  turns    1,000 fibers that compute 50 µs and yield, on one Processor and on two
  timers   sleeps of 1 ms beside eight fibers that compute 600 µs and yield, on one Processor
  health   answers of /healthz while a handler computes for three seconds, on two Processors
  held     p99 of requests while one of two Processors computes for two seconds and another fiber blocks in read(2)
  pinned   a fiber's share of the turns beside two pinned ones that yield to each other, on one Processor

  tests/bench/fairness/fairness.py --bin build/release/tests/bench [--rounds 5] [--seconds 6]
"""
import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import free_port, wait_port  # noqa: E402

CONFIG = """runtime: {{gomaxprocs: 2}}
admin: {{address: "127.0.0.1:{admin}"}}
listeners: [{{name: web, address: "127.0.0.1:{web}", http: {{routes: [{{path: /, handler: greets}}, {{path: /computes, handler: computes}},
  {{path: /holds, handler: holds}}, {{path: /reads, handler: reads}}]}}}}]
"""


def run(binary, *arguments):
    out = subprocess.run([binary, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=True)
    return [float(x) for x in out.stdout.split()]


def health(program):
    """(answers of 200, other answers, the longest in ms) while one request computes."""
    with fiberd_server(program) as ports:
        ask = lambda name, path: urllib.request.urlopen(f"http://127.0.0.1:{ports[name]}{path}", timeout=10).status
        computing = threading.Thread(target=ask, args=("web", "/computes"))
        computing.start()
        good, bad, longest = 0, 0, 0.0
        while computing.is_alive():
            begin = time.monotonic()
            try:
                ask("admin", "/healthz")
                good += 1
            except (urllib.error.URLError, OSError):
                bad += 1
            longest = max(longest, 1000 * (time.monotonic() - begin))
            time.sleep(0.02)
        return good, bad, longest


@contextlib.contextmanager
def fiberd_server(program):
    ports = {"admin": free_port(), "web": free_port()}
    with tempfile.TemporaryDirectory() as directory:
        config = os.path.join(directory, "fiberd.yaml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(CONFIG.format(**ports))
        with server([program, "run", "-c", config], ports["web"]):
            yield ports


@contextlib.contextmanager
def go_server(program):
    port = free_port()
    with server([program, "serve", "2", str(port)], port):
        yield port


@contextlib.contextmanager
def server(command, port):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_port(port, process)
        yield
    finally:
        process.terminate()
        process.wait(10)


def held(load, port):
    """(requests, p50 ms, p99 ms) of 16 connections, from just before both are held until just before they are not."""
    client = subprocess.Popen([load, "many", str(port), "16", "1.9"], stdout=subprocess.PIPE, text=True)
    if client.stdout.readline().strip() != "measuring":
        raise RuntimeError("http_load does not measure")
    ask = lambda path: urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10).status
    holders = [threading.Thread(target=ask, args=(path,)) for path in ("/holds", "/reads")]
    for holder in holders:
        holder.start()
    result = json.loads(client.communicate(timeout=60)[0])
    for holder in holders:
        holder.join()
    if result["errors"]:
        raise RuntimeError(f"{result['errors']} requests failed")
    return result["requests"], result["p50_us"] / 1e3, result["p99_us"] / 1e3


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6)
    args = parser.parse_args()
    fiberd = os.path.join(args.bin, "fairness_fiberd")
    go = os.path.join(args.bin, "go_fairness")
    median = statistics.median
    print("| what | fiberd | Go | target | |")
    print("|---|---|---|---|---|")

    def row(what, ours, theirs, target, met):
        print(f"| {what} | {ours} | {theirs} | {target} | {'met' if met else '**missed**'} |", flush=True)

    for processors in (1, 2):
        ours, theirs = [], []
        for _ in range(args.rounds):
            ours.append(run(fiberd, "turns", processors, args.seconds))
            theirs.append(run(go, "turns", processors, args.seconds))
        least = [100 * r[0] / r[1] for r in ours]
        row(f"1,000 × 50 µs, GOMAXPROCS {processors}: fewest turns, % of the median's",
            f"{median(least):.0f} ({min(least):.0f} … {max(least):.0f})",
            f"{median(100 * r[0] / r[1] for r in theirs):.0f}", "≥ 80", median(least) >= 80)
        a, b = median(r[3] for r in ours), median(r[3] for r in theirs)
        row(f"1,000 × 50 µs, GOMAXPROCS {processors}: longest wait", f"{a:.0f} ms", f"{b:.0f} ms", "≤ 1.5 × Go's",
            a <= 1.5 * b)
    ours, theirs = [], []
    for _ in range(args.rounds):
        ours.append(run(fiberd, "timers", 1, args.seconds))
        theirs.append(run(go, "timers", 1, args.seconds))
    a, b = median(r[0] for r in ours), median(r[0] for r in theirs)
    row("1 ms sleeps beside 600 µs slices: late, p50", f"{a:.3f} ms", f"{b:.3f} ms", "≤ 1.5 × Go's", a <= 1.5 * b)
    a, b = median(r[1] for r in ours), median(r[1] for r in theirs)
    row("1 ms sleeps beside 600 µs slices: late, p99", f"{a:.3f} ms", f"{b:.3f} ms", "≤ 1.2 ms", a <= 1.2)
    answers = [health(os.path.join(args.bin, "fairness_daemon")) for _ in range(args.rounds)]
    good, bad = sum(a[0] for a in answers), sum(a[1] for a in answers)
    row("/healthz while a handler computes for 3 s, GOMAXPROCS 2",
        f"{good} × 200, {bad} others, longest {max(a[2] for a in answers):.0f} ms", "", "200 throughout",
        bad == 0 and good > 0)
    load = os.path.join(args.bin, "http_load")
    ours, theirs = [], []
    for _ in range(args.rounds):
        with fiberd_server(os.path.join(args.bin, "fairness_daemon")) as ports:
            ours.append(held(load, ports["web"]))
        with go_server(go) as port:
            theirs.append(held(load, port))
    told = lambda rounds: (f"{max(r[2] for r in rounds):.1f} ms at most (median {median(r[2] for r in rounds):.1f}; p50 "
                           f"{median(r[1] for r in rounds):.2f}; {min(r[0] for r in rounds)} requests and more)")
    row("p99 while one of two Processors computes and a fiber blocks in read(2), 1.9 s", told(ours), told(theirs),
        "≥ 10,000 requests, < 25 ms", max(r[2] for r in ours) < 25 and min(r[0] for r in ours) >= 10_000)
    share = median(run(fiberd, "pinned", 1, 1)[0] for _ in range(args.rounds))
    row("share of turns beside two pinned yielders", f"{100 * share:.0f} %", "", "≥ 25 %", share >= 0.25)


if __name__ == "__main__":
    main()
