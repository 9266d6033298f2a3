// The daemon, whose fiber of an upgrade finds no memory for the first thing that it wants when the new process has said
// that it serves.
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <fiberd/daemon/daemon.hpp>
#include <new>
#include <string_view>

#include "core/runtime/fiber.hpp"
#include "core/runtime/machine.hpp"

using namespace fiberd;

static std::atomic<bool> heard{false};

static bool fails_now() noexcept {
  if (!heard.load()) return false;
  const runtime::Machine* const machine = runtime::Machine::current_machine();
  if (machine == nullptr || machine->current == nullptr) return false;
  return machine->current->origin.get().name == "upgrade" && heard.exchange(false);
}

// NOLINTBEGIN: this is what memory is taken by
void* operator new(std::size_t size, const std::nothrow_t& /*tag*/) noexcept {
  return fails_now() ? nullptr : std::malloc(size == 0 ? 1 : size);
}
void* operator new(std::size_t size) {
  if (void* const p = ::operator new(size, std::nothrow)) return p;
  throw std::bad_alloc();
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t /*size*/) noexcept { std::free(p); }
// NOLINTEND

/// In place of the C library's.
extern "C" ssize_t recvmsg(int fd, msghdr* message, int flags) {
  static constexpr std::string_view kServing = "serving";
  const long n = ::syscall(SYS_recvmsg, fd, message, flags);
  if (n == static_cast<long>(kServing.size()) && message->msg_iov->iov_len >= kServing.size() &&
      std::string_view(static_cast<const char*>(message->msg_iov->iov_base), kServing.size()) == kServing)
    heard = true;
  return n;
}

int main(int argc, char** argv) {
  daemon::Daemon daemon;
  return daemon.main(argc, argv);
}
