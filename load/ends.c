/*
 * The two ends of a table's copy: connections, the snapshot under which all slices are read, and,
 * where a queue goes on after the copy, the consumer's registration before it.
 *
 * The holder keeps the snapshot when the reader has to connect again after an error. A run that
 * begins anew has a new one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "from.h"

static int open_source(struct from *f, struct err *e)
{
	struct job *j = f->job;
	const struct conf *c = j->conf;

	f->reading = false;
	j->src = pq_open("src_db", c->src_db, NULL, e);
	if (!j->src || conf_fits(c, pq_server(j->src)->encoding, e) < 0 ||
	    style_ask(j->src, c, &j->style, e) < 0)
		return e->code;
	/* as slice_begin sets them */
	snprintf(j->style.date, sizeof j->style.date, "ISO, YMD");
	snprintf(j->style.interval, sizeof j->style.interval, "postgres");
	return 0;
}

static int open_target(struct from *f, struct err *e)
{
	struct job *j = f->job;

	if (job_open_lanes(j, 1, e) < 0 || position_kind(j->dst[0], &j->kind, e) < 0 ||
	    position_require(j->kind, e) < 0 || mark_require(j->dst[0], e) < 0)
		return e->code;
	if (j->conf->on_error == ON_ERROR_DEAD_LETTER && dead_require(j->dst[0], e) < 0)
		return e->code;
	if (conf_keeps(j->conf) && !j->clocks.known && age_look(j, e) < 0)
		return e->code;
	if (job_leave_out(j, j->dst[0], e) < 0)
		return e->code;
	places_open_rows(j);
	return mark_look(j->dst[0], j->conf->consumer_name, NULL, &f->done, e);
}

/* Is the snapshot still there? */
static bool is_held(struct from *f)
{
	struct err lost = { 0 };

	if (!f->holder || pq_query(f->holder, "SELECT 1", &lost) == 0)
		return f->holder;
	log_warn("%s: the snapshot is lost, the copy goes on under a new one", lost.msg);
	pq_close(f->holder);
	f->holder = NULL;
	return false;
}

/* Gets the snapshot of all slices, or does without. */
static int hold(struct from *f, struct err *e)
{
	const struct conf *c = f->job->conf;

	if (c->from_snapshot == FROM_SNAPSHOT_SLICE)
		return 0;
	f->holder = pq_open("src_db", c->src_db, NULL, e);
	if (!f->holder || slice_begin(f->holder, "", e) < 0)
		return e->code;
	return slice_export(f->holder, f->snapshot, sizeof f->snapshot, e);
}

/* ---- with a queue */

int ends_begin_lane(struct job *j, size_t lane, size_t lanes, struct err *e)
{
	struct position ignored;

	return position_begin(j->dst[lane], j->conf->consumer_name, lane, lanes, j->kind,
		&ignored, e);
}

static int register_consumer(struct from *f, struct err *e)
{
	struct job *j = f->job;
	const struct conf *c = j->conf;
	struct queue_state state;
	bool known = false;
	int64_t tick;

	if (queue_find(j->src, c, e) < 0 ||
	    queue_state(j->src, c->queue_name, c->consumer_name, &state, e) < 0 ||
	    queue_require(&state, c->queue_name, e) < 0 ||
	    position_get(j->dst[0], c->consumer_name, &known, &tick, e) < 0)
		return e->code;
	if (known)
		return err_set(e, ERR_POSITION, "consumer %s has loaded from queue %s already, and"
			" what it loaded may be in the table too: copy the table under a job_name"
			" of its own, or with queue_name unset", c->consumer_name, c->queue_name);
	if (f->again && !state.consumer)
		return err_set(e, ERR_POSITION, "queue %s has lost the consumer %s since the copy"
			" was begun, and with it events of rows that were copied: --reset, empty"
			" dest_table, and begin anew", c->queue_name, c->consumer_name);
	return state.consumer ? 0 : consumer_register(j->src, c->queue_name, c->consumer_name, e);
}

static int refuse_again(const char *why, struct err *e)
{
	return err_set(e, ERR_POSITION, "the copy %s, and cannot go on under another snapshot: rows"
		" that were written since would come twice, from the table and from the queue."
		" --reset, empty dest_table, and begin anew", why);
}

/* Before a snapshot is taken: the consumer is registered, so that no event between the two is
 * missed. */
static int begin_following(struct from *f, struct err *e)
{
	struct job *j = f->job;
	const struct conf *c = j->conf;

	f->follows = *c->queue_name && !f->dry;
	if (!f->follows || mark_see(j->dst[0], c, &j->seen, e) < 0)
		return e->code;
	f->complete = j->seen.state == MARK_COPIED || j->seen.state == MARK_BEHIND;
	f->again = j->seen.state == MARK_COPYING && f->done.n > 1;
	if (j->seen.state == MARK_NONE && f->done.n)
		return refuse_again("was begun without a queue", e);
	return f->complete ? 0 : register_consumer(f, e);
}

/* NULL: a section ignores the table, or none is for it. */
static const struct way *way_of(struct from *f)
{
	const struct event ev = origin_event(&f->origin);

	return places_source(f->job, &ev)->way;
}

