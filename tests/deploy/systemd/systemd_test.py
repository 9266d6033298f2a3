#!/usr/bin/env python3
"""fiberd as a service of a systemd that is really booted: its units, start and failed start, reload, watchdog, drain,
crash, restart under load, sockets and upgrades (sockets.py), the journal's fields, what the hardened unit still lets
fiberd do. Ends on "N passed, M failed"; exit code 77: it cannot be tried here.

usage: systemd_test.py SOURCE_DIR CACHE_DIR FIBERD STUCK [CASE…]
"""

import json
import pathlib
import subprocess
import sys
import time
import traceback

source = pathlib.Path(sys.argv[1])
sys.path.insert(0, str(source / "tests/deploy/support"))
import booted  # noqa: E402
import quota  # noqa: E402
import sockets  # noqa: E402
from service import CONFIG, Fiberd, equal, holds  # noqa: E402

HERE = source / "tests/deploy/systemd"
UNITS = source / "deploy/systemd"

STUCK_CONFIG = """
admin: {address: "unix:/run/fiberd/admin.sock"}
listeners:
  - name: web
    address: "127.0.0.1:8080"
    http: {routes: [{path: /, respond: {body: stuck}}, {path: /wedge, handler: wedge}]}
"""


def units_are_clean_and_hardened(fiberd):
    m = fiberd.machine
    for unit in ("fiberd.service", "fiberd@two.service"):
        done = m.run("systemd-analyze", "verify", "--man=no", unit)
        equal(done.stdout + done.stderr, "")
        m.run("systemd-analyze", "security", "--threshold=15", unit)
    for name in ("privileged-ports.conf", "dynamic-user.conf"):
        fiberd.drop_in((UNITS / name).read_text(), name)
        m.run("systemd-analyze", "security", "--threshold=15", "fiberd.service")
        m.run("rm", f"/etc/systemd/system/fiberd.service.d/{name}")
    # The template is the unit but for what is named by the instance.
    plain = (UNITS / "fiberd.service").read_text().splitlines()
    template = (UNITS / "fiberd@.service").read_text().splitlines()
    equal(len(plain), len(template))
    for a, b in zip(plain, template):
        assert a == b or "%i" in b or a.startswith("#"), f"{a!r} became {b!r}"


def its_example_serves(fiberd):
    fiberd.machine.install(UNITS / "fiberd.yaml", "/etc/fiberd/fiberd.yaml")
    fiberd.start()
    equal(fiberd.ask(), "Hello, World!\n")


def start_serves_and_says_so(fiberd):
    cursor = fiberd.cursor()
    fiberd.start()
    equal(fiberd.ask(), "hello")  # the first one: READY means that it serves
    equal(fiberd.show("SubState"), "running")
    holds(fiberd.show("StatusText"), "serving")
    fiberd.machine.await_("the rate", lambda: "requests/s" in fiberd.show("StatusText"))
    holds(fiberd.show("StatusText"), "connections")
    equal(fiberd.machine.run("stat", "-c", "%U %a", "/run/fiberd", "/var/lib/fiberd").stdout,
          "fiberd 755\nfiberd 750\n")
    started = [e for e in fiberd.journal(cursor, _TRANSPORT="journal") if "started: GOMAXPROCS=" in e["MESSAGE"]]
    equal(len(started), 1)
    assert started[0]["MESSAGE"].startswith("fiberd "), started[0]["MESSAGE"]  # no second time stamp
    equal(started[0]["PRIORITY"], "6")
    equal(started[0]["SYSLOG_IDENTIFIER"], "fiberd")
    equal(started[0]["CODE_FILE"], "daemon/process.cpp")
    # Where that line is logged; compilers name another line of a call that has several.
    at = int(started[0]["CODE_LINE"])
    logged_by = (source / "daemon/process.cpp").read_text().splitlines()[max(0, at - 4):at + 3]
    holds("\n".join(logged_by), "started: GOMAXPROCS=")
    holds(started[0]["CODE_FUNC"], "Process::")
    equal(started[0]["FIBERD_MODULE"], "daemon")
    equal(fiberd.journal(cursor, _TRANSPORT="stdout"), [])  # nothing is said twice


