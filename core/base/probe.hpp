#pragma once
// USDT probes: places that bpftrace, perf and systemtap find in the binary by name (provider "fiberd"), each one nop
// and a note beside the code until somebody attaches. What each tells: docs/tracing.md. Arguments are words that the
// caller has at hand: what had to be computed for a probe would be paid for without one.
#if defined(__has_include)
#if __has_include(<sys/sdt.h>)
#include <sys/sdt.h>
#define FIBERD_PROBE1(name, a) STAP_PROBE1(fiberd, name, a)
#define FIBERD_PROBE2(name, a, b) STAP_PROBE2(fiberd, name, a, b)
#define FIBERD_PROBE3(name, a, b, c) STAP_PROBE3(fiberd, name, a, b, c)
#endif
#endif
#if !defined(FIBERD_PROBE2)
// A system without systemtap-sdt-dev: no probes, and nothing is evaluated.
#define FIBERD_PROBE1(name, a) static_cast<void>(sizeof(a))
#define FIBERD_PROBE2(name, a, b) static_cast<void>(sizeof(a) + sizeof(b))
#define FIBERD_PROBE3(name, a, b, c) static_cast<void>(sizeof(a) + sizeof(b) + sizeof(c))
#endif
