#!/usr/bin/env python3
"""Whole-process benchmark: fiberd beside nginx, Go's net/http, Boost.Fiber over Asio and a hand-written epoll loop.

Each server is pinned to one core, the load generator to another. All servers stay up; a round visits every
(workload, server) once, in an order that rotates, so that noise meets all of them alike. CPU time is read from
/proc/PID/schedstat-like counters of all threads and children (nanoseconds; user time in ticks of 10 ms, summed over all
rounds). System calls are counted by strace on a separate short run, since it slows the server. Ratios are ratios of sums with a 95 %
bootstrap interval over rounds.
"""
import argparse
import json
import os
import platform
import random
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from harness import cpu, family, fill_in, free_port, wait_port, write_between

HERE = os.path.dirname(os.path.abspath(__file__))


def memory(pid, field):
    total = 0
    for p in family(pid):
        try:
            with open(f"/proc/{p}/smaps_rollup") as f:
                for line in f:
                    if line.startswith(field + ":"):
                        total += int(line.split()[1]) * 1024
        except OSError:
            pass
    return total


def steal():
    with open("/proc/stat") as f:
        values = [int(v) for v in f.readline().split()[1:]]
    return values[7], sum(values[:8])


class Server:
    def __init__(self, name, command, http, tcp, env=None):
        self.name, self.http, self.tcp = name, http, tcp
        self.log = tempfile.TemporaryFile()
        full = dict(os.environ)
        full.update(env or {})
        self.proc = subprocess.Popen(["taskset", "-c", "0"] + command, stdout=self.log, stderr=self.log, env=full)
        wait_port(http, self.proc)

    def stop(self):
        if self.proc.poll() is None:
            self.proc.send_signal(signal.SIGTERM)
            try:
                self.proc.wait(10)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()


PIPELINE = """
init = function(args) local r = {} for i = 1, 16 do r[i] = wrk.format(nil, "/") end req = table.concat(r) end
request = function() return req end
"""


