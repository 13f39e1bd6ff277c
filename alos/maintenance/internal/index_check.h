// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Compares the files of secondary indexes (docs/format.md) with the documents they were made of.

#ifndef ALOS_MAINTENANCE_INTERNAL_INDEX_CHECK_H_
#define ALOS_MAINTENANCE_INTERNAL_INDEX_CHECK_H_

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "alos/base/crc32c.h"
#include "alos/base/private_file_system.h"
#include "alos/base/status_macros.h"
#include "alos/document/path.h"
#include "alos/document/value.h"
#include "alos/engine/internal/describe_id.h"
#include "alos/index/column.h"
#include "alos/index/column_builder.h"
#include "alos/index/index_definition.h"
#include "alos/index/index_key.h"
#include "alos/index/key_extractor.h"
#include "alos/index/segment.h"
#include "alos/index/trigram_index.h"
#include "alos/maintenance/finding.h"
#include "alos/maintenance/internal/log_check.h"
#include "alos/storage/atomic_file.h"
#include "alos/storage/manifest.h"

namespace alos::maintenance_internal {

// The index files of one collection. Threads: one. Lifetime: everything it is given outlives it.
// Errors: what is wrong goes to the list. Cost: one pass over the collection's documents for each
// segment; memory for the columns of one segment, twice.
class IndexCheck {
 public:
  IndexCheck(PrivateFileSystem* file_system, LogCheck* logs, const Manifest::Collection& collection,
             FindingList* findings, CheckCounts* counts)
      : file_system_(*file_system),
        logs_(*logs),
        collection_(collection),
        findings_(*findings),
        counts_(*counts) {}

  void Run() {
    const std::string name = absl::StrCat("c", collection_.id, ".indexes");
    const absl::StatusOr<std::string> bytes = ReadWholeFile(file_system_, Path(name));
    if (absl::IsNotFound(bytes.status())) return;
    if (!bytes.ok()) return Wrong(name, std::string(bytes.status().message()));
    ++counts_.index_files;
    std::uint32_t checksum = 0;
    if (bytes->size() >= 16) std::memcpy(&checksum, bytes->data() + 8, 4);
    if (bytes->size() < 16 || bytes->compare(0, 8, "ALOSIDX1") != 0)
      return Wrong(name, "is no list of indexes");
    const std::string_view body = std::string_view(*bytes).substr(16);
    const absl::StatusOr<ValueView> view = ValueView::Parse(body);
    if (Crc32c(body) != checksum || !view.ok() || !view->IsDocument())
      return Wrong(name, "its checksum is wrong");
    if (Number(*view, "version") != kStateVersion) {
      findings_.Add({.severity = Finding::Severity::kNote,
                     .file = Path(name),
                     .what = "is of another version; its indexes are built again when the database "
                             "is opened"});
      return;
    }
    const std::vector<std::uint64_t> generations = Words(*view, "generations");
    if (generations.size() != logs_.shards().size())
      return Wrong(name, "is of a database with another number of shards");
    absl::flat_hash_map<std::uint32_t, IndexDefinition> definitions;
    for (const ValueView entry : Elements(*view, "indexes")) {
      const std::optional<ValueView> value = entry.Find("definition");
      std::optional<IndexDefinition> definition;
      if (value) definition = ParseIndexDefinition(*value);
      if (!definition) return Wrong(name, "has an index without a definition");
      const std::uint32_t id = definition->id;
      definitions.emplace(id, *std::move(definition));
    }
    std::vector<std::uint64_t> covered(logs_.shards().size(), 0);
    std::vector<ValueView> segments = Elements(*view, "segments");
    if (segments.empty()) return;
    const std::vector<std::uint64_t> ends = Words(segments.back(), "shard_ends");
    for (std::size_t i = 0; i < ends.size() && i < generations.size(); ++i) {
      if (ends[i] == 0) continue;
      const ShardFacts<CheckPolicies>& facts = logs_.shards()[i];
      if (!facts.is_readable || facts.shard->log()->generation() != generations[i] ||
          facts.shard->log()->end() < ends[i]) {
        findings_.Add({.severity = Finding::Severity::kNote,
                       .file = Path(name),
                       .what = "is of other logs; its indexes are built again when the database is "
                               "opened"});
        return;
      }
    }
    std::vector<std::uint64_t> live_rows(logs_.shards().size(), 0);
    bool all_read = ends.size() == logs_.shards().size();
    for (const ValueView segment : segments) {
      all_read = CheckSegment(name, segment, definitions, ends, &covered, &live_rows) && all_read;
    }
    if (all_read) CheckComplete(name, ends, live_rows);
  }

