#pragma once
// What waits in a queue of spans, as it would be sent.
#include <catch2/catch.hpp>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/trace/span_queue.hpp"

namespace fiberd::test {

/// Takes all of it; one text a span.
inline std::vector<std::string> sent_spans(trace::SpanQueue& queue) {
  trace::SpanQueue::List list = queue.take(SIZE_MAX);
  std::vector<std::string> texts;
  for (const trace::SpanQueue::Node* n = list.first; n != nullptr; n = n->next) {
    std::string text;
    n->write(text);
    CHECK(text.size() <= n->written);
    for (std::uint32_t i = 1; i != n->spans; ++i) {
      const std::size_t next = text.find("},{\"traceId\"");
      REQUIRE(next != std::string::npos);
      texts.push_back(text.substr(0, next + 1));
      text.erase(0, next + 2);
    }
    texts.push_back(std::move(text));
  }
  queue.drop(list);
  return texts;
}

}  // namespace fiberd::test
