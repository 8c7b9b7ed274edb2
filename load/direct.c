/*
 * Inserts that went straight to their partitions, with row_mode = keep_latest: have they left a key
 * with two rows?
 */
#include <stdlib.h>

#include "merge.h"

#define WHOLE 10                        /* times the rows that a partition got: worth reading it */

/* The partitions must have refused rows of keys that had one; else adds queries for keys that they
 * have twice, as far as that can be seen in a time that the batch is worth. */
static int check_unique(const struct pass *p, const struct staging *g, size_t lane,
	struct buf *sql, struct err *e)
{
	const struct job *j = p->job;
	const struct dest *d = g->place->dest;
	const struct shape *key = g->key;
	const struct tally *rows = &sink_done(p->sink, g->place->number)->rows;
	struct table_name *names = mem_alloc((rows->n + 1) * sizeof *names);
	size_t n = 0;
	bool yes;

	for (size_t i = 0; i < rows->n; i++)
		if (job_lane_of(j, span_of(rows->at[i].name)) == lane)
			names[n++] = (struct table_name){ span_of(rows->at[i].name), false };
	constraint_unique(j->dst[lane], d, names, n, key->target, key->n, &yes, e);
	for (size_t i = 0; i < n && !yes; i++)
		constraint_add_distinct(sql, d, names[i].name, key->target, key->n,
			WHOLE * tally_find(rows, names[i].name.p)->rows);
	free(names);
	return e->code;
}

/* *yes: no key has two. */
static int check_lanes(const struct pass *p, const struct staging *g, bool *yes, struct err *e)
{
	const size_t lanes = p->job->lanes;
	struct script lane[LANES_MAX] = { 0 };

	*yes = true;
	for (size_t i = 0; i < lanes && !e->code; i++)
		check_unique(p, g, i, &lane[i].sql, e);
	if (!e->code)
		script_run_all(p, lane, e);
	for (size_t i = 0; i < lanes; i++) {
		for (size_t k = 0; k < lane[i].done; k++)
			*yes = *yes && lane[i].rows[k] > 0;
		script_free(&lane[i]);
	}
	return e->code;
}

int direct_check(struct pass *p, struct err *e)
{
	struct staging *g;
	bool yes = true;

	for (size_t i = 0; yes && (g = stagings_next(p->job->dests.stagings, &i));) {
		if (g->directed && check_lanes(p, g, &yes, e) < 0)
			return e->code;
		if (yes)
			continue;
		g->skip = STAGING_NEVER;
		p->mixed = true;
		err_set(e, ERR_DATA, "partitions of %s have no unique key of the columns %s, and"
			" are large or have some twice", g->place->dest->dest_table,
			g->key->columns);
	}
	return e->code;
}
