#!/usr/bin/env python3
"""The Debian packages of a build: lintian's verdict, symbols, a program built with libfiberd-dev; and in a booted Debian an
installation, upgrades in place under load and where they cannot be, logrotate, removal and purge, one behind the other. Ends
on "N passed, M failed"; exit code 77: it cannot be tried here.

usage: debian_test.py SOURCE_DIR BUILD_DIR CACHE_DIR CPACK
"""

import concurrent.futures
import gzip
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import traceback

source = pathlib.Path(sys.argv[1])
build = pathlib.Path(sys.argv[2])
sys.path.insert(0, str(source / "tests/deploy/support"))
sys.path.insert(0, str(source / "tests/deploy/systemd"))
import booted  # noqa: E402
from packages import Packages, run  # noqa: E402
from service import Fiberd, equal, holds  # noqa: E402

LOAD = source / "tests/deploy/systemd/load.py"
MINE = """# mine
admin: {address: "unix:/run/fiberd/admin.sock"}
shutdown: {timeout: 20s}
listeners:
  - name: web
    address: "0.0.0.0:8080"
    http:
      access_log: {format: common, output: /var/log/fiberd/access.log}
      routes: [{path: /, respond: {body: mine}}]
"""
PROGRAM = """
#include <cstdio>
#include <fiberd/core.hpp>
int main() {
  auto runtime = fiberd::runtime::Runtime::start({.gomaxprocs = 1});
  if (runtime) (*runtime)->run([] { std::puts("on a fiber"); });
}
"""
PROJECT = """
cmake_minimum_required(VERSION 3.25)
project(own LANGUAGES CXX)
find_package(fiberd REQUIRED COMPONENTS core)
add_executable(own main.cpp)
target_link_libraries(own PRIVATE fiberd::core)
"""


# ---- of the packages alone

def lintian_finds_nothing(packages):
    if shutil.which("lintian") is None:
        print("     no lintian: apt-get install lintian")
        return
    done = subprocess.run(["lintian", "--allow-root", "--fail-on", "error,warning", *packages.files.values()],
                          capture_output=True, text=True, timeout=1000, check=False)
    found = [line for line in done.stdout.splitlines() if line.startswith(("E:", "W:"))]
    equal((done.returncode, found), (0, []))


def symbols_are_found_by_the_build_id(packages):
    program = packages.unpacked("fiberd") / "usr/bin/fiberd"
    equal(re.findall(r"\.debug_info|\.symtab", run("readelf", "-SW", program)), [])
    name = "fiberd::daemon::run_command_line"
    at = re.search(rf"^(\w+) T {name}\(", run("nm", "-C", build / "fiberd"), re.M).group(1)
    identity = re.search(r"Build ID: (\w+)", run("readelf", "-n", program)).group(1)
    debug = packages.unpacked("fiberd-dbgsym") / "usr/lib/debug"
    assert (debug / ".build-id" / identity[:2] / f"{identity[2:]}.debug").exists(), identity
    asked = ["addr2line", "-Cfe", program, at]
    equal("command_line.cpp" in run(*asked), False)  # not without the package
    # What Debian's tools look into, in a namespace of its own; where there is none yet nothing is made for it.
    if not pathlib.Path("/usr/lib/debug").is_dir() or os.geteuid() != 0:
        print("     no /usr/lib/debug to mount over")
        return
    told = run("unshare", "-m", "sh", "-c", 'mount --bind "$0" /usr/lib/debug && exec "$@"', debug, *asked)
    holds(told, name)
    holds(told, "daemon/command_line.cpp:")


def a_program_is_built_with_the_development_package(packages):
    prefix = packages.unpacked("libfiberd-dev") / "usr"
    project = packages.directory / "own"
    project.mkdir()
    (project / "main.cpp").write_text(PROGRAM)
    (project / "CMakeLists.txt").write_text(PROJECT)
    run("cmake", "-S", project, "-B", project / "build", f"-DCMAKE_PREFIX_PATH={prefix}", "-DCMAKE_CXX_FLAGS=-O0")
    run("cmake", "--build", project / "build")
    equal(run(project / "build/own"), "on a fiber\n")
    # What it looks for is what it depends on.
    wanted = set(re.findall(r"\b(?:lib[\w.+-]+-dev|prometheus-cpp-dev|zlib1g-dev|pkg-config)\b",
                            (prefix / "lib/cmake/fiberd/fiberdConfig.cmake").read_text()))
    equal(wanted, set(re.split(r",\s*", packages.field("libfiberd-dev", "Depends"))))


