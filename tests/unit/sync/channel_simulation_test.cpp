// Channels and select under 10,000 schedules each. Invariants: a value that was sent is received exactly once, or still
// in the buffer; one that was given up is with nobody; what one sender sent arrives in its order; nobody waits for
// ever.
#include <algorithm>
#include <catch2/catch.hpp>
#include <exception>
#include <vector>

#include "core/base/bug.hpp"
#include "core/base/random.hpp"
#include "core/context/context.hpp"
#include "core/sync/channel.hpp"
#include "core/sync/select.hpp"
#include "core/sync/wait_group.hpp"
#include "tests/support/seeds.hpp"

using namespace fiberd;
using sync::Channel;
using sync::WaitGroup;
using test::invariant;

namespace {

constexpr int kSimulatedSenders = 3;
constexpr int kValuesOfEach = 8;

/// Sent and received, by value.
struct Ledger {
  std::vector<int> sent = std::vector<int>(kSimulatedSenders * kValuesOfEach);
  std::vector<int> received = std::vector<int>(kSimulatedSenders * kValuesOfEach);
  void balance(const std::string& what) const {
    for (std::size_t i = 0; i < sent.size(); ++i) {
      invariant(sent[i] <= 1 && received[i] <= 1, what + ": a value came twice");
      invariant(sent[i] == received[i],
                what + (sent[i] > received[i] ? ": a value was lost" : ": a value came unsent"));
    }
  }
};

std::chrono::nanoseconds brief(Random& random) { return std::chrono::nanoseconds(1 + random.below(3'000)); }

void send_some(Channel<int>& channel, Ledger& ledger, int first, std::uint64_t seed) {
  Random random(seed);
  for (int value = first; value < first + kValuesOfEach; ++value) {
    const auto at = static_cast<std::size_t>(value);
    if (random.below(2) == 0) {
      ledger.sent[at] += channel.send(value) ? 1 : 0;
    } else {
      const auto timed = context::with_timeout(context::background(), brief(random));
      ledger.sent[at] += channel.send(timed.context, value) ? 1 : 0;
      timed.cancel();
    }
    if (random.below(4) == 0) runtime::yield();
  }
}

void receive_all(Channel<int>& channel, Ledger& ledger, std::uint64_t seed) {
  Random random(seed);
  std::vector<int> last(kSimulatedSenders, -1);
  for (;;) {
    Result<int> value = fail(sync::errc::closed);
    if (random.below(2) == 0) {
      value = channel.receive();
    } else {
      const auto timed = context::with_timeout(context::background(), brief(random));
      value = channel.receive(timed.context);
      timed.cancel();
      if (!value && value.error() == context::errc::deadline_exceeded) continue;
    }
    if (!value) return;
    ++ledger.received[static_cast<std::size_t>(*value)];
    int& before = last[static_cast<std::size_t>(*value / kValuesOfEach)];
    invariant(*value > before, "a sender's values overtook each other");
    before = *value;
  }
}

}  // namespace

TEST_CASE("channel: sends and receives that may give up, 10,000 seeds", "[channel][seeds]") {
  test::for_each_simulation(10'000, [](std::uint64_t seed) {
    Random random(seed);
    Channel<int> channel(random.below(4));
    Ledger ledger;
    std::exception_ptr broken;
    WaitGroup senders;
    WaitGroup receivers;
    for (int s = 0; s < kSimulatedSenders; ++s)
      (void)senders.go("sender",
                       [&, s] { send_some(channel, ledger, s * kValuesOfEach, seed + static_cast<std::uint64_t>(s)); });
    for (std::uint64_t r = 0; r < 2; ++r)
      (void)receivers.go("receiver", [&, r] {
        try {
          receive_all(channel, ledger, seed + 100 + r);
        } catch (...) {
          broken = std::current_exception();
        }
      });
    senders.wait();
    (void)channel.close();
    receivers.wait();
    if (broken) std::rethrow_exception(broken);
    ledger.balance("channel");
  });
}

TEST_CASE("channel: closing while senders and receivers wait, 10,000 seeds", "[channel][seeds]") {
  test::for_each_simulation(10'000, [](std::uint64_t seed) {
    Random random(seed);
    Channel<int> channel(random.below(3));
    int sent = 0;
    int kept = 0;
    int received = 0;
    WaitGroup group;
    for (int s = 0; s < 3; ++s)
      (void)group.go("sender", [&, s] {
        int value = s;
        const std::error_code error = error_of(channel.send_from(value));
        invariant(!error || error == sync::errc::closed, "how a send ends");
        ++(error ? kept : sent);
      });
    for (int r = 0; r < 2; ++r) (void)group.go("receiver", [&] { received += channel.receive() ? 1 : 0; });
    // All that will be there is there: after this a send would be misuse.
    for (std::uint32_t i = 0; i < 40; ++i) runtime::yield();
    (void)channel.close();
    group.wait();
    while (channel.try_receive()) ++received;
    invariant(sent + kept == 3, "each send ends once");
    invariant(sent == received, "what was sent is received");
  });
}

TEST_CASE("channel: senders that may come too late race with its end, 10,000 seeds", "[channel][seeds]") {
  test::for_each_simulation(10'000, [](std::uint64_t seed) {
    Random random(seed);
    Channel<int> channel(random.below(3));
    const std::uint64_t bugs = bug_count();
    const std::uint64_t unsent = sync::unsent_count();
    int sent = 0;
    int received = 0;
    int closed = 0;
    WaitGroup group;
    for (std::uint64_t s = 0; s < 3; ++s)
      (void)group.go("sender", [&, s] {
        Random mine(seed + 10 + s);
        for (int i = 0; i < 6; ++i) {
          int value = i;
          const std::error_code error = error_of(mine.below(2) == 0 ? channel.send_if_open(context::background(), value)
                                                                    : channel.try_send_if_open(value));
          invariant(!error || error == sync::errc::closed || error == sync::errc::would_wait, "how a send ends");
          invariant(closed == 0 || error != sync::errc::would_wait, "open again");
          sent += error ? 0 : 1;
          closed += error == sync::errc::closed ? 1 : 0;
          if (mine.below(3) == 0) runtime::yield();
        }
      });
    (void)group.go("receiver", [&] {
      while (channel.receive()) ++received;
    });
    for (std::uint64_t i = random.below(30); i != 0; --i) runtime::yield();
    (void)channel.close();
    group.wait();
    invariant(sent == received, "what was sent is received");
    invariant(bug_count() == bugs && sync::unsent_count() == unsent, "quiet");
  });
}

