#include "core/context/context_look.hpp"

#include <algorithm>

#include "core/base/clock.hpp"
#include "core/context/node.hpp"

namespace fiberd::context {

using detail::Node;
using runtime::HiddenAddress;

static constexpr std::size_t kMostAbove = 16;

std::vector<ContextLook> look_at_contexts(std::vector<HiddenAddress> wanted) {
  std::sort(wanted.begin(), wanted.end());
  wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
  struct Out {
    const std::vector<HiddenAddress>& wanted;
    std::vector<ContextLook> looks;
    std::int64_t now;
    std::vector<std::uint32_t> table;  // place + 1, by the address; more than twice as long as looks may become
    std::uint32_t& slot_of(HiddenAddress id) noexcept {
      for (std::size_t at = (id.reveal() / 64) % table.size();; at = (at + 1) % table.size())
        if (table[at] == 0 || looks[table[at] - 1].cancellation == id) return table[at];
    }
    /// Its place; added when it is not there yet.
    std::size_t find_or_add(const Node& node) noexcept {
      std::uint32_t& slot = slot_of(HiddenAddress(static_cast<const runtime::Cancellation*>(&node)));
      if (slot == 0) slot = static_cast<std::uint32_t>(add(node) + 1);
      return slot - 1;
    }
    std::size_t add(const Node& node) noexcept {
      const auto& hook = static_cast<const detail::LiveHook&>(node);
      ContextLook look;
      look.cancellation = HiddenAddress(static_cast<const runtime::Cancellation*>(&node));
      look.where = hook.where;
      look.age_ns = std::max<std::int64_t>(now - hook.born, 0);
      look.begin = HiddenAddress(&node);
      look.size = sizeof node;
      look.lists[0] = HiddenAddress(static_cast<const ListHook*>(&hook));
      look.lists[1] = HiddenAddress(static_cast<const ListHook*>(static_cast<const detail::ChildHook*>(&node)));
      looks.push_back(look);  // there is room
      return looks.size() - 1;
    }
  } out{wanted, {}, monotonic_now(), {}};
  // A list's lock is held while nodes are visited: no memory is asked for then. What does not fit is left out, and who
  // waits for it is not known to be lost.
  out.looks.reserve(wanted.size() + 4096);
  out.table.resize(2 * out.looks.capacity() + 1);
  detail::for_each_live_node(
      [](void* argument, const Node& node) {
        auto& o = *static_cast<Out*>(argument);
        if (o.looks.size() + kMostAbove + 1 > o.looks.capacity()) return;
        if (!std::binary_search(o.wanted.begin(), o.wanted.end(),
                                HiddenAddress(static_cast<const runtime::Cancellation*>(&node))) ||
            node.reason() != detail::Reason::none)
          return;
        std::size_t at = o.find_or_add(node);
        const Node* above = node.above();
        for (std::size_t i = 0; above != nullptr && i < kMostAbove; ++i, above = above->above()) {
          const std::size_t next = o.find_or_add(*above);
          o.looks[at].above = next;
          at = next;
        }
        if (above != nullptr) o.looks[at].cut_off = true;
      },
      &out);
  return std::move(out.looks);
}

}  // namespace fiberd::context
