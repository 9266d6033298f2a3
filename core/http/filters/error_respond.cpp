#include "core/http/filters/error_respond.hpp"

#include "core/http/exchange.hpp"
#include "core/http/filters/request_values.hpp"

namespace fiberd::http {
namespace {

class ErrorRespondHandler final : public Handler {
 public:
  explicit ErrorRespondHandler(ErrorRespondOptions options) : options_(std::move(options)) {}
  Result<void> serve(Exchange& ex) override {
    if (!options_.headers.empty()) {
      RequestValues values(ex);
      std::string text;
      for (const auto& [name, value] : options_.headers) {
        text.clear();
        if (!value.render(values, Form::field, text)) return ex.respond_error(500);
        if (Result<void> done = ex.add_field(name, trim(text)); !done) return done;
      }
    }
    return ex.respond_error(options_.status);
  }

 private:
  const ErrorRespondOptions options_;
};

}  // namespace

Result<std::shared_ptr<Handler>> make_error_respond_handler(ErrorRespondOptions options) {
  if (options.status < 400 || options.status > 599) return fail(std::errc::invalid_argument);
  for (const auto& [name, value] : options.headers)
    if (!is_writable({name, "x"})) return fail(std::errc::invalid_argument);
  return std::make_shared<ErrorRespondHandler>(std::move(options));
}

}  // namespace fiberd::http
