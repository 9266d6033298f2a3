"""deploy/docker/compose.yaml, started by podman-compose: fiberd's image with Prometheus and Alertmanager. No registry is
asked: images of the names that it has are made of Debian's programs, and what nobody has here (Grafana) is left out. All
of it on a network of its own, where its ports are free."""

import json
import os
import pathlib
import re
import resource
import shutil

from containers import SOURCE, run
from waiting import eventually

SERVICES = ("fiberd", "prometheus", "alertmanager")
TEMPLATES = pathlib.Path("/usr/share/prometheus/alertmanager")  # Debian's Alertmanager has them beside, not within


def _images(engine, fiberd, text):
    """Of those names and versions that compose.yaml has."""
    engine.podman("tag", fiberd, "localhost/fiberd:latest")
    for program, also in (("prometheus", ()), ("alertmanager", [str(f) for f in TEMPLATES.glob("*.tmpl")])):
        name = re.search(rf"image: (docker\.io/prom/{program}:\S+)", text)[1]
        binary = shutil.which(program) or shutil.which(f"prometheus-{program}")
        engine.import_bare(binary, name, f"/bin/{program}", also)


def _copy(engine):
    """Of what it mounts, too. Who may not raise a limit so far starts it without: there is no default for such a one."""
    tree = engine.home / "compose"
    shutil.copytree(SOURCE / "deploy", tree / "deploy")
    file = tree / "deploy/docker/compose.yaml"
    text = file.read_text()
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 65536:
        text, changed = re.subn(r"^    ulimits: .*\n", "", text, flags=re.M)
        assert changed == 1, "ulimits"
        file.write_text(text)
    return file, text


def the_services_run(engine, fiberd):
    missing = [p for p in ("podman-compose", "prometheus", "prometheus-alertmanager", "ip") if shutil.which(p) is None]
    if missing:
        print(f"  not tried: {', '.join(missing)} not installed: deploy/install-packages deploy", flush=True)
        return
    file, text = _copy(engine)
    _images(engine, fiberd, text)
    network = f"fiberd-compose-{os.getpid()}"
    inside = ("nsenter", f"--net=/run/netns/{network}")
    env = dict(engine.env, GRAFANA_PASSWORD="not-started")
    compose = (*inside, "podman-compose", "-f", file)
    run("ip", "netns", "add", network)

    def ask(url):
        return run(*inside, "curl", "-s", "-m", "10", f"http://127.0.0.1:{url}", check=False).stdout

    def prometheus(path):
        try:
            return json.loads(ask(f"9090/api/v1/{path}"))["data"]
        except (ValueError, KeyError):
            return {}

    try:
        run(*inside, "ip", "link", "set", "lo", "up")
        up = run(*compose, "up", "-d", "--no-build", *SERVICES, env=env, check=False)
        said = up.stdout + up.stderr
        eventually(f"fiberd serves: {said[-3000:]}", lambda: ask("8080/") == "Hello, World!\n")
        eventually("Prometheus scrapes it", lambda: [
            s for s in prometheus("query?query=up%7Bjob%3D%22fiberd%22%7D").get("result", []) if s["value"][1] == "1"])
        eventually("Prometheus knows Alertmanager", lambda: [
            a for a in prometheus("alertmanagers").get("activeAlertmanagers", []) if "alertmanager:9093" in a["url"]])
        assert len(prometheus("rules")["groups"]) > 1, prometheus("rules")
        eventually("Alertmanager answers", lambda: ask("9093/-/ready").strip() == "OK")
        name = engine.podman("ps", "--filter", "label=com.docker.compose.service=fiberd", "--format", "{{.Names}}").stdout
        assert engine.podman("healthcheck", "run", name.strip(), check=False).returncode == 0, name
        # What is mounted is watched.
        site = file.parent / "compose/fiberd.yaml"
        site.write_text(site.read_text().replace("Hello, World!", "Hello again!"))
        eventually("the changed file", lambda: ask("8080/") == "Hello again!\n")
    finally:
        run(*compose, "down", env=env, check=False)
        run("ip", "netns", "del", network, check=False)
