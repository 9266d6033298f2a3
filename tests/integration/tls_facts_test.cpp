// What TLS says of a connection and of its client's certificate: in fields, bodies and access logs, whatever text the
// client's issuer has signed.
#include <algorithm>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "tests/support/certificates.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/json.hpp"
#include "tests/support/test_certificates.hpp"

using namespace fiberd::test;

TEST_CASE("TLS: who a client is stands in fields, bodies and logs, and breaks none of them", "[integration][tls]") {
  const TemporaryDirectory files;
  const std::string at = files.path();
  const TestAuthority clients("clients");
  files.write("ca.pem", clients.certificate());
  files.write("web.pem", kTestCertificate);
  files.write("web.key", kTestKey);
  const auto make = [&](const std::string& name, const CertificateWishes& wishes) {
    const MadePair made = clients.issue(wishes);
    files.write(name + ".pem", made.certificate);
    files.write(name + ".key", made.key);
  };
  make("alice", {.names = {"alice.example"}, .also = "URI:spiffe://a/b"});
  make("hostile", {.subject = "e\"v\\il\r\nX-Admin: \xc3\xa9", .also = "URI:a b,DNS:ok.example"});
  const std::string facts =
      "${client_cert_verified}|${client_cert_subject}|${client_cert_names}|${tls_version}|${tls_cipher}|${tls_server_"
      "name}";
  Daemon daemon(
      "admin: {address: \"127.0.0.1:0\"}\nlisteners:\n- name: web\n  address: \"127.0.0.1:0\"\n  tls: {certificate: " +
      at + "/web.pem, key: " + at + "/web.key, client_auth: {ca: " + at +
      "/ca.pem, mode: request}}\n  http:\n    headers: {set: {X-Client: \"" + facts +
      "\"}}\n    access_log: {format: template, output: " + at + "/lines, template: '\"" + facts +
      "\" ${client_cert_fingerprint} ${status}'}\n    routes:\n    - {path: /, respond: {body: \"" + facts +
      "\"}}\n    - {path: /json, access_log: {format: json, output: " + at + "/json}, respond: {body: \"json\"}}\n");
  const auto ask = [&](const std::string& who, const std::string& path, const std::string& option = "-sSi") {
    std::vector<std::string> words{
        "curl", option,     "--http1.1",        "--max-time",
        "60",   "--cacert", at + "/web-ca.pem", "https://localhost:" + std::to_string(daemon.port("web")) + path};
    if (!who.empty()) words.insert(words.end(), {"--cert", at + "/" + who + ".pem", "--key", at + "/" + who + ".key"});
    return run(words).output;
  };
  files.write("web-ca.pem", kTestCa);
  const std::string rest = "|TLSv1.3|TLS_AES_256_GCM_SHA384|localhost";
  const std::string alice = "yes|CN=alice.example|DNS:alice.example URI:spiffe://a/b" + rest;
  const std::string nobody = "no||" + rest;
  // What RFC 2253 makes of it; a name with a blank in it is left out.
  const std::string hostile = "yes|CN=e\\\"v\\\\il\\0D\\0AX-Admin: \\C3\\A9|DNS:ok.example" + rest;
  CHECK(ask("alice", "/", "-sS") == alice);
  CHECK(ask("", "/", "-sS") == nobody);
  const std::string answer = ask("hostile", "/");
  CHECK(answer.find("\r\nX-Client: " + hostile + "\r\n") != std::string::npos);
  CHECK(answer.find("\r\nX-Admin") == std::string::npos);
  CHECK(answer.substr(answer.find("\r\n\r\n") + 4) == hostile);
  CHECK(ask("hostile", "/json", "-sS") == "json");
  CHECK(daemon.stop() == 0);
  const std::string lines = "\n" + read_file(at + "/lines");  // in any order
  INFO(lines);
  CHECK(std::count(lines.begin(), lines.end(), '\n') == 4);
  CHECK(lines.find("\n\"" + alice + "\" ") != std::string::npos);
  CHECK(lines.find("\n\"no|-|-" + rest + "\" - 200\n") != std::string::npos);
  CHECK(lines.find("\n\"yes|CN=e\\\\\\\"v\\\\\\\\il\\\\0D\\\\0AX-Admin: \\\\C3\\\\A9|DNS:ok.example" + rest + "\" ") !=
        std::string::npos);
  const std::string json = read_file(at + "/json");
  INFO(json);
  CHECK(Json::valid(json.substr(0, json.find('\n'))));
  CHECK(json.find(R"("client_cert_subject":"CN=e\\\"v\\\\il\\0D\\0AX-Admin: \\C3\\A9")") != std::string::npos);
  CHECK(json.find(R"("tls_version":"TLSv1.3")") != std::string::npos);
}
