#include "core/http/filters/basic_auth_filter.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <utility>

#include "core/base/clock.hpp"
#include "core/base/log.hpp"
#include "core/base/result.hpp"
#include "core/context/waits.hpp"
#include "core/http/exchange.hpp"
#include "core/http/filters/basic_credentials.hpp"
#include "core/http/filters/htpasswd.hpp"
#include "core/http/filters/verdict_cache.hpp"
#include "core/sync/atomic_snapshot.hpp"
#include "core/sync/semaphore.hpp"

namespace fiberd::http {
namespace {

constexpr std::int64_t kLookEvery = 1'000'000'000;

/// What tells one state of a file from another.
struct Identity {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::int64_t size = -1;
  std::int64_t changed_s = 0;
  std::int64_t changed_ns = 0;
  friend constexpr bool operator==(const Identity&, const Identity&) noexcept = default;
};

/// A leaf: errno is a thread's.
[[gnu::noinline]] Identity identity_of(const std::string& path) noexcept {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return {};
  // The time of the last change of anything, which nobody can set.
  return {info.st_dev, info.st_ino, info.st_size, info.st_ctim.tv_sec, info.st_ctim.tv_nsec};
}

struct Loaded {
  std::shared_ptr<const Htpasswd> users;
  std::uint64_t generation = 0;
};

/// What calls on the blocking pool own together with the filter, for one that was given up outlives its request.
class Passwords {
 public:
  explicit Passwords(BasicAuthOptions options)
      : options_(std::move(options)),
        cache_(options_.kept, options_.keep, options_.keep_wrong),
        places_(std::max<std::size_t>(options_.concurrency, 1)) {}

  /// Blocks. The file as it is now, unless it is the one that is in use. One that could not be read or used is read
  /// again by each look: what kept us from it may have nothing to do with the file. `why` is what has not been said.
  Result<void> look(std::string* why) {
    const Identity now = identity_of(options_.file);
    // By one at a time; see due().
    if (used_ && now == *used_) return {};
    std::string sentence;
    Result<std::shared_ptr<const Htpasswd>> read = Htpasswd::read(options_.file, &sentence);
    if (!read) {
      used_.reset();  // also where it becomes again what it was before
      if (why != nullptr && sentence != said_) *why = sentence;
      said_ = std::move(sentence);
      return fail(read.error());
    }
    used_ = now;
    said_.clear();
    loaded_.store(Loaded{std::move(*read), ++generation_});
    return {};
  }
  /// Whether it is the caller who looks now: one a period, and done() lets the next one.
  [[nodiscard]] bool due() noexcept {
    std::int64_t next = next_look_.load(std::memory_order_acquire);
    return monotonic_now() >= next &&
           next_look_.compare_exchange_strong(next, INT64_MAX, std::memory_order_acquire, std::memory_order_relaxed);
  }
  void done() noexcept { next_look_.store(monotonic_now() + kLookEvery, std::memory_order_release); }

  [[nodiscard]] const BasicAuthOptions& options() const noexcept { return options_; }
  [[nodiscard]] Loaded loaded() const { return *loaded_.read(); }
  [[nodiscard]] VerdictCache& cache() noexcept { return cache_; }
  [[nodiscard]] sync::Semaphore& places() noexcept { return places_; }
  /// False: the line is full.
  [[nodiscard]] bool enter() noexcept {
    if (inside_.fetch_add(1, std::memory_order_relaxed) < options_.max_waiting) return true;
    leave();
    return false;
  }
  void leave() noexcept { inside_.fetch_sub(1, std::memory_order_relaxed); }

 private:
  const BasicAuthOptions options_;
  mutable sync::AtomicSnapshot<Loaded> loaded_;
  VerdictCache cache_;
  sync::Semaphore places_;
  std::atomic<std::size_t> inside_{0};
  std::atomic<std::int64_t> next_look_{0};
  std::optional<Identity> used_;  // of who looks
  std::string said_;              // of who looks: what is wrong with the file, if it is
  std::uint64_t generation_ = 0;  // of who looks
};

class BasicAuthFilter final : public Filter {
 public:
  explicit BasicAuthFilter(std::shared_ptr<Passwords> passwords)
      : passwords_(std::move(passwords)),
        challenge_("Basic realm=\"" + passwords_->options().realm + "\", charset=\"UTF-8\"") {}

