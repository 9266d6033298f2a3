#pragma once
// Successor: the process that is to follow this one, as long as it is not sure that it does.
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.hpp"
#include "daemon/upgrade/channel.hpp"
#include "daemon/upgrade/program.hpp"

namespace fiberd::daemon::upgrade {

/// All of it on threads that may wait.
class Successor {
 public:
  /// True: there is no point in waiting any more.
  using GiveUp = std::function<bool()>;

  Successor() = default;
  ~Successor() { end(); }
  Successor(const Successor&) = delete;
  Successor& operator=(const Successor&) = delete;

  /// Starts `program` as this process was started, with nothing open but standard descriptors and the channel, and
  /// hands the sockets over. `environment`: what it is to have beside ours. False: `why`; it is gone then.
  [[nodiscard]] bool start(const Program& program, const std::vector<HandedSocket>& sockets,
                           const std::vector<std::string>& environment, std::string& why);
  /// Waits for the message `word`. False: `why` it does not come (it failed, ended, is not ready in time), or empty
  /// where `give_up` said so.
  [[nodiscard]] bool wait_for(std::string_view word, std::int64_t until, const GiveUp& give_up, std::string& why);
  [[nodiscard]] Channel& channel() noexcept { return channel_; }
  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  enum class How : std::uint8_t {
    terminate,  ///< tells it to (SIGTERM)
    wait        ///< it knows
  };
  /// Ends it, after `patience` by SIGKILL. What it came to, for people: "exit code 2".
  std::string end(std::chrono::milliseconds patience = std::chrono::seconds(5), How how = How::terminate);
  /// It is on its own.
  void let_go() noexcept { pid_ = -1; }

 private:
  [[nodiscard]] bool send_all(const std::vector<HandedSocket>& sockets, const std::string& path);
  Channel channel_;
  pid_t pid_ = -1;
};

}  // namespace fiberd::daemon::upgrade
