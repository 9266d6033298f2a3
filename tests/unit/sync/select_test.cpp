#include "core/sync/select.hpp"

#include <array>
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "core/sync/wait_group.hpp"
#include "tests/unit/sync/support.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using sync::Channel;
using sync::WaitGroup;
using test::on_fibers;

TEST_CASE("select does the one thing that can go on", "[select]") {
  on_fibers(1, [](test::Findings& found) {
    Channel<int> numbers(1);
    Channel<std::string> words(1);
    (void)words.send("hello");
    std::string got;
    std::size_t index = sync::select(sync::on_receive(numbers, [](const Result<int>&) {}),
                                     sync::on_receive(words, [&](Result<std::string> w) { got = *w; }));
    found.check(index == 1 && got == "hello", "receive");
    bool sent = false;
    index = sync::select(sync::on_receive(words, [](const Result<std::string>&) {}),
                         sync::on_send(numbers, 5, [&] { sent = true; }));
    found.check(index == 1 && sent && numbers.try_receive() == 5, "send");
    index = sync::select(sync::on_receive(words, [](const Result<std::string>&) {}), sync::otherwise());
    found.check(index == 1, "nothing");
    index = sync::select(sync::on_receive(words, [](const Result<std::string>&) {}), sync::after(1ms));
    found.check(index == 1, "time");
    index =
        sync::select(sync::on_receive(static_cast<Channel<int>*>(nullptr), [](const Result<int>&) {}), sync::after(0s));
    found.check(index == 1, "a null channel never goes on");
  });
}

TEST_CASE("select waits, and a value that comes is handed over once", "[select]") {
  on_fibers(1, [](test::Findings& found) {
    Channel<int> a;
    Channel<int> b;
    WaitGroup group;
    int got = 0;
    std::size_t index = 9;
    (void)group.go("selector", [&] {
      index = sync::select(sync::on_receive(a, [&](Result<int> v) { got = *v; }),
                           sync::on_receive(b, [&](Result<int> v) { got = *v; }), sync::on_send(a, 1));
    });
    runtime::yield();
    (void)b.send(42);
    group.wait();
    found.check(index == 1 && got == 42, "b");
    int value = 3;
    found.check(!a.try_send(value) && !a.try_receive() && !b.try_send(value), "it hangs nowhere any more");
  });
}

TEST_CASE("a default branch that could not send is counted, and the value stays", "[select]") {
  on_fibers(1, [](test::Findings& found) {
    Channel<std::unique_ptr<int>> full;
    auto value = std::make_unique<int>(1);
    const std::uint64_t before = sync::unsent_count();
    const std::size_t index = sync::select(sync::on_send(full, value), sync::otherwise());
    found.check(index == 1 && value != nullptr, "kept");
    found.check(sync::unsent_count() == before + 1, "counted");
    Channel<int> idle;
    (void)sync::select(sync::on_receive(idle, [](const Result<int>&) {}), sync::otherwise());
    found.check(sync::unsent_count() == before + 1, "only what was to be sent");
  });
}

TEST_CASE("select on closed channels", "[select]") {
  on_fibers(1, [](test::Findings& found) {
    Channel<int> closed;
    Channel<int> idle;
    (void)closed.close();
    std::error_code error;
    std::size_t index = sync::select(sync::on_receive(idle, [](const Result<int>&) {}),
                                     sync::on_receive(closed, [&](const Result<int>& v) { error = v.error(); }));
    found.check(index == 1 && error == sync::errc::closed, "closed before");
    Channel<int> later;
    WaitGroup group;
    std::error_code send_error;
    error = {};
    (void)group.go("receiver", [&] {
      sync::select(sync::on_receive(idle, [](const Result<int>&) {}),
                   sync::on_receive(later, [&](const Result<int>& v) { error = v.error(); }));
    });
    (void)group.go("sender", [&] {
      sync::select(sync::on_send(idle, 1),
                   sync::on_receive(later, [&](const Result<int>& v) { send_error = v.error(); }));
    });
    runtime::yield();
    (void)later.close();
    // The first selector may have taken the second's value from `idle` instead; nobody waits for ever.
    group.wait();
    found.check(error == sync::errc::closed || !error, "closed meanwhile");
    Channel<int> sending;
    (void)group.go("blocked", [&] {
      sync::select(sync::on_send(sending, 1, [&](std::error_code e) { send_error = e; }),
                   sync::on_receive(idle, [](const Result<int>&) {}));
    });
    runtime::yield();
    (void)sending.close();
    group.wait();
    found.check(send_error == sync::errc::closed, "a select that waits to send is told");
#ifdef NDEBUG
    const std::uint64_t bugs = bug_count();
    index = sync::select(sync::on_send(closed, 1, [&](std::error_code e) { send_error = e; }),
                         sync::on_receive(idle, [](const Result<int>&) {}));
    found.check(index == 0 && send_error == sync::errc::closed && bug_count() == bugs + 1, "sending on a closed one");
#endif
  });
}

