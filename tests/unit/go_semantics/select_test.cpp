#include "core/sync/select.hpp"

#include <array>
#include <cmath>
#include <vector>

#include "tests/unit/go_semantics/support.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using namespace go;
using sync::Channel;
using sync::select;
using sync::WaitGroup;

namespace {
const auto ignore = [](const auto&) {};
}

TEST_CASE("go select: default only when nothing can go on", "[go][select]") {
  in_every_way([](Findings& found) {
    Channel<int> empty(1);
    Channel<int> full(1);
    (void)full.send(1);
    found.check(select(sync::on_receive(empty, ignore), sync::on_send(full, 2), sync::otherwise()) == 2, "nothing");
    found.check(select(sync::on_receive(empty, ignore), sync::on_receive(full, ignore), sync::otherwise()) == 1,
                "a value");
    found.check(select(sync::on_send(empty, 1), sync::otherwise()) == 0, "room");
  });
}

TEST_CASE("go select: off a fiber, what can go on at once", "[go][select]") {
  Channel<int> one(1);
  Channel<int> two(1);
  CHECK(select(sync::on_receive(one, ignore), sync::on_receive(two, ignore), sync::otherwise()) == 2);
  CHECK(two.try_send(1));
  CHECK(select(sync::on_receive(one, ignore), sync::on_receive(two, ignore), sync::otherwise()) == 1);
  CHECK(select(sync::on_send(one, 1), sync::otherwise()) == 0);
}

TEST_CASE("go select: a closed channel is always ready to be received from", "[go][select]") {
  in_every_way([](Findings& found) {
    Channel<int> closed;
    Channel<int> idle;
    (void)closed.close();
    for (int i = 0; i < 5; ++i) {
      std::error_code error;
      const std::size_t index =
          select(sync::on_receive(idle, ignore),
                 sync::on_receive(closed, [&](const Result<int>& v) { error = v.error(); }), sync::otherwise());
      found.check(index == 1 && error == sync::errc::closed, "ready");
    }
  });
}

TEST_CASE("go select: nil channels are switched off", "[go][select]") {
  in_every_way([](Findings& found) {
    Channel<int>* const nil = nullptr;
    Channel<int> real(1);
    (void)real.send(3);
    found.check(select(sync::on_receive(nil, ignore), sync::on_send(nil, 1), sync::on_receive(real, ignore)) == 2,
                "the real one");
    found.check(select(sync::on_receive(nil, ignore), sync::on_send(nil, 1), sync::otherwise()) == 2, "none");
    found.check(select(sync::on_receive(nil, ignore), sync::after(50us)) == 1, "time");
  });
}

TEST_CASE("go select: two channels are merged until both are closed", "[go][select]") {
  in_every_way([](Findings& found) {
    Channel<int> a;
    Channel<int> b(2);
    WaitGroup group;
    for (Channel<int>* const c : {&a, &b})
      start(group, [c] {
        for (int i = 0; i < 50; ++i) (void)c->send(i);
        (void)c->close();
      });
    Channel<int>* left = &a;
    Channel<int>* right = &b;
    int n = 0;
    while (left != nullptr || right != nullptr)
      select(sync::on_receive(left, [&](const Result<int>& v) { v ? void(++n) : void(left = nullptr); }),
             sync::on_receive(right, [&](const Result<int>& v) { v ? void(++n) : void(right = nullptr); }));
    group.wait();
    found.check(n == 100, "all of both");
  });
}

TEST_CASE("go select: of what is ready each is chosen about as often", "[go][select]") {
  in_every_way(
      [](Findings& found) {
        std::array<Channel<int>, 4> channels{Channel<int>(1), Channel<int>(1), Channel<int>(1), Channel<int>(1)};
        std::array<int, 4> chosen{};
        for (Channel<int>& c : channels) (void)c.send(1);
        for (int i = 0; i < 4000; ++i) {
          const std::size_t index =
              select(sync::on_receive(channels[0], ignore), sync::on_receive(channels[1], ignore),
                     sync::on_receive(channels[2], ignore), sync::on_receive(channels[3], ignore));
          ++chosen[index];
          (void)channels[index].send(1);
        }
        for (const int n : chosen) found.check(std::abs(n - 1000) < 200, "some seven deviations");
      },
      5);
}

