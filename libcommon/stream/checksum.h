/* XXH3-64, of bytes at once or as they come. */
#ifndef CHECKSUM_H
#define CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

uint64_t checksum(const void *p, size_t len);

struct checksum;
struct checksum *checksum_open(void);
void checksum_start(struct checksum *c);
/* Makes one go on where another is. */
void checksum_copy(struct checksum *to, const struct checksum *from);
void checksum_add(struct checksum *c, const void *p, size_t len);
/* What one has come to, as bytes; another process's may go on there.  -1: no checksum was ever there. */
enum { CHECKSUM_STATE = 8 * 8 + 256 + 3 * 8 };
void checksum_save(const struct checksum *c, uint8_t to[CHECKSUM_STATE]);
int checksum_load(struct checksum *c, const uint8_t from[CHECKSUM_STATE]) __attribute__((warn_unused_result));
/* Of all that was added since the start; more may be added after it. */
uint64_t checksum_value(const struct checksum *c);
void checksum_close(struct checksum *c);

#endif
