// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// A FileSystem that shows the files of the operating system and keeps every change to itself, in
// memory: what an engine does to a directory seen through it, recovery included, happens without a
// byte of the directory being touched.

#ifndef ALOS_BASE_PRIVATE_FILE_SYSTEM_H_
#define ALOS_BASE_PRIVATE_FILE_SYSTEM_H_

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "alos/base/file_system.h"
#include "alos/base/mapped_read_guard.h"
#include "alos/base/posix_file_system.h"
#include "alos/base/status_macros.h"

namespace alos {

namespace base_internal {

// A file: a stretch of address space with the file mapped copy-on-write over its front and
// anonymous memory behind that.
class PrivateNode {
 public:
  // Address space costs nothing, but a file cannot grow past it.
  static constexpr std::uint64_t kReservedMin = std::uint64_t{256} << 20;
  static constexpr std::uint64_t kReservedFactor = 8;

  // `descriptor` -1: a new, empty file. Takes the descriptor, and closes it.
  static absl::StatusOr<std::shared_ptr<PrivateNode>> Make(const std::string& path,
                                                           int descriptor) {
    std::uint64_t size = 0;
    if (descriptor >= 0) {
      struct stat attributes;
      if (::fstat(descriptor, &attributes) != 0) {
        const int error = errno;
        ::close(descriptor);
        return PosixError(error, "fstat", path);
      }
      if (!S_ISREG(attributes.st_mode)) {
        ::close(descriptor);
        return absl::FailedPreconditionError(
            absl::StrCat("open \"", path, "\": not a regular file"));
      }
      size = static_cast<std::uint64_t>(attributes.st_size);
    }
    const std::uint64_t reserved = RoundUpToPage(std::max(kReservedMin, size * kReservedFactor));
    void* data =
        ::mmap(nullptr, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    absl::Status status;
    if (data == MAP_FAILED) {
      status = PosixError(errno, absl::StrCat("reserve ", reserved, " bytes of address space for"),
                          path);
    } else if (size != 0 &&
               ::mmap(data, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED,
                      descriptor, 0) == MAP_FAILED) {
      status = PosixError(errno, "mmap", path);
      ::munmap(data, reserved);
    }
    if (descriptor >= 0) ::close(descriptor);
    ALOS_RETURN_IF_ERROR(status);
    return std::shared_ptr<PrivateNode>(
        new PrivateNode(static_cast<char*>(data), reserved, size, RoundUpToPage(size)));
  }

  ~PrivateNode() {
    guard_.reset();
    ::munmap(data_, reserved_);
  }
  PrivateNode(const PrivateNode&) = delete;
  PrivateNode& operator=(const PrivateNode&) = delete;

  char* data() const { return data_; }
  std::uint64_t reserved_bytes() const { return reserved_; }
  std::uint64_t failed_end() const { return guard_->failed_end(); }
  std::uint64_t size() const { return size_.load(std::memory_order_acquire); }

  absl::Status Resize(const std::string& path, std::uint64_t size) {
    absl::MutexLock lock(&mutex_);
    const std::uint64_t old = size_.load(std::memory_order_relaxed);
    if (size > reserved_) {
      return absl::ResourceExhaustedError(
          absl::StrCat("\"", path, "\": a private view of it cannot grow to ", size, " bytes"));
    }
    const std::uint64_t pages = RoundUpToPage(size);
    if (pages > backed_) {
      if (::mmap(data_ + backed_, pages - backed_, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED) {
        return PosixError(errno, "mmap", path);
      }
      backed_ = pages;
    }
    if (size < old) std::memset(data_ + size, 0, old - size);  // grown again it reads as zeros
    size_.store(size, std::memory_order_release);
    return absl::OkStatus();
  }

 private:
  PrivateNode(char* data, std::uint64_t reserved, std::uint64_t size, std::uint64_t backed)
      : data_(data),
        reserved_(reserved),
        guard_(std::in_place, data, reserved, false),
        size_(size),
        backed_(backed) {}

  char* const data_;
  const std::uint64_t reserved_;
  std::optional<MappedReadGuard> guard_;
  std::atomic<std::uint64_t> size_;
  absl::Mutex mutex_;
  std::uint64_t backed_ ABSL_GUARDED_BY(mutex_);  // pages with something behind them
};

}  // namespace base_internal

class PrivateMapping {
 public:
  char* data() const { return reserved_ == 0 ? nullptr : node_->data(); }
  std::uint64_t mapped_bytes() const { return mapped_.load(std::memory_order_acquire); }
  std::uint64_t reserved_bytes() const { return reserved_; }
  std::uint64_t failed_end() const { return node_->failed_end(); }
  absl::Status Extend(std::uint64_t bytes) {
    if (bytes <= mapped_bytes()) return absl::OkStatus();
    if (bytes > reserved_ || bytes > node_->size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("map: ", bytes, " bytes are more than the file has or were reserved"));
    }
    mapped_.store(bytes, std::memory_order_release);
    return absl::OkStatus();
  }

