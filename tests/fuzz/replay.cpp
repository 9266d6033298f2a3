// Runs a fuzzer over the files and directories it is given, so that every input that was ever worth keeping is tried in
// every build. At least one input must be there.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/fuzz/check.hpp"

int main(int argc, char** argv) {
  namespace fs = std::filesystem;
  std::vector<fs::path> files;
  for (int i = 1; i < argc; ++i) {
    if (!fs::is_directory(argv[i])) {
      files.emplace_back(argv[i]);
      continue;
    }
    for (const auto& entry : fs::directory_iterator(argv[i])) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) {
    std::ifstream in(file, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    if (!in.good() && !in.eof()) {
      (void)std::fprintf(stderr, "%s cannot be read\n", file.c_str());
      return 1;
    }
    // An exact copy on the heap: a byte read beyond it is seen by AddressSanitizer.
    const std::vector<std::uint8_t> data(bytes.begin(), bytes.end());
    (void)std::fprintf(stderr, "%s\n", file.filename().c_str());  // the last one, should it not return
    (void)LLVMFuzzerTestOneInput(data.data(), data.size());
  }
  (void)std::printf("%zu inputs\n", files.size());
  return files.empty() ? 1 : 0;
}
