#pragma once
// pebble, the authority that Let's Encrypt tests clients with, and pebble-challtestsrv as its DNS: every name is
// 127.0.0.1, where it looks at the ports that it is given. Both listen on the loopback alone.
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "tests/support/daemon.hpp"
#include "tests/support/free_port.hpp"
#include "tests/support/test_certificates.hpp"

namespace fiberd::test {

class Pebble {
 public:
  struct Options {
    std::uint16_t http_port = 1;  ///< where http-01 is looked for
    std::uint16_t tls_port = 1;   ///< where tls-alpn-01 is
    unsigned bad_nonces = 0;      ///< percent of good nonces that are refused
    unsigned reuse = 0;           ///< percent of valid authorizations that are used again
    bool external_account = false;
    std::uint16_t port = 0;  ///< of its own; 0: a free one
    unsigned life = 0;       ///< seconds that its certificates are good for; 0: years
  };
  static constexpr std::string_view kKeyId = "kid-1";
  static constexpr std::string_view kSecret = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";

  /// Whether there is one; says what is missing if not.
  [[nodiscard]] static bool is_there() {
    return ::access("/usr/bin/pebble", X_OK) == 0 && ::access("/usr/bin/pebble-challtestsrv", X_OK) == 0;
  }

  explicit Pebble(const Options& options)
      : port_(options.port != 0 ? options.port : free_port()), dns_port_(free_port()), management_port_(free_port()) {
    const std::string certificate = directory_.write("cert.pem", kTestCertificate);
    const std::string key = directory_.write("key.pem", kTestKey);
    ca_file_ = directory_.write("ca.pem", kTestCa);
    std::string config = R"({"pebble": {"listenAddress": "127.0.0.1:)" + std::to_string(port_) +
                         R"(", "managementListenAddress": "", "certificate": ")" + certificate +
                         R"(", "privateKey": ")" + key + R"(", "httpPort": )" + std::to_string(options.http_port) +
                         R"(, "tlsPort": )" + std::to_string(options.tls_port) + R"(, "ocspResponderURL": "")";
    if (options.external_account)
      config += R"(, "externalAccountBindingRequired": true, "externalAccountMACKeys": {")" + std::string(kKeyId) +
                R"(": ")" + std::string(kSecret) + R"("})";
    if (options.life != 0) config += R"(, "certificateValidityPeriod": )" + std::to_string(options.life);
    config += "}}";
    const std::string file = directory_.write("pebble.json", config);
    const std::string dns = "127.0.0.1:" + std::to_string(dns_port_);
    names_ = std::make_unique<Process>(Process::Options{
        .arguments = {"pebble-challtestsrv", "-dns01", dns, "-http01", "", "-https01", "", "-tlsalpn01", "",
                      "-management", "127.0.0.1:" + std::to_string(management_port_), "-defaultIPv6", ""}});
    authority_ = std::make_unique<Process>(
        Process::Options{.arguments = {"pebble", "-config", file, "-dnsserver", dns},
                         .environment = {{"PEBBLE_VA_NOSLEEP", "1"},
                                         {"PEBBLE_AUTHZREUSE", std::to_string(options.reuse)},
                                         {"PEBBLE_WFE_NONCEREJECT", std::to_string(options.bad_nonces)}}});
    ready_ = wait_for(port_, *authority_) && wait_for(management_port_, *names_);
  }

  /// Both answer.
  [[nodiscard]] bool ready() const noexcept { return ready_; }
  [[nodiscard]] std::string directory() const { return "https://127.0.0.1:" + std::to_string(port_) + "/dir"; }
  [[nodiscard]] const std::string& ca_file() const noexcept { return ca_file_; }
  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
  /// Where challtestsrv is told what its DNS has.
  [[nodiscard]] std::string management() const { return "http://127.0.0.1:" + std::to_string(management_port_); }
  [[nodiscard]] std::string log() const { return authority_->output() + authority_->errors(); }

 private:
  static bool wait_for(std::uint16_t port, Process& process) {
    for (int i = 0; i < 3000 && process.running(); ++i) {
      const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      const net::Endpoint there = net::Endpoint::v4(0x7f000001, port);
      const bool up = ::connect(fd, there.data(), there.size()) == 0;
      ::close(fd);
      if (up) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }
  TemporaryDirectory directory_;
  std::string ca_file_;
  std::uint16_t port_;
  std::uint16_t dns_port_;
  std::uint16_t management_port_;
  std::unique_ptr<Process> names_;
  std::unique_ptr<Process> authority_;
  bool ready_ = false;
};

}  // namespace fiberd::test
