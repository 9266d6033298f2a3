#!/usr/bin/env python3
"""The images: built, looked at, and run with the rights that docs/docker.md recommends.

    docker_test.py FIBERD            the binary that was built beside the tests is what the images hold
    docker_test.py --whole           the whole Dockerfile, compiler and all (an hour on two slow cores): nightly
    docker_test.py --base            makes the Debian that images are built on, ahead of the tests
"""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import compose  # noqa: E402
from containers import BASE, SOURCE, Container, Engine, Tests, make_base, need  # noqa: E402
from waiting import eventually  # noqa: E402

RUNTIME = "localhost/fiberd:test"
TINY = "localhost/fiberd:tiny"
CREATED = "2026-01-02T03:04:05Z"
ARGUMENTS = {"VERSION": "9.8.7", "REVISION": "abc123", "CREATED": CREATED, "SOURCE": "https://example.org/fiberd"}

SITE = """config: {{watch: true}}
log: {{format: json, output: stdout}}
shutdown: {{delay: {delay}, timeout: 20s}}
admin: {{address: "127.0.0.1:9090"}}
listeners:
  - name: web
    address: "127.0.0.1:8080"
    http: {{routes: [{{path: /, respond: {{body: "{body}"}}}}, {{path: /echo, echo: {{}}}}]}}
"""


def site(engine, name, body="one", delay="0s"):
    """A directory with a configuration, to be mounted over the image's."""
    directory = engine.home / name
    directory.mkdir(exist_ok=True)
    fresh = directory / "fiberd.yaml.new"
    fresh.write_text(SITE.format(body=body, delay=delay))
    fresh.rename(directory / "fiberd.yaml")
    return f"{directory}:/etc/fiberd:ro"


def build(engine, whole, binary):
    if whole:
        base = engine.import_base()
        for target, tag in (("runtime", RUNTIME), ("tiny", TINY)):
            engine.build(SOURCE, target, tag, BASE=base, **ARGUMENTS)
        return base
    base = engine.import_base()
    context = engine.context(binary)
    for target, tag in (("runtime", RUNTIME), ("tiny", TINY)):
        engine.build(context, target, tag, BASE=base, **ARGUMENTS)
    return base


def sizes(engine, base):
    def size(name):
        return engine.inspect(name, "image")["Size"]

    above = size(RUNTIME) - size(base)
    print(f"  runtime: {above / 1e6:.1f} MB on top of its base; tiny: {size(TINY) / 1e6:.1f} MB", flush=True)
    assert above <= 20_000_000, above
    assert size(TINY) <= 35_000_000, size(TINY)


def what_images_say(engine):
    for name in (RUNTIME, TINY):
        image = engine.inspect(name, "image")
        config = image["Config"]
        assert config["User"] == "10001:10001", config["User"]
        assert config["StopSignal"] == "SIGTERM"
        assert config["Entrypoint"] == ["/usr/bin/fiberd"]
        assert image["Healthcheck"]["Test"] == [
            "CMD", "/usr/bin/fiberd", "healthcheck", "-c", "/etc/fiberd/fiberd.yaml"]
        labels = config["Labels"]
        for key, value in (("title", "fiberd"), ("version", "9.8.7"), ("revision", "abc123"), ("created", CREATED),
                           ("licenses", "Apache-2.0"), ("source", "https://example.org/fiberd")):
            assert labels[f"org.opencontainers.image.{key}"] == value, (key, labels)
    # A Dockerfile cannot say it once for two stages that begin with different images: so they are held together here.
    one, other = (engine.inspect(name, "image") for name in (RUNTIME, TINY))
    for of in ("Labels", "User", "ExposedPorts", "StopSignal", "Entrypoint", "Cmd"):
        assert one["Config"][of] == other["Config"][of], of
    assert one["Healthcheck"] == other["Healthcheck"]


