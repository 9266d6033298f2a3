#pragma once
// RequestRecord: what a request's span and its handler's tell, as bytes beside each other, from the request's end until
// they are sent: then they are made JSON of, by whoever sends. To write it down costs a tenth of that.
//
// Keys are literals of the program, of which the place is kept; texts are copied, and cut. Bytes of a record never
// leave the process.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "core/trace/ids.hpp"
#include "core/trace/span_queue.hpp"
#include "core/trace/span_text.hpp"

namespace fiberd::trace {

/// Used by one fiber, once.
class RequestRecord {
 public:
  RequestRecord() noexcept {}  // not "= default", by which {} would clear what is not read
  RequestRecord(const RequestRecord&) = delete;
  RequestRecord& operator=(const RequestRecord&) = delete;

  /// An attribute of the request's span. Throws std::bad_alloc.
  template <std::size_t N>
  void add(const char (&key)[N], std::string_view text) {
    if (text.size() > kMostValue) text = cut(text);
    put(key, N - 1, Kind::text, text.data(), text.size());
    written_ += kAttribute + N + kEscaped * text.size();
  }
  template <std::size_t N>
  void add(const char (&key)[N], std::int64_t number) {
    put(key, N - 1, Kind::number, reinterpret_cast<const char*>(&number), sizeof number);
    written_ += kAttribute + N + 20;
  }

  struct Facts {
    SpanContext span;
    SpanId parent{};  ///< of another process; none without one
    SpanId handler{};
    std::int64_t begin = 0;  ///< Unix ns
    std::int64_t end = 0;
    std::int64_t handler_begin = 0;
    std::int64_t handler_end = 0;
    SpanStatus status = SpanStatus::unset;
  };
  /// What is to be queued, with the names of both spans; `handler.valid()`: there is one. Throws std::bad_alloc.
  [[nodiscard]] SpanQueue::Record finish(const Facts& facts, std::string_view name, std::string_view handler_name,
                                         std::string_view tracestate);

 private:
  enum class Kind : std::uint8_t { text, number };
  struct Attribute {
    const char* key;
    std::uint16_t key_size;
    std::uint16_t size;  // of the value behind it
    Kind kind;
  };
  // Before the attributes; behind them stand the names and the tracestate.
  struct Head {
    Facts facts;
    std::uint32_t attributes;  // bytes
    std::uint16_t name;
    std::uint16_t handler_name;
    std::uint16_t tracestate;
  };
  static constexpr std::size_t kInline = 1024;
  static constexpr std::size_t kAttribute = 64;  // bytes of JSON around a key and a value, at most
  static constexpr std::size_t kSpan = 512;      // of a span without what is anybody's
  static constexpr std::size_t kEscaped = 6;     // of one byte
  [[nodiscard]] static std::string_view cut(std::string_view text) noexcept;
  void put(const char* key, std::size_t key_size, Kind kind, const char* value, std::size_t size) {
    const Attribute a{key, static_cast<std::uint16_t>(key_size), static_cast<std::uint16_t>(size), kind};
    char* const at = room(sizeof a + size);
    std::memcpy(at, &a, sizeof a);
    if (size != 0) std::memcpy(at + sizeof a, value, size);
  }
  [[nodiscard]] char* room(std::size_t size) {
    if (size > capacity_ - size_) [[unlikely]]
      grow(size);
    char* const at = bytes_ + size_;
    size_ += size;
    return at;
  }
  void grow(std::size_t size);
  static void write(std::string_view record, std::string& out);

  std::array<char, kInline> inline_;  // not read before it is written
  std::unique_ptr<char[]> more_;
  char* bytes_ = inline_.data();
  std::size_t capacity_ = kInline;
  std::size_t size_ = sizeof(Head);
  std::size_t written_ = 2 * kSpan;
};

}  // namespace fiberd::trace
