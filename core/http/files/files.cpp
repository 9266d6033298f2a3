// Small files are sent from memory (file_cache.hpp), larger ones by sendfile from descriptors that stay open. There the
// page cache decides whether that blocks the thread: a cold page would stall a Processor and everybody on it for a
// disk's seek. So each piece is probed by a one-byte preadv2(RWF_NOWAIT) at its two ends; where that says "not now" the
// piece is read through on the blocking pool first. A file that was found warm is not probed again for a second.
//
// Whoever writes into a file that is being sent writes into the answer. It is looked at before the answer begins and,
// when it goes in pieces, before the last one: if it has changed by then the last piece is not sent, so that the client
// sees that the answer is no whole. What remains is a write during the last 64 KiB, or during an answer of one piece.
#include "core/http/files/files.hpp"

#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <optional>
#include <random>

#include "core/base/bug.hpp"
#include "core/base/clock.hpp"
#include "core/base/log.hpp"
#include "core/base/log_limit.hpp"
#include "core/base/printable.hpp"
#include "core/http/files/byte_ranges.hpp"
#include "core/http/files/conditional.hpp"
#include "core/http/files/directory_listing.hpp"
#include "core/http/files/file_cache.hpp"
#include "core/http/negotiation.hpp"
#include "core/http/selected_representation.hpp"
#include "core/http/site/slash_redirect.hpp"
#include "core/runtime/blocking.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::http {

namespace {

constexpr std::uint64_t kPiece = std::uint64_t{1} << 20U;
constexpr std::uint64_t kLastPiece = std::uint64_t{64} << 10U;
constexpr std::uint64_t kOnePiece = std::uint64_t{256} << 10U;  // up to here an answer is not worth two
constexpr int kLooks = 2;                                       // at a file that changes while it is looked at
constexpr std::int64_t kWarm = 1'000'000'000;

bool hidden(std::string_view path) noexcept {
  for (std::size_t at = 0; at < path.size(); ++at) {
    const bool begins = at == 0 || path[at - 1] == '/';
    if (begins && path[at] == '.' && !(at == 0 && (path == ".well-known" || path.starts_with(".well-known/"))))
      return true;
  }
  return false;
}

[[gnu::noinline]] bool in_memory(int fd, std::uint64_t offset) noexcept {
  char byte = 0;
  const iovec part{&byte, 1};
  const ssize_t n = preadv2(fd, &part, 1, static_cast<off_t>(offset), RWF_NOWAIT);
  // Only EAGAIN says "it would block"; file systems that do not know the flag are taken as they are.
  return n >= 0 || errno != EAGAIN;
}

/// On the blocking pool: brings a piece into the page cache.
[[gnu::noinline]] void read_through(int fd, std::uint64_t offset, std::uint64_t count) noexcept {
  std::array<char, 64 * 1024> scratch;
  while (count != 0) {
    const ssize_t n =
        pread(fd, scratch.data(), std::min<std::uint64_t>(count, scratch.size()), static_cast<off_t>(offset));
    if (n <= 0) return;  // sendfile will meet the same trouble and report it
    offset += static_cast<std::uint64_t>(n);
    count -= static_cast<std::uint64_t>(n);
  }
}

constexpr std::size_t kMaxListed = 10'000;
constexpr std::size_t kMaxLoggedPath = 200;

std::string_view suffix_of(std::string_view coding) noexcept {
  if (coding == "br") return ".br";
  if (coding == "zstd") return ".zst";
  if (coding == "gzip") return ".gz";
  return {};
}

/// Fields of an answer; as many as are ever needed.
class Fields {
 public:
  void add(std::string_view name, std::string_view value) noexcept {
    if (!value.empty() && size_ < fields_.size()) fields_[size_++] = {name, value};
  }
  [[nodiscard]] std::span<const Field> view() const noexcept { return {fields_.data(), size_}; }

 private:
  std::array<Field, 8> fields_;
  std::size_t size_ = 0;
};

class FilesHandler final : public Handler {
 public:
  FilesHandler(std::unique_ptr<FileRoot> root, FilesOptions options, std::vector<std::string> siblings)
      : options_(std::move(options)),
        codings_(options_.precompressed.begin(), options_.precompressed.end()),
        root_(std::move(root)),
        kept_(options_.kept != nullptr ? options_.kept : std::make_shared<OpenFiles>()),
        cache_(*root_, *kept_, std::move(siblings), [this](FileCache::Entry& e) { prepare(e); }),
        boundary_(make_boundary()) {}

