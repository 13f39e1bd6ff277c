// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Columns, what makes them, and what is put into them.

#include "alos/index/column.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <numeric>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "alos/base/check.h"
#include "alos/base/crc32c.h"
#include "alos/document/builder.h"
#include "alos/document/path.h"
#include "alos/document/value.h"
#include "alos/index/column_builder.h"
#include "alos/index/index_key.h"
#include "alos/index/key_extractor.h"
#include "alos/query/filter.h"
#include "alos/query/internal/random_document.h"
#include "alos/query/internal/shell_text.h"
#include "gtest/gtest.h"

namespace alos {
namespace {

using query_internal::ShellDocument;

// The entries of a row; nullopt is missing, and comes before all keys.
using Row = std::set<std::optional<std::string>>;

std::string Build(const std::vector<Row>& rows) {
  ColumnBuilder builder(static_cast<std::uint32_t>(rows.size()));
  for (const Row& row : rows) {
    builder.StartRow();
    // Backwards, and the first twice: neither matters.
    for (auto entry = row.rbegin(); entry != row.rend(); ++entry) {
      if (!entry->has_value()) {
        builder.AddMissing();
      } else {
        builder.AddKey(**entry, false);
      }
    }
    if (!row.empty() && row.begin()->has_value()) builder.AddKey(**row.begin(), false);
  }
  return std::move(builder).Finish();
}

Column Opened(const std::string& image) {
  absl::StatusOr<Column> column = Column::Open(image);
  EXPECT_TRUE(column.ok()) << column.status();
  EXPECT_TRUE(column->VerifyBody().ok());
  return *column;
}

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  std::size_t Pick(std::size_t count) { return engine_() % count; }

  // Keys of one kind: few or many, of one size or several, alike at the beginning or not.
  std::string Key(std::size_t kind) {
    switch (kind % 5) {
      case 0:
        return absl::StrCat("key", Pick(6));
      case 1:
        return absl::StrCat("same_beginning_", 100000 + Pick(900000), "_same_end");
      case 2: {
        std::string key(Pick(40), 'a');
        for (char& byte : key) byte = "ab\0\xff"[Pick(4)];
        return key;
      }
      case 3: {
        std::string key(1 + Pick(3) * 300, 'x');
        return absl::StrCat(key, Pick(100));
      }
      default: {
        std::uint64_t bits = engine_() >> Pick(64);
        std::string key(8, '\0');
        std::memcpy(key.data(), &bits, 8);
        return key;
      }
    }
  }

  std::vector<Row> Rows(std::size_t count, std::size_t kind) {
    const bool lists = Pick(2) == 0;
    const bool missing = Pick(2) == 0;
    std::vector<Row> rows(count);
    for (Row& row : rows) {
      std::size_t entries = 1;
      if (lists && Pick(3) == 0) entries = Pick(4);
      for (std::size_t i = 0; i < entries; ++i) {
        if (missing && Pick(4) == 0) {
          row.insert(std::nullopt);
        } else {
          row.insert(Key(kind));
        }
      }
    }
    return rows;
  }

