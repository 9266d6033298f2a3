#include "daemon/top/command.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "core/base/clock.hpp"
#include "daemon/exit_code.hpp"
#include "daemon/top/display.hpp"
#include "daemon/top/snapshot.hpp"
#include "daemon/top/terminal.hpp"

namespace fiberd::daemon::top {

namespace {

int complain(const std::string& why, ExitCode exit_code) {
  std::fprintf(stderr, "top: %s\n", why.c_str());
  return static_cast<int>(exit_code);
}

bool print(std::string_view text) {
  return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
}

int print_once(const Options& options, const Asker& asker) {
  Look before = asker.look();
  if (!before.snapshot) return complain(before.why, before.code);
  std::this_thread::sleep_for(options.interval);
  const Look now = asker.look();
  if (!now.snapshot) return complain(now.why, now.code);
  const Rates rates = rates_between(*before.snapshot, *now.snapshot);
  std::string text;
  if (options.json) {
    text = render_json(*now.snapshot, rates, now.document);
  } else {
    static constexpr std::size_t kColumns = 80;
    ViewState state{.routes = options.sort, .sites = options.sort == Sort::age ? Sort::age : Sort::fibers};
    winsize size{};
    const bool wide = ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col != 0;
    for (const Line& line : compose(*now.snapshot, rates, state, wide ? size.ws_col : kColumns, 0)) {
      const std::size_t end = line.text.find_last_not_of(' ');
      text += line.text.substr(0, end == std::string::npos ? 0 : end + 1) + "\n";
    }
  }
  if (print(text)) return static_cast<int>(ExitCode::clean);
  return complain("standard output cannot be written: " + std::error_code(errno, std::system_category()).message(),
                  ExitCode::runtime_failure);
}

// ---------------------------------------------------------------------------------------------- again and again

std::string_view sequence_of(Line::Style style) {
  switch (style) {
    case Line::Style::plain: return "";
    case Line::Style::bold: return "\x1b[1m";
    case Line::Style::head: return "\x1b[7m";
    case Line::Style::chosen: return "\x1b[1;4m";
    case Line::Style::dim: break;
  }
  return "\x1b[2m";
}

/// Drawn over what was there, so that nothing flickers.
std::string on_screen(const std::vector<Line>& lines) {
  std::string out = "\x1b[H";
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (i != 0) out += "\r\n";
    out.append(sequence_of(lines[i].style)).append(lines[i].text).append("\x1b[0m\x1b[K");
  }
  return out + "\x1b[J";
}

class Session {
 public:
  Session(const Options& options, const Asker& asker, Look first)
      : options_(options), asker_(asker), before_(*first.snapshot), now_(std::move(*first.snapshot)) {
    state_.routes = options.sort == Sort::age || options.sort == Sort::fibers ? Sort::rate : options.sort;
    state_.sites = options.sort == Sort::age || options.sort == Sort::name ? options.sort : Sort::fibers;
    state_.in_sites = options.sort == Sort::age || options.sort == Sort::fibers;
  }

  /// Until somebody has had enough. Returns why it could not go on; empty: somebody has.
  std::string run() {
    Terminal terminal;
    std::int64_t next = monotonic_now() + options_.interval.count();
    for (;;) {
      if (!draw(terminal)) return "the terminal is gone";
      const std::int64_t left = next - monotonic_now();
      const Event event = left > 0 ? terminal.poll(std::chrono::nanoseconds(left)) : Event{};
      switch (event.what) {
        case Event::What::signal: return {};
        case Event::What::hang_up: return "the terminal is gone";
        case Event::What::resized: break;
        case Event::What::key:
          if (!take(event, terminal)) return {};
          break;
        case Event::What::timeout:
          if (monotonic_now() < next) break;
          if (!state_.paused && !reading_) look();
          next = monotonic_now() + options_.interval.count();
          break;
      }
    }
  }

 private:
  void look() {
    Look look = asker_.look();
    if (!look.snapshot) {
      state_.note = std::move(look.why);
      return;
    }
    state_.note.clear();
    before_ = std::exchange(now_, std::move(*look.snapshot));
  }

  bool draw(Terminal& terminal) {
    if (!reading_) {
      const Rates rates = rates_between(before_, now_);
      return terminal.draw(on_screen(compose(now_, rates, state_, terminal.columns(), terminal.rows())));
    }
    std::vector<Line> lines;
    const std::size_t columns = terminal.columns();
    lines.push_back({Line::Style::head, fit("fibers of " + site_, columns)});
    const std::size_t room = terminal.rows() > 2 ? terminal.rows() - 2 : 1;
    top_line_ = std::min(top_line_, text_.size() > room ? text_.size() - room : 0);
    for (std::size_t i = top_line_; i < text_.size() && lines.size() <= room; ++i)
      lines.push_back({Line::Style::plain, fit(text_[i], columns)});
    while (lines.size() + 1 < terminal.rows()) lines.push_back({Line::Style::plain, fit("", columns)});
    if (terminal.rows() > 1)
      lines.push_back({Line::Style::dim, fit("q back  up/down, page up/down  n next fiber  g look again", columns)});
    return terminal.draw(on_screen(lines));
  }

