/*
 * --verify: compares a batch with its events in the open transactions, before the commit.
 *
 * A value's text may change in the target ('007' for an integer), so the target itself must say
 * what a row should be: the events are read a second time, into a temporary table for each
 * partition, its twin, without constraints and triggers. Then the count and checksum of the twin's
 * rows are compared with those of the rows that this transaction wrote to the partition.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "private.h"

struct twin_column {
	char *name;
	/* All rows were loaded with it. Else some have its default, and it is not compared. */
	bool in_all;
};

struct twin {                           /* the temporary table of a partition */
	const struct place *place;
	const char *name;               /* the partition, without schema */
	bool latest;                    /* its rows are staged: it has no table of its own */
	struct twin_column *column;
	size_t n, cap;
};

struct verify {
	struct job *job;
	bool rekeyed;                   /* events have two keys */
	struct stagings *stagings;      /* the second reading, with row_mode = keep_latest */
	struct twin *twin;              /* one for each partition of the batch */
	size_t n;
	int64_t differ;
};

/* The rows of our own transaction and its savepoints: what is visible and not yet committed. */
#define OURS "pg_catalog.age(t.xmin)" PQ_OWN("<=") "0" \
	" AND pg_catalog.txid_status(pg_catalog.txid_current()" PQ_OWN("-") \
	"pg_catalog.age(t.xmin)::pg_catalog.int8)" PQ_OWN("=") "'in progress'::pg_catalog.text"

static void add_twin(struct buf *sql, size_t i)
{
	buf_fmt(sql, "pg_temp.tdispatch_verify_%zu", i);
}

static size_t lane_of(const struct verify *v, size_t i)
{
	return job_lane_of(v->job, span_of(v->twin[i].name));
}

static void add_partition(struct buf *sql, const struct verify *v, size_t i)
{
	buf_qualified(sql, v->twin[i].place->dest->schema, span_of(v->twin[i].name));
}

static int create_twins(struct verify *v, size_t lane, struct err *e)
{
	struct buf sql = { 0 };

	for (size_t i = 0; i < v->n; i++) {
		if (lane_of(v, i) != lane || v->twin[i].latest)
			continue;
		buf_str(&sql, "CREATE TEMPORARY TABLE ");
		add_twin(&sql, i);
		buf_str(&sql, " ON COMMIT DROP AS SELECT * FROM ");
		add_partition(&sql, v, i);
		buf_str(&sql, " WITH NO DATA;");
	}
	int rc = sql.len ? pq_query(v->job->dst[lane], buf_cstr(&sql), e) : 0;
	buf_free(&sql);
	return rc;
}

/* ---- the second reading */

static bool has_column(const struct shape *shape, const char *name)
{
	for (size_t i = 0; i < shape->n; i++)
		if (span_is(shape->target[i], name))
			return true;
	return false;
}

static bool knows_column(const struct twin *t, struct span name)
{
	for (size_t i = 0; i < t->n; i++)
		if (span_is(name, t->column[i].name))
			return true;
	return false;
}

/* Rows of that shape go to the twin: updates which columns all rows have. */
static void join_shape(struct twin *t, const struct shape *shape)
{
	bool first = t->n == 0;

	for (size_t i = 0; i < t->n; i++)
		t->column[i].in_all = t->column[i].in_all && has_column(shape, t->column[i].name);
	for (size_t i = 0; i < shape->n; i++) {
		if (knows_column(t, shape->target[i]))
			continue;
		t->column = mem_grow(t->column, t->n, &t->cap, sizeof *t->column);
		t->column[t->n++] = (struct twin_column){
			mem_str(shape->target[i].p, shape->target[i].n), first,
		};
	}
}

static int other_events(struct err *e)
{
	return err_set(e, ERR_OTHER,
		"src_db: the batch has other events than when it was read first");
}

/* Are the place's rows staged? */
static bool is_staged(const struct pass *p, const struct place *k)
{
	return k->dest->row_mode == ROWS_KEEP_LATEST && !p->reader;
}

