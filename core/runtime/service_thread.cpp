#include "core/runtime/service_thread.hpp"

#include <pthread.h>
#include <signal.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/system/system_error.hpp>
#include <exception>
#include <map>
#include <mutex>
#include <new>
#include <string>
#include <utility>

#include "core/base/log.hpp"
#include "core/base/quiet_thread.hpp"

namespace fiberd::runtime {

namespace asio = boost::asio;

struct ServiceThread::Impl {
  struct Signal {
    explicit Signal(asio::io_context& context) : set(context) {}
    asio::signal_set set;  // touched by the service thread only, once it is armed
    std::function<void(int)> callback;
  };

  static void* thread_main(void* impl);
  void arm(Signal& signal);

  asio::io_context context{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{context.get_executor()};
  std::mutex mutex;  // guards what follows, and each Signal's callback
  std::map<int, Signal> signals;
  bool started = false;
  pthread_t thread{};
};

ServiceThread::ServiceThread() : impl_(std::make_unique<Impl>()) {}

ServiceThread::~ServiceThread() {
  impl_->work.reset();
  impl_->context.stop();
  if (impl_->started) pthread_join(impl_->thread, nullptr);
}

asio::io_context& ServiceThread::io_context() noexcept { return impl_->context; }

void* ServiceThread::Impl::thread_main(void* impl) {
  pthread_setname_np(pthread_self(), "fiberd-service");
  asio::io_context& context = static_cast<Impl*>(impl)->context;
  while (!context.stopped()) {
    try {
      context.run();
    } catch (const std::exception& e) {
      log(LogLevel::error, std::string("a handler on the service thread threw: ") + e.what());
    } catch (...) {
      log(LogLevel::error, "a handler on the service thread threw an exception of unknown type");
    }
  }
  return nullptr;
}

Result<void> ServiceThread::start() noexcept {
  const std::lock_guard held(impl_->mutex);
  if (impl_->started) return {};
  const int error = create_quiet_thread(impl_->thread, &Impl::thread_main, impl_.get());
  if (error != 0) return fail_errno(-error);
  impl_->started = true;
  return {};
}

void ServiceThread::Impl::arm(Signal& signal) {
  signal.set.async_wait([this, &signal](const boost::system::error_code& error, int signo) {
    if (error) return;  // the set is being destroyed
    std::function<void(int)> callback;
    {
      const std::lock_guard held(mutex);
      callback = signal.callback;
    }
    arm(signal);  // first: a callback that throws must not end the listening
    if (callback) callback(signo);
  });
}

Result<void> ServiceThread::on_signal(int signo, std::function<void(int)> callback) {
  if (const Result<void> started = start(); !started) return started;
  const std::lock_guard held(impl_->mutex);
  if (const auto known = impl_->signals.find(signo); known != impl_->signals.end()) {
    known->second.callback = std::move(callback);
    return {};
  }
  // Asio throws where it opens what it needs at its first use: an epoll, an eventfd, a timerfd, two pipes' ends.
  const auto added = [&]() -> std::pair<std::map<int, Impl::Signal>::iterator, std::error_code> {
    try {
      return {impl_->signals.try_emplace(signo, impl_->context).first, {}};
    } catch (const boost::system::system_error& e) {
      return {impl_->signals.end(), e.code()};
    } catch (const std::bad_alloc&) {
      return {impl_->signals.end(), std::make_error_code(std::errc::not_enough_memory)};
    }
  }();
  if (added.second) return fail(added.second);
  Impl::Signal& signal = added.first->second;
  boost::system::error_code error;
  signal.set.add(signo, error);
  if (error) {
    impl_->signals.erase(added.first);
    return fail(std::error_code(error));
  }
  signal.callback = std::move(callback);
  impl_->arm(signal);
  // Somebody must have it unblocked: main may be blocking it.
  asio::post(impl_->context, [signo] {
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, signo);
    pthread_sigmask(SIG_UNBLOCK, &one, nullptr);
  });
  return {};
}

}  // namespace fiberd::runtime
