// The Boost.Fiber program of the toolkit benchmark: the work of toolkit_fiberd.cpp, as one writes it with Boost.Fiber.
//
//   toolkit_boost CASE GOMAXPROCS OPERATIONS [SCHEDULER]
//
// GOMAXPROCS is the number of threads. SCHEDULER: round_robin (one thread; the default there), work_stealing (the
// default for two: idle threads spin), work_stealing_suspend (they sleep), shared_work. toolkit.py tries all for each
// case and keeps the fastest.
//
// Choices, each the fastest that was found and is safe:
// - Stacks of 16 KiB without a guard page (8 KiB overflow), recycled by a free list that has a lock when there are two
//   threads. fixedsize_stack is malloc and free, which give such stacks back to the kernel and fetch
//   them again all the time; pooled_fixedsize_stack has no lock.
// - A new fiber runs at once (launch::dispatch) and nobody joins it in skynet, as in Boost.Fiber's own skynet_detach: a
//   leaf's stack is free again before the next leaf needs one.
// - Skynet's channels hold 16 values (Boost.Fiber's own skynet again). buffered_channel's capacity is a power of two of
//   which it keeps one free, so the buffer of 128 holds 127.
// - Boost.Fiber has no select. `select4` is what its users write instead: four single-value cells under one mutex, each
//   sender with a condition variable that says "taken", the receiver with one that says "some cell is full".
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <boost/fiber/all.hpp>
#include <cstdlib>
#include <new>
#include <optional>
#include <thread>
#include <vector>

#include "measure.hpp"

namespace fibers = boost::fibers;
using toolkit::sum_below;

namespace {

bool one_thread = true;

/// A StackAllocator as Boost.Context wants it.
class RecycledStack {
 public:
  boost::context::stack_context allocate() {
    const Guard guard;
    if (free_.empty()) {
      constexpr std::size_t kStacks = 256;
      char* const slab = static_cast<char*>(std::malloc(kStacks * kSize));
      if (slab == nullptr) throw std::bad_alloc();
      for (std::size_t i = kStacks; i > 0; --i) free_.push_back(slab + i * kSize);
    }
    boost::context::stack_context context;
    context.size = kSize;
    context.sp = free_.back();
    free_.pop_back();
    return context;
  }
  void deallocate(boost::context::stack_context& context) noexcept {
    const Guard guard;
    free_.push_back(static_cast<char*>(context.sp));
  }

 private:
  static constexpr std::size_t kSize = std::size_t{16} * 1024;
  struct Guard {
    Guard() noexcept {
      if (!one_thread)
        while (taken_.test_and_set(std::memory_order_acquire)) {
        }
    }
    ~Guard() {
      if (!one_thread) taken_.clear(std::memory_order_release);
    }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;
  };
  inline static std::vector<char*> free_;
  inline static std::atomic_flag taken_;
};

template <class F>
fibers::fiber start(fibers::launch how, F&& fn) {
  return fibers::fiber(how, std::allocator_arg, RecycledStack(), std::forward<F>(fn));
}

template <class Channel>
bool transfer(Channel& channel, std::int64_t n) {
  std::int64_t sum = 0;
  fibers::fiber receiver = start(fibers::launch::post, [&] {
    std::int64_t v = 0;
    while (channel.pop(v) == fibers::channel_op_status::success) sum += v;
  });
  fibers::fiber sender = start(fibers::launch::post, [&] {
    for (std::int64_t i = 0; i < n; ++i) channel.push(i);
    channel.close();
  });
  sender.join();
  receiver.join();
  return sum == sum_below(n);
}

bool handoff(std::int64_t n) {
  fibers::unbuffered_channel<std::int64_t> channel;
  return transfer(channel, n);
}

bool buffered(std::int64_t n) {
  fibers::buffered_channel<std::int64_t> channel(toolkit::kBuffer);
  return transfer(channel, n);
}

bool pingpong(std::int64_t n) {
  fibers::unbuffered_channel<std::int64_t> ping;
  fibers::unbuffered_channel<std::int64_t> pong;
  std::int64_t v = 0;
  fibers::fiber partner = start(fibers::launch::post, [&] {
    std::int64_t w = 0;
    while (ping.pop(w) == fibers::channel_op_status::success) pong.push(w + 1);
    pong.close();
  });
  fibers::fiber player = start(fibers::launch::post, [&] {
    for (std::int64_t i = 0; i < n; ++i) {
      ping.push(v);
      pong.pop(v);
    }
    ping.close();
  });
  player.join();
  partner.join();
  return v == n;
}

class FourCells {
 public:
  void send(std::size_t cell, std::int64_t value) {
    std::unique_lock<fibers::mutex> lock(mutex_);
    cells_[cell].value = value;
    ++full_;
    some_full_.notify_one();
    cells_[cell].taken.wait(lock, [&] { return !cells_[cell].value.has_value(); });
  }
  /// From any cell that is full, beginning behind the last one.
  std::int64_t receive() {
    std::unique_lock<fibers::mutex> lock(mutex_);
    some_full_.wait(lock, [&] { return full_ != 0; });
    do next_ = (next_ + 1) % 4;
    while (!cells_[next_].value.has_value());
    const std::int64_t value = *cells_[next_].value;
    cells_[next_].value.reset();
    --full_;
    cells_[next_].taken.notify_one();
    return value;
  }

