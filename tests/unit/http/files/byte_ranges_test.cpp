#include "core/http/files/byte_ranges.hpp"

#include <catch2/catch.hpp>
#include <string>

using namespace fiberd::http;

namespace {
std::string read(std::string_view value, std::uint64_t size, std::size_t most = 8) {
  std::vector<ByteRange> ranges;
  switch (parse_byte_ranges(value, size, most, ranges)) {
    case RangeVerdict::whole: return "whole";
    case RangeVerdict::unsatisfiable: return "unsatisfiable";
    case RangeVerdict::parts: break;
  }
  std::string text;
  for (const ByteRange& r : ranges)
    text += (text.empty() ? "" : ",") + std::to_string(r.first) + "-" + std::to_string(r.last);
  return text;
}
}  // namespace

TEST_CASE("single ranges", "[http][ranges]") {
  CHECK(read("bytes=0-0", 10) == "0-0");
  CHECK(read("bytes=2-5", 10) == "2-5");
  CHECK(read("bytes=2-", 10) == "2-9");
  CHECK(read("bytes=-3", 10) == "7-9");
  CHECK(read("bytes=-30", 10) == "0-9");
  CHECK(read("bytes=5-999", 10) == "5-9");
  CHECK(read("bytes=9-9", 10) == "9-9");
  CHECK(read("BYTES=1-2", 10) == "1-2");
  CHECK(read("bytes=0-99999999999999999999999", 10) == "0-9");
  CHECK(read("bytes=0-", UINT64_MAX) == "0-18446744073709551614");
}

TEST_CASE("what cannot be satisfied", "[http][ranges]") {
  CHECK(read("bytes=10-", 10) == "unsatisfiable");
  CHECK(read("bytes=10-20", 10) == "unsatisfiable");
  CHECK(read("bytes=-0", 10) == "unsatisfiable");
  CHECK(read("bytes=99999999999999999999999-", 10) == "unsatisfiable");
  CHECK(read("bytes=10-,-0", 10) == "unsatisfiable");
  CHECK(read("bytes=10-,3-4", 10) == "3-4");
}

TEST_CASE("what is ignored, so that the whole is sent", "[http][ranges]") {
  for (const char* value :
       {"",           "bytes",      "bytes=",      "bytes=,",       "items=0-1",   "bytes 0-1",   "bytes=a-b",
        "bytes=1",    "bytes=-",    "bytes=--1",   "bytes=5-2",     "bytes=1-2-3", "bytes=0x1-2", "bytes=1 -2",
        "bytes=1- 2", "bytes=+1-2", "bytes=0-1,x", "bytes=0-1;2-3", "bytes =0-1",  "bytes=1.0-2"})
    CHECK(read(value, 10) == "whole");
  CHECK(read("bytes=0-", 0) == "whole");
  CHECK(read("bytes=-5", 0) == "whole");
}

TEST_CASE("several ranges: kept in order, cut, merged, counted", "[http][ranges]") {
  CHECK(read("bytes=0-1,4-5", 10) == "0-1,4-5");
  CHECK(read("bytes=4-5,0-1", 10) == "4-5,0-1");
  CHECK(read("bytes=0-1 ,\t4-5,,", 10) == "0-1,4-5");
  CHECK(read("bytes=0-4,2-6", 10) == "0-6");
  CHECK(read("bytes=0-1,2-3", 10) == "0-3");
  CHECK(read("bytes=0-1,6-7,1-6", 10) == "0-7");
  CHECK(read("bytes=8-9,0-1,4-5,1-4", 10) == "8-9,0-5");
  CHECK(read("bytes=0-,0-,0-,0-", 10) == "0-9");
  CHECK(read("bytes=-1,0-0", 10) == "9-9,0-0");
  CHECK(read("bytes=0-0,2-2,4-4", 10, 3) == "0-0,2-2,4-4");
  CHECK(read("bytes=0-0,2-2,4-4,6-6", 10, 3) == "whole");
  CHECK(read("bytes=0-,0-,0-,0-", 10, 3) == "whole");
}
