#pragma once
// Store: the state directory of automatic certificates. Processes, on one machine or on several that share it, may
// use one together: who holds its lock asks the authority, the others look whether there is something new.
//
//   DIRECTORY/                      0700
//     lock                          flock(2): of who is asking an authority
//     <authority>/account.pem       the account's key; account.url: where it is there; *.old-<time>: one that is gone
//     <authority>/<names>.pem       key, certificate and chain in one file: never half of a pair
//     <authority>/<names>.state     how often it went wrong in a row, and not before when it is tried again
//     challenges/                   what an order that is under way shows (shared_challenges.hpp)
//
// Files are 0600, written beside their place, synced, and renamed. Calls block the thread. What they return on an error
// is what the system said; errors name the file (Trouble::storage).
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/acme/order.hpp"
#include "daemon/acme/trouble.hpp"

namespace fiberd::daemon::acme {

/// How it went with one set of names.
struct Attempts {
  unsigned failures = 0;        ///< in a row
  std::int64_t not_before = 0;  ///< seconds of the epoch: no earlier is it tried again
  std::string why{};            ///< of the last one; one line
  /// One that is counted before it is known how it ends: it may be under way, or its process has died.
  static constexpr std::string_view kBegun = "it is being asked for, or who asked has died";
  [[nodiscard]] bool failed() const noexcept { return failures > (why == kBegun ? 1U : 0U); }
  bool operator==(const Attempts&) const = default;
};

/// Where the authority has the account of the key.
struct Account {
  std::string url{};  ///< empty: nobody knows
  std::int64_t replaced =
      0;  ///< seconds of the epoch: when it was made in the place of one that was gone; 0: it was not
};

/// The lock of a store, as long as it lives.
class StoreLock {
 public:
  StoreLock() = default;
  explicit StoreLock(int fd) noexcept : fd_(fd) {}
  StoreLock(StoreLock&& o) noexcept : fd_(o.fd_) { o.fd_ = -1; }
  StoreLock& operator=(StoreLock&& o) noexcept;
  ~StoreLock();
  [[nodiscard]] explicit operator bool() const noexcept { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

class Store {
 public:
  /// `authority`: the URL of its directory; `names`: not empty.
  Store(std::string directory, const std::string& authority);

  /// Makes the directories; refuses one that others can look into or that is somebody else's.
  [[nodiscard]] Outcome<void> open() const;
  /// None: another process has it.
  [[nodiscard]] Outcome<StoreLock> try_lock() const;

  /// The account's key: the one that is there, or a new one, kept. Under the lock.
  [[nodiscard]] Outcome<tls::PrivateKey> account_key() const;
  [[nodiscard]] Account account() const;
  [[nodiscard]] Outcome<void> keep(const Account& account) const;
  /// It is none any more: the next is another one. Its key is put away.
  [[nodiscard]] Outcome<void> forget_account(std::int64_t now) const;

  /// Key and chain; nullopt: there is none, or it cannot be read.
  [[nodiscard]] std::optional<Issued> certificate(const std::vector<std::string>& names) const;
  [[nodiscard]] Outcome<void> keep(const std::vector<std::string>& names, const Issued& issued) const;
  /// Whether what an order brings can be kept. To be asked before: authorities count what they have issued, and a
  /// certificate that finds no room is lost.
  [[nodiscard]] Outcome<void> has_room() const;
  [[nodiscard]] Attempts attempts(const std::vector<std::string>& names) const;
  [[nodiscard]] Outcome<void> keep(const std::vector<std::string>& names, const Attempts& attempts) const;

  /// Where the certificate of these names is, or would be.
  [[nodiscard]] std::string path_of(const std::vector<std::string>& names) const;
  [[nodiscard]] const std::string& directory() const noexcept { return directory_; }

 private:
  [[nodiscard]] std::string base_of(const std::vector<std::string>& names) const;
  const std::string directory_;
  const std::string authority_;  // the directory of this authority
};

}  // namespace fiberd::daemon::acme
