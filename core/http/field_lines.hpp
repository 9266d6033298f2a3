#pragma once
// FieldLines: the fields of an answer that can still be changed, as the text that will be sent: each field behind its
// CRLF. A protocol that sends text copies it; one that does not reads it line by line. Edits are for the few answers
// that a filter changes, so looking for a name is a walk, and nothing is kept beside the text.
#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

#include "core/base/result.hpp"
#include "core/http/message.hpp"

namespace fiberd::http {

/// Not thread-safe.
class FieldLines {
 public:
  /// What stands in the first `used` bytes of `room`, or nothing; what does not fit in goes to the heap.
  void reset(std::span<char> room, std::size_t used = 0) noexcept {
    data_ = room.data();
    capacity_ = room.size();
    size_ = used;
    spill_.reset();
  }
  [[nodiscard]] std::string_view text() const noexcept { return {data_, size_}; }

  /// Errors: invalid_argument (is_writable()), not_enough_memory.
  [[nodiscard]] Result<void> add(std::string_view name, std::string_view value) noexcept;
  /// In place of all of that name. Errors as add(); then nothing has changed.
  [[nodiscard]] Result<void> set(std::string_view name, std::string_view value) noexcept;
  void remove(std::string_view name) noexcept;
  /// What write_fields() wrote: not looked at. Error: not_enough_memory.
  [[nodiscard]] Result<void> append(std::string_view lines) noexcept;

  [[nodiscard]] bool has(std::string_view name) const noexcept { return locate(name).size != 0; }
  /// The first value of that name; empty when there is none.
  [[nodiscard]] std::string_view find(std::string_view name) const noexcept;
  /// Calls fn(Field) for each, in order.
  template <class F>
  void each(F&& fn) const {
    for (Line line = line_at(0); line.size != 0; line = line_at(line.begin + line.size)) fn(line.field);
  }

 private:
  struct Line {
    std::size_t begin = 0;
    std::size_t size = 0;  ///< 0: there is none
    Field field{};
  };
  [[nodiscard]] Line line_at(std::size_t begin) const noexcept;
  [[nodiscard]] Line locate(std::string_view name, std::size_t from = 0) const noexcept;
  void erase(const Line& line) noexcept;
  [[nodiscard]] bool room_for(std::size_t size) noexcept;

  char* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
  std::unique_ptr<char[]> spill_;
  std::unique_ptr<char[]> before_;
};

}  // namespace fiberd::http