 private:
  std::mt19937_64 engine_;
};

// Every accessor, against the rows.
void ExpectIs(const Column& column, const std::vector<Row>& rows, Random* random) {
  std::map<std::optional<std::string>, std::vector<std::uint32_t>> model;
  model[std::nullopt];
  std::uint64_t entries = 0;
  for (std::uint32_t row = 0; row < rows.size(); ++row) {
    for (const auto& entry : rows[row]) model[entry].push_back(row);
    entries += rows[row].size();
  }
  std::vector<std::string> keys;
  std::vector<std::vector<std::uint32_t>> rows_of;
  for (const auto& [key, key_rows] : model) {
    if (key.has_value()) keys.push_back(*key);
    rows_of.push_back(key_rows);
  }
  ASSERT_EQ(column.rows(), rows.size());
  ASSERT_EQ(column.key_count(), keys.size());
  ASSERT_EQ(column.entry_count(), entries);
  ASSERT_FALSE(column.has_overflow());
  ASSERT_FALSE(column.has_truncated_keys());
  ASSERT_EQ(column.number_types(), NumberTypes::kNone);
  ASSERT_LE(column.dictionary_bytes(), column.size_bytes());

  std::string scratch;
  for (Code code = 1; code <= keys.size(); ++code) {
    ASSERT_EQ(column.Key(code, &scratch), keys[code - 1]);
    ASSERT_EQ(column.LowerBound(keys[code - 1]), code);
    ASSERT_EQ(column.Find(keys[code - 1]), code);
  }
  ASSERT_EQ(column.Key(0, &scratch), "");
  ASSERT_EQ(column.Key(column.key_count() + 1, &scratch), "");
  for (int i = 0; i < 300; ++i) {
    std::string key = random->Key(random->Pick(5));
    if (!keys.empty() && random->Pick(2) == 0) key = keys[random->Pick(keys.size())];
    switch (random->Pick(4)) {
      case 0:
        key.resize(random->Pick(key.size() + 1));
        break;
      case 1:
        key.push_back("\0a\xff"[random->Pick(3)]);
        break;
      case 2:
        if (!key.empty()) ++key[random->Pick(key.size())];
        break;
    }
    const auto bound = std::lower_bound(keys.begin(), keys.end(), key);
    const auto code = static_cast<Code>(bound - keys.begin() + 1);
    ASSERT_EQ(column.LowerBound(key), code) << absl::CHexEscape(key);
    const bool found = bound != keys.end() && *bound == key;
    ASSERT_EQ(column.Find(key), found ? std::optional<Code>(code) : std::nullopt);
  }

  std::vector<Code> dense;
  for (Code code = 0; code <= keys.size(); ++code) {
    const bool is_dense =
        rows_of[code].size() >= std::max<std::size_t>(kDenseEntriesMin, rows.size() / kDenseShare);
    ASSERT_EQ(column.IsDense(code), is_dense);
    if (is_dense) dense.push_back(code);
    ASSERT_EQ(column.Postings(code),
              absl::MakeConstSpan(is_dense ? std::vector<std::uint32_t>() : rows_of[code]));
    ASSERT_EQ(column.CountEntries(code, code + 1), rows_of[code].size());
  }
  ASSERT_EQ(column.dense_codes(), absl::MakeConstSpan(dense));
  ASSERT_TRUE(column.Postings(static_cast<Code>(keys.size()) + 1).empty());
  ASSERT_TRUE(column.Postings(UINT32_MAX).empty());
  ASSERT_EQ(column.CountEntries(0, UINT32_MAX), entries);

  for (int i = 0; i < 20; ++i) {
    const auto first = static_cast<Code>(random->Pick(keys.size() + 3));
    const auto end = static_cast<Code>(random->Pick(keys.size() + 3));
    std::uint64_t count = 0;
    std::vector<std::uint32_t> postings;
    std::vector<std::pair<Code, std::string>> expected;
    for (Code code = first; code < end && code <= keys.size(); ++code) {
      count += rows_of[code].size();
      if (!column.IsDense(code)) {
        postings.insert(postings.end(), rows_of[code].begin(), rows_of[code].end());
      }
      if (code > 0) expected.emplace_back(code, keys[code - 1]);
    }
    ASSERT_EQ(column.CountEntries(first, end), count);
    ASSERT_EQ(column.PostingsRange(first, end), absl::MakeConstSpan(postings));
    Code next = first;
    column.VisitPostings(first, end, [&](Code code, absl::Span<const std::uint32_t> rows) {
      EXPECT_EQ(code, next++);
      EXPECT_EQ(rows, column.Postings(code));
    });
    ASSERT_EQ(next, std::max(first, std::min(end, column.key_count() + 1)));
    std::vector<std::pair<Code, std::string>> visited;
    column.ForEachKey(first, end,
                      [&](Code code, std::string_view key) { visited.emplace_back(code, key); });
    ASSERT_EQ(visited, expected);
    if (expected.empty()) continue;
    const std::size_t stop = random->Pick(expected.size());
    visited.clear();
    column.ForEachKey(first, end, [&](Code code, std::string_view key) {
      visited.emplace_back(code, key);
      return visited.size() == stop + 1;
    });
    ASSERT_EQ(visited.size(), stop + 1);
  }

  std::set<std::vector<Code>> lists;
  for (std::uint32_t row = 0; row < rows.size(); ++row) {
    std::vector<Code> expected;
    for (const auto& entry : rows[row]) {
      expected.push_back(entry.has_value() ? *column.Find(*entry) : kMissingCode);
    }
    std::vector<Code> codes;
    column.ForEachCode(row, [&](Code code) { codes.push_back(code); });
    ASSERT_EQ(codes, expected);
    const std::uint32_t value = column.At(row);
    ASSERT_EQ(column.IsList(value), expected.size() != 1);
    if (column.IsList(value)) {
      ASSERT_EQ(column.List(column.ListNumber(value)), absl::MakeConstSpan(expected));
      lists.insert(expected);
    }
    column.VisitColumn([&](const auto* values) {
      ASSERT_EQ(values[row], value);
      ASSERT_EQ(sizeof(*values), static_cast<std::size_t>(column.width()));
    });
  }
  ASSERT_EQ(column.list_count(), lists.size());
  ASSERT_EQ(column.has_lists(), !lists.empty());
  ASSERT_TRUE(column.List(column.list_count()).empty());
  ASSERT_EQ(column.At(column.rows()), 0u);
}

TEST(Column, HoldsWhatRowsSay) {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    static constexpr std::size_t kCounts[] = {0, 1, 2, 17, 300, 1500};
    const std::vector<Row> rows = random.Rows(kCounts[random.Pick(6)], seed);
    const std::string image = Build(rows);
    ExpectIs(Opened(image), rows, &random);
    if (HasFatalFailure()) return;
  }
}

