"""Faults that no pattern finds, and what patterns find that is none."""

from __future__ import annotations

from typing import NamedTuple


class Damage(NamedTuple):
    """`old`, which stands once in the file, becomes `new`."""

    file: str  # in csrc/cuda
    old: str
    new: str
    what: str


class Harmless(NamedTuple):
    """What the patterns find in lines in which `line` begins, of which they say something that begins with `what`."""

    file: str
    line: str
    what: str
    reason: str


BY_HAND = [
    Damage(
        "boxes/map_rows.h", "= aligned ? map_rows_kernel", "= true ? map_rows_kernel", "the rows' alignment unasked"
    ),
    Damage("boxes/map_rows.h", "row % arrays.period", "row", "shared anchors not repeated"),
    # deconv_sum
    Damage("features/deconv_maps.cu", "x + 1 < tile.out_width ? n : 0", "n", "the right taps are not cropped"),
    Damage("features/deconv_maps.cu", "y + 1 < tile.out_height ? n : 0", "n", "the lower taps are not cropped"),
    Damage(
        "features/deconv_maps.cu", "maps_aligned = maps_aligned && is_aligned(p, 16)", "", "the maps' alignment unasked"
    ),
    Damage("features/deconv_maps.cu", "tile.first_line % tile.in_height + y", "y", "a tile's first line forgotten"),
    Damage("features/deconv_bias.cu", "min2(begin + kSegment, pixels)", "(begin + kSegment)", "a segment too long"),
    # its product on tensor cores
    Damage(
        "features/deconv_product.cu",
        "wait_for_copies<Tile::kStages - 2>()",
        "wait_for_copies<Tile::kStages - 1>()",
        "a chunk too few waited for",
    ),
    Damage("features/deconv_product.cu", "chunks >= Tile::kStages &&", "", "chunks kept that are fewer than stages"),
    Damage("features/deconv_product.cu", "column == 0 || load_tile", "load_tile", "the next row's input not loaded"),
    Damage("features/deconv_product.cu", "i < Tile::kStages - 1;", "i < Tile::kStages;", "a chunk too many ahead"),
    Damage(
        "features/deconv_product.cu",
        "stage + 1 == Tile::kStages ? 0",
        "false ? 0",
        "the stages never begin again",
    ),
    Damage("features/deconv_product.cu", "depth + line < maps.in_channels &&", "", "weights below the last channel"),
    Damage("features/deconv_product.cu", "(blockIdx.x * tiles / gridDim.x)", "(0)", "all blocks begin at tile 0"),
    Damage("features/deconv_product.cu", "++load_tile;", "", "the same tile loaded again and again"),
    Damage("features/deconv_places.h", "(2 * x + 1 < out_width ? kRight : 0)", "kRight", "right taps not cropped"),
    Damage("features/deconv_places.h", "(2 * y + 1 < out_height ? kBelow : 0)", "kBelow", "lower taps not cropped"),
    Damage("features/deconv_places.h", "(pixel < pixels ? kInside : 0)", "kInside", "pixels behind the last written"),
    Damage("features/deconv_places.h", "(threadIdx.x & partner) != 0", "(threadIdx.x & 2) != 0", "a wrong partner"),
    Damage("features/deconv_places.h", "swap_pairs<4>", "swap_pairs<2>", "the partner two lanes on, not four"),
    Damage(
        "features/deconv_places.h",
        "pixel < pixels && channel < in_channels};\n  }\n\n  // `row`",
        "true};\n  }\n\n  //",
        "pixels and channels behind the last read",
    ),
    Damage("primitives/product_tile.h", "row >> 1 & 3", "row & 3", "pieces swapped by another row's number (banks)"),
    Damage("primitives/product_tile.h", "lane % 8 + lane / 16 * 8", "lane % 16", "ldmatrix: lanes 8 to 23 swapped"),
    Damage(
        "primitives/product_tile.h", "2 * product + lane / 16", "2 * product", "the second half of the depth unread"
    ),
    Damage(
        "primitives/product_tile.h",
        "lane / 4;\n      GPU_UNROLL\n      for (int i = 0; i < 4; ++i) {\n        words",
        "lane / 8;\n      GPU_UNROLL\n      for (int i = 0; i < 4; ++i) {\n        words",
        "a float column of a wrong lane",
    ),
    Damage("primitives/product_tile.h", "      round_fragment<T>(words);\n", "", "floats not rounded to TF32"),
    # deform_align
    Damage("features/deform_columns.cu", "samples[two ? s + step : s]", "samples[s]", "the first of two samples twice"),
    Damage(
        "features/deform_columns.cu",
        "const bool two = s + step < count;",
        "const bool two = true;",
        "a second sample behind the last",
    ),
    Damage(
        "features/deform_columns.cu",
        "dim3 blocks(static_cast<unsigned>(divide_up(split.total, split.samples)))",
        "dim3 blocks(static_cast<unsigned>(split.total / split.samples))",
        "the last, partial block missing",
    ),
    Damage(
        "features/deform_columns.cu",
        "(begin + per_row - 1) / per_row",
        "begin / per_row",
        "a row begun in the block before starts again",
    ),
    # bipartite matching
    Damage(
        "matching/match_alike.h",
        "pair != 0 && alike.group_of[anchor_of(pair)] == static_cast<uint32_t>(group) ? 0 : pair",
        "pair",
        "pairs of the group's own objects stand in its way",
    ),
    Damage(
        "matching/match_alike.h", "of_group.size + equals", "of_group.size", "anchors with equal overlaps not chosen"
    ),
    Damage(
        "matching/match_alike.h",
        "i < chosen ? ~alike.chosen[i] : 0",
        "~alike.chosen[i]",
        "objects without an anchor keep a key",
    ),
    Damage("matching/match_alike.h", "i % kSize + before", "i % kSize", "the sorted tiles not merged"),
    Damage("matching/match_search.h", "key > best[j].third && ", "", "keys below the third best kept"),
    Damage("matching/match_search.h", "min2(found, Reserve::kSize)", "found", "a reserve longer than its room"),
    Damage(
        "matching/match_search.h",
        "reserve.more || found > Reserve::kSize",
        "reserve.more",
        "a full reserve forgets that there are more",
    ),
    # large classes and groups
    Damage("nms/settle_large.h", "min2(kept, begin + kKeptPiece)", "kept", "a piece of kept boxes too long"),
    Damage(
        "nms/settle_large.h", "first + piece % columns * kNmsThreads", "first", "rows tested by their first piece only"
    ),
    Damage("nms/settle_large.h", "          state.kept_after(turn)[number] = now;\n", "", "what was kept is forgotten"),
    Damage("nms/settle_large.h", "piece < pieces;", "piece < pieces - 1;", "the last piece of work missing"),
    Damage("nms/settle_large.h", "turn < turns;", "turn < turns - 1;", "a launch less"),
    Damage(
        "nms/large_classes.cu", "mine += item <= last ? 1 : 0", "mine += 1", "items behind the image's last counted"
    ),
    Damage("nms/large_classes.cu", "begin + i % kTile + before", "begin + i % kTile", "the sorted tiles not merged"),
    # losses
    Damage(
        "losses/row_tile.h",
        "__ffs(static_cast<int>(left)) - 1;  // -1 behind",
        "__ffs(static_cast<int>(left));  // behind",
        "rows of a wrong lane",
    ),
    Damage("losses/row_tile.h", "      staged_ = -1;\n", "", "a written tile taken for the staged one"),
    Damage(
        "losses/row_tile.h",
        "min2(columns_ - first, int64_t{kColumns})",
        "min2(columns_, int64_t{kColumns})",
        "the last part of a row too long",
    ),
    # sorted tiles
    Damage(
        "primitives/sorted_tiles.h",
        "gap > kWarp || (gap == 1 && run > kWarp)",
        "gap > kWarp",
        "no barrier before the next, longer run",
    ),
    Damage("primitives/sorted_tiles.h", "bound_of(tile < own)", "bound_of(tile > own)", "before and after swapped"),
    Damage("primitives/sorted_tiles.h", "if (tile != own)", "if (true)", "a word's own tile counted"),
    Damage("primitives/sorted_tiles.h", "min2(size, count - tile * size)", "size", "the last tile read behind its end"),
]