TEST_CASE("go select: sending one of two values is a coin", "[go][select]") {
  in_every_way(
      [](Findings& found) {
        for (const std::size_t capacity : {0U, 1U}) {
          Channel<int> channel(capacity);
          WaitGroup group;
          std::array<int, 2> got{};
          start(group, [&] {
            for (int i = 0; i < 400; ++i) ++got[static_cast<std::size_t>(channel.receive().value_or(0))];
          });
          for (int i = 0; i < 400; ++i) select(sync::on_send(channel, 0), sync::on_send(channel, 1));
          group.wait();
          found.check(got[0] > 100 && got[1] > 100, "both come");
        }
      },
      20);
}

TEST_CASE("go select: the same channel twice, waiting: each case is served", "[go][select]") {
  in_simulation(20, [](Findings& found) {
    Channel<int> twice;
    WaitGroup group;
    std::array<int, 2> served{};
    start(group, [&] {
      for (int i = 0; i < 200; ++i) ++served[select(sync::on_receive(twice, ignore), sync::on_receive(twice, ignore))];
    });
    for (int i = 0; i < 200; ++i) {
      runtime::yield();
      (void)twice.send(i);
    }
    group.wait();
    found.check(served[0] > 40 && served[1] > 40, "not always the first");
  });
}

TEST_CASE("go select: a waiter hanging twice in one channel is served once", "[go][select]") {
  in_every_way([](Findings& found) {
    Channel<int> twice;
    Channel<int> other;
    WaitGroup group;
    std::atomic<int> served{0};
    start(group, [&] {
      select(sync::on_receive(twice, [&](const Result<int>&) { ++served; }),
             sync::on_receive(other, [&](const Result<int>&) { ++served; }),
             sync::on_receive(twice, [&](const Result<int>&) { ++served; }));
    });
    let_others_run();
    (void)other.send(1);
    group.wait();
    found.check(served == 1 && !twice.try_send(1) && !other.try_send(1), "it hangs nowhere");
  });
}

TEST_CASE("go select: a fiber that selects on sending and receiving does not talk to itself", "[go][select]") {
  in_every_way(
      [](Findings& found) {
        Channel<int> channel;
        WaitGroup group;
        std::atomic<bool> own{false};
        for (int me = 1; me <= 2; ++me)
          start(group, [&, me] {
            for (int i = 0; i < 100; ++i)
              select(sync::on_receive(channel, [&](const Result<int>& v) { own = own || (v && *v == me); }),
                     sync::on_send(channel, me));
          });
        // The last one may be alone: two sends and two receives always pair up, an odd one does not.
        std::atomic<bool> over{false};
        WaitGroup helper;
        start(helper, [&] {
          while (!over) {
            select(sync::on_receive(channel, ignore), sync::on_send(channel, 3), sync::otherwise());
            (void)runtime::sleep_for(20us);
          }
        });
        group.wait();
        over = true;
        helper.wait();
        found.check(!own, "its own value");
      },
      50);
}

TEST_CASE("go select: never default while one of two is ready at each moment", "[go][select]") {
  // Somebody moves a value from one channel to the other by making the second ready before the first is not.
  const auto body = [](Findings& found) {
    for (int round = 0; round < 200; ++round) {
      Channel<int> a(1);
      Channel<int> b(1);
      WaitGroup group;
      (void)a.send(1);
      bool none = false;
      start(group,
            [&] { none = select(sync::on_receive(a, ignore), sync::on_receive(b, ignore), sync::otherwise()) == 2; });
      (void)b.send(1);
      (void)sync::select(sync::on_receive(a, ignore), sync::otherwise());
      group.wait();
      found.check(!none, "something was ready");
    }
  };
  in_every_way(body, 10);
}

