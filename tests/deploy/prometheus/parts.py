"""What the tests of Prometheus' parts share: programs on free ports in a directory of their own."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request

try:
    import yaml
except ImportError:
    yaml = None

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
sys.path.insert(0, os.path.join(ROOT, "tests/deploy/support"))
SKIPPED = 77  # to ctest (SKIP_RETURN_CODE)
ALERTMANAGER = "prometheus-alertmanager"  # as Debian calls it


def need(*programs):
    """Ends as skipped when one of them is missing."""
    missing = [p for p in programs if shutil.which(p) is None] + (["python3-yaml"] if yaml is None else [])
    if missing:
        print(f"skipped: {', '.join(missing)} not installed (deploy/install-packages test)")
        sys.exit(SKIPPED)


def deploy(name):
    return os.path.join(ROOT, "deploy", name)


def read(name):
    with open(os.path.join(ROOT, name)) as f:
        return f.read()


def rules():
    """All of deploy/prometheus/rules, by file."""
    directory = deploy("prometheus/rules")
    return {name: yaml.safe_load(read(os.path.join(directory, name))) for name in sorted(os.listdir(directory))}


def dashboard_queries():
    out = subprocess.run([sys.executable, deploy("grafana/generate-dashboard"), "--queries"], capture_output=True,
                         text=True, check=True).stdout
    return [line.split("\t") for line in out.splitlines()]


def free_ports(count):
    """They are free now: bound all at once, so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def get(url, fields=None, timeout=10):
    """Status and body; status 0 when nobody answered."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=fields or {}), timeout=timeout) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()
    except OSError:
        return 0, ""


class Program:
    """One that is ended with its `with`, whatever happens; its output is shown when that was an error."""

    def __init__(self, directory, name, *command):
        self.log = os.path.join(directory, name + ".log")
        self.name = name
        self.command = command
        self.process = None
        self.start()

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, kind, _value, _trace):
        self.stop()
        if kind is not None:
            with open(self.log, errors="replace") as log:
                print(f"== {self.name}: its last lines\n" + "".join(log.readlines()[-30:]))


class Prometheus(Program):
    """Scrapes `targets` as job fiberd, with the configuration and rules of deploy/, but every second, and with alerts
    that wait for nothing."""

    def __init__(self, directory, targets, alertmanager, port):
        config = yaml.safe_load(read("deploy/prometheus/prometheus.yml"))
        config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = []
        for name in rules():
            at = os.path.join(directory, name)
            with open(at, "w") as f:
                f.write(re.sub(r"^( +for:) \d+m$", r"\1 0s", read("deploy/prometheus/rules/" + name), flags=re.M))
            config["rule_files"].append(at)
        config["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager}"]}]}]
        config["scrape_configs"] = [job for job in config["scrape_configs"] if job["job_name"] == "fiberd"]
        config["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{t}" for t in targets]}]
        file = os.path.join(directory, "prometheus.yml")
        with open(file, "w") as f:
            yaml.safe_dump(config, f)
        self.url = f"http://127.0.0.1:{port}"
        super().__init__(directory, "prometheus", "prometheus", f"--config.file={file}",
                         f"--storage.tsdb.path={directory}/prometheus", f"--web.listen-address=127.0.0.1:{port}",
                         "--enable-feature=exemplar-storage", "--log.level=warn")

    def api(self, path, **parameters):
        status, body = get(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
        if status != 200:
            return None
        return json.loads(body)["data"]

    def query(self, expr):
        """Samples of an instant query; none when Prometheus does not answer."""
        data = self.api("query", query=expr)
        return data["result"] if data else []

    def value(self, expr):
        samples = self.query(expr)
        return float(samples[0]["value"][1]) if samples else None

    def firing(self):
        return {s["metric"]["alertname"] for s in self.query('ALERTS{alertstate="firing"}')}
