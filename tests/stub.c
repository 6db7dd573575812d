#include "option.h"

/* What the library asks of a program, for unit tests and fuzzers, which are none. */
static const struct option options[] = { OPTION_LAST };
const struct tool tool = { "unit", "", "A unit test.", options, NULL };
