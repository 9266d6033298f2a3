#include "daemon/handlers.hpp"

#include <algorithm>
#include <exception>

#include "core/base/log.hpp"
#include "core/fiber/throw_trace.hpp"

namespace fiberd::daemon {

static bool is_name(std::string_view name) {
  static constexpr std::size_t kLongest = 64;
  return !name.empty() && name.size() <= kLongest && std::all_of(name.begin(), name.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte > 0x20 && byte != 0x7f;
  });
}

template <class H>
Result<void> Handlers::add_to(Named<H>& all, std::string_view name, std::shared_ptr<H> handler) {
  if (!is_name(name) || handler == nullptr) return fail(std::errc::invalid_argument);
  if (!all.emplace(name, std::move(handler)).second) return fail(std::errc::file_exists);
  return {};
}

Result<void> Handlers::add(std::string_view name, std::shared_ptr<http::Handler> handler) {
  return add_to(http_, name, std::move(handler));
}
Result<void> Handlers::add(std::string_view name, std::shared_ptr<TcpHandler> handler) {
  return add_to(tcp_, name, std::move(handler));
}
Result<void> Handlers::add(std::string_view name, std::shared_ptr<http::Filter> filter) {
  return add_to(filters_, name, std::move(filter));
}

std::shared_ptr<http::Handler> Handlers::http(std::string_view name) const {
  const auto it = http_.find(name);
  return it != http_.end() ? it->second : nullptr;
}
std::shared_ptr<TcpHandler> Handlers::tcp(std::string_view name) const {
  const auto it = tcp_.find(name);
  return it != tcp_.end() ? it->second : nullptr;
}
std::shared_ptr<http::Filter> Handlers::filter(std::string_view name) const {
  const auto it = filters_.find(name);
  return it != filters_.end() ? it->second : nullptr;
}

/// In a catch block.
static void log_exception(const char* of) noexcept {
  try {
    std::string what = "something that is no std::exception";
    try {
      throw;
    } catch (const std::exception& e) {
      what = e.what();
    } catch (...) {
    }
    log(LogLevel::error, std::string(of) + " threw: " + what + "; thrown at:" + fiber::throw_site_trace());
  } catch (...) {
    log(LogLevel::error, "a function of the program's threw, and memory to describe it is out");
  }
}

Result<void> Handlers::start(const context::Context& daemon, std::string& why) const {
  for (std::size_t i = 0; i < start_.size(); ++i) {
    const std::string name = "on_start" + (start_.size() == 1 ? "" : ", function " + std::to_string(i + 1));
    try {
      if (const std::error_code error = error_of(start_[i](daemon))) {
        why = name + ": " + error.message();
        return fail(error);
      }
    } catch (...) {
      log_exception("on_start");
      why = name + ": it threw, as told above";
      return fail(std::errc::operation_canceled);
    }
  }
  return {};
}

void Handlers::stop() const noexcept {
  for (auto fn = stop_.rbegin(); fn != stop_.rend(); ++fn) {
    try {
      (*fn)();
    } catch (...) {
      log_exception("on_stop");
    }
  }
}

config::HandlerNames Handlers::names() const {
  config::HandlerNames names;
  for (const auto& [name, handler] : http_) names.http.push_back(name);
  for (const auto& [name, handler] : tcp_) names.tcp.push_back(name);
  for (const auto& [name, filter] : filters_) names.filters.push_back(name);
  return names;
}

}  // namespace fiberd::daemon
