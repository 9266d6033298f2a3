// A timer for each thread, on the clock of its own CPU time, which sends SIGPROF to that thread: so samples fall where
// time is spent, and a thread that waits gets none. A thread of the profile's own looks every 100 ms which threads
// there are (/proc/self/task: also those that a library has started), and takes the samples out of the handler's ring.
// What lives shorter than that is not seen.
//
// A timer costs its thread nothing between two samples. Its place in the kernel counts against RLIMIT_SIGPENDING; a
// thread for which there is none, or that blocks SIGPROF, is not sampled: the former are counted and told.
//
// EINTR: the handler is installed with SA_RESTART; what the kernel never restarts (epoll_wait, nanosleep, ppoll) is
// interrupted only in a thread that used CPU time at that moment, so hardly ever, and ours cope with it.
#include "core/observe/cpu_profile.hpp"

#include <dirent.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/base/clock.hpp"
#include "core/base/defer.hpp"
#include "core/base/quiet_thread.hpp"

#if !defined(sigev_notify_thread_id)
#define sigev_notify_thread_id _sigev_un._tid  // glibc before 2.36 does not name it
#endif

namespace fiberd::observe {

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::size_t kMostThreads = 16'384;
// Beyond it labels are left out, beyond twice as many what is new is lost: each is about 1 KiB.
constexpr std::size_t kMostStacks = 20'000;

/// The kernel's clock of a thread's CPU time (include/linux/posix-timers.h), which pthread_getcpuclockid gives for
/// pthread_t alone.
clockid_t cpu_clock_of(pid_t thread) noexcept {
  static constexpr unsigned kSchedOfThread = 6;
  return static_cast<clockid_t>((~static_cast<unsigned>(thread) << 3U) | kSchedOfThread);
}

std::vector<pid_t> threads() {
  std::vector<pid_t> all;
  DIR* const folder = ::opendir("/proc/self/task");
  if (folder == nullptr) return all;
  const defer close([folder] { ::closedir(folder); });
  while (const dirent* const entry = ::readdir(folder)) {
    pid_t thread = 0;
    const char* const end = entry->d_name + std::strlen(entry->d_name);
    if (std::from_chars(entry->d_name, end, thread).ptr == end && thread > 0) all.push_back(thread);
    if (all.size() == kMostThreads) break;
  }
  return all;
}

std::atomic<bool> busy{false};

}  // namespace

