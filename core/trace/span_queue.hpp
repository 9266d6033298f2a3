#pragma once
// SpanQueue: what waits to be sent to the collector, and what may come to wait: spans that have ended, within one bound
// in bytes for all of them. Those that programs make are the JSON that they are sent as; a request's own two are one
// record (request_record.hpp), of which whoever sends makes JSON: most of what a sampled request would cost is that,
// and for a collector that is gone nobody does it.
//
// Whoever puts something in never waits and takes no lock: it is one list, pushed to by a CAS and taken as a whole by
// the one fiber that sends, which has the order turned round then. When the bound is reached what comes is dropped, for
// what is there already is whole traces and what comes may be half of one; that is counted by whoever drops. So a
// collector that is slow, absent or hostile costs its bound of memory and nothing else.
//
// Rejected: spans as objects that are encoded when they are sent. They are larger than their text and hold a dozen
// allocations each. A record is one block of bytes, smaller than its text.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/metric/metrics.hpp"

namespace fiberd::trace {

class SpanQueue {
 public:
  /// Appends the JSON of what a record tells, with commas between its spans. Throws std::bad_alloc.
  using Writer = void (*)(std::string_view record, std::string& out);
  struct Node {
    Node* next = nullptr;
    std::string text{};
    Writer writer = nullptr;    ///< null: `text` is what is sent
    std::uint32_t spans = 1;    ///< that it tells of
    std::uint32_t written = 0;  ///< bytes of what is sent, at most
    /// Throws std::bad_alloc.
    void write(std::string& out) const {
      if (writer != nullptr)
        writer(text, out);
      else
        out += text;
    }
  };
  /// Nodes that belong to whoever has it, the newest first (of take(), the oldest). What they hold is charged to the
  /// queue.
  struct List {
    Node* first = nullptr;
    Node* last = nullptr;
    std::size_t count = 0;  ///< spans
  };
  /// Instead of a text.
  struct Record {
    std::string bytes;
    Writer writer = nullptr;
    std::uint32_t spans = 1;
    std::uint32_t written = 0;
  };

  /// `most`: bytes of all that is charged.
  explicit SpanQueue(std::size_t most) noexcept : most_(most) {}
  ~SpanQueue();
  SpanQueue(const SpanQueue&) = delete;
  SpanQueue& operator=(const SpanQueue&) = delete;

  /// Any thread, at any time: holds for what comes. Opens it.
  void set_most(std::size_t bytes) noexcept {
    most_.store(bytes, std::memory_order_relaxed);
    closed_.store(false, std::memory_order_seq_cst);
  }
  /// Nobody will take any more: what comes from now on is refused. Of what waits take() gives the rest; nothing comes
  /// behind it. By the one that sends.
  void close() noexcept {
    most_.store(0, std::memory_order_relaxed);
    closed_.store(true, std::memory_order_seq_cst);
  }
  /// Told, where there is one, when so many spans wait as tell_at() says, or half of the room is taken: once until the
  /// next take(). On whoever's fiber or thread pushes; must not park. Before others use the queue.
  void set_hook(void (*hook)(void*) noexcept, void* argument) noexcept;
  /// Any thread, at any time: holds for what comes.
  void tell_at(std::size_t spans) noexcept { tell_at_.store(spans, std::memory_order_relaxed); }

  /// Puts `text` into `list`, charged. False: there is no room, or no memory.
  [[nodiscard]] bool add(List& list, std::string&& text) noexcept;
  [[nodiscard]] bool add(List& list, Record&& record) noexcept;
  /// Whether there is any room at all: so that nobody makes a text for nothing.
  [[nodiscard]] bool has_room() const noexcept {
    return held_.load(std::memory_order_relaxed) < most_.load(std::memory_order_relaxed);
  }
  /// Counts the spans that were in a list when the queue was closed. Before others use the queue; may be null.
  void count_late(metric::Counter* counter) noexcept { late_ = counter; }
  /// `list` is to be sent. It is empty then.
  void push(List& list) noexcept;
  /// What is in it goes. It is empty then.
  void drop(List& list) noexcept;

  /// For the one that sends: the oldest spans that wait, at most `most` of them, and no more than `bytes` of what is
  /// sent, but for one node, however many or large. They stay charged until drop().
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
  std::atomic<bool> closed_{false};
  List ordered_;  // the sender's: the oldest first
  std::atomic<std::size_t> tell_at_{SIZE_MAX};
  void (*hook_)(void*) noexcept = nullptr;
  void* hook_argument_ = nullptr;
  metric::Counter* late_ = nullptr;
};

}  // namespace fiberd::trace