  Result<void> serve(Exchange& ex) override {
    const Request& request = ex.request();
    if (request.method != Method::get && request.method != Method::head) {
      static constexpr Field kAllow{"Allow", "GET, HEAD"};
      return ex.respond_error(405, {&kAllow, 1});
    }
    const std::string_view path = ex.below_root();
    if (hidden(path)) return ex.respond_error(404);
    if (!options_.try_files.empty()) return serve_tried(ex, path);
    if (path.empty() || path.ends_with('/')) return serve_directory(ex, path);
    const auto entry = cache_.get(path);
    if (!entry) return refuse(ex, path, entry.error());
    if ((*entry)->content.file->kind() == OpenFile::Kind::directory) return redirect_to_slash(ex);
    return send(ex, *entry);
  }

 private:
  using EntryPointer = std::shared_ptr<FileCache::Entry>;

  static bool is_absent(std::error_code error) noexcept {
    return error == std::errc::no_such_file_or_directory || error == std::errc::not_a_directory;
  }
  /// What passes with the load (RFC 9110 section 15.6.4).
  static bool is_shortage(std::error_code error) noexcept {
    return error == std::errc::too_many_files_open || error == std::errc::too_many_files_open_in_system ||
           error == std::errc::not_enough_memory;
  }
  Result<void> refuse(Exchange& ex, std::string_view path, std::error_code error) {
    if (is_absent(error)) return absent(ex);
    if (error == std::errc::permission_denied) return ex.respond_error(403);
    // The path is the client's, and how often this happens too.
    if (const std::optional<std::uint64_t> left_out = log_limit_.pass(monotonic_now())) {
      log(LogLevel::error, "files: " + options_.root + "/" + printable(path, kMaxLoggedPath) + ": " + error.message() +
                               (*left_out == 0 ? "" : " (" + std::to_string(*left_out) + " more were not logged)"));
    }
    if (!is_shortage(error)) return ex.respond_error(500);
    static constexpr Field kRetry{"Retry-After", "1"};
    return ex.respond_error(503, {&kRetry, 1});
  }
  Result<void> absent(Exchange& ex) {
    if (options_.fallback.empty()) return ex.respond_error(404);
    const auto entry = cache_.get(options_.fallback);
    if (!entry && is_shortage(entry.error())) return refuse(ex, options_.fallback, entry.error());
    if (!entry || (*entry)->content.file->kind() != OpenFile::Kind::regular) return ex.respond_error(404);
    return send(ex, *entry);
  }

