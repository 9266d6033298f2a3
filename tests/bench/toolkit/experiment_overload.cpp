// A server of bounded capacity (SLOTS requests at once, HOLD_US each), with or without a token bucket before it. Its
// twin: go_experiments/overload.go.
//
//   experiment_overload PORT SLOTS HOLD_US RATE         (0: no bucket)
#include <array>
#include <chrono>
#include <cstdlib>
#include <optional>

#include "core/flow/token_bucket.hpp"
#include "core/http/message.hpp"
#include "core/sync/semaphore.hpp"
#include "experiment_server.hpp"

using namespace fiberd;

namespace {

class Bounded final : public http::Handler {
 public:
  Bounded(std::uint64_t slots, std::chrono::microseconds hold, double rate) : free_(slots), hold_(hold) {
    if (rate > 0) bucket_.emplace(rate, static_cast<std::int64_t>(slots));
  }
  Result<void> serve(http::Exchange& exchange) override {
    if (bucket_ && !bucket_->try_take()) {
      static constexpr std::array<http::Field, 1> kRetryAfter{{{"Retry-After", "1"}}};
      return exchange.respond(429, "text/plain; charset=utf-8", "too many requests\n", kRetryAfter);
    }
    // A client that is gone wants no slot any more.
    if (const auto taken = free_.acquire(exchange.context()); !taken) return taken;
    (void)runtime::sleep_for(hold_);
    free_.release();
    return exchange.respond(200, "text/plain; charset=utf-8", "done\n");
  }

 private:
  sync::Semaphore free_;
  std::chrono::microseconds hold_;
  std::optional<flow::TokenBucket> bucket_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  return toolkit::serve(
      static_cast<std::uint16_t>(std::atoi(argv[1])),
      [&] {
        return std::make_shared<Bounded>(std::strtoull(argv[2], nullptr, 10),
                                         std::chrono::microseconds(std::atoll(argv[3])), std::atof(argv[4]));
      },
      [] {});
}
