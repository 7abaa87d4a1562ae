// Who runs next: the threads of a block take turns on one operating-system thread, and change at barriers, at warp
// operations and, where the options say so, at atomics.
#pragma once

#include <pthread.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "thread.h"

namespace coh {

// Plain arrays: fibers use them, and a container's functions would be in ThreadSanitizer's sight.
class Scheduler {
 public:
  static constexpr unsigned kMost = 1024;  // threads of a block

  Scheduler();
  ~Scheduler() { drop_fibers(); }

  void use(const Options& options);
  const Options& options() const { return options_; }

  // Makes the block's threads anew; run() then runs them all, as far as they get.
  COH_RUNTIME void begin(dim3 block, uint64_t seed);
  COH_RUNTIME void run() { go(next()); }
  void abandon();  // after a failure: nobody returns to what is on the stacks

  unsigned count() const { return count_; }
  unsigned returned() const { return returned_; }
  bool failed() const { return failed_; }
  Thread* thread(unsigned i) { return &threads_[i]; }
  Thread* in_order(unsigned i) { return &threads_[order_[i]]; }
  Thread* current() { return current_->thread; }  // null outside a kernel

  // For fibers: takes the next thread that has not begun; and goes on when that one has returned.
  COH_RUNTIME Thread* start_thread();
  COH_RUNTIME void end_thread(Thread* thread);
  COH_RUNTIME void leave_fiber();

  COH_RUNTIME void wait(Thread* thread) {
    thread->state = State::waiting;
    go(next());
  }
  COH_RUNTIME void make_ready(Thread* thread) {
    thread->state = State::ready;
    ready_[(ready_first_ + ready_count_++) % kMost] = thread;
  }
  COH_RUNTIME void maybe_yield();

  // Stops the block. The thread's stack is abandoned, so that nothing on it may own memory.
  [[noreturn]] COH_RUNTIME __attribute__((format(printf, 2, 3))) void fail(const char* format, ...);
  void note_failure(const char* format, const char* detail);
  const char* where(const Thread* thread);
  std::string report() const;  // of the failure, and of who waits where

 private:
  COH_RUNTIME uint64_t random();
  COH_RUNTIME void go(Fiber* to);
  COH_RUNTIME Fiber* next();
  COH_RUNTIME void swap_first_ready(unsigned i);
  COH_RUNTIME Fiber* unused_fiber();
  void drop_fibers();