/* A pass_place. A partition without rows in this pass may belong to a lane that has the batch from
 * an earlier run: then no row goes there. Of staged rows the last ones decide: see check_others. */
static int into_twin(struct pass *p, struct place *place, struct part_want *want,
	const struct shape *shape, struct buf *table, struct err *e)
{
	struct verify *v = p->place_for;
	size_t i = 0;

	while (i < v->n && (v->twin[i].place != place || !span_is(want->name, v->twin[i].name)))
		i++;
	if (i < v->n) {
		join_shape(&v->twin[i], shape);
		add_twin(table, i);
	} else if (!is_staged(p, place) && v->job->loads[job_lane_of(v->job, want->name)]) {
		other_events(e);
	}
	return e->code;
}

/* A query for the events except the dead letters, also those of a lane that has the batch: what
 * they did in another counts for nothing, either. Caller frees. */
static char *good_events(const struct letters *dead, const char *event_sql)
{
	struct buf sql = { 0 };

	buf_fmt(&sql, "SELECT * FROM (%s) good WHERE ev_id <> ALL ('{", event_sql);
	for (size_t i = 0; i < dead->n; i++)
		buf_fmt(&sql, "%s%" PRId64, i ? "," : "", dead->at[i].event);
	for (size_t i = 0; i < dead->nleft; i++)
		buf_fmt(&sql, "%s%" PRId64, i || dead->n ? "," : "", dead->left[i]);
	buf_str(&sql, "}')");
	buf_cstr(&sql);
	return sql.p;
}

static int make_stage(void *arg, struct pq *dst, size_t lane, size_t of, const char *table,
	bool *made, struct err *e)
{
	return stagings_make(arg, dst, lane, of, table, made, e);
}

static bool kinds_of_stage(void *arg, size_t lane, size_t of, const struct shape *shape,
	enum binary_kind *kinds)
{
	return stagings_kinds(arg, lane, of, shape, kinds);
}

/* With two keys there is nothing to compare: see compare. */
static int merge_nothing(struct pass *p, struct err *e)
{
	(void)p;
	return e->code;
}

static int read_again(struct verify *v, const struct pass *loaded, struct err *e)
{
	struct job *j = v->job;
	struct queue_batch batch = *loaded->batch;
	const struct sink_types types = {
		.arg = v->stagings, .stage = make_stage, .stage_kinds = kinds_of_stage,
	};
	struct pass p = {
		.job = j, .from = j->src, .batch = &batch, .sink = sink_new(&types), .event = -1,
		.place = into_twin, .place_for = v, .stagings = v->stagings,
		.reader = loaded->reader,
		.ordered = loaded->ordered, .merge = merge_nothing,
	};

	const struct letters *dead = &loaded->dead;
	bool events = (dead->n || dead->nleft) && !loaded->reader;      /* a reader knows itself */
	if (events)
		batch.event_sql = good_events(dead, batch.event_sql);
	if (pass_run(&p, e) == 0)
		spread_run(&p, e);
	sink_free(p.sink);
	if (events)
		qbatch_free(&batch);
	return e->code;
}

/* ---- comparing */

/* Appends the columns with that in_all, separated by commas. Returns how many. */
static size_t add_columns(struct buf *sql, const struct twin *t, bool in_all, const char *before)
{
	size_t n = 0;

	for (size_t i = 0; i < t->n; i++) {
		if (t->column[i].in_all != in_all)
			continue;
		buf_fmt(sql, "%s%s", n++ ? ", " : "", before);
		buf_ident(sql, span_of(t->column[i].name));
	}
	return n;
}

/* Appends a subquery without its FROM list: count and checksum of a table's rows. */
static void add_sums(struct buf *sql, const struct twin *t)
{
	buf_str(sql, "(SELECT pg_catalog.count(*) AS n,"
		" pg_catalog.sum(pg_catalog.hashtextextended(ROW(");
	add_columns(sql, t, true, "t.");
	buf_str(sql, ")::pg_catalog.text, 0)) AS h FROM ");
}

