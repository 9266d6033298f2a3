// Each format's lines: whole, bounded, and to be taken apart again whatever a client sends.
#include "daemon/access_line.hpp"

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/random.hpp"
#include "core/net/tls_peer.hpp"
#include "tests/support/allocations.hpp"
#include "tests/support/json.hpp"

using namespace fiberd;
using daemon::AccessFormat;
using daemon::AccessLine;

namespace {

const net::Endpoint kPeer = net::Endpoint::v4(0xc0000201, 1);
constexpr std::timespec kNow{1'767'225'600, 7'654'321};  // 1 January 2026

http::AccessRecord record() {
  http::AccessRecord r{};
  r.peer = &kPeer;
  r.method = "GET";
  r.target = "/a/b?q=1";
  r.user_agent = "agent/1 (x)";
  r.referer = "https://a.example/";
  r.host = "a.example:80";
  r.route = "/a/* GET,HEAD";
  r.protocol = "HTTP/1.1";
  r.status = 200;
  r.body_bytes = 5;
  r.received_bytes = 7;
  r.duration_ns = 1'234'567;
  r.head_ns = 12'000'003'000;
  return r;
}

std::string line(const AccessLine& format, const http::AccessRecord& r) {
  std::array<char, AccessLine::kMost> out;
  return {out.data(), format.write(out, r, kNow)};
}

/// Without its end.
bool is_json(std::string_view text) { return test::Json::valid(text.substr(0, text.size() - 1)); }

std::string line(AccessFormat format, const http::AccessRecord& r) {
  return line(AccessLine::make(format, "web").value(), r);
}

std::string line(std::string_view text, const http::AccessRecord& r) {
  return line(AccessLine::make(AccessFormat::written, "web", text).value(), r);
}

}  // namespace

TEST_CASE("common and combined lines", "[daemon][access_log]") {
  http::AccessRecord r = record();
  CHECK(line(AccessFormat::common, r) ==
        "192.0.2.1 - - [01/Jan/2026:00:00:00 +0000] \"GET /a/b?q=1 HTTP/1.1\" 200 5\n");
  CHECK(line(AccessFormat::combined, r) ==
        "192.0.2.1 - - [01/Jan/2026:00:00:00 +0000] \"GET /a/b?q=1 HTTP/1.1\" 200 5 \"https://a.example/\" "
        "\"agent/1 (x)\"\n");
  r.user = "one two";
  r.user_agent = "a\"b\\c\nd\xff";
  r.referer = "";
  CHECK(line(AccessFormat::combined, r) ==
        "192.0.2.1 - one\\x20two [01/Jan/2026:00:00:00 +0000] \"GET /a/b?q=1 HTTP/1.1\" 200 5 \"-\" "
        "\"a\\\"b\\\\c\\x0ad\\xff\"\n");
  r.method = r.target = {};
  CHECK(line(AccessFormat::common, r).find("] \"-\" 200 5\n") != std::string::npos);
}

TEST_CASE("a JSON line holds all that is known, and what is not there is left out", "[daemon][access_log]") {
  http::AccessRecord r = record();
  CHECK(line(AccessFormat::json, r) ==
        R"({"time":"2026-01-01T00:00:00Z","listener":"web","client":"192.0.2.1","host":"a.example:80",)"
        R"("route":"/a/* GET,HEAD","method":"GET","target":"/a/b?q=1","version":"HTTP/1.1","status":200,"bytes":5,)"
        R"-("duration_us":1234,"time_to_head_us":12000003,"bytes_in":7,"user_agent":"agent/1 (x)",)-"
        R"("referer":"https://a.example/"})"
        "\n");
  r.request_id = "0123456789";
  r.reason = "rate_limit";
  r.user = "me";
  const std::string all = line(AccessFormat::json, r);
  CHECK(all.find(R"("client":"192.0.2.1","user":"me",)") != std::string::npos);
  CHECK(all.find(R"("bytes_in":7,"request_id":"0123456789","reason":"rate_limit",)") != std::string::npos);
}

TEST_CASE("a template's fields", "[daemon][access_log]") {
  http::AccessRecord r = record();
  CHECK(line("${time} ${listener} ${client} ${host} ${method} ${target}", r) ==
        "2026-01-01T00:00:00.007Z web 192.0.2.1 a.example:80 GET /a/b?q=1\n");
  CHECK(line("${path} ${query} ${path}${query} ${protocol} ${route} ${status}", r) ==
        "/a/b ?q=1 /a/b?q=1 HTTP/1.1 /a/*\\x20GET,HEAD 200\n");
  CHECK(line("in=${bytes_in} out=${bytes_out} in ${duration} and ${time_to_head} s, $$5", r) ==
        "in=7 out=5 in 0.001234 and 12.000003 s, $5\n");
  CHECK(line("${request_id} ${reason} \"${referer}\" \"${user_agent}\" ${user}", r) ==
        "- - \"https://a.example/\" \"agent/1 (x)\" -\n");
  r.request_id = "0123456789";
  r.reason = "rate_limit";
  r.user = "me";
  CHECK(line("${request_id}|${reason}|${user}", r) == "0123456789|rate_limit|me\n");
  // What has no value is a column all the same, but a part of one is left out.
  r.target = "/";
  r.user_agent = r.referer = "";
  CHECK(line("${query} ${path}${query} \"${user_agent}\" ${referer}", r) == "- / \"-\" -\n");
  r.method = {};
  r.target = {};
  CHECK(line("${method} ${target} ${protocol}", r) == "- - -\n");
}

TEST_CASE("what TLS says of a connection and of its client", "[daemon][access_log]") {
  http::AccessRecord r = record();
  static constexpr std::string_view kAll =
      "${tls_version} ${tls_cipher} ${tls_server_name} ${client_cert_verified} ${client_cert_subject} "
      "${client_cert_names} ${client_cert_fingerprint}";
  CHECK(line(kAll, r) == "- - - - - - -\n");
  net::TlsPeer peer;
  r.tls = &peer;
  peer.version = "TLSv1.3";
  peer.cipher = "TLS_AES_256_GCM_SHA384";
  CHECK(line(kAll, r) == "TLSv1.3 TLS_AES_256_GCM_SHA384 - no - - -\n");
  const std::string plain = line(AccessFormat::json, r);
  CHECK(is_json(plain));
  CHECK(plain.find(R"(,"tls_version":"TLSv1.3","tls_cipher":"TLS_AES_256_GCM_SHA384","user_agent")") !=
        std::string::npos);
  // Whatever an issuer signs, and a client asks for.
  peer.server_name = "a\"b c\n\xff";
  peer.subject = "CN=a \"b\"\\,\r\nX: y";
  peer.names = {"DNS:a", "URI:b"};
  peer.all_names = "DNS:a URI:b";
  peer.fingerprint = std::string(64, 'f');
  CHECK(line(kAll, r) ==
        "TLSv1.3 TLS_AES_256_GCM_SHA384 a\\\"b\\x20c\\x0a\\xff yes CN=a\\x20\\\"b\\\"\\\\,\\x0d\\x0aX:\\x20y "
        "DNS:a\\x20URI:b " +
            std::string(64, 'f') + "\n");
  CHECK(line("\"${client_cert_names}\"", r) == "\"DNS:a URI:b\"\n");
  const std::string all = line(AccessFormat::json, r);
  CHECK(is_json(all));
  CHECK(all.find(R"("client_cert_subject":"CN=a \"b\"\\,\u000d\u000aX: y","client_cert_fingerprint":"ffff)") !=
        std::string::npos);
  // A line stays whole when all of it is as long as it may be.
  const std::string bad(4096, '\x01');
  peer.cipher = "ECDHE-ECDSA-CHACHA20-POLY1305";
  peer.subject = r.target = r.host = r.route = r.user_agent = r.referer = r.request_id = r.user = bad;
  r.method = std::string_view(bad).substr(0, 64);
  r.trace = {{1, 2}, {3}, true};
  r.reason = "duplicate_transfer_encoding";
  r.body_bytes = r.received_bytes = r.duration_ns = r.head_ns = UINT64_MAX;
  const std::string whole = line(AccessLine::make(AccessFormat::json, std::string(128, 'l')).value(), r);
  CHECK(whole.size() <= AccessLine::kMost);
  CHECK(is_json(whole));
  CHECK(whole.find("\"client_cert_subject\"]}") == std::string::npos);
  CHECK(whole.find("\"client_cert_subject\",\"user_agent\"") != std::string::npos);
}

TEST_CASE("what a client sends ends neither its field nor the line", "[daemon][access_log]") {
  http::AccessRecord r = record();
  r.user_agent = "a b\tc\"d\\e\x7f|f,g\xc3\xa9\r\nh";
  CHECK(line("\"${user_agent}\" x", r) == "\"a b\\x09c\\\"d\\\\e\\x7f|f,g\\xc3\\xa9\\x0d\\x0ah\" x\n");
  CHECK(line("${user_agent} x", r) == "a\\x20b\\x09c\\\"d\\\\e\\x7f|f,g\\xc3\\xa9\\x0d\\x0ah x\n");
  CHECK(line("${user_agent}|x", r) == "a\\x20b\\x09c\\\"d\\\\e\\x7f\\x7cf,g\\xc3\\xa9\\x0d\\x0ah|x\n");
  CHECK(line("${user_agent}${query},x", r) == "a\\x20b\\x09c\\\"d\\\\e\\x7f|f\\x2cg\\xc3\\xa9\\x0d\\x0ah?q=1,x\n");
  // Of what only we write nothing is escaped.
  CHECK(line("${time}: ${client}:", r) == "2026-01-01T00:00:00.007Z: 192.0.2.1:\n");

  // 2,000 lines of bytes by chance: as many columns each as the template has, in the quotes and outside.
  Random random(7);
  const AccessLine blanks =
      AccessLine::make(AccessFormat::written, "web", "${user_agent} ${host} ${target} ${status}").value();
  const AccessLine marks =
      AccessLine::make(AccessFormat::written, "web", "${user_agent};${host};${referer};end").value();
  const AccessLine quotes = AccessLine::make(AccessFormat::written, "web", "\"${user_agent}\" \"${referer}\"").value();
  for (int i = 0; i < 2'000; ++i) {
    std::string bytes(random.below(200), '\0');
    for (char& c : bytes)
      c = random.below(3) == 0 ? " ;\"\\\n\r\t"[random.below(7)] : static_cast<char>(random.below(256));
    r.user_agent = r.host = r.referer = r.target = bytes;
    const auto count = [](const std::string& text, char c) { return std::count(text.begin(), text.end(), c); };
    const std::string a = line(blanks, r);
    const std::string b = line(marks, r);
    std::string c = line(quotes, r);
    INFO(a << b << c);
    REQUIRE(count(a, ' ') == 3);
    REQUIRE(a.ends_with(" 200\n"));
    REQUIRE(count(b, ';') == 3);
    REQUIRE(b.ends_with(";end\n"));
    for (const std::string& text : {a, b, c}) REQUIRE(count(text, '\n') == 1);
    for (std::size_t at = 0; (at = c.find('\\', at)) != std::string::npos;) c.erase(at, 2);
    REQUIRE(count(c, '"') == 4);
    REQUIRE(is_json(line(AccessFormat::json, r)));
  }
}

TEST_CASE("lines are whole and bounded however long everything is", "[daemon][access_log]") {
  const std::string quotes(60'000, '"');
  const std::string bytes(60'000, '\xff');
  const std::string plain(60'000, 'x');
  const std::string listener(64, 'l');
  const in6_addr longest{
      {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}};
  const net::Endpoint peer = net::Endpoint::v6(longest, 1);
  for (const std::string& text : {quotes, bytes, plain}) {
    http::AccessRecord r = record();
    r.peer = &peer;
    r.method = r.target = r.user_agent = r.referer = r.host = r.route = r.request_id = r.user = text;
    r.reason = "duplicate_transfer_encoding";
    r.status = 599;
    r.body_bytes = r.received_bytes = r.duration_ns = r.head_ns = UINT64_MAX;
    const std::string json = line(AccessLine::make(AccessFormat::json, listener).value(), r);
    INFO(json);
    CHECK(is_json(json));
    CHECK(
        json.ends_with("\"truncated\":[\"user\",\"host\",\"route\",\"method\",\"target\",\"request_id\",\"user_agent\","
                       "\"referer\"]}\n"));
    CHECK(json.size() > AccessLine::kMost / 2);
    CHECK(line(AccessFormat::common, r).ends_with("... HTTP/1.1\" 599 18446744073709551615\n"));
    const std::string combined = line(AccessFormat::combined, r);
    CHECK(combined.ends_with("...\"\n"));
    CHECK(combined.find("... HTTP/1.1\" 599 18446744073709551615 \"") != std::string::npos);
    const std::string written = line(
        "${time} ${listener} ${client} ${host} ${method} ${target} ${path} ${query} ${protocol} ${route} ${status} "
        "${bytes_in} ${bytes_out} ${duration} ${time_to_head} ${request_id} ${reason} ${user} ${referer} "
        "${user_agent}. ${status} end",
        r);
    CHECK(written.ends_with(" 599 end\n"));
    CHECK(std::count(written.begin(), written.end(), ' ') == 21);
  }
  // What a template may not be is said when it is made.
  const auto made = [](const std::string& text) { return AccessLine::make(AccessFormat::written, "web", text); };
  CHECK(made(std::string(3'900, 'x') + "${status} ${target}").has_value());
  CHECK(made(std::string(4'050, 'x') + "${status} ${target}").error() == std::errc::message_size);
  CHECK(made(std::string(4'095, 'x')).has_value());
  CHECK(made(std::string(4'096, 'x')).error() == std::errc::message_size);
  std::string many;
  for (int i = 0; i < 60; ++i) many += "${user_agent}";
  CHECK(made(many).has_value());
  CHECK(made(many + many).error() == std::errc::invalid_argument);  // more variables than a template may have
  CHECK(made("").error() == std::errc::invalid_argument);
  CHECK(made("${none}").error() == std::errc::invalid_argument);
  http::AccessRecord r = record();
  r.user_agent = bytes;
  CHECK(line(many, r).size() <= AccessLine::kMost);
}

TEST_CASE("a line allocates nothing", "[daemon][access_log]") {
  const AccessLine json = AccessLine::make(AccessFormat::json, "web").value();
  const AccessLine written =
      AccessLine::make(AccessFormat::written, "web", "${time} ${client} ${target} ${duration} \"${user_agent}\"")
          .value();
  const in6_addr longest{
      {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}};
  const net::Endpoint peer = net::Endpoint::v6(longest, 1);
  http::AccessRecord r = record();
  r.peer = &peer;
  r.request_id = "0123456789abcdef0123456789abcdef";
  std::array<char, AccessLine::kMost> out;
  (void)json.write(out, r, kNow);  // the C library's time zone
  const std::uint64_t before = test::allocations();
  std::size_t size = json.write(out, r, kNow);
  size += written.write(out, r, kNow);
  CHECK(test::allocations() == before);
  CHECK(size > 100);
}

TEST_CASE("lines name the trace and the span where there is one", "[daemon][access_log][tracing]") {
  http::AccessRecord r = record();
  CHECK(line(AccessFormat::json, r).find("trace_id") == std::string::npos);
  CHECK(line("${trace_id} ${span_id}", r) == "- -\n");
  r.trace = {{0x0af7651916cd43dd, 0x8448eb211c80319c}, {0xb7ad6b7169203331}, true};
  const std::string json = line(AccessFormat::json, r);
  CHECK(is_json(json));
  CHECK(json.find(R"("trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":"b7ad6b7169203331")") !=
        std::string::npos);
  CHECK(line("${status} ${trace_id} \"${span_id}\"", r) ==
        "200 0af7651916cd43dd8448eb211c80319c \"b7ad6b7169203331\"\n");
  CHECK(line(AccessFormat::common, r).find("0af7") == std::string::npos);
}
