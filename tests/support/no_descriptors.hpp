#pragma once
// The process has no descriptor left, for as long as this lives.
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace fiberd::test {

class NoDescriptors {
 public:
  NoDescriptors() {
    // The lowest free number is the first that is not to be had.
    const int next = ::dup(0);
    if (next < 0 || ::close(next) != 0 || ::getrlimit(RLIMIT_NOFILE, &before_) != 0) fail();
    const rlimit none{static_cast<rlim_t>(next), before_.rlim_max};
    if (::setrlimit(RLIMIT_NOFILE, &none) != 0) fail();
  }
  ~NoDescriptors() { (void)::setrlimit(RLIMIT_NOFILE, &before_); }
  NoDescriptors(const NoDescriptors&) = delete;
  NoDescriptors& operator=(const NoDescriptors&) = delete;

 private:
  [[noreturn]] static void fail() { throw std::system_error(errno, std::system_category(), "no descriptors"); }
  rlimit before_{};
};

}  // namespace fiberd::test