TEST_CASE("go select: never default while one is closed before the other is emptied", "[go][select]") {
  in_every_way(
      [](Findings& found) {
        for (int round = 0; round < 200; ++round) {
          Channel<int> a(1);
          Channel<int> b;
          WaitGroup group;
          (void)a.send(1);
          bool none = false;
          start(group, [&] {
            none = select(sync::on_receive(a, ignore), sync::on_receive(b, ignore), sync::otherwise()) == 2;
          });
          (void)b.close();
          (void)sync::select(sync::on_receive(a, ignore), sync::otherwise());
          group.wait();
          found.check(!none, "something was ready");
        }
      },
      10);
}

TEST_CASE("go select: two who select over the same channels lose and double nothing", "[go][select]") {
  in_every_way(
      [](Findings& found) {
        std::array<Channel<int>, 4> c;
        WaitGroup senders;
        std::vector<int> seen(400);
        start(senders, [&] {
          for (int i = 0; i < 400; ++i)
            select(sync::on_send(c[0], i), sync::on_send(c[1], i), sync::on_send(c[2], i), sync::on_send(c[3], i));
          for (Channel<int>& channel : c) (void)channel.close();
        });
        Channel<int> merged(10);
        WaitGroup receivers;
        for (Channel<int>& channel : c)
          start(receivers, [&] {
            for (const int v : channel) (void)merged.send(v);
          });
        start(senders, [&] {
          receivers.wait();
          (void)merged.close();
        });
        for (const int v : merged) ++seen[static_cast<std::size_t>(v)];
        senders.wait();
        for (const int n : seen) found.check(n == 1, "once");
      },
      20);
}

TEST_CASE("go select: senders, receivers and selects of both kinds on four channels come to an end", "[go][select]") {
  in_every_way(
      [](Findings& found) {
        constexpr int kEach = 100;
        std::array<Channel<int>, 4> c{Channel<int>(0), Channel<int>(0), Channel<int>(2), Channel<int>(3)};
        WaitGroup group;
        std::atomic<int> received{0};
        for (std::size_t k = 0; k < 4; ++k) {
          start(group, [&, k] {
            for (int i = 0; i < kEach; ++i) (void)c[k].send(0);
          });
          start(group, [&, k] {
            for (int i = 0; i < kEach; ++i) received += c[k].receive() ? 1 : 0;
          });
        }
        start(group, [&] {
          std::array<int, 4> left{kEach, kEach, kEach, kEach};
          for (int i = 0; i < 4 * kEach; ++i) {
            const auto at = [&](std::size_t k) { return left[k] != 0 ? &c[k] : nullptr; };
            --left[select(sync::on_send(at(0), 0), sync::on_send(at(1), 0), sync::on_send(at(2), 0),
                          sync::on_send(at(3), 0))];
          }
        });
        start(group, [&] {
          std::array<int, 4> left{kEach, kEach, kEach, kEach};
          for (int i = 0; i < 4 * kEach; ++i) {
            const auto at = [&](std::size_t k) { return left[k] != 0 ? &c[k] : nullptr; };
            --left[select(sync::on_receive(at(0), ignore), sync::on_receive(at(1), ignore),
                          sync::on_receive(at(2), ignore), sync::on_receive(at(3), ignore))];
            ++received;
          }
        });
        group.wait();
        found.check(received == 8 * kEach, "all of it");
      },
      20);
}

TEST_CASE("go select: time.After ends a wait, and the earliest of several does", "[go][select][time]") {
  in_simulation(50, [](Findings& found) {
    Channel<int> idle;
    const std::int64_t begin = monotonic_now();
    const std::size_t index =
        select(sync::on_receive(idle, ignore), sync::after(30ms), sync::after(10ms), sync::after(20ms));
    found.check(index == 2, "the earliest");
    const std::int64_t took = monotonic_now() - begin;
    found.check(took >= 10'000'000 && took < 11'000'000, "at its time");
  });
}

TEST_CASE("go select: a time that has come beats default", "[go][select][time]") {
  in_every_way([](Findings& found) {
    Channel<int> idle;
    for (int i = 0; i < 200; ++i)
      found.check(select(sync::on_receive(idle, ignore), sync::after(0ns), sync::otherwise()) == 1, "it is over");
    found.check(select(sync::after(-1s), sync::otherwise()) == 0, "long over");
    found.check(select(sync::after(1h), sync::otherwise()) == 1, "not yet");
  });
}

