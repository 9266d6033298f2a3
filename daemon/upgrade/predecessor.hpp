#pragma once
// Predecessor: the process that serves, as the one that is to follow it sees it. Nothing of it is there in a process
// that was started otherwise.
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <system_error>

#include "daemon/inherited_sockets.hpp"
#include "daemon/upgrade/channel.hpp"

#include <pthread.h>

namespace fiberd::daemon::upgrade {

class Predecessor {
 public:
  /// What is done about what it says; on a thread of its own, one at a time.
  struct Hooks {
    std::function<void()> serve;          ///< from now on connections are accepted
    std::function<std::string()> health;  ///< "ok 100 2": what has been served so far, and of that with 5xx
    std::function<void()> reload;         ///< it was asked for a reload
    std::function<void(bool gone)> done;  ///< the sockets are ours; `gone`: it ended without a word
    std::function<void()> back;           ///< it takes over again
    std::function<void()> stop;           ///< it was told to stop, and so are we
    std::function<void()> cut;            ///< for the second time
  };

  /// Null where there is none. Its sockets are added to `sockets`. False in `ok`: it cannot be understood, as `why`
  /// says. Before there are other threads.
  [[nodiscard]] static std::shared_ptr<Predecessor> find(InheritedSockets& sockets, bool& ok, std::string& why);

  /// This process will not serve. Once; nothing after ready().
  void failed(const std::string& why) noexcept;
  /// All that can fail has been done: waits for its word, on a thread that calls the hooks until stop(). Errors:
  /// pthread_create's.
  [[nodiscard]] std::error_code ready(Hooks hooks);
  /// The hooks are not called any more, nor is one under way; who is before us sees that we stop. Not from a hook.
  void stop() noexcept;
  /// The process at the other end: who made the channel. 0: not known.
  [[nodiscard]] pid_t pid() const noexcept;

 private:
  explicit Predecessor(Channel channel) noexcept : channel_(std::move(channel)) {}
  struct Thread {
    explicit Thread(Predecessor& p) noexcept : predecessor(p) {}
    Predecessor& predecessor;
    static void run(Thread& thread) noexcept { thread.predecessor.listen(); }
  };
  void listen() noexcept;
  void say_health() noexcept;
  [[nodiscard]] bool act_on(std::string_view word);
  [[nodiscard]] bool act_on_end();

  Channel channel_;
  Hooks hooks_;
  pthread_t thread_{};
  bool started_ = false;
  bool told_ = false;
  bool serving_ = false;  // the thread's
  bool alone_ = false;    // the thread's
  std::int64_t next_health_ = 0;
  std::atomic<bool> stopping_{false};
};

}  // namespace fiberd::daemon::upgrade
