// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// A store whose files are arbitrary: opened, read, written to, closed and opened again. It may be
// refused, with an error, and documents may be; nothing may crash, run without end, or be taken for
// another database's. The files of indexes are among them.
//
// The input is a list of changes to a small store that was made in good order and then abandoned:
//
//   byte 0    the file: manifest, shards 0 and 1, their index checkpoints, the journal's segments,
//             and what belongs to the secondary index of the first collection
//   byte 1    bits 0 to 1: overwrite, replace, cut, insert zeros; bit 2: then make its checksum
//             right, where it has one at a fixed place
//   bytes 2-3 where, modulo the size
//   byte 4    how many bytes follow (or, to cut and to insert: how many times 64 bytes)

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "alos/base/check.h"
#include "alos/base/crc32c.h"
#include "alos/base/log.h"
#include "alos/document/builder.h"
#include "alos/engine/engine.h"
#include "testing/simulated_file_system.h"

namespace alos {
namespace {

using FuzzEngine = BasicEngine<Policies<SyncDurability, SimulatedFileSystem>>;

struct StoredFile {
  std::string name;
  std::string bytes;
};

EngineOptions Options() {
  EngineOptions options;
  options.data_path = "/data";
  options.shards = 2;
  options.cache_bytes = 1 << 16;
  options.expiry_interval = absl::ZeroDuration();
  options.checkpoint_bytes = std::uint64_t{1} << 40;
  options.unstored_index_rows_max = 0;
  options.automatic_indexes = false;
  return options;
}

std::string Document(int id, int n) {
  std::string bytes;
  Builder builder(&bytes);
  builder.StartDocument().Key("_id").Int(id).Key("n").Int(n).Key("u").Int(id * 100 + n);
  builder.Key("text").String(absl::StrCat("some text ", n)).EndDocument();
  return bytes;
}

Filter Everything() { return Filter(); }

void Work(FuzzEngine::Database& database, int first) {
  for (int i = first; i < first + 6; ++i) {
    const std::string document = Document(i, i % 3);
    database.InsertOne("c", ValueView::FromTrusted(document)).status().IgnoreError();
  }
  auto transaction = database.BeginTransaction();
  for (int i = 0; i < 3; ++i) {
    const std::string document = Document(first + 50 + i, i);
    transaction->InsertOne("d", ValueView::FromTrusted(document)).status().IgnoreError();
  }
  if (const auto committed = transaction->Commit(); committed.ok())
    database.WaitVisible(*committed).IgnoreError();
  database.DeleteOne("c", Everything()).status().IgnoreError();
  database.Flush().IgnoreError();
}

// Half of it in checkpoints, half in the journal.
const std::vector<StoredFile>& Store() {
  static const auto* const store = [] {
    SetMinimumLogLevel(static_cast<LogLevel>(static_cast<int>(LogLevel::kError) + 1));
    SimulatedFileSystem disk(1);
    auto engine = *FuzzEngine::Open(Options(), &disk);
    auto* const database = *engine->GetOrCreateDatabase("d");
    ALOS_CHECK_OK(database->CreateCollection("c"));
    IndexDefinition index;
    index.paths = {"n"};
    ALOS_CHECK_OK(database->CreateIndex("c", index));
    index.paths = {"u"};
    index.is_unique = true;
    ALOS_CHECK_OK(database->CreateIndex("c", index));
    Work(*database, 1);
    ALOS_CHECK_OK(database->WaitForIndexes("c"));
    ALOS_CHECK_OK(database->Checkpoint());
    Work(*database, 100);
    auto* const files = new std::vector<StoredFile>;
    for (const std::string& name : disk.Names("/data/d")) {
      if (!absl::EndsWith(name, ".new"))
        files->push_back({name, disk.DurableContents("/data/d/" + name)});
    }
    return files;
  }();
  return *store;
}

// Where a checksum of a file of this kind is, and what it covers.
void CorrectChecksum(StoredFile* file) {
  std::string& bytes = file->bytes;
  const auto put = [&](std::size_t at, std::size_t begin, std::size_t size) {
    if (bytes.size() < begin + size || bytes.size() < at + 4) return;
    const std::uint32_t checksum = Crc32c(std::string_view(bytes).substr(begin, size));
    std::memcpy(bytes.data() + at, &checksum, 4);
  };
  if (file->name == "manifest") {
    const auto size = static_cast<std::uint32_t>(bytes.size() < 16 ? 0 : bytes.size() - 16);
    if (bytes.size() >= 16) std::memcpy(bytes.data() + 8, &size, 4);
    put(12, 16, size);
  } else if (absl::EndsWith(file->name, ".db")) {
    put(40, 0, 40);
  } else if (absl::EndsWith(file->name, ".sidx")) {
    if (bytes.size() > 16) put(12, 16, bytes.size() - 16);
  } else if (absl::StartsWith(file->name, "journal.")) {
    put(12, 16, 40);
  } else if (bytes.size() > 16) {
    put(12, 16, bytes.size() - 16);
  }
}

void Alter(std::string_view* input, std::vector<StoredFile>* files) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>((*input)[i]); };
  StoredFile& file = (*files)[byte(0) % files->size()];
  const std::uint8_t how = byte(1);
  const std::size_t place = byte(2) | byte(3) << 8;
  const std::size_t count = byte(4);
  input->remove_prefix(5);
  const std::size_t at = file.bytes.empty() ? 0 : place % file.bytes.size();
  const std::string_view bytes = input->substr(0, count);
  switch (how % 4) {
    case 0:
      input->remove_prefix(bytes.size());
      file.bytes.replace(at, bytes.size(), bytes);
      break;
    case 1:
      input->remove_prefix(bytes.size());
      file.bytes = std::string(bytes);
      break;
    case 2:
      file.bytes.erase(at, count * 64);
      break;
    case 3:
      file.bytes.insert(at, count * 64, '\0');
      break;
  }
  if ((how & 4) != 0) CorrectChecksum(&file);
}

