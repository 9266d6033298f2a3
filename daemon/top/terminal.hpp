#pragma once
// Terminal: the screen of a program that draws all of it, and gives it back as it was.
//
// Plain sequences of ECMA-48 and xterm (alternate screen, cursor, bold, reverse), which every terminal of today knows;
// no library of terminals (docs/adr/0015-top-without-curses.md). Whatever ends the program gives the screen back: its
// end, an exception, the signals that ask for an end (they are noticed in poll() alone, as is a new size), a stop by
// Ctrl-Z, and those of a broken program, whose handler writes the same bytes before it lets the signal do its work.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace fiberd::daemon::top {

enum class Key : std::uint8_t {
  none,
  character,  ///< Event::character
  up,
  down,
  page_up,
  page_down,
  home,
  end,
  left,
  right,
  enter,
  escape,
  tab
};

struct Event {
  enum class What : std::uint8_t { timeout, key, resized, signal, hang_up } what = What::timeout;
  Key key = Key::none;
  char character = 0;
  int signal = 0;
};

class Terminal {
 public:
  /// Takes the terminal of standard input and output. One at a time. Throws std::system_error when it is none.
  Terminal();
  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  [[nodiscard]] std::size_t columns() const noexcept { return columns_; }
  [[nodiscard]] std::size_t rows() const noexcept { return rows_; }
  /// The whole screen: lines with their sequences, each as wide as it is meant to be. False: nobody takes it any more.
  [[nodiscard]] bool draw(std::string_view screen) noexcept;
  /// The next key, signal or change of size, or a time-out.
  [[nodiscard]] Event poll(std::chrono::nanoseconds patience);

 private:
  void measure() noexcept;
  void stop_for_a_while();
  [[nodiscard]] Event read_key();
  std::size_t columns_ = 80;
  std::size_t rows_ = 24;
};

}  // namespace fiberd::daemon::top
