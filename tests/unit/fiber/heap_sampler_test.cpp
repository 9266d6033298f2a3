// The sampler alone, with allocations that are only told to it. What malloc makes of it: tests/integration.
#include "core/fiber/heap_sampler.hpp"

#include <array>
#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <memory>
#include <vector>

using namespace fiberd::fiber;

namespace {

/// What a program does that allocates; each size has a stack of its own.
class Heap {
 public:
  explicit Heap(std::uint64_t seed) { thread_.random = seed; }
  [[nodiscard]] HeapSampler& sampler() noexcept { return *sampler_; }
  [[nodiscard]] HeapThread& thread() noexcept { return thread_; }

  /// Whether it was sampled.
  bool allocate(std::size_t size) {
    if (size < thread_.left) {
      thread_.left -= size;
      return false;
    }
    if (!sampler_->due(thread_, size)) return false;
    next_ += HeapSampler::kAlignment;
    sampler_->record(pointer(next_), size, std::array<std::uintptr_t, 1>{size});
    live_.push_back(next_);
    return true;
  }
  /// Frees the samples of which `choose` says so.
  template <class F>
  void free_samples(F choose) {
    std::size_t i = 0;
    for (const std::uintptr_t at : live_)
      if (choose(i++)) sampler_->forget(pointer(at));
  }
  struct Sums {
    double objects = 0;
    double bytes = 0;
    double objects_in_use = 0;
    double bytes_in_use = 0;
  };
  [[nodiscard]] std::map<std::size_t, Sums> sums() const {
    std::map<std::size_t, Sums> all;
    sampler_->stacks().for_each([&](std::span<const std::uintptr_t> frames, std::uint32_t /*tag*/, const auto& s) {
      const auto part = [](std::uint64_t n) { return static_cast<double>(n) / HeapSampler::kObject; };
      all[frames.front()] = {part(s[HeapSampler::allocated_objects]),
                             static_cast<double>(s[HeapSampler::allocated_bytes]),
                             part(s[HeapSampler::allocated_objects] - s[HeapSampler::freed_objects]),
                             static_cast<double>(s[HeapSampler::allocated_bytes] - s[HeapSampler::freed_bytes])};
    });
    return all;
  }

 private:
  static const void* pointer(std::uintptr_t at) { return reinterpret_cast<const void*>(at); }  // nobody looks there
  std::unique_ptr<HeapSampler> sampler_ = std::make_unique<HeapSampler>();
  HeapThread thread_{};
  std::uintptr_t next_ = 0x10000000;
  std::vector<std::uintptr_t> live_;
};

}  // namespace

TEST_CASE("what samples stand for is what was allocated, in every size, on average", "[heap_sampler]") {
  static constexpr std::uint64_t kRate = 8192;
  Heap heap(20260101);
  heap.sampler().set_rate(kRate);
  const std::map<std::size_t, int> made{
      {16, 2'000'000}, {100, 400'000}, {4096, 20'000}, {20'000, 5'000}, {1 << 20, 50}};
  for (const auto& [size, n] : made)
    for (int i = 0; i < n; ++i) (void)heap.allocate(size);
  const auto sums = heap.sums();
  REQUIRE(sums.size() == made.size());
  for (const auto& [size, n] : made) {
    // One is seen with this probability, so of n the number that is has this deviation.
    const double p = -std::expm1(-static_cast<double>(size) / kRate);
    const double deviation = std::sqrt(n * p * (1 - p)) / p;
    INFO(size << ": " << sums.at(size).objects << " of " << n << ", deviation " << deviation);
    CHECK(std::abs(sums.at(size).objects - n) < 4 * deviation + n * 0.003 + 1);
    CHECK(std::abs(sums.at(size).bytes / static_cast<double>(size) - n) < 4 * deviation + n * 0.003 + 1);
  }
  CHECK(heap.sampler().stats().lost == 0);
}

TEST_CASE("intervals are as long as chance makes them, so no rhythm of the program hides from them", "[heap_sampler]") {
  // A program that allocates small and large in turn, with a period that divides the rate.
  Heap heap(7);
  heap.sampler().set_rate(1000);
  int small = 0;
  int large = 0;
  for (int i = 0; i < 100'000; ++i) {
    small += heap.allocate(10) ? 1 : 0;
    large += heap.allocate(90) ? 1 : 0;
  }
  // 995 of 100,000 and 8,607 of 100,000.
  CHECK(std::abs(small - 995) < 130);
  CHECK(std::abs(large - 8607) < 360);
}

