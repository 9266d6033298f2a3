"""The service in a booted machine, and what is asked about it."""

import json
import re

CONFIG = """
admin: {address: "unix:/run/fiberd/admin.sock"}
shutdown: {timeout: 20s}
listeners:
  - name: web
    address: "127.0.0.1:8080"
    http: {routes: [{path: /, respond: {body: BODY}}, {path: /echo, echo: {}}]}
"""


class Fiberd:
    def __init__(self, machine):
        self.machine = machine

    def config(self, text=CONFIG, body="hello"):
        self.machine.write("/etc/fiberd/fiberd.yaml", text.replace("BODY", body))

    def drop_in(self, text, name="test.conf"):
        self.machine.write(f"/etc/systemd/system/fiberd.service.d/{name}", text)
        self.machine.run("systemctl", "daemon-reload")

    def reset(self):
        self.machine.run("systemctl", "stop", "fiberd", check=False)
        self.machine.run("systemctl", "reset-failed", "fiberd", check=False)
        self.machine.run("rm", "-rf", "/etc/systemd/system/fiberd.service.d")
        self.machine.run("systemctl", "daemon-reload")
        self.config()

    def start(self):
        self.machine.run("systemctl", "start", "fiberd")

    def show(self, name, unit="fiberd"):
        return self.machine.run("systemctl", "show", "-P", name, unit).stdout.strip()

    def ask(self, path="/", port=8080):
        return self.machine.run("curl", "-s", "-m", "10", f"http://127.0.0.1:{port}{path}", check=False).stdout

    def admin(self, path, *more):
        return self.machine.run("curl", "-s", "-m", "20", "--fail", "--unix-socket", "/run/fiberd/admin.sock", *more,
                                f"http://localhost{path}").stdout

    def cursor(self):
        """What is in the journal so far is not looked at by journal(cursor)."""
        self.machine.run("journalctl", "--sync")
        shown = self.machine.run("journalctl", "-n", "1", "--show-cursor", "-o", "cat").stdout
        return re.search(r"-- cursor: (\S+)", shown).group(1)

    def journal(self, cursor, **fields):
        """Of the unit; those with these fields alone."""
        self.machine.run("journalctl", "--sync")
        text = self.machine.run("journalctl", "-o", "json", "--after-cursor", cursor, "-u", "fiberd").stdout
        entries = [json.loads(line) for line in text.splitlines()]
        return [e for e in entries if all(e.get(name) == value for name, value in fields.items())]

    def restarted(self, times):
        self.machine.await_(f"restart number {times}", lambda: self.show("NRestarts") == str(times)
                            and self.show("ActiveState") == "active")


def equal(got, wanted):
    assert got == wanted, f"{got!r} instead of {wanted!r}"


def holds(text, what):
    assert what in text, f"no {what!r} in {text!r}"
