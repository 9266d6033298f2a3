#include "core/runtime/errc.hpp"

#include <string>

namespace fiberd::runtime {

const std::error_category& category() noexcept {
  static const class Category final : public std::error_category {
   public:
    [[nodiscard]] const char* name() const noexcept override { return "fiberd.runtime"; }
    // The metric label of a refused spawn is made from this text.
    [[nodiscard]] std::string message(int value) const override {
      switch (static_cast<errc>(value)) {
        case errc::out_of_stacks: return "out of stacks";
        case errc::out_of_small_stacks: return "out of small stacks";
        case errc::out_of_large_stacks: return "out of large stacks";
        case errc::out_of_threads: return "out of threads";
      }
      return "unknown";
    }
    [[nodiscard]] std::error_condition default_error_condition(int value) const noexcept override {
      switch (static_cast<errc>(value)) {
        case errc::out_of_stacks:
        case errc::out_of_small_stacks:
        case errc::out_of_large_stacks: return std::errc::not_enough_memory;
        case errc::out_of_threads: return std::errc::resource_unavailable_try_again;
      }
      return {value, *this};
    }
  } instance;
  return instance;
}

}  // namespace fiberd::runtime