  /// The index of `directory`, which is empty or ends in a slash; nullptr when it has none.
  Result<EntryPointer> find_index(std::string_view directory) {
    for (const std::string& name : options_.index) {
      auto entry = cache_.get(std::string(directory) + name);
      if (entry && (*entry)->content.file->kind() == OpenFile::Kind::regular) return entry;
      if (!entry && !is_absent(entry.error())) return fail(entry.error());
    }
    return EntryPointer();
  }
  Result<void> serve_directory(Exchange& ex, std::string_view directory) {
    const Result<EntryPointer> index = find_index(directory);
    if (!index) return refuse(ex, directory, index.error());
    if (*index != nullptr) return send(ex, *index);
    return options_.listing ? list(ex, directory) : absent(ex);
  }
  /// `pattern` for `path`, as a path in normal form has it.
  static std::string expand(std::string_view pattern, std::string_view path) {
    std::string name(pattern);
    for (std::size_t at = 0; (at = name.find("$path", at)) != std::string::npos; at += path.size())
      name.replace(at, 5, path);
    name.erase(std::unique(name.begin(), name.end(), [](char a, char b) { return a == '/' && b == '/'; }), name.end());
    if (name.starts_with('/')) name.erase(0, 1);
    return name;
  }
  Result<void> serve_tried(Exchange& ex, std::string_view path) {
    for (const std::string& pattern : options_.try_files) {
      const std::string name = expand(pattern, path);
      if (hidden(name)) continue;
      const bool directory = name.empty() || name.ends_with('/');
      Result<EntryPointer> entry = directory ? find_index(name) : Result<EntryPointer>(cache_.get(name));
      if (!entry && !is_absent(entry.error())) return refuse(ex, name, entry.error());
      if (!entry || *entry == nullptr || (*entry)->content.file->kind() != OpenFile::Kind::regular) continue;
      // The index of "a/" under the name "a" would come past the rules for "a/", and break its relative links.
      const bool lacks_slash = directory && name.size() == path.size() + 1 && name.starts_with(path) && !path.empty();
      return lacks_slash ? redirect_to_slash(ex) : send(ex, *entry);
    }
    if (!options_.listing) return absent(ex);
    if (path.empty() || path.ends_with('/')) return list(ex, path);
    const auto entry = cache_.get(path);
    if (!entry) return refuse(ex, path, entry.error());
    return (*entry)->content.file->kind() == OpenFile::Kind::directory ? redirect_to_slash(ex) : absent(ex);
  }
  Result<void> list(Exchange& ex, std::string_view directory) {
    const std::string name(directory);
    const auto listing = runtime::blocking([&] { return list_directory(*root_, name, kMaxListed); });
    if (!listing) return refuse(ex, directory, listing.error());
    static constexpr std::array<std::string_view, 2> kForms{"text/html", "application/json"};
    const bool json = choose_media_type(ex.request().headers, kForms) == 1;
    Fields fields;
    fields.add("Vary", "Accept");
    fields.add("Cache-Control", options_.cache_control);
    // The JSON stays an array of names whatever happens, so this is said beside it.
    if (listing->cut) fields.add("Listing-Truncated", "?1");
    return ex.respond(200, json ? "application/json" : "text/html; charset=utf-8",
                      json ? render_listing_json(*listing) : render_listing_html(ex.path(), *listing), fields.view());
  }

  /// Whether the head has a field that makes more of a request than "send it all".
  static bool is_conditional(const HeaderView& headers) noexcept {
    for (std::size_t i = 0; i < headers.size(); ++i) {
      const std::string_view name = headers[i].name;
      if (name.size() >= 3 && name[2] == '-' && to_lower(name[0]) == 'i' && to_lower(name[1]) == 'f') return true;
      if (equals_lower(name, "range")) return true;
    }
    return false;
  }

  static FileCache::Content& form_of(FileCache::Entry& entry, std::size_t coding) noexcept {
    return coding == kIdentity ? entry.content : entry.compressed[coding];
  }

  Result<void> send(Exchange& ex, EntryPointer found) {
    const Request& request = ex.request();
    std::size_t coding = negotiate(request.headers, *found);
    for (int look = 0; look < kLooks && !form_of(*found, coding).file->unchanged(); ++look) {
      Result<EntryPointer> renewed = cache_.renew(found);
      if (!renewed) return refuse(ex, found->path, renewed.error());
      if ((*renewed)->content.file->kind() != OpenFile::Kind::regular) return ex.respond_error(404);
      found = std::move(*renewed);
      coding = negotiate(request.headers, *found);
    }
    FileCache::Entry& entry = *found;
    FileCache::Content& content = form_of(entry, coding);
    const OpenFile& file = *content.file;
    if (is_conditional(request.headers)) {
      Fields fields = validator_fields(entry, coding);
      const std::time_t now = std::time(nullptr);
      const Validators validators{file.etag(), static_cast<std::time_t>(file.last_modified_time())};
      switch (evaluate_preconditions(request, validators, now)) {
        case Precondition::proceed: break;
        case Precondition::not_modified:
          select(ex, entry, file);
          if (const Result<void> done = ex.begin({.status = 304, .fields = fields.view()}, RestOfBody::unread); !done)
            return done;
          return ex.end();
        case Precondition::failed: return ex.respond_error(412);
      }
      const std::size_t at = options_.ranges != 0 && request.method == Method::get ? request.headers.index_of("range")
                                                                                   : request.headers.size();
      if (at != request.headers.size() && request.headers.index_of("range", at + 1) == request.headers.size() &&
          if_range_holds(request.headers, validators, now)) {
        std::vector<ByteRange> ranges;
        switch (parse_byte_ranges(request.headers[at].value, file.size(), options_.ranges, ranges)) {
          case RangeVerdict::whole: break;
          case RangeVerdict::parts:
            if (coding != kIdentity) fields.add("Content-Encoding", codings_[coding]);
            return send_parts(ex, entry, content, fields, ranges);
          case RangeVerdict::unsatisfiable: {
            const std::string size = "bytes */" + std::to_string(file.size());
            const Field field{"Content-Range", size};
            return ex.respond_error(416, {&field, 1});
          }
        }
      }
    }
    if (file.in_memory()) return ex.respond({.block = &content.fields}, file.bytes());
    if (const Result<void> done =
            ex.begin({.content_length = file.size(), .block = &content.fields}, RestOfBody::unread);
        !done)
      return done;
    if (request.method == Method::head) return ex.end();
    if (const Result<void> done = send_bytes(ex, content, {0, file.size()}); !done) return done;
    return ex.end();
  }

