// A listener's life: from bind() over start() and replace() to stop(). How it accepts: listener_accept.cpp; how its
// socket comes to be: listener_bind.cpp; for fibers that accept by themselves: listener_fibers.cpp.
//
// Who is served is a snapshot that a burst reads once. replace() stores another and waits until the last burst that
// read the old one is over: its owner may then destroy what it points to. A lock around "look, then call" would be held
// while foreign code runs; a count kept beside a plain pointer would have a gap between the two.
#include "core/net/listener.hpp"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <utility>

#include "core/base/clock.hpp"
#include "core/net/handshakes.hpp"
#include "core/net/listener_socket.hpp"
#include "core/net/replace_snapshot.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/scheduler.hpp"

namespace fiberd::net {

static constexpr std::int64_t kHandshakePatience = 1'000'000'000;  // a round trip to the other side of the world, twice

Listener::Listener(runtime::Runtime& runtime, ListenerOptions options, bool local)
    : runtime_(runtime),
      options_(std::move(options)),
      shared_(std::make_shared<Shared>(options_.metrics.connections)),
      serving_(std::make_shared<const Serving>(
          completed({.connections = options_.connections,
                     .connections_per_address = local ? 0 : options_.connections_per_address,
                     .gate = options_.gate,
                     .make_room = options_.make_room}))) {}

/// With the listener's own where it says nothing.
Serving Listener::completed(const Serving& serving) const noexcept {
  Serving all = serving;
  if (all.counts == nullptr) all.counts = &shared_->counts;
  if (all.metrics == nullptr) all.metrics = &options_.metrics;
  if (all.name.empty()) all.name = options_.name;
  return all;
}

Listener::~Listener() { stop(); }

Result<void> Listener::start(OnAccept on_accept, void* argument, bool wants_client) {
  Serving serving = **serving_.read();
  serving.on_accept = on_accept;
  serving.argument = argument;
  serving.wants_client = wants_client;
  return start(serving);
}

Result<void> Listener::start(const Serving& serving) {
  replace(serving);
  return start();
}

Result<void> Listener::start() noexcept {
  for (auto& socket : sockets_) {
    auto registration =
        runtime::AcceptorRegistration::add(runtime_.scheduler(), socket->fd, &Listener::on_readable, socket.get());
    if (!registration) return fail(registration.error());
    socket->registration.store(registration->release(), std::memory_order_release);
    if (paused_.load()) socket->settle();
  }
  return {};
}

void pause_for(std::chrono::nanoseconds time) noexcept {
  if (runtime::on_fiber()) {
    (void)runtime::sleep_for(time);
    return;
  }
  const timespec t{0, static_cast<long>(time.count())};
  (void)::nanosleep(&t, nullptr);
}

void Listener::replace(const Serving& next) {
  auto fresh = std::make_shared<Serving>(completed(next));
  if (local_.family() == AF_UNIX) fresh->connections_per_address = 0;
  replace_and_wait<Serving>(serving_, std::move(fresh));
}

void Listener::on_pause_over(runtime::Timer& timer) noexcept { static_cast<Socket&>(timer).settle(); }

void Listener::pause() noexcept {
  paused_.store(true);
  for (auto& socket : sockets_) socket->settle();
}

void Listener::resume() noexcept {
  paused_.store(false);
  for (auto& socket : sockets_) socket->settle();
}

/// Another's Poller is told of who comes from now on; of who is in the queue only ours may have been.
void Listener::accept_waiting() noexcept {
  for (auto& socket : sockets_) accept_rest(*socket);
}

/// Those whom the kernel has let in, or is letting in, are served: handshakes.cpp.
void Listener::accept_the_last() noexcept {
  if (keeper_.load() != Keeper::nobody) {
    if (!paused_.load()) accept_waiting();
    return;
  }
  if (local_.family() == AF_UNIX) {
    remove_unix_path();  // nobody new finds it; connect() puts a client straight into the queue
    for (auto& socket : sockets_) accept_rest(*socket);
    return;
  }
  bool filtered = true;
  for (auto& socket : sockets_) filtered = !refuse_new_handshakes(socket->fd) && filtered;
  const std::int64_t until = monotonic_now() + kHandshakePatience;
  for (std::chrono::milliseconds pause{1};; pause = std::min(2 * pause, std::chrono::milliseconds(32))) {
    for (auto& socket : sockets_) accept_rest(*socket);
    // Without the filter there is always another one; without sock_diag nobody knows.
    const Result<unsigned> pending = filtered ? pending_handshakes(local_.port()) : Result<unsigned>(0);
    if (!pending || *pending == 0 || monotonic_now() >= until) break;
    pause_for(pause);
  }
  for (auto& socket : sockets_) accept_rest(*socket);  // what was finished between the two looks
}

void Listener::stop() noexcept {
  if (stopped_.exchange(true)) return;
  bool started = false;
  for (auto& socket : sockets_) {
    started = started || socket->registration.load(std::memory_order_acquire) != nullptr;
    socket->unregister();
  }
  if (started) accept_the_last();
  for (auto& socket : sockets_) {
    // A fiber in accept() leaves before the descriptor's number is given up.
    while (socket->inside.load() != 0) {
      if (auto* const d = socket->descriptor.load(); d != nullptr) d->shutdown();
      if (runtime::on_fiber())
        runtime::yield();
      else
        ::sched_yield();
    }
    socket->close();
  }
  if (local_.family() == AF_UNIX && keeper_.load() == Keeper::nobody) remove_unix_path();
}

}  // namespace fiberd::net
