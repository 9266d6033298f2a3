#include "core/observe/perfetto_trace.hpp"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <protozero/pbf_writer.hpp>
#include <utility>

#include "core/base/clock.hpp"
#include "core/base/printable.hpp"
#include "core/runtime/blocking.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/scheduler.hpp"

namespace fiberd::observe {

namespace {

using protozero::pbf_writer;
using runtime::TraceItem;
using runtime::TraceKind;

// Field numbers of protos/perfetto/trace (the subset that is used: tests/support/perfetto_subset.proto).
constexpr protozero::pbf_tag_type kPacket = 1;
enum Packet : protozero::pbf_tag_type {
  kClockSnapshot = 6,
  kTimestamp = 8,
  kSequenceId = 10,
  kTrackEvent = 11,
  kInternedData = 12,
  kSequenceFlags = 13,
  kDefaults = 59,
  kTrackDescriptor = 60
};
enum Clock : protozero::pbf_tag_type { kClock = 1, kClockId = 1, kClockTime = 2, kPrimaryClock = 2 };
enum Descriptor : protozero::pbf_tag_type {
  kUuid = 1,
  kTrackName = 2,
  kProcess = 3,
  kParent = 5,
  kCounter = 8,
  kChildOrder = 11,
  kRank = 12
};
enum Event : protozero::pbf_tag_type {
  kAnnotation = 4,
  kType = 9,
  kNameIid = 10,
  kTrackUuid = 11,
  kCategories = 22,
  kCounterValue = 30,
  kFlow = 47,
  kEndingFlow = 48
};
enum Note : protozero::pbf_tag_type { kNoteKey = 1, kNoteNumber = 3, kNoteText = 6 };
enum Interned : protozero::pbf_tag_type { kEventNames = 2, kNoteNames = 3 };
enum InternedName : protozero::pbf_tag_type { kIid = 1, kInternedText = 2 };
enum EventType : std::int32_t { kBegin = 1, kEnd = 2, kInstant = 3, kCount = 4 };
constexpr std::uint32_t kCleared = 1;
constexpr std::uint32_t kNeeds = 2;
constexpr std::uint32_t kMonotonic = 3;
constexpr std::uint32_t kSequence = 1;
constexpr std::uint64_t kProcessTrack = 1;
constexpr std::uint64_t kProcessors = 2;
constexpr std::uint64_t kFibers = 3;
constexpr std::uint64_t kThreads = 4;
constexpr std::uint64_t kLost = 5;

std::uint64_t ns_of(clockid_t clock) noexcept {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(t.tv_nsec);
}

std::string_view text_of(const char* text) noexcept { return text != nullptr ? std::string_view(text) : ""; }

}  // namespace

PerfettoTrace::PerfettoTrace(FindFiber find) : find_(std::move(find)) {
  threads_.uuid = kThreads;
  lost_.uuid = kLost;
}

// ---------------------------------------------------------------------------------------------- packets

static std::uint64_t intern(std::map<std::string, std::uint64_t, std::less<>>& known, std::string& fresh,
                            Interned field, std::string_view text) {
  std::string shown = printable(text, 256);
  const auto at = known.find(shown);
  if (at != known.end()) return at->second;
  const std::uint64_t iid = known.size() + 1;
  pbf_writer data(fresh);
  pbf_writer entry(data, field);
  entry.add_uint64(kIid, iid);
  entry.add_string(kInternedText, shown);
  known.emplace(std::move(shown), iid);
  return iid;
}

std::uint64_t PerfettoTrace::name(std::string_view text) { return intern(names_, new_names_, kEventNames, text); }
std::uint64_t PerfettoTrace::key(std::string_view text) { return intern(keys_, new_names_, kNoteNames, text); }

void PerfettoTrace::describe(std::uint64_t uuid, std::uint64_t parent, std::string_view text, std::int64_t rank) {
  pbf_writer file(out_);
  pbf_writer packet(file, kPacket);
  packet.add_uint32(kSequenceId, kSequence);
  pbf_writer track(packet, kTrackDescriptor);
  track.add_uint64(kUuid, uuid);
  track.add_string(kTrackName, text.data(), text.size());
  if (parent != 0) track.add_uint64(kParent, parent);
  if (rank >= 0) track.add_int32(kRank, static_cast<std::int32_t>(rank));
  if (uuid == kProcessors) track.add_int32(kChildOrder, 3);        // by rank
  if (uuid == kLost) pbf_writer(track, kCounter).add_int64(3, 2);  // unit: count
  if (uuid == kProcessTrack) {
    pbf_writer process(track, kProcess);
    process.add_int32(1, static_cast<std::int32_t>(::getpid()));
    process.add_string(6, "fiberd");
  }
}

/// An event's packet; `fill` adds to the event what is its own.
template <class Fill>
static void event(std::string& out, std::string& new_names, std::int64_t time, EventType type, std::uint64_t track,
                  Fill&& fill) {
  pbf_writer file(out);
  pbf_writer packet(file, kPacket);
  packet.add_uint64(kTimestamp, static_cast<std::uint64_t>(time));
  packet.add_uint32(kSequenceId, kSequence);
  packet.add_uint32(kSequenceFlags, kNeeds);
  if (!new_names.empty()) {
    packet.add_message(kInternedData, new_names);
    new_names.clear();
  }
  pbf_writer e(packet, kTrackEvent);
  e.add_enum(kType, type);
  e.add_uint64(kTrackUuid, track);
  fill(e);
}

static std::int64_t forward(std::int64_t& last, std::int64_t time) noexcept { return last = std::max(last, time); }

void PerfettoTrace::begin_slice(Track& track, std::int64_t time, std::uint64_t name, std::string_view category,
                                std::uint64_t ending_flow, std::uint64_t fiber_id) {
  const std::uint64_t id_key = fiber_id != 0 ? key("fiber") : 0;
  event(out_, new_names_, forward(track.last, time), kBegin, track.uuid, [&](pbf_writer& e) {
    if (fiber_id != 0) {
      pbf_writer note(e, kAnnotation);
      note.add_uint64(kNoteKey, id_key);
      note.add_uint64(kNoteNumber, fiber_id);
    }
    e.add_uint64(kNameIid, name);
    e.add_string(kCategories, category.data(), category.size());
    if (ending_flow != 0) e.add_fixed64(kEndingFlow, ending_flow);
  });
}

void PerfettoTrace::end_slice(Track& track, std::int64_t time) {
  event(out_, new_names_, forward(track.last, time), kEnd, track.uuid, [](pbf_writer&) {});
}

void PerfettoTrace::instant(Track& track, std::int64_t time, std::uint64_t name, std::string_view category,
                            std::uint64_t flow, std::string_view note_key, std::uint64_t number,
                            std::string_view text) {
  const std::uint64_t iid = note_key.empty() ? 0 : key(note_key);
  event(out_, new_names_, forward(track.last, time), kInstant, track.uuid, [&](pbf_writer& e) {
    if (iid != 0) {
      pbf_writer note(e, kAnnotation);
      note.add_uint64(kNoteKey, iid);
      if (text.data() != nullptr)
        note.add_string(kNoteText, printable(text, 1024));
      else
        note.add_uint64(kNoteNumber, number);
    }
    e.add_uint64(kNameIid, name);
    e.add_string(kCategories, category.data(), category.size());
    if (flow != 0) e.add_fixed64(kFlow, flow);
  });
}

// ---------------------------------------------------------------------------------------------- tracks

void PerfettoTrace::begin(std::int64_t now) {
  {
    pbf_writer file(out_);
    pbf_writer packet(file, kPacket);
    packet.add_uint32(kSequenceId, kSequence);
    packet.add_uint32(kSequenceFlags, kCleared);
    pbf_writer(packet, kDefaults).add_uint32(58, kMonotonic);
    pbf_writer clocks(packet, kClockSnapshot);
    for (const auto& [id, clock] :
         {std::pair{6U, CLOCK_BOOTTIME}, std::pair{3U, CLOCK_MONOTONIC}, std::pair{1U, CLOCK_REALTIME}}) {
      pbf_writer one(clocks, kClock);
      one.add_uint32(kClockId, id);
      one.add_uint64(kClockTime, ns_of(clock));
    }
    clocks.add_uint32(kPrimaryClock, kMonotonic);
  }
  describe(kProcessTrack, 0, "fiberd");
  describe(kProcessors, kProcessTrack, "Processors", 0);
  describe(kFibers, kProcessTrack, "Fibers", 3);
  describe(kThreads, kProcessTrack, "threads without a Processor", 1);
  describe(kLost, kProcessTrack, "events lost", 2);
  add_lost(0, now);
}

PerfettoTrace::FiberTrack& PerfettoTrace::name_fiber(std::uint32_t index, std::uint64_t id, std::string_view text) {
  FiberTrack& f = fibers_[index];
  // The end of the one that had the index before was lost.
  for (; !f.open.empty(); f.open.pop_back()) end_slice(f, f.last);
  f = FiberTrack();
  f.known = true;
  f.id = id;
  f.name = name(text);
  if (fibers_.size() <= kMostFibers) {
    f.uuid = next_uuid_++;
    describe(f.uuid, kFibers, printable(text, 128) + " " + std::to_string(id));
  }
  return f;
}

PerfettoTrace::FiberTrack& PerfettoTrace::fiber(std::uint32_t index) {
  const auto at = fibers_.find(index);
  if (at != fibers_.end()) return at->second;
  runtime::FiberOrigin origin;
  if (find_ && find_(index, origin)) return name_fiber(index, origin.id, origin.name);
  return name_fiber(index, 0, "a fiber that has ended");
}

PerfettoTrace::ProcessorTrack& PerfettoTrace::processor(const TraceItem& item) {
  ProcessorTrack& p = processors_[{item.ring, item.place}];
  if (p.uuid != 0) return p;
  p.uuid = next_uuid_++;
  if (rings_.size() <= item.place) rings_.resize(item.place + 1);
  const std::uint32_t nth = ++rings_[item.place];
  // Another at the same place: it was replaced (a hand-off), and perhaps both run.
  describe(p.uuid, kProcessors, "P" + std::to_string(item.place) + (nth > 1 ? " (" + std::to_string(nth) + ")" : ""),
           item.place);
  return p;
}

// ---------------------------------------------------------------------------------------------- fibers

void PerfettoTrace::open(FiberTrack& f, std::int64_t time, Open what, const char* which, std::uint64_t slice_name) {
  if (f.uuid == 0) return;
  static constexpr std::array<std::string_view, 5> kCategory{"request", "region", "wait", "wait", "syscall"};
  f.open.emplace_back(what, which);
  begin_slice(f, time, slice_name, kCategory[static_cast<std::size_t>(what)]);
}

/// With what is open inside of it. False: none is open.
bool PerfettoTrace::close(FiberTrack& f, std::int64_t time, Open what, const char* which) {
  const auto at = std::find_if(f.open.rbegin(), f.open.rend(), [&](const auto& o) {
    return o.first == what && (which == nullptr || o.second == which);
  });
  if (at == f.open.rend()) return false;
  for (auto n = at - f.open.rbegin() + 1; n > 0; --n) {
    f.open.pop_back();
    end_slice(f, time);
  }
  return true;
}

void PerfettoTrace::close_waits(FiberTrack& f, std::int64_t time) {
  while (!f.open.empty() && (f.open.back().first == Open::waiting || f.open.back().first == Open::runnable)) {
    f.open.pop_back();
    end_slice(f, time);
  }
}

void PerfettoTrace::fiber_left(std::uint32_t index, std::int64_t time, std::uint32_t how) {
  const auto after = static_cast<runtime::After>(how & 0xffU);
  // How it left is elsewhere: in a blocking section its Processor was taken, or its turn is in no ring any more.
  if (after == runtime::After::none) return;
  FiberTrack& f = fiber(index);
  close_waits(f, time);
  switch (after) {
    case runtime::After::park:
      (void)close(f, time, Open::section);  // a wait ends it
      open(f, time, Open::waiting, nullptr, name(runtime::to_string(static_cast<runtime::WaitReason>(how >> 8U))));
      break;
    case runtime::After::yield: open(f, time, Open::runnable, nullptr, name("runnable")); break;
    case runtime::After::end:
      while (!f.open.empty()) {
        f.open.pop_back();
        end_slice(f, time);
      }
      fibers_.erase(index);
      break;
    case runtime::After::none: break;
  }
}

void PerfettoTrace::fiber_runs(std::uint32_t index, std::int64_t time) { close_waits(fiber(index), time); }

void PerfettoTrace::stop_slice(ProcessorTrack& p, std::int64_t time, std::uint32_t how) {
  if (p.sleeps) end_slice(p, time);
  p.sleeps = false;
  if (p.fiber == 0) return;
  end_slice(p, time);
  fiber_left(std::exchange(p.fiber, 0), time, how);
}

/// At a switch: the slice that is open is not that of the fiber which left where events were lost between.
void PerfettoTrace::leave(ProcessorTrack& p, const TraceItem& item) {
  const bool same = p.fiber == item.by;
  stop_slice(p, item.time, same ? item.argument : 0);
  if (!same && item.by != 0) fiber_left(item.by, item.time, item.argument);
}

// ---------------------------------------------------------------------------------------------- events

void PerfettoTrace::add(const TraceItem& item) {
  const bool shared = item.ring == TraceItem::kShared;
  Track& track = shared ? threads_ : static_cast<Track&>(processor(item));
  const std::int64_t t = item.time;
  const auto of_thread = [&](std::string_view what, std::string_view category) {
    instant(track, t, name(what), category, 0, "thread", item.thread);
  };
  // A fiber's own event in a ring that knows of no turn of its yet: it began before the first event.
  if (!shared && item.by != 0 && item.kind != TraceKind::run && item.kind != TraceKind::stop) {
    auto& p = static_cast<ProcessorTrack&>(track);
    if (p.fiber != item.by) {
      stop_slice(p, t, 0);
      const FiberTrack& f = fiber(item.by);
      begin_slice(p, t, f.name, "run", 0, f.id);
      p.fiber = item.by;
    }
  }
  switch (item.kind) {
    case TraceKind::spawn: {
      std::uint64_t id = item.argument;  // the low half; the other is that of whoever has the index now
      if (runtime::FiberOrigin origin; find_ && find_(item.fiber, origin)) {
        id |= origin.id & ~std::uint64_t{UINT32_MAX};
        if (id > origin.id) id -= std::uint64_t{1} << 32U;
      }
      FiberTrack& f = name_fiber(item.fiber, id, text_of(item.text));
      f.flow = next_flow_++;
      instant(track, t, name("spawn"), "spawn", f.flow, "fiber", id);
      open(f, t, Open::runnable, nullptr, name("runnable"));
      break;
    }
    case TraceKind::ready: {
      FiberTrack& f = fiber(item.fiber);
      if (f.flow == 0) {
        f.flow = next_flow_++;
        static constexpr std::array<std::string_view, 4> kWakes{"wake", "wake", "time-out", "cancel"};
        instant(track, t, name(kWakes[item.argument & 3U]), "wake", f.flow, "fiber", f.id);
      }
      const bool waited = !f.open.empty() && f.open.back().first == Open::waiting;
      close_waits(f, t);
      // On its way to park, or before the first event: nothing is known to have ended.
      if (waited) open(f, t, Open::runnable, nullptr, name("runnable"));
      break;
    }
    case TraceKind::run: {
      if (shared) {  // a fiber with a thread of its own
        fiber_runs(item.fiber, t);
        break;
      }
      auto& p = static_cast<ProcessorTrack&>(track);
      leave(p, item);
      FiberTrack& f = fiber(item.fiber);
      begin_slice(p, t, f.name, "run", std::exchange(f.flow, 0), f.id);
      p.fiber = item.fiber;
      fiber_runs(item.fiber, t);
      break;
    }
    case TraceKind::stop: {
      if (shared) {
        fiber_left(item.fiber, t, item.argument);
        break;
      }
      leave(static_cast<ProcessorTrack&>(track), item);
      break;
    }
    case TraceKind::sleep: {
      if (shared) break;
      auto& p = static_cast<ProcessorTrack&>(track);
      stop_slice(p, t, 0);
      begin_slice(p, t, name("idle"), "idle");
      p.sleeps = true;
      break;
    }
    case TraceKind::poll: {
      if (!shared) {
        auto& p = static_cast<ProcessorTrack&>(track);
        if (p.sleeps) end_slice(p, t);
        p.sleeps = false;
      }
      if (item.argument != 0) instant(track, t, name("netpoll"), "net", 0, "events", item.argument);
      break;
    }
    case TraceKind::timer: instant(track, t, name("timer"), "timer", 0); break;
    case TraceKind::steal: instant(track, t, name("steal"), "steal", 0, "fibers", item.argument); break;
    case TraceKind::handoff: instant(track, t, name("hand-off"), "handoff", 0, "processor", item.argument); break;
    case TraceKind::retake:
      instant(track, t, name("taken from a blocking section"), "handoff", 0, "processor", item.argument);
      break;
    case TraceKind::section_begin:
      if (item.by != 0) open(fiber(item.by), t, Open::section, nullptr, name("blocking section"));
      break;
    case TraceKind::section_end:
      if (item.by != 0) (void)close(fiber(item.by), t, Open::section);
      break;
    case TraceKind::request_begin:
      if (item.by == 0) break;
      (void)close(fiber(item.by), t, Open::request);
      open(fiber(item.by), t, Open::request, item.text, name(text_of(item.text)));
      break;
    case TraceKind::request_end:
      if (item.by == 0) break;
      if (FiberTrack& f = fiber(item.by); f.uuid != 0) {
        instant(f, t, name("answer"), "request", 0, "status", item.argument);
        (void)close(f, t, Open::request);
      }
      break;
    case TraceKind::region_begin:
      if (item.by != 0) open(fiber(item.by), t, Open::region, item.text, name(text_of(item.text)));
      break;
    case TraceKind::region_end:
      if (item.by != 0) (void)close(fiber(item.by), t, Open::region, item.text);
      break;
    case TraceKind::log:
      if (FiberTrack* const f = item.by != 0 ? &fiber(item.by) : nullptr; f != nullptr && f->uuid != 0)
        instant(*f, t, name(text_of(item.text)), "log", 0, "message", 0, item.message);
      else
        instant(track, t, name(text_of(item.text)), "log", 0, "message", 0, item.message);
      break;
    case TraceKind::place:
      if (shared) of_thread("place", "sched");
      break;
    default: break;
  }
}

void PerfettoTrace::add_lost(std::uint64_t slots, std::int64_t now) {
  lost_slots_ += slots;
  event(out_, new_names_, forward(lost_.last, now), kCount, kLost,
        [this](pbf_writer& e) { e.add_int64(kCounterValue, static_cast<std::int64_t>(lost_slots_)); });
}

void PerfettoTrace::end(std::int64_t now) {
  for (auto& [index, f] : fibers_) {
    for (; !f.open.empty(); f.open.pop_back()) end_slice(f, now);
  }
  for (auto& [ring, p] : processors_) {
    if (p.fiber != 0 || p.sleeps) end_slice(p, now);
    p.fiber = 0;
    p.sleeps = false;
  }
  add_lost(0, now);
}

std::string PerfettoTrace::take() { return std::exchange(out_, {}); }

// ---------------------------------------------------------------------------------------------- a file

Result<void> write_trace(std::chrono::nanoseconds length,
                         const std::function<Result<void>(std::string_view piece)>& sink,
                         const std::function<bool()>& enough) {
  runtime::Scheduler* const s = runtime::Scheduler::instance();
  if (s == nullptr || !s->tracer().on()) return fail(std::errc::not_supported);
  static constexpr auto kLook = std::chrono::milliseconds(20);  // a full ring of 1 MiB is some 100 ms of a busy server
  static constexpr std::size_t kPiece = std::size_t{256} * 1024;
  const bool on_fiber = runtime::on_fiber();
  PerfettoTrace trace([s](std::uint32_t index, runtime::FiberOrigin& origin) { return s->find_origin(index, origin); });
  runtime::TraceReader reader(
      s->tracer(), length.count() == 0 ? runtime::TraceReader::From::oldest : runtime::TraceReader::From::now);
  const std::int64_t began = monotonic_now();
  trace.begin(began);
  Result<void> written;
  // Encoding takes milliseconds of CPU, for which a fiber would hold its Processor.
  const auto look = [&](bool last) {
    std::string pieces;
    const auto work = [&] {
      const std::uint64_t lost = reader.look([&](const TraceItem& item) { trace.add(item); });
      if (lost != 0) trace.add_lost(lost, reader.until());
      if (last) trace.end(reader.until());
      pieces = trace.take();
    };
    if (on_fiber)
      runtime::blocking(work);
    else
      work();
    for (std::size_t at = 0; at < pieces.size() && written; at += kPiece)
      written = sink(std::string_view(pieces).substr(at, kPiece));
  };
  while (length.count() != 0 && written) {
    const std::int64_t left = time_after(began, length) - monotonic_now();
    if (left <= 0 || (enough && enough())) break;
    const std::int64_t pause = std::min<std::int64_t>(left, std::chrono::nanoseconds(kLook).count());
    if (on_fiber) {
      if (!runtime::sleep_for(std::chrono::nanoseconds(pause))) return fail(std::errc::operation_canceled);
    } else {
      const timespec t{0, static_cast<long>(pause)};
      (void)nanosleep(&t, nullptr);
    }
    look(false);
  }
  if (written) look(true);
  return written;
}

}  // namespace fiberd::observe
