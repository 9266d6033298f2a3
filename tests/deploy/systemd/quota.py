"""CPUQuota= of the unit: GOMAXPROCS follows it, and the log says what it came of."""

import os
import re

from service import holds


def _limit(fiberd, percent):
    """Of the unit, by systemd; where its controller is not systemd's (version 1, in a machine like this one), of the whole
    machine, by hand. False: not to be had."""
    m = fiberd.machine
    fiberd.drop_in(f"[Service]\nCPUQuota={percent}%\n", "quota.conf")
    if fiberd.show("ActiveState") != "active":
        fiberd.start()
    paths = m.run("cat", f"/proc/{fiberd.show('MainPID')}/cgroup").stdout
    own = re.search(r"^0::(\S+)$", paths, re.M)
    for root in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified") if own else ():
        if m.run("cat", f"{root}{own[1]}/cpu.max", check=False).stdout.startswith(f"{percent * 1000} "):
            return True
    if not (m.cpu / "cpu.cfs_quota_us").exists():
        return False
    (m.cpu / "cpu.cfs_quota_us").write_text(str(percent * 1000))
    fiberd.machine.run("systemctl", "restart", "fiberd")
    return True


def a_quota_is_what_gomaxprocs_is_said_to_come_of(fiberd):
    m = fiberd.machine
    cpus = len(os.sched_getaffinity(0))
    cursor = fiberd.cursor()
    try:
        if not _limit(fiberd, 150):
            print("     no CPU controller in the booted machine: not tried")
            return
        started = [e["MESSAGE"] for e in fiberd.journal(cursor, _TRANSPORT="journal") if "started: " in e["MESSAGE"]]
        if cpus > 2:
            holds(started[-1], "GOMAXPROCS=2 (cgroup quota 1.50)")
        elif cpus == 2:
            holds(started[-1], "GOMAXPROCS=2 (affinity; cgroup quota 1.50, rounded up, is as many)")
        # A machine of one CPU knows nothing better than to be of one.
        cursor = fiberd.cursor()
        assert _limit(fiberd, 50)
        if cpus > 1:
            m.await_("the smaller one", lambda: any(
                "GOMAXPROCS=1 (cgroup quota 0.50)" in e["MESSAGE"] for e in fiberd.journal(cursor, _TRANSPORT="journal")))
    finally:
        if (m.cpu / "cpu.cfs_quota_us").exists():
            (m.cpu / "cpu.cfs_quota_us").write_text("-1")


CASES = [a_quota_is_what_gomaxprocs_is_said_to_come_of]
