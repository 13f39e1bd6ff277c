// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The FileSystem of the operating system. Contract: file_system.h.

#ifndef ALOS_BASE_POSIX_FILE_SYSTEM_H_
#define ALOS_BASE_POSIX_FILE_SYSTEM_H_

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "alos/base/check.h"
#include "alos/base/file_system.h"
#include "alos/base/mapped_read_guard.h"
#include "alos/base/status_macros.h"

namespace alos {

// The absl::Status for errno value `error` of `operation` ("open", "fdatasync" …) on `path`: the
// codes of file_system.h, and a message with advice where there is one to give.
absl::Status PosixError(int error, std::string_view operation, std::string_view path);

// A Mapping: one reservation (PROT_NONE), over whose front the file is mapped shared, a piece per
// Extend. The pieces are adjacent, so the kernel keeps them as one.
// Threads: Extend needs external serialisation; the accessors may be called meanwhile.
class PosixMapping {
 public:
  PosixMapping(const PosixMapping&) = delete;
  PosixMapping& operator=(const PosixMapping&) = delete;
  ~PosixMapping();

  char* data() const { return data_; }
  std::uint64_t mapped_bytes() const { return mapped_bytes_.load(std::memory_order_acquire); }
  std::uint64_t reserved_bytes() const { return reserved_bytes_; }
  std::uint64_t failed_end() const { return guard_->failed_end(); }
  absl::Status Extend(std::uint64_t bytes);

 private:
  friend class PosixFile;
  PosixMapping(int descriptor, bool writable, std::string path, char* data, std::uint64_t reserved)
      : descriptor_(descriptor),
        writable_(writable),
        path_(std::move(path)),
        data_(data),
        reserved_bytes_(reserved),
        guard_(std::in_place, data, reserved, !writable) {}

  const int descriptor_;  // Our own duplicate: the mapping may outlive the file object.
  const bool writable_;
  const std::string path_;
  char* const data_;
  const std::uint64_t reserved_bytes_;
  std::optional<MappedReadGuard> guard_;
  // Release in Extend, acquire in mapped_bytes(): who sees the size may touch the bytes.
  std::atomic<std::uint64_t> mapped_bytes_{0};
};

// A File: a descriptor, closed on exec.
class PosixFile {
 public:
  using MappingType = PosixMapping;

  PosixFile(const PosixFile&) = delete;
  PosixFile& operator=(const PosixFile&) = delete;
  ~PosixFile();

  absl::StatusOr<std::size_t> ReadAt(std::uint64_t offset, absl::Span<char> out) const;
  absl::Status WriteAt(std::uint64_t offset, std::string_view bytes);
  // fallocate(2). Where the file system has none, zeros are written from the present end on: holes
  // that Truncate left below it stay holes there.
  absl::Status Allocate(std::uint64_t size) { return AllocateRange(0, size); }
  absl::Status AllocateRange(std::uint64_t from, std::uint64_t to);
  absl::Status PunchHole(std::uint64_t offset, std::uint64_t size);  // fallocate(2), too
  absl::Status Truncate(std::uint64_t size);
  absl::StatusOr<std::uint64_t> Size() const;
  absl::Status Sync();  // fdatasync(2)
  absl::StatusOr<std::unique_ptr<PosixMapping>> Map(std::uint64_t reserve_bytes);
  const std::string& path() const { return path_; }

  // For what the seam does not offer, e.g. sync_file_range. Valid while the object lives.
  int descriptor() const { return descriptor_; }

  // Makes Allocate take the path for file systems without fallocate.
  void DisableFallocateForTest() { has_fallocate_.store(false, std::memory_order_relaxed); }

 private:
  friend class PosixFileSystem;
  PosixFile(int descriptor, bool writable, std::string path)
      : descriptor_(descriptor), writable_(writable), path_(std::move(path)) {}

  absl::Status CheckWritable(std::string_view operation) const;
  absl::Status WriteZeros(std::uint64_t from, std::uint64_t to);

