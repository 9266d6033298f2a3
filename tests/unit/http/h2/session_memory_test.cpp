#include "core/http/h2/session_memory.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <random>
#include <vector>

using namespace fiberd::http;

TEST_CASE("what a session of HTTP/2 gives back is kept by size, within a bound", "[h2][memory]") {
  h2::SessionMemory memory;
  const nghttp2_mem& m = *memory.hooks();
  void* const first = m.malloc(100, m.mem_user_data);
  m.free(first, m.mem_user_data);
  CHECK(memory.kept() != 0);
  CHECK(m.malloc(90, m.mem_user_data) == first);  // the same size in its eyes
  CHECK(memory.kept() == 0);
  m.free(first, m.mem_user_data);
  auto* const zeros = static_cast<unsigned char*>(m.calloc(10, 10, m.mem_user_data));
  CHECK(zeros == first);
  for (int i = 0; i < 100; ++i) CHECK(zeros[i] == 0);
  m.free(zeros, m.mem_user_data);
  CHECK(m.calloc(SIZE_MAX / 2, 3, m.mem_user_data) == nullptr);
  CHECK(m.malloc(SIZE_MAX - 8, m.mem_user_data) == nullptr);
  m.free(nullptr, m.mem_user_data);

  std::vector<void*> many;
  for (int i = 0; i < 1'000; ++i) many.push_back(m.malloc(1'000, m.mem_user_data));
  for (void* const piece : many) m.free(piece, m.mem_user_data);
  CHECK(memory.kept() <= h2::SessionMemory::kMostKept);
  memory.drop();
  CHECK(memory.kept() == 0);
}

TEST_CASE("pieces of a session's memory keep what is in them, whatever their sizes become", "[h2][memory]") {
  h2::SessionMemory memory;
  const nghttp2_mem& m = *memory.hooks();
  std::mt19937 random(1);
  struct Piece {
    unsigned char* at;
    std::size_t size;
    unsigned char with;
  };
  std::vector<Piece> held;
  bool whole = true;
  for (int turn = 0; turn < 20'000; ++turn) {
    const std::size_t size = 1 + random() % 5'000;
    const auto with = static_cast<unsigned char>(random());
    if (held.size() < 50) {
      auto* const at = static_cast<unsigned char*>(m.malloc(size, m.mem_user_data));
      std::memset(at, with, size);
      held.push_back({at, size, with});
      continue;
    }
    Piece& p = held[random() % held.size()];
    whole = whole && p.at[0] == p.with && p.at[p.size - 1] == p.with;
    if (turn % 2 == 0) {
      auto* const at = static_cast<unsigned char*>(m.realloc(p.at, size, m.mem_user_data));
      whole = whole && at[0] == p.with && at[std::min(size, p.size) - 1] == p.with;
      std::memset(at, with, size);
      p = {at, size, with};
    } else {
      m.free(p.at, m.mem_user_data);
      p = held.back();
      held.pop_back();
    }
  }
  for (const Piece& p : held) m.free(p.at, m.mem_user_data);
  CHECK(whole);
}
