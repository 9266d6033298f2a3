// Every configuration that we show is started and asked: the files of config/examples, the YAML of docs/ and README.md,
// and the one that is built in. Only what belongs to the machine is another: ports are free ones, and folders are ours.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>
#include <variant>
#include <vector>

#include "config/config.hpp"
#include "tests/support/certificates.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd;
using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

namespace fs = std::filesystem;

struct Example {
  std::string where;
  std::string text;
};

/// What stands between ```yaml and ``` on a page.
void add_blocks(const std::string& page, std::vector<Example>& examples) {
  std::istringstream in(read_file(page));
  std::string block;
  bool inside = false;
  int number = 0;
  for (std::string line; std::getline(in, line); ++number) {
    if (line.starts_with("```yaml")) {
      inside = true;
      block.clear();
    } else if (inside && line.starts_with("```")) {
      inside = false;
      examples.push_back({page + ":" + std::to_string(number), block});
    } else if (inside) {
      block += line + "\n";
    }
  }
}

std::vector<Example> all_examples() {
  const std::string root = FIBERD_SOURCE_DIR;
  std::vector<Example> examples{{"built-in", config::default_config()}};
  for (const auto& file : fs::recursive_directory_iterator(root + "/config"))
    if (file.path().extension() == ".yaml") examples.push_back({file.path().string(), read_file(file.path().string())});
  for (const auto& file : fs::recursive_directory_iterator(root + "/docs"))
    if (file.path().extension() == ".md") add_blocks(file.path().string(), examples);
  add_blocks(root + "/README.md", examples);
  return examples;
}

void replace_all(std::string& text, std::string_view what, const std::string& by) {
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size()))
    text.replace(at, what.size(), by);
}

/// The example with free ports, and folders below `directory`.
std::string localized(std::string text, const std::string& directory) {
  static const std::regex kPort("(address: \"(?!unix:)[^\"]*:)[0-9]+\"");
  text = std::regex_replace(text, kPort, "$010\"");
  replace_all(text, "include: [conf.d/", "include: [" + directory + "/conf.d/");
  // Nobody is asked for a certificate: where the authority would be there is none.
  replace_all(text, "domains: [",
              "directory: \"https://127.0.0.1:1/dir\", storage: \"" + directory + "/acme\", domains: [");
  replace_all(text, "        directory: \"https://127.0.0.1:1/dir\", storage: \"" + directory + "/acme\", domains: [",
              "        directory: \"https://127.0.0.1:1/dir\"\n        storage: \"" + directory +
                  "/acme\"\n        domains: [");
  for (const char* folder :
       {"/var/www/html", "/var/log/fiberd", "/run/fiberd", "/etc/fiberd", "/var/lib/fiberd/traces"})
    replace_all(text, folder, directory);
  if (::geteuid() != 0) text = std::regex_replace(text, std::regex("owner: \"[^\"]*\""), "owner: \"\"");
  return text;
}

/// The files that TLS of an example names, with something good in them, and a client's own pair in `directory`.
void make_tls_files(const config::Config& config, const TemporaryDirectory& directory) {
  static const TestAuthority authority;
  const auto put = [](const std::string& path, const std::string& text) {
    fs::create_directories(fs::path(path).parent_path());
    std::ofstream(path, std::ios::binary) << text;
    fs::permissions(path, fs::perms::owner_read | fs::perms::owner_write);
  };
  for (const config::ListenerConfig& listener : config.listeners) {
    if (!listener.tls) continue;
    for (const config::TlsCertificateConfig& pair : listener.tls->certificates) {
      const bool rsa = pair.key.find("rsa") != std::string::npos;
      const MadePair made =
          authority.issue({.names = {"shop.example.org"}, .key = rsa ? TestKey::rsa : TestKey::ecdsa});
      put(pair.certificate, made.certificate);
      put(pair.key, made.key);
      if (!pair.ocsp.empty()) put(pair.ocsp, authority.vouch(made.certificate));
    }
    for (const std::string& file : listener.tls->ticket_keys) put(file, std::string(80, file.back()));
    if (!listener.tls->client_auth) continue;
    put(listener.tls->client_auth->ca, authority.certificate());
    if (!listener.tls->client_auth->crl.empty()) put(listener.tls->client_auth->crl, authority.revoke({}));
  }
  const MadePair client = authority.issue({.names = {"client"}});
  put(directory.path() + "/client.pem", client.certificate);
  put(directory.path() + "/client.key", client.key);
}

