#!/usr/bin/env python3
"""What attacks do to a well-behaved client, to memory and to descriptors: fiberd beside nginx, Go's net/http and HAProxy.

There are two groups of attacks: over HTTP/1.1, and over TLS and HTTP/2. Under those of TLS the probe asks over TLS, each
second time with a full handshake; under those of HTTP/2 it speaks that. HTTP/2 is without TLS (prior knowledge) at all
servers, so that the attackers' half of a core goes into frames. Limits are those that each server has by default.

Each row is a fresh server of two Processors (workers) with the same short time-outs: a head 3 s, a body 5 s between
reads, writing 5 s, idle 8 s. It is warmed up; the probe (100 requests a second, by turns on kept and on new
connections, latency from the time each was due) takes a baseline of 3 s; then the attackers and the probe run together.
The attackers have half a core, by a cgroup of their own, so that it is not the machine that they wear out; the probe is
outside of it and asks for real-time priority.

Memory and descriptors are those of the whole process family. "After" is awaited for at most 15 s once the attackers are
gone. A connection that the server has closed but whose client reads nothing is not noticed by that client, so what the
server still holds is told by its descriptors, sampled four times a second.

For attacks that hold connections, `shed` counts those that the server ended or refused, and when the last one went. For
attacks that come and go it says whether anything of them remained on the server afterwards, and for how long.

With few descriptors each of nginx's two workers has as many as the other servers have in all: the limit is a process's.

Memory counts as back when RSS is within 10 % of before. Private dirty memory, which leaves out the pages of the binary
and its libraries, is shown beside it: of so little a few dozen hot stacks and buffers are a tenth. With --repeat the rounds are
interleaved, latencies pooled, and everything else is the median, so that one noisy moment does not decide.
"""
import argparse
import json
import math
import os
import platform
import random
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from attacks import ATTACKS, GROUPS  # noqa: E402
from cgroup import Cgroup  # noqa: E402
from harness import write_between  # noqa: E402
from servers import SERVERS, Server, make_certificate  # noqa: E402

HALF_A_CORE = 0.5
BACK_WITHIN_S = 15.0
BACK_RATIO = 1.10
PROBE_CONNECTIONS = 14  # that the probe itself has open: kept ones, and a few new ones on their way
LARGE, SMALL = 20 << 20, 100 << 10


# ---------------------------------------------------------------------- what a process family has
def memory(pids):
    """(RSS, private dirty), bytes."""
    rss = dirty = 0
    for p in pids:
        try:
            with open(f"/proc/{p}/smaps_rollup") as f:
                for line in f:
                    if line.startswith("Rss:"):
                        rss += int(line.split()[1]) * 1024
                    elif line.startswith("Private_Dirty:"):
                        dirty += int(line.split()[1]) * 1024
        except OSError:
            pass
    return rss, dirty


def quick_rss(pids):
    total = 0
    for p in pids:
        try:
            with open(f"/proc/{p}/statm") as f:
                total += int(f.read().split()[1]) * resource.getpagesize()
        except OSError:
            pass
    return total


def descriptors(pids):
    total = 0
    for p in pids:
        try:
            # Since Linux 6.2 the directory's size is their number; before it is 0.
            total += os.stat(f"/proc/{p}/fd").st_size or len(os.listdir(f"/proc/{p}/fd"))
        except OSError:
            pass
    return total


def tcp_memory():
    """What the kernel holds for TCP in all of the machine, the attackers' ends included, bytes."""
    with open("/proc/net/sockstat") as f:
        for line in f:
            if line.startswith("TCP:"):
                return int(line.split()[-1]) * resource.getpagesize()
    return 0


def steal():
    """(stolen, all, busy), ticks of all cores."""
    with open("/proc/stat") as f:
        values = [int(v) for v in f.readline().split()[1:]]
    return values[7], sum(values[:8]), sum(values[:3])


def ticks(pids):
    """CPU time of processes that live, of ourselves and of our children that ended."""
    hz = os.sysconf("SC_CLK_TCK")
    own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    total = sum(u.ru_utime + u.ru_stime for u in own) * hz
    for p in pids:
        try:
            with open(f"/proc/{p}/stat") as f:
                fields = f.read().rsplit(")", 1)[1].split()
                total += int(fields[11]) + int(fields[12])
        except OSError:
            pass
    return total


