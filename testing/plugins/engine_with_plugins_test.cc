// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The engine of whatever plugins the build has: stores documents, dies, and has them again.
// BUILD.bazel runs it with the defaults and with the plugins of this folder.

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "alos/document/builder.h"
#include "alos/engine/engine.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

using TestEngine = BasicEngine<Policies<DefaultDurability>>;

constexpr std::string_view kText =
    "a text that can be found in a file as it is, unless a codec was at it";

std::string Document(std::int64_t n) {
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument();
  builder.Key("_id");
  builder.Int(n);
  builder.Key("text");
  // Something to gain for every codec: a long run, and the same words again.
  builder.String(absl::StrCat(kText, std::string(400, 'z'), kText, n));
  builder.EndDocument();
  return bytes;
}

std::string Id(std::int64_t n) {
  std::string bytes;
  Builder builder(&bytes);
  builder.Int(n);
  return *EncodeId(ValueView::FromTrusted(bytes));
}

// How often the text stands in the files of the data directory as it is.
std::size_t CountInFiles(const std::string& directory) {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string bytes(std::istreambuf_iterator<char>(file), {});
    for (std::size_t at = bytes.find(kText); at != bytes.npos; at = bytes.find(kText, at + 1)) {
      ++count;
    }
  }
  return count;
}

TEST(EngineWithPluginsTest, DocumentsSurviveTheDeathOfTheProcess) {
  EngineOptions options;
  options.data_path = testing::TempDir() + "/engine_with_plugins";
  options.shards = 4;
  options.compression_level = 1;
  std::filesystem::remove_all(options.data_path);
  constexpr std::int64_t kDocuments = 200;
  {
    auto engine = TestEngine::Open(options);
    ASSERT_TRUE(engine.ok()) << engine.status();
    auto database = (*engine)->GetOrCreateDatabase("test");
    ASSERT_TRUE(database.ok()) << database.status();
    for (std::int64_t n = 0; n < kDocuments; ++n) {
      auto inserted = (*database)->InsertOne("c", ValueView::FromTrusted(Document(n)));
      ASSERT_TRUE(inserted.ok()) << inserted.status();
      ASSERT_TRUE((*database)->WaitVisible(inserted->commit_timestamp).ok());
    }
    // Neither closed nor flushed.
  }
  // A codec leaves the text once in a document at the most; one that was not asked, twice.
  EXPECT_LE(CountInFiles(options.data_path), static_cast<std::size_t>(kDocuments));
  auto engine = TestEngine::Open(options);
  ASSERT_TRUE(engine.ok()) << engine.status();
  auto database = (*engine)->GetOrCreateDatabase("test");
  ASSERT_TRUE(database.ok()) << database.status();
  // Twice: from the file, and maybe from the cache.
  for (int round = 0; round < 2; ++round) {
    for (std::int64_t n = 0; n < kDocuments; ++n) {
      std::string bytes;
      auto found = (*database)->FindById(
          "c", Id(n), [&](ValueView document) { bytes = std::string(document.bytes()); });
      ASSERT_TRUE(found.ok() && *found) << n << " " << found.status();
      ASSERT_EQ(bytes, Document(n));
    }
  }
  EXPECT_TRUE((*engine)->Close().ok());
}

}  // namespace
}  // namespace alos
