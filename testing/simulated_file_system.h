// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// A file system in memory that can lose power, fill up, fail at any operation and rot. It satisfies
// FileSystem (alos/base/file_system.h), so that the real engine runs on it.
//
//   SimulatedFileSystem disk(seed);
//   ... run the engine on &disk ...
//   std::unique_ptr<SimulatedFileSystem> after = disk.Crash();   // as often as you like, anywhere
//   ... open the engine on after.get(), and compare with what it had acknowledged ...

#ifndef ALOS_TESTING_SIMULATED_FILE_SYSTEM_H_
#define ALOS_TESTING_SIMULATED_FILE_SYSTEM_H_

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "alos/base/check.h"
#include "alos/base/file_system.h"
#include "alos/base/mapped_read_guard.h"
#include "alos/base/posix_file_system.h"
#include "alos/base/status_macros.h"

namespace alos {

// What can be counted and made to fail.
enum class SimulatedOperation {
  kOpen,
  kRead,
  kWrite,
  kAllocate,
  kTruncate,
  kSize,
  kSync,
  kMap,
  kExtend,
  kRename,
  kRemove,
  kCreateDirectories,
  kSyncDirectory,
  kListDirectory,
  kExists,
  kLock,
  kPunchHole,
};
inline constexpr std::size_t kSimulatedOperationCount = 17;

enum class SimulatedFault { kOnce, kForever };

// What a disk may do with a sector that it was to write, without telling anybody. Reads of the file
// give the new bytes until the power is lost: they are in the page cache.
enum class SimulatedSectorFault {
  kStale,        // It keeps its old bytes.
  kMisdirected,  // It keeps its old bytes, and another sector of the file gets the new ones.
};

// What becomes of that which was not synced when power is lost.
struct CrashOptions {
  enum class Unsynced {
    kRandom,      // Each sector, each size and each change of a name by itself, at random.
    kNothing,     // All is lost.
    kEverything,  // All survives. (A process that is killed and started again loses nothing either,
                  // but what was not synced still is not: go on with the same file system for
                  // that.)
  };
  Unsynced unsynced = Unsynced::kRandom;
  // What is old or new as a whole: a sector, or a block of 4,096 bytes as of most disks of today.
  std::uint64_t unit_bytes = 512;
  // A unit that changed may hold new bytes up to some byte and old ones from there on.
  bool tear_sectors = false;
  // Where a file grew and the size survived but the sector did not: noise instead of zeros.
  bool garbage_in_growth = false;
};

class SimulatedFileSystem;
class SimulatedFile;
class SimulatedMapping;
class SimulatedLock;

namespace testing_internal {
struct SimulatedDisk;
struct SimulatedInode;
}  // namespace testing_internal

// A Mapping: plain memory that all mappings of the file share. Pages beyond the file's end cannot
// be touched; those that SetUnreadable() made so raise SIGBUS.
class SimulatedMapping {
 public:
  SimulatedMapping(const SimulatedMapping&) = delete;
  SimulatedMapping& operator=(const SimulatedMapping&) = delete;
  ~SimulatedMapping();

  char* data() const { return data_; }
  std::uint64_t mapped_bytes() const { return mapped_bytes_.load(std::memory_order_acquire); }
  std::uint64_t reserved_bytes() const { return reserved_bytes_; }
  std::uint64_t failed_end() const { return guard_.failed_end(); }
  absl::Status Extend(std::uint64_t bytes);

 private:
  friend class SimulatedFile;
  SimulatedMapping(std::shared_ptr<testing_internal::SimulatedDisk> disk,
                   std::shared_ptr<testing_internal::SimulatedInode> inode, std::string path,
                   char* data, std::uint64_t reserved_bytes, bool writable);

  const std::shared_ptr<testing_internal::SimulatedDisk> disk_;
  const std::shared_ptr<testing_internal::SimulatedInode> inode_;
  const std::string path_;
  char* const data_;
  const std::uint64_t reserved_bytes_;
  const MappedReadGuard guard_;
  std::atomic<std::uint64_t> mapped_bytes_{0};
};

// A File.
class SimulatedFile {
 public:
  using MappingType = SimulatedMapping;

  SimulatedFile(const SimulatedFile&) = delete;
  SimulatedFile& operator=(const SimulatedFile&) = delete;
  ~SimulatedFile();

  absl::StatusOr<std::size_t> ReadAt(std::uint64_t offset, absl::Span<char> out) const;
  absl::Status WriteAt(std::uint64_t offset, std::string_view bytes);
  absl::Status Allocate(std::uint64_t size) { return AllocateRange(0, size); }
  absl::Status AllocateRange(std::uint64_t from, std::uint64_t to);
  absl::Status PunchHole(std::uint64_t offset, std::uint64_t size);
  absl::Status Truncate(std::uint64_t size);
  absl::StatusOr<std::uint64_t> Size() const;
  absl::Status Sync();
  absl::StatusOr<std::unique_ptr<SimulatedMapping>> Map(std::uint64_t reserve_bytes);
  const std::string& path() const { return path_; }

 private:
  friend class SimulatedFileSystem;
  SimulatedFile(std::shared_ptr<testing_internal::SimulatedDisk> disk,
                std::shared_ptr<testing_internal::SimulatedInode> inode, bool writable,
                std::string path);

  const std::shared_ptr<testing_internal::SimulatedDisk> disk_;
  const std::shared_ptr<testing_internal::SimulatedInode> inode_;
  const bool writable_;
  const std::string path_;
};

// Holds a lock file.
class SimulatedLock {
 public:
  SimulatedLock(const SimulatedLock&) = delete;
  SimulatedLock& operator=(const SimulatedLock&) = delete;
  ~SimulatedLock();

 private:
  friend class SimulatedFileSystem;
  SimulatedLock(std::shared_ptr<testing_internal::SimulatedDisk> disk,
                std::shared_ptr<testing_internal::SimulatedInode> inode)
      : disk_(std::move(disk)), inode_(std::move(inode)) {}
  const std::shared_ptr<testing_internal::SimulatedDisk> disk_;
  const std::shared_ptr<testing_internal::SimulatedInode> inode_;
};

// Threads: everything, from any threads, except that a file that is stored to through a mapping
// while
//   another thread syncs, or crashes the disk, gets any mixture of before and after, as on a real
//   one.
// Determinism: with the same seed and the same calls in the same order, everything is the same.
// Lifetime: files, mappings and locks keep what they need; they may outlive the file system.
// Cost: an operation takes one lock. Sync of a file that is or was mapped compares all of it with
//   what is durable.
//
// The model of the disk:
// * Sectors of 512 bytes. What is not synced survives per sector (or per block of 4,096 bytes:
//   CrashOptions), old or new. (A version in between
//   survives only if WriteBackSome() put it there.)
// * The size is durable or not apart from the bytes.
// * Changes of names (create, rename, remove) survive each by itself, a rename as one change: the
// file
//   is under its old name or under its new one. CreateDirectories is durable at once.
// * A Sync that was made to fail writes some of the sectors and forgets that the others are dirty:
//   reads give the new bytes, later calls of Sync succeed, and the disk has the old bytes, until
//   they are written again: by WriteAt with any bytes, through a mapping with other bytes (a store
//   that changes nothing is not seen). That is what Linux does.
// * A hole that is not synced survives per sector, as zeros that were written would.
// * Space is given out in blocks of 4,096 bytes. A hole that is stored to through a mapping takes
// its
//   block when it is noticed, at Sync: see unallocated_stores().
class SimulatedFileSystem {
 public:
  using FileType = SimulatedFile;
  using MappingType = SimulatedMapping;
  using LockType = SimulatedLock;

  static constexpr std::size_t kSectorBytes = 512;
  static constexpr std::size_t kBlockBytes = 4096;

  // An empty disk with a root directory. Relative paths start there, too.
  explicit SimulatedFileSystem(std::uint64_t seed = 0);
  SimulatedFileSystem(const SimulatedFileSystem&) = delete;
  SimulatedFileSystem& operator=(const SimulatedFileSystem&) = delete;

  absl::StatusOr<std::unique_ptr<SimulatedFile>> Open(const std::string& path, OpenMode mode);
  absl::Status Rename(const std::string& from, const std::string& to);
  absl::Status Remove(const std::string& path);
  absl::Status CreateDirectories(const std::string& path);
  absl::Status SyncDirectory(const std::string& path);
  absl::StatusOr<std::vector<std::string>> ListDirectory(const std::string& path);
  absl::StatusOr<bool> Exists(const std::string& path);
  absl::StatusOr<std::unique_ptr<SimulatedLock>> LockFile(const std::string& path);