TEST(Column, TakesTheNarrowestValuesThatFit) {
  for (const auto& [keys, width] : std::vector<std::pair<std::uint32_t, int>>{
           {1, 1}, {255, 1}, {256, 2}, {65535, 2}, {65536, 4}}) {
    ColumnBuilder builder(keys);
    for (std::uint32_t i = 0; i < keys; ++i) {
      builder.StartRow();
      builder.AddKey(absl::StrCat(i), false);
    }
    const std::string image = std::move(builder).Finish();
    const Column column = Opened(image);
    EXPECT_EQ(column.width(), width);
    EXPECT_EQ(column.key_count(), keys);
    std::string scratch;
    for (std::uint32_t row = 0; row < keys; row += 251) {
      ASSERT_EQ(column.Key(column.At(row), &scratch), absl::StrCat(row));
      ASSERT_EQ(column.Postings(column.At(row)), absl::MakeConstSpan({row}));
    }
  }
}

TEST(Column, AnEmptyColumnHasNothing) {
  Random random(1);
  ExpectIs(Column(), {}, &random);
  EXPECT_TRUE(Column().VerifyBody().ok());
}

TEST(Column, SaysWhatItsKeysStandFor) {
  const auto with = [](NumberTypes a, NumberTypes b, bool truncated) {
    ColumnBuilder builder;
    builder.StartRow();
    builder.AddKey("a", truncated, a);
    builder.AddKey("b", false, b);
    return std::move(builder).Finish();
  };
  std::string image = with(NumberTypes::kNone, NumberTypes::kIntegers, false);
  EXPECT_EQ(Opened(image).number_types(), NumberTypes::kIntegers);
  EXPECT_FALSE(Opened(image).has_truncated_keys());
  image = with(NumberTypes::kDoubles, NumberTypes::kIntegers, true);
  EXPECT_EQ(Opened(image).number_types(), NumberTypes::kMixed);
  EXPECT_TRUE(Opened(image).has_truncated_keys());
  EXPECT_FALSE(Opened(image).has_overflow());
  ColumnBuilder builder;
  builder.StartRow();
  builder.SetOverflow();
  image = std::move(builder).Finish();
  EXPECT_TRUE(Opened(image).has_overflow());
}

TEST(Column, MergedIsAsBuiltAtOnce) {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    // Some rows go; the others are put together, in their order or in any.
    std::vector<std::vector<Row>> inputs(random.Pick(6));
    std::vector<std::vector<std::uint32_t>> row_maps;
    std::uint32_t rows = 0;
    for (std::vector<Row>& input : inputs) {
      input = random.Rows(random.Pick(300), random.Pick(3) == 0 ? random.Pick(5) : seed);
      const std::size_t dropped_of_four = random.Pick(4);
      std::vector<std::uint32_t>& map = row_maps.emplace_back();
      for (std::size_t i = 0; i < input.size(); ++i) {
        map.push_back(random.Pick(4) < dropped_of_four ? kDroppedRow : rows++);
      }
    }
    if (random.Pick(2) == 0)
      rows += static_cast<std::uint32_t>(random.Pick(5));  // None maps there.
    std::vector<std::uint32_t> shuffled(rows);
    std::iota(shuffled.begin(), shuffled.end(), 0);
    if (random.Pick(2) == 0) {
      for (std::size_t i = rows; i > 1; --i) std::swap(shuffled[i - 1], shuffled[random.Pick(i)]);
    }
    std::vector<Row> expected(rows);
    std::vector<std::string> images;
    std::vector<Column> columns;
    std::vector<absl::Span<const std::uint32_t>> maps;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      for (std::size_t row = 0; row < inputs[i].size(); ++row) {
        std::uint32_t& to = row_maps[i][row];
        if (to == kDroppedRow) continue;
        to = shuffled[to];
        expected[to] = inputs[i][row];
      }
      images.push_back(Build(inputs[i]));
      maps.push_back(row_maps[i]);
    }
    for (const std::string& image : images) columns.push_back(Opened(image));
    std::vector<const Column*> pointers;
    for (const Column& column : columns) pointers.push_back(&column);
    const std::string merged = MergeColumns(pointers, maps, rows);
    ASSERT_EQ(merged, Build(expected));
    ExpectIs(Opened(merged), expected, &random);
    if (HasFatalFailure()) return;
  }
}

