// Cases of select that are kept: in variables, in a vector that grows and shrinks, and used again and again.
#include <catch2/catch.hpp>
#include <memory>
#include <type_traits>
#include <vector>

#include "core/base/random.hpp"
#include "core/context/cancel_scope.hpp"
#include "core/context/done_signal.hpp"
#include "core/sync/select.hpp"
#include "core/sync/wait_group.hpp"
#include "tests/support/seeds.hpp"
#include "tests/unit/sync/support.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using context::CancelScope;
using sync::AnyCase;
using sync::Channel;
using sync::WaitGroup;
using test::invariant;
using test::on_fibers;

static_assert(!std::is_copy_constructible_v<AnyCase> && std::is_nothrow_move_constructible_v<AnyCase>);

TEST_CASE("cases in a vector: as many as there are when the program runs", "[select][kept]") {
  on_fibers(2, [](test::Findings& found) {
    for (const std::size_t n : {1U, 5U, 100U}) {
      std::vector<std::unique_ptr<Channel<std::size_t>>> channels;
      std::vector<AnyCase> cases;
      std::vector<std::size_t> got(n);
      std::size_t open = n;
      for (std::size_t i = 0; i < n; ++i) {
        channels.push_back(std::make_unique<Channel<std::size_t>>());
        cases.push_back(sync::on_receive(*channels[i], [&, i](const Result<std::size_t>& v) { got[i] += v ? *v : 0; }));
      }
      WaitGroup group;
      for (std::size_t i = 0; i < n; ++i)
        (void)group.go("sender", [&, i] {
          for (std::size_t k = 1; k <= 3; ++k) (void)channels[i]->send(k * (i + 1));
          (void)channels[i]->close();
        });
      // Until all are closed; one that is leaves the vector.
      std::vector<std::size_t> present(n);
      for (std::size_t i = 0; i < n; ++i) present[i] = i;
      while (open != 0) {
        const std::size_t which = sync::select(cases);
        if (!channels[present[which]]->closed() || channels[present[which]]->size() != 0) continue;
        cases.erase(cases.begin() + static_cast<std::ptrdiff_t>(which));
        present.erase(present.begin() + static_cast<std::ptrdiff_t>(which));
        --open;
      }
      group.wait();
      for (std::size_t i = 0; i < n; ++i) found.check(got[i] == 6 * (i + 1), "each sender's values");
    }
  });
}

TEST_CASE("cases that are kept in variables are used again", "[select][kept]") {
  on_fibers(1, [](test::Findings& found) {
    Channel<int> in;
    Channel<int> out(1);
    int sum = 0;
    int value = 0;
    int timeouts = 0;
    auto receive = sync::on_receive(in, [&](const Result<int>& v) { sum += v ? *v : 100; });
    auto send = sync::on_send(out, value);
    auto over = sync::at(Deadline::never(), [&] { ++timeouts; });
    WaitGroup group;
    (void)group.go("peer", [&] {
      for (int i = 1; i <= 5; ++i) {
        (void)in.send(i);
        (void)out.receive();
      }
      (void)in.close();
    });
    for (int i = 0; i < 5; ++i) {
      value = 7;
      found.check(sync::select(receive, over) == 0, "a value came");
      found.check(sync::select(send, over) == 0, "a value went");
    }
    found.check(sync::select(receive, over) == 0 && sum == 115, "closed");
    group.wait();
    // A case that was ready in one select is not so in the next.
    Channel<int> idle;
    auto due = sync::at(Deadline::in(1h));
    auto past = sync::at(Deadline::at(1));
    auto nothing = sync::otherwise();
    auto quiet = sync::on_receive(idle, [](const Result<int>&) {});
    auto other = sync::on_receive(in, [](const Result<int>&) {});
    found.check(sync::select(quiet, past, nothing) == 1, "past");
    found.check(sync::select(quiet, due, nothing) == 2, "not yet");
    found.check(sync::select(quiet, other, due) == 1, "closed still");
    found.check(timeouts == 0, "never");
  });
}

TEST_CASE("a kept case owns what it was given, and gives it away once", "[select][kept]") {
  on_fibers(1, [](test::Findings& found) {
    Channel<std::unique_ptr<int>> out(2);
    std::vector<AnyCase> cases;
    {
      auto made = sync::on_send(out, std::make_unique<int>(3), [count = std::make_unique<int>(0)] { ++*count; });
      cases.push_back(std::move(made));
    }
    // What it is done by is its own.
    cases.push_back(sync::on_done(context::with_timeout(context::background(), 1h).context));
    cases.push_back(sync::on_send(out, std::make_unique<int>(4)));
    std::swap(cases[0], cases[1]);
    int sum = 0;
    for (int i = 0; i < 2; ++i) {
      (void)sync::select(cases);
      const auto got = out.receive();
      sum += *got != nullptr ? **got : 0;
      if (i == 0) cases.erase(cases.begin() + (sum == 3 ? 1 : 2));
    }
    found.check(sum == 7, "each once");
  });
}

TEST_CASE("select on kept cases, ends and signals: what was sent is received once, 10,000 seeds",
          "[select][kept][seeds]") {
  test::for_each_simulation(10'000, [](std::uint64_t seed) {
    Random random(seed);
    Channel<int> a(random.below(2));
    Channel<int> b;
    const CancelScope stop(context::with_cancel(context::background()));
    std::vector<int> sent(12);
    std::vector<int> received(12);
    WaitGroup senders;
    WaitGroup receivers;
    for (std::size_t s = 0; s < 2; ++s)
      (void)senders.go("sender", [&, s] {
        int value = 0;
        std::vector<AnyCase> cases;
        bool went = false;
        cases.push_back(sync::on_send(sync::Sender<int>(a), value, [&] { went = true; }));
        cases.push_back(sync::on_send(sync::Sender<int>(b), value, [&] { went = true; }));
        const context::DoneSignal gone = context::when_done(stop);
        cases.push_back(sync::on_done(gone));
        for (std::size_t i = 0; i < 6; ++i) {
          value = static_cast<int>(s * 6 + i);
          const auto at = static_cast<std::size_t>(value);
          went = false;
          (void)sync::select(cases);
          if (!went) return;
          ++sent[at];
        }
      });
    for (int r = 0; r < 2; ++r)
      (void)receivers.go("receiver", [&, r] {
        if (r == 0) {
          for (const int v : a.until(stop.context())) ++received[static_cast<std::size_t>(v)];
          return;
        }
        bool open = true;
        auto from_b = sync::on_receive(sync::Receiver<int>(b),
                                       [&](const Result<int>& v) { ++received[static_cast<std::size_t>(*v)]; });
        auto from_a = sync::on_receive(sync::Receiver<int>(a),
                                       [&](const Result<int>& v) { ++received[static_cast<std::size_t>(*v)]; });
        auto over = sync::on_done(stop, [&] { open = false; });
        while (open) (void)sync::select(from_a, over, from_b);
      });
    bool told = false;
    (void)receivers.go("watcher", [&] {
      const context::DoneSignal stopped = context::when_done(stop);
      stopped.wait();
      told = stopped.err() == context::errc::canceled;
    });
    (void)runtime::sleep_for(std::chrono::nanoseconds(random.below(20'000)));
    stop.cancel();
    senders.wait();
    receivers.wait();
    while (const auto v = a.try_receive()) ++received[static_cast<std::size_t>(*v)];
    invariant(told, "the watcher was told");
    for (std::size_t i = 0; i < sent.size(); ++i) {
      invariant(sent[i] <= 1 && sent[i] == received[i], "a value was lost, or came twice");
    }
  });
}
