#!/bin/sh
# What a compiler may wrongly keep across a switch depends on the compiler and on how much it sees: the migration cases
# are built here by g++ and clang++, at -O2 and with link-time optimisation, and run. A compiler that is not installed
# is an error: the test would be silent about it otherwise.
set -eu
root=$(cd "$(dirname "$0")/../../.." && pwd)
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
library="core/fiber/context core/fiber/backtrace core/fiber/throw_trace core/fiber/unwind core/base/thread_locals core/base/guarded_write"
for compiler in g++ clang++; do
  # An archiver that can index intermediate code.
  case $compiler in
    g++) archiver=gcc-ar ;;
    *) archiver=$("$compiler" -print-prog-name=llvm-ar) ;;
  esac
  for mode in "-O2" "-O2 -flto"; do
    flags="-std=c++20 $mode -fno-omit-frame-pointer -pthread -Wall -Wextra -Wconversion -Wshadow -Werror -I$root"
    rm -f "$build"/*
    for source in $library; do
      # shellcheck disable=SC2086 # several flags in one word
      "$compiler" $flags -c "$root/$source.cpp" -o "$build/$(basename "$source").o"
    done
    # An archive, as the real build has it: what no intermediate code refers to is not taken from it.
    "$archiver" rcs "$build/library.a" "$build"/*.o
    # shellcheck disable=SC2086
    "$compiler" $flags -DFIBERD_STANDALONE "$root/tests/unit/fiber/migration_cases.cpp" "$build/library.a" \
      -lboost_context -ldl -o "$build/migration"
    "$build/migration" || { echo "FAILED: $compiler $mode"; exit 1; }
    echo "ok: $compiler $mode"
  done
done
