/*
 * Where a model lies: a directory, or a repository in the local Hugging Face hub cache.  Nothing
 * is downloaded.
 */
#ifndef HUB_H
#define HUB_H

#include "error.h"

/*
 * The directory that `model` names, absolute or as it was typed; the caller frees it.
 *   a path to a directory   that directory
 *   [org/]name[@revision]   CACHE/models--org--name/snapshots/HASH, where HASH is what
 *                           refs/REVISION says, or REVISION itself; without @revision it is
 *                           what refs/main says, or else the only snapshot
 * CACHE is the first of $HF_HUB_CACHE, $HF_HOME/hub, $XDG_CACHE_HOME/huggingface/hub and
 * ~/.cache/huggingface/hub.  This is the only place that reads these variables.
 * NULL, and e says what was looked for and where.
 */
char *hub_find(const char *model, struct error *e) MUST_CHECK;

/* What to call it: "org/name" as typed (less @revision), or the last part of the directory's path.
 * The caller frees it. */
char *hub_name(const char *model, const char *path);

#endif
