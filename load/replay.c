/*
 * --replay: the dead letters once more, with the config as it is now. A batch's letters are read
 * as its events were, on a connection of their own; in one transaction the rows that can be
 * written go in and their letters go away. Lane 0's lock keeps the letters of a batch that is
 * being loaded at this moment out of it: that lane commits last.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

#define LOCK_PAUSE_MS 100               /* between two attempts to get the lock of a running process */

/* The target takes the source's place, also in that it reads ev_time by the source's clock. */
static int read_from_target(struct job *j, struct err *e)
{
	if (job_source(j, e) < 0)
		return e->code;
	pq_close(j->src);
	j->src = style_open(j->conf->dst_db, &j->style, e);
	return e->code;
}

/* Opens the transaction, waiting for a process that loads. */
static int begin(struct job *j, struct err *e)
{
	int64_t deadline_ms = clock_ms() + j->conf->retry_limit;
	struct position pos;

	for (;;) {
		if (job_open_lanes(j, 1, e) < 0 ||
		    position_begin(j->dst[0], j->conf->consumer_name, 0, 1, j->kind, &pos, e) == 0)
			return e->code;
		if (e->code != ERR_CONFLICT || clock_ms() > deadline_ms || process_stop_now())
			return e->code;
		*e = (struct err){ 0 };
		if (position_rollback(j->dst[0], e) < 0)
			return e->code;
		process_sleep(LOCK_PAUSE_MS);
	}
}

static int load_letters(struct pass *p, struct err *e)
{
	struct job *j = p->job;

	do {
		if (begin(j, e) < 0 || pass_run(p, e) < 0)
			return e->code;
	} while (p->scan);
	if (dead_remove(&p->dead, j->dst[0], j->conf, p->batch->id, e) < 0)
		return e->code;
	return job_keep(j, e);
}

static int replay_batch(struct job *j, int64_t batch_id, int64_t *left, struct err *e)
{
	struct queue_batch batch = { .id = batch_id, .event_sql = dead_event_sql(j->conf, batch_id) };
	struct pass p = { .job = j, .batch = &batch, .careful = true, .keep = true, .max_dead = INT64_MAX, .event = -1 };

	if (load_letters(&p, e) == 0) {
		printf("batch %" PRId64 ": %" PRId64 " of %" PRId64 " dead letters went in\n", batch_id, p.rows, p.events);
		if (p.late)
			printf("  %" PRId64 " letter%s left out, older than part_keep = %s\n", p.late, text_s(p.late), j->conf->part_keep);
		for (size_t i = 0; i < p.dead.n; i++)
			printf("  event %" PRId64 ": %s\n", p.dead.at[i].event, p.dead.at[i].message);
		*left += (int64_t)p.dead.n;
	}
	dead_clear(&p.dead);
	queue_batch_free(&batch);
	return e->code;
}

int replay_run(struct job *j, struct err *e)
{
	int64_t batch = 0, letters, left = 0, batches = 0;

	if (read_from_target(j, e) < 0 || dead_require(j->src, e) < 0 || position_kind(j->src, &j->kind, e) < 0 ||
	    position_require(j->kind, e) < 0 || job_leave_out(j, j->src, e) < 0)
		return e->code;
	j->lanes = 1;
	j->loads[0] = true;
	while (dead_next(j->src, j->conf, batch, &batch, &letters, e) == 0 && letters) {
		if (replay_batch(j, batch, &left, e) < 0)
			return e->code;
		batches++;
	}
	if (!e->code && !batches)
		printf("there are no dead letters of consumer %s\n", j->conf->consumer_name);
	return e->code ? e->code : left > 0;
}
