#include "core/tls/ticket_keys.hpp"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "core/base/clock.hpp"
#include "core/base/read_file.hpp"

namespace fiberd::tls {

namespace {

constexpr std::chrono::nanoseconds kTicketTurn = std::chrono::hours(1);

bool make_ticket_key(TicketKey& key) noexcept {
  return RAND_bytes(key.name.data(), static_cast<int>(key.name.size())) == 1 &&
         RAND_priv_bytes(key.hmac.data(), static_cast<int>(key.hmac.size())) == 1 &&
         RAND_priv_bytes(key.aes.data(), static_cast<int>(key.aes.size())) == 1;
}

}  // namespace

TicketKeys::~TicketKeys() { OPENSSL_cleanse(ring_.data(), sizeof ring_); }

Result<std::shared_ptr<TicketKeys>> TicketKeys::random() {
  std::shared_ptr<TicketKeys> keys(new TicketKeys(false));
  keys->rotate();
  const LockGuard guard(keys->lock_);
  if (keys->count_ == 0) return fail(std::errc::io_error);
  return keys;
}

Result<std::shared_ptr<TicketKeys>> TicketKeys::read(const std::vector<std::string>& files, std::string& why) {
  std::shared_ptr<TicketKeys> keys(new TicketKeys(true));
  const LockGuard guard(keys->lock_);
  for (const std::string& file : files) {
    if (keys->count_ == kTicketRing) break;
    Result<std::string> text = read_file(file, kTicketKeyFile + 1);
    if (!text) {
      why = file + ": " + why_unreadable(text.error());
      return fail(text.error());
    }
    if (text->size() != kTicketKeyFile) {
      OPENSSL_cleanse(text->data(), text->size());
      why = file + ": a ticket key has 80 bytes: openssl rand 80 > FILE makes one";
      return fail(std::errc::invalid_argument);
    }
    TicketKey& key = keys->ring_[keys->count_++];
    const char* at = text->data();
    const auto take = [&at](auto& part) {
      std::memcpy(part.data(), at, part.size());
      at += part.size();
    };
    take(key.name);
    take(key.hmac);
    take(key.aes);
    OPENSSL_cleanse(text->data(), text->size());
  }
  if (keys->count_ == 0) return fail(std::errc::invalid_argument);
  return keys;
}

TicketKey TicketKeys::newest() noexcept {
  bool due = false;
  {
    const LockGuard guard(lock_);
    due = monotonic_now() >= due_;
    if (due) due_ = INT64_MAX;  // one of those who find it so does it
    if (!due) return ring_[0];
  }
  rotate();
  const LockGuard guard(lock_);
  return ring_[0];
}

TicketKeys::Found TicketKeys::find(const unsigned char* name, TicketKey& key) const noexcept {
  const LockGuard guard(lock_);
  for (std::size_t i = 0; i < count_; ++i) {
    if (std::memcmp(ring_[i].name.data(), name, ring_[i].name.size()) != 0) continue;
    key = ring_[i];
    return i == 0 ? Found::newest : Found::older;
  }
  return Found::no;
}

void TicketKeys::rotate() noexcept {
  TicketKey fresh;
  const bool made = make_ticket_key(fresh);
  const LockGuard guard(lock_);
  due_ = shared_ ? INT64_MAX : time_after(monotonic_now(), kTicketTurn);
  if (!made) return;  // the one before goes on
  std::rotate(ring_.begin(), ring_.end() - 1, ring_.end());
  ring_[0] = fresh;
  count_ = std::min(count_ + 1, kTicketRing);
  OPENSSL_cleanse(&fresh, sizeof fresh);
}

bool TicketKeys::same(const TicketKeys& other) const noexcept {
  std::array<TicketKey, kTicketRing> ring{};
  std::size_t count = 0;
  {
    const LockGuard guard(other.lock_);
    ring = other.ring_;
    count = other.count_;
  }
  const LockGuard guard(lock_);
  const bool equal = count == count_ && CRYPTO_memcmp(ring.data(), ring_.data(), sizeof ring) == 0;
  OPENSSL_cleanse(ring.data(), sizeof ring);
  return equal;
}

}  // namespace fiberd::tls
