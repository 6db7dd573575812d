#include "option.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "command.h"

static struct {
	bool flag, other;
	const char *text, *optional;
	uint64_t count, size;
	double number;
	struct option_list list;
	struct jobs jobs;
} arg;

static const struct option rows[] = {
	{ OPTION_FLAG, 'a', "all", &arg.flag, NULL, "a flag", HISTORY_YES, 0 },
	{ OPTION_FLAG, 'b', NULL, &arg.other, NULL, "a flag of a letter", HISTORY_YES, 0 },
	{ OPTION_STRING, 't', "text", &arg.text, "TEXT", "a text", HISTORY_YES, 0 },
	{ OPTION_OPTIONAL, 0, "mean", &arg.optional, "N", "a text, or none", HISTORY_YES, 0 },
	{ OPTION_COUNT, 'k', NULL, &arg.count, "K", "a count", HISTORY_YES, 1 },
	{ OPTION_SIZE, 0, "ram", &arg.size, "SIZE", "a size", HISTORY_NO, 0 },
	{ OPTION_NUMBER, 0, "alpha", &arg.number, "X", "a number", HISTORY_YES, 0 },
	{ OPTION_THREADS, 'j', NULL, &arg.jobs, "N[,pin]", "threads", HISTORY_NO, 0 },
	{ OPTION_LIST, 0, "tap", &arg.list, "TAP", "a list", HISTORY_YES, 0 },
	OPTION_LAST
};
static const struct tool toy = { "toy", "[-ab] [FILE...]", "A toy.", rows, NULL };

static struct error e;

/* Words parted by '|'; returns option_parse's result, operands joined into `operands`. */
static int parse(const char *line, char operands[256])
{
	static char copy[256];
	char *argv[32] = { (char *)"toy" };
	int argc = 1;
	free(arg.list.item);
	memset(&arg, 0, sizeof arg);
	common = (struct common){ .progress = "auto" };
	snprintf(copy, sizeof copy, "%s", line);
	for (char *p = copy, *word; *line && (word = strsep(&p, "|"));)
		argv[argc++] = word;
	int n = option_parse(&toy, argc, argv, &e);
	operands[0] = 0;
	for (int i = 1; i <= n; i++)
		snprintf(operands + strlen(operands), 256 - strlen(operands), "%s%s", i > 1 ? "|" : "", argv[i]);
	return n;
}

static void test_good(void)
{
	char operands[256];
	ok(parse("-ab|x|-t|-5|y|--|-z", operands) == 3 && arg.flag && arg.other && !strcmp(arg.text, "-5"),
	   "bundled flags, an argument that begins with -");
	ok(!strcmp(operands, "x|y|-z"), "operands between options and after --: %s", operands);
	ok(parse("-bk12|-|--text=a=b", operands) == 1 && arg.other && arg.count == 12 && !strcmp(arg.text, "a=b"),
	   "a bundled argument, - as an operand, = in a value");
	ok(parse("--text||--text|z", operands) == 0 && !strcmp(arg.text, "z"), "the last one counts");
	ok(parse("-j3", operands) == 0 && arg.jobs.n == 3 && !arg.jobs.pinned && parse("-j|12,pin", operands) == 0 && arg.jobs.n == 12 &&
	   arg.jobs.pinned && parse("-j|pin|-j|2", operands) == 0 && arg.jobs.n == 2 && !arg.jobs.pinned &&
	   parse("-jpin", operands) == 0 && arg.jobs.n == 0 && arg.jobs.pinned, "numbers of threads, pinned or not");
	ok(parse("--text=", operands) == 0 && !strcmp(arg.text, ""), "an empty value");
	ok(parse("--mean|3", operands) == 1 && !strcmp(arg.optional, ""), "an optional argument left out");
	ok(parse("--mean=3", operands) == 0 && !strcmp(arg.optional, "3"), "an optional argument given");
	ok(parse("--ram|64M|--alpha|-1.5e3", operands) == 0 && arg.size == 64 << 20 && arg.number == -1500, "numbers");
	ok(parse("--tap|a|x|--tap=b", operands) == 1 && arg.list.n == 2 && !strcmp(arg.list.item[1], "b"), "a list");
	ok(parse("--help|--bogus", operands) == 0 && common.help, "nothing after --help is parsed");
	ok(parse("-qv|--progress=json", operands) == 0 && common.quiet && common.verbose, "common options");
	ok(parse("", operands) == 0, "no arguments");
}

