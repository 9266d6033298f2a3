#pragma once
// AdmissionBucket: a TokenBucket in the scheduling path. Spawns of fibers with that name take a token each; without one
// the fiber is not born, and spawn's error is errc::rate_limited.
//
//   static flow::AdmissionBucket bucket("job", 1000, 100);
//   runtime.set_admission(&bucket);
#include <string_view>
#include <system_error>

#include "core/flow/token_bucket.hpp"
#include "core/runtime/admission.hpp"
#include "core/runtime/fiber_name.hpp"

namespace fiberd::flow {

class AdmissionBucket final : public runtime::Admission {
 public:
  /// `name` is the fibers'; "": every spawn. `next` is asked for all, after the bucket let them pass; may be null.
  AdmissionBucket(runtime::FiberName name, double rate, std::int64_t burst, runtime::Admission* next = nullptr) noexcept
      : name_(name.text()), bucket_(rate, burst), next_(next) {}

  [[nodiscard]] Result<void> admit(std::string_view name) noexcept override {
    if ((name_.empty() || name == name_) && !bucket_.try_take()) return fail(errc::rate_limited);
    return next_ != nullptr ? next_->admit(name) : Result<void>();
  }
  [[nodiscard]] TokenBucket& bucket() noexcept { return bucket_; }

 private:
  const std::string_view name_;
  TokenBucket bucket_;
  runtime::Admission* const next_;
};

}  // namespace fiberd::flow