TEST(Column, MergedInheritsWhatIsKnownOfTheInputs) {
  ColumnBuilder builder;
  builder.StartRow();
  builder.AddKey("a", true, NumberTypes::kDoubles);
  builder.SetOverflow();
  const std::string image = std::move(builder).Finish();
  const Column column = Opened(image);
  const std::uint32_t map[] = {kDroppedRow};
  const Column* const input = &column;
  const absl::Span<const std::uint32_t> row_map = map;
  const std::string merged = MergeColumns({&input, 1}, {&row_map, 1}, 0);
  EXPECT_TRUE(Opened(merged).has_truncated_keys());
  EXPECT_TRUE(Opened(merged).has_overflow());
  EXPECT_EQ(Opened(merged).number_types(), NumberTypes::kDoubles);
}

// Bytes behind which memory ends: whatever reads on crashes, with any build.
class GuardedBytes {
 public:
  // REQUIRES: a size that is a multiple of 8, as all images have.
  explicit GuardedBytes(std::size_t size) : size_(size) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t usable = (size + page - 1) / page * page;
    mapped_ = usable + page;
    void* const base =
        mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ALOS_CHECK(base != MAP_FAILED);
    base_ = static_cast<char*>(base);
    ALOS_CHECK(mprotect(base_ + usable, page, PROT_NONE) == 0);
    data_ = base_ + usable - size;
  }
  ~GuardedBytes() { munmap(base_, mapped_); }
  GuardedBytes(const GuardedBytes&) = delete;
  GuardedBytes& operator=(const GuardedBytes&) = delete;

  char* data() { return data_; }
  std::string_view view() const { return {data_, size_}; }

 private:
  std::size_t size_;
  std::size_t mapped_;
  char* base_;
  char* data_;
};

// Uses all that a column can be asked, whatever comes of it.
void UseAll(const Column& column) {
  std::uint64_t sum = 0;
  std::string scratch;
  const Code codes = std::min<Code>(column.key_count() + 3, 2000);
  for (Code code = 0; code < codes; ++code) {
    const std::string key(column.Key(code, &scratch));
    sum += column.LowerBound(key) + column.LowerBound(key + "a") + column.Find(key).has_value();
    sum += column.IsDense(code) + column.CountEntries(code, code + 1);
    for (const std::uint32_t row : column.Postings(code)) sum += column.At(row);
  }
  column.ForEachKey(0, UINT32_MAX, [&](Code code, std::string_view key) {
    for (const char byte : key) sum += static_cast<unsigned char>(byte);
    return code > 2000;
  });
  for (const std::uint32_t row : column.PostingsRange(0, UINT32_MAX)) sum += column.At(row);
  column.VisitPostings(0, UINT32_MAX, [&](Code, absl::Span<const std::uint32_t> rows) {
    for (const std::uint32_t row : rows) sum += column.At(row);
  });
  sum += column.CountEntries(0, UINT32_MAX);
  for (std::uint32_t row = 0; row < std::min<std::uint32_t>(column.rows(), 2000); ++row) {
    column.ForEachCode(row, [&](Code code) { sum += code; });
  }
  std::vector<std::uint32_t> map(column.rows());
  std::iota(map.begin(), map.end(), 0);
  const Column* const input = &column;
  const absl::Span<const std::uint32_t> row_map = map;
  sum += MergeColumns({&input, 1}, {&row_map, 1}, column.rows()).size();
  volatile std::uint64_t sink = sum;
  static_cast<void>(sink);
}

