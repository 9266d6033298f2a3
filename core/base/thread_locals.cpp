#include "core/base/thread_locals.hpp"

#if defined(__x86_64__)
// Named by inline assembly only, which link-time optimisation does not read: it must neither drop nor rename it.
#if defined(__clang__)
#define FIBERD_KEEP __attribute__((used, visibility("default")))
#else
#define FIBERD_KEEP __attribute__((used, externally_visible, visibility("default")))
#endif
extern "C" {
FIBERD_KEEP __thread fiberd::ThreadLocals fiberd_thread_locals __attribute__((tls_model("initial-exec")));
}
namespace fiberd {
const char thread_locals_anchor = 0;
}
#else
namespace fiberd {
static thread_local ThreadLocals locals;
ThreadLocals* thread_locals_slow() noexcept { return &locals; }
ThreadLocals* (*volatile thread_locals_getter)() noexcept = &thread_locals_slow;
}  // namespace fiberd
#endif
