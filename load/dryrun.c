/*
 * --dry-run: what the next batch would do. Its events are read as in a run and made into rows,
 * which are discarded. The queue is queried in a transaction that is rolled back at once, the
 * target only for tables and columns. No lock is held that could block a running process.
 */
#include <inttypes.h>
#include <stdio.h>

#include "from.h"

#define SAMPLE_ROWS 200000              /* of a table as the source */

/* ---- the batch */

/* 1: there is a batch to load; 0: there is none, or the target has it already. */
static int look_at_position(struct job *j, struct queue_batch *b, struct err *e)
{
	static const char *const follows[] = {
		[VERDICT_LOAD] = "complete it", [VERDICT_IS_IN] = "only finish it",
		[VERDICT_MOVE] = "begin there", [VERDICT_SINGLE] = "go tick by tick",
	};
	struct verdict v;

	if (txn_look(j, j->dst[0], b, &v, e) < 0)
		return e->code;
	if (v.stops)
		return err_set(e, ERR_POSITION, "%s", v.words);
	if (!b->tick)
		print_line(stdout, "queue %s has nothing for consumer %s\n", j->conf->queue_name,
			j->conf->consumer_name);
	else if (*v.words)
		print_line(stdout, "%s: a run would %s\n", v.words, follows[v.kind]);
	return b->tick && v.kind != VERDICT_IS_IN;
}

/* As dryrun_run. reader: NULL, or it has the rows of the batch. */
static int read_batch(struct job *j, const struct queue_batch *b, struct row_reader *reader,
	struct err *e)
{
	struct plan plan = { 0 };

	places_open(j);
	struct pass p = {
		.job = j, .from = j->src, .batch = b, .sink = j->dests.sink, .event = -1,
		.keep = true, .max_dead = DEAD_MAX, .reader = reader,
		.dry = true, .place = plan_partition, .place_for = &plan,
	};
	if (plan_look(&p, e) == 0 && pass_run(&p, e) == 0)
		plan_print(&p, &plan);
	bool fails = p.dead.n > 0 || plan_fails(&plan);
	letters_clear(&p.dead);
	places_free(&j->dests);
	plan_free(&plan);
	return e->code ? e->code : fails;
}

/* ---- a table as the source */

static void say_table(const struct from *f, const struct slice_query *q, int64_t bytes, double rows)
{
	char text[TEXT_GROUPED];

	print_line(stdout, "table %s: %zu table%s with rows, %" PRId64 " MB", f->origin.name,
		f->origin.n, text_s((int64_t)f->origin.n), bytes / 1000000);
	if (rows >= 0)
		print_line(stdout, ", about %s rows", text_grouped((int64_t)rows, text));
	if (q->sample < 100)
		print_line(stdout, "; what follows is of a sample of %.4f %% of its blocks",
			q->sample);
	else if (q->most)
		print_line(stdout, "; what follows is of %" PRId64 " rows at most", q->most);
	print_line(stdout, "\n");
}

/* By the time that the rows took to read; the target takes longer. */
static void say_time(const struct from *f, const struct slice_query *q, int64_t ms)
{
	bool slice = f->job->conf->from_snapshot == FROM_SNAPSHOT_SLICE;
	int64_t s = q->most ? -1 : (int64_t)((double)ms * 100 / q->sample / 1000) + 1;

	if (slice)
		print_line(stdout, "Each slice has a snapshot of its own.\n");
	else if (s < 0)
		print_line(stdout, "One snapshot is held for all of the copy.\n");
	else
		print_line(stdout, "One snapshot is held for all of the copy, at least for %"
			PRId64 ":%02d:%02d; until then vacuum removes no row that it sees.\n",
			s / 3600, (int)(s / 60 % 60), (int)(s % 60));
}

/* As dryrun_run: reads the table, or a sample of it. */
static int read_table(struct job *j, struct err *e)
{
	struct from f = { .job = j, .dry = true };
	struct lines l = { .query.origin = &f.origin };
	const struct queue_batch none = { 0 };
	int64_t bytes = 0, start_ms;
	double rows = 0;

	j->lanes = 1;
	j->loads[0] = true;
	int rc = from_open(&f, e);
	for (size_t i = 0; i < f.origin.n; i++) {
		bytes += f.origin.table[i].bytes;
		rows += f.origin.table[i].rows;
	}
	l.query.where = j->conf->from_where;
	l.query.sample = rows > SAMPLE_ROWS ? 100.0 * SAMPLE_ROWS / rows : 100;
	l.query.most = f.origin.key ? SAMPLE_ROWS : 0;
	start_ms = clock_ms();
	if (rc == 0 && f.origin.n) {
		l.query.table = &f.origin.table[0];
		lines_begin(&l);
		say_table(&f, &l.query, bytes, rows);
		rc = read_batch(j, &none, &l.reader, e);
	}
	if (rc >= 0)
		say_time(&f, &l.query, clock_ms() - start_ms);
	lines_free(&l);
	from_free(&f);
	return rc;
}

/* ---- a queue */

/* As job_connect, but registers nothing. */
static int connect_both(struct job *j, struct err *e)
{
	const struct conf *c = j->conf;
	struct queue_state state;

	if (job_source(j, e) < 0 ||
	    queue_state(j->src, c->queue_name, c->consumer_name, &state, e) < 0 ||
	    queue_require(&state, c->queue_name, e) < 0 ||
	    job_check_name(c, j->src, NULL, e) < 0)
		return e->code;
	if (!state.consumer)
		return err_set(e, ERR_SHAPE, "consumer %s is not registered on queue %s, so there"
			" is no batch for it: --register or --install", c->consumer_name,
			c->queue_name);
	if (job_open_lanes(j, 1, e) < 0 || position_kind(j->dst[0], &j->kind, e) < 0)
		return e->code;
	if (position_require(j->kind, e) < 0 || job_check_name(c, NULL, j->dst[0], e) < 0)
		return e->code;
	return job_leave_out(j, j->dst[0], e);
}

int dryrun_run(struct job *j, struct err *e)
{
	struct queue_batch batch = { 0 };

	if (j->conf->from_table)
		return read_table(j, e);
	if (connect_both(j, e) < 0 || (conf_keeps(j->conf) && age_look(j, e) < 0))
		return e->code;
	j->lanes = 1;
	j->loads[0] = true;
	int rc = look_at_position(j, &batch, e);
	if (rc > 0)
		rc = read_batch(j, &batch, NULL, e);
	qbatch_free(&batch);
	return rc;
}
