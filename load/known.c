/*
 * Partitions that are known to exist, and the types of their columns. They are separate from the
 * sink's streams: a stream may be forgotten, or be one of several for a partition, and the target
 * need not be asked again.
 *
 * Types are looked up under our lock, and stay known after the transaction, when they may change; a
 * partition that was not looked at probably has those of another. Such types are trusted, so that
 * all its rows are binary, and checked in the message with the COMMIT. If they are others, the
 * batch is loaded again, and no types are trusted but those that were looked up.
 */
#include <stdlib.h>
#include <string.h>

#include "private.h"

#define LARGE_ROWS 2000                 /* binary rows of fewer save less than the check costs */

struct known_part {
	struct hash_link link;          /* by start_s */
	const struct known_columns *columns;    /* when they were last looked up; or NULL */
	uint64_t typed;                 /* the pass in which that was */
};

struct trust {
	struct hash_link link;          /* by start_s */
	const struct known_columns *columns;
	char table[];
};

static void free_all(struct hash *h)
{
	for (size_t i = 0; i < h->size; i++)
		while (h->bucket[i]) {
			struct hash_link *link = h->bucket[i];
			h->bucket[i] = link->next;
			free(link);
		}
	hash_clear(h);
}

static void forget_types(struct known *k)
{
	while (k->columns) {
		struct known_columns *next = k->columns->next;
		free(k->columns->list);
		free(k->columns);
		k->columns = next;
	}
	k->model = NULL;
	k->learned = false;
	free_all(&k->trusted);
}

void known_clear(struct known *k)
{
	forget_types(k);
	free_all(&k->parts);
	free(k->names);
	k->names = NULL;
	k->names_cap = 0;
}

void known_begin(struct known *k, int64_t rows)
{
	free_all(&k->trusted);
	k->large = rows >= LARGE_ROWS || !k->pass;
	k->pass++;
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

int known_learn(struct known *k, struct pq *dst, struct err *e)
{
	struct table_columns *list;

	if (k->model || k->learned || k->deceived ||
	    table_columns(dst, k->dest, k->dest->table, &list, e) < 0)
		return e->code;
	k->learned = true;
	k->model = share(k, list);
	return 0;
}

int known_look(struct known *k, struct pq *dst, int64_t start_s, const char *table, struct err *e)
{
	struct table_columns *list;

	if (!find(k, start_s))
		known_add(k, start_s);
	struct known_part *part = find(k, start_s);
	if ((part->columns && part->typed == k->pass) ||
	    table_columns(dst, k->dest, span_of(table), &list, e) < 0)
		return e->code;
	part->columns = share(k, list);
	part->typed = k->looked = k->pass;
	if (!k->deceived)
		k->model = part->columns;
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

/* ---- types that are not looked up in the pass */

/* false: it is trusted to have others. */
static bool trust(struct known *k, int64_t start_s, const char *table,
	const struct known_columns *columns)
{
	struct trust *t = (struct trust *)hash_find(&k->trusted, (uint64_t)start_s);

	if (t)
		return t->columns == columns;
	t = mem_alloc(sizeof *t + strlen(table) + 1);
	*t = (struct trust){ .columns = columns };
	memcpy(t->table, table, strlen(table) + 1);
	hash_add(&k->trusted, &t->link, (uint64_t)start_s);
	return true;
}

bool known_kinds(struct known *k, int64_t start_s, const char *table, const struct shape *shape,
	enum binary_kind *kinds)
{
	const struct known_part *part = find(k, start_s);
	const struct known_columns *columns = part && part->columns ? part->columns : k->model;
	bool sure = part && part->columns && part->typed == k->pass;
	bool large = k->large || k->looked == k->pass;

	if (!columns || (!sure && !large) || !known_kinds_of(columns->list, shape, kinds))
		return false;
	return sure || trust(k, start_s, table, columns);
}

struct table_name *known_trusted(struct known *k, const struct known_columns *columns, size_t *n)
{
	*n = 0;
	for (size_t i = 0; i < k->trusted.size; i++)
		for (struct hash_link *at = k->trusted.bucket[i]; at; at = at->next) {
			const struct trust *t = (const struct trust *)at;
			if (t->columns != columns)
				continue;
			k->names = mem_grow(k->names, *n, &k->names_cap, sizeof *k->names);
			k->names[(*n)++] = (struct table_name){ .name = span_of(t->table) };
		}
	return k->names;
}

bool known_distrust(struct known *k)
{
	if (!k->trusted.n)
		return false;
	for (size_t i = 0; i < k->parts.size; i++)
		for (struct hash_link *at = k->parts.bucket[i]; at; at = at->next)
			((struct known_part *)at)->columns = NULL;
	forget_types(k);
	k->deceived = true;
	return true;
}
