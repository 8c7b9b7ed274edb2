/*
 * Blocks in which rows wait. They are reused, so that memory does not grow with the batch; a row
 * larger than a block gets one of its size.
 */
#include <stdlib.h>

#include "sink.h"

#define BLOCK_CAP (BLOCK_BYTES - sizeof(struct block))
#define SMALL_CAP (BLOCK_BYTES / 4 - sizeof(struct block))      /* of a stream's first block */

/* There is always a stream without rows, which the sink can forget. */
_Static_assert(POOL_BYTES / SMALL_CAP + 1 < STREAMS_MAX, "every stream could hold rows");

/* The free list for blocks of that size. NULL: the block was made for one large row. */
static struct block **spares(struct pool *p, size_t cap)
{
	return cap == BLOCK_CAP ? &p->spare : cap == SMALL_CAP ? &p->small : NULL;
}

struct block *block_take(struct pool *p, size_t n, bool small)
{
	size_t cap = small ? SMALL_CAP : BLOCK_CAP;

	if (n + sizeof(int64_t) > cap)
		cap = BLOCK_CAP;
	if (n + sizeof(int64_t) > cap)
		cap = (n + 2 * sizeof(int64_t)) & ~(sizeof(int64_t) - 1);
	struct block **spare = spares(p, cap), *b = spare ? *spare : NULL;
	if (b)
		*spare = b->next;
	else
		b = mem_alloc(sizeof *b + cap);
	*b = (struct block){ .cap = cap };
	p->used += cap;
	return b;
}

void block_drop(struct pool *p, struct block *b)
{
	if (!b)
		return;
	assert(p->used >= b->cap);
	p->used -= b->cap;
	struct block **spare = spares(p, b->cap);
	if (!spare) {
		free(b);
		return;
	}
	b->next = *spare;
	*spare = b;
}

static void free_all(struct block *b)
{
	while (b) {
		struct block *next = b->next;
		free(b);
		b = next;
	}
}

void block_free_pool(struct pool *p)
{
	free_all(p->spare);
	free_all(p->small);
	*p = (struct pool){ 0 };
}
