#pragma once
// Cache-Control by extension or media type.
#include <memory>

#include "core/base/result.hpp"
#include "core/http/filter.hpp"
#include "core/http/filters/cache_rules.hpp"

namespace fiberd::http {

/// Answers 200, 203, 206 and 304 that say no Cache-Control themselves get that of the first rule that fits. Throws
/// std::bad_alloc.
[[nodiscard]] std::shared_ptr<Filter> make_cache_control_filter(CacheRules rules);

}  // namespace fiberd::http
