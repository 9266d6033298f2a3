// Samples that are added up, told as text, and named.
#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <fstream>
#include <iterator>
#include <protozero/pbf_reader.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "core/base/utf8.hpp"
#include "core/fiber/backtrace.hpp"
#include "core/observe/elf_symbols.hpp"
#include "core/observe/loaded_modules.hpp"
#include "core/observe/pprof_profile.hpp"
#include "core/observe/symbol_names.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/decompress.hpp"

using namespace fiberd;
using observe::PprofProfile;

namespace {

using OneLabel = std::array<std::pair<std::string_view, std::string_view>, 1>;

// The dynamic linker does not know it.
[[gnu::noinline]] std::uintptr_t place_in_static_function() {
  std::array<std::uintptr_t, 4> frames{};
  return fiber::capture_backtrace(frames) > 1 ? frames[0] : 0;
}

bool pprof_says(const std::string& text, const std::string& part) {
  INFO(text << "\nhas no " << part);
  const bool found = text.find(part) != std::string::npos;
  CHECK(found);
  return found;
}

}  // namespace

TEST_CASE("samples with equal stacks and labels are one; what has come since is told", "[pprof]") {
  const std::array<std::uintptr_t, 2> a{0x1001, 0x2001};
  const std::array<std::uintptr_t, 3> a_with_hole{0x1001, 0, 0x2001};
  const std::array<std::uintptr_t, 2> b{0x3001, 0x2001};
  const OneLabel one{{{"route", "a\"\nb"}}};
  PprofProfile profile(PprofProfile::ValueTypes{{"objects", "count"}, {"space", "bytes"}});
  const auto add = [](PprofProfile& to, auto& frames, std::int64_t objects, std::int64_t space, auto labels) {
    const std::array<std::int64_t, 2> values{objects, space};
    to.add(frames, values, labels);
  };
  add(profile, a, 1, 10, PprofProfile::Labels{});
  add(profile, a_with_hole, 2, 20, PprofProfile::Labels{});
  add(profile, a, 5, 50, one);
  CHECK(profile.samples() == 2);
  CHECK(profile.type_index("") == 1);
  CHECK(profile.type_index("objects") == 0);
  CHECK(profile.type_index("nothing") == 2);
  profile.set_default_type("objects");
  CHECK(profile.type_index("") == 0);
  profile.add_comment("two\nlines");
  const std::string text = profile.text("heap");
  pprof_says(text, "heap profile: total 8 80\n# objects/count space/bytes\n# two\\x0alines\n5 50 @ 0x1001 0x2001\n");
  pprof_says(text, "# route: \"a\\\"\\x0ab\"\n#\t0x1001\t+0x1000\n");
  CHECK(profile.text("heap", 1).find("# and 1 further stacks\n") != std::string::npos);
  PprofProfile later = profile;
  add(later, a, 1, 7, PprofProfile::Labels{});
  add(later, b, 4, 40, PprofProfile::Labels{});
  later.subtract(profile);
  CHECK(later.samples() == 2);
  pprof_says(later.text("heap"), "4 40 @ 0x3001 0x2001\n");
  pprof_says(later.text("heap"), "1 7 @ 0x1001 0x2001\n");
}

TEST_CASE("a sample without a stack stands at a function that says so", "[pprof]") {
  const std::array<std::uintptr_t, 2> holes{0, 0};
  const std::array<std::int64_t, 1> one{1};
  PprofProfile profile(PprofProfile::ValueTypes{{"goroutineleak", "count"}});
  profile.add({}, one, {});
  profile.add(holes, one, {});
  REQUIRE(profile.samples() == 1);
  pprof_says(profile.text("leaks"), "fiberd::observe::stack_not_known");
  const Result<std::string> encoded = profile.encode(1, 0);
  REQUIRE(encoded);
  const std::string decoded = test::decompress("gzip", *encoded);
  for (protozero::pbf_reader reader(decoded); reader.next();)
    if (reader.tag() == 2) {
      protozero::pbf_reader sample = reader.get_message();
      REQUIRE(sample.next(1));
      CHECK(sample.get_packed_uint64().size() == 1);
    } else {
      reader.skip();
    }
}

