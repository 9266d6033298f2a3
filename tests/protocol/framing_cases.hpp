#pragma once
// What a server must accept and refuse on the wire. Run against the parser alone and over a socket; in both whole, byte
// by byte, and split at random.
#include <string>
#include <string_view>
#include <vector>

#include "tests/protocol/raw_case.hpp"

namespace fiberd::protocol {

inline std::vector<RawCase> framing_cases() {
  using namespace std::string_literals;
  std::vector<RawCase> t;
  const auto ok = [&](std::string name, std::string rfc, std::string bytes, unsigned answers = 1) {
    t.push_back({std::move(name), std::move(rfc), std::move(bytes), 200, false, answers});
  };
  const auto last = [&](std::string name, std::string rfc, std::string bytes, unsigned answers = 1) {
    t.push_back({std::move(name), std::move(rfc), std::move(bytes), 200, true, answers});
  };
  const auto bad = [&](std::string name, std::string rfc, std::string bytes, unsigned status = 400, unsigned n = 1) {
    t.push_back({std::move(name), std::move(rfc), std::move(bytes), status, true, n});
  };
  const auto also = [&](std::vector<unsigned> statuses) { t.back().also = std::move(statuses); };
  const auto wait = [&](std::string name, std::string rfc, std::string bytes) {
    t.push_back({std::move(name), std::move(rfc), std::move(bytes), 0, false, 0});
  };

  // Request line
  ok("plain get", "9112 3", line("GET / HTTP/1.1"));
  ok("query", "9112 3.2.1", line("GET /?a=b&c=%20 HTTP/1.1"));
  ok("query with characters that browsers send bare", "house", line("GET /?q=[a]{b}|c^`d HTTP/1.1"));
  ok("query with a backslash, as browsers send it", "house", line("GET /?q=a\\b\\\\c HTTP/1.1"));
  bad("query with a backslash and a control", "house", line("GET /?q=a\\\x01 HTTP/1.1"));
  bad("backslash in path and query", "house", line("GET /a\\b?q=\\ HTTP/1.1"));
  ok("one empty line before", "9112 2.2", "\r\n" + line("GET / HTTP/1.1"));
  bad("two empty lines before", "9112 2.2, house", "\r\n\r\n" + line("GET / HTTP/1.1"));
  bad("bare LF before", "9112 2.2, house", "\n" + line("GET / HTTP/1.1"));
  bad("CR and no LF before", "9112 3, house", "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n");
  bad("space before method", "9112 3, house", line(" GET / HTTP/1.1"));
  bad("two spaces after method", "9112 3, house", line("GET  / HTTP/1.1"));
  bad("two spaces before version", "9112 3, house", line("GET /  HTTP/1.1"));
  bad("tab after method", "9112 3, house", line("GET\t/ HTTP/1.1"));
  bad("tab before version", "9112 3, house", line("GET /\tHTTP/1.1"));
  bad("space after version", "9112 3, house", line("GET / HTTP/1.1 "));
  bad("no target", "9112 3", line("GET HTTP/1.1"));
  bad("no method", "9112 3", line("/ HTTP/1.1"));
  bad("colon in method", "9110 5.6.2", line("GE:T / HTTP/1.1"));
  bad("NUL in method", "9110 5.6.2", line(std::string("GE\0T / HTTP/1.1", 15)));
  bad("TLS client hello", "9112 3", "\x16\x03\x01\x02"s);
  bad("0.9 request", "9112 3, house", "GET /\r\n");
  bad("0.9 request, bare LF", "9112 3, house", "GET /\n");
  bad("0.9 with version", "9112 2.3, house", line("GET / HTTP/0.9"));
  bad("version 2.0", "9112 2.3", line("GET / HTTP/2.0"), 505);
  bad("version 1.2", "9112 2.3, house", line("GET / HTTP/1.2"), 505);
  bad("version 3.0", "9112 2.3", line("GET / HTTP/3.0"), 505);
  bad("HTTP/2 preface", "9113 3.4", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505);
  bad("version 1.10", "9112 2.3", line("GET / HTTP/1.10"));
  bad("version 01.1", "9112 2.3", line("GET / HTTP/01.1"));
  bad("version without dot", "9112 2.3", line("GET / HTTP/11"));
  bad("version in lower case", "9112 2.3", line("GET / http/1.1"));
  bad("RTSP", "9112 2.3", line("GET / RTSP/1.0"));
  bad("ICE", "9112 2.3", line("SOURCE / ICE/1.0"));
  bad("version negative", "9112 2.3", line("GET / HTTP/-1.1"));
  bad("empty version", "9112 2.3", line("GET / "));
  bad("bare LF after request line", "9112 2.2, house", "GET / HTTP/1.1\nHost: a\r\n\r\n");
  bad("bare CR after request line", "9112 2.2", "GET / HTTP/1.1\rHost: a\r\n\r\n");
  bad("unknown method", "9110 9.1", line("BREW / HTTP/1.1"), 501);
  bad("method in lower case", "9110 9.1", line("get / HTTP/1.1"), 501);
  bad("method with every tchar mark", "9110 5.6.2", line("!#$%&'*+-.^_`|~ / HTTP/1.1"), 501);
  bad("method too long", "9112 3", line(std::string(40, 'M') + " / HTTP/1.1"), 501);
  bad("method known to llhttp alone", "house", line("PROPFIND / HTTP/1.1"), 501);
  for (const char* m : {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"}) {
    ok(std::string("method ") + m, "9110 9", line(std::string(m) + " / HTTP/1.1"));
  }
  bad("something after the version", "9112 3", line("GET / HTTP/1.1x"));
  bad("comma in version", "9112 2.3", line("GET / HTTP/1,1"));
  bad("letter in version", "9112 2.3", line("GET / HTTP/1.x"));
  bad("space in version", "9112 2.3", line("GET / HTTP/ 1.1"));
  bad("one word", "9112 3", "GET\r\n\r\n");
  bad("vertical tab after method", "9112 3, house", line("GET\x0b/ HTTP/1.1"));
  bad("status line", "9112 2.1", "HTTP/1.1 200 OK\r\nHost: a\r\n\r\n");
  bad("SSH banner", "9112 2.2", "SSH-2.0-OpenSSH_9.2\r\n");
  bad("JSON", "9112 2.2", "{\"method\": \"GET\"}\r\n\r\n");
  bad("PROXY protocol", "9112 2.2", "PROXY TCP4 192.0.2.1 192.0.2.2 1 80\r\n" + line("GET / HTTP/1.1"));
  bad("parenthesis in method", "9110 5.6.2", line("GET() / HTTP/1.1"));
  bad("UTF-8 in method", "9110 5.6.2", line("G\xc3\x89T / HTTP/1.1"));
  bad("method that begins like a known one", "9110 9.1", line("GETS / HTTP/1.1"), 501);
  bad("method that a known one begins with", "9110 9.1", line("PO / HTTP/1.1"), 501);

  // Target
  ok("absolute form", "9112 3.2.2", line("GET http://b.example/ HTTP/1.1"));
  ok("absolute form, scheme in capitals", "9112 3.2.2", line("GET HTTP://b.example/ HTTP/1.1"));
  bad("absolute form, https where nothing is secured", "9110 7.4", line("GET https://b.example:443/ HTTP/1.1"), 421);
  bad("absolute form, https and userinfo", "9110 4.2.4", line("GET https://u@b.example/ HTTP/1.1"));
  ok("absolute form without path", "9112 3.2.2", line("GET http://b.example HTTP/1.1"));
  also({301, 308});
  ok("absolute form with query only", "9112 3.2.2", line("GET http://b.example?x HTTP/1.1"));
  also({301, 308});
  ok("absolute form, IPv6", "9112 3.2.2", line("GET http://[::1]:80/ HTTP/1.1"));
  bad("absolute form, userinfo", "9110 4.2.4", line("GET http://u@b.example/ HTTP/1.1"));
  bad("absolute form, empty host", "9110 4.2.1", line("GET http:/// HTTP/1.1"));
  bad("absolute form, bad port", "9110 4.2", line("GET http://b.example:x/ HTTP/1.1"));
  bad("absolute form, other scheme", "house", line("GET ftp://b.example/ HTTP/1.1"));
  bad("absolute form without Host field", "9112 3.2", "GET http://b.example/ HTTP/1.1\r\n\r\n");
  bad("no leading slash", "9112 3.2", line("GET index.html HTTP/1.1"));
  bad("authority form without CONNECT", "9112 3.2.3", line("GET b.example:80 HTTP/1.1"));
  bad("CONNECT with path", "9112 3.2.3", line("CONNECT / HTTP/1.1"));
  bad("CONNECT without port", "9112 3.2.3", line("CONNECT b.example HTTP/1.1"));
  bad("CONNECT with empty port", "9112 3.2.3", line("CONNECT b.example: HTTP/1.1"));
  bad("asterisk with GET", "9112 3.2.4", line("GET * HTTP/1.1"));
  ok("asterisk with OPTIONS", "9112 3.2.4", line("OPTIONS * HTTP/1.1"));
  also({405, 501});
  bad("fragment", "9112 3.2", line("GET /#a HTTP/1.1"));
  also({301});
  bad("angle bracket", "9112 3.2", line("GET /<b> HTTP/1.1"));
  bad("quotation mark", "9112 3.2", line("GET /\" HTTP/1.1"));
  bad("backslash", "house", line("GET /\\a HTTP/1.1"));
  bad("control in target", "9112 3.2", line("GET /\x01 HTTP/1.1"));
  bad("DEL in target", "9112 3.2", line("GET /\x7f HTTP/1.1"));
  bad("UTF-8 in target", "9112 3.2", line("GET /\xc3\xa9 HTTP/1.1"));
  bad("CR in target", "9112 3.2", line("GET /\r/ HTTP/1.1"));
  bad("bad escape", "3986 2.1", line("GET /%zz HTTP/1.1"));
  bad("cut escape", "3986 2.1", line("GET /%4 HTTP/1.1"));
  bad("NUL escape", "house", line("GET /%00 HTTP/1.1"));
  bad("encoded slash", "house", line("GET /a%2Fb HTTP/1.1"));
  ok("encoded letters", "3986 2.3", line("GET /%65cho HTTP/1.1"));
  ok("dot segments", "3986 5.2.4", line("GET /a/.././echo HTTP/1.1"));
  also({301, 308});
  ok("encoded dot segments", "3986 5.2.4", line("GET /a/%2e%2E/echo HTTP/1.1"));
  also({301, 308});
  ok("dots above the root", "3986 5.2.4", line("GET /../../ HTTP/1.1"));
  also({301, 308, 400});
  ok("target as long as allowed", "9110 4.1, house", line("GET /?" + std::string(8190, 'a') + " HTTP/1.1"));
  bad("target one too long", "9110 15.5.15, house", line("GET /?" + std::string(8191, 'a') + " HTTP/1.1"), 414);
  bad("target without end", "9110 15.5.15", "GET /" + std::string(20000, 'a'), 414);
  ok("absolute form, empty port", "9110 4.2.3", line("GET http://b.example:/ HTTP/1.1"));
  ok("absolute form, encoded host", "3986 3.2.2", line("GET http://%62.example/ HTTP/1.1"));
  also({400});
  last("absolute form on 1.0", "9112 3.2.2", line("GET http://b.example/ HTTP/1.0"));
  ok("absolute form and an empty Host", "9112 3.2.2", "GET http://b.example/ HTTP/1.1\r\nHost:\r\n\r\n");
  bad("absolute form and two Hosts", "9112 3.2", head("Host: b\r\n", "GET http://b.example/ HTTP/1.1"));
  bad("absolute form and a wrong Host", "9112 3.2", "GET http://b.example/ HTTP/1.1\r\nHost: a b\r\n\r\n");
  bad("absolute form, one slash", "9112 3.2.2", line("GET http:/b.example/ HTTP/1.1"));
  bad("absolute form, no slash", "9112 3.2.2", line("GET http:b.example HTTP/1.1"));
  bad("absolute form, fragment", "9112 3.2", line("GET http://b.example/#a HTTP/1.1"));
  also({301});
  bad("absolute form, space in host", "9112 3", line("GET http://b example/ HTTP/1.1"));
  bad("absolute form, IPv6 without brackets", "3986 3.2.2", line("GET http://::1/ HTTP/1.1"));
  bad("absolute form, IPv6 with zone", "6874 2, house", line("GET http://[fe80::1%25eth0]/ HTTP/1.1"));
  bad("absolute form, port too large", "house", line("GET http://b.example:65536/ HTTP/1.1"));
  bad("asterisk and more", "9112 3.2.4", line("OPTIONS *x HTTP/1.1"));
  ok("query empty", "3986 3.4", line("GET /? HTTP/1.1"));
  ok("query with slashes and question marks", "3986 3.4", line("GET /?a/../b?c HTTP/1.1"));
  ok("query with a URI", "3986 3.4", line("GET /?http://b.example:80/ HTTP/1.1"));
  ok("query with a bad escape, as browsers send it", "house", line("GET /?50% HTTP/1.1"));
  bad("escape cut by the query", "3986 2.1", line("GET /%4?1 HTTP/1.1"));
  bad("escape with a sign", "3986 2.1", line("GET /%+1 HTTP/1.1"));
  ok("target of 8000 bytes", "9110 4.1", line("GET /?" + std::string(7998, 'a') + " HTTP/1.1"));

  // Fields
  ok("field without value", "9110 5.5", head("X:\r\n"));
  ok("tab in value", "9110 5.5", head("X: a\tb\r\n"));
  ok("obs-text in value", "9110 5.5", head("X: \xff\xfe\r\n"));
  ok("no space after colon", "9112 5", head("X:y\r\n"));
  ok("blanks around value", "9112 5", head("X: \t y \t \r\n"));
  ok("colon in value", "9112 5", head("X: a:b\r\n"));
  ok("every tchar mark in a name", "9110 5.6.2", head("!#$%&'*+-.^_`|~1: y\r\n"));
  bad("folded line", "9112 5.2, house", head("X: a\r\n b\r\n"));
  bad("folded line, tab", "9112 5.2, house", head("X: a\r\n\tb\r\n"));
  bad("folded blank line", "9112 5.2, house", head("X: a\r\n \r\n"));
  bad("blank before first field", "9112 2.2", "GET / HTTP/1.1\r\n Host: a\r\n\r\n");
  bad("space before colon", "9112 5.1", head("X : y\r\n"));
  bad("tab before colon", "9112 5.1", head("X\t: y\r\n"));
  bad("space before colon of Content-Length", "9112 5.1", post("Content-Length : 1\r\n", "a"));
  bad("empty name", "9112 5", head(": y\r\n"));
  bad("no colon", "9112 5", head("X\r\n"));
  bad("space in name", "9110 5.1", head("X Y: z\r\n"));
  bad("NUL in name", "9110 5.1", head(std::string("X\0Y: z\r\n", 8)));
  bad("UTF-8 in name", "9110 5.1", head("\xc3\xa9: z\r\n"));
  bad("bracket in name", "9110 5.1", head("X[]: z\r\n"));
  bad("NUL in value", "9110 5.5, house", head(std::string("X: a\0b\r\n", 8)));
  bad("control in value", "9110 5.5, house", head("X: a\x02\r\n"));
  bad("DEL in value", "9110 5.5, house", head("X: a\x7f\r\n"));
  bad("bare CR in value", "9112 2.2, house", head("X: a\rb\r\n"));
  bad("bare CR after blanks", "9112 2.2, house", head("X: \rb\r\n"));
  bad("bare LF after value", "9112 2.2, house", head("X: a\nY: b\r\n"));
  bad("CR CR LF", "9112 2.2, house", head("X: a\r\r\n"));
  bad("bare LF at the end of the head", "9112 2.2, house", "GET / HTTP/1.1\r\nHost: a\r\n\n");
  bad("last field and end with bare LF", "9112 2.2, house", "GET / HTTP/1.1\r\nHost: a\n\n");
  bad("CR and a letter at the end of the head", "9112 2.2", "GET / HTTP/1.1\r\nHost: a\r\n\rX");
  std::string many;
  for (int i = 0; i < 99; ++i) many += "X: y\r\n";
  ok("as many fields as allowed", "6585 5, house", head(many));
  bad("one field too many", "6585 5, house", head(many + "X: y\r\n"), 431);
  bad("head too large", "6585 5", head("X: " + std::string(17000, 'a') + "\r\n"), 431);
  bad("name without end", "6585 5", "GET / HTTP/1.1\r\n" + std::string(17000, 'a'), 431);
  ok("value of 15 KiB", "6585 5", head("X: " + std::string(15000, 'a') + "\r\n"));
  ok("value of blanks", "9112 5.1", head("X: \t \r\n"));
  ok("quote that does not end", "9110 5.5", head("X: \"a\r\n"));
  ok("NEL and line separator in UTF-8 are no line ends", "9110 5.5", head("X: a\xc2\x85Y: b\xe2\x80\xa8Z: c\r\n"));
  ok("name of 1000 bytes", "9110 5.1", head(std::string(1000, 'a') + ": y\r\n"));
  ok("underscore makes another field", "9110 5.1", post("Content_Length: 5\r\nTransfer_Encoding: chunked\r\n", ""));
  bad("vertical tab before colon", "9112 5.1", head("X\x0b: y\r\n"));
  bad("form feed before value", "9110 5.5, house", head("X: \x0cy\r\n"));
  bad("request line among the fields", "9112 5", head("GET / HTTP/1.1\r\n"));
  bad("LF CR between fields", "9112 2.2, house", head("X: a\n\rY: b\r\n"));
  bad("quoted name", "9110 5.1", head("\"X\": y\r\n"));

  // Host
  bad("no Host", "9112 3.2", "GET / HTTP/1.1\r\n\r\n");
  last("no Host on 1.0", "9112 3.2", "GET / HTTP/1.0\r\n\r\n");
  bad("two Hosts", "9112 3.2", head("Host: b.example\r\n"));
  bad("two Hosts, the same", "9112 3.2", head("Host: a.example\r\n"));
  bad("two Hosts on 1.0", "9112 3.2", head("HOST: b\r\n", "GET / HTTP/1.0"));
  const auto host = [](std::string_view value) { return "GET / HTTP/1.1\r\nHost: " + std::string(value) + "\r\n\r\n"; };
  ok("Host with port", "9110 7.2", host("a.example:8080"));
  ok("Host with empty port", "9110 4.2.3", host("a.example:"));
  ok("Host IPv4", "9110 7.2", host("127.0.0.1"));
  ok("Host IPv6", "9110 7.2", host("[2001:db8::1]:80"));
  ok("Host with underscore", "3986 3.2.2", host("a_b"));
  bad("Host empty", "9112 3.3, house", host(""));
  bad("Host with space", "9112 3.2", host("a b"));
  bad("Host with path", "9112 3.2", host("a/b"));
  bad("Host with userinfo", "9112 3.2", host("u@a"));
  bad("Host list", "9112 3.2, house", host("a,b"));
  bad("Host with port of letters", "9112 3.2", host("a:b"));
  bad("Host with port too large", "9112 3.2, house", host("a:65536"));
  bad("Host with two ports", "9112 3.2", host("a:1:2"));
  bad("Host IPv6 open", "9112 3.2", host("[::1"));
  bad("Host IPv6 wrong", "9112 3.2", host("[::g]"));
  bad("Host with bad escape", "3986 2.1", host("a%2"));
  bad("Host with UTF-8", "9112 3.2", host("\xc3\xa9"));
  ok("Host with final dot", "3986 3.2.2", host("a.example."));
  ok("Host in capitals", "9110 4.2.3", host("A.EXAMPLE"));
  ok("Host with blanks around", "9112 5.1", host(" \ta.example \t"));
  ok("Host IPv6 that holds an IPv4", "3986 3.2.2", host("[::ffff:192.0.2.1]"));
  bad("Host IPv6 without brackets", "9112 3.2", host("2001:db8::1"));
  bad("Host IPv6 and more", "9112 3.2", host("[::1]x"));
  bad("Host IPv4 in brackets", "9112 3.2", host("[127.0.0.1]"));
  bad("Host of a later IP version", "3986 3.2.2", host("[v1.a]"));
  bad("Host with signed port", "9112 3.2", host("a:+80"));
  bad("Host of a port alone", "9112 3.3, house", host(":80"));
  bad("Host with scheme", "9112 3.2", host("http://a"));
  bad("Host with query", "9112 3.2", host("a?b"));
  bad("Host with backslash", "9112 3.2", host("a\\b"));
  bad("Host with NUL", "9112 3.2", host(std::string_view("a\0b", 3)));
  bad("Host folded", "9112 3.2", "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n");

  // Content-Length
  ok("length 0", "9112 6.2", post("Content-Length: 0\r\n", ""));
  ok("length 5", "9112 6.2", post("Content-Length: 5\r\n", "hello"));
  ok("length with leading zero", "9110 8.6", post("Content-Length: 005\r\n", "hello"));
  ok("length, then another request", "9112 9.3", post("Content-Length: 5\r\n", "hello") + head(""), 2);
  ok("GET with body", "9110 9.3.1", head("Content-Length: 2\r\n") + "hi");
  wait("body cut short", "9112 6.2", post("Content-Length: 5\r\n", "hell"));
  bad("length plus", "9110 8.6", post("Content-Length: +5\r\n", "hello"));
  bad("length minus", "9110 8.6", post("Content-Length: -5\r\n", "hello"));
  bad("length hexadecimal", "9110 8.6", post("Content-Length: 0x5\r\n", "hello"));
  bad("length fraction", "9110 8.6", post("Content-Length: 5.0\r\n", "hello"));
  bad("length empty", "9110 8.6", post("Content-Length:\r\n", ""));
  bad("length blank inside", "9110 8.6", post("Content-Length: 1 1\r\n", "hello"));
  bad("length list of equals", "9110 8.6, house", post("Content-Length: 5, 5\r\n", "hello"));
  bad("length list", "9110 8.6", post("Content-Length: 5, 6\r\n", "hello"));
  bad("length twice, equal", "9110 8.6, house", post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"));
  bad("length twice", "9110 8.6", post("Content-Length: 5\r\ncontent-length: 6\r\n", "hello"));
  bad("length over 64 bits", "9110 8.6", post("Content-Length: 18446744073709551621\r\n", "hello"));
  bad("length over 63 bits", "9110 8.6", post("Content-Length: 9223372036854775808\r\n", "hello"));
  bad("length of many zeros", "house", post("Content-Length: " + std::string(100, '0') + "5\r\n", "hello"));
  bad("length over the limit", "9110 15.5.14", post("Content-Length: 1048577\r\n", ""), 413);
  bad("length huge", "9110 15.5.14", post("Content-Length: 9223372036854775807\r\n", ""), 413);
  ok("length with blanks around", "9112 5.1", post("Content-Length: \t 5 \t\r\n", "hello"));
  ok("length in capitals", "9110 5.1", post("CONTENT-LENGTH: 5\r\n", "hello"));
  ok("no length, no body", "9112 6.3", post("", "") + head(""), 2);
  last("no length on 1.0", "9112 6.3", head("", "POST /echo HTTP/1.0"));
  last("length on 1.0", "9112 6.2", head("Content-Length: 5\r\n", "POST /echo HTTP/1.0") + "hello");
  ok("a body that looks like a request", "9112 6.3",
     post("Content-Length: 29\r\n", "GET / HTTP/1.1\r\nHost: evil\r\n\r") + head(""), 2);
  ok("DELETE with body", "9110 9.3.5", head("Content-Length: 2\r\n", "DELETE /echo HTTP/1.1") + "hi" + head(""), 2);
  ok("body of 64 KiB", "9112 6.2", post("Content-Length: 65536\r\n", std::string(65536, 'x')) + head(""), 2);
  bad("body longer than its length", "9112 6.3", post("Content-Length: 2\r\n", "hi\x01there\r\n\r\n"), 400, 2);
  bad("length with comma behind", "9110 8.6", post("Content-Length: 5,\r\n", "hello"));
  bad("length with parameter", "9110 8.6", post("Content-Length: 5;a=b\r\n", "hello"));
  bad("length quoted", "9110 8.6", post("Content-Length: \"5\"\r\n", "hello"));
  bad("length with exponent", "9110 8.6", post("Content-Length: 5e0\r\n", "hello"));
  bad("length with underscore", "9110 8.6", post("Content-Length: 0_5\r\n", "hello"));
  bad("length in full-width digits", "9110 8.6", post("Content-Length: \xef\xbc\x95\r\n", "hello"));
  bad("length after vertical tab", "9110 8.6",
      post("Content-Length: \x0b"
           "5\r\n",
           "hello"));
  bad("length folded", "9112 5.2, house", post("Content-Length:\r\n 5\r\n", "hello"));
  bad("tab before colon of Content-Length", "9112 5.1", post("Content-Length\t: 5\r\n", "hello"));

  // Transfer-Encoding
  ok("chunked", "9112 7.1", chunked("5\r\nhello\r\n0\r\n\r\n"));
  ok("chunked in capitals", "9112 7", post("Transfer-Encoding: CHUNKED\r\n", "0\r\n\r\n"));
  ok("chunked, then another request", "9112 9.3", chunked("5\r\nhello\r\n0\r\n\r\n") + head(""), 2);
  bad("both", "9112 6.3", post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"));
  also({200});
  bad("both, the other order", "9112 6.3", post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"));
  also({200});
  bad("chunked on 1.0", "9112 6.1", head("Transfer-Encoding: chunked\r\n", "POST /echo HTTP/1.0") + "0\r\n\r\n");
  also({200});
  bad("gzip, chunked", "9112 6.1", post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), 501);
  bad("chunked not last", "9112 6.3", post("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n"));
  bad("gzip alone", "9112 6.1", post("Transfer-Encoding: gzip\r\n", ""), 501);
  bad("identity", "9112 6.1", post("Transfer-Encoding: identity\r\n", ""), 501);
  bad("chunked twice in one field", "9112 6.1", post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"));
  bad("chunked twice", "9112 6.1", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"));
  bad("gzip and chunked in two fields", "9112 6.1",
      post("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", ""), 501);
  bad("xchunked", "9112 6.1", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"), 501);
  bad("chunked with parameter", "9112 7", post("Transfer-Encoding: chunked;a=b\r\n", "0\r\n\r\n"));
  bad("chunked quoted", "9112 7", post("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n"));
  bad("chunked after vertical tab", "9110 5.5",
      post("Transfer-Encoding: \x0b"
           "chunked\r\n",
           "0\r\n\r\n"));
  bad("empty list element", "9112 6.1, house", post("Transfer-Encoding: ,chunked\r\n", "0\r\n\r\n"));
  bad("empty coding", "9112 6.1", post("Transfer-Encoding:\r\n", "0\r\n\r\n"));
  ok("chunked with blanks around", "9112 5.1", post("Transfer-Encoding: \t chunked \t\r\n", "0\r\n\r\n"));
  ok("chunked with GET", "9110 9.3.1", head("Transfer-Encoding: chunked\r\n") + "2\r\nhi\r\n0\r\n\r\n" + head(""), 2);
  ok("TE is another field", "9110 10.1.4", head("TE: trailers, chunked\r\nConnection: TE\r\n"));
  bad("both, length 0", "9112 6.3", post("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"));
  also({200});
  bad("both, and a request behind", "9112 6.3",
      post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n") + line("GET /sentinel HTTP/1.1"));
  also({200});
  bad("both, coding misspelt", "9112 6.3", post("Content-Length: 5\r\nTransfer-Encoding: xchunked\r\n", "hello"));
  bad("both on 1.0", "9112 6.1",
      head("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "POST /echo HTTP/1.0") + "0\r\n\r\n");
  also({200});
  bad("both, two lengths", "9112 6.3",
      post("Content-Length: 5\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"));
  bad("space before colon of Transfer-Encoding", "9112 5.1", post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"));
  bad("chunked folded", "9112 5.2, house", post("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"));
  bad("chunked after no-break space", "9112 6.1",
      post("Transfer-Encoding: \xa0"
           "chunked\r\n",
           "0\r\n\r\n"));
  bad("comma behind chunked", "9112 6.1, house", post("Transfer-Encoding: chunked,\r\n", "0\r\n\r\n"));
  bad("identity, chunked", "9112 6.1", post("Transfer-Encoding: identity, chunked\r\n", "0\r\n\r\n"), 501);
  bad("chunked and identity in two fields", "9112 6.3",
      post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n"));
  bad("identity and chunked in two fields", "9112 6.1",
      post("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 501);

  // Chunks
  ok("sizes in both cases", "9112 7.1", chunked("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n"));
  ok("leading zeros within 16 digits", "9112 7.1", chunked("0000000000000005\r\nhello\r\n0000\r\n\r\n"));
  ok("CRLF inside data", "9112 7.1", chunked("4\r\n\r\n\r\n\r\n0\r\n\r\n"));
  ok("extension", "9112 7.1.1", chunked("5;a\r\nhello\r\n0;b=c\r\n\r\n"));
  ok("extension quoted", "9112 7.1.1", chunked("5;a=\"x;\\\"y\"\r\nhello\r\n0\r\n\r\n"));
  ok("extensions with bad whitespace", "9112 7.1.1", chunked("5 ; a = b ;c\r\nhello\r\n0\r\n\r\n"));
  wait("no last chunk", "9112 7.1", chunked("5\r\nhello\r\n"));
  wait("no end of trailers", "9112 7.1.2", chunked("0\r\nX: y\r\n"));
  bad("17 digits", "house", chunked("00000000000000005\r\nhello\r\n0\r\n\r\n"));
  bad("endless zeros", "house", chunked(std::string(5000, '0')));
  bad("size empty", "9112 7.1", chunked("\r\nhello\r\n0\r\n\r\n"));
  bad("size not hexadecimal", "9112 7.1", chunked("g\r\n"));
  bad("size with 0x", "9112 7.1", chunked("0x5\r\nhello\r\n0\r\n\r\n"));
  bad("size negative", "9112 7.1", chunked("-5\r\nhello\r\n0\r\n\r\n"));
  bad("space before size", "9112 7.1", chunked(" 5\r\nhello\r\n0\r\n\r\n"));
  bad("space after size", "9112 7.1", chunked("5 \r\nhello\r\n0\r\n\r\n"));
  bad("underscore in size", "9112 7.1", chunked("1_0\r\n"));
  bad("size over the limit", "9110 15.5.14", chunked("100001\r\n"), 413);
  bad("size of all ones", "9110 15.5.14", chunked("ffffffffffffffff\r\n"), 413);
  bad("sum over the limit", "9110 15.5.14", chunked("1\r\na\r\n100000\r\n"), 413);
  bad("bare LF after size", "9112 7.1", chunked("5\nhello\r\n0\r\n\r\n"));
  bad("bare CR after size", "9112 7.1", chunked("5\rhello\r\n0\r\n\r\n"));
  bad("data longer than size", "9112 7.1", chunked("4\r\nhello\r\n0\r\n\r\n"));
  bad("bare LF after data", "9112 7.1", chunked("5\r\nhello\n0\r\n\r\n"));
  bad("no CRLF after data", "9112 7.1", chunked("5\r\nhello0\r\n\r\n"));
  bad("extension without name", "9112 7.1.1", chunked("5;\r\nhello\r\n0\r\n\r\n"));
  bad("extension without value", "9112 7.1.1", chunked("5;a=\r\nhello\r\n0\r\n\r\n"));
  bad("extension with bare LF", "9112 7.1.1", chunked("5;a\nhello\r\n0\r\n\r\n"));
  bad("extension with bare CR", "9112 7.1.1", chunked("5;a\rb\r\nhello\r\n0\r\n\r\n"));
  bad("extension with LF in quotes", "9112 7.1.1", chunked("5;a=\"\n\"\r\nhello\r\n0\r\n\r\n"));
  bad("extension with NUL", "9112 7.1.1", chunked(std::string("5;a\0\r\nhello\r\n0\r\n\r\n", 18)));
  bad("extension of two tokens", "9112 7.1.1", chunked("5;a b\r\nhello\r\n0\r\n\r\n"));
  bad("extension too long", "9112 7.1.1, house", chunked("5;" + std::string(300, 'a') + "\r\nhello\r\n0\r\n\r\n"));
  std::string tiny;
  for (int i = 0; i < 100; ++i) tiny += "1;" + std::string(200, 'a') + "\r\nx\r\n";
  bad("extensions too long together", "9112 7.1.1, house", chunked(tiny + "0\r\n\r\n"));
  ok("chunk that looks like a request", "9112 7.1",
     chunked("1c\r\nGET / HTTP/1.1\r\nHost: evil\r\n\r\n0\r\n\r\n") + head(""), 2);
  ok("two chunked bodies", "9112 7.1", chunked("2\r\nhi\r\n0\r\n\r\n") + chunked("3\r\nyou\r\n0\r\n\r\n"), 2);
  std::string bytes;
  for (int i = 0; i < 100; ++i) bytes += "1\r\nx\r\n";
  ok("a hundred chunks", "9112 7.1", chunked(bytes + "0\r\n\r\n"));
  ok("extension with empty quotes", "9112 7.1.1", chunked("5;a=\"\"\r\nhello\r\n0\r\n\r\n"));
  ok("extension with obs-text in quotes", "9110 5.6.4", chunked("5;a=\"\xc3\xa9\"\r\nhello\r\n0\r\n\r\n"));
  wait("size without end", "9112 7.1", chunked("5"));
  wait("data cut short", "9112 7.1", chunked("5\r\nhel"));
  wait("extension without end", "9112 7.1.1", chunked("5;a=\"x"));
  bad("size with plus", "9112 7.1", chunked("+5\r\nhello\r\n0\r\n\r\n"));
  bad("size with NUL behind", "9112 7.1", chunked("5\0\r\nhello\r\n0\r\n\r\n"s));
  bad("size as a decimal fraction", "9112 7.1", chunked("5.0\r\nhello\r\n0\r\n\r\n"));
  bad("LF CR after data", "9112 7.1", chunked("5\r\nhello\n\r0\r\n\r\n"));
  bad("data shorter than size", "9112 7.1", chunked("6\r\nhello\r\n0\r\n\r\n"));
  bad("empty line instead of a size", "9112 7.1", chunked("5\r\nhello\r\n\r\n0\r\n\r\n"));
  bad("extension of two semicolons", "9112 7.1.1", chunked("5;;a\r\nhello\r\n0\r\n\r\n"));
  bad("extension with two values", "9112 7.1.1", chunked("5;a=b=c\r\nhello\r\n0\r\n\r\n"));
  bad("extension with something behind its quotes", "9112 7.1.1", chunked("5;a=\"x\"y\r\nhello\r\n0\r\n\r\n"));
  bad("extension with CRLF in quotes", "9112 7.1.1", chunked("5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n"));
  bad("extension with a control escaped", "9112 7.1.1", chunked("5;a=\"\\\x01\"\r\nhello\r\n0\r\n\r\n"));
  bad("extension with UTF-8 outside of quotes", "9112 7.1.1", chunked("5;\xc3\xa9\r\nhello\r\n0\r\n\r\n"));
  bad("extension of the last chunk with bare LF", "9112 7.1.1", chunked("0;a\n\r\n"));

  // Trailers
  ok("trailer", "9112 7.1.2", chunked("0\r\nX-Sum: 1\r\nY:\r\n\r\n"));
  for (const char* name : {"Content-Length", "transfer-encoding", "Host", "Trailer", "Connection", "Authorization"}) {
    bad(std::string("trailer ") + name, "9110 6.5.1, house", chunked("0\r\n" + std::string(name) + ": 1\r\n\r\n"));
  }
  bad("trailer folded", "9112 5.2, house", chunked("0\r\nX: a\r\n b\r\n\r\n"));
  bad("trailer without colon", "9112 5", chunked("0\r\nX\r\n\r\n"));
  bad("trailer with empty name", "9112 5", chunked("0\r\n: a\r\n\r\n"));
  bad("trailer with space before colon", "9112 5.1", chunked("0\r\nX : a\r\n\r\n"));
  bad("trailer with bare LF", "9112 2.2, house", chunked("0\r\nX: a\n\r\n"));
  bad("trailer with NUL", "9110 5.5, house", chunked(std::string("0\r\nX: \0\r\n\r\n", 11)));
  bad("bare LF instead of trailers", "9112 2.2, house", chunked("0\r\n\n"));
  bad("garbage after last chunk", "9112 7.1", chunked("0\r\n\rX"));
  bad("trailers too large", "6585 5, house", chunked("0\r\nX: " + std::string(9000, 'a') + "\r\n\r\n"), 431);
  std::string trailers;
  for (int i = 0; i < 33; ++i) trailers += "X: y\r\n";
  bad("too many trailers", "6585 5, house", chunked("0\r\n" + trailers + "\r\n"), 431);
  ok("trailer announced", "9110 6.6.2",
     post("Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n", "0\r\nX-Sum: 1\r\n\r\n"));
  ok("trailer with obs-text", "9110 5.5", chunked("0\r\nX: \xff\r\n\r\n"));
  ok("trailer, then another request", "9112 9.3", chunked("0\r\nX: y\r\n\r\n") + head(""), 2);
  bad("trailer with control", "9110 5.5, house", chunked("0\r\nX: \x02\r\n\r\n"));
  bad("trailer with space in name", "9110 5.1", chunked("0\r\nX Y: a\r\n\r\n"));

  // Connection and Expect
  last("close", "9112 9.6", head("Connection: close\r\n"));
  last("close in a list", "9112 9.6", head("Connection: x, CLOSE\r\n"));
  last("close in a second field", "9112 9.6", head("Connection: x\r\nConnection: close\r\n"));
  last("close beats keep-alive", "9112 9.3", head("Connection: keep-alive, close\r\n"));
  ok("close as part of a word", "9112 9.6", head("Connection: xclose, close-not\r\n"));
  last("1.0", "9112 9.3", line("GET / HTTP/1.0"));
  bad("Connection: an option that is no token", "9110 7.6.1, house", head("Connection: a b\r\n"));
  bad("Connection: a quoted close", "9110 7.6.1, house", head("Connection: \"close\"\r\n"));
  bad("Connection: an option with a colon", "9110 7.6.1, house", head("Connection: upgrade: websocket\r\n"));
  ok("Connection: empty", "9110 5.6.1.2", head("Connection: \r\n"));
  ok("Connection: empty elements", "9110 5.6.1.2", head("Connection: , x,,\r\n"));
  ok("1.0 keep-alive", "9112 9.3", head("Connection: Keep-Alive\r\n", "GET / HTTP/1.0"));
  ok("upgrade ignored", "9110 7.8", head("Connection: upgrade\r\nUpgrade: websocket\r\n"));
  ok("upgrade to h2c ignored", "9110 7.8",
     head("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n"));
  ok("upgrade with body", "9110 7.8",
     post("Connection: upgrade\r\nUpgrade: x\r\nContent-Length: 2\r\n", "hi") + head(""), 2);
  bad("unknown expectation", "9110 10.1.1, house", post("Expect: 200-ok\r\nContent-Length: 1\r\n", "a"), 417);
  last("expectation on 1.0 ignored", "9110 10.1.1", head("Expect: 100-continue\r\n", "GET / HTTP/1.0"));
  last("close with blanks around", "9112 9.6", head("Connection: \tclose \t\r\n"));
  last("close, keep-alive on 1.0", "9112 9.3", head("Connection: close, keep-alive\r\n", "GET / HTTP/1.0"));
  last("Keep-Alive alone on 1.0", "9112 9.3", head("Keep-Alive: timeout=5\r\n", "GET / HTTP/1.0"));
  last("Proxy-Connection on 1.0", "9112 C.2.2", head("Proxy-Connection: keep-alive\r\n", "GET / HTTP/1.0"));
  ok("keep-alive on 1.1", "9112 9.3", head("Connection: keep-alive\r\n"));
  ok("1.0 keep-alive twice", "9112 9.3",
     head("Connection: keep-alive\r\n", "GET / HTTP/1.0") + head("Connection: keep-alive\r\n", "GET / HTTP/1.0"), 2);
  ok("Connection names Host", "9110 7.6.1", head("Connection: host\r\n"));
  ok("Connection names Content-Length", "9110 7.6.1",
     post("Connection: content-length\r\nContent-Length: 2\r\n", "hi") + head(""), 2);
  ok("upgrade without Connection", "9110 7.8", head("Upgrade: websocket\r\n"));
  ok("expectation and body at once", "9110 10.1.1", post("Expect: 100-continue\r\nContent-Length: 2\r\n", "hi"));
  ok("expectation in capitals", "9110 10.1.1", post("Expect: 100-CONTINUE\r\nContent-Length: 2\r\n", "hi"));
  ok("expectation after an empty list element", "9110 5.6.1.2",
     post("Expect: , 100-continue\r\nContent-Length: 2\r\n", "hi"));
  ok("no expectation in an empty list", "9110 5.6.1.2", post("Expect:\r\nContent-Length: 2\r\n", "hi"));
  bad("a known and an unknown expectation", "9110 10.1.1, house",
      post("Expect: 100-continue, x=y\r\nContent-Length: 2\r\n", "hi"), 417);

  // Pipelines
  ok("three requests", "9112 9.3.2", head("") + head("") + head(""), 3);
  ok("CRLF between requests", "9112 2.2", post("Content-Length: 1\r\n", "a") + "\r\n" + head(""), 2);
  bad("garbage after a request", "9112 2.2", head("") + "\x01", 400, 2);
  bad("refused in the middle", "9112 2.2", head("") + head("X : y\r\n") + head(""), 400, 2);
  last("close in the middle", "9112 9.6", head("Connection: close\r\n") + head(""), 1);
  t.back().behind_close = true;
  ok("three bodies of three framings", "9112 9.3.2",
     chunked("2\r\nhi\r\n0\r\n\r\n") + post("Content-Length: 2\r\n", "hi") + post("", ""), 3);
  ok(
      "twenty requests", "9112 9.3.2",
      [] {
        std::string all;
        for (int i = 0; i < 20; ++i) all += head("");
        return all;
      }(),
      20);
  last("1.0 ends a pipeline", "9112 9.3", head("") + line("GET / HTTP/1.0") + head(""), 2);
  t.back().behind_close = true;
  bad("two empty lines between requests", "9112 2.2, house", post("Content-Length: 1\r\n", "a") + "\r\n\r\n" + head(""),
      400, 2);
  bad("nothing is served behind a refusal", "9112 2.2", head("Content-Length: x\r\n") + line("GET /sentinel HTTP/1.1"));
  bad("nothing is served behind a refused body", "9112 7.1", chunked("x\r\n") + line("GET /sentinel HTTP/1.1"));
  wait("half of a second request", "9112 2.1", "\r\nGET / HTTP/1.1\r\nHos");
  wait("nothing", "9112 2.2", "");
  wait("empty line only", "9112 2.2", "\r\n");
  wait("half a request line", "9112 3", "GET / HT");
  wait("head without end", "9112 2.1", "GET / HTTP/1.1\r\nHost: a\r\n");
  return t;
}

}  // namespace fiberd::protocol
