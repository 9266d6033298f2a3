#include "core/tls/certificate_table.hpp"

#include <array>
#include <bit>
#include <functional>
#include <utility>

#include "core/base/characters.hpp"

namespace fiberd::tls {

CertificateTable::CertificateTable(List certificates) : certificates_(std::move(certificates)) {
  std::size_t count = 0;
  for (const auto& certificate : certificates_) count += certificate->names().size();
  names_.reserve(count);
  slots_.resize(std::bit_ceil(2 * count + 1));
  for (const auto& certificate : certificates_) {
    for (const std::string& name : certificate->names()) {
      std::uint32_t& slot = slots_[slot_of(name)];
      if (slot == 0) {
        names_.push_back({name, {}});
        slot = static_cast<std::uint32_t>(names_.size());
      }
      (void)names_[slot - 1].choice.add(certificate.get());
    }
  }
  if (certificates_.empty()) return;
  const Certificate& first = *certificates_.front();
  (void)default_.add(&first);
  if (first.names().empty()) return;
  for (const Certificate* const one : at(first.names().front())->all()) (void)default_.add(one);
}

/// Where it is, or would be.
std::size_t CertificateTable::slot_of(std::string_view name) const noexcept {
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = std::hash<std::string_view>{}(name)&mask;
  while (slots_[slot] != 0 && names_[slots_[slot] - 1].text != name) slot = (slot + 1) & mask;
  return slot;
}

const CertificateChoice* CertificateTable::at(std::string_view name) const noexcept {
  const std::uint32_t index = slots_[slot_of(name)];
  return index != 0 ? &names_[index - 1].choice : nullptr;
}

const CertificateChoice* CertificateTable::find(std::string_view name) const noexcept {
  if (name.ends_with('.')) name.remove_suffix(1);
  std::array<char, 256> lower{};
  if (name.empty() || name.size() >= lower.size()) return nullptr;
  for (std::size_t i = 0; i < name.size(); ++i) lower[i] = ascii::to_lower(name[i]);
  const std::string_view whole(lower.data(), name.size());
  if (const CertificateChoice* const exact = at(whole); exact != nullptr) return exact;
  const std::size_t dot = whole.find('.');
  if (dot == std::string_view::npos || dot == 0) return nullptr;
  lower[dot - 1] = '*';
  return at(whole.substr(dot - 1));
}

}  // namespace fiberd::tls
