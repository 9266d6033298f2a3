#pragma once
// Asks a daemon's admin listener one thing: for the commands that do (reload, top).
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fiberd::daemon {

struct AdminRequest {
  std::string address;  ///< "127.0.0.1:9090", "unix:/path"; a wildcard means this machine's own
  std::string_view method = "GET";
  std::string target{};  ///< path and query
  std::string body{};
  std::string token_file{};  ///< with the token of admin.token_file, read for each request; empty: none is sent
  std::chrono::seconds patience{60};                  ///< for each of connection, question and whole answer, > 0
  std::size_t most_bytes = std::size_t{1024} * 1024;  ///< of an answer with its head
  bool cut = false;                                   ///< a longer one is cut there; else it is an error
};

struct AdminAnswer {
  unsigned status = 0;
  std::string body;
};

struct AdminFailure {
  enum class What : std::uint8_t {
    no_address,
    no_token,
    no_socket,
    unreachable,
    not_asked,
    no_answer,
    too_long,
    no_fiberd
  };
  What what = What::no_answer;
  int error = 0;      ///< errno, where there is one
  std::string why{};  ///< of no_token
};

struct AdminOutcome {
  std::optional<AdminAnswer> answer;
  AdminFailure failure{};  ///< when there is no answer
};

/// Over a plain blocking socket, on any thread that may block. Never throws but std::bad_alloc.
[[nodiscard]] AdminOutcome ask_admin(const AdminRequest& request);

/// Where the address that was asked is known from: for who finds nobody there.
enum class AddressSource : std::uint8_t { named, in_file, by_default };
/// The failure as a sentence for people, beginning with the address.
[[nodiscard]] std::string describe_failure(const AdminRequest& request, const AdminFailure& failure,
                                           AddressSource source);

}  // namespace fiberd::daemon