class Bench:
    def __init__(self, args):
        self.args = args
        self.dir = tempfile.mkdtemp(prefix="fiberd-bench-")
        self.site = os.path.join(self.dir, "site")
        os.mkdir(self.site)
        self.file = os.path.join(self.site, "100k.bin")
        with open(self.file, "wb") as f:
            f.write(os.urandom(100 * 1024))
        self.lua = os.path.join(self.dir, "pipeline.lua")
        with open(self.lua, "w") as f:
            f.write(PIPELINE)
        self.servers = {}
        self.load = os.path.join(args.bin, "http_load")

    # ------------------------------------------------------------------ servers
    def start(self, name):
        http, tcp = free_port(), free_port()
        a = self.args
        if name == "fiberd":
            config = os.path.join(self.dir, "fiberd.yaml")
            with open(config, "w") as f:
                f.write(f"""
runtime: {{gomaxprocs: 1}}
admin: {{address: "127.0.0.1:{free_port()}"}}
listeners:
  - name: web
    address: "127.0.0.1:{http}"
    http:
      server: ""
      timeouts: {{idle: 600s}}
      limits: {{connections: 19000}}
      routes:
        - {{path: /, respond: {{body: "Hello, World!", content_type: text/plain}}}}
        - {{path: /files/*, files: {{root: "{self.site}"}}}}
  - {{name: echo, address: "127.0.0.1:{tcp}", tcp: {{echo: {{}}}}}}
""")
            command, env = [a.fiberd, "-c", config], {"GOMAXPROCS": "1"}
        elif name == "nginx":
            conf = os.path.join(self.dir, "nginx.conf")
            os.chmod(self.dir, 0o755)
            with open(conf, "w") as f:
                f.write(fill_in(os.path.join(HERE, "peers", "nginx.conf.in"),
                                {"DIR": self.dir, "PORT": http, "SITE": self.site}))
            command, env, tcp = ["nginx", "-c", conf, "-p", self.dir], {}, None
        elif name == "go":
            command = [os.path.join(a.bin, "go_http"), f"127.0.0.1:{http}", f"127.0.0.1:{tcp}", self.site]
            env = {"GOMAXPROCS": "1"}
        elif name == "boost_fiber":
            command, env = [os.path.join(a.bin, "boost_fiber_asio"), str(http), str(tcp), self.file], {}
        else:
            command, env = [os.path.join(a.bin, "epoll_loop"), str(http), str(tcp), self.file], {}
        self.servers[name] = Server(name, command, http, tcp, env)

    # ------------------------------------------------------------------ workloads
    def wrk(self, server, seconds, connections, path, lua=None, per=1):
        command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
        if lua:
            command += ["-s", lua]
        out = subprocess.run(command + [f"http://127.0.0.1:{server.http}{path}"], capture_output=True, text=True,
                             timeout=seconds + 60).stdout
        requests = re.search(r"(\d+) requests in ([\d.]+)s", out)

        def latency(q):
            m = re.search(rf"{q}%\s+([\d.]+)(us|ms|s)", out)
            return float(m[1]) * {"us": 1, "ms": 1e3, "s": 1e6}[m[2]] if m else float("nan")

        errors = sum(int(v) for v in re.findall(r"(?:connect|read|write|timeout) (\d+)", out))
        non2xx = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
        return {"requests": int(requests[1]), "seconds": float(requests[2]), "p50_us": latency(50),
                "p99_us": latency(99), "errors": errors + (int(non2xx[1]) if non2xx else 0)}

    def own(self, server, mode, seconds, connections):
        port = server.tcp if mode == "echo" else server.http
        load = subprocess.Popen(["taskset", "-c", "1", self.load, mode, str(port), str(connections), str(seconds)],
                                stdout=subprocess.PIPE, text=True)
        begin = None
        if mode == "many" and load.stdout.readline().strip() == "measuring":
            begin = cpu(server.proc.pid)
        out = load.communicate(timeout=seconds + 120)[0]
        return dict(json.loads(out), cpu_begin=begin)

    def workloads(self):
        return {
            "hello": lambda s, t: self.wrk(s, t, 64, "/"),
            "pipeline": lambda s, t: self.wrk(s, t, 64, "/", self.lua),
            "file": lambda s, t: self.wrk(s, t, 64, "/files/100k.bin"),
            "echo": lambda s, t: self.own(s, "echo", t, 64),
            "connect": lambda s, t: self.own(s, "connect", t, 64),
            "10000": lambda s, t: self.own(s, "many", t, self.args.many),
        }

    def measure(self, workload, run, server, seconds):
        before = cpu(server.proc.pid)
        result = run(server, seconds)
        after = cpu(server.proc.pid)
        before = result.pop("cpu_begin", None) or before
        result["cpu_s"] = after[0] - before[0]
        result["user_s"] = after[1] - before[1]
        result["sys_s"] = after[2] - before[2]
        result["rss"] = memory(server.proc.pid, "Rss")
        return result

    def syscalls(self, run, server):
        out = os.path.join(self.dir, "strace")
        pids = []
        for p in family(server.proc.pid):
            pids += ["-p", str(p)]
        tracer = subprocess.Popen(["strace", "-c", "-f", "-o", out] + pids, stderr=subprocess.DEVNULL)
        time.sleep(0.5)
        result = run(server, 2)
        tracer.send_signal(signal.SIGINT)
        tracer.wait()
        calls, ignored = 0, 0
        with open(out) as f:
            for line in f:
                m = re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)\s*$", line)
                if m and m[2] != "total":
                    # sysmon's and Go's own timers tick by time, not by request; under strace there are few requests.
                    if m[2] in ("clock_nanosleep", "nanosleep", "restart_syscall"):
                        ignored += int(m[1])
                    else:
                        calls += int(m[1])
        return {"per_request": calls / max(result["requests"], 1), "timer_calls": ignored, "requests": result["requests"]}

    def idle_bytes(self, server):
        n = self.args.many
        # Warm: pools and tables that one connection already needs are not counted against the others.
        self.own(server, "many", 1, 64)
        before = memory(server.proc.pid, "Private_Dirty") + memory(server.proc.pid, "Private_Clean")
        load = subprocess.Popen([self.load, "idle", str(server.http), str(n), "0"], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True)
        line = load.stdout.readline()
        time.sleep(1.5)
        after = memory(server.proc.pid, "Private_Dirty") + memory(server.proc.pid, "Private_Clean")
        load.stdin.close()
        load.wait(60)
        return (after - before) / n if line.strip() == "ready" else float("nan")

    # ------------------------------------------------------------------ run
    def run(self):
        a = self.args
        for name in a.servers:
            self.start(name)
        results = {}
        calls, idle = {}, {}
        steal0 = steal()
        workloads = {k: v for k, v in self.workloads().items() if k in a.workloads}
        try:
            for name, server in self.servers.items():
                for workload, run in workloads.items():
                    if workload == "echo" and server.tcp is None:
                        continue
                    run(server, 1)  # warm
            for r in range(a.rounds):
                for workload, run in workloads.items():
                    order = list(self.servers.values())
                    order = order[r % len(order):] + order[:r % len(order)]
                    for server in order:
                        if workload == "echo" and server.tcp is None:
                            continue
                        m = self.measure(workload, run, server, a.seconds)
                        results.setdefault((workload, server.name), []).append(m)
                print(f"round {r + 1}/{a.rounds}", file=sys.stderr, flush=True)
            if not a.no_syscalls:
                for name, server in self.servers.items():
                    for workload, run in workloads.items():
                        if workload in ("hello", "pipeline", "file", "echo", "connect") and (workload != "echo" or server.tcp):
                            calls[(workload, name)] = self.syscalls(run, server)
            # Idle memory in fresh processes: what earlier workloads left cached would hide it.
            for server in self.servers.values():
                server.stop()
            for name in list(a.servers):
                self.start(name)
                idle[name] = self.idle_bytes(self.servers[name])
                self.servers[name].stop()
        finally:
            for server in self.servers.values():
                server.stop()
            shutil.rmtree(self.dir, ignore_errors=True)
        steal1 = steal()
        stolen = 100.0 * (steal1[0] - steal0[0]) / max(steal1[1] - steal0[1], 1)
        return results, calls, idle, stolen


