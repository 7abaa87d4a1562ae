// The forced matches of `match_anchors`: an anchor for every ground truth, whatever the thresholds say.
#pragma once

#include "anchor_tile.h"
#include "ops/match_anchors.h"

namespace refinedet::cpu::REFINEDET_CPU_LEVEL {

struct Object {
  Box<float> box;
  float area;
  int64_t row;  // of gt_boxes
  int64_t label;
};

// The best free anchors of an object, found when its best one turned out to be taken: enough of them that an object
// among many rivals seldom has to look again. Of objects with the same box the first that looks owns the reserve of
// all. One of them at a time claims the best anchor left; the others wait in turn.
struct Reserve {
  static constexpr int32_t kSize = 32;
  uint64_t keys[kSize];
  int32_t size, next;
  bool more;            // there may be further anchors after these
  int64_t owner;        // the object whose reserve is used, -1 while none has been needed
  int64_t after;        // of an object that waits: the one after it
  int64_t before;       // of an owner: the owner before it,
  int64_t active;       // the object that has a claim, -1 where none has,
  int64_t first, last;  // and those that wait, -1 where none does
  uint64_t won;         // the key of what the object got, 0 for nothing
};

struct Claim {
  uint64_t key;    // the object's best anchor; it may have been taken since
  int64_t object;  // within its image

