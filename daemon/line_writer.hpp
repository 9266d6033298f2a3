#pragma once
// LineWriter: one output of lines (a log's) with the one thread that writes to it. How: line_writer.cpp.
#include <pthread.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>

#include "core/base/result.hpp"
#include "core/base/thread_safety.hpp"
#include "daemon/line_output.hpp"

namespace fiberd::daemon {

/// Where a writer's lines come from: a bounded queue that somebody fills.
class LineSource {
 public:
  LineSource() = default;
  LineSource(const LineSource&) = delete;
  LineSource& operator=(const LineSource&) = delete;
  virtual ~LineSource() = default;
  /// Moves up to `room` bytes (4096 at least) of whole lines to `out`; of a line that is longer a piece, and the rest
  /// with the next calls. By the writer's thread alone.
  virtual std::size_t take(char* out, std::size_t room) noexcept = 0;
  [[nodiscard]] virtual bool empty() const noexcept = 0;
  /// Lines that wait; while nobody adds any.
  [[nodiscard]] virtual std::uint64_t lines() const noexcept = 0;
  /// So many lines were taken, or waited at the end, and were not written. By any thread.
  virtual void lost(std::uint64_t lines) noexcept = 0;
};

class LineWriter {
 public:
  struct Options {
    std::string output;                      ///< see OutputKind
    const char* thread = "fiberd-log";       ///< its name, 15 characters at most
    bool says_when_stuck = true;             ///< in the log: not for the log itself
    std::chrono::milliseconds look_every{};  ///< how often to look for lines; 0: only when wake() says so
    bool ends_alone = false;                 ///< without a source, behind the first: closes the output, ends the thread
  };
  /// Opens the output: never waits, also not for a FIFO's reader (`why` says more than the error). No thread yet.
  [[nodiscard]] static Result<std::unique_ptr<LineWriter>> open(Options options, std::string& why);
  /// stop() with no patience, if nobody did.
  ~LineWriter();
  LineWriter(const LineWriter&) = delete;
  LineWriter& operator=(const LineWriter&) = delete;

  /// Also while the thread runs. A source is kept until nobody else has it and its lines are written, or the thread has
  /// ended. False: it has ended alone, and takes none.
  [[nodiscard]] bool add(std::shared_ptr<LineSource> source);
  /// Errors: of the thread, of a descriptor to wake it with.
  [[nodiscard]] std::error_code start();
  /// A source has lines. Never waits; by any thread, also before start().
  void wake() noexcept;
  /// Asks the thread to open the output anew; what fails is logged, and the old one stays.
  void reopen() noexcept;
  /// Waits until all that was there has been written, for `most` at most. Async-signal-safe, but not beside add().
  bool flush(std::chrono::milliseconds most) const noexcept FIBERD_UNCHECKED_LOCKING;  // near a crash no lock is taken
  /// Writes what is there and ends the thread, as long as it gets on: it is given up when nothing could be written for
  /// `patience`, or at `deadline` (monotonic ns). What is left is lost, and a thread that hangs in a write is left
  /// behind. Returns how many lines were lost meanwhile. Idempotent.
  std::uint64_t stop(std::chrono::milliseconds patience, std::int64_t deadline) noexcept;

  /// The same without waiting for it, so that several end together; then stop().
  void begin_stop(std::chrono::milliseconds patience, std::int64_t deadline) noexcept;

  [[nodiscard]] const std::string& output() const noexcept;

 private:
  struct State;
  explicit LineWriter(std::shared_ptr<State> state) noexcept;
  std::shared_ptr<State> state_;
  pthread_t thread_{};
  bool started_ = false;
};

}  // namespace fiberd::daemon
