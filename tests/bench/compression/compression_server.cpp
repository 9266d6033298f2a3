// Serves a directory on a port of the loopback, compressed: ROOT PORT CODING LEVEL. For compression.py.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "core/http/files/files.hpp"
#include "core/http/filters/compression_filter.hpp"
#include "core/http/server.hpp"
#include "core/net/listener.hpp"
#include "core/runtime/runtime.hpp"

using namespace fiberd;

namespace {

template <class T>
T must(Result<T> result, const char* what) {
  if (result) return std::move(*result);
  (void)std::fprintf(stderr, "%s: %s\n", what, result.error().message().c_str());
  std::exit(1);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  const std::string_view name = argv[3];
  const http::Coding coding = name == "br"     ? http::Coding::brotli
                              : name == "zstd" ? http::Coding::zstd
                                               : http::Coding::gzip;
  const auto runtime = must(runtime::Runtime::start({.gomaxprocs = 1}), "runtime");
  http::ServerOptions options;
  options.filters = {
      must(http::make_compression_filter({.codings = {{coding, std::atoi(argv[4])}}, .min_size = 0}), "compression")};
  http::Route route{.spec = {.path = "/*"}, .handler = must(http::make_files_handler({.root = argv[1]}), "files")};
  std::vector<http::Route> routes;
  routes.push_back(std::move(route));
  const auto server = must(http::Server::make(std::move(options), std::move(routes)), "server");
  const auto port = static_cast<std::uint16_t>(std::atoi(argv[2]));
  const auto listener = must(net::Listener::bind(*runtime, net::Endpoint::v4(0x7f000001, port), {}), "bind");
  if (!listener->start(&http::Server::on_accept, server.get(), true)) return 1;
  // Until it is killed.
  for (;;) (void)::pause();
}