/* A second snapshot sees rows whose events come as well. These replace the rows, if a key has one
 * row. What the first snapshot saw and the second does not, its events do not lack either. */
static int check_again(struct from *f, struct err *e)
{
	if (!f->again)
		return 0;
	const struct way *w = way_of(f);
	return !w || w->dest->row_mode == ROWS_KEEP_LATEST ? 0 :
		refuse_again("was ended before it was complete", e);
}

static char *database(struct pq *q, struct err *e)
{
	if (pq_query(q, PQ_OWN_PATH "SELECT pg_postmaster_start_time() || ' ' || oid"
	    " FROM pg_database WHERE datname = current_database()", e) < 0)
		return NULL;
	return mem_text(pq_value(q, 0, 0));
}

/* Sets f->within: are both sides one database? There rows must not come into what they come from,
 * nor into what has that below or above it: all would be there twice. */
static int refuse_itself(struct from *f, struct err *e)
{
	struct job *j = f->job;
	const struct way *w = way_of(f);
	struct table table;
	bool meets = false;

	if (!w || table_find(j->dst[0], w->dest, w->dest->table, &table, e) < 0)
		return e->code;
	char *src = database(j->src, e), *dst = src ? database(j->dst[0], e) : NULL;
	f->within = dst && strcmp(src, dst) == 0;
	free(src);
	free(dst);
	int64_t oid = f->within && *table.oid ? strtoll(table.oid, NULL, 10) : 0;
	if (!oid || e->code || origin_meets(j->src, f->origin.oid, oid, &meets, e) < 0 || !meets)
		return e->code;
	if (oid == f->origin.oid)
		return err_set(e, ERR_SHAPE, "from_table %s is dest_table %s itself: rename the old"
			" table", f->origin.name, w->dest->dest_table);
	return err_set(e, ERR_SHAPE, "from_table %s and dest_table %s have a table in common, whose"
		" rows would be there twice: take it out of dest_table first (ALTER TABLE ..."
		" DETACH PARTITION or NO INHERIT)", f->origin.name, w->dest->dest_table);
}

/* Stores which events the copy sees: those of its first snapshot, which later ones leave. */
static int tell_seen(struct from *f, struct err *e)
{
	struct job *j = f->job;
	struct buf tables = { 0 };
	struct mark_seen seen = { .state = MARK_COPYING };

	if (!f->follows || f->complete || f->again)
		return 0;
	buf_str(&tables, f->origin.name);
	for (size_t i = 0; i < f->origin.n; i++)
		buf_fmt(&tables, "\n%s", f->origin.table[i].name);
	buf_cstr(&tables);
	seen.snapshot = slice_txids(f->holder, e);
	seen.tables = tables.p;
	if (seen.snapshot && ends_begin_lane(j, 0, 1, e) == 0)
		mark_tell(j->dst[0], j->conf, &seen, e);
	mark_seen_clear(&seen);
	return e->code;
}

int ends_complete(struct from *f, struct err *e)
{
	struct job *j = f->job;

	if (!f->follows || f->complete)
		return 0;
	if (ends_begin_lane(j, 0, 1, e) < 0 || mark_see(j->dst[0], j->conf, &j->seen, e) < 0)
		return e->code;
	j->seen.state = MARK_COPIED;
	f->complete = mark_tell(j->dst[0], j->conf, &j->seen, e) == 0;
	return e->code;
}

static void let_go(struct from *f)
{
	pq_close(f->holder);
	f->holder = NULL;
	origin_free(&f->origin);
	f->at = 0;
}

static void tell_tables(const struct from *f)
{
	const struct origin *o = &f->origin;
	size_t n = 0;

	for (size_t i = 0; i < o->n; i++)
		n += resume_judge(f->job->conf, &f->done, &o->table[i], o->key).kind ==
			RESUME_DONE;
	log_info("copying %s: %zu table%s", f->origin.name, f->origin.n,
		text_s((int64_t)f->origin.n));
	if (n)
		log_info("%zu of them %s copied already, and not looked at again: --reset forgets"
			" that", n, n == 1 ? "is" : "are");
}

/* The table is looked at after the snapshot is taken: then no row of it lies behind the end. */
static int look(struct from *f, struct err *e)
{
	const struct conf *c = f->job->conf;
	bool slice = c->from_snapshot == FROM_SNAPSHOT_SLICE;

	if (slice ? f->origin.n > 0 : is_held(f))
		return 0;
	let_go(f);
	if (begin_following(f, e) < 0 || hold(f, e) < 0 ||
	    origin_find(f->job->src, c, &f->origin, e) < 0 || check_again(f, e) < 0 ||
	    refuse_itself(f, e) < 0 || origin_check(f->job->src, c, &f->origin, e) < 0 ||
	    tell_seen(f, e) < 0) {
		let_go(f);
		return e->code;
	}
	tell_tables(f);
	return 0;
}

int ends_open(struct from *f, struct err *e)
{
	struct job *j = f->job;

	if (j->src && j->dst[0])
		return 0;
	job_disconnect(j);
	if (open_source(f, e) < 0 || open_target(f, e) < 0)
		return e->code;
	return look(f, e);
}
