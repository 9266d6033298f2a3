#include "core/sync/shared_mutex.hpp"

#include <catch2/catch.hpp>
#include <mutex>
#include <shared_mutex>

#include "core/sync/wait_group.hpp"
#include "tests/unit/sync/support.hpp"

using namespace fiberd;
using sync::SharedMutex;
using sync::WaitGroup;
using test::on_fibers;

TEST_CASE("many readers or one writer", "[shared_mutex][threads]") {
  for (const unsigned processors : {1U, 4U}) {
    std::atomic<int> readers{0};
    std::atomic<int> writers{0};
    std::atomic<int> most_readers{0};
    std::atomic<bool> broken{false};
    long value = 0;
    on_fibers(processors, [&](test::Findings&) {
      SharedMutex mutex;
      WaitGroup group;
      for (int f = 0; f < 12; ++f)
        (void)group.go("reader", [&] {
          for (int i = 0; i < 500; ++i) {
            const std::shared_lock guard(mutex);
            const int now = ++readers;
            if (now > most_readers) most_readers = now;
            if (writers != 0) broken = true;
            const long seen = value;
            runtime::yield();
            if (seen != value) broken = true;
            --readers;
          }
        });
      for (int f = 0; f < 3; ++f)
        (void)group.go("writer", [&] {
          for (int i = 0; i < 300; ++i) {
            const std::unique_lock guard(mutex);
            if (++writers != 1 || readers != 0) broken = true;
            ++value;
            if (i % 8 == 0) runtime::yield();
            --writers;
          }
        });
      group.wait();
    });
    CHECK_FALSE(broken);
    CHECK(value == 900);
    CHECK(most_readers > 1);
  }
}

TEST_CASE("a writer that waits lets no new reader by; when it gives up they go on", "[shared_mutex][context]") {
  on_fibers(1, [](test::Findings& found) {
    SharedMutex mutex;
    mutex.lock_shared();
    const auto canceled = context::with_cancel(context::background());
    std::error_code writer;
    bool reader = false;
    WaitGroup group;
    (void)group.go("writer", [&] { writer = error_of(mutex.lock(canceled.context)); });
    runtime::yield();
    found.check(!mutex.try_lock_shared(), "a reader would overtake");
    (void)group.go("reader", [&] {
      mutex.lock_shared();
      reader = true;
      mutex.unlock_shared();
    });
    runtime::yield();
    found.check(!reader, "it waits behind the writer");
    canceled.cancel();
    group.wait();
    found.check(writer == context::errc::canceled && reader, "the writer gave up, the reader went on");
    mutex.unlock_shared();
    found.check(mutex.try_lock() && !mutex.try_lock_shared() && mutex.unlock(), "free at the end");
    found.check(error_of(mutex.lock_shared(canceled.context)) == context::errc::canceled && mutex.try_lock(),
                "done before");
    mutex.unlock();
  });
}

#ifdef NDEBUG
TEST_CASE("a shared mutex that is not held is not unlocked", "[shared_mutex]") {
  on_fibers(1, [](test::Findings& found) {
    SharedMutex mutex;
    const std::uint64_t bugs = bug_count();
    found.check(error_of(mutex.unlock()) == sync::errc::not_owner, "writer");
    found.check(error_of(mutex.unlock_shared()) == sync::errc::not_owner, "reader");
    found.check(bug_count() == bugs + 2 && mutex.try_lock(), "counted, and usable");
    mutex.unlock();
  });
}
#endif

TEST_CASE("threads without a fiber exclude one another by a shared mutex", "[shared_mutex]") {
  SharedMutex mutex;
  CHECK(mutex.try_lock());
  CHECK_FALSE(mutex.try_lock());
  CHECK_FALSE(mutex.try_lock_shared());
  CHECK(mutex.unlock());
  CHECK(mutex.try_lock_shared());
  CHECK(mutex.unlock_shared());
}