  /// Which of the entry's forms the client shall have: an index of its compressed ones, or kIdentity.
  [[nodiscard]] std::size_t negotiate(const HeaderView& headers, const FileCache::Entry& entry) const {
    std::array<std::string_view, FileCache::kMaxSiblings> available;
    std::array<std::size_t, FileCache::kMaxSiblings> index{};
    std::size_t n = 0;
    for (std::size_t i = 0; i < codings_.size(); ++i) {
      if (entry.compressed[i].file == nullptr) continue;
      available[n] = codings_[i];
      index[n++] = i;
    }
    if (n == 0) return kIdentity;
    const std::size_t chosen = choose_encoding(headers, {available.data(), n});
    return chosen == kIdentity ? kIdentity : index[chosen];
  }

  /// What every answer about this form of the file says, 304 included, which says no more (RFC 9110 section 15.4.5).
  [[nodiscard]] Fields validator_fields(const FileCache::Entry& entry, std::size_t coding) const noexcept {
    Fields fields;
    const bool varies = std::any_of(entry.compressed.begin(), entry.compressed.end(),
                                    [](const FileCache::Content& c) { return c.file != nullptr; });
    if (varies) fields.add("Vary", "Accept-Encoding");
    fields.add("ETag", (coding == kIdentity ? entry.content : entry.compressed[coding]).file->etag());
    fields.add("Cache-Control", options_.cache_control);
    return fields;
  }

  /// Of an answer that does not say all of it.
  void select(Exchange& ex, const FileCache::Entry& entry, const OpenFile& file) const {
    ex.slot<SelectedRepresentation>() = {options_.types.find(entry.path), file.size()};
  }

  void prepare(FileCache::Entry& entry) const {
    const auto prepare_form = [&](FileCache::Content& content, std::size_t coding) {
      if (content.file == nullptr) return;
      Fields fields;
      fields.add("Content-Type", options_.types.find(entry.path));
      if (coding != kIdentity) fields.add("Content-Encoding", codings_[coding]);
      const Fields validators = validator_fields(entry, coding);
      for (const Field& field : validators.view()) fields.add(field.name, field.value);
      fields.add("Last-Modified", content.file->last_modified());
      if (options_.ranges != 0) fields.add("Accept-Ranges", "bytes");
      // All of them are ours: what an operator may choose was checked when the handler was made.
      if (auto block = FieldBlock::make(fields.view()); !FIBERD_BUG_IF(!block)) content.fields = std::move(*block);
    };
    prepare_form(entry.content, kIdentity);
    for (std::size_t i = 0; i < entry.compressed.size(); ++i) prepare_form(entry.compressed[i], i);
  }