  // ---- Loss of power ----

  // A new disk as it may be found after power is lost now. This one goes on: call it again for
  // another possible outcome. The new disk has no faults set and the same capacity.
  std::unique_ptr<SimulatedFileSystem> Crash(const CrashOptions& options = {});

  // Makes some of what is not synced durable, as an operating system does when it likes.
  void WriteBackSome();

  // While on, Sync and SyncDirectory do nothing and report success: a disk that lies about its
  // cache.
  void SetSyncLies(bool on);

  // ---- Faults ----

  // The n-th operation from now (1: the next; of `kind`, if given) fails with this code, and its
  // message behind operation and path; with kForever all those after it, too. Several faults may be
  // set. A failing WriteAt writes a part. A failing Sync: see the model above. Others change
  // nothing.
  void FailNth(std::uint64_t n, absl::Status status, SimulatedFault fault = SimulatedFault::kOnce);
  void FailNth(SimulatedOperation kind, std::uint64_t n, absl::Status status,
               SimulatedFault fault = SimulatedFault::kOnce);
  void ClearFaults();

  // The n-th sector that is written to the disk from now on is not, or elsewhere.
  void FailNthSectorWrite(std::uint64_t n, SimulatedSectorFault fault);
  std::uint64_t sector_write_count() const;

  // The medium loses the blocks of 4,096 bytes that hold [offset, offset + bytes) of a file: ReadAt
  // fails with EIO, and a touch through a mapping raises SIGBUS. Writing a whole block heals it. A
  // crash does not. REQUIRES: the file exists and is that long.
  void SetUnreadable(const std::string& path, std::uint64_t offset, std::uint64_t bytes);

  // Space on the disk; no limit at first. A write beyond it fails as ENOSPC does.
  void SetCapacityBytes(std::uint64_t bytes);
  std::uint64_t used_bytes() const;

  // Flips the bits of `mask` in one byte of a file, durably and for all who read it. REQUIRES: the
  // file exists and is longer than `offset`.
  void FlipBits(const std::string& path, std::uint64_t offset, std::uint8_t mask);
  // Flips one bit of the file, anywhere. Returns the offset of the byte. REQUIRES: it is not empty.
  std::uint64_t FlipRandomBit(const std::string& path);
  // Puts `bytes` there, durably and for all who read it: an old sector, or one of another place.
  // REQUIRES: the file exists and is that long.
  void Overwrite(const std::string& path, std::uint64_t offset, std::string_view bytes);

  // ---- Looking in ----

  // Calls of operations so far (of `kind`, if given), those that failed included.
  std::uint64_t operation_count() const;
  std::uint64_t operation_count(SimulatedOperation kind) const;

  // What is on the disk now, durably, and the names in a directory as they are now. No operations:
  // nothing fails, nothing is counted. REQUIRES: there is such a file, such a directory.
  std::string DurableContents(const std::string& path) const;
  std::vector<std::string> Names(const std::string& directory) const;

  // Called before every operation, on its thread and without a lock, so that it may call Crash().
  void SetObserver(std::function<void(SimulatedOperation kind, const std::string& path)> observer);

  // Blocks that were stored to through a mapping although no space was set aside for them: on a
  // full disk that is a SIGBUS. An engine that allocates before it writes never has any.
  std::uint64_t unallocated_stores() const;

 private:
  explicit SimulatedFileSystem(std::shared_ptr<testing_internal::SimulatedDisk> disk)
      : disk_(std::move(disk)) {}

  const std::shared_ptr<testing_internal::SimulatedDisk> disk_;
};

// ---- Readers of the API may stop here. ----

namespace testing_internal {

inline constexpr std::size_t kSector = SimulatedFileSystem::kSectorBytes;
inline constexpr std::size_t kBlock = SimulatedFileSystem::kBlockBytes;

// Reads memory that other threads may be storing to, without a complaint of ThreadSanitizer: what
// is read is as undefined as what a disk gets that writes a page back meanwhile. No memcpy: it
// would be intercepted.
__attribute__((no_sanitize("thread"))) inline void RacyCopy(const char* from, std::size_t size,
                                                            char* to) {
  const volatile char* const source = from;
  std::size_t i = 0;
  if (reinterpret_cast<std::uintptr_t>(from) % 8 == 0) {
    for (; i + 8 <= size; i += 8) {
      const std::uint64_t word = *reinterpret_cast<const volatile std::uint64_t*>(source + i);
      __builtin_memcpy(to + i, &word, 8);
    }
  }
  for (; i < size; ++i) to[i] = source[i];
}

// Whether memory as above equals `other`.
__attribute__((no_sanitize("thread"))) inline bool RacyEqual(const char* from, const char* other,
                                                             std::size_t size) {
  const volatile char* const source = from;
  std::size_t i = 0;
  if (reinterpret_cast<std::uintptr_t>(from) % 8 == 0) {
    for (; i + 8 <= size; i += 8) {
      std::uint64_t word;
      __builtin_memcpy(&word, other + i, 8);
      if (*reinterpret_cast<const volatile std::uint64_t*>(source + i) != word) return false;
    }
  }
  for (; i < size; ++i) {
    if (source[i] != other[i]) return false;
  }
  return true;
}

// The bytes of a file: a string until it is mapped, from then on an area of address space, because
// mappings must not move.
class SimulatedBytes {
 public:
  SimulatedBytes() = default;
  SimulatedBytes(const SimulatedBytes&) = delete;
  SimulatedBytes& operator=(const SimulatedBytes&) = delete;
  ~SimulatedBytes() {
    if (area_ != nullptr) ALOS_CHECK(::munmap(area_, area_bytes_) == 0);
  }

  char* data() { return area_ != nullptr ? area_ : heap_.data(); }
  std::uint64_t size() const { return size_; }
  bool is_area() const { return area_ != nullptr; }

  // New bytes are zero. REQUIRES: CanResize(size).
  void Resize(std::uint64_t size) {
    if (area_ == nullptr) {
      heap_.resize(size);
    } else {
      ALOS_CHECK(size <= area_bytes_);
      if (size < size_) std::memset(area_ + size, 0, size_ - size);
      Open(size);
    }
    size_ = size;
  }
  bool CanResize(std::uint64_t size) const { return area_ == nullptr || size <= area_bytes_; }

  // A page of the area raises SIGBUS from now on, or does no more. REQUIRES: is_area().
  void SetBroken(std::uint64_t page_offset, bool is_broken) {
    static const int nothing = ::memfd_create("nothing", MFD_CLOEXEC);  // Beyond its end: SIGBUS.
    void* const at = area_ + page_offset;
    const std::uint64_t bytes = base_internal::PageSizeBytes();
    const int protection = PROT_READ | PROT_WRITE;
    ALOS_CHECK((is_broken ? ::mmap(at, bytes, protection, MAP_SHARED | MAP_FIXED, nothing, 0)
                          : ::mmap(at, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
                                   -1, 0)) == at);
  }

  // Makes it an area of at least `bytes`. False if it is one already that is too small and cannot
  // be moved because it is mapped, or if there is no address space.
  bool BecomeArea(std::uint64_t bytes, bool is_mapped) {
    if (area_ != nullptr && bytes <= area_bytes_) return true;
    if (area_ != nullptr && is_mapped) return false;
    const std::uint64_t wanted =
        base_internal::RoundUpToPage(std::max({bytes, size_ * 2, kAreaBytesMin}));
    void* const area =
        ::mmap(nullptr, wanted, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (area == MAP_FAILED) return false;
    char* const old_area = std::exchange(area_, static_cast<char*>(area));
    const std::uint64_t old_area_bytes = std::exchange(area_bytes_, wanted);
    open_bytes_ = 0;
    Open(size_);
    if (old_area != nullptr) {
      std::memcpy(area_, old_area, size_);
      ALOS_CHECK(::munmap(old_area, old_area_bytes) == 0);
    } else {
      heap_.copy(area_, size_);
      heap_ = std::string();
    }
    return true;
  }

 private:
  static constexpr std::uint64_t kAreaBytesMin = std::uint64_t{1} << 30;

  void Open(std::uint64_t bytes) {
    const std::uint64_t wanted = base_internal::RoundUpToPage(bytes);
    if (wanted <= open_bytes_) return;
    ALOS_CHECK(::mprotect(area_ + open_bytes_, wanted - open_bytes_, PROT_READ | PROT_WRITE) == 0);
    open_bytes_ = wanted;
  }

  std::string heap_;
  char* area_ = nullptr;
  std::uint64_t area_bytes_ = 0;
  std::uint64_t open_bytes_ = 0;  // Of the area: may be touched.
  std::uint64_t size_ = 0;
};

// A file or a directory. Guarded by SimulatedDisk::mutex.
struct SimulatedInode {
  using Entries = std::map<std::string, std::shared_ptr<SimulatedInode>>;

