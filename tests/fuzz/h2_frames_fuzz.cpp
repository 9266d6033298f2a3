// Frames of HTTP/2 through a whole session, in a simulation: handlers that read, answer, pour and reset, over a stream
// that hands over bytes in pieces of any size. Whatever comes, every connection ends, and nobody is left in it; and
// FrameGuard says the same however the bytes are cut.
#include <chrono>
#include <string>

#include "core/base/random.hpp"
#include "core/http/h2/frame_guard.hpp"
#include "core/http/handlers.hpp"
#include "core/http/server.hpp"
#include "core/runtime/simulation.hpp"
#include "tests/fuzz/check.hpp"
#include "tests/support/memory_stream.hpp"

using namespace fiberd;

namespace {

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

class Echo final : public http::Handler {
 public:
  Result<void> serve(http::Exchange& ex) override {
    if (!ex.request().connect_protocol.empty()) {
      const auto bytes = ex.upgrade(ex.request().connect_protocol);
      if (!bytes) return fail(bytes.error());
      std::byte piece[64];
      for (;;) {
        const Result<std::size_t> n = (*bytes)->read_some(piece, Deadline::in(std::chrono::seconds(1)));
        if (!n || *n == 0) return {};
        if (!(*bytes)->write_some({piece, *n}, Deadline::in(std::chrono::seconds(1)))) return {};
      }
    }
    (void)ex.context();
    if (const auto begun = ex.begin({}); !begun) return begun;
    for (;;) {
      const Result<std::string_view> piece = ex.read_body();
      if (!piece) return fail(piece.error());
      if (piece->empty()) break;
      if (const auto written = ex.write(*piece); !written) return written;
    }
    const http::Field trailer{"x-end", "1"};
    return ex.end({&trailer, 1});
  }
};

http::h2::Code walk(std::string_view bytes, Random* random) {
  http::h2::FrameGuard guard(1000);
  while (!bytes.empty()) {
    const std::size_t n = random == nullptr ? bytes.size() : 1 + random->below(7);
    const http::h2::Code code = guard.walk(bytes.substr(0, n), 1);
    if (code != http::h2::Code::no_error) return code;
    bytes.remove_prefix(n < bytes.size() ? n : bytes.size());
  }
  return http::h2::Code::no_error;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view input = fuzz::text(data, size);
  Random random(fuzz::take(input, 2));
  const std::string bytes = std::string(kPreface) + std::string(input);
  Random cuts(random.next());
  FUZZ_CHECK(walk(bytes, nullptr) == walk(bytes, &cuts));

  runtime::Simulation simulation(random.next());
  const auto outcome = simulation.run([&] {
    http::ServerOptions options;
    options.http2.prior_knowledge = true;
    options.http2.max_streams = 8;
    options.body_size = 20'000;
    auto made = http::Server::make(
        std::move(options), {{.spec = {.path = "/"},
                              .handler = *http::make_respond_handler({.content_type = "text/plain", .body = "hello"})},
                             {.spec = {.path = "/*"}, .handler = std::make_shared<Echo>()}});
    FUZZ_CHECK(made.has_value());
    test::MemoryFaults faults;
    faults.most_read = 1 + random.below(random.below(2) == 0 ? 8 : 5000);
    faults.most_write = 1 + random.below(random.below(2) == 0 ? 30 : 5000);
    const auto link = std::make_shared<test::MemoryStream::Link>(faults, random.next());
    (*made)->serve(std::make_unique<test::MemoryStream>(link));
    test::MemoryClient client(link);
    (void)client.send(bytes);
    if (random.below(2) == 0) client.finish_sending();
    while (client.more()) {
    }
    const std::atomic<std::int64_t> until{Deadline::in(std::chrono::minutes(10)).ns()};
    (void)(*made)->stop(until);
    FUZZ_CHECK((*made)->connections() == 0);
  });
  FUZZ_CHECK(!outcome.deadlock);
  return 0;
}
