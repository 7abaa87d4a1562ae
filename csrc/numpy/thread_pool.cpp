#include "thread_pool.h"

#include <pthread.h>

#include <algorithm>
#include <new>
#include <system_error>

namespace refinedet::numpy {

ThreadPool& ThreadPool::instance() {
  // never destroyed: at process exit the workers may already be gone
  static ThreadPool* pool = new ThreadPool();
  return *pool;
}

ThreadPool::ThreadPool() : threads_(std::max<int64_t>(1, std::thread::hardware_concurrency())) {
  // a forked child has none of the workers: it forgets them and starts its own
  pthread_atfork([] { instance().call_mutex_.lock(), instance().mutex_.lock(); },
                 [] { instance().mutex_.unlock(), instance().call_mutex_.unlock(); },
                 [] {
                   ThreadPool& pool = instance();
                   new std::vector<std::thread>(std::move(pool.workers_));  // leaked: they cannot be joined here
                   pool.workers_.clear();
                   pool.busy_ = 0;
                   pool.started_for_ = 0;
                   new (&pool.start_) std::condition_variable();  // the parent's waiters are not ours
                   new (&pool.done_) std::condition_variable();
                   pool.mutex_.unlock();
                   pool.call_mutex_.unlock();
                 });
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::set_threads(int64_t threads) { threads_.store(std::max<int64_t>(1, threads)); }

ParallelFor ThreadPool::parallel_for() {
  const auto run = [](void* pool, int64_t n, int64_t grain, ParallelFor::Body body, void* context) {
    static_cast<ThreadPool*>(pool)->run(n, grain, body, context);
  };
  return {run, this, threads()};
}

void ThreadPool::run(int64_t n, int64_t grain, ParallelFor::Body body, void* context) {
  std::unique_lock<std::mutex> call(call_mutex_, std::try_to_lock);
  const int64_t threads = std::min(threads_.load(), (n + grain - 1) / std::max<int64_t>(1, grain));
  if (!call.owns_lock() || threads <= 1) {
    return body(context, 0, n);
  }
  if (started_for_ != threads_.load()) {
    start(threads_.load());
  }
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    n_ = n;
    chunk_ = std::max(grain, (n + threads - 1) / threads);
    next_.store(0);
    body_ = body;
    context_ = context;
    busy_ = static_cast<int64_t>(workers_.size());
    ++call_;
  }
  start_.notify_all();
  take_chunks();
  std::unique_lock<std::mutex> lock(mutex_);
  done_.wait(lock, [this] { return busy_ == 0; });
}

void ThreadPool::start(int64_t threads) {
  stop();
  started_for_ = threads;  // however many there will be: what the system has refused once is not asked for again
  try {
    for (int64_t i = 1; i < threads; ++i) {
      workers_.emplace_back([this, seen = call_] { work(seen); });
    }
  } catch (const std::system_error&) {  // it gives no more threads
  } catch (const std::bad_alloc&) {     // or no memory for them
  }
}

void ThreadPool::take_chunks() {
  for (;;) {
    const int64_t begin = next_.fetch_add(chunk_);
    if (begin >= n_) {
      return;
    }
    body_(context_, begin, std::min(n_, begin + chunk_));
  }
}

void ThreadPool::work(uint64_t seen) {
  for (;;) {
    {
      std::unique_lock<std::mutex> lock(mutex_);
      start_.wait(lock, [&] { return stopping_ || call_ != seen; });
      if (stopping_) {
        return;
      }
      seen = call_;
    }
    take_chunks();
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      --busy_;
    }
    done_.notify_one();
  }
}

void ThreadPool::stop() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  start_.notify_all();
  for (std::thread& worker : workers_) {
    worker.join();
  }
  workers_.clear();
  stopping_ = false;
}

}  // namespace refinedet::numpy