  bool is_directory = false;

  // Of a directory: its names now, and on the disk.
  Entries entries;
  Entries durable_entries;

  // Of a file.
  SimulatedBytes live;
  std::string durable;  // Contents and size on the disk.
  // Where WriteAt, Truncate and Allocate changed bytes since the last Sync: [dirty_begin,
  // dirty_end). Says nothing about stores through mappings.
  std::uint64_t dirty_begin = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t dirty_end = 0;
  // Sectors that a failed Sync forgot, with the contents that will not be written.
  std::map<std::uint64_t, std::string> forgotten;
  std::set<std::uint64_t> unreadable;  // Blocks that the medium has lost.
  std::vector<bool> blocks;            // Which blocks have space.
  std::uint64_t block_count = 0;
  std::uint32_t links = 0;
  std::uint32_t handles = 0;  // Files and mappings.
  std::uint32_t mappings = 0;
  bool is_locked = false;

  void MarkDirty(std::uint64_t begin, std::uint64_t end) {
    if (begin >= end) return;
    dirty_begin = std::min(dirty_begin, begin);
    dirty_end = std::max(dirty_end, end);
    // Written again, if only with the same bytes: dirty again.
    forgotten.erase(forgotten.lower_bound(begin / SimulatedFileSystem::kSectorBytes),
                    forgotten.lower_bound((end - 1) / SimulatedFileSystem::kSectorBytes + 1));
  }
};

// A change of a name that SyncDirectory has not made durable yet.
struct SimulatedNameChange {
  // The name loses `inode` (null: none does) …
  std::shared_ptr<SimulatedInode> from_directory;
  std::string from_name;
  // … and this one gets it (null: none does).
  std::shared_ptr<SimulatedInode> to_directory;
  std::string to_name;
  std::shared_ptr<SimulatedInode> inode;

  bool Touches(const SimulatedInode* directory) const {
    return from_directory.get() == directory || to_directory.get() == directory;
  }

  // entries_of(SimulatedInode*) -> Entries&
  template <class EntriesOf>
  void Apply(EntriesOf&& entries_of) const {
    if (from_directory != nullptr) {
      auto& entries = entries_of(from_directory.get());
      const auto found = entries.find(from_name);
      if (found != entries.end() && found->second == inode) entries.erase(found);
    }
    if (to_directory != nullptr) entries_of(to_directory.get())[to_name] = inode;
  }
};

struct SimulatedDisk {
  explicit SimulatedDisk(std::uint64_t seed) : random(seed) {
    root->is_directory = true;
    root->links = 1;
  }

  using InodePointer = std::shared_ptr<SimulatedInode>;

  struct FaultRule {
    bool any_kind;
    SimulatedOperation kind;
    std::uint64_t left;  // Operations until it strikes.
    absl::Status status;
    SimulatedFault fault;
  };

  struct SectorRule {
    std::uint64_t left;  // Sectors until it strikes.
    SimulatedSectorFault fault;
  };

  absl::Mutex mutex;
  std::mt19937_64 random ABSL_GUARDED_BY(mutex);
  InodePointer root = std::make_shared<SimulatedInode>();                // The pointer is constant.
  std::vector<SimulatedNameChange> name_changes ABSL_GUARDED_BY(mutex);  // Oldest first.
  std::vector<FaultRule> rules ABSL_GUARDED_BY(mutex);
  std::vector<SectorRule> sector_rules ABSL_GUARDED_BY(mutex);
  std::uint64_t sector_writes ABSL_GUARDED_BY(mutex) = 0;
  std::array<std::uint64_t, kSimulatedOperationCount> counts ABSL_GUARDED_BY(mutex){};
  std::function<void(SimulatedOperation, const std::string&)> observer ABSL_GUARDED_BY(mutex);
  std::uint64_t capacity_blocks ABSL_GUARDED_BY(mutex) = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t used_blocks ABSL_GUARDED_BY(mutex) = 0;
  std::uint64_t unallocated_stores ABSL_GUARDED_BY(mutex) = 0;
  bool sync_lies ABSL_GUARDED_BY(mutex) = false;

  // Tells the observer. To be called before the lock is taken.
  void Observe(SimulatedOperation kind, const std::string& path) ABSL_LOCKS_EXCLUDED(mutex) {
    std::function<void(SimulatedOperation, const std::string&)> call;
    {
      absl::MutexLock lock(&mutex);
      call = observer;
    }
    if (call) call(kind, path);
  }

  // Counts an operation; an error if it is one that is to fail.
  absl::Status Begin(SimulatedOperation kind, std::string_view name, std::string_view path)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    ++counts[static_cast<std::size_t>(kind)];
    absl::Status status;
    for (auto rule = rules.begin(); rule != rules.end();) {
      if (!rule->any_kind && rule->kind != kind) {
        ++rule;
      } else if (rule->left > 1) {
        --rule->left;
        ++rule;
      } else {
        if (status.ok()) {
          status = absl::Status(rule->status.code(),
                                absl::StrCat(name, " \"", path, "\": ", rule->status.message()));
        }
        rule = rule->fault == SimulatedFault::kOnce ? rules.erase(rule) : rule + 1;
      }
    }
    return status;
  }

