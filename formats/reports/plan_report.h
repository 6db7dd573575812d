/* A plan in print. */
#ifndef PLAN_REPORT_H
#define PLAN_REPORT_H

#include "plan.h"

/* To standard output: lines for people, or one line of JSON (keys: layer-run(1)).  0 or -1. */
int plan_report(const struct plan *p, bool json, struct error *e) MUST_CHECK;

#endif
