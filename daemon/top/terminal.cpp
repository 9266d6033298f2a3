#include "daemon/top/terminal.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <system_error>

namespace fiberd::daemon::top {

namespace {

// Alternate screen, no cursor, no wrapping at the last column; and back, with ordinary letters.
constexpr std::string_view kEnter = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
constexpr std::string_view kLeave = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l";

constexpr std::array kEnds{SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH};
constexpr std::array kFaults{SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

// A handler's: what the terminal was, and which signals have come.
termios before_us{};
std::atomic<bool> ours{false};
std::atomic<unsigned> came{0};  // bits by the place in kEnds
sigset_t mask_before{};
std::array<struct sigaction, kEnds.size()> ends_before{};
std::array<struct sigaction, kFaults.size()> faults_before{};
struct sigaction pipe_before {};

bool write_all(std::string_view bytes) noexcept {
  while (!bytes.empty()) {
    const ssize_t n = ::write(STDOUT_FILENO, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

/// Also from handlers: two calls that are allowed there.
void give_back() noexcept {
  if (!ours.exchange(false)) return;
  (void)write_all(kLeave);
  (void)::tcsetattr(STDIN_FILENO, TCSANOW, &before_us);
}

void take() noexcept {
  termios raw = before_us;
  raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
  raw.c_cc[VMIN] = 0;
  raw.c_cc[VTIME] = 0;
  ours = true;
  (void)::tcsetattr(STDIN_FILENO, TCSANOW, &raw);
  (void)write_all(kEnter);
}

void note(int signo) noexcept {
  for (std::size_t i = 0; i < kEnds.size(); ++i)
    if (kEnds[i] == signo) came.fetch_or(1U << i);
}

void fault(int signo) noexcept {
  give_back();
  ::signal(signo, SIG_DFL);
  ::raise(signo);
}

struct sigaction handled_by(void (*handler)(int), int flags) noexcept {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  ::sigemptyset(&action.sa_mask);
  return action;
}

}  // namespace

Terminal::Terminal() {
  if (::isatty(STDOUT_FILENO) == 0 || ::tcgetattr(STDIN_FILENO, &before_us) != 0)
    throw std::system_error(errno, std::system_category(), "no terminal");
  measure();
  // They arrive while poll() waits, and nowhere else.
  sigset_t held;
  ::sigemptyset(&held);
  for (const int signo : kEnds) ::sigaddset(&held, signo);
  ::pthread_sigmask(SIG_BLOCK, &held, &mask_before);
  const struct sigaction noted = handled_by(&note, 0);
  for (std::size_t i = 0; i < kEnds.size(); ++i) ::sigaction(kEnds[i], &noted, &ends_before[i]);
  const struct sigaction faulted = handled_by(&fault, static_cast<int>(SA_RESETHAND));
  for (std::size_t i = 0; i < kFaults.size(); ++i) ::sigaction(kFaults[i], &faulted, &faults_before[i]);
  const struct sigaction ignored = handled_by(SIG_IGN, 0);
  ::sigaction(SIGPIPE, &ignored, &pipe_before);
  take();
}

Terminal::~Terminal() {
  give_back();
  for (std::size_t i = 0; i < kEnds.size(); ++i) ::sigaction(kEnds[i], &ends_before[i], nullptr);
  for (std::size_t i = 0; i < kFaults.size(); ++i) ::sigaction(kFaults[i], &faults_before[i], nullptr);
  ::sigaction(SIGPIPE, &pipe_before, nullptr);
  ::pthread_sigmask(SIG_SETMASK, &mask_before, nullptr);
}

void Terminal::measure() noexcept {
  static constexpr std::size_t kMost = 1000;
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) size = {24, 80, 0, 0};
  columns_ = std::min<std::size_t>(size.ws_col, kMost);
  rows_ = std::min<std::size_t>(size.ws_row, kMost);
}

bool Terminal::draw(std::string_view screen) noexcept { return write_all(screen); }

void Terminal::stop_for_a_while() {
  give_back();
  ::raise(SIGSTOP);
  // Whoever continued us may have changed it meanwhile.
  (void)::tcgetattr(STDIN_FILENO, &before_us);
  take();
  measure();
}

Event Terminal::read_key() {
  // What comes together is one key: an arrow is three bytes, an Escape that somebody pressed is alone.
  char bytes[16];
  ssize_t n = ::read(STDIN_FILENO, bytes, 1);
  if (n <= 0)
    return {.what = n < 0 && (errno == EINTR || errno == EAGAIN) ? Event::What::timeout : Event::What::hang_up};
  Event event{.what = Event::What::key, .key = Key::character, .character = bytes[0]};
  switch (bytes[0]) {
    case '\r':
    case '\n': event.key = Key::enter; return event;
    case '\t': event.key = Key::tab; return event;
    case '\x1b': break;
    default: return event;
  }
  event.key = Key::escape;
  std::size_t length = 0;
  while (length < sizeof bytes) {
    static constexpr int kTogether = 20;  // ms
    pollfd next{STDIN_FILENO, POLLIN, 0};
    if (::poll(&next, 1, kTogether) <= 0 || ::read(STDIN_FILENO, bytes + length, 1) != 1) break;
    const char c = bytes[length++];
    // CSI and SS3 end with a letter or ~; what else follows an Escape is Alt with a key.
    if (length == 1 ? c != '[' && c != 'O' : (c >= '@' && c <= '~')) break;
  }
  const std::string_view rest(bytes, length);
  if (rest.empty()) return event;
  struct Sequence {
    std::string_view bytes;
    Key key;
  };
  static constexpr std::array<Sequence, 16> kKnown{{{"[A", Key::up},
                                                    {"OA", Key::up},
                                                    {"[B", Key::down},
                                                    {"OB", Key::down},
                                                    {"[C", Key::right},
                                                    {"OC", Key::right},
                                                    {"[D", Key::left},
                                                    {"OD", Key::left},
                                                    {"[5~", Key::page_up},
                                                    {"[6~", Key::page_down},
                                                    {"[H", Key::home},
                                                    {"OH", Key::home},
                                                    {"[1~", Key::home},
                                                    {"[F", Key::end},
                                                    {"OF", Key::end},
                                                    {"[4~", Key::end}}};
  event.key = Key::none;
  for (const Sequence& s : kKnown)
    if (s.bytes == rest) event.key = s.key;
  return event;
}

Event Terminal::poll(std::chrono::nanoseconds patience) {
  pollfd input{STDIN_FILENO, POLLIN, 0};
  const auto ns = std::max<std::int64_t>(patience.count(), 0);
  const timespec limit{static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
  const int ready = ::ppoll(&input, 1, &limit, &mask_before);
  if (const unsigned bits = came.exchange(0); bits != 0) {
    bool resized = false;
    for (std::size_t i = 0; i < kEnds.size(); ++i) {
      if ((bits >> i & 1U) == 0) continue;
      if (kEnds[i] == SIGWINCH || kEnds[i] == SIGTSTP)
        resized = true;
      else
        return {.what = Event::What::signal, .signal = kEnds[i]};
      if (kEnds[i] == SIGTSTP) stop_for_a_while();
    }
    if (resized) {
      measure();
      return {.what = Event::What::resized};
    }
  }
  if (ready <= 0) return {};
  if ((input.revents & POLLIN) != 0) return read_key();
  return {.what = Event::What::hang_up};
}

}  // namespace fiberd::daemon::top
