#include "daemon/acme/on_demand_names.hpp"

#include <algorithm>
#include <ctime>
#include <new>
#include <utility>

#include "core/base/characters.hpp"
#include "core/base/text.hpp"

namespace fiberd::daemon::acme {

std::string plain_host_name(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  if (name.size() > 253 || name.find('.') == std::string_view::npos) return {};
  for (std::string_view left = name;;) {
    const std::size_t dot = std::min(left.find('.'), left.size());
    const std::string_view label = left.substr(0, dot);
    if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-' ||
        !std::all_of(label.begin(), label.end(), [](char c) { return ascii::is_alnum(c) || c == '-'; }))
      return {};
    if (dot == left.size()) {
      // The last label of an address is a number, of a name never (RFC 1123 section 2.1).
      if (std::all_of(label.begin(), label.end(), ascii::is_digit)) return {};
      break;
    }
    left.remove_prefix(dot + 1);
  }
  return ascii::lower(name);
}

void OnDemandNames::put(Table& table, const std::string& name, Entry entry, std::size_t most) {
  erase(table, name);
  table.order.push_front(name);
  entry.place = table.order.begin();
  table.all.insert_or_assign(name, std::move(entry));
  while (table.all.size() > most) erase(table, std::string(table.order.back()));
}

void OnDemandNames::erase(Table& table, std::string_view name) {
  const auto found = table.all.find(name);
  if (found == table.all.end()) return;
  table.order.erase(found->second.place);
  table.all.erase(found);
}

void OnDemandNames::want(std::string_view name) {
  if (wanted_.contains(name)) return;
  if (queue_.size() >= kMostQueued) {
    metric::count(dropped_);
    return;
  }
  queue_.emplace_back(name);
  wanted_.emplace(name);
  char now = 0;
  (void)wake_->try_send_if_open(now);
}

std::shared_ptr<const tls::Certificate> OnDemandNames::find(std::string_view name) noexcept {
  try {
    const std::string plain = plain_host_name(name);
    if (plain.empty()) return nullptr;
    const std::int64_t now = std::time(nullptr);
    const LockGuard guard(lock_);
    if (const auto shown = shown_.all.find(plain); shown != shown_.all.end()) {
      Entry& one = shown->second;
      shown_.order.splice(shown_.order.begin(), shown_.order, one.place);
      if (now >= one.until) want(plain);
      return one.certificate;
    }
    if (const auto refused = refused_.all.find(plain); refused != refused_.all.end() && now < refused->second.until)
      return nullptr;
    want(plain);
  } catch (const std::bad_alloc&) {  // the next client of the name, then
  }
  return nullptr;
}

void OnDemandNames::use(std::size_t most, metric::Counter* dropped) noexcept {
  const LockGuard guard(lock_);
  most_ = most;
  dropped_ = dropped;
}

std::optional<std::string> OnDemandNames::next() {
  const LockGuard guard(lock_);
  if (queue_.empty()) return std::nullopt;
  std::string name = std::move(queue_.front());
  queue_.pop_front();
  return name;
}

void OnDemandNames::show(const std::string& name, std::shared_ptr<const tls::Certificate> certificate,
                         std::int64_t renew_at) {
  const LockGuard guard(lock_);
  put(shown_, name, {std::move(certificate), renew_at}, most_);
  erase(refused_, name);
  wanted_.erase(name);
}

void OnDemandNames::refuse(const std::string& name, std::int64_t until) {
  const LockGuard guard(lock_);
  erase(shown_, name);
  put(refused_, name, {nullptr, until}, kMostRefused);
  wanted_.erase(name);
}

}  // namespace fiberd::daemon::acme