 private:
  static constexpr std::uint64_t kStateVersion = 2;

  std::string Path(std::string_view name) const {
    return absl::StrCat(logs_.directory(), "/", name);
  }
  void Wrong(std::string_view name, std::string what) {
    findings_.Add({.file = Path(name),
                   .collection = collection_.name,
                   .what = absl::StrCat(what, "; alos repair builds it again")});
  }

  static std::uint64_t Number(ValueView of, std::string_view key) {
    const std::optional<ValueView> found = of.Find(key);
    if (found && found->IsUnsigned()) return found->AsUint64();
    return 0;
  }
  static std::vector<std::uint64_t> Words(ValueView of, std::string_view key) {
    std::vector<std::uint64_t> values;
    const std::optional<ValueView> found = of.Find(key);
    if (!found || found->type() != ValueType::kBinary) return values;
    values.resize(found->AsBinary().size() / 8);
    if (!values.empty()) std::memcpy(values.data(), found->AsBinary().data(), values.size() * 8);
    return values;
  }
  static std::vector<ValueView> Elements(ValueView of, std::string_view key) {
    std::vector<ValueView> values;
    const std::optional<ValueView> found = of.Find(key);
    if (!found || !found->IsArray()) return values;
    for (const ValueView element : found->elements()) {
      if (element.IsDocument()) values.push_back(element);
    }
    return values;
  }

  // Rows and columns of one segment. False: its rows could not be read.
  bool CheckSegment(std::string_view state_name, ValueView segment,
                    const absl::flat_hash_map<std::uint32_t, IndexDefinition>& definitions,
                    const std::vector<std::uint64_t>& ends, std::vector<std::uint64_t>* covered,
                    std::vector<std::uint64_t>* live_rows) {
    const std::string prefix = absl::StrCat("c", collection_.id, "_s", Number(segment, "number"));
    const std::string rows_name = absl::StrCat(prefix, ".srows");
    const std::uint64_t rows = Number(segment, "rows");
    const std::vector<std::uint64_t> segment_ends = Words(segment, "shard_ends");
    const absl::StatusOr<std::string> bytes = ReadWholeFile(file_system_, Path(rows_name));
    if (!bytes.ok()) {
      Wrong(rows_name, std::string(bytes.status().message()));
      return false;
    }
    ++counts_.index_files;
    if (bytes->size() != rows * 8 || Crc32c(*bytes) != Number(segment, "locations_checksum") ||
        segment_ends.size() != covered->size()) {
      Wrong(rows_name, "its size or checksum is wrong");
      return false;
    }
    const std::vector<std::uint64_t> dead = Words(segment, "dead");
    if (!dead.empty() && dead.size() != (rows + 63) / 64) {
      Wrong(state_name, "has the dead rows of another segment");
      return false;
    }
    std::vector<RowLocation> locations(rows);
    if (rows != 0) std::memcpy(static_cast<void*>(locations.data()), bytes->data(), rows * 8);
    std::uint64_t odd = 0;  // the first is told, and how many there are
    std::string first;
    const auto note = [&](std::uint64_t row, std::string_view what) {
      if (odd++ == 0) first = absl::StrCat("row ", row, " ", what);
    };
    bool readable = true;
    bool with_content = true;
    for (std::uint64_t row = 0; row < rows; ++row) {
      const std::uint32_t shard = locations[row].shard();
      const std::uint64_t offset = locations[row].offset();
      if ((row != 0 && !(locations[row - 1] < locations[row])) || shard >= covered->size() ||
          offset >= segment_ends[shard] || offset < (*covered)[shard] ||
          !logs_.shards()[shard].is_readable) {
        note(row, "is out of place");
        readable = false;
        continue;
      }
      const ShardFacts<CheckPolicies>& facts = logs_.shards()[shard];
      if (facts.IsDamaged(offset)) {
        readable = false;
        continue;  // told already
      }
      const auto& log = *facts.shard->log();
      if (offset < log.begin()) {
        with_content = false;  // compacted away: the row is dead, whatever is said of it
        continue;
      }
      if (offset + kRecordHeaderSize > log.end() ||
          CheckRecord(log.At(offset), log.end() - offset, log.generation(), offset) !=
              RecordState::kValid) {
        note(row, "is no record");
        readable = false;
        continue;
      }
      const RecordView record(log.At(offset));
      if (record.header().kind != RecordKind::kPut ||
          record.header().collection != collection_.id) {
        note(row, "is no document of this collection");
        readable = false;
        continue;
      }
      const bool is_dead = !dead.empty() && (dead[row / 64] >> (row % 64) & 1) != 0;
      const bool is_live = facts.IsNewestBelow(offset, ends[shard]);
      if (is_dead == is_live && facts.damaged.empty()) {
        note(row, absl::StrCat(
                      "(document ", engine_internal::DescribeId(record.id()), ") is ",
                      is_dead ? "dead here, and the newest version" : "live here, and superseded"));
      }
      if (!is_dead) ++(*live_rows)[shard];
    }
    if (odd != 0) {
      Wrong(rows_name, absl::StrCat(first, odd > 1 ? absl::StrCat(" (", odd, " such rows)") : ""));
    }
    *covered = segment_ends;
    for (const ValueView column : Elements(segment, "columns")) {
      const auto definition = definitions.find(static_cast<std::uint32_t>(Number(column, "id")));
      if (definition == definitions.end()) continue;
      CheckColumn(prefix, definition->second, Number(column, "size"), Number(column, "text_size"),
                  locations, readable && with_content);
    }
    return readable;
  }

