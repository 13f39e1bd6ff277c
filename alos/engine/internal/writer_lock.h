// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The writer role of a shard, and the queue for it.

#ifndef ALOS_ENGINE_INTERNAL_WRITER_LOCK_H_
#define ALOS_ENGINE_INTERNAL_WRITER_LOCK_H_

#include "absl/base/thread_annotations.h"
#include "alos/base/atomics.h"
#include "alos/base/queue_gauge.h"

namespace alos::engine_internal {

// Takes the writer role of a shard, and counts those who wait for one: no more than there are
// threads.
template <class Atomics>
class ABSL_SCOPED_LOCKABLE BasicWriterLock {
 public:
  using Role = typename Atomics::Mutex;

  BasicWriterLock(Role* role, BasicQueueGauge<Atomics>* waiting) ABSL_EXCLUSIVE_LOCK_FUNCTION(role)
      : role_(role) {
    if (role_->TryLock()) return;
    waiting->Add(1);
    role_->Lock();
    waiting->Remove(1);
  }
  ~BasicWriterLock() ABSL_UNLOCK_FUNCTION() { role_->Unlock(); }
  BasicWriterLock(const BasicWriterLock&) = delete;
  BasicWriterLock& operator=(const BasicWriterLock&) = delete;

 private:
  Role* const role_;
};

using WriterLock = BasicWriterLock<StdAtomics>;

}  // namespace alos::engine_internal

#endif  // ALOS_ENGINE_INTERNAL_WRITER_LOCK_H_
