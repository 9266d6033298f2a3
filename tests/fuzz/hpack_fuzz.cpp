// Blocks of fields (RFC 7541) in frames that are right: whatever they say, what reaches a handler is what RFC 9113 8.2
// and 8.3 let through, bounded; the table that they fill stays as large as it may be, and every connection ends. The
// frames are made here, so that a search is not busy with them: each block is cut into HEADERS and CONTINUATIONs.
#include <algorithm>
#include <chrono>
#include <string>

#include "core/base/characters.hpp"
#include "core/base/random.hpp"
#include "core/http/server.hpp"
#include "core/runtime/simulation.hpp"
#include "tests/fuzz/check.hpp"
#include "tests/support/memory_stream.hpp"

using namespace fiberd;

namespace {

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
constexpr std::size_t kMostFields = 20;
constexpr std::size_t kMostHead = 4096;

class LooksAtFields final : public http::Handler {
 public:
  Result<void> serve(http::Exchange& ex) override {
    const http::Request& r = ex.request();
    FUZZ_CHECK(!r.path.empty() && (r.path.front() == '/' || r.path == "*" || !r.connect_protocol.empty()));
    std::size_t fields = 0;
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < r.headers.size(); ++i) {
      const http::Field f = r.headers[i];
      ++fields;
      bytes += f.name.size() + f.value.size();
      FUZZ_CHECK(!f.name.empty() && f.name.front() != ':');
      FUZZ_CHECK(std::none_of(f.name.begin(), f.name.end(), [](char c) {
        return (c >= 'A' && c <= 'Z') || static_cast<unsigned char>(c) <= ' ' || c == ':' || c == '\x7f';
      }));
      FUZZ_CHECK(f.value.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos);
      FUZZ_CHECK(f.name != "connection" && f.name != "keep-alive" && f.name != "transfer-encoding");
    }
    FUZZ_CHECK(fields <= kMostFields + 1 && bytes <= kMostHead + 1024);  // Host is made of :authority
    return ex.respond(200, "text/plain", "hello");
  }
};

std::string frame(unsigned type, unsigned flags, std::uint32_t stream, std::string_view body) {
  std::string all;
  for (int shift = 16; shift >= 0; shift -= 8) all += static_cast<char>(body.size() >> static_cast<unsigned>(shift));
  all += static_cast<char>(type);
  all += static_cast<char>(flags);
  for (int shift = 24; shift >= 0; shift -= 8) all += static_cast<char>(stream >> static_cast<unsigned>(shift));
  return all.append(body);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view input = fuzz::text(data, size);
  Random random(fuzz::take(input, 2));
  // A request that is one in front, if it likes, so that what follows is read as more of it.
  const bool helped = random.below(2) == 0;
  std::string bytes = std::string(kPreface) + frame(4, 0, 0, {});
  for (std::uint32_t stream = 1; stream < 40 && !input.empty(); stream += 2) {
    const std::size_t n = std::min<std::size_t>(fuzz::take(input, 1) + 1, input.size());
    std::string block = helped ? std::string("\x82\x86\x84\x41\x01\x61", 6) : std::string();
    block.append(input.substr(0, n));
    input.remove_prefix(n);
    std::string_view rest = block;
    for (bool first = true; first || !rest.empty(); first = false) {
      const std::size_t cut = std::min<std::size_t>(rest.size(), random.below(3) == 0 ? 1 + random.below(9) : 4096);
      const unsigned end = cut == rest.size() ? 4U : 0U;
      bytes += frame(first ? 1 : 9, first ? end | 1U : end, stream, rest.substr(0, cut));
      rest.remove_prefix(cut);
    }
  }
  runtime::Simulation simulation(random.next());
  const auto outcome = simulation.run([&] {
    http::ServerOptions options;
    options.http2.prior_knowledge = true;
    options.http2.max_streams = 8;
    options.head.header_fields = kMostFields;
    options.head.header_size = kMostHead;
    auto made = http::Server::make(std::move(options),
                                   {{.spec = {.path = "/*"}, .handler = std::make_shared<LooksAtFields>()}});
    FUZZ_CHECK(made.has_value());
    test::MemoryFaults faults;
    faults.most_read = 1 + random.below(random.below(2) == 0 ? 8 : 5000);
    const auto link = std::make_shared<test::MemoryStream::Link>(faults, random.next());
    (*made)->serve(std::make_unique<test::MemoryStream>(link));
    test::MemoryClient client(link);
    (void)client.send(bytes);
    client.finish_sending();
    while (client.more()) {
    }
    const std::atomic<std::int64_t> until{Deadline::in(std::chrono::minutes(10)).ns()};
    (void)(*made)->stop(until);
    FUZZ_CHECK((*made)->connections() == 0);
  });
  FUZZ_CHECK(!outcome.deadlock);
  return 0;
}
