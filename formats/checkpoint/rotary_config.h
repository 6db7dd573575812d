/* The part of config.json that tells how queries and keys turn. */
#ifndef ROTARY_CONFIG_H
#define ROTARY_CONFIG_H

#include "error.h"
#include "family.h"
#include "json.h"
#include "model.h"

/*
 * Reads "rope_scaling" or "rope_parameters" and the keys beside them into m->rotary, by m's head_width: one rotation or, where
 * the family's layers with a window have their own, that as the second.  e names key and value, the caller adds the file.
 * Lists in it belong to the model also where this fails.  0 or -1.
 */
int rotary_config_read(const struct json *json, const struct family *f, struct model *m,
                       struct error *e) MUST_CHECK;

#endif
