#include "daemon/tracing/exporter.hpp"

#include <algorithm>
#include <charconv>
#include <ctime>
#include <new>
#include <utility>
#include <vector>

#include "core/base/characters.hpp"
#include "core/base/clock.hpp"
#include "core/base/defer.hpp"
#include "core/base/log.hpp"
#include "core/base/printable.hpp"
#include "core/context/waits.hpp"
#include "core/http/date.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::daemon {

using std::chrono::nanoseconds;

std::optional<std::chrono::seconds> parse_retry_after(std::string_view text, std::time_t now) noexcept {
  text = ascii::trim(text);
  std::int64_t seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (!text.empty() && ascii::is_digit(text.front()) && end == text.data() + text.size())
    return std::chrono::seconds(error == std::errc{} ? std::min<std::int64_t>(seconds, 86'400) : 86'400);
  const std::optional<std::time_t> date = http::parse_date(text, now);
  if (!date) return std::nullopt;
  return std::chrono::seconds(std::clamp<std::int64_t>(*date - now, 0, 86'400));
}

TraceExporter::TraceExporter(std::shared_ptr<trace::SpanQueue> queue, const ExporterMetrics& metrics)
    : queue_(std::move(queue)), metrics_(metrics) {
  queue_->set_hook([](void* self) noexcept { static_cast<TraceExporter*>(self)->wake(); }, this);
  queue_->count_late(metrics_.stopped);
}

void TraceExporter::use(const config::TracingConfig& config, CollectorHeaders headers,
                        std::shared_ptr<const tls::ClientContext> tls) {
  std::shared_ptr<const Settings> made;
  if (config.on())
    made =
        std::make_shared<const Settings>(Settings{config, std::move(headers), std::move(tls), make_envelope(config)});
  {
    const LockGuard guard(lock_);
    // Under it, for run() closes the queue at its end where nobody wants it any more.
    if (config.on() && !finishing_.load(std::memory_order_acquire)) {
      queue_->set_most(config.queue);
      queue_->tell_at(config.batch_spans);
    }
    settings_.swap(made);
  }
  wake();
}

/// Who waits for a batch to be full looks again.
void TraceExporter::wake() noexcept {
  char now = 0;
  (void)wake_.try_send_if_open(now);
}

std::shared_ptr<const TraceExporter::Settings> TraceExporter::settings() noexcept {
  const LockGuard guard(lock_);
  return settings_;
}

void TraceExporter::finish() noexcept {
  finishing_.store(true, std::memory_order_release);
  wake();
}

/// Until the delay is over or somebody wakes us.
void TraceExporter::wait(nanoseconds delay) noexcept {
  try {
    const context::Cancelable limit = context::with_timeout(life_.context, delay);
    (void)wake_.receive(limit.context);
    limit.cancel();
  } catch (const std::bad_alloc&) {
    (void)context::sleep(life_.context, delay);
  }
}

void TraceExporter::run() {
  const defer over([this] { close_queue(); });
  std::shared_ptr<const Settings> last = settings();
  std::optional<http::Client> client;             // one that is closed stays so
  std::shared_ptr<const tls::ClientContext> tls;  // its
  for (;;) {
    const bool full = last != nullptr && queue_->waiting() >= last->config.batch_spans;
    if (last != nullptr && !full && !finishing_.load(std::memory_order_acquire)) wait(last->config.batch_delay);
    // Only now: they may have changed meanwhile. What waits when tracing is turned off goes where it was meant.
    const std::shared_ptr<const Settings> now = settings();
    const std::shared_ptr<const Settings> with = now != nullptr ? now : last;
    last = now;
    if (with == nullptr) break;
    if (!client || tls != with->tls) {
      if (client) client->close();
      tls = with->tls;
      client.emplace(http::ClientOptions{.tls = tls});
      client_ = &*client;
    }
    for (bool first = true; !life_.context.done(); first = false) {
      // The first is due; behind it a whole batch at a time, and what is less waits for its own delay.
      const bool waits = now != nullptr && !finishing_.load(std::memory_order_acquire);
      if (!first && waits && queue_->waiting() < with->config.batch_spans) break;
      trace::SpanQueue::List batch = take(*with);
      if (batch.count == 0) break;
      deliver(*with, batch);
      if (settings() != now) break;
    }
    if (now == nullptr || life_.context.done() || finishing_.load(std::memory_order_acquire)) {
      // The last look: what has come while the last batch was on its way.
      if (queue_->waiting() == 0 || life_.context.done()) break;
    }
  }
  client_ = nullptr;
  if (client) client->close();
}

/// Nobody takes any more, unless somebody has turned it on again. What ends later, of requests that were traced, is
/// refused then and does not wait for ever.
void TraceExporter::close_queue() noexcept {
  {
    const LockGuard guard(lock_);
    if (settings_ != nullptr && !finishing_.load(std::memory_order_acquire) && !life_.context.done()) return;
    queue_->close();
  }
  trace::SpanQueue::List rest;
  while ((rest = queue_->take(SIZE_MAX)).count != 0) {
    if (metrics_.stopped != nullptr) metrics_.stopped->add(rest.count);
    queue_->drop(rest);
  }
}

trace::SpanQueue::List TraceExporter::take(const Settings& settings) noexcept {
  return queue_->take(settings.config.batch_spans, kMostBatch);
}

void TraceExporter::deliver(const Settings& settings, trace::SpanQueue::List& batch) noexcept {
  const std::size_t spans = batch.count;
  metric::Counter* lost = metrics_.failed;
  bool taken = false;
  try {
    const std::string body = write_request(settings.envelope, batch);
    queue_->drop(batch);
    nanoseconds pause = kFirstPause;
    for (unsigned tries = 1;; ++tries) {
      nanoseconds asked{0};
      const Outcome outcome = attempt(settings, body, spans, asked);
      taken = outcome == Outcome::taken;
      if (outcome == Outcome::rejected) lost = metrics_.rejected;
      if (outcome != Outcome::later) break;
      if (tries == kTries) break;
      const bool finishing = finishing_.load(std::memory_order_acquire);
      // 75 … 125 % of it.
      const nanoseconds own = pause * (768 + static_cast<int>(runtime::random() % 512)) / 1024;
      const nanoseconds longest = finishing ? nanoseconds(std::chrono::milliseconds(200)) : kLongestPause * 10;
      if (!context::sleep(life_.context, std::min(std::max(asked, own), longest))) {
        lost = metrics_.stopped;
        break;
      }
      pause = std::min(pause * 2, kLongestPause);
    }
  } catch (const std::bad_alloc&) {
    queue_->drop(batch);
    log(LogLevel::error, "tracing: no memory: a batch of spans is not sent");
  }
  if (life_.context.done()) lost = metrics_.stopped;
  if (!taken && lost != nullptr) lost->add(spans);
}

TraceExporter::Outcome TraceExporter::attempt(const Settings& settings, const std::string& body, std::size_t spans,
                                              nanoseconds& pause) {
  std::vector<http::Field> fields{{"Content-Type", "application/json"}};
  for (const auto& [name, value] : settings.headers) fields.push_back({name, value});
  const context::Cancelable limit = context::with_timeout(life_.context, settings.config.timeout);
  const defer over([&limit] { limit.cancel(); });
  Result<http::ClientResponse> answer = client_->send(limit.context, {.method = http::Method::post,
                                                                      .url = settings.config.endpoint,
                                                                      .fields = fields,
                                                                      .body = body,
                                                                      // Spans have ids: twice is once.
                                                                      .idempotent = true});
  if (!answer) {
    metric::count(metrics_.tries_failed);
    warn(settings, limit_, answer.error().message());
    return Outcome::later;
  }
  const unsigned status = answer->status();
  if (status >= 200 && status < 300) {
    read(*answer, limit.context, settings, spans);  // throws nothing: what is counted as taken is not lost, too
    return Outcome::taken;
  }
  if (status == 429 || (status >= 502 && status <= 504)) {
    metric::count(metrics_.tries_later);
    warn(settings, limit_, "answered " + std::to_string(status));
    if (const auto after = parse_retry_after(answer->headers().find("retry-after"), std::time(nullptr))) pause = *after;
    return Outcome::later;
  }
  metric::count(metrics_.tries_rejected);
  const Result<std::string> words = answer->read_all(limit.context, kMostAnswer);
  warn(settings, limit_of_words_,
       "answered " + std::to_string(status) + (!words || words->empty() ? std::string() : ": " + quoted(*words, 256)));
  return Outcome::rejected;
}

/// Of a batch that was taken: how much of it.
void TraceExporter::read(http::ClientResponse& answer, const context::Context& ctx, const Settings& settings,
                         std::size_t spans) noexcept {
  OtlpAnswer said{false, 0, {}};
  std::error_code trouble;
  try {
    const Result<std::string> body = answer.read_all(ctx, kMostAnswer);
    if (body)
      said = read_answer(*body);
    else
      trouble = body.error();
  } catch (const std::bad_alloc&) {
    trouble = std::make_error_code(std::errc::not_enough_memory);
  }
  const std::size_t rejected = static_cast<std::size_t>(std::min<std::uint64_t>(said.rejected_spans, spans));
  if (metrics_.exported != nullptr) metrics_.exported->add(spans - rejected);
  if (rejected != 0 && metrics_.rejected != nullptr) metrics_.rejected->add(rejected);
  const bool plain = said.understood && rejected == 0 && said.message.empty();
  metric::count(!said.understood ? metrics_.tries_garbled : plain ? metrics_.tries_ok : metrics_.tries_partial);
  if (plain) return;
  try {
    if (!said.understood)
      return warn(
          settings, limit_of_words_,
          "took the spans, and what it answered is no OTLP" + (trouble ? ": " + trouble.message() : std::string()));
    warn(settings, limit_of_words_,
         "rejected " + std::to_string(rejected) + " spans" +
             (said.message.empty() ? std::string() : ": " + quoted(said.message, 256)));
  } catch (const std::bad_alloc&) {
    log(LogLevel::error, "tracing: the collector took less than all of a batch, and memory to say what is out");
  }
}

void TraceExporter::warn(const Settings& settings, LogLimit& limit, const std::string& what) {
  const std::string& url = settings.config.endpoint;
  if (const auto left_out = limit.pass(monotonic_now()))
    log(LogLevel::warning, "tracing: " + url.substr(0, url.find('?')) + ": " + what +
                               (*left_out == 0 ? "" : " (and " + std::to_string(*left_out) + " more of the like)") +
                               "; requests do not wait for it, and spans beyond tracing.queue are dropped");
}

}  // namespace fiberd::daemon
