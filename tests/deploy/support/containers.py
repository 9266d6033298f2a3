"""Containers for tests: podman and buildah with a storage, a configuration and a base image of their own.

Nothing of the machine's own containers is seen or touched. Images are made from a small Debian 12 (by debootstrap, or the
archive that FIBERD_BASE_TAR names) and the binary that was built beside the tests; networks are the loopback of the
container's own namespace, which the test enters. Who cannot run them here (no root, no podman) skips: exit code 77.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

from waiting import eventually

SOURCE = pathlib.Path(__file__).resolve().parents[3]
BASE = SOURCE / "build/deploy/base.tar"
SKIP = 77


def skip(why):
    print(f"skipped: {why}", flush=True)
    sys.exit(SKIP)


def need(*programs):
    if os.geteuid() != 0:
        skip("containers are made by root here")
    missing = [p for p in programs if shutil.which(p) is None]
    if missing:
        skip(f"{', '.join(missing)} not installed: deploy/install-packages deploy")


def run(*command, check=True, timeout=300, stdin=None, env=None):
    done = subprocess.run(
        [str(c) for c in command], capture_output=True, text=True, timeout=timeout, input=stdin, env=env, check=False
    )
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: {done.returncode}\n{done.stdout}\n{done.stderr}"[-4000:])
    return done


def make_base(tarball):
    """A small Debian 12 as an archive, with this machine's mirror and apt settings (a proxy, say); kept for the next
    time. Nothing half made is left behind."""
    if shutil.which("debootstrap") is None:
        skip("nothing to build on: FIBERD_BASE_TAR, or deploy/install-packages deploy")
    sources = pathlib.Path("/etc/apt/sources.list.d/debian.sources")
    mirror = "http://deb.debian.org/debian"
    if sources.exists():
        mirror = re.search(r"^URIs:\s*(\S+)", sources.read_text(), re.M)[1]
    tarball.parent.mkdir(parents=True, exist_ok=True)
    root = pathlib.Path(tempfile.mkdtemp(prefix="fiberd-base-", dir="/var/tmp"))
    try:
        made = run("debootstrap", "--variant=minbase", "bookworm", root, mirror, check=False, timeout=900)
        if made.returncode != 0:
            skip(f"no Debian to build on, debootstrap failed: {made.stdout[-500:]}")
        if sources.exists():
            shutil.copy(sources, root / "etc/apt/sources.list.d/")
            (root / "etc/apt/sources.list").write_text("")
        for setting in pathlib.Path("/etc/apt/apt.conf.d").glob("*"):
            shutil.copy(setting, root / "etc/apt/apt.conf.d/")
        run("chroot", root, "apt-get", "clean")
        shutil.rmtree(root / "var/lib/apt/lists", ignore_errors=True)
        fresh = tarball.with_suffix(f".{os.getpid()}")
        run("tar", "--numeric-owner", "--one-file-system", "-C", root, "-cf", fresh, ".")
        fresh.rename(tarball)
    finally:
        run("umount", "-l", root / "proc", check=False)
        shutil.rmtree(root, ignore_errors=True)


class Tests:
    """Runs functions one after the other, and ends on the line that run-tests counts."""

    def __init__(self):
        self.passed = self.failed = 0

    def run(self, function, *arguments):
        began = time.monotonic()
        try:
            function(*arguments)
        except Exception as error:  # pylint: disable=broad-except
            self.failed += 1
            print(f"FAILED {function.__name__}: {type(error).__name__}: {error}", flush=True)
        else:
            self.passed += 1
            print(f"ok {function.__name__} ({time.monotonic() - began:.1f} s)", flush=True)

    def end(self):
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        return 1 if self.failed or not self.passed else 0


class Engine:
    def __init__(self):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="fiberd-containers-", dir="/var/tmp"))
        (self.home / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{self.home}/graph"\nrunroot = "{self.home}/run"\n'
        )
        # runc, and no systemd: so it works in a container, too. Limits that a container of the test itself may set.
        (self.home / "containers.conf").write_text(
            '[containers]\ndefault_ulimits = ["nofile=16384:16384", "nproc=4096:4096"]\nlog_driver = "k8s-file"\n'
            '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
            '[network]\nnetwork_backend = "netavark"\n'
        )
        self.env = dict(
            os.environ,
            CONTAINERS_CONF=str(self.home / "containers.conf"),
            CONTAINERS_STORAGE_CONF=str(self.home / "storage.conf"),
            BUILDAH_ISOLATION="chroot",
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.podman("pod", "rm", "-fa", "-t", "0", check=False)
        self.podman("rm", "-fa", "-t", "0", check=False)
        self.podman("rmi", "-fa", check=False)
        for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
            where = line.split()[1]
            if where.startswith(str(self.home)):
                run("umount", "-l", where, check=False)
        shutil.rmtree(self.home, ignore_errors=True)

    def podman(self, *arguments, **how):
        return run("podman", *arguments, env=self.env, **how)

    def buildah(self, *arguments, **how):
        return run("buildah", *arguments, env=self.env, **how)

    def import_base(self):
        """debian:bookworm-slim, or what stands for it; its name."""
        name = "localhost/fiberd-base:test"
        tarball = os.environ.get("FIBERD_BASE_TAR")
        if tarball:
            self.podman("import", "-q", tarball, name)
            return name
        if not BASE.exists():
            make_base(BASE)
        self.podman("import", "-q", BASE, name)
        return name

    def import_bare(self, binary, name, program="/usr/bin/fiberd", also=()):
        """An image of the binary as `program`, the libraries that it has on this machine, the files of `also`, and fiberd's
        user: for tests of what is around a container, and not of an image."""
        root = self.home / f"bare-{pathlib.Path(program).name}"
        libraries = re.findall(r"(/\S+)", run("ldd", binary).stdout)
        for source, target in [(str(binary), program)] + [(file, file) for file in [*libraries, *also]]:
            place = pathlib.Path(f"{root}{target}")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, place)
        (root / "etc").mkdir()
        (root / "etc/passwd").write_text("fiberd:x:10001:10001::/nonexistent:/usr/sbin/nologin\n")
        (root / "etc/group").write_text("fiberd:x:10001:\n")
        run("tar", "-C", root, "-cf", f"{root}.tar", ".")
        self.podman("import", "-q", "--change", f'ENTRYPOINT ["{program}"]', f"{root}.tar", name)

    def context(self, binary):
        """A build context with the binary in it instead of the sources that it is built from: the Dockerfile's line that
        takes it from the stage that compiles takes it from there, and nobody needs that stage."""
        context = self.home / "context"
        (context / "prebuilt").mkdir(parents=True)
        shutil.copy2(binary, context / "prebuilt/fiberd")
        for name in (".dockerignore", "LICENSE"):
            shutil.copy2(SOURCE / name, context / name)
        compiled, prebuilt = "COPY --from=build /out/fiberd ", "COPY prebuilt/fiberd "
        dockerfile = (SOURCE / "Dockerfile").read_text()
        if dockerfile.count(compiled) != 1:
            raise AssertionError(f"the Dockerfile has not one line with {compiled}")
        (context / "Dockerfile").write_text(dockerfile.replace(compiled, prebuilt))
        shutil.copytree(SOURCE / "deploy", context / "deploy")
        (context / "daemon/console/uplot").mkdir(parents=True)
        shutil.copy2(SOURCE / "daemon/console/uplot/LICENSE", context / "daemon/console/uplot/LICENSE")
        return context

    def build(self, context, target, tag, **arguments):
        words = []
        for name, value in arguments.items():
            words += ["--build-arg", f"{name}={value}"]
        self.buildah("bud", "--layers", "--pull-never", "--format", "docker", "--target", target, "-t", tag, *words,
                     context, timeout=3600)

    def inspect(self, name, kind="container"):
        return json.loads(self.podman(kind, "inspect", name).stdout)[0]


class Container:
    """One that runs. It has a network of its own, with nothing but a loopback, and all limits that we recommend."""

    def __init__(self, engine, name, image, *arguments, command=()):
        self.engine, self.name = engine, name
        engine.podman("run", "-d", "--name", name, "--network", "none", "--read-only", "--read-only-tmpfs=false",
                      "--cap-drop", "ALL", "--security-opt", "no-new-privileges", *arguments, image, *command)

    @property
    def pid(self):
        return self.engine.inspect(self.name)["State"]["Pid"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.engine.podman("rm", "-f", "-t", "0", self.name, check=False)

    def logs(self):
        done = self.engine.podman("logs", self.name)
        return done.stdout + done.stderr

    def inside(self, *command, **how):
        """Of this machine's programs, on the container's network."""
        return run("nsenter", "-t", self.pid, "-n", *command, **how)

    def curl(self, url, *more):
        return self.inside("curl", "-sS", "-m", "10", *more, url, check=False).stdout

    def execute(self, *command, **how):
        return self.engine.podman("exec", self.name, *command, check=False, **how)

    def wait_ready(self):
        eventually("started", lambda: "started: GOMAXPROCS" in self.logs())

    def metric(self, sample):
        for line in self.curl("http://127.0.0.1:9090/metrics").splitlines():
            if line.startswith(sample + " "):
                return float(line.split()[1])
        return None
