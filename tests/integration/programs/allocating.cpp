// The daemon with handlers that allocate, wait and let wait, each in a function whose name a profile must show, and
// with a malloc that is looked at (fiberd::heap_profile). "allocating family": what malloc and its family must do,
// tried at many sizes by several threads while nearly everything is sampled; exit code 0 if it is done.
#include <malloc.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fiberd/core/runtime/profile_rates.hpp>
#include <fiberd/core/runtime/runtime.hpp>
#include <fiberd/core/sync/channel.hpp>
#include <fiberd/core/sync/mutex.hpp>
#include <fiberd/daemon/daemon.hpp>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "core/fiber/heap_sampler.hpp"

using namespace fiberd;
using namespace std::chrono_literals;

static std::atomic<std::uintptr_t> sink{0};
static sync::Mutex mutex;
static std::mutex kept_lock;
static std::vector<std::unique_ptr<char[]>> kept;

// Their names are looked for, so they are not static.
[[gnu::noinline]] void allocate_for_a_moment() {
  for (int i = 0; i < 100; ++i) {
    const auto piece = std::make_unique<char[]>(1000);
    sink += reinterpret_cast<std::uintptr_t>(piece.get());
  }
}
[[gnu::noinline]] void keep_in_use() {
  for (int i = 0; i < 1000; ++i) {
    auto piece = std::make_unique<char[]>(1000);
    const std::lock_guard guard(kept_lock);
    kept.push_back(std::move(piece));
  }
}
/// The C++ library allocates for it.
[[gnu::noinline]] std::size_t grow_a_text() {
  std::string text;
  for (int i = 0; i < 100'000; ++i) text.push_back('x');
  return text.size();
}
[[gnu::noinline]] void wait_in_a_channel() {
  sync::Channel<int> values;
  (void)runtime::spawn("sender", [&values] {
    (void)runtime::sleep_for(3ms);
    (void)values.send(1);
  });
  (void)values.receive();
}
[[gnu::noinline]] void hold_the_mutex() {
  {
    const std::lock_guard guard(mutex);
    (void)runtime::sleep_for(2ms);
  }
  asm volatile("");  // no tail call
}

// ---------------------------------------------------------------------------------------------- the family

static bool all_are(const void* at, std::size_t size, unsigned char value) {
  const auto* const bytes = static_cast<const unsigned char*>(at);
  for (std::size_t i = 0; i < size; ++i)
    if (bytes[i] != value) return false;
  return true;
}

static void must(bool holds, const char* what, std::size_t size) {
  if (holds) return;
  std::fprintf(stderr, "%s, of %zu bytes\n", what, size);
  std::_Exit(1);
}

static void try_size(std::size_t size) {
  const auto aligned = [](const void* at, std::size_t to) { return reinterpret_cast<std::uintptr_t>(at) % to == 0; };
  auto* at = static_cast<char*>(std::malloc(size));
  must(at != nullptr && aligned(at, 16) && ::malloc_usable_size(at) >= size, "malloc", size);
  std::memset(at, 0x5a, size);
  for (const std::size_t other : {size / 2 + 1, size * 3 + 1, size + 1}) {
    const std::size_t same = std::min(size, other);
    at = static_cast<char*>(std::realloc(at, other));
    must(at != nullptr && all_are(at, std::min(same, size / 2), 0x5a), "realloc", other);
    std::memset(at, 0x5a, other);
  }
  std::free(at);
  for (int i = 0; i < 3; ++i) {
    at = static_cast<char*>(std::calloc(size / 4 + 1, 4));
    must(at != nullptr && all_are(at, (size / 4 + 1) * 4, 0), "calloc", size);
    std::memset(at, 0x77, (size / 4 + 1) * 4);
    std::free(at);
  }
  for (const std::size_t alignment : {std::size_t{16}, std::size_t{64}, std::size_t{4096}, std::size_t{65536}}) {
    void* made = nullptr;
    must(::posix_memalign(&made, alignment, size) == 0 && aligned(made, alignment), "posix_memalign", size);
    std::memset(made, 1, size);
    std::free(made);
    made = std::aligned_alloc(alignment, size);
    must(made != nullptr && aligned(made, alignment), "aligned_alloc", size);
    std::free(made);
    made = ::operator new(size, std::align_val_t(alignment));
    must(aligned(made, alignment), "aligned new", size);
    ::operator delete(made, std::align_val_t(alignment));
  }
  void* const quiet = ::operator new(size, std::nothrow);
  must(quiet != nullptr, "new that does not throw", size);
  ::operator delete(quiet);
  delete[] new char[size + 1];
}

static int try_family(int argc, char** argv) {
  (void)runtime::set_mem_profile_rate(argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 3; ++t)
    threads.emplace_back([t] {
      for (int round = 0; round < 20; ++round)
        for (std::size_t size = t; size < 300'000; size = size * 3 / 2 + 7) try_size(size);
    });
  for (std::thread& thread : threads) thread.join();
  volatile std::size_t huge = SIZE_MAX / 2;
  must(std::malloc(huge) == nullptr && std::calloc(huge, 4) == nullptr && std::realloc(nullptr, huge) == nullptr &&
           ::operator new(huge, std::nothrow) == nullptr,
       "too much", huge);
  void* none = nullptr;
  must(::posix_memalign(&none, 24, 100) == EINVAL, "posix_memalign of an odd alignment", 100);
  bool thrown = false;
  try {
    sink += reinterpret_cast<std::uintptr_t>(::operator new(huge));
  } catch (const std::bad_alloc&) {
    thrown = true;
  }
  must(thrown, "new of too much", huge);
  std::free(nullptr);
  const fiber::HeapSampler::Stats stats = fiber::heap_sampler().stats();
  std::printf("samples %llu live %llu lost %llu\n", static_cast<unsigned long long>(stats.samples),
              static_cast<unsigned long long>(stats.live), static_cast<unsigned long long>(stats.lost));
  return 0;
}

int main(int argc, char** argv) {
  // Before there are threads: each begins with it.
  if (std::getenv("COUNT_ALLOCATIONS") != nullptr) fiber::heap_sampler().count_all(true);
  if (argc > 1 && std::string_view(argv[1]) == "family") return try_family(argc, argv);
  daemon::Daemon daemon;
  const auto handle = [&daemon](const char* name, void (*fn)()) {
    daemon.handle(name, [fn](http::Exchange& exchange) {
      fn();
      return exchange.respond(200, "text/plain", "ok");
    });
  };
  handle("moment", &allocate_for_a_moment);
  handle("keep", &keep_in_use);
  handle("text", [] { sink += grow_a_text(); });
  handle("channel", &wait_in_a_channel);
  handle("mutex", &hold_the_mutex);
  daemon.handle("counted", [](http::Exchange& exchange) {
    return exchange.respond(200, "text/plain", std::to_string(fiber::heap_sampler().counted()));
  });
  return daemon.main(argc, argv);
}
