#include "core/tls/certificate.hpp"

#include <array>
#include <ctime>

#include "core/tls/key_handles.hpp"

namespace fiberd::tls {

using handles::Forgotten;
using handles::Own;

Certificate::~Certificate() {
  X509_free(leaf_.load(std::memory_order_acquire));
  EVP_PKEY_free(key_);
  sk_X509_pop_free(chain_, X509_free);
}

X509* Certificate::leaf() const noexcept {
  if (X509* const there = leaf_.load(std::memory_order_acquire); there != nullptr) return there;
  const Forgotten none;
  const auto* at = reinterpret_cast<const unsigned char*>(der_.data());
  Own<X509> fresh(d2i_X509(nullptr, &at, static_cast<long>(der_.size())));
  if (fresh == nullptr) return nullptr;
  X509* there = nullptr;
  if (!leaf_.compare_exchange_strong(there, fresh.get(), std::memory_order_acq_rel)) return there;
  return fresh.release();
}

std::string describe_time(std::int64_t seconds) {
  const auto time = static_cast<std::time_t>(seconds);
  std::tm parts{};
  std::array<char, 64> text{};
  if (::gmtime_r(&time, &parts) == nullptr ||
      std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M UTC", &parts) == 0)
    return std::to_string(seconds);
  return text.data();
}

}  // namespace fiberd::tls
