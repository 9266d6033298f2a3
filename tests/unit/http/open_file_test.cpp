#include "core/http/open_file.hpp"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>
#include <utime.h>

#include <array>
#include <catch2/catch.hpp>
#include <cstddef>
#include <ctime>

#include "tests/support/daemon.hpp"

using namespace fiberd;
using namespace fiberd::http;

TEST_CASE("open file: a time in the future is not told, nor compared with", "[http]") {
  const test::TemporaryDirectory directory;
  const std::string path = directory.write("f", "text");
  const auto root = FileRoot::open(directory.path());
  REQUIRE(root);
  const std::time_t now = std::time(nullptr);
  const utimbuf ahead{now + 3600, now + 3600};
  REQUIRE(::utime(path.c_str(), &ahead) == 0);
  auto file = (*root)->open_below("f");
  REQUIRE(file);
  CHECK((*file)->mtime() == now + 3600);
  CHECK((*file)->last_modified_time() >= now);
  CHECK((*file)->last_modified_time() <= std::time(nullptr));
  const utimbuf past{1'000'000'000, 1'000'000'000};
  REQUIRE(::utime(path.c_str(), &past) == 0);
  file = (*root)->open_below("f");
  REQUIRE(file);
  CHECK((*file)->last_modified_time() == 1'000'000'000);
}

#if defined(__x86_64__)

namespace {

int refusals = 0;

/// In place of the kernel: EAGAIN as often as is wanted, as when renames race with "..", then the file.
void answer_openat2(int, siginfo_t*, void* context) {
  auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  if (refusals > 0) {
    --refusals;
    registers[REG_RAX] = -EAGAIN;
    return;
  }
  const int fd = ::openat(static_cast<int>(registers[REG_RDI]), reinterpret_cast<const char*>(registers[REG_RSI]),
                          O_RDONLY | O_CLOEXEC);
  registers[REG_RAX] = fd >= 0 ? fd : -errno;
}

bool trap_openat2() {
  struct sigaction action {};
  action.sa_sigaction = &answer_openat2;
  action.sa_flags = SA_SIGINFO;
  if (::sigaction(SIGSYS, &action, nullptr) != 0) return false;
  std::array<sock_filter, 4> code{{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                                   BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
                                   BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
                                   BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)}};
  const sock_fprog program{code.size(), code.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

}  // namespace

TEST_CASE("open file: a rename elsewhere that races with the walk is no error", "[http]") {
  constexpr int kNoTrap = 77;
  const test::TemporaryDirectory directory;
  directory.write("f", "text");
  const auto root = FileRoot::open(directory.path());
  REQUIRE(root);
  const pid_t child = ::fork();  // a filter of system calls stays for good
  REQUIRE(child >= 0);
  if (child == 0) {
    if (!trap_openat2()) ::_exit(kNoTrap);
    int wrong = 0;
    refusals = 3;
    if (!(*root)->open_below("f")) wrong |= 1;
    refusals = 1'000'000;
    const auto never = (*root)->open_below("f");
    if (never || never.error() != std::errc::no_such_file_or_directory) wrong |= 2;
    if (refusals < 1'000'000 - 100) wrong |= 4;
    ::_exit(wrong);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  if (WEXITSTATUS(status) == kNoTrap)
    WARN("system calls cannot be filtered here");
  else
    CHECK(WEXITSTATUS(status) == 0);
}

#endif
