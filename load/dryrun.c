/*
 * --dry-run: what the next batch would do. Its events are read as for a run and made into rows,
 * which go nowhere. The queue is asked in a transaction that is rolled back at once, the target
 * only for tables and columns; no lock is held that a running process could meet.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "load.h"

#define SHOWN_MAX 100                   /* events without a place that are named */

struct plan {
	struct tally create;            /* partitions that a run would create */
	struct tally missing;           /* tables that are not there and would not be created */
	struct tally lacking;           /* columns that a table does not have */
	struct tally wrong;             /* tables that are no partitions of dest_table */
	struct part_table parent;       /* dest_table */
	struct buf ddl, faults;         /* faults: a line each */
	int64_t nfaults;
};

/* Columns that the rows have and table, called name, does not: the first, once. parent: the table
 * is to be made of it. */
static int plan_columns(struct pass *p, const struct part_table *table, const char *name, const struct shape *shape,
	struct err *e)
{
	struct plan *plan = p->place_for;
	const struct conf *c = p->job->conf;
	struct buf shown = { 0 };
	size_t i;

	if (part_lacks(p->job->ddl, table, shape->target, shape->n, &i, e) < 0 || i == shape->n)
		return e->code;
	if (table == &plan->parent && !part_is_model(c, table, shape->target[i]))
		return 0;
	buf_printable(&shown, shape->target[i], 2 * NAME_BYTES_MAX);
	if (tally_add(&plan->lacking, buf_cstr(&shown), 0)) {
		buf_fmt(&plan->faults, "  table %s has no column %s, which %s\n", name, buf_cstr(&shown),
			c->nfield ? "fields names" : "events have");
		plan->nfaults++;
	}
	buf_free(&shown);
	return 0;
}

/* The partition is there, and may be another's table. */
static int plan_table(struct pass *p, const struct part_want *want, const char *name, struct err *e)
{
	struct plan *plan = p->place_for;
	struct err wrong = { 0 };
	bool child;

	if (want->conf->period.method == PERIOD_NONE || tally_find(&plan->wrong, name))
		return 0;
	part_right(p->job->ddl, want->conf, &(struct part_name){ want->name, want->old }, 1, &child, &wrong);
	if (*wrong.sqlstate || (wrong.code && wrong.code != ERR_SHAPE && wrong.code != ERR_RIGHTS)) {
		*e = wrong;
	} else if (wrong.code) {
		tally_add(&plan->wrong, name, 0);
		buf_fmt(&plan->faults, "  %s\n", wrong.msg);
		plan->nfaults++;
	}
	return e->code;
}

/* The partition is not there. */
static int plan_creation(struct pass *p, const char *part, const struct shape *shape, struct err *e)
{
	struct plan *plan = p->place_for;
	const struct conf *c = p->job->conf;
	bool first = !plan->create.n;

	tally_add(&plan->create, part, 0);
	if (*plan->parent.oid)
		return plan_columns(p, &plan->parent, c->dest_table, shape, e);
	if (first && strstr(c->part_template, "_PARENT")) {
		buf_fmt(&plan->faults, "  table %s is not there, and part_template needs it (_PARENT): create it, or check"
			" dest_table\n", c->dest_table);
		plan->nfaults++;
	}
	return 0;
}

/* A partition is asked for once for each column list. */
static int plan_partition(struct pass *p, struct part_want *want, const struct shape *shape, struct buf *table, struct err *e)
{
	struct plan *plan = p->place_for;
	struct buf name = { 0 };
	struct part_table found = { 0 };
	bool there = false;

	(void)table;
	buf_add(&name, want->name.p, want->name.n);
	const char *part = buf_cstr(&name);
	bool known = tally_find(&plan->create, part);
	if (!known && part_foresee(p->job->ddl, want, &there, &plan->ddl, e) == 0 && !there)
		buf_str(&plan->ddl, want->conf->part_template ? "\n" : "");
	if (!e->code && there && part_find(p->job->ddl, want->conf, want->name, &found, e) == 0) {
		plan_table(p, want, part, e);
		plan_columns(p, &found, part, shape, e);
	}
	else if (!e->code && want->conf->part_template)
		plan_creation(p, part, shape, e);
	else if (!e->code)
		tally_add(&plan->missing, part, 0);
	buf_free(&name);
	return e->code;
}

/* ---- what is printed */

static const char *fate(const struct plan *plan, const char *part)
{
	return tally_find(&plan->create, part) ? ", would be created" :
		tally_find(&plan->missing, part) ? ", IS NOT THERE and part_template is not set" : "";
}

static void print_faults(struct plan *plan)
{
	if (plan->nfaults)
		printf("a run would fail, for %" PRId64 " reason%s:\n%s", plan->nfaults, text_s(plan->nfaults),
			buf_cstr(&plan->faults));
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
	print_faults(plan);
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

/* A column that fields names and the target does not take. */
static int plan_generated(struct job *j, struct plan *plan, struct err *e)
{
	const struct conf *c = j->conf;
	size_t i;

	if (part_lists_generated(j->ddl, c, &i, e) == 0 && i < c->nfield) {
		buf_fmt(&plan->faults, "  column %.*s of %s is generated there: take it out of fields\n", (int)c->field[i].target.n,
			c->field[i].target.p, c->dest_table);
		plan->nfaults++;
	}
	return e->code;
}

static int read_batch(struct job *j, const struct queue_batch *b, struct err *e)
{
	struct plan plan = { 0 };
	struct pass p = {
		.job = j, .batch = b, .event = -1, .keep = true, .max_dead = DEAD_MAX, .dry = true,
		.place = plan_partition, .place_for = &plan,
	};
	int rc = part_find(j->ddl, j->conf, j->conf->table, &plan.parent, e) < 0 || plan_generated(j, &plan, e) < 0 ?
		e->code : pass_run(&p, e);

	if (rc == 0)
		print_plan(&p, &plan);
	rc = rc < 0 ? rc : p.dead.n > 0 || plan.missing.n > 0 || plan.nfaults > 0;
	dead_clear(&p.dead);
	tally_clear(&plan.create);
	tally_clear(&plan.missing);
	tally_clear(&plan.lacking);
	tally_clear(&plan.wrong);
	buf_free(&plan.ddl);
	buf_free(&plan.faults);
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
	if (part_open(&j->ddl, c, &j->style, e) < 0 || position_kind(j->ddl, &j->kind, e) < 0)
		return e->code;
	return position_require(j->kind, e) < 0 ? e->code : job_leave_out(j, j->ddl, e);
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
