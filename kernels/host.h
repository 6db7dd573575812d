/* Devices whose memory is the host's: ref and cpu share these entries of the table; contracts are in ops.h. */
#ifndef HOST_H
#define HOST_H

#include "ops.h"

void *host_take(struct device *d, size_t len, const char *what, struct error *e);
void host_give(struct device *d, void *p);
int host_check_room(const struct device *d, size_t len, const char *what, struct error *e);
size_t host_spare(const struct device *d);
size_t host_batch_room(const struct device *d);
void *host_take_staging(struct device *d, size_t len, struct error *e);
void host_move(struct device *d, void *to, const void *from, size_t len);
void host_clear(struct device *d, void *p, size_t len);
void host_wait(struct device *d);
uint64_t host_mark(struct device *d);
void host_wait_for(struct device *d, uint64_t mark);
bool host_failed(const struct device *d, struct error *e);

/* For the initialiser of a struct ops. */
#define HOST_MEMORY \
	.host = true, .take = host_take, .give = host_give, .check_room = host_check_room, \
	.spare = host_spare, .batch_room = host_batch_room, .take_staging = host_take_staging, .free_staging = host_give, .upload = host_move, .download = host_move, \
	.clear = host_clear, .zero_put = host_clear, .wait = host_wait, .mark = host_mark, .wait_for = host_wait_for, \
	.put_wait = host_wait, .failed = host_failed

#endif