  std::uint64_t Below(std::uint64_t bound) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    return random() % bound;
  }
  bool Percent(std::uint64_t percent) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    return Below(100) < percent;
  }
  // How much survives, in percent: often all or nothing, where most faults are.
  std::uint64_t SomePercentage() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    constexpr std::uint64_t kChoices[] = {0, 0, 100, 100, 50, 10, 90};
    return kChoices[Below(std::size(kChoices))];
  }

  // ---- Names ----

  static std::vector<std::string> Split(std::string_view path) {
    std::vector<std::string> names = absl::StrSplit(path, '/', absl::SkipEmpty());
    std::erase(names, ".");
    return names;
  }

  // The inode, or errno: ENOENT, or ENOTDIR if the way leads through a file.
  int Find(const std::vector<std::string>& names, InodePointer* found)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    InodePointer at = root;
    for (const std::string& name : names) {
      if (!at->is_directory) return ENOTDIR;
      const auto entry = at->entries.find(name);
      if (entry == at->entries.end()) return ENOENT;
      at = entry->second;
    }
    *found = std::move(at);
    return 0;
  }

  // The directory that holds the last name, and that name.
  int FindParent(const std::string& path, InodePointer* directory, std::string* name)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    std::vector<std::string> names = Split(path);
    if (path.empty()) return ENOENT;
    if (names.empty()) return EBUSY;  // The root.
    *name = std::move(names.back());
    names.pop_back();
    if (const int error = Find(names, directory); error != 0) return error;
    return (*directory)->is_directory ? 0 : ENOTDIR;
  }

  void Change(SimulatedNameChange change) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    if (change.to_directory != nullptr) {
      InodePointer& place = change.to_directory->entries[change.to_name];
      if (place != nullptr) Unlink(*place);
    }
    if (change.from_directory == nullptr) {
      ++change.inode->links;
    } else if (change.to_directory == nullptr) {
      Unlink(*change.inode);
    }
    change.Apply(
        [](SimulatedInode* directory) -> SimulatedInode::Entries& { return directory->entries; });
    name_changes.push_back(std::move(change));
  }

  // Makes the names of `directory` durable; with a rename that touches another directory, also what
  // happened to that one before.
  void SyncNames(SimulatedInode* directory) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    std::set<const SimulatedInode*> touched = {directory};
    std::vector<bool> takes(name_changes.size());
    for (std::size_t i = name_changes.size(); i-- > 0;) {
      const SimulatedNameChange& change = name_changes[i];
      if (std::none_of(touched.begin(), touched.end(),
                       [&](const SimulatedInode* d) { return change.Touches(d); })) {
        continue;
      }
      takes[i] = true;
      touched.insert(change.from_directory.get());
      touched.insert(change.to_directory.get());
      touched.erase(nullptr);
    }
    SyncChanges(takes);
  }

  void SyncChanges(const std::vector<bool>& takes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    std::vector<SimulatedNameChange> rest;
    for (std::size_t i = 0; i < name_changes.size(); ++i) {
      if (takes[i]) {
        name_changes[i].Apply(
            [](SimulatedInode* d) -> SimulatedInode::Entries& { return d->durable_entries; });
      } else {
        rest.push_back(std::move(name_changes[i]));
      }
    }
    name_changes = std::move(rest);
  }

  // ---- Space ----

  void Unlink(SimulatedInode& inode) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    --inode.links;
    FreeIfGone(inode);
  }
  void FreeIfGone(SimulatedInode& inode) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    if (inode.links != 0 || inode.handles != 0) return;
    used_blocks -= inode.block_count;
    inode.block_count = 0;
    inode.blocks.clear();
  }

  // Takes space for [begin, end); false, and nothing is taken, if there is too little.
  bool TakeBlocks(SimulatedInode& inode, std::uint64_t begin, std::uint64_t end)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    if (begin >= end) return true;
    const std::uint64_t first = begin / kBlock;
    const std::uint64_t last = (end - 1) / kBlock;
    std::uint64_t missing = 0;
    for (std::uint64_t block = first; block <= last; ++block) {
      if (block >= inode.blocks.size() || !inode.blocks[block]) ++missing;
    }
    if (missing > capacity_blocks || used_blocks > capacity_blocks - missing) return false;
    if (inode.blocks.size() <= last) inode.blocks.resize(last + 1);
    for (std::uint64_t block = first; block <= last; ++block) inode.blocks[block] = true;
    inode.block_count += missing;
    used_blocks += missing;
    return true;
  }

  void GiveBlocksFrom(SimulatedInode& inode, std::uint64_t size)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    const std::uint64_t keep = (size + kBlock - 1) / kBlock;
    for (std::uint64_t block = keep; block < inode.blocks.size(); ++block) {
      if (!inode.blocks[block]) continue;
      --inode.block_count;
      --used_blocks;
    }
    if (keep < inode.blocks.size()) inode.blocks.resize(keep);
  }

  // Those that are whole in [begin, end).
  void GiveBlocks(SimulatedInode& inode, std::uint64_t begin, std::uint64_t end)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    const std::uint64_t last = std::min<std::uint64_t>(end / kBlock, inode.blocks.size());
    for (std::uint64_t block = (begin + kBlock - 1) / kBlock; block < last; ++block) {
      if (!inode.blocks[block]) continue;
      inode.blocks[block] = false;
      --inode.block_count;
      --used_blocks;
    }
  }

  // ---- Contents ----

  // Calls visit(sector index, bytes now, bytes on the disk) for every sector of the file that is
  // not on the disk as it is now; both strings have the length that the sector has in the file now.
  template <class Visit>
  void ForEachDirtySector(SimulatedInode& inode, Visit&& visit)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    const std::uint64_t size = inode.live.size();
    std::uint64_t begin = 0;
    std::uint64_t end = size;
    if (!inode.live.is_area()) {
      if (inode.dirty_begin >= inode.dirty_end) return;
      begin = inode.dirty_begin / kSector * kSector;
      end = std::min(end, inode.dirty_end);
    }
    static constexpr char kZeros[kSector] = {};
    char now[kSector];
    char disk[kSector];
    for (std::uint64_t at = begin; at < end; at += kSector) {
      if (!inode.unreadable.empty() && inode.unreadable.contains(at / kBlock)) continue;
      const std::size_t length = std::min<std::uint64_t>(kSector, size - at);
      const std::size_t on_disk = at < inode.durable.size()
                                      ? std::min<std::uint64_t>(length, inode.durable.size() - at)
                                      : 0;
      const char* const bytes = inode.live.data() + at;
      if ((on_disk == 0 || RacyEqual(bytes, inode.durable.data() + at, on_disk)) &&
          (on_disk == length || RacyEqual(bytes + on_disk, kZeros, length - on_disk))) {
        continue;
      }
      RacyCopy(bytes, length, now);
      std::memset(disk, 0, sizeof(disk));
      if (on_disk != 0) std::memcpy(disk, inode.durable.data() + at, on_disk);
      visit(at / kSector, std::string_view(now, length), std::string_view(disk, length));
    }
  }

  // Whether the sector, as it is now, is one that a failed Sync forgot. (If it has changed since,
  // it is dirty again, and no longer forgotten.)
  static bool IsForgotten(SimulatedInode& inode, std::uint64_t sector, std::string_view now) {
    const auto found = inode.forgotten.find(sector);
    if (found == inode.forgotten.end()) return false;
    if (found->second == now) return true;
    inode.forgotten.erase(found);
    return false;
  }

  static void PutSector(std::string& image, std::uint64_t sector, std::string_view bytes) {
    const std::uint64_t at = sector * kSector;
    if (at >= image.size()) return;
    bytes = bytes.substr(0, image.size() - at);
    bytes.copy(image.data() + at, bytes.size());
  }

  // The disk writes a sector, in its own way.
  void WriteSector(SimulatedInode& inode, std::uint64_t sector, std::string_view bytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    ++sector_writes;
    for (auto rule = sector_rules.begin(); rule != sector_rules.end(); ++rule) {
      if (--rule->left != 0) continue;
      const SimulatedSectorFault fault = rule->fault;
      sector_rules.erase(rule);
      // For us it is not written, for the file's user it is.
      inode.forgotten[sector] = std::string(bytes);
      const std::uint64_t sectors = inode.durable.size() / kSector;
      if (fault != SimulatedSectorFault::kMisdirected || sectors < 2) return;
      std::uint64_t other = Below(sectors - 1);
      if (other >= sector) ++other;
      char now[kSector];
      RacyCopy(inode.live.data() + other * kSector, kSector, now);
      inode.forgotten[other] = std::string(now, kSector);
      PutSector(inode.durable, other, bytes);
      return;
    }
    PutSector(inode.durable, sector, bytes);
  }

  // Whether any of [begin, end) cannot be read.
  static bool IsUnreadable(const SimulatedInode& inode, std::uint64_t begin, std::uint64_t end) {
    if (begin >= end) return false;
    const auto found = inode.unreadable.lower_bound(begin / kBlock);
    return found != inode.unreadable.end() && *found * kBlock < end;
  }

  // Space for what came through mappings. A full disk is not told here: it has long been a SIGBUS.
  // Zeros are a hole's own.
  void NoticeStore(SimulatedInode& inode, std::uint64_t sector, std::string_view now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    const std::uint64_t block = sector * kSector / kBlock;
    if (block < inode.blocks.size() && inode.blocks[block]) return;
    if (now.find_first_not_of('\0') == now.npos) return;
    ++unallocated_stores;
    if (inode.blocks.size() <= block) inode.blocks.resize(block + 1);
    inode.blocks[block] = true;
    ++inode.block_count;
    ++used_blocks;
  }

  void SyncContents(SimulatedInode& inode) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    std::vector<std::pair<std::uint64_t, std::string>> writes;
    ForEachDirtySector(inode, [&](std::uint64_t sector, std::string_view now, std::string_view) {
      mutex.AssertHeld();
      NoticeStore(inode, sector, now);
      if (!IsForgotten(inode, sector, now)) writes.emplace_back(sector, now);
    });
    inode.durable.resize(inode.live.size());
    for (const auto& [sector, bytes] : writes) WriteSector(inode, sector, bytes);
    // What is forgotten stays dirty for us, so that it is found to differ.
    if (inode.forgotten.empty()) {
      inode.dirty_begin = std::numeric_limits<std::uint64_t>::max();
      inode.dirty_end = 0;
    }
  }

  // A Sync that fails: some sectors get written, the others are forgotten. The size stays unsynced.
  void FailSync(SimulatedInode& inode) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    const std::uint64_t percent = SomePercentage();
    std::vector<std::pair<std::uint64_t, std::string>> writes;
    ForEachDirtySector(inode, [&](std::uint64_t sector, std::string_view now, std::string_view) {
      mutex.AssertHeld();
      if (IsForgotten(inode, sector, now)) return;
      // Beyond the size on the disk nothing can be found anyway.
      if (sector * kSector + now.size() <= inode.durable.size() && Percent(percent)) {
        writes.emplace_back(sector, now);
      } else {
        inode.forgotten[sector] = std::string(now);
      }
    });
    for (const auto& [sector, bytes] : writes) PutSector(inode.durable, sector, bytes);
  }

  // The contents of a file as they are found after a crash.
  std::string CrashContents(SimulatedInode& inode, const CrashOptions& options)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    using Unsynced = CrashOptions::Unsynced;
    const std::uint64_t old_size = inode.durable.size();
    const std::uint64_t new_size = inode.live.size();
    std::uint64_t size = old_size;
    std::uint64_t percent = 0;
    if (options.unsynced == Unsynced::kEverything) {
      size = new_size;
      percent = 100;
    } else if (options.unsynced == Unsynced::kRandom) {
      percent = SomePercentage();
      switch (Below(3)) {
        case 0:
          break;
        case 1:
          size = new_size;
          break;
        case 2: {  // It changed in steps, of which the last ones are missing.
          const std::uint64_t low = std::min(old_size, new_size);
          const std::uint64_t high = std::max(old_size, new_size);
          size = low + Below(high - low + 1);
          if (Percent(50)) size = std::max(low, size / kSector * kSector);
          break;
        }
      }
    }
    std::string image = inode.durable;
    image.resize(size);
    if (options.garbage_in_growth && options.unsynced == Unsynced::kRandom) {
      for (std::uint64_t at = old_size; at < size;) {
        const std::uint64_t end =
            std::min(size, (at / options.unit_bytes + 1) * options.unit_bytes);
        const bool survives = Percent(percent);
        for (; at < end; ++at) {
          if (!survives) image[at] = static_cast<char>(random());
        }
      }
    }
    // Of the unit that is being looked at: how far it is new.
    std::uint64_t unit = std::numeric_limits<std::uint64_t>::max();
    std::uint64_t new_end = 0;
    ForEachDirtySector(
        inode, [&](std::uint64_t sector, std::string_view now, std::string_view on_disk) {
          mutex.AssertHeld();
          if (options.unsynced != Unsynced::kEverything && IsForgotten(inode, sector, now)) return;
          const std::uint64_t at = sector * kSector;
          if (at / options.unit_bytes != unit) {
            unit = at / options.unit_bytes;
            new_end = Percent(percent) ? (unit + 1) * options.unit_bytes : 0;
            if (new_end != 0 && options.tear_sectors && options.unsynced == Unsynced::kRandom &&
                Percent(30)) {
              new_end -= Below(options.unit_bytes + 1);
            }
          }
          if (new_end <= at) return;
          std::string torn(on_disk);
          now.substr(0, new_end - at).copy(torn.data(), torn.size());
          PutSector(image, sector, torn);
        });
    return image;
  }
};

