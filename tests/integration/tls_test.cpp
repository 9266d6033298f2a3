// TLS listeners, asked by programs that are not ours: curl, openssl s_client, Python's ssl. Certificates are made here.
#include <signal.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "tests/integration/configurations.hpp"
#include "tests/support/certificates.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

namespace fs = std::filesystem;

const TestAuthority& authority() {
  static const TestAuthority one;
  return one;
}

/// Files of a site, each put in place as a whole.
struct TlsFiles {
  TlsFiles() { put("root.pem", authority().certificate()); }
  std::string put(const std::string& name, const std::string& text) const {
    const std::string fresh = directory.write(name + ".new", text);
    fs::permissions(fresh, fs::perms::owner_read | fs::perms::owner_write);
    fs::rename(fresh, at(name));
    return at(name);
  }
  void pair(const std::string& name, const CertificateWishes& wishes) const {
    const MadePair made = authority().issue(wishes);
    put(name + ".pem", made.certificate);
    put(name + ".key", made.key);
  }
  [[nodiscard]] std::string at(const std::string& name) const { return directory.path() + "/" + name; }
  [[nodiscard]] std::string named(const std::string& name) const {
    return "certificate: " + at(name + ".pem") + ", key: " + at(name + ".key");
  }
  const TemporaryDirectory directory;
};

std::string tls_site(const std::string& tls) {
  return "admin: {address: \"127.0.0.1:0\"}\nlisteners:\n- {name: web, address: \"127.0.0.1:0\", tls: {" + tls +
         "}, http: {routes: [{path: /, respond: {body: \"hello\"}}]}}\n";
}

std::string port_of(const Daemon& daemon) { return std::to_string(daemon.port("web")); }

/// curl's output, for the URL of a name that is this machine.
Finished curl(const Daemon& daemon, const TlsFiles& files, const std::string& name,
              const std::vector<std::string>& more = {}) {
  const std::string port = port_of(daemon);
  std::vector<std::string> words{"curl",       "-sS",
                                 "--max-time", "60",
                                 "--cacert",   files.at("root.pem"),
                                 "--resolve",  name + ":" + port + ":127.0.0.1"};
  words.insert(words.end(), more.begin(), more.end());
  words.push_back("https://" + name + ":" + port + "/");
  return run(words);
}

/// What openssl s_client says, without anything to be sent.
std::string s_client(const Daemon& daemon, const std::string& words) {
  return run({"sh", "-c", "openssl s_client -connect 127.0.0.1:" + port_of(daemon) + " " + words + " </dev/null 2>&1"})
      .output;
}

bool holds(const std::string& text, const std::string& what) { return text.find(what) != std::string::npos; }

}  // namespace

TEST_CASE("TLS: curl and openssl s_client are shown the certificate of the name that they ask for",
          "[integration][tls][tools]") {
  const TlsFiles files;
  files.pair("first", {.names = {"first.example.org"}});
  files.pair("a", {.names = {"a.example.org"}});
  files.pair("rsa", {.names = {"a.example.org"}, .key = TestKey::rsa});
  files.pair("wild", {.names = {"*.example.org"}});
  const std::string list = "certificates: [{" + files.named("first") + "}, {" + files.named("a") + "}, {" +
                           files.named("rsa") + "}, {" + files.named("wild") + "}]";
  {
    Daemon daemon(tls_site(list));
    for (const char* name : {"first.example.org", "a.example.org", "b.example.org"}) {
      const Finished got = curl(daemon, files, name);
      INFO(name << got.errors);
      CHECK(got.output == "hello");
    }
    CHECK(curl(daemon, files, "x.y.example.org").code == 60);  // another's certificate
    CHECK(holds(s_client(daemon, "-servername a.example.org -sigalgs RSA-PSS+SHA256"), "rsaEncryption"));
    CHECK(holds(s_client(daemon, "-servername a.example.org -sigalgs ECDSA+SHA256"), "id-ecPublicKey"));
    CHECK(holds(s_client(daemon, "-noservername"), "CN = first.example.org"));
    CHECK(holds(s_client(daemon, "-tls1_3"), "TLSv1.3"));
    CHECK(holds(s_client(daemon, "-tls1_2"), "TLSv1.2"));
    CHECK(holds(s_client(daemon, "-tls1_1 -cipher DEFAULT@SECLEVEL=0"), "protocol version"));
    CHECK(daemon.stop() == 0);
  }
  Daemon strict(tls_site(list + ", strict_sni: true, profile: modern"));
  CHECK(curl(strict, files, "b.example.org").output == "hello");
  CHECK(holds(s_client(strict, "-noservername"), "unrecognized name"));
  CHECK(holds(s_client(strict, "-servername elsewhere.example"), "unrecognized name"));
  CHECK(holds(s_client(strict, "-servername a.example.org -tls1_2"), "protocol version"));
  CHECK(strict.stop() == 0);
}

