#pragma once
// Room: what is open in the whole process at present, whichever configuration it belongs to, for those who count it
// and for those who make room: listeners before they refuse somebody, and the memory's watch.
#include <cstddef>
#include <memory>
#include <vector>

#include "core/http/files/open_files.hpp"
#include "core/http/server.hpp"
#include "core/net/listener.hpp"
#include "core/sync/atomic_snapshot.hpp"
#include "daemon/services/http_server.hpp"

namespace fiberd::daemon {

/// Thread-safe; never parks.
class Room {
 public:
  struct Present {
    std::vector<std::shared_ptr<const net::ConnectionCounts>> counts{};  ///< of listeners, but for the admin's
    std::vector<std::shared_ptr<HttpServer>> servers{};  ///< the admin's is not among them: it is looked at in need
    std::vector<std::shared_ptr<Queues>> queues{};       ///< of all but the admin's
    std::shared_ptr<http::OpenFiles> files{};
  };
  /// Throws std::bad_alloc.
  void use(Present present) {
    auto next = std::make_shared<const Present>(std::move(present));
    files_.store(next->files);
    present_.store(std::move(next));
  }

  [[nodiscard]] std::size_t connections() const noexcept;
  [[nodiscard]] std::shared_ptr<http::OpenFiles> files() const noexcept { return *files_.read(); }
  /// Closes files that nobody is sending, and then idle connections. Returns how many.
  std::size_t make_descriptors(std::size_t wanted) noexcept;
  /// Closes an eighth of the HTTP connections, those that have been idle longest.
  void part_with_some() noexcept;
  /// Cuts connections that are being served, those for which the kernel holds the most, until it was about `bytes`.
  /// Returns how many.
  std::size_t cut_fullest(std::uint64_t bytes) noexcept;

 private:
  // By itself: threads ask for it that are no fibers, and who drops the last of a Present ends servers, which is for
  // fibers.
  sync::AtomicSnapshot<std::shared_ptr<http::OpenFiles>> files_{std::shared_ptr<http::OpenFiles>()};
  sync::AtomicSnapshot<std::shared_ptr<const Present>> present_{std::make_shared<const Present>()};
};

/// One listener's: net::MakeRoom for it.
struct RoomOfListener {
  Room* room = nullptr;
  HttpServer* own = nullptr;  ///< null: no connection of it can be closed for another
  [[nodiscard]] net::MakeRoom make_room() noexcept { return {&close_some, this}; }

 private:
  static std::size_t close_some(void* argument, net::Shortage shortage, std::size_t wanted) noexcept;
};

}  // namespace fiberd::daemon
