#include "core/sync/channel.hpp"

#include <array>
#include <catch2/catch.hpp>
#include <memory>
#include <vector>

#include "core/context/context.hpp"
#include "core/runtime/runtime.hpp"
#include "core/sync/wait_group.hpp"
#include "tests/unit/sync/support.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using sync::Channel;
using sync::WaitGroup;
using test::on_fibers;

TEST_CASE("a buffered channel keeps order and size", "[channel]") {
  on_fibers(1, [](test::Findings& found) {
    Channel<int> channel(3);
    found.check(channel.capacity() == 3 && channel.size() == 0, "empty");
    for (int i = 0; i < 3; ++i) found.check(channel.send(i).has_value(), "room");
    int four = 4;
    const std::uint64_t unsent = sync::unsent_count();
    found.check(!channel.try_send(four), "full");
    found.check(sync::unsent_count() == unsent + 1, "what was not sent is counted");
    for (int round = 0; round < 10; ++round) {
      found.check(*channel.receive() == round, "first in, first out");
      found.check(channel.send(round + 3).has_value(), "room again");
    }
    found.check(channel.size() == 3, "three are left");
    found.check(channel.try_receive() == 10 && channel.try_receive() == 11 && channel.try_receive() == 12, "the rest");
    found.check(!channel.try_receive(), "empty again");
  });
}

TEST_CASE("an unbuffered send waits for its receiver", "[channel]") {
  on_fibers(1, [](test::Findings& found) {
    Channel<int> channel;
    int value = 1;
    found.check(!channel.try_send(value), "nobody receives");
    bool sent = false;
    WaitGroup group;
    (void)group.go("sender", [&] {
      (void)channel.send(7);
      sent = true;
    });
    runtime::yield();
    found.check(!sent, "the sender waits");
    found.check(*channel.receive() == 7, "the value");
    group.wait();
    found.check(sent, "the sender went on");
    // The other way round: the value goes straight to a receiver that waits.
    int got = 0;
    (void)group.go("receiver", [&] { got = *channel.receive(); });
    runtime::yield();
    value = 8;
    found.check(channel.try_send(value), "a receiver waits");
    found.check(channel.size() == 0, "nothing is kept");
    group.wait();
    found.check(got == 8, "handed over");
  });
}

TEST_CASE("values that can only be moved, and large ones", "[channel]") {
  on_fibers(2, [](test::Findings& found) {
    Channel<std::unique_ptr<int>> pointers(1);
    Channel<std::array<int, 200>> arrays;
    WaitGroup group;
    (void)group.go("sender", [&] {
      for (int i = 0; i < 100; ++i) (void)pointers.send(std::make_unique<int>(i));
      (void)pointers.close();
      for (int i = 0; i < 100; ++i) {
        std::array<int, 200> a{};
        a.back() = i;
        (void)arrays.send(a);
      }
      (void)arrays.close();
    });
    int sum = 0;
    for (const auto& p : pointers) sum += *p;
    for (const auto& a : arrays) sum += a.back();
    group.wait();
    found.check(sum == 2 * 4950, "all of them");
  });
}

namespace {
struct Counted {
  static inline std::atomic<int> alive{0};
  bool full = true;
  Counted() { ++alive; }
  Counted(Counted&& o) noexcept : full(std::exchange(o.full, false)) { ++alive; }
  Counted& operator=(Counted&&) = delete;
  ~Counted() { --alive; }
};
}  // namespace

TEST_CASE("a channel destroys what is left in it, and loses nothing of what it passes on", "[channel]") {
  Counted::alive = 0;
  on_fibers(1, [](test::Findings& found) {
    {
      Channel<Counted> channel(4);
      for (int i = 0; i < 3; ++i) (void)channel.send(Counted());
      found.check(channel.receive()->full, "a whole value");
      found.check(Counted::alive == 2, "two are in it");
      Counted kept;
      (void)channel.close();
      std::error_code error;
#ifdef NDEBUG
      error = error_of(channel.send_from(kept));
      found.check(error == sync::errc::closed && kept.full, "what was refused stays with the sender");
#endif
    }
    found.check(Counted::alive == 0, "none is left");
  });
}

