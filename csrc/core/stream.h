// What a header of a CUDA kernel needs: nothing of CUDA, so that any compiler reads it.
#pragma once

struct CUstream_st;

namespace refinedet::cuda {

using Stream = CUstream_st*;  // cudaStream_t

}  // namespace refinedet::cuda
