#include "daemon/orphans.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <new>

#include "core/base/log.hpp"

namespace fiberd::daemon {

namespace {

// Leaves: errno is a thread's.
/// A child that has ended and was not waited for; 0: there is none.
[[gnu::noinline]] pid_t find_dead() noexcept {
  siginfo_t info{};
  if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0) return 0;
  return info.si_pid;
}
[[gnu::noinline]] void take(pid_t pid) noexcept { (void)::waitpid(pid, nullptr, WNOHANG); }

}  // namespace

bool Orphans::are_ours() noexcept { return ::getpid() == 1; }

void Orphans::look(runtime::Cancellation& until) noexcept {
  if (asked_.fetch_add(1) != 0) return;
  try {
    if (runtime_.spawn({.name = "orphans", .claim = fiber::StackClaim::report}, [this, &until] { run(until); })) return;
  } catch (const std::bad_alloc&) {  // the next one that ends asks again
  }
  asked_.store(0);
}

void Orphans::run(runtime::Cancellation& until) {
  static constexpr auto kPatience = std::chrono::milliseconds(500);
  std::uint32_t asked = asked_.load();
  pid_t before = 0;
  while (!until.canceled()) {
    const pid_t dead = find_dead();
    if (dead != 0 && dead == before) {
      take(dead);
      before = 0;
      continue;  // those behind it have waited, too
    }
    if (dead == 0) {
      if (asked_.compare_exchange_strong(asked, 0)) return;
      continue;  // one ended meanwhile; `asked` is the new count
    }
    before = dead;
    (void)runtime::sleep_for(kPatience, &until);
  }
  asked_.store(0);
}

}  // namespace fiberd::daemon
