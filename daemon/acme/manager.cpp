#include "daemon/acme/manager.hpp"

#include <algorithm>
#include <ctime>
#include <new>
#include <utility>

#include "core/base/characters.hpp"
#include "core/base/log.hpp"
#include "core/base/read_file.hpp"
#include "core/context/waits.hpp"
#include "core/tls/certificate.hpp"
#include "core/tls/certificate_facts.hpp"
#include "core/tls/jose.hpp"
#include "daemon/acme/authority.hpp"

namespace fiberd::daemon::acme {

using namespace std::chrono_literals;

namespace {

constexpr std::int64_t kLook = 3600;        // seconds: the store is looked at so often, whatever is due
constexpr std::int64_t kOther = 20;         // another process has the lock
constexpr std::int64_t kWindow = 6 * 3600;  // renewal information is asked for again
constexpr std::size_t kMostKeyFile = 4096;

std::string names_of(const Site& site) {
  std::string text = site.names.front();
  if (site.names.size() > 1) text += " and " + std::to_string(site.names.size() - 1) + " more";
  return text;
}

/// 0 … 1, the same for the same certificate wherever it is asked.
double chance_of(std::string_view text) noexcept {
  const Result<std::string> digest = tls::sha256(text);
  if (!digest) return 0.5;
  const auto* const bytes = reinterpret_cast<const unsigned char*>(digest->data());
  return (bytes[0] * 256.0 + bytes[1]) / 65'535.0;
}

/// What blocks the thread; the fiber cannot give it up.
template <class F>
auto on_disk(F&& work) {
  return runtime::blocking(std::forward<F>(work));
}

}  // namespace

Manager::Manager(runtime::Runtime& runtime, std::shared_ptr<Challenges> challenges, const ManagerMetrics& metrics)
    : runtime_(runtime), challenges_(std::move(challenges)), metrics_(metrics) {}

Manager::~Manager() = default;

std::shared_ptr<const Manager::Sites> Manager::sites() const noexcept {
  const LockGuard guard(lock_);
  return sites_;
}

void Manager::use(std::vector<Site> all) {
  auto made = std::make_shared<const Sites>(std::move(all));
  std::map<std::string, Shown> gone;
  const bool any = !made->empty();
  {
    const LockGuard guard(lock_);
    sites_.swap(made);
    shown_.swap(gone);
    if (metrics_.failing != nullptr) metrics_.failing->set(0);  // until they have been looked at
  }
  char now = 0;
  (void)wake_.try_send_if_open(now);
  if (!any || life_.context.done() || running_.exchange(true)) return;
  if (const Result<void> spawned = runtime_.spawn("acme", [this] { run(); }); !spawned) {
    running_.store(false);
    log(LogLevel::error, "acme: no fiber: certificates are not renewed: " + spawned.error().message());
  }
}

std::size_t Manager::renew() noexcept {
  const std::size_t count = sites()->size();
  if (count == 0) return 0;
  renew_.store(true, std::memory_order_release);
  char now = 0;
  (void)wake_.try_send_if_open(now);
  return count;
}

void Manager::stop() noexcept {
  cancel();
  while (running_.load(std::memory_order_acquire)) (void)context::sleep(context::background(), 5ms);
}

std::vector<Manager::Shown> Manager::shown() const {
  std::vector<Shown> all;
  const LockGuard guard(lock_);
  for (const auto& [file, one] : shown_) all.push_back(one);
  return all;
}

void Manager::show(const Site& site, Shown shown) {
  shown.listener = site.listener;
  shown.names = names_of(site);
  std::string file = shown.file;
  std::int64_t failing = 0;
  const LockGuard guard(lock_);
  shown_.insert_or_assign(std::move(file), std::move(shown));
  for (const auto& [path, one] : shown_) failing += one.attempts.failures != 0 ? 1 : 0;
  if (metrics_.failing != nullptr) metrics_.failing->set(failing);
}

Manager::State& Manager::state_of(const Site& site) {
  State& state = states_[Store(site.storage, site.directory).path_of(site.names)];
  if (state.client == nullptr || state.tls != site.tls) {
    if (state.client != nullptr) state.client->close();
    state.client = std::make_shared<http::Client>(http::ClientOptions{.body_size = kMostDocument, .tls = site.tls});
    state.tls = site.tls;
  }
  return state;
}

void Manager::run() noexcept {
  while (!life_.context.done()) {
    std::int64_t next = std::time(nullptr) + kLook;
    try {
      const bool now = renew_.exchange(false, std::memory_order_acq_rel);
      const std::shared_ptr<const Sites> all = sites();
      for (const Site& site : *all) {
        if (life_.context.done() || sites() != all) break;
        next = std::min(next, turn(site, now));
      }
      if (sites() != all) continue;
      const std::int64_t pause = std::max<std::int64_t>(next - std::time(nullptr), 1);
      const context::Cancelable limit = context::with_timeout(life_.context, std::chrono::seconds(pause));
      (void)wake_.receive(limit.context);
      limit.cancel();
    } catch (const std::exception& e) {
      log(LogLevel::error, std::string("acme: ") + e.what() + ": it is tried again in a minute");
      (void)context::sleep(life_.context, 60s);
    }
  }
  for (auto& [file, state] : states_)
    if (state.client != nullptr) state.client->close();
  states_.clear();
  running_.store(false, std::memory_order_release);
}

/// When it is to be asked for; what there is stands in `shown`.
std::int64_t Manager::due(const Site& site, const Store& store, bool now, Shown& shown) {
  std::optional<Issued> there;
  on_disk([&] {
    there = store.certificate(site.names);
    shown.attempts = store.attempts(site.names);
  });
  shown.file = store.path_of(site.names);
  shown.not_after = 0;
  shown.next = 0;
  const Result<tls::CertificateFacts> facts =
      there ? tls::read_certificate_facts(there->chain) : Result<tls::CertificateFacts>(fail(std::errc::bad_message));
  if (facts) {
    shown.not_after = facts->not_after;
    look_at_window(site, facts->ari_id);
    shown.next = renewal_time(facts->not_before, facts->not_after, state_of(site).window,
                              chance_of(facts->serial + site.names.front()));
  }
  // One that is good for long is somebody else's work: nothing has failed since.
  Attempts& unkept = state_of(site).unkept;
  if (shown.next > std::time(nullptr)) unkept = {};
  if (unkept.failures > shown.attempts.failures) shown.attempts = unkept;
  if (now) return 0;
  shown.next = std::max(shown.next, shown.attempts.not_before);
  return shown.next;
}

/// Asks the authority when it wants to be asked (RFC 9773), now and then. That it does not answer is no trouble.
void Manager::look_at_window(const Site& site, const std::string& ari_id) {
  State& state = state_of(site);
  const std::int64_t now = std::time(nullptr);
  if (state.window_of != ari_id) state.window.reset();
  if (ari_id.empty() || (state.window_of == ari_id && now < state.window_until)) return;
  state.window_of = ari_id;
  state.window_until = now + kWindow;
  const Result<tls::PrivateKey> nobody = tls::PrivateKey::make();
  if (!nobody) return;
  Authority authority(*state.client, site.directory, *nobody);
  const Outcome<const Directory*> directory = authority.directory(life_.context);
  if (!directory || (*directory)->renewal_info.empty()) return;
  const Outcome<Authority::Answer> answer = authority.get(life_.context, (*directory)->renewal_info + "/" + ari_id);
  if (!answer) return;
  state.window = read_renewal_window(answer->body);
  if (answer->retry_after)
    state.window_until = now + std::clamp<std::int64_t>(answer->retry_after->count(), 60, 4 * kWindow);
}

Outcome<Issued> Manager::ask_once(const Site& site, const Store& store, const std::string& replaces) {
  Outcome<tls::PrivateKey> key = on_disk([&] { return store.account_key(); });
  if (!key) return give_up(key.error());
  AccountWish wish{site.email, {}};
  if (!site.key_id.empty()) {
    const Result<std::string> text = on_disk([&] { return read_file(site.key_file, kMostKeyFile); });
    const std::string_view line = text ? std::string_view(*text).substr(0, text->find('\n')) : std::string_view();
    const Result<std::string> secret = tls::from_base64url(ascii::trim(line));
    if (!secret || secret->empty())
      return give_up(Reason::storage, "acme.eab.key_file " + site.key_file + ": " +
                                          (text ? "is no key in base64url" : why_unreadable(text.error())));
    wish.external = {site.key_id, *secret};
  }
  Authority authority(*state_of(site).client, site.directory, std::move(*key), metrics_.bad_nonces);
  const std::string known = on_disk([&] { return store.account_url(); });
  const Outcome<std::string> account = authority.enter(life_.context, wish, known);
  if (!account) return give_up(account.error());
  if (*account != known)
    if (const Outcome<void> kept = on_disk([&] { return store.keep_account_url(*account); }); !kept)
      return give_up(kept.error());
  OwnProver::Ways ways = site.ways;
  // What has failed once is not tried again first: one of the two ports may not be ours.
  if (ways.http && on_disk([&] { return store.attempts(site.names); }).failures % 2 == 1) ways.tls_alpn = false;
  OwnProver prover(*challenges_, std::move(ways));
  return obtain(life_.context, authority, {site.names, site.profile, replaces}, prover);
}

Outcome<Issued> Manager::ask(const Site& site, const Store& store, const std::string& replaces) {
  const bool known = !on_disk([&] { return store.account_url(); }).empty();
  Outcome<Issued> issued = ask_once(site, store, replaces);
  // It was one, and is none any more: closed by somebody, or the authority has begun anew.
  const bool gone = !issued && known && issued.error().reason == Reason::account &&
                    (issued.error().problem == "accountDoesNotExist" || issued.error().problem == "unauthorized");
  if (!gone) return issued;
  log(LogLevel::warning,
      "acme: " + names_of(site) + ": the account is gone, another one is made: " + issued.error().what);
  on_disk([&] { store.forget_account(); });
  return ask_once(site, store, replaces);
}

/// Looks at one site, and asks if it is due. When to look again.
std::int64_t Manager::turn(const Site& site, bool now) {
  const Store store(site.storage, site.directory);
  const std::string who = "acme: listener " + site.listener + ": " + names_of(site) + ": ";
  Shown how;
  how.attempts = state_of(site).unkept;
  const auto failed = [&](const Trouble& trouble) {
    ++how.attempts.failures;
    const auto pause = pause_after(how.attempts.failures, trouble, chance_of(who + std::to_string(std::time(nullptr))));
    how.attempts.not_before = std::time(nullptr) + pause.count();
    how.attempts.why = trouble.what;
    how.next = how.attempts.not_before;
    metric::count(metrics_.failures[static_cast<std::size_t>(trouble.reason)]);
    log(LogLevel::error,
        who + trouble.what + "; " +
            (how.not_after != 0 ? "the certificate there is good until " + tls::describe_time(how.not_after)
                                : std::string("a self-signed one is shown")) +
            "; it is tried again at " + tls::describe_time(how.next));
  };
  if (const Outcome<void> opened = on_disk([&] { return store.open(); }); !opened) {
    how.file = store.path_of(site.names);
    failed(opened.error());
    state_of(site).unkept = how.attempts;
    show(site, how);
    return how.next;
  }
  if (due(site, store, now, how) > std::time(nullptr)) {
    show(site, how);
    return std::min(how.next, std::time(nullptr) + kLook);
  }
  Outcome<StoreLock> lock = on_disk([&] { return store.try_lock(); });
  if (lock && !*lock) {
    show(site, how);
    return std::time(nullptr) + kOther;
  }
  if (lock && due(site, store, now, how) > std::time(nullptr)) {  // meanwhile another process has done it
    show(site, how);
    return std::min(how.next, std::time(nullptr) + kLook);
  }
  show(site, how);
  const Outcome<void> room = lock ? on_disk([&] { return store.has_room(); }) : give_up(lock.error());
  Outcome<Issued> issued = room ? ask(site, store, state_of(site).window_of) : give_up(room.error());
  if (!issued && issued.error().reason == Reason::canceled) return std::time(nullptr);
  if (issued)
    if (const Outcome<void> kept = on_disk([&] { return store.keep(site.names, *issued); }); !kept)
      issued = give_up(kept.error());
  if (!issued) {
    failed(issued.error());
    const Outcome<void> kept =
        lock ? on_disk([&] { return store.keep(site.names, how.attempts); }) : give_up(lock.error());
    if (lock && !kept) log(LogLevel::error, who + kept.error().what);
    state_of(site).unkept = kept ? Attempts{} : how.attempts;
    show(site, how);
    return how.next;
  }
  metric::count(metrics_.issued);
  state_of(site).unkept = {};
  if (const Outcome<void> kept = on_disk([&] { return store.keep(site.names, Attempts{}); }); !kept)
    log(LogLevel::warning, who + kept.error().what);
  const std::int64_t next = due(site, store, false, how);
  log(LogLevel::info, who + "a certificate is there, good until " + tls::describe_time(how.not_after) +
                          "; the next is asked for at " + tls::describe_time(next));
  show(site, how);
  return std::min(next, std::time(nullptr) + kLook);
}

}  // namespace fiberd::daemon::acme