# ---------------------------------------------------------------------- one row, once
class Tool:
    """A run of the attacker program whose one line of JSON goes to a file: a pipe could fill up."""

    def __init__(self, args, mode, port, *options):
        self.out = tempfile.TemporaryFile()
        self.proc = subprocess.Popen([os.path.join(args.bin, "attacker"), mode, str(port)] + [str(o) for o in options],
                                     stdin=subprocess.DEVNULL, stdout=self.out)

    def result(self, limit):
        try:
            code = self.proc.wait(limit)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError("the attacker does not end") from None
        if code != 0:
            raise RuntimeError(f"the attacker ended with {code}")
        self.out.seek(0)
        return json.loads(self.out.read())

    def kill(self):
        if self.proc.poll() is None:
            self.proc.kill()
            self.proc.wait()


def await_back(server, before):
    """After the attack: the last (or first good) measure, and when it was."""
    begin = time.monotonic()
    fds_back = None
    while True:
        pids = server.pids()
        rss, dirty = memory(pids)
        fds = descriptors(pids)
        t = time.monotonic() - begin
        if fds <= before["fds"] and fds_back is None:
            fds_back = t
        back = rss <= before["rss"] * BACK_RATIO and dirty <= before["dirty"] * BACK_RATIO and fds <= before["fds"]
        if back or t >= BACK_WITHIN_S:
            return {"rss": rss, "dirty": dirty, "fds": fds, "seconds": t, "fds_back_s": fds_back, "back": back}
        time.sleep(0.25)


def settled(server):
    """Memory before: a server that has just worked may still be giving back."""
    last = memory(server.pids())
    for _ in range(12):
        time.sleep(0.5)
        now = memory(server.pids())
        if abs(now[1] - last[1]) <= last[1] * 0.01:
            break
        last = now
    pids = server.pids()
    rss, dirty = memory(pids)
    return {"rss": rss, "dirty": dirty, "fds": descriptors(pids)}


def held_story(attack, attacker, samples, before, attack_s):
    """How many were shed and when, from the clients' view and the server's descriptors."""
    total = attacker["shed"] + attacker["still_open"]
    spare = before["fds"] + PROBE_CONNECTIONS
    held = [(t, max(0, fds - spare)) for t, fds, _, _ in samples if t <= attack_s - 0.1]
    at_end = held[-1][1] if held else 0
    shed, when = attacker["shed"], attacker["last_shed_s"]
    unnoticed = attack == "slow_readers" and attacker["still_open"] != 0
    if unnoticed:
        shed = max(shed, total - at_end)
    if unnoticed and shed >= total:
        when = 0.0
        for t, n in reversed(held):
            if n > 0:
                break
            when = t
    return {"attackers": total, "shed": shed, "all": shed >= total, "within_s": when if shed >= total else None}


