// An instance's sockets on their way to another process, or from one: daemon/upgrade.
#include <fcntl.h>

#include <cerrno>
#include <string>
#include <utility>

#include "core/base/log.hpp"
#include "daemon/instance.hpp"

namespace fiberd::daemon {

static Result<OwnedDescriptor> duplicate(int fd) {
  const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) return fail_errno(-errno);
  return OwnedDescriptor(copy);
}

static std::string name_of(net::Keeper keeper) {
  if (keeper == net::Keeper::service_manager) return "manager";
  return keeper == net::Keeper::store ? "store" : "nobody";
}

Result<std::vector<HandedSocket>> Instance::hand_over() const {
  std::vector<HandedSocket> all;
  const auto add = [&](HandedSocket handed, const std::vector<int>& descriptors) -> Result<void> {
    for (const int fd : descriptors) {
      Result<OwnedDescriptor> copy = duplicate(fd);
      if (!copy) return fail(copy.error());
      handed.descriptors.push_back(std::move(*copy));
    }
    all.push_back(std::move(handed));
    return {};
  };
  for (const auto& s : sockets_.all())
    if (const Result<void> added = add({s->listener, s->address, false, name_of(s->keeper)}, s->socket->descriptors());
        !added)
      return fail(added.error());
  for (const Entry& e : entries_)
    for (const Service::OtherSocket& other : e.service->other_sockets())
      if (const Result<void> added = add({e.service->name(), other.address, true, name_of(other.keeper)}, {other.fd});
          !added)
        return fail(added.error());
  return all;
}

void Instance::lend(bool lent) const noexcept {
  for (const auto& s : sockets_.all()) s->socket->keep(lent ? net::Keeper::other_process : s->keeper);
}

std::map<std::string, std::vector<int>> Instance::storable() const {
  std::map<std::string, std::vector<int>> all;
  for (const auto& s : sockets_.all()) {
    if (s->keeper == net::Keeper::service_manager) continue;
    const std::vector<int> descriptors = s->socket->descriptors();
    std::vector<int>& named = all[stored_name(s->listener, s->address)];
    named.insert(named.end(), descriptors.begin(), descriptors.end());
  }
  for (const Entry& e : entries_)
    for (const Service::OtherSocket& other : e.service->other_sockets())
      if (other.keeper != net::Keeper::service_manager)
        all[stored_name(e.service->name(), other.address)].push_back(other.fd);
  all.erase(std::string());  // a path that is too long for a name
  return all;
}

void Instance::note_stored(const std::string& name) const noexcept {
  for (const auto& s : sockets_.all()) {
    if (s->keeper != net::Keeper::nobody || stored_name(s->listener, s->address) != name) continue;
    s->keeper = net::Keeper::store;
    s->socket->keep(net::Keeper::store);
  }
  for (const Entry& e : entries_) e.service->note_stored(name);
}

void Instance::accept(bool accepting) const noexcept {
  for (const auto& s : sockets_.all()) accepting ? s->socket->resume() : s->socket->pause();
  if (accepting) return;
  for (const auto& s : sockets_.all()) s->socket->accept_waiting();
}

void Instance::take_datagrams(bool taking) const noexcept {
  for (const Entry& e : entries_) e.service->take_others(taking);
}

void Instance::apply_settings() const noexcept {
  for (const auto& s : sockets_.all()) {
    const std::error_code error = error_of(s->socket->apply());
    if (error)
      log(LogLevel::warning, "listener " + s->listener + ": not all of its socket at " + s->address +
                                 " could be changed as the configuration says: " + error.message());
  }
}

void Instance::accept_handed() const noexcept {
  apply_settings();
  for (const auto& s : sockets_.all())
    if (s->handed) s->socket->resume();
}

void Instance::own_handed() const noexcept {
  for (const auto& s : sockets_.all())
    if (std::exchange(s->handed, false)) s->socket->keep(s->keeper);
}

}  // namespace fiberd::daemon
