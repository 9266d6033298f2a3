#include "daemon/upgrade/predecessor.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <string_view>
#include <utility>

#include "core/base/clock.hpp"
#include "core/base/log.hpp"
#include "core/base/printable.hpp"
#include "daemon/helper_thread.hpp"
#include "daemon/upgrade/program.hpp"

namespace fiberd::daemon::upgrade {

namespace {

constexpr std::int64_t kHealthEach = 1'000'000'000;  // ns
constexpr std::int64_t kPatience = 10'000'000'000;   // ns, for all of the sockets

/// The descriptor that the variable names, if it is the end of a channel.
OwnedDescriptor take_end(std::string& why) {
  const char* const value = std::getenv(kChannelVariable);
  const std::string_view text = value != nullptr ? value : "";
  int fd = -1;
  const bool number = std::from_chars(text.data(), text.data() + text.size(), fd).ptr == text.data() + text.size();
  int type = 0;
  socklen_t size = sizeof type;
  const bool good = number && fd > 2 && ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 &&
                    type == SOCK_SEQPACKET && ::fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
  if (!good)
    why.append(kChannelVariable)
        .append("=")
        .append(quoted(text, 32))
        .append(
            ": no channel to a process that is to be followed; the variable is set by an upgrade and by nobody else");
  (void)::unsetenv(kChannelVariable);
  return OwnedDescriptor(good ? fd : -1);
}

std::string_view next_word(std::string_view& text) {
  const std::string_view word = text.substr(0, text.find(' '));
  text.remove_prefix(std::min(text.size(), word.size() + 1));
  return word;
}

bool add_socket(Message& message, InheritedSockets& sockets) {
  std::string_view rest = message.rest();
  const std::string_view kind = next_word(rest);
  const std::string_view kept = next_word(rest);
  InheritedSocket s;
  s.name = next_word(rest);
  s.address = rest;
  s.kept = true;
  s.handed = true;
  s.keeper = kept == "manager" ? net::Keeper::service_manager
             : kept == "store" ? net::Keeper::store
                               : net::Keeper::nobody;
  s.described = "the socket of " + s.name + " at " + s.address;
  s.descriptors = std::move(message.descriptors);
  if (s.name.empty() || s.address.empty() || s.descriptors.empty() || (kind != "tcp" && kind != "udp")) return false;
  sockets.add(std::move(s));
  return true;
}

}  // namespace

std::shared_ptr<Predecessor> Predecessor::find(InheritedSockets& sockets, bool& ok, std::string& why) {
  ok = true;
  if (std::getenv(kChannelVariable) == nullptr) return nullptr;
  ok = false;
  OwnedDescriptor end = take_end(why);
  if (end.get() < 0) return nullptr;
  std::shared_ptr<Predecessor> p(new Predecessor(Channel(std::move(end))));
  for (const std::int64_t until = monotonic_now() + kPatience;;) {
    Result<Message> message = p->channel_.receive(until);
    if (!message) {
      why = "the process that is to be followed hands nothing over: " + message.error().message();
      return p;
    }
    if (message->word() == "end") break;
    if (message->word() == "hello") {
      std::string_view rest = message->rest();
      (void)next_word(rest);  // the version: words that are not known are passed over
      remember_program(std::string(rest));
    } else if (message->word() == "socket" && !add_socket(*message, sockets)) {
      why = "the process that is to be followed hands over what cannot be understood: " + quoted(message->text, 200);
      return p;
    }
  }
  ok = true;
  return p;
}

void Predecessor::failed(const std::string& why) noexcept {
  if (std::exchange(told_, true)) return;
  try {
    (void)channel_.send("failed " + why);
  } catch (const std::bad_alloc&) {
    (void)channel_.send("failed");
  }
}

std::error_code Predecessor::ready(Hooks hooks) {
  told_ = true;
  hooks_ = std::move(hooks);
  // Where it is gone by now that is seen by who listens: it serves alone then.
  (void)channel_.send("ready");
  const std::error_code error =
      start_helper<Thread, &Thread::run>(thread_, "hand-over", std::make_shared<Thread>(*this));
  started_ = !error;
  return error;
}

pid_t Predecessor::pid() const noexcept {
  ucred who{};
  socklen_t size = sizeof who;
  return ::getsockopt(channel_.descriptor(), SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 ? who.pid : 0;
}

void Predecessor::stop() noexcept {
  stopping_.store(true);
  if (std::exchange(started_, false)) pthread_join(thread_, nullptr);
  channel_.close();
}

void Predecessor::say_health() noexcept {
  const std::int64_t now = monotonic_now();
  if (!serving_ || now < next_health_) return;
  next_health_ = now + kHealthEach;
  try {
    (void)channel_.send("health " + hooks_.health());
  } catch (const std::exception&) {  // no memory: nothing is said, which says enough
  }
}

/// False: it was the last word.
bool Predecessor::act_on(std::string_view word) {
  if (word == "serve") {
    hooks_.serve();
    serving_ = true;
    next_health_ = monotonic_now() + kHealthEach;
    return channel_.send("serving").has_value();
  }
  if (word == "done") {
    hooks_.done(false);
    alone_ = true;
  }
  if (word == "reload") hooks_.reload();
  if (word == "stop") hooks_.stop();
  if (word == "cut") hooks_.cut();
  if (word == "back") hooks_.back();
  return word != "back";
}

/// False: there is nothing left to listen for.
bool Predecessor::act_on_end() {
  if (alone_) return false;
  // Whoever served before is not there any more: if anybody does now, it is us.
  if (!serving_) hooks_.serve();
  serving_ = true;
  hooks_.done(true);
  return false;
}

void Predecessor::listen() noexcept {
  static constexpr std::int64_t kLook = 50'000'000;
  while (!stopping_.load()) {
    try {
      const Result<Message> message = channel_.receive(monotonic_now() + kLook);
      if (message && !act_on(message->word())) return;
      // A message that is longer than any of ours is passed over, as words are that are not known.
      const bool over =
          !message && message.error() != std::errc::timed_out && message.error() != std::errc::message_size;
      if (over && !act_on_end()) return;
      if (!alone_) say_health();
    } catch (const std::exception& e) {
      log(LogLevel::error, std::string_view("hand-over: no memory, or what is like it; it is tried again"));
      log(LogLevel::error, std::string_view(e.what()));
      const timespec moment{0, 50'000'000};
      (void)::nanosleep(&moment, nullptr);
    }
  }
}

}  // namespace fiberd::daemon::upgrade
