#pragma once
// CertificateTable: which certificates a server has for a name. Immutable.
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/tls/certificate.hpp"

namespace fiberd::tls {

/// For one name: at most one of each kind of key; the client's offer decides.
class CertificateChoice {
 public:
  /// False: there is one of its kind.
  bool add(const Certificate* certificate) noexcept {
    for (const Certificate* const one : all())
      if (one->key_kind() == certificate->key_kind()) return false;
    if (count_ == slots_.size()) return false;
    slots_[count_++] = certificate;
    return true;
  }
  [[nodiscard]] std::span<const Certificate* const> all() const noexcept { return {slots_.data(), count_}; }

 private:
  std::array<const Certificate*, 3> slots_{};
  std::size_t count_ = 0;
};

class CertificateTable {
 public:
  using List = std::vector<std::shared_ptr<const Certificate>>;
  /// Of two with the same name and kind of key the first is shown. Throws std::bad_alloc.
  explicit CertificateTable(List certificates);

  /// By the name itself, then by "*." and all behind its first label (RFC 9525 section 6.3). Upper case is lower case
  /// here, and a dot at the end is none. Null: there are none; so is a name of more than 255 bytes.
  [[nodiscard]] const CertificateChoice* find(std::string_view name) const noexcept;
  /// For who says no name, or one that nobody has: the first certificate, and what has its first name with other keys.
  [[nodiscard]] const CertificateChoice& by_default() const noexcept { return default_; }
  [[nodiscard]] const List& certificates() const noexcept { return certificates_; }

 private:
  struct Name {
    std::string_view text;  // a certificate's own
    CertificateChoice choice;
  };
  [[nodiscard]] std::size_t slot_of(std::string_view name) const noexcept;
  [[nodiscard]] const CertificateChoice* at(std::string_view name) const noexcept;

  const List certificates_;
  std::vector<Name> names_;
  // Open addressing, at most half full: indices of names_ and 1, or 0. A swap of one certificate of ten thousand makes
  // it anew, and a map of nodes took 15 ms for that.
  std::vector<std::uint32_t> slots_;
  CertificateChoice default_;
};

}  // namespace fiberd::tls
