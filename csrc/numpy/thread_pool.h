// The NumPy module's own threads, started at the first work that is worth them.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "core/parallel.h"

namespace refinedet::numpy {

class ThreadPool {
 public:
  static ThreadPool& instance();

  // Threads that share a call, the caller's among them; takes effect with the next call.
  void set_threads(int64_t threads);
  int64_t threads() const { return threads_.load(); }

  ParallelFor parallel_for();

  ~ThreadPool();

 private:
  ThreadPool();
  void run(int64_t n, int64_t grain, ParallelFor::Body body, void* context);
  void work(uint64_t seen);  // waits for the call after number `seen`
  void take_chunks();
  void start(int64_t threads);  // or as many as can be had
  void stop();

  std::atomic<int64_t> threads_;
  std::mutex call_mutex_;  // one call at a time; others run alone on their own thread
  std::mutex mutex_;
  std::condition_variable start_, done_;
  std::vector<std::thread> workers_;
  int64_t started_for_ = 0;  // threads that were asked for when the workers were started
  bool stopping_ = false;
  uint64_t call_ = 0;
  int64_t busy_ = 0;

  int64_t n_ = 0, chunk_ = 0;
  std::atomic<int64_t> next_{0};
  ParallelFor::Body body_ = nullptr;
  void* context_ = nullptr;
};

}  // namespace refinedet::numpy
