#pragma once
// Reads a trace as Perfetto's tools do, and says what is wrong with it: slices that do not nest or are left open, a
// track's clock that runs back, a track or a parent that nobody has described, a flow that ends without a begin.
#include <cstdint>
#include <map>
#include <protozero/pbf_reader.hpp>
#include <set>
#include <string>
#include <vector>

namespace fiberd::test {

class TraceFile {
 public:
  enum Type : std::int32_t { begin = 1, end = 2, instant = 3, counter = 4 };
  struct Event {
    std::int64_t time = 0;
    std::int32_t type = 0;
    std::uint64_t track = 0;
    std::int64_t value = 0;
    std::string name{};
    std::string category{};
    std::map<std::string, std::string> notes{};
    std::uint64_t flow = 0;
    std::uint64_t ending_flow = 0;
  };
  struct Track {
    std::string name;
    std::uint64_t parent = 0;
  };
  struct Slice {
    std::string track, name, category;
    std::int64_t from = 0, to = 0;
    std::size_t depth = 0;
    std::map<std::string, std::string> notes{};
  };

  /// Throws protozero's exceptions where it is no protobuf.
  explicit TraceFile(const std::string& bytes) {
    protozero::pbf_reader file(bytes);
    while (file.next())
      if (file.tag() == 1)
        read_packet(file.get_message());
      else
        file.skip(), problem("a field beside the packets");
    check_end();
  }

  std::vector<std::string> problems;
  std::vector<Event> events;
  std::map<std::uint64_t, Track> tracks;
  std::vector<Slice> slices;  // closed ones, in the order of their ends
  std::map<std::uint64_t, std::uint64_t> clocks;
  std::size_t flows_ended = 0;

  [[nodiscard]] std::vector<Slice> slices_named(const std::string& name) const {
    std::vector<Slice> found;
    for (const Slice& s : slices)
      if (s.name == name) found.push_back(s);
    return found;
  }
  [[nodiscard]] std::vector<Event> events_named(const std::string& name) const {
    std::vector<Event> found;
    for (const Event& e : events)
      if (e.name == name) found.push_back(e);
    return found;
  }
  [[nodiscard]] std::string all_problems() const {
    std::string text;
    for (std::size_t i = 0; i < problems.size() && i < 20; ++i) text += problems[i] + "\n";
    return text;
  }

 private:
  void problem(std::string what) { problems.push_back(std::move(what)); }

  void read_packet(protozero::pbf_reader packet) {
    Event event;
    bool has_event = false, has_time = false;
    std::uint32_t flags = 0, sequence = 0;
    std::string track_event, descriptor;
    while (packet.next()) switch (packet.tag()) {
        case 6: read_clocks(packet.get_message()); break;
        case 8: event.time = static_cast<std::int64_t>(packet.get_uint64()), has_time = true; break;
        case 10: sequence = packet.get_uint32(); break;
        case 11: track_event = packet.get_string(), has_event = true; break;
        case 12: read_interned(packet.get_message()); break;
        case 13: flags = packet.get_uint32(); break;
        case 59: defaults_ = true, packet.skip(); break;
        case 60: descriptor = packet.get_string(); break;
        default: problem("unknown field " + std::to_string(packet.tag())), packet.skip();
      }
    if (sequence == 0) problem("a packet without a sequence");
    if ((flags & 1U) != 0) cleared_ = true;
    if (!descriptor.empty()) read_descriptor(protozero::pbf_reader(descriptor));
    if (!has_event) return;
    if (!has_time) problem("an event without a time");
    if (!cleared_ || (flags & 2U) == 0 || !defaults_) problem("an event before the sequence's state");
    read_event(protozero::pbf_reader(track_event), event);
  }

  void read_clocks(protozero::pbf_reader snapshot) {
    while (snapshot.next()) {
      if (snapshot.tag() != 1) {
        snapshot.skip();
        continue;
      }
      std::uint64_t id = 0, time = 0;
      protozero::pbf_reader clock = snapshot.get_message();
      while (clock.next()) (clock.tag() == 1 ? id : time) = clock.get_uint64();
      clocks[id] = time;
    }
  }