  void CheckColumn(const std::string& prefix, const IndexDefinition& definition, std::uint64_t size,
                   std::uint64_t text_size, absl::Span<const RowLocation> locations,
                   bool with_content) {
    const std::string name =
        absl::StrCat(prefix, definition.paths.size() > 1 ? ".sgidx." : ".svidx.", definition.id);
    const absl::StatusOr<std::string> bytes = ReadWholeFile(file_system_, Path(name));
    if (!bytes.ok()) return Wrong(name, std::string(bytes.status().message()));
    ++counts_.index_files;
    if (bytes->size() != size)
      return Wrong(name, absl::StrCat("has ", bytes->size(), " bytes instead of ", size));
    const absl::StatusOr<Column> column = Column::Open(*bytes);
    absl::Status good = column.status();
    if (good.ok()) good = column->VerifyBody();
    if (!good.ok()) return Wrong(name, std::string(good.message()));
    if (column->rows() != locations.size()) return Wrong(name, "has another number of rows");
    if (text_size != 0)
      CheckText(absl::StrCat(prefix, ".stidx.", definition.id), *column, text_size);
    if (!with_content || column->has_overflow()) return;

    std::vector<alos::Path> paths;
    for (const std::string& dotted : definition.paths) {
      absl::StatusOr<alos::Path> path = alos::Path::Parse(dotted);
      if (!path.ok()) return Wrong(name, std::string(path.status().message()));
      paths.push_back(*std::move(path));
    }
    KeyExtractor extractor(std::move(paths));
    ColumnBuilder builder(static_cast<std::uint32_t>(locations.size()));
    for (const RowLocation location : locations) {
      const absl::Status visited = logs_.shards()[location.shard()].shard->VisitRecord(
          location.offset(), [&](ValueView document) { extractor.Extract(document, &builder); },
          false);
      if (!visited.ok()) return;  // told where the logs were read
    }
    const std::string made_bytes = std::move(builder).Finish();
    const absl::StatusOr<Column> made = Column::Open(made_bytes);
    if (!made.ok()) return Wrong(name, std::string(made.status().message()));
    counts_.index_rows += locations.size();
    if (made_bytes == *bytes) return;
    Compare(name, *column, *made, locations);
  }

