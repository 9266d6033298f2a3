"""What systemd does with fiberd's listening sockets: socket activation, the store of descriptors, an upgrade."""

import json
import pathlib
import subprocess
import sys
import time

from service import CONFIG, equal, holds

HERE = pathlib.Path(__file__).resolve().parent

SOCKET = """
[Socket]
ListenStream=127.0.0.1:8080
FileDescriptorName=web
Service=fiberd.service
"""


class Load:
    """Asks on connections of its own until the end of the block, and finds that each was answered."""

    def __init__(self, machine):
        self.machine = machine

    def __enter__(self):
        self.process = subprocess.Popen(self.machine.in_network(sys.executable, HERE / "load.py", "8080", "hello"),
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        equal(self.process.stdout.readline(), "begun\n")
        time.sleep(0.5)
        return self

    def __exit__(self, failed, *_):
        time.sleep(0.5)
        out, _ = self.process.communicate("", timeout=60)
        if failed:
            return
        counts = json.loads(out)
        equal((counts["refused"], counts["cut"]), (0, 0))
        assert counts["answered"] > 100, counts


def a_socket_unit_starts_it_and_survives_restarts(fiberd):
    m = fiberd.machine
    m.write("/etc/systemd/system/fiberd.socket", SOCKET)
    m.run("systemctl", "daemon-reload")
    m.run("systemctl", "start", "fiberd.socket")
    try:
        equal(fiberd.show("ActiveState"), "inactive")
        cursor = fiberd.cursor()
        equal(fiberd.ask(), "hello")  # which starts it
        holds("\n".join(e["MESSAGE"] for e in fiberd.journal(cursor)), "web (http, inherited)")
        with Load(m):
            for _ in range(3):
                m.run("systemctl", "restart", "fiberd")
    finally:
        m.run("systemctl", "stop", "fiberd.socket", "fiberd")
        m.run("rm", "/etc/systemd/system/fiberd.socket")
        m.run("systemctl", "daemon-reload")


def a_udp_socket_where_tcp_is_meant_is_exit_code_2(fiberd):
    m = fiberd.machine
    m.write("/etc/systemd/system/fiberd.socket", SOCKET.replace("ListenStream", "ListenDatagram"))
    m.run("systemctl", "daemon-reload")
    m.run("systemctl", "start", "fiberd.socket")
    try:
        cursor = fiberd.cursor()
        assert m.run("systemctl", "start", "fiberd", check=False).returncode != 0
        equal(fiberd.show("ExecMainStatus"), "2")
        holds("\n".join(e["MESSAGE"] for e in fiberd.journal(cursor)), "is a UDP socket, but listener web speaks TCP")
    finally:
        m.run("systemctl", "stop", "fiberd.socket")
        m.run("rm", "/etc/systemd/system/fiberd.socket")
        m.run("systemctl", "daemon-reload")


def the_store_keeps_sockets_over_restarts(fiberd):
    fiberd.drop_in("[Service]\nFileDescriptorStoreMax=16\nEnvironment=FDSTORE=16\n")
    fiberd.start()
    m = fiberd.machine
    m.await_("the store", lambda: fiberd.show("NFileDescriptorStore") == "2")  # the admin's, and web's
    with Load(m):
        for _ in range(3):
            m.run("systemctl", "restart", "fiberd")
    equal(fiberd.show("NFileDescriptorStore"), "2")
    # A listener that goes takes its socket along.
    fiberd.config(CONFIG.replace("BODY", "hello") + "  - {name: more, address: \"127.0.0.1:8081\", tcp: {echo: {}}}\n")
    m.run("systemctl", "reload", "fiberd")
    m.await_("the new one", lambda: fiberd.show("NFileDescriptorStore") == "3")
    fiberd.config()
    m.run("systemctl", "reload", "fiberd")
    m.await_("its end", lambda: fiberd.show("NFileDescriptorStore") == "2")
    equal(fiberd.ask(), "hello")


def upgrades_under_load_lose_nothing(fiberd):
    fiberd.start()
    m = fiberd.machine
    cursor = fiberd.cursor()
    with Load(m):
        for _ in range(3):
            before = fiberd.show("MainPID")
            holds(m.run("fiberd", "upgrade", "--address", "unix:/run/fiberd/admin.sock").stdout, "upgraded: process")
            m.await_("another main process", lambda: fiberd.show("MainPID") not in (before, "0"))
    equal(fiberd.show("SubState"), "running")
    equal(fiberd.show("NRestarts"), "0")
    m.await_("its status", lambda: "requests/s" in fiberd.show("StatusText"))
    # One that refuses changes nothing.
    fiberd.config("listeners: 7\n")
    pid = fiberd.show("MainPID")
    refused = m.run("fiberd", "upgrade", "--address", "unix:/run/fiberd/admin.sock", check=False)
    equal(refused.returncode, 1)
    holds(refused.stderr, "the configuration is refused")
    equal(fiberd.show("MainPID"), pid)
    equal(fiberd.ask(), "hello")
    fiberd.config()
    m.run("systemctl", "reload", "fiberd")
    # One that ends at once changes nothing, either.
    crashed = m.run("fiberd", "upgrade", "--address", "unix:/run/fiberd/admin.sock", "--binary", "/bin/false", check=False)
    equal(crashed.returncode, 1)
    holds(crashed.stderr, "the new process ended with ")
    # A stop waits for what is under way.
    upload = subprocess.Popen(m.in_network(sys.executable, HERE / "upload.py", "8080"), stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True)
    equal(upload.stdout.readline(), "begun\n")
    m.run("systemctl", "stop", "--no-block", "fiberd")
    m.await_("the word that it stops", lambda: "stopping" in fiberd.show("StatusText"))
    answer, _ = upload.communicate("go on\n", timeout=120)
    equal(answer, "first-last\n")
    m.await_("the end of the stop", lambda: fiberd.show("ActiveState") == "inactive")
    equal(fiberd.show("Result"), "success")
    equal((fiberd.show("ExecMainCode"), fiberd.show("ExecMainStatus")), ("1", "0"))  # it exited, by itself
    said = "\n".join(e["MESSAGE"] for e in fiberd.journal(cursor) if isinstance(e["MESSAGE"], str))
    for never in ("reception only permitted", "which is not our child", "SIGKILL", "is still open is cut"):
        assert never not in said, said


CASES = [
    a_socket_unit_starts_it_and_survives_restarts, a_udp_socket_where_tcp_is_meant_is_exit_code_2,
    the_store_keeps_sockets_over_restarts, upgrades_under_load_lose_nothing,
]
