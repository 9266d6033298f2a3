#include "core/http/site/error_page.hpp"

#include <catch2/catch.hpp>
#include <string>

#include "tests/support/json.hpp"
#include "tests/unit/http/head.hpp"

using namespace fiberd;
using http::ErrorBody;
using http::fill_in;

TEST_CASE("pages have places for the names of request and trace", "[http][error_page]") {
  CHECK_FALSE(http::names_requests("<h1>$5 ${path} {request_id}</h1>"));
  CHECK(http::names_requests("a ${trace_id}"));
  const http::RequestNames names{"r-1", "0af7"};
  CHECK(fill_in("a ${request_id}, ${trace_id}${trace_id}$", names) == "a r-1, 0af70af7$");
  CHECK(fill_in("$${request_id} ${request_i ${request_id}", names) == "$r-1 ${request_i r-1");
  CHECK(fill_in("${trace_id}", {}) == "-");
  CHECK(fill_in("", names).empty());
  // What is filled in is not looked at again.
  CHECK(fill_in("${request_id}", {"${trace_id}", "0af7"}) == "${trace_id}");
}

TEST_CASE("bodies of errors name request and trace, if there are any, however long the names", "[http][error_page]") {
  const http::HeaderView any;
  CHECK(ErrorBody(404, any).text() == "404 Not Found\n");
  CHECK(ErrorBody(404, any, {"r-1", {}}).text() == "404 Not Found\nrequest r-1\n");
  CHECK(ErrorBody(503, any, {"r-1", "0af7"}).text() == "503 Service Unavailable\nrequest r-1\ntrace 0af7\n");
  const http_test::Head problem{{"Accept", "application/problem+json"}};
  const std::string json(ErrorBody(404, problem.view(), {"r-1", "0af7"}).text());
  CHECK(json == R"({"type":"about:blank","title":"Not Found","status":404,"request_id":"r-1","trace_id":"0af7"})"
                "\n");
  const std::string longest(128, 'r');
  const std::string trace(32, 'a');
  const ErrorBody whole(511, problem.view(), {longest, trace});
  CHECK(test::Json::valid(whole.text().substr(0, whole.text().size() - 1)));
  const http_test::Head html{{"Accept", "text/html"}};
  CHECK(ErrorBody(511, html.view(), {longest, trace}).text().ends_with("<p>trace " + trace + "</p>\n</html>\n"));
  CHECK(ErrorBody(511, any, {longest, trace}).text().ends_with("trace " + trace + "\n"));
}
