#!/usr/bin/env python3
"""Three published experiments repeated, and what a token bucket admits. Each experiment is the same program in fiberd and
in Go, in turns in one run; the published figures are only quoted beside it.

    python3 tests/bench/toolkit/experiments.py --bin build/release/tests/bench [--only NAME...] [--rounds N]
        [--markdown docs/benchmarks.md]          the plots go beside the page, into plots/

pool      10,000 HTTP requests at concurrency 1,000. Each asks a downstream of 8 slots, over TCP. Unbounded: the request's
          fiber opens a connection of its own. Pool: it hands the question to one of 8 workers, which keep theirs.
          The downstream is a process of 8 slots, each of which serves one connection at a time and takes 0.5 ms for
          each message, the log-in of a new connection being one; the others wait in its accept queue. Server on core 0
          with GOMAXPROCS=1, downstream and load on core 1. Latency is the client's, the opening of its connection
          included.
counters  1,000,000 increments by 16 fibers on 16 threads: under a mutex, on one atomic, sharded.
overload  A server whose capacity is known (20 requests at once that take 10 ms each, hence 2,000/s) under three times
          that for some seconds, without and with a token bucket of four fifths of the capacity. Open loop: requests come
          by the clock, and latency counts from when each was due. Unanswered after a second: failed.
bucket    What 16 threads that take all they can get, and 16 fibers that wait, get of a TokenBucket in a minute.
"""
import argparse
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..")]
import svg  # noqa: E402
from harness import cpu, free_port, interval, machine, wait_port, write_between  # noqa: E402

SLOTS, HOLD_US = 8, 500
CONCURRENCY, REQUESTS = 1000, 10_000
CAPACITY_SLOTS, CAPACITY_HOLD_US = 20, 10_000
CAPACITY = CAPACITY_SLOTS * 1_000_000 // CAPACITY_HOLD_US
PROGRAMS = ["fiberd", "go"]


