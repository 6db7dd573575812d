#include "host.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"

void *host_take(struct device *d, size_t len, const char *what, struct error *e)
{
	(void)d;
	return mem_try(len, what, e);
}

void host_give(struct device *d, void *p)
{
	(void)d;
	free(p);
}

/* The system finds memory where it can. */
int host_check_room(const struct device *d, size_t len, const char *what, struct error *e)
{
	(void)d;
	(void)len;
	(void)what;
	(void)e;
	return 0;
}

size_t host_spare(const struct device *d)
{
	(void)d;
	return mem_available();
}

/* What DESIGN allows, whatever the data. */
size_t host_batch_room(const struct device *d)
{
	(void)d;
	return (size_t)144 << 20;
}

void *host_take_staging(struct device *d, size_t len, struct error *e)
{
	return host_take(d, len, "staging of weights", e);
}

void host_move(struct device *d, void *to, const void *from, size_t len)
{
	(void)d;
	memcpy(to, from, len);
}

void host_clear(struct device *d, void *p, size_t len)
{
	(void)d;
	memset(p, 0, len);
}

void host_wait(struct device *d)
{
	(void)d;
}

uint64_t host_mark(struct device *d)
{
	(void)d;
	return 0;
}

void host_wait_for(struct device *d, uint64_t mark)
{
	(void)d;
	(void)mark;
}

bool host_failed(const struct device *d, struct error *e)
{
	(void)d;
	(void)e;
	return false;
}
