#include "core/base/thread_locals.hpp"

#if defined(__x86_64__)
extern "C" {
__thread fiberd::ThreadLocals fiberd_thread_locals __attribute__((tls_model("initial-exec")));
}
#else
namespace fiberd {
static thread_local ThreadLocals locals;
ThreadLocals* thread_locals_slow() noexcept { return &locals; }
ThreadLocals* (*volatile thread_locals_getter)() noexcept = &thread_locals_slow;
}  // namespace fiberd
#endif