 private:
  struct Cell {
    std::optional<std::int64_t> value;
    fibers::condition_variable taken;
  };
  fibers::mutex mutex_;
  fibers::condition_variable some_full_;
  Cell cells_[4];
  std::size_t full_ = 0;
  std::size_t next_ = 0;
};

bool select4(std::int64_t n) {
  FourCells cells;
  const std::int64_t each = n / 4;
  std::int64_t sum = 0;
  std::vector<fibers::fiber> all;
  for (std::size_t c = 0; c < 4; ++c)
    all.push_back(start(fibers::launch::post, [&cells, c, each] {
      for (std::int64_t v = 0; v < each; ++v) cells.send(c, v);
    }));
  all.push_back(start(fibers::launch::post, [&] {
    for (std::int64_t i = 0; i < each * 4; ++i) sum += cells.receive();
  }));
  for (fibers::fiber& f : all) f.join();
  return sum == sum_below(each) * 4;
}

bool locked(std::int64_t n, bool held) {
  fibers::mutex mutex;
  std::int64_t counter = 0;
  const std::int64_t each = n / toolkit::kMutexFibers;
  std::vector<fibers::fiber> all;
  for (std::int64_t f = 0; f < toolkit::kMutexFibers; ++f)
    all.push_back(start(fibers::launch::post, [&mutex, &counter, each, held] {
      for (std::int64_t i = 0; i < each; ++i) {
        const std::lock_guard<fibers::mutex> lock(mutex);
        ++counter;
        if (held && i % toolkit::kHeldEvery == 0) boost::this_fiber::yield();
      }
    }));
  for (fibers::fiber& f : all) f.join();
  return counter == each * toolkit::kMutexFibers;
}

bool spawn_join(std::int64_t n) {
  std::vector<std::int64_t> results(toolkit::kBatch);
  std::vector<fibers::fiber> all;
  all.reserve(results.size());
  std::int64_t sum = 0;
  for (std::int64_t done = 0; done < n; done += toolkit::kBatch) {
    for (std::int64_t& result : results) all.push_back(start(fibers::launch::post, [&result] { result = 1; }));
    for (fibers::fiber& f : all) f.join();
    all.clear();
    for (std::int64_t& result : results) sum += std::exchange(result, 0);
  }
  return sum == (n + toolkit::kBatch - 1) / toolkit::kBatch * toolkit::kBatch;
}

using Results = fibers::buffered_channel<std::int64_t>;

void skynet_node(Results& results, std::int64_t number, std::int64_t size) {
  if (size == 1) {
    results.push(number);
    return;
  }
  Results below(16);
  const std::int64_t part = size / toolkit::kSkynetChildren;
  for (std::int64_t i = 0; i < toolkit::kSkynetChildren; ++i)
    start(fibers::launch::dispatch, [&below, number, i, part] {
      skynet_node(below, number + i * part, part);
    }).detach();
  // A child's push touches the channel last when it releases the channel's lock: behind that the channel may go.
  std::int64_t sum = 0;
  for (std::int64_t i = 0; i < toolkit::kSkynetChildren; ++i) sum += below.value_pop();
  results.push(sum);
}

bool skynet(std::int64_t n) {
  Results results(16);
  fibers::fiber root = start(fibers::launch::dispatch, [&] { skynet_node(results, 0, n); });
  root.join();
  const std::int64_t sum = results.value_pop();
  return sum == sum_below(n);
}

/// What the call costs without a section.
bool section(std::int64_t n) {
  std::int64_t sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += ::syscall(SYS_getppid) > 0 ? 1 : 0;
  return sum == n;
}

bool (*find(std::string_view name))(std::int64_t) {
  if (name == "handoff") return handoff;
  if (name == "buffered") return buffered;
  if (name == "pingpong") return pingpong;
  if (name == "select4") return select4;
  if (name == "mutex") return [](std::int64_t n) { return locked(n, true); };
  if (name == "mutex_short") return [](std::int64_t n) { return locked(n, false); };
  if (name == "spawn_join") return spawn_join;
  if (name == "skynet") return skynet;
  if (name == "section") return section;
  return nullptr;
}

void use(std::string_view scheduler, unsigned threads) {
  if (scheduler == "shared_work") return fibers::use_scheduling_algorithm<fibers::algo::shared_work>(true);
  if (scheduler == "work_stealing") return fibers::use_scheduling_algorithm<fibers::algo::work_stealing>(threads);
  if (scheduler == "work_stealing_suspend")
    return fibers::use_scheduling_algorithm<fibers::algo::work_stealing>(threads, true);
  fibers::use_scheduling_algorithm<fibers::algo::round_robin>();
}

}  // namespace

int main(int argc, char** argv) {
  toolkit::Arguments arguments;
  if (!toolkit::parse(argc, argv, arguments)) return 2;
  auto* const body = find(arguments.name);
  if (body == nullptr) return 2;
  one_thread = arguments.gomaxprocs == 1;
  const std::string_view scheduler = argc > 4 ? argv[4] : one_thread ? "round_robin" : "work_stealing";
  fibers::mutex mutex;
  fibers::condition_variable over;
  bool done = false;
  std::vector<std::thread> threads;
  for (unsigned t = 1; t < arguments.gomaxprocs; ++t)
    threads.emplace_back([&] {
      use(scheduler, arguments.gomaxprocs);
      std::unique_lock<fibers::mutex> lock(mutex);
      over.wait(lock, [&] { return done; });
    });
  use(scheduler, arguments.gomaxprocs);
  const int status = toolkit::measure(arguments, body);
  {
    const std::lock_guard<fibers::mutex> lock(mutex);
    done = true;
  }
  over.notify_all();
  for (std::thread& t : threads) t.join();
  return status;
}