def run_row(args, attack, name, cgroup, directory, site):
    over = ATTACKS[attack].over
    server = Server(name, args, directory, site, over, attack == "descriptors")
    tools = []
    try:
        server.warm()
        time.sleep(0.5)
        tools.append(Tool(args, "probe", server.port, "--seconds", args.baseline, "--rate", args.rate, "--over", over))
        baseline = tools[-1].result(args.baseline + 10)
        before = settled(server)
        pids = server.pids()
        probe = Tool(args, "probe", server.port, "--seconds", args.seconds + 30, "--rate", args.rate, "--over", over)
        tools.append(probe)
        began, busy0 = steal(), ticks(pids)
        begin = time.monotonic()
        attacker = Tool(args, attack, server.port, "--seconds", args.seconds, "--seed", args.seed, "--cgroup", cgroup.procs)
        tools.append(attacker)
        samples = []
        while attacker.proc.poll() is None and time.monotonic() - begin < args.seconds + 20:
            samples.append((time.monotonic() - begin, descriptors(pids), quick_rss(pids), tcp_memory()))
            time.sleep(0.25)
        attack_s = time.monotonic() - begin
        story = attacker.result(5)
        # An attack that is over at once still has some hundred requests beside it, the first of them in its midst.
        time.sleep(max(0.0, 3.0 - attack_s))
        probe.proc.send_signal(signal.SIGTERM)
        measured = probe.result(10)
        ended, busy1 = steal(), ticks(pids)
        after = await_back(server, before)
        alive = server.proc.poll() is None
    finally:
        for tool in tools:
            tool.kill()
            tool.out.close()
        server.stop()
        server.log.close()
        shutil.rmtree(server.dir, ignore_errors=True)
    if ATTACKS[attack].holds:
        shed = held_story(attack, story, samples, before, min(attack_s, args.seconds))
    else:
        total = story["shed"] + story["ended"] + story["still_open"]
        gone = after["fds"] <= before["fds"]
        shed = {"attackers": total, "shed": total - max(0, after["fds"] - before["fds"]), "all": gone,
                "within_s": after["fds_back_s"]}
    return {"attack": attack, "server": name, "baseline": baseline, "probe": measured, "before": before, "after": after,
            "peak_rss": max([before["rss"]] + [s[2] for s in samples]), "peak_fds": max([0] + [s[1] for s in samples]),
            "peak_tcp": max([0] + [s[3] for s in samples]), "attacker": story, "attack_s": attack_s, "shed": shed, "alive": alive,
            "stolen": 100.0 * (ended[0] - began[0]) / max(ended[1] - began[1], 1),
            # Of all cores, what processes took that have no part in this: then the latencies are theirs, too.
            "others": max(0.0, 100.0 * (ended[2] - began[2] - (busy1 - busy0)) / max(ended[1] - began[1], 1)),
            "samples": [(round(t, 2), fds, rss, tcp) for t, fds, rss, tcp in samples]}


# ---------------------------------------------------------------------- all runs of a row together
def quantile(sorted_values, q):
    return sorted_values[max(math.ceil(q * len(sorted_values)), 1) - 1] if sorted_values else float("nan")


def together(runs):
    median = lambda get: statistics.median(get(r) for r in runs)
    latencies = sorted(v / 1000 for r in runs for v in r["probe"]["latencies_us"])
    base = sorted(v / 1000 for r in runs for v in r["baseline"]["latencies_us"])
    failures = {}
    for r in runs:
        for kind, n in r["probe"]["failures"].items():
            failures[kind] = failures.get(kind, 0) + n
    every = all(r["shed"]["all"] for r in runs)
    times = [r["shed"]["within_s"] for r in runs if r["shed"]["within_s"] is not None]
    # The ratios are medians of each run's own: runs may begin with different amounts.
    return {
        "ok": 100.0 * sum(r["probe"]["ok"] for r in runs) / max(sum(r["probe"]["asked"] for r in runs), 1),
        "asked": sum(r["probe"]["asked"] for r in runs), "failures": {k: n for k, n in failures.items() if n},
        "latencies": latencies, "p50": quantile(latencies, 0.5), "p99": quantile(latencies, 0.99),
        "max": latencies[-1] if latencies else float("nan"), "base_p50": quantile(base, 0.5), "base_p99": quantile(base, 0.99),
        "fds": (median(lambda r: r["before"]["fds"]), median(lambda r: r["peak_fds"]), median(lambda r: r["after"]["fds"])),
        "rss": (median(lambda r: r["before"]["rss"]), median(lambda r: r["peak_rss"]), median(lambda r: r["after"]["rss"])),
        "dirty": (median(lambda r: r["before"]["dirty"]), median(lambda r: r["after"]["dirty"])),
        "tcp": median(lambda r: r["peak_tcp"]),
        "rss_ratio": median(lambda r: r["after"]["rss"] / r["before"]["rss"]),
        "dirty_ratio": median(lambda r: r["after"]["dirty"] / r["before"]["dirty"]),
        "back_s": median(lambda r: r["after"]["seconds"]),
        "attackers": round(median(lambda r: r["shed"]["attackers"])), "shed": round(median(lambda r: r["shed"]["shed"])),
        "all": every, "within_s": statistics.median(times) if times and every else None,
        "requests": round(median(lambda r: r["attacker"]["requests"])), "refused": round(median(lambda r: r["attacker"]["refused"])),
        "stolen": sum(r["stolen"] for r in runs) / len(runs), "others": sum(r["others"] for r in runs) / len(runs), "alive": all(r["alive"] for r in runs),
        "realtime": all(r["probe"]["realtime"] for r in runs),
    }


