#include "daemon/journal.hpp"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <cstring>

#include "core/base/utf8.hpp"

namespace fiberd::daemon {

namespace {

constexpr char kBetween = '\x1f';
constexpr char kLineEnd = '\x1e';

/// As syslog has them.
constexpr std::array<char, 4> kPriorities{'7', '6', '4', '3'};

std::error_code last_error() noexcept { return {errno, std::system_category()}; }

struct Entry {
  char priority = '6';
  std::string_view file;
  std::string_view line;  // "0": not known
  std::string_view function;
  std::string_view message;  // with kLineEnd
};

Entry parse(std::string_view line) noexcept {
  Entry e;
  if (line.empty()) return e;
  e.priority = line.front();
  line.remove_prefix(std::min<std::size_t>(2, line.size()));
  for (std::string_view* const field : {&e.file, &e.line, &e.function, &e.message}) {
    const std::size_t end = line.find(kBetween);
    *field = line.substr(0, end);
    line.remove_prefix(end == std::string_view::npos ? line.size() : end + 1);
  }
  return e;
}

void add_field(std::string& out, std::string_view name, std::string_view value) {
  out.append(name);
  if (value.find('\n') == std::string_view::npos) {
    out.append("=").append(value).append("\n");
    return;
  }
  out.append("\n");
  for (unsigned byte = 0; byte < 8; ++byte)  // little-endian
    out.push_back(static_cast<char>(static_cast<std::uint64_t>(value.size()) >> (8 * byte) & 0xFFU));
  out.append(value).append("\n");
}

/// "listener web: …", "listener web is gone: …"; empty: it is about none.
std::string_view listener_of(std::string_view message) noexcept {
  static constexpr std::string_view kWord = "listener ";
  if (!message.starts_with(kWord)) return {};
  message.remove_prefix(kWord.size());
  return message.substr(0, message.find_first_of(" :,"));
}

}  // namespace

bool is_journal_stream(int fd) noexcept {
  const char* const given = std::getenv("JOURNAL_STREAM");
  if (given == nullptr) return false;
  const std::string_view text = given;
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  const char* const end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, device);
  if (first.ec != std::errc() || first.ptr == end || *first.ptr != ':') return false;
  const auto second = std::from_chars(first.ptr + 1, end, inode);
  if (second.ec != std::errc() || second.ptr != end) return false;
  struct stat is {};
  return ::fstat(fd, &is) == 0 && is.st_dev == device && is.st_ino == inode;
}

std::string journal_line(LogLevel level, const JournalPlace& place, std::string_view message) {
  static constexpr std::string_view kCut = " [cut]";
  std::string line{kPriorities[static_cast<std::size_t>(level)], kBetween};
  line.append(place.file).append(1, kBetween);
  line.append(std::to_string(place.line)).append(1, kBetween);
  line.append(place.function).append(1, kBetween);
  const std::size_t begin = line.size();
  line.append(message.substr(0, utf8_cut(message, kMostJournalMessage)));
  if (message.size() > kMostJournalMessage) line.append(kCut);
  for (std::size_t i = begin; i < line.size(); ++i) {
    char& c = line[i];
    if (c == '\n')
      c = kLineEnd;
    else if (c == kLineEnd || c == kBetween || c == '\0')
      c = '?';
  }
  line += '\n';
  return line;
}

std::string journal_datagram(std::string_view line) {
  const Entry e = parse(line);
  std::string message(e.message);
  std::replace(message.begin(), message.end(), kLineEnd, '\n');
  std::string out;
  out.reserve(message.size() + 256);
  add_field(out, "PRIORITY", {&e.priority, 1});
  add_field(out, "SYSLOG_IDENTIFIER", program_invocation_short_name);
  add_field(out, "MESSAGE", message);
  if (!e.file.empty()) {
    add_field(out, "CODE_FILE", e.file);
    if (e.line != "0") add_field(out, "CODE_LINE", e.line);
    if (!e.function.empty()) add_field(out, "CODE_FUNC", e.function);
    add_field(out, "FIBERD_MODULE", kLogModules[static_cast<std::size_t>(log_module_of(e.file))]);
  }
  if (const std::string_view listener = listener_of(message); !listener.empty())
    add_field(out, "FIBERD_LISTENER", listener);
  return out;
}

std::string prefixed_lines(std::string_view line) {
  const Entry e = parse(line);
  const std::array<char, 3> prefix{'<', e.priority, '>'};
  std::string out(prefix.data(), prefix.size());
  for (const char c : e.message) {
    if (c == kLineEnd)
      out.append("\n").append(prefix.data(), prefix.size());
    else
      out += c;
  }
  out += '\n';
  return out;
}

int connect_to_journal(std::string_view path) noexcept {
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  if (path.size() >= sizeof to.sun_path) return -ENAMETOOLONG;
  std::copy(path.begin(), path.end(), std::begin(to.sun_path));
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -errno;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0) return fd;
  const int error = errno;
  ::close(fd);
  return -error;
}

/// As the journal wants it: sealed, so that what it reads is what was sent.
static std::error_code send_as_file(int socket, std::string_view datagram) noexcept {
  const int file = ::memfd_create("fiberd-journal", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (file < 0) return last_error();
  std::error_code error;
  while (!datagram.empty() && !error) {
    const ssize_t n = ::write(file, datagram.data(), datagram.size());
    if (n < 0 && errno != EINTR) error = last_error();
    if (n > 0) datagram.remove_prefix(static_cast<std::size_t>(n));
  }
  if (!error && ::fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0)
    error = last_error();
  if (!error) {
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    msghdr message{};
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* const rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof file);
    std::memcpy(CMSG_DATA(rights), &file, sizeof file);
    if (::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) error = last_error();
  }
  ::close(file);
  return error;
}

std::error_code send_to_journal(int socket, std::string_view datagram) noexcept {
  for (;;) {
    if (::send(socket, datagram.data(), datagram.size(), MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) return {};
    if (errno == EINTR) continue;
    if (errno == EMSGSIZE || errno == ENOBUFS) return send_as_file(socket, datagram);
    return last_error();
  }
}

void await_journal(int socket) noexcept {
  static constexpr int kMost = 250;  // ms
  for (int tries = 0; tries < kMost; ++tries) {
    int unread = 0;
    if (::ioctl(socket, SIOCOUTQ, &unread) != 0 || unread == 0) return;
    const timespec moment{0, 1'000'000};
    (void)::nanosleep(&moment, nullptr);
  }
}

std::string_view error_prefix() noexcept { return is_journal_stream(STDERR_FILENO) ? "<3>" : ""; }

}  // namespace fiberd::daemon
