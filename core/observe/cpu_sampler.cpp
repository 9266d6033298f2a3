// The handler of SIGPROF runs between two instructions of anything: of malloc with its lock held, of a fiber's switch,
// of foreign code that uses the frame pointer for something else. So
//
//  - it takes no lock and no memory; what it writes goes to a slot of a ring that was made before. The ring is Vyukov's
//    bounded queue: a slot's turn says whose it is; who finds none free counts the sample as lost and goes.
//  - on a fiber it reads frames inside of that fiber's stack alone, which is mapped as a whole, whatever the chain
//  says.
//    On other stacks, whose bounds nobody knows here (pthread_getattr_np allocates), it asks the kernel for the words
//    (process_vm_readv on ourselves): what is not mapped is an error there and no fault.
//  - it is seen to be inside by a count, which whoever takes the ring away waits for.
//  - it may stand on an alternate stack that a library has given a thread of its own, 8 KiB of which the kernel's frame
//  takes three and more. So it needs little, looks how much is left before it goes on, and calls nothing that the
//  dynamic linker has not bound yet (which takes 3 KiB).
//
// How the frames of libraries are got over, which have no frame pointers: fiber/interrupted_frames.hpp.
//
// Labels and the fiber's name are read here because only here they hold still: profile_label.hpp.
//
// Rejected: setitimer(ITIMER_PROF), as Go had it (the kernel gives most signals to one thread, so the profile is
// skewed); perf_event_open (refused in containers and by kernel.perf_event_paranoid); a dwarf unwinder in the handler
// (10 to 100 µs a frame, locks of the loader).
#include "core/observe/cpu_sampler.hpp"

#include <signal.h>
#include <sys/uio.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>

#include "core/base/utf8.hpp"
#include "core/fiber/backtrace.hpp"
#include "core/fiber/interrupted_frames.hpp"
#include "core/runtime/interrupted.hpp"

#if defined(__clang__)
#define FIBERD_READS_STACKS __attribute__((no_sanitize("address", "thread")))
#else
#define FIBERD_READS_STACKS __attribute__((no_sanitize("address", "thread"), noinline))
#endif

namespace fiberd::observe {

static std::atomic<CpuSampler*> present{nullptr};
static std::atomic<std::uint32_t> inside{0};

// Of an alternate stack: for note(), and for it and walk(), with what they call.
static constexpr std::size_t kRoomToNote = 768;
static constexpr std::size_t kRoomToWalk = 2560;

/// What is left of the alternate stack on which the handler stands; SIZE_MAX: it stands on another one.
static std::size_t room_left(const void* ucontext) noexcept {
  const stack_t& alternate = static_cast<const ucontext_t*>(ucontext)->uc_stack;
  const auto here = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  const auto bottom = reinterpret_cast<std::uintptr_t>(alternate.ss_sp);
  if ((alternate.ss_flags & SS_DISABLE) != 0 || here < bottom || here - bottom >= alternate.ss_size) return SIZE_MAX;
  return here - bottom;
}

static void on_profile_signal(int /*signo*/, siginfo_t* info, void* ucontext) noexcept {
  const int saved = errno;
  inside.fetch_add(1, std::memory_order_seq_cst);
  if (CpuSampler* const sampler = present.load(std::memory_order_seq_cst)) {
    const bool timer = info->si_code == SI_TIMER;
    const std::uint32_t weight = timer && info->si_overrun > 0 ? static_cast<std::uint32_t>(info->si_overrun) + 1 : 1;
    if (const std::size_t room = room_left(ucontext); room >= kRoomToNote)
      sampler->note(ucontext, weight, room);
    else
      sampler->lose(weight);
  }
  inside.fetch_sub(1, std::memory_order_seq_cst);
  errno = saved;
}

namespace {

constexpr std::size_t kWord = sizeof(std::uintptr_t);

/// Words of a stack. Inside of `known` they are read as they are; else by the kernel, a piece at a time.
class StackReader {
 public:
  StackReader(fiber::StackBounds known, int process) noexcept : known_(known), process_(process) {}

  FIBERD_READS_STACKS bool read(std::uintptr_t at, std::uintptr_t& word) noexcept {
    if (at % kWord != 0) return false;
    if (known_.top != 0) {
      if (at < known_.bottom || at >= known_.top || known_.top - at < kWord) return false;
      word = *reinterpret_cast<const std::uintptr_t*>(at);
      return true;
    }
    if (at < begin_ || at - begin_ >= size_) {
      if (pieces_ == kMostPieces) return false;
      ++pieces_;
      iovec here{piece_.data(), sizeof piece_};
      iovec there{reinterpret_cast<void*>(at), sizeof piece_};
      // It reads up to what is not mapped.
      const ssize_t n = ::process_vm_readv(process_, &here, 1, &there, 1, 0);
      begin_ = at;
      size_ = n > 0 ? static_cast<std::size_t>(n) / kWord * kWord : 0;
      if (size_ == 0) return false;
    }
    word = piece_[(at - begin_) / kWord];
    return true;
  }

