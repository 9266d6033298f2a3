#include "core/http/filters/template_respond.hpp"

#include "core/http/exchange.hpp"
#include "core/http/filters/request_values.hpp"

namespace fiberd::http {
namespace {

class TemplateRespondHandler final : public Handler {
 public:
  explicit TemplateRespondHandler(TemplateRespondOptions options)
      : options_(std::move(options)), form_(form_for(options_.content_type)) {}
  Result<void> serve(Exchange& ex) override {
    RequestValues values(ex);
    std::string body;
    std::vector<std::string> texts(options_.headers.size());
    std::vector<Field> fields;
    Result<void> done = options_.body.render(values, form_, body);
    for (std::size_t i = 0; done && i < texts.size(); ++i) {
      done = options_.headers[i].second.render(values, Form::field, texts[i]);
      fields.push_back({options_.headers[i].first, trim(texts[i])});
    }
    if (!done) return ex.respond_error(500);
    return ex.respond(options_.status, options_.content_type, body, fields);
  }

 private:
  const TemplateRespondOptions options_;
  const Form form_;
};

}  // namespace

Result<std::shared_ptr<Handler>> make_template_respond_handler(TemplateRespondOptions options) {
  if (options.status < 200 || options.status > 599) return fail(std::errc::invalid_argument);
  if (!is_field_value(options.content_type)) return fail(std::errc::invalid_argument);
  // Without a type a browser guesses one, HTML among them, and nobody has escaped the values for that.
  if (!options.body.constant() && trim(options.content_type).empty()) return fail(std::errc::invalid_argument);
  for (const auto& [name, value] : options.headers)
    if (!is_writable({name, "x"})) return fail(std::errc::invalid_argument);
  return std::make_shared<TemplateRespondHandler>(std::move(options));
}

}  // namespace fiberd::http