inline absl::Status ReadOnlyError(std::string_view operation, std::string_view path) {
  return absl::FailedPreconditionError(
      absl::StrCat(operation, " \"", path, "\": the file was opened for reading only"));
}

inline void DropHandle(SimulatedDisk& disk, SimulatedInode& inode) {
  absl::MutexLock lock(&disk.mutex);
  --inode.handles;
  disk.FreeIfGone(inode);
}

}  // namespace testing_internal

// SimulatedMapping

inline SimulatedMapping::SimulatedMapping(std::shared_ptr<testing_internal::SimulatedDisk> disk,
                                          std::shared_ptr<testing_internal::SimulatedInode> inode,
                                          std::string path, char* data,
                                          std::uint64_t reserved_bytes, bool writable)
    : disk_(std::move(disk)),
      inode_(std::move(inode)),
      path_(std::move(path)),
      data_(data),
      reserved_bytes_(reserved_bytes),
      guard_(data, reserved_bytes, !writable) {}

inline SimulatedMapping::~SimulatedMapping() {
  absl::MutexLock lock(&disk_->mutex);
  --inode_->mappings;
  --inode_->handles;
  disk_->FreeIfGone(*inode_);
}

inline absl::Status SimulatedMapping::Extend(std::uint64_t bytes) {
  disk_->Observe(SimulatedOperation::kExtend, path_);
  absl::MutexLock lock(&disk_->mutex);
  ALOS_RETURN_IF_ERROR(disk_->Begin(SimulatedOperation::kExtend, "map", path_));
  if (bytes <= mapped_bytes_.load(std::memory_order_relaxed)) return absl::OkStatus();
  if (bytes > reserved_bytes_) {
    return absl::InvalidArgumentError(absl::StrCat("map \"", path_, "\": ", bytes,
                                                   " bytes are more than the ", reserved_bytes_,
                                                   " reserved for it"));
  }
  if (bytes > inode_->live.size()) {
    return absl::InvalidArgumentError(absl::StrCat("map \"", path_, "\": ", bytes,
                                                   " bytes are more than the file's size of ",
                                                   inode_->live.size()));
  }
  mapped_bytes_.store(bytes, std::memory_order_release);
  return absl::OkStatus();
}

// SimulatedFile

inline SimulatedFile::SimulatedFile(std::shared_ptr<testing_internal::SimulatedDisk> disk,
                                    std::shared_ptr<testing_internal::SimulatedInode> inode,
                                    bool writable, std::string path)
    : disk_(std::move(disk)),
      inode_(std::move(inode)),
      writable_(writable),
      path_(std::move(path)) {}

inline SimulatedFile::~SimulatedFile() { testing_internal::DropHandle(*disk_, *inode_); }

inline absl::StatusOr<std::size_t> SimulatedFile::ReadAt(std::uint64_t offset,
                                                         absl::Span<char> out) const {
  disk_->Observe(SimulatedOperation::kRead, path_);
  absl::MutexLock lock(&disk_->mutex);
  ALOS_RETURN_IF_ERROR(disk_->Begin(SimulatedOperation::kRead, "read", path_));
  ALOS_RETURN_IF_ERROR(base_internal::CheckFileRange(offset, out.size(), "read", path_));
  const std::uint64_t size = inode_->live.size();
  if (offset >= size || out.empty()) return 0;
  const std::size_t count = std::min<std::uint64_t>(out.size(), size - offset);
  if (disk_->IsUnreadable(*inode_, offset, offset + count)) return PosixError(EIO, "read", path_);
  testing_internal::RacyCopy(inode_->live.data() + offset, count, out.data());
  return count;
}

inline absl::Status SimulatedFile::WriteAt(std::uint64_t offset, std::string_view bytes) {
  using testing_internal::kBlock;
  disk_->Observe(SimulatedOperation::kWrite, path_);
  absl::MutexLock lock(&disk_->mutex);
  absl::Status status = disk_->Begin(SimulatedOperation::kWrite, "write", path_);
  if (!writable_) return testing_internal::ReadOnlyError("write", path_);
  ALOS_RETURN_IF_ERROR(base_internal::CheckFileRange(offset, bytes.size(), "write", path_));
  if (!status.ok() && !bytes.empty()) bytes = bytes.substr(0, disk_->Below(bytes.size()));
  // Block by block, so that a disk that fills up has the part that fitted.
  while (!bytes.empty()) {
    const std::uint64_t end = std::min(offset + bytes.size(), (offset / kBlock + 1) * kBlock);
    if (!inode_->live.CanResize(end)) return PosixError(ENOMEM, "write", path_);
    if (!disk_->TakeBlocks(*inode_, offset, end)) return PosixError(ENOSPC, "write", path_);
    if (end > inode_->live.size()) inode_->live.Resize(end);
    const std::size_t count = end - offset;
    if (disk_->IsUnreadable(*inode_, offset, end)) {
      // The rest of the block would have to be read first.
      if (offset % kBlock != 0 ||
          end < std::min((offset / kBlock + 1) * kBlock, inode_->live.size()))
        return PosixError(EIO, "write", path_);
      inode_->unreadable.erase(offset / kBlock);
      if (inode_->live.is_area()) inode_->live.SetBroken(offset, false);
    }
    std::memcpy(inode_->live.data() + offset, bytes.data(), count);
    inode_->MarkDirty(offset, end);
    bytes.remove_prefix(count);
    offset = end;
  }
  return status;
}

inline absl::Status SimulatedFile::AllocateRange(std::uint64_t from, std::uint64_t size) {
  disk_->Observe(SimulatedOperation::kAllocate, path_);
  absl::MutexLock lock(&disk_->mutex);
  ALOS_RETURN_IF_ERROR(disk_->Begin(SimulatedOperation::kAllocate, "allocate", path_));
  if (!writable_) return testing_internal::ReadOnlyError("allocate", path_);
  ALOS_RETURN_IF_ERROR(base_internal::CheckFileRange(0, size, "allocate", path_));
  if (!inode_->live.CanResize(size)) return PosixError(ENOMEM, "allocate", path_);
  if (!disk_->TakeBlocks(*inode_, from, size)) return PosixError(ENOSPC, "allocate", path_);
  if (size > inode_->live.size()) {
    inode_->MarkDirty(inode_->live.size(), size);
    inode_->live.Resize(size);
  }
  return absl::OkStatus();
}

