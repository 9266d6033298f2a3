#include "core/runtime/blocking.hpp"

#include <string>

#include "core/base/log.hpp"

namespace fiberd::runtime::detail {

void log_orphaned_exception(const std::exception_ptr& exception) noexcept {
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& e) {
    try {
      log(LogLevel::warning, std::string("a blocking call failed after its fiber had given it up: ") + e.what());
    } catch (...) {
      log(LogLevel::warning, "a blocking call failed after its fiber had given it up");
    }
  } catch (...) {
    log(LogLevel::warning, "a blocking call failed after its fiber had given it up: exception of unknown type");
  }
}

}  // namespace fiberd::runtime::detail
