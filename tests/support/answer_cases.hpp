#pragma once
// Answers as a server might send them, and what becomes of each: data for the guard of answers alone and for the whole
// client against a hostile upstream.
#include <string>
#include <system_error>
#include <vector>

#include "core/http/client/errc.hpp"
#include "core/http/message.hpp"

namespace fiberd::test {

struct AnswerCase {
  std::string section;  ///< of RFC 9112, "9110 …" of RFC 9110; "house": where an RFC leaves it open
  std::string name;
  std::string bytes;      ///< all that the server sends
  std::error_code error;  ///< what the client says; none: status and body
  unsigned status = 200;
  std::string body;
  bool kept = true;   ///< the connection is used again
  bool ends = false;  ///< the server ends the connection behind `bytes`
  http::Method method = http::Method::get;
};

namespace detail {

inline AnswerCase good(std::string section, std::string name, std::string bytes, std::string body,
                       unsigned status = 200) {
  return {std::move(section), std::move(name), std::move(bytes), {}, status, std::move(body)};
}
/// Not kept.
inline AnswerCase last(std::string section, std::string name, std::string bytes, std::string body, bool ends = false,
                       unsigned status = 200) {
  return {std::move(section), std::move(name), std::move(bytes), {}, status, std::move(body), false, ends};
}
inline AnswerCase bad(std::string section, std::string name, std::string bytes, std::error_code error,
                      bool ends = false) {
  return {std::move(section), std::move(name), std::move(bytes), error, 0, {}, false, ends};
}
inline AnswerCase bad(std::string section, std::string name, std::string bytes, http::Reject rule) {
  return bad(std::move(section), std::move(name), std::move(bytes), http::refused_answer(rule));
}
/// Behind "HTTP/1.1 200 OK\r\n".
inline std::string ok(const std::string& rest) { return "HTTP/1.1 200 OK\r\n" + rest; }
inline std::string chunked(const std::string& body) { return ok("Transfer-Encoding: chunked\r\n\r\n" + body); }

}  // namespace detail

inline std::vector<AnswerCase> head_cases() {
  using namespace detail;
  using http::client_errc;
  using http::Reject;
  const std::string nul(1, '\0');
  std::vector<AnswerCase> rows{
      // ---- what is served
      good("6.3", "a length", ok("Content-Length: 5\r\n\r\nhello"), "hello"),
      good("6.3", "length 0", ok("Content-Length: 0\r\n\r\n"), ""),
      good("6.2", "leading zeros of a length", ok("Content-Length: 000005\r\n\r\nhello"), "hello"),
      good("5.1", "blanks around a length", ok("Content-Length: \t 5 \t\r\n\r\nhello"), "hello"),
      good("5.1", "no blank behind the colon", ok("Content-Length:5\r\n\r\nhello"), "hello"),
      good("5.1", "names without regard to case", ok("cOnTeNt-LeNgTh: 5\r\n\r\nhello"), "hello"),
      good("4", "an empty reason", "HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello", "hello"),
      good("4", "a reason of several words, and of obs-text",
           "HTTP/1.1 404 Not \xc3\x84 Found\r\nContent-Length: 2\r\n\r\nno", "no", 404),
      good("9110 15", "a status that nobody knows", "HTTP/1.1 299 Odd\r\nContent-Length: 2\r\n\r\nok", "ok", 299),
      good("9110 15", "the highest status", "HTTP/1.1 599 Odd\r\nContent-Length: 2\r\n\r\nok", "ok", 599),
      good("9110 15.3.5", "204", "HTTP/1.1 204 No Content\r\n\r\n", "", 204),
      good("house", "204 with length 0", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", "", 204),
      good("9110 15.4.5", "304", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n", "", 304),
      good("9110 15.4.5", "304 with the length of its 200", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
           "", 304),
      good("6.1", "304 with the coding of its 200", "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
           "", 304),
      good("5", "an empty value", ok("X-Empty:\r\nContent-Length: 2\r\n\r\nok"), "ok"),
      good("5.5", "obs-text and tabs in a value", ok("X: \xe4\t\xff\r\nContent-Length: 2\r\n\r\nok"), "ok"),
      good("9.3", "1.0 that says keep-alive",
           "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nok", "ok"),
      good("9110 15.2", "100 before the answer", "HTTP/1.1 100 Continue\r\n\r\n" + ok("Content-Length: 2\r\n\r\nok"),
           "ok"),
      good("9110 15.2", "103 and 102 before the answer",
           "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" +
               ok("Content-Length: 2\r\n\r\nok"),
           "ok"),
      good("9110 15.2", "an interim answer that nobody knows",
           "HTTP/1.1 199 Odd\r\n\r\n" + ok("Content-Length: 2\r\n\r\nok"), "ok"),

      // ---- what is served, and the connection not used again
      last("9.6", "Connection: close", ok("Connection: close\r\nContent-Length: 2\r\n\r\nok"), "ok"),
      last("9.6", "close among others", ok("Connection: foo, CLOSE ,bar\r\nContent-Length: 2\r\n\r\nok"), "ok"),
      last("9.6", "close and keep-alive",
           ok("Connection: keep-alive\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"), "ok"),
      last("9.3", "1.0 that says nothing", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok"),
      last("6.3", "until the end of the connection", ok("\r\nall of it"), "all of it", true),
      last("6.3", "1.0 until the end, nothing said", "HTTP/1.0 200 OK\r\n\r\nall", "all", true),
      last("6.3", "until the end, and nothing comes", ok("\r\n"), "", true),
      last("9.2", "bytes behind the answer", ok("Content-Length: 2\r\n\r\nok!"), "ok"),
      last("9.2", "a whole answer behind the answer",
           ok("Content-Length: 2\r\n\r\nok") + ok("Content-Length: 4\r\n\r\nevil"), "ok"),
      last("9.2", "CRLF behind the answer", ok("Content-Length: 2\r\n\r\nok\r\n"), "ok"),
      last("9110 15.4.5", "304 with a body", "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\nno", "", false,
           304),
      last("9110 15.3.5", "204 with a body", "HTTP/1.1 204 No Content\r\n\r\nno", "", false, 204),
      last("6.3", "204 with an answer behind it",
           "HTTP/1.1 204 No Content\r\n\r\n" + ok("Content-Length: 4\r\n\r\nevil"), "", false, 204),

      // ---- the status line
      bad("4", "an empty line before it", "\r\n" + ok("Content-Length: 0\r\n\r\n"), client_errc::not_http),
      bad("4", "a blank before it", " " + ok("\r\n"), client_errc::not_http),
      bad("2.3", "0.9: content without a head", "<html>hello</html>", client_errc::not_http),
      bad("2.3", "another protocol's greeting", "SSH-2.0-OpenSSH_9.2\r\n", client_errc::not_http),
      bad("2.3", "a TLS alert", std::string("\x15\x03\x01\x00\x02\x02\x46", 7), client_errc::not_http),
      bad("2.3", "ICY", "ICY 200 OK\r\n\r\n", client_errc::not_http),
      bad("2.3", "the name in lower case", "http/1.1 200 OK\r\n\r\n", client_errc::not_http),
      bad("2.3", "version 2.0", "HTTP/2.0 200 OK\r\n\r\n", Reject::unsupported_version),
      bad("2.3", "version 2", "HTTP/2 200 OK\r\n\r\n", Reject::unsupported_version),
      bad("2.3", "version 1.2", "HTTP/1.2 200 OK\r\n\r\n", Reject::unsupported_version),
      bad("2.3", "version 0.9", "HTTP/0.9 200 OK\r\n\r\n", Reject::unsupported_version),
      bad("2.3", "version 1.10", "HTTP/1.10 200 OK\r\n\r\n", client_errc::bad_status_line),
      bad("2.3", "version 11", "HTTP/11 200 OK\r\n\r\n", Reject::bad_version),
      bad("2.3", "version of letters", "HTTP/a.b 200 OK\r\n\r\n", Reject::bad_version),
      bad("2.3", "version with a comma", "HTTP/1,1 200 OK\r\n\r\n", Reject::bad_version),
      bad("4", "two blanks before the status", "HTTP/1.1  200 OK\r\n\r\n", client_errc::bad_status_line),
      bad("4", "a tab before the status", "HTTP/1.1\t200 OK\r\n\r\n", client_errc::bad_status_line),
      bad("4", "no status", "HTTP/1.1 OK\r\n\r\n", client_errc::bad_status_line),
      bad("4", "a status of two digits", "HTTP/1.1 20 OK\r\n\r\n", client_errc::bad_status_line),
      bad("4", "a status of four digits", "HTTP/1.1 2000 OK\r\n\r\n", client_errc::bad_status_line),
      bad("4", "a status with a sign", "HTTP/1.1 +20 OK\r\n\r\n", client_errc::bad_status_line),
      bad("4", "a status in hexadecimal", "HTTP/1.1 0xc OK\r\n\r\n", client_errc::bad_status_line),
      bad("9110 15", "status 000", "HTTP/1.1 000 OK\r\n\r\n", client_errc::bad_status),
      bad("9110 15", "status 099", "HTTP/1.1 099 OK\r\n\r\n", client_errc::bad_status),
      bad("9110 15", "status 600", "HTTP/1.1 600 OK\r\n\r\n", client_errc::bad_status),
      bad("9110 15", "status 999", "HTTP/1.1 999 OK\r\n\r\n", client_errc::bad_status),
      bad("4", "no reason, and no blank for it", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
          client_errc::bad_status_line),
      bad("4", "a tab before the reason", "HTTP/1.1 200\tOK\r\n\r\n", client_errc::bad_status_line),
      bad("4", "NUL in the reason", "HTTP/1.1 200 O" + nul + "K\r\n\r\n", Reject::bad_field_value),
      bad("4", "an escape in the reason", "HTTP/1.1 200 \x1b[31m\r\n\r\n", Reject::bad_field_value),
      bad("2.2", "a bare LF behind the status line", "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
          Reject::bad_line_end),
      bad("2.2", "a bare CR behind the status line", "HTTP/1.1 200 OK\rContent-Length: 0\r\n\r\n",
          Reject::bad_line_end),
      bad("2.2", "CR CR LF behind the status line", "HTTP/1.1 200 OK\r\r\n\r\n", Reject::bad_line_end),

      // ---- field lines
      bad("5.2", "a folded line", ok("X: a\r\n b\r\nContent-Length: 0\r\n\r\n"), Reject::obs_fold),
      bad("5.2", "a folded line, by a tab", ok("X: a\r\n\tb\r\n\r\n"), Reject::obs_fold),
      bad("5.2", "a folded length", ok("Content-Length:\r\n 5\r\n\r\nhello"), Reject::bad_content_length),
      bad("2.2", "a blank before the first field", ok(" Content-Length: 5\r\n\r\nhello"), Reject::obs_fold),
      bad("5.1", "a space before the colon", ok("X : a\r\n\r\n"), Reject::space_before_colon),
      bad("5.1", "a space before the colon of Content-Length", ok("Content-Length : 5\r\n\r\nhello"),
          Reject::space_before_colon),
      bad("5.1", "a tab before the colon of Transfer-Encoding", ok("Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n"),
          Reject::space_before_colon),
      bad("5", "an empty name", ok(": a\r\n\r\n"), Reject::bad_field_name),
      bad("5", "no colon", ok("Content-Length 5\r\n\r\n"), Reject::space_before_colon),
      bad("5", "a line of one word", ok("word\r\n\r\n"), Reject::bad_field_name),
      bad("9110 5.1", "NUL in a name", ok("Content-" + nul + "Length: 5\r\n\r\nhello"), Reject::bad_field_name),
      bad("9110 5.1", "UTF-8 in a name", ok("C\xc3\xb6ntent: 5\r\n\r\n"), Reject::bad_field_name),
      bad("9110 5.1", "a bracket in a name", ok("X[0]: 5\r\n\r\n"), Reject::bad_field_name),
      bad("9110 5.5", "NUL in a value", ok("X: a" + nul + "b\r\n\r\n"), Reject::bad_field_value),
      bad("9110 5.5", "a control in a value",
          ok("X: a\x01"
             "b\r\n\r\n"),
          Reject::bad_field_value),
      bad("9110 5.5", "DEL in a value", ok("X: a\x7f\r\n\r\n"), Reject::bad_field_value),
      bad("2.2", "a bare CR in a value", ok("X: a\rb\r\n\r\n"), Reject::bad_line_end),
      bad("2.2", "a bare LF behind a field", ok("X: a\nContent-Length: 0\r\n\r\n"), Reject::bad_line_end),
      bad("2.2", "a bare LF instead of the empty line", ok("Content-Length: 2\r\n\nok"), Reject::bad_line_end),
      bad("2.2", "a bare CR instead of the empty line", ok("Content-Length: 2\r\n\rok"), Reject::bad_line_end),
      bad("2.2", "LF CR behind a field", ok("X: a\n\r\n\r\n"), Reject::bad_line_end),

      // ---- framing
      bad("6.3", "two lengths", ok("Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
          Reject::duplicate_content_length),
      bad("6.3", "two lengths, the same", ok("Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
          Reject::duplicate_content_length),
      bad("6.3", "a list of lengths", ok("Content-Length: 5, 5\r\n\r\nhello"), Reject::bad_content_length),
      bad("6.2", "a length with a sign", ok("Content-Length: +5\r\n\r\nhello"), Reject::bad_content_length),
      bad("6.2", "a negative length", ok("Content-Length: -5\r\n\r\nhello"), Reject::bad_content_length),
      bad("6.2", "a length in hexadecimal", ok("Content-Length: 0x5\r\n\r\nhello"), Reject::bad_content_length),
      bad("6.2", "a length with a fraction", ok("Content-Length: 5.0\r\n\r\nhello"), Reject::bad_content_length),
      bad("6.2", "a length with an underscore", ok("Content-Length: 1_0\r\n\r\nhello"), Reject::bad_content_length),
      bad("6.2", "an empty length", ok("Content-Length:\r\n\r\nhello"), Reject::bad_content_length),
      bad("6.2", "a length of 2^63", ok("Content-Length: 9223372036854775808\r\n\r\n"), Reject::bad_content_length),
      bad("6.2", "a length of 2^64 + 5", ok("Content-Length: 18446744073709551621\r\n\r\nhello"),
          Reject::bad_content_length),
      bad("6.2", "a length of endless zeros", ok("Content-Length: " + std::string(500, '0') + "5\r\n\r\nhello"),
          Reject::bad_content_length),
      bad("6.3", "length and chunked", ok("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
          Reject::length_and_chunked),
      bad("6.3", "chunked and length", ok("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
          Reject::length_and_chunked),
      bad("6.1", "gzip as a transfer coding", ok("Transfer-Encoding: gzip\r\n\r\n"), Reject::unknown_transfer_coding),
      bad("6.1", "gzip, chunked", ok("Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
          Reject::unknown_transfer_coding),
      bad("6.1", "chunked, gzip", ok("Transfer-Encoding: chunked, gzip\r\n\r\n"), Reject::bad_transfer_encoding),
      bad("6.1", "chunked, chunked", ok("Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
          Reject::bad_transfer_encoding),
      bad("6.1", "chunked twice", ok("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
          Reject::duplicate_transfer_encoding),
      bad("6.1", "identity", ok("Transfer-Encoding: identity\r\n\r\nhello"), Reject::unknown_transfer_coding),
      bad("6.1", "xchunked", ok("Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"), Reject::unknown_transfer_coding),
      bad("6.1", "chunked in quotes", ok("Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
          Reject::bad_transfer_encoding),
      bad("6.1", "chunked with a parameter", ok("Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n"),
          Reject::bad_transfer_encoding),
      bad("6.1", "an empty Transfer-Encoding", ok("Transfer-Encoding:\r\n\r\n"), Reject::bad_transfer_encoding),
      bad("6.1", "chunked behind a vertical tab",
          ok("Transfer-Encoding: \x0b"
             "chunked\r\n\r\n0\r\n\r\n"),
          Reject::bad_field_value),
      bad("6.1", "chunked in 1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
          Reject::transfer_encoding_in_http10),
      bad("6.1", "204 that is chunked", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
          client_errc::unexpected_content),
      bad("9110 8.6", "204 with a length", "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nno",
          client_errc::unexpected_content),
      bad("6.1", "100 that is chunked", "HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
          client_errc::unexpected_content),
      bad("9110 8.6", "103 with a length", "HTTP/1.1 103 Early Hints\r\nContent-Length: 0\r\n\r\n",
          client_errc::unexpected_content),
      bad("9.6", "Connection that is no list of tokens", ok("Connection: @\r\nContent-Length: 0\r\n\r\n"),
          Reject::bad_connection),
      bad("9110 15.2.2", "101 that nobody asked for",
          "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
          client_errc::unasked_upgrade),
      bad("house", "a head without end", ok("X: " + std::string(20'000, 'a')), client_errc::head_too_large),
      bad("house", "a reason without end", "HTTP/1.1 200 " + std::string(20'000, 'a'), client_errc::head_too_large),
      bad("house", "a name without end", ok(std::string(20'000, 'a')), client_errc::head_too_large),
  };
  std::string many;
  for (int i = 0; i < 101; ++i) many += "X-" + std::to_string(i) + ": y\r\n";
  rows.push_back(bad("house", "101 fields", ok(many + "\r\n"), client_errc::head_too_large));
  AnswerCase head{
      "9110 9.3.2", "to HEAD, the length of what GET would get", ok("Content-Length: 5\r\n\r\n"), {}, 200, ""};
  head.method = http::Method::head;
  rows.push_back(head);
  head.name = "to HEAD, chunked as GET would get";
  head.bytes = chunked("");
  rows.push_back(head);
  head.name = "to HEAD, nothing said";
  head.bytes = ok("\r\n");
  rows.push_back(head);
  head.name = "to HEAD, with a body all the same";
  head.bytes = ok("Content-Length: 5\r\n\r\nhello");
  head.kept = false;
  rows.push_back(head);
  return rows;
}

/// Those behind a head that is good.
inline std::vector<AnswerCase> body_cases() {
  using namespace detail;
  using http::client_errc;
  using http::Reject;
  const std::string nul(1, '\0');
  const auto flood = [](int n) {
    std::string text;
    for (int i = 0; i < n; ++i) text += "HTTP/1.1 100 Continue\r\n\r\n";
    return text + ok("Content-Length: 2\r\n\r\nok");
  };
  std::vector<AnswerCase> rows{
      good("7.1", "chunks", chunked("5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n"), "hello, world"),
      good("7.1", "no chunk but the last", chunked("0\r\n\r\n"), ""),
      good("7.1", "sizes in both cases", chunked("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n"),
           "01234567890123456789"),
      good("7.1", "CRLF inside of a chunk", chunked("6\r\n\r\n0\r\n\r\r\n0\r\n\r\n"), "\r\n0\r\n\r"),
      good("7.1.1", "extensions", chunked("5;a;b=c;d=\"e;\\\"\"\r\nhello\r\n0;x\r\n\r\n"), "hello"),
      good("7.1.2", "trailers", chunked("5\r\nhello\r\n0\r\nDigest: x\r\nX-Last:\r\n\r\n"), "hello"),
      last("7.1", "bytes behind the last chunk", chunked("2\r\nok\r\n0\r\n\r\nx"), "ok"),
      last("7.1", "an answer behind the last chunk",
           chunked("2\r\nok\r\n0\r\n\r\n") + ok("Content-Length: 4\r\n\r\nevil"), "ok"),
      bad("7.1", "no size", chunked("\r\nhello\r\n0\r\n\r\n"), Reject::bad_chunk_size),
      bad("7.1", "a size that is no number", chunked("xyz\r\nhello\r\n0\r\n\r\n"), Reject::bad_chunk_size),
      bad("7.1", "a size with 0x", chunked("0x5\r\nhello\r\n0\r\n\r\n"), Reject::bad_chunk_size),
      bad("7.1", "a size with a sign", chunked("-5\r\nhello\r\n0\r\n\r\n"), Reject::bad_chunk_size),
      bad("7.1", "a size with a plus", chunked("+5\r\nhello\r\n0\r\n\r\n"), Reject::bad_chunk_size),
      bad("7.1", "a blank before a size", chunked(" 5\r\nhello\r\n0\r\n\r\n"), Reject::bad_chunk_size),
      bad("7.1", "a blank behind a size", chunked("5 \r\nhello\r\n0\r\n\r\n"), Reject::bad_chunk_extension),
      bad("7.1", "a size of 17 digits", chunked("10000000000000005\r\nhello\r\n0\r\n\r\n"), Reject::bad_chunk_size),
      bad("7.1", "a size of endless zeros", chunked(std::string(30'000, '0')), Reject::bad_chunk_size),
      bad("7.1", "NUL behind a size", chunked("5" + nul + "\r\nhello\r\n0\r\n\r\n"), Reject::bad_chunk_size),
      bad("7.1", "a bare LF behind a size", chunked("5\nhello\r\n0\r\n\r\n"), Reject::bad_chunk_size),
      bad("7.1", "a bare CR behind a size", chunked("5\rhello\r\n0\r\n\r\n"), Reject::bad_chunk_size),
      bad("7.1", "more data than the size", chunked("5\r\nhello!\r\n0\r\n\r\n"), Reject::bad_chunk_end),
      bad("7.1", "less data than the size", chunked("6\r\nhello\r\n0\r\n\r\n"), Reject::bad_chunk_end),
      bad("7.1", "a bare LF behind the data", chunked("5\r\nhello\n0\r\n\r\n"), Reject::bad_chunk_end),
      bad("7.1", "a size of all ones", chunked("ffffffffffffffff\r\nhello"), client_errc::body_too_large),
      bad("7.1", "sizes that add up beyond 64 bits", chunked("5\r\nhello\r\nfffffffffffffffe\r\nhello"),
          client_errc::body_too_large),
      bad("7.1.1", "an extension without a name", chunked("5;\r\nhello\r\n0\r\n\r\n"), Reject::bad_chunk_extension),
      bad("7.1.1", "an extension with a bare LF", chunked("5;a\nhello\r\n0\r\n\r\n"), Reject::bad_chunk_extension),
      bad("7.1.1", "an extension with LF in quotes", chunked("5;a=\"\n\"\r\nhello\r\n0\r\n\r\n"),
          Reject::bad_chunk_extension),
      bad("7.1.1", "an extension with NUL", chunked("5;a" + nul + "\r\nhello\r\n0\r\n\r\n"),
          Reject::bad_chunk_extension),
      bad("7.1.1", "an extension without end", chunked("5;" + std::string(10'000, 'a')),
          Reject::chunk_extension_too_long),
      bad("7.1.2", "a length in the trailers", chunked("0\r\nContent-Length: 5\r\n\r\n"), Reject::forbidden_trailer),
      bad("7.1.2", "a coding in the trailers", chunked("0\r\nTransfer-Encoding: chunked\r\n\r\n"),
          Reject::forbidden_trailer),
      bad("7.1.2", "a cookie in the trailers", chunked("0\r\nSet-Cookie: a=b\r\n\r\n"), Reject::forbidden_trailer),
      bad("7.1.2", "a folded trailer", chunked("0\r\nX: a\r\n b\r\n\r\n"), Reject::obs_fold),
      bad("7.1.2", "a trailer with a space before its colon", chunked("0\r\nX : a\r\n\r\n"),
          Reject::space_before_colon),
      bad("7.1.2", "a trailer without colon", chunked("0\r\nX\r\n\r\n"), Reject::bad_trailer),
      bad("7.1.2", "a bare LF behind a trailer", chunked("0\r\nX: a\n\r\n"), Reject::bad_trailer),
      bad("7.1.2", "NUL in a trailer", chunked("0\r\nX: " + nul + "\r\n\r\n"), Reject::bad_trailer),
      bad("7.1.2", "a bare LF instead of trailers", chunked("0\r\n\n"), Reject::bad_trailer),
      bad("7.1.2", "garbage behind the last chunk", chunked("0\r\nHTTP/1.1 200 OK\r\n\r\n"), Reject::bad_trailer),
      bad("7.1.2", "trailers without end", chunked("0\r\nX: " + std::string(30'000, 'a')), client_errc::head_too_large),
      good("9110 15.2", "as many interim answers as are taken", flood(8), "ok"),
      bad("9110 15.2", "a flood of interim answers", flood(1'000), client_errc::too_many_interim),
  };
  return rows;
}

}  // namespace fiberd::test
