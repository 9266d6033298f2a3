#include "daemon/upgrade/successor.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
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
                      const std::vector<std::string>& environment, bool brother, std::string& why) {
  Channel theirs;
  if (const Result<void> made = Channel::make(channel_, theirs); !made) {
    why = "no channel to the new process: " + made.error().message();
    return false;
  }
  Launch launch;
  // The file that was looked at, whatever its name means by now.
  launch.path = "/proc/self/fd/" + std::to_string(program.file.get());
  launch.arguments = invocation().arguments;
  if (launch.arguments.empty()) launch.arguments.emplace_back("fiberd");
  launch.kept = theirs.descriptor();
  launch.environment = environment_with(launch.kept, environment);
  if (const int error = child_.start(std::move(launch), brother); error != 0) {
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
      why = "the new process " + why_silent();
      return false;
    }
    if (now >= until) {
      why = "the new process did not say \"" + std::string(word) + "\" in time";
      // One that serves has connections to finish: retire().
      if (word == "ready") why += " (upgrade.timeout); it ended with " + end();
      return false;
    }
  }
}

bool Successor::ended_within(std::chrono::milliseconds patience, std::string& how) {
  const std::int64_t until = monotonic_now() + std::chrono::nanoseconds(patience).count();
  while (!child_.ended(how)) {
    if (monotonic_now() >= until) return false;
    std::this_thread::sleep_for(5ms);
  }
  channel_.close();
  return true;
}

std::string Successor::why_silent() {
  std::string how;
  return ended_within(5s, how) ? "ended with " + how : "stops, for somebody has told it to";
}

void Successor::retire(std::chrono::milliseconds patience) {
  if (child_.pid() == 0) return;
  const Result<void> told = channel_.send("back");
  (void)end(patience, told || told.error() == std::errc::broken_pipe ? How::wait : How::terminate);
}

void Successor::tell_to_stop() noexcept {
  // Who does not listen any more stops already, or is gone.
  (void)channel_.send("stop");
}

void Successor::cut() noexcept {
  if (!channel_.send("cut")) child_.signal(SIGTERM);
}

std::string Successor::end(std::chrono::milliseconds patience, How how) {
  std::string came_to;
  if (how == How::terminate) child_.signal(SIGTERM);
  if (ended_within(patience, came_to)) return came_to;
  child_.signal(SIGKILL);
  // One that the kernel does not let go of (a disk that hangs) is not waited for by who serves.
  if (!ended_within(10s, came_to)) {
    came_to = "nothing, not even by SIGKILL";
    child_.let_go();
    channel_.close();
  }
  return came_to;
}

}  // namespace fiberd::daemon::upgrade
