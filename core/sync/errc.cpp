#include "core/sync/errc.hpp"

#include <string>

namespace fiberd::sync {

const std::error_category& category() noexcept {
  static const class Category final : public std::error_category {
   public:
    [[nodiscard]] const char* name() const noexcept override { return "fiberd.sync"; }
    [[nodiscard]] std::string message(int value) const override {
      switch (static_cast<errc>(value)) {
        case errc::closed: return "channel closed";
        case errc::not_owner: return "unlock by a fiber that does not hold the lock";
        case errc::negative_wait_group: return "negative wait group counter";
        case errc::too_many: return "more units than the semaphore has";
        case errc::already_joined: return "task joined already";
        case errc::exception: return "ended by an exception";
        case errc::would_wait: return "the call would have to wait";
      }
      return "unknown sync error";
    }
  } instance;
  return instance;
}

}  // namespace fiberd::sync
