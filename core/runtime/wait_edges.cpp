#include "core/runtime/wait_edges.hpp"

#include <array>
#include <atomic>

#include "core/runtime/fiber_list.hpp"

namespace fiberd::runtime {

static std::array<std::atomic<TellEdges>, static_cast<std::size_t>(WaitReason::count_)> tellers{};

void set_wait_edges(WaitReason reason, TellEdges tell) noexcept {
  tellers[static_cast<std::size_t>(reason)].store(tell, std::memory_order_release);
}

[[maybe_unused]] static const bool many_told = [] {
  set_wait_edges(WaitReason::select, [](const void* object, WaitEdges& edges) {
    const auto& waits = *static_cast<const ManyWaits*>(object);
    waits.tell(waits, edges);
  });
  set_wait_description(WaitReason::select, [](const void* object, std::string& text) {
    const auto& waits = *static_cast<const ManyWaits*>(object);
    waits.describe(waits, text);
  });
  return true;
}();

WaitEdges find_wait_edges(WaitReason reason, const void* object) {
  WaitEdges edges;
  const TellEdges tell = tellers[static_cast<std::size_t>(reason)].load(std::memory_order_acquire);
  if (tell != nullptr && object != nullptr)
    tell(object, edges);
  else
    edges.elsewhere = true;
  return edges;
}

bool only_fibers_end(WaitReason reason) noexcept {
  switch (reason) {
    case WaitReason::mutex:
    case WaitReason::shared_mutex:
    case WaitReason::once:
    case WaitReason::condition:
    case WaitReason::semaphore:
    case WaitReason::wait_group:
    case WaitReason::channel_send:
    case WaitReason::channel_receive:
    case WaitReason::select:
    case WaitReason::join:
    case WaitReason::pool: return true;
    default: return false;
  }
}

}  // namespace fiberd::runtime
