// deconv_sum tile by tile: between the columns of a product and the maps.
#pragma once

#include "core/deconv_tile.h"
#include "core/parallel.h"

namespace refinedet::cpu {

// sums[j] += the sum of column j over the pixels.
struct DeconvColumnSumArgs {
  DType columns_dtype;
  const void* columns;  // (pixels, count)
  int64_t pixels, count;
  double* sums;
};

void deconv_scatter(const DeconvScatterArgs& args, const ParallelFor& parallel);
void deconv_gather(const DeconvGatherArgs& args, const ParallelFor& parallel);
void deconv_column_sum(const DeconvColumnSumArgs& args, const ParallelFor& parallel);

}  // namespace refinedet::cpu
