/* What the module exports. */
#include "ours.h"

extern "C" {
#include "cuda_abi.inc"
#include "cuda_module.h"

const struct cuda_module onelayer_cuda = { CUDA_ABI, VERSION, &ops_cuda };
}
