// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The seam through which alos reaches files: four concepts, in words and in code. PosixFileSystem
// (posix_file_system.h) is the real one; SimulatedFileSystem (testing/simulated_file_system.h) is
// one that can lose power. Whoever implements it runs
// testing/conformance/file_system_conformance.h.
//
// What the words mean, for every implementation:
//
// * Written: what WriteAt or a store through a Mapping put into a file is seen at once by every
// other
//   handle and Mapping of that file. It is not durable.
// * Durable: survives loss of power. Contents and size of a file are durable after a successful
//   Sync() that began after they were written; a store through a Mapping counts when it happened
//   before the call of Sync() (in the happens-before sense, if by another thread). Until then any
//   subset of the 512-byte sectors written since the last Sync(), with or without the new size, may
//   be what is found after power is lost.
// * A name (Open with kCreate, Rename, Remove) is durable after SyncDirectory() of its parent.
// Until
//   then the old or the new state of that name is found, each name by itself.
// * A Sync() that failed says that the durable contents are unknown and stay so: a later Sync()
// that
//   succeeds proves nothing about what was written before the failed one. Callers must not retry.
//
// Threads: a FileSystem, and ReadAt, WriteAt, Sync and Size of one File, may be used by any threads
// at once (overlapping writes leave either's bytes). Allocate, Truncate and Map of one file, and
// Extend of one Mapping, need external serialisation; data() may be read through meanwhile.
//
// Lifetime: a Mapping outlives the File it came from, not the FileSystem. A File and a Lock do not
// outlive the FileSystem.
//
// Errors: every error names the operation, the path and what the system said. Codes:
//   kNotFound            the file or a directory on the way does not exist
//   kAlreadyExists       a directory or file is in the way
//   kPermissionDenied    the process may not
//   kResourceExhausted   disk full or quota used up; descriptors, memory or address space used up.
//   The
//                        message says which, and what to do. Nothing was changed that a retry after
//                        freeing the resource could not continue from.
//   kDataLoss            the device failed (EIO)
//   kUnimplemented       the file system cannot do it at all
//   kFailedPrecondition  read-only file system; a lock that another process holds; wrong kind of
//   file kInvalidArgument     a size or an offset no file can have, or outside of what the file has
// After a failed WriteAt the range may hold any mixture of old and new bytes.

#ifndef ALOS_BASE_FILE_SYSTEM_H_
#define ALOS_BASE_FILE_SYSTEM_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace alos {

enum class OpenMode {
  kReadOnly,  // The file must exist; WriteAt, Allocate and Truncate fail; mappings cannot be stored
              // to.
  kReadWrite,  // The file must exist.
  kCreate,     // As kReadWrite; an empty file is made if there is none.
};

// Offsets and sizes of files are below this.
inline constexpr std::uint64_t kFileSizeBytesMax = std::uint64_t{1} << 62;

// What space is given back in: PunchHole takes multiples of it.
inline constexpr std::uint64_t kFileBlockBytes = 4096;

// A part of the address space set aside for one file, of which a prefix shows the file's bytes.
// Destroying it unmaps. A page of the prefix that the device cannot read reads as zeros from then
// on (alos/base/mapped_read_guard.h), and what is stored to it is lost.
template <class M>
concept Mapping = requires(M& mapping, const M& constant, std::uint64_t bytes) {
  // Address of the file's first byte. Never changes. Null only if reserved_bytes() is 0.
  { constant.data() } -> std::same_as<char*>;
  // [data(), data() + mapped_bytes()) may be read, and stored to unless the file was opened
  // kReadOnly.
  { constant.mapped_bytes() } -> std::same_as<std::uint64_t>;
  // What Map was asked for, at least.
  { constant.reserved_bytes() } -> std::same_as<std::uint64_t>;
  // One past the last page that could not be read, from data(); 0: none so far.
  { constant.failed_end() } -> std::same_as<std::uint64_t>;
  // Grows mapped_bytes() to `bytes`; what was mapped stays where and as it is. No effect if `bytes`
  // is not more than mapped_bytes(). kInvalidArgument if it is more than the file's size or than
  // reserved_bytes().
  { mapping.Extend(bytes) } -> std::same_as<absl::Status>;
};

