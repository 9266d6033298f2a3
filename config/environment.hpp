#pragma once
// Variables of the environment in the configuration's values: "${NAME}" and "${NAME:-default}".
//
// They are replaced in the text of a value after YAML has been read, so what a variable holds never becomes structure:
// not a list, not a second key, not a comment, not `null`. In a template (core/base/variable_names.hpp) it never
// becomes a variable either. "$${" is "${" as text. Names are upper case; `${name}` in lower case is not the
// environment's and is left to the key.
#include <string>
#include <string_view>

namespace fiberd::config {

/// Longest value, in bytes.
inline constexpr std::size_t kMaxValue = std::size_t{64} * 1024;

/// What is shown in the place of a secret.
inline constexpr std::string_view kMask = "***";

/// `out` becomes `text` with its variables replaced. `is_template`: a dollar sign of a variable's value is written as
/// `$$` there, and "$${" is left as it is. `secret`: of which variables kMask is written instead. All that is wrong;
/// empty: nothing.
[[nodiscard]] std::string expand_environment(std::string_view text, bool is_template, std::string& out,
                                             bool (*secret)(std::string_view name) = nullptr);

}  // namespace fiberd::config
