// Certificates that come by themselves, as a process, from pebble: both challenges, renewal, what list and renew say,
// and what check refuses.
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/support/daemon.hpp"
#include "tests/support/free_port.hpp"
#include "tests/support/pebble.hpp"

using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

std::string with_acme(const std::string& acme, std::uint16_t plain, std::uint16_t secure) {
  const std::string routes = "http: {routes: [{path: /, respond: {body: hello}}]}";
  std::string text = "admin: {address: \"127.0.0.1:0\"}\nlisteners:\n";
  if (plain != 0) text += "  - {name: plain, address: \"127.0.0.1:" + std::to_string(plain) + "\", " + routes + "}\n";
  return text + "  - {name: web, address: \"127.0.0.1:" + std::to_string(secure) + "\", tls: {acme: {" + acme + "}}, " +
         routes + "}\n";
}

std::string acme_of(const Pebble& pebble, const std::string& storage, const std::string& more) {
  return "domains: [one.test, two.test], directory: \"" + pebble.directory() + "\", storage: \"" + storage +
         "\", authority: {ca: \"" + pebble.ca_file() + "\"}" + more;
}

/// The issuer that a client of one.test sees.
std::string shown_by(std::uint16_t port) {
  const Finished seen =
      run({"sh", "-c",
           "echo | openssl s_client -connect 127.0.0.1:" + std::to_string(port) +
               " -servername one.test 2>/dev/null | openssl x509 -noout -issuer -serial 2>/dev/null"});
  return seen.output;
}

}  // namespace

TEST_CASE("tls.acme: the first certificate comes by itself, and the next when it is asked for",
          "[integration][acme][tls]") {
  if (!Pebble::is_there()) {
    WARN("skipped: pebble and pebble-challtestsrv are not there (apt-get install pebble)");
    return;
  }
  for (const bool http : {true, false}) {
    const std::uint16_t plain = http ? free_port() : std::uint16_t{0};
    const std::uint16_t secure = free_port();
    const Pebble pebble({.http_port = http ? plain : std::uint16_t{1}, .tls_port = secure, .bad_nonces = 5});
    REQUIRE(pebble.ready());
    const TemporaryDirectory folder;
    const std::string storage = folder.path() + "/state";
    Daemon daemon(
        with_acme(acme_of(pebble, storage, http ? ", challenge: http-01" : ", challenge: tls-alpn-01"), plain, secure));
    INFO(daemon.log());
    REQUIRE(eventually([&] { return shown_by(secure).find("Pebble") != std::string::npos; }, 60s));
    const std::string first = shown_by(secure);
    CHECK(daemon.metric("fiberd_acme_certificates_total") == 1);
    CHECK(daemon.metric("fiberd_acme_failing") == 0);
    // Nobody has seen a failure, and no bug was counted.
    CHECK(daemon.metric("fiberd_bugs_total").value_or(0) == 0);
    const Finished list = run({FIBERD_BINARY, "acme", "list", "-c", daemon.config_file()});
    INFO(list.output << list.errors);
    CHECK(list.code == 0);
    CHECK(list.output.find("one.test, two.test") != std::string::npos);
    CHECK(list.output.find("issued by Pebble") != std::string::npos);
    const Finished renew = run({FIBERD_BINARY, "acme", "renew", "-c", daemon.config_file(), "--address",
                                "127.0.0.1:" + std::to_string(daemon.port("admin"))});
    INFO(renew.output << renew.errors);
    CHECK(renew.code == 0);
    CHECK(renew.output == "acme: 1 certificate is asked for; the log, and fiberd acme list, say what comes of it\n");
    REQUIRE(eventually(
        [&] {
          const std::string now = shown_by(secure);
          return !now.empty() && now != first;
        },
        60s));
    CHECK(daemon.stop() == 0);
    // The next process has it at once, and asks nobody.
    Daemon again(
        with_acme(acme_of(pebble, storage, http ? ", challenge: http-01" : ", challenge: tls-alpn-01"), plain, secure));
    CHECK(shown_by(secure).find("Pebble") != std::string::npos);
    CHECK(again.metric("fiberd_acme_certificates_total") == 0);
  }
}

