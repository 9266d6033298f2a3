#include "core/tls/kernel_tls.hpp"

#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace fiberd::tls {

namespace {

constexpr int kUlp = 31;        // TCP_ULP
constexpr int kLevelTls = 282;  // SOL_TLS
constexpr std::string_view kName = "tls";

/// 0, or what a socket says that is asked for it. One that is not connected can have none: that is said by whoever
/// knows what is asked for.
int ask_kernel() noexcept {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  const int error = ::setsockopt(fd, IPPROTO_TCP, kUlp, kName.data(), kName.size()) == 0 ? 0 : errno;
  ::close(fd);
  return error == ENOTCONN ? 0 : error;
}

int answer_of_kernel() noexcept {
  static const int error = ask_kernel();
  return error;
}

}  // namespace

bool kernel_has_tls() noexcept { return answer_of_kernel() == 0; }

std::string_view why_no_kernel_tls() noexcept {
  switch (answer_of_kernel()) {
    case 0: return {};
    case ENOENT: return "this kernel has no module tls (modprobe tls)";
    case ENOPROTOOPT: return "this kernel is too old";
    default: return "the kernel refuses it";
  }
}

bool give_keys_to_kernel(int fd, const void* keys) noexcept {
  // OpenSSL's own type is not public; it begins with the kernel's, which says which one it is.
  tls_crypto_info head{};
  std::memcpy(&head, keys, sizeof head);
  socklen_t size = 0;
  switch (head.cipher_type) {
    case TLS_CIPHER_AES_GCM_128: size = sizeof(tls12_crypto_info_aes_gcm_128); break;
    case TLS_CIPHER_AES_GCM_256: size = sizeof(tls12_crypto_info_aes_gcm_256); break;
    case TLS_CIPHER_CHACHA20_POLY1305: size = sizeof(tls12_crypto_info_chacha20_poly1305); break;
    default: return false;
  }
  return ::setsockopt(fd, IPPROTO_TCP, kUlp, kName.data(), kName.size()) == 0 &&
         ::setsockopt(fd, kLevelTls, TLS_TX, keys, size) == 0;
}

ssize_t send_record(int fd, unsigned char type, const void* data, std::size_t size) noexcept {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(unsigned char))> room{};
  iovec part{const_cast<void*>(data), size};  // NOLINT(cppcoreguidelines-pro-type-const-cast): only read
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = room.data();
  message.msg_controllen = room.size();
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = kLevelTls;
  header->cmsg_type = TLS_SET_RECORD_TYPE;
  header->cmsg_len = CMSG_LEN(sizeof type);
  std::memcpy(CMSG_DATA(header), &type, sizeof type);
  const ssize_t n = ::sendmsg(fd, &message, MSG_NOSIGNAL);
  return n < 0 ? -errno : n;
}

}  // namespace fiberd::tls
