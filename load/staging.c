/*
 * What waits in staging tables, with row_mode = keep_latest: one table for each destination and
 * lane. Its rows have numbers in place of names: of the partition, and of the column list, 0 for
 * deletes. Numbers are kept from batch to batch, as streams are that have them, until the streams
 * are forgotten.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "private.h"

#define PURE_BATCHES 4                  /* of inserts alone, before they go straight in again */

struct stagings {
	const struct dests *dests;
	const char *prefix;             /* of the tables' names */
	struct staging **at;            /* by the place's number; NULL: nothing waits */
	size_t n, cap;
};

struct stagings *stagings_new(const struct dests *dests, const char *prefix)
{
	struct stagings *all = mem_alloc(sizeof *all);

	*all = (struct stagings){ .dests = dests, .prefix = prefix };
	return all;
}

/* ---- one of them */

static void drop_tables(struct staging *g)
{
	for (size_t i = 0; i < LANES_MAX; i++)
		stage_free(&g->stage[i]);
}

static void forget(struct staging *g)
{
	drop_tables(g);
	for (size_t i = 0; i < g->npart; i++)
		free(g->part[i].name);
	for (size_t i = 0; i < g->nkind; i++)
		free(g->kind[i]);
	free(g->part);
	free(g->sorted);
	free(g->kind);
	g->part = NULL;
	g->sorted = NULL;
	g->kind = NULL;
	g->npart = g->part_cap = g->sorted_cap = g->nkind = g->kind_cap = 0;
}

static void forget_key(struct staging *g)
{
	shape_free(g->key);
	g->key = NULL;
}

struct staging *stagings_at(struct stagings *all, const struct place *k)
{
	while (all->n <= k->number) {
		all->at = mem_grow(all->at, all->n, &all->cap, sizeof *all->at);
		all->at[all->n++] = NULL;
	}
	struct staging **g = &all->at[k->number];
	if (!*g) {
		*g = mem_alloc(sizeof **g);
		**g = (struct staging){ .place = k };
	}
	return *g;
}

struct staging *stagings_next(const struct stagings *all, size_t *i)
{
	while (*i < all->n)
		if (all->at[(*i)++])
			return all->at[*i - 1];
	return NULL;
}

/* ---- partitions and column lists */