HARMLESS = [
    # primitives
    Harmless("primitives/block.h", "for (int step = 1;", "one step", "no lane of a warp has one so far below it"),
    Harmless("primitives/block_sort.h", "if (step >= kWarp)", "guard", "shared memory serves within a warp, too"),
    Harmless("primitives/sorted_tiles.h", "if (gap > kWarp ||", "guard", "a block's barrier is a warp's, too"),
    # nms
    Harmless("nms/batched_nms.cu", "for (slot_bits = 1;", "one step", "the hash table is larger than it need be"),
    Harmless("nms/batched_nms.cu", "if (memory.slot_bits > 0)", "guard", "a sort by no bits, which nobody reads"),
    Harmless("nms/batched_nms.cu", "if (n > plan.alone)", "guard", "no group is large: the launches end at once"),
    Harmless("nms/detect.cu", "first < columns;", "one step", "zeros are added behind the last class"),
    Harmless("nms/detect.cu", "first < scan.columns;", "one step", "a round without classes"),
    Harmless("nms/detect.cu", "if (list.room < args.anchors", "guard", "the list holds all: nobody reads the softmax"),
    Harmless(
        "nms/greedy_nms.h", "kept < limit;", "one step", "what is kept beyond the limit is worse than what goes out"
    ),
    Harmless("nms/settle_large.h", "if (kept > 0)", "guard", "tests against no boxes"),
    Harmless("nms/settle_large.h", "turn < turns;", "one step", "a launch that finds no boxes"),
    Harmless("nms/soft_nms.h", "count < rules.limit;", "one step", "a pick more than goes out is worse than those"),
    Harmless("nms/suppress_block.h", "turn * kWarp < n;", "one step", "a turn without candidates"),
    Harmless("nms/suppress_classes.cu", "c < job.classes;", "one step", "a round without classes"),
    Harmless("nms/suppress_classes.cu", "first < picked;", "one step", "a round without picks"),
    Harmless("nms/suppress_classes.cu", "picked < rules.limit;", "one step", "a pick more is worse than what goes out"),
    Harmless("nms/suppress_classes.cu", "if (job.top_k_per_class < job.anchors)", "guard", "no class has more"),
    Harmless("nms/suppress_classes.cu", "if (job.top_k < groups.room)", "guard", "all are found to be among the best"),
    Harmless("nms/suppress_images.cu", "if (found > limit)", "guard", "all are selected"),
    Harmless("nms/suppress_images.cu", "if (job.anchors * job.classes >", "guard", "the blocks more end at once"),
    # matching
    Harmless("matching/force_match.cu", "if (groups < 0 &&", "guard", "groups are looked for in every round"),
    Harmless("matching/force_match.cu", "i < searches; i += kSearchTogether", "one step", "a search for no object"),
    Harmless("matching/match_alike.h", "first < g && (", "one step", "an object is like itself"),
    Harmless("matching/match_alike.h", "if (alike.sizes[g] >= kLeast", "guard", "a single object can be a group, too"),
    Harmless(
        "matching/match_alike.h", "start < count; start += kSearchThreads)", "one step", "a round without objects"
    ),
    Harmless("matching/match_alike.h", "first < count; first += kSize", "one step", "a tile without words"),
    Harmless("matching/match_alike.h", "start < count; start += kSearchThreads /", "one step", "a round without words"),
    Harmless("matching/match_anchors.cu", "row < last;", "one step", "a round without objects"),
    Harmless("matching/match_search.h", "start < anchors.count;", "one step", "a round without anchors"),
    Harmless(
        "matching/match_search.h", "k < found &&", "one step", "a rank beyond the last is none, as the last one is"
    ),
    Harmless("matching/match_search.h", "if (any ||", "guard", "the object proposes in vain, and goes on after that"),
    # losses
    Harmless("losses/mine_hard_negatives.cu", "start < count;", "one step", "a round without anchors"),
    Harmless("losses/mine_hard_negatives.cu", "start < end;", "one step", "a round without anchors"),
    Harmless("losses/mine_hard_negatives.cu", "if (d > 0)", "guard", "the first digit is counted anew"),
    Harmless(
        "losses/mine_hard_negatives.cu", "d < Digits<R>::kCount;", "one step", "tie_kernel finds the same digit again"
    ),
    Harmless("losses/mined_cross_entropy.cu", "if (i < total)", "guard", "a warp's losses end in the array's padding"),
    Harmless("losses/row_tile.h", "first < columns_;", "one step", "a part without columns"),
    # features
    Harmless("features/deconv_product.cu", "if (large >= multi", "guard", "large tiles are only slow for small maps"),
    Harmless("features/deconv_product.cu", "if (load_tile < last)", "guard", "chunks come in that nobody multiplies"),
    Harmless("features/deform_align.cu", "image < shape_.batch;", "one step", "a step without images"),
    Harmless("features/deform_grads.cu", "begin < count;", "one step", "a round without samples"),
    Harmless("features/pixel_planes.cu", "GPU_SHARED(", "shared array", "does not compile: functions ask for its size"),
]