static void test_bad(void)
{
	static const char *const cases[][2] = {
		{ "--bogus=3", "unknown option --bogus; 'toy --help'" }, { "-bz", "unknown option -z" },
		{ "--al", "unknown option --al;" }, { "--text", "option --text needs an argument: TEXT" },
		{ "-bk", "option -k needs an argument: K" }, { "-k|1hello", "'1hello'" }, { "-k|0", "at least 1" },
		{ "-k|-1", "'-1'" }, { "-k|99999999999999999999", "9999" }, { "-k| 1", "' 1'" }, { "-k||", "''" },
		{ "--alpha|nan", "'nan'" }, { "--alpha|1e999", "1e999" }, { "--alpha|0x10", "0x10" }, { "--alpha=", "''" },
		{ "--alpha|1-2", "1-2" }, { "--ram|64X", "64X" }, { "--ram|16777216T", "T" }, { "--ram|1MM", "1MM" },
		{ "--ram|M", "'M'" }, { "--all=1", "takes no argument" }, { "--progress|loud", "loud" },
		{ "--=x", "unknown option --;" }, { "-j|0", "'0'" }, { "-j|2,", "'2,'" }, { "-j|2,pinned", "pin" },
		{ "-j|,pin", "',pin'" }, { "-j|-1", "'-1'" }, { "-j||", "''" },
	};
	char operands[256];
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int r = parse(cases[i][0], operands);
		if (!ok(r < 0 && strstr(e.text, cases[i][1]), "refused: %s", cases[i][0]))
			printf("# %d %s\n", r, e.text);
	}
}

static void test_history(void)
{
	char operands[256];
	size_t n;
	int r = parse("--tap|b|-t|one|--ram|1K|-k|3|--mean|-t|two|-b|--tap|c", operands);
	option_history_set(&arg.list.item[1], "xxh3:1");
	const char *const *h = option_history(&n);
	static const char *const want[] = { "-b", "--text=two", "--mean", "-k 3", "--tap=b", "--tap=xxh3:1" };
	bool same = r == 0 && n == ARRAY_LEN(want);
	for (size_t i = 0; same && i < n; i++)
		same = !strcmp(h[i], want[i]);
	ok(same, "the history: what changes values, as given last, in the table's order");
	r = parse("", operands);
	option_history(&n);
	ok(r == 0 && n == 0, "an empty history");
}

/* The words of a command joined by '|'; "-" where it needs a shell. */
static bool words_are(const char *command, const char *want)
{
	char got[256] = "";
	size_t n;
	char **word = command_words(command, &n);
	for (size_t i = 0; word && i < n; i++)
		snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s", i ? "|" : "", word[i]);
	bool same = !strcmp(word ? got : "-", want);
	free(word);
	return same;
}

static void test_words(void)
{
	ok(words_are("", "") && words_are(" \t", ""), "no words");
	ok(words_are(" a  --b=c,-1\t@%:/_.+ \xc3\xa9 ", "a|--b=c,-1|@%:/_.+|\xc3\xa9"), "words between blanks");
	ok(words_are("a' b'\"c |&\"d '' \"it's\"", "a bc |&d||it's"), "quotes, and a word of nothing");
	ok(words_are("'$a`b\\'", "$a`b\\"), "the shell looks at nothing between single quotes");
	static const char *const shell[] = { "a $b", "a \"$b\"", "a `b`", "a \"`b`\"", "a \\b", "a \"\\b\"", "a|b", "a;b", "a&", "a >b",
	                                     "a <b", "a (b)", "a *", "a ?", "a [b]", "~", "a #b", "a\nb", "a {b,c}", "a!", "'a", "a \"b", "a'" };
	for (size_t i = 0; i < ARRAY_LEN(shell); i++)
		ok(words_are(shell[i], "-"), "a shell's: %s", i == 17 ? "two lines" : shell[i]);
}

static void test_option_words(void)
{
	const char *text = NULL;
	bool unit = false;
	const struct option table[] = { { OPTION_STRING, 0, "text", &text, "T", "a text", HISTORY_YES, 0 },
	                                { OPTION_FLAG, 'u', "unit", &unit, NULL, "a flag", HISTORY_YES, 0 }, OPTION_LAST };
	char *good[] = { (char *)"--text", (char *)"--unit", (char *)"--unit", (char *)"--text=b" };
	ok(option_words(table, good, 2) && !strcmp(text, "--unit") && !unit, "an argument that looks like an option");
	ok(option_words(table, good, 4) && !strcmp(text, "b") && unit && option_words(table, good, 0), "words of a table");
	static const char *const bad[] = { "-u", "x", "--", "-", "--help", "--progress=json", "--unit=1", "--text", "--tex=1", "" };
	common.help = false;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char *word = (char *)bad[i];
		ok(!option_words(table, &word, 1), "not a table's word: '%s'", bad[i]);
	}
	ok(!common.help && !strcmp(common.progress, "auto"), "the options of all programs are left alone");
}

int main(void)
{
	test_good();
	test_bad();
	test_history();
	test_words();
	test_option_words();
	size_t n;
	char **item = option_split("-4,,2", ',', &n);
	ok(n == 3 && !strcmp(item[0], "-4") && !*item[1] && !strcmp(item[2], "2"), "split at commas");
	free(item);
	return done();
}
