// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Export and import: collections as one stream of MessagePack maps, which any MessagePack library
// reads, and which any alos takes, whatever its number of shards.
//
//   {alos_export: 1, database, exported_at}                   first
//   {collection: NAME, documents: about how many, indexes: [what CreateIndex takes ...]}
//   {document: {...}}                                         each, as it is stored
//   {end_of_collection: NAME, documents: how many}
//   ... more collections ...
//   {end_of_export: true, collections, documents, checksum}   last; the checksum is the CRC-32C of
//                                                             all bytes before this map

#ifndef ALOS_TOOLS_ALOS_PORTABLE_H_
#define ALOS_TOOLS_ALOS_PORTABLE_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <istream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "alos/base/crc32c.h"
#include "alos/base/status_macros.h"
#include "alos/document/builder.h"
#include "alos/document/value.h"
#include "tools/import/importer.h"
#include "tools/import/records.h"

namespace alos::tools {

struct PortableCounts {
  std::uint64_t collections = 0;
  std::uint64_t documents = 0;
  std::uint64_t bytes = 0;  // of the stream
};

// Writes a stream. Threads: one. Errors: those of `sink`, after which nothing more may be written.
class PortableWriter {
 public:
  explicit PortableWriter(absl::FunctionRef<absl::Status(std::string_view)> sink) : sink_(sink) {}

  absl::Status Begin(std::string_view database) {
    Builder(&buffer_)
        .StartDocument(3)
        .Key("alos_export")
        .Uint(1)
        .Key("database")
        .String(database)
        .Key("exported_at")
        .String(absl::FormatTime(absl::Now(), absl::UTCTimeZone()))
        .EndDocument();
    return FlushIfLarge();
  }
  // `indexes`: encoded arguments of CreateIndex.
  absl::Status BeginCollection(std::string_view name, std::uint64_t documents,
                               const std::vector<std::string>& indexes) {
    Builder builder(&buffer_);
    builder.StartDocument(3).Key("collection").String(name).Key("documents").Uint(documents);
    builder.Key("indexes").StartArray(indexes.size());
    for (const std::string& index : indexes) builder.Raw(ValueView::FromTrusted(index));
    builder.EndArray().EndDocument();
    collection_documents_ = 0;
    return FlushIfLarge();
  }
  absl::Status Add(ValueView document) {
    Builder(&buffer_).StartDocument(1).Key("document").Raw(document).EndDocument();
    ++collection_documents_;
    ++counts_.documents;
    return FlushIfLarge();
  }
  absl::Status EndCollection(std::string_view name) {
    Builder(&buffer_)
        .StartDocument(2)
        .Key("end_of_collection")
        .String(name)
        .Key("documents")
        .Uint(collection_documents_)
        .EndDocument();
    ++counts_.collections;
    return FlushIfLarge();
  }
  absl::Status End() {
    ALOS_RETURN_IF_ERROR(Flush());
    Builder(&buffer_)
        .StartDocument(4)
        .Key("end_of_export")
        .Bool(true)
        .Key("collections")
        .Uint(counts_.collections)
        .Key("documents")
        .Uint(counts_.documents)
        .Key("checksum")
        .Uint(checksum_)
        .EndDocument();
    return Flush();
  }
  const PortableCounts& counts() const { return counts_; }

 private:
  absl::Status FlushIfLarge() {
    return buffer_.size() < (std::size_t{1} << 20) ? absl::OkStatus() : Flush();
  }
  absl::Status Flush() {
    ALOS_RETURN_IF_ERROR(sink_(buffer_));
    checksum_ = Crc32c(buffer_, checksum_);
    counts_.bytes += buffer_.size();
    buffer_.clear();
    return absl::OkStatus();
  }