TEST_CASE("select ends with its contexts, and says why", "[select][context]") {
  on_fibers(1, [](test::Findings& found) {
    Channel<int> idle;
    const auto one = context::with_cancel(context::background());
    const auto two = context::with_cancel(context::background());
    const auto timed = context::with_timeout(context::background(), 1h);
    WaitGroup group;
    std::size_t index = 9;
    std::error_code error;
    (void)group.go("selector", [&] {
      index = sync::select(sync::on_receive(idle, [](const Result<int>&) {}), sync::on_done(one.context),
                           sync::on_done(two.context, [&](std::error_code e) { error = e; }),
                           sync::on_done(context::background()), sync::on_done(timed.context), sync::after(1h));
    });
    runtime::yield();
    two.cancel();
    group.wait();
    found.check(index == 2 && error == context::errc::canceled, "the second context");
    one.cancel();
    index = sync::select(sync::on_receive(idle, [](const Result<int>&) {}), sync::on_done(one.context));
    found.check(index == 1, "done before");
    const auto brief = context::with_timeout(context::background(), 1ms);
    index = sync::select(sync::on_done(brief.context, [&](std::error_code e) { error = e; }), sync::after(1h));
    found.check(index == 0 && error == context::errc::deadline_exceeded, "its deadline");
    found.check(brief.context.done(), "and it is seen to be done");
    timed.cancel();
  });
}

