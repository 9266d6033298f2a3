// Public tools against a listener with TLS, and clients that misbehave before a connection is encrypted.
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <optional>
#include <string>
#include <vector>

#include "tests/integration/conversations.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"
#include "tests/support/test_certificates.hpp"

using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

/// A daemon with TLS, its files, and one who asks it.
struct EncryptedSite {
  explicit EncryptedSite(const std::string& http = "", const std::string& more = "",
                         const std::string& patience = "100ms")
      : idle(patience) {
    files.write("ca.pem", kTestCa);
    files.write("web.pem", kTestCertificate);
    files.write("web.key", kTestKey);
    daemon.emplace(yaml(http, more));
  }
  [[nodiscard]] std::string yaml(const std::string& http, const std::string& more) const {
    return "admin: {address: \"127.0.0.1:0\"}\nshutdown: {idle: " + idle +
           "}\nlisteners:\n  - {name: web, address: \"127.0.0.1:0\"" + more + ", tls: {certificate: " + files.path() +
           "/web.pem, key: " + files.path() + "/web.key}, http: {" + http +
           "routes: [{path: /, respond: {body: \"${scheme} ${client}\"}}, {path: /echo, echo: {}}, "
           "{path: /big, respond: {body: \"" +
           std::string(60'000, 'x') + "\"}}]}}\n";
  }
  [[nodiscard]] std::string origin() const { return "https://localhost:" + std::to_string(daemon->port("web")); }
  [[nodiscard]] Finished curl(std::vector<std::string> arguments) const {
    std::vector<std::string> all{"curl",       "--silent", "--show-error", "--cacert", files.path() + "/ca.pem",
                                 "--max-time", "60"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return run(all);
  }
  [[nodiscard]] double failed(const std::string& reason) const {
    return daemon->metric("fiberd_tls_handshake_failures_total{listener=\"web\",reason=\"" + reason + "\"}")
        .value_or(0);
  }
  [[nodiscard]] double pending() const {
    return daemon->metric("fiberd_tls_handshakes_pending{listener=\"web\"}").value_or(-1);
  }
  const std::string idle;
  TemporaryDirectory files;
  std::optional<Daemon> daemon;
};

std::ptrdiff_t open_descriptors_of(pid_t pid) {
  DIR* const all = ::opendir(("/proc/" + std::to_string(pid) + "/fd").c_str());
  std::ptrdiff_t n = 0;
  while (all != nullptr && ::readdir(all) != nullptr) ++n;
  if (all != nullptr) ::closedir(all);
  return n;
}

}  // namespace

TEST_CASE("curl is served by https: answers, uploads, kept connections, both versions", "[integration][daemon][tls]") {
  EncryptedSite site;
  CHECK(site.curl({site.origin() + "/"}).output == "https 127.0.0.1");
  CHECK(site.curl({"--tls-max", "1.2", site.origin() + "/"}).output == "https 127.0.0.1");
  CHECK(site.curl({"--data-binary", std::string(30'000, 'y'), site.origin() + "/echo"}).output ==
        std::string(30'000, 'y'));
  const Finished two = site.curl({"--write-out", "%{num_connects} ", site.origin() + "/big", site.origin() + "/big"});
  CHECK(two.code == 0);
  CHECK(two.output == std::string(60'000, 'x') + "1 " + std::string(60'000, 'x') + "0 ");
  // Answered and closed: with close_notify, or curl would complain.
  const Finished closed = site.curl({"--header", "Connection: close", site.origin() + "/big"});
  CHECK(closed.code == 0);
  CHECK(closed.output.size() == 60'000);
  // The name is not the certificate's.
  CHECK(site.curl({"https://127.0.0.2:" + std::to_string(site.daemon->port("web")) + "/"}).code != 0);
  CHECK(
      site.daemon->metric("fiberd_tls_handshakes_total{listener=\"web\",version=\"1.3\",resumed=\"no\"}").value_or(0) >=
      4);
  CHECK(site.daemon->metric("fiberd_tls_handshakes_total{listener=\"web\",version=\"1.2\",resumed=\"no\"}") == 1);
  CHECK(eventually([&] { return site.pending() == 0; }));
  CHECK(site.daemon->metric("fiberd_bugs_total").value_or(0) == 0);
  CHECK(site.daemon->stop() == 0);
}

TEST_CASE("openssl s_client: versions, ALPN, resumption, and no renegotiation", "[integration][daemon][tls]") {
  EncryptedSite site;
  const std::string at = "127.0.0.1:" + std::to_string(site.daemon->port("web"));
  const auto client = [&](const std::string& options, const std::string& input = "") {
    return run({"sh", "-c",
                "printf '" + input + "' | timeout 60 openssl s_client -connect " + at + " -CAfile " +
                    site.files.path() + "/ca.pem -servername localhost " + options + " 2>&1"});
  };
  const std::string get = "GET / HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n";
  const std::string quiet = "-quiet -ign_eof -verify_return_error ";
  CHECK(client(quiet + "-tls1_3", get).output.find("https 127.0.0.1") != std::string::npos);
  CHECK(client(quiet + "-tls1_2", get).output.find("https 127.0.0.1") != std::string::npos);
  CHECK(client("-tls1_1 -cipher ALL:@SECLEVEL=0", get).output.find("https 127.0.0.1") == std::string::npos);
  CHECK(eventually([&] { return site.failed("version") == 1; }));
  CHECK(client("-alpn http/1.1").output.find("ALPN protocol: http/1.1") != std::string::npos);
  CHECK(client("-alpn http/1.0,http/1.1").output.find("ALPN protocol: http/1.1") != std::string::npos);
  const Finished old = client("-ign_eof -alpn http/1.0", "GET / HTTP/1.0\\r\\n\\r\\n");
  CHECK(old.output.find("ALPN protocol: http/1.0") != std::string::npos);
  CHECK(old.output.find("https 127.0.0.1") != std::string::npos);
  CHECK(client(quiet, "GET https://localhost/ HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n")
            .output.find("https 127.0.0.1") != std::string::npos);
  CHECK(client("-tls1_2 -cipher AES128-SHA").code != 0);
  CHECK(eventually([&] { return site.failed("cipher") == 1; }));
  CHECK(client("-alpn nonsense").output.find("no application protocol") != std::string::npos);
  CHECK(eventually([&] { return site.failed("protocol") == 1; }));
  const std::string session = site.files.path() + "/session";
  CHECK(client(quiet + "-tls1_2 -sess_out " + session, get).code == 0);
  CHECK(client(quiet + "-tls1_2 -sess_in " + session, get).code == 0);
  CHECK(eventually([&] {
    return site.daemon->metric("fiberd_tls_handshakes_total{listener=\"web\",version=\"1.2\",resumed=\"yes\"}") == 1;
  }));
  // "R" on a line of its own asks for a renegotiation.
  const Finished again = client("-tls1_2", "R\\n");
  CHECK(again.output.find("RENEGOTIATING") != std::string::npos);
  CHECK(again.output.find("no renegotiation") != std::string::npos);
  CHECK(site.daemon->metric("fiberd_bugs_total").value_or(0) == 0);
  CHECK(site.daemon->stop() == 0);
}

TEST_CASE("Python's ssl: an orderly end on both sides, and one that is none", "[integration][daemon][tls]") {
  EncryptedSite site;
  const std::string program =
      "import socket, ssl, sys\n"
      "c = ssl.create_default_context(cafile='" +
      site.files.path() +
      "/ca.pem')\n"
      "def connect():\n"
      "    s = socket.create_connection(('127.0.0.1', " +
      std::to_string(site.daemon->port("web")) +
      "), 60)\n"
      "    return c.wrap_socket(s, server_hostname='localhost', suppress_ragged_eofs=False)\n"
      "def read_all(s):\n"
      "    all = b''\n"
      "    while True:\n"
      "        d = s.recv(65536)\n"
      "        if not d: return all\n"
      "        all += d\n"
      "s = connect()\n"
      "s.sendall(b'GET /big HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n')\n"
      "assert len(read_all(s)) > 60000\n"  // raises SSLEOFError without close_notify
      "s = connect()\n"
      "s.sendall(b'GET / HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n' * 3)\n"
      "got = b''\n"
      "while got.count(b'https 127.0.0.1') < 3: got += s.recv(65536)\n"
      "s.unwrap()\n"  // our close_notify is answered by the server's
      "s = connect()\n"
      "s.sendall(b'POST /echo HTTP/1.1\\r\\nHost: localhost\\r\\nContent-Length: 10\\r\\n\\r\\nhalf')\n"
      "s.shutdown(socket.SHUT_WR)\n"
      "print(c.minimum_version.name, 'done')\n";
  const Finished python = run({"python3", "-c", program});
  INFO(python.errors);
  CHECK(python.code == 0);
  CHECK(python.output.find("done") != std::string::npos);
  CHECK(eventually([&] { return site.daemon->metric("fiberd_listener_connections{listener=\"web\"}") == 0; }, 60s));
  CHECK(site.daemon->stop() == 0);
}

TEST_CASE("plain HTTP at a port of TLS is answered 400 with a hint, and noise by nothing",
          "[integration][daemon][tls]") {
  EncryptedSite site;
  for (const std::string method : {"GET", "DELETE"}) {
    HttpClient client(site.daemon->port("web"));
    client.send(method + " / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    const std::string answer = answer_of(client);
    CHECK(answer.starts_with("400 "));
    CHECK(answer.find("https://") != std::string::npos);
  }
  CHECK(site.failed("plain_http") == 2);
  HttpClient noise(site.daemon->port("web"));
  noise.send(std::string(64, '\0'));
  CHECK(answer_of(noise).find("200") == std::string::npos);
  CHECK(eventually([&] { return site.failed("not_tls") == 1; }));
  CHECK(site.daemon->stop() == 0);
}

TEST_CASE("a thousand stalled handshakes are bounded, and hurt nobody; their descriptors come back",
          "[integration][daemon][tls]") {
  EncryptedSite site("timeouts: {handshake: 60s}, limits: {handshakes: 100}, ");
  CHECK(site.curl({site.origin() + "/"}).output == "https 127.0.0.1");
  const auto before = open_descriptors_of(site.daemon->process().pid());
  std::vector<int> held;
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(site.daemon->port("web"));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  // The heads of a record and of a hello, of which no more comes: silent ones are not even accepted at first.
  const std::string begun("\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03", 11);
  for (int i = 0; i < 1'000; ++i) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) break;
    held.push_back(fd);
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0)
      (void)::send(fd, begun.data(), begun.size(), MSG_NOSIGNAL);
  }
  REQUIRE(held.size() == 1'000);
  CHECK(eventually([&] { return site.failed("reclaimed") + site.failed("limit") >= 890; }, 60s));
  CHECK(site.pending() <= 110);
  for (int i = 0; i < 5; ++i) CHECK(site.curl({site.origin() + "/"}).output == "https 127.0.0.1");
  for (const int fd : held) ::close(fd);
  CHECK(eventually([&] { return site.pending() == 0; }, 60s));
  CHECK(eventually([&] { return open_descriptors_of(site.daemon->process().pid()) <= before + 2; }, 60s));
  CHECK(site.daemon->metric("fiberd_bugs_total").value_or(0) == 0);
  CHECK(site.daemon->stop() == 0);
}

TEST_CASE("a hello that drips, or is larger than any, is ended and counted", "[integration][daemon][tls]") {
  EncryptedSite site("timeouts: {handshake: 300ms}, ");
  HttpClient drips(site.daemon->port("web"));
  drips.send(std::string("\x16\x03\x01\x01\x00\x01\x00", 7));
  CHECK(eventually([&] { return site.failed("timeout") == 1; }, 60s));
  HttpClient large(site.daemon->port("web"));
  large.send(std::string("\x16\x03\x01\x40\x00\x01\x01\x00\x00", 9) + std::string(16'000, 'x'));
  CHECK(eventually([&] { return site.failed("hello_too_large") == 1; }, 60s));
  CHECK(site.curl({site.origin() + "/"}).output == "https 127.0.0.1");
  CHECK(site.daemon->stop() == 0);
}

TEST_CASE("behind a proxy the client is whom its header names, then TLS begins", "[integration][daemon][tls]") {
  EncryptedSite site("", ", proxy_protocol: v1", "100ms}\ntrusted_proxies: [127.0.0.1]\nlog: {level: info");
  // curl sends a version 1 header with its own addresses.
  CHECK(site.curl({"--haproxy-protocol", site.origin() + "/"}).output == "https 127.0.0.1");
  CHECK(site.curl({site.origin() + "/"}).code != 0);
  CHECK(site.daemon->stop() == 0);
}

TEST_CASE("a reload and a stop let a handshake under way come to its end", "[integration][daemon][tls]") {
  EncryptedSite site("", "", "20s, timeout: 60s");
  const std::string program =
      "import socket, ssl, sys\n"
      "c = ssl.create_default_context(cafile='" +
      site.files.path() +
      "/ca.pem')\n"
      "i, o = ssl.MemoryBIO(), ssl.MemoryBIO()\n"
      "t = c.wrap_bio(i, o, server_hostname='localhost')\n"
      "s = socket.create_connection(('127.0.0.1', " +
      std::to_string(site.daemon->port("web")) +
      "), 60)\n"
      "try: t.do_handshake()\n"
      "except ssl.SSLWantReadError: pass\n"
      "s.sendall(o.read()); i.write(s.recv(65536))\n"
      "print('half', flush=True); sys.stdin.readline()\n"
      "while True:\n"
      "    try: t.do_handshake(); break\n"
      "    except ssl.SSLWantReadError: i.write(s.recv(65536))\n"
      "t.write(b'GET / HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n'); s.sendall(o.read())\n"
      "got = b''\n"
      "while b'https 127.0.0.1' not in got:\n"
      "    d = s.recv(65536)\n"
      "    assert d, got\n"
      "    i.write(d)\n"
      "    try: got += t.read(65536)\n"
      "    except ssl.SSLWantReadError: pass\n"
      "print('served', flush=True)\n";
  const std::string fifo = site.files.path() + "/go";
  site.files.write("client.py", program);
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  Process client({.arguments = {"sh", "-c", "exec python3 " + site.files.path() + "/client.py < " + fifo}});
  const int go = ::open(fifo.c_str(), O_WRONLY | O_CLOEXEC);
  REQUIRE(go >= 0);
  CHECK(eventually([&] { return client.output().find("half") != std::string::npos; }, 60s));
  CHECK(reload(*site.daemon, site.yaml("hosts: [localhost], ", "")).status == 200);
  site.daemon->process().signal(SIGTERM);
  CHECK(site.daemon->wait_for_log("stopping", 60s));
  CHECK(::write(go, "\n", 1) == 1);
  const bool served =
      eventually([&] { return client.output().find("served") != std::string::npos || !client.running(); }, 60s);
  INFO(client.output() << client.errors() << site.daemon->log());
  CHECK(served);
  CHECK(client.output().find("served") != std::string::npos);
  ::close(go);
  CHECK(site.daemon->process().wait(60s) == 0);
}
