#include "core/base/intrusive_list.hpp"

#include <catch2/catch.hpp>
#include <vector>

namespace {
struct Item : fiberd::ListHook {
  explicit Item(int v) : value(v) {}
  int value;
};
std::vector<int> values(const fiberd::List<Item>& list) {
  std::vector<int> out;
  for (Item* i = list.front(); i != nullptr; i = list.after(*i)) out.push_back(i->value);
  return out;
}
}  // namespace

TEST_CASE("List keeps order and removes from anywhere", "[base]") {
  fiberd::List<Item> list;
  CHECK(list.empty());
  CHECK(list.front() == nullptr);
  CHECK(list.back() == nullptr);
  CHECK(list.pop_front() == nullptr);
  Item a(1);
  Item b(2);
  Item c(3);
  list.push_back(b);
  list.push_back(c);
  list.push_front(a);
  CHECK(values(list) == std::vector<int>{1, 2, 3});
  CHECK(list.back() == &c);
  CHECK(b.linked());
  fiberd::List<Item>::remove(b);
  CHECK_FALSE(b.linked());
  CHECK(values(list) == std::vector<int>{1, 3});
  fiberd::List<Item>::insert_before(b, c);
  CHECK(values(list) == std::vector<int>{1, 2, 3});
  fiberd::List<Item>::remove(b);
  list.push_back(b);
  CHECK(list.pop_front() == &a);
  CHECK(list.pop_front() == &c);
  CHECK(list.pop_front() == &b);
  CHECK(list.empty());
}