def two_packings_of_one_build_are_the_same(packages):
    """All times in them are the one that was said."""
    for name, file in packages.files.items():
        equal(set(re.findall(r"^\S+ \d+/\d+ +\d+ (.*) \S+$", run("ar", "tv", file, env={**os.environ, "TZ": "UTC"}), re.M)),
              {"Nov 14 22:13 2023"})
        for part in ("--ctrl-tarfile", "--fsys-tarfile"):
            archive = subprocess.run(["dpkg-deb", part, file], capture_output=True, timeout=120, check=True).stdout
            with tarfile.open(fileobj=io.BytesIO(archive)) as members:
                equal({m.mtime for m in members}, {packages.EPOCH})
        print(f"     {name}: {file.stat().st_size} bytes")
    page = gzip.decompress((packages.unpacked("fiberd") / "usr/share/man/man1/fiberd.1.gz").read_bytes())
    holds(page.decode(), '"2023-11-14"')


def what_is_needed_is_the_runtime_section(packages):
    """That section is what the images install, and what the booted root has."""
    listed = set(run(source / "deploy/install-packages", "--list", "runtime").split())
    depends = {alternative.split()[0] for alternative in packages.field("fiberd", "Depends").split(",")}
    base = {"init-system-helpers", "systemd", "libc6", "libgcc-s1", "libstdc++6"}
    equal({d.replace("libspdlog1.10-fmt9", "libspdlog1.10") for d in depends} - base, listed)


ALONE = [lintian_finds_nothing, two_packings_of_one_build_are_the_same, symbols_are_found_by_the_build_id,
         a_program_is_built_with_the_development_package, what_is_needed_is_the_runtime_section]


# ---- in a booted Debian: each goes on from where the one before ended

def dpkg(fiberd, *arguments):
    """What it said on standard error, but for what is not of ours: that a user or a link was made."""
    done = fiberd.machine.run("env", "DEBIAN_FRONTEND=noninteractive", "dpkg", *arguments)
    return "\n".join(line for line in done.stderr.splitlines()
                     if not line.startswith(("dpkg: warning", "Creating ", "Created ", "Removed ")))


def enabled(fiberd):
    return fiberd.machine.run("systemctl", "is-enabled", "fiberd", check=False).stdout.strip()


def what_is_installed_serves(fiberd):
    equal(dpkg(fiberd, "-i", "/packages/before.deb"), "")
    equal(fiberd.ask(), "Hello, World!\n")  # without a word more
    equal(enabled(fiberd), "enabled")
    holds(fiberd.machine.run("getent", "passwd", "fiberd").stdout, "/usr/sbin/nologin")
    equal(fiberd.machine.run("stat", "-c", "%U %a", "/var/lib/fiberd", "/var/log/fiberd").stdout, "fiberd 750\nfiberd 750\n")
    equal(fiberd.machine.run("dpkg", "--verify", "fiberd").stdout, "")


def its_units_name_pages_that_are_there(fiberd):
    for unit in ("fiberd.service", "fiberd@two.service"):
        done = fiberd.machine.run("systemd-analyze", "verify", unit)
        equal(done.stdout + done.stderr, "")
    holds(fiberd.machine.run("man", "5", "fiberd.yaml").stdout, "runtime.gomaxprocs")


def an_upgrade_under_load_fails_no_request(fiberd):
    m = fiberd.machine
    m.write("/etc/fiberd/fiberd.yaml", MINE)
    m.write("/etc/fiberd/two.yaml", MINE.replace("8080", "8081").replace("/run/fiberd/", "/run/fiberd/two/").replace(
        "/var/log/fiberd/", "/var/log/fiberd/two/"))
    m.run("systemctl", "reload", "fiberd")
    m.run("systemctl", "start", "fiberd@two")
    equal(fiberd.ask(), "mine")
    before = [(fiberd.show("MainPID", unit), fiberd.show("InvocationID", unit)) for unit in ("fiberd", "fiberd@two")]
    load = subprocess.Popen(m.in_network(sys.executable, LOAD, "8080", "mine"), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            text=True)
    equal(load.stdout.readline(), "begun\n")
    try:
        equal(dpkg(fiberd, "-i", "/packages/fiberd.deb"), "")
        time.sleep(0.5)  # some requests more
    finally:
        out, _ = load.communicate("", timeout=60)
    counts = json.loads(out)
    equal((counts["refused"], counts["cut"]), (0, 0))
    assert counts["answered"] > 100, counts
    equal(m.run("dpkg-query", "-W", "-f", "${Version}", "fiberd").stdout, fiberd.version)
    # Of the new package's program, and not started anew: for systemd the service is the same one.
    for unit, (old, invocation) in zip(("fiberd", "fiberd@two"), before):
        pid = fiberd.show("MainPID", unit)
        assert pid not in ("0", old), f"{unit}: {old} became {pid}"
        equal(m.run("readlink", f"/proc/{pid}/exe").stdout, "/usr/bin/fiberd\n")
        equal(fiberd.show("InvocationID", unit), invocation)
    equal(m.run("head", "-n", "1", "/etc/fiberd/fiberd.yaml").stdout, "# mine\n")
    equal(fiberd.ask(port=8081), "mine")
    m.run("systemctl", "stop", "fiberd@two")