/* Logs which columns are not compared. false: not one can be. */
static bool is_comparable(const struct twin *t, const char *name)
{
	struct buf columns = { 0 };
	size_t left_out = add_columns(&columns, t, false, "");

	if (left_out == t->n)
		log_error("verify: no column of partition %s can be compared: not one is in all"
			" of its events", name);
	else if (left_out)
		log_warn("verify: partition %s: not every event has %s: not compared", name,
			buf_cstr(&columns));
	buf_free(&columns);
	return left_out < t->n;
}

/* ---- with row_mode = keep_latest: the partition's rows of the keys that were staged */

static bool is_latest(const struct twin *t)
{
	return t->latest;
}

/* The number of the partition in the second reading's staging table. */
static size_t part_number(const struct staging *g, const char *name)
{
	size_t i = 0;

	while (i < g->npart && strcmp(g->part[i].name, name) != 0)
		i++;
	return i;
}

/* The partition got nothing when the batch was read first: nothing may stay of what it gets now. */
static int check_other(struct verify *v, const struct staging *g, size_t part, struct err *e)
{
	const struct staged_part *at = &g->part[part];
	struct pq *dst = v->job->dst[at->lane];
	struct buf sql = { 0 };

	for (size_t i = 0; i < v->n; i++)
		if (v->twin[i].place == g->place && strcmp(v->twin[i].name, at->name) == 0)
			return 0;
	if (!g->stage[at->lane].columns || !v->job->loads[at->lane])
		return 0;
	buf_str(&sql, "SELECT 1 FROM ");
	stage_add_latest(&sql, &g->stage[at->lane], part);
	buf_str(&sql, " l WHERE ");
	stage_add_comes(&sql);
	buf_str(&sql, " LIMIT 1");
	if (pq_query(dst, buf_cstr(&sql), e) == 0 && pq_rows(dst) > 0)
		other_events(e);
	buf_free(&sql);
	return e->code;
}

static int check_others(struct verify *v, struct err *e)
{
	const struct staging *g;

	for (size_t i = 0; !v->rekeyed && (g = stagings_next(v->stagings, &i));)
		for (size_t part = 0; part < g->npart; part++)
			if (check_other(v, g, part, e) < 0)
				return e->code;
	return 0;
}

/* As add_comparison. */
static void add_latest(struct buf *sql, const struct verify *v, size_t i)
{
	const struct twin *t = &v->twin[i];
	const struct staging *g = stagings_at(v->stagings, t->place);
	const struct stage *s = &g->stage[lane_of(v, i)];
	size_t part = part_number(g, t->name);

	stage_add_analyze(sql, s);
	buf_str(sql, "SELECT want.n, got.n, (NOT coalesce(want.h" PQ_OWN("=") "got.h,"
		" want.h IS NULL AND got.h IS NULL))::pg_catalog.int4 FROM ");
	add_sums(sql, t);
	buf_str(sql, "(SELECT l.* FROM ");
	stage_add_latest(sql, s, part);
	buf_str(sql, " l WHERE ");
	stage_add_comes(sql);
	buf_str(sql, ") t) want, ");
	add_sums(sql, t);
	add_partition(sql, v, i);
	buf_str(sql, " t WHERE ");
	stage_add_touched(sql, s, part);
	buf_str(sql, ") got");
}

/* Appends the query: rows of the twin, rows of the partition, and 1 if their values differ. */
static void add_comparison(struct buf *sql, const struct verify *v, size_t i)
{
	buf_str(sql, "SELECT want.n, got.n, (NOT coalesce(want.h" PQ_OWN("=") "got.h,"
		" want.h IS NULL AND got.h IS NULL))::pg_catalog.int4 FROM ");
	add_sums(sql, &v->twin[i]);
	add_twin(sql, i);
	buf_str(sql, " t) want, ");
	add_sums(sql, &v->twin[i]);
	add_partition(sql, v, i);
	buf_str(sql, " t WHERE " OURS ") got");
}

