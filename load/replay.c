/*
 * --replay: loads the dead letters again, with the current config. A batch's letters are read as
 * its events were, on a separate connection; one transaction writes the rows that can be written
 * and deletes their letters. Lane 0's lock keeps out the letters of a batch that is being loaded,
 * since that lane commits last.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "private.h"

#define LOCK_PAUSE_MS 100               /* between two attempts to get a running process's lock */

struct replay {
	struct job *job;
	struct pq *letters;             /* the target, by the source's time zone and encoding */
	int64_t left;                   /* letters that were not loaded */
};

/* Opens the connection that reads the letters, after asking the source for its style. */
static int open_letters(struct replay *r, struct err *e)
{
	struct job *j = r->job;

	if (job_source(j, e) < 0 || job_check_name(j->conf, j->src, NULL, e) < 0 ||
	    (conf_keeps(j->conf) && age_look(j, e) < 0))
		return e->code;
	pq_close(j->src);
	j->src = NULL;
	if (style_open(&r->letters, j->conf, &j->style, e) == 0)
		job_check_name(j->conf, NULL, r->letters, e);
	return e->code;
}

/* Opens the transaction. Waits, up to retry_limit, for a process that loads. */
static int begin(struct job *j, struct err *e)
{
	int64_t deadline_ms = clock_ms() + j->conf->retry_limit;
	struct position pos;

	j->loads[0] = true;     /* a commit before said that the lane has its batch */
	for (;;) {
		if (job_open_lanes(j, 1, e) < 0 ||
		    position_begin(j->dst[0], j->conf->consumer_name, 0, 1, j->kind, &pos, e) == 0)
			return e->code;
		if (e->code != ERR_CONFLICT || clock_ms() > deadline_ms || process_stop_now())
			return e->code;
		*e = (struct err){ 0 };
		if (pq_query(j->dst[0], "ROLLBACK", e) < 0)
			return e->code;
		process_sleep(LOCK_PAUSE_MS);
	}
}

/* ---- row_mode = keep_latest: no old version over a newer row */

/* The column that says which event a row is of; the NULL span: there is none. */
static struct span evid_column(const struct dest *d)
{
	for (size_t i = d->nfield - d->nword; i < d->nfield; i++)
		if (d->field[i].told == TOLD_EVID)
			return d->field[i].target;
	return span_of(NULL);
}

/* The staged partitions that exist, at most g->npart. */
static int list_parts(struct pass *p, const struct staging *g, struct stage_part *parts, size_t *n,
	struct err *e)
{
	struct pq *dst = p->job->dst[0];
	struct part_new *list = mem_alloc((g->npart + 1) * sizeof *list);
	struct buf sql = { 0 };
	size_t wanted = 0;

	stage_add_parts(&sql, &g->stage[0]);
	if (pq_query(dst, buf_cstr(&sql), e) == 0)
		for (; wanted < (size_t)pq_rows(dst); wanted++) {
			size_t number = (size_t)pq_int(dst, (int)wanted, 0, 0);
			list[wanted] = (struct part_new){
				.name = g->part[number].name, .start_s = (int64_t)number,
			};
		}
	if (!e->code)
		part_find(dst, g->place->dest, list, wanted, e);
	for (size_t i = 0; i < wanted; i++)
		if (list[i].there)
			parts[(*n)++] = (struct stage_part){
				.schema = g->place->dest->schema, .table = span_of(list[i].name),
				.number = (size_t)list[i].start_s,
			};
	buf_free(&sql);
	free(list);
	return e->code;
}

/* Sets the tables that may have a row of the keys: dest_table with all partitions, or where these
 * are none of its children those of the letters. The caller frees parts. */
static int find_parts(struct pass *p, const struct staging *g, struct stage_part **parts, size_t *n,
	struct err *e)
{
	const struct dest *d = g->place->dest;
	struct table table;

	*parts = mem_alloc((g->npart + 1) * sizeof **parts);
	*n = 0;
	if (table_find(p->job->dst[0], d, d->table, &table, e) < 0)
		return e->code;
	bool all = d->period.method == PERIOD_NONE || table.partitioned || table_makes_children(d);
	if (!*table.oid || !all)
		return list_parts(p, g, *parts, n, e);
	(*parts)[(*n)++] = (struct stage_part){ .schema = d->schema, .table = d->table };
	return 0;
}

/* The letter stays. evid: of the row that its key has, or NULL. */
static int refuse(struct pass *p, const struct dest *d, int64_t event, const char *key,
	const char *evid, struct err *e)
{
	if (!evid_column(d).p)
		err_set(e, ERR_DATA, "key %s of %s: its row may be newer, and fields has no _EVID"
			" that would tell", key, d->dest_table);
	else if (evid)
		err_set(e, ERR_DATA, "key %s of %s: its row is newer, of event %s", key,
			d->dest_table, evid);
	else
		err_set(e, ERR_DATA, "key %s of %s is not there: it may have been deleted since",
			key, d->dest_table);
	p->rows--;
	return send_bury(p, event, 0, "", e);
}

