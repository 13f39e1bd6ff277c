// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Brings records into a collection, in batches, and knows what became of each.

#ifndef ALOS_TOOLS_IMPORT_IMPORTER_H_
#define ALOS_TOOLS_IMPORT_IMPORTER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <future>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "alos/base/status_macros.h"
#include "alos/document/value.h"
#include "tools/import/records.h"

namespace alos::import {

struct ImporterOptions {
  std::string file;  // for messages
  std::string collection;
  std::size_t batch_documents_max = 1000;
  std::size_t batch_bytes_max = std::size_t{8} << 20;
  bool skip_bad = false;
  // Called for each record that is skipped, from the thread that calls Add and Finish.
  std::function<void(std::string_view message)> on_skipped = [](std::string_view) {};
};

// `Database` is a Client, or has its InsertMany, InsertOne and FindById.
//
// While one batch travels, the next is put together. If a batch is refused or its fate is unknown,
// its records are settled one by one: one that is there with exactly its content is in, one that is
// not there is sent again, anything else is a bad record. So importing a file a second time, or
// again after it was interrupted, is harmless if its records have ids of their own.
//
// Threads: one at a time; has one thread of its own. Lifetime: `database` must outlive it.
// Durability: the server's, for what imported() counts.
// Errors: Add and Finish return what ended the import: without skip_bad the first bad record, with
//   file, place and reason, in which case every record ahead of it is in; else a server that is
//   gone. After an error nothing more is sent.
template <class Database>
class Importer {
 public:
  Importer(Database* database, ImporterOptions options)
      : database_(database), options_(std::move(options)) {}
  ~Importer() {
    if (under_way_.valid()) under_way_.wait();
  }
  Importer(const Importer&) = delete;
  Importer& operator=(const Importer&) = delete;

  // Takes a record that has an `_id`.
  absl::Status Add(Record record) {
    ALOS_RETURN_IF_ERROR(ended_);
    const std::size_t size = record.document.size();
    if (!batch_.empty() && batch_bytes_ + size > options_.batch_bytes_max) {
      ALOS_RETURN_IF_ERROR(SendBatch());
    }
    batch_bytes_ += size;
    batch_.push_back(std::move(record));
    return batch_.size() >= options_.batch_documents_max ? SendBatch() : absl::OkStatus();
  }

  // Sends what is left and waits for all of it.
  absl::Status Finish() {
    ALOS_RETURN_IF_ERROR(ended_);
    if (!batch_.empty()) ALOS_RETURN_IF_ERROR(SendBatch());
    return Wait();
  }

  std::uint64_t imported() const { return imported_; }
  std::uint64_t skipped() const { return skipped_; }

 private:
  struct Outcome {
    std::uint64_t imported = 0;
    std::vector<std::string> bad;
    absl::Status status;
  };

  absl::Status SendBatch() {
    ALOS_RETURN_IF_ERROR(Wait());
    std::vector<Record> batch;
    std::swap(batch, batch_);
    batch_bytes_ = 0;
    under_way_ =
        std::async(std::launch::async, [this, batch = std::move(batch)] { return Send(batch); });
    return absl::OkStatus();
  }

  absl::Status Wait() {
    if (!under_way_.valid()) return absl::OkStatus();
    const Outcome outcome = under_way_.get();
    imported_ += outcome.imported;
    for (const std::string& message : outcome.bad) options_.on_skipped(message);
    skipped_ += outcome.bad.size();
    ended_ = outcome.status;
    return ended_;
  }

  Outcome Send(const std::vector<Record>& batch) {
    Outcome outcome;
    std::vector<ValueView> documents;
    documents.reserve(batch.size());
    for (const Record& record : batch) {
      documents.push_back(ValueView::FromTrusted(record.document));
    }
    if (database_->InsertMany(options_.collection, documents).ok()) {
      outcome.imported = batch.size();
      return outcome;
    }
    for (const Record& record : batch) {
      const absl::StatusOr<std::string> refusal = Settle(ValueView::FromTrusted(record.document));
      if (!refusal.ok()) {
        outcome.status = refusal.status();
        return outcome;
      }
      if (refusal->empty()) {
        ++outcome.imported;
        continue;
      }
      std::string message = absl::StrCat(Place(options_.file, record), ": ", *refusal);
      if (!options_.skip_bad) {
        outcome.status = absl::InvalidArgumentError(message);
        return outcome;
      }
      outcome.bad.push_back(std::move(message));
    }
    return outcome;
  }

  // Why `document` cannot go in; "" if it is in now. An error if the server does not answer.
  absl::StatusOr<std::string> Settle(ValueView document) {
    const ValueView id = *document.Find("_id");
    absl::Status refused;
    for (int attempt = 0; attempt < 2; ++attempt) {
      ALOS_ASSIGN_OR_RETURN(const std::optional<std::string> stored,
                            database_->FindById(options_.collection, id));
      if (stored.has_value()) {
        if (*stored == document.bytes()) return "";
        return absl::StrCat("its _id belongs to another document of ", options_.collection);
      }
      refused = database_->InsertOne(options_.collection, document).status();
      if (refused.ok()) return "";
      // The batch may have been carried out after all, just now.
      if (refused.code() != absl::StatusCode::kAlreadyExists) break;
    }
    switch (refused.code()) {
      case absl::StatusCode::kInvalidArgument:
      case absl::StatusCode::kAlreadyExists:
      case absl::StatusCode::kOutOfRange:
      case absl::StatusCode::kFailedPrecondition:
        return std::string(refused.message());
      default:
        return refused;
    }
  }

  Database* const database_;
  const ImporterOptions options_;
  std::vector<Record> batch_;
  std::size_t batch_bytes_ = 0;
  std::future<Outcome> under_way_;
  absl::Status ended_;
  std::uint64_t imported_ = 0;
  std::uint64_t skipped_ = 0;
};

}  // namespace alos::import

#endif  // ALOS_TOOLS_IMPORT_IMPORTER_H_
