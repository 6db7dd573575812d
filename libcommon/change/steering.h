/*
 * What steer(1) does to a row.  Rows are taken to double, changed, and rounded once to their own type, each by
 * itself, so the same row gives the same bits wherever it stands.
 */
#ifndef STEERING_H
#define STEERING_H

#include <stdbool.h>
#include <stddef.h>

#include "dtype.h"
#include "error.h"

enum steer_mode { STEER_ADD, STEER_ABLATE, STEER_PROJECT, STEER_CLAMP, STEER_SET, STEER_ZERO, STEER_MODES };

/* "add", "ablate", ...; STEER_MODES if it is none of them. */
enum steer_mode steer_mode_find(const char *name);
const char *steer_mode_name(enum steer_mode mode);

/* Whether a mode without --alpha has strength 1 (ablate, project, set, zero). */
bool steer_mode_has_default(enum steer_mode mode);

/* Whether a mode takes a basis of several vectors (ablate, project); zero takes none, the others take one. */
bool steer_mode_takes_basis(enum steer_mode mode);

struct steering {
	enum steer_mode mode;
	size_t width, n;        /* n vectors */
	double *vector;         /* (n, width): of ablate, project and clamp orthonormal */
};

/*
 * Takes n vectors (n, width), a copy is made.  unit: add and set scale theirs to length 1.  0, or -1: a vector isn't
 * finite, has length 0 where a direction is needed, or depends on those before it.
 */
int steering_init(struct steering *s, enum steer_mode mode, const double *vectors, size_t n, size_t width, bool unit,
                  struct error *e) MUST_CHECK;
void steering_release(struct steering *s);

/* Doubles that steering_rows needs as scratch, one lot a thread. */
size_t steering_scratch(const struct steering *s);

/*
 * n rows of a floating-point type, row r at r * stride elements, x (width) each:
 *   add      x + alpha v
 *   ablate   x - alpha P x, P x = sum of b (b . x) over the basis
 *   project  (1 - alpha) x + alpha P x
 *   clamp    x + (alpha - b . x) b
 *   set      alpha v
 *   zero     (1 - alpha) x; 0 where alpha is 1
 * With alpha 0, add, ablate, project and zero leave every bit.
 */
void steering_rows(const struct steering *s, double alpha, void *rows, enum dtype dtype, size_t n, size_t stride,
                   double *scratch);

#endif
