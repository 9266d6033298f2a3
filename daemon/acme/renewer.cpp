#include "daemon/acme/renewer.hpp"

#include <algorithm>
#include <ctime>
#include <utility>

#include "core/base/characters.hpp"
#include "core/base/log.hpp"
#include "core/base/read_file.hpp"
#include "core/runtime/blocking.hpp"
#include "core/tls/certificate.hpp"
#include "core/tls/jose.hpp"
#include "daemon/acme/authority.hpp"
#include "daemon/acme/shared_challenges.hpp"

namespace fiberd::daemon::acme {

namespace {

constexpr std::int64_t kLook = 3600;        // seconds: the store is looked at so often, whatever is due
constexpr std::int64_t kOther = 20;         // another process has the lock
constexpr std::int64_t kWanted = 2;         // and somebody waits for this one
constexpr std::int64_t kWindow = 6 * 3600;  // renewal information is asked for again
constexpr std::int64_t kAccounts = 86'400;  // one account in so long is given up for another
constexpr std::size_t kMostKeyFile = 4096;

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

std::string about(const Site& site) { return "acme: listener " + site.listener + ": " + names_of(site) + ": "; }

std::int64_t pause_of(const Site& site, unsigned failures, const Trouble& trouble) {
  return pause_after(failures, trouble, chance_of(about(site) + std::to_string(std::time(nullptr)))).count();
}

}  // namespace

std::string file_of(const Site& site) { return Store(site.storage, site.directory).path_of(site.names); }

std::string names_of(const Site& site) {
  std::string text = site.names.front();
  if (site.names.size() > 1) text += " and " + std::to_string(site.names.size() - 1) + " more";
  return text;
}

Renewer::Renewer(const context::Context& life, Challenges& challenges, const ManagerMetrics& metrics, Tell tell)
    : life_(life), challenges_(challenges), metrics_(metrics), tell_(std::move(tell)) {}

Renewer::~Renewer() = default;

void Renewer::close() noexcept {
  for (auto& [file, state] : states_)
    if (state.client != nullptr) state.client->close();
  states_.clear();
}

void Renewer::forget_all_but(const std::vector<Site>& sites) {
  std::map<std::string, State> kept;
  for (const Site& site : sites)
    if (auto known = states_.extract(file_of(site)); !known.empty()) kept.insert(std::move(known));
  close();
  states_.swap(kept);
}

Renewer::State& Renewer::state_of(const Site& site) {
  State& state = states_[file_of(site)];
  if (state.client == nullptr || state.tls != site.tls) {
    if (state.client != nullptr) state.client->close();
    state.client = std::make_shared<http::Client>(http::ClientOptions{.body_size = kMostDocument, .tls = site.tls});
    state.tls = site.tls;
  }
  return state;
}

/// When it is to be asked for; what there is stands in `how`.
std::int64_t Renewer::due(const Site& site, const Store& store, bool now, Standing& how) {
  Kept kept;
  on_disk([&] {
    kept = look_at_kept(store, site.names, std::time(nullptr));
    how.attempts = store.attempts(site.names);
  });
  how.file = store.path_of(site.names);
  how.serial = kept.serial;
  how.not_after = kept.not_after;
  how.next = 0;
  State& state = state_of(site);
  if (kept.flaw != state.flaw) {
    state.flaw = kept.flaw;
    if (!kept.flaw.empty()) log(LogLevel::error, about(site) + kept.flaw + "; another one is asked for");
  }
  if (kept.not_after != 0) {
    look_at_window(site, kept.ari_id);
    how.next = renewal_time(kept.not_before, kept.not_after, state.window, chance_of(kept.serial + site.names.front()));
  } else {
    state.window.reset();
    state.window_of.clear();
  }
  // One that is good for long is somebody else's work: nothing has failed since.
  Attempts& unkept = state.unkept;
  if (how.next > std::time(nullptr)) unkept = {};
  if (unkept.failures > how.attempts.failures) how.attempts = unkept;
  if (now) return 0;
  how.next = std::max(how.next, how.attempts.not_before);  // what has failed, or was issued a moment ago, rests
  return how.next;
}

/// Asks the authority when it wants to be asked (RFC 9773), now and then. That it does not answer is no trouble.
void Renewer::look_at_window(const Site& site, const std::string& ari_id) {
  State& state = state_of(site);
  const std::int64_t now = std::time(nullptr);
  if (state.window_of != ari_id) {
    state.window.reset();
    state.window_of = ari_id;
    state.window_until = 0;
  }
  if (ari_id.empty() || now < state.window_until) return;
  state.window_until = now + kWindow;
  const Result<tls::PrivateKey> nobody = tls::PrivateKey::make();
  if (!nobody) return;
  Authority authority(*state.client, site.directory, *nobody);
  const Outcome<const Directory*> directory = authority.directory(life_);
  if (!directory || (*directory)->renewal_info.empty()) return;
  const Outcome<Authority::Answer> answer = authority.get(life_, (*directory)->renewal_info + "/" + ari_id);
  if (!answer) return;
  state.window = read_renewal_window(answer->body);
  if (answer->retry_after)
    state.window_until = now + std::clamp<std::int64_t>(answer->retry_after->count(), 60, 4 * kWindow);
}

Outcome<Issued> Renewer::ask_once(const Site& site, const Store& store, unsigned failures, bool replaces) {
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
  const Account known = on_disk([&] { return store.account(); });
  const Outcome<std::string> account = authority.enter(life_, wish, known.url);
  if (!account) return give_up(account.error());
  if (*account != known.url) {
    const Account fresh{*account, replaces ? std::time(nullptr) : 0};
    if (const Outcome<void> kept = on_disk([&] { return store.keep(fresh); }); !kept) return give_up(kept.error());
  }
  OwnProver::Ways ways = site.ways;
  // What has failed once is not tried again first: one of the two ports may not be ours.
  if (ways.http && failures % 2 == 1) ways.tls_alpn = false;
  OwnProver prover(challenges_, std::move(ways), site.storage);
  return obtain(life_, authority, {site.names, site.profile, state_of(site).window_of}, prover);
}

/// Whether the account was one, and is none any more: closed by somebody, or the authority has begun anew. That it says
/// "unauthorized" may be about anything, such as a name: then the account itself is asked for.
bool Renewer::is_gone(const Site& site, const Store& store, const Trouble& trouble) {
  if (trouble.reason != Reason::account) return false;
  if (trouble.problem == "accountDoesNotExist") return true;
  if (trouble.problem != "unauthorized") return false;
  Outcome<tls::PrivateKey> key = on_disk([&] { return store.account_key(); });
  const Account known = on_disk([&] { return store.account(); });
  if (!key || known.url.empty()) return false;
  Authority authority(*state_of(site).client, site.directory, std::move(*key), metrics_.bad_nonces);
  if (!authority.enter(life_, {}, known.url)) return false;
  const Outcome<Authority::Answer> answer = authority.post(life_, known.url, {});
  return answer ? !is_valid_account(answer->body) : answer.error().reason == Reason::account;
}

Outcome<Issued> Renewer::ask(const Site& site, const Store& store, unsigned failures) {
  const Account known = on_disk([&] { return store.account(); });
  Outcome<Issued> issued = ask_once(site, store, failures, false);
  if (issued || known.url.empty() || !is_gone(site, store, issued.error())) return issued;
  const std::int64_t now = std::time(nullptr);
  if (now - known.replaced < kAccounts) {
    Trouble again = issued.error();
    again.what += "; the account before it was given up less than a day ago, so this one is not";
    return give_up(std::move(again));
  }
  log(LogLevel::warning,
      "acme: " + names_of(site) + ": the account is gone, another one is made: " + issued.error().what);
  if (const Outcome<void> put = on_disk([&] { return store.forget_account(now); }); !put) return give_up(put.error());
  return ask_once(site, store, failures, true);
}

/// What went wrong, and when it is tried again.
void Renewer::fail(const Site& site, const Trouble& trouble, Standing& how) {
  ++how.attempts.failures;
  how.attempts.not_before = std::time(nullptr) + pause_of(site, how.attempts.failures, trouble);
  how.attempts.why = trouble.what;
  how.next = how.attempts.not_before;
  metric::count(metrics_.failures[static_cast<std::size_t>(trouble.reason)]);
  log(LogLevel::error,
      about(site) + trouble.what + "; " +
          (how.not_after != 0 ? "the certificate there is good until " + tls::describe_time(how.not_after)
                              : std::string("a self-signed one is shown")) +
          "; it is tried again at " + tls::describe_time(how.next));
}

/// Under the lock: one that is kept.
Outcome<Issued> Renewer::issue(const Site& site, const Store& store, Standing& how) {
  Attempts begun = how.attempts;
  ++begun.failures;
  begun.not_before = std::time(nullptr) + pause_of(site, begun.failures, {});
  begun.why = Attempts::kBegun;
  const Outcome<void> ready = on_disk([&]() -> Outcome<void> {
    SharedChallenges(site.storage).clear();  // of who died with the lock
    if (Outcome<void> room = store.has_room(); !room) return room;
    return store.keep(site.names, begun);
  });
  if (!ready) return give_up(ready.error());
  Outcome<Issued> issued = ask(site, store, how.attempts.failures);
  if (!issued) return issued;
  const Outcome<void> kept = on_disk([&]() -> Outcome<void> {
    if (Outcome<void> certificate = store.keep(site.names, *issued); !certificate) return certificate;
    const std::int64_t now = std::time(nullptr);
    const Attempts rest{0, now + rest_after(look_at_kept(store, site.names, now).not_after - now), {}};
    if (const Outcome<void> noted = store.keep(site.names, rest); !noted)
      log(LogLevel::warning, about(site) + noted.error().what);
    return {};
  });
  if (!kept) return give_up(kept.error());
  return issued;
}

/// Another process asks just now: for this, or something else. Whether it has done what is wanted.
bool Renewer::wait_for_other(const Site& site, const Standing& how) {
  State& state = state_of(site);
  if (state.waits && *state.waits != how.serial) {
    log(LogLevel::info, about(site) + "another process has had a certificate meanwhile");
    state.waits.reset();
    return true;
  }
  if (!state.waits) {
    state.waits = how.serial;
    log(LogLevel::info, about(site) + "another process asks an authority; it is this one's turn when that is done");
  }
  return false;
}

Renewer::Turn Renewer::turn(const Site& site, bool now) {
  const Store store(site.storage, site.directory);
  Standing how;
  how.attempts = state_of(site).unkept;
  const auto over = [&](std::int64_t again, bool done, bool busy = false) {
    tell_(site, how);
    return Turn{again, done, busy};
  };
  if (const Outcome<void> opened = on_disk([&] { return store.open(); }); !opened) {
    how.file = store.path_of(site.names);
    fail(site, opened.error(), how);
    state_of(site).unkept = how.attempts;
    return over(how.next, true);
  }
  const auto rests = [&] { return over(std::min(how.next, std::time(nullptr) + kLook), true); };
  if (due(site, store, now, how) > std::time(nullptr)) return rests();
  if (now && state_of(site).waits && wait_for_other(site, how)) return rests();
  Outcome<StoreLock> lock = on_disk([&] { return store.try_lock(); });
  if (lock && !*lock)
    return over(std::time(nullptr) + (now ? kWanted : kOther), now && wait_for_other(site, how), true);
  if (lock && due(site, store, now, how) > std::time(nullptr)) return rests();  // meanwhile another process has done it
  if (now && state_of(site).waits && wait_for_other(site, how)) return rests();
  state_of(site).waits.reset();
  tell_(site, how);
  const Outcome<Issued> issued = lock ? issue(site, store, how) : give_up(lock.error());
  if (!issued && issued.error().reason == Reason::canceled) {
    // Nothing has failed: whoever comes next begins at once.
    on_disk([&] { (void)store.keep(site.names, how.attempts); });
    return over(std::time(nullptr), false);
  }
  if (!issued) {
    fail(site, issued.error(), how);
    const Outcome<void> kept =
        lock ? on_disk([&] { return store.keep(site.names, how.attempts); }) : give_up(lock.error());
    if (lock && !kept) log(LogLevel::error, about(site) + kept.error().what);
    state_of(site).unkept = kept ? Attempts{} : how.attempts;
    return over(how.next, true);
  }
  metric::count(metrics_.issued);
  state_of(site).unkept = {};
  const std::int64_t next = due(site, store, false, how);
  log(LogLevel::info, about(site) + "a certificate is there, good until " + tls::describe_time(how.not_after) +
                          "; the next is asked for at " + tls::describe_time(next));
  return over(std::min(next, std::time(nullptr) + kLook), true);
}

}  // namespace fiberd::daemon::acme
