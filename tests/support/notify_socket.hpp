#pragma once
// A service manager's end of its notification socket.
#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

namespace fiberd::test {

class NotifySocket {
 public:
  /// A path, or '@' and an abstract name.
  explicit NotifySocket(std::string address);
  ~NotifySocket();
  NotifySocket(const NotifySocket&) = delete;
  NotifySocket& operator=(const NotifySocket&) = delete;
  [[nodiscard]] const std::string& address() const noexcept { return address_; }
  /// The next datagram; empty: none came within `within`. Descriptors go to `fds`, or are closed.
  std::string next(std::vector<int>* fds = nullptr, std::chrono::milliseconds within = std::chrono::seconds(10)) const;
  /// The first of those to come that holds `what`; empty: none did within `within`.
  [[nodiscard]] std::string await(const std::string& what,
                                  std::chrono::milliseconds within = std::chrono::seconds(20)) const;

 private:
  const std::string address_;
  int fd_ = -1;
};

}  // namespace fiberd::test
