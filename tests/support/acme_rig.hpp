#pragma once
// For tests of automatic certificates: an authority whose answers a test writes down, and a manager on a runtime.
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "daemon/acme/manager.hpp"
#include "tests/support/client_fixture.hpp"
#include "tests/support/hostile_upstream.hpp"
#include "tests/support/test_certificates.hpp"

namespace fiberd::test {

namespace acme = daemon::acme;

inline std::string http_answer(const std::string& status, const std::string& fields, const std::string& body) {
  return "HTTP/1.1 " + status + "\r\n" + fields + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

/// An authority whose answers a test writes down, by the last part of the path; "BASE" in them is where it is. The
/// second time another one, if there is one behind "#2".
class FalseAuthority {
 public:
  explicit FalseAuthority(std::map<std::string, std::string> answers)
      : answers_(std::move(answers)), upstream_({[this](UpstreamPeer& peer) { serve(peer); }}) {}
  [[nodiscard]] std::string directory() const { return upstream_.url("/dir"); }
  [[nodiscard]] unsigned requests() const { return upstream_.requests(); }
  /// With a nonce in every answer, and all that an order needs but a certificate.
  static std::map<std::string, std::string> plain() {
    const std::string nonce = "Replay-Nonce: abc\r\n";
    return {{"dir", http_answer("200 OK", "",
                                R"({"newNonce":"BASE/nonce","newAccount":"BASE/account","newOrder":"BASE/order"})")},
            {"nonce", http_answer("200 OK", nonce, "")},
            {"account", http_answer("201 Created", nonce + "Location: BASE/account/1\r\n", "{}")},
            {"order", http_answer("201 Created", nonce + "Location: BASE/order-1\r\n",
                                  R"({"status":"ready","authorizations":[],"finalize":"BASE/finalize"})")},
            {"finalize", http_answer("200 OK", nonce, "{}")},
            {"order-1", http_answer("200 OK", nonce,
                                    R"({"status":"valid","authorizations":[],"finalize":"BASE/finalize",)"
                                    R"("certificate":"BASE/certificate"})")},
            {"certificate", http_answer("200 OK", nonce, kTestCertificate)}};
  }
  static std::map<std::string, std::string> with(const std::string& path, const std::string& answer) {
    std::map<std::string, std::string> all = plain();
    all[path] = answer;
    return all;
  }

 private:
  bool is_first(const std::string& path) {
    const std::lock_guard guard(mutex_);
    return asked_.insert(path).second;
  }
  void serve(UpstreamPeer& peer) {
    while (const auto request = peer.read_request()) {
      const std::size_t end = request->find(" HTTP/1.1");
      const std::string path = request->substr(0, end);
      const std::string last = path.substr(path.rfind('/') + 1);
      const auto second = is_first(last) ? answers_.end() : answers_.find(last + "#2");
      const auto found = second != answers_.end() ? second : answers_.find(last);
      std::string answer = found != answers_.end() ? found->second : http_answer("404 Not Found", "", "");
      const std::string base = upstream_.url("");
      // Bodies that have a BASE are of our own: their length is written anew.
      const std::size_t body = answer.find("\r\n\r\n") + 4;
      std::string head = answer.substr(0, body);
      std::string text = answer.substr(body);
      for (std::string* part : {&head, &text})
        for (std::size_t at = part->find("BASE"); at != std::string::npos; at = part->find("BASE"))
          part->replace(at, 4, base);
      const std::size_t length = head.find("Content-Length: ");
      if (length != std::string::npos)
        head = head.substr(0, length) + "Content-Length: " + std::to_string(text.size()) + "\r\n\r\n";
      if (request->starts_with("HEAD ")) text.clear();
      if (!peer.send(head + text)) return;
    }
  }
  const std::map<std::string, std::string> answers_;
  std::mutex mutex_;
  std::set<std::string> asked_;
  HostileUpstream upstream_;
};

/// A manager on a runtime of its own.
struct Managed {
  Managed() {
    acme::ManagerMetrics m;
    m.issued = counter("issued");
    m.bad_nonces = counter("bad_nonces");
    m.failing = &registry.gauge(registry.family({.name = "failing", .help = "x", .type = metric::Type::gauge}));
    for (std::size_t i = 0; i < m.failures.size(); ++i)
      m.failures[i] = counter("failed_" + std::string(acme::token_of(static_cast<acme::Reason>(i))));
    metrics = m;
    manager = std::make_unique<acme::Manager>(fixture.runtime(), board, metrics);
  }
  ~Managed() {
    fixture.run([this] { manager->stop(); });
  }
  metric::Counter* counter(const std::string& name) {
    return &registry.counter(registry.family({.name = name + "_total", .help = "x"}));
  }
  std::shared_ptr<acme::Challenges> board = std::make_shared<acme::Challenges>();
  metric::Registry registry;
  acme::ManagerMetrics metrics;
  ClientFixture fixture;
  std::unique_ptr<acme::Manager> manager;
};

inline acme::Site site_of(const std::string& directory, const std::string& storage) {
  return {.listener = "web",
          .names = {"one.test", "two.test"},
          .directory = directory,
          .storage = storage,
          .email = {},
          .key_id = {},
          .key_file = {},
          .profile = {},
          .ways = {.http = true, .tls_alpn = false, .dns_program = {}},
          .tls = *tls::ClientContext::make({.ca = kTestCa, .protocols = {"http/1.1"}})};
}

}  // namespace fiberd::test
