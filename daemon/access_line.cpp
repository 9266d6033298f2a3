// Three rules make each line one that a program can take apart again, whatever a client sends:
//
//  - Nothing ends the line early. Control bytes and what is not ASCII are escaped in all formats: \u00NN in JSON, \xNN
//    else. So a line is one line, and a terminal that shows it shows text.
//  - Nothing ends a field early. '"' and '\' are escaped everywhere. In a template a field between quotation marks ends
//    at the next one, so that is all there is to it; one outside ends at a blank or at the byte that the template has
//    behind it, so these two are escaped in it, too. A field that is empty is "-" there, for else a column would be
//    missing; but not one that stands next to another field, `${path}${query}`: it is a part of a column.
//  - A line has at most kMost bytes, and it is whole. It is bounded by bounding what of it a client chooses, each field
//    for itself and as it is written (a byte may become six); what was cut is marked. In a template the fields that may
//    be long share what the others leave of a line, so there is a length that a template may not have: make() says so
//    when the configuration is read, not a line at night.
//
// Rejected: one bound for the line (the end of a line is where the status of the answer stands); building a string per
// line (an allocation per request).
#include "daemon/access_line.hpp"

#include <limits.h>

#include <algorithm>
#include <cstring>

#include "config/log_fields.hpp"
#include "core/base/characters.hpp"
#include "core/base/json.hpp"
#include "core/base/variable_names.hpp"
#include "core/net/tls_peer.hpp"

