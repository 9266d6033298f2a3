#include "core/http/response.hpp"

#include <charconv>
#include <cstring>
#include <vector>

#include "core/base/bug.hpp"
#include "core/http/characters.hpp"

namespace fiberd::http {
namespace {

constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\nDate: ";

class Out {
 public:
  explicit Out(std::span<char> room) noexcept : begin_(room.data()), p_(begin_), end_(begin_ + room.size()) {}
  void put(std::string_view text) noexcept {
    if (static_cast<std::size_t>(end_ - p_) < text.size()) {
      full_ = true;
      return;
    }
    if (!text.empty()) std::memcpy(p_, text.data(), text.size());
    p_ += text.size();
  }
  void number(std::uint64_t value) noexcept {
    char digits[20];
    const auto r = std::to_chars(digits, digits + sizeof digits, value);
    put({digits, static_cast<std::size_t>(r.ptr - digits)});
  }
  [[nodiscard]] bool full() const noexcept { return full_; }
  [[nodiscard]] std::size_t size() const noexcept { return static_cast<std::size_t>(p_ - begin_); }

 private:
  char* begin_;
  char* p_;
  char* end_;
  bool full_ = false;
};

/// Fields that write_head alone may write: a second one would let two readers disagree about the message's end.
bool is_reserved(std::string_view name) noexcept {
  switch (name.size()) {
    case 4: return equals_lower(name, "date");
    case 10: return equals_lower(name, "connection");
    case 14: return equals_lower(name, "content-length");
    case 17: return equals_lower(name, "transfer-encoding");
    default: return false;
  }
}

void put_field(Out& out, std::string_view name, std::string_view value) noexcept {
  out.put("\r\n");
  out.put(name);
  out.put(": ");
  out.put(value);
}

bool put_fields(Out& out, std::string_view server, std::string_view content_type, const FieldBlock* block,
                std::span<const Field> fields) noexcept {
  if (!is_field_value(server) || !is_field_value(content_type)) return false;
  if (!server.empty()) {
    out.put("\r\nServer: ");
    out.put(server);
  }
  if (!content_type.empty()) {
    out.put("\r\nContent-Type: ");
    out.put(content_type);
  }
  if (block != nullptr) out.put(block->text());
  for (const Field& field : fields) {
    if (!is_writable(field)) return false;
    put_field(out, field.name, field.value);
  }
  return true;
}

/// The end of a head: what frames the body, and whether the connection goes on.
HeadWritten put_end(Out& out, const WireHead& head) noexcept {
  BodyKind kind = head.body;
  bool keep_alive = head.keep_alive;
  if (!status_has_body(head.status)) {
    if (head.status == 304 && kind == BodyKind::length && head.send_content_length) {
      out.put("\r\nContent-Length: ");
      out.number(head.content_length);
    }
    kind = BodyKind::length;
  } else {
    if (kind == BodyKind::chunked && head.version == Version::http10) kind = BodyKind::until_close;
    if (kind == BodyKind::length) {
      out.put("\r\nContent-Length: ");
      out.number(head.content_length);
    } else if (kind == BodyKind::chunked) {
      out.put("\r\nTransfer-Encoding: chunked");
    } else {
      keep_alive = false;
    }
  }
  if (head.status >= 200) {
    // Who names protocols in Upgrade says so here (RFC 9110 section 7.8), and 426 has to name them.
    const bool upgrades = head.status == 426;
    if (!keep_alive) {
      out.put(upgrades ? "\r\nConnection: upgrade, close" : "\r\nConnection: close");
    } else if (upgrades) {
      out.put("\r\nConnection: upgrade");
    } else if (head.version == Version::http10) {
      out.put("\r\nConnection: keep-alive");
    }
  }
  out.put("\r\n\r\n");
  return HeadWritten{0, keep_alive, kind};
}

}  // namespace

bool is_writable(const Field& field) noexcept {
  return is_token(field.name) && is_field_value(field.value) && !is_reserved(field.name);
}

Result<FieldBlock> FieldBlock::make(std::span<const Field> fields) {
  FieldBlock block;
  for (const Field& field : fields) {
    if (!is_writable(field)) return fail(std::errc::invalid_argument);
    block.text_.append("\r\n").append(field.name).append(": ").append(field.value);
  }
  return block;
}

Result<std::size_t> write_fields(std::span<char> room, std::string_view server, const ResponseHead& head) noexcept {
  Out out(room);
  if (!put_fields(out, server, head.content_type, head.block, head.fields)) return fail(std::errc::invalid_argument);
  if (out.full()) return fail(std::errc::no_buffer_space);
  return out.size();
}

Result<HeadWritten> write_head(std::span<char> room, const WireHead& head, std::string_view date) noexcept {
  if (head.status < 100 || head.status > 599 || date.size() != kDateSize) return fail(std::errc::invalid_argument);
  Out out(room);
  if (head.status == 200) {
    out.put(kOk);
  } else {
    out.put("HTTP/1.1 ");
    out.number(head.status);
    out.put(" ");
    out.put(reason_phrase(head.status));
    out.put("\r\nDate: ");
  }
  out.put(date);
  if (!head.lines.empty())
    out.put(head.lines);
  else if (!put_fields(out, head.server, head.content_type, head.block, head.fields))
    return fail(std::errc::invalid_argument);
  HeadWritten written = put_end(out, head);
  if (out.full()) return fail(std::errc::no_buffer_space);
  written.size = out.size();
  return written;
}

std::size_t write_chunk_head(char* out, std::uint64_t size) noexcept {
  FIBERD_BUG_IF(size == 0);
  const auto r = std::to_chars(out, out + 16, size, 16);
  std::memcpy(r.ptr, "\r\n", 2);
  return static_cast<std::size_t>(r.ptr - out) + 2;
}

Result<PreparedResponse> PreparedResponse::make(const WireHead& head, std::string_view body) {
  PreparedResponse prepared;
  prepared.status_ = head.status;
  prepared.body_size_ = status_has_body(head.status) ? body.size() : 0;
  std::size_t room = 256 + head.server.size() + head.content_type.size();
  for (const Field& field : head.fields) room += field.name.size() + field.value.size() + 4;

  DateCache any_date;
  for (std::size_t i = 0; i < prepared.forms_.size(); ++i) {
    WireHead variant = head;
    variant.body = BodyKind::length;
    variant.content_length = body.size();
    variant.send_content_length = !body.empty();
    variant.keep_alive = i != 0;
    variant.version = i == 2 ? Version::http10 : Version::http11;
    Form& form = prepared.forms_[i];
    form.text.resize(room);
    const auto written = write_head(form.text, variant, any_date.text());
    if (!written) return fail(written.error());
    form.text.resize(written->size);
    form.head_size = written->size;
    if (prepared.body_size_ > 0) form.text += body;
  }
  // The status line is the same in all forms, and Date comes right behind it.
  prepared.date_offset_ = prepared.forms_[0].text.find("\r\nDate: ") + 8;
  prepared.fields_begin_ = prepared.date_offset_ + kDateSize;
  std::vector<char> fields(room);
  Out out(fields);
  (void)put_fields(out, head.server, head.content_type, head.block, head.fields);
  prepared.fields_end_ = prepared.fields_begin_ + out.size();
  return prepared;
}

void PreparedResponse::write(char* out, Version version, bool keep_alive, bool with_body,
                             std::string_view date) const noexcept {
  const Form& f = form(version, keep_alive);
  std::memcpy(out, f.text.data(), with_body ? f.text.size() : f.head_size);
  if (FIBERD_BUG_IF(date.size() != kDateSize)) return;
  std::memcpy(out + date_offset_, date.data(), kDateSize);
}

}  // namespace fiberd::http
