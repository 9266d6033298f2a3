#pragma once
// A running HTTP server behind TLS handshakes, on a free port of the loopback; its certificate is kTestCertificate.
#include <atomic>
#include <chrono>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include "core/http/server.hpp"
#include "core/net/listener.hpp"
#include "core/runtime/runtime.hpp"
#include "core/tls/acceptor.hpp"
#include "core/tls/server_context.hpp"
#include "tests/support/test_certificates.hpp"

namespace fiberd::test {

class SecureServer {
 public:
  explicit SecureServer(std::vector<http::Route> routes) {
    runtime_ = std::move(*runtime::Runtime::start({.gomaxprocs = 2}));
    server_ = std::move(*http::Server::make({}, std::move(routes)));
    auto context =
        tls::ServerContext::make({.certificate = kTestCertificate, .key = kTestKey, .protocols = {"h2", "http/1.1"}});
    tls::Secured secured;
    secured.contexts = std::make_shared<tls::CurrentContext>(*context);
    secured.argument = server_.get();
    secured.on_secured = [](void* server, std::unique_ptr<net::ByteStream> stream, net::Place&& place,
                            const net::Endpoint& client) noexcept {
      static_cast<http::Server*>(server)->serve(std::move(stream), std::move(place), client);
    };
    runtime_->run([&] { acceptor_.use(std::move(secured)); });
    listener_ = std::move(*net::Listener::bind(*runtime_, net::Endpoint::v4(0x7f000001, 0), {}));
    const auto accepts = [](void* acceptor, net::Admitted&& connection) noexcept {
      static_cast<tls::Acceptor*>(acceptor)->accept(std::move(connection));
    };
    if (const std::error_code error = error_of(listener_->start(accepts, &acceptor_, true)))
      throw std::system_error(error);
  }
  ~SecureServer() {
    runtime_->run([&] {
      listener_->stop();
      const std::atomic<std::int64_t> until{Deadline::in(std::chrono::seconds(5)).ns()};
      acceptor_.drain(until);
      (void)server_->stop(until);
    });
  }
  SecureServer(const SecureServer&) = delete;
  SecureServer& operator=(const SecureServer&) = delete;
  [[nodiscard]] std::uint16_t port() const noexcept { return listener_->local().port(); }

 private:
  tls::Acceptor acceptor_;
  std::unique_ptr<http::Server> server_;
  std::unique_ptr<net::Listener> listener_;
  std::unique_ptr<runtime::Runtime> runtime_;
};

}  // namespace fiberd::test