 private:
  friend class PrivateFile;
  PrivateMapping(std::shared_ptr<base_internal::PrivateNode> node, std::uint64_t reserved)
      : node_(std::move(node)), reserved_(reserved), mapped_(std::min(reserved, node_->size())) {}

  const std::shared_ptr<base_internal::PrivateNode> node_;
  const std::uint64_t reserved_;
  std::atomic<std::uint64_t> mapped_;
};

class PrivateFile {
 public:
  using MappingType = PrivateMapping;

  absl::StatusOr<std::size_t> ReadAt(std::uint64_t offset, absl::Span<char> out) const {
    ALOS_RETURN_IF_ERROR(base_internal::CheckFileRange(offset, out.size(), "read", path_));
    const std::uint64_t size = node_->size();
    if (offset >= size || out.empty()) return std::size_t{0};
    const std::size_t count = std::min<std::uint64_t>(out.size(), size - offset);
    std::memcpy(out.data(), node_->data() + offset, count);
    return count;
  }
  absl::Status WriteAt(std::uint64_t offset, std::string_view bytes) {
    ALOS_RETURN_IF_ERROR(CheckWritable("write"));
    ALOS_RETURN_IF_ERROR(base_internal::CheckFileRange(offset, bytes.size(), "write", path_));
    if (offset + bytes.size() > node_->size())
      ALOS_RETURN_IF_ERROR(node_->Resize(path_, offset + bytes.size()));
    if (!bytes.empty()) std::memcpy(node_->data() + offset, bytes.data(), bytes.size());
    return absl::OkStatus();
  }
  absl::Status AllocateRange(std::uint64_t, std::uint64_t size) { return Allocate(size); }
  absl::Status PunchHole(std::uint64_t offset, std::uint64_t size) {
    ALOS_RETURN_IF_ERROR(CheckWritable("punch a hole into"));
    ALOS_RETURN_IF_ERROR(base_internal::CheckFileRange(offset, size, "punch a hole into", path_));
    if (offset % kFileBlockBytes != 0 || size % kFileBlockBytes != 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("punch a hole into \"", path_, "\": no whole blocks"));
    }
    const std::uint64_t end = std::min(offset + size, node_->size());
    if (offset < end) std::memset(node_->data() + offset, 0, end - offset);
    return absl::OkStatus();
  }
  absl::Status Allocate(std::uint64_t size) {
    ALOS_RETURN_IF_ERROR(CheckWritable("allocate"));
    ALOS_RETURN_IF_ERROR(base_internal::CheckFileRange(0, size, "allocate", path_));
    return size <= node_->size() ? absl::OkStatus() : node_->Resize(path_, size);
  }
  absl::Status Truncate(std::uint64_t size) {
    ALOS_RETURN_IF_ERROR(CheckWritable("truncate"));
    ALOS_RETURN_IF_ERROR(base_internal::CheckFileRange(0, size, "truncate", path_));
    return node_->Resize(path_, size);
  }
  absl::StatusOr<std::uint64_t> Size() const { return node_->size(); }
  absl::Status Sync() { return absl::OkStatus(); }
  absl::StatusOr<std::unique_ptr<PrivateMapping>> Map(std::uint64_t reserve_bytes) {
    if (reserve_bytes > node_->reserved_bytes()) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "\"", path_, "\": a private view of it cannot grow to ", reserve_bytes, " bytes"));
    }
    return std::unique_ptr<PrivateMapping>(
        new PrivateMapping(node_, base_internal::RoundUpToPage(reserve_bytes)));
  }
  const std::string& path() const { return path_; }

 private:
  friend class PrivateFileSystem;
  PrivateFile(std::shared_ptr<base_internal::PrivateNode> node, std::string path, bool writable)
      : node_(std::move(node)), path_(std::move(path)), writable_(writable) {}

  absl::Status CheckWritable(std::string_view operation) const {
    if (writable_) return absl::OkStatus();
    return absl::FailedPreconditionError(
        absl::StrCat(operation, " \"", path_, "\": the file was opened for reading only"));
  }

  const std::shared_ptr<base_internal::PrivateNode> node_;
  const std::string path_;
  const bool writable_;
};

