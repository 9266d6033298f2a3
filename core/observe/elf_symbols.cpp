#include "core/observe/elf_symbols.hpp"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string_view>

#include "core/observe/loaded_modules.hpp"

namespace fiberd::observe {

/// An ELF file whose every number is doubted.
class ElfSymbols::File {
 public:
  explicit File(const std::string& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)) {
    struct stat status {};
    if (fd_ < 0 || ::fstat(fd_, &status) != 0 || !S_ISREG(status.st_mode)) return;
    size_ = static_cast<std::uint64_t>(status.st_size);
    ElfW(Ehdr) head;
    if (!read(0, &head, sizeof head) || std::memcmp(head.e_ident, ELFMAG, SELFMAG) != 0) return;
    if (head.e_ident[EI_CLASS] != (sizeof(void*) == 8 ? ELFCLASS64 : ELFCLASS32)) return;
    if (head.e_shentsize != sizeof(ElfW(Shdr)) || head.e_shnum == 0) return;
    sections_.resize(head.e_shnum);
    if (!read(head.e_shoff, sections_.data(), sections_.size() * sizeof(ElfW(Shdr))) ||
        head.e_shstrndx >= sections_.size()) {
      sections_.clear();
      return;
    }
    names_ = content(sections_[head.e_shstrndx]);
  }
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  [[nodiscard]] bool read(std::uint64_t offset, void* to, std::size_t size) const {
    if (offset > size_ || size > size_ - offset) return false;
    auto* at = static_cast<char*>(to);
    while (size != 0) {
      const ssize_t n = ::pread(fd_, at, size, static_cast<off_t>(offset));
      if (n <= 0) return false;  // it shrank meanwhile, or cannot be read
      at += n;
      offset += static_cast<std::uint64_t>(n);
      size -= static_cast<std::size_t>(n);
    }
    return true;
  }
  /// "" where it cannot be had.
  [[nodiscard]] std::string content(const ElfW(Shdr) & section) const {
    if (section.sh_type == SHT_NOBITS || section.sh_size > kMostBytes || section.sh_size > size_) return {};
    std::string text(section.sh_size, '\0');
    return read(section.sh_offset, text.data(), text.size()) ? text : std::string();
  }
  [[nodiscard]] const ElfW(Shdr) * section(std::string_view name) const noexcept {
    for (const ElfW(Shdr) & s : sections_)
      if (s.sh_name < names_.size() && name == std::string_view(names_.c_str() + s.sh_name)) return &s;
    return nullptr;
  }
  [[nodiscard]] const ElfW(Shdr) * section(std::size_t index) const noexcept {
    return index < sections_.size() ? &sections_[index] : nullptr;
  }
  [[nodiscard]] std::string build_id() const {
    const ElfW(Shdr)* const notes = section(".note.gnu.build-id");
    if (notes == nullptr) return {};
    const std::string text = content(*notes);
    return build_id_of(text.data(), text.size());
  }
  struct Link {
    std::string name;
    std::uint32_t checksum = 0;
  };
  [[nodiscard]] std::optional<Link> debug_link() const {
    const ElfW(Shdr)* const link = section(".gnu_debuglink");
    if (link == nullptr) return std::nullopt;
    const std::string text = content(*link);
    Link found{text.substr(0, text.find('\0')), 0};
    // A name alone: not "../../etc", nor a name that is none.
    if (found.name.empty() || found.name.find('/') != std::string::npos) return std::nullopt;
    const std::size_t at = (found.name.size() + 4) & ~std::size_t{3};
    if (text.size() < at + sizeof found.checksum) return std::nullopt;
    std::memcpy(&found.checksum, text.data() + at, sizeof found.checksum);
    return found;
  }
  [[nodiscard]] bool has_checksum(std::uint32_t checksum) const {
    static constexpr std::uint64_t kMostFile = 1ULL << 30U;
    if (size_ > kMostFile) return false;
    uLong sum = crc32(0, nullptr, 0);
    std::array<char, 64 * 1024> piece;
    for (std::uint64_t at = 0; at < size_;) {
      const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(piece.size(), size_ - at));
      if (!read(at, piece.data(), n)) return false;
      sum = crc32(sum, reinterpret_cast<const Bytef*>(piece.data()), static_cast<uInt>(n));
      at += n;
    }
    return sum == checksum;
  }

 private:
  int fd_;
  std::uint64_t size_ = 0;
  std::vector<ElfW(Shdr)> sections_;
  std::string names_;
};

ElfSymbols::ElfSymbols(const std::string& path, const std::string& build_id, const std::string& image) {
  const File file(image.empty() ? path : image);
  const std::string id = build_id.empty() ? file.build_id() : build_id;
  const bool replaced = file.build_id() != id;
  if (!replaced && read(file)) return;
  if (id.size() > 2) {
    const File debug("/usr/lib/debug/.build-id/" + id.substr(0, 2) + "/" + id.substr(2) + ".debug");
    if (debug.build_id() == id && read(debug)) return;
  }
  const auto link = replaced ? std::nullopt : file.debug_link();
  if (!link) return;
  const std::string folder = path.substr(0, path.find_last_of('/') + 1);
  for (const std::string& place :
       {folder + link->name, folder + ".debug/" + link->name, "/usr/lib/debug" + folder + link->name}) {
    if (place == path) continue;
    const File debug(place);
    if (!(id.empty() ? debug.has_checksum(link->checksum) : debug.build_id() == id)) continue;
    if (read(debug)) return;
  }
}

bool ElfSymbols::read(const File& file) {
  const ElfW(Shdr)* const table = file.section(".symtab");
  const ElfW(Shdr)* const strings = table != nullptr ? file.section(table->sh_link) : nullptr;
  if (strings == nullptr) return false;
  const std::string symbols = file.content(*table);
  names_ = file.content(*strings);
  functions_.clear();
  for (std::size_t at = 0; symbols.size() - at >= sizeof(ElfW(Sym)); at += sizeof(ElfW(Sym))) {
    ElfW(Sym) symbol;
    std::memcpy(&symbol, symbols.data() + at, sizeof symbol);
    const auto type = symbol.st_info & 0xfU;
    if ((type != STT_FUNC && type != STT_GNU_IFUNC) || symbol.st_shndx == SHN_UNDEF || symbol.st_size == 0) continue;
    if (symbol.st_name >= names_.size() || symbol.st_value + symbol.st_size < symbol.st_value) continue;
    functions_.push_back({symbol.st_value, symbol.st_value + symbol.st_size, symbol.st_name});
  }
  std::stable_sort(functions_.begin(), functions_.end(),
                   [](const Function& a, const Function& b) { return a.start < b.start; });
  functions_.shrink_to_fit();
  return !functions_.empty();
}

const char* ElfSymbols::find(std::uint64_t address) const noexcept {
  auto at = std::upper_bound(functions_.begin(), functions_.end(), address,
                             [](std::uint64_t a, const Function& f) { return a < f.start; });
  // One that is shorter may stand inside of another.
  static constexpr int kTries = 8;
  for (int i = 0; i < kTries && at != functions_.begin(); ++i) {
    --at;
    if (address < at->end) return names_.c_str() + at->name;
  }
  return nullptr;
}

}  // namespace fiberd::observe
