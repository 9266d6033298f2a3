#include "core/tls/certificate_table.hpp"

#include <array>
#include <utility>

#include "core/base/characters.hpp"

namespace fiberd::tls {

CertificateTable::CertificateTable(List certificates) : certificates_(std::move(certificates)) {
  names_.reserve(certificates_.size());
  for (const auto& certificate : certificates_)
    for (const std::string& name : certificate->names()) (void)names_[name].add(certificate.get());
  if (certificates_.empty()) return;
  const Certificate& first = *certificates_.front();
  (void)default_.add(&first);
  if (first.names().empty()) return;
  for (const Certificate* const one : names_[first.names().front()].all()) (void)default_.add(one);
}

const CertificateChoice* CertificateTable::find(std::string_view name) const noexcept {
  if (name.ends_with('.')) name.remove_suffix(1);
  std::array<char, 256> lower{};
  if (name.empty() || name.size() >= lower.size()) return nullptr;
  for (std::size_t i = 0; i < name.size(); ++i) lower[i] = ascii::to_lower(name[i]);
  const std::string_view whole(lower.data(), name.size());
  if (const auto exact = names_.find(whole); exact != names_.end()) return &exact->second;
  const std::size_t dot = whole.find('.');
  if (dot == std::string_view::npos || dot == 0) return nullptr;
  lower[dot - 1] = '*';
  const auto wild = names_.find(whole.substr(dot - 1));
  return wild != names_.end() ? &wild->second : nullptr;
}

}  // namespace fiberd::tls
