// One end of a channel, values until a context is done, what try_receive tells, and a context's end to hand on.
#include "core/sync/channel_ends.hpp"

#include <catch2/catch.hpp>
#include <concepts>
#include <memory>
#include <vector>

#include "core/context/cancel_scope.hpp"
#include "core/context/done_signal.hpp"
#include "core/sync/select.hpp"
#include "core/sync/wait_group.hpp"
#include "tests/unit/sync/support.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using context::CancelScope;
using context::DoneSignal;
using sync::Channel;
using sync::Receiver;
using sync::Sender;
using sync::WaitGroup;
using test::on_fibers;

template <class T>
concept Sends = requires(T c) {
  c.send(1);
};
template <class T>
concept Receives = requires(T c) {
  c.receive();
};
template <class T>
concept Closes = requires(T c) {
  c.close();
};
static_assert(Sends<Channel<int>&> && Receives<Channel<int>&> && Closes<Channel<int>&>);
static_assert(Sends<Sender<int>> && !Receives<Sender<int>> && Closes<Sender<int>>);
static_assert(!Sends<Receiver<int>> && Receives<Receiver<int>> && !Closes<Receiver<int>>);
static_assert(std::convertible_to<Channel<int>&, Sender<int>> && std::convertible_to<Channel<int>&, Receiver<int>>);
static_assert(!std::convertible_to<Sender<int>, Receiver<int>> && !std::convertible_to<Receiver<int>, Sender<int>>);
static_assert(!std::convertible_to<const Channel<int>&, Sender<int>> && sizeof(Sender<int>) == sizeof(void*));

namespace {

void produce(const context::Context& ctx, Sender<int> out) {
  for (int i = 1; i <= 10; ++i)
    if (!out.send(ctx, i)) return;
  out.close();
}

int consume(Receiver<int> in) {
  int sum = 0;
  for (const int v : in) sum += v;
  return sum;
}

}  // namespace

TEST_CASE("the ends of a channel do what the channel does", "[channel][ends]") {
  on_fibers(2, [](test::Findings& found) {
    Channel<int> numbers(2);
    WaitGroup group;
    (void)group.go("producer", [&] { produce(context::background(), numbers); });
    found.check(consume(numbers) == 55, "all came");
    group.wait();
    const Sender<int> out = numbers;
    const Receiver<int> in = numbers;
    found.check(out.closed() && in.closed() && in.size() == 0 && out.capacity() == 2, "what it says");
    found.check(in.receive().error() == sync::errc::closed, "closed");
    found.check(error_of(out.try_send_if_open(1)) == sync::errc::closed, "no more");
    found.check(out == Sender<int>(numbers) && in != Receiver<int>(), "the same");
    Channel<int> next(1);
    const Sender<int> to = next;
    int value = 5;
    found.check(to.try_send(value) && !to.try_send(6) && Receiver<int>(next).try_receive() == 5, "without waiting");
    found.check(to.send_from(value) && next.try_receive() == 5, "waits for room");
    found.check(to.send_if_open(context::background(), 7) && next.try_receive() == 7, "while it is open");
  });
}

TEST_CASE("select takes ends, and none is a nil channel", "[select][ends]") {
  on_fibers(1, [](test::Findings& found) {
    Channel<int> numbers(1);
    int got = 0;
    std::size_t which = sync::select(sync::on_receive(Receiver<int>(), [](const Result<int>&) {}),
                                     sync::on_send(Sender<int>(numbers), 5));
    found.check(which == 1 && numbers.size() == 1, "sent");
    which = sync::select(sync::on_receive(Receiver<int>(numbers), [&](const Result<int>& v) { got = *v; }),
                         sync::on_send(Sender<int>(), 6));
    found.check(which == 0 && got == 5, "received");
  });
}

TEST_CASE("try_receive tells empty from closed", "[channel]") {
  on_fibers(1, [](test::Findings& found) {
    Channel<std::unique_ptr<int>> channel(1);
    found.check(channel.try_receive().error() == sync::errc::would_wait, "empty");
    (void)channel.send(std::make_unique<int>(4));
    (void)channel.close();
    found.check(**channel.try_receive() == 4, "what is left");
    found.check(channel.try_receive().error() == sync::errc::closed, "closed");
  });
}

TEST_CASE("values until the context is done, or the channel closed", "[channel][context]") {
  on_fibers(2, [](test::Findings& found) {
    Channel<int> numbers;
    const CancelScope scope(context::with_cancel(context::background()));
    const context::Context& ctx = scope;
    int sum = 0;
    WaitGroup group;
    (void)group.go("sender", [&] {
      for (int i = 1; i <= 3; ++i) (void)numbers.send(i);
      scope.cancel();
    });
    auto values = numbers.until(ctx);
    found.check(!values.error(), "goes on");
    for (const int v : values) sum += v;
    found.check(sum == 6 && values.error() == context::errc::canceled, "the context ended it");
    for (const int v : Receiver<int>(numbers).until(ctx)) sum += v;
    found.check(sum == 6, "done before");
    group.wait();
    Channel<int> closed(1);
    (void)closed.send(4);
    (void)closed.close();
    const context::Context root;
    auto rest = closed.until(root);
    for (const int v : rest) sum += v;
    found.check(sum == 10 && rest.error() == sync::errc::closed, "drained, and closed");
  });
}

TEST_CASE("a context's end to hand on", "[context][done_signal]") {
  on_fibers(2, [](test::Findings& found) {
    const CancelScope client(context::with_cancel(context::background()));
    const CancelScope mine(context::with_cancel(context::background()));
    const DoneSignal gone = context::when_done(client);
    const DoneSignal never;
    found.check(!gone.done() && !gone.err() && !never.done(), "not yet");
    {
      const CancelScope soon(context::with_timeout(mine, 1ms));
      found.check(error_of(gone.wait(soon)) == context::errc::deadline_exceeded, "its own context was first");
      found.check(error_of(never.wait(soon)) == context::errc::deadline_exceeded, "never");
    }
    Channel<int> idle;
    std::error_code told;
    WaitGroup group;
    std::error_code waited;
    (void)group.go("waiter", [&] {
      gone.wait();
      waited = gone.err();
    });
    (void)group.go("canceler", [&] { client.cancel(std::make_error_code(std::errc::connection_reset)); });
    const std::size_t which = sync::select(sync::on_receive(idle, [](const Result<int>&) {}),
                                           sync::on_done(gone, [&](std::error_code e) { told = e; }), sync::after(1h));
    group.wait();
    found.check(which == 1 && told == context::errc::canceled && waited == told, "told");
    found.check(gone.cause() == std::errc::connection_reset, "why");
    found.check(gone.wait(mine).has_value(), "done before");
    mine.cancel();
    found.check(gone.wait(mine).has_value(), "both: it is done, which was asked");
    const DoneSignal timed(context::with_timeout(context::background(), 1ms).context);
    timed.wait();
    found.check(timed.err() == context::errc::deadline_exceeded, "a deadline");
  });
}