def ratio(a, b, n=300):
    """Of two samples' 99th percentiles, with a 95 % bootstrap interval over requests."""
    if not a or not b:
        return (float("nan"),) * 3
    rng = random.Random(1)
    values = sorted(quantile(sorted(rng.choices(a, k=len(a))), 0.99) / quantile(sorted(rng.choices(b, k=len(b))), 0.99)
                    for _ in range(n))
    return quantile(a, 0.99) / quantile(b, 0.99), values[int(n * 0.025)], values[int(n * 0.975)]


def verdict(rows, attack):
    """Of fiberd's row: cells to print, and what it misses."""
    r, peer = rows[(attack, "fiberd")], rows.get((attack, "nginx"))
    missed = []

    def cell(text, ok, criterion):
        if not ok:
            missed.append(f"{criterion}: {text}")
        return text if ok else f"**{text}**"

    cells = [cell(f"{r['ok']:.2f} %", r["ok"] >= 99.9, "probe ≥ 99.9 %"), cell(f"{r['p99']:.2f} ms", r["p99"] <= 50, "p99 ≤ 50 ms")]
    if peer:
        point, low, high = ratio(r["latencies"], peer["latencies"])
        cells.append(cell(f"{point:.2f} ({low:.2f} … {high:.2f})", not point > 1, "p99 no worse than nginx's"))
    else:
        cells.append("–")
    cells.append(cell(f"{r['shed']:,} of {r['attackers']:,}", r["all"] and r["alive"], "all shed"))
    kib = lambda pair: (pair[1] - pair[0]) / 1024
    cells.append(cell(f"× {r['rss_ratio']:.2f} ({kib((r['rss'][0], r['rss'][2])):+,.0f} KiB)", r["rss_ratio"] <= BACK_RATIO,
                      "memory back within 10 %"))
    cells.append(f"× {r['dirty_ratio']:.2f} ({kib(r['dirty']):+,.0f} KiB)")
    return cells, missed


def render(rows, attacks, servers, args):
    mib = lambda v: f"{v / 2**20:.1f}"
    lines = ["| attack | server | probe answered | p50 ms | p99 ms | p99 before, ms | descriptors before → peak → after | "
             "RSS MiB before → peak → after | private dirty MiB before → after | kernel's TCP memory at most, MiB | attackers | shed | within s | stolen |",
             "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"]
    for attack in attacks:
        for server in servers:
            r = rows.get((attack, server))
            if r is None:
                continue
            lines.append("| {} | {} | {:.2f} % | {:.2f} | {:.2f} | {:.2f} | {} | {} | {} | {:.0f} | {:,} | {} | {} | {:.1f} % |".format(
                attack, server if r["alive"] else f"{server} (ended)", r["ok"], r["p50"], r["p99"], r["base_p99"],
                " → ".join(f"{v:.0f}" for v in r["fds"]), " → ".join(map(mib, r["rss"])), " → ".join(map(mib, r["dirty"])),
                r["tcp"] / 2**20, r["attackers"], "all" if r["all"] else f"{r['shed']:,}",
                f"{r['within_s']:.1f}" if r["within_s"] is not None else "–", r["stolen"]))
    lines += ["", "The attacks: " + "; ".join(f"`{a}`: {ATTACKS[a].what}" for a in attacks) + "."]
    if "fiberd" in servers:
        lines += ["", "| fiberd under | probe ≥ 99.9 % | p99 ≤ 50 ms | p99 over nginx's ≤ 1 (95 %) | all shed | memory (RSS) back within 10 % | private dirty |",
                  "|---|---|---|---|---|---|---|"]
        lines += ["| " + " | ".join([a] + verdict(rows, a)[0]) + " |" for a in attacks if (a, "fiberd") in rows]
    return "\n".join(lines)


