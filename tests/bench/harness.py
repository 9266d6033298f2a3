"""What the benchmark programs share: ports, processes, medians, and pages whose parts they rewrite."""
import os
import platform
import random
import socket
import statistics
import sys
import time

TICK = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_port(port, process, limit=15.0):
    """Until it listens; RuntimeError when it ends before, or does not within `limit` seconds."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("the server does not listen")


def family(pid):
    """pid and its descendants."""
    out = [pid]
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as f:
                for child in f.read().split():
                    out += family(int(child))
    except OSError:
        pass
    return out


def cpu(pid):
    """(total seconds, user seconds, system seconds) of all threads of the family."""
    total = user = system = 0.0
    for p in family(pid):
        try:
            for task in os.listdir(f"/proc/{p}/task"):
                with open(f"/proc/{p}/task/{task}/schedstat") as f:
                    total += int(f.read().split()[0]) * 1e-9
                with open(f"/proc/{p}/task/{task}/stat") as f:
                    fields = f.read().rsplit(")", 1)[1].split()
                    user += int(fields[11]) / TICK
                    system += int(fields[12]) / TICK
        except OSError:
            pass
    return total, user, system


def machine():
    """What the figures were measured on, for the head of a table."""
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    return f"Machine: {os.cpu_count()} × {model}, virtual, Linux {platform.release().split('-')[0]}, Debian 12"


def interval(values, n=2000):
    """Median, and the ends of its 95 % bootstrap interval. The same values give the same interval."""
    rng = random.Random(1)
    medians = sorted(statistics.median(rng.choices(values, k=len(values))) for _ in range(n))
    return statistics.median(values), medians[int(n * 0.025)], medians[int(n * 0.975)]


def fill_in(template, values):
    """The text of a file with each @KEY@ replaced."""
    with open(template) as f:
        text = f.read()
    for key, value in values.items():
        text = text.replace(f"@{key}@", str(value))
    return text


def write_between(path, name, text):
    """Replaces what stands between `<!-- name: begin -->` and `<!-- name: end -->`."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    with open(path) as f:
        page = f.read()
    if begin not in page or end not in page:
        sys.exit(f"{path} has no markers {begin} … {end}")
    with open(path, "w") as f:
        f.write(page.split(begin, 1)[0] + begin + "\n" + text + "\n" + end + page.split(end, 1)[1])