  const int descriptor_;
  const bool writable_;
  const std::string path_;
  std::atomic<bool> has_fallocate_{true};
};

// Holds flock(2) on a file that says "pid N host H"; released when destroyed.
class PosixLock {
 public:
  PosixLock(const PosixLock&) = delete;
  PosixLock& operator=(const PosixLock&) = delete;
  ~PosixLock();

 private:
  friend class PosixFileSystem;
  explicit PosixLock(int descriptor) : descriptor_(descriptor) {}
  const int descriptor_;
};

// Stateless; all instances are alike. Files are made with mode 0600 and directories with 0700: what
// a database holds is nobody else's to read unless the administrator says so.
class PosixFileSystem {
 public:
  using FileType = PosixFile;
  using MappingType = PosixMapping;
  using LockType = PosixLock;

  absl::StatusOr<std::unique_ptr<PosixFile>> Open(const std::string& path, OpenMode mode) const;
  absl::Status Rename(const std::string& from, const std::string& to) const;
  absl::Status Remove(const std::string& path) const;
  absl::Status CreateDirectories(const std::string& path) const;
  absl::Status SyncDirectory(const std::string& path) const;
  absl::StatusOr<std::vector<std::string>> ListDirectory(const std::string& path) const;
  absl::StatusOr<bool> Exists(const std::string& path) const;
  absl::StatusOr<std::unique_ptr<PosixLock>> LockFile(const std::string& path) const;
};

// ---- Readers of the API may stop here. ----

inline absl::Status PosixError(int error, std::string_view operation, std::string_view path) {
  absl::StatusCode code = absl::ErrnoToStatusCode(error);
  std::string_view advice;
  switch (error) {
    case ENOSPC:
      code = absl::StatusCode::kResourceExhausted;
      advice = "; free space on that file system, then try again";
      break;
    case EDQUOT:
      code = absl::StatusCode::kResourceExhausted;
      advice = "; free space within the disk quota, or raise it, then try again";
      break;
    case EFBIG:
      code = absl::StatusCode::kResourceExhausted;
      advice =
          "; raise the limit on the size of a file (ulimit -f), or use a file system that allows "
          "it";
      break;
    case EMFILE:
      code = absl::StatusCode::kResourceExhausted;
      advice = "; raise the limit on open files (ulimit -n)";
      break;
    case ENFILE:
      code = absl::StatusCode::kResourceExhausted;
      advice = "; raise the system's limit on open files (sysctl fs.file-max)";
      break;
    case ENOMEM:
      code = absl::StatusCode::kResourceExhausted;
      advice =
          "; memory, address space (ulimit -v) or the number of mappings (sysctl vm.max_map_count) "
          "is used up";
      break;
    case EIO:
      code = absl::StatusCode::kDataLoss;
      advice = "; the device failed: see the kernel log, check the disk and restore from a backup";
      break;
    case EROFS:
      code = absl::StatusCode::kFailedPrecondition;
      advice = "; mount it for writing";
      break;
    case EACCES:
    case EPERM:
      code = absl::StatusCode::kPermissionDenied;
      advice = "; check the owner and the mode of the file and of the directories above it";
      break;
    case ENOTDIR:
    case EISDIR:
    case ENOTEMPTY:
    case EXDEV:
    case EBUSY:
    case ETXTBSY:
      code = absl::StatusCode::kFailedPrecondition;
      break;
    case ENAMETOOLONG:
    case ELOOP:
      code = absl::StatusCode::kInvalidArgument;
      break;
    default:
      break;
  }
  return absl::Status(code, absl::StrCat(operation, " \"", path,
                                         "\": ", std::generic_category().message(error), advice));
}

namespace base_internal {

// Calls `call` until it does something else than fail with EINTR.
template <class Call>
auto RetryOnInterrupt(Call call) {
  while (true) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

inline absl::Status CheckFileRange(std::uint64_t offset, std::uint64_t size,
                                   std::string_view operation, std::string_view path) {
  if (offset <= kFileSizeBytesMax && size <= kFileSizeBytesMax - offset) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(operation, " \"", path, "\": ", size,
                                                 " bytes at offset ", offset,
                                                 " are beyond the largest file"));
}

inline std::uint64_t PageSizeBytes() {
  static const auto size = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return size;
}

inline std::uint64_t RoundUpToPage(std::uint64_t bytes) {
  const std::uint64_t page = PageSizeBytes();
  return (bytes + page - 1) / page * page;
}

inline std::string HostName() {
  char name[256] = {};
  if (::gethostname(name, sizeof(name) - 1) != 0) return "unknown";
  return name;
}

// The directory that holds `path`: what to sync after a name in it changed.
inline std::string ParentDirectory(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  const std::size_t slash = path.rfind('/');
  if (slash == path.npos) return ".";
  return std::string(path.substr(0, std::max<std::size_t>(slash, 1)));
}

}  // namespace base_internal

// PosixMapping

inline PosixMapping::~PosixMapping() {
  guard_.reset();
  if (data_ != nullptr) ALOS_CHECK(::munmap(data_, reserved_bytes_) == 0);
  ::close(descriptor_);
}

inline absl::Status PosixMapping::Extend(std::uint64_t bytes) {
  const std::uint64_t mapped = mapped_bytes_.load(std::memory_order_relaxed);
  if (bytes <= mapped) return absl::OkStatus();
  if (bytes > reserved_bytes_) {
    return absl::InvalidArgumentError(absl::StrCat("map \"", path_, "\": ", bytes,
                                                   " bytes are more than the ", reserved_bytes_,
                                                   " reserved for it"));
  }
  struct stat attributes;
  if (::fstat(descriptor_, &attributes) != 0) return PosixError(errno, "fstat", path_);
  if (bytes > static_cast<std::uint64_t>(attributes.st_size)) {
    return absl::InvalidArgumentError(absl::StrCat("map \"", path_, "\": ", bytes,
                                                   " bytes are more than the file's size of ",
                                                   attributes.st_size));
  }
  // The page that holds the last mapped byte is mapped whole already, and shows what is written to
  // it: live pages are never replaced under a reader.
  const std::uint64_t from = base_internal::RoundUpToPage(mapped);
  const std::uint64_t to = base_internal::RoundUpToPage(bytes);
  if (from < to) {
    const int protection = writable_ ? PROT_READ | PROT_WRITE : PROT_READ;
    if (::mmap(data_ + from, to - from, protection, MAP_SHARED | MAP_FIXED, descriptor_,
               static_cast<off_t>(from)) == MAP_FAILED) {
      return PosixError(errno, "mmap", path_);
    }
  }
  mapped_bytes_.store(bytes, std::memory_order_release);
  return absl::OkStatus();
}

// PosixFile

inline PosixFile::~PosixFile() { ::close(descriptor_); }

inline absl::Status PosixFile::CheckWritable(std::string_view operation) const {
  if (writable_) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(operation, " \"", path_, "\": the file was opened for reading only"));
}