// Threads: as file_system.h says. Lifetime: its files must not outlive it; the files below must not
// shrink meanwhile (hold the lock of the directory). Durability: none, and no change of anything.
// LockFile takes no lock. Cost: memory for what is written, in pages.
class PrivateFileSystem {
 public:
  using FileType = PrivateFile;
  using MappingType = PrivateMapping;
  struct LockType {};

  absl::StatusOr<std::unique_ptr<PrivateFile>> Open(const std::string& path, OpenMode mode) {
    absl::MutexLock lock(&mutex_);
    ALOS_ASSIGN_OR_RETURN(auto node, Find(path));
    if (node == nullptr) {
      if (mode != OpenMode::kCreate)
        return absl::NotFoundError(absl::StrCat("open \"", path, "\": no such file"));
      ALOS_ASSIGN_OR_RETURN(node, base_internal::PrivateNode::Make(path, -1));
      nodes_[path] = node;
    }
    return std::unique_ptr<PrivateFile>(
        new PrivateFile(std::move(node), path, mode != OpenMode::kReadOnly));
  }
  absl::Status Rename(const std::string& from, const std::string& to) {
    absl::MutexLock lock(&mutex_);
    ALOS_ASSIGN_OR_RETURN(auto node, Find(from));
    if (node == nullptr)
      return absl::NotFoundError(absl::StrCat("rename \"", from, "\": no such file"));
    nodes_[to] = std::move(node);
    nodes_[from] = nullptr;
    return absl::OkStatus();
  }
  absl::Status Remove(const std::string& path) {
    absl::MutexLock lock(&mutex_);
    const auto found = nodes_.find(path);
    if (found != nodes_.end() ? found->second == nullptr : !system_.Exists(path).value_or(false))
      return absl::NotFoundError(absl::StrCat("remove \"", path, "\": no such file"));
    nodes_[path] = nullptr;
    return absl::OkStatus();
  }
  absl::Status CreateDirectories(const std::string& path) {
    absl::MutexLock lock(&mutex_);
    directories_.insert(path);
    return absl::OkStatus();
  }
  absl::Status SyncDirectory(const std::string&) { return absl::OkStatus(); }
  absl::StatusOr<std::vector<std::string>> ListDirectory(const std::string& path) {
    absl::MutexLock lock(&mutex_);
    std::set<std::string> names;
    absl::StatusOr<std::vector<std::string>> below = system_.ListDirectory(path);
    if (below.ok()) {
      names.insert(below->begin(), below->end());
    } else if (!directories_.contains(path)) {
      return below.status();
    }
    const std::string prefix = absl::StrCat(path, "/");
    for (const auto& [name, node] : nodes_) {
      if (!name.starts_with(prefix) || name.find('/', prefix.size()) != std::string::npos) continue;
      if (node != nullptr) {
        names.insert(name.substr(prefix.size()));
      } else {
        names.erase(name.substr(prefix.size()));
      }
    }
    return std::vector<std::string>(names.begin(), names.end());
  }
  absl::StatusOr<bool> Exists(const std::string& path) {
    absl::MutexLock lock(&mutex_);
    const auto found = nodes_.find(path);
    if (found != nodes_.end()) return found->second != nullptr;
    if (directories_.contains(path)) return true;
    return system_.Exists(path);
  }
  absl::StatusOr<std::unique_ptr<LockType>> LockFile(const std::string&) {
    return std::make_unique<LockType>();
  }

 private:
  // nullptr: there is none.
  absl::StatusOr<std::shared_ptr<base_internal::PrivateNode>> Find(const std::string& path)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto found = nodes_.find(path);
    if (found != nodes_.end()) return found->second;
    const int descriptor =
        base_internal::RetryOnInterrupt([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); });
    if (descriptor < 0) {
      if (errno == ENOENT) return std::shared_ptr<base_internal::PrivateNode>();
      return PosixError(errno, "open", path);
    }
    ALOS_ASSIGN_OR_RETURN(auto node, base_internal::PrivateNode::Make(path, descriptor));
    nodes_[path] = node;
    return node;
  }

  PosixFileSystem system_;
  absl::Mutex mutex_;
  // What was opened or changed; nullptr: removed.
  std::map<std::string, std::shared_ptr<base_internal::PrivateNode>> nodes_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> directories_ ABSL_GUARDED_BY(mutex_);
};

static_assert(FileSystem<PrivateFileSystem>);

}  // namespace alos

#endif  // ALOS_BASE_PRIVATE_FILE_SYSTEM_H_
