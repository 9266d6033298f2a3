#pragma once
// An answer of an HTTP/1 server, and how a test's client reads them, wherever the bytes come from.
#include <strings.h>

#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace fiberd::test {

struct Answer {
  unsigned status = 0;
  std::string head;  // with the empty line
  std::string body;
  [[nodiscard]] std::string field(std::string_view name) const {
    for (std::size_t at = head.find("\r\n"); at != std::string::npos; at = head.find("\r\n", at + 2)) {
      const std::size_t colon = at + 2 + name.size();
      if (colon >= head.size() || head[colon] != ':' ||
          ::strncasecmp(head.data() + at + 2, name.data(), name.size()) != 0)
        continue;
      std::string value = head.substr(colon + 1, head.find("\r\n", colon) - colon - 1);
      while (value.starts_with(' ')) value.erase(0, 1);
      return value;
    }
    return {};
  }
};

/// What comes from a server, taken apart into answers; who has the bytes says how more of them come.
class AnswerReader {
 public:
  AnswerReader() = default;
  AnswerReader(const AnswerReader&) = delete;
  AnswerReader& operator=(const AnswerReader&) = delete;
  virtual ~AnswerReader() = default;

  /// False when the server does not take it (any more).
  virtual bool send(std::string_view bytes) = 0;
  virtual void finish_sending() = 0;
  /// Receives at least one more byte into rest().
  virtual bool more() = 0;

  /// One final answer; nothing when the stream ends first (ended() or error()). Interim answers are counted, not told.
  std::optional<Answer> receive(bool to_head = false) {
    for (;;) {
      std::size_t end = 0;
      while ((end = buffer_.find("\r\n\r\n")) == std::string::npos)
        if (!more()) return std::nullopt;
      Answer a;
      a.head = buffer_.substr(0, end + 4);
      buffer_.erase(0, end + 4);
      if (a.head.size() < 12 || !a.head.starts_with("HTTP/1.")) throw std::runtime_error("no answer: " + a.head);
      a.status = static_cast<unsigned>(std::strtoul(a.head.c_str() + 9, nullptr, 10));
      if (a.status / 100 == 1) {
        ++interim_;
        continue;
      }
      if (to_head || a.status == 204 || a.status == 304) return a;
      if (!a.field("Transfer-Encoding").empty()) return chunked(a) ? std::optional(std::move(a)) : std::nullopt;
      const std::string length = a.field("Content-Length");
      if (length.empty()) {
        while (more()) {
        }
        a.body = std::exchange(buffer_, {});
        return a;
      }
      const std::size_t size = std::strtoull(length.c_str(), nullptr, 10);
      while (buffer_.size() < size)
        if (!more()) return std::nullopt;
      a.body = buffer_.substr(0, size);
      buffer_.erase(0, size);
      return a;
    }
  }
  std::optional<Answer> ask(std::string_view request, bool to_head = false) {
    send(request);
    return receive(to_head);
  }
  /// Waits for the end of the stream; true when it is orderly and nothing unasked came before it.
  bool wait_end() {
    while (more()) {
    }
    return ended_ && buffer_.empty();
  }
  [[nodiscard]] const std::string& rest() const noexcept { return buffer_; }
  /// For protocols that are not HTTP/1's: the first `size` bytes of rest() have been read.
  void drop(std::size_t size) { buffer_.erase(0, size); }
  [[nodiscard]] bool ended() const noexcept { return ended_; }
  [[nodiscard]] int error() const noexcept { return error_; }
  [[nodiscard]] unsigned interim() const noexcept { return interim_; }

 protected:
  std::string buffer_;
  bool ended_ = false;
  int error_ = 0;

 private:
  bool chunked(Answer& a) {
    for (;;) {
      std::size_t end = 0;
      while ((end = buffer_.find("\r\n")) == std::string::npos)
        if (!more()) return false;
      const std::size_t size = std::strtoull(buffer_.c_str(), nullptr, 16);
      buffer_.erase(0, end + 2);
      while (buffer_.size() < size + 2)
        if (!more()) return false;
      a.body += buffer_.substr(0, size);
      buffer_.erase(0, size + 2);
      if (size == 0) return true;
    }
  }
  unsigned interim_ = 0;
};

}  // namespace fiberd::test
