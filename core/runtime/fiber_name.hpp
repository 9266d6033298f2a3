#pragma once
// FiberName: what a fiber is called in dumps, traces and logs; text that lives for ever, and the type says so.
//
//   runtime::spawn("reader", …);                                  // a literal
//   static constexpr runtime::FiberName kName = "reader";         // the same, kept
//   const auto name = runtime::FiberName::intern(config.name);    // made at run time, once, and never freed
//
// A fiber keeps its name as two words, and whoever looks at fibers (a dump, admission, the log of an exception) reads
// it at any later time, on any thread. So the text must outlive every fiber. The constructor is consteval: its argument
// is a constant, which can only point to storage that lives as long as the program. A std::string, a buffer on the
// stack, a `const char*` from somewhere do not compile.
//
// Rejected: a std::string in the fiber (an allocation for each spawn, and dumps read names of fibers that run);
// interning silently (a name made from a request would grow the table for ever: who wants that must write it).
#include <cstddef>
#include <string_view>

namespace fiberd::runtime {

namespace detail {
/// Called while compiling only: that it is no constant function is the error. (Defined all the same: clang 14 emits
/// consteval constructors of default arguments and members.)
[[noreturn]] void a_fiber_name_must_be_a_literal_without_zeros_in_it();
}  // namespace detail

class FiberName {
 public:
  /// From a literal, or another constant array that ends in its only zero.
  template <std::size_t N>
  consteval FiberName(const char (&literal)[N])  // NOLINT(google-explicit-constructor): written as a literal
      : text_(literal, N - 1) {
    for (std::size_t i = 0; i < N; ++i)
      if ((literal[i] == '\0') != (i == N - 1)) detail::a_fiber_name_must_be_a_literal_without_zeros_in_it();
  }

  /// A name that is made at run time: copied, once for each different text, and kept until the process ends. For names
  /// of which there are few (from a configuration), never for what a client sends. Any thread; takes a lock. Throws
  /// std::bad_alloc.
  [[nodiscard]] static FiberName intern(std::string_view text);

  [[nodiscard]] constexpr std::string_view text() const noexcept { return text_; }
  constexpr operator std::string_view() const noexcept { return text_; }  // NOLINT(google-explicit-constructor)
  friend constexpr bool operator==(FiberName a, FiberName b) noexcept { return a.text_ == b.text_; }

 private:
  struct Interned {};
  constexpr FiberName(Interned /*tag*/, std::string_view text) noexcept : text_(text) {}
  std::string_view text_;
};

}  // namespace fiberd::runtime
