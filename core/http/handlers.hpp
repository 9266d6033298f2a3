#pragma once
// The built-in handlers that need no state of their own. Files: files.hpp.
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/base/result.hpp"
#include "core/http/exchange.hpp"
#include "core/http/handler.hpp"

namespace fiberd::http {

/// What an HTTP handler may be made of: it is called with an http::Exchange& and returns a Result<void>.
template <class F>
concept HttpFunction = std::is_invocable_r_v < Result<void>,
        std::decay_t<F>
&, Exchange& > ;

/// A Handler out of a function Result<void>(Exchange&), which is called on many fibers at once.
template <HttpFunction F>
std::shared_ptr<Handler> make_handler(F&& fn) {
  class Function final : public Handler {
   public:
    explicit Function(F&& f) : fn_(std::forward<F>(f)) {}
    Result<void> serve(Exchange& exchange) override { return fn_(exchange); }

   private:
    std::decay_t<F> fn_;
  };
  return std::make_shared<Function>(std::forward<F>(fn));
}

/// The same answer to every request.
struct RespondOptions {
  unsigned status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers{};
  std::string server{};  ///< Server field of this prepared answer (ServerOptions::server_name is for the others)
};
/// Errors: as write_head (a header that would split the answer, a status out of range).
[[nodiscard]] Result<std::shared_ptr<Handler>> make_respond_handler(RespondOptions options);

/// Sends the request's body back, as it comes in, with its Content-Type, and with its length where that was told.
[[nodiscard]] std::shared_ptr<Handler> make_echo_handler();

struct RedirectOptions {
  std::string location;
  unsigned status = 308;  ///< 301, 302, 303, 307, 308
  std::string server{};   ///< as in RespondOptions
};
/// Errors: invalid_argument for another status, or as write_head.
[[nodiscard]] Result<std::shared_ptr<Handler>> make_redirect_handler(const RedirectOptions& options);

}  // namespace fiberd::http
