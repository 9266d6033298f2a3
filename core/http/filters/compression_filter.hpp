#pragma once
// Compression of answers: which ones, and what is said with it: compression_policy.hpp; the encoders: compressors.hpp.
//
// Memory. An answer that is compressed holds one encoder, from its head to its end, and 14 KiB for what comes out; what
// the client does not take is not made, for the handler waits in write(). `max_streams` bounds how many there are at
// once: beyond it answers go as they are, which costs bandwidth and nobody's memory.
//
// CPU. What is compressed here is compressed anew for each client; files that do not change are better compressed once,
// beside themselves (files.hpp serves those). Encoders work on the fiber, in pieces of what the handler writes.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/result.hpp"
#include "core/http/filter.hpp"
#include "core/http/filters/compression_policy.hpp"
#include "core/http/filters/compressors.hpp"
#include "core/metric/metrics.hpp"

namespace fiberd::http {

struct CompressionMetrics {
  metric::Counter* compressed = nullptr;  ///< answers
  metric::Counter* bytes_in = nullptr;    ///< of their bodies, before
  metric::Counter* bytes_out = nullptr;   ///< and after
  metric::Counter* crowded = nullptr;     ///< left as they are: max_streams, or no memory
};

struct CompressionOptions {
  struct Use {
    Coding coding;
    int level;
  };
  /// What is offered; among those that a client likes equally the first one. As it stands by CPU: at these levels all
  /// three make about the same of a text, zstd in a fifth of gzip's time.
  std::vector<Use> codings{{Coding::zstd, levels_of(Coding::zstd).usual},
                           {Coding::brotli, levels_of(Coding::brotli).usual},
                           {Coding::gzip, levels_of(Coding::gzip).usual}};
  std::vector<std::string> types = CompressionPolicy::usual_types();  ///< in lower case, "text/*" for all of a kind
  std::uint64_t min_size = 1024;   ///< bytes: what is shorter fits into one packet anyway
  std::size_t max_streams = 1024;  ///< at the same time
  CompressionMetrics metrics{};
};
/// Errors: invalid_argument (`why`, if given, says what is wrong: no coding, one twice, a level, a type). Throws
/// std::bad_alloc.
[[nodiscard]] Result<std::shared_ptr<Filter>> make_compression_filter(CompressionOptions options,
                                                                      std::string* why = nullptr);

}  // namespace fiberd::http
