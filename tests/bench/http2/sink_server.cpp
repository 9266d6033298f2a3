// Takes uploads and keeps nothing of them: no handler of the daemon does only that. HTTP/2 by prior knowledge on a port
// of the loopback: PORT. For http2.py.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

#include "core/http/exchange.hpp"
#include "core/http/handler.hpp"
#include "core/http/server.hpp"
#include "core/net/listener.hpp"
#include "core/runtime/runtime.hpp"

using namespace fiberd;

namespace {

template <class T>
T must(Result<T> result, const char* what) {
  if (result) return std::move(*result);
  (void)std::fprintf(stderr, "%s: %s\n", what, result.error().message().c_str());
  std::exit(1);
}

class Sink final : public http::Handler {
 public:
  Result<void> serve(http::Exchange& exchange) override {
    for (;;) {
      const Result<std::string_view> piece = exchange.read_body();
      if (!piece) return fail(piece.error());
      if (piece->empty()) return exchange.respond(200, "text/plain", "taken");
    }
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const auto runtime = must(runtime::Runtime::start({.gomaxprocs = 1}), "runtime");
  http::ServerOptions options;
  options.body_size = std::uint64_t{1} << 40U;
  options.http2.prior_knowledge = true;
  std::vector<http::Route> routes;
  routes.push_back({.spec = {.path = "/*"}, .handler = std::make_shared<Sink>()});
  const auto server = must(http::Server::make(std::move(options), std::move(routes)), "server");
  const auto port = static_cast<std::uint16_t>(std::atoi(argv[1]));
  const auto listener = must(net::Listener::bind(*runtime, net::Endpoint::v4(0x7f000001, port), {}), "bind");
  if (!listener->start(&http::Server::on_accept, server.get(), true)) return 1;
  // Until it is killed.
  for (;;) (void)::pause();
}