def start(command, port, core, env=None):
    full = dict(os.environ, **(env or {}))
    # Go's server reports each connection that it has no descriptor for.
    process = subprocess.Popen(["taskset", "-c", str(core)] + command, env=full, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    wait_port(port, process)
    return process


def stop(processes):
    for p in processes:
        p.send_signal(signal.SIGTERM)
    for p in processes:
        try:
            p.wait(15)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()


def load(args, *arguments):
    command = ["taskset", "-c", "1", os.path.join(args.bin, "http_paced")] + [str(a) for a in arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    if done.returncode != 0:
        sys.exit(f"experiments: {' '.join(command)}: {done.returncode}\n{done.stdout[:300]}{done.stderr}")
    return json.loads(done.stdout)


def run_json(command, timeout=180):
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    if done.returncode != 0:
        sys.exit(f"experiments: {' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def show(r, unit=""):
    return f"{r[0]:.2f} ({r[1]:.2f} … {r[2]:.2f}){unit}"


class Targets:
    def __init__(self):
        self.rows = []

    def row(self, text, measured, ok):
        self.rows.append(f"| {text} | {measured} | {'met' if ok else 'MISSED'} |")

    def at_least(self, text, r, least):
        self.row(text, show(r), r[1] >= least)

    def at_most(self, text, r, most, unit=""):
        self.row(text, show(r, unit), r[2] <= most)

    def table(self):
        return "\n".join(["| target | measured | |", "|---|---|---|"] + self.rows)


def order(items, r):
    return items[r % len(items):] + items[:r % len(items)]


# ---------------------------------------------------------------------- pool
def pool_command(args, program, port, downstream, workers):
    if program == "fiberd":
        return [os.path.join(args.bin, "experiment_pool"), str(port), str(downstream), str(workers)]
    return [os.path.join(args.bin, "go_experiments"), "pool", str(port), str(downstream), str(workers)]


def pool_rounds(args, login_us, rounds):
    """(program, variant) → results."""
    runs = [(program, variant) for program in PROGRAMS for variant in ("unbounded", "pool")]
    processes, ports, pids, results = [], {}, {}, {run: [] for run in runs}
    try:
        for program, variant in runs:
            downstream, port = free_port(), free_port()
            # A connection that only looks whether it listens would take a slot of the pool's: none is made.
            processes.append(subprocess.Popen(["taskset", "-c", "1", os.path.join(args.bin, "downstream"),
                                               str(downstream), str(SLOTS), str(HOLD_US), str(login_us)]))
            time.sleep(0.1)
            workers = SLOTS if variant == "pool" else 0
            processes.append(start(pool_command(args, program, port, downstream, workers), port, 0, {"GOMAXPROCS": "1"}))
            ports[program, variant], pids[program, variant] = port, processes[-1].pid
            load(args, "closed", port, 100, 500)  # warm
        for r in range(rounds):
            for run in order(runs, r):
                before = cpu(pids[run])[0]
                m = load(args, "closed", ports[run], CONCURRENCY, REQUESTS)
                m["cpu_us"] = (cpu(pids[run])[0] - before) / REQUESTS * 1e6
                if m["failed"]:
                    sys.exit(f"experiments: pool: {run}: {m['failed']} requests failed")
                results[run].append(m)
            print(f"pool: round {r + 1}/{rounds}", file=sys.stderr, flush=True)
    finally:
        stop(processes)
    return results


def rate(m):
    return m["requests"] / m["seconds"]


def pool_table(results):
    lines = ["| program | variant | requests/s | p50 ms | p99 ms | server's CPU µs a request |", "|---|---|---|---|---|---|"]
    for (program, variant), rounds in results.items():
        lines.append(f"| {program} | {variant} | {statistics.median(map(rate, rounds)):.0f} | "
                     f"{statistics.median(m['admitted']['p50'] for m in rounds):.1f} | "
                     f"{statistics.median(m['admitted']['p99'] for m in rounds):.1f} | "
                     f"{statistics.median(m['cpu_us'] for m in rounds):.1f} |")
    return "\n".join(lines)


def pool(args, targets):
    results = pool_rounds(args, HOLD_US, args.rounds)
    free_login = pool_rounds(args, 0, min(args.rounds, 3))
    for variant in ("unbounded", "pool"):
        ours, theirs = results["fiberd", variant], results["go", variant]
        targets.at_least(f"(a) {variant}: requests/s ≥ Go's", interval([rate(o) / rate(t) for o, t in zip(ours, theirs)]), 1)
    targets.at_most("(a) p99 of the pool ≤ half the unbounded one's", interval(
        [p["admitted"]["p99"] / u["admitted"]["p99"]
         for p, u in zip(results["fiberd", "pool"], results["fiberd", "unbounded"])]), 0.5)
    series = {}
    for (program, variant), rounds in results.items():
        series[f"{program}, {variant}"] = [
            (statistics.median(m["admitted"]["quantiles"][q] for m in rounds), q) for q in range(101)]
    svg.lines(os.path.join(args.plots, "pool.svg"), "10,000 requests at concurrency 1,000, downstream of 8 slots × 0.5 ms",
              "latency, ms", "% of the requests answered within", series)
    return f"""### (a) A worker pool before a downstream of {SLOTS} slots × 0.5 ms

{args.rounds} interleaved rounds of {REQUESTS:,} requests at concurrency {CONCURRENCY:,}. Published: 8,200 → 14,600 requests/s, 124 → 71 ms.

{pool_table(results)}

The same with a log-in that takes no time ({min(args.rounds, 3)} rounds):

{pool_table(free_login)}

![Latencies with and without the pool](plots/pool.svg)"""


# ---------------------------------------------------------------------- counters
def counters(args, targets):
    variants = ["mutex", "atomic", "sharded"]
    runs = [(program, variant, how) for how in ("threads", "fibers") for variant in variants for program in PROGRAMS]
    results = {run: [] for run in runs}
    for r in range(args.rounds):
        for run in order(runs, r):
            program, variant, how = run
            command = [os.path.join(args.bin, "experiment_counters")] if program == "fiberd" else [
                os.path.join(args.bin, "go_experiments"), "counters"]
            results[run].append(run_json(command + [variant, how])["ms"])
    ratios = [o / t for o, t in zip(results["fiberd", "atomic", "threads"], results["go", "atomic", "threads"])]
    targets.at_most("(b) one atomic: time ≤ Go's", interval(ratios), 1)
    targets.at_most("(b) sharded ≤ 3.1 ms", interval(results["fiberd", "sharded", "threads"]), 3.1, " ms")
    lines = ["| | each on a thread of its own: fiberd ms | Go ms | wherever they run: fiberd ms | Go ms |", "|---|---|---|---|---|"]
    for variant in variants:
        cells = [show(interval(results[program, variant, how])) for how in ("threads", "fibers") for program in PROGRAMS]
        lines.append(f"| {variant} | " + " | ".join(cells) + " |")
    svg.bars(os.path.join(args.plots, "counters.svg"), "1,000,000 increments by 16 fibers on 16 threads", "ms",
             {v: [statistics.median(results[p, v, "threads"]) for p in PROGRAMS] for v in variants}, PROGRAMS)
    return f"""### (b) 1,000,000 increments by 16 threads

{args.rounds} interleaved rounds; medians with 95 % intervals; the machine has {os.cpu_count()} cores. Published: 42.7 ms under a mutex → 3.1 ms sharded.

{chr(10).join(lines)}

![Increments](plots/counters.svg)"""


# ---------------------------------------------------------------------- overload
def resident(pid):
    """Bytes."""
    with open(f"/proc/{pid}/statm") as f:
        return int(f.read().split()[1]) * resource.getpagesize()


class Sampler:
    """Resident size of a process, every 50 ms."""

    def __init__(self, pid):
        self.pid, self.samples, self.over = pid, [], threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        begin = time.monotonic()
        while not self.over.wait(0.05):
            self.samples.append((time.monotonic() - begin, resident(self.pid)))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def growth(self):
        """Bytes by which the highest of the second half exceeds the highest of the first."""
        half = len(self.samples) // 2
        return max(b for _, b in self.samples[half:]) - max(b for _, b in self.samples[:half])


def overload_once(args, program, bucket_rate):
    port = free_port()
    arguments = [str(port), str(CAPACITY_SLOTS), str(CAPACITY_HOLD_US), str(bucket_rate)]
    command = [os.path.join(args.bin, "experiment_overload")] if program == "fiberd" else [
        os.path.join(args.bin, "go_experiments"), "overload"]
    server = start(command + arguments, port, 0, {"GOMAXPROCS": "1"})
    try:
        load(args, "open", port, CAPACITY / 4, 0.5, 1000)  # warm
        unloaded = load(args, "open", port, CAPACITY / 4, args.seconds, 1000)
        # taskset became the server: the pid is the server's.
        with Sampler(server.pid) as sampler:
            loaded = load(args, "open", port, CAPACITY * 3, args.seconds, 1000)
    finally:
        stop([server])
    return {"unloaded": unloaded, "loaded": loaded, "growth": sampler.growth(), "rss": sampler.samples}


def overload(args, targets):
    rounds = max(1, min(args.rounds // 5, 3))
    runs = [(program, variant) for program in PROGRAMS for variant in ("without", "with")]
    results = {run: [] for run in runs}
    for r in range(rounds):
        for run in order(runs, r):
            results[run].append(overload_once(args, run[0], CAPACITY * 4 // 5 if run[1] == "with" else 0))
        print(f"overload: round {r + 1}/{rounds}", file=sys.stderr, flush=True)
    ours = results["fiberd", "with"]
    ratios = [m["loaded"]["admitted"]["p99"] / m["unloaded"]["admitted"]["p99"] for m in ours]
    targets.at_most("(c) p99 of the admitted ≤ 3 × the unloaded one", interval(ratios), 3)
    slow = interval([m["loaded"]["refused"]["p999"] for m in ours])
    targets.row("(c) refusals answered within 5 ms (99.9 % of them, median round)", f"{slow[0]:.2f} ms; the slowest of all "
                f"{max(m['loaded']['refused']['max'] for m in ours):.2f} ms", slow[0] <= 5)
    failed = sum(m["loaded"]["failed"] for m in ours)
    targets.row("(c) no failure", str(failed), failed == 0)
    growth = max(m["growth"] for m in ours)
    targets.row("(c) memory flat: second half within 1 MiB of the first", f"{growth / 2**20:+.2f} MiB", growth <= 2**20)
    lines = ["| program | bucket | admitted/s | p99 of the admitted, ms | unloaded p99, ms | refusals: p99, p99.9, slowest, ms | "
             "failed | resident at most, MiB |", "|---|---|---|---|---|---|---|---|"]
    for (program, variant), rounds_of in results.items():
        def median(of):
            return statistics.median(of(m) for m in rounds_of)
        total = sum(m["loaded"]["requests"] for m in rounds_of)
        lines.append(
            f"| {program} | {variant} | {median(lambda m: m['loaded']['admitted']['count'] / args.seconds):.0f} | "
            f"{median(lambda m: m['loaded']['admitted']['p99']):.1f} | {median(lambda m: m['unloaded']['admitted']['p99']):.1f} | "
            f"{median(lambda m: m['loaded']['refused']['p99']):.2f}, {median(lambda m: m['loaded']['refused']['p999']):.2f}, "
            f"{max(m['loaded']['refused']['max'] for m in rounds_of):.2f} | "
            f"{100 * sum(m['loaded']['failed'] for m in rounds_of) / total:.1f} % | "
            f"{max(b for m in rounds_of for _, b in m['rss']) / 2**20:.1f} |")
    svg.lines(os.path.join(args.plots, "overload-latency.svg"), "Three times the capacity: p99 of the admitted",
              "s", "ms", {f"{p}, {v} bucket": [(i * 0.1, y) for i, y in enumerate(results[p, v][0]["loaded"]["p99_by_100ms"]) if y > 0]
                          for p, v in runs}, log_y=True)
    svg.lines(os.path.join(args.plots, "overload-memory.svg"), "Three times the capacity: resident memory",
              "s", "MiB", {f"{p}, {v} bucket": [(t, b / 2**20) for t, b in results[p, v][0]["rss"]] for p, v in runs})
    return f"""### (c) Three times the capacity, without and with a token bucket

Capacity {CAPACITY:,}/s, offered {3 * CAPACITY:,}/s for {args.seconds:g} s by an open loop; unloaded is {CAPACITY // 4}/s; bucket {CAPACITY * 4 // 5:,}/s, burst {CAPACITY_SLOTS}; {rounds} rounds. Published: p99 860 → 42 ms, failures 12.3 → 0.0 %.

{chr(10).join(lines)}

![Latency under overload](plots/overload-latency.svg)

![Memory under overload](plots/overload-memory.svg)"""


# ---------------------------------------------------------------------- bucket
def bucket(args, targets):
    m = run_json([os.path.join(args.bin, "bucket_rate"), str(args.bucket_seconds)], args.bucket_seconds + 60)
    targets.row(f"bucket, 16 threads taking for {m['seconds']:g} s: rate within 0.1 %", f"{100 * m['threads_error']:+.4f} %",
                abs(m["threads_error"]) <= 0.001)
    targets.row(f"bucket, 16 fibers waiting for {m['seconds']:g} s: rate within 0.1 %", f"{100 * m['fibers_error']:+.4f} %",
                abs(m["fibers_error"]) <= 0.001)
    targets.row("keyed buckets: a look-up < 100 ns", f"{m['keyed_ns']:.1f} ns", m["keyed_ns"] < 100)
    return (f"### What a token bucket admits\n\nIn {m['seconds']:g} s: {m['threads_admitted']:,} of 100,000/s to 16 threads that "
            f"take all they can get, {m['fibers_admitted']:,} of 10,000/s to 16 fibers that wait. A keyed look-up among 10,000: "
            f"{m['keyed_ns']:.1f} ns.")


EXPERIMENTS = {"pool": pool, "counters": counters, "overload": overload, "bucket": bucket}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True, help="directory of the built programs")
    parser.add_argument("--only", nargs="+", choices=list(EXPERIMENTS), default=list(EXPERIMENTS))
    parser.add_argument("--rounds", type=int, default=15, help="overload takes a fifth of them, three at most")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each load of overload")
    parser.add_argument("--bucket-seconds", type=float, default=60.0)
    parser.add_argument("--plots", help="directory of the plots; beside the page if there is one, else build/plots")
    parser.add_argument("--markdown", help="replace the generated part of this page")
    args = parser.parse_args()
    if args.plots is None:
        args.plots = os.path.join(os.path.dirname(args.markdown), "plots") if args.markdown else "build/plots"
    os.makedirs(args.plots, exist_ok=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    targets = Targets()
    sections = [EXPERIMENTS[name](args, targets) for name in args.only]
    text = "\n\n".join([f"{machine()}.", targets.table()] + sections)
    print(text)
    if args.markdown:
        if args.only != list(EXPERIMENTS):
            sys.exit("experiments: the page wants all of them: leave out --only")
        write_between(args.markdown, "experiments", text)


if __name__ == "__main__":
    main()
