#include "daemon/upgrade/program.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <system_error>
#include <utility>

#include "core/base/printable.hpp"
#include "core/base/read_file.hpp"
#include "core/tls/ed25519.hpp"

namespace fiberd::daemon::upgrade {

namespace {

Invocation& ours() {
  static Invocation kept;
  return kept;
}

std::string last_error() { return std::error_code(errno, std::system_category()).message(); }

/// What is wrong with a file that is to be run.
std::string judge(const struct stat& st, bool named) {
  if (!S_ISREG(st.st_mode)) return "is no regular file";
  if ((st.st_mode & 0111U) == 0) return "may not be executed: chmod +x";
  if (!named) return {};  // who started us chose it
  if (st.st_uid != 0 && st.st_uid != ::geteuid()) return "belongs neither to root nor to the user of this daemon";
  if ((st.st_mode & 0022U) != 0) return "may be written to by others than its owner: chmod go-w";
  return {};
}

constexpr off_t kLargest = off_t{1} << 30;  // of a program that is copied

/// A copy in memory that nobody can change any more; -1: errno says why not.
OwnedDescriptor sealed_copy(int file, off_t size) {
#ifndef MFD_EXEC
  static constexpr unsigned MFD_EXEC = 0x10;
#endif
  static constexpr unsigned kFlags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  OwnedDescriptor copy(::memfd_create("fiberd", kFlags | MFD_EXEC));
  if (copy.get() < 0 && errno == EINVAL) copy = OwnedDescriptor(::memfd_create("fiberd", kFlags));  // before Linux 6.3
  if (copy.get() < 0) return copy;
  off_t at = 0;
  while (at < size) {
    const ssize_t n = ::sendfile(copy.get(), file, &at, static_cast<std::size_t>(size - at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return OwnedDescriptor();
  }
  if (::fcntl(copy.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0)
    return OwnedDescriptor();
  return copy;
}

/// Empty: it was made of what is in `program` by the private key of `request.public_key`.
std::string prove_signature(const ProgramRequest& request, const std::string& path, int program, off_t size) {
  const std::string file = request.signature.empty() ? path + ".sig" : request.signature;
  const Result<std::string> key = read_file(request.public_key, 16 * 1024, NotRegular::refuse);
  if (!key) return "upgrade.public_key " + request.public_key + ": " + key.error().message();
  const Result<std::string> signature = read_file(file, 16 * 1024, NotRegular::refuse);
  if (!signature)
    return "its signature " + file + ": " + signature.error().message() +
           ": upgrade.public_key wants one, of openssl pkeyutl -sign -rawin";
  void* const mapped = ::mmap(nullptr, static_cast<std::size_t>(size), PROT_READ, MAP_PRIVATE, program, 0);
  if (mapped == MAP_FAILED) return last_error();
  const Result<void> good =
      tls::verify_ed25519(*key, {static_cast<const std::byte*>(mapped), static_cast<std::size_t>(size)}, *signature);
  (void)::munmap(mapped, static_cast<std::size_t>(size));
  if (good) return {};
  if (good.error() == std::errc::bad_message)
    return file + " is no signature of it by the key of " + request.public_key;
  return "upgrade.public_key " + request.public_key + ": " +
         (good.error() == std::errc::invalid_argument ? "no Ed25519 public key in PEM" : good.error().message());
}

}  // namespace

void remember_invocation(int argc, const char* const* argv) {
  Invocation& kept = ours();
  kept.arguments.assign(argv, argv + argc);
  std::array<char, PATH_MAX> path{};
  const ssize_t n = ::readlink("/proc/self/exe", path.data(), path.size());
  kept.program.assign(path.data(), n > 0 ? static_cast<std::size_t>(n) : 0);
}

void remember_program(std::string path) {
  // It was run by a descriptor, whose number it would be called by otherwise.
  (void)::prctl(PR_SET_NAME, path.c_str() + path.rfind('/') + 1);
  ours().program = std::move(path);
}

const Invocation& invocation() noexcept { return ours(); }

bool open_program(const ProgramRequest& request, Program& program, std::string& why) {
  program.path = request.file.empty() ? invocation().program : request.file;
  if (!program.path.starts_with('/')) {
    why = program.path.empty() ? "where this program's file is cannot be told (no /proc?): name it: --binary FILE"
                               : program.path + ": the program's whole path is needed";
    return false;
  }
  // Judged before it is opened: to open a device may do things (a watchdog), and a terminal could become this
  // process's.
  const OwnedDescriptor seen(::open(program.path.c_str(), O_PATH | O_CLOEXEC));
  struct stat st {};
  if (seen.get() < 0 || ::fstat(seen.get(), &st) != 0) {
    why = in_one_line(program.path) + ": " + last_error();
    return false;
  }
  if (const std::string wrong = judge(st, !request.file.empty()); !wrong.empty()) {
    why = in_one_line(program.path) + " " + wrong;
    return false;
  }
  const std::string same = "/proc/self/fd/" + std::to_string(seen.get());
  program.file = OwnedDescriptor(::open(same.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (program.file.get() < 0) {
    why = in_one_line(program.path) + ": " + last_error();
    return false;
  }
  if (!request.signature.empty() && request.public_key.empty()) {
    why = "a signature was named, but the configuration has no upgrade.public_key to prove it by";
    return false;
  }
  if (request.public_key.empty()) return true;
  if (st.st_size == 0 || st.st_size > kLargest) {
    why = program.path + ": no program has that size";
    return false;
  }
  OwnedDescriptor copy = sealed_copy(program.file.get(), st.st_size);
  if (copy.get() < 0) {
    why = program.path + ": it cannot be copied into memory: " + last_error();
    return false;
  }
  if (const std::string wrong = prove_signature(request, program.path, copy.get(), st.st_size); !wrong.empty()) {
    why = program.path + ": " + wrong;
    return false;
  }
  program.file = std::move(copy);
  program.is_signed = true;
  return true;
}

}  // namespace fiberd::daemon::upgrade
