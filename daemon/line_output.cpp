#include "daemon/line_output.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "daemon/journal.hpp"

namespace fiberd::daemon {

Opened open_journal() noexcept {
  if (const int fd = connect_to_journal(kJournalSocket); fd >= 0) return {fd, true, Opened::Journal::socket};
  return {::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3), true, Opened::Journal::on_stderr};
}

Result<Opened> open_output(const std::string& name, std::string& why) {
  const OutputKind kind = output_kind(name);
  Opened out;
  if (kind == OutputKind::journal) {
    out = open_journal();
  } else if (kind != OutputKind::path) {
    const int standard = kind == OutputKind::standard_output ? STDOUT_FILENO : STDERR_FILENO;
    out.fd = ::fcntl(standard, F_DUPFD_CLOEXEC, 3);
  } else {
    static constexpr int kFlags = O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    struct stat status {};
    const bool fifo = ::stat(name.c_str(), &status) == 0 && S_ISFIFO(status.st_mode);
    if (fifo) out.fd = ::open(name.c_str(), O_RDWR | (kFlags & ~O_CREAT));
    if (out.fd < 0) out.fd = ::open(name.c_str(), O_WRONLY | kFlags, 0640);
    if (out.fd < 0 && errno == ENXIO && fifo)
      why = "a FIFO that nobody reads, and that we may not open for reading";
    else if (out.fd < 0 && errno == ENXIO)
      why = "a socket or a device without a driver";
  }
  if (out.fd < 0) {
    const std::error_code error = std::error_code(errno, std::system_category());
    if (why.empty()) why = error.message();
    return fail(error);
  }
  if (out.journal == Opened::Journal::socket) return out;
  struct stat status {};
  out.may_wait = ::fstat(out.fd, &status) != 0 || !S_ISREG(status.st_mode);
  return out;
}

OutputKind output_kind(std::string_view name) noexcept {
  if (name == "stdout" || name == "/dev/stdout") return OutputKind::standard_output;
  if (name == "stderr" || name == "/dev/stderr") return OutputKind::standard_error;
  if (name == "journal") return OutputKind::journal;
  return OutputKind::path;
}

}  // namespace fiberd::daemon
