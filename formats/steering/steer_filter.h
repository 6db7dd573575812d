/*
 * --filter 'SITE=steer ...' without a process: a command whose words are steer's own options.
 */
#ifndef STEER_FILTER_H
#define STEER_FILTER_H

#include "filter.h"

extern const struct filter_builtin steer_filter;

#endif
