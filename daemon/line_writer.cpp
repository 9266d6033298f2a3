// A log must not stop what it tells of. write(2) on a pipe that is full waits until somebody reads, on a file until the
// disk has answered; neither a fiber nor the thread that acts on signals can afford either. So lines go into a bounded
// queue (LineSource), which drops and counts when it is full, and each output has one thread that may wait.
//
// The thread must be able to stop waiting: at the end of the process, and when the output is to be opened anew. It
// waits in poll(2), beside an eventfd that wakes it, and writes only when there is room: PIPE_BUF bytes at most, which
// a pipe then takes at once. A write can hang all the same (another process took the room in between, a terminal was
// stopped, a network's file system is gone). Then the thread is left behind: it keeps what it uses (State, and through
// it the sources) alive, touches nothing else, and ends with the process.
//
// Invariants: bytes of one line are never mixed with another's, and what was cut through is ended before the next line
// begins. Every line that a source was given is written, or counted as lost exactly once. `in_hand` holds the lines
// that were taken and are not written yet: whoever leaves the thread behind counts them.
//
// Rejected: O_NONBLOCK on the descriptors that we inherited (a flag of the open file, which the parent's shell or the
// next process in the pipe then has too); opening /proc/self/fd/1 for an open file of our own (not there for sockets,
// forbidden after a change of user); RWF_NOWAIT (pipes know it since Linux 6.4, terminals do not); one thread for all
// outputs (one that is stuck would stop the others). What is opened here by its path is ours alone, so it is opened
// with O_NONBLOCK: a FIFO then needs no reader to be opened. A FIFO is opened for reading too, where that is allowed:
// readers may come and go, and what they miss (64 KiB) is kept for the next one.
#include "daemon/line_writer.hpp"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <semaphore.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <new>
#include <utility>
#include <vector>

#include "core/base/clock.hpp"
#include "core/base/guarded_write.hpp"
#include "core/base/lock.hpp"
#include "core/base/log.hpp"
#include "daemon/helper_thread.hpp"
#include "daemon/journal.hpp"
#include "daemon/line_output.hpp"

