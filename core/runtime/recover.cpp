#include "core/runtime/recover.hpp"

#include <cxxabi.h>

#include <cstdlib>
#include <typeinfo>

#include "core/fiber/backtrace.hpp"

namespace fiberd::runtime {

static std::string demangled(const std::type_info& type) {
  int status = 0;
  char* const name = abi::__cxa_demangle(type.name(), nullptr, nullptr, &status);
  std::string text = status == 0 ? name : type.name();
  std::free(name);  // NOLINT: the ABI hands out malloc'ed memory
  return text;
}

std::string describe(const std::exception_ptr& exception) {
  if (!exception) return {};
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& e) {
    return demangled(typeid(e)) + ": " + e.what();
  } catch (...) {
    const std::type_info* const type = abi::__cxa_current_exception_type();
    return type != nullptr ? "exception of type " + demangled(*type) : "exception of unknown type";
  }
}

std::string Recovered::trace() const {
  if (!exception_) return {};
  if (frame_count_ == 0) return " unknown";
  std::string text;
  for (std::size_t i = 0; i < frame_count_; ++i) text += "\n    " + fiber::symbolize(frames_[i]);
  return text;
}

}  // namespace fiberd::runtime
