/*
 * One table of options a program.  Parsing, --help, the checks, the man page's test and the
 * stream's history all read this table and nothing else.
 */
#ifndef OPTION_H
#define OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "workers.h"

enum option_kind {
	OPTION_END,
	OPTION_FLAG,    /* value: bool *          set to true */
	OPTION_STRING,  /* value: const char **   the last one given */
	OPTION_LIST,    /* value: struct option_list *  every one given, in order */
	OPTION_COUNT,   /* value: uint64_t *      a whole number >= min */
	OPTION_SIZE,    /* value: uint64_t *      bytes, with K M G T (powers of 1024) */
	OPTION_NUMBER,  /* value: double *        a finite number */
	OPTION_THREADS, /* value: struct jobs *   N, "N,pin" or "pin" */
	OPTION_OPTIONAL /* value: const char **   --name or --name=TEXT; "" without a text */
};

enum option_history {
	HISTORY_NO,     /* changes no value in the output: leaves no trace in the stream */
	HISTORY_YES     /* written to the history as given */
};

struct option_list {
	const char **item;  /* points into argv */
	size_t n;
};

struct option {
	enum option_kind kind;
	char letter;              /* 0: none */
	const char *name;         /* without "--"; NULL: letter only */
	void *value;
	const char *argument;     /* as --help shows it; NULL for a flag */
	const char *help;         /* one line */
	enum option_history history;
	uint64_t min;             /* of OPTION_COUNT */
};

struct tool {
	const char *name;
	const char *synopsis;     /* after the name: "[-n] -m MODEL [FILE]" */
	const char *summary;      /* one sentence: what it reads, does and writes */
	const struct option *options;   /* closed by OPTION_END */
	/* 0: success, 1: a negative answer, -1: trouble, told in e.  `files` are the operands. */
	int (*run)(char **files, int n_files, struct error *e);
};

/* Each program defines this one object; main.c holds main(). */
extern const struct tool tool;

/* Options that mean the same in every program.  main.c reads -q -v --progress --help --version itself. */
struct common {
	const char *model;      /* -m */
	const char *output;     /* -o; NULL: standard output */
	struct jobs jobs;       /* -j */
	bool quiet, verbose;    /* -q, -v */
	const char *progress;   /* --progress: "auto", "json" or "off" */
	const char *device;     /* --device */
	uint64_t vram;          /* --vram; 0: what is free */
	bool help, version;     /* --help, --version: main.c answers, nothing after them is parsed */
};
extern struct common common;

#define OPTION_MODEL    { OPTION_STRING, 'm', NULL, &common.model, "MODEL", "a model directory, or org/name in the local hub cache", HISTORY_NO, 0 }
#define OPTION_OUTPUT   { OPTION_STRING, 'o', NULL, &common.output, "FILE", "write FILE, complete or not at all, instead of standard output", HISTORY_NO, 0 }
#define OPTION_JOBS     { OPTION_THREADS, 'j', NULL, &common.jobs, "N[,pin]", "threads (default: one a processor), with pin each kept on its own", HISTORY_NO, 0 }
#define OPTION_DEVICE \
	{ OPTION_STRING, 0, "device", &common.device, "DEVICE", "auto, cpu, cuda, cuda:N or ref (default auto)", HISTORY_NO, 0 }, \
	{ OPTION_SIZE, 0, "vram", &common.vram, "SIZE", "memory of the GPU to use (default: nearly all that is free)", HISTORY_NO, 0 }
#define OPTION_LAST     { OPTION_END, 0, NULL, NULL, NULL, NULL, HISTORY_NO, 0 }

/*
 * Parses argv by tool.options and the rows every program has.  Operands may stand between
 * options; "--" ends the options.  Returns the number of operands, moved to argv[1..], or
 * -1 with e set (an unknown option, a missing or malformed argument).
 */
int option_parse(const struct tool *t, int argc, char **argv, struct error *e) MUST_CHECK;

/*
 * Stores words that are nothing but options of this table with their arguments, spelled "--name", into its values.  They may be
 * another program's: none is remembered for the history.  false: some word is something else, or an argument is missing.
 */
bool option_words(const struct option *table, char **words, size_t n);

/* Prints the synopsis, the summary and every option to standard output. */
void option_help(const struct tool *t);

/*
 * The options given that HISTORY_YES marks, as "--name=value" or "-x value" strings in table order;
 * *n receives their number.  Owned by the callee, valid until exit.
 */
const char *const *option_history(size_t *n);

/* Replaces what the history says for the option stored at `value` (a file becomes its stream's checksum), without the option's
 * name.  For one of an OPTION_LIST, value is the address of its list->item[i]. */
void option_history_set(const void *value, const char *text);

/* A whole number with an optional K, M, G or T (powers of 1024): "64M".  -1 and e if it isn't one. */
int option_size(const char *text, uint64_t *bytes, struct error *e) MUST_CHECK;

/* Splits at commas outside nothing: "-4,-2,0".  The returned array and its strings are one allocation, freed with free(). */
char **option_split(const char *text, char at, size_t *n);

#endif