/* The index in sorted where the period is or belongs. */
static size_t place_of(const struct staging *g, int64_t start_s)
{
	size_t from = 0, to = g->npart;

	while (from < to) {
		size_t middle = from + (to - from) / 2;
		if (g->part[g->sorted[middle]].start_s < start_s)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

size_t staging_part(struct staging *g, int64_t start_s, size_t lane, struct span name)
{
	size_t at = place_of(g, start_s);

	if (at < g->npart && g->part[g->sorted[at]].start_s == start_s)
		return g->sorted[at];
	g->part = mem_grow(g->part, g->npart, &g->part_cap, sizeof *g->part);
	g->sorted = mem_grow(g->sorted, g->npart, &g->sorted_cap, sizeof *g->sorted);
	memmove(g->sorted + at + 1, g->sorted + at, (g->npart - at) * sizeof *g->sorted);
	g->part[g->npart] = (struct staged_part){
		.start_s = start_s, .lane = lane, .name = mem_str(name.p, name.n),
	};
	return g->sorted[at] = g->npart++;
}

size_t staging_kind(struct staging *g, const char *columns)
{
	size_t i = 0;

	while (i < g->nkind && strcmp(g->kind[i], columns) != 0)
		i++;
	if (i == g->nkind) {
		g->kind = mem_grow(g->kind, g->nkind, &g->kind_cap, sizeof *g->kind);
		g->kind[g->nkind++] = mem_text(columns);
	}
	return i + 1;
}

/* ---- the key */

static bool has_key(const struct staging *g, const struct span *names, size_t n)
{
	if (!g->key || g->key->n != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!span_eq(g->key->target[i], names[i]))
			return false;
	return true;
}

static bool has_tables(const struct staging *g)
{
	for (size_t i = 0; i < LANES_MAX; i++)
		if (g->stage[i].columns)
			return true;
	return false;
}

bool staging_key(struct staging *g, const struct span *names, size_t n)
{
	if (has_key(g, names, n))
		return true;
	if (g->used || has_tables(g))
		return false;
	forget_key(g);
	g->key = shape_new(0, n, 0, NULL);
	for (size_t i = 0; i < n; i++)
		shape_add(g->key, names[i], i);
	shape_finish(g->key);
	g->key_id++;
	return true;
}

/* ---- the tables, for the sink */

static struct staging *of_number(const struct stagings *all, size_t of)
{
	assert(of < all->n && all->at[of]);
	return all->at[of];
}

/* Names the table, and its key. */
static void prepare(const struct stagings *all, const struct staging *g, struct stage *s)
{
	stage_free(s);
	snprintf(s->name, sizeof s->name, "%s%zu", all->prefix, g->place->number);
	s->nkey = g->key->n;
	s->key = mem_alloc((s->nkey + 1) * sizeof *s->key);
	for (size_t i = 0; i < s->nkey; i++)
		s->key[i] = (struct stage_key){ .name = g->key->target[i] };
}

/* The table that has the columns: dest_table, or where there is none the partition itself. */
static int find_model(const struct staging *g, struct pq *dst, const char *table,
	struct span *model, struct err *e)
{
	const struct dest *d = g->place->dest;
	struct table found;

	*model = d->table;
	if (table_find(dst, d, d->table, &found, e) == 0 && !*found.oid)
		*model = span_of(table);
	return e->code;
}

int stagings_make(struct stagings *all, struct pq *dst, size_t lane, size_t of, const char *table,
	bool *made, struct err *e)
{
	struct staging *g = of_number(all, of);
	struct stage *s = &g->stage[lane];
	struct span model;

	if (s->columns)
		return 0;
	prepare(all, g, s);
	if (find_model(g, dst, table, &model, e) == 0 &&
	    stage_create(dst, s, g->place->dest, model, e) == 0)
		*made = true;
	return e->code;
}

bool stagings_kinds(const struct stagings *all, size_t lane, size_t of, const struct shape *shape,
	enum binary_kind *kinds)
{
	const struct table_columns *columns = of_number(all, of)->stage[lane].columns;

	return columns && known_kinds_of(columns, shape, kinds);
}

void stagings_name(const struct stagings *all, const struct staging *g, struct buf *name)
{
	buf_fmt(name, "pg_temp.%s%zu", all->prefix, g->place->number);
}

/* ---- all of them */

void stagings_begin(struct stagings *all)
{
	struct staging *g;

	for (size_t i = 0; (g = stagings_next(all, &i));) {
		drop_tables(g);
		g->used = g->begun = g->direct = g->directed = g->anywhere = false;
	}
}

void stagings_committed(struct stagings *all)
{
	struct staging *g;

	for (size_t i = 0; (g = stagings_next(all, &i));)
		if (g->used && !g->pure)
			g->skip = PURE_BATCHES;
		else if (g->used && g->skip > 0 && g->skip < STAGING_NEVER)
			g->skip--;
}

bool stagings_not_direct(struct stagings *all)
{
	struct staging *g;
	bool any = false;

	for (size_t i = 0; (g = stagings_next(all, &i));) {
		any |= g->directed;
		if (g->directed && g->skip < PURE_BATCHES)
			g->skip = PURE_BATCHES;
	}
	return any;
}

void stagings_forget(struct stagings *all)
{
	for (size_t i = 0; all && i < all->n; i++)
		if (all->at[i])
			forget(all->at[i]);
}

void stagings_free(struct stagings *all)
{
	stagings_forget(all);
	for (size_t i = 0; all && i < all->n; i++)
		if (all->at[i]) {
			forget_key(all->at[i]);
			free(all->at[i]);
		}
	if (all)
		free(all->at);
	free(all);
}