def user_and_group_are_its_own(engine):
    got = engine.podman("run", "--rm", "--network", "none", "--entrypoint", "/usr/bin/id", RUNTIME).stdout.strip()
    assert got == "uid=10001(fiberd) gid=10001(fiberd) groups=10001(fiberd)", got
    files = engine.podman("run", "--rm", "--network", "none", "--entrypoint", "/usr/bin/find", RUNTIME, "/", "-xdev",
                          "-writable", "-not", "-type", "l", "-not", "-path", "/proc/*", "-not", "-path", "/dev/*",
                          check=False).stdout.split()
    allowed = {"/run/fiberd", "/tmp", "/var/tmp", "/run/lock", "/dev/shm", "/dev/mqueue", "/var/lock"}
    assert set(files) <= allowed | {"/proc", "/dev"}, files


def check_sbom(text, packages):
    """SPDX 2.3, as far as it is asked for here: what must be there, forms of names, and who is related to whom."""
    document = json.loads(text)
    assert document["spdxVersion"] == "SPDX-2.3" and document["dataLicense"] == "CC0-1.0"
    assert document["SPDXID"] == "SPDXRef-DOCUMENT" and document["name"] == "fiberd-9.8.7"
    assert re.fullmatch(r"https://[^#\s]+", document["documentNamespace"])
    assert document["creationInfo"]["created"] == CREATED
    assert all(re.match(r"(Tool|Organization|Person): \S", c) for c in document["creationInfo"]["creators"])
    ids = [p["SPDXID"] for p in document["packages"]]
    assert len(ids) == len(set(ids)) and all(re.fullmatch(r"SPDXRef-[A-Za-z0-9.-]+", i) for i in ids), ids
    for p in document["packages"]:
        for key in ("name", "versionInfo", "downloadLocation", "licenseConcluded", "licenseDeclared", "copyrightText"):
            assert p[key], (p, key)
        assert p["filesAnalyzed"] is False
        assert p["supplier"] == "NOASSERTION" or re.match(r"(Organization|Person): \S", p["supplier"]), p
        for reference in p.get("externalRefs", []):
            assert reference["referenceCategory"] == "PACKAGE-MANAGER" and reference["referenceType"] == "purl"
            assert re.fullmatch(r"pkg:deb/debian/[a-z0-9.%+-]+@[^?#\s]+\?arch=\w+&distro=debian-12",
                                reference["referenceLocator"], re.I), reference
    known = set(ids) | {"SPDXRef-DOCUMENT"}
    described = [r for r in document["relationships"] if r["relationshipType"] == "DESCRIBES"]
    assert [r["relatedSpdxElement"] for r in described] == ["SPDXRef-image"]
    for r in document["relationships"]:
        assert {r["spdxElementId"], r["relatedSpdxElement"]} <= known, r
    names = {p["name"] for p in document["packages"]}
    assert packages <= names, packages - names
    return names


def sboms(engine):
    def text(image, *command):
        # Of an image without a shell, by its file system.
        with_root = engine.podman("image", "mount", image).stdout.strip()
        try:
            return pathlib.Path(with_root, "usr/share/doc/fiberd/sbom.spdx.json").read_text()
        finally:
            engine.podman("image", "umount", image, check=False)

    needed = {"fiberd", "libc6", "libstdc++6", "libyaml-cpp0.7", "libspdlog1.10", "zlib1g"}
    whole = check_sbom(text(RUNTIME), needed | {"base-files", "dpkg"})
    listed = set(engine.podman("run", "--rm", "--network", "none", "--entrypoint", "/usr/bin/dpkg-query", RUNTIME,
                               "-W", "-f", "${Package}\n").stdout.split())
    assert listed <= whole, listed - whole
    tiny = check_sbom(text(TINY), needed)
    assert "dpkg" not in tiny and len(tiny) < 25, tiny


def default_configuration(engine, image):
    with Container(engine, "default", image) as c:
        c.wait_ready()
        assert c.curl("http://127.0.0.1:8080/") == "Hello, World!\n"
        eventually("the access log", lambda: '"status":200' in c.logs().replace(" ", ""))
        for line in c.logs().splitlines():
            json.loads(line)
        status = pathlib.Path(f"/proc/{c.pid}/status").read_text()
        assert re.search(r"^Uid:\s+10001\s+10001", status, re.M) and re.search(r"^Gid:\s+10001\s+10001", status, re.M)
        assert re.search(r"^CapEff:\s+0+$", status, re.M) and re.search(r"^CapBnd:\s+0+$", status, re.M)
        assert re.search(r"^NoNewPrivs:\s+1$", status, re.M)
        assert engine.podman("healthcheck", "run", "default", check=False).returncode == 0
        assert "web" in c.execute("/usr/bin/fiberd", "status", "--interval", "100ms").stdout
        assert c.execute("/usr/bin/fiberd", "reload").returncode == 0
        engine.podman("stop", "-t", "20", "default")
        assert engine.inspect("default")["State"]["ExitCode"] == 0


