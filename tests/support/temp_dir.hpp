#pragma once
// A directory of a test's own, gone with it.
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <system_error>

namespace fiberd::test {

class TempDir {
 public:
  TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "fiberd-test-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    base_ = name;
  }
  ~TempDir() {
    std::error_code ignored;  // the test's verdict does not depend on the clean-up
    std::filesystem::remove_all(base_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  [[nodiscard]] std::string path(const std::string& name) const { return (base_ / name).string(); }
  /// By a rename, as editors and tools do: never half of it is seen.
  void write(const std::string& name, const std::string& content) const {
    const std::string fresh = path(name + ".new");
    std::ofstream out(fresh, std::ios::binary);
    out << content;
    out.close();
    if (!out) throw std::runtime_error("write " + fresh);
    std::filesystem::rename(fresh, path(name));
  }

 private:
  std::filesystem::path base_;
};

}  // namespace fiberd::test
