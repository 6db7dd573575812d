/* What the module exports. */
#include "ours.h"

extern "C" {
#include "cuda_abi.inc"
#include "cuda_module.h"

/* Nothing else of the module is seen from outside. */
__attribute__((visibility("default"))) const struct cuda_module onelayer_cuda = { CUDA_ABI, VERSION, &ops_cuda };
}