  // Best pair first; ties: lower anchor, then lower object.
  bool operator<(const Claim& other) const { return key != other.key ? key < other.key : object > other.object; }
};

// What the matching of one image reads and writes.
template <class T>
struct ImageMatch {
  const T* anchors;
  int64_t anchor_count;
  const TileBounds* bounds;  // of each tile of the anchors; bipartite only
  const Object* objects;
  int64_t object_count;
  const uint64_t* best;  // (object_count,) key of each object's best anchor
  int64_t* labels;       // (anchor_count,)
  int64_t* gt_index;     // (anchor_count,)
};

// A taken anchor has -2 - object in gt_index until all are assigned, so that no set of them is needed.
REFINEDET_HD bool is_taken(const int64_t* gt_index, int64_t anchor) { return gt_index[anchor] < -1; }

template <class T>
REFINEDET_HD void assign(const ImageMatch<T>& image, int64_t object, int64_t anchor) {
  image.gt_index[anchor] = image.objects[object].row;
  image.labels[anchor] = image.objects[object].label;
}

// The best Reserve::kSize free anchors of an object, in order.
template <class T>
void refill(const ImageMatch<T>& image, const Object& object, Reserve& reserve) {
  reserve.size = reserve.next = 0;
  float least = kForceMinIou;  // what a further anchor must exceed: an equal one comes later and loses the tie
  const int64_t tiles = (image.anchor_count + kTile - 1) / kTile;
  for (int64_t tile = 0; tile < tiles; ++tile) {
    for (uint64_t blocks = reachable_blocks(image.bounds[tile], object.box); blocks != 0; blocks &= blocks - 1) {
      const int64_t first = tile * kTile + __builtin_ctzll(blocks) * kBlock;
      const int64_t count = min2(kBlock, image.anchor_count - first);
      float overlap[kBlock];
      for (int64_t i = 0; i < count; ++i) {
        const Box<float> box = load_float_box(image.anchors + 4 * (first + i));
        overlap[i] = iou(box, area(box), object.box, object.area);
      }
      for (int64_t i = 0; i < count; ++i) {
        if (overlap[i] > least && !is_taken(image.gt_index, first + i)) {
          const uint64_t key = match_key(overlap[i], first + i);
          int32_t at = reserve.size < Reserve::kSize ? reserve.size++ : Reserve::kSize - 1;
          for (; at > 0 && reserve.keys[at - 1] < key; --at) {
            reserve.keys[at] = reserve.keys[at - 1];
          }
          reserve.keys[at] = key;
          if (reserve.size == Reserve::kSize) {
            least = iou_of(reserve.keys[Reserve::kSize - 1]);
          }
        }
      }
    }
  }
  reserve.more = reserve.size == Reserve::kSize;
}

// The reserve that the object uses; `owners` is the last object that has one of its own, or -1.
template <class T>
REFINEDET_HD Reserve& reserve_of(const ImageMatch<T>& image, int64_t object, Reserve* reserves, int64_t& owners) {
  Reserve& own = reserves[object];
  if (own.owner < 0) {
    const Box<float> box = image.objects[object].box;
    int64_t owner = owners;
    for (; owner >= 0; owner = reserves[owner].before) {
      const Box<float> other = image.objects[owner].box;
      if ((box.x1 == other.x1) & (box.y1 == other.y1) & (box.x2 == other.x2) & (box.y2 == other.y2)) {
        break;
      }
    }
    own.owner = owner >= 0 ? owner : object;
    if (owner < 0) {
      own.size = own.next = 0;
      own.more = true;
      own.active = own.first = own.last = -1;
      own.before = owners;
      owners = object;
    }
  }
  return reserves[own.owner];
}

// The key of the object's best free anchor, 0 if there is none left.
template <class T>
REFINEDET_HD uint64_t next_free(const ImageMatch<T>& image, const Object& object, Reserve& reserve) {
  for (;;) {
    for (; reserve.next < reserve.size; ++reserve.next) {
      const uint64_t key = reserve.keys[reserve.next];
      if (!is_taken(image.gt_index, anchor_of(key))) {
        return key;
      }
    }
    if (!reserve.more) {
      return 0;
    }
    refill(image, object, reserve);
  }
}

// Moves the claim at `at` down to where it belongs in a heap with the best claim on top.
REFINEDET_HD void sift_down(Claim* heap, int64_t size, int64_t at) {
  const Claim moving = heap[at];
  for (int64_t child; (child = 2 * at + 1) < size; at = child) {
    child += child + 1 < size && heap[child] < heap[child + 1];
    if (!(moving < heap[child])) {
      break;
    }
    heap[at] = heap[child];
  }
  heap[at] = moving;
}

// Greedy over all pairs without their matrix: every object claims its best anchor; the best claim wins it, unless it
// is taken already, and only then the object looks for another. `heap` and `reserves` have room for each object.
template <class T>
void match_bipartite(const ImageMatch<T>& image, Claim* heap, Reserve* reserves) {
  int64_t size = 0, owners = -1;
  for (int64_t g = 0; g < image.object_count; ++g) {
    reserves[g].owner = -1;
    reserves[g].won = 0;
    if (image.best[g] != 0) {
      heap[size++] = {image.best[g], g};
    }
  }
  for (int64_t at = size / 2 - 1; at >= 0; --at) {
    sift_down(heap, size, at);
  }
  while (size > 0) {
    Claim& top = heap[0];
    const int64_t anchor = anchor_of(top.key), object = top.object;
    int64_t claimant = object;  // who claims the next anchor instead of the object; -1: no object does
    if (!is_taken(image.gt_index, anchor)) {
      image.gt_index[anchor] = -2 - object;
      reserves[object].won = top.key;
      claimant = -1;
      if (reserves[object].owner >= 0) {
        Reserve& shared = reserves[reserves[object].owner];
        claimant = shared.active = shared.first;
        shared.first = claimant < 0 ? -1 : reserves[claimant].after;
      }
    } else {
      Reserve& shared = reserve_of(image, object, reserves, owners);
      if (shared.active < 0 || shared.active == object) {
        shared.active = object;
      } else {  // the others' claims were the same, so that they come here in the order of the objects
        (shared.first < 0 ? shared.first : reserves[shared.last].after) = object;
        shared.last = object;
        reserves[object].after = -1;
        claimant = -1;
      }
    }
    if (claimant >= 0) {  // where nothing is left, nothing is for those that wait
      top = {next_free(image, image.objects[claimant], reserves[reserves[claimant].owner]), claimant};
    }
    if (claimant < 0 || top.key == 0) {
      top = heap[--size];
    }
    sift_down(heap, size, 0);
  }
  for (int64_t g = 0; g < image.object_count; ++g) {
    if (reserves[g].won != 0) {
      assign(image, g, anchor_of(reserves[g].won));
    }
  }
}

template <class T>
void match_argmax(const ImageMatch<T>& image) {
  for (int64_t g = 0; g < image.object_count; ++g) {
    if (image.best[g] != 0) {
      assign(image, g, anchor_of(image.best[g]));
    }
  }
}

}  // namespace refinedet::cpu::REFINEDET_CPU_LEVEL