  /// False: it was the last one.
  bool take(const Event& event, const Terminal& terminal) {
    if (reading_) {
      take_reading(event, terminal);
      return true;
    }
    switch (event.key) {
      case Key::up: state_.cursor -= state_.cursor != 0 ? 1 : 0; return true;
      case Key::down: ++state_.cursor; return true;
      case Key::page_up: state_.cursor -= std::min(state_.cursor, terminal.rows() / 2); return true;
      case Key::page_down: state_.cursor += terminal.rows() / 2; return true;
      case Key::home: state_.cursor = 0; return true;
      case Key::end: state_.cursor = SIZE_MAX; return true;
      case Key::tab:
        state_.in_sites = !state_.in_sites;
        state_.cursor = 0;
        return true;
      case Key::enter:
      case Key::right: read_stacks(); return true;
      case Key::character: break;
      default: return true;
    }
    const auto by = [this](Sort sort, bool sites) {
      (sites ? state_.sites : state_.routes) = sort;
      state_.in_sites = sites;
      state_.cursor = 0;
    };
    switch (event.character) {
      case 'q': return false;
      case 'k': state_.cursor -= state_.cursor != 0 ? 1 : 0; break;
      case 'j': ++state_.cursor; break;
      case 'p': state_.paused = !state_.paused; break;
      case 'r': by(Sort::rate, false); break;
      case 'l': by(Sort::latency, false); break;
      case 'e': by(Sort::errors, false); break;
      case 'f': by(Sort::fibers, true); break;
      case 'a': by(Sort::age, true); break;
      case 'n': by(Sort::name, state_.in_sites); break;
      default: break;
    }
    return true;
  }

  void read_stacks() {
    std::string site = site_at(now_, state_);
    if (site.empty()) return;
    site_ = std::move(site);
    text_ = asker_.stacks(site_);
    top_line_ = 0;
    reading_ = true;
  }

  void take_reading(const Event& event, const Terminal& terminal) {
    const std::size_t page = std::max<std::size_t>(terminal.rows(), 4) - 3;
    switch (event.key) {
      case Key::escape:
      case Key::left: reading_ = false; return;
      case Key::up: top_line_ -= top_line_ != 0 ? 1 : 0; return;
      case Key::down: ++top_line_; return;
      case Key::page_up: top_line_ -= std::min(top_line_, page); return;
      case Key::page_down: top_line_ += page; return;
      case Key::home: top_line_ = 0; return;
      case Key::end: top_line_ = text_.size(); return;
      case Key::character: break;
      default: return;
    }
    switch (event.character) {
      case 'q': reading_ = false; break;
      case 'k': top_line_ -= top_line_ != 0 ? 1 : 0; break;
      case 'j': ++top_line_; break;
      case ' ': top_line_ += page; break;
      case 'g': text_ = asker_.stacks(site_); break;
      case 'n':  // fibers are parted by empty lines
        while (top_line_ < text_.size() && !text_[top_line_].empty()) ++top_line_;
        while (top_line_ < text_.size() && text_[top_line_].empty()) ++top_line_;
        break;
      default: break;
    }
  }

  const Options& options_;
  const Asker& asker_;
  Snapshot before_;
  Snapshot now_;
  ViewState state_;
  bool reading_ = false;  // stacks
  std::string site_;
  std::vector<std::string> text_;
  std::size_t top_line_ = 0;
};

}  // namespace

int run_top(const Options& options) {
  const Asker asker(options.asked);
  if (options.once || options.json || ::isatty(STDOUT_FILENO) == 0 || ::isatty(STDIN_FILENO) == 0)
    return print_once(options, asker);
  const char* const kind = std::getenv("TERM");
  if (kind == nullptr || *kind == '\0' || std::string_view(kind) == "dumb")
    return complain("TERM says that this terminal cannot be drawn on: --once prints once", ExitCode::bad_usage);
  Look first = asker.look();
  if (!first.snapshot) return complain(first.why, first.code);
  try {
    const std::string why = Session(options, asker, std::move(first)).run();
    return why.empty() ? static_cast<int>(ExitCode::clean) : complain(why, ExitCode::runtime_failure);
  } catch (const std::exception& error) {
    // What nobody catches unwinds nothing: the terminal would stay as it was drawn on.
    return complain(error.what(), ExitCode::runtime_failure);
  }
}

}  // namespace fiberd::daemon::top
