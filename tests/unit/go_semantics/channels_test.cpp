#include <array>
#include <memory>
#include <numeric>
#include <vector>

#include "core/base/random.hpp"
#include "core/sync/select.hpp"
#include "tests/unit/go_semantics/support.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using namespace go;
using sync::Channel;
using sync::WaitGroup;

TEST_CASE("go chan: an unbuffered send ends when somebody has received", "[go][chan]") {
  in_every_way([](Findings& found) {
    Channel<int> channel;
    WaitGroup group;
    std::atomic<bool> sent{false};
    start(group, [&] {
      (void)channel.send(7);
      sent = true;
    });
    let_others_run();
    found.check(!sent, "nobody has received yet");
    found.check(channel.receive() == 7, "the value");
    group.wait();
    found.check(sent, "now it is sent");
  });
}

TEST_CASE("go chan: a receive waits for a send", "[go][chan]") {
  in_every_way([](Findings& found) {
    for (const std::size_t capacity : {0U, 1U, 7U}) {
      Channel<int> channel(capacity);
      WaitGroup group;
      std::atomic<int> got{0};
      start(group, [&] { got = channel.receive().value_or(-1); });
      let_others_run();
      found.check(got == 0, "nothing to receive");
      (void)channel.send(5);
      group.wait();
      found.check(got == 5, "received");
    }
  });
}

TEST_CASE("go chan: a buffered channel takes its capacity without a receiver, and no more", "[go][chan]") {
  in_every_way([](Findings& found) {
    Channel<int> channel(3);
    for (int i = 0; i < 3; ++i) (void)channel.send(i);
    std::atomic<bool> fourth{false};
    WaitGroup group;
    start(group, [&] {
      (void)channel.send(3);
      fourth = true;
    });
    let_others_run();
    found.check(!fourth, "the fourth waits");
    for (int i = 0; i < 4; ++i) found.check(channel.receive() == i, "in order");
    group.wait();
  });
}

TEST_CASE("go chan: len and cap", "[go][chan]") {
  in_every_way([](Findings& found) {
    Channel<int> channel(10);
    found.check(channel.size() == 0 && channel.capacity() == 10, "empty");
    for (int i = 0; i < 4; ++i) (void)channel.send(i);
    found.check(channel.size() == 4, "four");
    (void)channel.receive();
    found.check(channel.size() == 3, "three");
    found.check(Channel<int>().capacity() == 0, "unbuffered");
  });
}

TEST_CASE("go chan: what one sends to one arrives in order", "[go][chan]") {
  in_every_way([](Findings& found) {
    for (const std::size_t capacity : {0U, 1U, 10U}) {
      Channel<int> channel(capacity);
      WaitGroup group;
      start(group, [&] {
        for (int i = 0; i < 200; ++i) (void)channel.send(i);
        (void)channel.close();
      });
      int expected = 0;
      for (const int value : channel) found.check(value == expected++, "order");
      found.check(expected == 200, "all of them");
      group.wait();
    }
  });
}

TEST_CASE("go chan: a closed channel gives what is in it, then says closed for ever", "[go][chan]") {
  in_every_way([](Findings& found) {
    Channel<int> channel(5);
    for (int i = 0; i < 3; ++i) (void)channel.send(i);
    (void)channel.close();
    for (int i = 0; i < 3; ++i) found.check(channel.receive() == i, "what was sent before");
    for (int i = 0; i < 3; ++i) {
      const Result<int> none = channel.receive();
      found.check(!none && none.error() == sync::errc::closed, "closed");
    }
  });
}

TEST_CASE("go chan: close wakes every receiver", "[go][chan]") {
  in_every_way([](Findings& found) {
    Channel<int> channel;
    WaitGroup group;
    std::atomic<int> closed{0};
    for (int i = 0; i < 10; ++i)
      start(group, [&] {
        const Result<int> none = channel.receive();
        if (!none && none.error() == sync::errc::closed) ++closed;
      });
    let_others_run();
    (void)channel.close();
    group.wait();
    found.check(closed == 10, "all ten");
  });
}

TEST_CASE("go chan: senders that wait when it is closed are told, and keep their values", "[go][chan]") {
  in_simulation(200, [](Findings& found) {
    Channel<std::unique_ptr<int>> channel;
    WaitGroup group;
    std::atomic<int> told{0};
    std::atomic<int> waiting{0};
    for (int i = 0; i < 5; ++i)
      start(group, [&] {
        auto value = std::make_unique<int>(1);
        ++waiting;
        if (error_of(channel.send_from(value)) == sync::errc::closed && value != nullptr) ++told;
      });
    found.check(soon([&] { return waiting == 5; }), "they come");
    (void)runtime::sleep_for(1ms);
    (void)channel.close();
    group.wait();
    found.check(told == 5, "each of them");
  });
}

