#include "ops/filter_anchors.h"

#include "anchor_filter.h"
#include "core/threshold.h"
#include "cpu/runtime/level.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {
namespace {

inline constexpr int64_t kFilterGrain = 16384;  // anchors per task: a few microseconds

}  // namespace
}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL

namespace refinedet::cpu {

using namespace REFINEDET_CPU_LEVEL;

template <>
void kernel<kLevel>(const FilterAnchorsArgs& args, const ParallelFor& parallel) {
  dispatch_floating(args.dtype, [&]<class T>(Tag<T>) {
    const T* logits = static_cast<const T*>(args.logits);
    const Accumulate<T> threshold = ceil_to<Accumulate<T>>(filter_threshold(args.theta));
    const int64_t count = args.count;
    int64_t* index = args.index;
    int64_t* index_count = args.index_count;
    parallel(args.batch, kFilterGrain / max2<int64_t>(1, count) + 1, [=](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        int64_t* row = index + b * count;
        const int64_t kept = kept_anchors(logits + 2 * b * count, count, threshold, row);
        for (int64_t i = kept; i < count; ++i) {
          row[i] = -1;
        }
        index_count[b] = kept;
      }
    });
  });
}

template <>
void kernel<kLevel>(const FilterAnchorsMaskArgs& args, const ParallelFor& parallel) {
  dispatch_floating(args.dtype, [&]<class T>(Tag<T>) {
    const T* logits = static_cast<const T*>(args.logits);
    const Accumulate<T> threshold = ceil_to<Accumulate<T>>(filter_threshold(args.theta));
    uint8_t* mask = reinterpret_cast<uint8_t*>(args.mask);
    parallel(args.batch * args.count, kFilterGrain, [=](int64_t begin, int64_t end) {
      test_anchors(logits + 2 * begin, end - begin, threshold, mask + begin);
    });
  });
}

}  // namespace refinedet::cpu
