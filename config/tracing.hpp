#pragma once
// What the section `tracing` says.
#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "config/client_tls.hpp"
#include "config/place.hpp"

namespace fiberd::config {

struct TracingConfig {
  std::string endpoint;  ///< empty: nothing is traced
  double ratio = 0.01;
  bool parent = true;
  bool errors = true;
  std::chrono::nanoseconds slow{0};  ///< 0: none is
  std::uint32_t per_second = 1000;   ///< 0: no bound
  std::uint32_t spans = 128;
  std::string service_name = "fiberd";
  std::vector<std::pair<std::string, std::string>> resource{};
  std::string headers_file;  ///< empty: none
  std::uint32_t batch_spans = 512;
  std::chrono::nanoseconds batch_delay = std::chrono::seconds(1);
  std::uint64_t queue = std::uint64_t{8} << 20U;  ///< bytes
  std::chrono::nanoseconds timeout = std::chrono::seconds(10);
  Place headers_file_at{};
  ClientTlsConfig tls{};

  [[nodiscard]] bool on() const noexcept { return !endpoint.empty(); }
  bool operator==(const TracingConfig&) const = default;
};

}  // namespace fiberd::config