inline absl::StatusOr<std::size_t> PosixFile::ReadAt(std::uint64_t offset,
                                                     absl::Span<char> out) const {
  ALOS_RETURN_IF_ERROR(base_internal::CheckFileRange(offset, out.size(), "read", path_));
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t count = base_internal::RetryOnInterrupt([&] {
      return ::pread(descriptor_, out.data() + done, out.size() - done,
                     static_cast<off_t>(offset + done));
    });
    if (count < 0) return PosixError(errno, "read", path_);
    if (count == 0) break;  // End of file.
    done += static_cast<std::size_t>(count);
  }
  return done;
}

inline absl::Status PosixFile::WriteAt(std::uint64_t offset, std::string_view bytes) {
  ALOS_RETURN_IF_ERROR(CheckWritable("write"));
  ALOS_RETURN_IF_ERROR(base_internal::CheckFileRange(offset, bytes.size(), "write", path_));
  while (!bytes.empty()) {
    const ssize_t count = base_internal::RetryOnInterrupt([&] {
      return ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    });
    if (count < 0) return PosixError(errno, "write", path_);
    // POSIX does not say that a write cannot take 0 bytes; going on would be an endless loop.
    if (count == 0) return PosixError(EIO, "write", path_);
    bytes.remove_prefix(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
  return absl::OkStatus();
}

inline absl::Status PosixFile::WriteZeros(std::uint64_t from, std::uint64_t to) {
  const std::string zeros(std::min<std::uint64_t>(to - from, 1 << 20), '\0');
  while (from < to) {
    const std::uint64_t count = std::min<std::uint64_t>(to - from, zeros.size());
    ALOS_RETURN_IF_ERROR(WriteAt(from, std::string_view(zeros).substr(0, count)));
    from += count;
  }
  return absl::OkStatus();
}

inline absl::Status PosixFile::AllocateRange(std::uint64_t from, std::uint64_t to) {
  ALOS_RETURN_IF_ERROR(CheckWritable("allocate"));
  ALOS_RETURN_IF_ERROR(base_internal::CheckFileRange(0, to, "allocate", path_));
  if (from >= to) return absl::OkStatus();  // fallocate refuses a length of 0.
  ALOS_ASSIGN_OR_RETURN(const std::uint64_t old_size, Size());
  absl::Status status;
  if (has_fallocate_.load(std::memory_order_relaxed)) {
    const int result = base_internal::RetryOnInterrupt([&] {
      return ::fallocate(descriptor_, 0, static_cast<off_t>(from), static_cast<off_t>(to - from));
    });
    if (result == 0) return absl::OkStatus();
    if (errno != EOPNOTSUPP && errno != ENOSYS) {
      status = PosixError(errno, "allocate", path_);
    } else {
      has_fallocate_.store(false, std::memory_order_relaxed);
    }
  }
  if (status.ok() && old_size < to) status = WriteZeros(old_size, to);
  if (!status.ok()) {
    // Give back what was taken before the space ran out. Nobody can have mapped it: Extend and
    // Allocate are serialised by the caller. The first error is the one to report.
    absl::StatusOr<std::uint64_t> reached = Size();
    if (reached.ok() && *reached > old_size) Truncate(old_size).IgnoreError();
  }
  return status;
}

inline absl::Status PosixFile::PunchHole(std::uint64_t offset, std::uint64_t size) {
  ALOS_RETURN_IF_ERROR(CheckWritable("punch a hole into"));
  ALOS_RETURN_IF_ERROR(base_internal::CheckFileRange(offset, size, "punch a hole into", path_));
  if (offset % kFileBlockBytes != 0 || size % kFileBlockBytes != 0) {
    return absl::InvalidArgumentError(absl::StrCat("punch a hole into \"", path_, "\": ", size,
                                                   " bytes at offset ", offset,
                                                   " are no whole blocks"));
  }
  if (size == 0) return absl::OkStatus();
  const int result = base_internal::RetryOnInterrupt([&] {
    return ::fallocate(descriptor_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                       static_cast<off_t>(offset), static_cast<off_t>(size));
  });
  if (result == 0) return absl::OkStatus();
  if (errno == EOPNOTSUPP || errno == ENOSYS) {
    return absl::UnimplementedError(
        absl::StrCat("punch a hole into \"", path_,
                     "\": this file system cannot give the space of a part of a file back; use "
                     "ext4, XFS, Btrfs or tmpfs"));
  }
  return PosixError(errno, "punch a hole into", path_);
}

inline absl::Status PosixFile::Truncate(std::uint64_t size) {
  ALOS_RETURN_IF_ERROR(CheckWritable("truncate"));
  ALOS_RETURN_IF_ERROR(base_internal::CheckFileRange(0, size, "truncate", path_));
  const int result = base_internal::RetryOnInterrupt(
      [&] { return ::ftruncate(descriptor_, static_cast<off_t>(size)); });
  return result == 0 ? absl::OkStatus() : PosixError(errno, "truncate", path_);
}

inline absl::StatusOr<std::uint64_t> PosixFile::Size() const {
  struct stat attributes;
  if (::fstat(descriptor_, &attributes) != 0) return PosixError(errno, "fstat", path_);
  return static_cast<std::uint64_t>(attributes.st_size);
}

inline absl::Status PosixFile::Sync() {
  // Only an interrupted call is repeated. After a real failure the kernel may have dropped the
  // dirty pages' state, and a second call would report a success that is not one.
  const int result = base_internal::RetryOnInterrupt([&] { return ::fdatasync(descriptor_); });
  return result == 0 ? absl::OkStatus() : PosixError(errno, "fdatasync", path_);
}

inline absl::StatusOr<std::unique_ptr<PosixMapping>> PosixFile::Map(std::uint64_t reserve_bytes) {
  ALOS_RETURN_IF_ERROR(base_internal::CheckFileRange(0, reserve_bytes, "map", path_));
  const std::uint64_t reserved = base_internal::RoundUpToPage(reserve_bytes);
  ALOS_ASSIGN_OR_RETURN(const std::uint64_t size, Size());
  const int descriptor = ::fcntl(descriptor_, F_DUPFD_CLOEXEC, 0);
  if (descriptor < 0) return PosixError(errno, "duplicate the descriptor of", path_);
  void* data = nullptr;
  if (reserved != 0) {
    data = ::mmap(nullptr, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data == MAP_FAILED) {
      const int error = errno;
      ::close(descriptor);
      return PosixError(error, absl::StrCat("reserve ", reserved, " bytes of address space for"),
                        path_);
    }
  }
  auto mapping = std::unique_ptr<PosixMapping>(
      new PosixMapping(descriptor, writable_, path_, static_cast<char*>(data), reserved));
  ALOS_RETURN_IF_ERROR(mapping->Extend(std::min(size, reserve_bytes)));
  return mapping;
}

// PosixLock

inline PosixLock::~PosixLock() { ::close(descriptor_); }

// PosixFileSystem

inline absl::StatusOr<std::unique_ptr<PosixFile>> PosixFileSystem::Open(const std::string& path,
                                                                        OpenMode mode) const {
  const bool writable = mode != OpenMode::kReadOnly;
  int flags = O_CLOEXEC | (writable ? O_RDWR : O_RDONLY);
  if (mode == OpenMode::kCreate) flags |= O_CREAT;
  const int descriptor =
      base_internal::RetryOnInterrupt([&] { return ::open(path.c_str(), flags, 0600); });
  if (descriptor < 0) return PosixError(errno, "open", path);
  auto file = std::unique_ptr<PosixFile>(new PosixFile(descriptor, writable, path));
  struct stat attributes;
  if (::fstat(descriptor, &attributes) != 0) return PosixError(errno, "fstat", path);
  // A directory opens read-only without an error; a FIFO or a device would hang or worse later on.
  if (!S_ISREG(attributes.st_mode)) {
    return absl::FailedPreconditionError(absl::StrCat("open \"", path, "\": not a regular file"));
  }
  return file;
}

inline absl::Status PosixFileSystem::Rename(const std::string& from, const std::string& to) const {
  if (::rename(from.c_str(), to.c_str()) == 0) return absl::OkStatus();
  return PosixError(errno, absl::StrCat("rename \"", from, "\" to"), to);
}

inline absl::Status PosixFileSystem::Remove(const std::string& path) const {
  return std::remove(path.c_str()) == 0 ? absl::OkStatus() : PosixError(errno, "remove", path);
}

inline absl::Status PosixFileSystem::CreateDirectories(const std::string& path) const {
  // From the top down: every prefix that ends before a '/', then the whole.
  for (std::size_t end = 1; end <= path.size(); ++end) {
    if (end != path.size() && path[end] != '/') continue;
    const std::string prefix = path.substr(0, end);
    if (::mkdir(prefix.c_str(), 0700) == 0) {
      ALOS_RETURN_IF_ERROR(SyncDirectory(base_internal::ParentDirectory(prefix)));
      continue;
    }
    const int error = errno;
    struct stat attributes;
    if (::stat(prefix.c_str(), &attributes) == 0) {
      if (S_ISDIR(attributes.st_mode)) continue;
      return absl::AlreadyExistsError(
          absl::StrCat("create directory \"", path, "\": \"", prefix, "\" is not a directory"));
    }
    return PosixError(error, "create directory", prefix);
  }
  return path.empty() ? PosixError(ENOENT, "create directory", path) : absl::OkStatus();
}

inline absl::Status PosixFileSystem::SyncDirectory(const std::string& path) const {
  const int descriptor = base_internal::RetryOnInterrupt(
      [&] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  if (descriptor < 0) return PosixError(errno, "open directory", path);
  const int result = base_internal::RetryOnInterrupt([&] { return ::fsync(descriptor); });
  const int error = errno;
  ::close(descriptor);
  return result == 0 ? absl::OkStatus() : PosixError(error, "fsync directory", path);
}

inline absl::StatusOr<std::vector<std::string>> PosixFileSystem::ListDirectory(
    const std::string& path) const {
  DIR* const directory = ::opendir(path.c_str());
  if (directory == nullptr) return PosixError(errno, "list directory", path);
  const absl::Cleanup close_directory = [directory] { ::closedir(directory); };
  std::vector<std::string> names;
  while (true) {
    errno = 0;  // readdir reports an error only there.
    const dirent* const entry = ::readdir(directory);
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) return PosixError(errno, "list directory", path);
  std::sort(names.begin(), names.end());
  return names;
}

inline absl::StatusOr<bool> PosixFileSystem::Exists(const std::string& path) const {
  struct stat attributes;
  if (::stat(path.c_str(), &attributes) == 0) return true;
  if (errno == ENOENT || errno == ENOTDIR) return false;
  return PosixError(errno, "stat", path);
}

inline absl::StatusOr<std::unique_ptr<PosixLock>> PosixFileSystem::LockFile(
    const std::string& path) const {
  const int descriptor = base_internal::RetryOnInterrupt(
      [&] { return ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600); });
  if (descriptor < 0) return PosixError(errno, "open lock file", path);
  auto lock = std::unique_ptr<PosixLock>(new PosixLock(descriptor));
  const int result =
      base_internal::RetryOnInterrupt([&] { return ::flock(descriptor, LOCK_EX | LOCK_NB); });
  if (result != 0) {
    if (errno != EWOULDBLOCK) return PosixError(errno, "lock", path);
    // The holder may not have written its name yet.
    char text[512];
    const ssize_t count =
        base_internal::RetryOnInterrupt([&] { return ::pread(descriptor, text, sizeof(text), 0); });
    std::string_view holder(text, static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
    holder = holder.substr(0, holder.find('\n'));
    return absl::FailedPreconditionError(
        absl::StrCat("lock \"", path, "\": held by ", holder.empty() ? "another process" : holder,
                     "; stop that process, or use another directory"));
  }
  const std::string name =
      absl::StrCat("pid ", ::getpid(), " host ", base_internal::HostName(), "\n");
  if (base_internal::RetryOnInterrupt([&] { return ::ftruncate(descriptor, 0); }) != 0 ||
      base_internal::RetryOnInterrupt(
          [&] { return ::pwrite(descriptor, name.data(), name.size(), 0); }) < 0) {
    return PosixError(errno, "write lock file", path);
  }
  return lock;
}

static_assert(FileSystem<PosixFileSystem>);

}  // namespace alos

#endif  // ALOS_BASE_POSIX_FILE_SYSTEM_H_
