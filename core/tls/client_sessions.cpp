#include "core/tls/client_sessions.hpp"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <cstddef>
#include <iterator>
#include <list>
#include <memory>
#include <new>
#include <string_view>
#include <utility>

#include "core/base/lock.hpp"

namespace fiberd::tls {

namespace {

constexpr std::size_t kMostSessions = 256;
constexpr std::size_t kMostOfAName = 4;

struct FreeSession {
  void operator()(SSL_SESSION* session) const noexcept { SSL_SESSION_free(session); }
};
using SessionHandle = std::unique_ptr<SSL_SESSION, FreeSession>;

/// The certificate that the server has proved itself by has ended: resumed on and on it would be believed for ever.
bool is_over(const SSL_SESSION& session) noexcept {
  const X509* const peer = SSL_SESSION_get0_peer(const_cast<SSL_SESSION*>(&session));  // NOLINT: it only looks
  return peer != nullptr && X509_cmp_current_time(X509_get0_notAfter(peer)) <= 0;
}

/// Newest first. Thread-safe.
class KeptSessions {
 public:
  void put(const std::string& name, SessionHandle session) {
    std::list<Kept> made;
    made.push_back({name, std::move(session)});
    std::list<Kept> dropped;  // ends outside of the lock
    const LockGuard guard(lock_);
    kept_.splice(kept_.begin(), made);
    std::size_t same = 0;
    for (auto one = kept_.begin(); one != kept_.end();) {
      const auto next = std::next(one);
      if (one->name == name && ++same > kMostOfAName) dropped.splice(dropped.end(), kept_, one);
      one = next;
    }
    if (kept_.size() > kMostSessions) dropped.splice(dropped.end(), kept_, std::prev(kept_.end()));
  }
  [[nodiscard]] SessionHandle take(std::string_view name) noexcept {
    std::list<Kept> taken;
    const LockGuard guard(lock_);
    for (auto one = kept_.begin(); one != kept_.end(); ++one) {
      if (one->name != name) continue;
      if (is_over(*one->session)) {
        taken.splice(taken.end(), kept_, one);
        return nullptr;
      }
      if (SSL_SESSION_get_protocol_version(one->session.get()) < TLS1_3_VERSION) {
        if (SSL_SESSION_up_ref(one->session.get()) != 1) return nullptr;
        return SessionHandle(one->session.get());
      }
      taken.splice(taken.end(), kept_, one);
      return std::move(taken.front().session);
    }
    return nullptr;
  }

 private:
  struct Kept {
    std::string name;
    SessionHandle session;
  };
  Lock lock_;
  std::list<Kept> kept_ FIBERD_GUARDED_BY(lock_);
};

void free_kept(void* /*parent*/, void* kept, CRYPTO_EX_DATA* /*data*/, int /*index*/, long /*argl*/, void* /*argp*/) {
  delete static_cast<KeptSessions*>(kept);
}
void free_name(void* /*parent*/, void* name, CRYPTO_EX_DATA* /*data*/, int /*index*/, long /*argl*/, void* /*argp*/) {
  delete static_cast<std::string*>(name);
}

int kept_index() noexcept {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, free_kept);
  return index;
}
int name_index() noexcept {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, free_name);
  return index;
}

KeptSessions* kept_of(SSL* connection) noexcept {
  return static_cast<KeptSessions*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(connection), kept_index()));
}

/// A session has come. 1: it is ours now.
int on_session(SSL* connection, SSL_SESSION* session) {
  auto* const kept = kept_of(connection);
  const auto* const name = static_cast<const std::string*>(SSL_get_ex_data(connection, name_index()));
  if (kept == nullptr || name == nullptr || SSL_SESSION_is_resumable(session) != 1) return 0;
  try {
    SessionHandle handle(session);
    kept->put(*name, std::move(handle));
  } catch (const std::bad_alloc&) {  // it is freed, and a whole handshake comes next
  }
  return 1;
}

}  // namespace

bool keep_sessions(ssl_ctx_st& context) noexcept {
  std::unique_ptr<KeptSessions> kept(new (std::nothrow) KeptSessions);
  if (kept == nullptr || kept_index() < 0 || name_index() < 0 ||
      SSL_CTX_set_ex_data(&context, kept_index(), kept.get()) != 1) {
    ERR_clear_error();
    return false;
  }
  (void)kept.release();
  SSL_CTX_set_session_cache_mode(&context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(&context, on_session);
  return true;
}

void offer_session(ssl_st& connection, const std::string& name) noexcept {
  KeptSessions* const kept = kept_of(&connection);
  if (kept == nullptr || name.empty()) return;
  try {
    auto own = std::make_unique<std::string>(name);
    if (SSL_set_ex_data(&connection, name_index(), own.get()) == 1) {
      (void)own.release();
      if (const SessionHandle session = kept->take(name)) (void)SSL_set_session(&connection, session.get());
    }
  } catch (const std::bad_alloc&) {  // a whole handshake then
  }
  ERR_clear_error();
}

}  // namespace fiberd::tls
