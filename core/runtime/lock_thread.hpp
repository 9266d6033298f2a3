#pragma once
// LockThread: a fiber that owns its thread, as after Go's runtime.LockOSThread: for libraries that keep state by
// thread.
//
//   runtime::LockThread lock;               // from here on this fiber and its thread belong to each other
//   GlContext context = make_current();     // thread-local inside of the library
//   while (auto job = jobs.receive(ctx)) …  // waits like any fiber; comes back to the same thread
//
// How it works, and what it costs: lock_thread.cpp.
namespace fiberd::runtime {

/// While one lives, its fiber runs on the thread that it was made on and on no other, and nothing else runs there: no
/// other fiber, no timer, no poller. Waits are as anywhere else. Guards nest: the outermost counts. At its end the
/// fiber queues for a Processor and goes on as an ordinary one; the thread may serve others then, so what the fiber
/// left in it by way of thread-local state should have been taken down before.
///
/// Such a fiber runs beside the Processors, not on one: it is not counted by GOMAXPROCS, is never preempted or handed
/// off, and may block its thread as long as it likes (a blocking_section inside does nothing). To wake it is to wake a
/// thread: some microseconds. `runtime::blocking()` calls on a thread of the pool, as ever: call the library directly.
///
/// Made and destroyed on the same fiber, and not between prepare_park and park. Throws std::system_error:
/// errc::out_of_threads when Options::machines_max threads, less those that the Processors may need, are in use, or the
/// system gives no more; operation_not_permitted on a pinned fiber, which counts on its Processor (a Pin made while the
/// guard lives only counts: what it is for is true already but for the Processor), and off fibers, which is a BUG. A
/// fiber that ends with a guard that was never destroyed is a BUG, and loses the thread. In a Simulation all fibers
/// have the same thread anyway: nothing happens.
class [[nodiscard]] LockThread {
 public:
  [[nodiscard]] LockThread();
  ~LockThread();
  LockThread(const LockThread&) = delete;
  LockThread& operator=(const LockThread&) = delete;
};

}  // namespace fiberd::runtime