struct CpuProfile::State {
  explicit State(unsigned samples_a_second)
      : rate(samples_a_second), profile(PprofProfile::ValueTypes{{"samples", "count"}, {"cpu", "nanoseconds"}}) {}
  ~State() {
    release();
    ::sem_destroy(&over);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  const unsigned rate;
  const std::int64_t period = kSecond / rate;
  CpuSampler sampler;
  PprofProfile profile;
  sem_t over{};
  pthread_t thread{};
  bool running = false;
  bool held = true;  // `busy` is ours
  // The thread's own until it has been joined:
  std::unordered_map<pid_t, timer_t> timers;
  std::size_t without = 0;  // threads for which there was no timer, at most at a time
  std::uint64_t dropped = 0;
  CpuSample sample;

  /// What is wrong: an errno.
  [[nodiscard]] int start_timer(pid_t thread_id, timer_t& timer) const noexcept {
    sigevent event{};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = SIGPROF;
    event.sigev_notify_thread_id = thread_id;
    if (::timer_create(cpu_clock_of(thread_id), &event, &timer) != 0) return errno;
    // Not all at once, nor each at the start of what it does.
    static constexpr std::uint64_t kScatter = 2'654'435'761;
    const auto first = static_cast<std::int64_t>(static_cast<std::uint64_t>(thread_id) * kScatter %
                                                 static_cast<std::uint64_t>(period));
    itimerspec when{};
    when.it_interval = {period / kSecond, period % kSecond};
    when.it_value = {(first + 1) / kSecond, (first + 1) % kSecond};
    if (::timer_settime(timer, 0, &when, nullptr) == 0) return 0;
    const int error = errno;
    ::timer_delete(timer);
    return error;
  }

  /// A dead thread's timer has no time left, though another thread may have its number by now.
  static bool is_dead(timer_t timer) noexcept {
    itimerspec left{};
    return ::timer_gettime(timer, &left) != 0 || (left.it_value.tv_sec == 0 && left.it_value.tv_nsec == 0);
  }

  void look_for_threads() {
    const std::vector<pid_t> there = threads();
    std::erase_if(timers, [&there](const auto& known) {
      const bool gone = std::find(there.begin(), there.end(), known.first) == there.end() || is_dead(known.second);
      if (gone) ::timer_delete(known.second);
      return gone;
    });
    std::size_t failed = 0;
    for (const pid_t one : there) {
      if (timers.contains(one)) continue;
      timer_t timer{};
      if (const int error = start_timer(one, timer); error == 0)
        timers.emplace(one, timer);
      else if (error == EAGAIN)  // any other: it has ended meanwhile
        ++failed;
    }
    without = std::max(without, failed);
  }

  void drain() {
    std::array<std::pair<std::string_view, std::string_view>, runtime::ProfileLabel::kMostLabels + 1> labels;
    while (sampler.take(sample)) {
      if (sample.depth == 0) continue;
      ++sample.frames[0];  // an instruction's own address; the others are behind theirs
      std::size_t n = 0;
      if (!sample.fiber.empty()) labels[n++] = {"fiber", sample.fiber};
      for (std::size_t i = 0; i < sample.label_count; ++i) {
        const CpuSample::Label& label = sample.labels[i];
        const std::string_view key(label.key.data(), label.key_size);
        const auto end = labels.begin() + static_cast<long>(n);
        if (std::any_of(labels.begin(), end, [key](const auto& l) { return l.first == key; })) continue;
        labels[n++] = {key, {label.value.data(), label.value_size}};
      }
      if (profile.samples() >= kMostStacks) n = 0;
      if (profile.samples() >= 2 * kMostStacks) {
        dropped += sample.weight;
        continue;
      }
      const std::array<std::int64_t, 2> values{sample.weight, sample.weight * period};
      profile.add({sample.frames.data(), sample.depth}, values, {labels.data(), n});
    }
  }

  /// False: it is not over yet.
  bool wait_for_end() noexcept {
    static constexpr std::int64_t kTurn = 50'000'000;
    const std::int64_t until = monotonic_now() + kTurn;
    const timespec time{until / kSecond, until % kSecond};
    int outcome = 0;
    do outcome = ::sem_clockwait(&over, CLOCK_MONOTONIC, &time);
    while (outcome != 0 && errno == EINTR);
    return outcome == 0;
  }

  static void* main(void* argument) noexcept {
    auto& self = *static_cast<State*>(argument);
    for (bool more = true, look = true; more; look = !look) {
      try {
        if (look) self.look_for_threads();
        more = !self.wait_for_end();
        if (!more) self.stop_timers();
        self.drain();
      } catch (const std::bad_alloc&) {  // what does not fit is lost, and told
        ++self.dropped;
      }
    }
    return nullptr;
  }

  void stop_timers() noexcept {
    for (const auto& [one, timer] : timers) ::timer_delete(timer);
    timers.clear();
    sampler.detach();
  }

  /// The next one may begin.
  void release() noexcept {
    if (running) {
      ::sem_post(&over);
      pthread_join(thread, nullptr);
      running = false;
    }
    if (!held) return;
    sampler.detach();
    held = false;
    busy.store(false, std::memory_order_release);
  }
};

CpuProfile::CpuProfile(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
CpuProfile::~CpuProfile() = default;

bool CpuProfile::has_signal() noexcept { return CpuSampler::install(); }

Result<std::unique_ptr<CpuProfile>> CpuProfile::start(unsigned rate) {
  if (rate < 1 || rate > kMostRate) return fail(std::errc::invalid_argument);
  if (busy.exchange(true, std::memory_order_acquire)) return fail(std::errc::device_or_resource_busy);
  std::unique_ptr<State> state;
  try {
    state = std::make_unique<State>(rate);
  } catch (...) {
    busy.store(false, std::memory_order_release);
    throw;
  }
  ::sem_init(&state->over, 0, 0);
  if (!CpuSampler::install() || !state->sampler.attach()) return fail(std::errc::device_or_resource_busy);
  state->look_for_threads();
  if (const int error = create_quiet_thread(state->thread, &State::main, state.get()); error != 0) {
    state->stop_timers();
    return fail_errno(-error);
  }
  state->running = true;
  return std::unique_ptr<CpuProfile>(new CpuProfile(std::move(state)));
}

CpuSampler::Counts CpuProfile::counts() const noexcept { return state_->sampler.counts(); }

PprofProfile CpuProfile::stop() {
  state_->release();
  const CpuSampler::Counts counts = state_->sampler.counts();
  PprofProfile& profile = state_->profile;
  profile.set_period("cpu", "nanoseconds", state_->period);
  profile.set_default_type("cpu");
  profile.add_comment(std::to_string(counts.samples) + " samples, " + std::to_string(counts.lost + state_->dropped) +
                      " lost; one took " + std::to_string(counts.each) + " ns");
  if (state_->without != 0)
    profile.add_comment(std::to_string(state_->without) + " threads could not be sampled: RLIMIT_SIGPENDING");
  return std::move(profile);
}

}  // namespace fiberd::observe
