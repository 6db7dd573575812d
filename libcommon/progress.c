#include "progress.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "option.h"

enum how { OFF, LINE, JSON };

struct state {
	enum how how;
	const char *unit;
	double start, last;             /* of the run; when something was shown */
	double step_start, told;        /* the last call of the step before it; the last call */
	bool on_screen;
	char step_name[64];
	uint64_t step, steps, done, total;
};
static struct state now;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static double seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void progress_open(const char *unit)
{
	pthread_mutex_lock(&lock);
	now = (struct state){ .unit = unit, .start = seconds() };
	now.last = now.start + 0.9;
	now.step_start = now.told = now.start;
	if (!strcmp(common.progress, "json"))
		now.how = JSON;
	else if (!strcmp(common.progress, "auto") && !common.quiet && isatty(STDERR_FILENO))
		now.how = LINE;
	pthread_mutex_unlock(&lock);
}

static void erase(void)
{
	if (now.on_screen)
		fputs("\r\033[K", stderr);
	now.on_screen = false;
}

static void print_time(char text[32], double s)
{
	unsigned long n = s < 0 ? 0 : s > 1e9 ? 1000000000 : (unsigned long)s;
	if (n < 3600)
		snprintf(text, 32, "%lu:%02lu", n / 60, n % 60);
	else
		snprintf(text, 32, "%lu:%02lu:%02lu", n / 3600, n / 60 % 60, n % 60);
}

static void print_line(void)
{
	char line[512], left[32] = "";
	double spent = now.told - now.step_start;
	double rate = spent > 0 ? (double)now.done / spent : 0;
	int n = snprintf(line, sizeof line, "%s:", tool.name);
	if (now.steps)
		n += snprintf(line + n, sizeof line - (size_t)n, " %s %ju/%ju,", now.step_name, (uintmax_t)now.step,
		              (uintmax_t)now.steps);
	n += snprintf(line + n, sizeof line - (size_t)n, " %ju", (uintmax_t)now.done);
	if (now.total)
		n += snprintf(line + n, sizeof line - (size_t)n, "/%ju", (uintmax_t)now.total);
	n += snprintf(line + n, sizeof line - (size_t)n, " %s, %.4g/s", now.unit, rate);
	if (now.total > now.done && rate > 0) {
		print_time(left, (double)(now.total - now.done) / rate);
		snprintf(line + n, sizeof line - (size_t)n, ", %s left", left);
	}
	/* A line longer than the terminal would scroll instead of being rewritten. */
	struct winsize size;
	int columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
	fprintf(stderr, "\r%.*s\033[K", columns - 1, line);
	now.on_screen = true;
}

static void print_json(double spent)
{
	fprintf(stderr, "{\"program\":\"%s\"", tool.name);
	if (now.steps)
		fprintf(stderr, ",\"step_name\":\"%s\",\"step\":%ju,\"steps\":%ju", now.step_name,
		        (uintmax_t)now.step, (uintmax_t)now.steps);
	fprintf(stderr, ",\"unit\":\"%s\",\"done\":%ju", now.unit, (uintmax_t)now.done);
	if (now.total)
		fprintf(stderr, ",\"total\":%ju", (uintmax_t)now.total);
	fprintf(stderr, ",\"seconds\":%.3f}\n", spent);
}

void progress_tell(const char *step_name, uint64_t step, uint64_t steps, uint64_t done, uint64_t total)
{
	if (now.how == OFF)
		return;
	pthread_mutex_lock(&lock);
	if (step != now.step)
		now.step_start = now.told;
	snprintf(now.step_name, sizeof now.step_name, "%s", step_name ? step_name : "");
	now.step = step;
	now.steps = steps;
	now.done = done;
	now.total = total;
	now.told = seconds();
	if (now.told - now.last >= 0.1) {
		now.last = now.told;
		if (now.how == JSON)
			print_json(now.told - now.start);
		else
			print_line();
	}
	pthread_mutex_unlock(&lock);
}

void progress_close(void)
{
	pthread_mutex_lock(&lock);
	erase();
	if (now.how == JSON)
		print_json(seconds() - now.start);
	now.how = OFF;
	pthread_mutex_unlock(&lock);
}

static void say(const char *format, va_list ap) __attribute__((format(printf, 1, 0)));

static void say(const char *format, va_list ap)
{
	char text[2048];
	vsnprintf(text, sizeof text, format, ap);
	pthread_mutex_lock(&lock);
	erase();
	error_print(tool.name, text);
	pthread_mutex_unlock(&lock);
}

void progress_note(const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	if (common.verbose)
		say(format, ap);
	va_end(ap);
}

void progress_warn(const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	if (!common.quiet)
		say(format, ap);
	va_end(ap);
}
