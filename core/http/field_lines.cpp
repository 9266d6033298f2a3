#include "core/http/field_lines.hpp"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "core/http/response.hpp"

namespace fiberd::http {

static constexpr std::size_t kAround = 4;  // CRLF, colon and blank

FieldLines::Line FieldLines::line_at(std::size_t begin) const noexcept {
  if (begin >= size_) return {};
  const std::string_view rest = text().substr(begin);
  const std::string_view line = rest.substr(0, std::min(rest.find("\r\n", 2), rest.size()));
  const std::size_t colon = line.find(':');
  return {begin, line.size(), {line.substr(2, colon - 2), line.substr(colon + 2)}};
}

FieldLines::Line FieldLines::locate(std::string_view name, std::size_t from) const noexcept {
  Line line = line_at(from);
  while (line.size != 0 && !equals_ignore_case(line.field.name, name)) line = line_at(line.begin + line.size);
  return line;
}

bool FieldLines::room_for(std::size_t size) noexcept {
  if (capacity_ - size_ >= size) return true;
  const std::size_t wanted = std::max(2 * capacity_, size_ + size);
  std::unique_ptr<char[]> larger(new (std::nothrow) char[wanted]);
  if (larger == nullptr) return false;
  if (size_ != 0) std::memcpy(larger.get(), data_, size_);
  before_ = std::exchange(spill_, std::move(larger));  // what is added may be a view of it
  data_ = spill_.get();
  capacity_ = wanted;
  return true;
}

Result<void> FieldLines::append(std::string_view lines) noexcept {
  if (lines.empty()) return {};
  if (!room_for(lines.size())) return fail(std::errc::not_enough_memory);
  std::memcpy(data_ + size_, lines.data(), lines.size());
  size_ += lines.size();
  return {};
}

Result<void> FieldLines::add(std::string_view name, std::string_view value) noexcept {
  if (!is_writable({name, value})) return fail(std::errc::invalid_argument);
  if (!room_for(name.size() + value.size() + kAround)) return fail(std::errc::not_enough_memory);
  const auto put = [this](std::string_view part) {
    if (!part.empty()) std::memcpy(data_ + size_, part.data(), part.size());
    size_ += part.size();
  };
  put("\r\n");
  put(name);
  put(": ");
  put(value);
  return {};
}

Result<void> FieldLines::set(std::string_view name, std::string_view value) noexcept {
  std::size_t old = size_;
  if (Result<void> added = add(name, value); !added) return added;
  for (Line line = locate(name); line.begin < old; line = locate(name, line.begin)) {
    erase(line);
    old -= line.size;
  }
  return {};
}

void FieldLines::remove(std::string_view name) noexcept {
  for (Line line = locate(name); line.size != 0; line = locate(name, line.begin)) erase(line);
}

void FieldLines::erase(const Line& line) noexcept {
  std::memmove(data_ + line.begin, data_ + line.begin + line.size, size_ - line.begin - line.size);
  size_ -= line.size;
}

std::string_view FieldLines::find(std::string_view name) const noexcept { return locate(name).field.value; }

}  // namespace fiberd::http
