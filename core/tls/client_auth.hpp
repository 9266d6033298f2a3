#pragma once
// ClientAuth: whom clients' certificates have to be issued by (mTLS). Immutable, shared by contexts.
#include <cstdint>
#include <memory>
#include <string>

#include "core/base/result.hpp"

struct stack_st_X509_NAME;
struct x509_store_st;

namespace fiberd::tls {

enum class ClientAuthMode : std::uint8_t {
  request,  ///< who has none is served; one that is sent must be good
  require
};

struct ClientAuthFiles {
  std::string ca;     ///< PEM: issuers that are trusted
  std::string crl{};  ///< PEM: what they have revoked; empty: nothing
  bool operator==(const ClientAuthFiles&) const = default;
};

class ClientAuth {
 public:
  ~ClientAuth();
  ClientAuth(const ClientAuth&) = delete;
  ClientAuth& operator=(const ClientAuth&) = delete;

  /// `why` names the file and the remedy; `of_crl`: which of the two it is. Blocks the thread. Errors: what reading
  /// says, invalid_argument. Throws std::bad_alloc.
  [[nodiscard]] static Result<std::shared_ptr<const ClientAuth>> load(const ClientAuthFiles& files, ClientAuthMode mode,
                                                                      std::string& why, bool& of_crl);

  [[nodiscard]] ClientAuthMode mode() const noexcept { return mode_; }
  [[nodiscard]] x509_store_st* store() const noexcept { return store_; }
  /// Names of the issuers, as clients are told them.
  [[nodiscard]] stack_st_X509_NAME* names() const noexcept { return names_; }
  /// 32 bytes of all that decides who is let in: what was proved under another one is not resumed under this.
  [[nodiscard]] const std::string& digest() const noexcept { return digest_; }
  /// When the first of the lists of what is revoked is over, in seconds since 1970: from then on no certificate of its
  /// issuer is good. INT64_MAX: never.
  [[nodiscard]] std::int64_t crl_until() const noexcept { return crl_until_; }

 private:
  explicit ClientAuth(ClientAuthMode mode) noexcept : mode_(mode) {}
  const ClientAuthMode mode_;
  x509_store_st* store_ = nullptr;
  stack_st_X509_NAME* names_ = nullptr;
  std::string digest_;
  std::int64_t crl_until_ = INT64_MAX;
};

}  // namespace fiberd::tls
