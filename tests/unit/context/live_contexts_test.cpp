#include "core/context/live_contexts.hpp"

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <string>
#include <thread>
#include <vector>

#include "core/context/context.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using context::LiveContext;

/// Of this file, by line.
static std::vector<LiveContext> live_at(std::uint_least32_t line) {
  std::vector<LiveContext> out;
  for (const LiveContext& c : context::live_contexts())
    if (c.where.line() == line && std::string(c.where.file_name()).ends_with("live_contexts_test.cpp"))
      out.push_back(c);
  return out;
}

static std::uint64_t forgotten_at(std::uint_least32_t line) {
  for (const context::ContextSite& s : context::never_canceled_sites())
    if (s.where.line() == line && std::string(s.where.file_name()).ends_with("live_contexts_test.cpp")) return s.count;
  return 0;
}

TEST_CASE("contexts alive are found by the place that made them, with their children, deadline and end",
          "[context][live]") {
  const std::uint64_t before = context::live_count();
  const auto parent = context::with_timeout(context::background(), 1h);
  const std::uint_least32_t line = __LINE__ - 1;
  std::vector<context::Cancelable> children;
  for (int i = 0; i < 5; ++i) children.push_back(context::with_cancel(parent.context));
  CHECK(context::live_count() == before + 6);
  std::vector<LiveContext> found = live_at(line);
  REQUIRE(found.size() == 1);
  CHECK(found[0].children == 5);
  CHECK(found[0].deadline == parent.context.deadline());
  CHECK_FALSE(found[0].done);
  CHECK(found[0].age_ns >= 0);
  children[0].cancel();
  children.erase(children.begin() + 1);
  found = live_at(line);
  REQUIRE(found.size() == 1);
  CHECK(found[0].children == 3);
  CHECK(live_at(line + 3).size() == 4);
  CHECK(std::ranges::count_if(live_at(line + 3), &LiveContext::done) == 1);
  parent.cancel();
  CHECK(live_at(line)[0].done);
  CHECK(live_at(line)[0].children == 0);
  CHECK(context::live_contexts(2).size() == 2);
}

TEST_CASE("those never cancelled are counted by place; those cancelled, or whose time came, are not",
          "[context][live]") {
  const std::uint64_t before = context::never_canceled_count();
  for (int i = 0; i < 7; ++i) (void)context::with_cancel(context::background());
  const std::uint_least32_t line = __LINE__ - 1;
  for (int i = 0; i < 3; ++i) context::with_cancel(context::background()).cancel();
  for (int i = 0; i < 3; ++i) (void)context::with_deadline(context::background(), Deadline::at(1));
  CHECK(context::never_canceled_count() == before + 7);
  CHECK(forgotten_at(line) == 7);
  CHECK(forgotten_at(line + 1) == 0);
  CHECK(forgotten_at(line + 2) == 0);
  CHECK(live_at(line).empty());
}

TEST_CASE("the table of forgetful places is bounded, and its rest is counted", "[context][live]") {
  context::SiteTable<2> table;
  const SourceLocation first = SourceLocation::current();
  const SourceLocation second = SourceLocation::current();
  const SourceLocation third = SourceLocation::current();
  table.count(first);
  for (int i = 0; i < 3; ++i) table.count(second);
  for (int i = 0; i < 5; ++i) table.count(third);
  table.count(first);
  const auto sites = table.sites();
  REQUIRE(sites.size() == 3);
  CHECK(sites[0].where.line() == second.line());
  CHECK(sites[0].count == 3);
  CHECK(sites[1].where.line() == first.line());
  CHECK(sites[1].count == 2);
  CHECK(std::string(sites[2].where.file_name()).empty());
  CHECK(sites[2].count == 5);
  CHECK(table.total() == 10);
}

TEST_CASE("a walk over living contexts does not mind that others come and go, nor other walks", "[context][live]") {
  std::vector<context::Cancelable> kept;
  for (int i = 0; i < 3'000; ++i) kept.push_back(context::with_cancel(context::background()));
  const std::uint_least32_t line = __LINE__ - 1;
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t)
    threads.emplace_back([&] {
      while (!stop) {
        std::vector<context::Cancelable> some;
        for (int i = 0; i < 500; ++i) some.push_back(context::with_cancel(context::background()));
        for (auto& c : some) c.cancel();
      }
    });
  threads.emplace_back([&] {
    for (int i = 0; i < 30; ++i)
      if (live_at(line).size() != 3'000) ++wrong;
    stop = true;
  });
  std::size_t walks = 0;
  while (!stop || walks == 0) {
    if (live_at(line).size() != 3'000) ++wrong;
    ++walks;
  }
  for (auto& t : threads) t.join();
  CHECK(wrong == 0);
  for (auto& c : kept) c.cancel();
}