 private:
  static constexpr int kMostPieces = 32;
  fiber::StackBounds known_;
  int process_;
  int pieces_ = 0;
  std::uintptr_t begin_ = 0;
  std::size_t size_ = 0;
  std::array<std::uintptr_t, 128> piece_;  // some frames: a system call costs more than to copy them
};

/// Frames from where it was interrupted. Not inlined: what it needs is only there when there is room for it.
[[gnu::noinline]] std::size_t walk(const runtime::Interrupted& at, const fiber::ProgramCode& code, int process,
                                   std::span<std::uintptr_t> frames) noexcept {
  StackReader stack(at.stack, process);
  return fiber::walk_interrupted({at.rip, at.rbp, at.rsp}, code, stack, frames);
}

std::int64_t thread_cpu_now() noexcept {
  timespec t{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return t.tv_sec * std::int64_t{1'000'000'000} + t.tv_nsec;
}

template <std::size_t N>
std::uint8_t copy_cut(std::string_view text, std::array<char, N>& to) noexcept {
  static_assert(N < 256);
  const std::size_t n = utf8_cut(text, N);
  if (n != 0) std::memcpy(to.data(), text.data(), n);
  return static_cast<std::uint8_t>(n);
}

}  // namespace

CpuSampler::CpuSampler()
    : slots_(std::make_unique<std::array<Slot, kSlots>>()), code_(fiber::program_code()), process_(::getpid()) {
  for (std::size_t i = 0; i < kSlots; ++i) (*slots_)[i].turn.store(i, std::memory_order_relaxed);
}

CpuSampler::~CpuSampler() { detach(); }

bool CpuSampler::install() noexcept {
  static const bool installed = [] {
    // Binds what the handler calls.
    std::uintptr_t word = 0;
    (void)StackReader({}, ::getpid()).read(reinterpret_cast<std::uintptr_t>(&word), word);
    (void)thread_cpu_now();
    struct sigaction before {};
    if (::sigaction(SIGPROF, nullptr, &before) != 0) return false;
    if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) return false;
    struct sigaction action {};
    action.sa_sigaction = &on_profile_signal;
    action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
    sigfillset(&action.sa_mask);
    sigdelset(&action.sa_mask, SIGSEGV);
    sigdelset(&action.sa_mask, SIGBUS);
    return ::sigaction(SIGPROF, &action, nullptr) == 0;
  }();
  return installed;
}

bool CpuSampler::attach() noexcept {
  CpuSampler* none = nullptr;
  return present.compare_exchange_strong(none, this, std::memory_order_seq_cst);
}

void CpuSampler::detach() noexcept {
  CpuSampler* self = this;
  if (!present.compare_exchange_strong(self, nullptr, std::memory_order_seq_cst)) return;
  // Who has come in before may still write; who comes in now finds nothing.
  while (inside.load(std::memory_order_seq_cst) != 0) {
    const timespec some{0, 100'000};
    (void)::nanosleep(&some, nullptr);
  }
}

void CpuSampler::lose(std::uint32_t weight) noexcept { lost_.fetch_add(weight, std::memory_order_relaxed); }

void CpuSampler::note(const void* ucontext, std::uint32_t weight, std::size_t room) noexcept {
  std::uint64_t at = next_.load(std::memory_order_relaxed);
  Slot* slot = nullptr;
  for (;;) {
    slot = &(*slots_)[at % kSlots];
    const std::uint64_t turn = slot->turn.load(std::memory_order_acquire);
    if (turn == at) {
      if (next_.compare_exchange_weak(at, at + 1, std::memory_order_relaxed)) break;
    } else if (turn < at) {
      lose(weight);
      return;
    } else {
      at = next_.load(std::memory_order_relaxed);
    }
  }
  // Of CPU time, which is a system call: now and then.
  static constexpr std::uint64_t kMeasured = 8;
  const std::int64_t began = at % kMeasured == 0 ? thread_cpu_now() : 0;
  CpuSample& sample = slot->sample;
  const runtime::Interrupted seen = runtime::look_at_interrupted(ucontext);
  if (room >= kRoomToWalk) {
    sample.depth = walk(seen, code_, process_, sample.frames);
  } else {  // the innermost alone
    sample.frames[0] = seen.rip;
    sample.depth = seen.rip != 0 ? 1 : 0;
  }
  sample.weight = weight;
  sample.fiber = seen.stack.top != 0 ? seen.origin.name : std::string_view();
  sample.label_count = 0;
  for (const runtime::ProfileLabelNode* node = seen.labels; node != nullptr; node = node->next) {
    if (sample.label_count == sample.labels.size()) break;
    CpuSample::Label& label = sample.labels[sample.label_count++];
    label.key_size = copy_cut(node->key, label.key);
    label.value_size = copy_cut(node->value, label.value);
  }
  slot->turn.store(at + 1, std::memory_order_release);
  samples_.fetch_add(1, std::memory_order_relaxed);
  if (began == 0) return;
  spent_.fetch_add(static_cast<std::uint64_t>(thread_cpu_now() - began), std::memory_order_relaxed);
  measured_.fetch_add(1, std::memory_order_relaxed);
}

bool CpuSampler::take(CpuSample& sample) noexcept {
  Slot& slot = (*slots_)[taken_ % kSlots];
  if (slot.turn.load(std::memory_order_acquire) != taken_ + 1) return false;
  const CpuSample& from = slot.sample;
  sample.depth = from.depth;
  std::copy_n(from.frames.begin(), from.depth, sample.frames.begin());
  sample.weight = from.weight;
  sample.fiber = from.fiber;
  sample.label_count = from.label_count;
  std::copy_n(from.labels.begin(), from.label_count, sample.labels.begin());
  slot.turn.store(taken_ + kSlots, std::memory_order_release);
  ++taken_;
  return true;
}

CpuSampler::Counts CpuSampler::counts() const noexcept {
  const std::uint64_t measured = std::max<std::uint64_t>(measured_.load(std::memory_order_relaxed), 1);
  return {samples_.load(std::memory_order_relaxed), lost_.load(std::memory_order_relaxed),
          spent_.load(std::memory_order_relaxed) / measured};
}

}  // namespace fiberd::observe
