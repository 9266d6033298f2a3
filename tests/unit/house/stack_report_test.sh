#!/bin/bash
# tests/support/stack-report finds a large frame, calls it an error in a handler above the limit and nowhere else.
set -euo pipefail
root=$(cd "$(dirname "$0")/../../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/core/http" "$work/core/base" "$work/build"
cat > "$work/core/http/handler.cpp" << 'END'
void fill(char*);
void serve_with_a_large_frame() {
  char text[6000];
  fill(text);
}
void serve_with_a_small_frame() {
  char text[60];
  fill(text);
}
END
cat > "$work/core/base/other.cpp" << 'END'
void fill(char*);
void not_a_handler() {
  char text[9000];
  fill(text);
}
END
cat > "$work/core/http/alloca.cpp" << 'END'
void fill(char*);
void serve_with_a_frame_of_any_size(unsigned n) { fill(static_cast<char*>(__builtin_alloca(n))); }
END
compile() { g++ -std=c++20 -O2 -fstack-usage -c "$work/$1.cpp" -o "$work/build/$(basename "$1").o"; }
report() {
  outcome=0
  STACK_LIMIT=$1 "$root/tests/support/stack-report" "$work/build" "$work" > "$work/report" 2>&1 || outcome=$?
}
fail() {
  echo "FAILED: $1"
  cat "$work/report"
  exit 1
}
compile core/http/handler
compile core/base/other

report 4096
[ "$outcome" -eq 1 ] || fail "a frame above the limit in a handler is no error (exit code $outcome)"
grep -Eq '^core/http/handler\.cpp:2:.*serve_with_a_large_frame.*: a frame of 6[0-9]+ bytes, above the limit of 4096$' \
  "$work/report" || fail "the function is not named"
grep -q '1 of 2 functions in handlers' "$work/report" || fail "others are blamed"
# The largest first, whoever's it is.
sed -n 2p "$work/report" | grep -Eq '^ +9[0-9]+ +static +core/base/other\.cpp:2:.*not_a_handler' || fail "the list is not sorted"

report 8192
[ "$outcome" -eq 0 ] || fail "within the limit is an error"
grep -q 'all 2 functions in handlers are within 8192 bytes' "$work/report" || fail "the good end is not said"

compile core/http/alloca
report 8192
[ "$outcome" -eq 1 ] || fail "a frame of any size is no error"
grep -q 'serve_with_a_frame_of_any_size.*: a frame whose size only shows at run time' "$work/report" || fail "it is not named"

rm "$work"/build/*.su
report 8192
[ "$outcome" -eq 2 ] || fail "a tree without stack usage passes"
echo "ok"
