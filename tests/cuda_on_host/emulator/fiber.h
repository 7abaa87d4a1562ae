// A stack for every CUDA thread of a block, and the switch from one to another.
#pragma once

#include <sys/mman.h>

#include <cstddef>

#include "options.h"

#if defined(__x86_64__) && !defined(COH_UCONTEXT)
#define COH_OWN_SWITCH 1  // ten times faster than ucontext's, which also asks the kernel for signal masks
#else
#include <ucontext.h>
#endif

namespace coh {

struct Thread;
void fiber_main();  // what a fiber does, in worker.h

struct Fiber {
#if defined(COH_OWN_SWITCH)
  void* stack_pointer = nullptr;  // while it does not run
#else
  ucontext_t context;
#endif
  char* mapping = nullptr;  // the stack and a page below it that nobody may touch
  size_t mapped = 0;
  char* low = nullptr;  // the stack
  size_t size = 0;
  Thread* thread = nullptr;    // whose body runs on it
  void* fake_stack = nullptr;  // AddressSanitizer's
  void* identity = nullptr;    // ThreadSanitizer's
  int unseen = 0;
};

#if defined(COH_TSAN)
inline constexpr unsigned kNoSynchronization = 1;
inline char fibers_end;

COH_RUNTIME inline void switch_identity(Fiber& to) {
  __tsan_switch_to_fiber(to.identity, kNoSynchronization);
  unseen_depth = &to.unseen;
}

// What the fiber did is ordered before what acquires its end.
COH_RUNTIME inline void drop_identity(Fiber& f) {
  if (f.identity == nullptr) {
    return;
  }
  void* const self = __tsan_get_current_fiber();
  int* const depth = unseen_depth;
  switch_identity(f);
  release(&fibers_end);
  while (f.unseen > 0) {  // it was abandoned in the emulator
    Unseen::end();
  }
  __tsan_switch_to_fiber(self, kNoSynchronization);
  unseen_depth = depth;
  __tsan_destroy_fiber(f.identity);
}
#endif

// Puts the fiber back to the beginning of fiber_main; whatever was on its stack is forgotten.
COH_RUNTIME inline void restart_fiber(Fiber& f) {
  f.thread = nullptr;
  f.fake_stack = nullptr;
#if defined(COH_ASAN)
  __asan_unpoison_memory_region(f.low, f.size);
#endif
#if defined(COH_TSAN)
  drop_identity(f);
  f.identity = __tsan_create_fiber(0);
#endif
#if defined(COH_OWN_SWITCH)
  void** top = reinterpret_cast<void**>(f.low + f.size);
  *--top = nullptr;  // where fiber_main's return address would be: so that its stack is aligned as after a call
  *--top = reinterpret_cast<void*>(&fiber_main);
  for (int saved_register = 0; saved_register < 6; ++saved_register) {
    *--top = nullptr;
  }
  f.stack_pointer = top;
#else
  getcontext(&f.context);
  f.context.uc_stack.ss_sp = f.low;
  f.context.uc_stack.ss_size = f.size;
  f.context.uc_link = nullptr;
  makecontext(&f.context, &fiber_main, 0);
#endif
}

COH_RUNTIME inline Fiber* new_fiber(size_t stack) {
  constexpr size_t kPage = 4096;
  Fiber* f = new Fiber;
  f->mapped = stack + kPage;
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  void* const memory = mmap(nullptr, f->mapped, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, kPage, PROT_NONE) != 0) {
    throw error("cuda_on_host: no memory for the stack of a CUDA thread");
  }
  f->mapping = static_cast<char*>(memory);
  f->low = f->mapping + kPage;
  f->size = stack;
  restart_fiber(*f);
  return f;
}

inline void delete_fiber(Fiber* f) {
#if defined(COH_TSAN)
  drop_identity(*f);
#endif
#if defined(COH_ASAN)
  __asan_unpoison_memory_region(f->low, f->size);
#endif
  munmap(f->mapping, f->mapped);
  delete f;
}

#if defined(COH_OWN_SWITCH)
#if defined(__clang__)
#define COH_OPAQUE
#else
#define COH_OPAQUE noipa,  // or GCC may conclude that a switch leaves memory, a block's shared variables, as it was
#endif
// Saves the registers that a call must preserve on this stack, and takes the others' from that one.
__attribute__((naked, noinline, COH_OPAQUE used, no_sanitize("thread", "address"))) static void swap_stacks(
    void** /*save*/, void* /*load*/) {
  asm volatile(
      "pushq %rbp\n\tpushq %rbx\n\tpushq %r12\n\tpushq %r13\n\tpushq %r14\n\tpushq %r15\n\t"
      "movq %rsp,(%rdi)\n\tmovq %rsi,%rsp\n\t"
      "popq %r15\n\tpopq %r14\n\tpopq %r13\n\tpopq %r12\n\tpopq %rbx\n\tpopq %rbp\n\tret");
}
#undef COH_OPAQUE
#endif

COH_RUNTIME inline void switch_fiber(Fiber& from, Fiber& to) {
#if defined(COH_ASAN)
  __sanitizer_start_switch_fiber(&from.fake_stack, to.low, to.size);
#endif
#if defined(COH_TSAN)
  switch_identity(to);
#endif
#if defined(COH_OWN_SWITCH)
  swap_stacks(&from.stack_pointer, to.stack_pointer);
#else
  swapcontext(&from.context, &to.context);
#endif
#if defined(COH_ASAN)
  __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#endif
}

}  // namespace coh
