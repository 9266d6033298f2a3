// A program with handlers of its own, as own_handlers_test.cpp runs it. It knows fiberd by what is installed only.
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fiberd/core/base/log.hpp>
#include <fiberd/core/context/waits.hpp>
#include <fiberd/core/runtime/runtime.hpp>
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
  Result<void> serve(http::Exchange& exchange) override {
    return exchange.respond(200, "text/plain", std::to_string(++count_));
  }

 private:
  std::atomic<unsigned> count_{0};
};

/// A filter with a state: the same for all listeners and routes that name it, whatever configuration they are of.
class Stamps final : public http::Filter {
 public:
  Result<void> serve(http::Exchange& exchange, http::Next next) override {
    if (const Result<void> set = exchange.set_field("X-Stamp", std::to_string(++count_)); !set) return set;
    return next(exchange);
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

/// Works behind the handlers as long as the daemon serves.
void ticker(const context::Context& daemon) {
  while (context::sleep(daemon, std::chrono::milliseconds(1))) {
  }
  log(LogLevel::info, "ticker ended: " + daemon.err().message());
}

/// Waits for the end of its context, and says which it was.
void patient(const context::Context& connection, net::TcpStream& stream) {
  write(stream, "waiting");
  const std::error_code error = error_of(context::sleep(connection, std::chrono::hours(1)));
  log(LogLevel::info, "patient ended: " + error.message() + ", " + connection.cause().message());
}

/// Ends the connection itself, and goes on for a while without it.
void closes(const context::Context& connection, net::TcpStream& stream) {
  write(stream, "closing");
  stream.close();
  if (const std::error_code error = error_of(context::sleep(connection, std::chrono::milliseconds(20))))
    log(LogLevel::error, "the context of a connection that the handler closed ended: " + error.message());
}

}  // namespace

int main(int argc, char** argv) {
  daemon::Daemon daemon;
  daemon.handle("greeting", [greeting = std::make_unique<std::string>("hello")](http::Exchange& exchange) {
    return exchange.respond(200, "text/plain", *greeting);
  });
  daemon.handle("visits", std::make_shared<Visits>());
  daemon.handle("collects", [](http::Exchange& exchange) -> Result<void> {
    std::size_t size = 0;
    for (;;) {
      const Result<std::string_view> piece = exchange.read_body();
      if (!piece) return fail(piece.error());
      if (piece->empty()) break;
      size += piece->size();
    }
    return exchange.respond(200, "text/plain", std::to_string(size));
  });
  daemon.handle("throws", [](http::Exchange&) -> Result<void> { throw std::runtime_error("on purpose"); });
  daemon.filter("stamps", std::make_shared<Stamps>());
  daemon.filter("guards", [](http::Exchange& exchange, http::Next next) -> Result<void> {
    if (exchange.request().headers.find("X-Key") != "open") return exchange.respond(403, "text/plain", "no key");
    return next(exchange);
  });
  daemon.filter("trips", [](http::Exchange&, http::Next) -> Result<void> { throw std::runtime_error("tripped"); });
  daemon.serve_tcp("mirror", &mirror);
  daemon.serve_tcp("patient", &patient);
  daemon.serve_tcp("closes", &closes);
  daemon.serve_tcp("whoami",
                   [](const context::Context&, net::TcpStream& stream) { write(stream, stream.peer().to_string()); });
  daemon.serve_tcp("throws",
                   [](const context::Context&, net::TcpStream&) { throw std::runtime_error("on purpose, too"); });
  daemon.on_start([](const context::Context& ctx) {
    log(LogLevel::info, "first start function");
    return runtime::spawn("ticker", [ctx] { ticker(ctx); });
  });
  daemon.on_start([](const context::Context&) { log(LogLevel::info, "second start function"); });
  daemon.on_stop([] { log(LogLevel::info, "last stop function"); });
  daemon.on_stop([] {
    (void)runtime::sleep_for(std::chrono::milliseconds(1));
    log(LogLevel::info, "first stop function");
    throw std::runtime_error("on purpose, at the end");
  });
  if (const char* const how = std::getenv("FAIL_START"); how != nullptr) {
    daemon.on_start([how](const context::Context&) -> Result<void> {
      if (*how == 't') throw std::runtime_error("on purpose, at the start");
      return fail(std::errc::host_unreachable);
    });
  }
  daemon.default_config("listeners: [{name: own, address: \"127.0.0.1:0\", tcp: {handler: mirror}}]\n");
  if (std::getenv("MISTAKES") != nullptr) {
    daemon.handle("greeting", std::make_shared<Visits>()).serve_tcp("mirror", &mirror).serve_tcp("no name", &mirror);
    daemon.handle("nothing", std::shared_ptr<http::Handler>());
    daemon.filter("stamps", std::make_shared<Stamps>()).filter("nothing", std::shared_ptr<http::Filter>());
  }
  return daemon.main(argc, argv);
}