  // Two columns of the same rows that are not the same bytes: merging numbers lists another way.
  void Compare(const std::string& name, const Column& stored, const Column& made,
               absl::Span<const RowLocation> locations) {
    std::string scratch_1;
    std::string scratch_2;
    const auto keys_of = [](const Column& column, std::uint32_t row, std::string* scratch) {
      std::vector<std::string> keys;
      column.ForEachCode(row, [&](Code code) {
        keys.push_back(code == kMissingCode ? std::string("\0", 1)
                                            : absl::StrCat("k", column.Key(code, scratch)));
      });
      std::sort(keys.begin(), keys.end());
      return keys;
    };
    for (std::uint32_t row = 0; row < stored.rows(); ++row) {
      if (keys_of(stored, row, &scratch_1) == keys_of(made, row, &scratch_2)) continue;
      const auto& log = *logs_.shards()[locations[row].shard()].shard->log();
      const RecordView record(log.At(locations[row].offset()));
      findings_.Add({.file = Path(name),
                     .collection = collection_.name,
                     .document = engine_internal::DescribeId(record.id()),
                     .what = absl::StrCat("row ", row,
                                          " has other keys than the document; alos repair builds "
                                          "it again")});
      return;
    }
    for (Code code = 1; code <= stored.key_count(); ++code) {
      const std::optional<Code> other = made.Find(stored.Key(code, &scratch_1));
      // A key that no row has any more may be left in a merged column.
      if (!other && stored.CountEntries(code, code + 1) == 0) continue;
      if (!other || stored.CountEntries(code, code + 1) != made.CountEntries(*other, *other + 1)) {
        return Wrong(name, absl::StrCat("counts other rows for key ", code, " than there are"));
      }
      if (stored.IsDense(code) != made.IsDense(*other)) continue;
      const absl::Span<const std::uint32_t> a = stored.Postings(code);
      const absl::Span<const std::uint32_t> b = made.Postings(*other);
      if (!std::equal(a.begin(), a.end(), b.begin(), b.end()))
        return Wrong(name, absl::StrCat("lists other rows for key ", code, " than have it"));
    }
  }

  void CheckText(const std::string& name, const Column& column, std::uint64_t size) {
    const absl::StatusOr<std::string> bytes = ReadWholeFile(file_system_, Path(name));
    if (!bytes.ok()) return Wrong(name, std::string(bytes.status().message()));
    ++counts_.index_files;
    if (bytes->size() != size)
      return Wrong(name, absl::StrCat("has ", bytes->size(), " bytes instead of ", size));
    const absl::StatusOr<TrigramIndex> text = TrigramIndex::Open(*bytes);
    absl::Status good = text.status();
    if (good.ok()) good = text->VerifyBody();
    if (!good.ok()) return Wrong(name, std::string(good.message()));
    const Code first = column.LowerBound(FirstKeyOfClass(KeyClass::kString));
    const Code end = column.LowerBound(EndKeyOfClass(KeyClass::kString));
    if (TrigramIndex::Build(column, first, end) != *bytes)
      Wrong(name, "is not what its column gives");
  }

  // Whether each document below the ends is a live row of some segment.
  void CheckComplete(const std::string& name, const std::vector<std::uint64_t>& ends,
                     const std::vector<std::uint64_t>& live_rows) {
    for (std::size_t i = 0; i < ends.size(); ++i) {
      const ShardFacts<CheckPolicies>& facts = logs_.shards()[i];
      if (!facts.is_readable || !facts.damaged.empty()) continue;
      std::uint64_t live = 0;
      const auto count = [&](std::uint64_t offset) {
        const RecordHeader header = RecordView(facts.shard->log()->At(offset)).header();
        if (offset < ends[i] && header.kind == RecordKind::kPut &&
            header.collection == collection_.id) {
          ++live;
        }
      };
      for (const auto& [hash, offset] : facts.newest) count(offset);
      for (const auto& [offset, by] : facts.superseded) {
        if (by >= ends[i]) count(offset);
      }
      if (live != live_rows[i]) {
        Wrong(name, absl::StrCat("has ", live_rows[i], " live rows of shard ", i, ", its log has ",
                                 live, " documents of the collection"));
      }
    }
  }

  PrivateFileSystem& file_system_;
  LogCheck& logs_;
  const Manifest::Collection& collection_;
  FindingList& findings_;
  CheckCounts& counts_;
};

}  // namespace alos::maintenance_internal

#endif  // ALOS_MAINTENANCE_INTERNAL_INDEX_CHECK_H_