inline absl::Status SimulatedFile::PunchHole(std::uint64_t offset, std::uint64_t size) {
  constexpr std::string_view kName = "punch a hole into";
  disk_->Observe(SimulatedOperation::kPunchHole, path_);
  absl::MutexLock lock(&disk_->mutex);
  ALOS_RETURN_IF_ERROR(disk_->Begin(SimulatedOperation::kPunchHole, kName, path_));
  if (!writable_) return testing_internal::ReadOnlyError(kName, path_);
  ALOS_RETURN_IF_ERROR(base_internal::CheckFileRange(offset, size, kName, path_));
  if (offset % kFileBlockBytes != 0 || size % kFileBlockBytes != 0) {
    return absl::InvalidArgumentError(absl::StrCat(kName, " \"", path_, "\": no whole blocks"));
  }
  const std::uint64_t end = std::min(offset + size, inode_->live.size());
  if (offset >= end) return absl::OkStatus();
  std::memset(inode_->live.data() + offset, 0, end - offset);
  inode_->MarkDirty(offset, end);
  disk_->GiveBlocks(*inode_, offset, end);
  return absl::OkStatus();
}

inline absl::Status SimulatedFile::Truncate(std::uint64_t size) {
  disk_->Observe(SimulatedOperation::kTruncate, path_);
  absl::MutexLock lock(&disk_->mutex);
  ALOS_RETURN_IF_ERROR(disk_->Begin(SimulatedOperation::kTruncate, "truncate", path_));
  if (!writable_) return testing_internal::ReadOnlyError("truncate", path_);
  ALOS_RETURN_IF_ERROR(base_internal::CheckFileRange(0, size, "truncate", path_));
  if (!inode_->live.CanResize(size)) return PosixError(ENOMEM, "truncate", path_);
  inode_->MarkDirty(std::min(size, inode_->live.size()), std::max(size, inode_->live.size()));
  while (!inode_->unreadable.empty() &&
         *inode_->unreadable.rbegin() * testing_internal::kBlock >= size) {
    if (inode_->live.is_area())
      inode_->live.SetBroken(*inode_->unreadable.rbegin() * testing_internal::kBlock, false);
    inode_->unreadable.erase(std::prev(inode_->unreadable.end()));
  }
  inode_->live.Resize(size);
  disk_->GiveBlocksFrom(*inode_, size);
  return absl::OkStatus();
}

inline absl::StatusOr<std::uint64_t> SimulatedFile::Size() const {
  disk_->Observe(SimulatedOperation::kSize, path_);
  absl::MutexLock lock(&disk_->mutex);
  ALOS_RETURN_IF_ERROR(disk_->Begin(SimulatedOperation::kSize, "fstat", path_));
  return inode_->live.size();
}

inline absl::Status SimulatedFile::Sync() {
  disk_->Observe(SimulatedOperation::kSync, path_);
  absl::MutexLock lock(&disk_->mutex);
  if (absl::Status status = disk_->Begin(SimulatedOperation::kSync, "fdatasync", path_);
      !status.ok()) {
    disk_->FailSync(*inode_);
    return status;
  }
  if (!disk_->sync_lies) disk_->SyncContents(*inode_);
  return absl::OkStatus();
}

inline absl::StatusOr<std::unique_ptr<SimulatedMapping>> SimulatedFile::Map(
    std::uint64_t reserve_bytes) {
  disk_->Observe(SimulatedOperation::kMap, path_);
  absl::MutexLock lock(&disk_->mutex);
  ALOS_RETURN_IF_ERROR(disk_->Begin(SimulatedOperation::kMap, "map", path_));
  ALOS_RETURN_IF_ERROR(base_internal::CheckFileRange(0, reserve_bytes, "map", path_));
  const std::uint64_t reserved = base_internal::RoundUpToPage(reserve_bytes);
  if (inode_->live.is_area() && inode_->mappings == 0) {
    // It may be moved, and that reads it.
    for (const std::uint64_t block : inode_->unreadable)
      inode_->live.SetBroken(block * testing_internal::kBlock, false);
  }
  if (!inode_->live.BecomeArea(reserved, inode_->mappings != 0)) {
    return PosixError(ENOMEM, absl::StrCat("reserve ", reserved, " bytes of address space for"),
                      path_);
  }
  for (const std::uint64_t block : inode_->unreadable)
    inode_->live.SetBroken(block * testing_internal::kBlock, true);
  char* const data = reserved == 0 ? nullptr : inode_->live.data();
  auto mapping = std::unique_ptr<SimulatedMapping>(
      new SimulatedMapping(disk_, inode_, path_, data, reserved, writable_));
  ++inode_->mappings;
  ++inode_->handles;
  mapping->mapped_bytes_.store(std::min(inode_->live.size(), reserve_bytes),
                               std::memory_order_release);
  return mapping;
}

// SimulatedLock

inline SimulatedLock::~SimulatedLock() {
  absl::MutexLock lock(&disk_->mutex);
  inode_->is_locked = false;
  --inode_->handles;
  disk_->FreeIfGone(*inode_);
}

// SimulatedFileSystem

inline SimulatedFileSystem::SimulatedFileSystem(std::uint64_t seed)
    : disk_(std::make_shared<testing_internal::SimulatedDisk>(seed)) {}

inline absl::StatusOr<std::unique_ptr<SimulatedFile>> SimulatedFileSystem::Open(
    const std::string& path, OpenMode mode) {
  disk_->Observe(SimulatedOperation::kOpen, path);
  absl::MutexLock lock(&disk_->mutex);
  ALOS_RETURN_IF_ERROR(disk_->Begin(SimulatedOperation::kOpen, "open", path));
  std::shared_ptr<testing_internal::SimulatedInode> inode;
  int error = disk_->Find(disk_->Split(path), &inode);
  if (error == ENOENT && mode == OpenMode::kCreate) {
    std::shared_ptr<testing_internal::SimulatedInode> directory;
    std::string name;
    error = disk_->FindParent(path, &directory, &name);
    if (error == 0) {
      inode = std::make_shared<testing_internal::SimulatedInode>();
      disk_->Change({nullptr, "", directory, name, inode});
    }
  }
  if (error != 0) return PosixError(error, "open", path);
  if (inode->is_directory) return PosixError(EISDIR, "open", path);
  ++inode->handles;
  return std::unique_ptr<SimulatedFile>(
      new SimulatedFile(disk_, std::move(inode), mode != OpenMode::kReadOnly, path));
}

inline absl::Status SimulatedFileSystem::Rename(const std::string& from, const std::string& to) {
  using testing_internal::SimulatedInode;
  disk_->Observe(SimulatedOperation::kRename, from);
  absl::MutexLock lock(&disk_->mutex);
  const std::string operation = absl::StrCat("rename \"", from, "\" to");
  ALOS_RETURN_IF_ERROR(disk_->Begin(SimulatedOperation::kRename, operation, to));
  std::shared_ptr<SimulatedInode> from_directory;
  std::shared_ptr<SimulatedInode> to_directory;
  std::shared_ptr<SimulatedInode> inode;
  std::string from_name;
  std::string to_name;
  int error = disk_->FindParent(from, &from_directory, &from_name);
  if (error == 0) error = disk_->Find(disk_->Split(from), &inode);
  if (error == 0) error = disk_->FindParent(to, &to_directory, &to_name);
  if (error != 0) return PosixError(error, operation, to);
  if (from_directory == to_directory && from_name == to_name) return absl::OkStatus();
  const std::vector<std::string> from_names = disk_->Split(from);
  std::vector<std::string> to_names = disk_->Split(to);
  if (to_names.size() > from_names.size()) {
    to_names.resize(from_names.size());
    if (to_names == from_names) return PosixError(EINVAL, operation, to);  // Into itself.
  }
  if (const auto found = to_directory->entries.find(to_name);
      found != to_directory->entries.end()) {
    const SimulatedInode& old = *found->second;
    if (old.is_directory && !inode->is_directory) return PosixError(EISDIR, operation, to);
    if (!old.is_directory && inode->is_directory) return PosixError(ENOTDIR, operation, to);
    if (old.is_directory && !old.entries.empty()) return PosixError(ENOTEMPTY, operation, to);
  }
  disk_->Change({from_directory, from_name, to_directory, to_name, inode});
  return absl::OkStatus();
}