  Result<void> send_parts(Exchange& ex, const FileCache::Entry& entry, FileCache::Content& content, Fields fields,
                          const std::vector<ByteRange>& ranges) {
    const OpenFile& file = *content.file;
    const std::string_view type = options_.types.find(entry.path);
    select(ex, entry, file);
    const auto content_range = [&](const ByteRange& r) {
      return "bytes " + std::to_string(r.first) + "-" + std::to_string(r.last) + "/" + std::to_string(file.size());
    };
    fields.add("Last-Modified", file.last_modified());
    if (ranges.size() == 1) {
      const std::string range = content_range(ranges.front());
      fields.add("Content-Range", range);
      if (const Result<void> done = ex.begin(
              {.status = 206, .content_length = ranges.front().size(), .content_type = type, .fields = fields.view()},
              RestOfBody::unread);
          !done)
        return done;
      if (const Result<void> done = send_bytes(ex, content, {ranges.front().first, ranges.front().last + 1}); !done)
        return done;
      return ex.end();
    }
    std::vector<std::string> heads;
    const std::string last = "\r\n--" + boundary_ + "--\r\n";
    std::uint64_t size = last.size();
    for (const ByteRange& r : ranges) {
      heads.push_back("\r\n--" + boundary_ + "\r\nContent-Type: " + std::string(type) +
                      "\r\nContent-Range: " + content_range(r) + "\r\n\r\n");
      size += heads.back().size() + r.size();
    }
    const std::string multipart = "multipart/byteranges; boundary=" + boundary_;
    if (const Result<void> done =
            ex.begin({.status = 206, .content_length = size, .content_type = multipart, .fields = fields.view()},
                     RestOfBody::unread);
        !done)
      return done;
    for (std::size_t i = 0; i < ranges.size(); ++i) {
      if (const Result<void> done = ex.write(heads[i]); !done) return done;
      if (const Result<void> done = send_bytes(ex, content, {ranges[i].first, ranges[i].last + 1}); !done) return done;
    }
    if (const Result<void> done = ex.write(last); !done) return done;
    return ex.end();
  }

  struct Span {
    std::uint64_t begin;
    std::uint64_t end;
  };
  static Result<void> send_bytes(Exchange& ex, FileCache::Content& content, Span span) {
    if (content.file->in_memory()) return ex.write(content.file->bytes().substr(span.begin, span.end - span.begin));
    const int fd = content.file->fd();
    const bool warm = runtime::coarse_now() < content.warm_until.load(std::memory_order_relaxed);
    bool all_warm = true;
    const std::uint64_t last = span.end - span.begin > kOnePiece ? span.end - kLastPiece : span.end;
    for (std::uint64_t offset = span.begin; offset < span.end;) {
      const std::uint64_t count = std::min(kPiece, (offset < last ? last : span.end) - offset);
      if (!warm && !(in_memory(fd, offset) && in_memory(fd, offset + count - 1))) {
        all_warm = false;
        runtime::blocking([&] { read_through(fd, offset, count); });
      }
      if (offset == last && !content.file->unchanged()) return fail(std::errc::io_error);
      if (const Result<void> done = ex.write_file(fd, offset, count); !done) return done;
      offset += count;
    }
    // A part says nothing about the rest.
    const bool whole = span.begin == 0 && span.end == content.file->size();
    if (!warm && all_warm && whole) content.warm_until.store(runtime::coarse_now() + kWarm, std::memory_order_relaxed);
    return {};
  }

  /// What no file holds by chance (RFC 2046 section 5.1.1).
  static std::string make_boundary() {
    std::random_device device;
    std::string text;
    for (int i = 0; i < 4; ++i) {
      char word[9];
      (void)std::snprintf(word, sizeof word, "%08x", device());
      text += word;
    }
    return text;
  }

  FilesOptions options_;
  const std::vector<std::string_view> codings_;  // views into options_
  std::unique_ptr<FileRoot> root_;
  const std::shared_ptr<OpenFiles> kept_;
  FileCache cache_;
  LogLimit log_limit_;
  const std::string boundary_;
};

}  // namespace

Result<std::shared_ptr<Handler>> make_files_handler(FilesOptions options) {
  std::vector<std::string> siblings;
  for (const std::string& coding : options.precompressed) siblings.emplace_back(suffix_of(coding));
  const bool unknown = std::find(siblings.begin(), siblings.end(), "") != siblings.end();
  if (unknown || siblings.size() > FileCache::kMaxSiblings || !is_field_value(options.cache_control))
    return fail(std::errc::invalid_argument);
  Result<std::unique_ptr<FileRoot>> root = FileRoot::open(options.root);
  if (!root) return fail(root.error());
  if (options.listing)  // reads it, too
    if (const auto directory = (*root)->open_below(""); !directory) return fail(directory.error());
  return std::shared_ptr<Handler>(
      std::make_shared<FilesHandler>(std::move(*root), std::move(options), std::move(siblings)));
}

}  // namespace fiberd::http
