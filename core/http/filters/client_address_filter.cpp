#include "core/http/filters/client_address_filter.hpp"

#include <utility>

#include "core/http/exchange.hpp"
#include "core/http/filters/request_values.hpp"

namespace fiberd::http {
namespace {

class ClientAddressFilter final : public Filter {
 public:
  explicit ClientAddressFilter(ClientAddressOptions options) : options_(std::move(options)) {}
  Result<void> serve(Exchange& ex, Next next) override {
    const net::Endpoint peer = ex.peer();
    if (!options_.trusted.contains(peer)) return next(ex);
    const HeaderView& headers = ex.request().headers;
    ex.slot<ViaProxy>() = {true, client_scheme(peer, headers, options_.trusted, options_.field)};
    ex.set_peer(client_address(peer, headers, options_.trusted, options_.field));
    metric::count(options_.told);
    return next(ex);
  }

 private:
  const ClientAddressOptions options_;
};

}  // namespace

std::shared_ptr<Filter> make_client_address_filter(ClientAddressOptions options) {
  return std::make_shared<ClientAddressFilter>(std::move(options));
}

}  // namespace fiberd::http
