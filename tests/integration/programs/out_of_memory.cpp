// The daemon, whose fiber of an upgrade finds no memory for the first thing that it wants when the new process has said
// that it serves.
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <fiberd/daemon/daemon.hpp>
#include <string_view>

#include "core/runtime/fiber.hpp"
#include "core/runtime/machine.hpp"
#include "tests/support/allocations.hpp"

using namespace fiberd;

static std::atomic<bool> heard{false};

static bool fails_now() noexcept {
  if (!heard.load()) return false;
  const runtime::Machine* const machine = runtime::Machine::current_machine();
  if (machine == nullptr || machine->current == nullptr) return false;
  return machine->current->origin.get().name == "upgrade" && heard.exchange(false);
}

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
  test::refuse_allocations_where(&fails_now);
  daemon::Daemon daemon;
  return daemon.main(argc, argv);
}