def a_failed_start_is_not_repeated(fiberd):
    for text, port_taken, status in (("listeners: 7\n", False, "2"), (CONFIG, True, "3")):
        fiberd.reset()
        fiberd.config(text)
        cursor = fiberd.cursor()
        other = None
        if port_taken:
            other = subprocess.Popen(fiberd.machine.in_network(sys.executable, "-c", (
                "import socket,sys; s=socket.create_server(('127.0.0.1', 8080)); print('bound', flush=True);"
                "sys.stdin.read()")), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            equal(other.stdout.readline(), "bound\n")
        try:
            done = fiberd.machine.run("systemctl", "start", "fiberd", check=False)
            assert done.returncode != 0, "it is said to have started"
            time.sleep(1.5)  # RestartSec= and some: nothing is to happen
            equal(fiberd.show("ActiveState"), "failed")
            equal(fiberd.show("ExecMainStatus"), status)
            equal(fiberd.show("NRestarts"), "0")
            assert fiberd.journal(cursor, SYSLOG_IDENTIFIER="fiberd", PRIORITY="3"), fiberd.journal(cursor)
        finally:
            if other is not None:
                other.communicate()


def reloads_good_and_bad(fiberd):
    fiberd.start()
    m = fiberd.machine
    fiberd.config(body="changed")
    m.run("systemctl", "reload", "fiberd")
    equal(fiberd.ask(), "changed")
    holds(fiberd.show("StatusText"), "reloaded at")
    cursor = fiberd.cursor()
    fiberd.config(CONFIG + "nonsense: 1\n")
    done = m.run("systemctl", "reload", "fiberd", check=False)
    assert done.returncode != 0, "a bad configuration is said to have been loaded"
    equal(fiberd.ask(), "changed")
    holds(fiberd.show("StatusText"), "reload refused at")
    holds(fiberd.show("StatusText"), "nonsense")
    equal(fiberd.show("SubState"), "running")
    refused = [e for e in fiberd.journal(cursor, _TRANSPORT="journal") if "reload refused" in e["MESSAGE"]]
    equal([e["PRIORITY"] for e in refused], ["3"])
    # By a signal systemd is told, too.
    fiberd.config(body="again")
    m.run("systemctl", "kill", "-s", "HUP", "--kill-who=main", "fiberd")
    m.await_("the reload", lambda: fiberd.ask() == "again")
    m.await_("the end of the reload", lambda: fiberd.show("SubState") == "running")


def a_listener_s_lines_name_it(fiberd):
    fiberd.start()
    cursor = fiberd.cursor()
    fiberd.config(CONFIG + "  - {name: more, address: \"unix:/run/fiberd/more.sock\", tcp: {echo: {}}}\n")
    fiberd.machine.run("systemctl", "reload", "fiberd")
    fiberd.machine.run("rm", "/run/fiberd/more.sock")
    fiberd.machine.run("systemctl", "reload", "fiberd")
    named = fiberd.journal(cursor, FIBERD_LISTENER="more")
    assert named and named[0]["PRIORITY"] == "4", named


def a_wedged_one_is_restarted_with_a_dump(fiberd):
    fiberd.config(STUCK_CONFIG)
    fiberd.drop_in("[Service]\nExecStart=\nExecStart=/usr/bin/stuck -c /etc/fiberd/fiberd.yaml\nWatchdogSec=5s\n")
    cursor = fiberd.cursor()
    fiberd.start()
    before = fiberd.show("MainPID")
    time.sleep(7)  # longer than the watchdog: it is fed
    equal(fiberd.show("MainPID"), before)
    fiberd.machine.run("curl", "-s", "-m", "1", "http://127.0.0.1:8080/wedge", check=False)
    fiberd.restarted(1)
    equal(fiberd.ask(), "stuck")
    text = "\n".join(e["MESSAGE"] for e in fiberd.journal(cursor) if isinstance(e["MESSAGE"], str))
    for what in ("Processors take up no fiber", "Watchdog timeout", "SIGABRT: all fibers", "[running, pinned, on thread",
                 "main::{lambda", "status=6/ABRT"):
        holds(text, what)
    assert text.index("SIGABRT: all fibers") < text.index("status=6/ABRT"), "the dump came late"


def a_stop_drains_and_is_waited_for(fiberd):
    fiberd.drop_in("[Service]\nTimeoutStopSec=3s\n")
    fiberd.start()
    upload = subprocess.Popen(fiberd.machine.in_network(sys.executable, HERE / "upload.py", "8080"),
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    equal(upload.stdout.readline(), "begun\n")
    cursor = fiberd.cursor()
    fiberd.machine.run("systemctl", "stop", "--no-block", "fiberd")
    fiberd.machine.await_("the word that it stops", lambda: "stopping" in fiberd.show("StatusText"))
    time.sleep(4)  # longer than TimeoutStopSec=, and not so long that the upload is too slow
    equal(fiberd.show("ActiveState"), "deactivating")
    answer, _ = upload.communicate("go on\n", timeout=120)
    equal(answer, "first-last\n")
    fiberd.machine.await_("the end of the stop", lambda: fiberd.show("ActiveState") == "inactive")
    equal(fiberd.show("Result"), "success")
    messages = [e["MESSAGE"] for e in fiberd.journal(cursor)]
    assert "stopped" in messages, messages


def a_crash_is_followed_by_a_start(fiberd):
    fiberd.start()
    for times, signal in ((1, "SEGV"), (2, "KILL")):
        fiberd.machine.run("systemctl", "kill", "--kill-who=main", "-s", signal, "fiberd")
        fiberd.restarted(times)
        equal(fiberd.ask(), "hello")


def a_restart_under_load_cuts_no_answer(fiberd):
    """Nor is anybody refused: the unit has its sockets kept. Answers are under way that no socket buffer holds: who is
    stopped without a drain cuts them."""
    m = fiberd.machine
    size, ending = 32 << 20, "the end"
    m.write("/srv/www/large", "")
    with open(m.root / "srv/www/large", "r+b") as file:
        file.truncate(size - len(ending))
        file.seek(0, 2)
        file.write(ending.encode())
    fiberd.config(CONFIG.replace("/echo, echo: {}", "/*, files: {root: /srv/www}"))
    fiberd.start()
    m.await_("the store", lambda: fiberd.show("NFileDescriptorStore") == "2")
    with sockets.Load(m):
        for _ in range(3):
            answers = subprocess.Popen(m.in_network(sys.executable, HERE / "download.py", "8080", str(size), ending),
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            equal(answers.stdout.readline(), "begun\n")
            before = fiberd.show("MainPID")
            m.run("systemctl", "restart", "--no-block", "fiberd")
            m.await_("the stop", lambda: "stopping" in fiberd.show("StatusText") or fiberd.show("MainPID") != before)
            out, _ = answers.communicate("go on\n", timeout=120)
            equal(json.loads(out)["cut"], 0)
            m.await_("the next one", lambda: fiberd.show("MainPID") not in (before, "0")
                     and fiberd.show("SubState") == "running")


def a_restart_that_fails_keeps_no_socket(fiberd):
    """Who connects then is refused, and does not wait for nobody."""
    fiberd.start()
    fiberd.machine.await_("the store", lambda: fiberd.show("NFileDescriptorStore") == "2")
    fiberd.config("listeners: 7\n")
    assert fiberd.machine.run("systemctl", "restart", "fiberd", check=False).returncode != 0
    equal(fiberd.show("ActiveState"), "failed")
    equal(fiberd.show("NFileDescriptorStore"), "0")
    equal(fiberd.machine.run("curl", "-s", "-m", "10", "http://127.0.0.1:8080/", check=False).returncode, 7)


def the_hardened_unit_lets_fiberd_look_into_itself(fiberd):
    fiberd.start()
    fiberd.admin("/debug/leaks?debug=2")
    for page in ("/debug/pprof/profile?seconds=1", "/debug/pprof/heap", "/debug/trace"):
        fiberd.admin(page, "-o", "/dev/null")
    holds(fiberd.admin("/debug/trim", "-X", "POST"), "resident")
    fiberd.admin("/metrics")
    pid = fiberd.show("MainPID")
    status = fiberd.machine.run("cat", f"/proc/{pid}/status").stdout
    for line in ("Seccomp:\t2", "NoNewPrivs:\t1", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000"):
        holds(status, line)


def a_port_below_1024_needs_its_drop_in(fiberd):
    fiberd.config(CONFIG.replace("127.0.0.1:8080", "127.0.0.1:80"))
    cursor = fiberd.cursor()
    assert fiberd.machine.run("systemctl", "start", "fiberd", check=False).returncode != 0
    equal(fiberd.show("ExecMainStatus"), "3")
    holds("\n".join(e["MESSAGE"] for e in fiberd.journal(cursor)), "CAP_NET_BIND_SERVICE")
    fiberd.machine.run("systemctl", "reset-failed", "fiberd")
    fiberd.drop_in((UNITS / "privileged-ports.conf").read_text(), "privileged-ports.conf")
    fiberd.start()
    equal(fiberd.ask(port=80), "hello")


def instances_run_beside_each_other(fiberd):
    fiberd.start()
    fiberd.machine.write("/etc/fiberd/two.yaml", CONFIG.replace("BODY", "two").replace("8080", "8081").replace(
        "/run/fiberd/", "/run/fiberd/two/"))
    fiberd.machine.run("systemctl", "start", "fiberd@two")
    try:
        equal(fiberd.ask(port=8081), "two")
        equal(fiberd.ask(), "hello")
        fiberd.machine.run("systemctl", "reload", "fiberd@two")
        # The one's directory is not the other's to take along.
        fiberd.machine.run("systemctl", "stop", "fiberd")
        fiberd.machine.run("systemctl", "reload", "fiberd@two")
        equal(fiberd.ask(port=8081), "two")
    finally:
        fiberd.machine.run("systemctl", "stop", "fiberd@two")


def a_dynamic_user_keeps_its_state(fiberd):
    fiberd.machine.run("rm", "-rf", "/var/lib/fiberd", "/var/log/fiberd", "/run/fiberd")
    fiberd.drop_in((UNITS / "dynamic-user.conf").read_text(), "dynamic-user.conf")
    fiberd.start()
    equal(fiberd.ask(), "hello")
    equal(fiberd.machine.run("readlink", "/var/lib/fiberd").stdout.strip(), "private/fiberd")
    uid = int(fiberd.machine.run("stat", "-c", "%u", f"/proc/{fiberd.show('MainPID')}").stdout)
    assert 61184 <= uid <= 65519, uid


CASES = [
    units_are_clean_and_hardened, its_example_serves, start_serves_and_says_so, a_failed_start_is_not_repeated, reloads_good_and_bad,
    a_listener_s_lines_name_it, a_wedged_one_is_restarted_with_a_dump, a_stop_drains_and_is_waited_for,
    a_crash_is_followed_by_a_start, a_restart_under_load_cuts_no_answer, a_restart_that_fails_keeps_no_socket, *quota.CASES,
    the_hardened_unit_lets_fiberd_look_into_itself,
    a_port_below_1024_needs_its_drop_in, instances_run_beside_each_other, *sockets.CASES,
    a_dynamic_user_keeps_its_state,  # it leaves /run/fiberd as a link into /run/private: the last
]


def try_case(fiberd, case):
    began = time.monotonic()
    try:
        fiberd.reset()
        case(fiberd)
    except (AssertionError, subprocess.SubprocessError) as error:
        print(f"FAIL {case.__name__}: {error}")
        traceback.print_exc(file=sys.stdout)
        print(fiberd.machine.run("journalctl", "-n", "60", "--no-pager", check=False).stdout, flush=True)
        return False
    print(f"ok   {case.__name__} ({time.monotonic() - began:.1f} s)", flush=True)
    return True


def main():
    cache, binary, stuck = sys.argv[2:5]
    try:
        with booted.Machine(cache, booted.service_packages(source)) as machine:
            machine.install(binary, "/usr/bin/fiberd", 0o755)
            machine.install(stuck, "/usr/bin/stuck", 0o755)
            for unit in ("fiberd.service", "fiberd@.service"):
                machine.install(UNITS / unit, f"/usr/lib/systemd/system/{unit}")
            machine.install(UNITS / "fiberd.sysusers", "/usr/lib/sysusers.d/fiberd.conf")
            machine.install(UNITS / "fiberd.tmpfiles", "/usr/lib/tmpfiles.d/fiberd.conf")
            machine.install(UNITS / "fiberd.yaml", "/etc/fiberd/fiberd.yaml")
            machine.boot()
            machine.run("systemd-sysusers")
            machine.run("systemd-tmpfiles", "--create", "fiberd.conf")
            fiberd = Fiberd(machine)
            wanted = [c for c in CASES if len(sys.argv) == 5 or c.__name__ in sys.argv[5:]]
            outcomes = [try_case(fiberd, case) for case in wanted]
    except booted.Skip as why:
        print(f"skipped: {why}\n0 passed, 0 failed")
        return 77
    print(f"{outcomes.count(True)} passed, {outcomes.count(False)} failed")
    return 0 if all(outcomes) else 1


sys.exit(main())
