#include "core/context/live_contexts.hpp"

#include <algorithm>
#include <array>
#include <atomic>

#include "core/base/cache_line.hpp"
#include "core/base/lock.hpp"
#include "core/base/thread_locals.hpp"
#include "core/context/node.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::context {

namespace {

constexpr std::size_t kShards = 64;
constexpr int kTurn = 256;  // contexts looked at under one hold of a lock

struct alignas(kCacheLine) Shard {
  Lock lock;
  List<detail::LiveHook> list FIBERD_GUARDED_BY(lock);
  std::atomic<std::uint64_t> count{0};
};

/// Never destroyed: contexts of static lifetime may die late.
std::array<Shard, kShards>& shards() noexcept {
  static auto* const all = new std::array<Shard, kShards>;
  return *all;
}

SiteTable<kMostSites>& sites() noexcept {
  static auto* const all = new SiteTable<kMostSites>;
  return *all;
}

LiveContext describe(const detail::LiveHook& hook, std::int64_t now) noexcept {
  const auto& node = static_cast<const detail::Node&>(hook);
  LiveContext c;
  c.where = hook.where;
  c.age_ns = std::max<std::int64_t>(now - hook.born, 0);
  c.deadline = node.deadline();
  c.children = node.children();
  c.done = node.reason() != detail::Reason::none || c.deadline.ns() <= now;
  return c;
}

}  // namespace

namespace detail {

void enter_live(LiveHook& hook) noexcept {
  hook.born = runtime::coarse_now();
  hook.shard = static_cast<std::uint8_t>(thread_locals()->shard % kShards);
  Shard& s = shards()[hook.shard];
  const LockGuard guard(s.lock);
  s.list.push_back(hook);
  s.count.store(s.count.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

void leave_live(LiveHook& hook) noexcept {
  Shard& s = shards()[hook.shard];
  const LockGuard guard(s.lock);
  List<LiveHook>::remove(hook);
  s.count.store(s.count.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
}

void count_never_canceled(const SourceLocation& where) noexcept { sites().count(where); }

}  // namespace detail

void detail::for_each_live_node(void (*visit)(void* argument, const Node& node), void* argument) {
  for (Shard& s : shards()) {
    detail::LiveHook cursor;
    cursor.cursor = true;
    // New ones come at the end; whoever makes them faster than we walk must not keep us for ever.
    std::uint64_t left = s.count.load(std::memory_order_relaxed);
    while (left != 0) {
      const LockGuard guard(s.lock);
      detail::LiveHook* at = cursor.linked() ? s.list.after(cursor) : s.list.front();
      if (cursor.linked()) List<detail::LiveHook>::remove(cursor);
      for (int turn = kTurn; at != nullptr && turn != 0 && left != 0; at = s.list.after(*at), --turn) {
        if (at->cursor) continue;
        visit(argument, static_cast<const Node&>(*at));
        --left;
      }
      if (at == nullptr) break;
      if (left != 0) s.list.insert_before(cursor, *at);
    }
  }
}

void for_each_live(void (*visit)(void* argument, const LiveContext& context), void* argument) {
  struct Through {
    void (*visit)(void*, const LiveContext&);
    void* argument;
    std::int64_t now;
  } through{visit, argument, monotonic_now()};
  detail::for_each_live_node(
      [](void* t, const detail::Node& node) {
        const auto& to = *static_cast<const Through*>(t);
        to.visit(to.argument, describe(node, to.now));
      },
      &through);
}

std::vector<LiveContext> live_contexts(std::size_t most) {
  struct Out {
    std::vector<LiveContext> list;
    std::size_t most;
  } out{{}, most};
  // Room beforehand: memory is not asked for under a lock more often than need be.
  out.list.reserve(std::min<std::size_t>(most, live_count() + 64));
  for_each_live(
      [](void* argument, const LiveContext& c) {
        auto& o = *static_cast<Out*>(argument);
        if (o.list.size() < std::min(o.most, o.list.capacity())) o.list.push_back(c);
      },
      &out);
  return std::move(out.list);
}

std::uint64_t live_count() noexcept {
  std::uint64_t n = 0;
  for (const Shard& s : shards()) n += s.count.load(std::memory_order_relaxed);
  return n;
}

std::uint64_t never_canceled_count() noexcept { return sites().total(); }
std::vector<ContextSite> never_canceled_sites() { return sites().sites(); }

}  // namespace fiberd::context
