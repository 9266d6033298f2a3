#include "core/base/host_port.hpp"

#include <catch2/catch.hpp>
#include <string>

using namespace fiberd;

TEST_CASE("host:port is taken apart, and what is wrong with it is told", "[host_port]") {
  struct Row {
    const char* text;
    HostPortError error;
    const char* host;
    const char* port;  ///< nullptr: none
  };
  for (const Row& row : {
           Row{"name", HostPortError::none, "name", nullptr},
           Row{"name:80", HostPortError::none, "name", "80"},
           Row{"name:", HostPortError::none, "name", ""},
           Row{":80", HostPortError::none, "", "80"},
           Row{"", HostPortError::none, "", nullptr},
           Row{"name:x", HostPortError::none, "name", "x"},
           Row{"[::1]", HostPortError::none, "[::1]", nullptr},
           Row{"[::1]:80", HostPortError::none, "[::1]", "80"},
           Row{"[]:80", HostPortError::none, "[]", "80"},
           Row{"[::1", HostPortError::open_bracket, "[:", "1"},
           Row{"[", HostPortError::open_bracket, "[", nullptr},
           Row{"[::1]80", HostPortError::behind_bracket, "[:", "1]80"},
           Row{"[::1]x:80", HostPortError::behind_bracket, "[::1]x", "80"},
           Row{"::1", HostPortError::bare_colons, ":", "1"},
           Row{"2001:db8::1:80", HostPortError::bare_colons, "2001:db8::1", "80"},
       }) {
    CAPTURE(row.text);
    HostPort parts;
    CHECK(split_host_port(row.text, parts) == row.error);
    CHECK(parts.written_host() == row.host);
    CHECK(parts.has_port == (row.port != nullptr));
    CHECK(parts.port == (row.port != nullptr ? row.port : ""));
    CHECK(parts.brackets == (row.error == HostPortError::none && std::string(row.text).starts_with('[')));
  }
}

TEST_CASE("ports are decimal numbers of sixteen bits", "[host_port]") {
  CHECK(parse_port("0") == 0);
  CHECK(parse_port("80") == 80);
  CHECK(parse_port("65535") == 65535);
  CHECK(parse_port("000000080") == 80);
  CHECK(parse_port("0000000000") == 0);
  for (const char* none : {"", "65536", "99999", "100000", "4294967376", "-1", "+1", " 80", "80 ", "8o", "0x50"})
    CHECK_FALSE(parse_port(none));
}