// An open file. Destroying it closes, and makes nothing durable.
template <class F>
concept File =
    Mapping<typename F::MappingType> && requires(F& file, const F& constant, std::uint64_t n,
                                                 absl::Span<char> out, std::string_view bytes) {
      // Reads out.size() bytes from offset n; fewer only if the file ends before. Returns how many.
      { file.ReadAt(n, out) } -> std::same_as<absl::StatusOr<std::size_t>>;
      // Writes all of `bytes` at offset n, or fails. Grows the file where needed; a gap reads as
      // zeros.
      { file.WriteAt(n, bytes) } -> std::same_as<absl::Status>;
      // Sets space for [0, n) aside on the device and grows the file to at least n bytes, new ones
      // zero: after that neither WriteAt nor a store through a Mapping below n runs out of space.
      // Never shrinks. On an error the size is what it was.
      { file.Allocate(n) } -> std::same_as<absl::Status>;
      // The same for [n, n2) only: a hole below n stays one. REQUIRES: n <= n2.
      { file.AllocateRange(n, n) } -> std::same_as<absl::Status>;
      // Gives the space of n2 bytes at offset n back to the device: they read as zeros, also
      // through mappings, and the size stays. Both are multiples of kFileBlockBytes; what is beyond
      // the file's end is left out. Durable after Sync(); until then each sector is what it was or
      // zeros. kUnimplemented where files cannot have holes: nothing changed.
      { file.PunchHole(n, n) } -> std::same_as<absl::Status>;
      // Sets the size to n; added bytes read as zeros and have no space set aside. REQUIRES: no
      // Mapping has mapped_bytes() > n (a touch beyond the end would be a SIGBUS).
      { file.Truncate(n) } -> std::same_as<absl::Status>;
      { constant.Size() } -> std::same_as<absl::StatusOr<std::uint64_t>>;
      // Makes contents and size durable: see above. A failure is final.
      { file.Sync() } -> std::same_as<absl::Status>;
      // Sets n bytes of address space aside (no memory, no disk) and maps the file's present size,
      // or the first n bytes of it if that is less. The mapping can be stored to unless the file is
      // kReadOnly.
      { file.Map(n) } -> std::same_as<absl::StatusOr<std::unique_ptr<typename F::MappingType>>>;
      // As given to Open.
      { constant.path() } -> std::same_as<const std::string&>;
    };

// A tree of files. Paths are what the system takes, '/' between names.
template <class S>
concept FileSystem = File<typename S::FileType> && Mapping<typename S::MappingType> &&
                     std::same_as<typename S::FileType::MappingType, typename S::MappingType> &&
                     std::destructible<typename S::LockType> &&
                     requires(S& system, const std::string& path, OpenMode mode) {
                       {
                         system.Open(path, mode)
                       } -> std::same_as<absl::StatusOr<std::unique_ptr<typename S::FileType>>>;
                       // Gives the file or directory the name `to`, replacing a file of that name
                       // in one step: at no time, and after no crash, is there neither the old nor
                       // the new file under `to`.
                       { system.Rename(path, path) } -> std::same_as<absl::Status>;
                       // Removes a file or an empty directory. Open files of it, and mappings, go
                       // on working.
                       { system.Remove(path) } -> std::same_as<absl::Status>;
                       // Makes the directory and those above it that are missing, and makes their
                       // names durable. OK if it exists.
                       { system.CreateDirectories(path) } -> std::same_as<absl::Status>;
                       // Makes durable which names the directory holds: see above. A failure is
                       // final, as Sync's.
                       { system.SyncDirectory(path) } -> std::same_as<absl::Status>;
                       // Names (not paths) of files and directories in a directory, sorted, without
                       // "." and "..".
                       {
                         system.ListDirectory(path)
                       } -> std::same_as<absl::StatusOr<std::vector<std::string>>>;
                       // Whether there is a file or directory of this name.
                       { system.Exists(path) } -> std::same_as<absl::StatusOr<bool>>;
                       // Takes the lock that the file `path` stands for (made if absent, never
                       // removed), without waiting; held until the returned object, or the process,
                       // dies. kFailedPrecondition, naming process and machine, while somebody
                       // else, also in this process, holds it.
                       {
                         system.LockFile(path)
                       } -> std::same_as<absl::StatusOr<std::unique_ptr<typename S::LockType>>>;
                     };

}  // namespace alos

#endif  // ALOS_BASE_FILE_SYSTEM_H_
