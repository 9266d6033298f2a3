#pragma once
// A row of the HTTP/2 suite: frames in, and what must come of them. h2_*_cases.hpp hold the rows, h2_test.cpp sends
// them behind a client's preface and an empty SETTINGS. The rows are about stream 1; the routes are raw_site()'s.
#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/h2_frames.hpp"

namespace fiberd::protocol {

enum class H2Outcome : std::uint8_t {
  answer,            ///< of stream 1, with the status `code`
  stream_error,      ///< RST_STREAM of stream 1 with `code`; the connection goes on
  connection_error,  ///< GOAWAY with `code`, and the end of the connection
  ignored            ///< the connection goes on
};

struct H2Case {
  std::string name;
  std::string rfc;  ///< section; with "house" where it leaves the outcome open
  std::string bytes;
  H2Outcome outcome;
  std::uint32_t code = 0;
  bool with_preface = true;  ///< false: the row has its own
  /// What comes in pieces may be answered before the one that is wrong is there.
  bool in_one_piece = false;
};

}  // namespace fiberd::protocol