def machine(rows, args):
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    stolen = statistics.mean(r["stolen"] for r in rows.values())
    rounds = f"{args.repeat} interleaved rounds" if args.repeat > 1 else "one round"
    realtime = "with" if all(r["realtime"] for r in rows.values()) else "without"
    others = statistics.mean(r["others"] for r in rows.values())
    return (f"Machine: {os.cpu_count()} × {model}, virtual, Linux {platform.release().split('-')[0]}; servers with two Processors (workers), "
            f"attackers with half a core; {rounds} of at most {args.seconds} s an attack; probe of {args.rate} requests a second "
            f"{realtime} real-time priority. Stolen time {stolen:.1f} %; "
            f"processes that have no part in it took {others:.1f} % of the cores.")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--fiberd", required=True, help="the daemon's path")
    p.add_argument("--bin", required=True, help="directory of attacker and go_http")
    p.add_argument("--group", default="attacks", choices=GROUPS, help="over HTTP/1.1, or over TLS and HTTP/2")
    p.add_argument("--servers", nargs="+", choices=SERVERS, help="those of the group's table")
    p.add_argument("--attacks", nargs="+", choices=ATTACKS, help="the group's")
    p.add_argument("--seconds", type=float, default=20, help="at most, of one attack")
    p.add_argument("--baseline", type=float, default=3)
    p.add_argument("--rate", type=float, default=100, help="the probe's requests a second")
    p.add_argument("--seed", type=int, default=1, help="of the mutated requests; each round takes the next")
    p.add_argument("--repeat", type=int, default=1)
    p.add_argument("--markdown", help="a page with the markers <!-- GROUP: begin --> and <!-- GROUP: end -->")
    p.add_argument("--json", help="all that was measured")
    args = p.parse_args()
    args.attacks = args.attacks or GROUPS[args.group]
    args.servers = args.servers or (SERVERS[:3] if args.group == "attacks" else SERVERS)
    args.rate = int(args.rate) if args.rate == int(args.rate) else args.rate
    args.seconds = int(args.seconds) if args.seconds == int(args.seconds) else args.seconds
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    directory = tempfile.mkdtemp(prefix="fiberd-attack-")
    os.chmod(directory, 0o755)
    site = os.path.join(directory, "site")
    os.mkdir(site)
    make_certificate(directory)
    for name, size in (("large.bin", LARGE), ("small.bin", SMALL)):
        with open(os.path.join(site, name), "wb") as f:
            f.write(os.urandom(size))
    runs = {}
    cgroup = None
    try:
        cgroup = Cgroup(HALF_A_CORE)
        for r in range(args.repeat):
            for i, attack in enumerate(args.attacks):
                turn = (r + i) % len(args.servers)
                for server in args.servers[turn:] + args.servers[:turn]:
                    print(f"{r + 1}/{args.repeat} {attack} {server}", end=" ", file=sys.stderr, flush=True)
                    try:
                        row = run_row(args, attack, server, cgroup, directory, site)
                    except (RuntimeError, OSError, ValueError) as e:
                        print(f"failed: {e}", file=sys.stderr, flush=True)
                        continue
                    runs.setdefault((attack, server), []).append(row)
                    q = row["probe"]
                    print(f"ok {q['ok']}/{q['asked']} p99 {q['p99_ms']:.2f} ms; shed {row['shed']}; memory "
                          f"{row['before']['dirty'] >> 10} → {row['after']['dirty'] >> 10} KiB", file=sys.stderr, flush=True)
            args.seed += 1
    finally:
        if cgroup is not None:
            cgroup.remove()
        shutil.rmtree(directory, ignore_errors=True)
    if not runs:
        sys.exit("attack_table: nothing could be measured")
    rows = {key: together(value) for key, value in runs.items()}
    text = machine(rows, args) + "\n\n" + render(rows, args.attacks, args.servers, args)
    if args.markdown:
        write_between(args.markdown, args.group, text)
    else:
        print(text)
    if args.json:
        with open(args.json, "w") as f:
            json.dump({"rows": [{"attack": a, "server": s, "rounds": v} for (a, s), v in runs.items()]}, f)
    misses = [(a, m) for a in args.attacks if (a, "fiberd") in rows for m in verdict(rows, a)[1]]
    print(f"\n{len(misses)} criteria missed by fiberd:" if misses else "\nfiberd misses no criterion.")
    for attack, miss in misses:
        print(f"  {attack}: {miss}")
    noisy = [f"{a} {s} {r['others']:.0f} %" for (a, s), r in rows.items() if r["others"] > 5]
    if noisy:
        print(f"  (other processes were busy, so latencies are not to be trusted: {', '.join(noisy)})")
    for (attack, server), r in rows.items():
        if r["failures"]:
            print(f"  (probe under {attack}, {server}: {r['failures']} of {r['asked']})")


if __name__ == "__main__":
    main()
