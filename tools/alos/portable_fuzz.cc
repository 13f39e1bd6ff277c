// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Arbitrary bytes as the stream of an export. What is taken for whole must come out the same when
// it is exported and imported again. Bit 0 of the first byte: make the checksum of the last map
// right, so that there is something behind that check.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "alos/base/crc32c.h"
#include "alos/document/builder.h"
#include "alos/document/value.h"
#include "tools/alos/portable.h"

namespace alos::tools {
namespace {

// What an import needs of a client, in memory.
class Memory {
 public:
  struct Collection {
    std::vector<std::string> documents;          // in the order in which they came
    std::map<std::string, std::size_t> numbers;  // by encoded _id
    std::vector<std::string> indexes;
    bool operator==(const Collection& other) const { return documents == other.documents; }
  };

  absl::Status CreateCollection(std::string_view name) {
    collections[std::string(name)];
    return absl::OkStatus();
  }
  absl::StatusOr<int> CreateIndex(std::string_view name, ValueView args) {
    if (!args.IsDocument()) return absl::InvalidArgumentError("an index is a map");
    collections[std::string(name)].indexes.emplace_back(args.bytes());
    return 0;
  }
  absl::StatusOr<std::vector<std::string>> InsertMany(std::string_view name,
                                                      absl::Span<const ValueView> documents) {
    std::vector<std::string> ids;
    for (const ValueView document : documents) {
      absl::StatusOr<std::string> id = InsertOne(name, document);
      if (!id.ok()) return id.status();
      ids.push_back(*std::move(id));
    }
    return ids;
  }
  absl::StatusOr<std::string> InsertOne(std::string_view name, ValueView document) {
    Collection& collection = collections[std::string(name)];
    const std::string id(document.Find("_id")->bytes());
    if (!collection.numbers.emplace(id, collection.documents.size()).second)
      return absl::AlreadyExistsError("taken");
    collection.documents.emplace_back(document.bytes());
    return id;
  }
  absl::StatusOr<std::optional<std::string>> FindById(std::string_view name, ValueView id) {
    const Collection& collection = collections[std::string(name)];
    const auto found = collection.numbers.find(std::string(id.bytes()));
    if (found == collection.numbers.end()) return std::nullopt;
    return collection.documents[found->second];
  }

  std::map<std::string, Collection> collections;
};

absl::Status ImportInto(Memory* memory, const std::string& stream) {
  std::istringstream input(stream);
  return Import(*memory, &input, {.name = "fuzz"}, [](const PortableCounts&) {}).status();
}

// The checksum of the last map, if there is one that has it.
void CorrectChecksum(std::string* stream) {
  std::size_t at = 0;
  while (at < stream->size()) {
    const absl::StatusOr<ValueView> item =
        ValueView::ParsePrefix(std::string_view(*stream).substr(at));
    if (!item.ok()) return;
    if (item->IsDocument() && item->Find("end_of_export")) {
      std::string corrected;
      Builder builder(&corrected);
      builder.StartDocument();
      for (const auto [key, value] : item->entries()) {
        if (key != "checksum") builder.Key(key).Raw(value);
      }
      builder.Key("checksum").Uint(Crc32c(std::string_view(*stream).substr(0, at))).EndDocument();
      stream->replace(at, item->bytes().size(), corrected);
      return;
    }
    at += item->bytes().size();
  }
}

}  // namespace
}  // namespace alos::tools

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace alos;
  using namespace alos::tools;
  if (size == 0) return 0;
  std::string stream(reinterpret_cast<const char*>(data) + 1, size - 1);
  if ((data[0] & 1) != 0) CorrectChecksum(&stream);
  Memory memory;
  if (!ImportInto(&memory, stream).ok()) return 0;
  // Repeating it changes nothing.
  Memory twice = memory;
  if (!ImportInto(&twice, stream).ok() || twice.collections != memory.collections) std::abort();
  std::string exported;
  const auto sink = [&](std::string_view bytes) {
    exported.append(bytes);
    return absl::OkStatus();
  };
  PortableWriter writer(sink);
  bool ok = writer.Begin("fuzz").ok();
  for (const auto& [name, collection] : memory.collections) {
    ok = ok && writer.BeginCollection(name, collection.documents.size(), {}).ok();
    for (const std::string& document : collection.documents)
      ok = ok && writer.Add(ValueView::FromTrusted(document)).ok();
    ok = ok && writer.EndCollection(name).ok();
  }
  ok = ok && writer.End().ok();
  Memory again;
  if (!ok || !ImportInto(&again, exported).ok() || again.collections != memory.collections)
    std::abort();
  return 0;
}