TEST_CASE("select: sends, receives, contexts and times on three channels, 10,000 seeds", "[select][seeds]") {
  test::for_each_simulation(10'000, [](std::uint64_t seed) {
    Random random(seed);
    Channel<int> a(random.below(2));
    Channel<int> b(random.below(2));
    Channel<int> c;
    Ledger ledger;
    int bad = 0;
    const auto stop = context::with_cancel(context::background());
    WaitGroup senders;
    WaitGroup receivers;
    const auto take = [&ledger](Result<int> v) { ++ledger.received[static_cast<std::size_t>(*v)]; };
    for (int s = 0; s < kSimulatedSenders; ++s)
      (void)senders.go("sender", [&, s] {
        Random mine(seed + static_cast<std::uint64_t>(s));
        for (int value = s * kValuesOfEach; value < (s + 1) * kValuesOfEach; ++value) {
          const auto at = static_cast<std::size_t>(value);
          const auto sent = [&ledger, at] { ++ledger.sent[at]; };
          switch (mine.below(4)) {
            case 0:
              sync::select(sync::on_send(a, value, sent), sync::on_send(b, value, sent), sync::on_receive(c, take));
              break;
            case 1: sync::select(sync::on_send(b, value, sent), sync::after(brief(mine))); break;
            case 2:
              sync::select(sync::on_send(c, value, sent), sync::on_send(a, value, sent), sync::otherwise());
              break;
            default: {
              const auto timed = context::with_timeout(stop.context, brief(mine));
              sync::select(sync::on_send(c, value, sent), sync::on_receive(a, take), sync::on_done(timed.context));
              timed.cancel();
            }
          }
        }
      });
    for (std::uint64_t r = 0; r < 2; ++r)
      (void)receivers.go("receiver", [&, r] {
        Random mine(seed + 100 + r);
        for (bool done = false; !done;) {
          const auto end = [&done] { done = true; };
          std::size_t index = 0;
          if (mine.below(2) == 0) {
            index = sync::select(sync::on_receive(a, take), sync::on_receive(b, take), sync::on_receive(c, take),
                                 sync::on_done(stop.context, end));
          } else {
            index = sync::select(sync::on_receive(c, take), sync::after(brief(mine)), sync::on_receive(b, take),
                                 sync::on_done(stop.context, end));
          }
          bad += index > 3 ? 1 : 0;
        }
      });
    senders.wait();
    stop.cancel();
    receivers.wait();
    for (Channel<int>* const channel : {&a, &b, &c})
      while (const auto v = channel->try_receive()) take(*v);
    invariant(bad == 0, "an index that is none");
    ledger.balance("select");
  });
}
