// A program with handlers of its own, as own_handlers_test.cpp runs it. It knows fiberd by what is installed only.
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fiberd/core/base/log.hpp>
#include <fiberd/core/context/waits.hpp>
#include <fiberd/daemon/daemon.hpp>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>

using namespace fiberd;

namespace {

/// A handler with a state: the same for all listeners and routes that name it.
class Visits final : public http::Handler {
 public:
  std::error_code serve(http::Exchange& exchange) override {
    return exchange.respond(200, "text/plain", std::to_string(++count_));
  }

 private:
  std::atomic<unsigned> count_{0};
};

void write(net::TcpStream& stream, std::string_view text) { (void)stream.write_all(std::as_bytes(std::span(text))); }

void mirror(const context::Context& connection, net::TcpStream& stream) {
  std::array<std::byte, 256> buffer;
  for (auto n = stream.read_some(buffer); n && *n != 0; n = stream.read_some(buffer))
    (void)stream.write_all(std::span(buffer).first(*n), connection.deadline());
  write(stream, "bye");
}

/// Waits for the end of its context, and says which it was.
void patient(const context::Context& connection, net::TcpStream& stream) {
  write(stream, "waiting");
  const std::error_code error = context::sleep(connection, std::chrono::hours(1));
  log(LogLevel::info, "patient ended: " + error.message());
}

}  // namespace

int main(int argc, char** argv) {
  daemon::Daemon daemon;
  daemon.handle("greeting", [greeting = std::make_unique<std::string>("hello")](http::Exchange& exchange) {
    return exchange.respond(200, "text/plain", *greeting);
  });
  daemon.handle("visits", std::make_shared<Visits>());
  daemon.handle("throws", [](http::Exchange&) -> std::error_code { throw std::runtime_error("on purpose"); });
  daemon.serve_tcp("mirror", &mirror);
  daemon.serve_tcp("patient", &patient);
  daemon.serve_tcp("throws",
                   [](const context::Context&, net::TcpStream&) { throw std::runtime_error("on purpose, too"); });
  daemon.default_config("listeners: [{name: own, address: \"127.0.0.1:0\", tcp: {handler: mirror}}]\n");
  if (std::getenv("MISTAKES") != nullptr) {
    daemon.handle("greeting", std::make_shared<Visits>()).serve_tcp("mirror", &mirror).serve_tcp("no name", &mirror);
    daemon.handle("nothing", std::shared_ptr<http::Handler>());
  }
  return daemon.main(argc, argv);
}