TEST(Column, DamageIsToldAndNeverRead) {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const std::string image = Build(random.Rows(random.Pick(2) == 0 ? 40 : 150, seed));
    for (std::size_t size = 0; size < image.size(); size += size < 304 ? 8 : 40) {
      GuardedBytes cut(size);
      std::memcpy(cut.data(), image.data(), size);
      ASSERT_FALSE(Column::Open(cut.view()).ok()) << size;
      // A header that says so much, and checks.
      if (size < 256) continue;
      const std::uint64_t said = size;
      std::memcpy(cut.data() + 24, &said, 8);
      const std::uint32_t crc = Crc32c(cut.view().substr(16, 240));
      std::memcpy(cut.data() + 12, &crc, 4);
      const absl::StatusOr<Column> column = Column::Open(cut.view());
      if (column.ok()) UseAll(*column);
    }
    GuardedBytes damaged(image.size());
    for (int i = 0; i < 100; ++i) {
      std::memcpy(damaged.data(), image.data(), image.size());
      for (std::size_t flips = 1 + random.Pick(3); flips > 0; --flips) {
        const std::size_t at = random.Pick(random.Pick(4) == 0 ? 256 : image.size());
        damaged.data()[at] = static_cast<char>(damaged.data()[at] ^ (1 << random.Pick(8)));
      }
      if (damaged.view() == image) continue;
      absl::StatusOr<Column> column = Column::Open(damaged.view());
      if (column.ok()) {
        ASSERT_EQ(column->VerifyBody().code(), absl::StatusCode::kDataLoss);
        UseAll(*column);
      }
      // And with a header that checks, whatever it says.
      const std::uint32_t crc = Crc32c(damaged.view().substr(16, 240));
      std::memcpy(damaged.data() + 12, &crc, 4);
      column = Column::Open(damaged.view());
      if (column.ok()) UseAll(*column);
    }
  }
}

TEST(Column, OpenSaysWhatIsWrong) {
  std::string image = Build({{"a"}, {"b", std::nullopt}});
  EXPECT_EQ(Column::Open("").status().message(), "index column: 0 bytes, shorter than its header");
  std::string other = image;
  other[7] = '2';
  EXPECT_EQ(Column::Open(other).status().message(),
            "index column: no column, or one of another format");
  other = image;
  other[8] = 2;
  EXPECT_EQ(Column::Open(other).status().message(), "index column: unknown version 2");
  other = image;
  other[32] = 9;
  EXPECT_EQ(Column::Open(other).status().message(), "index column: header with a wrong checksum");
  other = image + "x";
  EXPECT_EQ(Column::Open(other).status().message(),
            absl::StrCat("index column: ", image.size() + 1, " bytes, where the header says ",
                         image.size()));
  other = "x" + image;
  EXPECT_EQ(Column::Open(std::string_view(other).substr(1)).status().code(),
            absl::StatusCode::kInvalidArgument);
}

// The values that filters test: see key_extractor.h.
class Extraction {
 public:
  explicit Extraction(std::vector<std::string> paths) {
    std::vector<Path> parsed;
    for (const std::string& path : paths) parsed.push_back(*Path::Parse(path));
    extractor_.emplace(std::move(parsed));
  }

  Extraction& Add(std::string_view document) {
    const ShellDocument shell(document);
    extractor_->Extract(shell.view(), &builder_);
    return *this;
  }

  // The entries of a row, as text.
  std::string Row(std::uint32_t row) {
    if (image_.empty()) image_ = std::move(builder_).Finish();
    const Column column = Opened(image_);
    std::string text;
    column.ForEachCode(row, [&](Code code) {
      std::string scratch;
      const std::string_view key = column.Key(code, &scratch);
      if (!text.empty()) text += ' ';
      if (code == kMissingCode) {
        text += "missing";
      } else if (!extractor_->is_compound()) {
        text += Shown(key, key);
      } else {
        std::string_view rest = key;
        std::string tuple;
        while (const auto component = TakeIndexKeyComponent(&rest)) {
          if (!tuple.empty()) tuple += ',';
          tuple += Shown(*component, component->substr(0, component->size() - 1));
        }
        EXPECT_TRUE(rest.empty());
        text += tuple;
      }
    });
    return text;
  }
  const std::string& image() const { return image_; }

 private:
  static std::string Shown(std::string_view key, std::string_view text) {
    switch (IndexKeyClass(key)) {
      case KeyClass::kNothing:
        return "nothing";
      case KeyClass::kMissing:
        return "missing";
      case KeyClass::kNull:
        return "null";
      case KeyClass::kNumber:
        return absl::StrCat(IndexKeyNumber(key));
      case KeyClass::kString:
        return absl::StrCat("'", text.substr(1), "'");
      case KeyClass::kDocument:
        return "{}";
      case KeyClass::kArray:
        return "[]";
      default:
        return absl::BytesToHexString(key);
    }
  }

