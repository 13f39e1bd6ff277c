// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Replays a fuzz corpus: the ordinary test of a fuzz target. Each argument is a file, or a
// directory whose files are all replayed. Also feeds every prefix of every input, since a decoder
// that survives whole inputs often dies on cut ones.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

void Replay(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string content{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  constexpr std::size_t kPrefixesMax = 4096;
  const std::size_t step = content.size() / kPrefixesMax + 1;
  for (std::size_t size = 0; size < content.size(); size += step) {
    // An exact-size copy, so that a sanitizer sees a read past the end.
    const std::vector<std::uint8_t> bytes(content.begin(), content.begin() + size);
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  }
  const std::vector<std::uint8_t> bytes(content.begin(), content.end());
  LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
}

}  // namespace

int main(int argc, char** argv) {
  int files = 0;
  for (int i = 1; i < argc; ++i) {
    if (std::filesystem::is_directory(argv[i])) {
      for (const auto& entry : std::filesystem::recursive_directory_iterator(argv[i])) {
        if (entry.is_regular_file()) {
          Replay(entry.path());
          ++files;
        }
      }
    } else if (std::filesystem::exists(argv[i])) {
      Replay(argv[i]);
      ++files;
    } else {
      std::fprintf(stderr, "no such corpus file: %s\n", argv[i]);
      return 1;
    }
  }
  std::printf("replayed %d corpus files\n", files);
  return files == 0 ? 1 : 0;
}
