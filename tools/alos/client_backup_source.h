// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Backups of the databases of a server, over its network protocol.

#ifndef ALOS_TOOLS_ALOS_CLIENT_BACKUP_SOURCE_H_
#define ALOS_TOOLS_ALOS_CLIENT_BACKUP_SOURCE_H_

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "alos/base/status_macros.h"
#include "alos/document/builder.h"
#include "alos/document/value.h"
#include "alos/maintenance/backup.h"
#include "alos/maintenance/finding.h"
#include "alos/net/client.h"

namespace alos::tools {

// Satisfies BackupSource. The state of a backup lives as long as the server's connection, of which
// there is one: when it is lost the backup fails, and is to be begun again.
// Threads: one. Errors: the client's.
class ClientBackupSource {
 public:
  // `options`: the database in it is of no importance.
  static absl::StatusOr<std::unique_ptr<ClientBackupSource>> Connect(ClientOptions options) {
    options.connections_max = 1;
    auto source = std::unique_ptr<ClientBackupSource>(new ClientBackupSource(std::move(options)));
    ALOS_RETURN_IF_ERROR(source->Use(""));
    return source;
  }

  struct Databases {
    std::string default_name;
    std::vector<std::string> names;
  };
  absl::StatusOr<Databases> ListDatabases() {
    ALOS_ASSIGN_OR_RETURN(const std::string result, Call("list", [](Builder&) {}));
    const ValueView view = ValueView::FromTrusted(result);
    Databases databases;
    const std::optional<ValueView> name = view.Find("default");
    const std::optional<ValueView> names = view.Find("databases");
    if (!name || !name->IsString() || !names || !names->IsArray()) return BadResult();
    databases.default_name = std::string(name->AsString());
    for (const ValueView each : names->elements()) {
      if (!each.IsString()) return BadResult();
      databases.names.emplace_back(each.AsString());
    }
    return databases;
  }

  absl::StatusOr<BackupSourceState> Begin(const std::string& name) {
    ALOS_RETURN_IF_ERROR(Use(name));
    name_ = name;
    ALOS_ASSIGN_OR_RETURN(const std::string result, Call("begin", [](Builder&) {}));
    const ValueView view = ValueView::FromTrusted(result);
    BackupSourceState state;
    const std::optional<ValueView> manifest = view.Find("manifest");
    const std::optional<ValueView> logs = view.Find("logs");
    if (!Number(view, "timestamp", &state.timestamp) || !manifest ||
        manifest->type() != ValueType::kBinary || !logs || !logs->IsArray()) {
      return BadResult();
    }
    state.manifest = std::string(manifest->AsBinary());
    for (const ValueView each : logs->elements()) {
      BackupSourceState::Log& log = state.logs.emplace_back();
      std::uint64_t shard = 0;
      if (!each.IsDocument() || !Number(each, "shard", &shard) ||
          !Number(each, "generation", &log.generation) || !Number(each, "size", &log.size)) {
        return BadResult();
      }
      log.shard = static_cast<std::uint32_t>(shard);
    }
    return state;
  }

  absl::Status Read(std::uint32_t shard, std::uint64_t offset, std::uint64_t bytes,
                    std::string* out) {
    out->clear();
    while (out->size() < bytes) {
      ALOS_ASSIGN_OR_RETURN(const std::string result, Call("read", [&](Builder& builder) {
                              builder.Key("shard").Uint(shard);
                              builder.Key("offset").Uint(offset + out->size());
                              builder.Key("bytes").Uint(bytes - out->size());
                            }));
      const std::optional<ValueView> data = ValueView::FromTrusted(result).Find("data");
      if (!data || data->type() != ValueType::kBinary || data->AsBinary().empty() ||
          data->AsBinary().size() > bytes - out->size()) {
        return BadResult();
      }
      out->append(data->AsBinary());
    }
    return absl::OkStatus();
  }

  absl::Status Checksums(std::uint32_t shard, std::uint64_t size, std::uint64_t chunk,
                         std::vector<std::uint32_t>* checksums) {
    checksums->clear();
    const std::uint64_t chunks = size / chunk + (size % chunk != 0);
    while (checksums->size() < chunks) {
      ALOS_ASSIGN_OR_RETURN(const std::string result, Call("checksums", [&](Builder& builder) {
                              builder.Key("shard").Uint(shard);
                              builder.Key("offset").Uint(checksums->size() * chunk);
                              builder.Key("chunk").Uint(chunk);
                            }));
      const std::optional<ValueView> data = ValueView::FromTrusted(result).Find("checksums");
      if (!data || data->type() != ValueType::kBinary || data->AsBinary().size() < 4)
        return BadResult();
      for (std::size_t at = 0; at + 4 <= data->AsBinary().size(); at += 4) {
        std::uint32_t checksum = 0;
        std::memcpy(&checksum, data->AsBinary().data() + at, 4);
        checksums->push_back(checksum);
      }
    }
    return checksums->size() == chunks ? absl::OkStatus() : BadResult();
  }

  absl::Status Verify(std::uint32_t shard, std::uint64_t size, std::vector<Finding>* findings) {
    for (std::uint64_t offset = 0; offset < size;) {
      ALOS_ASSIGN_OR_RETURN(const std::string result, Call("verify", [&](Builder& builder) {
                              builder.Key("shard").Uint(shard);
                              builder.Key("offset").Uint(offset);
                            }));
      const ValueView view = ValueView::FromTrusted(result);
      std::uint64_t next = 0;
      const std::optional<ValueView> damaged = view.Find("damaged");
      if (!Number(view, "next", &next) || next <= offset || !damaged || !damaged->IsArray())
        return BadResult();
      offset = next;
      for (const ValueView each : damaged->elements()) {
        Finding finding{.file = absl::StrFormat("%s/shard_%03d.db", name_, shard),
                        .what = "the record is damaged"};
        std::uint64_t at = 0;
        if (!each.IsDocument() || !Number(each, "offset", &at) ||
            !Number(each, "bytes", &finding.bytes)) {
          return BadResult();
        }
        finding.offset = at;
        if (const auto document = each.Find("document"); document && document->IsString())
          finding.document = std::string(document->AsString());
        findings->push_back(std::move(finding));
      }
    }
    return absl::OkStatus();
  }

  absl::Status End() {
    return Call("end", [](Builder&) {}).status();
  }

 private:
  explicit ClientBackupSource(ClientOptions options) : options_(std::move(options)) {}

  // A connection for this database.
  absl::Status Use(const std::string& database) {
    if (client_ != nullptr && options_.database == database) return absl::OkStatus();
    options_.database = database;
    client_ = nullptr;
    ALOS_ASSIGN_OR_RETURN(client_, Client::Connect(options_));
    return absl::OkStatus();
  }

  template <class Append>
  absl::StatusOr<std::string> Call(std::string_view what, Append&& append) {
    std::string args;
    Builder builder(&args);
    builder.StartDocument().Key("do").String(what);
    append(builder);
    builder.EndDocument();
    return client_->Call(Operation::kBackup, "", ValueView::FromTrusted(args), true);
  }

  static bool Number(ValueView of, std::string_view key, std::uint64_t* number) {
    const std::optional<ValueView> found = of.Find(key);
    if (!found || !found->IsUnsigned()) return false;
    *number = found->AsUint64();
    return true;
  }
  static absl::Status BadResult() {
    return absl::DataLossError("the server's answer to Backup is not what this version knows");
  }

  ClientOptions options_;
  std::unique_ptr<Client> client_;
  std::string name_;
};

}  // namespace alos::tools

#endif  // ALOS_TOOLS_ALOS_CLIENT_BACKUP_SOURCE_H_
