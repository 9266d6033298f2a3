#pragma once
// A row of the raw-socket suite: bytes in, answer out. framing_cases.hpp and semantics_cases.hpp hold the rows,
// run_case.hpp sends them to a server.
//
// The rows assume: "/", "/echo" and "/sentinel" serve every method, "/echo" after it has read the body; bodies up to
// 1 MiB, heads up to 16 KiB and 100 fields, targets up to 8 KiB, all hosts; "/files/" serves the directory that
// make_site() fills.
#include <string>
#include <string_view>
#include <vector>

namespace fiberd::protocol {

struct RawCase {
  std::string name;
  // Section; with "house" where an RFC leaves the outcome open or asks for less, and this server is stricter. The other
  // rows rest on a MUST or SHOULD, if only on RFC 9112 section 2.2: what does not match the grammar gets a 400.
  std::string rfc;
  std::string bytes;
  unsigned status;                  // of the last answer; 0: the message is incomplete and the server waits
  bool close;                       // the connection ends after the last answer
  unsigned answers;                 // final answers to the bytes, the last one included
  std::vector<unsigned> also = {};  // what the RFC allows as well: for other servers only, ours gives `status`
  std::string field = {};           // that the last answer must have,
  std::string value = {};           // with this in its value
  // The client goes on behind its own `close`, or on 1.0, as it must not (RFC 9112 section 9.6): what comes late may be
  // met by a reset, which may overtake the answer.
  bool behind_close = false;

  [[nodiscard]] bool house() const { return rfc.find("house") != std::string::npos; }
};

inline std::string head(std::string_view fields, std::string_view line = "GET / HTTP/1.1") {
  return std::string(line) + "\r\nHost: a.example\r\n" + std::string(fields) + "\r\n";
}
inline std::string post(std::string_view fields, std::string_view body) {
  return head(fields, "POST /echo HTTP/1.1") + std::string(body);
}
inline std::string chunked(std::string_view body) { return post("Transfer-Encoding: chunked\r\n", body); }
inline std::string line(std::string_view request_line) { return head("", request_line); }

}  // namespace fiberd::protocol
