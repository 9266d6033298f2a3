#include "core/runtime/status_word.hpp"

#include <catch2/catch.hpp>

using namespace fiberd::runtime;
using WakeResult = StatusWord::WakeResult;

TEST_CASE("a wait that is parked is woken once, by the first", "[status_word]") {
  StatusWord w;
  w.set_owned(State::running);
  const std::uint32_t seq = w.begin_park(WaitReason::channel_receive);
  CHECK(w.state() == State::parking);
  CHECK(w.reason() == WaitReason::channel_receive);
  CHECK(w.sequence() == seq);
  CHECK(w.commit_park());
  CHECK(w.state() == State::parked);
  CHECK(w.wake(seq, Wake::timeout) == WakeResult::enqueue);
  CHECK(w.state() == State::runnable);
  CHECK(w.wake(seq, Wake::ready) == WakeResult::lost);
  CHECK(w.cause() == Wake::timeout);
}

TEST_CASE("a wake before the commit is left to the committer", "[status_word]") {
  StatusWord w;
  w.set_owned(State::running);
  const std::uint32_t seq = w.begin_park(WaitReason::mutex);
  CHECK_FALSE(w.notified());
  CHECK(w.wake(seq, Wake::canceled) == WakeResult::deferred);
  CHECK(w.notified());
  CHECK(w.wake(seq, Wake::ready) == WakeResult::lost);
  SECTION("committed") {
    CHECK_FALSE(w.commit_park());
    CHECK(w.state() == State::runnable);
    CHECK(w.cause() == Wake::canceled);
  }
  SECTION("abandoned") {
    CHECK(w.abandon_park() == Wake::canceled);
    CHECK(w.state() == State::running);
  }
}

TEST_CASE("a wait given up ends its ticket", "[status_word]") {
  StatusWord w;
  w.set_owned(State::running);
  const std::uint32_t first = w.begin_park(WaitReason::sleep);
  CHECK(w.abandon_park() == Wake::none);
  CHECK(w.wake(first, Wake::ready) == WakeResult::lost);
  const std::uint32_t second = w.begin_park(WaitReason::sleep);
  CHECK(second == first + 1);
  CHECK(w.wake(first, Wake::ready) == WakeResult::lost);
  CHECK(w.commit_park());
  CHECK(w.wake(first, Wake::ready) == WakeResult::lost);
  CHECK(w.wake(second, Wake::ready) == WakeResult::enqueue);
}

TEST_CASE("the sequence survives the fiber's reuse", "[status_word]") {
  StatusWord w;
  w.set_owned(State::running);
  const std::uint32_t seq = w.begin_park(WaitReason::join);
  CHECK(w.commit_park());
  CHECK(w.wake(seq, Wake::ready) == WakeResult::enqueue);
  for (const State s : {State::running, State::idle, State::runnable, State::running}) w.set_owned(s);
  CHECK(w.wake(seq, Wake::ready) == WakeResult::lost);
  CHECK(w.begin_park(WaitReason::join) == seq + 1);
}

TEST_CASE("only a parked fiber can be walked, by one walker, and a wake is left to it", "[status_word]") {
  StatusWord w;
  CHECK_FALSE(w.begin_scan());
  w.set_owned(State::running);
  CHECK_FALSE(w.begin_scan());
  const std::uint32_t seq = w.begin_park(WaitReason::select);
  CHECK_FALSE(w.begin_scan());
  CHECK(w.commit_park());
  CHECK(w.begin_scan());
  CHECK_FALSE(w.begin_scan());
  SECTION("nobody wakes it") {
    CHECK_FALSE(w.end_scan());
    CHECK(w.state() == State::parked);
    CHECK(w.wake(seq, Wake::ready) == WakeResult::enqueue);
  }
  SECTION("woken meanwhile") {
    CHECK(w.wake(seq, Wake::ready) == WakeResult::deferred);
    CHECK(w.state() == State::runnable);
    CHECK_FALSE(w.begin_scan());
    CHECK(w.end_scan());
    CHECK(w.cause() == Wake::ready);
  }
}
