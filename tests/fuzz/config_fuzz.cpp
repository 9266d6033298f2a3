// The configuration: whatever is read, it is accepted or refused with a place and a reason; and it never takes long.
#include <string>

#include "config/config.hpp"
#include "tests/fuzz/check.hpp"

using namespace fiberd;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const config::Outcome outcome = config::load_text(std::string(fuzz::text(data, size)), "f.yaml");
  for (const config::Diagnostic& d : outcome.diagnostics) FUZZ_CHECK(!d.message.empty() && !d.source.empty());
  if (outcome.ok()) FUZZ_CHECK(!outcome.config.listeners.empty());
  return 0;
}