#ifdef NDEBUG  // a debug build stops there
TEST_CASE("go chan: sending on a closed channel, and closing twice, are mistakes with an answer", "[go][chan]") {
  in_every_way(
      [](Findings& found) {
        Channel<int> channel(1);
        (void)channel.close();
        const std::uint64_t before = bug_count();
        found.check(error_of(channel.send(1)) == sync::errc::closed, "send");
        found.check(error_of(channel.close()) == sync::errc::closed, "close");
        found.check(!channel.try_send(1), "try_send");
        found.check(bug_count() == before + 3, "each is reported");
      },
      1);
}
#endif

TEST_CASE("go chan: a try without a partner moves nothing, with one it goes through", "[go][chan]") {
  in_every_way([](Findings& found) {
    Channel<int> channel;
    found.check(!channel.try_send(1), "nobody receives");
    bool received = false;
    (void)sync::select(sync::on_receive(channel, [&](const Result<int>&) { received = true; }), sync::otherwise());
    found.check(!received, "nobody sends");
    WaitGroup group;
    std::atomic<int> got{0};
    start(group, [&] { got = channel.receive().value_or(-1); });
    found.check(soon([&] { return channel.try_send(42); }), "to one who waits");
    group.wait();
    found.check(got == 42, "the value");
  });
}

TEST_CASE("go chan: a try on a buffer obeys full and empty", "[go][chan]") {
  in_every_way([](Findings& found) {
    Channel<int> channel(2);
    found.check(channel.try_send(1) && channel.try_send(2) && !channel.try_send(3), "two fit");
    found.check(channel.receive() == 1 && channel.try_send(3), "room again");
    found.check(channel.receive() == 2 && channel.receive() == 3, "order");
  });
}

TEST_CASE("go chan: receivers are served in the order they came", "[go][chan]") {
  in_simulation(300, [](Findings& found) {
    Channel<int> channel;
    WaitGroup group;
    std::vector<int> order;
    std::vector<int> got(8, -1);
    for (std::size_t i = 0; i < 8; ++i)
      start(group, [&, i] {
        order.push_back(static_cast<int>(i));
        got[i] = channel.receive().value_or(-1);
      });
    let_others_run();
    for (int i = 0; i < 8; ++i) (void)channel.send(i);
    group.wait();
    for (std::size_t i = 0; i < 8; ++i)
      found.check(got[static_cast<std::size_t>(order[i])] == static_cast<int>(i), "turn");
  });
}

TEST_CASE("go chan: senders are served in the order they came", "[go][chan]") {
  in_simulation(300, [](Findings& found) {
    Channel<int> channel;
    WaitGroup group;
    std::vector<int> order;
    for (int i = 0; i < 8; ++i)
      start(group, [&, i] {
        order.push_back(i);
        (void)channel.send(i);
      });
    let_others_run();
    for (std::size_t i = 0; i < 8; ++i) found.check(channel.receive() == order[i], "turn");
    group.wait();
  });
}

TEST_CASE("go chan: a buffered channel is a semaphore", "[go][chan]") {
  in_every_way([](Findings& found) {
    Channel<int> slots(3);
    WaitGroup group;
    Gauge gauge;
    for (int i = 0; i < 30; ++i)
      start(group, [&] {
        (void)slots.send(1);
        gauge.enter();
        runtime::yield();
        gauge.leave();
        (void)slots.receive();
      });
    group.wait();
    found.check(gauge.most() <= 3, "three at once");
  });
}

TEST_CASE("go chan: many to many, each value once", "[go][chan]") {
  in_every_way(
      [](Findings& found) {
        for (const std::size_t capacity : {0U, 3U}) {
          constexpr int kSenders = 5;
          constexpr int kEach = 60;
          Channel<int> channel(capacity);
          std::array<std::atomic<int>, kSenders * kEach> seen{};
          WaitGroup senders;
          WaitGroup receivers;
          for (int r = 0; r < 4; ++r)
            start(receivers, [&] {
              for (const int value : channel) ++seen[static_cast<std::size_t>(value)];
            });
          for (int s = 0; s < kSenders; ++s)
            start(senders, [&, s] {
              for (int i = 0; i < kEach; ++i) (void)channel.send(s * kEach + i);
            });
          senders.wait();
          (void)channel.close();
          receivers.wait();
          for (const auto& n : seen) found.check(n == 1, "once");
        }
      },
      30);
}