namespace fiberd::daemon {

using config::LogField;

static_assert(AccessLine::kMost == PIPE_BUF);

static constexpr std::size_t kMaxMethod = 64;
static constexpr std::size_t kMaxTarget = 1280;
static constexpr std::size_t kMaxTargetAlone = 3072;  // in a line that has no other long fields
static constexpr std::size_t kMaxField = 512;
static constexpr std::size_t kMaxListener = 128;
static constexpr std::size_t kMaxHost = 256;
static constexpr std::size_t kMaxRoute = 256;
static constexpr std::size_t kMaxId = 128;
static constexpr std::size_t kMaxUser = 128;
static constexpr std::size_t kMaxRest = 768;  // all else
// Of these a line of JSON has what is known, and a target may be that much shorter.
static constexpr std::size_t kMaxTls = 80;
static constexpr std::size_t kMaxSubject = 256;
static constexpr std::size_t kMaxCertificate = kMaxSubject + 160;
static_assert(kMaxMethod + kMaxTarget + 2 * kMaxField + kMaxListener + kMaxHost + kMaxRoute + kMaxId + kMaxUser +
                  kMaxRest <
              AccessLine::kMost);
static_assert(kMaxMethod + kMaxTargetAlone + kMaxUser + kMaxRest < AccessLine::kMost);
static_assert(kMaxMethod + kMaxTarget + 2 * kMaxField + kMaxUser + kMaxRest < AccessLine::kMost);

namespace {

enum class Escape : std::uint8_t { json, quoted, bare };

/// A bounded writer: what does not fit is cut.
class Line {
 public:
  Line(char* out, std::size_t room) noexcept : at_(out), begin_(out), end_(out + room) {}
  void raw(std::string_view text) noexcept {
    const std::size_t n = std::min(text.size(), static_cast<std::size_t>(end_ - at_));
    std::memcpy(at_, text.data(), n);
    at_ += n;
  }
  /// With so many digits at least.
  void number(std::uint64_t value, std::size_t least = 1) noexcept {
    char digits[20];
    std::size_t n = 0;
    do {
      digits[n++] = static_cast<char>('0' + value % 10);
      value /= 10;
    } while (value != 0 || n < least);
    while (n != 0 && at_ != end_) *at_++ = digits[--n];
  }
  void seconds(std::uint64_t ns) noexcept {
    number(ns / 1'000'000'000);
    raw(".");
    number(ns % 1'000'000'000 / 1'000, 6);
  }
  /// A client's bytes, at most `most` as they are written; no escape is cut through. False: not all of it had room.
  bool escaped(std::string_view text, Escape how, std::size_t most, char stop = '\0') noexcept {
    const char* const limit = at_ + std::min(most, static_cast<std::size_t>(end_ - at_));
    for (const char c : text) {
      const bool ends = how == Escape::bare && (c == ' ' || c == stop);
      if (!ends && ascii::is_plain(c)) {
        if (at_ == limit) return false;
        *at_++ = c;
        continue;
      }
      const JsonByte in_json = JsonByte::opaque(c);
      const std::string_view as_json = in_json.text();
      // Other formats write \xNN, and what goes for one character as JSON does.
      const bool hex = ends || (how != Escape::json && as_json.size() == 6);
      if (static_cast<std::size_t>(limit - at_) < (hex ? 4 : as_json.size())) return false;
      if (!hex) {
        raw(as_json);
        continue;
      }
      const auto byte = static_cast<unsigned char>(c);
      const char digits[2] = {ascii::kHexDigits[byte >> 4U], ascii::kHexDigits[byte & 15U]};
      raw("\\x");
      raw({digits, 2});
    }
    return true;
  }
  [[nodiscard]] std::size_t size() const noexcept { return static_cast<std::size_t>(at_ - begin_); }

 private:
  char* at_;
  char* begin_;
  char* end_;
};

/// What of a record must be written first.
struct Known {
  std::string_view time;
  std::string_view client;
  std::string_view listener;
  std::string_view trace_id;
  std::string_view span_id;
};

void write_common(Line& line, const Known& known, const http::AccessRecord& r, bool combined) noexcept {
  line.raw(known.client);
  line.raw(" - ");
  if (r.user.empty())
    line.raw("-");
  else
    (void)line.escaped(r.user, Escape::bare, kMaxUser);
  line.raw(" [");
  line.raw(known.time);
  line.raw("] \"");
  if (r.method.empty()) {
    line.raw("-");  // a head that was refused
  } else {
    (void)line.escaped(r.method, Escape::quoted, kMaxMethod);
    line.raw(" ");
    if (!line.escaped(r.target, Escape::quoted, combined ? kMaxTarget : kMaxTargetAlone)) line.raw("...");
    line.raw(" ");
    line.raw(r.protocol);
  }
  line.raw("\" ");
  line.number(r.status);
  line.raw(" ");
  line.number(r.body_bytes);
  if (!combined) return;
  for (const std::string_view text : {r.referer, r.user_agent}) {
    line.raw(" \"");
    if (!line.escaped(text.empty() ? "-" : text, Escape::quoted, kMaxField)) line.raw("...");
    line.raw("\"");
  }
}

void write_json(Line& line, const Known& known, const http::AccessRecord& r) noexcept {
  std::array<std::string_view, 12> cut;
  std::size_t cuts = 0;
  const auto text = [&](std::string_view name, std::string_view value, std::size_t most) noexcept {
    line.raw(",\"");
    line.raw(name);
    line.raw("\":\"");
    if (!line.escaped(value, Escape::json, most)) cut[cuts++] = name;
    line.raw("\"");
  };
  const auto some = [&](std::string_view name, std::string_view value, std::size_t most) noexcept {
    if (!value.empty()) text(name, value, most);
  };
  const auto number = [&](std::string_view name, std::uint64_t value) noexcept {
    line.raw(",\"");
    line.raw(name);
    line.raw("\":");
    line.number(value);
  };
  line.raw("{\"time\":\"");
  line.raw(known.time);
  line.raw("\"");
  text("listener", known.listener, kMaxListener);
  line.raw(",\"client\":\"");
  line.raw(known.client);
  line.raw("\"");
  some("user", r.user, kMaxUser);
  text("host", r.host, kMaxHost);
  text("route", r.route, kMaxRoute);
  text("method", r.method, kMaxMethod);
  const bool certified = r.tls != nullptr && !r.tls->fingerprint.empty();
  text("target", r.target, kMaxTarget - (r.tls != nullptr ? kMaxTls : 0) - (certified ? kMaxCertificate : 0));
  line.raw(",\"version\":\"");
  line.raw(r.protocol);
  line.raw("\"");
  number("status", r.status);
  number("bytes", r.body_bytes);
  number("duration_us", r.duration_ns / 1000);
  number("time_to_head_us", r.head_ns / 1000);
  number("bytes_in", r.received_bytes);
  some("request_id", r.request_id, kMaxId);
  some("trace_id", known.trace_id, kMaxId);
  some("span_id", known.span_id, kMaxId);
  if (!r.reason.empty()) {
    line.raw(",\"reason\":\"");
    line.raw(r.reason);
    line.raw("\"");
  }
  if (r.tls != nullptr) {
    text("tls_version", r.tls->version, kMaxTls);
    text("tls_cipher", r.tls->cipher, kMaxTls);
  }
  if (certified) {
    text("client_cert_subject", r.tls->subject, kMaxSubject);
    text("client_cert_fingerprint", r.tls->fingerprint, kMaxId);
  }
  text("user_agent", r.user_agent, kMaxField);
  text("referer", r.referer, kMaxField);
  for (std::size_t i = 0; i < cuts; ++i) {
    line.raw(i == 0 ? ",\"truncated\":[\"" : ",\"");
    line.raw(cut[i]);
    line.raw("\"");
  }
  line.raw(cuts != 0 ? "]}" : "}");
}

/// Of the others it is known what they look like: "${time}: " shall not be escaped.
bool may_hold_anything(LogField field) noexcept {
  return field != LogField::time && field != LogField::client && field != LogField::listener &&
         field != LogField::protocol && field != LogField::reason && field != LogField::trace_id &&
         field != LogField::span_id && field != LogField::tls_version && field != LogField::tls_cipher &&
         field != LogField::client_cert_verified && field != LogField::client_cert_fingerprint;
}

/// Most bytes of a field in a template; 0: what is left of the line.
std::size_t most_of(LogField field) noexcept {
  switch (field) {
    case LogField::time: return 32;
    case LogField::listener: return kMaxListener;
    case LogField::client: return 48;
    case LogField::host: return kMaxHost;
    case LogField::method: return kMaxMethod;
    case LogField::protocol: return 16;
    case LogField::route: return kMaxRoute;
    case LogField::status:
    case LogField::bytes_in:
    case LogField::bytes_out: return 20;
    case LogField::duration:
    case LogField::time_to_head: return 24;
    case LogField::request_id: return kMaxId;
    case LogField::reason: return 40;
    case LogField::user: return kMaxUser;
    case LogField::trace_id: return 32;
    case LogField::span_id:
    case LogField::tls_version: return 16;
    case LogField::tls_cipher: return 48;
    case LogField::tls_server_name: return kMaxHost;
    case LogField::client_cert_verified: return 4;
    case LogField::client_cert_subject:
    case LogField::client_cert_names: return kMaxField;
    case LogField::client_cert_fingerprint: return 64;
    case LogField::target:
    case LogField::path:
    case LogField::query:
    case LogField::referer:
    case LogField::user_agent: break;
  }
  return 0;
}

std::string_view text_of(LogField field, const Known& known, const http::AccessRecord& r) noexcept {
  const std::size_t question = std::min(r.target.find('?'), r.target.size());
  const auto of_tls = [&r](auto member) {
    return r.tls != nullptr ? std::string_view(r.tls->*member) : std::string_view();
  };
  switch (field) {
    case LogField::time: return known.time;
    case LogField::listener: return known.listener;
    case LogField::client: return known.client;
    case LogField::host: return r.host;
    case LogField::method: return r.method;
    case LogField::target: return r.target;
    case LogField::path: return r.target.substr(0, question);
    case LogField::query: return r.target.substr(question);
    case LogField::protocol: return r.method.empty() ? std::string_view() : r.protocol;
    case LogField::route: return r.route;
    case LogField::request_id: return r.request_id;
    case LogField::reason: return r.reason;
    case LogField::referer: return r.referer;
    case LogField::user_agent: return r.user_agent;
    case LogField::user: return r.user;
    case LogField::trace_id: return known.trace_id;
    case LogField::span_id: return known.span_id;
    case LogField::tls_version: return of_tls(&net::TlsPeer::version);
    case LogField::tls_cipher: return of_tls(&net::TlsPeer::cipher);
    case LogField::tls_server_name: return of_tls(&net::TlsPeer::server_name);
    case LogField::client_cert_verified: return r.tls != nullptr ? r.tls->verified() : std::string_view();
    case LogField::client_cert_subject: return of_tls(&net::TlsPeer::subject);
    case LogField::client_cert_names: return of_tls(&net::TlsPeer::all_names);
    case LogField::client_cert_fingerprint: return of_tls(&net::TlsPeer::fingerprint);
    case LogField::status:
    case LogField::bytes_in:
    case LogField::bytes_out:
    case LogField::duration:
    case LogField::time_to_head: break;
  }
  return {};
}

/// False: it is none of the numbers.
bool write_number(Line& line, LogField field, const http::AccessRecord& r) noexcept {
  switch (field) {
    case LogField::status: line.number(r.status); return true;
    case LogField::bytes_in: line.number(r.received_bytes); return true;
    case LogField::bytes_out: line.number(r.body_bytes); return true;
    case LogField::duration: line.seconds(r.duration_ns); return true;
    case LogField::time_to_head: line.seconds(r.head_ns); return true;
    default: return false;
  }
}

constexpr std::string_view kCut = "...";

}  // namespace

Result<AccessLine> AccessLine::make(AccessFormat format, std::string listener, std::string_view text) {
  AccessLine line(format, std::move(listener));
  if (format == AccessFormat::written)
    if (const Result<void> done = line.lay_out(text); !done) return fail(done.error());
  return line;
}

Result<void> AccessLine::lay_out(std::string_view text) {
  static constexpr std::size_t kLeast = 64;  // of a field that may be long
  std::vector<TemplatePart> parts;
  if (!parse_template(text, config::kLogFields, parts).empty() || parts.empty())
    return fail(std::errc::invalid_argument);
  std::size_t used = 1;  // the line's end
  std::size_t long_ones = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const TemplatePart& p = parts[i];
    Part part{p.id, quoted, false, '\0', 0, p.text};
    if (p.id == TemplatePart::kLiteral) {
      used += p.text.size();
      quoted = quoted != (std::count(p.text.begin(), p.text.end(), '"') % 2 != 0);
    } else {
      const bool after = i != 0 && parts[i - 1].id != TemplatePart::kLiteral;
      const bool before = i + 1 != parts.size() && parts[i + 1].id != TemplatePart::kLiteral;
      part.alone = !after && !before;
      const auto field = static_cast<LogField>(p.id);
      for (std::size_t next = i + 1; next != parts.size() && part.stop == '\0' && may_hold_anything(field); ++next)
        if (parts[next].id == TemplatePart::kLiteral) part.stop = parts[next].text.front();
      part.most = static_cast<std::uint16_t>(most_of(field));
      used += part.most + kCut.size();
      long_ones += part.most == 0 ? 1U : 0U;
    }
    parts_.push_back(std::move(part));
  }
  if (used > kMost || (kMost - used) < long_ones * kLeast) return fail(std::errc::message_size);
  for (Part& part : parts_)
    if (part.field != TemplatePart::kLiteral && part.most == 0)
      part.most = static_cast<std::uint16_t>((kMost - used) / long_ones);
  return {};
}

std::size_t AccessLine::write(std::array<char, kMost>& out, const http::AccessRecord& r,
                              std::timespec now) const noexcept {
  Line line(out.data(), out.size() - 1);
  std::tm parts{};
  gmtime_r(&now.tv_sec, &parts);
  std::array<char, 40> time;
  const bool ncsa = format_ == AccessFormat::common || format_ == AccessFormat::combined;
  const char* const form = ncsa ? "%d/%b/%Y:%H:%M:%S +0000" : "%Y-%m-%dT%H:%M:%SZ";
  std::size_t size = std::strftime(time.data(), time.size(), form, &parts);
  if (format_ == AccessFormat::written && size != 0) {
    Line fraction(time.data() + size - 1, time.size() - size + 1);  // before the Z
    fraction.raw(".");
    fraction.number(static_cast<std::uint64_t>(now.tv_nsec) / 1'000'000, 3);
    fraction.raw("Z");
    size += fraction.size() - 1;
  }
  std::array<char, INET6_ADDRSTRLEN> room;
  const trace::IdText trace_id(ncsa ? trace::TraceId() : r.trace.trace_id);
  const trace::IdText span_id(ncsa ? trace::SpanId() : r.trace.span_id);
  const Known known{{time.data(), size},
                    r.peer != nullptr ? r.peer->host(room) : std::string_view("-"),
                    listener_,
                    trace_id.text(),
                    span_id.text()};
  switch (format_) {
    case AccessFormat::common:
    case AccessFormat::combined: write_common(line, known, r, format_ == AccessFormat::combined); break;
    case AccessFormat::json: write_json(line, known, r); break;
    case AccessFormat::written:
      for (const Part& part : parts_) {
        if (part.field == TemplatePart::kLiteral) {
          line.raw(part.text);
          continue;
        }
        const auto field = static_cast<LogField>(part.field);
        if (write_number(line, field, r)) continue;
        const std::string_view text = text_of(field, known, r);
        if (text.empty() && part.alone) {
          line.raw("-");
          continue;
        }
        if (!line.escaped(text, part.quoted ? Escape::quoted : Escape::bare, part.most, part.stop) && part.stop != '.')
          line.raw(kCut);
      }
      break;
  }
  size = line.size();
  out[size++] = '\n';
  return size;
}

}  // namespace fiberd::daemon
