#include "core/http/slots.hpp"

#include <catch2/catch.hpp>
#include <stdexcept>

using namespace fiberd::http;

namespace {
struct Counted {
  Counted() { ++alive; }
  ~Counted() { --alive; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
  int value = 0;
  static inline int alive = 0;
};
struct Number {
  int value = 0;
};
struct Throws {
  Throws() {
    if (++tries == 1) throw std::runtime_error("as it should");
  }
  static inline int tries = 0;
};
struct Other {
  int value = 0;
};
}  // namespace

TEST_CASE("slots: one value a type, made when it is asked for, gone with its owner", "[http]") {
  {
    Slots slots;
    CHECK(slots.find<Number>() == nullptr);
    slots.get<Number>().value = 1;
    slots.get<Other>().value = 2;
    slots.get<Counted>().value = 3;
    CHECK(slots.get<Number>().value == 1);
    CHECK(slots.find<Other>()->value == 2);
    CHECK(slots.get<Counted>().value == 3);
    CHECK(Counted::alive == 1);
  }
  CHECK(Counted::alive == 0);
}

TEST_CASE("slots: a value whose constructor throws is not there, and may be asked for again", "[http]") {
  Slots slots;
  slots.get<Number>().value = 1;
  CHECK_THROWS_AS(slots.get<Throws>(), std::runtime_error);
  CHECK(slots.find<Throws>() == nullptr);
  CHECK(slots.get<Number>().value == 1);
  (void)slots.get<Throws>();
  CHECK(slots.find<Throws>() != nullptr);
}
