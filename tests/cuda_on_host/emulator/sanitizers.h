// What AddressSanitizer and ThreadSanitizer must be told of fibers, and what of the emulator they must not see.
#pragma once

#if defined(__SANITIZE_ADDRESS__)
#define COH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define COH_ASAN 1
#endif
#endif

#if defined(__SANITIZE_THREAD__)
#define COH_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define COH_TSAN 1
#endif
#endif

#if defined(COH_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(COH_TSAN)
extern "C" {
void* __tsan_get_current_fiber(void);
void* __tsan_create_fiber(unsigned);
void __tsan_destroy_fiber(void*);
void __tsan_switch_to_fiber(void*, unsigned);
void __tsan_acquire(void*);
void __tsan_release(void*);
void AnnotateIgnoreReadsBegin(const char*, int);
void AnnotateIgnoreReadsEnd(const char*, int);
void AnnotateIgnoreWritesBegin(const char*, int);
void AnnotateIgnoreWritesEnd(const char*, int);
}
#endif

// The emulator's own functions: all CUDA threads of a block share its books, which is no race of theirs.
#if defined(COH_TSAN)
#define COH_RUNTIME __attribute__((no_sanitize("thread")))
#else
#define COH_RUNTIME
#endif

namespace coh {

// What a CUDA thread did before it released an object is ordered before what another does that acquires it afterwards.
COH_RUNTIME inline void acquire([[maybe_unused]] void* object) {
#if defined(COH_TSAN)
  __tsan_acquire(object);
#endif
}

COH_RUNTIME inline void release([[maybe_unused]] void* object) {
#if defined(COH_TSAN)
  __tsan_release(object);
#endif
}

#if defined(COH_TSAN)
inline thread_local int* unseen_depth = nullptr;  // how many Unseen the running fiber has
#endif

// While it lives, ThreadSanitizer overlooks what the running fiber reads and writes: COH_RUNTIME does not reach into
// functions of the standard library.
struct Unseen {
#if defined(COH_TSAN)
  COH_RUNTIME Unseen() {
    AnnotateIgnoreReadsBegin("", 0);
    AnnotateIgnoreWritesBegin("", 0);
    ++*unseen_depth;
  }
  COH_RUNTIME ~Unseen() { end(); }
  COH_RUNTIME static void end() {
    --*unseen_depth;
    AnnotateIgnoreWritesEnd("", 0);
    AnnotateIgnoreReadsEnd("", 0);
  }
#else
  Unseen() {}
#endif
  Unseen(const Unseen&) = delete;
  Unseen& operator=(const Unseen&) = delete;
};

}  // namespace coh
