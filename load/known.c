/*
 * Partitions known to exist, and the types of their columns. They are separate from the sink's
 * streams: a stream may be forgotten, or be one of several for a partition, and the target need not
 * be asked again.
 */
#include <stdlib.h>
#include <string.h>

#include "load.h"

struct columns {                        /* as one or more partitions have them */
	struct columns *next;
	struct part_columns *list;
};

struct part {
	bool used;
	int64_t start_s;
	const struct columns *columns;
	uint64_t typed;                 /* the last pass in which columns were looked at */
};

struct known {
	const struct dest *dest;
	struct part *part;              /* hashed by start_s, at least half of it not used */
	size_t n, cap;                  /* cap: a power of two */
	struct columns *columns;
	uint64_t pass;
};

struct known *known_new(const struct dest *d)
{
	struct known *k = mem_alloc(sizeof *k);

	*k = (struct known){ .dest = d, .pass = 1 };
	return k;
}

void known_clear(struct known *k)
{
	while (k->columns) {
		struct columns *next = k->columns->next;
		free(k->columns->list);
		free(k->columns);
		k->columns = next;
	}
	if (k->n)
		memset(k->part, 0, k->cap * sizeof *k->part);
	k->n = 0;
}

void known_free(struct known *k)
{
	known_clear(k);
	free(k->part);
	free(k);
}

void known_begin(struct known *k)
{
	k->pass++;
}

/* ---- the set */

static struct part *slot(const struct known *k, int64_t start_s)
{
	uint64_t h = (uint64_t)start_s / 3600 * UINT64_C(0x9e3779b97f4a7c15) >> 20;

	for (;; h++) {
		struct part *part = &k->part[h & (k->cap - 1)];
		if (!part->used || part->start_s == start_s)
			return part;
	}
}

static struct part *find(const struct known *k, int64_t start_s)
{
	struct part *part = k->cap ? slot(k, start_s) : NULL;

	return part && part->used ? part : NULL;
}

bool known_has(const struct known *k, int64_t start_s)
{
	return find(k, start_s);
}

static void grow(struct known *k)
{
	struct known more = { .cap = k->cap ? 2 * k->cap : 64 };

	more.part = mem_alloc(more.cap * sizeof *more.part);
	memset(more.part, 0, more.cap * sizeof *more.part);
	for (size_t i = 0; i < k->cap; i++)
		if (k->part[i].used)
			*slot(&more, k->part[i].start_s) = k->part[i];
	free(k->part);
	k->part = more.part;
	k->cap = more.cap;
}

void known_add(struct known *k, int64_t start_s)
{
	if (2 * k->n >= k->cap)
		grow(k);
	struct part *part = slot(k, start_s);
	k->n += !part->used;
	*part = (struct part){ .used = true, .start_s = start_s };
}

/* ---- column types */

static bool is_same(const struct part_columns *a, const struct part_columns *b)
{
	return a->n == b->n && memcmp(a->at, b->at, a->n * sizeof *a->at) == 0;
}

/* Most partitions have the same columns. */
static const struct columns *share(struct known *k, struct part_columns *list)
{
	for (const struct columns *c = k->columns; c; c = c->next) {
		if (is_same(c->list, list)) {
			free(list);
			return c;
		}
	}
	struct columns *c = mem_alloc(sizeof *c);
	*c = (struct columns){ k->columns, list };
	k->columns = c;
	return c;
}

int known_look(void *known, struct pq *dst, int64_t start_s, const char *table, struct err *e)
{
	struct known *k = known;
	struct part_columns *list;

	if (!find(k, start_s))
		known_add(k, start_s);
	struct part *part = find(k, start_s);
	if (part->typed == k->pass || part_columns(dst, k->dest, span_of(table), &list, e) < 0)
		return e->code;
	part->columns = share(k, list);
	part->typed = k->pass;
	return 0;
}

bool known_kinds(void *known, int64_t start_s, const struct shape *shape, enum binary_kind *kinds)
{
	const struct known *k = known;
	const struct part *part = find(k, start_s);
	size_t n = 0;

	if (!part || part->typed != k->pass)
		return false;
	const struct part_columns *list = part->columns->list;
	for (size_t i = 0; i < shape->n; i++) {
		kinds[i] = BINARY_NONE;
		for (size_t c = 0; c < list->n; c++)
			if (span_is(shape->target[i], list->at[c].name))
				kinds[i] = list->at[c].kind;
		n += kinds[i] != BINARY_NONE;
	}
	return n == shape->n;
}
