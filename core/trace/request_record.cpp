#include "core/trace/request_record.hpp"

#include <algorithm>
#include <utility>

#include "core/base/utf8.hpp"

namespace fiberd::trace {

std::string_view RequestRecord::cut(std::string_view text) noexcept {
  return text.substr(0, utf8_cut(text, kMostValue));
}

void RequestRecord::grow(std::size_t size) {
  const std::size_t wanted = std::max(2 * capacity_, size_ + size);
  std::unique_ptr<char[]> larger(new char[wanted]);
  std::memcpy(larger.get(), bytes_, size_);
  more_ = std::move(larger);
  bytes_ = more_.get();
  capacity_ = wanted;
}

SpanQueue::Record RequestRecord::finish(const Facts& facts, std::string_view name, std::string_view handler_name,
                                        std::string_view tracestate) {
  const auto within = [](std::string_view text, std::size_t most) {
    return text.size() <= most ? text : text.substr(0, utf8_cut(text, most));
  };
  name = within(name, kMostName);
  handler_name = within(handler_name, kMostName);
  tracestate = tracestate.substr(0, UINT16_MAX);
  const Head head{.facts = facts,
                  .attributes = static_cast<std::uint32_t>(size_ - sizeof(Head)),
                  .name = static_cast<std::uint16_t>(name.size()),
                  .handler_name = static_cast<std::uint16_t>(handler_name.size()),
                  .tracestate = static_cast<std::uint16_t>(tracestate.size())};
  const std::size_t texts = name.size() + handler_name.size() + tracestate.size();
  for (const std::string_view text : {name, handler_name, tracestate})
    if (!text.empty()) std::memcpy(room(text.size()), text.data(), text.size());
  std::memcpy(bytes_, &head, sizeof head);
  return {.bytes = std::string(bytes_, size_),
          .writer = &RequestRecord::write,
          .spans = facts.handler.valid() ? 2U : 1U,
          .written = static_cast<std::uint32_t>(written_ + kEscaped * (texts + tracestate.size()))};
}

void RequestRecord::write(std::string_view record, std::string& out) {
  Head head;
  std::memcpy(&head, record.data(), sizeof head);
  std::string_view rest = record.substr(sizeof head);
  const auto take = [&rest](std::size_t size) {
    const std::string_view taken = rest.substr(0, size);
    rest.remove_prefix(size);
    return taken;
  };
  std::string_view list = take(head.attributes);
  const std::string_view name = take(head.name);
  const std::string_view handler_name = take(head.handler_name);
  const Facts& f = head.facts;
  if (f.handler.valid()) {
    append_span(out,
                {.span = {f.span.trace_id, f.handler, true},
                 .parent = f.span.span_id,
                 .name = handler_name,
                 .begin = f.handler_begin,
                 .end = f.handler_end,
                 .tracestate = rest},
                {});
    out += ',';
  }
  const SpanFacts request{.span = f.span,
                          .parent = f.parent,
                          .parent_is_remote = f.parent.valid(),
                          .kind = SpanKind::server,
                          .name = name,
                          .begin = f.begin,
                          .end = f.end,
                          .status = f.status,
                          .tracestate = rest};
  Attributes attributes;
  attributes.reserve(1024);
  while (!list.empty()) {
    Attribute a;
    std::memcpy(&a, list.data(), sizeof a);
    const std::string_view value = list.substr(sizeof a, a.size);
    list.remove_prefix(sizeof a + a.size);
    const std::string_view key(a.key, a.key_size);
    if (a.kind == Kind::text) {
      attributes.add_to_plain_key(key, value);
    } else {
      std::int64_t number = 0;
      std::memcpy(&number, value.data(), sizeof number);
      attributes.add_to_plain_key(key, number);
    }
  }
  append_span(out, request, attributes);
}

}  // namespace fiberd::trace