/// By OpenSSL's client, which ends when the server does.
std::string talk_encrypted(const Daemon& daemon, const config::ListenerConfig& listener, const std::string& bytes) {
  const TemporaryDirectory directory;
  std::string own;
  if (!listener.tls->certificates.empty()) {
    const std::string file =
        fs::path(listener.tls->certificates.front().certificate).parent_path().string() + "/client";
    own.append(" -cert ").append(file).append(".pem -key ").append(file).append(".key");
  }
  return run({"sh", "-c",
              "openssl s_client -quiet -connect 127.0.0.1:" + std::to_string(daemon.port(listener.name)) + own + " < " +
                  directory.write("request", bytes) + " 2>/dev/null"})
      .output;
}

/// Sends `bytes` to a listener and returns all that comes until the end.
std::string talk(const Daemon& daemon, const config::ListenerConfig& listener, const std::string& bytes) {
  if (listener.tls) return talk_encrypted(daemon, listener, bytes);
  static constexpr std::string_view kUnix = "unix:";
  if (!listener.address.starts_with(kUnix)) {
    HttpClient client(daemon.port(listener.name));
    client.send(bytes);
    client.finish_sending();
    while (client.more()) {
    }
    return client.rest();
  }
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  listener.address.copy(to.sun_path, sizeof to.sun_path - 1, kUnix.size());
  const timeval limit{10, 0};
  (void)::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  std::string got;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0 &&
      ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size())) {
    (void)::shutdown(fd, SHUT_WR);
    char buffer[4096];
    for (ssize_t n = 0; (n = ::recv(fd, buffer, sizeof buffer, 0)) > 0;)
      got.append(buffer, static_cast<std::size_t>(n));
  }
  ::close(fd);
  return got;
}

/// Asks a route for what its action promises.
void ask_route(const Daemon& daemon, const config::ListenerConfig& listener, const config::RouteConfig& route) {
  INFO(listener.name << " " << route.path);
  std::string path = route.path;
  const bool files = std::holds_alternative<config::FilesAction>(route.action);
  if (path.ends_with('*')) path.replace(path.size() - 1, 1, files ? "" : "x");
  const bool echo = std::holds_alternative<config::EchoAction>(route.action);
  const std::string method = route.methods.empty() ? (echo ? "POST" : "GET") : route.methods.front();
  const std::string answer =
      talk(daemon, listener,
           method + " " + path + " HTTP/1.1\r\nHost: " + (route.host.empty() ? "x" : route.host) +
               "\r\nConnection: close\r\nContent-Length: 4\r\n\r\nping");
  INFO(answer);
  REQUIRE(answer.starts_with("HTTP/1.1 "));
  const auto status = static_cast<unsigned>(std::strtoul(answer.c_str() + 9, nullptr, 10));
  const std::string body = answer.substr(std::min(answer.find("\r\n\r\n") + 4, answer.size()));
  if (const auto* respond = std::get_if<config::RespondAction>(&route.action)) {
    CHECK(status == respond->status);
    if (respond->error_page)
      CHECK(body.find(std::to_string(respond->status)) != std::string::npos);
    else if (respond->body.find("${") == std::string::npos)
      CHECK(body == respond->body);
  } else if (const auto* redirect = std::get_if<config::RedirectAction>(&route.action)) {
    CHECK(status == redirect->status);
    const std::size_t variable = redirect->location.find("${");
    CHECK(answer.find("Location: " + redirect->location.substr(0, variable) +
                      (variable == std::string::npos ? "\r\n" : "")) != std::string::npos);
  } else if (std::holds_alternative<config::WebSocketAction>(route.action)) {
    CHECK(status == 426);  // who speaks plain HTTP is told what is spoken
  } else {
    CHECK(status == 200);
    if (echo) CHECK(body.find("ping") != std::string::npos);
    if (files) CHECK(body == "the index\n");
    if (std::holds_alternative<config::HandlerAction>(route.action)) CHECK(body == "hello from a fiber\n");
  }
}

void ask_listener(const Daemon& daemon, const config::ListenerConfig& listener) {
  if (const auto* http = std::get_if<config::HttpConfig>(&listener.service)) {
    CHECK_FALSE(http->routes.empty());
    for (const config::RouteConfig& route : http->routes) ask_route(daemon, listener, route);
  } else if (const auto* tcp = std::get_if<config::TcpConfig>(&listener.service)) {
    INFO(listener.name);
    const bool discards = tcp->service == config::TcpService::discard;
    const bool shouts = tcp->service == config::TcpService::handler;
    CHECK(talk(daemon, listener, "ping") == (discards ? "" : shouts ? "PING" : "ping"));
  } else {
    (void)talk(daemon, listener, "orders:1|c\n");
    const std::string lines = "fiberd_aggregate_lines_total{listener=\"" + listener.name + "\"";
    CHECK(eventually([&] { return daemon.admin("/metrics").find(lines) != std::string::npos; }));
    CHECK(daemon.admin_status("/aggregate/json") == 200);
  }
}

}  // namespace

