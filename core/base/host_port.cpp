#include "core/base/host_port.hpp"

namespace fiberd {

static HostPortError fail_at_last_colon(HostPortError error, std::string_view text, HostPort& out) noexcept {
  out = {};
  const std::size_t colon = text.rfind(':');
  out.host = text.substr(0, colon);
  out.has_port = colon != std::string_view::npos;
  if (out.has_port) out.port = text.substr(colon + 1);
  return error;
}

HostPortError split_host_port(std::string_view text, HostPort& out) noexcept {
  out = {};
  const std::string_view written = host_without_port(text);
  const std::string_view behind = text.substr(written.size());
  out.host = written;
  if (written.starts_with('[')) {
    if (!written.ends_with(']')) return fail_at_last_colon(HostPortError::open_bracket, text, out);
    if (!behind.empty() && behind.front() != ':') return fail_at_last_colon(HostPortError::behind_bracket, text, out);
    out.host = written.substr(1, written.size() - 2);
    out.brackets = true;
  }
  out.has_port = !behind.empty();
  if (!out.has_port) return HostPortError::none;
  out.port = behind.substr(1);
  if (!out.brackets && out.port.find(':') != std::string_view::npos)
    return fail_at_last_colon(HostPortError::bare_colons, text, out);
  return HostPortError::none;
}

}  // namespace fiberd