TEST_CASE("TLS: tickets are taken again, by another process with the same keys, too; early data is not",
          "[integration][tls][tools]") {
  const TlsFiles files;
  files.pair("a", {.names = {"a.example.org"}});
  files.put("1", std::string(80, '1'));
  files.put("2", std::string(80, '2'));
  const auto site = [&](const std::string& more) { return tls_site(files.named("a") + more); };
  const std::string session = files.at("session");
  const auto begun = [&](const Daemon& daemon, const std::string& version) {
    // A ticket of TLS 1.3 comes behind the handshake: a request is answered before the end.
    return run({"sh", "-c",
                "printf 'GET / HTTP/1.1\\r\\nHost: a.example.org\\r\\nConnection: close\\r\\n\\r\\n' | openssl "
                "s_client "
                "-quiet -connect 127.0.0.1:" +
                    port_of(daemon) + " " + version + " -sess_out " + session + " 2>/dev/null"})
        .output;
  };
  const auto resumed = [&](const Daemon& daemon, const std::string& version) {
    return holds(s_client(daemon, version + " -sess_in " + session), "Reused, ");
  };
  Daemon first(site(", ticket_keys: [" + files.at("1") + "]"));
  Daemon second(site(", ticket_keys: [" + files.at("2") + ", " + files.at("1") + "]"));
  Daemon alone(site(""));
  for (const char* version : {"-tls1_2", "-tls1_3"}) {
    INFO(version);
    CHECK(holds(begun(first, version), "hello"));
    CHECK(resumed(first, version));
    CHECK(resumed(second, version));
    CHECK_FALSE(resumed(alone, version));
    CHECK(holds(begun(alone, version), "hello"));
    CHECK(resumed(alone, version));
    CHECK_FALSE(resumed(first, version));
  }
  // A renewal keeps sessions.
  CHECK(holds(begun(alone, "-tls1_3"), "hello"));
  files.pair("a", {.names = {"a.example.org"}});
  REQUIRE(
      eventually([&] { return alone.metric("fiberd_tls_certificate_reloads_total{result=\"success\"}") == 1; }, 30s));
  CHECK(resumed(alone, "-tls1_3"));
  CHECK_FALSE(holds(s_client(alone, "-tls1_3 -sess_in " + session), "Max Early Data: 1"));
  CHECK(holds(s_client(alone, "-tls1_3 -sess_in " + session), "Early data was not sent"));
  for (Daemon* const daemon : {&first, &second, &alone}) CHECK(daemon->stop() == 0);
}

TEST_CASE("TLS: mTLS by curl and by Python's ssl", "[integration][tls][tools]") {
  const TlsFiles files;
  files.pair("a", {.names = {"a.example.org"}});
  const TestAuthority clients("clients");
  const TestAuthority strangers("strangers");
  files.put("clients.pem", clients.certificate());
  const auto client = [&](const TestAuthority& by, const std::string& name) {
    const MadePair made = by.issue({.names = {name}});
    files.put(name + ".pem", made.certificate);
    files.put(name + ".key", made.key);
    return made;
  };
  const MadePair alice = client(clients, "alice");
  const MadePair mallory = client(clients, "mallory");
  (void)client(strangers, "eve");
  files.put("crl.pem", clients.revoke({}));
  const auto answer = [&](const Daemon& daemon, const std::string& who) {
    if (who.empty()) return curl(daemon, files, "a.example.org").output;
    return curl(daemon, files, "a.example.org", {"--cert", files.at(who + ".pem"), "--key", files.at(who + ".key")})
        .output;
  };
  const std::string asked = files.named("a") + ", client_auth: {ca: " + files.at("clients.pem");
  {
    Daemon daemon(tls_site(asked + ", crl: " + files.at("crl.pem") + "}"));
    CHECK(answer(daemon, "alice") == "hello");
    CHECK(answer(daemon, "mallory") == "hello");
    CHECK(answer(daemon, "eve").empty());
    CHECK(answer(daemon, "").empty());
    const std::string python =
        "import socket, ssl, sys\n"
        "c = ssl.create_default_context(cafile=sys.argv[2])\n"
        "c.load_cert_chain(sys.argv[3] + '.pem', sys.argv[3] + '.key')\n"
        "s = c.wrap_socket(socket.create_connection(('127.0.0.1', int(sys.argv[1])), 60), "
        "server_hostname='a.example.org')\n"
        "s.sendall(b'GET / HTTP/1.1\\r\\nHost: a.example.org\\r\\nConnection: close\\r\\n\\r\\n')\n"
        "data = b''\n"
        "while True:\n"
        "  more = s.recv(65536)\n"
        "  if not more: break\n"
        "  data += more\n"
        "print(s.version(), data.decode())\n";
    const Finished got = run({"python3", "-c", python, port_of(daemon), files.at("root.pem"), files.at("alice")});
    INFO(got.errors);
    CHECK(holds(got.output, "TLSv1.3 HTTP/1.1 200 OK"));
    CHECK(holds(got.output, "hello"));
    // Who is revoked while the daemon runs.
    files.put("crl.pem", clients.revoke({mallory.certificate}));
    CHECK(eventually([&] { return answer(daemon, "mallory").empty(); }, 30s));
    CHECK(answer(daemon, "alice") == "hello");
    CHECK(daemon.stop() == 0);
  }
  Daemon daemon(tls_site(asked + ", mode: request}"));
  CHECK(answer(daemon, "alice") == "hello");
  CHECK(answer(daemon, "") == "hello");
  CHECK(answer(daemon, "eve").empty());
  CHECK(daemon.stop() == 0);
}

