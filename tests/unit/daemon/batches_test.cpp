#include "daemon/services/aggregate/batches.hpp"

#include <catch2/catch.hpp>
#include <cstring>
#include <string>
#include <vector>

using namespace fiberd::daemon::aggregate;

namespace {

struct Cut {
  std::string lines;  // whole lines, as they came out
  std::string rest;
  std::uint64_t skipped = 0;
};

/// What comes out when `text` arrives in pieces of these sizes, the last one again and again.
Cut cut(std::string_view text, const std::vector<std::size_t>& sizes, std::size_t line_size) {
  LineCutter cutter(line_size);
  Cut out;
  std::string buffer(text.size() + line_size + 1, '?');
  for (std::size_t i = 0; !text.empty(); ++i) {
    const std::size_t n = std::min(text.size(), sizes[std::min(i, sizes.size() - 1)]);
    const std::size_t begun = cutter.begin(buffer.data());
    std::memcpy(buffer.data() + begun, text.data(), n);
    text.remove_prefix(n);
    const auto [offset, size] = cutter.cut(buffer.data(), begun + n);
    out.lines.append(buffer, offset, size);
    out.skipped += cutter.take_skipped();
  }
  out.rest = cutter.rest();
  return out;
}

}  // namespace

TEST_CASE("lines come out whole, wherever the stream is split", "[daemon][aggregate]") {
  const std::string text = "a:1|c\nbb:22|ms\r\n\nccc:333|g|#x:y\nend";
  for (std::size_t first = 1; first < text.size(); ++first)
    for (std::size_t second = 1; second < text.size(); ++second) {
      const Cut got = cut(text, {first, second}, 20);
      if (got.lines != text.substr(0, text.size() - 3) || got.rest != "end" || got.skipped != 0)
        FAIL("split at " << first << " and " << second << ": " << got.lines << "; " << got.rest);
    }
  CHECK(cut(text, {1}, 20).lines + "end" == text);
}

TEST_CASE("lines that are too long are skipped, each counted once", "[daemon][aggregate]") {
  // In one piece they come through: who takes the lines refuses them.
  const std::string text = "short:1|c\n" + std::string(100, 'x') + "\nnext:1|c\n" + std::string(50, 'y');
  CHECK(cut(text, {text.size()}, 20).lines == "short:1|c\n" + std::string(100, 'x') + "\nnext:1|c\n");
  for (const std::size_t size : {1U, 7U, 22U}) {
    const Cut got = cut(text, {size}, 20);
    INFO(size);
    CHECK(got.lines == "short:1|c\nnext:1|c\n");
    CHECK(got.rest.empty());
    CHECK(got.skipped == 2);
  }
  // At the bound, with a CR behind.
  CHECK(cut(std::string(20, 'z') + "\r\n", {1}, 20).lines == std::string(20, 'z') + "\r\n");
}

TEST_CASE("buffers are used again", "[daemon][aggregate]") {
  BufferPool pool(100, 1);
  const char* first = nullptr;
  {
    const BufferPool::Buffer a = pool.take();
    const BufferPool::Buffer b = pool.take();
    CHECK(a.get() != b.get());
    first = b.get();
  }
  // b went first; for a there was no room.
  CHECK(pool.take().get() == first);
}
