#include "core/trace/tracer.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/context/context.hpp"
#include "core/metric/registry.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/simulation.hpp"
#include "core/trace/local_trace.hpp"
#include "core/trace/request_record.hpp"
#include "core/trace/request_span.hpp"
#include "core/trace/source.hpp"
#include "core/trace/span.hpp"
#include "core/trace/traceparent.hpp"
#include "tests/support/json.hpp"
#include "tests/support/sent_spans.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using trace::RequestSpan;
using trace::SpanQueue;
using trace::Tracer;
using trace::TracerOptions;

namespace {

constexpr const char* kSampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
constexpr const char* kUnsampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

struct Counted {
  metric::Registry registry;
  trace::TracerMetrics metrics;
  Counted() {
    const auto counter = [&](const char* name) {
      return &registry.counter(registry.family({.name = name, .help = "h", .type = metric::Type::counter}));
    };
    metrics = {counter("ratio"), counter("parent"),  counter("error"), counter("slow"),
               counter("rate"),  counter("invalid"), counter("room"),  counter("many")};
  }
};

std::vector<std::string> sent(SpanQueue& queue) { return test::sent_spans(queue); }

struct Fixture : Counted {
  explicit Fixture(TracerOptions options, std::size_t most = 1 << 20)
      : queue(std::make_shared<SpanQueue>(most)), tracer(std::make_shared<Tracer>(options, queue, metrics)) {}
  /// A request, with what a handler does in it; whether it was kept.
  template <class F>
  bool serve(const char* traceparent, unsigned status, std::uint64_t duration, F&& handler) {
    RequestSpan span(tracer, traceparent, monotonic_now());
    span.handler_begins(true);
    handler(span);
    span.handler_ends();
    const bool kept = span.settle(status, duration);
    if (kept) {
      trace::RequestRecord record;
      record.add("key", "value");
      span.record({"request", "handler", trace::SpanStatus::unset, monotonic_now(), {}}, record);
    }
    return kept;
  }
  bool serve(const char* traceparent, unsigned status = 200, std::uint64_t duration = 1000) {
    return serve(traceparent, status, duration, [](RequestSpan&) {});
  }
  std::shared_ptr<SpanQueue> queue;
  std::shared_ptr<const Tracer> tracer;
};

template <class F>
void in_simulation(F&& fn) {
  runtime::Simulation sim(7);
  sim.run([&] { fn(); });
}

}  // namespace

