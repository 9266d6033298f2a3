#include "core/net/asio_stream.hpp"

#include <array>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket.hpp>
#include <string>

#include "tests/unit/net/support.hpp"

using namespace fiberd;
using namespace net_test;
using namespace std::chrono_literals;
using net::AsioStream;
using net::Endpoint;
using net::Listener;
using net::TcpStream;
namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;

TEST_CASE("asio::read, read_until and write work on a stream", "[net][asio]") {
  Expectations expect;
  start(2)->run([&] {
    Pair p;
    Latch done(1);
    (void)runtime::spawn("other", [&] {
      AsioStream b(p.b);
      std::string line;
      boost::system::error_code ec;
      const std::size_t n = asio::read_until(b, asio::dynamic_buffer(line), '\n', ec);
      expect(!ec && line.substr(0, n) == "hello\n", "read_until");
      const std::string head = "head ";
      const std::string body(100'000, 'b');
      const std::array<asio::const_buffer, 2> both{asio::buffer(head), asio::buffer(body)};
      expect(asio::write(b, both, ec) == head.size() + body.size() && !ec, "write of a sequence");
      p.b.close();
      done.done();
    });
    AsioStream a(p.a);
    boost::system::error_code ec;
    expect(asio::write(a, asio::buffer(std::string("hello\n"))) == 6, "write");
    std::string got;
    asio::read(a, asio::dynamic_buffer(got), ec);
    expect(ec == asio::error::eof, "the end is asio's eof");
    expect(got == "head " + std::string(100'000, 'b'), "read");
    p.a.set_read_deadline(Deadline::at(1));
    char c = 0;
    (void)a.read_some(asio::buffer(&c, 1), ec);
    expect(ec == asio::error::timed_out && ec == boost::system::errc::timed_out, "a deadline is asio's timed_out");
    p.a.close();
    (void)a.read_some(asio::buffer(&c, 1), ec);
    expect(ec == asio::error::bad_descriptor, "closed");
    bool thrown = false;
    try {
      (void)a.read_some(asio::buffer(&c, 1));
    } catch (const boost::system::system_error&) {
      thrown = true;
    }
    expect(thrown, "the form without an error code throws");
    expect(done.wait(), "the other ends");
  });
  INFO(expect.broken());
  CHECK(expect.broken().empty());
}

TEST_CASE("the Asio socket on demand", "[net][asio]") {
  Expectations expect;
  auto rt = start(2);
  rt->run([&] {
    auto listener = Listener::bind(*rt, *Endpoint::parse("127.0.0.1:0"), {});
    if (!expect(listener.has_value() && (*listener)->serve(echo), "listen")) return;
    Result<TcpStream> s = TcpStream::connect((*listener)->local(), Deadline::in(5s));
    if (!expect(s.has_value(), "connect")) return;
    {
      AsioStream a(*s);
      asio::ip::tcp::socket& socket = a.asio_socket();
      expect(&a.asio_socket() == &socket, "one");
      socket.set_option(asio::ip::tcp::no_delay(true));
      expect(socket.remote_endpoint().port() == (*listener)->local().port(), "remote_endpoint");
      char c = 0;
      expect(asio::write(a, asio::buffer("x", 1)) == 1 && asio::read(a, asio::buffer(&c, 1)) == 1 && c == 'x', "echo");
      s->close();
      expect(s->native_handle() >= 0, "the descriptor stays while the socket knows it");
      boost::system::error_code ec;
      (void)a.read_some(asio::buffer(&c, 1), ec);
      expect(ec == asio::error::bad_descriptor, "but the stream is closed");
    }
    expect(s->native_handle() == -1, "closed with the last who knew it");
    Pair p;
    AsioStream local(p.a);
    bool refused = false;
    try {
      (void)local.asio_socket();
    } catch (const boost::system::system_error& e) {
      refused = e.code() == asio::error::address_family_not_supported;
    }
    expect(refused, "not of a Unix socket");
    (*listener)->stop();
  });
  INFO(expect.broken());
  CHECK(expect.broken().empty());
}

namespace {
/// A chunked request of `size` bytes, in chunks of changing sizes; without its end when not `whole`. Ends early when
/// the reader has gone.
void send_chunked(TcpStream& s, std::size_t size, bool whole) {
  std::string head = "POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  if (!s.write_all(bytes(std::string_view(head)))) return;
  for (std::size_t sent = 0, i = 1; sent < size; ++i) {
    const std::size_t n = std::min(size - sent, i * 613 % 9000 + 1);
    char prefix[32];
    const int k = std::snprintf(prefix, sizeof prefix, "%zx\r\n", n);
    std::string chunk(prefix, static_cast<std::size_t>(k));
    chunk.append(n, static_cast<char>('a' + i % 26)).append("\r\n");
    if (!s.write_all(bytes(std::string_view(chunk)))) return;
    if (i % 4 == 0) runtime::yield();
    sent += n;
  }
  if (whole) (void)s.write_all(bytes(std::string_view("0\r\n\r\n")));
}
}  // namespace

TEST_CASE("Beast reads chunked bodies of 1 MiB on two Ps under stealing, and can be cancelled half-way",
          "[net][beast]") {
  static constexpr std::size_t kSize = 1 << 20;
  static constexpr int kStreams = 16;
  Expectations expect;
  std::atomic<int> whole{0};
  std::atomic<int> canceled{0};
  start(2)->run([&] {
    static constexpr int kBusy = 8;
    Latch done(2 * kStreams);
    Latch busy(kBusy);
    std::atomic<bool> stop{false};
    // Fibers that are always runnable: there is always something to steal.
    for (int i = 0; i < kBusy; ++i)
      (void)runtime::spawn("busy", [&] {
        while (!stop.load(std::memory_order_relaxed)) runtime::yield();
        busy.done();
      });
    std::vector<std::unique_ptr<Pair>> pairs;
    std::vector<std::unique_ptr<runtime::CancelSource>> cancels;
    for (int i = 0; i < kStreams; ++i) {
      pairs.push_back(std::make_unique<Pair>());
      cancels.push_back(std::make_unique<runtime::CancelSource>());
      Pair& p = *pairs.back();
      runtime::CancelSource& cancel = *cancels.back();
      const bool half = i % 2 == 1;
      (void)runtime::spawn("client", [&done, &p, half] {
        send_chunked(p.b, kSize, !half);
        done.done();
      });
      (void)runtime::spawn("server", [&, half] {
        AsioStream stream(p.a, &cancel);
        beast::flat_buffer buffer;
        http::request_parser<http::string_body> parser;
        parser.body_limit(kSize * 2);
        boost::system::error_code ec;
        http::read_header(stream, buffer, parser, ec);
        expect(!ec, "head");
        while (!ec && !parser.is_done()) {
          if (half && parser.get().body().size() >= kSize / 2) cancel.cancel();
          http::read_some(stream, buffer, parser, ec);
        }
        if (half) {
          // What is there is still read; the first wait ends it, and the end of the body never comes.
          if (ec == asio::error::operation_aborted) ++canceled;
          expect(ec == asio::error::operation_aborted, ec.message());
        } else {
          expect(!ec && parser.get().body().size() == kSize, "the whole body");
          ++whole;
          http::response<http::string_body> answer(http::status::ok, 11);
          answer.body() = "done";
          answer.prepare_payload();
          http::write(stream, answer, ec);
          expect(!ec, "answer");
        }
        p.a.close();
        done.done();
      });
    }
    expect(done.wait(), "all end");
    stop.store(true);
    if (!busy.wait() || !done.wait()) std::abort();  // they use what is on this stack
  });
  INFO(expect.broken());
  CHECK(expect.broken().empty());
  CHECK(whole == kStreams / 2);
  CHECK(canceled == kStreams / 2);
}

TEST_CASE("Beast's websocket::stream works on a stream, its close by our teardown included", "[net][asio]") {
  Expectations expect;
  start(2)->run([&] {
    Pair p;
    Latch done(1);
    (void)runtime::spawn("server", [&] {
      beast::websocket::stream<AsioStream> server(p.b);
      boost::system::error_code ec;
      server.accept(ec);
      expect(!ec, "accept");
      for (;;) {
        beast::flat_buffer message;
        server.read(message, ec);
        if (ec) break;
        server.text(server.got_text());
        server.write(message.data(), ec);
        if (ec) break;
      }
      expect(ec == beast::websocket::error::closed, "the client closed");
      done.done();
    });
    beast::websocket::stream<AsioStream> client(p.a);
    boost::system::error_code ec;
    client.handshake("a.example", "/", ec);
    expect(!ec, "handshake");
    const std::string text(100'000, 'w');
    client.write(asio::buffer(text), ec);
    expect(!ec, "write");
    beast::flat_buffer echoed;
    client.read(echoed, ec);
    expect(!ec && beast::buffers_to_string(echoed.data()) == text, "echo");
    client.close(beast::websocket::close_code::normal, ec);
    expect(!ec, "close");
    expect(done.wait(), "the server ends");
  });
  INFO(expect.broken());
  CHECK(expect.broken().empty());
}
