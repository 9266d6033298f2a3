// HTTP/2 of the whole process: what is logged and counted, large bodies both ways, and the clients that everybody has.
#include <catch2/catch.hpp>
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "tests/integration/conversations.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/h2_client.hpp"
#include "tests/support/test_certificates.hpp"

using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

/// A daemon that speaks HTTP/2 over TLS ("secure") and without ("plain"), on the files of a directory.
struct Http2Site {
  explicit Http2Site(const std::string& http = "") {
    files.write("ca.pem", kTestCa);
    files.write("web.pem", kTestCertificate);
    files.write("web.key", kTestKey);
    const std::string routes =
        "access_log: {format: template, template: '${protocol} ${method} ${status} ${path} in ${bytes_in} out "
        "${bytes_out}'}, limits: {body_size: 1GiB, body_rate: 0, write_rate: 0}, timeouts: {body: 10m, write: 10m}, " +
        http +
        "routes: [{path: /echo, echo: {}}, {path: /chat, websocket: {origins: [same]}}, {path: /hello, respond: "
        "{body: hello}}, {path: /events, respond: {content_type: text/event-stream, body: \"retry: 60000\\ndata: "
        "one\\n\\ndata: two\\n\\n\"}}, {path: /*, files: {root: " +
        files.path() + "}}]";
    daemon.emplace("admin: {address: \"127.0.0.1:0\"}\nshutdown: {idle: 100ms}\nlisteners:\n" +
                   ("  - {name: secure, address: \"127.0.0.1:0\", tls: {certificate: " + files.path() +
                    "/web.pem, key: " + files.path() + "/web.key}, http: {" + routes + "}}\n") +
                   "  - {name: plain, address: \"127.0.0.1:0\", http: {h2c: true, http2: {upgrade: true}, " + routes +
                   "}}\n");
  }
  [[nodiscard]] std::string secure() const { return "https://localhost:" + std::to_string(daemon->port("secure")); }
  [[nodiscard]] std::string plain() const { return "http://localhost:" + std::to_string(daemon->port("plain")); }
  [[nodiscard]] Finished curl(std::vector<std::string> arguments) const {
    std::vector<std::string> all{"curl",       "--silent", "--show-error", "--cacert", files.path() + "/ca.pem",
                                 "--max-time", "300"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return run(all, 310s);
  }
  [[nodiscard]] std::optional<double> metric(const std::string& name, const std::string& labels) const {
    return daemon->metric("fiberd_" + name + "{" + labels + "}");
  }
  [[nodiscard]] bool logged(const std::string& line) const {
    return eventually([&] { return daemon->process().output().find(line + "\n") != std::string::npos; }, 60s);
  }
  TemporaryDirectory files;
  mutable std::optional<Daemon> daemon;
};

std::string sha256_of(const std::string& file) {
  const Finished sum = run({"sha256sum", file}, 120s);
  return sum.output.substr(0, 64);
}

/// Random bytes, so that nothing of them can be had twice.
void carries_large_bodies(unsigned mebibytes) {
  Http2Site site;
  const std::string big = site.files.path() + "/big";
  const std::string copy = site.files.path() + "/copy";
  const auto into_copy = [&](const std::string& command) {
    const Finished done = run({"sh", "-c", command + " > " + copy}, 310s);
    INFO(command << ": " << done.errors);
    CHECK(done.code == 0);
    return sha256_of(copy);
  };
  REQUIRE(run({"sh", "-c", "head -c " + std::to_string(mebibytes) + "M /dev/urandom > " + big}).code == 0);
  const std::string wanted = sha256_of(big);
  REQUIRE(wanted.size() == 64);
  for (const std::string& origin : {site.secure(), site.plain()}) {
    const std::string version = origin == site.plain() ? "--http2-prior-knowledge" : "--http2";
    INFO(origin);
    const Finished down = site.curl({version, "--output", copy, "--write-out", "%{http_version}", origin + "/big"});
    CHECK(down.output == "2");
    CHECK(sha256_of(copy) == wanted);
    // Up, and down again at the same time.
    const Finished up = site.curl(
        {version, "--output", copy, "--write-out", "%{http_version}", "--upload-file", big, origin + "/echo"});
    INFO(up.errors);
    CHECK(up.output == "2");
    CHECK(sha256_of(copy) == wanted);
  }
  CHECK(into_copy("nghttp " + site.plain() + "/big") == wanted);
  CHECK(into_copy("nghttp --no-verify-peer --data=" + big + " " + site.secure() + "/echo") == wanted);
  CHECK(site.daemon->metric("fiberd_bugs_total").value_or(0) == 0);
  CHECK(site.daemon->stop() == 0);
}

}  // namespace

