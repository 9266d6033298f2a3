"""The servers of the attack table: each is started with the same short time-outs, warmed up, and stopped."""
import os
import pwd
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from harness import family, fill_in, free_port, wait_port

HERE = os.path.dirname(os.path.abspath(__file__))
SERVERS = ("fiberd", "nginx", "go", "haproxy")
FEW_DESCRIPTORS = 200

# Limits are those that there are by default, but for the number of connections.
FIBERD = """
runtime: {{gomaxprocs: 2}}
admin: {{address: "off"}}
log: {{level: error}}
listeners:
  - name: web
    address: "127.0.0.1:{port}"
{tls}
    http:
{h2c}
      timeouts: {{header: 3s, body: 5s, write: 5s, idle: 8s, grace: 2s{handshake}}}
      limits: {{connections: 20000}}
      routes:
        - {{path: /, respond: {{body: "Hello, World!", content_type: text/plain}}}}
        - {{path: /echo, echo: {{}}}}
        - {{path: /files/*, files: {{root: "{site}"}}}}
"""

# It serves no files by itself: what /files has there is 12 KiB from memory, and /echo only takes the body.
HAPROXY = """
global
  nbthread 2
  maxconn 9900
  ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
  mode http
  timeout client 5s
  timeout http-request 3s
  timeout http-keep-alive 8s
  timeout connect 1s
  timeout server 5s
frontend web
  bind 127.0.0.1:{port} {bind}
  http-request wait-for-body time 5s if {{ path /echo }}
  http-request return status 200 content-type text/plain string "taken" if {{ path /echo }}
  http-request return status 200 content-type application/octet-stream file {dir}/small.bin if {{ path_beg /files/ }}
  http-request return status 200 content-type text/plain string "Hello, World!"
"""


