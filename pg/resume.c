/*
 * Where the copy of a table goes on: the one rule about its marks in tdispatch.slice. Pure: asks no
 * server.
 *
 * As with the positions of a queue, lane 0 commits last: the others are at lane 0's mark, or one
 * slice ahead, and then that slice comes again without them.
 */
#include <stdio.h>
#include <string.h>

#include "pq.h"

static const char remedies[] = "Nothing was written. --reset forgets how far all copies of this"
	" consumer are: then empty dest_table, and begin anew";

int64_t resume_where(const struct conf *c)
{
	struct buf text = { 0 };

	buf_fmt(&text, "%s\n%s", c->from_key ? c->from_key : "", c->from_where ? c->from_where :
		"");
	uint64_t hash = span_hash("tdispatch where", (struct span){ text.p, text.len });
	buf_free(&text);
	return (int64_t)(hash >> 8);
}

static const struct mark *find(const struct marks *m, const struct origin_table *t, int64_t lane)
{
	for (size_t i = 0; i < m->n; i++)
		if (m->at[i].oid == t->oid && m->at[i].lane == lane)
			return &m->at[i];
	return NULL;
}

static const struct mark *find_name(const struct marks *m, const char *name)
{
	for (size_t i = 0; i < m->n; i++)
		if (strcmp(m->at[i].source, name) == 0)
			return &m->at[i];
	return NULL;
}

static void lose(struct resume_verdict *v, const struct origin_table *t, const char *why)
{
	v->kind = RESUME_LOST;
	snprintf(v->words, sizeof v->words, "lost position: %.200s %s. %s", t->name, why,
		remedies);
}

/* The lanes that have the slice which begins at lane 0's mark. */
static void find_ahead(const struct marks *m, const struct origin_table *t,
	struct resume_verdict *v)
{
	for (size_t i = 0; i < v->lanes; i++) {
		const struct mark *at = find(m, t, (int64_t)i);
		v->loads[i] = at && strcmp(at->upto, v->from) == 0;
		if (v->loads[i])
			continue;
		if (!at || (v->to && strcmp(v->to, at->upto) != 0))
			lose(v, t, "is marked in tdispatch.slice as no run of ours leaves it");
		v->to = at ? at->upto : NULL;
	}
}

/* The mark of a lane that has a part of it, or NULL: nothing is copied. */
static const struct mark *find_begun(const struct marks *m, const struct origin_table *t)
{
	for (size_t i = 0; i < m->n; i++)
		if (m->at[i].oid == t->oid && *m->at[i].upto)
			return &m->at[i];
	return NULL;
}

/* Rows that other keys chose, or sent elsewhere, are not those that the config means. */
static void refuse_change(const struct conf *c, const struct origin_table *t,
	const struct mark *begun, struct resume_verdict *v)
{
	if (begun->where != resume_where(c))
		lose(v, t, "was copied, or a part of it, with another from_where or from_key: put"
			" that back to go on, or give one of other rows a job_name of its own");
	else if (begun->rule != judge_rule(c, v->lanes))
		lose(v, t, "was copied, or a part of it, with other sections or other values of"
			" dest_table, row_mode, row_key, part_field, part_method or part_timezone:"
			" put the old values back to go on");
}

static void judge_known(const struct conf *c, const struct marks *m, const struct origin_table *t,
	bool by_key, struct resume_verdict *v)
{
	const struct mark *first = find(m, t, 0), *begun = find_begun(m, t);
	bool key = *first->upto == '=', end = strcmp(first->upto, SLICE_END) == 0;

	v->source = first->source;
	v->from = first->upto;
	v->lanes = first->lanes > 0 && first->lanes <= LANES_MAX ? (size_t)first->lanes : 1;
	v->rewritten = first->filenode != t->filenode;
	v->altered = begun && !end && begun->columns && begun->columns != t->columns;
	v->kind = end ? RESUME_DONE : RESUME_LOAD;
	if (begun && !end && v->rewritten)
		lose(v, t, "was rewritten since a part of it was copied (VACUUM FULL, CLUSTER,"
			" TRUNCATE or ALTER TABLE): its rows are at other places");
	else if (begun)
		refuse_change(c, t, begun, v);
	if (v->kind == RESUME_LOAD && *first->upto && key != by_key)
		lose(v, t, "was copied in a part with another from_key: put that back to go on");
	if (v->kind == RESUME_LOAD)
		find_ahead(m, t, v);
	if (v->kind == RESUME_LOAD && !v->to && v->lanes != (size_t)c->lanes)
		v->kind = RESUME_LANES;
}

struct resume_verdict resume_judge(const struct conf *c, const struct marks *m,
	const struct origin_table *t, bool by_key)
{
	struct resume_verdict v = {
		.kind = RESUME_LANES, .source = t->name, .from = SLICE_START,
	};
	const struct mark *other = find_name(m, t->name);

	if (find(m, t, 0))
		judge_known(c, m, t, by_key, &v);
	else if (other)
		lose(&v, t, "is another table than the one of that name that was copied before");
	if (v.kind == RESUME_LANES)
		v.lanes = (size_t)c->lanes;
	return v;
}
