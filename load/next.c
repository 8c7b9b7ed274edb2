/*
 * The slice of a table's copy that is next: of which tables it has rows, where it begins and ends
 * and which lanes it is for, by the marks; the transactions in which it is copied, and its mark.
 */
#include <stdlib.h>
#include <string.h>

#include "from.h"

#define TABLES_MAX 256                  /* in a slice: a query of them is planned at once */

/* ---- which it is */

/* Is the table, by its blocks, one of several that make a slice? */
static bool is_small(const struct from *f, size_t i)
{
	return !f->origin.key && !f->again && i >= f->alone && i < f->origin.n &&
		f->origin.table[i].blocks <= f->job->conf->from_slice / f->origin.block_bytes / 2;
}

/* Can all of the table's rows be loaded with those of the table at hand? */
static bool joins(const struct from *f, size_t i, const struct resume_verdict *v)
{
	const struct origin_table *t = &f->origin.table[i];
	const struct resume_verdict w = resume_judge(f->job->conf, &f->marks, t, false);

	return is_small(f, i) && w.kind == v->kind && w.lanes == v->lanes &&
		memcmp(w.loads, v->loads, sizeof w.loads) == 0 && !*w.from &&
		strcmp(w.source, t->name) == 0 && (!w.to || strcmp(w.to, SLICE_END) == 0) &&
		!w.to == !v->to;
}

/* How many tables behind the one at hand are in its slice. */
static size_t count_more(const struct from *f, const struct resume_verdict *v)
{
	const struct origin_table *t = &f->origin.table[f->at];
	int64_t blocks = t->blocks, most = f->job->conf->from_slice / f->origin.block_bytes;
	size_t n = 0;

	if (v->kind == RESUME_DONE || !joins(f, f->at, v))
		return 0;
	while (n + 1 < TABLES_MAX && is_small(f, f->at + n + 1) &&
	    blocks + t[n + 1].blocks <= most && joins(f, f->at + n + 1, v))
		blocks += t[++n].blocks;
	return n;
}

static struct mark_whose whose(const struct from *f, const struct resume_verdict *v)
{
	return (struct mark_whose){
		.conf = f->job->conf, .table = &f->origin.table[f->at], .more = f->more,
		.source = v->source, .lanes = v->lanes,
	};
}

/* Opens lane 0's transaction, and judges its table's marks, which nobody else changes now. */
static int judge(struct from *f, struct resume_verdict *v, struct err *e)
{
	struct job *j = f->job;
	const struct conf *c = j->conf;
	const struct origin_table *t = &f->origin.table[f->at];
	bool several = is_small(f, f->at) && is_small(f, f->at + 1);

	for (;;) {
		if (job_open_lanes(j, 1, e) < 0 || ends_begin_lane(j, 0, 1, e) < 0 ||
		    mark_look(j->dst[0], c->consumer_name, several ? NULL : t, &f->marks, e) < 0)
			return e->code;
		*v = resume_judge(c, &f->marks, t, f->origin.key);
		if (v->kind == RESUME_LOST)
			return err_set(e, ERR_POSITION, "%s", v->words);
		f->more = several ? count_more(f, v) : 0;
		if (v->kind != RESUME_LANES)
			return 0;
		const struct mark_whose w = whose(f, v);
		if (mark_set_lanes(j->dst[0], &w, v->from, e) < 0)
			return e->code;
	}
}

/* ---- its transactions */

static int begin_lanes(struct from *f, const struct resume_verdict *v, struct err *e)
{
	struct job *j = f->job;

	j->lanes = v->lanes;
	memcpy(j->loads, v->loads, sizeof j->loads);
	if (f->lanes != j->lanes)
		places_forget(&j->dests);
	f->lanes = j->lanes;
	if (job_open_lanes(j, j->lanes, e) < 0)
		return e->code;
	for (size_t i = 1; i < j->lanes && !e->code; i++)
		ends_begin_lane(j, i, j->lanes, e);
	return e->code;
}

int next_read(struct from *f, struct err *e)
{
	if (!f->reading && slice_begin(f->job->src, f->snapshot, e) == 0)
		f->reading = true;
	return e->code;
}

static int refuse_rewritten(const char *name, struct err *e)
{
	return err_set(e, ERR_POSITION, "%s was rewritten (VACUUM FULL, CLUSTER, TRUNCATE or ALTER"
		" TABLE) since the copy was begun: start it again under a new snapshot", name);
}