def per_request(rounds, key):
    return sum(r[key] for r in rounds) / max(sum(r["requests"] for r in rounds), 1) * 1e6


def ratio(a, b, key="cpu_s", n=2000):
    """CPU per request of a over b, with its 95 % bootstrap interval over paired rounds."""
    rng = random.Random(1)
    pairs = list(zip(a, b))

    def of(sample):
        return per_request([p[0] for p in sample], key) / per_request([p[1] for p in sample], key)

    values = sorted(of([pairs[rng.randrange(len(pairs))] for _ in pairs]) for _ in range(n))
    return of(pairs), values[int(n * 0.025)], values[int(n * 0.975)]


def render(results, calls, idle, stolen, args):
    lines = ["| workload | server | requests/s | CPU µs/request | user µs/request | system calls/request | p50 µs | p99 µs | RSS MiB | CPU ratio to fiberd (95 %) | errors |",
             "|---|---|---|---|---|---|---|---|---|---|---|"]
    for (workload, name), rounds in sorted(results.items(), key=lambda kv: (args.workloads.index(kv[0][0]), args.servers.index(kv[0][1]))):
        base = results.get((workload, "fiberd"))
        r = ratio(rounds, base) if base else (float("nan"),) * 3
        c = calls.get((workload, name))
        lines.append("| {} | {} | {:.0f} | {:.2f} | {:.2f} | {} | {:.0f} | {:.0f} | {:.1f} | {} | {} |".format(
            workload, name, statistics.median(x["requests"] / x["seconds"] for x in rounds),
            per_request(rounds, "cpu_s"), per_request(rounds, "user_s"),
            f"{c['per_request']:.2f}" if c else "–", statistics.median(x["p50_us"] for x in rounds),
            statistics.median(x["p99_us"] for x in rounds), max(x["rss"] for x in rounds) / 2**20,
            "1" if name == "fiberd" else f"{r[0]:.2f} ({r[1]:.2f} … {r[2]:.2f})", sum(x["errors"] for x in rounds)))
    lines += ["", "| server | user memory per idle keep-alive connection, bytes |", "|---|---|"]
    lines += [f"| {name} | {value:.0f} |" for name, value in idle.items()]
    return "\n".join(lines)


