/*
 * One batch, from next_batch to finish_batch: the order of the two transactions.
 *
 *   source                          target
 *   next_batch
 *                                   BEGIN, lock on the position, the tick known there
 *   COPY events out          ->     COPY rows in, a partition at a time
 *                                   dead letters, set_last_tick, COMMIT
 *   finish_batch, with the next next_batch
 *
 * Killed before the COMMIT, nothing has happened and the batch comes again; killed after it, the
 * batch comes again and the target's tick says that it is in.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

static void log_batch(const struct job *j, const struct pass *p, int64_t took_ms)
{
	const struct queue_batch *b = p->batch;

	if (p->truncates)
		log_info("batch %" PRId64 ": %" PRId64 " truncate event%s skipped", b->id, p->truncates, text_s(p->truncates));
	if (p->late)
		log_info("batch %" PRId64 ": %" PRId64 " row%s left out, older than part_keep = %s", b->id, p->late, text_s(p->late),
			j->conf->part_keep);
	if (p->dead.n)
		log_warn("batch %" PRId64 ": %zu event%s %s, the first: event %" PRId64 ": %s", b->id, p->dead.n,
			text_s((int64_t)p->dead.n), j->conf->error == ON_ERROR_SKIP ? "skipped" : "went to tdispatch.dead_letter",
			p->dead.at[0].event, p->dead.at[0].message);
	(p->events ? log_info : log_debug)("queue %s batch %" PRId64 " ticks %" PRId64 "-%" PRId64 ": events=%" PRId64
		" rows=%" PRId64 " partitions_created=%" PRId64 " seconds=%.3f rows_per_second=%.0f lag=%.1f",
		j->conf->queue_name, b->id, b->prev_tick, b->tick, p->events, p->rows, p->parts, (double)took_ms / 1000,
		took_ms ? (double)p->rows * 1000 / (double)took_ms : (double)p->rows * 1000,
		(double)(b->lag_ms + took_ms) / 1000);
}

/* Adds what is to be done where nobody was to create the partition. */
static void add_remedy(const struct pass *p, struct err *e)
{
	const struct conf *c = p->job->conf;

	if (c->part_template || strcmp(e->sqlstate, "42P01") != 0 || !*p->fault.table || !strstr(e->msg, p->fault.table))
		return;
	err_add(e, "; part_template is not set, so %s", c->part_field ?
		"partitions must be there before their rows come: create it, or set part_template" :
		"dest_table must be there: create it, or check dest_table");
}

/* Puts the batch, the event, its table and where it was to go before the error's text. */
static void blame(struct job *j, const struct pass *p, struct err *e)
{
	struct buf text = { 0 };
	struct err reconnect = { 0 };
	char *table = NULL;

	if (p->event < 0)
		return;
	pq_close(j->src);
	if (job_source(j, &reconnect) == 0)
		table = queue_event_table(j->src, p->batch, p->event);
	buf_fmt(&text, "event %" PRId64 " of batch %" PRId64, p->event, p->batch->id);
	if (table)
		buf_fmt(&text, ", source table %.200s", table);
	if (p->fault.table[0])
		buf_fmt(&text, ", partition %s", p->fault.table);
	if (p->fault.column[0])
		buf_fmt(&text, ", column %s", p->fault.column);
	if (p->fault.value[0])
		buf_fmt(&text, ", value \"%s\"", p->fault.value);
	buf_fmt(&text, ": %s", e->msg);
	snprintf(e->msg, sizeof e->msg, "%s", buf_cstr(&text));
	buf_free(&text);
	free(table);
}

/* The events that could not be written: kept, or told, with the rows that could. */
static int keep_dead(struct pass *p, struct err *e)
{
	struct job *j = p->job;
	struct dead_list *dead = &p->dead;

	for (size_t i = 0; i < dead->n && j->conf->error == ON_ERROR_SKIP; i++)
		log_warn("event %" PRId64 " of batch %" PRId64 " skipped%s%s: %s", dead->at[i].event, p->batch->id,
			*dead->at[i].partition ? ", partition " : "", dead->at[i].partition, dead->at[i].message);
	for (size_t i = 0; i < j->lanes && j->conf->error == ON_ERROR_DEAD_LETTER && !e->code; i++)
		dead_write(dead, i, j->src, j->dst[i], j->conf, p->batch, e);
	return e->code;
}

