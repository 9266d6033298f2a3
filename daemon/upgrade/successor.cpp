// posix_spawn(3) and not fork(2): the child of a process with threads may do next to nothing before it is another
// program, and the tables of a process with a million stacks are not copied for that. It shares the memory until then,
// and does nothing but what is told here: the signals' defaults, an empty mask, and of the descriptors the one that it
// is to find.
#include "daemon/upgrade/successor.hpp"

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <span>
#include <thread>
#include <utility>

#include "core/base/clock.hpp"
#include "core/base/printable.hpp"

extern char** environ;

namespace fiberd::daemon::upgrade {

namespace {

using namespace std::chrono_literals;

/// Ours, without what was said to this process alone.
std::vector<std::string> environment_with(int channel, const std::vector<std::string>& more) {
  static constexpr std::array<std::string_view, 7> kOurs{
      "LISTEN_PID=",       "LISTEN_FDS=",    "LISTEN_FDNAMES=", "WATCHDOG_PID=",
      "FIBERD_HAND_OVER=", "NOTIFY_SOCKET=", "WATCHDOG_USEC="};
  std::vector<std::string> all;
  for (char** v = environ; v != nullptr && *v != nullptr; ++v)
    if (std::none_of(kOurs.begin(), kOurs.end(),
                     [&](std::string_view name) { return std::string_view(*v).starts_with(name); }))
      all.emplace_back(*v);
  all.insert(all.end(), more.begin(), more.end());
  all.emplace_back(kChannelVariable);
  all.back().append("=").append(std::to_string(channel));
  return all;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> all;
  all.reserve(texts.size() + 1);
  for (std::string& t : texts) all.push_back(t.data());
  all.push_back(nullptr);
  return all;
}

/// 0, or the error.
int spawn(pid_t& pid, const Program& program, int channel, const std::vector<std::string>& more) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  int error = posix_spawn_file_actions_init(&actions);
  if (error != 0) return error;
  error = posix_spawnattr_init(&attributes);
  if (error != 0) {
    posix_spawn_file_actions_destroy(&actions);
    return error;
  }
  // To itself: then it is not closed when the program begins.
  error = posix_spawn_file_actions_adddup2(&actions, channel, channel);
  sigset_t none;
  sigset_t all;
  sigemptyset(&none);
  sigfillset(&all);
  if (error == 0) error = posix_spawnattr_setsigmask(&attributes, &none);
  if (error == 0) error = posix_spawnattr_setsigdefault(&attributes, &all);
  if (error == 0) error = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::vector<std::string> arguments = invocation().arguments;
  if (arguments.empty()) arguments.emplace_back("fiberd");
  std::vector<std::string> environment = environment_with(channel, more);
  // The file that was looked at, whatever its name means by now.
  const std::string path = "/proc/self/fd/" + std::to_string(program.file.get());
  if (error == 0)
    error = posix_spawn(&pid, path.c_str(), &actions, &attributes, pointers(arguments).data(),
                        pointers(environment).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

std::string told(int status) {
  if (WIFSIGNALED(status))
    return std::string("signal ") + std::to_string(WTERMSIG(status)) + " (" + strsignal(WTERMSIG(status)) + ")";
  return "exit code " + std::to_string(WEXITSTATUS(status));
}

}  // namespace

bool Successor::send_all(const std::vector<HandedSocket>& sockets, const std::string& path) {
  if (!channel_.send("hello 1 " + path)) return false;
  for (const HandedSocket& s : sockets) {
    std::vector<int> descriptors;
    for (const OwnedDescriptor& d : s.descriptors) descriptors.push_back(d.get());
    const std::string text =
        std::string("socket ") + (s.datagrams ? "udp " : "tcp ") + s.kept + " " + s.listener + " " + s.address;
    for (std::span<const int> rest = descriptors; !rest.empty();) {
      const std::span<const int> some = rest.first(std::min(rest.size(), Channel::kDescriptors));
      if (!channel_.send(text, some)) return false;
      rest = rest.subspan(some.size());
    }
  }
  return channel_.send("end").has_value();
}

bool Successor::start(const Program& program, const std::vector<HandedSocket>& sockets,
                      const std::vector<std::string>& environment, std::string& why) {
  Channel theirs;
  if (const Result<void> made = Channel::make(channel_, theirs); !made) {
    why = "no channel to the new process: " + made.error().message();
    return false;
  }
  if (const int error = spawn(pid_, program, theirs.descriptor(), environment); error != 0) {
    pid_ = -1;
    why = program.path + " cannot be run: " + std::error_code(error, std::system_category()).message();
    return false;
  }
  theirs.close();
  if (send_all(sockets, program.path)) return true;
  why = "the new process ended with " + end() + " and had not taken the sockets";
  return false;
}

bool Successor::wait_for(std::string_view word, std::int64_t until, const GiveUp& give_up, std::string& why) {
  static constexpr std::int64_t kLook = 20'000'000;
  for (;;) {
    if (give_up && give_up()) return false;
    const std::int64_t now = monotonic_now();
    Result<Message> message = channel_.receive(std::min(until, now + kLook));
    if (message && message->word() == word) return true;
    if (message && message->word() == "failed") {
      why = std::string(message->rest());
      return false;
    }
    if (message) continue;  // a health report, or a word of a later version
    if (message.error() != std::errc::timed_out) {
      why = "the new process ended with " + end(1s, How::wait);
      return false;
    }
    if (now >= until) {
      why =
          "the new process did not say \"" + std::string(word) + "\" in time (upgrade.timeout); it ended with " + end();
      return false;
    }
  }
}

std::string Successor::end(std::chrono::milliseconds patience, How how) {
  if (pid_ <= 0) return "nothing";
  const std::int64_t until = monotonic_now() + std::chrono::nanoseconds(patience).count();
  int status = 0;
  if (how == How::terminate) (void)::kill(pid_, SIGTERM);
  for (;;) {
    const pid_t ended = ::waitpid(pid_, &status, WNOHANG);
    if (ended == pid_ || (ended < 0 && errno != EINTR)) break;
    if (monotonic_now() >= until) {
      (void)::kill(pid_, SIGKILL);
      while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
      }
      break;
    }
    std::this_thread::sleep_for(5ms);
  }
  pid_ = -1;
  channel_.close();
  return told(status);
}

}  // namespace fiberd::daemon::upgrade
