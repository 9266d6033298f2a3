#pragma once
// A directory with what a site has, and what it should not have; and a process without a descriptor left.
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "core/http/files/files.hpp"
#include "core/http/server.hpp"

namespace fiberd::test {

class Tree {
 public:
  Tree() {
    std::string name = (std::filesystem::temp_directory_path() / "fiberd-files-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    base_ = name;
    std::filesystem::create_directories(root() / "dir" / "deep");
    std::filesystem::create_directories(root() / "empty");
    std::filesystem::create_directories(root() / ".well-known");
    write(base_ / "secret.txt", "secret");
    write(root() / "index.html", "<p>index</p>");
    write(root() / "a.txt", "text");
    write(root() / "nothing.css", "");
    write(root() / "with space.js", "js");
    write(root() / ".hidden", "hidden");
    write(root() / ".well-known" / "security.txt", "contact");
    write(root() / "dir" / "index.html", "dir index");
    write(root() / "dir" / "deep" / "b.PNG", "png");
    std::filesystem::create_symlink(base_ / "secret.txt", root() / "out");
    std::filesystem::create_symlink("../secret.txt", root() / "out-relative");
    std::filesystem::create_symlink("..", root() / "up");
    std::filesystem::create_symlink("a.txt", root() / "inside");
    std::filesystem::create_symlink("loop", root() / "loop");
    if (::mkfifo((root() / "fifo").c_str(), 0600) != 0) throw std::runtime_error("mkfifo");
  }
  ~Tree() {
    std::error_code ignored;  // the test's verdict does not depend on the clean-up
    std::filesystem::remove_all(base_, ignored);
  }
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;
  [[nodiscard]] std::filesystem::path root() const { return base_ / "root"; }
  static void write(const std::filesystem::path& path, const std::string& content) {
    std::ofstream out(path, std::ios::binary);
    out << content;
    out.close();
    if (!out) throw std::runtime_error("write " + path.string());
  }

 private:
  std::filesystem::path base_;
};

inline std::vector<http::Route> routes(const Tree& tree, http::OpenFilesOptions keep = {}) {
  return {{.spec = {.path = "/files/*"},
           .handler = *http::make_files_handler(
               {.root = tree.root().string(), .kept = std::make_shared<http::OpenFiles>(keep)})}};
}

/// Leaves the process without a descriptor while it lives, but for those that it closes itself: whatever their numbers
/// are, they can be had again.
class FullDescriptorTable {
 public:
  FullDescriptorTable() {
    if (::getrlimit(RLIMIT_NOFILE, &before_) != 0) throw std::runtime_error("getrlimit");
    rlimit low = before_;
    low.rlim_cur = 512;
    if (::setrlimit(RLIMIT_NOFILE, &low) != 0) throw std::runtime_error("setrlimit");
    for (int fd = ::dup(STDERR_FILENO); fd >= 0; fd = ::dup(STDERR_FILENO)) fill_.push_back(fd);
  }
  ~FullDescriptorTable() {
    for (const int fd : fill_) ::close(fd);
    (void)::setrlimit(RLIMIT_NOFILE, &before_);
  }
  FullDescriptorTable(const FullDescriptorTable&) = delete;
  FullDescriptorTable& operator=(const FullDescriptorTable&) = delete;

 private:
  rlimit before_{};
  std::vector<int> fill_;
};

}  // namespace fiberd::test