  std::optional<KeyExtractor> extractor_;
  ColumnBuilder builder_;
  std::string image_;
};

TEST(KeyExtractor, OnePathHasTheValuesThatFiltersTest) {
  Extraction a({"a"});
  a.Add("{a: 5}").Add("{b: 1}").Add("{a: null}").Add("{a: [2, 1, 2, null]}").Add("{a: []}");
  a.Add("{a: {b: 1}}").Add("{a: [[1], {b: 1}, 'x']}").Add("{a: 'x'}");
  EXPECT_EQ(a.Row(0), "5");
  EXPECT_EQ(a.Row(1), "missing");
  EXPECT_EQ(a.Row(2), "null");
  EXPECT_EQ(a.Row(3), "null 1 2 []");
  EXPECT_EQ(a.Row(4), "[]");
  EXPECT_EQ(a.Row(5), "{}");
  EXPECT_EQ(a.Row(6), "'x' {} []");
  EXPECT_EQ(a.Row(7), "'x'");
  EXPECT_EQ(Opened(a.image()).number_types(), NumberTypes::kIntegers);

  Extraction ab({"a.b"});
  ab.Add("{a: 5}").Add("{a: []}").Add("{a: [5, [{b: 1}]]}").Add("{a: [{b: 1}, {}, {b: [3, 4]}]}");
  EXPECT_EQ(ab.Row(0), "missing");
  EXPECT_EQ(ab.Row(1), "");
  EXPECT_EQ(ab.Row(2), "");
  EXPECT_EQ(ab.Row(3), "missing 1 3 4 []");

  // By position: not expanded again.
  Extraction a0({"a.0"});
  a0.Add("{a: [[1, 2], 3]}").Add("{a: [{'0': [7]}, 3]}").Add("{a: {'0': [7]}}");
  EXPECT_EQ(a0.Row(0), "[]");
  EXPECT_EQ(a0.Row(1), "7 {} []");
  EXPECT_EQ(a0.Row(2), "7 []");
}

TEST(KeyExtractor, SeveralPathsHaveTuples) {
  Extraction ab({"a", "b.c"});
  ab.Add("{a: 1, b: {c: 'x'}}").Add("{}").Add("{a: 1, b: []}").Add("{a: [2, 1], b: {c: 'y'}}");
  ab.Add("{a: [1, 2], b: [{c: 3}, {}]}");
  EXPECT_EQ(ab.Row(0), "1,'x'");
  EXPECT_EQ(ab.Row(1), "missing,missing");
  EXPECT_EQ(ab.Row(2), "1,nothing");
  EXPECT_EQ(ab.Row(3), "1,'y' 2,'y' [],'y'");
  EXPECT_EQ(ab.Row(4), "1,missing 1,3 2,missing 2,3 [],missing [],3");
  EXPECT_FALSE(Opened(ab.image()).has_overflow());
}

// Whether a row has an entry that an equality with the value is after.
bool HasEqual(const std::vector<std::string>& entries, ValueView value) {
  std::string key;
  AppendIndexKey(value, &key);
  for (const std::string& entry : entries) {
    if (entry.empty() ? value.IsNull() : entry == key) return true;
  }
  return false;
}

bool HasGreater(const std::vector<std::string>& entries, ValueView value) {
  std::string key;
  AppendIndexKey(value, &key);
  if (value.IsNull()) return false;
  if (value.IsNumber() && key < FirstIndexKeyAfterNan()) return false;
  for (const std::string& entry : entries) {
    if (!entry.empty() && entry > key && IndexKeyClass(entry) == IndexKeyClass(key)) return true;
  }
  return false;
}

