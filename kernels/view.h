/* Reading a stored tensor through a strided view (model.h), for the back ends' weight_put and
 * vector_put. */
#ifndef VIEW_H
#define VIEW_H

#include <stddef.h>

#include "dtype.h"
#include "model.h"

/*
 * Inputs first..first+k-1 of columns column..column+n-1 of the view, into (n, k) elements of type
 * `to`, end to end.  Conversion as dtype_convert does.
 */
void view_read(void *dst, enum dtype to, const struct tensor_view *view, size_t column, size_t n,
               size_t first, size_t k);

#endif
