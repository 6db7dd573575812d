/* The headers in C that C++ needs, once for all of kernels/cuda. */
#ifndef OURS_H
#define OURS_H

extern "C" {
#include "ops.h"
}

#endif
