#pragma once
// Channel: what the process that serves and the one that is to follow it say to each other.
//
// A pair of SOCK_SEQPACKET sockets of which the successor inherits one end, and nothing else (docs/adr/0020): the
// listening sockets come through it, as SCM_RIGHTS. A message is a line of text with its descriptors:
//
//   predecessor                        successor
//   hello 1 PATH                                             its program's file, for the next upgrade
//   socket KIND KEPT LISTENER ADDRESS  (with descriptors)    one for each; KIND tcp or udp; KEPT nobody, store, manager
//   end
//                                      failed TEXT           the configuration was refused, an address is taken, …
//                                      ready                 all that can fail has been done; nothing is accepted yet
//   serve
//                                      serving               it accepts
//                                      health ok|bad N M     each second until done: requests and 5xx so far
//   back                                                     the predecessor takes over again: stop
//   done                                                     the sockets are yours alone
//   reload                                                   was asked for meanwhile, and is yours to do
//   stop                                                     the daemon is stopped, and you with it
//   cut                                                      and for the second time
//
// Either end of the channel says more than any message: who sees it before `done` is alone.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.hpp"
#include "daemon/inherited_sockets.hpp"

namespace fiberd::daemon::upgrade {

inline constexpr const char* kChannelVariable = "FIBERD_HAND_OVER";

struct Message {
  std::string text;
  std::vector<OwnedDescriptor> descriptors{};
  /// The first word, and what follows its blank.
  [[nodiscard]] std::string_view word() const noexcept;
  [[nodiscard]] std::string_view rest() const noexcept;
};

/// Blocks its thread: not for fibers. One thread sends and one receives at a time.
class Channel {
 public:
  static constexpr std::size_t kLongest = 8192;  ///< bytes; what is longer is cut by who sends, and ends with who gets
  static constexpr std::size_t kDescriptors = 128;  ///< in one message

  Channel() = default;
  explicit Channel(OwnedDescriptor end) noexcept : end_(std::move(end)) {}
  /// Two ends, closed in programs that are started.
  [[nodiscard]] static Result<void> make(Channel& one, Channel& other);

  /// Waits for room for a second at most. Errors: broken_pipe when the other has gone, timed_out.
  [[nodiscard]] Result<void> send(std::string_view text, std::span<const int> descriptors = {}) const noexcept;
  /// Waits until `until` (monotonic ns). Errors: timed_out; broken_pipe when the other end is closed.
  [[nodiscard]] Result<Message> receive(std::int64_t until) const;
  [[nodiscard]] int descriptor() const noexcept { return end_.get(); }
  [[nodiscard]] bool is_open() const noexcept { return end_.get() >= 0; }
  void close() noexcept { end_ = OwnedDescriptor(); }

 private:
  OwnedDescriptor end_;
};

}  // namespace fiberd::daemon::upgrade
