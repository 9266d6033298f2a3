#pragma once
// What a well-framed request must get: methods, preconditions, ranges, negotiation, paths. Over a socket only.
#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <cstddef>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "tests/protocol/raw_case.hpp"

namespace fiberd::protocol {

/// Fills a directory with what the rows ask for: "hello.txt" of 13 bytes, last changed on 1 January 2020.
inline void make_site(const std::string& directory) {
  const auto write = [&](const std::string& name, std::string_view text) {
    const std::string path = directory + "/" + name;
    std::ofstream(path, std::ios::binary) << text;
    const std::array<timespec, 2> times{{{1577836800, 0}, {1577836800, 0}}};
    if (::utimensat(AT_FDCWD, path.c_str(), times.data(), 0) != 0) throw std::runtime_error("cannot write " + path);
  };
  write("hello.txt", "Hello, World!");
  write(".secret", "secret");
  write("script.js", "let x = 1;");
  std::filesystem::create_directory(directory + "/sub");
  write("sub/index.html", "<p>sub</p>");
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory))
    std::filesystem::permissions(entry, std::filesystem::perms::others_read | std::filesystem::perms::group_read,
                                 std::filesystem::perm_options::add);
}

inline std::vector<RawCase> semantics_cases() {
  std::vector<RawCase> t;
  const auto row = [&](std::string name, std::string rfc, std::string bytes, unsigned status, std::string field = {},
                       std::string value = {}) {
    t.push_back(
        {std::move(name), std::move(rfc), std::move(bytes), status, false, 1, {}, std::move(field), std::move(value)});
  };
  const auto also = [&](std::vector<unsigned> statuses) { t.back().also = std::move(statuses); };
  const auto file = [](std::string_view fields, std::string_view method = "GET") {
    return head(fields, std::string(method) + " /files/hello.txt HTTP/1.1");
  };
  const auto path = [](std::string_view target) { return line("GET " + std::string(target) + " HTTP/1.1"); };
  static constexpr std::string_view kNewer = "Sun, 01 Jan 2023 00:00:00 GMT";
  static constexpr std::string_view kOlder = "Sat, 01 Jan 2011 00:00:00 GMT";
  const auto dated = [](std::string_view name, std::string_view date) {
    return std::string(name) + ": " + std::string(date) + "\r\n";
  };

  // Methods
  row("a file", "9110 9.3.1", file(""), 200, "Content-Length", "13");
  row("Last-Modified", "9110 8.8.2", file(""), 200, "Last-Modified", "Wed, 01 Jan 2020 00:00:00 GMT");
  row("a validator", "9110 8.8.3", file(""), 200, "ETag", "\"");
  row("HEAD has the length of GET", "9110 9.3.2", file("", "HEAD"), 200, "Content-Length", "13");
  row("HEAD has the validator of GET", "9110 9.3.2", file("", "HEAD"), 200, "Last-Modified", "2020");
  row("HEAD of what is not there", "9110 9.3.2", line("HEAD /files/none HTTP/1.1"), 404);
  for (const char* m : {"POST", "PUT", "DELETE", "PATCH"})
    row(std::string(m) + " where only GET is served", "9110 15.5.6", file("", m), 405, "Allow", "GET");
  row("OPTIONS of a file", "9110 9.3.7", file("", "OPTIONS"), 204, "Allow", "GET");
  also({200});
  row("a method in mixed case", "9110 9.1", file("", "Get"), 501);
  t.back().close = true;
  also({400, 405});
  row("TRACE reflects nothing", "9110 9.3.8, house", file("Cookie: a=b\r\n", "TRACE"), 405);
  also({501, 400});

  // Preconditions (RFC 9110 section 13.2.2)
  row("If-None-Match: any", "9110 13.1.2", file("If-None-Match: *\r\n"), 304);
  row("If-None-Match: another", "9110 13.1.2", file("If-None-Match: \"none\"\r\n"), 200);
  row("If-None-Match: a list of others", "9110 13.1.2", file("If-None-Match: \"a\", W/\"b\", \"c,d\"\r\n"), 200);
  row("If-None-Match: an empty tag", "9110 13.1.2", file("If-None-Match: \"\"\r\n"), 200);
  row("If-None-Match: any, HEAD", "9110 13.1.2", file("If-None-Match: *\r\n", "HEAD"), 304);
  row("If-Modified-Since: later", "9110 13.1.3", file(dated("If-Modified-Since", kNewer)), 304);
  row("If-Modified-Since: the same", "9110 13.1.3", file(dated("If-Modified-Since", "Wed, 01 Jan 2020 00:00:00 GMT")),
      304);
  row("If-Modified-Since: earlier", "9110 13.1.3", file(dated("If-Modified-Since", kOlder)), 200);
  row("If-Modified-Since of RFC 850", "9110 5.6.7", file(dated("If-Modified-Since", "Sunday, 01-Jan-23 00:00:00 GMT")),
      304);
  row("If-Modified-Since of asctime", "9110 5.6.7", file(dated("If-Modified-Since", "Sun Jan  1 00:00:00 2023")), 304);
  row("If-Modified-Since: no date", "9110 13.1.3", file(dated("If-Modified-Since", "yesterday")), 200);
  row("If-Modified-Since: no such day", "9110 13.1.3",
      file(dated("If-Modified-Since", "Sun, 32 Jan 2023 00:00:00 GMT")), 200);
  row("If-None-Match outranks If-Modified-Since", "9110 13.1.3",
      file("If-None-Match: \"none\"\r\n" + dated("If-Modified-Since", kNewer)), 200);
  row("If-Match: any", "9110 13.1.1", file("If-Match: *\r\n"), 200);
  row("If-Match: another", "9110 13.1.1", file("If-Match: \"none\"\r\n"), 412);
  row("If-Match: only weak", "9110 13.1.1", file("If-Match: W/\"none\"\r\n"), 412);
  row("If-Unmodified-Since: later", "9110 13.1.4", file(dated("If-Unmodified-Since", kNewer)), 200);
  row("If-Unmodified-Since: earlier", "9110 13.1.4", file(dated("If-Unmodified-Since", kOlder)), 412);
  row("If-Unmodified-Since: no date", "9110 13.1.4", file(dated("If-Unmodified-Since", "yesterday")), 200);
  row("If-Match outranks If-Unmodified-Since", "9110 13.1.4",
      file("If-Match: *\r\n" + dated("If-Unmodified-Since", kOlder)), 200);
  row("If-Match before If-None-Match", "9110 13.2.2", file("If-None-Match: *\r\nIf-Match: \"none\"\r\n"), 412);
  row("If-Unmodified-Since before If-None-Match", "9110 13.2.2",
      file("If-None-Match: *\r\n" + dated("If-Unmodified-Since", kOlder)), 412);
  row("no precondition of what is not there", "9110 13.2.1", head("If-None-Match: *\r\n", "GET /files/none HTTP/1.1"),
      404);

  // Ranges
  const auto range = [&](std::string_view set, std::string_view more = {}) {
    return file("Range: " + std::string(set) + "\r\n" + std::string(more));
  };
  row("first bytes", "9110 14.2", range("bytes=0-4"), 206, "Content-Range", "bytes 0-4/13");
  row("first bytes: their length", "9110 15.3.7", range("bytes=0-4"), 206, "Content-Length", "5");
  row("one byte", "9110 14.1.2", range("bytes=0-0"), 206, "Content-Range", "bytes 0-0/13");
  row("from the sixth on", "9110 14.1.2", range("bytes=5-"), 206, "Content-Range", "bytes 5-12/13");
  row("the last five", "9110 14.1.2", range("bytes=-5"), 206, "Content-Range", "bytes 8-12/13");
  row("more than there is at the end", "9110 14.1.2", range("bytes=-100"), 206, "Content-Range", "bytes 0-12/13");
  row("a last position behind the end", "9110 14.1.2", range("bytes=8-99"), 206, "Content-Range", "bytes 8-12/13");
  row("a last position of twenty digits", "9110 14.1.2", range("bytes=8-99999999999999999999"), 206, "Content-Range",
      "bytes 8-12/13");
  row("unit in capitals", "9110 14.1", range("BYTES=0-4"), 206, "Content-Range", "bytes 0-4/13");
  also({200});
  row("behind the end", "9110 15.5.17", range("bytes=13-"), 416, "Content-Range", "bytes */13");
  row("the last zero bytes", "9110 14.1.2", range("bytes=-0"), 416, "Content-Range", "bytes */13");
  row("backwards", "9110 14.2", range("bytes=5-2"), 200);
  also({400, 416});
  row("no number", "9110 14.2", range("bytes=a-b"), 200);
  also({400, 416});
  row("no dash", "9110 14.2", range("bytes=5"), 200);
  also({400, 416});
  row("another unit", "9110 14.2", range("lines=0-4"), 200);
  row("two parts", "9110 14.6", range("bytes=0-0,5-6"), 206, "Content-Type", "multipart/byteranges; boundary=");
  row("overlaps are one part", "9110 14.2, house", range("bytes=0-4,2-8"), 206, "Content-Range", "bytes 0-8/13");
  row("one of two can be had", "9110 14.1.2", range("bytes=0-4,99-"), 206, "Content-Range", "bytes 0-4/13");
  also({200});
  row("HEAD has no ranges", "9110 14.2", head("Range: bytes=0-4\r\n", "HEAD /files/hello.txt HTTP/1.1"), 200,
      "Content-Length", "13");
  row("If-Range: another tag", "9110 13.1.5", range("bytes=0-4", "If-Range: \"none\"\r\n"), 200);
  row("If-Range: a weak tag", "9110 13.1.5", range("bytes=0-4", "If-Range: W/\"none\"\r\n"), 200);
  row("If-Range: the date", "9110 13.1.5", range("bytes=0-4", dated("If-Range", "Wed, 01 Jan 2020 00:00:00 GMT")), 206,
      "Content-Range", "bytes 0-4/13");
  also({200});
  row("If-Range: a later date is another", "9110 13.1.5", range("bytes=0-4", dated("If-Range", kNewer)), 200);
  row("If-Range without Range", "9110 13.1.5", file("If-Range: \"none\"\r\n"), 200);
  row("304 before any range", "9110 13.2.2", range("bytes=0-4", "If-None-Match: *\r\n"), 304);
  row("412 before any range", "9110 13.2.2", range("bytes=0-4", "If-Match: \"none\"\r\n"), 412);
  row("no range of what cannot have one", "9110 14.2", head("Range: bytes=0-1\r\n"), 200);
  also({206});

  // Paths
  row("what is not there", "9110 15.5.5", path("/files/none"), 404);
  row("a directory without its slash", "9110 15.4.2", path("/files/sub"), 301, "Location", "sub/");
  row("a directory's index", "9110 8.3", path("/files/sub/"), 200, "Content-Type", "text/html");
  row("a query is no part of a file's name", "3986 3.4", path("/files/hello.txt?v=2"), 200);
  row("decoded once", "3986 2.4", path("/files/%68ello.txt"), 200);
  row("and only once", "3986 2.4", path("/files/%2568ello.txt"), 404);
  row("above the root", "3986 5.2.4", path("/files/../../../../etc/passwd"), 404);
  also({400, 301, 403});
  row("above the root, encoded", "3986 5.2.4", path("/files/%2e%2e/%2e%2e/%2e%2e/etc/passwd"), 404);
  also({400, 301, 403});
  row("above the root, half encoded", "3986 5.2.4", path("/files/.%2e/.%2e/etc/passwd"), 404);
  also({400, 301, 403});
  row("above the root, encoded twice", "3986 2.4", path("/files/%252e%252e/%252e%252e/etc/passwd"), 404);
  row("a hidden file", "house", path("/files/.secret"), 404);
  row("a segment of 300 bytes", "9110 15.5", path("/files/" + std::string(300, 'a')), 404);
  also({400, 403, 414});
  row("a path of 5,000 bytes", "9110 15.5", path("/files/" + std::string(5000, 'a')), 404);
  also({400, 403, 414});
  row("a thousand segments", "9110 15.5", path([] {
        std::string deep = "/files";
        for (int i = 0; i < 1000; ++i) deep += "/a";
        return deep;
      }()),
      404);
  also({400, 403, 414});
  row("bytes that are no UTF-8", "3986 2.1", path("/files/%ff%fe"), 404);
  also({400});
  row("a file as a directory", "9110 15.5.5", path("/files/hello.txt/"), 404);
  also({301, 403});

  // Content and negotiation
  row("text/plain", "9110 8.3", file(""), 200, "Content-Type", "text/plain");
  row("JavaScript", "9239 6", path("/files/script.js"), 200, "Content-Type", "javascript");
  row("no coding that is not there", "9110 12.5.3", file("Accept-Encoding: br, gzip\r\n"), 200, "Content-Length", "13");
  row("identity refused, and nothing else to be had", "9110 12.5.3", file("Accept-Encoding: identity;q=0\r\n"), 200);
  also({406});
  row("an error as JSON", "9457 3, house", head("Accept: application/json\r\n", "GET /files/none HTTP/1.1"), 404,
      "Content-Type", "application/problem+json");
  row("an error as HTML", "9110 12.5.1, house", head("Accept: text/html,*/*;q=0.8\r\n", "GET /files/none HTTP/1.1"),
      404, "Content-Type", "text/html");
  row("an error as text", "9110 12.5.1, house", head("Accept: text/*\r\n", "GET /files/none HTTP/1.1"), 404,
      "Content-Type", "text/plain");
  return t;
}

}  // namespace fiberd::protocol
