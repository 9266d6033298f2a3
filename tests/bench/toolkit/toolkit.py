#!/usr/bin/env python3
"""The concurrency toolkit beside Go's and Boost.Fiber's: the same work in three programs (toolkit_fiberd.cpp,
go_toolkit/main.go, toolkit_boost.cpp), each case with GOMAXPROCS 1 and 2.

    python3 tests/bench/toolkit/toolkit.py --bin build/release/tests/bench [--rounds N] [--markdown docs/benchmarks.md]

A round runs every (case, GOMAXPROCS, program) once, each in a process of its own, in an order that rotates, so that noise
meets all alike. A ratio is the median over rounds of the peer's wall time an operation over fiberd's, in the same round,
with the 95 % bootstrap interval of that median. A target is met when the lower end of the interval meets it.

    toolkit.py --bin BUILD/tests/bench --base OTHER-BUILD/tests/bench --programs fiberd

Beside an earlier build of our own: CPU time an operation to that one's. A row is slower when all of the interval lies
above 1.03, and open when the interval holds 1.03.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import interval, machine, write_between  # noqa: E402

# name: (what is done, operations at full size, least ratio of Go's time to fiberd's or None)
CASES = {
    "handoff": ("unbuffered channel, one sender, one receiver", 1_000_000, 3.0),
    "buffered": ("channel of 128, one sender, one receiver", 2_000_000, 2.0),
    "select4": ("select over 4 channels, 4 senders", 500_000, 2.0),
    "mutex": ("100 fibers, one mutex, kept over a yield in a quarter of the rounds", 1_000_000, 2.0),
    "skynet": ("spawn and join a tree of 1,000,000 leaves", 1_000_000, 3.0),
    "spawn_join": ("spawn and join by a wait group, 1,000 at a time", 500_000, None),
    "pingpong": ("round trip over two unbuffered channels", 500_000, None),
    "section": ("a short system call in a blocking section (Go: syscall.Syscall; Boost.Fiber has none: the bare call)",
                2_000_000, None),
    "mutex_short": ("100 fibers, one mutex, only a count in it: contended by chance", 2_000_000, None),
}
BOOST_SCHEDULERS = ["work_stealing", "work_stealing_suspend", "shared_work"]
# What skynet would take with it, by a run of its own: a fiber for each leaf at once, over 10 GB of stacks.
BOOST_LEAVES_OUT = {("skynet", "shared_work")}
PROGRAMS = ["fiberd", "go", "boost"]
BINARIES = {"fiberd": "toolkit_fiberd", "base": "toolkit_fiberd", "go": "go_toolkit", "boost": "toolkit_boost"}


class Failed(Exception):
    pass


def run(args, program, case, processors, operations, scheduler=None):
    directory = args.base if program == "base" else args.bin
    command = [os.path.join(directory, BINARIES[program]), case, str(processors), str(operations)]
    if scheduler:
        command.append(scheduler)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=args.timeout)
    except subprocess.TimeoutExpired:
        raise Failed(f"{' '.join(command)}: not done after {args.timeout} s")
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def fastest_scheduler(args, case, processors, operations):
    """Boost.Fiber leaves the choice to its user: what is fastest for this case, best of two."""
    if processors == 1:
        return None
    best = {}
    for scheduler in BOOST_SCHEDULERS:
        if (case, scheduler) in BOOST_LEAVES_OUT:
            continue
        best[scheduler] = min(run(args, "boost", case, processors, operations // 4 if case != "skynet" else 100_000,
                                  scheduler)["wall_ns"] for _ in range(2))
    return min(best, key=best.get)


def measure(args):
    results, schedulers = {}, {}
    rows = [(case, p) for case in args.cases for p in args.gomaxprocs]
    sizes = {case: max(int(CASES[case][1] * args.scale), 1000) if case != "skynet" else CASES[case][1]
             for case in args.cases}
    for case, p in rows:
        schedulers[case, p] = fastest_scheduler(args, case, p, sizes[case]) if "boost" in args.programs else None
    for r in range(args.rounds):
        for case, p in rows:
            order = args.programs[r % len(args.programs):] + args.programs[:r % len(args.programs)]
            for program in order:
                m = run(args, program, case, p, sizes[case], schedulers[case, p] if program == "boost" else None)
                results.setdefault((case, p, program), []).append(m)
        print(f"round {r + 1}/{args.rounds}", file=sys.stderr, flush=True)
    return results, schedulers


def ratio(results, case, p, peer):
    """Median over rounds of the peer's time over fiberd's, with its interval; None without both."""
    ours, theirs = results.get((case, p, "fiberd")), results.get((case, p, peer))
    if not ours or not theirs:
        return None
    return interval([t["wall_ns"] / o["wall_ns"] for t, o in zip(theirs, ours)])


def render_base(results, args):
    lines = ["| case | GOMAXPROCS | CPU ns | before | CPU to before (95 %) | ≤ 1.03 |", "|---|---|---|---|---|---|"]
    slower = 0
    for case in args.cases:
        for p in args.gomaxprocs:
            ours, before = results[case, p, "fiberd"], results[case, p, "base"]
            r = interval([o["cpu_ns"] / b["cpu_ns"] for o, b in zip(ours, before)])
            slower += r[1] > 1.03
            lines.append(f"| {case} | {p} | {statistics.median(m['cpu_ns'] for m in ours):.1f} | "
                         f"{statistics.median(m['cpu_ns'] for m in before):.1f} | {show(r)} | "
                         f"{'SLOWER' if r[1] > 1.03 else 'open' if r[2] > 1.03 else 'met'} |")
    return "\n".join(lines), slower


def verdict(r, least):
    if least is None:
        return "–"
    if r is None:
        return "not run"
    return "met" if r[1] >= least else "median only" if r[0] >= least else "MISSED"


def show(r):
    return f"{r[0]:.2f} ({r[1]:.2f} … {r[2]:.2f})" if r else "–"


def render(results, schedulers, args):
    lines = ["| case | GOMAXPROCS | fiberd ns | CPU ns | Go ns | CPU ns | Boost.Fiber ns | CPU ns | Boost's scheduler | "
             "Go / fiberd (95 %) | target | | Boost / fiberd (95 %) | target | |",
             "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"]
    missed = 0
    for case in args.cases:
        for p in args.gomaxprocs:
            cells = [f"{case}: {CASES[case][0]}", str(p)]
            for program in PROGRAMS:
                rounds = results.get((case, p, program))
                for key in ("wall_ns", "cpu_ns"):
                    cells.append(f"{statistics.median(m[key] for m in rounds):.1f}" if rounds else "–")
            cells.append(schedulers[case, p] or "round_robin")
            for peer, least in (("go", CASES[case][2]), ("boost", 1.0 if CASES[case][2] else None)):
                r = ratio(results, case, p, peer)
                v = verdict(r, least)
                missed += v in ("MISSED", "median only")
                cells += [show(r), f"≥ {least:g}" if least else "–", v]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines), missed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True, help="directory of the built programs")
    parser.add_argument("--base", help="directory of an earlier build's programs")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--programs", nargs="+", choices=PROGRAMS, default=PROGRAMS)
    parser.add_argument("--gomaxprocs", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--scale", type=float, default=1.0, help="of the operations, skynet's apart")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds for one run")
    parser.add_argument("--markdown", help="replace the generated part of this page")
    parser.add_argument("--raw", help="write every measurement there, as JSON lines")
    args = parser.parse_args()
    if args.base:
        args.programs = [*args.programs, "base"]
    try:
        results, schedulers = measure(args)
    except Failed as failed:
        sys.exit(f"toolkit: {failed}")
    if args.raw:
        with open(args.raw, "w") as f:
            for (case, p, program), rounds in results.items():
                for m in rounds:
                    f.write(json.dumps(dict(m, program=program)) + "\n")
    if args.base:
        table, slower = render_base(results, args)
        print(f"{machine()}; {args.rounds} interleaved rounds.\n\n{table}\n\n{slower} rows slower")
    if args.programs == ["fiberd", "base"]:
        return
    table, missed = render(results, schedulers, args)
    text = f"{machine()}; {args.rounds} interleaved rounds; wall and CPU time an operation, medians.\n\n{table}"
    print(text)
    print(f"\n{missed} targets missed")
    if args.markdown:
        write_between(args.markdown, "toolkit", text)


if __name__ == "__main__":
    main()