TEST_CASE("tls.acme: while the authority is away a self-signed certificate is shown, and it is said why",
          "[integration][acme][tls]") {
  const std::uint16_t secure = free_port();
  const TemporaryDirectory folder;
  const Daemon daemon(with_acme("domains: [one.test], storage: \"" + folder.path() +
                                    "/state\", directory: \"https://127.0.0.1:" + std::to_string(free_port()) +
                                    "/dir\"",
                                0, secure));
  CHECK(daemon.wait_for_log("a self-signed one is shown"));
  CHECK(shown_by(secure).find("one.test") != std::string::npos);
  CHECK(eventually([&] { return daemon.metric("fiberd_acme_failing") == 1; }));
  CHECK(daemon.metric("fiberd_acme_failures_total{reason=\"unreachable\"}") == 1);
  const Finished list = run({FIBERD_BINARY, "acme", "list", "-c", daemon.config_file()});
  CHECK(list.code == 1);
  CHECK(list.output.find("failed       1 times in a row") != std::string::npos);
}

TEST_CASE("tls.acme: a stop does not wait for a program that takes its time", "[integration][acme][tls]") {
  if (!Pebble::is_there()) {
    WARN("skipped: pebble and pebble-challtestsrv are not there (apt-get install pebble)");
    return;
  }
  const Pebble pebble(Pebble::Options{});
  REQUIRE(pebble.ready());
  // It may be killed after ten seconds, which a machine that stands still may take for the stop: then once more.
  bool seen = false;
  for (int tries = 0; tries < 3 && !seen; ++tries) {
    const TemporaryDirectory folder;
    const std::string hook = folder.write("hook",
                                          "#!/bin/sh\n"
                                          "echo $$ > " +
                                              folder.path() + "/$1\nexec sleep 1000\n");
    REQUIRE(::chmod(hook.c_str(), 0700) == 0);
    const std::uint16_t secure = free_port();
    Daemon daemon(with_acme(
        acme_of(pebble, folder.path() + "/state", ", challenge: dns-01, dns_program: \"" + hook + "\""), 0, secure));
    INFO(daemon.log());
    REQUIRE(eventually([&] { return std::filesystem::exists(folder.path() + "/present"); }, 60s));
    daemon.process().signal(SIGTERM);
    REQUIRE(eventually([&] { return shown_by(secure).empty(); }, 60s));
    // Nobody is let in any more, and the program that puts things away is still there.
    pid_t cleaner = 0;
    (void)eventually([&] { return bool(std::ifstream(folder.path() + "/cleanup") >> cleaner); }, 60s);
    seen = cleaner > 0 && ::kill(cleaner, 0) == 0;
    if (cleaner > 0) (void)::kill(cleaner, SIGKILL);
    CHECK(daemon.process().wait(60s) == 0);
  }
  CHECK(seen);
}

TEST_CASE("tls.acme: check refuses what cannot be had, and makes nothing", "[integration][acme][tls]") {
  const TemporaryDirectory folder;
  const auto says = [&](const std::string& acme) {
    const Finished done = run({FIBERD_BINARY, "check", folder.write("f.yaml", with_acme(acme, 0, 0))});
    return std::to_string(done.code) + " " + done.output + done.errors;
  };
  const std::string storage = ", storage: \"" + folder.path() + "/state\"";
  CHECK(says("domains: [one.test]" + storage).starts_with("0 "));
  CHECK_FALSE(std::filesystem::exists(folder.path() + "/state"));
  for (const auto& [acme, words] : std::vector<std::pair<std::string, std::string>>{
           {"email: a@b.c", "tls.acme.domains"},
           {"domains: [localhost]", "no name that an authority gives certificates for"},
           {"domains: [127.0.0.1]", "is an address"},
           {"domains: [\"a_b.test\"]", "is no host name"},
           {"domains: [one.test, ONE.test]", "stands there already"},
           {"domains: [\"*.one.test\"]", "must be dns-01"},
           {"domains: [one.test], challenge: dns-01", "go together"},
           {"domains: [one.test], challenge: dns-01, dns_program: /none", "/none: cannot be run"},
           {"domains: [one.test], email: nobody", "is no address"},
           {"domains: [one.test], directory: \"http://a.test/dir\"", "must begin with https://"},
           {"domains: [one.test], eab: {key_id: x}", "goes with the other"},
           {"domains: [one.test], eab: {key_id: x, key_file: /none}", "/none: "},
           {"domains: [one.test], storage: state", "is not a whole path"},
           {"domains: [one.test], authority: {ca: /none}", "/none: "},
       }) {
    const std::string said = says(acme + (acme.find("storage") == std::string::npos ? storage : ""));
    INFO(acme << ": " << said);
    CHECK(said.starts_with("2 "));
    CHECK(said.find(words) != std::string::npos);
  }
}

