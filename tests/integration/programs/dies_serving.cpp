// A program that follows a daemon until it is to serve, says that it does, and is gone.
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string_view>

namespace {

/// Waits for `word`; what comes before it (the sockets) is thrown away.
bool wait_for(int channel, std::string_view word) {
  std::array<char, 8192> text{};
  for (;;) {
    const ssize_t n = ::recv(channel, text.data(), text.size(), 0);
    if (n == 0) return false;
    if (n < 0) {  // it does not block
      (void)::usleep(1000);
      continue;
    }
    if (std::string_view(text.data(), static_cast<std::size_t>(n)) == word) return true;
  }
}

}  // namespace

int main() {
  const char* const number = std::getenv("FIBERD_HAND_OVER");
  if (number == nullptr) return 2;
  const int channel = std::atoi(number);
  if (!wait_for(channel, "end") || ::send(channel, "ready", 5, MSG_NOSIGNAL) < 0) return 3;
  if (!wait_for(channel, "serve")) return 4;
  // Nothing can be said to it from here on, however soon it is heard.
  (void)::shutdown(channel, SHUT_RD);
  return ::send(channel, "serving", 7, MSG_NOSIGNAL) < 0 ? 5 : 0;
}
