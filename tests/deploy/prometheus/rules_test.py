#!/usr/bin/env python3
"""Rules, configurations and dashboard as files: what promtool and amtool say of them, and whether each alert has its test
and its page of the runbook. Ends on "N passed, M failed"."""
import os
import re
import subprocess
import sys
import tempfile

import parts

HERE = os.path.dirname(os.path.abspath(__file__))
failed = []
passed = 0


def check(name, ok, why=""):
    global passed
    if ok:
        passed += 1
        return
    failed.append(name)
    print(f"FAILED: {name}\n{why}")


def run(name, *command):
    out = subprocess.run(command, capture_output=True, text=True)
    check(name, out.returncode == 0 and "WARN" not in out.stderr, out.stdout + out.stderr)


def main():
    parts.need("promtool", "amtool")
    directory = parts.deploy("prometheus/rules")
    files = [os.path.join(directory, name) for name in parts.rules()]
    run("promtool takes the rules", "promtool", "check", "rules", *files)
    run("promtool takes the configuration", "promtool", "check", "config", parts.deploy("prometheus/prometheus.yml"))
    run("amtool takes Alertmanager's configuration", "amtool", "check-config", parts.deploy("alertmanager/alertmanager.yml"))
    tests = ["alerts_test.yml", "slo_test.yml"]
    for name in tests:
        run("promtool test rules " + name, "promtool", "test", "rules", os.path.join(HERE, name))

    # Each alert fires in a test, and later in the same one does not any more.
    fires, clears = set(), set()
    for name in tests:
        for test in parts.yaml.safe_load(parts.read(os.path.join(HERE, name)))["tests"]:
            begun = set()
            for case in test["alert_rule_test"]:
                severities = {(case["alertname"], e["exp_labels"]["severity"], e["exp_labels"].get("window"))
                              for e in case["exp_alerts"]}
                fires |= severities
                begun |= severities
                if not case["exp_alerts"]:
                    clears |= {b for b in begun if b[0] == case["alertname"]}
    alerts = [rule for file in parts.rules().values() for group in file["groups"] for rule in group["rules"] if "alert" in rule]
    for rule in alerts:
        of = (rule["alert"], rule["labels"]["severity"], rule["labels"].get("window"))
        check(f"{of} fires in a test", of in fires)
        check(f"{of} clears in a test", of in clears)
        check(f"{of}: page or ticket", rule["labels"]["severity"] in ("page", "ticket"))
        check(f"{of}: summary, description", {"summary", "description", "runbook"} <= rule["annotations"].keys())
        check(f"{of}: its runbook is its own", rule["annotations"].get("runbook") ==
              "docs/operations.md#" + rule["alert"].lower())

    # What the dashboard asks is a rule, too.
    run("the dashboard is what its generator writes", sys.executable, parts.deploy("grafana/generate-dashboard"), "--check")
    with tempfile.TemporaryDirectory() as scratch:
        file = os.path.join(scratch, "dashboard.yml")
        with open(file, "w") as f:
            parts.yaml.safe_dump({"groups": [{"name": "dashboard", "rules": [
                {"record": f"dashboard:{i}", "expr": expr} for i, (_, expr) in enumerate(parts.dashboard_queries())]}]}, f)
        run("promtool takes the dashboard's queries", "promtool", "check", "rules", file)
    recorded = {rule["record"] for file in parts.rules().values() for group in file["groups"] for rule in group["rules"]
                if "record" in rule}
    for _, expr in parts.dashboard_queries() + [["", rule["expr"]] for rule in alerts]:
        for name in re.findall(r"\w+:\w+:\w+", expr):
            check(f"{name} is recorded", name in recorded)

    # What Grafana is to find, and where compose puts it.
    for name in ("grafana/provisioning/datasources/prometheus.yaml", "grafana/provisioning/dashboards/fiberd.yaml"):
        check(name + " is YAML", parts.yaml.safe_load(parts.read(parts.deploy(name)))["apiVersion"] == 1)
    print(f"{passed} passed, {len(failed)} failed")
    sys.exit(1 if failed else 0)


main()
