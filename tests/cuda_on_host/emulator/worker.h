// An operating-system thread that runs blocks, one after the other.
#pragma once

#include <memory>

#include "barrier.h"
#include "copies.h"
#include "report.h"
#include "shared_memory.h"
#include "warp.h"

namespace coh {

// A kernel's call.
struct Job {
  dim3 grid, block;
  size_t shared;
  void (*body)(const void*);
  const void* context;
};

class Worker {
 public:
  // Before a launch, and after its last block.
  void begin(const Options& options) { block_.use(options); }
  void end() { acquire(&all_returned_); }

  COH_RUNTIME void run_block(const Job& job, uint64_t number);
  COH_RUNTIME void run_thread();  // on a fiber

  bool failed() const { return block_.failed(); }
  std::string report() const { return block_.report(); }

  // What the running CUDA thread calls.
  COH_RUNTIME uint64_t barrier(Op op, bool predicate, Place place);
  COH_RUNTIME uint64_t warp_operation(Op op, unsigned mask, uint64_t value, int argument, Place place);
  // All lanes of the warp meet, and then what they brought is handed to `function`.
  COH_RUNTIME void together(Op op, WarpFunction function, void* mine, Place place);
  COH_RUNTIME Copies& copies() { return copies_[block_.current()->number]; }
  // Stops where `p` is not `bytes` of shared memory, aligned to as many.
  COH_RUNTIME void expect_shared(const void* p, size_t bytes, const char* what, Place place);
  COH_RUNTIME void* shared_array(const void* key, size_t size, size_t align) {
    return shared_.array(block_, key, size, align);
  }
  COH_RUNTIME void* dynamic_shared() const { return shared_.dynamic(); }
  COH_RUNTIME unsigned lane() { return block_.current()->lane(); }
  COH_RUNTIME void before_atomic(void* place) {
    block_.maybe_yield();
    block_.current()->fences.before_atomic(place);
  }
  COH_RUNTIME void after_atomic(void* place) { block_.current()->fences.after_atomic(place); }
  COH_RUNTIME void fence() { block_.current()->fences.fence(); }
  [[noreturn]] COH_RUNTIME void stop(const char* message, Place place);
  const char* running() { return block_.current() != nullptr ? block_.where(block_.current()) : nullptr; }

 private:
  static constexpr unsigned kWarps = Scheduler::kMost / 32;
  static constexpr size_t kSyncBytes = Barrier::kSyncBytes + kWarps * Warp::kSyncBytes;

  COH_RUNTIME Thread* arrive(Op op, unsigned mask, Place place);

  Scheduler block_;
  Barrier barrier_;
  Warp warps_[kWarps];
  SharedMemory shared_;
  Copies copies_[Scheduler::kMost];
  const Job* job_ = nullptr;
  std::unique_ptr<char[]> syncs_;  // only their addresses count
  char all_begin_ = 0, all_returned_ = 0;
};

// The worker of this operating-system thread; null outside a launch.
inline thread_local Worker* worker = nullptr;

COH_RUNTIME inline void fiber_main() {
#if defined(COH_ASAN)
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
  for (;;) {
    worker->run_thread();
  }
}

inline void Worker::run_thread() {
  Thread* t;
  {
    const Unseen unseen;
    t = block_.start_thread();
  }
  acquire(&all_begin_);
  try {
    job_->body(job_->context);
  } catch (const std::exception& e) {
    const Unseen unseen;
    block_.note_failure((std::string("exception in ") + block_.where(t) + ": %s").c_str(), e.what());
  }
  release(&all_returned_);
  {
    const Unseen unseen;
    block_.end_thread(t);
    barrier_.thread_returned(block_, t);
    warps_[t->number / 32].thread_returned(block_, t);
  }
  block_.leave_fiber();
}

inline void Worker::run_block(const Job& job, uint64_t number) {
  const Unseen unseen;
  job_ = &job;
  blockIdx = {static_cast<unsigned>(number % job.grid.x), static_cast<unsigned>(number / job.grid.x % job.grid.y),
              static_cast<unsigned>(number / job.grid.x / job.grid.y)};
  blockDim = job.block;
  gridDim = job.grid;
  block_.begin(job.block, block_.options().seed + 0x9E3779B97F4A7C15ull * (number + 1));
  shared_.begin(job.shared, block_.options().fill);
#if defined(COH_TSAN)
  syncs_ = nullptr;  // fresh addresses for every block: the last one's order nothing here
#endif
  if (syncs_ == nullptr) {
    syncs_ = std::make_unique<char[]>(kSyncBytes);
  }
  barrier_.begin(syncs_.get());
  for (unsigned first = 0; first < block_.count(); first += 32) {
    char* const syncs = syncs_.get() + Barrier::kSyncBytes + first / 32 * Warp::kSyncBytes;
    warps_[first / 32].begin(block_.thread(first), block_.count() - first, syncs);
  }
  for (unsigned i = 0; i < block_.count(); ++i) {
    copies_[i].begin();
  }
  release(&all_begin_);
  block_.run();
  if (!block_.failed() && block_.returned() != block_.count()) {
    char where[64];
    snprintf(where, sizeof where, "(%u,%u,%u)", blockIdx.x, blockIdx.y, blockIdx.z);
    block_.note_failure("deadlock in block %s", where);
  }
  if (block_.failed()) {
    block_.abandon();
  }
}

inline Thread* Worker::arrive(Op op, unsigned mask, Place place) {
  Thread* const t = block_.current();
  if (t == nullptr) {
    throw error(std::string(name_of(op)) + " outside a kernel, " + place.file + ":" + std::to_string(place.line));
  }
  t->op = op;
  t->mask = mask;
  t->place = place;
  return t;
}

inline uint64_t Worker::barrier(Op op, bool predicate, Place place) {
  const Unseen unseen;
  return barrier_.arrive(block_, arrive(op, ~0u, place), predicate);
}

inline uint64_t Worker::warp_operation(Op op, unsigned mask, uint64_t value, int argument, Place place) {
  const Unseen unseen;
  Thread* const t = arrive(op, mask, place);
  t->value = value;
  t->argument = argument;
  return warps_[t->number / 32].arrive(block_, t);
}

inline void Worker::together(Op op, WarpFunction function, void* mine, Place place) {
  const Unseen unseen;
  Thread* const t = arrive(op, ~0u, place);
  t->value = reinterpret_cast<uintptr_t>(mine);
  t->function = function;
  warps_[t->number / 32].arrive(block_, t);
}

inline void Worker::expect_shared(const void* p, size_t bytes, const char* what, Place place) {
  const Unseen unseen;
  if (!shared_.holds(p, bytes) || reinterpret_cast<uintptr_t>(p) % bytes != 0) {
    block_.fail("%s at %s:%d in %s: an address that is not in shared memory or not aligned to %zu bytes", what,
                place.file, place.line, block_.where(block_.current()), bytes);
  }
}

inline void Worker::stop(const char* message, Place place) {
  const Unseen unseen;
  block_.fail("GPU_CHECK at %s:%d in %s: %s", place.file, place.line, block_.where(block_.current()), message);
}

}  // namespace coh