/* A table that was rewritten since it was looked at has its rows at other places, and may lack them
 * under a snapshot from before: then *again, under another one, if nothing of it is copied. */
static int check_file(struct from *f, struct origin_table *t, const struct origin_file *now,
	bool *again, struct err *e)
{
	bool other = now->oid != t->oid;

	if (!other && now->filenode == t->filenode && now->filenode == now->seen)
		return 0;
	if (!other && now->filenode == t->filenode && now->seen == 0)
		return 0;               /* it was made after the snapshot, which has no row of it */
	if (other)
		return err_set(e, ERR_POSITION, "%s was replaced since the copy was begun: start it"
			" again under a new snapshot", t->name);
	if (f->job->conf->from_snapshot == FROM_SNAPSHOT_TABLE)
		return refuse_rewritten(t->name, e);
	*again = true;
	t->filenode = now->filenode;
	const struct resume_verdict v = resume_judge(f->job->conf, &f->marks, t, false);
	return v.kind == RESUME_LOST ? err_set(e, ERR_POSITION, "%s", v.words) : 0;
}

/* Opens the reader's transaction. A table that was rewritten is empty under a snapshot from
 * before. */
static int read_by_key(struct from *f, struct err *e)
{
	const struct conf *c = f->job->conf;
	char *rewritten = NULL;

	while (!f->reading) {
		if (next_read(f, e) < 0 || origin_lock_all(f->job->src, &f->origin, c->from_where,
		    &rewritten, e) < 0 || !rewritten)
			break;
		if (c->from_snapshot == FROM_SNAPSHOT_TABLE)
			refuse_rewritten(rewritten, e);
		else
			pq_query(f->job->src, "ROLLBACK", e);
		free(rewritten);
		f->reading = false;
		if (e->code)
			break;
	}
	return e->code;
}

/* The same, with the slice's tables locked. */
static int read_tables(struct from *f, struct err *e)
{
	struct origin_table *t = &f->origin.table[f->at];
	struct origin_file *now = mem_alloc((f->more + 1) * sizeof *now);
	bool again = true;

	next_read(f, e);
	while (again && !e->code) {
		again = false;
		origin_lock(f->job->src, t, f->more + 1, now, e);
		for (size_t i = 0; i <= f->more && !e->code; i++)
			check_file(f, &t[i], &now[i], &again, e);
		if (!again || e->code || pq_query(f->job->src, "ROLLBACK", e) < 0)
			break;
		f->reading = false;
		next_read(f, e);
	}
	free(now);
	return e->code;
}

int next_begin(struct from *f, struct next *n, struct slice_query *q, struct err *e)
{
	struct job *j = f->job;
	struct resume_verdict *v = &n->verdict;

	next_free(n);
	if (judge(f, v, e) < 0)
		return e->code;
	if (v->kind == RESUME_DONE)
		return pq_query(j->dst[0], "ROLLBACK", e);
	if (v->altered)
		log_warn("%s has other columns than when its first part was copied: the rows of"
			" that part are as they were then", f->origin.table[f->at].name);
	if (begin_lanes(f, v, e) < 0 ||
	    (f->origin.key ? read_by_key(f, e) : read_tables(f, e)) < 0)
		return e->code;
	*q = (struct slice_query){
		.origin = &f->origin, .table = &f->origin.table[f->at], .more = f->more,
		.where = j->conf->from_where, .from = v->from,
	};
	n->to = v->to ? mem_text(v->to) : slice_end(j->src, q, j->conf->from_slice, e);
	q->to = n->to;
	return e->code ? e->code : 1;
}

int next_mark(const struct from *f, const struct next *n, struct err *e)
{
	const struct job *j = f->job;
	const struct mark_whose w = whose(f, &n->verdict);

	for (size_t i = 0; i < j->lanes && !e->code; i++)
		if (j->loads[i])
			mark_store(j->dst[i], &w, i, n->to, e);
	return e->code;
}

/* Locks on tables that are done are let go: the holder keeps the snapshot. */
int next_end(struct from *f, const struct next *n, struct err *e)
{
	bool end = strcmp(n->to, SLICE_END) == 0;

	f->at += end ? f->more + 1 : 0;
	if (!end && f->job->conf->from_snapshot == FROM_SNAPSHOT_TABLE)
		return 0;
	f->reading = false;
	return pq_query(f->job->src, "COMMIT", e);
}

void next_free(struct next *n)
{
	free(n->to);
	n->to = NULL;
}
