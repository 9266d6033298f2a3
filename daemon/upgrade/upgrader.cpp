#include "daemon/upgrade/upgrader.hpp"

#include <array>
#include <exception>
#include <new>
#include <utility>

#include "core/base/log.hpp"
#include "core/observe/catalogue.hpp"

namespace fiberd::daemon::upgrade {

static constexpr std::array<std::string_view, 6> kVerdicts{"success",     "refused", "failure",
                                                           "rolled_back", "busy",    "stopping"};

std::string_view name_of(Answer::Verdict verdict) noexcept { return kVerdicts[static_cast<std::size_t>(verdict)]; }

Upgrader::Upgrader(runtime::Runtime& runtime, metric::Registry& registry, std::function<Answer(const Request&)> upgrade)
    : runtime_(runtime), upgrade_(std::move(upgrade)) {
  metric::Family& family = observe::register_metric(registry, "fiberd_upgrades_total");
  for (std::size_t i = 0; i < kVerdicts.size(); ++i) counts_[i] = &registry.counter(family, {kVerdicts[i]});
}

void Upgrader::open() noexcept {
  const LockGuard guard(lock_);
  if (state_ == State::not_yet) state_ = State::free;
}

void Upgrader::close() noexcept {
  const LockGuard guard(lock_);
  state_ = State::closed;
}

/// Allocates nothing: there may be nothing left.
void Upgrader::settle(Attempt& attempt, Answer answer) noexcept {
  attempt.answer = std::move(answer);
  const Answer::Verdict verdict = attempt.answer.verdict;
  counts_[static_cast<std::size_t>(verdict)]->add();
  if (verdict != Answer::Verdict::done) {
    std::string_view line = attempt.answer.text;
    while (line.ends_with('\n')) line.remove_suffix(1);
    if (line.empty()) line = "upgrade: no memory, not even to say more";
    log(verdict == Answer::Verdict::failed ? LogLevel::error : LogLevel::warning, line);
  }
  (void)attempt.done.done();
}

void Upgrader::give_back() noexcept {
  const LockGuard guard(lock_);
  if (state_ == State::busy) state_ = State::free;
}

/// The one that was begun, or one that is over: it was refused.
std::shared_ptr<Upgrader::Attempt> Upgrader::begin(Request request) {
  auto attempt = std::make_shared<Attempt>();
  attempt->request = std::move(request);
  State was = State::free;
  {
    const LockGuard guard(lock_);
    was = state_;
    if (was == State::free) state_ = State::busy;
  }
  if (was == State::closed) {
    settle(*attempt, {Answer::Verdict::stopping, "upgrade refused: the daemon is stopping\n"});
  } else if (was == State::not_yet) {
    settle(*attempt, {Answer::Verdict::busy, "upgrade refused: this process does not serve alone yet\n"});
  } else if (was == State::busy) {
    settle(*attempt, {Answer::Verdict::busy, "upgrade refused: there is one under way\n"});
  } else {
    Result<void> spawned = fail(std::errc::not_enough_memory);
    try {
      spawned =
          runtime_.spawn({.name = "upgrade", .claim = fiber::StackClaim::report}, [this, attempt] { run(attempt); });
    } catch (const std::bad_alloc&) {  // then it is none
    }
    if (!spawned) {
      give_back();
      settle(*attempt,
             {Answer::Verdict::failed, "upgrade: no fiber can be started: " + spawned.error().message() + "\n"});
    }
  }
  return attempt;
}

void Upgrader::run(const std::shared_ptr<Attempt>& attempt) noexcept {
  Answer answer{Answer::Verdict::failed, {}};
  try {
    try {
      answer = upgrade_(attempt->request);
    } catch (const std::exception& e) {
      answer = {Answer::Verdict::failed, std::string("upgrade: ") + e.what() + "\n"};
    }
  } catch (const std::bad_alloc&) {  // for the words, either
  }
  give_back();
  settle(*attempt, std::move(answer));
}

void Upgrader::request(Request request) noexcept {
  try {
    (void)begin(std::move(request));
  } catch (const std::exception& e) {
    log(LogLevel::error, "upgrade: it cannot be begun");
    log(LogLevel::error, e.what());
  }
}

Result<Answer> Upgrader::request_and_wait(const context::Context& ctx, Request request) {
  const std::shared_ptr<Attempt> attempt = begin(std::move(request));
  if (const Result<void> waited = attempt->done.wait(ctx); !waited) return fail(waited.error());
  return attempt->answer;
}

}  // namespace fiberd::daemon::upgrade
