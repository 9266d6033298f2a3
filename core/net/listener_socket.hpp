#pragma once
// One listening descriptor of a Listener: internal to listener.cpp and listener_bind.cpp.
#include <atomic>
#include <cstdint>
#include <utility>

#include "core/net/listener.hpp"
#include "core/net/system_calls.hpp"
#include "core/runtime/poll_descriptor.hpp"
#include "core/runtime/settle.hpp"

namespace fiberd::net {

/// Bursts of one that must be used up before two are tried, at first.
inline constexpr std::uint32_t kFirstPatience = 4;

struct Listener::Socket : runtime::Timer {
  Socket(Listener& l, int f) : Timer(&Listener::on_pause_over), listener(l), fd(f) {}
  ~Socket() { close(); }
  void unregister() noexcept {
    cancel();
    // The pointer stays while the destructor waits for callbacks: they may be about to suspend.
    delete registration.load(std::memory_order_acquire);
    registration.store(nullptr, std::memory_order_release);
    cancel();  // armed by a callback after the first
  }
  /// Watches the socket, or not, as is wanted now. A pause(), its end and the end of a rest for want of descriptors may
  /// be at it at the same time, so each looks again after it has acted: whoever acts last acts on what is wanted last.
  void settle() noexcept {
    auto* const r = registration.load(std::memory_order_acquire);
    if (r == nullptr) return;
    runtime::settle([this] { return !listener.stopped_.load() && !listener.paused_.load(); },
                    [r](bool watch) { watch ? r->resume() : r->suspend(); });
  }
  void close() noexcept {
    unregister();
    if (auto* const d = descriptor.exchange(nullptr); d != nullptr) d->close();
    if (fd >= 0) sys::close(std::exchange(fd, -1));
  }
  Listener& listener;
  int fd;
  std::atomic<runtime::AcceptorRegistration*> registration{nullptr};
  std::atomic<std::uint32_t> burst{1};
  std::atomic<std::uint32_t> singles{kFirstPatience};         // bursts of one still to be used up before two are tried
  std::atomic<std::uint32_t> patience{kFirstPatience};        // what `singles` begins with
  std::atomic<runtime::PollDescriptor*> descriptor{nullptr};  // for accept()
  std::atomic<std::uint32_t> inside{0};                       // accept() calls
};

}  // namespace fiberd::net
