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
#include "daemon/upgrade/child.hpp"
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
  /// hands the sockets over. `environment`: what it is to have beside ours; `brother`: Child::start's. False: `why`; it
  /// is gone then.
  [[nodiscard]] bool start(const Program& program, const std::vector<HandedSocket>& sockets,
                           const std::vector<std::string>& environment, bool brother, std::string& why);
  /// Waits for the message `word`. False: `why` it does not come (it failed, ended, is not ready in time), or empty
  /// where `give_up` said so.
  [[nodiscard]] bool wait_for(std::string_view word, std::int64_t until, const GiveUp& give_up, std::string& why);
  [[nodiscard]] Channel& channel() noexcept { return channel_; }
  /// 0: it is not there (any more).
  [[nodiscard]] pid_t pid() const noexcept { return child_.pid(); }
  enum class How : std::uint8_t {
    terminate,  ///< tells it to (SIGTERM)
    wait        ///< it knows
  };
  /// Ends it, after `patience` by SIGKILL. What it came to, for people: "exit code 2".
  std::string end(std::chrono::milliseconds patience = std::chrono::seconds(5), How how = How::terminate);
  /// Whether it ends by itself meanwhile, and if so what it came to.
  [[nodiscard]] bool ended_within(std::chrono::milliseconds patience, std::string& how);
  /// We serve again: it is to finish what it has and to end, within `patience`. Who stops by himself is not told, for
  /// he would take that for a second wish.
  void retire(std::chrono::milliseconds patience);
  /// Of one that has closed its end: "ended with exit code 2", or that it stops and has its connections to finish.
  [[nodiscard]] std::string why_silent();
  /// The daemon stops, and it with it: as at a first signal, but never as a second one.
  void tell_to_stop() noexcept;
  /// What is still open is to be cut.
  void cut() noexcept;
  /// It is on its own.
  void let_go() noexcept { child_.let_go(); }

 private:
  [[nodiscard]] bool send_all(const std::vector<HandedSocket>& sockets, const std::string& path);
  Channel channel_;
  Child child_;
};

}  // namespace fiberd::daemon::upgrade
