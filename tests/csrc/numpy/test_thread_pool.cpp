// The NumPy module's threads: whatever asks for them, every piece of work is done once.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "../check.h"
#include "numpy/thread_pool.h"

namespace refinedet {
namespace {

using numpy::ThreadPool;

// Runs n items and says whether each was met exactly once, in ranges of at least `grain` but for the last.
bool every_item_once(int64_t n, int64_t grain) {
  const auto met = std::make_unique<std::atomic<int>[]>(static_cast<size_t>(n));
  std::atomic<bool> fits{true};
  ThreadPool::instance().parallel_for()(n, grain, [&](int64_t begin, int64_t end) {
    fits = fits && begin < end && end <= n && (end - begin >= grain || end == n);
    for (int64_t i = begin; i < end; ++i) {
      ++met[i];
    }
  });
  for (int64_t i = 0; i < n; ++i) {
    fits = fits && met[i] == 1;
  }
  return fits;
}

void test_every_item_once() {
  for (const int64_t threads : {1, 2, 3, 8}) {
    ThreadPool::instance().set_threads(threads);
    CHECK(ThreadPool::instance().threads() == threads);
    for (const int64_t n : {0, 1, 2, 7, 64, 100, 1000, 100003}) {
      for (const int64_t grain : {1, 3, 64, 5000, 1000000}) {
        CHECK(every_item_once(n, grain), "n = %ld, grain = %ld, %ld threads", n, grain, threads);
      }
    }
  }
}

void test_uses_its_threads() {
  ThreadPool::instance().set_threads(3);
  std::atomic<int> started{0};
  ThreadPool::instance().parallel_for()(3, 1, [&](int64_t, int64_t) {
    ++started;
    for (int i = 0; i < 20000 && started < 3; ++i) {  // two seconds for the others to come
      usleep(100);
    }
  });
  CHECK(started == 3, "%d of 3 threads came", started.load());
}

void test_set_threads_between_calls() {
  for (int i = 0; i < 200; ++i) {
    ThreadPool::instance().set_threads(1 + i % 5);
    CHECK(every_item_once(1000, 10), "call %d", i);
  }
  ThreadPool::instance().set_threads(0);
  CHECK(ThreadPool::instance().threads() == 1);
}

void test_concurrent_callers() {
  ThreadPool::instance().set_threads(3);
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([caller] {
      for (int i = 0; i < 300; ++i) {
        CHECK(every_item_once(500 + i, 7), "caller %d, call %d", caller, i);
        if (caller == 0 && i % 50 == 0) {
          ThreadPool::instance().set_threads(2 + i % 3);
        }
      }
    });
  }
  for (std::thread& caller : callers) {
    caller.join();
  }
}

// In a fork the pool's threads are gone; it must start its own. Returns whether the child could work.
bool child_can_work() {
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);  // a hang becomes a failure
    bool fits = true;
    for (int i = 0; i < 10; ++i) {
      fits = fits && every_item_once(10000, 10);
    }
    _exit(fits ? 0 : 1);
  }
  int status = -1;
  return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void test_fork() {
  ThreadPool::instance().set_threads(3);
  CHECK(every_item_once(10000, 10));
  CHECK(child_can_work());
  CHECK(every_item_once(10000, 10));  // the parent's threads are still there

  std::atomic<bool> stop{false};
  std::thread busy([&] {
    while (!stop) {
      CHECK(every_item_once(10000, 10));
    }
  });
  for (int i = 0; i < 20; ++i) {
    CHECK(child_can_work(), "fork %d while another thread works", i);
  }
  stop = true;
  busy.join();
}

}  // namespace
}  // namespace refinedet

int main() {
  using namespace refinedet;
  test_every_item_once();
  test_uses_its_threads();
  test_set_threads_between_calls();
  test_concurrent_callers();
  test_fork();
  return test::report();
}
