// Which addresses can be bound beside which.
#include "config/addresses.hpp"

#include <catch2/catch.hpp>

using namespace fiberd::config;

namespace {

struct Verdict {
  std::string wrong;
  std::vector<bool> ipv6_only;
  bool admin_ipv6_only = false;
};

/// Of listeners with these addresses; "udp " and "both " before one make it an aggregate.
Verdict together(const std::vector<std::string>& addresses, const std::string& admin = "off") {
  std::string yaml = "admin: {address: \"" + admin + "\"}\nlisteners:\n";
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    std::string address = addresses[i];
    std::string service = "tcp: {echo: {}}";
    for (const char* const protocol : {"udp", "both"}) {
      if (!address.starts_with(std::string(protocol) + " ")) continue;
      service = "aggregate: {protocol: " + std::string(protocol) + "}";
      address.erase(0, address.find(' ') + 1);
    }
    yaml += "- {name: n" + std::to_string(i) + ", address: \"" + address + "\", " + service + "}\n";
  }
  const Outcome o = load_text(yaml, "f.yaml");
  Verdict v;
  for (const Diagnostic& d : o.diagnostics) v.wrong += d.to_string() + "\n";
  for (const ListenerConfig& l : o.config.listeners) v.ipv6_only.push_back(l.ipv6_only);
  v.admin_ipv6_only = o.config.admin.ipv6_only;
  return v;
}

}  // namespace

TEST_CASE("an address in any spelling", "[config][addresses]") {
  Address a;
  CHECK(parse_address(":80", a).empty());
  CHECK((a.family == Address::Family::ipv4 && a.any() && a.port == 80));
  CHECK(parse_address("[::ffff:1.2.3.4]:80", a).empty());
  CHECK((a.family == Address::Family::ipv4 && a.mapped && a.bytes[0] == 1 && a.bytes[3] == 4));
  CHECK(parse_address("[::]:0", a).empty());
  CHECK((a.family == Address::Family::ipv6 && a.any()));
  CHECK(parse_address("unix:/run/x", a).empty());
  CHECK((a.family == Address::Family::unix_socket && a.path == "/run/x"));
  for (const char* const wrong : {"", "80", "a:80", "::1:80", "[::1]]:80", "1.2.3.4:", "1.2.3.4:65536", "1.2.3.4:-1",
                                  "unix:", "unix:/a/", "unix:/${A}", "unix:/a\x01"})
    CHECK_FALSE(check_address(wrong).empty());
}

TEST_CASE("pairs that can be bound", "[config][addresses]") {
  for (const auto& pair : std::vector<std::vector<std::string>>{{"1.2.3.4:80", "1.2.3.5:80"},
                                                                {"0.0.0.0:80", "127.0.0.1:81"},
                                                                {"0.0.0.0:80", "[::1]:80"},
                                                                {"127.0.0.1:0", "127.0.0.1:0"},
                                                                {"0.0.0.0:0", "[::]:0"},
                                                                {"127.0.0.1:80", "udp 127.0.0.1:80"},
                                                                {"udp 0.0.0.0:80", "0.0.0.0:80"},
                                                                {"unix:/a", "unix:/b"},
                                                                {"udp [::]:80", "0.0.0.0:80"}}) {
    INFO(pair[0] << " " << pair[1]);
    const Verdict v = together(pair);
    CHECK(v.wrong.empty());
    CHECK(v.ipv6_only == std::vector<bool>{false, false});
  }
}

TEST_CASE("[::] is left the IPv6 half where 0.0.0.0 has the other", "[config][addresses]") {
  CHECK(together({"0.0.0.0:80", "[::]:80"}).ipv6_only == std::vector<bool>{false, true});
  CHECK(together({"[::]:80", ":80"}).ipv6_only == std::vector<bool>{true, false});
  CHECK(together({"both [::]:80", "both 0.0.0.0:80"}).ipv6_only == std::vector<bool>{true, false});
  CHECK(together({"udp [::]:80", "both 0.0.0.0:80"}).ipv6_only == std::vector<bool>{true, false});
  CHECK(together({"0.0.0.0:80", "[::]:81"}).ipv6_only == std::vector<bool>{false, false});
  CHECK(together({"0.0.0.0:80"}, "[::]:80").admin_ipv6_only);
  CHECK(together({"0.0.0.0:80", "[::]:80", "[::]:81", ":81"}).wrong.empty());
}

TEST_CASE("pairs that exclude each other are told at the second", "[config][addresses]") {
  for (const auto& pair : std::vector<std::vector<std::string>>{{"1.2.3.4:80", "1.2.3.4:80"},
                                                                {":80", "0.0.0.0:80"},
                                                                {"0.0.0.0:80", "1.2.3.4:80"},
                                                                {"1.2.3.4:80", "0.0.0.0:80"},
                                                                {"[::1]:80", "[0::1]:80"},
                                                                {"[::]:80", "[::1]:80"},
                                                                {"[::]:80", "1.2.3.4:80"},
                                                                {"1.2.3.4:80", "[::]:80"},
                                                                {"1.2.3.4:80", "[::ffff:1.2.3.4]:80"},
                                                                {"both [::]:80", "0.0.0.0:80"},
                                                                {"both 1.2.3.4:80", "udp 1.2.3.4:80"},
                                                                {"unix:/a/b", "unix:/a/./b"}}) {
    INFO(pair[0] << " " << pair[1]);
    CHECK(together(pair).wrong.starts_with("f.yaml:4:"));
    CHECK(together(pair).wrong.find("used by listeners[0]") != std::string::npos);
  }
  // The admin listener has its address first.
  CHECK(together({"0.0.0.0:80"}, "127.0.0.1:80").wrong.find("used by admin already") != std::string::npos);
  const Outcome o = load_text("listeners: [{name: w, address: \"0.0.0.0:9090\", tcp: {echo: {}}}]\n", "f.yaml");
  REQUIRE(o.diagnostics.size() == 1);
  CHECK(o.diagnostics[0].message.find("set admin.address") != std::string::npos);
}