  Result<void> serve(Exchange& ex, Next next) override {
    const HeaderView& headers = ex.request().headers;
    const std::size_t at = headers.index_of("authorization");
    if (at == headers.size()) return refuse(ex, passwords_->options().metrics.challenged, "no_credentials");
    const bool once = headers.index_of("authorization", at + 1) == headers.size();
    Result<BasicCredentials> credentials = parse_basic_credentials(headers[at].value);
    if (!once || !credentials) return refuse(ex, passwords_->options().metrics.refused, "credentials");
    if (passwords_->due()) {
      Looking looking(passwords_);  // first: whatever fails, somebody else looks later
      (void)context::blocking(ex.context(), std::move(looking));
    }
    const std::string user = credentials->user;
    switch (judge(ex, std::move(*credentials))) {
      case Verdict::right: ex.slot<AuthenticatedUser>().name = user; return next(ex);
      case Verdict::wrong: return refuse(ex, passwords_->options().metrics.refused, "credentials");
      case Verdict::none: break;
    }
    metric::count(passwords_->options().metrics.overloaded);
    ex.set_refusal("busy");
    const Field later{"Retry-After", "1"};
    return ex.respond_error(503, {&later, 1});
  }

 private:
  enum class Verdict : std::uint8_t { right, wrong, none };

  Result<void> refuse(Exchange& ex, metric::Counter* counter, std::string_view reason) {
    metric::count(counter);
    ex.set_refusal(reason);
    const Field field{"WWW-Authenticate", challenge_};
    return ex.respond_error(401, {&field, 1});
  }

  /// Lets the next one look, when the call that it was made for has ended or will not be begun.
  class Looking {
   public:
    explicit Looking(std::shared_ptr<Passwords> passwords) noexcept : passwords_(std::move(passwords)) {}
    Looking(Looking&&) noexcept = default;
    Looking& operator=(Looking&&) = delete;
    ~Looking() {
      if (passwords_ != nullptr) passwords_->done();
    }
    void operator()() const {
      std::string why;
      if (passwords_->look(&why)) return;
      metric::count(passwords_->options().metrics.file_errors);
      if (!why.empty())
        log(LogLevel::error, "password file " + passwords_->options().file + ": " + why + "; the one before stays");
    }

   private:
    std::shared_ptr<Passwords> passwords_;
  };

  Verdict judge(Exchange& ex, BasicCredentials credentials) {
    const Loaded loaded = passwords_->loaded();
    VerdictCache& cache = passwords_->cache();
    const VerdictCache::Key key = cache.key(credentials.user, credentials.password.text(), loaded.generation);
    const auto known = [&]() -> Verdict {
      const std::optional<bool> kept = cache.find(key, monotonic_now());
      return !kept ? Verdict::none : *kept ? Verdict::right : Verdict::wrong;
    };
    if (const Verdict kept = known(); kept != Verdict::none) return kept;
    if (!passwords_->enter()) return Verdict::none;
    struct Inside {
      ~Inside() { passwords->leave(); }
      Passwords* passwords;
    } const inside{passwords_.get()};
    Result<sync::Semaphore::Permit> permit = passwords_->places().permit(ex.context());
    if (!permit) return Verdict::none;
    // A browser opens several connections at once: the first one has found out for all.
    if (const Verdict kept = known(); kept != Verdict::none) return kept;
    metric::count(passwords_->options().metrics.hashed);
    const Result<bool> right =
        context::blocking(ex.context(),
                          [passwords = passwords_, users = loaded.users, place = std::move(*permit),
                           who = std::move(credentials), key]() mutable -> Result<bool> {
                            const Result<bool> verdict = users->verify(who.user, who.password.text());
                            if (verdict) passwords->cache().keep(key, *verdict, monotonic_now());
                            place.release();
                            return verdict;
                          });
    if (!right) return Verdict::none;
    return *right ? Verdict::right : Verdict::wrong;
  }

  const std::shared_ptr<Passwords> passwords_;
  const std::string challenge_;
};

}  // namespace

bool is_realm(std::string_view text) noexcept {
  return !text.empty() && std::all_of(text.begin(), text.end(), ascii::is_plain);
}

Result<std::shared_ptr<Filter>> make_basic_auth_filter(BasicAuthOptions options, std::string* why) {
  if (!is_realm(options.realm)) {
    if (why != nullptr) *why = "the realm is a short text without quotes, backslashes and control characters";
    return fail(std::errc::invalid_argument);
  }
  std::string sentence;
  auto passwords = std::make_shared<Passwords>(std::move(options));
  const Result<void> looked = passwords->look(&sentence);
  if (!looked) {
    if (why != nullptr) *why = passwords->options().file + ": " + sentence;
    return fail(looked.error());
  }
  passwords->done();
  return std::make_shared<BasicAuthFilter>(std::move(passwords));
}

}  // namespace fiberd::http