void Open(SimulatedFileSystem* disk) {
  absl::StatusOr<std::unique_ptr<FuzzEngine>> engine = FuzzEngine::Open(Options(), disk);
  if (!engine.ok()) return;
  const absl::StatusOr<FuzzEngine::Database*> database = (*engine)->FindDatabase("d");
  if (!database.ok() || *database == nullptr) return;
  for (const std::string& collection : (*database)->ListCollections()) {
    for (const bool scan : {true, false}) {
      (*database)
          ->Find(collection, {.force_scan = scan},
                 [](ValueView document) {
                   // What is served is whole.
                   ALOS_CHECK(ValueView::Parse(document.bytes()).ok());
                   return true;
                 })
          .IgnoreError();
    }
    std::string n;
    Builder(&n).StartDocument().Key("n").Int(1).EndDocument();
    (*database)
        ->Count(collection, *Filter::Compile(ValueView::FromTrusted(n)))
        .status()
        .IgnoreError();
  }
  (*database)->Stats();
  Work(**database, 1000);
  (*engine)->Close().IgnoreError();
}

}  // namespace
}  // namespace alos

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace alos;
  if (size > 4096) return 0;
  std::vector<StoredFile> files = Store();
  std::string_view input(reinterpret_cast<const char*>(data), size);
  while (input.size() >= 5) Alter(&input, &files);
  SimulatedFileSystem disk(1);
  ALOS_CHECK_OK(disk.CreateDirectories("/data/d"));
  for (const StoredFile& file : files) {
    auto out = *disk.Open("/data/d/" + file.name, OpenMode::kCreate);
    ALOS_CHECK_OK(out->WriteAt(0, file.bytes));
  }
  Open(&disk);
  Open(&disk);
  return 0;
}
