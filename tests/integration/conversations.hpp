#pragma once
// What tests say to a running daemon again and again, and what it answers, as text that is compared.
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <string>

#include "core/net/endpoint.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"

namespace fiberd::test {

/// What POST /reload is answered.
inline Answer reload(const Daemon& daemon) {
  HttpClient client(daemon.port("admin"), 0, std::chrono::seconds(30));
  client.send("POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
  return client.receive().value();
}
inline Answer reload(const Daemon& daemon, const std::string& yaml) {
  daemon.write_config(yaml);
  return reload(daemon);
}

/// Status and body of the next answer: "200 hello"; "nothing" when none comes.
inline std::string answer_of(HttpClient& client) {
  const auto answer = client.receive();
  return answer ? std::to_string(answer->status) + " " + answer->body : "nothing";
}
inline std::string ask(HttpClient& client, const std::string& path = "/") {
  client.send("GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n");
  return answer_of(client);
}
inline std::string ask(std::uint16_t port, const std::string& path = "/") {
  HttpClient client(port);
  return ask(client, path);
}

/// It sends nothing more, but an end.
inline bool is_closed(HttpClient& client) { return !client.more() && client.rest().empty(); }

/// Asked of the kernel and not by a connection, which would take a place of the listener's.
inline bool is_listened_on(std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int reuse = 1;
  (void)::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse);
  const net::Endpoint there = net::Endpoint::v4(0x7f000001, port);
  const bool yes = ::bind(fd, there.data(), there.size()) != 0 && errno == EADDRINUSE;
  ::close(fd);
  return yes;
}

}  // namespace fiberd::test
