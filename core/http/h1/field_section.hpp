#pragma once
// FieldSection: the field lines of a head, byte by byte, from behind its start line to the empty line that ends it.
// Requests and answers pass the same one, so that both are held to one spelling: CRLF only, no folded lines, names that
// are tokens, nothing between a name and its colon, no control in a value but HTAB.
//
// A state machine over bytes as the guards around it (head_guard.hpp): what it says depends on the bytes alone, not on
// how they were split; it keeps offsets, no pointers.
#include <cstddef>
#include <cstdint>
#if defined(__SSE2__)
#include <emmintrin.h>

#include <bit>
#endif

#include "core/http/characters.hpp"
#include "core/http/message.hpp"
#include "core/http/reject.hpp"

namespace fiberd::http {

/// To the first byte that may not stand in a field value. Values are most of a head, so sixteen bytes at a time.
inline const char* skip_value(const char* p, const char* end) noexcept {
#if defined(__SSE2__)
  const __m128i highest_control = _mm_set1_epi8(0x1f);
  const __m128i del = _mm_set1_epi8(0x7f);
  while (end - p >= 16) {
    const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    const __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(v, highest_control), v);
    const auto mask = static_cast<unsigned>(_mm_movemask_epi8(_mm_or_si128(control, _mm_cmpeq_epi8(v, del))));
    if (mask == 0) {
      p += 16;
      continue;
    }
    p += std::countr_zero(mask);
    if (*p != '\t') return p;
    ++p;
  }
#endif
  return skip(p, end, chars::kValue);
}

/// Not thread-safe. Never allocates.
class FieldSection {
 public:
  void reset() noexcept { state_ = State::start; }
  /// The empty line was read, whole.
  [[nodiscard]] bool done() const noexcept { return state_ == State::done; }

  /// Reads on from `p` to `end` or the section's end; `p` is moved behind what was read, at a refusal to the byte that
  /// decided it. Each line, once it is whole, goes into `fields[count]`, is shown to `check` (a Reject of FieldSpan)
  /// and counted. More than `most` are too many_fields.
  template <class Check>
  [[nodiscard, gnu::always_inline]] Reject advance(const char* message, const char*& p, const char* end,
                                                   FieldSpan* fields, std::uint32_t& count, std::uint32_t most,
                                                   Check&& check) noexcept {
    // In locals while it lasts: `fields` and the members may be the same memory for all the compiler knows, and each
    // byte would be followed by loads of what nobody has changed.
    const auto at = [message](const char* q) noexcept { return static_cast<std::uint32_t>(q - message); };
    State state = state_;
    std::uint32_t mark = mark_;
    std::uint32_t n = count;
    const char* q = p;
    const Reject verdict = [&]() noexcept {
      while (q < end) {
        switch (state) {
          case State::start:
            if (*q == '\r') {
              ++q;
              state = State::end_lf;
              break;
            }
            if (*q == ' ' || *q == '\t') return Reject::obs_fold;
            if (*q == '\n') return Reject::bad_line_end;
            if (n == most) return Reject::too_many_fields;
            mark = at(q);
            state = State::name;
            [[fallthrough]];
          case State::name: {
            q = skip(q, end, chars::kToken);
            if (q == end) break;
            const std::uint32_t length = at(q) - mark;
            if (*q != ':' || length == 0) {
              const bool space = length != 0 && (*q == ' ' || *q == '\t');
              return space ? Reject::space_before_colon : Reject::bad_field_name;
            }
            fields[n] = {mark, length, 0, 0};
            ++q;
            state = State::before_value;
            [[fallthrough]];
          }
          case State::before_value:
            while (q != end && (*q == ' ' || *q == '\t')) ++q;
            if (q == end) break;
            mark = at(q);
            state = State::value;
            [[fallthrough]];
          case State::value: {
            q = skip_value(q, end);
            if (q == end) break;
            if (*q != '\r') return *q == '\n' ? Reject::bad_line_end : Reject::bad_field_value;
            const char* last = q;
            while (last != message + mark && (last[-1] == ' ' || last[-1] == '\t')) --last;
            fields[n].value_begin = mark;
            fields[n].value_size = at(last) - mark;
            ++q;
            state = State::value_lf;
            if (q == end) break;
            [[fallthrough]];
          }
          case State::value_lf: {
            if (*q != '\n') return Reject::bad_line_end;
            if (const Reject r = check(fields[n]); r != Reject::none) return r;
            ++n;
            ++q;
            state = State::start;
            break;
          }
          case State::end_lf:
            if (*q != '\n') return Reject::bad_line_end;
            ++q;
            state = State::done;
            return Reject::none;
          case State::done: return Reject::none;
        }
      }
      return Reject::none;
    }();
    state_ = state;
    mark_ = mark;
    count = n;
    p = q;
    return verdict;
  }

 private:
  enum class State : std::uint8_t { start, name, before_value, value, value_lf, end_lf, done };
  std::uint32_t mark_ = 0;  // first byte of the name or value that is being read
  State state_ = State::start;
};

}  // namespace fiberd::http