inline absl::Status SimulatedFileSystem::Remove(const std::string& path) {
  disk_->Observe(SimulatedOperation::kRemove, path);
  absl::MutexLock lock(&disk_->mutex);
  ALOS_RETURN_IF_ERROR(disk_->Begin(SimulatedOperation::kRemove, "remove", path));
  std::shared_ptr<testing_internal::SimulatedInode> directory;
  std::shared_ptr<testing_internal::SimulatedInode> inode;
  std::string name;
  int error = disk_->FindParent(path, &directory, &name);
  if (error == 0) error = disk_->Find(disk_->Split(path), &inode);
  if (error == 0 && inode->is_directory && !inode->entries.empty()) error = ENOTEMPTY;
  if (error != 0) return PosixError(error, "remove", path);
  disk_->Change({directory, name, nullptr, "", inode});
  return absl::OkStatus();
}

inline absl::Status SimulatedFileSystem::CreateDirectories(const std::string& path) {
  constexpr std::string_view kName = "create directory";
  disk_->Observe(SimulatedOperation::kCreateDirectories, path);
  absl::MutexLock lock(&disk_->mutex);
  ALOS_RETURN_IF_ERROR(disk_->Begin(SimulatedOperation::kCreateDirectories, kName, path));
  if (path.empty()) return PosixError(ENOENT, kName, path);
  std::shared_ptr<testing_internal::SimulatedInode> at = disk_->root;
  for (const std::string& name : disk_->Split(path)) {
    const auto found = at->entries.find(name);
    if (found != at->entries.end()) {
      at = std::shared_ptr<testing_internal::SimulatedInode>(found->second);
      if (at->is_directory) continue;
      return absl::AlreadyExistsError(
          absl::StrCat(kName, " \"", path, "\": \"", name, "\" is not a directory"));
    }
    auto made = std::make_shared<testing_internal::SimulatedInode>();
    made->is_directory = true;
    disk_->Change({nullptr, "", at, name, made});
    if (!disk_->sync_lies) disk_->SyncNames(at.get());
    at = std::move(made);
  }
  return absl::OkStatus();
}

inline absl::Status SimulatedFileSystem::SyncDirectory(const std::string& path) {
  constexpr std::string_view kName = "fsync directory";
  disk_->Observe(SimulatedOperation::kSyncDirectory, path);
  absl::MutexLock lock(&disk_->mutex);
  ALOS_RETURN_IF_ERROR(disk_->Begin(SimulatedOperation::kSyncDirectory, kName, path));
  std::shared_ptr<testing_internal::SimulatedInode> inode;
  int error = disk_->Find(disk_->Split(path), &inode);
  if (error == 0 && !inode->is_directory) error = ENOTDIR;
  if (error != 0) return PosixError(error, kName, path);
  if (!disk_->sync_lies) disk_->SyncNames(inode.get());
  return absl::OkStatus();
}

inline absl::StatusOr<std::vector<std::string>> SimulatedFileSystem::ListDirectory(
    const std::string& path) {
  constexpr std::string_view kName = "list directory";
  disk_->Observe(SimulatedOperation::kListDirectory, path);
  absl::MutexLock lock(&disk_->mutex);
  ALOS_RETURN_IF_ERROR(disk_->Begin(SimulatedOperation::kListDirectory, kName, path));
  std::shared_ptr<testing_internal::SimulatedInode> inode;
  int error = disk_->Find(disk_->Split(path), &inode);
  if (error == 0 && !inode->is_directory) error = ENOTDIR;
  if (error != 0) return PosixError(error, kName, path);
  std::vector<std::string> names;
  for (const auto& [name, child] : inode->entries) names.push_back(name);
  return names;
}

inline absl::StatusOr<bool> SimulatedFileSystem::Exists(const std::string& path) {
  disk_->Observe(SimulatedOperation::kExists, path);
  absl::MutexLock lock(&disk_->mutex);
  ALOS_RETURN_IF_ERROR(disk_->Begin(SimulatedOperation::kExists, "stat", path));
  std::shared_ptr<testing_internal::SimulatedInode> inode;
  return disk_->Find(disk_->Split(path), &inode) == 0;
}

inline absl::StatusOr<std::unique_ptr<SimulatedLock>> SimulatedFileSystem::LockFile(
    const std::string& path) {
  using testing_internal::SimulatedInode;
  disk_->Observe(SimulatedOperation::kLock, path);
  absl::MutexLock lock(&disk_->mutex);
  ALOS_RETURN_IF_ERROR(disk_->Begin(SimulatedOperation::kLock, "lock", path));
  std::shared_ptr<SimulatedInode> inode;
  int error = disk_->Find(disk_->Split(path), &inode);
  if (error == ENOENT) {
    std::shared_ptr<SimulatedInode> directory;
    std::string name;
    error = disk_->FindParent(path, &directory, &name);
    if (error == 0) {
      inode = std::make_shared<SimulatedInode>();
      disk_->Change({nullptr, "", directory, name, inode});
    }
  }
  if (error == 0 && inode->is_directory) error = EISDIR;
  if (error != 0) return PosixError(error, "lock", path);
  const std::string holder = absl::StrCat("pid ", ::getpid(), " host simulated\n");
  if (inode->is_locked) {
    return absl::FailedPreconditionError(
        absl::StrCat("lock \"", path, "\": held by ", holder.substr(0, holder.size() - 1),
                     "; stop that process, or use another directory"));
  }
  if (!disk_->TakeBlocks(*inode, 0, holder.size())) return PosixError(ENOSPC, "lock", path);
  inode->live.Resize(holder.size());
  holder.copy(inode->live.data(), holder.size());
  inode->MarkDirty(0, holder.size());
  inode->is_locked = true;
  ++inode->handles;
  return std::unique_ptr<SimulatedLock>(new SimulatedLock(disk_, std::move(inode)));
}

inline std::unique_ptr<SimulatedFileSystem> SimulatedFileSystem::Crash(
    const CrashOptions& options) {
  using testing_internal::SimulatedDisk;
  using testing_internal::SimulatedInode;
  absl::MutexLock lock(&disk_->mutex);
  auto after = std::make_shared<SimulatedDisk>(disk_->random());

  // The names: what is durable, and the changes that made it.
  std::map<const SimulatedInode*, SimulatedInode::Entries> names;
  const auto names_of = [&](const SimulatedInode* directory) -> SimulatedInode::Entries& {
    return names.try_emplace(directory, directory->durable_entries).first->second;
  };
  const std::vector<testing_internal::SimulatedNameChange>& changes = disk_->name_changes;
  std::vector<bool> survives(changes.size(),
                             options.unsynced == CrashOptions::Unsynced::kEverything);
  if (options.unsynced == CrashOptions::Unsynced::kRandom) {
    const std::uint64_t percent = disk_->SomePercentage();
    for (std::size_t i = 0; i < changes.size(); ++i) survives[i] = disk_->Percent(percent);
  }
  // A file that was renamed twice is in one place: the second rename takes the first with it.
  std::set<const SimulatedInode*> later;
  for (std::size_t i = changes.size(); i-- > 0;) {
    if (later.contains(changes[i].inode.get())) survives[i] = true;
    if (survives[i]) later.insert(changes[i].inode.get());
  }
  for (std::size_t i = 0; i < changes.size(); ++i) {
    if (survives[i]) changes[i].Apply(names_of);
  }

  // The tree that hangs on them. A list of what is to do, not a recursion.
  absl::MutexLock after_lock(&after->mutex);
  after->capacity_blocks = disk_->capacity_blocks;
  std::vector<std::pair<SimulatedInode*, SimulatedInode*>> directories = {
      {disk_->root.get(), after->root.get()}};
  while (!directories.empty()) {
    const auto [old_directory, new_directory] = directories.back();
    directories.pop_back();
    for (const auto& [name, inode] : names_of(old_directory)) {
      auto copy = std::make_shared<SimulatedInode>();
      copy->is_directory = inode->is_directory;
      copy->links = 1;
      new_directory->entries[name] = copy;
      new_directory->durable_entries[name] = copy;
      if (inode->is_directory) {
        directories.emplace_back(inode.get(), copy.get());
        continue;
      }
      copy->durable = disk_->CrashContents(*inode, options);
      const std::uint64_t size = copy->durable.size();
      copy->live.Resize(size);
      copy->durable.copy(copy->live.data(), size);
      for (const std::uint64_t block : inode->unreadable) {
        if (block * kBlockBytes < size) copy->unreadable.insert(block);
      }
      copy->blocks = inode->blocks;
      copy->blocks.resize((size + kBlockBytes - 1) / kBlockBytes, true);
      // A hole that did not come to pass.
      for (std::size_t block = 0; block < copy->blocks.size(); ++block) {
        if (copy->blocks[block]) continue;
        const std::string_view bytes =
            std::string_view(copy->durable).substr(block * kBlockBytes, kBlockBytes);
        copy->blocks[block] = bytes.find_first_not_of('\0') != bytes.npos;
      }
      copy->block_count =
          static_cast<std::uint64_t>(std::count(copy->blocks.begin(), copy->blocks.end(), true));
      after->used_blocks += copy->block_count;
    }
  }
  return std::unique_ptr<SimulatedFileSystem>(new SimulatedFileSystem(std::move(after)));
}