TEST_CASE("select is fair: of four channels that are always ready each is drawn as often", "[select]") {
  on_fibers(1, [](test::Findings& found) {
    std::array<Channel<int>, 4> ready;
    for (Channel<int>& c : ready) (void)c.close();
    std::array<int, 4> drawn{};
    const auto ignore = [](const Result<int>&) {};
    for (int i = 0; i < 40'000; ++i)
      ++drawn[sync::select(sync::on_receive(ready[0], ignore), sync::on_receive(ready[1], ignore),
                           sync::on_receive(ready[2], ignore), sync::on_receive(ready[3], ignore))];
    // 10,000 each with a standard deviation of 87: seven of them.
    for (const int n : drawn) found.check(n > 9'400 && n < 10'600, std::to_string(n));
    // Two of four.
    Channel<int> idle;
    drawn = {};
    for (int i = 0; i < 40'000; ++i)
      ++drawn[sync::select(sync::on_receive(ready[0], ignore), sync::on_receive(ready[1], ignore),
                           sync::on_receive(idle, ignore), sync::on_receive(idle, ignore))];
    found.check(drawn[0] > 19'300 && drawn[0] < 20'700, std::to_string(drawn[0]));
  });
}

TEST_CASE("any number of cases: sorted, locked once each, with the same channel among them many times", "[select]") {
  on_fibers(2, [](test::Findings& found) {
    constexpr std::size_t kCases = 300;
    std::vector<std::unique_ptr<Channel<int>>> channels;
    for (std::size_t i = 0; i < kCases / 3; ++i) channels.push_back(std::make_unique<Channel<int>>());
    WaitGroup group;
    std::vector<int> got(kCases);
    (void)group.go("selector", [&] {
      for (int round = 0; round < 200; ++round) {
        const auto handler = [&](Result<int> v) { ++got[static_cast<std::size_t>(*v)]; };
        using Case = decltype(sync::on_receive(*channels[0], handler));
        std::vector<std::unique_ptr<Case>> cases;
        std::vector<sync::SelectCase*> pointers;
        for (std::size_t i = 0; i < kCases; ++i) {
          cases.emplace_back(new Case(channels[i % channels.size()].get(), handler));
          pointers.push_back(cases.back().get());
        }
        sync::select(pointers);
      }
    });
    for (int round = 0; round < 200; ++round)
      (void)channels[static_cast<std::size_t>(round) % channels.size()]->send(round % 100);
    group.wait();
    for (std::size_t i = 0; i < 100; ++i) found.check(got[i] == 2, "each twice");
  });
}

TEST_CASE("selects that meet each other on the same channels: every value once", "[select][threads]") {
  constexpr int kFibers = 8;
  constexpr int kEach = 3'000;
  std::atomic<long> sent{0};
  std::atomic<long> received{0};
  std::atomic<int> in{0};
  std::atomic<int> out{0};
  on_fibers(4, [&](test::Findings&) {
    Channel<int> a;
    Channel<int> b(1);
    const auto stop = context::with_cancel(context::background());
    WaitGroup group;
    WaitGroup sending;
    for (int f = 0; f < kFibers; ++f)
      (void)group.go("both", [&, f] {
        // Each sends on one and receives from the other, in both orders.
        Channel<int>& to = f % 2 == 0 ? a : b;
        Channel<int>& from = f % 2 == 0 ? b : a;
        for (int i = 0; i < kEach;) {
          const auto take = [&](Result<int> v) {
            received += *v;
            ++in;
          };
          if (sync::select(sync::on_receive(from, take), sync::on_send(to, f * kEach + i)) == 1) {
            sent += f * kEach + i;
            ++out;
            ++i;
          }
        }
        // Whoever has sent all goes on receiving, or the others' values stay.
        for (bool done = false; !done && out < kFibers * kEach;) {
          const auto take = [&](Result<int> v) {
            received += *v;
            ++in;
          };
          sync::select(sync::on_receive(from, take), sync::on_receive(to, take), sync::after(1ms),
                       sync::on_done(stop.context, [&] { done = true; }));
        }
      });
    group.wait();
    while (auto v = b.try_receive()) {
      received += *v;
      ++in;
    }
    stop.cancel();
  });
  CHECK(out == kFibers * kEach);
  CHECK(in == out);
  CHECK(sent == received);
}

TEST_CASE("select with otherwise and two cases works on a thread that has no fiber", "[select]") {
  Channel<int> a(1);
  Channel<int> b(1);
  int others = 0;
  for (int i = 0; i < 100; ++i)
    (void)sync::select(sync::on_receive(a, [](const Result<int>&) {}), sync::on_receive(b, [](const Result<int>&) {}),
                       sync::otherwise([&] { ++others; }));
  CHECK(others == 100);
}

TEST_CASE("otherwise is taken only when at one moment no channel could go on", "[select][threads]") {
  // A value goes round: it is in one of two channels at every moment at which their locks are held together.
  std::atomic<int> idle{0};
  on_fibers(2, [&](test::Findings& found) {
    Channel<int> first(1);
    Channel<int> last(1);
    std::vector<std::unique_ptr<Channel<int>>> between;
    for (int i = 0; i < 12; ++i) between.push_back(std::make_unique<Channel<int>>(1));
    WaitGroup group;
    std::atomic<bool> over{false};
    std::atomic<int> moves{0};
    // `first` is filled before `last` is emptied, and the other way round: one of them always has a value.
    (void)first.send(1);
    (void)group.go("mover", [&] {
      while (!over) {
        (void)last.send(1);
        (void)first.receive();
        (void)first.send(1);
        (void)last.receive();
        ++moves;
      }
    });
    const auto ignore = [](const Result<int>&) {};
    for (int i = 0; i < 2'000'000 && moves < 30'000; ++i) {
      auto c = [&](std::size_t n) { return sync::on_receive(*between[n], ignore); };
      const std::size_t index =
          sync::select(sync::on_receive(first, [&](const Result<int>&) { (void)first.send(1); }), c(0), c(1), c(2),
                       c(3), c(4), c(5), c(6), c(7), c(8), c(9), c(10), c(11),
                       sync::on_receive(last, [&](const Result<int>&) { (void)last.send(1); }), sync::otherwise());
      if (index == 14) ++idle;
    }
    over = true;
    group.wait();
    found.check(true, "ended");
  });
  CHECK(idle == 0);
}

TEST_CASE("of two cases of one channel each is served as often", "[select]") {
  on_fibers(1, [](test::Findings& found) {
    Channel<int> channel;
    WaitGroup group;
    std::array<int, 2> went{};
    (void)group.go("sender", [&] {
      for (int i = 0; i < 1'000; ++i) (void)channel.send(i);
    });
    for (int i = 0; i < 1'000; ++i)
      (void)sync::select(sync::on_receive(channel, [&](const Result<int>&) { ++went[0]; }),
                         sync::on_receive(channel, [&](const Result<int>&) { ++went[1]; }));
    group.wait();
    found.check(went[0] > 400 && went[1] > 400,
                std::to_string(went[0]) + " and " + std::to_string(went[1]) + " of 1,000");
  });
}

TEST_CASE("select asks the clock whether a time has come", "[select]") {
  on_fibers(1, [](test::Findings& found) {
    Channel<int> never;
    int times = 0;
    for (int i = 0; i < 64; ++i)
      (void)sync::select(sync::on_receive(never, [](const Result<int>&) {}), sync::after(0ns, [&] { ++times; }),
                         sync::otherwise());
    found.check(times == 64, "after(0) has come, " + std::to_string(times) + " of 64");
    // A fiber that never parks sees a time come.
    const Deadline soon = Deadline::in(1ms);
    bool came = false;
    for (int i = 0; i < 100'000'000 && !came && monotonic_now() < soon.ns() + 10'000'000; ++i)
      (void)sync::select(sync::on_receive(never, [](const Result<int>&) {}), sync::at(soon, [&] { came = true; }),
                         sync::otherwise());
    found.check(came, "a time that came while the fiber ran");
  });
}
