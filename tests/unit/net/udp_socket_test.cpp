#include "core/net/udp_socket.hpp"

#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <vector>

#include "core/context/waits.hpp"
#include "tests/unit/net/support.hpp"

using namespace fiberd;
using namespace net_test;
using namespace std::chrono_literals;
using net::DatagramBatch;
using net::Endpoint;
using net::UdpSocket;

namespace {

std::string text_of(std::span<const std::byte> data) {
  return {reinterpret_cast<const char*>(data.data()), data.size()};
}

/// Runs `test` on a fiber with a bound socket, at 1 and 2 Processors.
template <class F>
void with_socket(const std::string& address, F test) {
  for (const unsigned processors : {1U, 2U}) {
    Expectations expect;
    auto rt = start(processors);
    rt->run([&] {
      Result<UdpSocket> socket = UdpSocket::bind(*Endpoint::parse(address));
      if (expect(socket.has_value(), "bind")) test(*socket, expect);
    });
    CHECK(expect.broken().empty());
  }
}

}  // namespace

TEST_CASE("UDP: there and back, IPv4 and IPv6", "[net][udp]") {
  for (const char* const address : {"127.0.0.1:0", "[::1]:0"}) {
    with_socket(address, [](UdpSocket& server, Expectations& expect) {
      expect(server.local().port() != 0, "a port");
      Latch latch(1);
      const Result<void> spawned = runtime::spawn("server", [&] {
        std::array<std::byte, 100> room{};
        for (int i = 0; i < 3; ++i) {
          const auto got = server.receive_from(room, Deadline::in(10s));
          if (!expect(got.has_value(), "receive")) break;
          expect(!got->truncated, "whole");
          expect(server.send_to(std::span(room).first(got->size), got->peer).has_value(), "answer");
        }
        latch.done();
      });
      expect(spawned.has_value(), "spawn");
      Result<UdpSocket> client = UdpSocket::connect(server.local());
      if (!expect(client.has_value(), "connect")) return;
      for (const std::string_view text : {"one", "", "three"}) {  // an empty datagram is one, too
        expect(client->send(bytes(text)).has_value(), "send");
        std::array<std::byte, 100> room{};
        const auto got = client->receive_from(room, Deadline::in(10s));
        if (!expect(got.has_value(), "answer")) break;
        expect(text_of(std::span(room).first(got->size)) == text, "the same text");
        expect(got->peer.port() == server.local().port(), "from the server");
      }
      expect(latch.wait(), "the server ends");
    });
  }
}

TEST_CASE("UDP: batches keep every datagram apart, and long ones are told", "[net][udp]") {
  with_socket("127.0.0.1:0", [](UdpSocket& server, Expectations& expect) {
    Result<UdpSocket> client = UdpSocket::connect(server.local());
    if (!expect(client.has_value(), "connect")) return;
    static constexpr std::size_t kCount = 50;
    for (std::size_t i = 0; i < kCount; ++i)
      expect(client->send(bytes(std::to_string(i) + std::string(i % 20, '.'))).has_value(), "send");
    DatagramBatch batch(16, 12);
    std::size_t seen = 0;
    while (seen < kCount) {
      const auto n = server.receive_batch(batch, Deadline::in(10s));
      if (!expect(n.has_value() && *n == batch.size() && *n > 0, "a batch")) return;
      for (std::size_t i = 0; i < batch.size(); ++i, ++seen) {
        const std::string sent = std::to_string(seen) + std::string(seen % 20, '.');
        expect(text_of(batch[i]) == sent.substr(0, 12), "in order");
        expect(batch.truncated(i) == (sent.size() > 12), "truncated");
        expect(batch.peer(i).port() == client->local().port(), "peer");
      }
    }
    expect(seen == kCount, "all");
    expect(!server.try_receive_batch(batch), "no more");
    expect(batch.size() == 0, "none");
    expect(server.kernel_drops() == 0, "none lost");
    // What was drained tells of the next.
    expect(client->send(bytes("x")).has_value(), "send");
    const auto n = server.receive_batch(batch, Deadline::in(10s));
    expect(n && *n == 1 && text_of(batch[0]) == "x", "the next");
  });
}

