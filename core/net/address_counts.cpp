#include "core/net/address_counts.hpp"

#include <bit>
#include <cstring>
#include <new>
#include <random>

#include "core/base/random.hpp"

namespace fiberd::net {

// Clients choose their addresses, so the buckets must not be theirs to choose.
static std::uint64_t random_seed() {
  std::random_device device;
  return std::uint64_t{device()} << 32U | device();
}

std::size_t AddressCounts::Hash::operator()(const Key& key) const noexcept {
  return Random(seed ^ key[0] ^ std::rotl(key[1], 32)).next();
}

AddressCounts::AddressCounts(void* owner) : owner_(owner), entries_(0, Hash{random_seed()}) {}

AddressCounts::Key AddressCounts::key_of(const Endpoint& client) noexcept {
  static constexpr std::uint64_t kV4 = UINT64_MAX;  // a /64 within multicast: nobody's source address
  std::uint32_t v4 = 0;
  if (client.family() == AF_INET) {
    std::memcpy(&v4, &reinterpret_cast<const sockaddr_in*>(client.data())->sin_addr, sizeof v4);
    return {kV4, v4};
  }
  if (client.family() != AF_INET6) return {};
  const in6_addr& v6 = reinterpret_cast<const sockaddr_in6*>(client.data())->sin6_addr;
  if (IN6_IS_ADDR_V4MAPPED(&v6)) {
    std::memcpy(&v4, &v6.s6_addr[12], sizeof v4);
    return {kV4, v4};
  }
  Key key{};
  std::memcpy(key.data(), &v6, sizeof key[0]);
  return key;
}

AddressCounts::Entry* AddressCounts::take(const Endpoint& client, std::size_t most) noexcept {
  const Key key = key_of(client);
  const LockGuard guard(lock_);
  try {
    Entry& entry = entries_.try_emplace(key, Entry{owner_, this, key, 0}).first->second;
    if (entry.open >= most) return nullptr;
    ++entry.open;
    return &entry;
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

void AddressCounts::give_back(Entry& entry) noexcept {
  const LockGuard guard(lock_);
  if (--entry.open != 0) return;
  const Key key = entry.key;
  entries_.erase(key);
}

std::size_t AddressCounts::size() noexcept {
  const LockGuard guard(lock_);
  return entries_.size();
}

}  // namespace fiberd::net