namespace fiberd::daemon {

namespace {

constexpr std::int64_t kMillisecond = 1'000'000;
constexpr std::int64_t kStuckAfter = 1'000 * kMillisecond;
constexpr std::size_t kChunk = std::size_t{64} * 1024;
constexpr std::size_t kJournalChunk = kMostJournalMessage + std::size_t{64} * 1024;  // one entry at least, whole
constexpr int kPatienceOnStderr = 1000;                                              // ms

std::error_code writer_error() noexcept { return {errno, std::system_category()}; }

int poll_timeout(std::int64_t until, std::int64_t now) noexcept {
  if (until == INT64_MAX) return -1;
  return static_cast<int>(std::clamp<std::int64_t>((until - now + kMillisecond - 1) / kMillisecond, 0, 60'000));
}

}  // namespace

struct LineWriter::State {
  State(Options wanted, Opened opened, int event_fd) noexcept
      : options(std::move(wanted)), output(opened), event(event_fd) {
    sem_init(&done, 0, 0);
  }
  ~State() {
    if (output.fd >= 0) ::close(output.fd);
    ::close(event);
    sem_destroy(&done);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  static void run(State& state) noexcept { state.loop(); }
  void loop() noexcept;
  bool drain(LineSource& source) noexcept;
  void write_out(LineSource& source, std::string_view data) noexcept;
  std::size_t write_all(std::string_view data) noexcept;
  std::size_t send_all(std::string_view data) noexcept;
  bool send_entry(std::string_view line) noexcept;
  enum class Room : unsigned char { there, given_up, reopened };
  Room wait_for_room() noexcept;
  void open_anew() noexcept;
  void lose(LineSource& source, std::uint64_t lines) noexcept;
  [[nodiscard]] bool given_up() const noexcept;
  void sleep() noexcept;
  void ring() const noexcept;
  void heard() const noexcept;

  const Options options;
  Opened output;
  const int event;
  void look_for_sources() noexcept;
  [[nodiscard]] bool end_alone() noexcept;
  Lock sources_lock;
  std::vector<std::shared_ptr<LineSource>> sources FIBERD_GUARDED_BY(sources_lock);
  std::atomic<bool> sources_changed{true};
  bool had_source FIBERD_GUARDED_BY(sources_lock) = false;
  bool over FIBERD_GUARDED_BY(sources_lock) = false;  // ended alone, detached: nobody stops it any more

  // The thread's own.
  std::vector<std::shared_ptr<LineSource>> mine;  // a copy of sources
  std::vector<char> chunk;
  bool in_lost_line = false;     // what comes next of this source belongs to a line whose beginning was lost
  bool in_line = false;          // the last byte that was written is no line's end
  bool after_half_line = false;  // nor will it be continued: a write broke off there
  bool said_stuck = false;

  std::atomic<bool> asleep{false};
  std::atomic<bool> reopen{false};
  std::atomic<bool> left_behind{false};
  std::atomic<LineSource*> from{nullptr};
  std::atomic<std::uint64_t> in_hand{0};
  std::atomic<bool> busy{false};
  std::atomic<std::int64_t> progress{0};   // when something was written last, while it stops
  std::atomic<std::int64_t> patience{-1};  // ns; from 0 on: stop
  std::atomic<std::int64_t> deadline{INT64_MAX};
  std::atomic<std::uint64_t> lost_at_stop{0};
  std::int64_t stop_began = 0;  // who stops
  sem_t done{};
};

void LineWriter::State::ring() const noexcept {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = ::write(event, &one, sizeof one);  // full: it is awake
}

void LineWriter::State::heard() const noexcept {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t n = ::read(event, &count, sizeof count);
}

bool LineWriter::State::given_up() const noexcept {
  const std::int64_t allowed = patience.load(std::memory_order_acquire);
  if (allowed < 0) return false;
  const std::int64_t now = monotonic_now();
  return now >= deadline.load(std::memory_order_relaxed) || now - progress.load(std::memory_order_relaxed) >= allowed;
}

void LineWriter::State::open_anew() noexcept {
  const OutputKind kind = output_kind(options.output);
  if (kind != OutputKind::path && kind != OutputKind::journal) return;
  std::string why;
  const Result<Opened> opened = open_output(options.output, why);
  if (!opened) return log(LogLevel::error, "log output " + options.output + " cannot be opened anew: " + why);
  ::close(output.fd);
  output = *opened;
  in_line = after_half_line = false;
}

LineWriter::State::Room LineWriter::State::wait_for_room() noexcept {
  const std::int64_t began = monotonic_now();
  for (;;) {
    const std::int64_t now = monotonic_now();
    std::int64_t until = said_stuck || !options.says_when_stuck ? INT64_MAX : began + kStuckAfter;
    if (const std::int64_t allowed = patience.load(std::memory_order_acquire); allowed >= 0)
      until = std::min(progress.load(std::memory_order_relaxed) + allowed, deadline.load(std::memory_order_relaxed));
    std::array<pollfd, 2> both{{{output.fd, POLLOUT, 0}, {event, POLLIN, 0}}};
    const int n = ::poll(both.data(), both.size(), poll_timeout(until, now));
    if (both[1].revents != 0) heard();
    if (reopen.exchange(false, std::memory_order_acq_rel)) {
      open_anew();
      return Room::reopened;
    }
    if (n > 0 && both[0].revents != 0) return Room::there;  // or an error, which write(2) names
    if (given_up()) return Room::given_up;
    if (options.says_when_stuck && !said_stuck && monotonic_now() - began >= kStuckAfter) {
      said_stuck = true;
      log(LogLevel::warning,
          "log output " + options.output + ": nobody reads it: lines wait, and are dropped when there are too many");
    }
  }
}

/// How many bytes of it were written before it failed or was given up.
std::size_t LineWriter::State::write_all(std::string_view data) noexcept {
  if (output.journal != Opened::Journal::no) return send_all(data);
  std::size_t written = 0;
  int again = 0;
  while (written != data.size()) {
    if (output.may_wait) {
      const Room room = wait_for_room();
      if (room == Room::given_up) break;
      // The line that was begun goes to the new one as a whole.
      if (room == Room::reopened) written = data.substr(0, written).rfind('\n') + 1;  // npos + 1 is 0
      if (room == Room::reopened) continue;
    }
    const std::size_t most = output.may_wait ? std::size_t{PIPE_BUF} : data.size();
    // A pipe takes up to PIPE_BUF bytes whole or not at all: cut there between lines.
    std::size_t size = std::min(data.size() - written, most);
    if (const std::size_t end = data.substr(written, size).rfind('\n'); end != std::string_view::npos) size = end + 1;
    const ssize_t n = ::write(output.fd, data.data() + written, size);
    if (n > 0) {
      written += static_cast<std::size_t>(n);
      again = 0;
      if (patience.load(std::memory_order_relaxed) >= 0) progress.store(monotonic_now(), std::memory_order_relaxed);
      continue;
    }
    if (n < 0 && errno == EINTR) continue;
    // Somebody else took the room, again and again.
    if (n < 0 && errno == EAGAIN && !given_up() && ++again < 1000) {
      pollfd stop{event, POLLIN, 0};
      (void)::poll(&stop, 1, 1);
      continue;
    }
    break;
  }
  return written;
}

/// Of the journal's lines, each by itself: as write_all().
std::size_t LineWriter::State::send_all(std::string_view data) noexcept {
  std::size_t sent = 0;
  while (sent != data.size()) {
    const std::size_t end = data.find('\n', sent);
    if (end == std::string_view::npos || !send_entry(data.substr(sent, end - sent))) break;
    sent = end + 1;
    if (patience.load(std::memory_order_relaxed) >= 0) progress.store(monotonic_now(), std::memory_order_relaxed);
  }
  return sent;
}

bool LineWriter::State::send_entry(std::string_view line) noexcept {
  static constexpr int kMostTries = 1000;
  for (int tries = 0; tries < kMostTries; ++tries) {
    if (wait_for_room() == Room::given_up) return false;
    try {
      if (output.journal == Opened::Journal::on_stderr) {
        const std::string text = prefixed_lines(line);
        return write_guarded(output.fd, text, kPatienceOnStderr) == text.size();
      }
      const std::error_code error = send_to_journal(output.fd, journal_datagram(line));
      if (!error) return true;
      if (given_up()) return false;
      if (error == std::errc::resource_unavailable_try_again) continue;  // somebody else took the room
    } catch (const std::bad_alloc&) {
      return false;
    }
    // It has gone: it is back, or standard error takes its place, which ends at the same reader.
    const Opened next = open_journal();
    if (next.fd < 0) return false;
    ::close(output.fd);
    output = next;
  }
  return false;
}

void LineWriter::State::lose(LineSource& source, std::uint64_t lines) noexcept {
  if (lines == 0) return;
  source.lost(lines);
  if (patience.load(std::memory_order_acquire) >= 0) lost_at_stop.fetch_add(lines, std::memory_order_acq_rel);
}

/// A disk that is full loses lines, and they are counted; the service goes on.
void LineWriter::State::write_out(LineSource& source, std::string_view data) noexcept {
  std::uint64_t lost = 0;
  if (in_lost_line) {
    const std::size_t end = data.find('\n');
    if (end == std::string_view::npos) return;
    in_lost_line = false;
    lost = 1;
    data.remove_prefix(end + 1);
  }
  // What was cut through must not run into the next.
  if (output.journal != Opened::Journal::no) after_half_line = false;  // entries are whole
  if (after_half_line && !data.empty() && write_all("\n") == 1) after_half_line = in_line = false;
  const std::size_t written = after_half_line ? 0 : write_all(data);
  if (written != 0) in_line = data[written - 1] != '\n';
  if (const std::string_view rest = data.substr(written); !rest.empty()) {
    after_half_line = in_line;
    in_lost_line = rest.back() != '\n';
    lost += static_cast<std::uint64_t>(std::count(rest.begin(), rest.end(), '\n'));
  }
  // Whoever left this thread behind has counted what was in hand.
  if (in_hand.exchange(0, std::memory_order_acq_rel) != 0) lose(source, lost);
}

bool LineWriter::State::drain(LineSource& source) noexcept {
  bool any = false;
  bool begins = true;  // a line
  std::size_t n = 0;
  const bool pieces = output.may_wait && output.journal == Opened::Journal::no;
  const std::size_t room = pieces ? std::size_t{PIPE_BUF} : chunk.size();
  do {
    busy.store(true, std::memory_order_release);  // before the source is empty: flush() looks at both
    n = source.take(chunk.data(), room);
    if (n == 0) break;
    any = true;
    // Who asked for it and then said something finds that in the new file.
    if (begins && reopen.exchange(false, std::memory_order_acq_rel)) open_anew();
    begins = chunk[n - 1] == '\n';
    from.store(&source, std::memory_order_relaxed);
    const auto lines = static_cast<std::uint64_t>(std::count(chunk.data(), chunk.data() + n, '\n'));
    in_hand.store(lines, std::memory_order_release);
    write_out(source, {chunk.data(), n});
    if (left_behind.load(std::memory_order_acquire)) return any;
    // To the end of a line: nobody else's may come between.
  } while (!begins || !source.empty());
  busy.store(false, std::memory_order_release);
  return any;
}

/// Takes up new ones, and lets those go that nobody fills any more.
void LineWriter::State::look_for_sources() noexcept {
  const auto is_over = [](const std::shared_ptr<LineSource>& s) {
    static constexpr long kOurs = 2;  // `sources` and `mine`
    return s.use_count() <= kOurs && s->empty();
  };
  const bool changed = sources_changed.exchange(false, std::memory_order_acq_rel);
  if (!changed && std::none_of(mine.begin(), mine.end(), is_over)) return;
  std::vector<std::shared_ptr<LineSource>> gone;  // die outside the lock
  try {
    const LockGuard guard(sources_lock);
    for (const auto& s : mine)
      if (is_over(s)) gone.push_back(s);
    for (const auto& s : gone) sources.erase(std::find(sources.begin(), sources.end(), s));
    mine = sources;
  } catch (const std::bad_alloc&) {
    sources_changed.store(true, std::memory_order_release);  // with the next look
  }
}

/// Whoever adds a source or stops comes before this, under the lock, or finds that it is over.
bool LineWriter::State::end_alone() noexcept {
  if (!options.ends_alone || !mine.empty()) return false;
  const LockGuard guard(sources_lock);
  if (!had_source || !sources.empty() || patience.load(std::memory_order_relaxed) >= 0) return false;
  over = true;
  ::close(std::exchange(output.fd, -1));
  (void)pthread_detach(pthread_self());
  return true;
}

void LineWriter::State::sleep() noexcept {
  // Both sides exchange the same word: who comes second sees what the other did before.
  asleep.exchange(true, std::memory_order_acq_rel);
  const bool quiet = std::all_of(mine.begin(), mine.end(), [](const auto& s) { return s->empty(); });
  if (quiet && !sources_changed.load(std::memory_order_acquire) && patience.load(std::memory_order_acquire) < 0 &&
      !reopen.load(std::memory_order_acquire)) {
    pollfd wake{event, POLLIN, 0};
    const std::int64_t every = options.look_every.count();
    if (::poll(&wake, 1, every == 0 ? -1 : static_cast<int>(every)) > 0) heard();
  }
  asleep.exchange(false, std::memory_order_acq_rel);
}

void LineWriter::State::loop() noexcept {
  while (!left_behind.load(std::memory_order_acquire)) {
    if (reopen.exchange(false, std::memory_order_acq_rel)) open_anew();
    bool any = false;
    look_for_sources();
    if (end_alone()) return;
    for (const auto& source : mine) any = drain(*source) || any;
    if (any && said_stuck && patience.load(std::memory_order_relaxed) < 0) {
      said_stuck = false;
      log(LogLevel::info, "log output " + options.output + ": it is read again");
    }
    if (!any && patience.load(std::memory_order_acquire) >= 0) break;
    if (!any) sleep();
    // Lines that come one by one: not a wake-up and a write each.
    if (any && options.look_every.count() != 0 && patience.load(std::memory_order_acquire) < 0) {
      pollfd wake{event, POLLIN, 0};
      if (::poll(&wake, 1, static_cast<int>(options.look_every.count() / 4)) > 0) heard();
    }
  }
  if (output.journal == Opened::Journal::socket) await_journal(output.fd);
  sem_post(&done);
}

// ---------------------------------------------------------------------------------------------- LineWriter

LineWriter::LineWriter(std::shared_ptr<State> state) noexcept : state_(std::move(state)) {}

Result<std::unique_ptr<LineWriter>> LineWriter::open(Options options, std::string& why) {
  const Result<Opened> opened = open_output(options.output, why);
  if (!opened) return fail(opened.error());
  const int event = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (event < 0) {
    const std::error_code error = writer_error();
    why = error.message();
    ::close(opened->fd);
    return fail(error);
  }
  return std::unique_ptr<LineWriter>(new LineWriter(std::make_shared<State>(std::move(options), *opened, event)));
}

LineWriter::~LineWriter() { stop({}, 0); }

bool LineWriter::add(std::shared_ptr<LineSource> source) {
  {
    const LockGuard guard(state_->sources_lock);
    if (state_->over) return false;
    state_->sources.push_back(std::move(source));
    state_->had_source = true;
  }
  state_->sources_changed.store(true, std::memory_order_release);
  wake();
  return true;
}

std::error_code LineWriter::start() {
  if (started_) return {};
  state_->chunk.resize(output_kind(output()) == OutputKind::journal ? kJournalChunk : kChunk);
  {
    // A thread that never gets memory, not even for this list, writes what is in them all the same.
    const LockGuard guard(state_->sources_lock);
    state_->mine = state_->sources;
  }
  if (const std::error_code error = start_helper<State, &State::run>(thread_, state_->options.thread, state_))
    return error;
  started_ = true;
  return {};
}

void LineWriter::wake() noexcept {
  if (state_->asleep.exchange(false, std::memory_order_acq_rel)) state_->ring();
}

void LineWriter::reopen() noexcept {
  state_->reopen.store(true, std::memory_order_release);
  state_->ring();
}

bool LineWriter::flush(std::chrono::milliseconds most) const noexcept {
  for (std::int64_t left = most.count();; --left) {
    if (std::all_of(state_->sources.begin(), state_->sources.end(), [](const auto& s) { return s->empty(); }) &&
        !state_->busy.load(std::memory_order_acquire))
      return true;
    if (left <= 0) return false;
    state_->ring();
    const timespec pause{0, kMillisecond};
    (void)::nanosleep(&pause, nullptr);
  }
}

void LineWriter::begin_stop(std::chrono::milliseconds patience, std::int64_t deadline) noexcept {
  State& s = *state_;
  if (!started_ || s.patience.load(std::memory_order_relaxed) >= 0) return;
  const LockGuard guard(s.sources_lock);
  if (s.over) {
    started_ = false;
    return;
  }
  s.stop_began = monotonic_now();
  s.progress.store(s.stop_began, std::memory_order_relaxed);
  s.deadline.store(deadline, std::memory_order_relaxed);
  s.patience.store(std::chrono::nanoseconds(patience).count(), std::memory_order_release);
  s.ring();
}

std::uint64_t LineWriter::stop(std::chrono::milliseconds patience, std::int64_t deadline) noexcept {
  State& s = *state_;
  begin_stop(patience, deadline);
  if (started_) {
    started_ = false;
    // It keeps to them by itself unless a write hangs; a little more, so that it can count.
    static constexpr std::int64_t kSlack = 500 * kMillisecond;
    const auto until = [&] {
      const std::int64_t idle = s.progress.load(std::memory_order_relaxed) + s.patience.load(std::memory_order_relaxed);
      return std::max(s.stop_began, std::min(s.deadline.load(std::memory_order_relaxed), idle)) + kSlack;
    };
    for (;;) {
      const std::int64_t t = until();
      const timespec at{static_cast<time_t>(t / 1'000'000'000), static_cast<long>(t % 1'000'000'000)};
      if (sem_clockwait(&s.done, CLOCK_MONOTONIC, &at) == 0) {
        (void)pthread_join(thread_, nullptr);
        break;
      }
      if (monotonic_now() < until()) continue;
      s.left_behind.store(true, std::memory_order_release);
      (void)pthread_detach(thread_);
      if (LineSource* const source = s.from.load(std::memory_order_relaxed))
        s.lose(*source, s.in_hand.exchange(0, std::memory_order_acq_rel));
      break;
    }
  }
  s.patience.store(0, std::memory_order_release);  // what is lost from here on is lost at the stop
  std::vector<std::shared_ptr<LineSource>> all;
  {
    const LockGuard guard(s.sources_lock);
    all = s.sources;
  }
  for (const auto& source : all) s.lose(*source, source->lines());
  return s.lost_at_stop.exchange(0, std::memory_order_acq_rel);
}

const std::string& LineWriter::output() const noexcept { return state_->options.output; }

}  // namespace fiberd::daemon
