/*
 * Partitions that are known to exist, and the types of their columns. They are separate from the
 * sink's streams: a stream may be forgotten, or be one of several for a partition, and the target
 * need not be asked again.
 */
#include <stdlib.h>
#include <string.h>

#include "load.h"

struct known_part {
	struct hash_link link;          /* by start_s */
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
	for (size_t i = 0; i < k->parts.size; i++)
		while (k->parts.bucket[i]) {
			struct known_part *part = (struct known_part *)k->parts.bucket[i];
			k->parts.bucket[i] = part->link.next;
			free(part);
		}
	hash_clear(&k->parts);
}

/* ---- the set */

static struct known_part *find(const struct known *k, int64_t start_s)
{
	return (struct known_part *)hash_find(&k->parts, (uint64_t)start_s);
}

bool known_has(const struct known *k, int64_t start_s)
{
	return find(k, start_s);
}

void known_add(struct known *k, int64_t start_s)
{
	struct known_part *part = find(k, start_s);

	if (!part) {
		part = mem_alloc(sizeof *part);
		hash_add(&k->parts, &part->link, (uint64_t)start_s);
	}
	part->columns = NULL;
	part->typed = 0;
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
