// The Boost peer: a fiber per connection (Boost.Fiber) over Asio, one thread. The scheduling algorithm runs the
// io_context when no fiber is ready.
//   boost_fiber_asio HTTP_PORT TCP_PORT FILE
#include <sys/resource.h>

#include <boost/asio.hpp>
#include <boost/fiber/algo/algorithm.hpp>
#include <boost/fiber/all.hpp>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>

namespace asio = boost::asio;
namespace fibers = boost::fibers;
using asio::ip::tcp;

class AsioScheduler final : public fibers::algo::algorithm {
 public:
  explicit AsioScheduler(asio::io_context& io) : io_(io) {}
  void awakened(fibers::context* c) noexcept override {
    c->ready_link(ready_);
    ++count_;
  }
  fibers::context* pick_next() noexcept override {
    if (ready_.empty()) return nullptr;
    fibers::context* c = &ready_.front();
    ready_.pop_front();
    --count_;
    return c;
  }
  bool has_ready_fibers() const noexcept override { return !ready_.empty(); }
  void suspend_until(std::chrono::steady_clock::time_point const&) noexcept override {
    io_.run_one();
    io_.poll();
  }
  void notify() noexcept override {}

 private:
  asio::io_context& io_;
  fibers::scheduler::ready_queue_type ready_;
  std::size_t count_ = 0;
};

/// Suspends the fiber until the operation's handler ran.
template <class Start>
static std::size_t await(Start start, boost::system::error_code& error) {
  fibers::context* const self = fibers::context::active();
  std::size_t size = 0;
  bool done = false;
  bool waiting = false;
  start([&](boost::system::error_code e, std::size_t n = 0) {
    error = e;
    size = n;
    done = true;
    if (waiting) fibers::context::active()->schedule(self);
  });
  if (!done) {
    waiting = true;
    self->suspend();
  }
  return size;
}

static std::string file_data;

static void serve_http(std::shared_ptr<tcp::socket> s) {
  boost::system::error_code e;
  char in[16384];
  std::string pending;
  for (;;) {
    const std::size_t n = await([&](auto h) { s->async_read_some(asio::buffer(in), h); }, e);
    if (e) return;
    pending.append(in, n);
    std::string out;
    bool close = false;
    std::size_t end = 0;
    std::size_t begin = 0;
    const std::string_view data(pending);
    while ((end = data.find("\r\n\r\n", begin)) != std::string_view::npos) {
      const std::string_view head = data.substr(begin, end + 2 - begin);
      close = head.find("\r\nConnection: close\r\n") != std::string_view::npos;
      if (head.starts_with("GET /files/")) {
        out += "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: " +
               std::to_string(file_data.size()) + "\r\n\r\n";
        out += file_data;
      } else {
        out +=
            "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Type: text/plain\r\nContent-Length: "
            "13\r\n";
        out += close ? "Connection: close\r\n\r\nHello, World!" : "\r\nHello, World!";
      }
      begin = end + 4;
    }
    pending.erase(0, begin);
    if (out.empty()) continue;
    await([&](auto h) { asio::async_write(*s, asio::buffer(out), h); }, e);
    if (e || close) return;
  }
}

static void serve_echo(std::shared_ptr<tcp::socket> s) {
  boost::system::error_code e;
  char in[4096];
  for (;;) {
    const std::size_t n = await([&](auto h) { s->async_read_some(asio::buffer(in), h); }, e);
    if (e) return;
    await([&](auto h) { asio::async_write(*s, asio::buffer(in, n), h); }, e);
    if (e) return;
  }
}

static void accept_loop(asio::io_context& io, unsigned short port, void (*serve)(std::shared_ptr<tcp::socket>)) {
  tcp::acceptor acceptor(io, tcp::endpoint(asio::ip::address_v4::loopback(), port));
  acceptor.listen(4096);
  acceptor.set_option(tcp::no_delay(true));
  for (;;) {
    auto s = std::make_shared<tcp::socket>(io);
    boost::system::error_code e;
    await([&](auto h) { acceptor.async_accept(*s, h); }, e);
    if (!e)
      fibers::fiber(fibers::launch::post, std::allocator_arg, fibers::fixedsize_stack(64 * 1024), serve, s).detach();
  }
}

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  std::ifstream f(argv[3], std::ios::binary);
  file_data.assign(std::istreambuf_iterator<char>(f), {});
  asio::io_context io(1);
  const auto work = asio::make_work_guard(io);
  fibers::use_scheduling_algorithm<AsioScheduler>(io);
  const auto http_port = static_cast<unsigned short>(std::atoi(argv[1]));
  const auto tcp_port = static_cast<unsigned short>(std::atoi(argv[2]));
  fibers::fiber([&] { accept_loop(io, tcp_port, serve_echo); }).detach();
  fibers::fiber([&] { accept_loop(io, http_port, serve_http); }).join();
}
