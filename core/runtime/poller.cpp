#include "core/runtime/poller.hpp"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/bug.hpp"
#include "core/base/cache_line.hpp"
#include "core/base/clock.hpp"
#include "core/base/syscall.hpp"
#include "core/runtime/acceptor.hpp"
#include "core/runtime/poll_registration.hpp"

namespace fiberd::runtime {

// epoll's user data: the top 16 bits say what it is. Descriptors carry their generation there (1 … 0x7fff), so an event
// of a descriptor that was closed and reused meanwhile is recognised.
static constexpr std::uint64_t kWakeTag = 0;
static constexpr std::uint64_t kAcceptorTag = std::uint64_t{0x8000} << 48U;
static constexpr std::uint64_t kPollerTag = std::uint64_t{0x8001} << 48U;
static constexpr int kAhead = 4;
static constexpr std::uint64_t kPointerMask = (std::uint64_t{1} << 48U) - 1;

static void* pointer_of(const epoll_event& event) noexcept {
  return reinterpret_cast<void*>(event.data.u64 & kPointerMask);
}

static void prefetch_lines(const void* object) noexcept {
  const auto* const at = static_cast<const char*>(object);
  for (std::size_t i = 0; i < 2; ++i) __builtin_prefetch(at + i * kCacheLine, 1);
}

Poller::~Poller() {
  if (event_ >= 0) ::close(event_);
  if (epoll_ >= 0) ::close(epoll_);
}

Result<void> Poller::open() noexcept {
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_ < 0) return fail_errno(-errno);
  event_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (event_ < 0) return fail_errno(-errno);
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  event.data.u64 = kWakeTag;
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, event_, &event) != 0) return fail_errno(-errno);
  return {};
}

int Poller::wait(Events& batch, std::int64_t timeout_ns) noexcept {
  if (epoll_ < 0) return 0;
  polls.store(polls.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  // Rounded up: waking early would mean a second call for nothing. Deadlines under a millisecond use the precise call.
  if (timeout_ns > 0 && timeout_ns < 10'000'000) {
    const timespec timeout{0, static_cast<long>(timeout_ns)};
    const int n = epoll_pwait2(epoll_, batch.data(), kBatch, &timeout, nullptr);
    if (n >= 0 || errno != ENOSYS) return n;
  }
  const std::int64_t ms = timeout_ns / 1'000'000 + (timeout_ns % 1'000'000 != 0 ? 1 : 0);
  const int timeout = timeout_ns == INT64_MAX ? -1 : static_cast<int>(std::min<std::int64_t>(ms, 86'400'000));
#if defined(FIBERD_DIRECT_SYSTEM_CALLS)
  return static_cast<int>(system_call(SYS_epoll_wait, epoll_, reinterpret_cast<long>(batch.data()), kBatch, timeout));
#else
  return epoll_wait(epoll_, batch.data(), kBatch, timeout);
#endif
}

unsigned Poller::deliver(const Events& batch, int count) noexcept {
  unsigned work = 0;
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = batch[static_cast<std::size_t>(i)];
    // Thousands of connections do not fit the caches: the next ones are on their way while this one is worked on.
    const int ahead = i + kAhead;
    if (ahead < count) prefetch_lines(pointer_of(batch[static_cast<std::size_t>(ahead)]));
    const std::uint64_t data = event.data.u64;
    if (data == kWakeTag) {
      if (sleeping.load(std::memory_order_seq_cst)) signal();
      continue;
    }
    ++work;
    void* const pointer = pointer_of(event);
    const std::uint64_t tag = data & ~kPointerMask;
    if (tag == kAcceptorTag) {
      static_cast<AcceptorRecord*>(pointer)->deliver();
    } else if (tag == kPollerTag) {
      auto& other = *static_cast<Poller*>(pointer);
      Events inner;
      const int n = other.wait(inner, 0);
      if (n > 0) other.deliver(inner, n);
    } else {
      deliver_to_descriptor(pointer, static_cast<std::uint16_t>(tag >> 48U), event.events);
    }
  }
  events.store(events.load(std::memory_order_relaxed) + work, std::memory_order_relaxed);
  return work;
}

void Poller::wake() noexcept {
  wakeups.fetch_add(1, std::memory_order_relaxed);
  signal();
}

void Poller::signal() noexcept {
  const std::uint64_t one = 1;
  // It can fail only when the counter is full, and then the edge is pending anyway.
  [[maybe_unused]] const ssize_t n = ::write(event_, &one, sizeof one);
}

std::error_code Poller::control(int operation, int fd, std::uint32_t mask, std::uint64_t data) noexcept {
  epoll_event event{};
  event.events = mask;
  event.data.u64 = data;
  if (epoll_ctl(epoll_, operation, fd, &event) != 0) return {errno, std::system_category()};
  return {};
}

std::error_code Poller::add_descriptor(int fd, void* descriptor, std::uint16_t generation, std::uint32_t mask,
                                       bool modify) noexcept {
  const std::uint64_t data = (std::uint64_t{generation} << 48U) | reinterpret_cast<std::uint64_t>(descriptor);
  const std::error_code error = control(modify ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, mask, data);
  if (!error && !modify) descriptors.fetch_add(1, std::memory_order_relaxed);
  return error;
}

std::error_code Poller::add_acceptor(AcceptorRecord& acceptor) noexcept {
  return control(EPOLL_CTL_ADD, acceptor.fd, EPOLLIN | EPOLLEXCLUSIVE,
                 kAcceptorTag | reinterpret_cast<std::uint64_t>(&acceptor));
}

void Poller::remove(int fd) noexcept { (void)control(EPOLL_CTL_DEL, fd, 0, 0); }

void Poller::adopt(Poller& other) noexcept {
  if (epoll_ < 0 || other.epoll_ < 0) return;
  const std::error_code error =
      control(EPOLL_CTL_ADD, other.epoll_, EPOLLIN, kPollerTag | reinterpret_cast<std::uint64_t>(&other));
  (void)FIBERD_BUG_IF(error && error.value() != EEXIST);
}

void Poller::release(Poller& other) noexcept {
  if (epoll_ >= 0 && other.epoll_ >= 0) remove(other.epoll_);
}

}  // namespace fiberd::runtime
