// Every interleaving of a select over two channels with their senders, a time-out and another select: one winner,
// and no value is dropped or doubled.
#include <catch2/catch.hpp>

#include <array>

#include "core/base/intrusive_list.hpp"
#include "core/sync/select_state.hpp"
#include "tests/model/sync_parts.hpp"

using namespace fiberd;
using model::Atomic;
using model::World;
using runtime::Wake;

namespace {

using Real = sync::detail::BasicSelectState<Atomic>;
/// A load and a store.
struct ClaimsInTwoSteps : Real {
  bool claim(std::uint32_t index) {
    if (winner.load() != kNone) return false;
    winner.store(index);
    return true;
  }
};

template <class State>
struct Waiter : ListHook {
  model::Wait* ticket = nullptr;
  State* select = nullptr;
  std::uint32_t index = 0;
  int slot = 0;  // receiving: room; sending: the value
  bool completed = false;
};

/// An unbuffered channel, as channel.hpp.
template <class State>
struct Channel {
  using W = Waiter<State>;
  struct Queue : List<W> {
    W* pop() { return this->pop_front(); }
  };
  model::Lock lock;
  Queue receivers, senders;

  /// Under the lock. True: done, and the lock is released.
  bool send_now(int value) {
    W* const receiver = sync::detail::claim_first(receivers);
    if (receiver == nullptr) return false;
    if (receiver->slot != 0) model::fail("a value is dropped: two were put into one place");
    receiver->slot = value;
    complete(*receiver);
    return true;
  }
  bool receive_now(int& value) {
    W* const sender = sync::detail::claim_first(senders);
    if (sender == nullptr) return false;
    value = sender->slot;
    complete(*sender);
    return true;
  }
  void complete(W& w) {
    w.completed = true;
    model::Wait* const ticket = w.ticket;
    lock.unlock();
    ticket->end(Wake::ready);
  }
  bool try_send(int value) {
    lock.lock();
    const bool sent = send_now(value);
    if (!sent) lock.unlock();
    return sent;
  }
};

/// One select over both channels, as Selector: hung under both locks, each waiter on the fiber's stack.
template <class State>
struct Select {
  State state;
  model::Wait ticket;
  std::array<Waiter<State>, 2> waiters;
  bool ended = false;  // by its time

  /// The case that went on, or -1.
  int run(std::array<Channel<State>, 2>& channels, bool sends, int value) {
    for (Channel<State>& c : channels) c.lock.lock();
    for (std::size_t i = 0; i < 2; ++i) {
      waiters[i].slot = value;
      if (sends ? channels[i].send_now(value) : channels[i].receive_now(waiters[i].slot)) {
        channels[1 - i].lock.unlock();
        waiters[i].completed = true;
        return static_cast<int>(i);
      }
    }
    for (std::size_t i = 0; i < 2; ++i) {
      waiters[i].ticket = &ticket;
      waiters[i].select = &state;
      waiters[i].index = static_cast<std::uint32_t>(i);
      (sends ? channels[i].senders : channels[i].receivers).push_back(waiters[i]);
    }
    for (Channel<State>& c : channels) c.lock.unlock();
    const Wake how = ticket.park();
    ended = how != Wake::ready && state.claim(State::kNone - 1);
    const std::uint32_t woken_by = how == Wake::ready ? state.winner.load() : State::kNone;
    for (std::uint32_t i = 0; i < 2; ++i) {
      if (i == woken_by) continue;
      channels[i].lock.lock();
      if (waiters[i].linked()) List<Waiter<State>>::remove(waiters[i]);
      channels[i].lock.unlock();
    }
    if (ended) return -1;
    const std::uint32_t winner = state.winner.load();
    if (winner > 1) {
      model::fail("won by nobody");
      return -1;
    }
    if (!waiters[winner].completed) model::fail("a winner without a value");
    return static_cast<int>(winner);
  }
};

template <class State>
struct Both {
  std::array<Channel<State>, 2> channels;
  std::array<Select<State>, 2> selects;
  std::array<int, 2> went{-2, -2};
  int sent = 0;

  [[nodiscard]] std::string end(int value_expected_count) const {
    for (const Channel<State>& c : channels)
      if (!c.receivers.empty() || !c.senders.empty()) return "a waiter is left in a queue";
    return value_expected_count == sent ? "" : "a value is dropped or doubled";
  }
};

/// A select receives from both channels, a sender tries each, and its time ends.
template <class State>
void senders_and_a_timeout(World& w, bool timeout) {
  auto& b = w.make<Both<State>>();
  w.thread("select", [&b] { b.went[0] = b.selects[0].run(b.channels, false, 0); });
  for (std::size_t i = 0; i < 2; ++i)
    w.thread("sender", [&b, i] {
      if (b.channels[i].try_send(static_cast<int>(i) + 1)) ++b.sent;
    });
  if (timeout) w.thread("timer", [&b] { b.selects[0].ticket.end(Wake::timeout); });
  w.may_hang();  // neither sender found it waiting
  w.finally([&b, timeout]() -> std::string {
    int received = 0;
    for (const auto& waiter : b.selects[0].waiters) received += waiter.completed ? 1 : 0;
    if (received != b.sent) return "a value is dropped or doubled";
    if (b.went[0] == -2) return timeout || b.sent != 0 ? "a select hangs that was served" : "";
    if ((b.went[0] >= 0) != (b.sent == 1)) return "the select and the senders disagree";
    return b.end(b.sent);
  });
}

/// A select sends on either channel, another receives from either; one of them has a time-out.
template <class State>
void two_selects(World& w) {
  auto& b = w.make<Both<State>>();
  w.thread("sends", [&b] { b.went[0] = b.selects[0].run(b.channels, true, 7); });
  w.thread("receives", [&b] { b.went[1] = b.selects[1].run(b.channels, false, 0); });
  w.thread("timer", [&b] { b.selects[0].ticket.end(Wake::timeout); });
  w.may_hang();  // the receiver, when the sender gave up
  w.finally([&b]() -> std::string {
    if (b.went[0] == -2) return "the sender hangs";
    if (b.went[0] == -1) return b.went[1] == -2 ? "" : "received what nobody sent";
    if (b.went[1] != b.went[0]) return "sent and received on different channels, or a value is dropped";
    if (b.selects[1].waiters[static_cast<std::size_t>(b.went[1])].slot != 7) return "another value";
    return b.end(0);
  });
}

void expect_good(const model::Outcome& o) {
  INFO(o.report);
  CHECK_FALSE(o.failed);
  CHECK(o.complete);
  CHECK(o.executions > 10);
}

}  // namespace

TEST_CASE("select: two senders and a time-out, one winner", "[model][select]") {
  expect_good(model::explore({}, [](World& w) { senders_and_a_timeout<Real>(w, false); }));
  expect_good(model::explore({}, [](World& w) { senders_and_a_timeout<Real>(w, true); }));
}

TEST_CASE("select: two selects meet, or one gives up", "[model][select]") {
  expect_good(model::explore({}, &two_selects<Real>));
}

TEST_CASE("select: the explorer catches the mistakes it is there for", "[model][select][teeth]") {
  CHECK(model::explore({}, [](World& w) { senders_and_a_timeout<ClaimsInTwoSteps>(w, false); }).failed);
  CHECK(model::explore({}, [](World& w) { senders_and_a_timeout<ClaimsInTwoSteps>(w, true); }).failed);
}