  const absl::FunctionRef<absl::Status(std::string_view)> sink_;
  std::string buffer_;
  std::uint32_t checksum_ = 0;
  std::uint64_t collection_documents_ = 0;
  PortableCounts counts_;
};

// What ListIndexes says of an index, as arguments of CreateIndex; nullopt for one that made itself.
inline std::optional<std::string> IndexToCreate(ValueView listed) {
  const auto is_true = [&](std::string_view key) {
    const std::optional<ValueView> value = listed.Find(key);
    return value && value->IsBool() && value->AsBool();
  };
  const std::optional<ValueView> fields = listed.Find("fields");
  const std::optional<ValueView> name = listed.Find("name");
  if (is_true("automatic") || !fields || !fields->IsArray() || fields->size() == 0 ||
      (name && name->IsString() && name->AsString() == "_id_")) {
    return std::nullopt;
  }
  std::string args;
  Builder builder(&args);
  builder.StartDocument();
  const std::optional<ValueView> field = (*fields->elements().begin()).Find("name");
  builder.Key("field").String(field && field->IsString() ? field->AsString() : "");
  builder.Key("fields").StartArray();
  for (const ValueView each : fields->elements()) {
    builder.StartDocument();
    if (const auto each_name = each.Find("name")) builder.Key("name").Raw(*each_name);
    const std::optional<ValueView> type = each.Find("value_type");
    if (type && type->IsString() && !type->AsString().empty()) builder.Key("value_type").Raw(*type);
    builder.EndDocument();
  }
  builder.EndArray();
  const std::optional<ValueView> kind = listed.Find("type");
  if (is_true("unique")) builder.Key("unique").Bool(true);
  if (is_true("sparse")) builder.Key("sparse").Bool(true);
  if (kind && kind->IsString() && kind->AsString() == "text") builder.Key("text").Bool(true);
  for (const char* key : {"partial_filter", "expire_after_seconds"}) {
    if (const std::optional<ValueView> value = listed.Find(key); value && !value->IsNull())
      builder.Key(key).Raw(*value);
  }
  builder.EndDocument();
  return args;
}

// Exports collections of a client's database, each as one snapshot; all of the same one with
// `options.read_timestamp`.
template <class Client, class FindOptions>
absl::StatusOr<PortableCounts> Export(Client& client, std::string_view database,
                                      const std::vector<std::string>& collections,
                                      const FindOptions& options,
                                      absl::FunctionRef<absl::Status(std::string_view)> sink,
                                      const std::function<void(const PortableCounts&)>& progress) {
  PortableWriter writer(sink);
  ALOS_RETURN_IF_ERROR(writer.Begin(database));
  std::string everything;
  Builder(&everything).StartDocument(0).EndDocument();
  for (const std::string& collection : collections) {
    ALOS_ASSIGN_OR_RETURN(const std::uint64_t documents, client.Count(collection));
    ALOS_ASSIGN_OR_RETURN(const std::string listed, client.ListIndexes(collection));
    std::vector<std::string> indexes;
    const ValueView list = ValueView::FromTrusted(listed);
    if (list.IsArray()) {
      for (const ValueView index : list.elements()) {
        if (!index.IsDocument()) continue;
        if (std::optional<std::string> args = IndexToCreate(index))
          indexes.push_back(*std::move(args));
      }
    }
    ALOS_RETURN_IF_ERROR(writer.BeginCollection(collection, documents, indexes));
    absl::Status written;
    ALOS_RETURN_IF_ERROR(client.FindStream(
        collection, ValueView::FromTrusted(everything), 1000,
        [&](ValueView document) {
          written = writer.Add(document);
          progress(writer.counts());
          return written.ok();
        },
        options));
    ALOS_RETURN_IF_ERROR(written);
    ALOS_RETURN_IF_ERROR(writer.EndCollection(collection));
  }
  ALOS_RETURN_IF_ERROR(writer.End());
  return writer.counts();
}

struct ImportStreamOptions {
  std::string name = "the stream";            // for messages
  std::vector<std::string> collections = {};  // empty: all
  bool indexes = true;
};

// Imports a stream. A document that is there already, the same byte for byte, counts as imported:
// an import that was interrupted is repeated with the same command.
// Errors: kDataLoss when the stream is damaged or ends too early, with how far it got; what the
// server says. All documents before the error are in.
template <class Client>
absl::StatusOr<PortableCounts> Import(Client& client, std::istream* input,
                                      const ImportStreamOptions& options,
                                      const std::function<void(const PortableCounts&)>& progress) {
  import::RecordOptions record_options;
  record_options.format = import::Format::kMessagePack;
  record_options.record_bytes_max = std::size_t{64} << 20;
  import::RecordReader reader(options.name, input, record_options);
  PortableCounts counts;
  std::uint32_t checksum = 0;
  bool begun = false;
  std::uint64_t in_collection = 0;
  std::optional<std::string> collection;
  bool wanted = false;
  std::vector<std::string> indexes;
  std::unique_ptr<import::Importer<Client>> importer;
  const auto damaged = [&](std::string_view what) {
    return absl::DataLossError(absl::StrCat(
        options.name, ": the export is damaged or incomplete: ", what, " (behind document ",
        counts.documents, "); the documents before that are imported"));
  };
  const auto number = [](ValueView of, std::string_view key) -> std::optional<std::uint64_t> {
    const std::optional<ValueView> found = of.Find(key);
    if (!found || !found->IsUnsigned()) return std::nullopt;
    return found->AsUint64();
  };
  while (true) {
    absl::StatusOr<std::optional<import::Record>> record = reader.Next();
    if (!record.ok() && !begun) {
      return absl::InvalidArgumentError(absl::StrCat(options.name, ": this is no export of alos (",
                                                     record.status().message(),
                                                     "); tools/import reads JSON and MessagePack"));
    }
    if (!record.ok()) {
      if (importer != nullptr) ALOS_RETURN_IF_ERROR(importer->Finish());
      return damaged(record.status().message());
    }
    if (!record->has_value()) {
      if (importer != nullptr) ALOS_RETURN_IF_ERROR(importer->Finish());
      return damaged("it has no end");
    }
    const ValueView item = ValueView::FromTrusted((*record)->document);
    if (!begun) {
      const std::optional<std::uint64_t> version = number(item, "alos_export");
      if (!version) {
        return absl::InvalidArgumentError(absl::StrCat(
            options.name, ": this is no export of alos; tools/import reads JSON and MessagePack"));
      }
      if (*version != 1) {
        return absl::FailedPreconditionError(
            absl::StrCat(options.name, ": an export of version ", *version,
                         "; this program reads version 1: use a newer alos"));
      }
      begun = true;
    } else if (const std::optional<ValueView> document = item.Find("document")) {
      if (!collection || !document->IsDocument() || !document->Find("_id"))
        return damaged("a document out of place");
      ++counts.documents;
      ++in_collection;
      if (wanted) {
        import::Record one;
        one.document = std::string(document->bytes());
        one.number = counts.documents;
        one.offset = (*record)->offset;
        ALOS_RETURN_IF_ERROR(importer->Add(std::move(one)));
      }
    } else if (const std::optional<ValueView> name = item.Find("collection")) {
      if (collection || !name->IsString()) return damaged("a collection out of place");
      collection = std::string(name->AsString());
      wanted = options.collections.empty() ||
               std::find(options.collections.begin(), options.collections.end(), *collection) !=
                   options.collections.end();
      in_collection = 0;
      indexes.clear();
      if (const std::optional<ValueView> list = item.Find("indexes"); list && list->IsArray()) {
        for (const ValueView index : list->elements()) indexes.emplace_back(index.bytes());
      }
      if (wanted) {
        ALOS_RETURN_IF_ERROR(client.CreateCollection(*collection));
        importer = std::make_unique<import::Importer<Client>>(
            &client, import::ImporterOptions{.file = options.name, .collection = *collection});
      }
    } else if (item.Find("end_of_collection")) {
      if (!collection || number(item, "documents") != in_collection)
        return damaged(absl::StrCat("collection '", collection.value_or(""), "' has ",
                                    in_collection, " documents where there were others"));
      if (wanted) {
        ALOS_RETURN_IF_ERROR(importer->Finish());
        importer = nullptr;
        for (const std::string& index : indexes) {
          if (!options.indexes) break;
          ALOS_RETURN_IF_ERROR(
              client.CreateIndex(*collection, ValueView::FromTrusted(index)).status());
        }
      }
      ++counts.collections;
      collection.reset();
    } else if (item.Find("end_of_export")) {
      if (collection || number(item, "collections") != counts.collections ||
          number(item, "documents") != counts.documents || number(item, "checksum") != checksum) {
        return damaged("its counts or its checksum are wrong");
      }
      return counts;
    } else {
      return damaged("something that this version does not know");
    }
    checksum = Crc32c((*record)->document, checksum);
    counts.bytes = reader.bytes_taken();
    progress(counts);
  }
}

}  // namespace alos::tools

#endif  // ALOS_TOOLS_ALOS_PORTABLE_H_