/* Leaves out the letters that may be older than what the target has of their keys. */
static int leave_out_old(struct pass *p, const struct staging *g, struct err *e)
{
	struct pq *dst = p->job->dst[0];
	const struct dest *d = g->place->dest;
	struct stage_part *parts;
	struct buf sql = { 0 };
	size_t n;

	if (find_parts(p, g, &parts, &n, e) == 0) {
		stage_add_unsure(&sql, &g->stage[0], parts, n, evid_column(d));
		pq_query(dst, buf_cstr(&sql), e);
	}
	for (int row = 0; !e->code && row < pq_rows(dst); row++)
		refuse(p, d, pq_int(dst, row, 0, 0), pq_value(dst, row, 1), pq_value(dst, row, 2),
			e);
	buf_free(&sql);
	free(parts);
	return e->code;
}

static int merge(struct pass *p, struct err *e)
{
	const struct staging *g;

	for (size_t i = 0; !e->code && (g = stagings_next(p->job->dests.stagings, &i));)
		if (g->used && g->stage[0].columns)
			leave_out_old(p, g, e);
	return e->code ? e->code : merge_run(p, e);
}

/* ---- a batch's letters */

static int load_letters(struct pass *p, struct err *e)
{
	struct job *j = p->job;
	int again;

	do {
		if (begin(j, e) < 0)
			return e->code;
		again = pass_run(p, e);
		if (again < 0)
			return again;
	} while (again);
	if (merge(p, e) < 0 || dead_remove(&p->dead, j->dst[0], j->conf, p->batch->id, e) < 0)
		return e->code;
	if (txn_commit(j, NULL, p->sink, e) == 0)
		inside_committed(&j->dests);
	return e->code;
}

static void print_batch(struct replay *r, const struct pass *p)
{
	const struct job *j = r->job;
	int64_t id = p->batch->id, unstored = 0;

	for (size_t i = 0; i < j->dests.nplace; i++)
		unstored += tally_rows(&sink_done(p->sink, i)->unstored);
	print_line(stdout, "batch %" PRId64 ": %" PRId64 " of %" PRId64 " dead letters went in\n",
		id, p->rows - unstored, p->events);
	if (unstored)
		print_line(stdout, "  %" PRId64 " row%s not stored: a trigger of the target left"
			" them out\n", unstored, text_s(unstored));
	if (p->late)
		print_line(stdout, "  %" PRId64 " letter%s left out, older than part_keep%s%s\n",
			p->late, text_s(p->late), j->conf->nrule ? "" : " = ",
			j->conf->nrule ? "" : j->conf->dest.part_keep);
	if (p->passed)
		print_line(stdout, "  %" PRId64 " letter%s left out by filters\n", p->passed,
			text_s(p->passed));
	for (size_t i = 0; i < j->dests.nplace; i++)
		upkeep_tell_late(r->job, j->dests.place[i], id, &sink_done(p->sink, i)->rows);
	for (size_t i = 0; i < p->dead.n; i++)
		print_line(stdout, "  event %" PRId64 ": %s\n", p->dead.at[i].event,
			letters_text(&p->dead, i, LETTER_MESSAGE));
}

static int replay_batch(struct replay *r, int64_t batch_id, struct err *e)
{
	struct job *j = r->job;
	struct queue_batch batch = {
		.id = batch_id, .event_sql = dead_event_sql(r->letters, j->conf, batch_id, e),
	};
	struct pass p = {
		.job = j, .from = r->letters, .batch = &batch, .sink = j->dests.sink,
		.careful = true, .keep = true, .max_dead = INT64_MAX, .event = -1,
		.ordered = true, .merge = merge,
	};

	j->of_table = batch_id < 0;
	if (batch.event_sql && load_letters(&p, e) == 0) {
		print_batch(r, &p);
		r->left += (int64_t)p.dead.n;
	}
	letters_clear(&p.dead);
	qbatch_free(&batch);
	return e->code;
}

/* Tries again, up to retry_limit, while another process is in the way. */
static int replay_batch_waiting(struct replay *r, int64_t batch_id, struct err *e)
{
	int64_t deadline_ms = clock_ms() + r->job->conf->retry_limit;

	while (replay_batch(r, batch_id, e) == ERR_CONFLICT && clock_ms() < deadline_ms &&
	       !process_stop_after_batch()) {
		log_debug("%s; trying again", e->msg);
		*e = (struct err){ 0 };
		pq_close(r->letters);
		r->letters = NULL;
		job_disconnect(r->job);
		process_sleep(LOCK_PAUSE_MS);
		if (open_letters(r, e) < 0)
			break;
	}
	return e->code;
}

/* As replay_run. */
static int replay_all(struct replay *r, struct err *e)
{
	struct job *j = r->job;
	int64_t batch = INT64_MIN, letters, batches = 0;        /* a table's are below 0 */

	if (open_letters(r, e) < 0 || dead_require(r->letters, e) < 0 ||
	    dead_has_parts(r->letters, row_parts(j->conf), e) < 0 ||
	    position_kind(r->letters, &j->kind, e) < 0 || position_require(j->kind, e) < 0 ||
	    job_leave_out(j, r->letters, e) < 0)
		return e->code;
	places_open(j);
	j->lanes = 1;
	while (dead_next(r->letters, j->conf, batch, &batch, &letters, e) == 0 && letters) {
		if (replay_batch_waiting(r, batch, e) < 0)
			return e->code;
		batches++;
	}
	if (!e->code && !batches)
		print_line(stdout, "there are no dead letters of consumer %s\n",
			j->conf->consumer_name);
	return e->code ? e->code : r->left > 0;
}

int replay_run(struct job *j, struct err *e)
{
	struct replay r = { .job = j };
	int rc = replay_all(&r, e);

	pq_close(r.letters);
	places_free(&j->dests);
	return rc;
}