  void read_interned(protozero::pbf_reader data) {
    while (data.next()) {
      auto& names = data.tag() == 2 ? names_ : keys_;
      std::uint64_t iid = 0;
      std::string text;
      protozero::pbf_reader entry = data.get_message();
      while (entry.next())
        if (entry.tag() == 1)
          iid = entry.get_uint64();
        else
          text = entry.get_string();
      if (iid == 0 || !names.emplace(iid, text).second) problem("a name interned twice, or as 0: " + text);
    }
  }

  void read_descriptor(protozero::pbf_reader d) {
    std::uint64_t uuid = 0;
    Track track;
    while (d.next()) switch (d.tag()) {
        case 1: uuid = d.get_uint64(); break;
        case 2: track.name = d.get_string(); break;
        case 5: track.parent = d.get_uint64(); break;
        default: d.skip();
      }
    if (track.parent != 0 && tracks.count(track.parent) == 0) problem("no parent of track " + track.name);
    if (uuid == 0 || !tracks.emplace(uuid, track).second) problem("a track described twice: " + track.name);
  }

  void read_event(protozero::pbf_reader e, Event& event) {
    while (e.next()) switch (e.tag()) {
        case 4: {
          std::uint64_t key = 0;
          std::string value;
          protozero::pbf_reader note = e.get_message();
          while (note.next()) switch (note.tag()) {
              case 1: key = note.get_uint64(); break;
              case 3: value = std::to_string(note.get_uint64()); break;
              default: value = note.get_string();
            }
          if (keys_.count(key) == 0) problem("a note without a name");
          event.notes[keys_[key]] = value;
          break;
        }
        case 9: event.type = e.get_enum(); break;
        case 10: {
          const std::uint64_t iid = e.get_uint64();
          if (names_.count(iid) == 0) problem("an event with a name that is not interned");
          event.name = names_[iid];
          break;
        }
        case 11: event.track = e.get_uint64(); break;
        case 22: event.category = e.get_string(); break;
        case 30: event.value = e.get_int64(); break;
        case 47: event.flow = e.get_fixed64(); break;
        case 48: event.ending_flow = e.get_fixed64(); break;
        default: problem("unknown field of an event"), e.skip();
      }
    check(event);
    events.push_back(event);
  }

  void check(const Event& e) {
    if (tracks.count(e.track) == 0) problem("an event on a track that nobody described");
    const std::string on = tracks[e.track].name;
    const auto [last, first] = last_.emplace(e.track, e.time);
    if (!first && e.time < last->second) problem("the clock of " + on + " runs back");
    last->second = e.time;
    if (e.flow != 0 && !flows_.insert(e.flow).second) problem("a flow that begins twice");
    if (e.ending_flow != 0) {
      if (flows_.count(e.ending_flow) == 0) problem("a flow ends that did not begin");
      if (!ended_.insert(e.ending_flow).second) problem("a flow ends twice");
      ++flows_ended;
    }
    auto& open = open_[e.track];
    if (e.type == begin) {
      open.push_back({on, e.name, e.category, e.time, 0, open.size(), e.notes});
    } else if (e.type == end) {
      if (open.empty()) return problem("an end without a begin on " + on);
      open.back().to = e.time;
      slices.push_back(open.back());
      open.pop_back();
    }
  }

  void check_end() {
    for (const auto& [track, open] : open_)
      if (!open.empty()) problem("left open on " + tracks[track].name + ": " + open.back().name);
  }

  bool cleared_ = false, defaults_ = false;
  std::map<std::uint64_t, std::string> names_, keys_;
  std::map<std::uint64_t, std::int64_t> last_;
  std::map<std::uint64_t, std::vector<Slice>> open_;
  std::set<std::uint64_t> flows_, ended_;
};

}  // namespace fiberd::test
