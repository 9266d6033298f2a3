// Templates and what is put into them: a template that is taken renders, whatever the values are, to a text that splits
// no message: a location of URI bytes, a field's value; and a location that was checked names no host that a client
// chose.
#include <algorithm>
#include <string>

#include "core/http/characters.hpp"
#include "core/http/variables.hpp"
#include "tests/fuzz/check.hpp"

using namespace fiberd;
using http::Form;
using http::Variable;

namespace {

/// All that a client chooses is the input; its host is one that the server let pass.
class Hostile final : public http::VariableSource {
 public:
  explicit Hostile(std::string_view value) : value_(value), path_("/" + value_) {
    // As the normal form has it: one slash at the front.
    while (path_.starts_with("//")) path_.erase(0, 1);
    query_ = "?" + value_;
  }
  std::string_view value(std::uint8_t id, std::string_view) override {
    switch (static_cast<Variable>(id)) {
      case Variable::host: return "host.example";
      case Variable::scheme: return "https";
      case Variable::path: return path_;
      case Variable::rest: return std::string_view(path_).substr(1);
      case Variable::query: return query_;
      default: return value_;
    }
  }

 private:
  std::string value_;
  std::string path_;
  std::string query_;
};

std::string authority_of(std::string_view location) {
  std::size_t begin = location.starts_with("//") ? 2 : std::string_view::npos;
  const std::size_t colon = location.find("://");
  if (begin == std::string_view::npos && colon != std::string_view::npos && location.find_first_of("/?#") > colon)
    begin = colon + 3;
  if (begin == std::string_view::npos) return {};
  const std::string_view rest = location.substr(begin);
  return std::string(rest.substr(0, rest.find_first_of("/?#\\")));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input = fuzz::text(data, size);
  const std::size_t line = std::min(input.find('\n'), input.size());
  const std::string_view text = input.substr(0, line);
  const std::string_view value = input.substr(std::min(line + 1, input.size()));
  std::string why;
  const Result<http::Template> t = http::Template::parse(text, &why);
  if (!t) {
    FUZZ_CHECK(!why.empty());
    return 0;
  }
  Hostile hostile(value);
  Hostile mild("x");
  std::string out;
  if (check_location(*t)) {
    FUZZ_CHECK(t->render(hostile, Form::location, out, std::size_t{1} << 24U));
    std::string calm;
    FUZZ_CHECK(t->render(mild, Form::location, calm, std::size_t{1} << 24U));
    FUZZ_CHECK(authority_of(out) == authority_of(calm));
    FUZZ_CHECK(std::none_of(out.begin(), out.end(),
                            [](char c) { return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f; }));
  }
  out.clear();
  if (http::is_field_value(text)) {
    FUZZ_CHECK(t->render(hostile, Form::field, out, std::size_t{1} << 24U));
    FUZZ_CHECK(http::is_field_value(out));
  }
  for (const Form form : {Form::text, Form::html, Form::json, Form::script, Form::log}) {
    out.clear();
    FUZZ_CHECK(t->render(hostile, form, out, std::size_t{1} << 24U));
  }
  return 0;
}
