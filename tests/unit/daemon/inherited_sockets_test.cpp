// Whose the sockets are that a process finds when it starts.
#include "daemon/inherited_sockets.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <string>

#include "tests/support/daemon.hpp"

using namespace fiberd;
using namespace fiberd::daemon;

namespace {

int make_socket(int family, int type, bool listening = true) {
  const int fd = ::socket(family, type, 0);
  REQUIRE(fd >= 0);
  sockaddr_storage address{};
  address.ss_family = static_cast<sa_family_t>(family);
  if (family == AF_INET) reinterpret_cast<sockaddr_in*>(&address)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(sockaddr_in)) == 0);
  if (type == SOCK_STREAM && listening) REQUIRE(::listen(fd, 8) == 0);
  return fd;
}

std::string address_of(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  REQUIRE(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  return net::Endpoint::from(reinterpret_cast<sockaddr*>(&address), size).to_string();
}

config::Config configured(const std::string& listeners) {
  config::Outcome outcome = config::load_text("admin: {address: off}\nlisteners:\n" + listeners, "test", {});
  for (const auto& d : outcome.diagnostics) INFO(d.to_string());
  REQUIRE(outcome.ok());
  return outcome.config;
}

std::string tcp(const std::string& name, const std::string& address) {
  return "  - {name: " + name + ", address: \"" + address + "\", tcp: {echo: {}}}\n";
}

void give(InheritedSockets& sockets, int fd, const std::string& name) {
  InheritedSocket s{.name = name, .keeper = net::Keeper::service_manager, .described = "descriptor of " + name};
  s.descriptors.emplace_back(fd);
  sockets.add(std::move(s));
}

void keep(InheritedSockets& sockets, int fd, const std::string& name, const std::string& address) {
  InheritedSocket s{.name = name, .address = address, .kept = true, .described = "kept"};
  s.descriptors.emplace_back(fd);
  sockets.add(std::move(s));
}

std::string why_not(InheritedSockets& sockets, const config::Config& config) {
  std::string why;
  return sockets.settle(config, why) ? "" : why;
}

bool says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("a given socket goes to the listener of its name, wherever that is to listen", "[daemon][inherited]") {
  InheritedSockets sockets;
  const int fd = make_socket(AF_INET, SOCK_STREAM);
  give(sockets, fd, "web");
  CHECK(why_not(sockets, configured(tcp("api", "127.0.0.1:7001") + tcp("web", "127.0.0.1:7002"))).empty());
  CHECK(sockets.take_warnings().size() == 1);  // that it is another address
  CHECK(!sockets.has("api", "127.0.0.1:7001", false));
  CHECK(!sockets.has("web", "127.0.0.1:7002", true));
  REQUIRE(sockets.has("web", "127.0.0.1:7002", false));
  const auto taken = sockets.take("web", "127.0.0.1:7002", false);
  REQUIRE(taken);
  CHECK(taken->descriptors.at(0).get() == fd);
  CHECK(taken->keeper == net::Keeper::service_manager);
  CHECK(!sockets.has("web", "127.0.0.1:7002", false));
  CHECK(sockets.take("web", "127.0.0.1:7002", false) == nullptr);
}

TEST_CASE("a given socket of no listener's name goes by its address, and one that has a name to nobody else",
          "[daemon][inherited]") {
  InheritedSockets sockets;
  const int unnamed = make_socket(AF_INET, SOCK_STREAM);
  const int named = make_socket(AF_INET, SOCK_STREAM);
  give(sockets, named, "api");
  give(sockets, unnamed, "fiberd.socket");
  // The address of the one that is api's is web's in the configuration.
  const std::string other = address_of(named);
  const std::string yaml = tcp("web", other) + tcp("files", address_of(unnamed)) + tcp("api", "127.0.0.1:7003");
  CHECK(why_not(sockets, configured(yaml)).empty());
  CHECK(!sockets.has("web", other, false));
  CHECK(sockets.has("files", address_of(unnamed), false));
  CHECK(sockets.take("api", "127.0.0.1:7003", false)->descriptors.at(0).get() == named);
}

TEST_CASE("several of one name fill the listener's addresses, those that are its own first", "[daemon][inherited]") {
  InheritedSockets sockets;
  const int one = make_socket(AF_INET, SOCK_STREAM);
  const int two = make_socket(AF_INET, SOCK_STREAM);
  give(sockets, one, "web");
  give(sockets, two, "web");
  const std::string second = address_of(two);
  CHECK(why_not(sockets,
                configured("  - {name: web, address: [\"" + second + "\", \"127.0.0.1:7004\"], tcp: {echo: {}}}\n"))
            .empty());
  CHECK(sockets.take("web", second, false)->descriptors.at(0).get() == two);
  CHECK(sockets.take("web", "127.0.0.1:7004", false)->descriptors.at(0).get() == one);
}

TEST_CASE("what is meant for a listener and cannot be its socket is an error that names it", "[daemon][inherited]") {
  const config::Config config = configured(tcp("web", "127.0.0.1:7005"));
  const auto refused = [&](int fd) {
    InheritedSockets sockets;
    give(sockets, fd, "web");
    return why_not(sockets, config);
  };
  const std::string udp = refused(make_socket(AF_INET, SOCK_DGRAM));
  CHECK(says(udp, "descriptor of web is a UDP socket, but listener web speaks TCP"));
  CHECK(says(udp, "ListenStream="));
  CHECK(says(refused(make_socket(AF_INET, SOCK_STREAM, false)), "does not listen"));
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  ::close(ends[1]);
  CHECK(says(refused(ends[0]), "is no socket"));
  const int abstract = ::socket(AF_UNIX, SOCK_STREAM, 0);
  REQUIRE(::listen(abstract, 1) != 0);
  CHECK(says(refused(abstract), "without a path"));
  CHECK(says(refused(::socket(AF_UNIX, SOCK_SEQPACKET, 0)), "another kind than a stream"));
  const fiberd::test::TemporaryDirectory directory;
  const auto path = net::Endpoint::parse("unix:" + directory.path() + "/s").value();
  const int file = ::socket(AF_UNIX, SOCK_STREAM, 0);
  REQUIRE(::bind(file, path.data(), path.size()) == 0);
  REQUIRE(::listen(file, 1) == 0);
  CHECK(says(refused(file), "a port and a Unix socket cannot stand for each other"));
}

TEST_CASE("a datagram socket at the address of a TCP listener is an error without a name, too", "[daemon][inherited]") {
  InheritedSockets sockets;
  const int fd = make_socket(AF_INET, SOCK_DGRAM);
  const std::string address = address_of(fd);
  give(sockets, fd, "unknown");
  CHECK(says(why_not(sockets, configured(tcp("web", address))), "is a UDP socket"));
}

TEST_CASE("what nobody wants is closed with a warning", "[daemon][inherited]") {
  InheritedSockets sockets;
  const int stranger = make_socket(AF_INET, SOCK_STREAM);
  const int first = make_socket(AF_INET, SOCK_STREAM);
  const int spare = make_socket(AF_INET, SOCK_STREAM);
  give(sockets, stranger, "unknown");
  give(sockets, first, "web");
  give(sockets, spare, "web");
  CHECK(why_not(sockets, configured(tcp("web", "127.0.0.1:7006"))).empty());
  CHECK(::fcntl(stranger, F_GETFD) < 0);
  CHECK(::fcntl(spare, F_GETFD) < 0);
  CHECK(::fcntl(first, F_GETFD) >= 0);
  CHECK(sockets.take_warnings().size() == 3);
  CHECK(sockets.take_warnings().empty());
}

TEST_CASE("a kept socket goes by the address that the configuration before had, whoever had it",
          "[daemon][inherited]") {
  InheritedSockets sockets;
  const int fd = make_socket(AF_INET, SOCK_STREAM);
  const std::string address = address_of(fd);
  const int any = make_socket(AF_INET, SOCK_STREAM);
  const int gone = make_socket(AF_INET, SOCK_STREAM);
  keep(sockets, fd, "web", address);
  keep(sockets, any, "api", "127.0.0.1:0");
  keep(sockets, gone, "web2", address_of(gone));
  // web moved to another port, and its address went to files.
  const std::string yaml = tcp("web", "127.0.0.1:7007") + tcp("files", address) + tcp("api", "127.0.0.1:0") +
                           tcp("other", "127.0.0.1:0") + tcp("web2", "127.0.0.1:7008");
  CHECK(why_not(sockets, configured(yaml)).empty());
  CHECK(!sockets.has("web", "127.0.0.1:7007", false));
  CHECK(!sockets.has("other", "127.0.0.1:0", false));
  CHECK(!sockets.has("web2", "127.0.0.1:7008", false));
  CHECK(::fcntl(gone, F_GETFD) < 0);
  CHECK(sockets.take("files", address, false)->descriptors.at(0).get() == fd);
  CHECK(sockets.take("api", "127.0.0.1:0", false)->descriptors.at(0).get() == any);
}

TEST_CASE("a listener of TCP and UDP has both sockets, or binds what is missing", "[daemon][inherited]") {
  InheritedSockets sockets;
  const int udp = make_socket(AF_INET, SOCK_DGRAM);
  give(sockets, udp, "stats");
  const std::string at = address_of(udp);
  CHECK(why_not(sockets,
                configured("  - {name: stats, address: \"" + at + "\", aggregate: {protocol: both, flush: []}}\n"))
            .empty());
  CHECK(sockets.has("stats", at, true));
  CHECK(!sockets.has("stats", at, false));
}

TEST_CASE("names in a service manager's store hold the address, and no ':'", "[daemon][inherited]") {
  for (const char* const address : {"127.0.0.1:0", "[::1]:80", "unix:/run/a b%/\xc3\xa4.sock", ":80"}) {
    const std::string name = stored_name("web", address);
    CHECK(name.find(':') == std::string::npos);
    CHECK(name.find(' ') == std::string::npos);
    std::string listener;
    std::string read;
    REQUIRE(parse_stored_name(name, listener, read));
    CHECK(listener == "web");
    CHECK(read == address);
  }
  CHECK(stored_name(std::string(64, 'n'), "unix:/" + std::string(100, '%')).empty());
  std::string listener;
  std::string address;
  for (const char* const name : {"web", "@x", "web@", "web@%", "web@%4", "web@%4x", "fiberd.socket", ""})
    CHECK(!parse_stored_name(name, listener, address));
}