TEST_CASE("every example of config/ and docs/ is started and asked", "[integration][docs][examples]") {
  const std::vector<Example> examples = all_examples();
  CHECK(examples.size() >= 9);
  for (const Example& example : examples) {
    INFO(example.where);
    const TemporaryDirectory directory;
    directory.write("index.html", "the index\n");
    const std::string token = directory.write("admin.token", "0123456789abcdef\n");
    REQUIRE(::chmod(token.c_str(), 0600) == 0);
    for (const auto& file : fs::directory_iterator(FIBERD_SOURCE_DIR "/config/examples/conf.d"))
      directory.write("conf.d/" + file.path().filename().string(),
                      localized(read_file(file.path().string()), directory.path()));
    const std::string yaml = localized(example.text, directory.path());
    const config::Outcome outcome = config::load_text(yaml, example.where, {});
    for (const config::Diagnostic& diagnostic : outcome.diagnostics) UNSCOPED_INFO(diagnostic.to_string());
    REQUIRE(outcome.ok());
    make_tls_files(outcome.config, directory);
    // Where each port is stands in the log, so that is ours, too.
    Daemon::Options options{
        .arguments = {"--set", "log.output=stderr", "--set", "log.format=text", "--set", "shutdown.delay=0s"}};
    const bool admin_socket = outcome.config.admin.address.starts_with("unix:");
    if (outcome.config.admin.by_default) {
      options.arguments.insert(options.arguments.end(), {"--set", "admin.address=127.0.0.1:0"});
    }
    if (yaml.find("handler:") != std::string::npos && yaml.find("# - {path: /greeting, handler:") == std::string::npos)
      options.program = FIBERD_GREETER;
    const Finished checked = run({options.program, "check", directory.write("example.yaml", yaml)});
    CHECK(checked.code == 0);
    CHECK(checked.errors.empty());
    Daemon daemon(yaml, options);
    for (const config::ListenerConfig& listener : outcome.config.listeners) ask_listener(daemon, listener);
    if (admin_socket) {
      config::ListenerConfig admin;
      admin.address = outcome.config.admin.address;
      const std::string page =
          talk(daemon, admin, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
      CHECK(page.starts_with("HTTP/1.1 200 "));
    } else {
      CHECK(daemon.admin_status("/healthz") == 200);
      const bool guarded = !outcome.config.admin.token_file.empty();
      CHECK(daemon.admin_status("/metrics") == (guarded ? 401 : 200));
      if (!guarded) CHECK(daemon.metric("fiberd_bugs_total") == 0.0);
    }
    if (!outcome.config.metrics.addresses.empty()) {
      HttpClient scraper(daemon.port("metrics"));
      const auto page = scraper.ask(get("/metrics"));
      REQUIRE(page);
      CHECK(page->body.find("\nfiberd_bugs_total 0\n") != std::string::npos);
    }
    CHECK(daemon.stop() == 0);
  }
}

TEST_CASE("README.md: from `config default` to a running daemon", "[integration][docs][examples]") {
  const TemporaryDirectory directory;
  const std::string file = directory.path() + "/fiberd.yaml";
  const std::string binary = FIBERD_BINARY;
  REQUIRE(read_file(FIBERD_SOURCE_DIR "/README.md").find("fiberd config default > fiberd.yaml ") != std::string::npos);
  CHECK(run({"sh", "-c", binary + " config default > " + file}).code == 0);
  CHECK(run({binary, "check", file}).code == 0);
  Daemon daemon(read_file(file),
                {.arguments = {"--set", "runtime.gomaxprocs=2", "--set", "admin.address=127.0.0.1:0", "--set",
                               "listeners[0].address=127.0.0.1:0", "--set", "listeners[1].address=127.0.0.1:0"}});
  HttpClient web(daemon.port("web"));
  CHECK(web.ask(get("/"))->body == "Hello, World!");
  CHECK(web.ask("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")->body == "hello");
  CHECK(daemon.admin("/metrics").find("fiberd_build_info") != std::string::npos);
  CHECK(daemon.stop() == 0);
}
