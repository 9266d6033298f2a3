#pragma once
// What an Exchange holds for the few requests that need it: inside of core/http alone.
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/http/exchange.hpp"

namespace fiberd::http {

/// A change of a field that was asked for before the answer was known.
struct Exchange::Edit {
  enum class What : std::uint8_t { set, add, remove };
  What what;
  std::string name;
  std::string value;
};

struct Exchange::More {
  std::optional<net::Endpoint> peer;
  Slots slots;
  std::vector<Edit> edits;
  // What the body passes, once a hook has said so.
  BodyEncoder* encoder = nullptr;
  HeadHook* encoders_hook = nullptr;
  std::unique_ptr<char[]> encoded;  // room for what comes out and was not sent yet; not cleared: it is written first
};

}  // namespace fiberd::http
