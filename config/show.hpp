#pragma once
// The configuration in effect, as YAML: `fiberd check --show`. What was written stands as it is understood, with the
// environment's variables replaced; what was not has its default, marked as such. The text is a configuration again,
// and means the same: defaults that may not be written beside what is there (admin.mode without a Unix socket) are
// comments. Only secrets are not what they are: `***` stands for them.
#include <string>
#include <string_view>

#include "config/tree.hpp"

namespace fiberd::config {

/// `tree` is one that loads without a complaint, with --set and what it includes. Throws std::bad_alloc alone.
[[nodiscard]] std::string show(const Tree& tree);

/// `value` of the field, the variable or the key `name`, as it may be shown to anybody: `***` if such a name is a
/// secret's (a password, a token, Authorization, Cookie …); of URLs without what stands before the @ and without the
/// values of parameters with such a name.
[[nodiscard]] std::string mask_secret(std::string_view name, std::string_view value);

}  // namespace fiberd::config
