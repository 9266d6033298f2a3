#include "daemon/daemon.hpp"

#include <cstdio>

#include "core/tls/buffer_pool.hpp"
#include "daemon/command_line.hpp"
#include "daemon/exit_code.hpp"
#include "daemon/process_setup.hpp"

namespace fiberd::daemon {

void Daemon::note(std::string_view kind, std::string_view name, std::error_code error) {
  if (!error) return;
  const bool twice = error == std::errc::file_exists;
  const std::string what = kind == "filter" ? "filter" : std::string(kind) + " handler";
  const std::string thing = kind == "filter" ? "filter" : "handler";
  mistakes_.push_back(
      what + " \"" + std::string(name) +
      "\": " + (twice ? "registered twice" : "needs a name of 1 … 64 characters without blanks, and a " + thing));
}

Daemon& Daemon::handle(std::string_view name, std::shared_ptr<http::Handler> handler) {
  note("HTTP", name, error_of(handlers_.add(name, std::move(handler))));
  return *this;
}

Daemon& Daemon::serve_tcp(std::string_view name, std::shared_ptr<TcpHandler> handler) {
  note("TCP", name, error_of(handlers_.add(name, std::move(handler))));
  return *this;
}

Daemon& Daemon::filter(std::string_view name, std::shared_ptr<http::Filter> filter) {
  note("filter", name, error_of(handlers_.add(name, std::move(filter))));
  return *this;
}

Daemon& Daemon::on_stop(StopFunction fn) {
  handlers_.on_stop(std::move(fn));
  return *this;
}

Daemon& Daemon::default_config(std::string yaml) {
  default_config_ = std::move(yaml);
  return *this;
}

int Daemon::main(int argc, char** argv) {
  tls::pool_openssl_buffers();
  set_up_process();
  for (const std::string& mistake : mistakes_) std::fprintf(stderr, "%s\n", mistake.c_str());
  if (!mistakes_.empty()) return static_cast<int>(ExitCode::bad_usage);
  return run_command_line(argc, argv, handlers_, default_config_);
}

}  // namespace fiberd::daemon
