#pragma once
// Rows about requests: RFC 9113 section 8, RFC 8441, and what of RFC 9110 this server holds them to.
#include <string>
#include <vector>

#include "tests/protocol/h2_case.hpp"

namespace fiberd::protocol {

inline std::vector<H2Case> h2_field_cases() {
  using namespace test::http2;
  std::vector<H2Case> rows;
  const auto add = [&](std::string name, std::string rfc, std::string bytes, H2Outcome outcome,
                       std::uint32_t code = 0) {
    rows.push_back({std::move(name), std::move(rfc), std::move(bytes), outcome, code});
  };
  const auto malformed = [&](std::string name, std::string rfc, std::string bytes) {
    add(std::move(name), std::move(rfc), std::move(bytes), H2Outcome::stream_error, kProtocolError);
  };
  const auto answered = [&](std::string name, std::string rfc, unsigned status, std::string bytes) {
    add(std::move(name), std::move(rfc), std::move(bytes), H2Outcome::answer, status);
  };
  const auto hex = [](int c) { return std::to_string(c); };

  // ---- 8.2.1: names
  for (int c = 'A'; c <= 'Z'; ++c)
    malformed(std::string("the name x-") + static_cast<char>(c), "9113 8.2.1",
              get(1, "/", {{std::string("x-") + static_cast<char>(c), "1"}}));
  for (int c = 0; c < 256; ++c) {
    const bool token =
        (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
        (c < 128 && c != 0 && std::string("!#$%&'*+-.^_`|~").find(static_cast<char>(c)) != std::string::npos);
    if (token || (c >= 0x81 && c < 0xf0 && c % 16 != 0)) continue;
    malformed("byte " + hex(c) + " in a name", "9113 8.2.1",
              get(1, "/", {{std::string("x") + static_cast<char>(c), "1"}}));
  }
  malformed("an empty name", "9113 8.2.1", get(1, "/", {{"", "1"}}));
  answered("a name of all token characters", "9110 5.6.2", 200, get(1, "/", {{"a0!#$%&'*+-.^_`|~", "1"}}));

  // ---- 8.2.1: values
  for (int c = 0; c < 0x20; ++c)
    if (c != '\t')
      malformed("byte " + hex(c) + " in a value", "9113 8.2.1 house",
                get(1, "/", {{"x-a", std::string("a") + static_cast<char>(c) + "b"}}));
  malformed("DEL in a value", "9113 8.2.1 house",
            get(1, "/",
                {{"x-a",
                  "a\x7f"
                  "b"}}));
  for (const char* const value : {" a", "a ", "\ta", "a\t", " ", "\t"})
    malformed("blanks around a value", "9113 8.2.1", get(1, "/", {{"x-a", value}}));
  answered("blanks inside of a value", "9113 8.2.1", 200, get(1, "/", {{"x-a", "a \tb"}}));
  answered("an empty value", "9113 8.2.1", 200, get(1, "/", {{"x-a", ""}}));
  answered("bytes above 127 in a value", "9110 5.5", 200, get(1, "/", {{"x-a", "\x80\xff"}}));

  // ---- 8.2.2: what belongs to connections of HTTP/1
  for (const char* const name : {"connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"})
    malformed(std::string("the field ") + name, "9113 8.2.2", get(1, "/", {{name, "close"}}));
  malformed("transfer-encoding: chunked", "9113 8.2.2",
            headers(1, post_fields("/echo", {{"transfer-encoding", "chunked"}}), false) + data(1, "x"));
  for (const char* const value : {"gzip", "trailers, gzip", "chunked", ""})
    malformed(std::string("te: ") + value, "9113 8.2.2", get(1, "/", {{"te", value}}));
  answered("te: trailers", "9113 8.2.2", 200, get(1, "/", {{"te", "trailers"}}));

  // ---- 8.3, 8.3.1: pseudo-fields
  const auto without = [](std::string_view name) {
    Fields fields;
    for (auto& f : get_fields())
      if (f.first != name) fields.push_back(f);
    return fields;
  };
  const auto with = [](std::string_view name, std::string value) {
    Fields fields = get_fields();
    for (auto& f : fields)
      if (f.first == name) f.second = value;
    return fields;
  };
  for (const char* const name : {":method", ":scheme", ":path"}) {
    malformed(std::string("no ") + name, "9113 8.3.1", headers(1, without(name)));
    Fields twice = get_fields();
    twice.emplace_back(name, "GET");
    malformed(std::string("two of ") + name, "9113 8.3", headers(1, twice));
    Fields behind = without(name);
    behind.emplace_back("x-a", "1");
    behind.emplace_back(name, "/");
    malformed(std::string(name) + " behind a field", "9113 8.3", headers(1, behind));
  }
  {
    Fields twice = get_fields();
    twice.emplace_back(":authority", "a.example");
    malformed("two of :authority", "9113 8.3", headers(1, twice));
    Fields behind = without(":authority");
    behind.emplace_back("x-a", "1");
    behind.emplace_back(":authority", "a.example");
    malformed(":authority behind a field", "9113 8.3", headers(1, behind));
  }
  for (const char* const name : {":status", ":protocol", ":host", ":", ":x", ":Method", ":pat"})
    malformed(std::string("the pseudo-field ") + name, "9113 8.3", get(1, "/", {{name, "200"}}));
  malformed("no field at all", "9113 8.3.1", headers(1, {}));
  malformed("an empty :path", "9113 8.3.1", headers(1, with(":path", "")));
  malformed("an empty :method", "9113 8.3.1", headers(1, with(":method", "")));
  malformed("an empty :scheme", "9113 8.3.1", headers(1, with(":scheme", "")));
  malformed("a :path without its slash", "9113 8.3.1", headers(1, with(":path", "x")));
  malformed("a :path of a whole URL", "9113 8.3.1", headers(1, with(":path", "http://a.example/")));
  malformed("* and not OPTIONS", "9113 8.3.1", headers(1, with(":path", "*")));
  for (const char* const bad : {"G T", "G\tT", "GET/", "G(T", "\x80"})
    malformed("a method that is no token", "9110 9.1", headers(1, with(":method", bad)));
  for (const char* const bad : {"/a b", "/a\x01", "/a\x7f"})
    malformed("a :path with a blank or a control", "9113 8.3.1", headers(1, with(":path", bad)));
  for (const char* const bad : {"/a\"b", "/a#b", "/a<b", "/a>b", "/a\\b"})
    answered("a :path with what no target has", "9110 7.1 house", 400, headers(1, with(":path", bad)));
  answered("a query with a backslash", "9110 7.1 house", 200, headers(1, with(":path", "/?a\\b")));
  answered("a path that is not served", "9110 15.5.5", 404, headers(1, with(":path", "/nothing")));
  answered("an encoded slash", "9110 4.2.3 house", 400, headers(1, with(":path", "/a%2fb")));
  answered("NUL in a path", "9110 4.2.3 house", 400, headers(1, with(":path", "/a%00b")));
  answered("an unknown method", "9110 9.1", 501, headers(1, with(":method", "BREW")));
  answered("a method in lower case", "9110 9.1", 501, headers(1, with(":method", "get")));
  answered("a method of 33 letters", "9110 9.1 house", 501, headers(1, with(":method", std::string(33, 'A'))));
  answered("TRACE", "9110 9.3.8 house", 405, headers(1, with(":method", "TRACE")));
  for (const char* const method : {"HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
    answered(method, "9110 9.3", 200, headers(1, with(":method", method)));
  answered("https without TLS", "9110 7.4", 421, headers(1, with(":scheme", "https")));
  answered("another scheme", "9113 8.3.1 house", 400, headers(1, with(":scheme", "ftp")));
  answered("a scheme in capitals", "9110 4.2.3", 200, headers(1, with(":scheme", "HTTP")));
  for (const char* const bad : {"", "a b", "a.example/"})
    malformed(std::string(":authority of ") + bad, "9113 8.3.1", headers(1, with(":authority", bad)));
  for (const char* const bad : {"user@a.example", "a.example:x", "a.example:99999", "a,b", "[::1"})
    answered(std::string(":authority of ") + bad, "9113 8.3.1 house", 400, headers(1, with(":authority", bad)));
  for (const char* const good : {"a.example:80", "127.0.0.1", "[::1]", "[::1]:8080", "A.EXAMPLE", "a.example."})
    answered(std::string(":authority of ") + good, "9113 8.3.1", 200, headers(1, with(":authority", good)));
  {
    Fields host = without(":authority");
    malformed("neither :authority nor Host", "9113 8.3.1 house", headers(1, host));
    host.emplace_back("host", "a.example");
    answered("Host and no :authority", "9113 8.3.1", 200, headers(1, host));
    host.emplace_back("host", "a.example");
    malformed("two Hosts", "9112 3.2", headers(1, host));
  }
  answered("Host that equals :authority", "9113 8.3.1", 200, get(1, "/", {{"host", "A.example"}}));
  answered("Host that differs from :authority", "9113 8.3.1", 400, get(1, "/", {{"host", "b.example"}}));

  // ---- 8.5, RFC 8441: CONNECT
  const Fields connect{{":method", "CONNECT"}, {":authority", "a.example:443"}};
  const auto plus = [](Fields fields, std::string name, std::string value) {
    fields.emplace_back(std::move(name), std::move(value));
    return fields;
  };
  answered("CONNECT", "9110 9.3.6 house", 405, headers(1, connect));
  malformed("CONNECT with :scheme", "9113 8.5", headers(1, plus(connect, ":scheme", "http")));
  malformed("CONNECT with :path", "9113 8.5", headers(1, plus(connect, ":path", "/")));
  malformed("CONNECT without :authority", "9113 8.5", headers(1, {{":method", "CONNECT"}}));
  answered("CONNECT without a port", "9112 3.2.3", 400,
           headers(1, {{":method", "CONNECT"}, {":authority", "a.example"}}));
  malformed(":protocol of a GET", "8441 4", headers(1, plus(get_fields(), ":protocol", "websocket")));
  malformed(":protocol without :path", "8441 4", headers(1, plus(connect, ":protocol", "websocket")));

  // ---- 8.1, 8.1.1: content
  const auto body = [](const char* length, std::string_view bytes) {
    return headers(1, post_fields("/echo", {{"content-length", length}}), false) + data(1, bytes);
  };
  answered("a body of its length", "9113 8.1.1", 200, body("4", "body"));
  answered("a body without a length", "9113 8.1.1", 200, test::http2::post(1, "body"));
  answered("a length of 0 and no DATA", "9113 8.1.1", 200, headers(1, post_fields("/echo", {{"content-length", "0"}})));
  malformed("a body shorter than its length", "9113 8.1.1", body("5", "body"));
  malformed("a body longer than its length", "9113 8.1.1", body("3", "body"));
  malformed("a length and no body", "9113 8.1.1", headers(1, post_fields("/echo", {{"content-length", "4"}})));
  malformed("a body of a length of 0", "9113 8.1.1", body("0", "x"));
  rows.back().in_one_piece = true;
  for (const char* const bad : {"-1", "+4", "4,4", "4 4", "0x4", "four", "", "99999999999999999999"})
    malformed(std::string("content-length: ") + bad, "9110 8.6", body(bad, "body"));
  malformed(
      "two lengths that agree", "9110 8.6 house",
      headers(1, post_fields("/echo", {{"content-length", "4"}, {"content-length", "4"}}), false) + data(1, "body"));
  answered("a length beyond the limit", "9110 15.5.14", 413,
           headers(1, post_fields("/echo", {{"content-length", "9999999"}}), false));
  answered("DATA in many frames", "9113 8.1", 200,
           headers(1, post_fields(), false) + data(1, "b", false) + data(1, "o", false) + data(1, "dy"));
  answered("an expectation that is not known", "9110 10.1.1", 417, get(1, "/", {{"expect", "more"}}));
  const auto trailers = [&](const Fields& fields, bool end = true) {
    return headers(1, post_fields(), false) + data(1, "body", false) + headers(1, fields, end);
  };
  answered("trailers", "9113 8.1", 200, trailers({{"x-sum", "1"}}));
  malformed("trailers that do not end the stream", "9113 8.1", trailers({{"x-sum", "1"}}, false));
  for (const char* const name : {":path", ":method", ":status", ":x"})
    malformed(std::string(name) + " in trailers", "9113 8.1", trailers({{name, "/"}}));
  for (const char* const name : {"content-length", "host", "authorization", "te", "trailer", "content-type"})
    malformed(std::string(name) + " in trailers", "9110 6.5.1", trailers({{name, "trailers"}}));
  malformed("a capital in trailers", "9113 8.2.1", trailers({{"X-Sum", "1"}}));
  malformed("transfer-encoding in trailers", "9113 8.2.2", trailers({{"transfer-encoding", "chunked"}}));

  // ---- limits
  answered("a target of 8 KiB", "9110 4.1", 404, headers(1, with(":path", "/" + std::string(8191, 'a'))));
  answered("a target that is longer", "9110 15.5.15", 414, headers(1, with(":path", "/" + std::string(8192, 'a'))));
  Fields many;
  for (int i = 0; i < 100; ++i) many.emplace_back("x-a", "1");
  answered("100 fields", "9110 5.4", 200, get(1, "/", many));
  many.emplace_back("x-a", "1");
  answered("101 fields", "6585 5", 431, get(1, "/", many));
  answered("a head of 15 KiB", "9110 5.4", 200, get(1, "/", {{"x-a", std::string(15'000, 'a')}}));
  answered("a head of more than 16 KiB", "6585 5", 431,
           frame(kHeaders, kEndStream, 1, block(get_fields())) +
               frame(kContinuation, kEndHeaders, 1,
                     field("x-a", std::string(16'000, 'a')) + field("x-b", std::string(300, 'b'))));
  Fields crumbs;
  for (int i = 0; i < 101; ++i) crumbs.emplace_back("cookie", "a=1");
  answered("101 crumbs of a cookie", "9113 8.2.3 house", 431, get(1, "/", crumbs));

  // ---- 6.9: a stream's window
  add("an increment of 0 for a stream", "9113 6.9, 5.4.1", headers(1, post_fields(), false) + window_update(1, 0),
      H2Outcome::connection_error, kProtocolError);
  add("a stream's window above 2^31 - 1", "9113 6.9.1", headers(1, post_fields(), false) + window_update(1, 0x7fffffff),
      H2Outcome::stream_error, kFlowControlError);
  return rows;
}

}  // namespace fiberd::protocol