TEST_CASE("tls.acme: two listeners have one account by one wish, and one certificate", "[integration][acme][tls]") {
  const TemporaryDirectory folder;
  const auto says = [&](const std::string& one, const std::string& other) {
    const std::string storage = ", storage: \"" + folder.path() + "/state\"";
    std::string text = with_acme(one + storage, 0, 0);
    const std::string second = with_acme(other + storage, 0, 0);
    text += second.substr(second.find("  - {name: web"));
    text.replace(text.rfind("name: web"), 9, "name: two");
    const Finished done = run({FIBERD_BINARY, "check", folder.write("f.yaml", text)});
    return std::to_string(done.code) + " " + done.output + done.errors;
  };
  CHECK(says("domains: [one.test]", "domains: [one.test]").starts_with("0 "));
  CHECK(says("domains: [one.test]", "domains: [two.test], profile: shortlived").starts_with("0 "));
  CHECK(says("domains: [one.test]", "domains: [two.test], email: ops@one.test").find("both have one account") !=
        std::string::npos);
  CHECK(says("domains: [one.test]", "domains: [one.test], profile: shortlived").find("both have one certificate") !=
        std::string::npos);
}

TEST_CASE("tls.acme: whichever process the authority meets answers for the one that asks", "[integration][acme][tls]") {
  if (!Pebble::is_there()) {
    WARN("skipped: pebble and pebble-challtestsrv are not there (apt-get install pebble)");
    return;
  }
  for (const bool http : {true, false}) {
    const std::uint16_t met = free_port();
    const Pebble pebble({.http_port = http ? met : std::uint16_t{1}, .tls_port = http ? std::uint16_t{1} : met});
    REQUIRE(pebble.ready());
    const TemporaryDirectory folder;
    const std::string how = std::string(", challenge: ") + (http ? "http-01" : "tls-alpn-01");
    // It shares the directory, and asks another authority, which is away.
    const Daemon other(with_acme(
        "domains: [other.test], storage: \"" + folder.path() + "/state\", directory: \"https://127.0.0.1:1/dir\"" + how,
        http ? met : std::uint16_t{0}, http ? free_port() : met));
    REQUIRE(other.wait_for_log("a self-signed one is shown"));
    const std::uint16_t secure = free_port();
    const Daemon daemon(
        with_acme(acme_of(pebble, folder.path() + "/state", how), http ? free_port() : std::uint16_t{0}, secure));
    INFO(daemon.log());
    CHECK(eventually([&] { return shown_by(secure).find("Pebble") != std::string::npos; }, 60s));
    CHECK(eventually([&] { return !std::filesystem::exists(folder.path() + "/state/challenges"); }));
  }
}

TEST_CASE("tls.acme: secrets that others can read are named for what they are", "[integration][acme][tls]") {
  const TemporaryDirectory folder;
  const std::string key = folder.write("eab", "c2VjcmV0\n");
  const std::string ticket = folder.write("ticket", std::string(80, 't'));
  for (const std::string& file : {key, ticket}) REQUIRE(::chmod(file.c_str(), 0644) == 0);
  std::string text = with_acme(
      "domains: [one.test], eab: {key_id: x, key_file: \"" + key + "\"}, storage: \"" + folder.path() + "/state\"", 0,
      0);
  const std::string begin = "tls: {";
  text.insert(text.find(begin) + begin.size(), "ticket_keys: [\"" + ticket + "\"], ");
  const Finished done = run({FIBERD_BINARY, "check", folder.write("f.yaml", text)});
  INFO(done.output << done.errors);
  CHECK(done.code == 0);
  CHECK(done.errors.find("the key of acme.eab in " + key + " can be read by everybody") != std::string::npos);
  CHECK(done.errors.find("the ticket key in " + ticket + " can be read by everybody") != std::string::npos);
  CHECK(done.errors.find("private key") == std::string::npos);
}
