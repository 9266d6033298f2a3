#pragma once
/// Requests that are almost right, made from a seed.

#include <cstdint>
#include <string>

namespace attack {

/// The same for the same seed and index, whatever was asked for before.
std::string mutated_request(std::uint64_t seed, std::uint64_t index);

}  // namespace attack
