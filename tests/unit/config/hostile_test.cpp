// Files that nobody wrote in good faith, or that a copy damaged: an answer in bounded time, and never a crash.
#include <catch2/catch.hpp>
#include <chrono>
#include <random>

#include "config/config.hpp"
#include "tests/unit/config/loading.hpp"

using namespace fiberd::config;
using namespace std::chrono_literals;

namespace {

std::string repeat(std::string_view text, std::size_t n) {
  std::string out;
  for (std::size_t i = 0; i < n; ++i) out += text;
  return out;
}

/// The first diagnostic; empty when there is none.
std::string first(const std::string& yaml) {
  const Outcome o = load_text(yaml, "f");
  return o.ok() ? std::string() : o.diagnostics.front().to_string();
}

}  // namespace

TEST_CASE("bombs are refused early", "[config][hostile]") {
  CHECK(first("a: " + repeat("[", 33) + repeat("]", 33)).find("nested deeper than 32") != std::string::npos);
  CHECK_FALSE(first("a: " + repeat("[", 200'000)).empty());
  CHECK(first("a: " + repeat("{a: ", 100'000)).find("nested deeper") != std::string::npos);
  std::string block;
  for (int i = 0; i < 1000; ++i) block += std::string(static_cast<std::size_t>(i), ' ') + "a:\n";
  CHECK(first(block).find("nested deeper") != std::string::npos);
  // Nine levels of nine aliases would be 400 million values.
  std::string aliases = "a: &a [x, x, x, x, x, x, x, x, x]\n";
  for (char c = 'b'; c < 'k'; ++c)
    aliases +=
        std::string(1, c) + ": &" + c + " [" + repeat(std::string("*") + static_cast<char>(c - 1) + ", ", 9) + "]\n";
  CHECK(first(aliases).find("anchors") != std::string::npos);
  CHECK(first("a: *b\n").size() > 0);
  CHECK(first("a: [" + repeat("1,", 100'001) + "]\n").find("more than 100000 values") != std::string::npos);
  CHECK(first(std::string(1024 * 1024 + 1, '#')).find("larger than 1024 KiB") != std::string::npos);
  std::string keys;
  for (int i = 0; i < 50'000; ++i) keys += "k" + std::to_string(i) + ": 1\n";
  const auto begin = std::chrono::steady_clock::now();
  CHECK(first(keys).find("unknown key") != std::string::npos);
  CHECK(std::chrono::steady_clock::now() - begin < 10s);
}

TEST_CASE("forms that editors leave behind", "[config][hostile]") {
  CHECK(first("").find("at least one listener") != std::string::npos);
  CHECK(first("# nothing\n").find("at least one listener") != std::string::npos);
  CHECK(first("---\n...\n").find("at least one listener") != std::string::npos);
  CHECK(first("\xef\xbb\xbf" + kListener).empty());                  // a byte order mark
  CHECK(first("runtime: {gomaxprocs: 2}\r\n" + kListener).empty());  // lines of Windows
  CHECK(first("---\n" + kListener).empty());
  CHECK(first(kListener + "...\n").empty());
  CHECK(first("runtime:\n" + kListener).empty());  // a section with nothing in it
  CHECK(first("runtime: ~\nlog: null\n" + kListener).empty());
}

TEST_CASE("damaged files never throw", "[config][hostile]") {
  const std::string good = default_config();
  std::mt19937 random(2026);
  auto below = [&](std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random); };
  static constexpr std::string_view kBytes = "{}[]:,-&*#?|>!%@`\"'\\ \n\t\r0aZ~=.\x80\xff";
  std::size_t refused = 0;
  for (int i = 0; i < 10'000; ++i) {
    std::string text = good;
    for (std::size_t n = below(6) + 1; n != 0 && !text.empty(); --n) {
      const std::size_t at = below(text.size());
      switch (below(4)) {
        case 0: text[at] = kBytes[below(kBytes.size())]; break;
        case 1: text.insert(at, 1, kBytes[below(kBytes.size())]); break;
        case 2: text.erase(at, below(20) + 1); break;
        default: text.insert(at, text.substr(below(text.size()), below(40))); break;
      }
    }
    try {
      if (!load_text(text, "f").ok()) ++refused;
    } catch (const std::exception& e) {
      FAIL("threw " << e.what() << " on:\n" << text);
    }
  }
  CHECK(refused > 5'000);
}
