#include "core/http/h2/session_memory.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace fiberd::http::h2 {

SessionMemory::SessionMemory() noexcept
    : hooks_{this, [](std::size_t size, void* self) { return static_cast<SessionMemory*>(self)->take(size); },
             [](void* piece, void* self) { static_cast<SessionMemory*>(self)->give(piece); },
             [](std::size_t n, std::size_t size, void* self) -> void* {
               if (size != 0 && n > SIZE_MAX / size) return nullptr;
               void* const piece = static_cast<SessionMemory*>(self)->take(n * size);
               if (piece != nullptr) std::memset(piece, 0, n * size);
               return piece;
             },
             [](void* piece, std::size_t size, void* self) {
               return static_cast<SessionMemory*>(self)->resize(piece, size);
             }} {}

void* SessionMemory::take(std::size_t size) noexcept {
  if (size > SIZE_MAX - sizeof(Head) - kStep) return nullptr;
  const std::size_t steps = (size + sizeof(Head) + kStep - 1) / kStep;
  if (steps < kSizes && free_[steps] != nullptr) {
    Head* const head = free_[steps];
    free_[steps] = head->next;
    kept_ -= steps * kStep;
    return head + 1;
  }
  auto* const head = static_cast<Head*>(std::malloc(steps * kStep));
  if (head == nullptr) return nullptr;
  head->steps = steps;
  return head + 1;
}

void SessionMemory::give(void* piece) noexcept {
  if (piece == nullptr) return;
  Head* const head = static_cast<Head*>(piece) - 1;
  const std::size_t bytes = head->steps * kStep;
  if (head->steps >= kSizes || kept_ + bytes > kMostKept) {
    std::free(head);
    return;
  }
  head->next = free_[head->steps];
  free_[head->steps] = head;
  kept_ += bytes;
}

void* SessionMemory::resize(void* piece, std::size_t size) noexcept {
  if (piece == nullptr) return take(size);
  const std::size_t room = (static_cast<Head*>(piece) - 1)->steps * kStep - sizeof(Head);
  if (size <= room) return piece;
  void* const larger = take(size);
  if (larger == nullptr) return nullptr;
  std::memcpy(larger, piece, room);
  give(piece);
  return larger;
}

void SessionMemory::drop() noexcept {
  for (Head*& first : free_)
    while (first != nullptr) {
      Head* const head = first;
      first = head->next;
      std::free(head);
    }
  kept_ = 0;
}

}  // namespace fiberd::http::h2
