#pragma once
// NameSource: certificates for names that a context's table does not have: they come while it serves.
#include <memory>
#include <string_view>

#include "core/tls/certificate.hpp"

namespace fiberd::tls {

class NameSource {
 public:
  NameSource() = default;
  NameSource(const NameSource&) = delete;
  NameSource& operator=(const NameSource&) = delete;
  virtual ~NameSource() = default;
  /// The one for `name`, as a client says it, which may be anything; null: there is none at present. Any thread; never
  /// parks, and takes as long as a look into a table: each handshake with a name that nobody has asks.
  [[nodiscard]] virtual std::shared_ptr<const Certificate> find(std::string_view name) noexcept = 0;
};

}  // namespace fiberd::tls
