// The program of docs/handlers.md that keeps its load within bounds.
#include <chrono>
#include <fiberd/core/flow/token_bucket.hpp>
#include <fiberd/core/flow/worker_pool.hpp>
#include <fiberd/daemon/daemon.hpp>
#include <memory>
#include <string>

using namespace fiberd;
using namespace std::chrono_literals;

namespace {

Result<void> refuse(http::Exchange& exchange, unsigned status) {
  const http::Field later{"Retry-After", "1"};
  return exchange.respond_error(status, {&later, 1});
}

std::string shrink(std::string_view image) { return "small " + std::string(image); }

class Thumbnails final : public http::Handler {
 public:
  explicit Thumbnails(flow::WorkerPool& pool) : pool_(pool) {}

  Result<void> serve(http::Exchange& exchange) override {
    if (!bucket_.try_take()) return refuse(exchange, 429);
    const Result<std::string> small = pool_.run(exchange.context(), [&] { return shrink(exchange.rest()); });
    if (!small) return refuse(exchange, 503);  // flow::errc::queue_timeout, or the request has no time left
    return exchange.respond(200, "text/plain", *small);
  }

 private:
  flow::WorkerPool& pool_;
  flow::TokenBucket bucket_{1, 3};  // so many a second, and at once
};

}  // namespace

int main(int argc, char** argv) {
  daemon::Daemon daemon;
  flow::WorkerPool pool({.name = "thumbnail", .most = 4, .queue = 100, .max_wait = 1s});
  daemon.handle("thumbnails", std::make_shared<Thumbnails>(pool));
  daemon.on_stop([&pool] { (void)pool.shutdown(); });
  return daemon.main(argc, argv);
}
