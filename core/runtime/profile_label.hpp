#pragma once
// ProfileLabel: what CPU samples are told apart by, as Go's pprof.Do and SetGoroutineLabels: while one lives, samples
// of its fiber carry it, whichever thread runs it.
//
//   runtime::ProfileLabel tenant("tenant", name);
//   work();                                     // go tool pprof -tagfocus=tenant=acme …
//
// Labels are a list of nodes that stand where they are made (a frame of the fiber, or an object that many share), and
// the fiber has the head of it. They are read by a signal handler on the very thread that runs the fiber, between two
// of its instructions: so nothing is locked, nothing is copied when a label is made, and a label that ends is never
// looked at by somebody else. That the node is complete before the head shows it, and gone from there before it is
// destroyed, is a matter of the order of stores in one thread (an atomic store, a plain move here).
//
// Unlike Go's they are not inherited by fibers that are spawned meanwhile: those may outlive the frame.
#include <atomic>
#include <string_view>

namespace fiberd::runtime {

/// One key and its value, and those around it. What the views point to must live as long as the node is in a list.
struct ProfileLabelNode {
  std::string_view key;
  std::string_view value;
  const ProfileLabelNode* next = nullptr;
};

/// On a fiber: for its scope, ended by the fiber that made it, the last one made first. Elsewhere it does nothing. What
/// the views point to must live longer. Samples have at most kMostLabels of them, the innermost, of which keys are cut
/// at 32 bytes and values at 128; of two with one key the inner one counts.
class [[nodiscard]] ProfileLabel {
 public:
  static constexpr std::size_t kMostLabels = 8;
  static constexpr std::size_t kMostKey = 32;
  static constexpr std::size_t kMostValue = 128;

  ProfileLabel(std::string_view key, std::string_view value) noexcept;
  ~ProfileLabel();
  ProfileLabel(const ProfileLabel&) = delete;
  ProfileLabel& operator=(const ProfileLabel&) = delete;

 private:
  ProfileLabelNode node_;
  std::atomic<const ProfileLabelNode*>* head_ = nullptr;  // the fiber's
};

}  // namespace fiberd::runtime
