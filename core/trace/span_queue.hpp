#pragma once
// SpanQueue: what waits to be sent to the collector, and what may come to wait: spans that have ended, each as the JSON
// that it is sent as, within one bound in bytes for all of them.
//
// Whoever puts something in never waits and takes no lock: it is one list, pushed to by a CAS and taken as a whole by
// the one fiber that sends, which has the order turned round then. When the bound is reached what comes is dropped, for
// what is there already is whole traces and what comes may be half of one; that is counted by whoever drops. So a
// collector that is slow, absent or hostile costs its bound of memory and nothing else.
//
// Rejected: spans as objects that are encoded when they are sent. They are larger than their text, hold a dozen
// allocations each, and the fiber that sends would hold its Processor for a batch's encoding.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

namespace fiberd::trace {

class SpanQueue {
 public:
  struct Node {
    Node* next = nullptr;
    std::string text{};
  };
  /// Nodes that belong to whoever has it, the newest first (of take(), the oldest). What they hold is charged to the
  /// queue.
  struct List {
    Node* first = nullptr;
    Node* last = nullptr;
    std::size_t count = 0;
  };

  /// `most`: bytes of all that is charged.
  explicit SpanQueue(std::size_t most) noexcept : most_(most) {}
  ~SpanQueue();
  SpanQueue(const SpanQueue&) = delete;
  SpanQueue& operator=(const SpanQueue&) = delete;

  /// Any thread, at any time: holds for what comes.
  void set_most(std::size_t bytes) noexcept { most_.store(bytes, std::memory_order_relaxed); }
  /// Told, where there is one, when so many spans wait as tell_at() says, or half of the room is taken: once until the
  /// next take(). On whoever's fiber or thread pushes; must not park. Before others use the queue.
  void set_hook(void (*hook)(void*) noexcept, void* argument) noexcept;
  /// Any thread, at any time: holds for what comes.
  void tell_at(std::size_t spans) noexcept { tell_at_.store(spans, std::memory_order_relaxed); }

  /// Puts `text` into `list`, charged. False: there is no room, or no memory.
  [[nodiscard]] bool add(List& list, std::string&& text) noexcept;
  /// Whether there is any room at all: so that nobody makes a text for nothing.
  [[nodiscard]] bool has_room() const noexcept {
    return held_.load(std::memory_order_relaxed) < most_.load(std::memory_order_relaxed);
  }
  /// `list` is to be sent. It is empty then.
  void push(List& list) noexcept;
  /// What is in it goes. It is empty then.
  void drop(List& list) noexcept;

  /// For the one that sends: the oldest spans that wait, at most `most` of them, and no more than `bytes` of text but
  /// for one, however large. They stay charged until drop().
  [[nodiscard]] List take(std::size_t most, std::size_t bytes = SIZE_MAX) noexcept;
  /// Bytes that are charged, and spans that wait: snapshots.
  [[nodiscard]] std::size_t held() const noexcept { return held_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::size_t waiting() const noexcept { return waiting_.load(std::memory_order_relaxed); }

 private:
  [[nodiscard]] static std::size_t cost_of(const Node& node) noexcept {
    return sizeof(Node) + 2 * sizeof(void*) + node.text.capacity();
  }
  std::atomic<std::size_t> most_;
  std::atomic<std::size_t> held_{0};
  std::atomic<std::size_t> waiting_{0};
  std::atomic<Node*> pushed_{nullptr};  // the last one first
  std::atomic<bool> told_{false};
  List ordered_;  // the sender's: the oldest first
  std::atomic<std::size_t> tell_at_{SIZE_MAX};
  void (*hook_)(void*) noexcept = nullptr;
  void* hook_argument_ = nullptr;
};

}  // namespace fiberd::trace
