/* The part of config.json that tells how queries and keys turn. */
#ifndef ROTARY_CONFIG_H
#define ROTARY_CONFIG_H

#include "error.h"
#include "family.h"
#include "json.h"
#include "model.h"

/*
 * Reads "rope_scaling" or "rope_parameters" and the keys beside them into *r; m gives head_width.
 * e names key and value, the caller adds the file.  Lists in *r belong to the model also where this
 * fails.  0 or -1.
 */
int rotary_config_read(const struct json *json, const struct family *f, const struct model *m,
                       struct rotary *r, struct error *e) MUST_CHECK;

#endif
