#pragma once
// Requests at a rate, whatever the server does: an open loop. What is slow does not slow the asking down, so a pause of
// the server is seen by as many requests as fall into it, and latency counts from when a request was due.
//
// It begins with a request on each connection at the same time, so that the server has had to do with all of them at
// once before anything is measured. One thread over many kept connections, in turn; each n-th request comes over a
// connection of its own, which is new and ends with it. A request that is due on a connection whose last one is not
// answered yet waits behind it: none is left out.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace fiberd::test {

class PacedLoad {
 public:
  struct Options {
    std::uint16_t port = 0;
    unsigned connections = 200;
    unsigned rate = 2000;      ///< requests a second
    unsigned fresh_each = 20;  ///< each so many-th request is a new connection's; 0: none is
    std::string path = "/";
    std::string body;  ///< what each answer must have, with 200
  };
  struct Outcome {
    std::uint64_t asked = 0;
    std::uint64_t answered = 0;  ///< as they should be
    std::uint64_t failed = 0;    ///< answered otherwise, or not at all
    std::uint64_t fresh = 0;     ///< of `asked`
    std::uint64_t closed = 0;    ///< kept connections that the server ended
    std::uint64_t told = 0;      ///< kept connections whose end an answer announced: not among `closed`
    std::string first_failure;
    std::vector<std::uint32_t> latencies;                  ///< µs from when it was due, sorted
    [[nodiscard]] std::uint32_t quantile(double q) const;  ///< µs; 0: nothing was answered
  };

  /// Begins at once. Throws std::system_error when the kept connections cannot be had.
  explicit PacedLoad(Options options);
  ~PacedLoad();
  PacedLoad(const PacedLoad&) = delete;
  PacedLoad& operator=(const PacedLoad&) = delete;

  /// So many have been answered up to now.
  [[nodiscard]] std::uint64_t answered() const noexcept { return answered_.load(std::memory_order_relaxed); }
  /// Asks no more, and waits for what has been asked, for `patience` at most. Once.
  Outcome finish(std::chrono::seconds patience = std::chrono::seconds(20));

 private:
  class Loop;
  std::atomic<std::uint64_t> answered_{0};
  std::atomic<bool> ending_{false};
  std::atomic<bool> cut_{false};
  std::unique_ptr<Loop> loop_;
  std::thread thread_;
};

}  // namespace fiberd::test
