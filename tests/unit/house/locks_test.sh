#!/bin/sh
# What a lock guards is said at its members (core/base/thread_safety.hpp), and clang refuses code that forgets it. Here it
# is seen to: each mistake is refused, and what is right is not. Whether the warning is on in our builds is asked of
# CMakeLists.txt.
set -eu
root=$(cd "$(dirname "$0")/../../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
body() { # statements of a member function on stdin
  cat > "$work/x.cpp"
  clang++ -std=c++20 -Wthread-safety -Werror=thread-safety -fsyntax-only -I"$root" "$work/x.cpp" > "$work/said" 2>&1
}
class() {
  cat << END
#include "core/base/lock.hpp"
using namespace fiberd;
class Counter {
 public:
  int f();
  void helper() FIBERD_REQUIRES(lock_) { ++n_; }

 private:
  $1 lock_;
  int n_ FIBERD_GUARDED_BY(lock_) = 0;
};
int Counter::f() { $2 }
END
}
refused() { # lock, statements
  if class "$1" "$2" | body; then
    echo "FAILED: taken: $2"
    failed=1
  elif ! grep -q thread-safety "$work/said"; then
    echo "FAILED: refused for another reason: $2"
    head -n 5 "$work/said"
    failed=1
  else
    echo "ok: refused: $1, $2"
  fi
}
taken() {
  if class "$1" "$2" | body; then
    echo "ok: taken: $1, $2"
  else
    echo "FAILED: refused: $2"
    head -n 5 "$work/said"
    failed=1
  fi
}
for lock in Lock LeafLock; do
  refused $lock 'return n_;'
  refused $lock '++n_; return 0;'
  refused $lock 'helper(); return 0;'
  refused $lock 'lock_.lock(); return n_;'
  refused $lock 'lock_.unlock(); return 0;'
  refused $lock '{ const BasicLockGuard guard(lock_); } return n_;'
  taken $lock 'const BasicLockGuard guard(lock_); helper(); return n_;'
  taken $lock 'lock_.lock(); const int n = n_; lock_.unlock(); return n;'
done
refused Lock 'if (lock_.try_lock()) return 0; return n_;'
taken Lock 'if (!lock_.try_lock()) return 0; const int n = n_; lock_.unlock(); return n;'
grep -q -- '-Wthread-safety' "$root/CMakeLists.txt" || {
  echo "FAILED: the build with clang does not ask for -Wthread-safety"
  failed=1
}
exit $failed
