#!/usr/bin/env python3
"""deploy/kubernetes: rendered, held against Kubernetes' types, and run as a pod with podman play kube.

    kubernetes_test.py FIBERD
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from containers import SOURCE, Container, Engine, Tests, need, run  # noqa: E402
from waiting import eventually  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
MANIFESTS = SOURCE / "deploy/kubernetes"
IMAGE = "localhost/fiberd:kube"


def render():
    """As kubectl kustomize does; without kubectl the resources as they stand, one after the other."""
    if shutil.which("kubectl"):
        return run("kubectl", "kustomize", MANIFESTS).stdout
    text = (MANIFESTS / "kustomization.yaml").read_text()
    resources = re.findall(r"^  - (\S+\.yaml)$", text, re.M)
    assert resources, text
    return "\n---\n".join((MANIFESTS / name).read_text() for name in resources)


def types(text):
    if shutil.which("npm") is None:
        print("  no npm: types are not checked", flush=True)
        return
    if not (HERE / "node_modules/typescript").exists():
        done = run("npm", "ci", "--prefix", HERE, "--ignore-scripts", "--no-audit", "--no-fund", "--silent", check=False)
        if done.returncode != 0:
            print(f"  npm ci failed, types are not checked: {done.stderr.strip()[-200:]}", flush=True)
            return
    done = run("node", HERE / "check.mjs", stdin=text, check=False)
    assert done.returncode == 0, done.stdout
    kinds = "ConfigMap Deployment HorizontalPodAutoscaler NetworkPolicy PodDisruptionBudget PodMonitor Service"
    assert done.stdout.splitlines()[-1] == f"checked: {kinds}", done.stdout
    # What it is to find: a key that nobody knows, and a value of another type.
    bad = text.replace("livenessProbe:", "livelinessProbe:").replace("maxUnavailable: 1", "maxUnavailable: [1]")
    done = run("node", HERE / "check.mjs", stdin=bad, check=False)
    assert done.returncode == 1 and "livelinessProbe" in done.stdout and "maxUnavailable" in done.stdout, done.stdout


def seconds(text):
    return sum(int(n) * {"s": 1, "m": 60, "h": 3600}[unit] for n, unit in re.findall(r"(\d+)([smh])", text))


def the_stop_fits(text, binary):
    """preStop, shutdown.delay, shutdown.timeout and two seconds are less than what Kubernetes waits; as `fiberd check
    --show` understands the configuration."""
    found = re.search(r"  fiberd\.yaml: \|\n((?:    .*\n|\n)+)", text)
    configuration = "".join(line[4:] + "\n" for line in found[1].splitlines())
    shown = run(binary, "check", "--show", "-", stdin=configuration).stdout
    section = re.search(r"^shutdown:\n((?:  .*\n)+)", shown, re.M)[1]
    shutdown = dict(re.findall(r"^  (delay|timeout): (\w+)", section, re.M))
    grace = int(re.search(r"terminationGracePeriodSeconds: (\d+)", text)[1])
    sleep = int(re.search(r"preStop:\s+sleep:\s+(?:\{)?seconds: (\d+)", text)[1])
    assert sleep + seconds(shutdown["delay"]) + seconds(shutdown["timeout"]) + 2 <= grace, (sleep, shutdown, grace)
    assert "watch: true" in shown
    # The probes' ports are the ones that the configuration has.
    assert re.search(r'metrics:\n  address: "0\.0\.0\.0:9091"', shown), shown


def without(text, key):
    """YAML without a key of a mapping, and all below it."""
    lines, depth = [], None
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip(" "))
        if depth is not None and (indent > depth or (indent == depth and line.lstrip().startswith("- "))):
            continue
        depth = indent if re.match(rf" *{key}:", line) else None
        if depth is None:
            lines.append(line)
    return "\n".join(lines) + "\n"


def pod(text):
    """What podman runs of it: the configuration and the pods. Its image is the test's."""
    wanted = [d for d in re.split(r"^---$", text, flags=re.M) if re.search(r"^kind: (ConfigMap|Deployment)$", d, re.M)]
    assert len(wanted) == 2
    wanted.sort(key=lambda d: "kind: Deployment" in d)  # the ConfigMap before who mounts it
    together = "\n---\n".join(wanted)
    # podman 4 knows no sleep of preStop (Kubernetes does it), and would publish ports, which nobody is to reach.
    together = without(without(together, "lifecycle"), "ports")
    # So long that a slow machine sees what is served meanwhile.
    together = re.sub(r"(shutdown: \{delay: )\w+", r"\g<1>30s", together)
    return re.sub(r"image: fiberd:\S+", f"image: {IMAGE}", together)


class Pod(Container):
    def __init__(self, engine, name):  # pylint: disable=super-init-not-called
        self.engine, self.name = engine, name


def the_pod_runs(engine, text, running):
    manifest = engine.home / "pod.yaml"
    manifest.write_text(pod(text))
    engine.podman("play", "kube", "--network", "none", manifest)
    names = engine.podman("ps", "--format", "{{.Names}}").stdout.split()
    c = Pod(engine, next(n for n in names if n.endswith("-fiberd")))
    c.wait_ready()
    assert c.curl("http://127.0.0.1:8080/") == "Hello, World!\n"
    # What the probes ask, at the port that they ask.
    assert c.curl("http://127.0.0.1:9091/readyz") == "ready\n"
    assert c.curl("http://127.0.0.1:9091/healthz") == "ok\n"
    status = pathlib.Path(f"/proc/{c.pid}/status").read_text()
    assert re.search(r"^Uid:\s+10001\s+10001", status, re.M) and re.search(r"^Gid:\s+10001\s+10001", status, re.M)
    assert re.search(r"^CapEff:\s+0+$", status, re.M)
    assert "memory limit 256 MiB" in c.logs(), c.logs()
    for line in c.logs().splitlines():
        json.loads(line)
    assert engine.inspect(c.name)["HostConfig"]["ReadonlyRootfs"] is True
    running.append(c)


def a_stop_is_told_before(engine, c):
    """With shutdown.delay the pod serves on while its readiness is gone; then it ends by itself."""
    stop = subprocess.Popen(["podman", "pod", "stop", "-t", "120", "-a"], env=engine.env, stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)
    eventually("not ready", lambda: c.curl("http://127.0.0.1:9091/readyz") == "not ready\n")
    assert c.curl("http://127.0.0.1:8080/") == "Hello, World!\n"
    assert stop.wait(180) == 0
    assert engine.inspect(c.name)["State"]["ExitCode"] == 0


def main():
    binary = sys.argv[1]
    tests = Tests()
    text = render()
    tests.run(types, text)
    tests.run(the_stop_fits, text, binary)
    missing = [p for p in ("podman", "runc", "catatonit", "nsenter", "curl") if shutil.which(p) is None]
    if missing:
        print(f"skipped, the pod is not run: {', '.join(missing)} not installed: deploy/install-packages deploy")
        return tests.end()
    need("podman")
    with Engine() as engine:
        engine.import_bare(binary, IMAGE)
        running = []
        tests.run(the_pod_runs, engine, text, running)
        if running:
            tests.run(a_stop_is_told_before, engine, running[0])
    return tests.end()


if __name__ == "__main__":
    sys.exit(main())
