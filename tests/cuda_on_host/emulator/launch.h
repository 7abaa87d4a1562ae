// A kernel's launch: its blocks are spread over the workers, and it is over when the call returns.
#pragma once

#include <atomic>
#include <mutex>
#include <thread>
#include <tuple>
#include <utility>

#include "worker.h"

namespace coh {

#if defined(COH_ASAN)
inline void name_thread_in_report(const char*) {
  if (worker != nullptr && worker->running() != nullptr) {
    fprintf(stderr, "cuda_on_host: error in %s\n", worker->running());
  }
}
#endif

inline void check_launch(const Job& job) {
  const dim3 g = job.grid, b = job.block;
  const uint64_t threads = uint64_t{b.x} * b.y * b.z, blocks = uint64_t{g.x} * g.y * g.z;
  if (worker != nullptr) {
    throw error("cuda_on_host: kernel launched from a kernel");
  }
  if (threads == 0 || threads > Scheduler::kMost || b.z > 64 || blocks == 0 || g.x > 0x7fffffffu || g.y > 65535 ||
      g.z > 65535 || job.shared > options().shared) {
    char text[200];
    snprintf(text, sizeof text, "invalid launch configuration: grid %ux%ux%u, block %ux%ux%u, shared %zu", g.x, g.y,
             g.z, b.x, b.y, b.z, job.shared);
    throw error(text);
  }
}

inline void run(const Job& job) {
  check_launch(job);
#if defined(COH_ASAN)
  __asan_set_error_report_callback(&name_thread_in_report);
#endif
  const Options chosen = options();
  const uint64_t blocks = uint64_t{job.grid.x} * job.grid.y * job.grid.z;
#if defined(COH_TSAN)
  const uint64_t workers = 1;  // two would make every block a stranger to the next, and half of the races be missed
#else
  const uint64_t workers = static_cast<uint64_t>(chosen.workers);
#endif
  std::atomic<uint64_t> next{0};
  std::atomic<bool> stopped{false};
  std::mutex mutex;
  std::string failure;
  const auto work = [&](Worker& w) {
    w.begin(chosen);
    worker = &w;
    for (uint64_t i; !stopped && (i = next++) < blocks;) {
      w.run_block(job, chosen.order == Forward   ? i
                       : chosen.order == Reverse ? blocks - 1 - i
                                                 : (i + chosen.seed * 7919) % blocks);
      if (w.failed()) {
        const std::lock_guard<std::mutex> lock(mutex);
        failure = stopped ? failure : w.report();
        stopped = true;
      }
    }
    w.end();
    worker = nullptr;
  };
  std::vector<std::thread> others;
  for (uint64_t i = 1; i < workers && i < blocks; ++i) {
    others.emplace_back([&] { work(*std::make_unique<Worker>()); });
  }
  static thread_local Worker* const own = new Worker;  // for good: later launches run on its fibers
  work(*own);
  for (std::thread& t : others) {
    t.join();
  }
  if (stopped) {
    throw error("cuda_on_host: " + failure);
  }
}

template <class... P, class... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared, A&&... arguments) {
  struct Call {
    void (*kernel)(P...);
    std::tuple<P...> arguments;
  };
  const Call call{kernel, std::tuple<P...>(static_cast<P>(std::forward<A>(arguments))...)};
  const auto body = [](const void* context) {
    const Call* c = static_cast<const Call*>(context);
    std::apply(c->kernel, c->arguments);
  };
  run({grid, block, shared, body, &call});
}

}  // namespace coh
