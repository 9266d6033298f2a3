#include "core/net/admitted.hpp"

#include "core/net/system_calls.hpp"

namespace fiberd::net {

void Admitted::close_socket() noexcept { sys::close(take_socket()); }

}  // namespace fiberd::net
