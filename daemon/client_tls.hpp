#pragma once
// From the files of a configuration to what a client's TLS is set up with.
#include <memory>
#include <string>

#include "config/client_tls.hpp"
#include "core/base/result.hpp"
#include "core/tls/client_context.hpp"

namespace fiberd::daemon {

/// Null where nothing is written: what the client has by itself is right then. Blocks the thread. Error: what reading
/// said, or invalid_argument; then `why` says it, and `at` is whose it is. Throws std::bad_alloc.
[[nodiscard]] Result<std::shared_ptr<const tls::ClientContext>> make_client_tls(const config::ClientTlsConfig& config,
                                                                                std::string& why, config::Place& at);

}  // namespace fiberd::daemon
