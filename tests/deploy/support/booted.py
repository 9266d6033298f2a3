"""A Debian 12 that is booted: systemd as PID 1 in namespaces of its own, on a copy of a cached root.

    with booted.Machine(cache, packages) as machine:
        machine.install(...)            # files, before or after boot()
        machine.boot()
        machine.run("systemctl", "start", "fiberd")

Needs root, namespaces, debootstrap and systemd-nspawn; what is missing is a Skip that says so.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

from waiting import eventually

HERE = pathlib.Path(__file__).resolve().parent


class Skip(Exception):
    """It cannot be tried here, and why."""


def service_packages(source):
    """What fiberd's service and its tests need in the root: one list, so that one cached root serves them all."""
    listed = subprocess.run([pathlib.Path(source) / "deploy/install-packages", "--list", "runtime"], capture_output=True,
                            text=True, check=True)
    return [*listed.stdout.split(), "curl", "logrotate", "man-db", "prometheus", "prometheus-alertmanager"]


def _need(what, command):
    if shutil.which(command) is None:
        raise Skip(f"no {command}: apt-get install {what}")


class Machine:
    BASE = ["dbus", "libnss-systemd", "procps", "iproute2", "systemd", "systemd-sysv"]

    def __init__(self, cache, packages):
        if os.geteuid() != 0:
            raise Skip("only root boots one")
        _need("systemd-container", "systemd-nspawn")
        _need("util-linux", "nsenter")
        if subprocess.run(["unshare", "-m", "-u", "-i", "-p", "-n", "-f", "true"], capture_output=True).returncode != 0:
            raise Skip("no namespaces: a container without CAP_SYS_ADMIN?")
        self.cache = pathlib.Path(cache)
        made = subprocess.run([HERE / "make-root", self.cache, *self.BASE, *packages], stderr=subprocess.PIPE, text=True)
        if made.returncode != 0:
            raise Skip(made.stderr.strip() or "make-root failed")
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="fiberd-root-"))
        self.console = open(self.root.with_suffix(".console"), "w+", encoding="utf-8", errors="replace")
        self.cpu = pathlib.Path("/sys/fs/cgroup/cpu", self.root.name)
        self.nspawn = None
        self.init = None

    def __enter__(self):
        subprocess.run(["cp", "-a", "--reflink=auto", f"{self.cache}/.", self.root], check=True)
        # Packages enable what they bring, and a first boot does again. Here it is started by who wants it, and else in
        # nobody's way.
        for wanted in self.root.glob("etc/systemd/system/multi-user.target.wants/prometheus*"):
            wanted.unlink()
        self.write("/etc/systemd/system-preset/00-test.preset", "disable prometheus*\n")
        return self

    def __exit__(self, *_):
        self.power_off()
        self._remove_cpu()
        shutil.rmtree(self.root, ignore_errors=True)
        self.console.close()
        os.unlink(self.console.name)

    # -- files

    def install(self, source, to, mode=0o644):
        target = self.root / to.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(mode)

    def write(self, to, text):
        """Replaced as a whole, as an editor does it."""
        target = self.root / to.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_name(target.name + ".new")
        fresh.write_text(text, encoding="utf-8")
        fresh.rename(target)

    # -- life

    def boot(self, within=180):
        (self.root / "etc/machine-id").write_text("uninitialized\n")
        # The host's /run is not to be seen by nspawn, which would register there. A control group of its own, where there
        # is version 1 of them: nspawn does not let its systemd have that controller.
        script = ('if mkdir "$1"; then echo $$ > "$1/cgroup.procs"; fi 2> /dev/null; '
                  "mount --make-rprivate / && mount -t tmpfs tmpfs /run && exec systemd-nspawn -q --register=no "
                  '--keep-unit --private-network --resolv-conf=off --console=pipe --boot -D "$0"')
        self.nspawn = subprocess.Popen(["unshare", "-m", "sh", "-c", script, self.root, self.cpu], stdin=subprocess.DEVNULL,
                                       stdout=self.console, stderr=subprocess.STDOUT, start_new_session=True)
        until = time.monotonic() + within
        while time.monotonic() < until:
            if self.nspawn.poll() is not None:
                raise Skip("systemd does not boot here: " + self.said()[-2000:])
            self.init = self.init or self._find_init()
            if self.init and self.run("systemctl", "is-system-running", check=False).stdout.strip() in ("running",
                                                                                                        "degraded"):
                return
            time.sleep(0.1)
        raise AssertionError("systemd has not come up: " + self.said()[-2000:])

    def _find_init(self):
        children = pathlib.Path(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children")
        try:
            for child in children.read_text().split():
                if pathlib.Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    return int(child)
        except OSError:
            pass
        return None

    def _remove_cpu(self):
        """Its group with those in it, once its processes have ended."""
        until = time.monotonic() + 10
        while self.cpu.exists() and time.monotonic() < until:
            for group, _, _ in os.walk(self.cpu, topdown=False):
                try:
                    os.rmdir(group)
                except OSError:
                    time.sleep(0.1)

    def said(self):
        self.console.flush()
        return pathlib.Path(self.console.name).read_text(errors="replace")

    def power_off(self):
        """At once: nothing in there is kept."""
        if self.nspawn is None or self.nspawn.poll() is not None:
            return
        if self.init:
            os.kill(self.init, signal.SIGKILL)
        try:
            self.nspawn.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.nspawn.pid, signal.SIGKILL)
            self.nspawn.wait(10)

    # -- commands in it

    def command(self, *arguments):
        return ["nsenter", "-t", str(self.init), "-m", "-u", "-i", "-p", "-C", "-n", "--", *arguments]

    def run(self, *arguments, check=True, within=120, **more):
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True, errors="replace", timeout=within,
                              check=False, **more)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(arguments)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def in_network(self, *arguments):
        """A command of the host's files, in this machine's network."""
        return ["nsenter", "-t", str(self.init), "-n", "--", *arguments]

    def await_(self, what, condition, within=120):
        return eventually(what, condition, within)