  Options options_;
  uint64_t random_ = 1;
  Thread threads_[kMost];
  uint16_t order_[kMost];
  unsigned count_ = 0, started_ = 0, returned_ = 0;
  Thread* ready_[kMost];
  unsigned ready_first_ = 0, ready_count_ = 0;
  Fiber main_, *current_ = &main_;
  Fiber *fibers_[2 * kMost], *unused_[2 * kMost];
  unsigned fiber_count_ = 0, unused_count_ = 0, set_ = 0;
  bool failed_ = false;
  char failure_[600], where_[100];
};

inline Scheduler::Scheduler() {
  pthread_attr_t attributes;
  void* low;
  pthread_getattr_np(pthread_self(), &attributes);
  pthread_attr_getstack(&attributes, &low, &main_.size);
  pthread_attr_destroy(&attributes);
  main_.low = static_cast<char*>(low);
}

inline void Scheduler::use(const Options& options) {
  if (options.stack != options_.stack) {
    drop_fibers();
  }
  options_ = options;
  failed_ = false;
#if defined(COH_TSAN)
  main_.identity = __tsan_get_current_fiber();
  unseen_depth = &main_.unseen;
#endif
}

inline void Scheduler::drop_fibers() {
  for (unsigned i = 0; i < fiber_count_; ++i) {
    delete_fiber(fibers_[i]);
  }
  fiber_count_ = unused_count_ = 0;
}

inline void Scheduler::begin(dim3 block, uint64_t seed) {
  count_ = block.x * block.y * block.z;
  started_ = returned_ = ready_first_ = ready_count_ = 0;
  random_ = seed | 1;
  for (int i = 0; i < 4; ++i) {
    random();
  }
  for (unsigned i = 0; i < count_; ++i) {
    Thread& t = threads_[i];
    t = Thread{};
    t.index = {i % block.x, i / block.x % block.y, i / block.x / block.y};
    t.number = i;
    order_[i] = static_cast<uint16_t>(options_.order == Reverse ? count_ - 1 - i : i);
  }
  for (unsigned i = count_; options_.order == Random && i > 1; --i) {
    const unsigned k = static_cast<unsigned>(random() % i);
    const uint16_t other = order_[k];
    order_[k] = order_[i - 1];
    order_[i - 1] = other;
  }
#if defined(COH_TSAN)
  // An identity for every thread of the block, made here so that no thread comes before another. Two sets take turns:
  // then one block does not come before the next either, and races between blocks show (between such that use
  // different sets).
  while (fiber_count_ < 2 * count_) {
    fibers_[fiber_count_++] = new_fiber(options_.stack);
  }
  set_ ^= 1;
  for (unused_count_ = 0; unused_count_ < count_; ++unused_count_) {
    unused_[unused_count_] = fibers_[set_ * count_ + unused_count_];
  }
#endif
}

inline void Scheduler::abandon() {
  for (unused_count_ = 0; unused_count_ < fiber_count_; ++unused_count_) {
    restart_fiber(*fibers_[unused_count_]);
    unused_[unused_count_] = fibers_[unused_count_];
  }
#if defined(COH_TSAN)
  acquire(&fibers_end);
#endif
}

inline uint64_t Scheduler::random() {
  random_ ^= random_ << 13;
  random_ ^= random_ >> 7;
  random_ ^= random_ << 17;
  return random_;
}

inline Thread* Scheduler::start_thread() {
  Thread* const t = &threads_[order_[started_++]];
  t->fiber = current_;
  t->state = State::running;
  current_->thread = t;
  threadIdx = t->index;
  return t;
}

inline void Scheduler::end_thread(Thread* thread) {
  thread->state = State::returned;
  ++returned_;
  current_->thread = nullptr;
  if (failed_) {
    go(&main_);
  }
}

inline void Scheduler::leave_fiber() {
  Fiber* const self = current_;
#if !defined(COH_TSAN)  // where no thread takes over another's identity
  unused_[unused_count_++] = self;
#endif
  Fiber* const to = next();
  if (to != self) {
    go(to);
  }
}

inline void Scheduler::go(Fiber* to) {
  Fiber* const from = current_;
  if (to == from) {
    return;
  }
  current_ = to;
  if (to->thread != nullptr) {
    threadIdx = to->thread->index;
    to->thread->state = State::running;
  }
  switch_fiber(*from, *to);
}

inline void Scheduler::swap_first_ready(unsigned i) {
  Thread*& other = ready_[(ready_first_ + i) % kMost];
  Thread* const t = other;
  other = ready_[ready_first_];
  ready_[ready_first_] = t;
}

// The main context when nobody can run.
inline Fiber* Scheduler::next() {
  bool fresh = started_ < count_;
  if (ready_count_ > 0 && options_.order == Random) {
    const unsigned choice = static_cast<unsigned>(random() % (ready_count_ + (count_ - started_)));
    if (choice < ready_count_) {
      swap_first_ready(choice);
      fresh = false;
    }
  } else if (ready_count_ > 0) {
    if (options_.order == Reverse) {
      swap_first_ready(ready_count_ - 1);
    }
    fresh = false;
  }
  if (fresh) {
    return unused_fiber();
  }
  if (ready_count_ == 0) {
    return &main_;
  }
  Thread* const t = ready_[ready_first_];
  ready_first_ = (ready_first_ + 1) % kMost;
  --ready_count_;
  return t->fiber;
}

inline Fiber* Scheduler::unused_fiber() {
  if (unused_count_ > 0) {
    return unused_[--unused_count_];
  }
  const Unseen unseen;
  return fibers_[fiber_count_++] = new_fiber(options_.stack);
}

inline void Scheduler::maybe_yield() {
  Thread* const t = current_->thread;
  if (t == nullptr || options_.yield_percent == 0) {
    return;
  }
  const Unseen unseen;
  if (random() % 100 < static_cast<unsigned>(options_.yield_percent)) {
    make_ready(t);
    go(next());
    t->state = State::running;
  }
}

}  // namespace coh
