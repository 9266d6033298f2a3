// In the handler the fiber's stack is full and the heap may be locked: it runs on the alternate stack, formats by hand
// into a fixed buffer and uses write(2). backtrace_symbols_fd does not allocate (it calls dladdr, which takes the
// loader's lock; a fault inside the loader could hang there, so the report's first line is written before).
#include "core/fiber/fault_handler.hpp"

#include <execinfo.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "core/base/characters.hpp"
#include "core/base/guarded_write.hpp"
#include "core/base/log.hpp"
#include "core/base/log_flush.hpp"
#include "core/fiber/backtrace.hpp"

namespace fiberd::fiber {

namespace {

constexpr int kPatience = 1000;  // ms

/// backtrace_symbols_fd writes a few bytes at a time without asking whether there is room: to memory first.
void write_symbols(void* const* pointers, std::size_t n) noexcept {
  const int memory = memfd_create("trace", MFD_CLOEXEC);
  if (memory < 0) return backtrace_symbols_fd(pointers, static_cast<int>(n), STDERR_FILENO);
  backtrace_symbols_fd(pointers, static_cast<int>(n), memory);
  std::array<char, 4096> text;
  for (off_t at = 0;;) {
    const ssize_t read = pread(memory, text.data(), text.size(), at);
    if (read <= 0) break;
    at += read;
    if (write_guarded(STDERR_FILENO, {text.data(), static_cast<std::size_t>(read)}, kPatience) == 0) break;
  }
  close(memory);
}

/// A line put together without allocation; what does not fit is cut.
class SafeLine {
 public:
  SafeLine& text(std::string_view s) noexcept {
    const std::size_t n = std::min(s.size(), buffer_.size() - length_);
    if (n != 0) std::memcpy(buffer_.data() + length_, s.data(), n);  // not of a null pointer: what has no name
    length_ += n;
    return *this;
  }
  SafeLine& number(std::uint64_t value, unsigned base = 10) noexcept {
    std::array<char, 20> digits;
    std::size_t at = digits.size();
    do digits[--at] = ascii::kHexDigits[value % base];
    while ((value /= base) != 0);
    return text({digits.data() + at, digits.size() - at});
  }
  void write_to(int fd) const noexcept {
    // stderr is all there is; if it fails, or nobody reads it, the abort still says something.
    (void)write_guarded(fd, {buffer_.data(), length_}, kPatience);
  }