TEST_CASE("go select: ctx.Done ends a wait, with the context's error", "[go][select][context]") {
  in_every_way([](Findings& found) {
    Channel<int> idle;
    const auto c = context::with_cancel(context::background());
    WaitGroup group;
    start(group, [cancel = c.cancel] {
      let_others_run();
      cancel();
    });
    std::error_code error;
    const std::size_t index =
        select(sync::on_receive(idle, ignore), sync::on_done(c.context, [&](std::error_code e) { error = e; }));
    found.check(index == 1 && error == context::errc::canceled, "canceled");
    group.wait();
    found.check(select(sync::on_done(c.context), sync::otherwise()) == 0, "and stays so");
  });
}

TEST_CASE("go select: a loop that returns from inside", "[go][select]") {
  in_every_way([](Findings& found) {
    Channel<int> numbers;
    Channel<int> quit;
    WaitGroup group;
    std::vector<int> got;
    start(group, [&] {
      for (int i = 0; i < 10; ++i) got.push_back(numbers.receive().value_or(-1));
      (void)quit.send(0);
    });
    const auto fibonacci = [&] {
      int x = 0;
      int y = 1;
      for (;;) {
        bool over = false;
        select(sync::on_send(numbers, x, [&] { x = std::exchange(y, x + y); }),
               sync::on_receive(quit, [&](const Result<int>&) { over = true; }));
        if (over) return;
      }
    };
    fibonacci();
    group.wait();
    found.check(got == std::vector<int>{0, 1, 1, 2, 3, 5, 8, 13, 21, 34}, "ten of them");
  });
}

TEST_CASE("go select: a value that is not sent stays with its owner", "[go][select]") {
  in_every_way([](Findings& found) {
    Channel<std::unique_ptr<int>> a;
    Channel<std::unique_ptr<int>> b(1);
    auto value = std::make_unique<int>(1);
    found.check(select(sync::on_send(a, value), sync::otherwise()) == 1 && value != nullptr, "kept");
    auto other = std::make_unique<int>(2);
    found.check(select(sync::on_send(a, value), sync::on_send(b, other)) == 1, "the one with room");
    found.check(value != nullptr && other == nullptr, "only what was sent has moved");
  });
}

TEST_CASE("go select: closing wakes selects of both directions", "[go][select]") {
  in_every_way(
      [](Findings& found) {
        Channel<int> in;
        Channel<int> out;
        WaitGroup group;
        std::atomic<int> told{0};
        std::atomic<int> there{0};
        for (int i = 0; i < 4; ++i)
          start(group, [&] {
            ++there;
            select(sync::on_receive(in, [&](const Result<int>& v) { told += v ? 0 : 1; }),
                   sync::on_send(out, 1, [&](std::error_code e) { told += e ? 1 : 0; }));
          });
        found.check(soon([&] { return there == 4; }), "they come");
        (void)runtime::sleep_for(1ms);
        (void)in.close();
        group.wait();
        found.check(told == 4, "all four");
      },
      20);
}

TEST_CASE("go select: any number of cases, made at run time", "[go][select]") {
  in_every_way(
      [](Findings& found) {
        using Case = decltype(sync::on_receive(std::declval<Channel<int>*>(), ignore));
        constexpr std::size_t kMany = 100;
        std::vector<std::unique_ptr<Channel<int>>> channels;
        for (std::size_t i = 0; i < kMany; ++i) channels.push_back(std::make_unique<Channel<int>>());
        WaitGroup group;
        start(group, [&] { (void)channels[77]->send(1); });
        std::vector<std::unique_ptr<Case>> owned;
        std::vector<sync::SelectCase*> cases;
        for (const auto& channel : channels) {
          owned.push_back(std::unique_ptr<Case>(new Case(channel.get(), ignore)));
          cases.push_back(owned.back().get());
        }
        found.check(select(std::span<sync::SelectCase* const>(cases)) == 77, "the one that was sent to");
        group.wait();
      },
      20);
}
