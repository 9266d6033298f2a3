#pragma once
// A collector of OTLP/HTTP: keeps the spans that it is sent, and answers as a test writes it down. Strict: what is not
// as OTLP's JSON has it is told by errors().
#include <algorithm>
#include <boost/json.hpp>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/hostile_upstream.hpp"

namespace fiberd::test {

struct CollectedSpan {
  std::string trace_id;
  std::string span_id;
  std::string parent_id;  ///< empty: none
  std::string name;
  std::string state;
  std::int64_t kind = 0;
  std::int64_t flags = 0;
  std::int64_t begin = 0;  ///< Unix ns
  std::int64_t end = 0;
  std::int64_t status = 0;
  std::map<std::string, std::string> attributes{};  ///< numbers as text
  std::map<std::string, std::string> resource{};
};

class Collector {
 public:
  static constexpr std::string_view kTaken = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
  /// No answer, ever.
  static constexpr std::string_view kNever = "";
  /// Answers of requests, whichever connection brings them, in this order; the last one again and again.
  explicit Collector(std::vector<std::string> answers = {std::string(kTaken)})
      : answers_(std::move(answers)), upstream_({[this](UpstreamPeer& peer) { serve(peer); }}) {}

  [[nodiscard]] std::string url() const { return upstream_.url("/v1/traces"); }
  [[nodiscard]] unsigned posts() const { return upstream_.requests(); }
  /// Of the posts that were answered 200.
  [[nodiscard]] std::vector<CollectedSpan> spans() const {
    const std::lock_guard guard(mutex_);
    return spans_;
  }
  [[nodiscard]] std::vector<CollectedSpan> named(std::string_view name) const {
    std::vector<CollectedSpan> found;
    for (CollectedSpan& s : spans())
      if (s.name == name) found.push_back(std::move(s));
    return found;
  }
  [[nodiscard]] std::vector<std::string> heads() const {
    const std::lock_guard guard(mutex_);
    return heads_;
  }
  [[nodiscard]] std::string errors() const {
    const std::lock_guard guard(mutex_);
    return errors_;
  }

 private:
  void serve(UpstreamPeer& peer) {
    while (const auto head = peer.read_head()) {
      const auto body = peer.read_body(*head);
      if (!body) return;
      std::string answer;
      {
        const std::lock_guard guard(mutex_);
        answer = answers_[std::min(next_++, answers_.size() - 1)];
        heads_.push_back(*head);
        if (answer.starts_with("HTTP/1.1 200")) keep(*body);
      }
      if (answer == kNever) {
        (void)peer.wait_for_end();
        return;
      }
      if (!peer.send(answer)) return;
    }
  }
  void keep(const std::string& body) {
    namespace json = boost::json;
    try {
      const json::value all = json::parse(body);
      for (const json::value& r : all.as_object().at("resourceSpans").as_array())
        for (const json::value& scope : r.as_object().at("scopeSpans").as_array())
          for (const json::value& span : scope.as_object().at("spans").as_array()) {
            CollectedSpan s = read(span.as_object());
            s.resource = attributes_of(r.as_object().at("resource").as_object());
            spans_.push_back(std::move(s));
          }
    } catch (const std::exception& e) {
      errors_ += std::string(e.what()) + ": " + body + "\n";
    }
  }
  static std::string text(const boost::json::object& o, std::string_view key) {
    const boost::json::value* const v = o.if_contains({key.data(), key.size()});
    return v == nullptr ? std::string() : std::string(v->as_string().c_str());
  }
  std::string id(const boost::json::object& o, std::string_view key, std::size_t size, bool needed) {
    std::string made = text(o, key);
    const bool hex = made.size() == size && made.find_first_not_of("0123456789abcdef") == std::string::npos &&
                     made.find_first_not_of('0') != std::string::npos;
    if (!hex && (needed || !made.empty())) errors_ += std::string(key) + " is no id: " + made + "\n";
    return made;
  }
  std::int64_t time(const boost::json::object& o, std::string_view key) {
    const std::string made = text(o, key);
    if (made.empty() || made.find_first_not_of("0123456789") != std::string::npos)
      errors_ += std::string(key) + " is no time: " + made + "\n";
    return std::atoll(made.c_str());
  }
  CollectedSpan read(const boost::json::object& o) {
    CollectedSpan s;
    s.trace_id = id(o, "traceId", 32, true);
    s.span_id = id(o, "spanId", 16, true);
    s.parent_id = id(o, "parentSpanId", 16, false);
    s.name = text(o, "name");
    s.state = text(o, "traceState");
    s.kind = o.at("kind").as_int64();
    s.flags = o.at("flags").as_int64();
    s.begin = time(o, "startTimeUnixNano");
    s.end = time(o, "endTimeUnixNano");
    if (const auto* const status = o.if_contains("status")) s.status = status->as_object().at("code").as_int64();
    s.attributes = attributes_of(o);
    return s;
  }
  static std::map<std::string, std::string> attributes_of(const boost::json::object& o) {
    std::map<std::string, std::string> all;
    const boost::json::value* const list = o.if_contains("attributes");
    if (list == nullptr) return all;
    for (const boost::json::value& a : list->as_array()) {
      const boost::json::object& value = a.as_object().at("value").as_object();
      const auto& [type, v] = *value.begin();
      std::string as_text = v.is_string() ? std::string(v.as_string().c_str()) : boost::json::serialize(v);
      all[a.as_object().at("key").as_string().c_str()] = std::move(as_text);
    }
    return all;
  }

  const std::vector<std::string> answers_;
  mutable std::mutex mutex_;
  std::size_t next_ = 0;
  std::vector<CollectedSpan> spans_;
  std::vector<std::string> heads_;
  std::string errors_;
  HostileUpstream upstream_;
};

}  // namespace fiberd::test