TEST_CASE("closing: the buffer is drained first, waiters on both sides are told", "[channel]") {
  on_fibers(1, [](test::Findings& found) {
    Channel<int> channel(2);
    (void)channel.send(1);
    (void)channel.send(2);
    std::error_code blocked;
    int kept = 3;
    WaitGroup group;
    (void)group.go("sender", [&] { blocked = error_of(channel.send_from(kept)); });
    runtime::yield();
    found.check(channel.close().has_value(), "closed");
    group.wait();
    found.check(blocked == sync::errc::closed && kept == 3, "a sender that waited keeps its value");
    found.check(channel.closed(), "it says so");
    found.check(*channel.receive() == 1 && *channel.receive() == 2, "what was in it");
    found.check(channel.receive().error() == sync::errc::closed, "then closed");
    found.check(channel.receive().error() == sync::errc::closed, "and again");
    found.check(!channel.try_receive(), "nothing there");

    Channel<int> empty;
    std::error_code first;
    std::error_code second;
    (void)group.go("receiver", [&] { first = empty.receive().error(); });
    (void)group.go("receiver", [&] { second = empty.receive().error(); });
    runtime::yield();
    (void)empty.close();
    group.wait();
    found.check(first == sync::errc::closed && second == sync::errc::closed, "both receivers are told");
  });
}

#ifdef NDEBUG
TEST_CASE("misuse of a closed channel is a BUG and a defined error", "[channel]") {
  on_fibers(1, [](test::Findings& found) {
    Channel<int> channel(1);
    (void)channel.close();
    const std::uint64_t bugs = bug_count();
    found.check(error_of(channel.send(1)) == sync::errc::closed, "send");
    int value = 1;
    found.check(!channel.try_send(value), "try_send");
    found.check(error_of(channel.close()) == sync::errc::closed, "close");
    found.check(bug_count() == bugs + 3, "counted");
  });
}
#endif

TEST_CASE("a send if still open: closed and full are errors, no BUG, and counted nowhere", "[channel]") {
  on_fibers(1, [](test::Findings& found) {
    const std::uint64_t bugs = bug_count();
    const std::uint64_t unsent = sync::unsent_count();
    const context::Context ctx = context::background();
    Channel<std::unique_ptr<int>> channel(1);
    found.check(channel.try_send_if_open(std::make_unique<int>(1)).has_value(), "room");
    auto kept = std::make_unique<int>(2);
    found.check(error_of(channel.try_send_if_open(kept)) == sync::errc::would_wait && kept != nullptr, "full");
    found.check(*channel.receive().value() == 1, "the value");
    found.check(channel.send_if_open(ctx, std::make_unique<int>(3)).has_value(), "waits as send does");
    const auto canceled = context::with_cancel(ctx);
    std::error_code by_close;
    std::error_code by_context;
    WaitGroup group;
    (void)group.go("sender",
                   [&] { by_context = error_of(channel.send_if_open(canceled.context, std::make_unique<int>(4))); });
    (void)group.go("sender", [&] { by_close = error_of(channel.send_if_open(ctx, std::make_unique<int>(5))); });
    runtime::yield();
    canceled.cancel();
    runtime::yield();
    (void)channel.close();
    group.wait();
    found.check(by_context == context::errc::canceled && by_close == sync::errc::closed, "what ended the waits");
    found.check(error_of(channel.try_send_if_open(kept)) == sync::errc::closed && *kept == 2,
                "closed: the value is kept");
    found.check(error_of(channel.send_if_open(ctx, nullptr)) == sync::errc::closed, "closed");
    found.check(*channel.receive().value() == 3 && channel.receive().error() == sync::errc::closed, "what was sent");
    found.check(bug_count() == bugs && sync::unsent_count() == unsent, "quiet");
    // A receiver that waits gets it at once.
    Channel<int> unbuffered;
    int got = 0;
    (void)group.go("receiver", [&] { got = unbuffered.receive().value_or(-1); });
    runtime::yield();
    found.check(unbuffered.try_send_if_open(7).has_value(), "handed over");
    found.check(error_of(unbuffered.try_send_if_open(8)) == sync::errc::would_wait, "nobody waits any more");
    group.wait();
    found.check(got == 7, "received");
  });
}