TEST_CASE("all texts of the protobuf are UTF-8, whatever labels hold", "[pprof]") {
  const std::array<std::uintptr_t, 1> frames{0x1001};
  const std::array<std::int64_t, 1> one{1};
  PprofProfile profile(PprofProfile::ValueTypes{{"samples", "count"}});
  for (const std::string_view value : {"\xff\xfe", "cut\xe2\x82", "f\xc3\xbcr", "a\nb"}) {
    const OneLabel label{{{"tenant", value}}};
    profile.add(frames, one, label);
  }
  profile.add_comment("of \xff");
  const Result<std::string> encoded = profile.encode(1, 2);
  REQUIRE(encoded);
  const std::string decoded = test::decompress("gzip", *encoded);
  std::vector<std::string> texts;
  for (protozero::pbf_reader reader(decoded); reader.next();)
    if (reader.tag() == 6)
      texts.push_back(reader.get_string());
    else
      reader.skip();
  for (const std::string& text : texts) CHECK(is_utf8(text));
  for (const char* const there : {"cut\xef\xbf\xbd\xef\xbf\xbd", "f\xc3\xbcr", "a\nb", "of \xef\xbf\xbd"})
    CHECK(std::count(texts.begin(), texts.end(), there) == 1);
}

TEST_CASE("functions that are static are named from the file, and strange files have no names", "[pprof]") {
  observe::SymbolNames names;
  const std::uintptr_t place = place_in_static_function();
  REQUIRE(place != 0);
  CHECK(names.function_at(place - 1).find("place_in_static_function") != std::string::npos);
  CHECK(names.function_at(8).empty());
  CHECK(names.frame(9) == "+0x8");
  const observe::ElfSymbols own("/proc/self/exe");
  CHECK(own.size() > 1000);
  // Of another file than the one that is loaded they would be wrong.
  const std::vector<observe::LoadedModule> modules = observe::loaded_modules();
  const auto program = std::find_if(modules.begin(), modules.end(), [](const auto& m) { return m.program; });
  REQUIRE(program != modules.end());
  REQUIRE_FALSE(program->build_id.empty());
  CHECK(observe::ElfSymbols(program->file, program->build_id).size() == own.size());
  CHECK(observe::ElfSymbols(program->file, "0123456789abcdef").size() == 0);
  CHECK(observe::ElfSymbols("/nowhere", program->build_id, observe::kProgramImage).size() == own.size());
  CHECK(observe::ElfSymbols("/nowhere").size() == 0);
  CHECK(observe::ElfSymbols("/dev/zero").size() == 0);
  CHECK(observe::ElfSymbols("/proc").size() == 0);
  // One that was put in the place of what is loaded has the names of others at its addresses.
  const std::string& id = names.modules().front().build_id;
  if (!id.empty()) {
    CHECK(observe::ElfSymbols("/proc/self/exe", id).size() == own.size());
    CHECK(observe::ElfSymbols("/proc/self/exe", "00" + id.substr(2)).size() == 0);
  }
  const test::TemporaryDirectory place_for;
  CHECK(observe::ElfSymbols(place_for.write("empty", "")).size() == 0);
  CHECK(observe::ElfSymbols(place_for.write("text", std::string(10'000, 'x'))).size() == 0);
  // Cut anywhere, and with nonsense in any of its headers' numbers: no symbols, or fewer, and no fault.
  std::ifstream file("/bin/true", std::ios::binary);
  std::string whole((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  REQUIRE(whole.size() > 64);
  for (std::size_t size = 0; size < whole.size(); size += 1 + whole.size() / 97)
    (void)observe::ElfSymbols(place_for.write("cut", whole.substr(0, size))).size();
  for (std::size_t at = 16; at < 64; ++at) {
    std::string odd = whole;
    odd[at] = '\xff';
    const observe::ElfSymbols symbols(place_for.write("odd", odd));
    CHECK((symbols.find(0) == nullptr || symbols.size() > 0));
  }
}
