"""A cgroup with a CPU quota, made below this process's own."""
import os
import sys
import time

PERIOD_US = 20_000


class Cgroup:
    """So much of a core for who is put into it. Version 1 or 2, whichever has the cpu controller."""

    def __init__(self, cores):
        self.quota = int(PERIOD_US * cores)
        own = {}
        with open("/proc/self/cgroup") as f:
            for line in f:
                _, controllers, path = line.rstrip("\n").split(":", 2)
                for c in controllers.split(","):
                    own[c] = path  # "" stands for version 2
        mounts = {}
        with open("/proc/self/mounts") as f:
            for line in f:
                _, where, kind, options = line.split()[:4]
                if kind == "cgroup" and "cpu" in options.split(","):
                    mounts["cpu"] = where
                elif kind == "cgroup2":
                    mounts[""] = where
        problems = []
        for version, key in ((1, "cpu"), (2, "")):
            if key not in own or key not in mounts:
                problems.append(f"version {version}: no cpu controller is mounted")
                continue
            # Inside a container the path may be told as seen from outside.
            parent = mounts[key] + own[key]
            if not os.path.isdir(parent):
                parent = mounts[key]
            # Version 2 lets a cgroup have processes or controlled children, not both: a sibling serves as well.
            for base in [parent] if version == 1 else [parent, os.path.dirname(parent)]:
                try:
                    self.make(version, os.path.join(base, f"attackers-{os.getpid()}"))
                    return
                except OSError as e:
                    problems.append(f"version {version}, below {base}: {e}")
        sys.exit("no cgroup with a CPU quota can be had for the attackers, and without one they would only "
                 "measure the machine; run as root.\n  " + "\n  ".join(problems))

    def make(self, version, path):
        os.mkdir(path)
        try:
            if version == 1:
                self.write(path, "cpu.cfs_period_us", PERIOD_US)
                self.write(path, "cpu.cfs_quota_us", self.quota)
            else:
                if not os.path.exists(os.path.join(path, "cpu.max")):
                    self.write(os.path.dirname(path), "cgroup.subtree_control", "+cpu")
                self.write(path, "cpu.max", f"{self.quota} {PERIOD_US}")
        except OSError:
            os.rmdir(path)
            raise
        self.path = path
        self.procs = os.path.join(path, "cgroup.procs")

    @staticmethod
    def write(path, name, value):
        # Not created where there is no such file: the directory is not a cgroup then.
        fd = os.open(os.path.join(path, name), os.O_WRONLY)
        try:
            os.write(fd, str(value).encode())
        finally:
            os.close(fd)

    def remove(self):
        for _ in range(50):
            try:
                os.rmdir(self.path)
                return
            except OSError:
                time.sleep(0.1)  # the last attacker is being reaped
