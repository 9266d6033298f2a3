#pragma once
// What lock guards what, said so that clang holds the code to it (-Wthread-safety, an error in the project's own build
// with clang). Nothing for other compilers. The words are those of clang's analysis:
//
//   Lock lock_;
//   std::size_t size_ FIBERD_GUARDED_BY(lock_) = 0;     // read and written with the lock held, but in con- and
//   destructors void trim() FIBERD_REQUIRES(lock_);                 // its caller holds it
//
// The analysis looks at one function at a time and does not follow pointers to locks. Where a hold cannot be said in
// its words (a lock that is given away in another function, an owner that is alone by construction), the function says
// FIBERD_UNCHECKED_LOCKING, with the reason beside it.
#if defined(__clang__)
#define FIBERD_THREAD_SAFETY(x) __attribute__((x))
#else
#define FIBERD_THREAD_SAFETY(x)
#endif

#define FIBERD_CAPABILITY(name) FIBERD_THREAD_SAFETY(capability(name))
#define FIBERD_SCOPED_CAPABILITY FIBERD_THREAD_SAFETY(scoped_lockable)
#define FIBERD_GUARDED_BY(lock) FIBERD_THREAD_SAFETY(guarded_by(lock))
#define FIBERD_REQUIRES(...) FIBERD_THREAD_SAFETY(requires_capability(__VA_ARGS__))
#define FIBERD_EXCLUDES(...) FIBERD_THREAD_SAFETY(locks_excluded(__VA_ARGS__))
#define FIBERD_ACQUIRE(...) FIBERD_THREAD_SAFETY(acquire_capability(__VA_ARGS__))
#define FIBERD_TRY_ACQUIRE(...) FIBERD_THREAD_SAFETY(try_acquire_capability(__VA_ARGS__))
#define FIBERD_RELEASE(...) FIBERD_THREAD_SAFETY(release_capability(__VA_ARGS__))
#define FIBERD_RETURN_CAPABILITY(lock) FIBERD_THREAD_SAFETY(lock_returned(lock))
#define FIBERD_UNCHECKED_LOCKING FIBERD_THREAD_SAFETY(no_thread_safety_analysis)
