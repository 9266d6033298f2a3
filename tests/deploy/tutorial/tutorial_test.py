#!/usr/bin/env python3
"""docs/tutorial.md does what it says: its commands are run in order in a Debian that is booted for it, and print what stands
beneath them. Ends on "N passed, M failed"; exit code 77: it cannot be tried here.

usage: tutorial_test.py SOURCE_DIR BUILD_DIR CACHE_DIR CMAKE

```sh blocks are run as they are, by a shell that ends at the first failure. Each line of the ```text behind one must be
printed, in this order and as a whole, where … stands for anything. What builds is this build (```sh build), and
what installs (```sh install) is done from outside, into the machine.
"""

import os
import pathlib
import re
import subprocess
import sys

source, build = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
cache, cmake = sys.argv[3:5]
sys.path.insert(0, str(source / "tests/deploy/support"))
import booted  # noqa: E402

PAGE = source / "docs/tutorial.md"
FENCE = re.compile(r"^```(\S+)(?: (\w+))?\n(.*?)^```$", re.M | re.S)
BUILD = """deploy/install-packages build
cmake --preset release -DFIBERD_TESTS=OFF
cmake --build --preset release --target fiberd
"""
INSTALL = "cmake --install build/release --component runtime --prefix /usr\n"


def blocks(text):
    """(line, what kind, commands, lines that are to be printed), in order."""
    found = []
    for fence in FENCE.finditer(text):
        language, kind, body = fence.groups()
        at = text.count("\n", 0, fence.start()) + 1
        if language == "text":
            found[-1][3].extend(body.splitlines())
        elif language == "sh":
            found.append((at, kind, body, []))
        else:
            raise AssertionError(f"{PAGE.name}:{at}: a block of {language!r}, which nothing runs")
    return found


def pattern(line):
    return re.compile(".*".join(re.escape(part) for part in line.split("…")))


def missing(printed, wanted):
    """The first of `wanted` that is not there; None: all are, in order."""
    rest = iter(printed)
    for line in wanted:
        if not any(pattern(line).fullmatch(one.strip()) for one in rest):
            return line
    return None


def in_a_minute_less(machine):
    """Alerts that wait for nothing: the page tells people to wait for a minute, and this is a test."""
    rules = machine.root / "etc/prometheus/rules/alerts.yml"
    if rules.exists():
        text = re.sub(r"^( +for:) \d+m$", r"\1 0s", rules.read_text(), flags=re.M)
        if text != rules.read_text():
            machine.write("/etc/prometheus/rules/alerts.yml", text)
            # And not reload: a signal that comes before it listens to any ends it.
            machine.run("systemctl", "restart", "prometheus")


def run(machine, kind, commands):
    if kind == "build":
        assert commands == BUILD, f"another build than that of the tests: {commands!r}"
        return ""
    if kind == "install":
        assert commands == INSTALL, f"another installation than that of the tests: {commands!r}"
        done = subprocess.run([cmake, "--install", build, "--component", "runtime", "--prefix", "/usr"], text=True,
                              capture_output=True, env={**os.environ, "DESTDIR": str(machine.root)}, check=False)
    else:
        assert kind is None, f"no such kind of block: {kind}"
        done = machine.run("sh", "-e", "-c", commands, check=False, within=300)
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def follow(machine, steps):
    """How many of them went well. The first that does not is the last one: the others build on it."""
    for number, (at, kind, commands, wanted) in enumerate(steps):
        try:
            printed = run(machine, kind, commands)
            line = missing(printed.splitlines(), wanted)
            assert line is None, f"{line!r} is not printed, or not in this order, but\n{printed}"
            in_a_minute_less(machine)
        except (AssertionError, subprocess.SubprocessError) as error:
            print(f"FAIL {PAGE.name}:{at}: {commands}{error}")
            print(machine.run("journalctl", "-n", "60", "--no-pager", check=False).stdout, flush=True)
            return number
        print(f"ok   {PAGE.name}:{at}", flush=True)
    return len(steps)


def main():
    assert missing(["a", "b 1 c"], ["a", "b … c"]) is None
    assert missing(["b 1 c", "a"], ["a", "b … c"]) == "b … c" and missing(["ab"], ["a"]) == "a"
    steps = blocks(PAGE.read_text(encoding="utf-8"))
    assert len(steps) >= 10 and sum(bool(s[3]) for s in steps) >= 8, f"{len(steps)} blocks were found"
    try:
        with booted.Machine(cache, booted.service_packages(source)) as machine:
            machine.boot()
            passed = follow(machine, steps)
    except booted.Skip as why:
        print(f"skipped: {why}\n0 passed, 0 failed")
        return 77
    print(f"{passed} passed, {int(passed != len(steps))} failed")
    return 0 if passed == len(steps) else 1


sys.exit(main())