TEST_CASE("go chan: a chain of filters sieves primes", "[go][chan]") {
  in_every_way(
      [](Findings& found) {
        WaitGroup group;
        const auto stop = context::with_cancel(context::background());
        auto numbers = std::make_shared<Channel<int>>();
        start(group, [numbers, ctx = stop.context] {
          for (int i = 2; numbers->send(ctx, i); ++i) {
          }
        });
        std::vector<int> primes;
        for (int n = 0; n < 15; ++n) {
          const int prime = numbers->receive(context::background()).value_or(-1);
          primes.push_back(prime);
          auto rest = std::make_shared<Channel<int>>();
          start(group, [numbers, rest, prime, ctx = stop.context] {
            for (auto value = numbers->receive(ctx); value; value = numbers->receive(ctx))
              if (*value % prime != 0 && !rest->send(ctx, *value)) return;
          });
          numbers = rest;
        }
        stop.cancel();
        group.wait();
        found.check(primes == std::vector<int>{2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47}, "primes");
      },
      20);
}

TEST_CASE("go chan: a token around a ring of a hundred", "[go][chan]") {
  in_every_way(
      [](Findings& found) {
        std::vector<std::unique_ptr<Channel<int>>> ring;
        for (int i = 0; i <= 100; ++i) ring.push_back(std::make_unique<Channel<int>>());
        WaitGroup group;
        for (std::size_t i = 0; i < 100; ++i)
          start(group, [&, i] { (void)ring[i + 1]->send(1 + ring[i]->receive().value_or(-1000)); });
        (void)ring[0]->send(0);
        found.check(ring[100]->receive() == 100, "each added one");
        group.wait();
      },
      20);
}

TEST_CASE("go chan: a context ends a send and a receive, and nothing has moved", "[go][chan][context]") {
  in_every_way([](Findings& found) {
    Channel<int> channel;
    const auto soon_over = context::with_timeout(context::background(), 100us);
    found.check(error_of(channel.send(soon_over.context, 1)) == context::errc::deadline_exceeded, "send");
    const Result<int> none = channel.receive(soon_over.context);
    found.check(!none && none.error() == context::errc::deadline_exceeded, "receive");
    found.check(!channel.try_send(1), "nobody waits there any more");
  });
}

TEST_CASE("go chan: what a closed or dying channel holds is destroyed once", "[go][chan]") {
  in_every_way(
      [](Findings& found) {
        const auto alive = std::make_shared<int>(1);
        {
          Channel<std::shared_ptr<int>> channel(4);
          for (int i = 0; i < 4; ++i) (void)channel.send(alive);
          (void)channel.receive();
          (void)channel.close();
          found.check(alive.use_count() == 4, "three in it");
        }
        found.check(alive.use_count() == 1, "none left");
      },
      5);
}

TEST_CASE("go chan: values of no size and of a page", "[go][chan]") {
  in_every_way(
      [](Findings& found) {
        struct Empty {};
        using Page = std::array<int, 1024>;
        Channel<Empty> empties(2);
        Channel<Page> pages;
        WaitGroup group;
        start(group, [&] {
          for (int i = 0; i < 5; ++i) (void)empties.send({});
          (void)empties.close();
          Page page{};
          std::iota(page.begin(), page.end(), 0);
          (void)pages.send(page);
        });
        int n = 0;
        while (empties.receive()) ++n;
        found.check(n == 5, "five nothings");
        const Result<Page> page = pages.receive();
        found.check(page && (*page)[1023] == 1023, "a page");
        group.wait();
      },
      20);
}

TEST_CASE("go chan: consumers share one queue and lose nothing", "[go][chan]") {
  in_every_way(
      [](Findings& found) {
        Channel<int> work(3);
        Channel<int> results(3);
        WaitGroup workers;
        for (int w = 0; w < 6; ++w)
          start(workers, [&, w] {
            for (const int job : work) {
              if (w == 0) runtime::yield();
              (void)results.send(job * 2);
            }
          });
        WaitGroup group;
        int expected = 0;
        start(group, [&] {
          for (int i = 0; i < 150; ++i) {
            expected += i * 2;
            (void)work.send(i);
          }
          (void)work.close();
          workers.wait();
          (void)results.close();
        });
        int sum = 0;
        for (const int r : results) sum += r;
        group.wait();
        found.check(sum == expected, "the sum");
      },
      30);
}