/* Loads and commits what is to be loaded. An enum job_verdict, or an error. */
static int load(struct pass *p, struct err *e)
{
	struct job *j = p->job;

	do {
		int verdict = job_begin(j, p->batch, e);
		if (verdict != JOB_TO_LOAD)
			return verdict;
		if (pass_run(p, e) < 0)
			return e->code;
	} while (p->scan);
	if (keep_dead(p, e) < 0 || (j->verify && verify_run(p, e) < 0))
		return e->code;
	return job_commit(j, p->batch, e) < 0 ? e->code : JOB_TO_LOAD;
}

/* What a failed pass should be followed by: the same again, more carefully. */
static bool worth_another(struct pass *p, bool *forgot, const struct err *e)
{
	if ((e->code != ERR_DATA && e->code != ERR_SHAPE) || !p->fault.table[0])
		return false;
	if (p->event < 0 && !p->careful) {
		p->careful = true;
		return true;
	}
	if (e->code == ERR_SHAPE && !*forgot) {
		*forgot = true;         /* a partition that was there may have been dropped since */
		sink_forget(p->job->sink);
		return true;
	}
	return false;
}

static int load_or_blame(struct pass *p, struct err *e)
{
	struct job *j = p->job;
	bool forgot = false;
	int verdict;

	while ((verdict = load(p, e)) < 0) {
		if (!worth_another(p, &forgot, e)) {
			add_remedy(p, e);
			if (e->code == ERR_DATA || e->code == ERR_SHAPE)
				blame(j, p, e);
			return e->code;
		}
		*e = (struct err){ 0 };
		job_disconnect(j);
		if (job_connect(j, e) < 0)
			return e->code;
	}
	return verdict;
}

static void report(const struct job *j, const struct pass *p, int64_t took_ms)
{
	bool skip = j->conf->error == ON_ERROR_SKIP;
	struct load load = {
		.events = p->events, .rows = p->rows, .bytes = sink_sent_bytes(j->sink), .partitions = p->parts,
		.dead = skip ? 0 : (int64_t)p->dead.n, .skipped = skip ? (int64_t)p->dead.n : 0, .late = p->late,
		.took_ms = took_ms, .lag_ms = p->batch->lag_ms + took_ms,
	};

	report_batch(j->report, &load, &p->dead);
}

static int load_batch(struct job *j, const struct queue_batch *batch, struct err *e)
{
	struct pass p = {
		.job = j, .batch = batch, .event = -1,
		.keep = j->conf->error != ON_ERROR_STOP, .max_dead = j->conf->max_errors,
	};
	int64_t start_ms = clock_ms();
	int verdict = load_or_blame(&p, e);

	if (verdict == JOB_TO_LOAD) {
		j->events += p.events;
		int64_t took_ms = clock_ms() - start_ms;
		log_batch(j, &p, took_ms);
		report(j, &p, took_ms);
		progress_batch(j->progress, p.events, (int64_t)p.dead.n + p.late, p.parts, sink_tally(j->sink));
	}
	dead_clear(&p.dead);
	if (verdict < 0)
		return e->code;
	if (verdict == JOB_MOVED)
		return 1;
	if (verdict == JOB_IS_IN)
		log_info("batch %" PRId64 " is in the target already: finishing it", batch->id);
	j->to_finish = batch->id;
	j->last_tick = batch->tick;
	return 1;
}

int batch_run(struct job *j, struct err *e)
{
	struct queue_batch batch = { 0 };
	const struct conf *c = j->conf;
	int64_t min_events = j->last_tick < j->single_until ? 0 : c->batch_min_events;
	int rc = queue_next(j->src, c->queue_name, c->consumer_name, min_events, j->to_finish, &batch, e);

	if (rc >= 0)
		j->to_finish = 0;
	if (rc > 0)
		rc = load_batch(j, &batch, e);
	queue_batch_free(&batch);
	return rc;
}

int batch_finish(struct job *j, struct err *e)
{
	if (!j->to_finish || !j->src)
		return 0;
	if (queue_finish(j->src, j->to_finish, e) == 0)
		j->to_finish = 0;
	return e->code;
}