TEST_CASE("TLS: an OCSP response is stapled", "[integration][tls][tools]") {
  const TlsFiles files;
  const MadePair made = authority().issue({.names = {"a.example.org"}});
  files.put("a.pem", made.certificate);
  files.put("a.key", made.key);
  files.put("a.ocsp", authority().vouch(made.certificate));
  Daemon daemon(tls_site(files.named("a") + ", ocsp: " + files.at("a.ocsp")));
  CHECK(holds(s_client(daemon, "-status"), "OCSP Response Status: successful"));
  CHECK(holds(s_client(daemon, "-status -tls1_2"), "Cert Status: good"));
  CHECK(daemon.stop() == 0);
}

TEST_CASE("TLS: a pair that is wrong keeps the one before, and check, a start and a reload say the same",
          "[integration][tls]") {
  const TlsFiles files;
  files.pair("a", {.names = {"a.example.org"}});
  const std::string site = tls_site(files.named("a"));
  Daemon daemon(site);
  CHECK(curl(daemon, files, "a.example.org").output == "hello");
  CHECK(daemon
            .metric("fiberd_tls_certificate_not_after_seconds{listener=\"web\",certificate=\"" + files.at("a.pem") +
                    "\"}")
            .value_or(0) > 1e9);
  const std::string wrong =
      "listeners[0].tls.key: " + files.at("a.key") + ": is the key of another certificate than " + files.at("a.pem");
  files.put("a.key", authority().issue({.names = {"a.example.org"}}).key);
  REQUIRE(
      eventually([&] { return daemon.metric("fiberd_tls_certificate_reloads_total{result=\"failure\"}") == 1; }, 30s));
  CHECK(daemon.wait_for_log(wrong));
  CHECK(curl(daemon, files, "a.example.org").output == "hello");
  const Finished checked = run({FIBERD_BINARY, "check", daemon.config_file()});
  CHECK(checked.code == 2);
  CHECK(holds(checked.errors, wrong));
  const Finished started = run({FIBERD_BINARY, "run", "-c", daemon.config_file()});
  CHECK(started.code == 2);
  CHECK(holds(started.errors, wrong));
  daemon.process().signal(SIGHUP);
  REQUIRE(daemon.wait_for_log("reload refused: the configuration before goes on"));
  CHECK(curl(daemon, files, "a.example.org").output == "hello");
  files.pair("a", {.names = {"a.example.org", "b.example.org"}});
  CHECK(eventually([&] { return curl(daemon, files, "b.example.org").output == "hello"; }, 60s));
  CHECK(daemon.stop() == 0);
}

namespace {

/// Requests by curl, a connection each, from two threads, while certificates are swapped and the configuration is
/// reloaded.
void swap_under_load(int swaps, int reloads) {
  const TlsFiles files;
  files.pair("a", {.names = {"a.example.org"}});
  Daemon daemon(tls_site(files.named("a")));
  std::atomic<bool> over{false};
  std::atomic<int> asked{0};
  std::atomic<int> failed{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 2; ++i)
    clients.emplace_back([&] {
      while (!over.load()) {
        if (curl(daemon, files, "a.example.org").output != "hello") failed.fetch_add(1);
        asked.fetch_add(1);
      }
    });
  double seen = 0;
  for (int i = 0; i < swaps; ++i) {
    files.pair("a", {.names = {"a.example.org"}});
    const auto swapped = [&] {
      return daemon.metric("fiberd_tls_certificate_reloads_total{result=\"success\"}").value_or(0);
    };
    if (!eventually([&] { return swapped() > seen; }, 60s)) break;
    seen = swapped();
    if (i < reloads) {
      daemon.process().signal(SIGHUP);
      if (!eventually([&] { return daemon.metric("fiberd_config_reloads_total{result=\"success\"}") == i + 1; }, 60s))
        break;
    }
  }
  const int least = asked.load() + 4;  // some behind the last swap
  (void)eventually([&] { return asked.load() >= least; }, 60s);
  over.store(true);
  for (std::thread& client : clients) client.join();
  CHECK(seen >= swaps);
  CHECK(daemon.metric("fiberd_config_reloads_total{result=\"success\"}") == reloads);
  CHECK(asked.load() >= least);
  CHECK(failed.load() == 0);
  CHECK(daemon.stop() == 0);
}

}  // namespace

TEST_CASE("TLS: certificates are swapped and configurations reloaded under load, and no request fails",
          "[integration][tls]") {
  swap_under_load(3, 2);
}

TEST_CASE("TLS: a hundred swaps and twenty reloads under load", "[integration][tls][.nightly]") {
  swap_under_load(100, 20);
}
