# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Bugs that somebody could write, each with the test that notices it. run.sh puts all of them into a copy of the tree,
# every one behind a switch, so that one build serves for all.

CRASH = '//testing/crash:engine_crash_test'
FAULT = '//testing/crash:engine_fault_test'
TAIL = '//testing/crash:torn_tail_test'

JOURNAL_H = 'alos/storage/journal.h'
RECORD_H = 'alos/storage/record.h'
LOG_H = 'alos/storage/shard_log.h'
FILE_H = 'alos/storage/atomic_file.h'
SHARD_H = 'alos/engine/internal/shard.h'
DATABASE_COLLECTIONS_H = 'alos/engine/internal/database_collections.h'
DATABASE_OPENING_H = 'alos/engine/internal/database_opening.h'
DATABASE_UPKEEP_H = 'alos/engine/internal/database_upkeep.h'
INDEXER_H = 'alos/engine/internal/indexer.h'
SYNC_H = 'plugins/durability/sync.h'
ASYNC_H = 'plugins/durability/async.h'

# (name, what is wrong, [(file, text, text with BUG)], test, its filter). BUG is true when this bug is switched on.
BUGS = [
    ('acknowledge_before_flush', 'a group of the journal is written, not flushed', [
        (JOURNAL_H, 'ALOS_RETURN_IF_ERROR(file_->WriteAt(end_, bytes));\n    ALOS_RETURN_IF_ERROR(file_->Sync());',
         'ALOS_RETURN_IF_ERROR(file_->WriteAt(end_, bytes));\n    if (!BUG) ALOS_RETURN_IF_ERROR(file_->Sync());'),
    ], CRASH, 'EngineCrashTest.Sync'),
    ('acknowledge_at_commit', 'a write is acknowledged when its records are in memory', [
        (DATABASE_COLLECTIONS_H, 'if (IsVisible(commit_timestamp)) return absl::OkStatus();',
         'if (BUG || IsVisible(commit_timestamp)) return absl::OkStatus();'),
    ], CRASH, 'EngineCrashTest.Sync'),
    ('skip_body_checksum', 'bodies are believed', [
        (RECORD_H, '(header.flags & kBodyUnchecked) != 0 ||', '(header.flags & kBodyUnchecked) != 0 || BUG ||'),
    ], TAIL, 'TornTailTest.ShardLog'),
    ('checksum_without_place', 'a record is valid wherever it lies', [
        (RECORD_H, 'std::memcpy(covered + 52, &offset, 8);',
         'const std::uint64_t no_offset = 0;\n  std::memcpy(covered + 52, BUG ? &no_offset : &offset, 8);'),
    ], '//alos/storage:record_test', '*'),
    ('cut_too_much', 'everything behind the first bad record is a torn tail', [
        (LOG_H, 'if (*durable_mark <= offset) break;', 'if (BUG || *durable_mark <= offset) break;'),
    ], TAIL, 'TornTailTest.ShardLog'),
    ('cut_too_little', 'a torn tail is corruption', [
        (LOG_H, 'std::max(durable_end, HighestDurableMark(next, size));',
         'std::max(BUG ? size : durable_end, HighestDurableMark(next, size));'),
    ], TAIL, 'TornTailTest.ShardLog'),
    ('journal_cuts_too_much', 'a damaged group ends the journal, whatever follows', [
        (JOURNAL_H, 'if (storage_internal::ParseJournalGroup(segment, offset, generation, &group)) {\n        return corrupt(',
         'if (!BUG && storage_internal::ParseJournalGroup(segment, offset, generation, &group)) {\n        return corrupt('),
    ], TAIL, 'TornTailTest.Journal'),
    ('skip_journal_checksum', 'groups of the journal are believed', [
        (JOURNAL_H, 'if (JournalGroup::Checksum(group, generation, offset) != checksum) return false;',
         'if (!BUG && JournalGroup::Checksum(group, generation, offset) != checksum) return false;'),
    ], TAIL, 'TornTailTest.Journal'),
    ('mark_too_high', 'a durable mark tells the end of the log in place of the end of what was flushed', [
        (SHARD_H, 'const std::uint64_t durable_end = owned_log_->durable_end();',
         'const std::uint64_t durable_end = BUG ? owned_log_->end() : owned_log_->durable_end();'),
    ], CRASH, 'EngineCrashTest.Async'),
    ('keep_unacknowledged', 'recovery keeps records that are newer than the journal', [
        (DATABASE_OPENING_H, 'journal.found ? journal.last_lsn : std::numeric_limits<std::uint64_t>::max();',
         'journal.found && !BUG ? journal.last_lsn : std::numeric_limits<std::uint64_t>::max();'),
    ], CRASH, 'EngineCrashTest.SyncSeveralAtOnce'),
    ('checkpoint_before_flush', 'an index checkpoint is written before the log it describes is flushed', [
        (DATABASE_UPKEEP_H, 'const std::uint64_t complete_until = durability_->visible_timestamp();\n  ALOS_RETURN_IF_ERROR(SyncShards());',
         'const std::uint64_t complete_until = durability_->visible_timestamp();\n  if (!BUG) ALOS_RETURN_IF_ERROR(SyncShards());'),
    ], CRASH, 'EngineCrashTest.Async'),
    ('trim_before_flush', 'a segment of the journal is removed before the logs are flushed', [
        (SYNC_H, 'absl::Status status = options_.sync_shards();\n        if (absl::IsResourceExhausted',
         'absl::Status status = BUG ? absl::OkStatus() : options_.sync_shards();\n        if (absl::IsResourceExhausted'),
    ], CRASH, 'EngineCrashTest.Sync'),
    ('newest_segment_first', 'the newest segment of the journal may be gone before an older one is', [
        (JOURNAL_H, 'if (is_newest) ALOS_RETURN_IF_ERROR', 'if (!BUG && is_newest) ALOS_RETURN_IF_ERROR'),
    ], TAIL, 'TornTailTest.TheNewestSegmentGoesLast'),
    ('journal_name_not_flushed', 'a new segment is used before its name is durable', [
        (JOURNAL_H, 'ALOS_RETURN_IF_ERROR(file->Sync());\n    ALOS_RETURN_IF_ERROR(file_system.SyncDirectory(directory));',
         'ALOS_RETURN_IF_ERROR(file->Sync());\n    if (!BUG) ALOS_RETURN_IF_ERROR(file_system.SyncDirectory(directory));'),
    ], CRASH, 'EngineCrashTest.Sync'),
    ('one_segment_only', 'recovery reads the first segment of the journal only', [
        (JOURNAL_H, 'const bool is_last = i + 1 == sequences.size();',
         'if (BUG && i == 1) break;\n    const bool is_last = i + 1 == sequences.size();'),
    ], CRASH, 'EngineCrashTest.Sync'),
    ('rename_before_flush', 'a replaced file is renamed before it is flushed', [
        (FILE_H, 'ALOS_RETURN_IF_ERROR(file->Sync());', 'if (!BUG) ALOS_RETURN_IF_ERROR(file->Sync());'),
    ], CRASH, 'EngineCrashTest.Sync'),
    ('rename_not_flushed', 'a replaced file is counted on before its name is durable', [
        (FILE_H, 'const absl::Status synced = file_system.SyncDirectory(directory);',
         'const absl::Status synced = BUG ? absl::OkStatus() : file_system.SyncDirectory(directory);'),
    ], CRASH, 'EngineCrashTest.Sync'),
    ('name_of_log_not_flushed', 'a new log is counted on before its name is durable', [
        (DATABASE_OPENING_H, 'ALOS_RETURN_IF_ERROR(context_.file_system->SyncDirectory(context_.directory));\n  absl::MutexLock lock(&manifest_mutex_);\n  const MemoryReserve::Critical critical;\n  for (const Shard* shard : made)',
         'if (!BUG) ALOS_RETURN_IF_ERROR(context_.file_system->SyncDirectory(context_.directory));\n  absl::MutexLock lock(&manifest_mutex_);\n  const MemoryReserve::Critical critical;\n  for (const Shard* shard : made)'),
    ], CRASH, 'EngineCrashTest.Async'),
    ('record_where_none_can_begin', 'a log whose size was lost goes on where its file ends', [
        (LOG_H, '    if (offset > size) {\n      ALOS_RETURN_IF_ERROR(Reserve(offset));',
         '    if (BUG) offset = std::min(offset, size);\n    if (offset > size) {\n      ALOS_RETURN_IF_ERROR(Reserve(offset));'),
    ], CRASH, 'EngineCrashTest.Async'),
    ('deleted_comes_back', 'recovery passes deletions by', [
        (SHARD_H, 'if (header.kind == RecordKind::kDurableMark || header.kind == RecordKind::kAborted) {\n                stale_bytes_',
         'if (header.kind == RecordKind::kDurableMark || header.kind == RecordKind::kAborted ||\n                  (BUG && header.kind == RecordKind::kDelete)) {\n                stale_bytes_'),
    ], CRASH, 'EngineCrashTest.Sync'),
    ('drop_in_memory', 'a collection is dropped in memory only', [
        (DATABASE_COLLECTIONS_H, 'ALOS_RETURN_IF_ERROR(WriteEvent(name, removed.id, 0));',
         'if (!BUG) ALOS_RETURN_IF_ERROR(WriteEvent(name, removed.id, 0));'),
        (DATABASE_COLLECTIONS_H, 'manifest_.collections.erase(found);\n  const absl::Status written = WriteManifest();',
         'manifest_.collections.erase(found);\n  const absl::Status written = BUG ? absl::OkStatus() : WriteManifest();'),
    ], CRASH, 'EngineCrashTest.Sync'),
    ('unique_forgotten', 'unique indexes are not loaded', [
        (DATABASE_OPENING_H, 'for (const auto& [collection, definition] : unique)\n    ALOS_RETURN_IF_ERROR(unique_->Load',
         'for (const auto& [collection, definition] : unique)\n    if (!BUG) ALOS_RETURN_IF_ERROR(unique_->Load'),
    ], CRASH, 'EngineCrashTest.SyncWithIndexes'),
    ('failed_flush_is_tried_again', 'a flush that follows a failed one is believed', [
        (LOG_H, '    if (sync_failed_) {', '    if (!BUG && sync_failed_) {'),
    ], FAULT, 'EngineFaultTest.EveryCallFailsAsync'),
    ('failed_flush_is_ignored', 'the error of a flush is forgotten', [
        (LOG_H, 'absl::Status status = file_->Sync();', 'absl::Status status = file_->Sync();\n    if (BUG) status = absl::OkStatus();'),
    ], FAULT, 'EngineFaultTest.EveryCallFailsAsync'),
    ('failed_journal_is_acknowledged', 'writes whose group could not be flushed are acknowledged', [
        (SYNC_H, 'if (status.ok()) status = segment_->Append(flushing.group, visible_);',
         'if (status.ok()) status = segment_->Append(flushing.group, visible_);\n        if (BUG) status = absl::OkStatus();'),
    ], FAULT, 'EngineFaultTest.EveryCallFailsSync'),
    ('not_written_again', 'after a failed flush the next process only flushes', [
        (SHARD_H, 'ALOS_RETURN_IF_ERROR(log()->Rewrite(is_made() ? recovery.durable_end : 0));',
         'if (!BUG) ALOS_RETURN_IF_ERROR(log()->Rewrite(is_made() ? recovery.durable_end : 0));'),
    ], FAULT, 'EngineFaultTest.EveryCallFails*'),
    ('full_is_final', 'a full disk ends all writing until a restart', [
        (ASYNC_H, 'if (!status.ok() && !absl::IsResourceExhausted(status)) Fail(status);',
         'if (!status.ok() && (BUG || !absl::IsResourceExhausted(status))) Fail(status);'),
    ], FAULT, 'EngineFaultTest.FullAtEveryStepAsync'),
]