def check(results, calls, idle):
    rows = ["| target | measured | |", "|---|---|---|"]

    def row(text, measured, ok):
        rows.append(f"| {text} | {measured} | {'met' if ok else 'MISSED'} |")

    def cpu_ratio(workload, peer, limit, text):
        if (workload, "fiberd") in results and (workload, peer) in results:
            r = ratio(results[(workload, "fiberd")], results[(workload, peer)])
            row(text, f"{r[0]:.2f} ({r[1]:.2f} … {r[2]:.2f})", r[2] <= limit)

    if ("hello", "fiberd") in calls:
        v = calls[("hello", "fiberd")]["per_request"]
        row("hello: system calls a request ≤ 2.3", f"{v:.2f}", v <= 2.3)
    if ("hello", "fiberd") in results:
        v = per_request(results[("hello", "fiberd")], "user_s")
        row("hello: user µs a request ≤ 1.2", f"{v:.2f}", v <= 1.2)
    cpu_ratio("hello", "epoll", 1.10, "hello: CPU ≤ 1.10 × the epoll loop")
    cpu_ratio("hello", "nginx", 1.0, "hello: CPU ≤ nginx")
    cpu_ratio("pipeline", "nginx", 0.2, "pipeline ×16: CPU ≤ 0.2 × nginx")
    cpu_ratio("pipeline", "epoll", 1.35, "pipeline ×16: CPU ≤ 1.35 × the epoll loop")
    cpu_ratio("10000", "nginx", 0.95, "10,000 connections: CPU ≤ 0.95 × nginx")
    cpu_ratio("file", "nginx", 1.05, "100 KiB file: CPU ≤ 1.05 × nginx with open-file cache")
    if ("file", "fiberd") in results and ("file", "nginx") in results:
        ours = statistics.median(x["p99_us"] for x in results[("file", "fiberd")])
        theirs = statistics.median(x["p99_us"] for x in results[("file", "nginx")])
        row("100 KiB file: p99 ≤ 1.2 × nginx", f"{ours / theirs:.2f} ({ours:.0f} / {theirs:.0f} µs)", ours <= 1.2 * theirs)
    cpu_ratio("connect", "epoll", 1.25, "connection per request: CPU ≤ 1.25 × the epoll loop")
    cpu_ratio("echo", "epoll", 1.06, "TCP echo: CPU ≤ 1.06 × the epoll loop")
    for w in ("hello", "pipeline", "file", "connect", "10000"):
        if (w, "go") in results and (w, "fiberd") in results:
            r = ratio(results[(w, "go")], results[(w, "fiberd")])
            row(f"Go's CPU ≥ 2 × ours: {w}", f"{r[0]:.2f} ({r[1]:.2f} … {r[2]:.2f})", r[1] >= 2)
    if "fiberd" in idle:
        row("idle: ≤ 220 bytes of user memory a keep-alive connection", f"{idle['fiberd']:.0f}", idle["fiberd"] <= 220)
    return "\n".join(rows)


def machine(stolen, results, args):
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    spreads = []
    for rounds in results.values():
        v = [x["cpu_s"] / max(x["requests"], 1) for x in rounds]
        if len(v) > 1:
            spreads.append(statistics.stdev(v) / statistics.mean(v) * 100)
    return (f"Machine: {os.cpu_count()} × {model}, virtual, Linux {platform.release().split('-')[0]}, Debian 12; servers on core 0, load on "
            f"core 1; {args.rounds} interleaved rounds of {args.seconds} s. Stolen time {stolen:.1f} %; spread of the CPU time a "
            f"request between rounds (coefficient of variation): median {statistics.median(spreads) if spreads else 0:.0f} %.")


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--fiberd", required=True)
    p.add_argument("--bin", required=True, help="directory of the peers' binaries")
    p.add_argument("--rounds", type=int, default=15)
    p.add_argument("--seconds", type=int, default=2)
    p.add_argument("--many", type=int, default=10000)
    p.add_argument("--servers", default="fiberd,epoll,nginx,go,boost_fiber")
    p.add_argument("--workloads", default="hello,pipeline,file,echo,connect,10000")
    p.add_argument("--no-syscalls", action="store_true")
    p.add_argument("--json")
    p.add_argument("--markdown", help="replace the generated part of this page")
    args = p.parse_args()
    args.servers = args.servers.split(",")
    args.workloads = args.workloads.split(",")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    results, calls, idle, stolen = Bench(args).run()
    text = "\n\n".join([machine(stolen, results, args), render(results, calls, idle, stolen, args), check(results, calls, idle)])
    print(text)
    if args.json:
        with open(args.json, "w") as f:
            json.dump({"results": {f"{w}/{s}": r for (w, s), r in results.items()},
                       "calls": {f"{w}/{s}": c for (w, s), c in calls.items()}, "idle": idle, "steal": stolen}, f, indent=1)
    if args.markdown:
        write_between(args.markdown, "whole-process", text)


if __name__ == "__main__":
    main()
