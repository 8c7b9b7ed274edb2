/*
 * Blocks in which rows wait. They are reused, so that memory does not grow with the batch; a row
 * larger than a block gets one of its size.
 */
#include <stdlib.h>

#include "private.h"

/* musl's allocator needs a few bytes itself: it would give a power of two an eighth more. */
#define LESS 24

static const size_t caps[] = {
	[BLOCK_TINY] = BLOCK_BYTES / 32 - LESS - sizeof(struct block),
	[BLOCK_SMALL] = BLOCK_BYTES / 4 - LESS - sizeof(struct block),
	[BLOCK_FULL] = BLOCK_BYTES - LESS - sizeof(struct block),
};

/* The free list for blocks of that size. NULL: the block was made for one large row. */
static struct block **spares(struct pool *p, size_t cap)
{
	for (size_t i = BLOCK_TINY; i <= BLOCK_FULL; i++)
		if (cap == caps[i])
			return &p->spare[i];
	return NULL;
}

struct block *block_take(struct pool *p, size_t n, enum block_size size)
{
	size_t cap = caps[size];

	while (n + sizeof(int64_t) > cap && size < BLOCK_FULL)
		cap = caps[++size];
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
	for (size_t i = BLOCK_TINY; i <= BLOCK_FULL; i++)
		free_all(p->spare[i]);
	*p = (struct pool){ 0 };
}