// What the index is for: its entries say what the filter says, without the document.
TEST(KeyExtractor, EntriesDecideWhatFiltersDecide) {
  for (std::uint64_t seed = 0; seed < 1500; ++seed) {
    SCOPED_TRACE(seed);
    query_internal::RandomDocuments random(seed);
    const std::string document = random.Document();
    const ValueView view = ValueView::FromTrusted(document);
    const std::string paths[] = {random.Path(), random.Path()};
    std::string values[2];
    for (std::string& value : values) {
      do {
        value = random.Value(0);
      } while (ValueView::FromTrusted(value).type() == ValueType::kArray ||
               ValueView::FromTrusted(value).type() == ValueType::kDocument);
    }
    const auto matches = [&](auto add) {
      std::string bytes;
      Builder builder(&bytes);
      builder.StartDocument();
      add(&builder);
      builder.EndDocument();
      const absl::StatusOr<Filter> filter = Filter::Compile(ValueView::FromTrusted(bytes));
      EXPECT_TRUE(filter.ok()) << filter.status();
      return filter->Matches(view);
    };
    const auto matches_path = [&](std::size_t i, std::string_view op, ValueView operand) {
      return matches([&](Builder* builder) {
        builder->Key(paths[i]).StartDocument().Key(op).Raw(operand).EndDocument();
      });
    };

    std::string scratch;
    for (std::size_t i = 0; i < 2; ++i) {
      ColumnBuilder builder;
      KeyExtractor({*Path::Parse(paths[i])}).Extract(view, &builder);
      const std::string image = std::move(builder).Finish();
      const Column column = Opened(image);
      std::vector<std::string> entries;  // "": missing
      column.ForEachCode(0, [&](Code code) { entries.emplace_back(column.Key(code, &scratch)); });
      const ValueView value = ValueView::FromTrusted(values[i]);
      ASSERT_EQ(HasEqual(entries, value), matches_path(i, "$eq", value)) << paths[i];
      ASSERT_EQ(HasGreater(entries, value), matches_path(i, "$gt", value)) << paths[i];
      const bool exists = std::any_of(entries.begin(), entries.end(),
                                      [](const std::string& entry) { return !entry.empty(); });
      ASSERT_EQ(exists, matches_path(i, "$exists", ValueView::FromTrusted("\xc3"))) << paths[i];
      const bool array = HasEqual(entries, ValueView::FromTrusted("\x90"));
      ASSERT_EQ(array, matches_path(i, "$type", ValueView::FromTrusted("\x04"))) << paths[i];
    }

    ColumnBuilder builder;
    KeyExtractor({*Path::Parse(paths[0]), *Path::Parse(paths[1])}).Extract(view, &builder);
    const std::string image = std::move(builder).Finish();
    const Column column = Opened(image);
    ASSERT_FALSE(column.has_overflow());
    ASSERT_GT(column.entry_count(), 0u);
    // All ways to be equal: null, and missing for null.
    std::vector<std::string> components[2];
    for (std::size_t i = 0; i < 2; ++i) {
      const ValueView value = ValueView::FromTrusted(values[i]);
      AppendIndexKeyComponent(value, &components[i].emplace_back());
      if (value.IsNull()) AppendIndexKeyComponent(std::nullopt, &components[i].emplace_back());
    }
    bool found = false;
    for (const std::string& first : components[0]) {
      for (const std::string& second : components[1]) {
        found = found || column.Find(first + second).has_value();
      }
    }
    bool equal = true;
    for (std::size_t i = 0; i < 2; ++i) {
      equal = equal && matches_path(i, "$eq", ValueView::FromTrusted(values[i]));
    }
    ASSERT_EQ(found, equal) << paths[0] << " and " << paths[1];
  }
}

TEST(KeyExtractor, ALargeProductIsCutAndSaysSo) {
  std::string many = "[0";
  for (int i = 1; i < 1500; ++i) absl::StrAppend(&many, ", ", i);
  many += "]";
  Extraction one({"a", "b"});
  one.Add(absl::StrCat("{a: 1, b: ", many, "}")).Row(0);
  EXPECT_FALSE(Opened(one.image()).has_overflow());
  EXPECT_EQ(Opened(one.image()).entry_count(), 1501u);
  Extraction two({"a", "b"});
  two.Add(absl::StrCat("{a: [1], b: ", many, "}")).Row(0);
  EXPECT_TRUE(Opened(two.image()).has_overflow());
  EXPECT_EQ(Opened(two.image()).entry_count(), kTuplesPerRowMax);
}

