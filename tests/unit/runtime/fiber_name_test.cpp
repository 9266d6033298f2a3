// A fiber's name is a literal by type: what does not live for ever is no argument for spawn.
#include "core/runtime/fiber_name.hpp"

#include <catch2/catch.hpp>
#include <string>
#include <string_view>
#include <type_traits>

#include "core/runtime/recover.hpp"
#include "core/runtime/runtime.hpp"
#include "core/sync/error_group.hpp"
#include "core/sync/wait_group.hpp"

using namespace fiberd;
using runtime::FiberName;

namespace {

constexpr char kKept[] = "kept";
char changes[] = "changes";

/// *Text is a constant that a name can be made from. A call that is not potentially evaluated is never refused for its
/// argument, so the answer must be needed while compiling.
template <const auto* Text>
concept CanName = requires {
  typename std::integral_constant<std::size_t, FiberName(*Text).text().size()>;
};

constexpr auto kNothing = [] {};
template <class Name>
concept CanSpawn = requires(Name name) {
  runtime::spawn(name, kNothing);
};
template <class Name>
concept CanGo = requires(Name name, sync::WaitGroup& group, sync::ErrorGroup& parts) {
  group.go(name, kNothing);
  parts.go(name, kNothing);
};

static_assert(CanName<&kKept>);
static_assert(!CanName<&changes>);

static_assert(CanSpawn<FiberName> && CanGo<FiberName>);
static_assert(!CanSpawn<const char*> && !CanGo<const char*>);
static_assert(!CanSpawn<std::string> && !CanGo<std::string>);
static_assert(!CanSpawn<std::string_view> && !CanGo<std::string_view>);
static_assert(!std::is_convertible_v<const char*, FiberName>);
static_assert(!std::is_convertible_v<std::string, FiberName>);
static_assert(!std::is_convertible_v<std::string_view, FiberName>);
static_assert(!std::is_constructible_v<FiberName, std::string_view>);
static_assert(!std::is_default_constructible_v<FiberName>);

constexpr FiberName kConstant = "constant";
static_assert(kConstant.text() == "constant");
static_assert(kConstant == FiberName("constant"));

}  // namespace

TEST_CASE("a name made at run time is kept, once for each text", "[runtime][name]") {
  std::string text = "shard 1";
  const FiberName first = FiberName::intern(text);
  text = "shard 2";
  const FiberName second = FiberName::intern(text);
  CHECK(first.text() == "shard 1");
  CHECK(second.text() == "shard 2");
  CHECK(FiberName::intern("shard 1").text().data() == first.text().data());
  CHECK(first == FiberName::intern("shard 1"));
  CHECK_FALSE(first == second);
}

TEST_CASE("a fiber has the name that was interned after the text it came from is gone", "[runtime][name]") {
  auto rt = runtime::Runtime::start({.gomaxprocs = 1});
  REQUIRE(rt);
  static std::string seen;
  (*rt)->run([] {
    std::string text = "temporary";
    const FiberName name = FiberName::intern(text);
    text.assign(text.size(), '?');
    if (!runtime::spawn(name, [] { seen = runtime::current_origin().name; })) seen = "refused";
    runtime::yield();
  });
  rt->reset();
  CHECK(seen == "temporary");
}