def logrotate_moves_what_is_written_on(fiberd):
    m = fiberd.machine
    log = "/var/log/fiberd/access.log"
    fiberd.ask("/before")
    m.await_("the line", lambda: "/before" in m.run("cat", log).stdout)
    done = m.run("logrotate", "--force", "/etc/logrotate.d/fiberd")
    equal(done.stdout + done.stderr, "")
    m.await_("a file that is opened anew", lambda: m.run("test", "-e", log, check=False).returncode == 0)
    fiberd.ask("/after")
    m.await_("the line", lambda: "/after" in m.run("cat", log).stdout)
    assert "/after" not in m.run("cat", log + ".1").stdout, "the old file is written on"
    equal(m.run("stat", "-c", "%U", log, log + ".1").stdout, "fiberd\nfiberd\n")


def where_nobody_can_be_asked_it_is_restarted(fiberd):
    fiberd.machine.write("/etc/fiberd/fiberd.yaml", MINE.replace("unix:/run/fiberd/admin.sock", "off"))
    fiberd.machine.run("systemctl", "restart", "fiberd")
    before = fiberd.show("MainPID")
    holds(dpkg(fiberd, "-i", "/packages/fiberd.deb"), "is restarted")
    assert fiberd.show("MainPID") not in ("0", before), "it was not"
    equal(fiberd.ask(), "mine")


def what_the_new_one_refuses_leaves_the_old_one_serving(fiberd):
    fiberd.machine.write("/etc/fiberd/fiberd.yaml", MINE)
    fiberd.machine.run("systemctl", "restart", "fiberd")
    before = fiberd.show("MainPID")
    fiberd.machine.write("/etc/fiberd/fiberd.yaml", MINE + "nonsense: 1\n")
    said = dpkg(fiberd, "-i", "/packages/fiberd.deb")
    holds(said, "goes on with the program before")
    holds(said, "nonsense")
    equal(fiberd.show("MainPID"), before)
    equal(fiberd.ask(), "mine")
    fiberd.machine.write("/etc/fiberd/fiberd.yaml", MINE)


def whose_configuration_a_drop_in_names_is_upgraded_in_place(fiberd):
    m = fiberd.machine
    m.write("/etc/fiberd/site.yaml", MINE.replace("/run/fiberd/admin.sock", "/run/fiberd/site.sock"))
    drop_in = "/etc/systemd/system/fiberd.service.d/site.conf"
    m.run("mkdir", "-p", os.path.dirname(drop_in))
    m.write(drop_in, "[Service]\nExecStart=\nExecStart=/usr/bin/fiberd run -c /etc/fiberd/site.yaml\n")
    m.run("systemctl", "daemon-reload")
    m.run("systemctl", "restart", "fiberd")
    before, invocation = fiberd.show("MainPID"), fiberd.show("InvocationID")
    equal(dpkg(fiberd, "-i", "/packages/fiberd.deb"), "")
    assert fiberd.show("MainPID") not in ("0", before), "it was not"
    equal(fiberd.show("InvocationID"), invocation)
    m.run("rm", "-r", os.path.dirname(drop_in), "/etc/fiberd/site.yaml")
    m.run("systemctl", "daemon-reload")
    m.run("systemctl", "restart", "fiberd")


def what_policy_forbids_is_not_done(fiberd):
    fiberd.machine.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n")
    fiberd.machine.run("chmod", "755", "/usr/sbin/policy-rc.d")
    before = fiberd.show("MainPID")
    equal(dpkg(fiberd, "-i", "/packages/fiberd.deb"), "")
    fiberd.machine.run("rm", "/usr/sbin/policy-rc.d")
    equal(fiberd.show("MainPID"), before)
    equal(fiberd.ask(), "mine")


