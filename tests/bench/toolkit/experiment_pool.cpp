// A server whose handler asks a downstream: from the request's own fiber over a connection of its own, or through a
// pool of workers that keep their connections. Its twin: go_experiments/pool.go.
//
//   experiment_pool PORT DOWNSTREAM-PORT WORKERS        (0: unbounded)
#include <array>
#include <cstddef>
#include <cstdlib>
#include <optional>
#include <span>

#include "core/flow/worker_pool.hpp"
#include "core/net/tcp_stream.hpp"
#include "core/sync/channel.hpp"
#include "experiment_server.hpp"

using namespace fiberd;

namespace {

/// A connection to the downstream that has logged in.
class Downstream {
 public:
  [[nodiscard]] static Result<Downstream> dial(std::uint16_t port) {
    Result<net::TcpStream> stream = net::TcpStream::connect(net::Endpoint::v4(INADDR_LOOPBACK, port));
    if (!stream) return fail(stream.error());
    (void)stream->set_no_delay(true);
    Downstream d(std::move(*stream));
    if (const Result<void> r = d.exchange(); !r) return fail(r.error());
    return d;
  }
  [[nodiscard]] Result<void> exchange() {
    std::array<std::byte, 64> message{};
    if (const Result<void> r = stream_.write_all(message); !r) return r;
    return stream_.read_full(message);
  }

 private:
  explicit Downstream(net::TcpStream stream) noexcept : stream_(std::move(stream)) {}
  net::TcpStream stream_;
};

Result<void> answer(http::Exchange& exchange, const Result<void>& result) {
  if (!result) return exchange.respond_error(502);
  return exchange.respond(200, "text/plain; charset=utf-8", "done\n");
}

class Unbounded final : public http::Handler {
 public:
  explicit Unbounded(std::uint16_t port) noexcept : port_(port) {}
  Result<void> serve(http::Exchange& exchange) override { return answer(exchange, ask()); }

 private:
  [[nodiscard]] Result<void> ask() const {
    Result<Downstream> d = Downstream::dial(port_);
    if (!d) return fail(d.error());
    return d->exchange();
  }
  std::uint16_t port_;
};

class Pooled final : public http::Handler {
 public:
  Pooled(std::uint16_t port, std::uint32_t workers)
      : port_(port), pool_({.name = "asker", .least = workers, .most = workers, .queue = 4096}), kept_(workers) {}
  Result<void> serve(http::Exchange& exchange) override {
    return answer(exchange, pool_.run([this] { return ask(); }));
  }
  void stop() { (void)pool_.shutdown(); }

 private:
  /// On a worker: there are never more connections than workers.
  [[nodiscard]] Result<void> ask() {
    Result<Downstream> downstream = kept_.try_receive();
    if (!downstream) {
      Result<Downstream> d = Downstream::dial(port_);
      if (!d) return fail(d.error());
      downstream.emplace(std::move(*d));
    }
    const Result<void> result = downstream->exchange();
    if (result) (void)kept_.try_send(*downstream);
    return result;
  }
  std::uint16_t port_;
  flow::WorkerPool pool_;
  sync::Channel<Downstream> kept_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const auto port = static_cast<std::uint16_t>(std::atoi(argv[1]));
  const auto downstream = static_cast<std::uint16_t>(std::atoi(argv[2]));
  const auto workers = static_cast<unsigned>(std::atoi(argv[3]));
  std::shared_ptr<Pooled> pool;
  return toolkit::serve(
      port,
      [&]() -> std::shared_ptr<http::Handler> {
        if (workers == 0) return std::make_shared<Unbounded>(downstream);
        return pool = std::make_shared<Pooled>(downstream, workers);
      },
      [&] {
        if (pool != nullptr) pool->stop();
      });
}
