// The daemon on a disk that does not answer: what a reload reads comes when the file DISK_ANSWERS is there. Its command
// line is "run -c FILE". Of the daemon it knows more than what is installed.
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>

#include "config/config.hpp"
#include "core/base/log.hpp"
#include "daemon/run.hpp"

using namespace fiberd;

int main(int argc, char** argv) {
  const char* const answers = std::getenv("DISK_ANSWERS");
  if (argc < 4 || answers == nullptr) return 2;
  const std::string file = argv[3];
  const config::Outcome first = config::load_file(file);
  if (!first.ok()) return 2;
  const daemon::Handlers handlers;
  return static_cast<int>(daemon::run_daemon(first.config, handlers, [&] {
    log(LogLevel::info, "reading the configuration anew");
    while (!std::filesystem::exists(answers)) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return config::load_file(file);
  }));
}
