// The program of README.md.
#include <fiberd/daemon/daemon.hpp>

int main(int argc, char** argv) {
  fiberd::daemon::Daemon daemon;
  daemon.handle("greeting", [](fiberd::http::Exchange& exchange) {
    return exchange.respond(200, "text/plain", "hello from a fiber\n");
  });
  return daemon.main(argc, argv);
}