TEST_CASE("a send or a receive ends with its context", "[channel][context]") {
  on_fibers(1, [](test::Findings& found) {
    Channel<int> channel;
    const auto canceled = context::with_cancel(context::background());
    WaitGroup group;
    std::error_code send_error;
    std::error_code receive_error;
    (void)group.go("sender", [&] { send_error = error_of(channel.send(canceled.context, 1)); });
    runtime::yield();
    canceled.cancel();
    group.wait();
    found.check(send_error == context::errc::canceled, "send");
    found.check(!channel.try_receive(), "the value did not get in");
    (void)group.go("receiver", [&] {
      const auto timeout = context::with_timeout(context::background(), 1ms);
      receive_error = channel.receive(timeout.context).error();
    });
    group.wait();
    found.check(receive_error == context::errc::deadline_exceeded, "receive");
    int value = 1;
    found.check(!channel.try_send(value), "the receiver has gone");
    // Done before: not even a value that is there.
    Channel<int> full(1);
    (void)full.send(5);
    found.check(full.receive(canceled.context).error() == context::errc::canceled, "done: no value is taken");
    found.check(full.size() == 1, "it is still there");
  });
}

TEST_CASE("many senders and receivers: each value arrives once", "[channel][threads]") {
  for (const std::size_t capacity : {std::size_t{0}, std::size_t{1}, std::size_t{64}}) {
    constexpr int kSenders = 8;
    constexpr int kEach = 5'000;
    std::vector<int> seen(kSenders * kEach);
    on_fibers(4, [&](test::Findings& found) {
      Channel<int> channel(capacity);
      WaitGroup senders;
      WaitGroup receivers;
      std::array<std::vector<int>, 6> got;
      for (int s = 0; s < kSenders; ++s)
        (void)senders.go("sender", [&channel, s] {
          for (int i = 0; i < kEach; ++i) (void)channel.send(s * kEach + i);
        });
      for (auto& mine : got)
        (void)receivers.go("receiver", [&channel, &mine] {
          for (const int value : channel) mine.push_back(value);
        });
      senders.wait();
      (void)channel.close();
      receivers.wait();
      for (const auto& mine : got) {
        std::array<int, kSenders> last;
        last.fill(-1);
        for (const int value : mine) {
          ++seen[static_cast<std::size_t>(value)];
          found.check(last[static_cast<std::size_t>(value / kEach)] < value, "one sender's values in their order");
          last[static_cast<std::size_t>(value / kEach)] = value;
        }
      }
    });
    CHECK(std::count(seen.begin(), seen.end(), 1) == kSenders * kEach);
  }
}

TEST_CASE("contexts that end while values change hands: nothing is lost and nothing comes twice",
          "[channel][threads]") {
  std::vector<int> seen(20'000);
  std::atomic<int> given_up{0};
  on_fibers(4, [&](test::Findings& found) {
    Channel<int> channel(2);
    std::atomic<int> next{0};
    WaitGroup senders;
    WaitGroup receivers;
    for (int s = 0; s < 4; ++s)
      (void)senders.go("sender", [&] {
        for (int i = next++; i < static_cast<int>(seen.size()); i = next++) {
          int value = i;
          for (;;) {
            const auto brief = context::with_timeout(context::background(), std::chrono::microseconds(20));
            const std::error_code error = error_of(channel.send_from(brief.context, value));
            brief.cancel();
            if (!error) break;
            ++given_up;
          }
        }
      });
    std::array<std::vector<int>, 4> got;
    for (auto& mine : got)
      (void)receivers.go("receiver", [&] {
        for (;;) {
          const auto brief = context::with_timeout(context::background(), std::chrono::microseconds(20));
          const Result<int> value = channel.receive(brief.context);
          brief.cancel();
          if (value) {
            mine.push_back(*value);
          } else if (value.error() == sync::errc::closed) {
            return;
          } else {
            ++given_up;
          }
        }
      });
    senders.wait();
    (void)channel.close();
    receivers.wait();
    for (const auto& mine : got)
      for (const int value : mine) ++seen[static_cast<std::size_t>(value)];
    found.check(true, "");
  });
  CHECK(std::count(seen.begin(), seen.end(), 1) == static_cast<long>(seen.size()));
}
