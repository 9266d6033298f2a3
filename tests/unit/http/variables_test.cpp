#include "core/http/variables.hpp"

#include <catch2/catch.hpp>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/base/utf8.hpp"
#include "core/http/characters.hpp"

using namespace fiberd;
using http::Form;
using http::Template;
using http::Variable;

namespace {

struct Values {
  std::string host = "a.example";
  std::string path = "/x/y";
  std::string query = "?q=1";
  std::string field = "v";
  std::string subject = "CN=alice,O=Example";
};

class Source final : public http::VariableSource {
 public:
  explicit Source(Values values) : values_(std::move(values)) {}
  std::string_view value(std::uint8_t id, std::string_view argument) override {
    switch (static_cast<Variable>(id)) {
      case Variable::host: return values_.host;
      case Variable::path: return values_.path;
      case Variable::rest: return std::string_view(values_.path).substr(1);
      case Variable::query: return values_.query;
      case Variable::method: return "GET";
      case Variable::scheme: return "https";
      case Variable::client: return "2001:db8::1";
      case Variable::request_id: return "abc123";
      case Variable::header: asked = argument; return values_.field;
      case Variable::client_cert_subject: return values_.subject;
      default: break;
    }
    return {};
  }
  std::string asked{};

 private:
  Values values_;
};

std::string render(std::string_view text, Form form, Values values = {}) {
  const Result<Template> t = Template::parse(text);
  REQUIRE(t);
  std::string out;
  Source source(std::move(values));
  REQUIRE(t->render(source, form, out));
  return out;
}
std::string why_not(std::string_view text) {
  std::string why;
  REQUIRE_FALSE(Template::parse(text, &why));
  return why;
}
std::string no_location(std::string_view text) {
  const Result<Template> t = Template::parse(text);
  REQUIRE(t);
  std::string why;
  return check_location(*t, &why) ? "" : why;
}
bool holds(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("templates put each variable where it stands", "[http][variables]") {
  CHECK(render("https://${host}/new/${rest}${query}", Form::location) == "https://a.example/new/x/y?q=1");
  CHECK(render("${method} ${scheme} ${client} ${request_id} ${path}", Form::text) ==
        "GET https 2001:db8::1 abc123 /x/y");
  Source values{Values{}};
  std::string out = "<";
  REQUIRE(Template::parse("${header.X-Real}")->render(values, Form::field, out));
  CHECK(out == "<v");
  CHECK(values.asked == "X-Real");
  CHECK(render("by ${client_cert_subject}", Form::field) == "by CN=alice,O=Example");
  CHECK(render("/${client_cert_subject}", Form::location) == "/CN%3Dalice%2CO%3DExample");
  CHECK(render("", Form::text).empty());
  CHECK(Template::parse("plain")->constant());
  CHECK(Template::parse("$$ 5 $ $5 $")->constant());
  CHECK_FALSE(Template::parse("${host}")->constant());
  CHECK(Template::parse("a${host}")->uses(Variable::host));
  CHECK_FALSE(Template::parse("a${host}")->uses(Variable::path));
}

TEST_CASE("a dollar sign is two, or one that begins no name", "[http][variables]") {
  CHECK(render("$$", Form::text) == "$");
  CHECK(render("$${host}", Form::text) == "${host}");
  CHECK(render("$$$$", Form::text) == "$$");
  CHECK(render("5 $ $5 $. $", Form::text) == "5 $ $5 $. $");
  CHECK(render("%24host", Form::location) == "%24host");
}

TEST_CASE("an unknown variable is refused with the nearest there is", "[http][variables]") {
  const std::vector<std::pair<std::string, std::string>> meant = {{"${hots}", "${host}"},
                                                                  {"${hst}", "${host}"},
                                                                  {"${Path}", "${path}"},
                                                                  {"${requestid}", "${request_id}"},
                                                                  {"${request-id}", "${request_id}"},
                                                                  {"${headers.X}", "${header.NAME}"},
                                                                  {"${header}", "${header.NAME}"},
                                                                  {"$uri", "${path}"},
                                                                  {"$request_uri", "${path}${query}"},
                                                                  {"$host", "${host}"},
                                                                  {"$args", "${query}"},
                                                                  {"$scheme", "${scheme}"},
                                                                  {"$remote_addr", "${client}"},
                                                                  {"${remote_addr}", "${client}"},
                                                                  {"$ssl_client_s_dn", "${client_cert_subject}"},
                                                                  {"${tls_versoin}", "${tls_version}"},
                                                                  {"$http_x_real", "${header.x-real}"},
                                                                  {"${uri}", "${path}"}};
  for (const auto& [text, hint] : meant) {
    CAPTURE(text, why_not(text));
    CHECK(holds(why_not(text), hint));
  }
  CHECK(holds(why_not("$host"), "$$"));
  CHECK(holds(why_not("${zzzzzzzzz}"), "${host}, ${path}"));
  CHECK(holds(why_not("${}"), "there"));
  CHECK_FALSE(why_not("${HOME}").empty());
  CHECK(holds(why_not("${host"), "without its }"));
  CHECK(holds(why_not("${header.}"), "name of a field"));
  CHECK(holds(why_not("${header.a b}"), "name of a field"));
  CHECK(holds(why_not(std::string(kMaxTemplate + 1, 'x')), "longer than"));
  std::string many;
  for (std::size_t i = 0; i <= kMaxVariables; ++i) many += "${host}";
  CHECK(holds(why_not(many), "more than 64"));
}

TEST_CASE("a template's reader says which names there are", "[http][variables]") {
  static constexpr VariableName kNames[] = {{"status", 7}, {"bytes.", 9}};
  class Numbers final : public http::VariableSource {
   public:
    std::string_view value(std::uint8_t id, std::string_view argument) override {
      text = std::to_string(id) + std::string(argument);
      return text;
    }
    std::string text;
  } source;
  std::string out;
  const Result<Template> t = Template::parse("${status} ${bytes.in}", nullptr, kNames);
  REQUIRE(t);
  CHECK(t->uses(7));
  REQUIRE(t->render(source, Form::text, out));
  CHECK(out == "7 9in");
  std::string why;
  CHECK_FALSE(Template::parse("$uri", &why, kNames));
  CHECK(why.find("${path}") == std::string::npos);
}

TEST_CASE("values do not become syntax of a location", "[http][variables]") {
  CHECK(render("${path}", Form::location, {.path = "/a b?c#d%e/\r\nX: y"}) == "/a%20b%3Fc%23d%25e/%0D%0AX:%20y");
  CHECK(render("${path}", Form::location, {.path = "/\xc3\xa4\\evil"}) == "/%C3%A4%5Cevil");
  CHECK(render("/${header.X}", Form::location, {.field = "/evil.example/?a=b&c"}) == "/%2Fevil.example%2F%3Fa%3Db%26c");
  CHECK(render("/${header.X}", Form::location, {.field = "a\r\nSet-Cookie: x"}) == "/a%0D%0ASet-Cookie%3A%20x");
  CHECK(render("/${query}", Form::location, {.query = "?a=%20b/c?d"}) == "/?a=%20b/c?d");
  CHECK(render("https://${host}/", Form::location, {.host = "[::1]"}) == "https://[::1]/");
  for (int c = 0; c < 256; ++c) {
    const std::string all(1, static_cast<char>(c));
    for (const char* text : {"${path}", "${header.X}", "${query}", "${host}"}) {
      const std::string out =
          render(text, Form::location, {.host = all, .path = "/" + all, .query = all, .field = all});
      for (const char o : out)
        if (!http::is_class(o, http::chars::kTarget)) FAIL(text << " lets byte " << c << " through");
    }
    const std::string field = render("${header.X}${path}", Form::field, {.path = "/" + all, .field = all});
    if (!http::is_field_value(field)) FAIL("a field lets byte " << c << " through");
  }
}

TEST_CASE("values do not become syntax of fields, pages, JSON or logs", "[http][variables]") {
  const Values hostile{.path = "/<b a='\"'>&\n\\\x7f\x01"};
  CHECK(render("${path}", Form::field, hostile) == "/<b a='\"'>&%0A\\%7F%01");
  CHECK(render("${path}", Form::html, hostile) == "/&lt;b a=&#39;&quot;&#39;&gt;&amp;\n\\\x7f\x01");
  CHECK(render("${path}", Form::json, hostile) == "/<b a='\\\"'>&\\u000a\\\\\\u007f\\u0001");
  CHECK(render("${path}", Form::log, hostile) == "/<b a='\\x22'>&\\x0A\\x5C\\x7F\\x01");
  CHECK(render("${path}", Form::text, hostile) == hostile.path);
  CHECK(http::form_for("text/html; charset=utf-8") == Form::html);
  CHECK(http::form_for("TEXT/HTML") == Form::html);
  CHECK(http::form_for("image/svg+xml") == Form::html);
  CHECK(http::form_for("application/problem+json") == Form::json);
  for (const char* type :
       {"text/javascript", "Text/JavaScript; charset=utf-8", "application/javascript", "application/x-javascript",
        "text/ecmascript", "application/x-ecmascript", "text/javascript1.5", "text/jscript", "text/livescript"}) {
    CAPTURE(type);
    CHECK(http::form_for(type) == Form::script);
  }
  CHECK(http::form_for("text/plain; charset=utf-8") == Form::text);
  CHECK(http::form_for("") == Form::text);
}

TEST_CASE("a script's strings end where they end, in each kind of quotes", "[http][variables]") {
  CHECK(render("${header.X}", Form::script, {.field = "a\"b'c`d${e}</script>&\\"}) ==
        "a\\\"b\\u0027c\\u0060d\\u0024{e}\\u003c/script\\u003e\\u0026\\\\");
}

TEST_CASE("what is no UTF-8 is replaced where it would spoil the whole", "[http][variables]") {
  const std::string in =
      "a\x80"
      "b\xc3\xa4\xff\xe2\x82\xac\xed\xa0\x80";
  for (const Form form : {Form::json, Form::html, Form::script}) {
    const std::string out = render("<${header.X}>", form, {.field = in});
    CHECK(is_utf8(out));
    CHECK(
        out.starts_with("<a\xef\xbf\xbd"
                        "b\xc3\xa4\xef\xbf\xbd\xe2\x82\xac\xef\xbf\xbd"));
  }
  CHECK(render("${header.X}", Form::text, {.field = in}) == in);
}

TEST_CASE("what is rendered is bounded", "[http][variables]") {
  Source values{Values{.path = "/" + std::string(1000, 'a')}};
  std::string out;
  const Result<void> done = Template::parse("${path}${path}")->render(values, Form::text, out, 1500);
  REQUIRE_FALSE(done);
  CHECK(done.error() == std::errc::message_size);
  out.clear();
  CHECK(Template::parse("${path}")->render(values, Form::text, out, 1500));
  out.clear();
  CHECK_FALSE(Template::parse("${path}")->render(values, Form::text, out, 999));
  CHECK(out.empty());
}

TEST_CASE("no value that a client chooses stands where a location's host is", "[http][variables]") {
  for (const char* good : {"https://${host}${path}${query}", "https://www.${host}/", "https://a.example${path}",
                           "https://a.example/${rest}", "https://a.example?x=${header.X}", "/new/${rest}${query}",
                           "${path}${query}", "//a.example/${rest}", "/", "", "${scheme}://${host}:8443/x",
                           "/x?u=https://${rest}", "/${rest}", "./x", "${path}://a/"}) {
    CAPTURE(good);
    CHECK(no_location(good).empty());
  }
  for (const char* bad : {"https://a.example${rest}",
                          "https://${header.X}/",
                          "https://a.example${query}",
                          "https://${rest}",
                          "https:///x",
                          "https://${path}",
                          "//${header.X}/",
                          "${rest}",
                          "${header.X}",
                          "${header.X}://a/",
                          "/${path}",
                          "/a b",
                          "/a\r\nX: y",
                          "/a\x02",
                          "x${rest}",
                          "http${rest}",
                          "${host}:80/x",
                          "${scheme}:/x",
                          "/\xc3\xa4",
                          "https://a.example:${client}/"}) {
    CAPTURE(bad);
    CHECK_FALSE(no_location(bad).empty());
  }
}