TEST_CASE("what is freed is in use no more, each at the weight that it came with", "[heap_sampler]") {
  Heap heap(3);
  heap.sampler().set_rate(4096);
  for (int i = 0; i < 40'000; ++i) (void)heap.allocate(64);
  const Heap::Sums before = heap.sums().at(64);
  CHECK(before.objects == before.objects_in_use);
  heap.sampler().set_rate(1 << 20);  // weights of later ones are others
  heap.free_samples([](std::size_t i) { return i % 2 == 0; });
  const Heap::Sums half = heap.sums().at(64);
  CHECK(half.objects == before.objects);
  CHECK(half.objects_in_use == Approx(before.objects / 2).epsilon(0.02));
  heap.free_samples([](std::size_t) { return true; });  // some for the second time: they are nobody's any more
  CHECK(heap.sums().at(64).objects_in_use == 0);
  CHECK(heap.sums().at(64).bytes_in_use == 0);
  CHECK(heap.sampler().stats().live == 0);
  CHECK(heap.sampler().stats().samples > 100);
}

TEST_CASE("an address that comes again was freed where nobody told", "[heap_sampler]") {
  const auto sampler = std::make_unique<HeapSampler>();
  sampler->set_rate(1);
  const auto* const at = reinterpret_cast<const void*>(std::uintptr_t{0x7000});
  const std::array<std::uintptr_t, 1> stack{1};
  for (int i = 0; i < 3; ++i) sampler->record(at, 100, stack);
  CHECK(sampler->stats().samples == 3);
  CHECK(sampler->stats().live == 1);
  sampler->forget(at);
  CHECK(sampler->stats().live == 0);
}

TEST_CASE("when too many samples are in use the rest is left out and counted", "[heap_sampler]") {
  Heap heap(1);
  heap.sampler().set_rate(1);
  static constexpr std::uint64_t kMany = 90'000;
  for (std::uint64_t i = 0; i < kMany; ++i) CHECK_NOFAIL(heap.allocate(8));
  const HeapSampler::Stats stats = heap.sampler().stats();
  CHECK(stats.samples + stats.lost == kMany);
  CHECK(stats.lost >= kMany - 65'536);
  CHECK(stats.live == stats.samples);
  CHECK(heap.sums().at(8).objects_in_use == static_cast<double>(stats.samples));
  heap.free_samples([](std::size_t) { return true; });
  CHECK(heap.sums().at(8).objects_in_use == 0);
}

TEST_CASE("off it samples nothing; on again a thread notices within 64 KiB", "[heap_sampler]") {
  Heap heap(5);
  for (int i = 0; i < 100'000; ++i) CHECK_FALSE(heap.allocate(100));
  heap.sampler().set_rate(100);
  std::size_t bytes = 0;
  while (!heap.allocate(100) && bytes < 100'000) bytes += 100;
  CHECK(bytes <= 64 * 1024 + 2000);
  heap.sampler().set_rate(0);
  bytes = 0;
  std::size_t last = 0;
  for (; bytes < 1'000'000; bytes += 100)
    if (heap.allocate(100)) last = bytes;
  CHECK(last <= 2000);
}

TEST_CASE("rate 1 samples each allocation for itself, and every one is counted if that is asked for",
          "[heap_sampler]") {
  Heap heap(5);
  heap.sampler().set_rate(1);
  for (int i = 0; i < 1000; ++i) CHECK(heap.allocate(i % 7 == 0 ? 0 : 24));
  CHECK(heap.sums().at(24).objects == 857);
  CHECK(heap.sums().at(24).bytes == 857 * 24);

  Heap counting(6);
  counting.sampler().count_all(true);
  counting.sampler().set_rate(100'000);
  int sampled = 0;
  for (int i = 0; i < 10'000; ++i) sampled += counting.allocate(100) ? 1 : 0;
  CHECK(counting.sampler().counted() == 10'000);
  CHECK(sampled > 0);
  CHECK(sampled < 40);  // as the rate says: some 10
}
