#pragma once
// AnswerHead: the head of an answer at the last moment at which it can be changed, and HeadHook, which is told of it.
#include <cstdint>
#include <optional>
#include <string_view>

#include "core/base/result.hpp"
#include "core/http/body_encoder.hpp"
#include "core/http/field_lines.hpp"

namespace fiberd::http {

/// Valid during HeadHook::on_head only.
class AnswerHead {
 public:
  [[nodiscard]] unsigned status() const noexcept { return status_; }
  /// Content-Type and Server are among the fields; Date, Connection and what frames the message are not.
  [[nodiscard]] const FieldLines& fields() const noexcept { return fields_; }
  [[nodiscard]] bool has(std::string_view name) const noexcept { return fields_.has(name); }
  /// The first value of that name; empty when there is none. The view holds until the next change.
  [[nodiscard]] std::string_view find(std::string_view name) const noexcept { return fields_.find(name); }
  /// Errors: invalid_argument (no field name, a value with controls, or a field that the server alone writes: Date,
  /// Connection, Content-Length, Transfer-Encoding), not_enough_memory.
  [[nodiscard]] Result<void> set(std::string_view name, std::string_view value) noexcept {
    return fields_.set(name, value);
  }
  [[nodiscard]] Result<void> add(std::string_view name, std::string_view value) noexcept {
    return fields_.add(name, value);
  }
  void remove(std::string_view name) noexcept { fields_.remove(name); }

  /// Of the body as the handler gives it; nothing: not known yet.
  [[nodiscard]] std::optional<std::uint64_t> content_length() const noexcept { return content_length_; }
  /// The whole body is here already, content_length() bytes of it: nothing more will be written.
  [[nodiscard]] bool complete() const noexcept { return complete_; }
  /// The request was HEAD, or the status has no body: none is sent.
  [[nodiscard]] bool without_body() const noexcept { return without_body_; }
  /// The body goes through `encoder`, which must live as long as serve() of the filter that says so. The answer gets
  /// the length that comes out if all of it fits into the output buffer, else none. What says something about the
  /// body's bytes (ETag, Content-Encoding, Accept-Ranges, Vary) the hook changes itself. One an answer: false when
  /// there is one already.
  bool encode(BodyEncoder& encoder) noexcept {
    if (encoder_ != nullptr) return false;
    encoder_ = &encoder;
    return true;
  }

 private:
  friend class Exchange;
  AnswerHead(unsigned status, FieldLines& fields, std::optional<std::uint64_t> content_length, bool complete,
             bool without_body) noexcept
      : status_(status),
        fields_(fields),
        content_length_(content_length),
        complete_(complete),
        without_body_(without_body) {}
  unsigned status_;
  FieldLines& fields_;
  std::optional<std::uint64_t> content_length_;
  bool complete_;
  bool without_body_;
  BodyEncoder* encoder_ = nullptr;
};

/// Told of an answer's head when it is committed, whoever gave the answer: the handler, a filter behind this one, or
/// the server for an error. Lives on the stack of a filter around its call of next(): it leaves when it is destroyed.
/// Those that were put on last are told first, so that what is written first in a configuration has the last word.
class HeadHook {
 public:
  HeadHook() = default;
  HeadHook(const HeadHook&) = delete;
  HeadHook& operator=(const HeadHook&) = delete;
  /// Must not answer, nor write. What it throws is logged; what it had changed stays, and the others are told.
  virtual void on_head(AnswerHead& head) = 0;

 protected:
  virtual ~HeadHook();  // leaves its exchange

 private:
  friend class Exchange;
  HeadHook* before_ = nullptr;
  class Exchange* exchange_ = nullptr;
};

}  // namespace fiberd::http