def make_certificate(directory):
    """A self-signed one on P-256: web.pem, web.key and, for HAProxy, both in one file."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                    f"{directory}/web.key", "-out", f"{directory}/web.pem", "-days", "30", "-subj", "/CN=localhost"],
                   check=True, stderr=subprocess.DEVNULL)
    with open(f"{directory}/both.pem", "w") as both:
        for part in ("web.pem", "web.key"):
            with open(f"{directory}/{part}") as f:
                both.write(f.read())


class Server:
    """`over`: h1, h2 (by prior knowledge) or tls."""

    def __init__(self, name, args, directory, site, over, few):
        self.name, self.port, self.over, self.bin = name, free_port(), over, args.bin
        self.dir = os.path.join(directory, name)
        os.mkdir(self.dir)
        env = dict(os.environ, GOMAXPROCS="2")
        command = getattr(self, name)(args, directory, site, few)

        def limit():
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            n = FEW_DESCRIPTORS if few else min(20000, hard) if hard != resource.RLIM_INFINITY else 20000
            resource.setrlimit(resource.RLIMIT_NOFILE, (n, n))

        self.log = open(os.path.join(self.dir, "log"), "w+b")
        self.proc = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=env,
                                     preexec_fn=limit)
        try:
            wait_port(self.port, self.proc)
        except RuntimeError as e:
            self.stop()
            self.log.seek(0)
            shutil.rmtree(self.dir, ignore_errors=True)
            raise RuntimeError(f"{name}: {e}\n{self.log.read().decode(errors='replace')}") from None

    def write(self, file, text):
        path = os.path.join(self.dir, file)
        with open(path, "w") as f:
            f.write(text)
        return path

    def fiberd(self, args, directory, site, few):
        tls = self.over == "tls"
        return [args.fiberd, "-c", self.write("fiberd.yaml", FIBERD.format(
            port=self.port, site=site, handshake=", handshake: 3s" if tls else "",
            tls=f"    tls: {{certificate: {directory}/web.pem, key: {directory}/web.key}}" if tls else "",
            h2c="      h2c: true" if self.over == "h2" else ""))]

    def nginx(self, args, directory, site, few):
        most = FEW_DESCRIPTORS if few else 20000
        tls = f"ssl_certificate {directory}/web.pem; ssl_certificate_key {directory}/web.key; ssl_protocols TLSv1.2 TLSv1.3;"
        values = {"USER": pwd.getpwuid(os.getuid()).pw_name, "DIR": self.dir, "PORT": self.port, "SITE": site,
                  "DESCRIPTORS": most, "CONNECTIONS": most, "OVER": {"h1": "", "h2": "http2", "tls": "ssl http2"}[self.over],
                  "TLS": tls if self.over == "tls" else ""}
        return ["nginx", "-c", self.write("nginx.conf", fill_in(os.path.join(HERE, "nginx.conf.in"), values)), "-p", self.dir]

    def go(self, args, directory, site, few):
        # No read and no write time-out, as net/http is commonly run: they count from the request's begin and would
        # cut honest slow uploads and downloads as well. The header's holds for a handshake, too.
        command = [os.path.join(args.bin, "go_http"), f"127.0.0.1:{self.port}", f"127.0.0.1:{free_port()}", site,
                   "header=3s", "idle=8s"]
        return command + {"h1": [], "h2": ["h2c"], "tls": [f"certificate={directory}/web.pem", f"key={directory}/web.key"]}[self.over]

    def haproxy(self, args, directory, site, few):
        self.write("small.bin", "x" * 12288)
        bind = f"ssl crt {directory}/both.pem alpn h2,http/1.1" if self.over == "tls" else ""
        return ["haproxy", "-db", "-f", self.write("haproxy.cfg", HAPROXY.format(port=self.port, dir=self.dir, bind=bind))]

    def pids(self):
        return family(self.proc.pid)

    def stop(self):
        if self.proc.poll() is not None:
            return
        pids = self.pids()
        self.proc.send_signal(signal.SIGTERM)
        try:
            self.proc.wait(10)
        except subprocess.TimeoutExpired:
            # Children first, while their parent still keeps their numbers from being used again.
            for pid in reversed(pids):
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    pass
            self.proc.wait()

    def warm(self):
        """Pools, tables and code paths that honest use needs are not to be counted against an attack."""
        if self.over == "h2":
            warm_http2(self.port)
        elif self.over == "tls":
            warm_tls(self.bin, self.port)
        else:
            warm(self.port)


def exchange(s, request):
    """Sends it, reads the answer; the status, or 0."""
    s.sendall(request)
    data = b""
    while b"\r\n\r\n" not in data:
        piece = s.recv(65536)
        if not piece:
            return 0
        data += piece
    head, body = data.split(b"\r\n\r\n", 1)
    left = None
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            left = int(value) - len(body)
    if left is None:  # chunked
        while not body.endswith(b"0\r\n\r\n"):
            piece = s.recv(65536)
            if not piece:
                return 0
            body += piece
    while left is not None and left > 0:
        piece = s.recv(min(left, 1 << 20))
        if not piece:
            return 0
        left -= len(piece)
    return int(head.split(b" ", 2)[1])


def warm_tls(bin_, port):
    """Dozens of handshakes at the same time belong to an honest working set."""
    for how in ("full", "resumed"):
        out = subprocess.run([os.path.join(bin_, "tls_load"), how, str(port), "48", "2"], capture_output=True, text=True,
                             timeout=30).stdout
        if '"failed": 0' not in out:
            raise RuntimeError(f"not all handshakes of the warm-up were good: {out}")


def warm(port):
    host = b" HTTP/1.1\r\nHost: localhost\r\n"
    gets = b"GET /" + host + b"\r\n"
    upload = b"POST /echo" + host + b"Content-Length: 100000\r\n\r\n" + b"u" * 100000
    small, large = (b"GET /files/" + n + host + b"\r\n" for n in (b"small.bin", b"large.bin"))
    clients = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(48)]
    try:
        for request in [gets] * 8 + [small, upload]:
            for s in clients:
                if exchange(s, request) != 200:
                    raise RuntimeError("a warm-up request was not answered with 200")
        # All at the same time: what dozens of requests in flight need belongs to an honest working set.
        for s in clients:
            s.sendall(upload[:1000])
        time.sleep(0.2)
        for s in clients:
            if exchange(s, upload[1000:]) != 200:
                raise RuntimeError("a warm-up upload was not answered with 200")
        for s in clients[:4]:
            exchange(s, large)
        for s in clients[:8]:  # errors have code and memory, too
            s.sendall(b"nonsense\r\n\r\n")
            s.recv(4096)
    finally:
        for s in clients:
            s.close()


def warm_http2(port):
    with tempfile.NamedTemporaryFile() as body:
        body.write(b"u" * 100000)
        body.flush()
        for path, requests, more in (("/", 20000, []), ("/files/small.bin", 500, []), ("/echo", 500, ["-d", body.name])):
            out = subprocess.run([shutil.which("h2load") or "h2load", "-n", str(requests), "-c", "48", "-m", "10",
                                  f"http://127.0.0.1:{port}{path}"] + more, capture_output=True, text=True, timeout=60).stdout
            # A server may answer an upload before its end, and end that stream.
            if f"{requests} succeeded" not in out and not more:
                raise RuntimeError(f"the warm-up was not answered:\n{out}")
