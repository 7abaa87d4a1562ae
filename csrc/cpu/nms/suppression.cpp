#include "suppression.h"

#include "cpu/runtime/buffer.h"
#include "hard_suppression.h"
#include "soft_suppression.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {
namespace {

constexpr int64_t kMaxParts = 64;      // tasks that share the counters
constexpr int64_t kAloneBelow = 4096;  // candidates that are not worth waking threads

// Calls f(part, i) for i in [0, n); a part's calls follow one another on one thread.
template <class F>
void deal(int64_t n, const ParallelFor& parallel, const F& f) {
  const int64_t parts = min2(min2(n, kMaxParts), parallel.threads());
  parallel(parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      for (int64_t i = part; i < n; i += parts) {
        f(part, i);
      }
    }
  });
}

// Chooses, suppresses and writes for the `open` images.
template <class W, class Image>
void run(Image* images, const int64_t* open, int64_t open_count, int64_t classes, const SuppressionSettings& settings,
         const Kept<W>& kept, uint32_t* counters, const ParallelFor& parallel) {
  const IouTest<W> test(settings.iou_threshold);
  const ParallelFor alone(nullptr, nullptr, 1);
  const auto choose = [&](int64_t part, int64_t i) {
    images[open[i]].choose(classes, settings, counters + part * Image::kCounters);
  };
  const auto write = [&](int64_t part, int64_t i) {
    const int64_t b = open[i], at = b * settings.keep_top_k;
    kept.counts[b] = images[b].write(classes, settings.keep_top_k, kept.scores + at, kept.labels + at, kept.rows + at,
                                     counters + part * Image::kCounters);
  };
  if (open_count >= 2 * parallel.threads()) {  // enough to keep the threads busy without cutting an image up
    deal(open_count, parallel, [&](int64_t part, int64_t i) {
      choose(part, i);
      for (int64_t c = 0; c < classes; ++c) {
        images[open[i]].suppress(c, settings, test, alone);
      }
      write(part, i);
    });
    return;
  }
  deal(open_count, parallel, choose);
  // a class of several chunks by all threads, the others dealt out to them
  const auto is_large = [&](const Image& image, int64_t c) {
    return Image::kSharesLarge && parallel.threads() > 1 && image.class_size(c) > 2 * kChunk;
  };
  for (int64_t i = 0; i < open_count * classes && parallel.threads() > 1; ++i) {
    Image& image = images[open[i / classes]];
    if (is_large(image, i % classes)) {
      image.suppress(i % classes, settings, test, parallel);
    }
  }
  deal(open_count * classes, parallel, [&](int64_t, int64_t i) {
    Image& image = images[open[i / classes]];
    if (!is_large(image, i % classes)) {
      image.suppress(i % classes, settings, test, alone);
    }
  });
  deal(open_count, parallel, write);
}

template <class W, class Image>
void suppress_images(const Candidates<W>* candidates, int64_t image_count, int64_t classes,
                     const SuppressionSettings& settings, const Kept<W>& kept, const ParallelFor& parallel) {
  Arena measured(nullptr);
  int64_t total = 0;
  for (int64_t b = 0; b < image_count; ++b) {
    Image(candidates[b], classes, settings, measured);
    total += candidates[b].count;
  }
  Buffer<char> memory(measured.used());
  Buffer<Image> images(image_count);
  Buffer<int64_t> open(image_count);
  Arena arena(memory.data());
  for (int64_t b = 0; b < image_count; ++b) {
    images[b] = Image(candidates[b], classes, settings, arena);
    open[b] = b;
  }
  const ParallelFor alone(nullptr, nullptr, 1);
  const ParallelFor& threads = total < kAloneBelow ? alone : parallel;
  Buffer<uint32_t> counters(min2(kMaxParts, threads.threads()) * Image::kCounters);
  for (int64_t left = image_count; left > 0;) {
    run(images.data(), open.data(), left, classes, settings, kept, counters.data(), threads);
    int64_t unsettled = 0;
    for (int64_t i = 0; i < left; ++i) {
      const int64_t b = open[i];
      if (!images[b].settled(kept.counts[b], settings)) {
        open[unsettled++] = b;
      }
    }
    left = unsettled;
  }
}

}  // namespace

template <class W>
void suppress(const Candidates<W>* candidates, int64_t image_count, int64_t classes,
              const SuppressionSettings& settings, const Kept<W>& kept, const ParallelFor& parallel) {
  if (settings.keep_top_k == 0) {
    for (int64_t b = 0; b < image_count; ++b) {
      kept.counts[b] = 0;
    }
  } else if (settings.method == SuppressionMethod::hard) {
    suppress_images<W, HardImage<W>>(candidates, image_count, classes, settings, kept, parallel);
  } else {
    suppress_images<W, SoftImage<W>>(candidates, image_count, classes, settings, kept, parallel);
  }
}

template void suppress<float>(const Candidates<float>*, int64_t, int64_t, const SuppressionSettings&,
                              const Kept<float>&, const ParallelFor&);
template void suppress<double>(const Candidates<double>*, int64_t, int64_t, const SuppressionSettings&,
                               const Kept<double>&, const ParallelFor&);

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
