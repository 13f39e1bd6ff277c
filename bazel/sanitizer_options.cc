// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// The options that the sanitizers' run-time libraries ask a program for. *SAN_OPTIONS in the
// environment still overrides each of them.

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ALOS_ADDRESS_SANITIZER 1
#endif
#if __has_feature(thread_sanitizer)
#define ALOS_THREAD_SANITIZER 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define ALOS_ADDRESS_SANITIZER 1
#endif
#if defined(__SANITIZE_THREAD__)
#define ALOS_THREAD_SANITIZER 1
#endif

extern "C" {

#if defined(ALOS_ADDRESS_SANITIZER)
const char* __asan_default_options();
const char* __asan_default_options() {
  return "detect_leaks=1:check_initialization_order=1:strict_string_checks=1:"
         "detect_stack_use_after_return=1";
}
#endif

#if defined(ALOS_THREAD_SANITIZER)
const char* __tsan_default_options();
const char* __tsan_default_options() { return "halt_on_error=1:second_deadlock_stack=1"; }

// absl::Mutex's semaphore: initialising it races with the first post as far as TSan can tell
// (Abseil issue 1239). Everything else, races of plain against atomic accesses included, is
// reported.
const char* __tsan_default_suppressions();
const char* __tsan_default_suppressions() { return "race:AbslInternalPerThreadSemPost\n"; }
#endif

// UBSan alone has no macro to ask for; asking costs nothing where it is absent.
const char* __ubsan_default_options();
const char* __ubsan_default_options() { return "print_stacktrace=1:halt_on_error=1"; }

}  // extern "C"
