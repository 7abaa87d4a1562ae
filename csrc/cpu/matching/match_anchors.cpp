#include "ops/match_anchors.h"

#include "anchor_tile.h"
#include "cpu/runtime/buffer.h"
#include "cpu/runtime/level.h"
#include "force_match.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {
namespace {

// The ground truths of all images as objects: those of image b start at gt_offsets[b], the ones to match first, the
// ignored (crowd) ones after them.
struct Objects {
  Buffer<Object> all;
  Buffer<int64_t> to_match;  // how many of each image

  explicit Objects(const MatchAnchorsArgs& args) : all(args.gt_count), to_match(args.batch) {
    dispatch_floating(args.gt_dtype, [&]<class T>(Tag<T>) {
      const T* boxes = static_cast<const T*>(args.gt_boxes);
      for (int64_t b = 0; b < args.batch; ++b) {
        int64_t front = args.gt_offsets[b], back = args.gt_offsets[b + 1];
        for (int64_t row = front, end = back; row < end; ++row) {
          const bool ignored = args.gt_ignore != nullptr && args.gt_ignore[row];
          const Box<float> box = load_float_box(boxes + 4 * row);
          all[ignored ? --back : front++] = {box, area(box), row, args.gt_labels[row]};
        }
        to_match[b] = front - args.gt_offsets[b];
      }
    });
  }
};

// The best overlap of each anchor of a tile and the object that it is with, the lowest among equals.
struct BestObjects {
  alignas(64) float iou[kTile];
  alignas(64) int32_t object[kTile];
};

// Raises *key to `candidate`, by whichever thread.
REFINEDET_HD void raise(uint64_t* key, uint64_t candidate) {
  uint64_t current = __atomic_load_n(key, __ATOMIC_RELAXED);
  while (current < candidate &&
         !__atomic_compare_exchange_n(key, &current, candidate, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
}

// Overlaps of a tile, whose first anchor has the number `start`, with the objects of an image. `keys` gets the best
// anchor of each object where that is better than what is there.
void overlap_tile(const AnchorTile& __restrict tile, int64_t start, const Object* objects, int64_t count,
                  uint64_t* keys, BestObjects& __restrict best) {
  for (int64_t i = 0; i < kTile; ++i) {
    best.iou[i] = 0.0f;
    best.object[i] = 0;
  }
  for (int64_t g = 0; g < count; ++g) {
    const Box<float> box = objects[g].box;
    const float box_area = objects[g].area;
    const int32_t object = static_cast<int32_t>(g);
    uint64_t blocks = reachable_blocks(tile.bounds, box);
    if (blocks == 0) {
      continue;
    }
    alignas(64) float top[kBlock] = {};         // the best overlap of the object in each lane of the blocks,
    alignas(64) int32_t block_of[kBlock] = {};  // and the first block that has it
    for (; blocks != 0; blocks &= blocks - 1) {
      const int32_t block = __builtin_ctzll(blocks);
      const int64_t at = block * kBlock;
      for (int64_t i = 0; i < kBlock; ++i) {
        const float overlap = iou(tile.box(at + i), tile.area[at + i], box, box_area);
        // masks, because a choice between an old and a new value becomes a branch where stores cannot be masked
        const int32_t better = -static_cast<int32_t>(overlap > best.iou[at + i]);
        const int32_t higher = -static_cast<int32_t>(overlap > top[i]);
        best.object[at + i] ^= (best.object[at + i] ^ object) & better;
        block_of[i] ^= (block_of[i] ^ block) & higher;
        best.iou[at + i] = max2(overlap, best.iou[at + i]);
        top[i] = max2(overlap, top[i]);
      }
    }
    const float peak = reduce_block(top, [](float a, float b) { return max2(a, b); });
    if (peak > kForceMinIou) {
      int64_t anchor = kTile;
      for (int64_t i = 0; i < kBlock; ++i) {
        anchor = top[i] == peak ? min2(anchor, block_of[i] * kBlock + i) : anchor;
      }
      raise(keys + g, match_key(peak, start + anchor));
    }
  }
}

// Labels, rows and overlaps of `count` anchors by the thresholds alone.
void label_tile(const AnchorTile& tile, int64_t count, const BestObjects& best, const Object* objects,
                int64_t object_count, int64_t crowd_count, const MatchLimits& limit, int64_t* __restrict labels,
                int64_t* __restrict gt_index, float* __restrict out_iou) {
  for (int64_t i = 0; i < count; ++i) {
    out_iou[i] = best.iou[i];
    labels[i] = limit.unmatched(best.iou[i]);
    gt_index[i] = -1;
  }
  for (int64_t c = 0; c < crowd_count; ++c) {
    const Box<float> crowd = objects[object_count + c].box;
    for (uint64_t blocks = reachable_blocks(tile.bounds, crowd); blocks != 0; blocks &= blocks - 1) {
      const int64_t first = __builtin_ctzll(blocks) * kBlock;
      for (int64_t i = first; i < min2(first + kBlock, count); ++i) {
        labels[i] = limit.inside(tile.box(i), tile.area[i], crowd) ? -1 : labels[i];
      }
    }
  }
  if (object_count == 0) {
    return;
  }
  for (int64_t first = 0; first < count; first += kBlock) {
    if (limit.positive(reduce_block(best.iou + first, [](float a, float b) { return max2(a, b); }))) {
      for (int64_t i = first; i < min2(first + kBlock, count); ++i) {
        if (limit.positive(best.iou[i])) {
          labels[i] = objects[best.object[i]].label;
          gt_index[i] = objects[best.object[i]].row;
        }
      }
    }
  }
}

template <class T>
void match(const MatchAnchorsArgs& args, const ParallelFor& parallel) {
  const T* anchors = static_cast<const T*>(args.anchors);
  const int64_t anchor_count = args.anchor_count, batch = args.batch;
  const int64_t tiles = (anchor_count + kTile - 1) / kTile;
  const bool shared = args.shared;
  const MatchLimits limit(args.positive_iou, args.negative_iou, args.ignore_iof);
  const Objects objects(args);
  Buffer<uint64_t> best(args.gt_count);
  for (uint64_t& key : best) {
    key = 0;
  }
  const bool bipartite = args.force == ForceMatch::bipartite;
  Buffer<TileBounds> bounds(bipartite ? tiles * (shared ? 1 : batch) : 0);
  Buffer<Claim> heap(bipartite ? args.gt_count : 0);
  Buffer<Reserve> reserves(bipartite ? args.gt_count : 0);

  // the images of a tile of shared anchors follow each other, so that it is loaded once for all of them
  constexpr int64_t kGrain = 4;  // about 10 us
  parallel(tiles * batch, kGrain, [&](int64_t begin, int64_t end) {
    AnchorTile tile;
    BestObjects found;
    int64_t loaded = -1;
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t t = unit / batch, b = unit % batch;
      const int64_t start = t * kTile, count = min2(kTile, anchor_count - start);
      if (!shared || loaded != t) {
        load_tile(anchors + 4 * ((shared ? 0 : b * anchor_count) + start), count, tile);
        loaded = t;
      }
      if (bipartite && (!shared || b == 0)) {
        bounds[shared ? t : b * tiles + t] = tile.bounds;
      }
      const int64_t first = args.gt_offsets[b], to_match = objects.to_match[b], out = b * anchor_count + start;
      overlap_tile(tile, start, objects.all.data() + first, to_match, best.data() + first, found);
      label_tile(tile, count, found, objects.all.data() + first, to_match, args.gt_offsets[b + 1] - first - to_match,
                 limit, args.labels + out, args.gt_index + out, args.iou + out);
    }
  });
  if (args.force == ForceMatch::none) {
    return;
  }
  const int64_t grain = 1 + 256 * batch / (args.gt_count + 1);  // images with some 256 objects together
  parallel(batch, grain, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const int64_t first = args.gt_offsets[b];
      const ImageMatch<T> image = {anchors + (shared ? 0 : 4 * b * anchor_count),
                                   anchor_count,
                                   bounds.data() + (shared ? 0 : b * tiles),
                                   objects.all.data() + first,
                                   objects.to_match[b],
                                   best.data() + first,
                                   args.labels + b * anchor_count,
                                   args.gt_index + b * anchor_count};
      if (bipartite) {
        match_bipartite(image, heap.data() + first, reserves.data() + first);
      } else {
        match_argmax(image);
      }
    }
  });
}

}  // namespace
}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL

namespace refinedet::cpu {

using namespace REFINEDET_CPU_LEVEL;

template <>
void kernel<kLevel>(const MatchAnchorsArgs& args, const ParallelFor& parallel) {
  dispatch_floating(args.anchor_dtype, [&]<class T>(Tag<T>) { match<T>(args, parallel); });
}

}  // namespace refinedet::cpu
