#include "daemon/let_go.hpp"

#include <exception>

#include "core/runtime/blocking.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::daemon {

void let_go(Belongings belongings) noexcept {
  if (!runtime::on_fiber()) return;
  try {
    auto all = std::make_shared<Belongings>(std::move(belongings));
    auto end = [all] {
      try {
        runtime::blocking([&] { all->large.reset(); });
      } catch (const std::exception&) {  // no thread is to be had: on this fiber, then
        all->large.reset();
      }
    };
    (void)runtime::spawn("let go", std::move(end));
  } catch (const std::exception&) {  // what is left of them ends here
  }
}

}  // namespace fiberd::daemon
