#!/bin/sh
# What a compiler may wrongly keep across a switch depends on the compiler and on how much it sees: the migration cases
# are built here by g++ and clang++, at -O2 and with link-time optimisation, and run. A compiler that is not installed is
# an error: the test would be silent about it otherwise.
set -eu
root=$(cd "$(dirname "$0")/../../.." && pwd)
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
sources="$root/tests/unit/fiber/migration_cases.cpp $root/core/fiber/context.cpp $root/core/fiber/backtrace.cpp
  $root/core/fiber/throw_trace.cpp $root/core/base/thread_locals.cpp"
for compiler in g++ clang++; do
  for mode in "-O2" "-O2 -flto" "-O3"; do
    objects=
    for source in $sources; do
      object="$build/$(basename "$source" .cpp).o"
      # shellcheck disable=SC2086 # several flags in one word
      "$compiler" -std=c++20 $mode -fno-omit-frame-pointer -pthread -Wall -Wextra -Wconversion -Wshadow -Werror \
        -DFIBERD_STANDALONE -I"$root" -c "$source" -o "$object"
      objects="$objects $object"
    done
    # shellcheck disable=SC2086
    "$compiler" $mode -pthread $objects -lboost_context -ldl -o "$build/migration"
    "$build/migration" || { echo "FAILED: $compiler $mode"; exit 1; }
    echo "ok: $compiler $mode"
  done
done
