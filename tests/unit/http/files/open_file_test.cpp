#include "core/http/files/open_file.hpp"

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
#include <filesystem>

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

TEST_CASE("open file: a time of 0 or 1 is none, and the ETag tells versions apart without it", "[http]") {
  const test::TemporaryDirectory directory;
  const auto root = FileRoot::open(directory.path());
  REQUIRE(root);
  const auto made = [&](const char* text, std::time_t time) {
    const std::string path = directory.write("f", text);
    const utimbuf times{time, time};
    REQUIRE(::utime(path.c_str(), &times) == 0);
    auto file = (*root)->open_below("f");
    REQUIRE(file);
    return *file;
  };
  for (const std::time_t time : {0, 1}) {
    INFO(time);
    const auto file = made("text", time);
    CHECK(file->last_modified().empty());
    CHECK(file->last_modified_time() < 0);
    CHECK(file->etag().starts_with('"'));
    // The same inode, size and time: all that is left is the time of the last change.
    const auto other = made("tex2", time);
    CHECK(other->etag() != file->etag());
    CHECK_FALSE(other->same_as(*file));
    CHECK_FALSE(file->unchanged());
    CHECK(other->unchanged());
  }
  CHECK(made("text", 2)->last_modified() == "Thu, 01 Jan 1970 00:00:02 GMT");
}

TEST_CASE("open file: what is loaded is in memory, without a descriptor, and stays what it was", "[http]") {
  const test::TemporaryDirectory directory;
  const auto root = FileRoot::open(directory.path());
  REQUIRE(root);
  directory.write("small", "12345");
  auto small = *(*root)->open_below("small");
  auto large = *(*root)->open_below("small");
  auto top = *(*root)->open_below("");
  REQUIRE(small->load(5));
  REQUIRE(large->load(4));
  REQUIRE(top->load(5));
  CHECK(small->in_memory());
  CHECK(small->fd() == -1);
  CHECK(small->bytes() == "12345");
  CHECK_FALSE(large->in_memory());
  CHECK(large->fd() >= 0);
  CHECK(top->fd() == -1);
  directory.write("small", "other");
  CHECK(small->bytes() == "12345");
  CHECK(small->unchanged());
  CHECK_FALSE(large->unchanged());
  CHECK_FALSE(small->same_as(**(*root)->open_below("small")));
}

TEST_CASE("file root: its name is looked up anew, so a release that is switched to is served", "[http]") {
  namespace fs = std::filesystem;
  const test::TemporaryDirectory directory;
  const fs::path base = directory.path();
  fs::create_directories(base / "one");
  fs::create_directories(base / "two");
  directory.write("one/f", "1");
  directory.write("two/f", "22");
  fs::create_symlink("one", base / "current");
  const auto root = FileRoot::open((base / "current").string());
  REQUIRE(root);
  const auto size = [&] {
    const auto file = (*root)->open_below("f");
    return file ? static_cast<int>((*file)->size()) : -1;
  };
  CHECK(size() == 1);
  fs::create_symlink("two", base / "next");
  fs::rename(base / "next", base / "current");
  CHECK(size() == 2);
  fs::remove_all(base / "two");
  CHECK(size() == -1);
  fs::create_directories(base / "two");
  directory.write("two/f", "333");
  CHECK(size() == 3);
  // While the name leads nowhere, what it led to is served.
  fs::remove(base / "current");
  CHECK(size() == 3);
  fs::create_symlink("one", base / "current");
  CHECK(size() == 1);
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
