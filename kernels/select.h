/* The choice of a back end by --device. */
#ifndef SELECT_H
#define SELECT_H

#include "ops.h"

/* name: "auto", "cpu", "ref", "cuda" or "cuda:N".  NULL and e if it isn't known or isn't in this build. */
const struct ops *ops_select(const char *name, struct error *e) MUST_CHECK;

#endif