static int compare(struct verify *v, size_t i, struct err *e)
{
	struct pq *dst = v->job->dst[lane_of(v, i)];
	const char *name = v->twin[i].name;
	struct buf sql = { 0 };

	if (is_latest(&v->twin[i]) && v->rekeyed) {
		log_warn("verify: partition %s: the key has changed in the batch: not compared",
			name);
		return 0;
	}
	bool goes = is_latest(&v->twin[i]) && !v->twin[i].n;    /* nothing but deletes */
	if (!goes && !is_comparable(&v->twin[i], name)) {
		v->differ++;
		return 0;
	}
	(is_latest(&v->twin[i]) ? add_latest : add_comparison)(&sql, v, i);
	int rc = pq_query(dst, buf_cstr(&sql), e);
	buf_free(&sql);
	if (rc < 0)
		return rc;
	int64_t want = pq_int(dst, 0, 0, 0), got = pq_int(dst, 0, 1, 0);
	bool differ = pq_int(dst, 0, 2, 0);
	if (want != got)
		log_error("verify: partition %s got %" PRId64 " rows from %" PRId64 " events", name,
			got, want);
	else if (differ)
		log_error("verify: partition %s got %" PRId64 " rows, and their values are not"
			" those of the events", name, got);
	v->differ += differ || want != got;
	return 0;
}

static void free_twins(struct verify *v)
{
	for (size_t i = 0; i < v->n; i++) {
		for (size_t k = 0; k < v->twin[i].n; k++)
			free(v->twin[i].column[k].name);
		free(v->twin[i].column);
	}
	free(v->twin);
}

static int verify(struct verify *v, const struct pass *loaded, struct err *e)
{
	for (size_t lane = 0; lane < v->job->lanes; lane++)
		if (create_twins(v, lane, e) < 0)
			return e->code;
	if (read_again(v, loaded, e) < 0 || check_others(v, e) < 0)
		return e->code;
	for (size_t i = 0; i < v->n; i++)
		if (compare(v, i, e) < 0)
			return e->code;
	if (v->differ && loaded->reader)
		return err_set(e, ERR_DATA, "%" PRId64 " of %zu partitions differ from the table,"
			" nothing of the slice is committed", v->differ, v->n);
	if (v->differ)
		return err_set(e, ERR_DATA, "batch %" PRId64 ": %" PRId64 " of %zu partitions"
			" differ from the events, nothing of it is committed", loaded->batch->id,
			v->differ, v->n);
	if (loaded->reader)
		log_info("slice verified, %zu partitions", v->n);
	else
		log_info("batch %" PRId64 ": verified, %zu partitions", loaded->batch->id, v->n);
	return 0;
}

/* The names are the sink's, and valid until its next pass. */
static void add_twins(struct verify *v, const struct pass *loaded, const struct place *k,
	size_t *cap)
{
	const struct tally *rows = &sink_done(loaded->sink, k->number)->rows;
	bool latest = is_staged(loaded, k);

	for (size_t i = 0; i < rows->n; i++) {
		v->twin = mem_grow(v->twin, v->n, cap, sizeof *v->twin);
		v->twin[v->n++] = (struct twin){
			.place = k, .name = rows->at[i].name, .latest = latest,
		};
	}
}

int verify_run(const struct pass *loaded, struct err *e)
{
	struct job *j = loaded->job;
	struct verify v = {
		.job = j, .rekeyed = loaded->ordered,
		.stagings = stagings_new(&j->dests, "tdispatch_verify_stage_"),
	};
	size_t cap = 0;

	for (size_t i = 0; i < j->dests.nplace; i++)
		add_twins(&v, loaded, j->dests.place[i], &cap);
	watch_verify(j->watch, true);
	verify(&v, loaded, e);
	watch_verify(j->watch, false);
	free_twins(&v);
	stagings_free(v.stagings);
	return e->code;
}
