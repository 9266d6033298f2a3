#include "core/runtime/fiber_origin.hpp"

#include "core/base/printable.hpp"

namespace fiberd::runtime {

std::string describe_origin(const FiberOrigin& origin) {
  static constexpr std::size_t kMostOriginName = 128;
  return "fiber " + std::to_string(origin.id) + " " + quoted(origin.name, kMostOriginName) + " spawned at " +
         origin.where.file_name() + ":" + std::to_string(origin.where.line());
}

}  // namespace fiberd::runtime
