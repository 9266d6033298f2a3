// Clients that a server would rather not have, and one that it would. It knows nothing of the servers but HTTP/1.1,
// HTTP/2 by prior knowledge, TLS as far as its first message, and four paths: GET /, POST /echo, GET /files/large.bin
// and /files/small.bin. Loopback only, bounded in time and count.
//
//   attacker MODE PORT [--count N] [--seconds S] [--seed N] [--rate R] [--over h1|h2|tls] [--cgroup FILE]
//
// Held until the server ends them, never opened again (ends when all are shed):
//   slow_heads    a head that never ends, a byte a second                                              (1,000)
//   slow_bodies   uploads to /echo, a byte of 100,000 a second                                           (500)
//   slow_readers  ask for a large file through a small window; half read 16 bytes a second, half nothing (300)
//   open          one request answered, then silence                                                  (19,000)
//   descriptors   half as `open`, half with half a head; for a server with few descriptors               (400)
//   stalled_handshakes  of TLS: a third silent, a third with half a hello, a third with a whole one     (1,000)
//   window_drip   HTTP/2: 100 streams a connection ask for a file, each window opens by a byte a second (30)
//   slow_data     HTTP/2: 20 uploads a connection, a byte a second each                                 (50)
// Until the time is over:
//   churn         connect, one request, its answer, close                                        (32 at a time)
//   reset         connect, half a request or a whole one, reset                                  (32 at a time)
//   pipeline      GET / after GET /, as fast as they are taken                                  (16 at a time)
//   bombs         heads without end: many small fields, or one that is huge                     (64 at a time)
//   mutated       20,000 mutated requests of a seed, each with a half-close behind               (64 at a time)
//   handshake_flood  a hello, the server's answer with its signature, reset                     (64 at a time)
// Until the time is over, over HTTP/2 (16 at a time):
//   rapid_reset   requests, each reset at once
//   made_you_reset  requests that the server must reset, for a window that grows by 0
//   continuation_flood  a block of fields that never ends: empty frames, a field each, 200 each
//   header_bombs  blocks that unpack to much: large values; references of a byte to 4,000; crumbs of a Cookie
//   ping_flood, settings_flood, window_update_flood
//   stream_churn  100 requests at once, and another as each is answered
// And the measure:
//   probe         GET / at a fixed rate, by turns on kept and on new connections; --over: by HTTP/1.1 (the rule), by
//                 HTTP/2, by HTTP/1.1 over TLS
//
// --cgroup: a cgroup.procs to step into before anything else. Prints one line of JSON.
#include <sys/resource.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "tests/bench/attack/loop.hpp"

static int usage(const char* what) {
  std::fprintf(
      stderr,
      "attacker: %s\n"
      "usage: attacker MODE PORT [--count N] [--seconds S] [--seed N] [--rate R] [--over h1|h2|tls] [--cgroup FILE]\n",
      what);
  return 2;
}

static bool step_into(const char* file) {
  std::FILE* const f = std::fopen(file, "w");
  if (f == nullptr) return false;
  const bool written = std::fputs("0\n", f) >= 0;
  return (std::fclose(f) == 0) && written;
}

static void print(const attack::Options& options, const attack::Tally& t) {
  const auto n = [](std::uint64_t v) { return static_cast<unsigned long long>(v); };
  std::printf(
      "{\"mode\": \"%s\", \"opened\": %llu, \"answered\": %llu, \"shed\": %llu, \"refused\": %llu, \"ended\": %llu, "
      "\"timeouts\": %llu, \"still_open\": %llu, \"requests\": %llu, \"bytes_sent\": %llu, \"no_port\": %llu, "
      "\"last_open_s\": %.2f, \"last_shed_s\": %.2f}\n",
      options.mode.c_str(), n(t.opened), n(t.answered), n(t.shed), n(t.refused), n(t.ended), n(t.timeouts),
      n(t.still_open), n(t.requests), n(t.bytes_sent), n(t.no_port), t.last_open_s, t.last_shed_s);
}

int main(int argc, char** argv) {
  static constexpr double kLongest = 600;
  static constexpr std::size_t kMost = 200'000;
  if (argc < 3 || argc % 2 == 0) return usage("a mode, a port, and options with values");
  attack::Options options;
  options.mode = argv[1];
  options.port = static_cast<std::uint16_t>(std::atoi(argv[2]));
  for (int i = 3; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    const char* const value = argv[i + 1];
    if (name == "--count") {
      options.count = std::min<std::size_t>(std::strtoul(value, nullptr, 10), kMost);
    } else if (name == "--seconds") {
      options.seconds = std::min(std::atof(value), kLongest);
    } else if (name == "--seed") {
      options.seed = std::strtoull(value, nullptr, 10);
    } else if (name == "--rate") {
      options.rate = std::clamp(std::atof(value), 1.0, 10'000.0);
    } else if (name == "--over") {
      options.over = value;
    } else if (name == "--cgroup") {
      if (!step_into(value)) return usage("cannot step into the cgroup");
    } else {
      return usage("unknown option");
    }
  }
  if (options.port == 0) return usage("a port of 127.0.0.1 is needed");
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  const auto is = [&options](auto... names) { return ((options.mode == names) || ...); };
  if (is("probe")) {
    attack::probe(options);
  } else if (is("slow_heads", "slow_bodies", "slow_readers", "open", "descriptors", "stalled_handshakes")) {
    print(options, attack::hold(options));
  } else if (is("churn", "reset", "pipeline", "bombs", "mutated", "handshake_flood")) {
    print(options, attack::storm(options));
  } else if (is("window_drip", "slow_data")) {
    print(options, attack::h2_hold(options));
  } else if (is("rapid_reset", "made_you_reset", "continuation_flood", "header_bombs", "ping_flood", "settings_flood",
                "window_update_flood", "stream_churn")) {
    print(options, attack::h2_storm(options));
  } else {
    return usage("unknown mode");
  }
  return 0;
}
