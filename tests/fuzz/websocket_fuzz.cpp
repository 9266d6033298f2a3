// Frames of a WebSocket's client: however the bytes are cut into pieces, the same messages come of them and the same
// end; no message is larger than it may be, no text is anything but UTF-8, and what is answered is frames that a server
// may send, a Close the last of them.
#include <algorithm>
#include <string>
#include <vector>

#include "core/base/utf8.hpp"
#include "core/http/websocket/codec.hpp"
#include "tests/fuzz/check.hpp"

using namespace fiberd;
using http::Codec;

namespace {

class FuzzPeer final : public http::CodecPeer {
 public:
  FuzzPeer(std::string_view bytes, std::uint64_t cuts) : rest_(bytes), cuts_(cuts) {}
  Result<std::size_t> take(std::span<std::byte> data) override {
    FUZZ_CHECK(!data.empty());
    cuts_ = cuts_ * 6364136223846793005U + 1442695040888963407U;
    const std::size_t most = (cuts_ & 1U) != 0 ? data.size() : 1 + (cuts_ >> 61U);
    const std::size_t n = std::min({data.size(), rest_.size(), most});
    std::transform(rest_.begin(), rest_.begin() + static_cast<std::ptrdiff_t>(n), data.begin(),
                   [](char c) { return static_cast<std::byte>(c); });
    rest_.remove_prefix(n);
    return n;
  }
  void put(std::span<const std::byte> data) override {
    answer_.append(reinterpret_cast<const char*>(data.data()), data.size());
  }
  [[nodiscard]] const std::string& answer() const noexcept { return answer_; }

 private:
  std::string_view rest_;
  std::uint64_t cuts_;
  std::string answer_;
};

struct Conversation {
  std::vector<std::string> messages;
  Codec::End end = Codec::End::none;
  std::string answer;
};

constexpr std::size_t kMostMessage = 3000;

Conversation talk(std::string_view bytes, std::uint64_t cuts, bool compression) {
  FuzzPeer peer(bytes, cuts);
  Codec codec(peer, {.message_size = kMostMessage, .compression = compression});
  FUZZ_CHECK(codec.accept({.key = {}, .extensions = "permessage-deflate; client_max_window_bits"}).has_value());
  Conversation c;
  std::string message;
  std::string room(97, '\0');
  while (c.end == Codec::End::none) {
    const Codec::Read read = codec.read_some(room);
    FUZZ_CHECK(read.size <= room.size());
    c.end = read.end;
    message.append(room, 0, read.size);
    FUZZ_CHECK(message.size() <= kMostMessage);
    if (c.end != Codec::End::none || !codec.message_done()) continue;
    // A text that is cut inside a character, with an empty last fragment, is for the codec's user to see.
    FUZZ_CHECK(!codec.message_is_text() || is_utf8(message) || static_cast<unsigned char>(message.back()) >= 0x80);
    c.messages.push_back(std::move(message));
    message.clear();
  }
  FUZZ_CHECK(c.end != Codec::End::closed || codec.close_code() >= 1000);
  FUZZ_CHECK(is_utf8(codec.close_reason()) || c.end != Codec::End::closed);
  c.answer = peer.answer();
  return c;
}

void check_answer(const Conversation& c) {
  bool closed = false;
  for (std::string_view rest = c.answer; !rest.empty();) {
    FUZZ_CHECK(!closed && rest.size() >= 2);
    const auto first = static_cast<unsigned char>(rest[0]);
    const std::size_t size = static_cast<unsigned char>(rest[1]);
    FUZZ_CHECK((first == 0x8a || first == 0x88) && size <= 125 && rest.size() >= 2 + size);
    closed = first == 0x88;
    rest.remove_prefix(2 + size);
  }
  const bool says_it = c.end != Codec::End::connection && c.end != Codec::End::packed;
  FUZZ_CHECK(closed == says_it);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view input = fuzz::text(data, size);
  const std::uint64_t cuts = fuzz::take(input, 2);
  const bool compression = fuzz::take(input, 1) % 2 != 0;
  const Conversation one = talk(input, cuts, compression);
  const Conversation other = talk(input, ~cuts, compression);
  FUZZ_CHECK(one.messages == other.messages);
  // What is unpacked is looked at piece by piece: of two faults that it has either may be seen first.
  FUZZ_CHECK(compression || (one.end == other.end && one.answer == other.answer));
  check_answer(one);
  return 0;
}
