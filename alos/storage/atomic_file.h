// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Small files that are replaced as a whole: after a crash there is the old content or the new one.

#ifndef ALOS_STORAGE_ATOMIC_FILE_H_
#define ALOS_STORAGE_ATOMIC_FILE_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "alos/base/file_system.h"
#include "alos/base/status_macros.h"

namespace alos {

// Replaces `path` by `content`: written beside it, flushed, renamed. The new name is durable only
// once its directory is flushed; until then a power failure may bring the old content back. Who has
// the old file open or mapped keeps it.
template <class FileSystem>
absl::Status ReplaceFileUnflushed(FileSystem& file_system, const std::string& path,
                                  std::string_view content) {
  const std::string temporary = absl::StrCat(path, ".new");
  {
    ALOS_ASSIGN_OR_RETURN(auto file, file_system.Open(temporary, OpenMode::kCreate));
    ALOS_RETURN_IF_ERROR(file->Truncate(0));
    ALOS_RETURN_IF_ERROR(file->WriteAt(0, content));
    ALOS_RETURN_IF_ERROR(file->Sync());
  }
  return file_system.Rename(temporary, path);
}

// Replaces `directory`/`name` by `content`: as above, and the directory flushed. When this returns
// OK the new content survives a power failure. On an error the old content is there, but for
// kUnavailable: then the new one is, and may be lost with the power.
template <class FileSystem>
absl::Status ReplaceFile(FileSystem& file_system, const std::string& directory,
                         std::string_view name, std::string_view content) {
  const std::string path = absl::StrCat(directory, "/", name);
  ALOS_RETURN_IF_ERROR(ReplaceFileUnflushed(file_system, path, content));
  const absl::Status synced = file_system.SyncDirectory(directory);
  if (synced.ok()) return synced;
  return absl::UnavailableError(
      absl::StrCat("outcome unknown: ", path,
                   " was replaced, but its name may not be durable: ", synced.message()));
}

// The whole content of a file. kNotFound when there is none.
template <class FileSystem>
absl::StatusOr<std::string> ReadWholeFile(FileSystem& file_system, const std::string& path) {
  ALOS_ASSIGN_OR_RETURN(auto file, file_system.Open(path, OpenMode::kReadOnly));
  ALOS_ASSIGN_OR_RETURN(const std::uint64_t size, file->Size());
  std::string content(size, '\0');
  ALOS_ASSIGN_OR_RETURN(const std::size_t read, file->ReadAt(0, absl::MakeSpan(content)));
  content.resize(read);
  return content;
}

}  // namespace alos

#endif  // ALOS_STORAGE_ATOMIC_FILE_H_