def what_was_stopped_and_disabled_stays_so(fiberd):
    fiberd.machine.run("systemctl", "disable", "--now", "fiberd")
    equal(dpkg(fiberd, "-i", "/packages/fiberd.deb"), "")
    equal((fiberd.show("ActiveState"), enabled(fiberd)), ("inactive", "disabled"))
    fiberd.machine.run("systemctl", "enable", "--now", "fiberd")
    equal(fiberd.ask(), "mine")


def a_removal_stops_it_and_keeps_what_is_the_administrator_s(fiberd):
    m = fiberd.machine
    equal(dpkg(fiberd, "-r", "fiberd"), "")
    equal(fiberd.ask(), "")
    equal(m.run("pgrep", "-x", "fiberd", check=False).stdout, "")
    for kept in ("/etc/fiberd/fiberd.yaml", "/var/log/fiberd/access.log", "/var/lib/fiberd"):
        m.run("test", "-e", kept)
    # And it is there again.
    equal(dpkg(fiberd, "-i", "/packages/fiberd.deb"), "")
    equal((fiberd.ask(), enabled(fiberd)), ("mine", "enabled"))


def a_purge_leaves_nothing(fiberd):
    m = fiberd.machine
    m.run("rm", "/etc/fiberd/two.yaml")  # the administrator's own
    equal(dpkg(fiberd, "-P", "fiberd"), "")

    def left():
        kept = "( -path /proc -o -path /sys -o -path /packages ) -prune -o -name *fiberd* -print".split()
        return (m.run("find", "/", "-xdev", *kept).stdout + m.run("find", "/run", "-name", "*fiberd*").stdout +
                m.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "fiberd*").stdout)
    try:  # systemd forgets a unit when it comes to it
        m.await_("the end of all of it", lambda: left() == "", within=30)
    except AssertionError:
        equal(left(), "")
    # The user stays, as Debian's do, and nobody logs in as it.
    holds(m.run("getent", "passwd", "fiberd").stdout, "/usr/sbin/nologin")


BOOTED = [what_is_installed_serves, its_units_name_pages_that_are_there, an_upgrade_under_load_fails_no_request,
          logrotate_moves_what_is_written_on, where_nobody_can_be_asked_it_is_restarted,
          what_the_new_one_refuses_leaves_the_old_one_serving, whose_configuration_a_drop_in_names_is_upgraded_in_place,
          what_policy_forbids_is_not_done, what_was_stopped_and_disabled_stays_so,
          a_removal_stops_it_and_keeps_what_is_the_administrator_s, a_purge_leaves_nothing]


def try_case(case, subject, more=lambda: ""):
    began = time.monotonic()
    try:
        case(subject)
    except (AssertionError, AttributeError, OSError, subprocess.SubprocessError) as error:
        print(f"FAIL {case.__name__}: {error}\n{traceback.format_exc()}{more()}", flush=True)
        return False
    print(f"ok   {case.__name__} ({time.monotonic() - began:.1f} s)", flush=True)
    return True


def in_a_machine(packages, outcomes):
    with booted.Machine(sys.argv[3], booted.service_packages(source)) as machine:
        before = packages.as_version("fiberd", "0.0.1~before")
        machine.install(before, "/packages/before.deb")
        machine.install(packages.files["fiberd"], "/packages/fiberd.deb")
        machine.boot()
        fiberd = Fiberd(machine)
        fiberd.version = packages.field("fiberd", "Version")
        journal = lambda: machine.run("journalctl", "-n", "60", "--no-pager", check=False).stdout  # noqa: E731
        for case in BOOTED:
            outcomes.append(try_case(case, fiberd, journal))


def main():
    for needed in ("dpkg-deb", "dpkg-shlibdeps", "strip"):
        if shutil.which(needed) is None:
            print(f"skipped: no {needed}: apt-get install dpkg-dev binutils\n0 passed, 0 failed")
            return 77
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="fiberd-packages-") as directory:
        packages = Packages(sys.argv[4], build, directory)
        with concurrent.futures.ThreadPoolExecutor() as beside:
            # What asks the packages alone runs beside the machine, which mostly waits.
            alone = [beside.submit(try_case, case, packages) for case in ALONE]
            try:
                in_a_machine(packages, outcomes)
            except booted.Skip as why:
                print(f"skipped, what needs a booted machine: {why}")
        outcomes += [a.result() for a in alone]
    print(f"{outcomes.count(True)} passed, {outcomes.count(False)} failed")
    return 0 if all(outcomes) else 1


sys.exit(main())
