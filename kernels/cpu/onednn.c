#include "onednn.h"

#include <dlfcn.h>
#include <dnnl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t desc;
#else
typedef dnnl_memory_desc_t desc_value;
typedef const dnnl_memory_desc_t *desc;
#endif