TEST(KeyExtractor, CutKeysAndKindsOfNumbersAreNoted) {
  const auto made = [](std::string_view document, std::vector<std::string> paths) {
    Extraction extraction(std::move(paths));
    extraction.Add(document).Row(0);
    return extraction.image();
  };
  std::string image = made(absl::StrCat("{a: '", std::string(kIndexKeyBytesMax, 'x'), "'}"), {"a"});
  EXPECT_TRUE(Opened(image).has_truncated_keys());
  image = made(absl::StrCat("{a: '", std::string(kIndexKeyBytesMax, 'x'), "'}"), {"a", "b"});
  EXPECT_TRUE(Opened(image).has_truncated_keys());
  image = made("{a: 1.5}", {"a"});
  EXPECT_EQ(Opened(image).number_types(), NumberTypes::kDoubles);
  EXPECT_FALSE(Opened(image).has_truncated_keys());
  image = made("{a: [1.5, 1]}", {"a"});
  EXPECT_EQ(Opened(image).number_types(), NumberTypes::kMixed);
  image = made("{a: -0.0}", {"a"});
  EXPECT_EQ(Opened(image).number_types(), NumberTypes::kMixed);
}

// Pins the format: change it, and the version, and docs/format.md.
TEST(Column, HasTheBytesOfTheFormat) {
  struct Piece {
    std::size_t offset;
    std::string_view hex;
  };
  const auto image_of = [](std::size_t size, const std::vector<Piece>& pieces) {
    std::string image(size, '\0');
    for (const Piece& piece : pieces) {
      const std::string bytes = absl::HexStringToBytes(piece.hex);
      image.replace(piece.offset, bytes.size(), bytes);
    }
    return image;
  };
  // Keys of one size, and lists.
  EXPECT_EQ(
      Build({{"k1z"}, {std::nullopt}, {"k2z"}, {"k1z", "k2z"}, {}}),
      image_of(
          832,
          {
              {0, "414c4f53434f4c3101000000130e6250"},    // magic, version, header CRC
              {16, "a2239fdd100000004003000000000000"},   // body CRC, flags, size
              {32, "05000000020000000200000001000000"},   // rows, keys, lists, width
              {48, "05000000010000000000000004000000"},   // entries, missing, dense, offset width
              {64, "01000000030000000100000000000000"},   // prefix, key size, stored size
              {80, "00010000000000000200000000000000"},   // where: frame
              {96, "40010000000000000200000000000000"},   // where: dictionary
              {112, "80010000000000000000000000000000"},  // where: block offsets
              {128, "80010000000000000800000000000000"},  // where: heads
              {144, "c0010000000000001000000000000000"},  // where: entries begin
              {160, "00020000000000000400000000000000"},  // where: dense
              {176, "40020000000000001400000000000000"},  // where: postings
              {192, "80020000000000000500000000000000"},  // where: column
              {208, "c0020000000000000c00000000000000"},  // where: list begin
              {224, "00030000000000000800000000000000"},  // where: lists
              {256, "6b7a"},                              // frame
              {320, "3132"},                              // dictionary
              {384, "0000000000007a31"},                  // heads
              {448, "00000000010000000300000005000000"},  // entries begin
              {512, "00000000"},                          // dense
              {576, "0100000000000000030000000200000003000000"},  // postings
              {640, "0100020304"},                                // column
              {704, "000000000200000002000000"},                  // list begin
              {768, "0100000002000000"},                          // lists
          }));
  // Keys of several sizes, each once.
  EXPECT_EQ(
      Build({{"ab"}, {"abc"}, {"abd"}}),
      image_of(
          704,
          {
              {0, "414c4f53434f4c310100000040137489"},    // magic, version, header CRC
              {16, "81cd0f1f20000000c002000000000000"},   // body CRC, flags, size
              {32, "03000000030000000000000001000000"},   // rows, keys, lists, width
              {48, "03000000000000000000000004000000"},   // entries, missing, dense, offset width
              {64, "02000000000000000000000000000000"},   // prefix, key size, stored size
              {80, "00010000000000000200000000000000"},   // where: frame
              {96, "40010000000000000a00000000000000"},   // where: dictionary
              {112, "80010000000000000400000000000000"},  // where: block offsets
              {128, "c0010000000000000800000000000000"},  // where: heads
              {144, "00020000000000000000000000000000"},  // where: entries begin
              {160, "00020000000000000400000000000000"},  // where: dense
              {176, "40020000000000000c00000000000000"},  // where: postings
              {192, "80020000000000000300000000000000"},  // where: column
              {208, "c0020000000000000000000000000000"},  // where: list begin
              {224, "c0020000000000000000000000000000"},  // where: lists
              {256, "6162"},                              // frame
              {320, "00026162020163020164"},              // dictionary
              {384, "00000000"},                          // block offsets
              {448, "0000000000000000"},                  // heads
              {512, "00000000"},                          // dense
              {576, "000000000100000002000000"},          // postings
              {640, "010203"},                            // column
          }));
}

}  // namespace
}  // namespace alos