def healthy_and_unhealthy(engine):
    mount = site(engine, "health", delay="60s")
    with Container(engine, "health", RUNTIME, "-v", mount) as c:
        c.wait_ready()
        done = engine.podman("healthcheck", "run", "health", check=False)
        assert done.returncode == 0, done.stderr
        os.kill(c.pid, signal.SIGTERM)
        eventually("unhealthy", lambda: engine.podman("healthcheck", "run", "health", check=False).returncode == 1)
        said = c.execute("/usr/bin/fiberd", "healthcheck", "-c", "/etc/fiberd/fiberd.yaml")
        assert said.returncode == 1 and said.stderr.startswith("unhealthy: ") and said.stderr.count("\n") == 1, said
        # It serves on, for those who have not heard of it yet.
        assert c.curl("http://127.0.0.1:8080/") == "one"


def stop_drains(engine):
    mount = site(engine, "drain")
    with Container(engine, "drain", RUNTIME, "-v", mount) as c:
        c.wait_ready()
        client = subprocess.Popen(
            ["nsenter", "-t", str(c.pid), "-n", sys.executable, "-c",
             "import socket, sys\n"
             "s = socket.create_connection(('127.0.0.1', 8080)); s.settimeout(60)\n"
             "s.sendall(b'POST /echo HTTP/1.1\\r\\nHost: localhost\\r\\nContent-Length: 8\\r\\n\\r\\nhalf')\n"
             "print('begun', flush=True); sys.stdin.readline(); s.sendall(b'more')\n"
             "got = b''\n"
             "while True:\n  piece = s.recv(4096)\n  got += piece\n  if not piece: break\n"
             "print(got.decode().splitlines()[0], got.decode()[-8:])"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert client.stdout.readline() == "begun\n"
        eventually("a request in flight",
                   lambda: c.metric('fiberd_listener_connections_active{listener="web"}') == 1)
        stop = subprocess.Popen(["podman", "stop", "-t", "30", "drain"], env=engine.env, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)
        eventually("the signal", lambda: "SIGTERM" in c.logs())
        out, _ = client.communicate("go\n", timeout=60)
        assert out.strip() == "HTTP/1.1 200 OK halfmore", out
        assert stop.wait(60) == 0
        state = engine.inspect("drain")["State"]
        assert state["ExitCode"] == 0, state


def reaps_orphans(engine):
    with Container(engine, "orphans", RUNTIME) as c:
        c.wait_ready()
        assert c.execute("/bin/sh", "-c", "for i in 1 2 3; do (sleep 0.2 & sleep 0.3 &) ; done").returncode == 0
        namespace = os.readlink(f"/proc/{c.pid}/ns/pid")

        def others():
            found = []
            for entry in pathlib.Path("/proc").iterdir():
                try:
                    if entry.name.isdigit() and os.readlink(entry / "ns/pid") == namespace:
                        found.append((entry / "stat").read_text().split(") ")[1][0])
                except OSError:
                    # A zombie has no namespaces any more: known by its parent.
                    try:
                        fields = (entry / "stat").read_text().rsplit(") ", 1)[1].split()
                        if int(fields[1]) == c.pid:
                            found.append(fields[0])
                    except OSError:
                        pass
            return found

        eventually("the orphans have ended and are gone", lambda: len(others()) == 1)


def cgroup_files(c, controller):
    """Where that container's limits of `controller` are written; version 1 or 2."""
    for line in pathlib.Path(f"/proc/{c.pid}/cgroup").read_text().splitlines():
        number, names, path = line.split(":", 2)
        if controller in names.split(",") or (number == "0" and not names):
            for root in (f"/sys/fs/cgroup/{controller}", "/sys/fs/cgroup"):
                directory = pathlib.Path(root + path)
                if any(directory.glob(f"{controller}.*")):
                    yield directory


def write_limit(c, controller, values):
    """The first of `values` (file: text) that is there."""
    for directory in cgroup_files(c, controller):
        for name, value in values:
            if (directory / name).exists():
                (directory / name).write_text(value)
                return
    raise AssertionError(f"no limits of {controller} for {c.name}")


def limits_are_seen_and_followed(engine):
    mount = site(engine, "limits")
    with Container(engine, "limits", RUNTIME, "-v", mount, "--cpus", "1", "--memory", "200m", "--memory-swap",
                   "200m") as c:
        c.wait_ready()
        assert "GOMAXPROCS=1 " in c.logs(), c.logs()
        assert "memory limit 200 MiB" in c.logs(), c.logs()
        processors = min(2, os.cpu_count())
        write_limit(c, "cpu", [("cpu.max", "200000 100000"), ("cpu.cfs_quota_us", "200000")])
        eventually("the new quota", lambda: c.metric("fiberd_sched_gomaxprocs") == processors)
        # As `docker update --memory` does. Room first for what counts both.
        limit = 300 << 20
        for name in ("memory.memsw.limit_in_bytes",):
            for directory in cgroup_files(c, "memory"):
                if (directory / name).exists():
                    (directory / name).write_text(str(limit))
        write_limit(c, "memory", [("memory.max", str(limit)), ("memory.limit_in_bytes", str(limit))])
        wanted = re.compile(r"^fiberd_memory_limit_bytes(?:\{[^}]*\})? (\S+)$", re.M)

        def follows():
            page = c.curl("http://127.0.0.1:9090/metrics")
            return any(float(n) == limit for n in wanted.findall(page))

        eventually("the new memory limit", follows)


def a_new_file_is_a_reload(engine):
    mount = site(engine, "watched")
    with Container(engine, "watched", TINY, "-v", mount) as c:
        c.wait_ready()
        assert c.curl("http://127.0.0.1:8080/") == "one"
        eventually("watched", lambda: (c.metric("fiberd_config_watches") or 0) > 0)
        site(engine, "watched", body="two")
        eventually("the new file", lambda: c.curl("http://127.0.0.1:8080/") == "two")
        (engine.home / "watched/fiberd.yaml").write_text("listeners: 5\n")
        eventually("refused", lambda: c.metric("fiberd_config_last_reload_successful") == 0)
        assert c.curl("http://127.0.0.1:8080/") == "two"


def compose_file(_):
    try:
        import yaml
    except ImportError:
        print("  no python3-yaml: not read", flush=True)
        return
    directory = SOURCE / "deploy/docker"
    document = yaml.safe_load((directory / "compose.yaml").read_text())
    assert set(document["services"]) == {"fiberd", "prometheus", "alertmanager", "grafana"}
    for name, service in document["services"].items():
        assert name == "grafana" or service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service.get("image") or service.get("build"), name
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith("."):
                assert (directory / source).resolve().exists(), source
            else:
                assert source in document["volumes"], source
    site_file = directory / "compose/fiberd.yaml"
    assert site_file.exists()


def main():
    need("podman", "buildah", "runc", "nsenter", "curl")
    if sys.argv[1:] == ["--base"]:
        if not BASE.exists():
            make_base(BASE)
        return 0
    whole = sys.argv[1:] == ["--whole"]
    binary = None if whole else sys.argv[1]
    tests = Tests()
    with Engine() as engine:
        base = build(engine, whole, binary)
        tests.run(sizes, engine, base)
        tests.run(what_images_say, engine)
        tests.run(user_and_group_are_its_own, engine)
        tests.run(sboms, engine)
        for image in (RUNTIME, TINY):
            tests.run(default_configuration, engine, image)
        for function in (healthy_and_unhealthy, stop_drains, reaps_orphans, limits_are_seen_and_followed,
                         a_new_file_is_a_reload, compose_file):
            tests.run(function, engine)
        tests.run(compose.the_services_run, engine, RUNTIME)
    return tests.end()


if __name__ == "__main__":
    sys.exit(main())