TEST_CASE("UDP: what the kernel drops is counted", "[net][udp]") {
  Expectations expect;
  auto rt = start(1);
  rt->run([&] {
    Result<UdpSocket> server = UdpSocket::bind(*Endpoint::parse("127.0.0.1:0"), {.receive_buffer = 4096});
    if (!expect(server.has_value(), "bind")) return;
    Result<UdpSocket> client = UdpSocket::connect(server->local());
    if (!expect(client.has_value(), "connect")) return;
    static constexpr std::uint64_t kSent = 500;
    const std::string datagram(1000, 'x');
    for (std::uint64_t i = 0; i < kSent; ++i) expect(client->send(bytes(datagram)).has_value(), "send");
    DatagramBatch batch(32, 1500);
    std::uint64_t got = 0;
    while (const auto n = server->try_receive_batch(batch)) got += *n;
    // The count comes with the datagram behind the loss.
    expect(client->send(bytes("last")).has_value(), "send");
    const auto n = server->receive_batch(batch, Deadline::in(10s));
    expect(n && *n == 1, "the last");
    expect(got < kSent, "some were lost");
    expect(got + server->kernel_drops() == kSent, "all others are counted");
  });
  CHECK(expect.broken().empty());
}

TEST_CASE("UDP: waits end by deadline, cancellation, context and shutdown", "[net][udp]") {
  with_socket("127.0.0.1:0", [](UdpSocket& server, Expectations& expect) {
    std::array<std::byte, 10> room{};
    DatagramBatch batch(2, 10);
    expect(server.receive_from(room, Deadline::in(5ms)).error() == std::errc::timed_out, "deadline");
    expect(server.receive_batch(batch, Deadline::in(5ms)).error() == std::errc::timed_out, "deadline of a batch");
    runtime::CancelSource cancellation;
    const Result<void> canceler = runtime::spawn("cancel", [&] { (void)cancellation.cancel(); });
    expect(canceler.has_value(), "spawn");
    expect(server.receive_from(room, Deadline::never(), &cancellation).error() == std::errc::operation_canceled,
           "cancelled");
    expect(server.receive_batch(batch, Deadline::never(), &cancellation).error() == std::errc::operation_canceled,
           "cancelled before");

    const context::Cancelable timed = context::with_timeout(context::background(), 5ms);
    expect(server.receive_from(timed.context, room).error() == context::errc::deadline_exceeded, "context's deadline");
    expect(server.receive_batch(timed.context, batch).error() == context::errc::deadline_exceeded, "done before");
    expect(server.send_to(timed.context, bytes("x"), server.local()).error() == context::errc::deadline_exceeded,
           "no send under a context that is done");
    const context::Cancelable child = context::with_cancel(context::background());
    const Result<void> other = runtime::spawn("cancel", [&] { child.cancel(); });
    expect(other.has_value(), "spawn");
    expect(server.receive_batch(child.context, batch).error() == context::errc::canceled, "context cancelled");
    expect(server.send_to(context::background(), bytes("x"), server.local()).has_value(), "send");
    expect(server.receive_from(context::background(), room)->size == 1, "only what was sent");

    const Result<void> shutter = runtime::spawn("shutdown", [&] { server.shutdown(); });
    expect(shutter.has_value(), "spawn");
    expect(server.receive_from(room).error() == std::errc::operation_canceled, "shut down");
    expect(server.receive_batch(batch).error() == std::errc::operation_canceled, "stays so");
  });
}

TEST_CASE("UDP: errors", "[net][udp]") {
  with_socket("127.0.0.1:0", [](UdpSocket& server, Expectations& expect) {
    expect(UdpSocket::bind(server.local()).error() == std::errc::address_in_use, "bound twice");
    expect(UdpSocket::bind(*Endpoint::parse("unix:/tmp/x")).error() == std::errc::invalid_argument, "Unix");
    const std::vector<std::byte> huge(70'000);
    expect(server.send_to(huge, server.local()).error() == std::errc::message_size, "too large");
    const Endpoint free = server.local();
    server.close();
    std::array<std::byte, 10> room{};
    expect(server.receive_from(room).error() == std::errc::bad_file_descriptor, "closed");
    expect(server.send_to(room, free).error() == std::errc::bad_file_descriptor, "closed");
    Result<UdpSocket> client = UdpSocket::connect(free);
    if (!expect(client.has_value(), "connect")) return;
    expect(client->send(bytes("nobody")).has_value(), "the first is taken");
    // ICMP answers on loopback before the call returns.
    expect(client->send(bytes("there")).error() == std::errc::connection_refused, "refused");
    UdpSocket moved = std::move(*client);
    expect(moved.is_open() && !client->is_open(), "moved");  // NOLINT: on purpose
  });
}