TEST_CASE("daemon: HTTP/2 in the log and in metrics, beside HTTP/1.1", "[integration][daemon][h2]") {
  Http2Site site;
  CHECK(site.curl({"--http2-prior-knowledge", "--data", "hello", site.plain() + "/echo"}).output == "hello");
  CHECK(site.curl({"--http1.1", "--data", "hello", site.plain() + "/echo"}).output == "hello");
  CHECK(site.curl({"--http2", site.secure() + "/hello"}).output == "hello");
  CHECK(site.curl({"--http2", "--head", site.secure() + "/none"}).code == 0);
  CHECK(site.logged("HTTP/2.0 POST 200 /echo in 5 out 5"));
  CHECK(site.logged("HTTP/1.1 POST 200 /echo in 5 out 5"));
  CHECK(site.logged("HTTP/2.0 GET 200 /hello in 0 out 5"));
  CHECK(site.logged("HTTP/2.0 HEAD 404 /none in 0 out 0"));
  const std::string plain = "listener=\"plain\"";
  CHECK(site.metric("http2_connections_total", plain) == 1);
  CHECK(site.metric("http2_requests_total", plain) == 1);
  CHECK(site.metric("http2_requests_total", "listener=\"secure\"") == 2);
  CHECK(site.metric("http_requests_total", plain + ",route=\"/echo\",method=\"POST\",code=\"200\"") == 2);
  {
    http2::Client client(site.daemon->port("plain"));
    REQUIRE(client.send(http2::headers(1, http2::post_fields(), false) + http2::rst(1, http2::kCancel)));
    // Who left first is 499, as on HTTP/1.1.
    CHECK(site.logged("HTTP/2.0 POST 499 /echo in 0 out 0"));
    std::string pings;
    for (int i = 0; i < 1'000; ++i) pings += http2::frame(http2::kPing, 0, 0, "12345678");
    (void)client.send(pings);
    CHECK(client.until_closed());
    CHECK(client.goaway() == http2::kEnhanceYourCalm);
  }
  CHECK(site.metric("http2_resets_received_total", plain + ",code=\"cancel\"") == 1);
  CHECK(site.metric("http2_goaways_total", plain + ",code=\"enhance_your_calm\"") == 1);
  CHECK(eventually([&] { return site.metric("listener_connections", plain) == 0; }, 60s));
  CHECK(site.metric("http_requests_in_flight", plain + ",route=\"/echo\"").value_or(0) == 0);
  CHECK(site.daemon->metric("fiberd_bugs_total").value_or(0) == 0);
  CHECK(site.daemon->stop() == 0);
}

TEST_CASE("daemon: curl and nghttp ask for HTTP/2 by an upgrade", "[integration][daemon][h2][tools]") {
  Http2Site site;
  CHECK(site.curl({"--http2", "--write-out", " %{http_version}", site.plain() + "/hello"}).output == "hello 2");
  // What has a body is served as it came.
  CHECK(site.curl({"--http2", "--data", "hello", "--write-out", " %{http_version}", site.plain() + "/echo"}).output ==
        "hello 1.1");
  CHECK(run({"nghttp", "--upgrade", site.plain() + "/hello"}).output == "hello");
  CHECK(site.logged("HTTP/2.0 GET 200 /hello in 0 out 5"));
  CHECK(site.logged("HTTP/1.1 POST 200 /echo in 5 out 5"));
  CHECK(site.metric("http2_requests_total", "listener=\"plain\"") == 2);
  CHECK(site.daemon->stop() == 0);
}

TEST_CASE("daemon: curl and nghttp carry large bodies by HTTP/2, and each byte of them",
          "[integration][daemon][h2][tools]") {
  carries_large_bodies(8);
}

TEST_CASE("daemon: the same with 100 MiB", "[integration][daemon][h2][tools][.nightly]") { carries_large_bodies(100); }

TEST_CASE("daemon: Python's h2 as a client", "[integration][daemon][h2][tools]") {
  if (run({"/usr/bin/python3", "-c", "import h2"}).code != 0) {
    WARN("python3-h2 is not installed: left out");
    return;
  }
  Http2Site site;
  const std::string script = site.files.write("client.py", R"(
import socket, ssl, sys
import h2.config, h2.connection, h2.events
context = ssl.create_default_context(cafile=sys.argv[1])
context.set_alpn_protocols(['h2', 'http/1.1'])
sock = context.wrap_socket(socket.create_connection(('127.0.0.1', int(sys.argv[2])), 60), server_hostname='localhost')
print(sock.selected_alpn_protocol())
c = h2.connection.H2Connection(config=h2.config.H2Configuration(header_encoding='utf-8'))
c.initiate_connection()
sock.sendall(c.data_to_send())
bodies, statuses, over, to_send = {}, {}, set(), {}
def fields(method, path, more=()):
    return [(':method', method), (':path', path), (':scheme', 'https'), (':authority', 'localhost'), *more]
def pump():
    for id in list(to_send):
        while to_send[id]:
            n = min(c.local_flow_control_window(id), c.max_outbound_frame_size, len(to_send[id]))
            if n == 0: break
            c.send_data(id, to_send[id][:n]); to_send[id] = to_send[id][n:]
        if not to_send[id]: c.end_stream(id); del to_send[id]
    sock.sendall(c.data_to_send())
def until(done):
    while not done():
        pump()
        data = sock.recv(65536)
        assert data, 'the server has ended it'
        for e in c.receive_data(data):
            if isinstance(e, h2.events.ResponseReceived): statuses[e.stream_id] = dict(e.headers)[':status']
            elif isinstance(e, h2.events.DataReceived):
                bodies[e.stream_id] = bodies.get(e.stream_id, b'') + e.data
                c.acknowledge_received_data(e.flow_controlled_length, e.stream_id)
            elif isinstance(e, h2.events.StreamEnded): over.add(e.stream_id)
            elif isinstance(e, h2.events.StreamReset): over.add(e.stream_id); statuses[e.stream_id] = 'reset'
            elif isinstance(e, h2.events.ConnectionTerminated): print('goaway', int(e.error_code))
    pump()
until(lambda: c.remote_settings.max_concurrent_streams == 100)
print('extended connect:', c.remote_settings.enable_connect_protocol)
many = [c.get_next_available_stream_id()]
for i in range(50):
    id = c.get_next_available_stream_id()
    c.send_headers(id, fields('GET', '/hello', [('cookie', 'a=%d' % i), ('cookie', 'b=1')]), end_stream=True)
    many.append(id)
until(lambda: over.issuperset(many[1:]))
print(len([id for id in many[1:] if statuses[id] == '200' and bodies[id] == b'hello']), 'of', len(many) - 1)
up = c.get_next_available_stream_id()
c.send_headers(up, fields('POST', '/echo', [('content-length', '3000000')]))
to_send[up] = bytes(range(250)) * 12000
sent = to_send[up]
until(lambda: up in over)
print('echo', statuses[up], bodies[up] == sent)
none = c.get_next_available_stream_id()
c.send_headers(none, fields('GET', '/none'), end_stream=True)
gone = c.get_next_available_stream_id()
c.send_headers(gone, fields('POST', '/echo'))
c.reset_stream(gone, 8)
until(lambda: none in over)
print('none', statuses[none])
c.ping(b'87654321'); c.close_connection(); pump()
while sock.recv(65536): pass
print('end')
)");
  const Finished got =
      run({"/usr/bin/python3", script, site.files.path() + "/ca.pem", std::to_string(site.daemon->port("secure"))});
  INFO(got.errors);
  CHECK(got.output == "h2\nextended connect: 1\n50 of 50\necho 200 True\nnone 404\nend\n");
  CHECK(site.daemon->metric("fiberd_bugs_total").value_or(0) == 0);
  CHECK(site.daemon->stop() == 0);
}

TEST_CASE("daemon: a browser over HTTP/2 with TLS: a page, a WebSocket and events of its own",
          "[integration][daemon][h2][websocket][.nightly]") {
  Http2Site site;
  (void)site.files.write("page.html", R"(<p id="p">nothing</p><script>
const said = [];
let left = 3;
const tell = (what) => {
  said.push(what);
  if (--left === 0) document.getElementById('p').textContent = said.sort().join(' ');
};
tell('page=' + performance.getEntriesByType('navigation')[0].nextHopProtocol);
const ws = new WebSocket('wss://' + location.host + '/chat');
ws.onmessage = (e) => { ws.onclose = (c) => tell('echo=' + e.data.length + '=' + c.code); ws.close(4000); };
ws.onopen = () => ws.send('x'.repeat(100000));
ws.onerror = () => tell('no WebSocket');
const events = new EventSource('/events');
const heard = [];
events.onmessage = (e) => { heard.push(e.data); if (heard.length === 2) { events.close(); tell('events=' + heard.join()); } };
</script>)");
  const TemporaryDirectory profile;
  const Finished got =
      run({"chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
           "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
           "--ignore-certificate-errors", "--user-data-dir=" + profile.path(),
           "--host-resolver-rules=MAP app.example.test 127.0.0.1:" + std::to_string(site.daemon->port("secure")),
           "--virtual-time-budget=20000", "--dump-dom", "https://app.example.test/page.html"});
  INFO(got.output << got.errors << site.daemon->process().output());
  CHECK(got.output.find("<p id=\"p\">echo=100000=4000 events=one,two page=h2</p>") != std::string::npos);
  // The WebSocket is a stream of the page's connection (RFC 8441).
  CHECK(site.logged("HTTP/2.0 GET 200 /events in 0 out 35"));
  CHECK(eventually([&] {
    return site.daemon->process().output().find("HTTP/2.0 CONNECT 200 /chat in 100022 ") != std::string::npos;
  }));
  CHECK(site.metric("http2_connections_total", "listener=\"secure\"") == 1);
  CHECK(site.daemon->metric("fiberd_bugs_total").value_or(0) == 0);
  CHECK(site.daemon->stop() == 0);
}