 private:
  std::array<char, 1024> buffer_;
  std::size_t length_ = 0;
};

std::atomic<DescribeOverflow> describe_overflow{nullptr};
struct sigaction previous_segv;
struct sigaction previous_bus;

FaultRegisters registers_of(const ucontext_t& context) noexcept {
#if defined(__x86_64__)
  return {static_cast<std::uintptr_t>(context.uc_mcontext.gregs[REG_RBP]),
          static_cast<std::uintptr_t>(context.uc_mcontext.gregs[REG_RIP])};
#elif defined(__aarch64__)
  return {context.uc_mcontext.regs[29], context.uc_mcontext.pc};
#else
  return {};
#endif
}

void report_overflow(const void* address, const OverflowInfo& info, const FaultRegisters& where) noexcept {
  SafeLine line;
  line.text("fiberd: stack overflow: fiber ").number(info.fiber_id).text(" \"").text(info.name);
  line.text("\" spawned at ").text(info.file).text(":").number(info.line);
  line.text(info.stack_class.empty() ? "" : ", ").text(info.stack_class);
  line.text(info.stack_class.empty() ? ", stack " : " stack ").number(info.stack_size).text(" bytes, fault at 0x");
  line.number(reinterpret_cast<std::uintptr_t>(address), 16).text("\n").write_to(STDERR_FILENO);

  std::array<std::uintptr_t, 32> frames;
  const std::size_t n = walk_frames(where.rbp, where.rip, info.stack_bottom, info.stack_top, frames);
  static_assert(sizeof(void*) == sizeof(std::uintptr_t));
  std::array<void*, 32> pointers;
  for (std::size_t i = 0; i < n; ++i) pointers[i] = reinterpret_cast<void*>(frames[i]);
  write_symbols(pointers.data(), n);
}

void on_fault(int signal, siginfo_t* what, void* context) noexcept {
  const int saved_errno = errno;
  // si_code > 0: the kernel saw a fault, and si_addr is one. Else somebody sent the signal.
  if (what->si_code > 0) {
    OverflowInfo info;
    const DescribeOverflow describe = describe_overflow.load(std::memory_order_acquire);
    const FaultRegisters where = registers_of(*static_cast<const ucontext_t*>(context));
    switch (describe != nullptr ? describe(what->si_addr, where, info) : Fault::not_ours) {
      case Fault::goes_on: errno = saved_errno; return;
      case Fault::overflow:
        report_overflow(what->si_addr, info, where);
        flush_log();
        std::abort();
      case Fault::not_ours: flush_log(); break;
    }
  }
  // Not ours: back to what was there before; the instruction faults again under it.
  sigaction(signal, signal == SIGSEGV ? &previous_segv : &previous_bus, nullptr);
  if (what->si_code <= 0) raise(signal);  // pending until we return
  errno = saved_errno;
}

int install(int signal, struct sigaction& previous) noexcept {
  struct sigaction action {};
  action.sa_sigaction = &on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigfillset(&action.sa_mask);
  return sigaction(signal, &action, &previous) == 0 ? 0 : -errno;
}

}  // namespace

Result<void> install_fault_handler(DescribeOverflow describe) noexcept {
  static std::mutex mutex;
  static bool installed = false;
  const std::lock_guard guard(mutex);
  describe_overflow.store(describe, std::memory_order_release);
  if (installed) return {};
  if (const int r = install(SIGSEGV, previous_segv); r != 0) return fail_errno(r);
  if (const int r = install(SIGBUS, previous_bus); r != 0) return fail_errno(r);
  installed = true;
  return {};
}

namespace {

std::mutex signal_stacks_mutex;
SignalStack* first_signal_stack = nullptr;

}  // namespace

std::vector<std::pair<std::uintptr_t, std::uintptr_t>> signal_stacks() {
  std::vector<std::pair<std::uintptr_t, std::uintptr_t>> all;
  const std::lock_guard guard(signal_stacks_mutex);
  for (const SignalStack* s = first_signal_stack; s != nullptr; s = s->next_) {
    const auto begin = reinterpret_cast<std::uintptr_t>(s->memory_);
    all.emplace_back(begin, begin + s->mapped_);
  }
  return all;
}

SignalStack::SignalStack() noexcept {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
#if defined(AT_MINSIGSTKSZ)
  const std::size_t frame = std::max<std::size_t>(getauxval(AT_MINSIGSTKSZ), 2048);
#else
  const std::size_t frame = 4096;
#endif
  size_ = (4 * frame + 16 * 1024 + page - 1) / page * page;
  mapped_ = size_ + page;
  void* p = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (p != MAP_FAILED && mprotect(p, page, PROT_NONE) == 0) {
    stack_t stack{};
    stack_t previous{};
    stack.ss_sp = static_cast<std::byte*>(p) + page;
    stack.ss_size = size_;
    if (sigaltstack(&stack, &previous) == 0) {
      memory_ = static_cast<std::byte*>(p);
      previous_ = previous.ss_sp;
      previous_size_ = previous.ss_size;
      previous_flags_ = previous.ss_flags;
      const std::lock_guard guard(signal_stacks_mutex);
      next_ = first_signal_stack;
      if (next_ != nullptr) next_->before_ = this;
      first_signal_stack = this;
      return;
    }
  }
  if (p != MAP_FAILED) munmap(p, mapped_);
  log(LogLevel::warning, "no alternate signal stack for a thread: a stack overflow there will not be reported");
}

SignalStack::~SignalStack() {
  if (memory_ == nullptr) return;
  {
    const std::lock_guard guard(signal_stacks_mutex);
    (before_ != nullptr ? before_->next_ : first_signal_stack) = next_;
    if (next_ != nullptr) next_->before_ = before_;
  }
  stack_t stack{};
  stack.ss_sp = previous_;
  stack.ss_size = previous_size_;
  stack.ss_flags = previous_ == nullptr ? SS_DISABLE : previous_flags_ & SS_DISABLE;
  sigaltstack(&stack, nullptr);
  munmap(memory_, mapped_);
}

}  // namespace fiberd::fiber
