/*
 * --dry-run: what the next batch would do. Its events are read as for a run and made into rows,
 * which go nowhere. The queue is asked in a transaction that is rolled back at once, the target
 * only for which tables there are; no lock is held that a running process could meet.
 */
#include <inttypes.h>
#include <stdio.h>

#include "tdispatch.h"

#define SHOWN_MAX 100                   /* events without a place that are named */

struct plan {
	struct tally create;            /* partitions that a run would create */
	struct tally missing;           /* tables that are not there and would not be created */
	struct buf ddl;
};

/* A partition is asked for once for each column list. */
static int plan_partition(struct pass *p, struct part_want *want, const struct shape *shape, struct buf *table, struct err *e)
{
	struct plan *plan = p->place_for;
	struct buf name = { 0 };
	bool there = false;

	(void)shape;
	(void)table;
	buf_add(&name, want->name.p, want->name.n);
	const char *part = buf_cstr(&name);
	if (!tally_find(&plan->create, part) && part_foresee(p->job->ddl, want, &there, &plan->ddl, e) == 0 && !there) {
		tally_add(want->conf->part_template ? &plan->create : &plan->missing, part, 0);
		buf_str(&plan->ddl, want->conf->part_template ? "\n" : "");
	}
	buf_free(&name);
	return e->code;
}

/* ---- what is printed */

static const char *fate(const struct plan *plan, const char *part)
{
	return tally_find(&plan->create, part) ? ", would be created" :
		tally_find(&plan->missing, part) ? ", IS NOT THERE and part_template is not set" : "";
}

static void print_bad(const struct dead_list *dead)
{
	if (dead->n)
		printf(dead->n == 1 ? "1 event that has no place:\n" : "%zu events that have no place:\n", dead->n);
	for (size_t i = 0; i < dead->n && i < SHOWN_MAX; i++)
		printf("  event %" PRId64 ": %s\n", dead->at[i].event, dead->at[i].message);
	if (dead->n > SHOWN_MAX)
		printf("  and %zu more\n", dead->n - SHOWN_MAX);
}

static void print_plan(const struct pass *p, struct plan *plan)
{
	const struct tally *rows = sink_tally(p->job->sink);

	printf("batch %" PRId64 ", ticks %" PRId64 "-%" PRId64 ": %" PRId64 " event%s, %" PRId64 " row%s\n", p->batch->id,
		p->batch->prev_tick, p->batch->tick, p->events, text_s(p->events), p->rows, text_s(p->rows));
	for (size_t i = 0; i < rows->n; i++)
		printf("  %s: %" PRId64 " row%s%s\n", rows->at[i].name, rows->at[i].rows, text_s(rows->at[i].rows),
			fate(plan, rows->at[i].name));
	if (p->truncates)
		printf("%" PRId64 " truncate event%s would be skipped\n", p->truncates, text_s(p->truncates));
	if (p->late)
		printf("%" PRId64 " row%s older than part_keep would be left out\n", p->late, text_s(p->late));
	print_bad(&p->dead);
	if (plan->ddl.len)
		printf("SQL that would be run:\n%s", buf_cstr(&plan->ddl));
	puts("Nothing was changed. The values were not shown to the target: types, constraints and triggers may still refuse some.");
}

/* ---- the batch */

/* 1: it may be loaded; 0: it is in the target already. */
static int look_at_position(struct job *j, const struct queue_batch *b, struct err *e)
{
	bool known = false;
	int64_t tick = 0;

	if (position_get(j->ddl, j->conf->consumer_name, &known, &tick, e) < 0)
		return e->code;
	if (known && tick == b->tick)
		printf("batch %" PRId64 " is in the target already: a run would only finish it\n", b->id);
	else if (known && (tick < b->prev_tick || tick > b->tick))
		return err_set(e, ERR_POSITION, "lost position: the batch goes from tick %" PRId64 " to %" PRId64 ", the target of"
			" consumer %s is at tick %" PRId64 ": a run would stop", b->prev_tick, b->tick, j->conf->consumer_name, tick);
	else if (known && tick > b->prev_tick)
		printf("the batch is in the target up to tick %" PRId64 ": a run would begin there\n", tick);
	return !(known && tick == b->tick);
}

static int read_batch(struct job *j, const struct queue_batch *b, struct err *e)
{
	struct plan plan = { 0 };
	struct pass p = {
		.job = j, .batch = b, .event = -1, .keep = true, .max_dead = DEAD_MAX, .dry = true,
		.place = plan_partition, .place_for = &plan,
	};
	int rc = pass_run(&p, e);

	if (rc == 0)
		print_plan(&p, &plan);
	rc = rc < 0 ? rc : p.dead.n > 0 || plan.missing.n > 0;
	dead_clear(&p.dead);
	tally_clear(&plan.create);
	tally_clear(&plan.missing);
	buf_free(&plan.ddl);
	return rc;
}

static int connect_both(struct job *j, struct err *e)
{
	const struct conf *c = j->conf;
	struct queue_state state;

	if (job_source(j, e) < 0 || queue_state(j->src, c->queue_name, c->consumer_name, &state, e) < 0 ||
	    queue_require(&state, c->queue_name, e) < 0)
		return e->code;
	if (!state.consumer)
		return err_set(e, ERR_SHAPE, "consumer %s is not registered on queue %s, so there is no batch for it:"
			" --register or --install", c->consumer_name, c->queue_name);
	j->ddl = pq_open("dst_db", c->dst_db, j->encoding, e);
	if (!j->ddl || position_kind(j->ddl, &j->kind, e) < 0)
		return e->code;
	return position_require(j->kind, e);
}

int dryrun_run(struct job *j, struct err *e)
{
	const struct conf *c = j->conf;
	struct queue_batch batch = { 0 };

	if (connect_both(j, e) < 0)
		return e->code;
	j->lanes = 1;
	j->loads[0] = true;
	int rc = queue_peek(j->src, c->queue_name, c->consumer_name, c->batch_min_events, &batch, e);
	if (rc == 0)
		printf("queue %s has nothing for consumer %s\n", c->queue_name, c->consumer_name);
	if (rc > 0)
		rc = look_at_position(j, &batch, e);
	if (rc > 0)
		rc = read_batch(j, &batch, e);
	queue_batch_free(&batch);
	return rc;
}