TEST_CASE("a share of all traces is sampled, by the trace's id", "[trace]") {
  in_simulation([] {
    Fixture f({.ratio = 0.01, .errors = false, .per_second = 0});
    int kept = 0;
    for (int i = 0; i != 100'000; ++i) kept += f.serve("") ? 1 : 0;
    CHECK(kept > 850);
    CHECK(kept < 1150);
    CHECK(f.metrics.by_ratio->value() == static_cast<std::uint64_t>(kept));
    const Tracer none({.ratio = 0}, f.queue);
    const Tracer all({.ratio = 1}, f.queue);
    const Tracer half({.ratio = 0.5}, f.queue);
    for (const std::uint64_t low : {std::uint64_t{0}, UINT64_MAX / 2 - 1, UINT64_MAX / 2 + 2, UINT64_MAX}) {
      CHECK_FALSE(none.by_ratio({1, low}));
      CHECK(all.by_ratio({1, low}));
      CHECK(half.by_ratio({1, low}) == (low < UINT64_MAX / 2));
    }
  });
}

TEST_CASE("a caller's word decides, or, if it is not to, the share", "[trace]") {
  in_simulation([] {
    Fixture trusting({.ratio = 1, .parent = true, .errors = false});
    CHECK(trusting.serve(kSampled));
    CHECK_FALSE(trusting.serve(kUnsampled));
    CHECK(trusting.metrics.by_parent->value() == 1);
    Fixture careful({.ratio = 0, .parent = false, .errors = false});
    CHECK_FALSE(careful.serve(kSampled));
    Fixture wrong({.ratio = 0, .errors = false});
    CHECK_FALSE(wrong.serve("00-x"));
    CHECK(wrong.metrics.invalid->value() == 1);
  });
}

TEST_CASE("a request goes on with its caller's trace, and what is none begins one", "[trace]") {
  in_simulation([] {
    Fixture f({.ratio = 1});
    RequestSpan on(f.tracer, kUnsampled, 1);
    const trace::SpanContext ids = on.ids();
    CHECK(ids.trace_id == trace::TraceId{0x0af7651916cd43dd, 0x8448eb211c80319c});
    CHECK(ids.span_id.valid());
    CHECK(ids.span_id != trace::SpanId{0xb7ad6b7169203331});
    CHECK_FALSE(ids.sampled);
    CHECK(on.ids() == ids);
    RequestSpan fresh(f.tracer, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1", 1);
    CHECK(fresh.ids().valid());
    CHECK(fresh.ids().trace_id != ids.trace_id);
    CHECK(fresh.ids().sampled);
  });
}

TEST_CASE("requests that failed or took long are kept at their end, with what they did", "[trace]") {
  in_simulation([] {
    Fixture f({.ratio = 0, .errors = true, .slow = 500ms});
    const auto work = [](RequestSpan& span) {
      const context::Context ctx = context::with_value(context::background(), trace::kCurrent, span.current("foo=1"));
      trace::Span child(ctx, "child");
      CHECK(child.recording());
      CHECK_FALSE(child.ids().sampled);  // what is asked of others is not told to be kept
      trace::Span grandchild(child.context(), "grandchild");
      CHECK(trace::current(grandchild.context()) == grandchild.ids());
    };
    CHECK_FALSE(f.serve("", 200, 499'999'999, work));
    CHECK(sent(*f.queue).empty());
    CHECK(f.queue->held() == 0);
    CHECK_FALSE(f.serve("", 404, 1, work));
    CHECK(f.serve("", 500, 1, work));
    const std::vector<std::string> spans = sent(*f.queue);
    REQUIRE(spans.size() == 4);
    CHECK(spans[0].find("grandchild") != std::string::npos);
    CHECK(spans[1].find("\"child\"") != std::string::npos);
    CHECK(spans[1].find("\"traceState\":\"foo=1\"") != std::string::npos);
    CHECK(spans[2].find("handler") != std::string::npos);
    CHECK(spans[3].find("request") != std::string::npos);
    CHECK(f.serve("", 200, 500'000'000));
    CHECK(f.metrics.by_error->value() == 1);
    CHECK(f.metrics.by_slow->value() == 1);
    (void)sent(*f.queue);
    CHECK(f.queue->held() == 0);
  });
}

TEST_CASE("where nothing may be kept at the end nothing is written down", "[trace]") {
  in_simulation([] {
    Fixture f({.ratio = 0, .errors = false});
    (void)f.serve("", 500, 1, [](RequestSpan& span) {
      const context::Context ctx = context::with_value(context::background(), trace::kCurrent, span.current({}));
      trace::Span child(ctx, "child");
      CHECK_FALSE(child.recording());
      CHECK(child.ids().valid());
      CHECK(child.traceparent().ends_with("-00"));
      child.set("a", 1).event("e").fail("x").ok();
    });
    CHECK(f.queue->held() == 0);
  });
}

TEST_CASE("a context without a trace has no spans, and a span of it does nothing", "[trace]") {
  const context::Cancelable ctx = context::with_cancel(context::background());
  trace::Span span(ctx.context, "nothing");
  CHECK_FALSE(span.recording());
  CHECK_FALSE(span.ids().valid());
  CHECK(span.context() == ctx.context);
  CHECK(span.traceparent().empty());
  CHECK(span.tracestate().empty());
  span.set("a", 1).event("e").fail("x");
  trace::Span moved = std::move(span);
  moved.end();
  CHECK_FALSE(trace::current(ctx.context).valid());
}

TEST_CASE("a fiber that outlives its request has its spans where the request's are", "[trace]") {
  in_simulation([] {
    Fixture f({.ratio = 0, .errors = true});
    context::Context left;
    const auto leave = [&](RequestSpan& span) {
      left = context::with_value(context::background(), trace::kCurrent, span.current({}));
    };
    CHECK(f.serve("", 503, 1, leave));
    (void)sent(*f.queue);
    { trace::Span late(left, "late"); }
    REQUIRE(sent(*f.queue).size() == 1);
    CHECK_FALSE(f.serve("", 200, 1, leave));
    trace::Span forgotten(left, "forgotten");
    CHECK_FALSE(forgotten.recording());
    forgotten.end();
    CHECK(sent(*f.queue).empty());
    left = {};
    CHECK(f.queue->held() == 0);
  });
}

TEST_CASE("spans of a request that are held for its end are bounded", "[trace]") {
  in_simulation([] {
    Fixture f({.ratio = 0, .errors = true, .spans = 3});
    CHECK(f.serve("", 500, 1, [](RequestSpan& span) {
      const context::Context ctx = context::with_value(context::background(), trace::kCurrent, span.current({}));
      for (int i = 0; i != 10; ++i) trace::Span child(ctx, "child");
    }));
    CHECK(sent(*f.queue).size() == 5);
    CHECK(f.metrics.too_many->value() == 7);
    CHECK(f.queue->held() == 0);
  });
}

TEST_CASE("what nobody takes is bounded in bytes, and what comes beyond is counted", "[trace]") {
  in_simulation([] {
    Fixture f({.ratio = 1, .per_second = 0}, 16 * 1024);
    for (int i = 0; i != 1000; ++i) (void)f.serve("");
    CHECK(f.queue->held() <= 16 * 1024);
    const std::size_t waited = sent(*f.queue).size();
    CHECK(waited > 10);
    CHECK(waited + f.metrics.no_room->value() == 2000);  // of each the request's and the handler's
    CHECK(f.queue->held() == 0);
    CHECK(f.serve(""));  // and goes on
    CHECK(sent(*f.queue).size() == 2);
  });
}

TEST_CASE("how many traces are kept in a second is bounded, whoever asks for it", "[trace]") {
  in_simulation([] {
    Fixture f({.ratio = 0, .errors = true, .per_second = 10});
    const auto keep = [&](const char* parent, unsigned status) {
      int kept = 0;
      for (int i = 0; i != 100; ++i) kept += f.serve(parent, status) ? 1 : 0;
      return kept;
    };
    CHECK(keep(kSampled, 200) == 10);
    CHECK(keep("", 500) == 0);
    CHECK(f.metrics.over_rate->value() == 190);
    (void)runtime::sleep_for(1s);
    CHECK(keep("", 500) == 10);
    RequestSpan beyond(f.tracer, kSampled, monotonic_now());
    CHECK_FALSE(beyond.ids().sampled);  // and what it asks of others is told so
  });
}

TEST_CASE("the queue loses and doubles nothing under many threads, and keeps the order of each", "[trace]") {
  SpanQueue queue(std::size_t{64} << 20U);
  std::atomic<int> told{0};
  queue.set_hook([](void* t) noexcept { ++*static_cast<std::atomic<int>*>(t); }, &told);
  queue.tell_at(100);
  constexpr int kEach = 5000;
  std::atomic<int> running{4};
  std::vector<std::thread> threads;
  for (int t = 0; t != 4; ++t)
    threads.emplace_back([&queue, &running, t] {
      for (int i = 0; i != kEach; ++i) {
        SpanQueue::List one;
        if (queue.add(one, std::to_string(t) + " " + std::to_string(i))) queue.push(one);
      }
      --running;
    });
  std::vector<int> next(4, 0);
  bool ordered = true;
  const auto take = [&] {
    SpanQueue::List list = queue.take(37);
    const bool any = list.count != 0;
    for (const SpanQueue::Node* n = list.first; n != nullptr; n = n->next) {
      const auto t = static_cast<std::size_t>(n->text[0] - '0');
      ordered = ordered && std::stoi(n->text.substr(2)) == next[t];
      ++next[t];
    }
    queue.drop(list);
    return any;
  };
  while (running != 0) (void)take();
  for (std::thread& t : threads) t.join();
  while (take()) {
  }
  CHECK(ordered);
  CHECK(next == std::vector<int>(4, kEach));
  CHECK(queue.held() == 0);
  CHECK(queue.waiting() == 0);
}

TEST_CASE("whoever sends is told once that enough waits, until it takes", "[trace]") {
  SpanQueue queue(1 << 20);
  int told = 0;
  queue.set_hook([](void* t) noexcept { ++*static_cast<int*>(t); }, &told);
  queue.tell_at(3);
  const auto put = [&] {
    SpanQueue::List one;
    REQUIRE(queue.add(one, "x"));
    queue.push(one);
  };
  put();
  put();
  CHECK(told == 0);
  for (int i = 0; i != 5; ++i) put();
  CHECK(told == 1);
  CHECK(sent(queue).size() == 7);
  for (int i = 0; i != 3; ++i) put();
  CHECK(told == 2);
  // And that half of the room is taken, however few they are.
  CHECK(sent(queue).size() == 3);
  SpanQueue::List one;
  REQUIRE(queue.add(one, std::string(600'000, 'x')));
  queue.push(one);
  CHECK(told == 3);
  queue.tell_at(1);
  CHECK(sent(queue).size() == 1);
  put();
  CHECK(told == 4);
}

TEST_CASE("an id that is made late fits what was drawn, whoever asks about it", "[trace]") {
  in_simulation([] {
    for (const double ratio : {0.0, 1e-6, 0.01, 0.5, 0.999, 1.0}) {
      INFO(ratio);
      Fixture f({.ratio = ratio, .errors = false, .per_second = 0});
      bool fits = true;
      for (int i = 0; i != 2000; ++i) {
        RequestSpan span(f.tracer, {}, 1);
        const trace::SpanContext ids = span.ids();
        fits = fits && ids.valid() && ids.sampled == f.tracer->by_ratio(ids.trace_id);
      }
      CHECK(fits);
    }
  });
}

TEST_CASE("what is sampled is spread as chance would", "[trace]") {
  in_simulation([] {
    Fixture f({.ratio = 0.25, .errors = false, .per_second = 0});
    // Of requests behind one that was sampled a quarter is sampled, too; of those behind one that was not as well.
    int behind[2] = {0, 0};
    int of[2] = {0, 0};
    bool last = false;
    for (int i = 0; i != 40'000; ++i) {
      const bool now = f.tracer->draw();
      ++of[last ? 1 : 0];
      behind[last ? 1 : 0] += now ? 1 : 0;
      last = now;
    }
    for (const int i : {0, 1}) {
      CHECK(behind[i] > of[i] * 0.22);
      CHECK(behind[i] < of[i] * 0.28);
    }
  });
}

TEST_CASE("a trace that is refused at its beginning and at its end is counted once", "[trace]") {
  in_simulation([] {
    Fixture f({.ratio = 1, .errors = true, .per_second = 1});
    CHECK(f.serve("", 500));
    for (int i = 0; i != 9; ++i) CHECK_FALSE(f.serve("", 500));
    CHECK(f.metrics.over_rate->value() == 9);
    for (int i = 0; i != 5; ++i) CHECK_FALSE(f.serve(kSampled, 200));
    CHECK(f.metrics.over_rate->value() == 14);
    // One that was refused, and is kept at its end: a second has gone by.
    const bool kept = f.serve("", 500, 2'000'000'000, [](RequestSpan&) { (void)runtime::sleep_for(2s); });
    CHECK(kept);
    CHECK(f.metrics.over_rate->value() == 14);
  });
}

TEST_CASE("behind the end of who sends nothing waits, whichever side was first", "[trace]") {
  in_simulation([] {
    Fixture f({.ratio = 1, .per_second = 0});
    metric::Counter& late = *f.metrics.too_many;  // which nothing else counts with here
    f.queue->count_late(&late);
    SpanQueue::List list;
    REQUIRE(f.queue->add(list, "{}"));
    CHECK(f.serve(""));
    f.queue->close();
    CHECK(sent(*f.queue).size() == 2);
    f.queue->push(list);  // charged before, pushed behind
    CHECK(late.value() == 1);
    CHECK_FALSE(f.serve(""));
    CHECK(f.metrics.no_room->value() == 2);
    CHECK(f.queue->held() == 0);
    CHECK(f.queue->waiting() == 0);
    f.queue->set_most(1 << 20);
    CHECK(f.serve(""));
    CHECK(sent(*f.queue).size() == 2);
  });
}

TEST_CASE("of a request's record a collector is told what was written down, cut and escaped", "[trace]") {
  in_simulation([] {
    Fixture f({.ratio = 1});
    RequestSpan span(f.tracer, {}, monotonic_now());
    span.no_handler_yet();
    REQUIRE(span.settle(200, 1));
    trace::RequestRecord record;
    record.add("number", std::int64_t{-7});
    for (int i = 0; i != 20; ++i)
      record.add("text", std::string(2000, i % 2 == 0 ? '"' : '\x01'));  // more than the stack's
    record.add("last", "\xff\xc3\xa4");
    span.record({"GET \"/\"", "", trace::SpanStatus::error, monotonic_now(), "a=1"}, record);
    const std::vector<std::string> spans = sent(*f.queue);
    REQUIRE(spans.size() == 1);
    const std::string& text = spans[0];
    CHECK(test::Json::valid(text));
    CHECK(text.find(R"("name":"GET \"/\"")") != std::string::npos);
    CHECK(text.find(R"("key":"number","value":{"intValue":"-7"})") != std::string::npos);
    CHECK(text.find(R"("traceState":"a=1")") != std::string::npos);
    CHECK(text.find(R"("droppedAttributesCount":)") != std::string::npos);
    CHECK(text.size() < 20'000);
    CHECK(f.queue->held() == 0);
  });
}

TEST_CASE("work that no request has begun has a trace where its context knows how one begins", "[trace]") {
  in_simulation([] {
    Fixture f({.ratio = 1});
    const auto source = std::make_shared<trace::Source>();
    const context::Context ctx = context::with_value(context::background(), trace::kSource, source);
    CHECK_FALSE(trace::Span(ctx, "off").ids().valid());
    source->set(f.tracer);
    {
      trace::Span job(ctx, "job");
      CHECK(job.recording());
      CHECK(job.ids().sampled);
      const trace::Span part(job.context(), "part");
      CHECK(part.ids().trace_id == job.ids().trace_id);
      CHECK(job.traceparent().ends_with("-01"));
    }
    const std::vector<std::string> spans = sent(*f.queue);
    REQUIRE(spans.size() == 2);
    CHECK(spans[0].find("\"part\"") != std::string::npos);
    CHECK(spans[0].find("parentSpanId") != std::string::npos);
    CHECK(spans[1].find("\"job\"") != std::string::npos);
    CHECK(spans[1].find("parentSpanId") == std::string::npos);
    CHECK(f.metrics.by_ratio->value() == 1);
    source->set(nullptr);
    CHECK_FALSE(trace::Span(ctx, "off").recording());
  });
}

TEST_CASE("of such work what failed or took long is kept though it was not sampled", "[trace]") {
  in_simulation([] {
    Fixture f({.ratio = 0, .errors = true, .slow = 500ms, .per_second = 2});
    const auto source = std::make_shared<trace::Source>();
    source->set(f.tracer);
    const context::Context ctx = context::with_value(context::background(), trace::kSource, source);
    const auto work = [&](std::chrono::nanoseconds time, bool fails) {
      trace::Span job(ctx, "job");
      { const trace::Span part(job.context(), "part"); }
      if (fails) job.fail("broken");
      (void)runtime::sleep_for(time);
      trace::Span moved = std::move(job);
      moved.end();
      return sent(*f.queue).size();
    };
    CHECK(work(499ms, false) == 0);
    CHECK(work(1ns, true) == 2);
    CHECK(work(500ms, false) == 2);
    CHECK(f.metrics.by_error->value() == 1);
    CHECK(f.metrics.by_slow->value() == 1);
    (void)runtime::sleep_for(1s);
    for (int i = 0; i != 5; ++i) (void)work(1ns, true);
    CHECK(f.metrics.over_rate->value() == 3);
    CHECK(f.queue->held() == 0);
    Fixture none({.ratio = 0, .errors = false});
    source->set(none.tracer);
    trace::Span job(ctx, "job");
    CHECK_FALSE(job.recording());
    // What is below it begins no trace of its own.
    const trace::Span part(job.context(), "part");
    CHECK(part.ids().trace_id == job.ids().trace_id);
  });
}