inline void SimulatedFileSystem::WriteBackSome() {
  using testing_internal::SimulatedInode;
  absl::MutexLock lock(&disk_->mutex);
  // Names in order, as a journal does it.
  std::vector<bool> takes(disk_->name_changes.size());
  const std::uint64_t count = disk_->Below(takes.size() + 1);
  std::fill_n(takes.begin(), count, true);
  disk_->SyncChanges(takes);
  std::vector<SimulatedInode*> inodes = {disk_->root.get()};
  while (!inodes.empty()) {
    SimulatedInode& inode = *inodes.back();
    inodes.pop_back();
    if (inode.is_directory) {
      for (const auto& [name, child] : inode.entries) inodes.push_back(child.get());
      continue;
    }
    if (disk_->Percent(50)) continue;
    if (inode.live.size() > inode.durable.size() && disk_->Percent(50)) {
      inode.durable.resize(inode.live.size());
    }
    const std::uint64_t percent = disk_->SomePercentage();
    std::vector<std::pair<std::uint64_t, std::string>> writes;
    disk_->ForEachDirtySector(
        inode, [&](std::uint64_t sector, std::string_view now, std::string_view) {
          disk_->mutex.AssertHeld();
          if (!disk_->IsForgotten(inode, sector, now) && disk_->Percent(percent)) {
            writes.emplace_back(sector, now);
          }
        });
    for (const auto& [sector, bytes] : writes) disk_->WriteSector(inode, sector, bytes);
  }
}

inline void SimulatedFileSystem::SetSyncLies(bool on) {
  absl::MutexLock lock(&disk_->mutex);
  disk_->sync_lies = on;
}

inline void SimulatedFileSystem::FailNth(std::uint64_t n, absl::Status status,
                                         SimulatedFault fault) {
  ALOS_CHECK(n > 0 && !status.ok());
  absl::MutexLock lock(&disk_->mutex);
  disk_->rules.push_back({true, {}, n, std::move(status), fault});
}

inline void SimulatedFileSystem::FailNth(SimulatedOperation kind, std::uint64_t n,
                                         absl::Status status, SimulatedFault fault) {
  ALOS_CHECK(n > 0 && !status.ok());
  absl::MutexLock lock(&disk_->mutex);
  disk_->rules.push_back({false, kind, n, std::move(status), fault});
}

inline void SimulatedFileSystem::ClearFaults() {
  absl::MutexLock lock(&disk_->mutex);
  disk_->rules.clear();
  disk_->sector_rules.clear();
}

inline void SimulatedFileSystem::FailNthSectorWrite(std::uint64_t n, SimulatedSectorFault fault) {
  ALOS_CHECK(n > 0);
  absl::MutexLock lock(&disk_->mutex);
  disk_->sector_rules.push_back({n, fault});
}

inline std::uint64_t SimulatedFileSystem::sector_write_count() const {
  absl::MutexLock lock(&disk_->mutex);
  return disk_->sector_writes;
}

inline void SimulatedFileSystem::SetUnreadable(const std::string& path, std::uint64_t offset,
                                               std::uint64_t bytes) {
  absl::MutexLock lock(&disk_->mutex);
  std::shared_ptr<testing_internal::SimulatedInode> inode;
  ALOS_CHECK(disk_->Find(disk_->Split(path), &inode) == 0 && !inode->is_directory);
  ALOS_CHECK(bytes > 0 && offset + bytes <= inode->live.size());
  for (std::uint64_t block = offset / kBlockBytes; block * kBlockBytes < offset + bytes; ++block) {
    if (!inode->unreadable.insert(block).second) continue;
    if (inode->live.is_area()) inode->live.SetBroken(block * kBlockBytes, true);
  }
}

inline void SimulatedFileSystem::SetCapacityBytes(std::uint64_t bytes) {
  absl::MutexLock lock(&disk_->mutex);
  disk_->capacity_blocks = bytes / kBlockBytes;
}

inline std::uint64_t SimulatedFileSystem::used_bytes() const {
  absl::MutexLock lock(&disk_->mutex);
  return disk_->used_blocks * kBlockBytes;
}

inline void SimulatedFileSystem::FlipBits(const std::string& path, std::uint64_t offset,
                                          std::uint8_t mask) {
  absl::MutexLock lock(&disk_->mutex);
  std::shared_ptr<testing_internal::SimulatedInode> inode;
  ALOS_CHECK(disk_->Find(disk_->Split(path), &inode) == 0 && !inode->is_directory);
  ALOS_CHECK(offset < inode->live.size());
  inode->live.data()[offset] = static_cast<char>(inode->live.data()[offset] ^ mask);
  if (offset < inode->durable.size()) {
    inode->durable[offset] = static_cast<char>(inode->durable[offset] ^ mask);
  }
}

inline std::uint64_t SimulatedFileSystem::FlipRandomBit(const std::string& path) {
  std::uint64_t offset;
  std::uint8_t mask;
  {
    absl::MutexLock lock(&disk_->mutex);
    std::shared_ptr<testing_internal::SimulatedInode> inode;
    ALOS_CHECK(disk_->Find(disk_->Split(path), &inode) == 0 && inode->live.size() > 0);
    offset = disk_->Below(inode->live.size());
    mask = static_cast<std::uint8_t>(1 << disk_->Below(8));
  }
  FlipBits(path, offset, mask);
  return offset;
}

inline void SimulatedFileSystem::Overwrite(const std::string& path, std::uint64_t offset,
                                           std::string_view bytes) {
  absl::MutexLock lock(&disk_->mutex);
  std::shared_ptr<testing_internal::SimulatedInode> inode;
  ALOS_CHECK(disk_->Find(disk_->Split(path), &inode) == 0 && !inode->is_directory);
  ALOS_CHECK(offset + bytes.size() <= inode->live.size());
  bytes.copy(inode->live.data() + offset, bytes.size());
  if (offset < inode->durable.size())
    bytes.copy(inode->durable.data() + offset, inode->durable.size() - offset);
}

inline std::string SimulatedFileSystem::DurableContents(const std::string& path) const {
  absl::MutexLock lock(&disk_->mutex);
  std::shared_ptr<testing_internal::SimulatedInode> inode;
  ALOS_CHECK(disk_->Find(disk_->Split(path), &inode) == 0 && !inode->is_directory);
  return inode->durable;
}

inline std::vector<std::string> SimulatedFileSystem::Names(const std::string& directory) const {
  absl::MutexLock lock(&disk_->mutex);
  std::shared_ptr<testing_internal::SimulatedInode> inode;
  ALOS_CHECK(disk_->Find(disk_->Split(directory), &inode) == 0 && inode->is_directory);
  std::vector<std::string> names;
  for (const auto& [name, child] : inode->entries) names.push_back(name);
  return names;
}

inline std::uint64_t SimulatedFileSystem::operation_count() const {
  absl::MutexLock lock(&disk_->mutex);
  std::uint64_t sum = 0;
  for (const std::uint64_t count : disk_->counts) sum += count;
  return sum;
}

inline std::uint64_t SimulatedFileSystem::operation_count(SimulatedOperation kind) const {
  absl::MutexLock lock(&disk_->mutex);
  return disk_->counts[static_cast<std::size_t>(kind)];
}

inline void SimulatedFileSystem::SetObserver(
    std::function<void(SimulatedOperation, const std::string&)> observer) {
  absl::MutexLock lock(&disk_->mutex);
  disk_->observer = std::move(observer);
}

inline std::uint64_t SimulatedFileSystem::unallocated_stores() const {
  absl::MutexLock lock(&disk_->mutex);
  return disk_->unallocated_stores;
}

static_assert(FileSystem<SimulatedFileSystem>);

}  // namespace alos

#endif  // ALOS_TESTING_SIMULATED_FILE_SYSTEM_H_
