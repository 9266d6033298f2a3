#!/bin/sh
# What a compiler says to somebody who gives us the wrong thing: the concept's name, which says what is wanted, stands in
# the first lines, and not after twenty about our insides. Both compilers.
set -eu
root=$(cd "$(dirname "$0")/../../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
lines=12
failed=0
mistake() { # name, what must be said, source on stdin
  cat > "$work/$1.cpp"
  for compiler in g++ clang++; do
    if "$compiler" -std=c++20 -Werror=unused-result -Werror=unused-value -fsyntax-only -I"$root" "$work/$1.cpp" > "$work/said" 2>&1; then
      echo "FAILED: $compiler takes $1"
      failed=1
    elif ! head -n "$lines" "$work/said" | grep -q "$2"; then
      echo "FAILED: $compiler on $1 does not say $2 in its first $lines lines:"
      head -n 30 "$work/said"
      failed=1
    else
      echo "ok: $compiler, $1"
    fi
  done
}

mistake handler_returns_nothing HttpFunction << 'END'
#include "daemon/daemon.hpp"
void f(fiberd::daemon::Daemon& daemon) {
  daemon.handle("x", [](fiberd::http::Exchange& e) { (void)e.respond(200, "text/plain", "x"); });
}
END
mistake handler_takes_no_exchange HttpFunction << 'END'
#include "core/http/handlers.hpp"
auto f() { return fiberd::http::make_handler([] { return std::error_code(); }); }
END
mistake tcp_handler_without_a_context TcpFunction << 'END'
#include "daemon/daemon.hpp"
void f(fiberd::daemon::Daemon& daemon) { daemon.serve_tcp("x", [](fiberd::net::TcpStream&) {}); }
END
mistake on_start_without_a_context OnStartFunction << 'END'
#include "daemon/daemon.hpp"
void f(fiberd::daemon::Daemon& daemon) { daemon.on_start([] {}); }
END
mistake blocking_returns_a_reference ResultFunction << 'END'
#include "core/runtime/blocking.hpp"
int kept;
void f() { (void)fiberd::runtime::blocking([]() -> int& { return kept; }); }
END
mistake worker_returns_a_reference ResultFunction << 'END'
#include "core/flow/worker_pool.hpp"
int kept;
void f(fiberd::flow::WorkerPool& pool) {
  (void)pool.try_run(fiberd::context::background(), []() -> int& { return kept; });
}
END
mistake recover_of_a_result ReturnsNothing << 'END'
#include "core/runtime/recover.hpp"
void f() { (void)fiberd::runtime::recover([] { return 5; }); }
END
mistake part_returns_a_number GroupTask << 'END'
#include "core/sync/error_group.hpp"
struct Never {};
void f(fiberd::sync::ErrorGroup& group) { group.go("x", [] { return Never(); }); }
END
mistake task_returns_a_reference TaskFunction << 'END'
#include "core/sync/task.hpp"
int kept;
void f() { (void)fiberd::sync::spawn_task("x", []() -> int& { return kept; }); }
END
mistake name_on_the_stack FiberName << 'END'
#include "core/runtime/runtime.hpp"
void f() {
  char name[] = "reader";
  (void)fiberd::runtime::spawn({.name = name}, [] {});
}
END
mistake name_in_a_string FiberName << 'END'
#include "core/runtime/runtime.hpp"
#include <string>
fiberd::runtime::FiberName f(const std::string& name) { return name; }
END
mistake name_with_a_zero a_fiber_name_must_be_a_literal << 'END'
#include "core/runtime/runtime.hpp"
void f() { (void)fiberd::runtime::spawn("a\0b", [] {}); }
END
mistake channel_of_what_throws ChannelValue << 'END'
#include "core/sync/channel.hpp"
struct Bad {
  Bad(Bad&&) noexcept(false) {}
};
void f(fiberd::sync::Channel<Bad>& channel) { (void)channel.receive(); }
END
mistake snapshot_of_a_const SnapshotValue << 'END'
#include "core/sync/atomic_snapshot.hpp"
fiberd::sync::AtomicSnapshot<const int> snapshot(1);
END
# What must not be dropped, and what would be.
mistake error_of_a_send_dropped unused-result << 'END'
#include "core/sync/channel.hpp"
void f(const fiberd::context::Context& ctx, fiberd::sync::Channel<int>& channel) { channel.send(ctx, 1); }
END
mistake error_of_a_join_dropped unused-result << 'END'
#include "core/sync/task.hpp"
void f(fiberd::sync::Task<int>& task) { task.join(); }
END
mistake error_of_a_sleep_dropped unused-result << 'END'
#include "core/context/waits.hpp"
void f(const fiberd::context::Context& ctx) { fiberd::context::sleep(ctx, std::chrono::seconds(1)); }
END
mistake error_of_an_answer_dropped unused-result << 'END'
#include "core/http/exchange.hpp"
void f(fiberd::http::Exchange& exchange) { exchange.write("x"); }
END
mistake guard_without_a_name nodiscard << 'END'
#include "core/base/defer.hpp"
void f() { fiberd::defer([] {}); }
END
mistake thread_locked_without_a_name nodiscard << 'END'
#include "core/runtime/lock_thread.hpp"
void f() { fiberd::runtime::LockThread(); }
END
mistake error_of_a_spawned_function_dropped "would be dropped" << 'END'
#include "core/runtime/runtime.hpp"
void f() { (void)fiberd::runtime::spawn("x", [] { return std::error_code(); }); }
END
exit "$failed"
