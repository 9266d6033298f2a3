#include <array>
#include <cctype>
#include <fiberd/daemon/daemon.hpp>
#include <span>

using namespace fiberd;

void shout(const context::Context& ctx, net::TcpStream& stream) {
  std::array<std::byte, 1024> buffer;
  for (auto n = stream.read_some(ctx, buffer); n && *n != 0; n = stream.read_some(ctx, buffer)) {
    for (std::byte& b : buffer) b = static_cast<std::byte>(std::toupper(static_cast<unsigned char>(b)));
    if (!stream.write_all(ctx, std::span(buffer).first(*n))) return;
  }
}

int main(int argc, char** argv) {
  daemon::Daemon daemon;
  daemon.handle("greeting",
                [](http::Exchange& exchange) { return exchange.respond(200, "text/plain", "hello from a fiber\n"); });
  daemon.serve_tcp("shout", &shout);
  return daemon.main(argc, argv);
}
