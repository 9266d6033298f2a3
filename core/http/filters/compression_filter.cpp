#include "core/http/filters/compression_filter.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <string_view>

#include "core/http/exchange.hpp"
#include "core/http/negotiation.hpp"
#include "core/http/selected_representation.hpp"

namespace fiberd::http {
namespace {

class CompressionFilter final : public Filter {
 public:
  CompressionFilter(CompressionOptions options, std::vector<std::unique_ptr<Compressors>> compressors)
      : policy_(std::move(options.types), options.min_size),
        compressors_(std::move(compressors)),
        max_streams_(options.max_streams),
        metrics_(options.metrics) {
    for (const CompressionOptions::Use& use : options.codings) tokens_.push_back(token_of(use.coding));
  }
  Result<void> serve(Exchange& ex, Next next) override {
    Hook hook(*this, ex);
    ex.on_head(hook);
    return next(ex);
  }

 private:
  /// Counts what goes through, and that it is there.
  class Counted final : public BodyEncoder {
   public:
    Counted(CompressionFilter& filter, std::unique_ptr<BodyEncoder> encoder) noexcept
        : filter_(filter), encoder_(std::move(encoder)) {}
    ~Counted() override { filter_.streams_.fetch_sub(1, std::memory_order_relaxed); }
    Result<Encoded> encode(std::string_view in, std::span<char> out, EncodeTo to) noexcept override {
      Result<Encoded> step = encoder_->encode(in, out, to);
      if (step && filter_.metrics_.bytes_in != nullptr) filter_.metrics_.bytes_in->add(step->consumed);
      if (step && filter_.metrics_.bytes_out != nullptr) filter_.metrics_.bytes_out->add(step->produced);
      return step;
    }

   private:
    CompressionFilter& filter_;
    std::unique_ptr<BodyEncoder> encoder_;
  };

  class Hook final : public HeadHook {
   public:
    Hook(CompressionFilter& filter, const Exchange& ex) noexcept : filter_(filter), exchange_(ex) {}
    void on_head(AnswerHead& head) override {
      const auto has = [&](const char* name) { return head.has(name); };
      constexpr std::array<const char*, 4> kDigests = {"Content-Digest", "Repr-Digest", "Digest", "Content-MD5"};
      const CompressionVerdict verdict =
          filter_.policy_.judge({.status = head.status(),
                                 .content_type = head.find("Content-Type"),
                                 .cache_control = head.find("Cache-Control"),
                                 .encoded = has("Content-Encoding"),
                                 .has_range = has("Content-Range"),
                                 .has_digest = std::any_of(kDigests.begin(), kDigests.end(), has),
                                 .content_length = head.content_length(),
                                 .selected = exchange_.find_slot<SelectedRepresentation>()});
      if (verdict == CompressionVerdict::leave) return;
      if (const auto vary = vary_with(head.fields(), "Accept-Encoding")) (void)head.set("Vary", *vary);
      if (verdict == CompressionVerdict::vary) return;
      const std::size_t chosen = choose_encoding(exchange_.request().headers, filter_.tokens_);
      if (chosen == kIdentity) return;
      if (verdict == CompressionVerdict::compress && !start(head, chosen)) return;
      if (const auto weak = weak_etag(head.find("ETag"))) (void)head.set("ETag", *weak);
    }

   private:
    bool start(AnswerHead& head, std::size_t chosen) {
      encoder_ = filter_.get(chosen, head.content_length());
      if (encoder_ == nullptr) return false;
      if (!head.set("Content-Encoding", filter_.tokens_[chosen]) || !head.encode(*encoder_)) {
        // Another filter encodes it already, and said so, or there is no memory.
        encoder_.reset();
        return false;
      }
      head.remove("Accept-Ranges");
      // HEAD gets the fields, and nothing is compressed.
      if (exchange_.request().method != Method::head) metric::count(filter_.metrics_.compressed);
      return true;
    }
    CompressionFilter& filter_;
    const Exchange& exchange_;
    std::unique_ptr<BodyEncoder> encoder_;
  };

  std::unique_ptr<BodyEncoder> get(std::size_t chosen, std::optional<std::uint64_t> length) {
    // Counted first, so that the bound holds for those who come together.
    if (streams_.fetch_add(1, std::memory_order_relaxed) < max_streams_)
      if (std::unique_ptr<BodyEncoder> encoder = compressors_[chosen]->get(length))
        if (auto* const counted = new (std::nothrow) Counted(*this, std::move(encoder)))
          return std::unique_ptr<BodyEncoder>(counted);
    streams_.fetch_sub(1, std::memory_order_relaxed);
    metric::count(metrics_.crowded);
    return nullptr;
  }

  const CompressionPolicy policy_;
  std::vector<std::string_view> tokens_;
  const std::vector<std::unique_ptr<Compressors>> compressors_;
  const std::size_t max_streams_;
  const CompressionMetrics metrics_;
  std::atomic<std::size_t> streams_{0};
};

bool is_type(std::string_view type) noexcept {
  const std::size_t slash = type.find('/');
  if (slash == std::string_view::npos || !is_token(type.substr(0, slash)) || !is_token(type.substr(slash + 1)))
    return false;
  return type.substr(0, slash).find('*') == std::string_view::npos &&
         std::none_of(type.begin(), type.end(), [](char c) { return c != to_lower(c); });
}

}  // namespace

Result<std::shared_ptr<Filter>> make_compression_filter(CompressionOptions options, std::string* why) {
  const auto refuse = [&](std::string sentence) {
    if (why != nullptr) *why = std::move(sentence);
    return fail(std::errc::invalid_argument);
  };
  if (options.codings.empty()) return refuse("no coding is named: gzip, br or zstd");
  std::vector<std::unique_ptr<Compressors>> compressors;
  for (const CompressionOptions::Use& use : options.codings) {
    const std::string token(token_of(use.coding));
    if (std::count_if(options.codings.begin(), options.codings.end(),
                      [&](const CompressionOptions::Use& other) { return other.coding == use.coding; }) != 1)
      return refuse(token + " is named twice");
    Result<std::unique_ptr<Compressors>> made = Compressors::make(use.coding, use.level);
    if (!made && made.error() != std::errc::invalid_argument) return fail(made.error());
    const LevelRange levels = levels_of(use.coding);
    if (!made)
      return refuse("levels of " + token + " are " + std::to_string(levels.least) + " to " +
                    std::to_string(levels.most));
    compressors.push_back(std::move(*made));
  }
  for (const std::string& type : options.types)
    if (!is_type(type)) return refuse(type + ": a media type in lower case is expected, such as text/css or text/*");
  return std::make_shared<CompressionFilter>(std::move(options), std::move(compressors));
}

}  // namespace fiberd::http
