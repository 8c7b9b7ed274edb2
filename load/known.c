/*
 * Partitions that are known to exist, and the types of their columns. They are separate from the
 * sink's streams: a stream may be forgotten, or be one of several for a partition, and the target
 * need not be asked again.
 */
#include <stdlib.h>
#include <string.h>

#include "load.h"

struct known_part {
	int64_t start_s;
	const struct known_columns *columns;
	uint64_t typed;                 /* the last pass in which columns were looked up */
};

struct known_columns {                  /* as one or more partitions have them */
	struct known_columns *next;
	struct table_columns *list;
};

void known_clear(struct known *k)
{
	while (k->columns) {
		struct known_columns *next = k->columns->next;
		free(k->columns->list);
		free(k->columns);
		k->columns = next;
	}
	free(k->part);
	k->part = NULL;
	k->n = k->cap = 0;
}

/* ---- the set */

/* The index where the partition is or belongs: how many are earlier. */
static size_t place_of(const struct known *k, int64_t start_s)
{
	size_t from = 0, to = k->n;

	while (from < to) {
		size_t middle = from + (to - from) / 2;
		if (k->part[middle].start_s < start_s)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

static struct known_part *find(const struct known *k, int64_t start_s)
{
	size_t at = place_of(k, start_s);

	return at < k->n && k->part[at].start_s == start_s ? &k->part[at] : NULL;
}

bool known_has(const struct known *k, int64_t start_s)
{
	return find(k, start_s);
}

void known_add(struct known *k, int64_t start_s)
{
	size_t at = place_of(k, start_s);

	if (!find(k, start_s)) {
		k->part = mem_grow(k->part, k->n, &k->cap, sizeof *k->part);
		memmove(k->part + at + 1, k->part + at, (k->n++ - at) * sizeof *k->part);
	}
	k->part[at] = (struct known_part){ .start_s = start_s };
}

/* ---- column types */

static bool is_same(const struct table_columns *a, const struct table_columns *b)
{
	return a->n == b->n && memcmp(a->at, b->at, a->n * sizeof *a->at) == 0;
}

/* Takes over list. Most partitions have the same columns, which are stored once. */
static const struct known_columns *share(struct known *k, struct table_columns *list)
{
	for (const struct known_columns *c = k->columns; c; c = c->next) {
		if (is_same(c->list, list)) {
			free(list);
			return c;
		}
	}
	struct known_columns *c = mem_alloc(sizeof *c);
	*c = (struct known_columns){ k->columns, list };
	k->columns = c;
	return c;
}

int known_look(struct known *k, struct pq *dst, int64_t start_s, const char *table, struct err *e)
{
	struct table_columns *list;

	if (!find(k, start_s))
		known_add(k, start_s);
	struct known_part *part = find(k, start_s);
	if (part->typed == k->pass || table_columns(dst, k->dest, span_of(table), &list, e) < 0)
		return e->code;
	part->columns = share(k, list);
	part->typed = k->pass;
	return 0;
}

/* BINARY_NONE: the list lacks the column, or its type has no binary form here. */
static enum binary_kind kind_of(const struct table_columns *list, struct span column)
{
	for (size_t i = 0; i < list->n; i++)
		if (span_is(column, list->at[i].name))
			return list->at[i].kind;
	return BINARY_NONE;
}

bool known_kinds_of(const struct table_columns *list, const struct shape *shape,
	enum binary_kind *kinds)
{
	for (size_t i = 0; i < shape->n; i++) {
		kinds[i] = kind_of(list, shape->target[i]);
		if (kinds[i] == BINARY_NONE)
			return false;
	}
	return true;
}

bool known_kinds(const struct known *k, int64_t start_s, const struct shape *shape,
	enum binary_kind *kinds)
{
	const struct known_part *part = find(k, start_s);

	return part && part->typed == k->pass &&
		known_kinds_of(part->columns->list, shape, kinds);
}
