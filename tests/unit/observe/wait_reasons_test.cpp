// A fiber stuck on each wait reason there is, as the dump shows it. The table of reasons is walked: a new one without a
// case here fails.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/steady_timer.hpp>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <vector>

#include "core/flow/worker_pool.hpp"
#include "core/net/listener.hpp"
#include "core/net/resolver.hpp"
#include "core/net/tcp_stream.hpp"
#include "core/observe/fiber_dump.hpp"
#include "core/runtime/blocking.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/service_thread.hpp"
#include "core/runtime/use_fiber.hpp"
#include "core/sync/channel.hpp"
#include "core/sync/condition.hpp"
#include "core/sync/mutex.hpp"
#include "core/sync/once.hpp"
#include "core/sync/select.hpp"
#include "core/sync/semaphore.hpp"
#include "core/sync/shared_mutex.hpp"
#include "core/sync/task.hpp"
#include "core/sync/wait_group.hpp"
#include "tests/support/in_a_child.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using runtime::WaitReason;

namespace {

namespace asio = boost::asio;

runtime::Runtime* runtime_now = nullptr;

/// Listens and never accepts; its backlog is full after one.
std::uint16_t deaf_port() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (fd < 0 || bind(fd, reinterpret_cast<const sockaddr*>(&address), size) != 0 || listen(fd, 0) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    std::abort();
  return ntohs(address.sin_port);
}

/// Takes questions and never answers.
std::uint16_t silent_server() {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (fd < 0 || bind(fd, reinterpret_cast<const sockaddr*>(&address), size) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    std::abort();
  return ntohs(address.sin_port);
}

net::Endpoint loopback(std::uint16_t port) {
  auto endpoint = net::Endpoint::parse("127.0.0.1:" + std::to_string(port));
  if (!endpoint) std::abort();
  return *endpoint;
}

/// Parks as a primitive would that nothing in the house is, for reasons that only others use.
template <WaitReason kReason>
void park_for() {
  static int thing;
  runtime::park(runtime::prepare_park(kReason, &thing));
}

struct StuckFor {
  void (*wait)();     ///< on a fiber named as the reason; never returns
  const char* shown;  ///< a part of what the dump says it waits for, or of its stack
};

// What they wait for must live as long as they do: for ever.
template <class T>
T& forever() {
  static T* const one = new T;
  return *one;
}

const std::map<WaitReason, StuckFor>& stuck_cases() {
  static const std::map<WaitReason, StuckFor> all{
      {WaitReason::sleep, {[] { (void)runtime::sleep_for(1h); }, ", ends by itself in 59 min"}},
      {WaitReason::io_read,
       {[] {
          auto stream = net::TcpStream::connect(loopback(deaf_port()));
          std::byte byte;
          if (stream) (void)stream->read_some({&byte, 1});
        },
        ", peer 127.0.0.1:"}},
      {WaitReason::io_write,
       {[] {
          auto stream = net::TcpStream::connect(loopback(deaf_port()));
          std::vector<std::byte> much(1U << 20U);
          while (stream && stream->write_some(much)) {
          }
        },
        ", peer 127.0.0.1:"}},
      {WaitReason::accept,
       {[] {
          auto listener = net::Listener::bind(*runtime_now, loopback(0), {});
          if (listener) (void)(*listener)->accept();
        },
        ", bound to 127.0.0.1:"}},
      {WaitReason::connect,
       {[] {
          const std::uint16_t port = deaf_port();
          std::vector<net::TcpStream> fill;
          for (;;) {
            auto stream = net::TcpStream::connect(loopback(port));
            if (!stream) return;
            fill.push_back(std::move(*stream));
          }
        },
        ", bound to 127.0.0.1:"}},
      {WaitReason::resolve,
       {[] {
          const net::Resolver resolver({.servers = {loopback(silent_server())}, .timeout = 1min, .tries = 10});
          (void)resolver.resolve("nobody.example", 80);
        },
        "waits for 0x"}},
      {WaitReason::blocking,
       {[] {
          runtime::blocking([] {
            for (;;) (void)::pause();
          });
        },
        "fiberd::runtime::park_until"}},
      {WaitReason::service,
       {[] {
          asio::steady_timer timer(runtime::current_service_thread().io_context());
          timer.expires_after(1h);
          (void)timer.async_wait(runtime::use_fiber);
        },
        "UseFiber"}},
      {WaitReason::mutex,
       {[] {
          auto& mutex = forever<sync::Mutex>();
          mutex.lock();
          mutex.lock();
        },
        ", held by fiber "}},
      {WaitReason::shared_mutex,
       {[] {
          auto& mutex = forever<sync::SharedMutex>();
          mutex.lock_shared();
          mutex.lock();
        },
        ", held by 1 reader\n"}},
      {WaitReason::once,
       {[] {
          auto& once = forever<sync::Once>();
          once.call([&once] { once.call([] {}); });
        },
        "a function that is called once and has not returned"}},
      {WaitReason::condition,
       {[] {
          sync::Mutex mutex;
          sync::Condition condition;
          std::unique_lock lock(mutex);
          condition.wait(lock);
        },
        "a condition that nobody has notified"}},
      {WaitReason::semaphore,
       {[] {
          sync::Semaphore none(1);
          (void)none.acquire();
          (void)none.acquire();
        },
        "waits for 0x"}},
      {WaitReason::wait_group,
       {[] {
          sync::WaitGroup group;
          group.add(2);
          group.wait();
        },
        ", 2 parts of the work are not done"}},
      {WaitReason::channel_send,
       {[] {
          sync::Channel<int> channel(1);
          (void)channel.send(1);
          (void)channel.send(2);
        },
        ", a channel with 1 of 1 values in it"}},
      {WaitReason::channel_receive,
       {[] {
          sync::Channel<int> channel;
          (void)channel.receive();
        },
        ", a channel without a buffer"}},
      {WaitReason::select,
       {[] {
          sync::Channel<int> channel;
          sync::select(sync::on_receive(channel, [](Result<int>) {}), sync::on_send(channel, 1));
        },
        ", 2 cases: to receive from 0x"}},
      {WaitReason::join,
       {[] {
          auto task = sync::spawn_task("never", [] { (void)runtime::sleep_for(1h); });
          if (task) (void)task->join();
        },
        "a fiber's function that has not returned"}},
      {WaitReason::pool,
       {[] {
          auto* const pool = new flow::WorkerPool(flow::WorkerPoolOptions{.most = 1});
          (void)pool->run([] { (void)runtime::sleep_for(1h); });
        },
        "waits for 0x"}},
      {WaitReason::file, {&park_for<WaitReason::file>, "waits for 0x"}},
      {WaitReason::test, {&park_for<WaitReason::test>, "waits for 0x"}},
  };
  return all;
}

/// Of the whole dump, what is told of the fiber with that name.
std::string of_fiber(const std::string& dump, const std::string& name) {
  const std::size_t at = dump.find("\"stuck in " + name + "\" [");
  return at == std::string::npos ? std::string() : dump.substr(at, dump.find("\n\n", at) - at + 1);
}

}  // namespace

TEST_CASE("a fiber stuck on each wait reason there is is shown with it, its age, its place and what it waits for",
          "[fiber_dump]") {
  std::vector<WaitReason> reasons;
  for (std::size_t i = 1; i < static_cast<std::size_t>(WaitReason::count_); ++i) {
    const auto reason = static_cast<WaitReason>(i);
    INFO(runtime::to_string(reason) << " has no case");
    REQUIRE(stuck_cases().contains(reason));
    reasons.push_back(reason);
  }
  const int place = __LINE__ + 5;
  const std::string dump = test::in_a_child([&reasons](runtime::Runtime& rt) {
    runtime_now = &rt;
    for (const WaitReason reason : reasons) {
      const auto name = runtime::FiberName::intern("stuck in " + std::string(runtime::to_string(reason)));
      if (!rt.spawn(name, stuck_cases().at(reason).wait)) return std::string("no fiber");
    }
    std::string all;
    // Until each is where it shall be, a quarter of a second ago.
    for (int i = 0; i < 1'000; ++i) {
      all.clear();
      rt.run([&all] {
        (void)runtime::sleep_for(10ms);
        (void)observe::dump_fibers({.name = "stuck in ", .min_age = 250ms},
                                   [&all](std::string_view piece) -> Result<void> {
                                     all += piece;
                                     return {};
                                   });
      });
      bool stuck = true;
      for (const WaitReason reason : reasons) {
        const std::string name(runtime::to_string(reason));
        stuck = stuck && all.find("\"stuck in " + name + "\" [" + name + ", ") != std::string::npos;
      }
      if (stuck) break;
    }
    return all;
  });
  for (const WaitReason reason : reasons) {
    const std::string name(runtime::to_string(reason));
    const std::string told = of_fiber(dump, name);
    INFO(name << ":\n" << told);
    CHECK(told.starts_with("\"stuck in " + name + "\" [" + name + ", "));
    CHECK(told.find(stuck_cases().at(reason).shown) != std::string::npos);
    CHECK(told.find("  spawned at tests/unit/observe/wait_reasons_test.cpp:" + std::to_string(place)) !=
          std::string::npos);
    // Not as old as the machine, nor just born.
    const std::size_t age = told.find(", ") + 2;
    const double number = std::strtod(told.c_str() + age, nullptr);
    const std::string unit = told.substr(told.find(' ', age) + 1, 2);
    CHECK((unit == "ms" || unit == "s," || unit == "s]"));
    CHECK(number > (unit == "ms" ? 249 : 0));
    CHECK(number < (unit == "ms" ? 1'000 : 60));
  }
}
