// fiberd itself: the daemon without handlers of a program's own.
#include "daemon/daemon.hpp"

int main(int argc, char** argv) {
  fiberd::daemon::Daemon daemon;
  return daemon.main(argc, argv);
}
