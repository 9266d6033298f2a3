// WebSockets of the whole process: the configuration's, a reload and a stop with open ones, what is counted and logged,
// and the clients that everybody has.
#include <catch2/catch.hpp>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/daemon.hpp"
#include "tests/support/websocket_client.hpp"

using namespace fiberd::test;

namespace {

std::string with_websocket(const std::string& options, const std::string& more = {}) {
  return "admin: {address: \"127.0.0.1:0\"}\n"
         "listeners:\n"
         "  - name: web\n"
         "    address: \"127.0.0.1:0\"\n"
         "    http:\n"
         "      access_log: {format: template, template: '${status} ${path} in ${bytes_in} out ${bytes_out}'}\n"
         "      routes:\n"
         "        - {path: /chat, websocket: " +
         options + more +
         "}\n"
         "        - {path: /, respond: {body: hello}}\n";
}

std::string said(const WebSocketFrame& f) { return f.payload; }

bool echoes(WebSocketClient& client, const std::string& text) {
  return client.send(text_frame(text)) && said(client.next().value_or(WebSocketFrame{})) == text;
}

}  // namespace

TEST_CASE("daemon: websocket: echo, what is counted, and the line of the log", "[integration][websocket]") {
  Daemon daemon(with_websocket("echo"));
  {
    WebSocketClient client(daemon.port("web"));
    REQUIRE(client.open("/chat") != "");
    CHECK(echoes(client, "hello"));
    CHECK(daemon.metric("fiberd_websocket_connections{listener=\"web\"}") == 1);
    CHECK(daemon.metric("fiberd_listener_connections_active{listener=\"web\"}") == 1);
    REQUIRE(client.send(close_frame(1001)));
    CHECK(client.conversation() == "close:1001");
    HttpClient none(daemon.port("web"));
    CHECK(none.ask(get("/chat")).value_or(Answer{}).status == 426);
    CHECK(none.ask("POST /chat HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").value_or(Answer{}).status == 405);
  }
  CHECK(eventually([&] { return daemon.process().output().find("101 /chat in 19 out 11\n") != std::string::npos; }));
  CHECK(daemon.metric("fiberd_websocket_connections{listener=\"web\"}") == 0);
  CHECK(daemon.metric("fiberd_websocket_opened_total{listener=\"web\"}") == 1);
  CHECK(daemon.metric("fiberd_websocket_messages_total{listener=\"web\",direction=\"in\"}") == 1);
  CHECK(daemon.metric("fiberd_websocket_messages_total{listener=\"web\",direction=\"out\"}") == 1);
  CHECK(daemon.metric("fiberd_websocket_bytes_total{listener=\"web\",direction=\"in\"}") == 5);
  CHECK(daemon.metric("fiberd_websocket_closed_total{listener=\"web\",code=\"1001\"}") == 1);
  CHECK(daemon.metric("fiberd_websocket_refused_total{listener=\"web\",reason=\"not_asked\"}") == 1);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("daemon: what a websocket's keys say holds", "[integration][websocket]") {
  Daemon daemon(with_websocket("{message_size: 10, origins: [same], subprotocols: [a, b], compression: true}",
                               ", concurrency: {limit: 1}"));
  WebSocketClient client(daemon.port("web"));
  const std::string head =
      client.open("/chat",
                  "Origin: https://a.example\r\nSec-WebSocket-Protocol: c, b\r\nSec-WebSocket-Extensions: "
                  "permessage-deflate; client_max_window_bits\r\n");
  CHECK(head.find("\r\nSec-WebSocket-Protocol: b\r\n") != std::string::npos);
  CHECK(head.find("\r\nSec-WebSocket-Extensions: permessage-deflate") != std::string::npos);
  // A WebSocket holds its place of the route as long as it lives.
  HttpClient second(daemon.port("web"));
  CHECK(second.ask(websocket_request("/chat")).value_or(Answer{}).status == 503);
  REQUIRE(client.send(text_frame("hello world")));
  CHECK(client.conversation() == "close:1009");
  CHECK(eventually([&] {
    HttpClient evil(daemon.port("web"));
    return evil.ask(websocket_request("/chat", "Origin: https://evil.example\r\n")).value_or(Answer{}).status == 403;
  }));
  CHECK(daemon.stop() == 0);
}

TEST_CASE("daemon: a reload touches no open WebSocket, but for those of a listener that is gone",
          "[integration][websocket]") {
  const std::string gone =
      "  - {name: gone, address: \"127.0.0.1:0\", http: {routes: [{path: /chat, websocket: echo}]}}\n";
  Daemon daemon(with_websocket("echo") + gone);
  WebSocketClient stays(daemon.port("web"));
  WebSocketClient goes(daemon.port("gone"));
  REQUIRE(stays.open("/chat") != "");
  REQUIRE(goes.open("/chat") != "");
  CHECK(echoes(goes, "hello"));
  daemon.write_config(with_websocket("{message_size: 3}"));
  daemon.process().signal(SIGHUP);
  REQUIRE(daemon.wait_for_log("reloaded"));
  CHECK(goes.next().value_or(WebSocketFrame{}).code() == 1001);
  REQUIRE(goes.send(close_frame(1001)));
  CHECK(goes.conversation() == "");
  CHECK(echoes(stays, "more than three"));  // by the configuration it was opened with
  WebSocketClient fresh(daemon.port("web"));
  REQUIRE(fresh.open("/chat") != "");
  REQUIRE(fresh.send(text_frame("more")));
  CHECK(fresh.conversation() == "close:1009");
  REQUIRE(stays.send(close_frame(1000)));
  CHECK(stays.conversation() == "close:1000");
  CHECK(daemon.stop() == 0);
}

TEST_CASE("daemon: at a stop each WebSocket is sent 1001, and nobody is cut who answers", "[integration][websocket]") {
  Daemon daemon(with_websocket("echo"));
  WebSocketClient first(daemon.port("web"));
  WebSocketClient second(daemon.port("web"));
  REQUIRE(first.open("/chat") != "");
  REQUIRE(second.open("/chat") != "");
  CHECK(echoes(first, "hello"));
  daemon.process().signal(SIGTERM);
  for (WebSocketClient* const client : {&first, &second}) {
    CHECK(client->next().value_or(WebSocketFrame{}).code() == 1001);
    REQUIRE(client->send(close_frame(1001)));
    CHECK(client->conversation() == "");
  }
  CHECK(daemon.process().wait() == 0);
  CHECK(daemon.log().find("were cut") == std::string::npos);
}

TEST_CASE("clients that everybody has: npm's ws and Python's websockets", "[integration][websocket][tools]") {
  Daemon daemon(with_websocket("{compression: true, message_size: 2MiB}"));
  const std::string url = "ws://127.0.0.1:" + std::to_string(daemon.port("web")) + "/chat";
  const TemporaryDirectory directory;
  SECTION("ws") {
    if (run({"node", "-e", "require('/usr/share/nodejs/ws')"}).code != 0) {
      WARN("node-ws is not installed: left out");
      return;
    }
    const std::string script = directory.write("client.js", R"(
const WebSocket = require('/usr/share/nodejs/ws');
const ws = new WebSocket(process.argv[2]);
const big = 'äöü€😀'.repeat(100000);
const asked = ['hello', big, Buffer.alloc(300000, 7), ''];
let at = 0;
const wrong = (what) => { console.log('wrong: ' + what); process.exit(1); };
ws.on('open', () => { console.log('extensions: ' + ws.extensions); ws.ping('are you there'); });
ws.on('pong', (data) => { console.log('pong: ' + data); ws.send(asked[0]); });
ws.on('message', (data, binary) => {
  const sent = asked[at++];
  if (binary !== (typeof sent !== 'string')) wrong('kind');
  if (Buffer.compare(Buffer.from(sent), data) !== 0) wrong('message ' + at);
  if (at < asked.length) ws.send(asked[at]); else ws.close(4001, 'enough');
});
ws.on('close', (code, reason) => { console.log('close: ' + code + ' ' + reason + ' behind ' + at); });
ws.on('error', (e) => wrong(e));
)");
    const Finished got = run({"node", script, url});
    INFO(got.errors);
    CHECK(got.output == "extensions: permessage-deflate\npong: are you there\nclose: 4001  behind 4\n");
  }
  SECTION("websockets") {
    if (run({"/usr/bin/python3", "-c", "import websockets"}).code != 0) {
      WARN("python3-websockets is not installed: left out");
      return;
    }
    const std::string script = directory.write("client.py", R"(
import asyncio, sys, websockets
async def main():
    async with websockets.connect(sys.argv[1], max_size=None) as ws:
        print('extensions:', [e.name for e in ws.extensions])
        for message in ['hello', 'äöü€😀' * 100000, bytes(300000), '']:
            await ws.send(message)
            assert await ws.recv() == message
        async def pieces():
            for piece in ['a', 'b', 'c']: yield piece
        await ws.send(pieces())
        print(await ws.recv())
        await (await ws.ping())
        await ws.close(4001, 'enough')
    print('close:', ws.close_code)
    ws = await websockets.connect(sys.argv[1], max_size=None, compression=None)
    try:  # its head says that it is too big: the rest may meet the end
        await ws.send(b'x' * (2 * 1024 * 1024 + 1))
        await ws.recv()
    except websockets.ConnectionClosedError as e: print('close:', ws.close_code)
asyncio.run(main())
)");
    const Finished got = run({"/usr/bin/python3", script, url});
    INFO(got.errors);
    CHECK(got.output == "extensions: ['permessage-deflate']\nabc\nclose: 4001\nclose: 1009\n");
  }
}

TEST_CASE("a browser: a WebSocket from its own page, and none from another's", "[integration][websocket][.nightly]") {
  const TemporaryDirectory site;
  (void)site.write("page.html", R"(<p id="p">nothing</p><script>
const said = [];
const show = () => { document.getElementById('p').textContent = said.join(' '); };
const ws = new WebSocket('ws://' + location.host.replace('evil', 'app') + '/chat', 'b');
ws.onopen = () => { said.push('open=' + ws.protocol + '=' + ws.extensions.split(';')[0]); ws.send('grüße '.repeat(50)); };
ws.onmessage = (e) => { said.push('echo=' + e.data.length); ws.close(4000); };
ws.onclose = (e) => { said.push('close=' + e.code + '=' + e.wasClean); show(); };
</script>)");
  const std::string yaml =
      "admin: {address: \"127.0.0.1:0\"}\n"
      "listeners:\n"
      "  - name: web\n"
      "    address: \"127.0.0.1:0\"\n"
      "    http:\n"
      "      routes:\n"
      "        - {path: /chat, websocket: {origins: [same], subprotocols: [b], compression: true}}\n"
      "        - {path: /*, files: {root: " +
      site.path() + "}}\n";
  Daemon daemon(yaml);
  const auto shown = [&](const std::string& host) {
    const TemporaryDirectory profile;
    const Finished got = run({"chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                              "--disable-background-networking", "--disable-component-update", "--disable-sync",
                              "--no-first-run", "--user-data-dir=" + profile.path(),
                              "--host-resolver-rules=MAP *.example 127.0.0.1:" + std::to_string(daemon.port("web")),
                              "--virtual-time-budget=10000", "--dump-dom", "http://" + host + "/page.html"});
    const std::size_t at = got.output.find("<p id=\"p\">");
    return at == std::string::npos ? got.output + got.errors
                                   : got.output.substr(at + 10, got.output.find("</p>", at) - at - 10);
  };
  CHECK(shown("app.example") == "open=b=permessage-deflate echo=300 close=4000=true");
  CHECK(shown("evil.example") == "close=1006=false");
  CHECK(daemon.stop() == 0);
}

TEST_CASE("ten thousand idle WebSockets: what one costs, and all of them hear of the stop",
          "[integration][websocket][.nightly]") {
  static constexpr std::size_t kMany =
      9'000;  // the hard limit of descriptors is 20,000 on some machines, for both ends
  const auto resident = [](pid_t pid) {
    const std::string status = read_file("/proc/" + std::to_string(pid) + "/status");
    return std::strtoull(status.c_str() + status.find("VmRSS:") + 6, nullptr, 10) * 1024;
  };
  Daemon daemon(with_websocket("{ping_interval: 0s, idle_timeout: 0s}"));
  std::vector<std::unique_ptr<WebSocketClient>> clients;
  const auto open = [&] {
    clients.push_back(std::make_unique<WebSocketClient>(daemon.port("web"), 0, std::chrono::seconds(60)));
    return clients.back()->open("/chat") != "";
  };
  for (int i = 0; i < 200; ++i) REQUIRE(open());  // what is paid once
  const auto before = resident(daemon.process().pid());
  while (clients.size() != kMany) REQUIRE(open());
  CHECK(daemon.metric("fiberd_websocket_connections{listener=\"web\"}") == kMany);
  const auto each = (resident(daemon.process().pid()) - before) / (kMany - 200);
  WARN("an idle WebSocket: " << each << " bytes");
  CHECK(each < 48 * 1024);
  for (std::size_t i = 0; i < kMany; i += 100) CHECK(echoes(*clients[i], "still there"));
  daemon.process().signal(SIGTERM);
  std::size_t told = 0;
  for (const auto& client : clients) {
    if (client->next().value_or(WebSocketFrame{}).code() == 1001) ++told;
    (void)client->send(close_frame(1001));
  }
  CHECK(told == kMany);
  CHECK(daemon.process().wait(std::chrono::seconds(60)) == 0);
}
