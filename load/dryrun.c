/*
 * --dry-run: what the next batch would do. Its events are read as in a run and made into rows,
 * which are discarded. The queue is queried in a transaction that is rolled back at once, the
 * target only for tables and columns. No lock is held that could block a running process.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "from.h"

#define SAMPLE_ROWS 200000              /* of a table as the source */
#define SHOWN_MAX 100                   /* events without a place that are printed */

struct plan_place {                     /* for a dest_table */
	bool asked;                     /* the rest was looked up */
	struct tally create;            /* partitions that a run would create */
	struct tally missing;           /* missing tables that would not be created */
	struct tally lacking;           /* columns that a table does not have */
	struct tally wrong;             /* tables that are no partitions of dest_table */
	struct table parent;            /* dest_table */
};

struct plan {
	struct plan_place *place;       /* by the place's number */
	size_t n, cap;
	struct buf ddl, faults;         /* faults: a line each */
	int64_t nfaults;
};

/* Reports, once, the first column that the rows have and the table, called name, lacks. table may
 * be at->parent, for a partition that would be created like it. */
static int plan_columns(struct pass *p, struct plan_place *at, const struct dest *d,
	const struct table *table, const char *name, const struct shape *shape, struct err *e)
{
	struct plan *plan = p->place_for;
	struct buf shown = { 0 };
	size_t i;

	if (table_lacks(p->job->dst[0], table, shape->target, shape->n, &i, e) < 0 ||
	    i == shape->n)
		return e->code;
	if (table == &at->parent && !table_is_model(d, table, shape->target[i]))
		return 0;
	buf_printable(&shown, shape->target[i], 2 * NAME_BYTES_MAX);
	if (tally_add(&at->lacking, buf_cstr(&shown), 0)) {
		buf_fmt(&plan->faults, "  table %s has no column %s, which %s\n", name,
			buf_cstr(&shown), d->all ? "events have" : "fields names");
		plan->nfaults++;
	}
	buf_free(&shown);
	return 0;
}

/* Looks for the partition, and whether it may be a table of somebody else: *wrong. One that is
 * dropped in between is looked for again. */
static int plan_find(struct pass *p, struct plan_place *at, const struct part_want *want,
	const char *name, struct table *found, struct err *wrong, struct err *e)
{
	const struct table_name table = { want->name, want->old };
	struct pq *dst = p->job->dst[0];
	bool child;

	do {
		*wrong = (struct err){ 0 };
		if (table_find(dst, want->dest, want->name, found, e) < 0 || !*found->oid)
			return e->code;
		if (want->dest->part_by != PART_BY_NOTHING && !tally_find(&at->wrong, name))
			admit_check(dst, want->dest, &table, 1, &child, NULL, wrong);
	} while (wrong->code == ERR_CONFLICT && !*wrong->sqlstate);
	return e->code;
}

/* The partition exists; found_wrong: as plan_find has it. */
static int plan_found(struct pass *p, struct plan_place *at, const struct part_want *want,
	const struct table *found, const struct err *found_wrong, const char *name,
	const struct shape *shape, struct err *e)
{
	struct plan *plan = p->place_for;
	struct err wrong = *found_wrong;

	bool verdict = wrong.code == ERR_SHAPE || wrong.code == ERR_RIGHTS;
	if (verdict && want->dest->period.method == PERIOD_LIST)
		wrong.code = ERR_DATA;  /* the value's fault, so the event's */
	if (wrong.code && (*wrong.sqlstate || !verdict || wrong.code == ERR_DATA)) {
		*e = wrong;
		return e->code;
	}
	if (wrong.code) {
		tally_add(&at->wrong, name, 0);
		buf_fmt(&plan->faults, "  %s\n", wrong.msg);
		plan->nfaults++;
	}
	return plan_columns(p, at, want->dest, found, name, shape, e);
}

/* The partition does not exist, and a run would create it. */
static int plan_creation(struct pass *p, struct plan_place *at, const struct dest *d,
	const char *part, const struct shape *shape, struct err *e)
{
	struct plan *plan = p->place_for;
	bool first = !at->create.n;

	tally_add(&at->create, part, 0);
	if (d->period.method == PERIOD_LIST && (int64_t)at->create.n == d->part_list_max + 1) {
		buf_fmt(&plan->faults, "  more new partitions of %s than part_list_max = %" PRId64
			"\n", d->dest_table, d->part_list_max);
		plan->nfaults++;
	}
	if (*at->parent.oid)
		return plan_columns(p, at, d, &at->parent, d->dest_table, shape, e);
	if (first && strstr(d->part_template, "_PARENT")) {
		buf_fmt(&plan->faults, "  table %s is not there, and part_template needs it"
			" (_PARENT): create it, or check dest_table\n", d->dest_table);
		plan->nfaults++;
	}
	return 0;
}

/* Adds the SQL that would create the partition. */
static int plan_sql(struct plan *plan, const struct part_want *want, struct err *e)
{
	size_t before = plan->ddl.len;

	if (partsql_add(&plan->ddl, want, e) < 0) {
		plan->ddl.len = before;
		return e->code;
	}
	bool ended = plan->ddl.len == before || plan->ddl.p[plan->ddl.len - 1] == ';';
	buf_str(&plan->ddl, ended ? "\n" : ";\n");
	return 0;
}

/* Reports a column that fields names and the target generates. */
static int plan_generated(struct job *j, struct plan *plan, const struct dest *d, struct err *e)
{
	size_t i;

	if (table_lists_generated(j->dst[0], d, &i, e) == 0 && i < d->nfield) {
		buf_fmt(&plan->faults, "  column %.*s of %s is generated there: take it out of"
			" fields\n", (int)d->field[i].target.n, d->field[i].target.p,
			d->dest_table);
		plan->nfaults++;
	}
	return e->code;
}

/* The plan for the place, after looking at its dest_table. NULL: an error. */
static struct plan_place *plan_at(struct pass *p, const struct place *k, const struct dest *d,
	struct err *e)
{
	struct plan *plan = p->place_for;

	while (plan->n <= k->number) {
		plan->place = mem_grow(plan->place, plan->n, &plan->cap, sizeof *plan->place);
		plan->place[plan->n++] = (struct plan_place){ 0 };
	}
	struct plan_place *at = &plan->place[k->number];
	if (!at->asked && (table_find(p->job->dst[0], d, d->table, &at->parent, e) < 0 ||
	    plan_generated(p->job, plan, d, e) < 0))
		return NULL;
	at->asked = true;
	return at;
}

/* A pass_place: called once for each partition and shape. */
static int plan_partition(struct pass *p, struct place *k, struct part_want *want,
	const struct shape *shape, struct buf *table, struct err *e)
{
	struct plan *plan = p->place_for;
	struct plan_place *at = plan_at(p, k, want->dest, e);
	struct buf name = { 0 };
	struct table found = { 0 };
	struct err wrong = { 0 };

	(void)table;
	if (!at)
		return e->code;
	buf_add(&name, want->name.p, want->name.n);
	const char *part = buf_cstr(&name);
	bool known = tally_find(&at->create, part);
	if (!known)
		plan_find(p, at, want, part, &found, &wrong, e);
	if (!e->code && *found.oid)
		plan_found(p, at, want, &found, &wrong, part, shape, e);
	else if (!e->code && !want->dest->part_template)
		tally_add(&at->missing, part, 0);
	else if (!e->code && (known || plan_sql(plan, want, e) == 0))
		plan_creation(p, at, want->dest, part, shape, e);
	buf_free(&name);
	return e->code;
}

/* ---- what is printed */

static const char *fate(const struct plan_place *at, const char *part)
{
	if (tally_find(&at->create, part))
		return ", would be created";
	if (tally_find(&at->missing, part))
		return ", IS NOT THERE and part_template is not set";
	return "";
}

static void print_faults(struct plan *plan)
{
	if (plan->nfaults)
		print_line(stdout, "a run would fail, for %" PRId64 " reason%s:\n", plan->nfaults,
			text_s(plan->nfaults));
	print_page(stdout, buf_cstr(&plan->faults));
}

static void print_bad(const struct letters *dead, const char *what)
{
	if (dead->n == 1)
		print_line(stdout, "1 %s that has no place:\n", what);
	else if (dead->n)
		print_line(stdout, "%zu %ss that have no place:\n", dead->n, what);
	for (size_t i = 0; i < dead->n && i < SHOWN_MAX; i++)
		print_line(stdout, "  %s %" PRId64 ": %s\n", what, dead->at[i].event,
			letters_text(dead, i, LETTER_MESSAGE));
	if (dead->n > SHOWN_MAX)
		print_line(stdout, "  and %zu more\n", dead->n - SHOWN_MAX);
}

static void print_place(const struct pass *p, const struct plan *plan, size_t number)
{
	const struct dest *d = p->job->dests.place[number]->dest;
	const struct tally *rows = &sink_done(p->sink, number)->rows;
	bool schema = p->job->conf->nrule && d->schema.n;

	for (size_t i = 0; i < rows->n; i++)
		print_line(stdout, "  %.*s%s%s: %" PRId64 " row%s%s\n",
			schema ? (int)d->schema.n : 0, d->schema.p, schema ? "." : "",
			rows->at[i].name, rows->at[i].rows, text_s(rows->at[i].rows),
			fate(&plan->place[number], rows->at[i].name));
}

static void print_rows(const struct pass *p, const struct plan *plan)
{
	if (!p->reader)
		print_line(stdout, "batch %" PRId64 ", ticks %" PRId64 "-%" PRId64 ": %" PRId64
			" event%s,"
			" %" PRId64 " row%s\n", p->batch->id, p->batch->prev_tick,
			p->batch->tick, p->events, text_s(p->events), p->rows,
			text_s(p->rows));
	for (size_t i = 0; i < plan->n; i++)
		print_place(p, plan, i);
}

static void print_skipped(const struct pass *p)
{
	if (p->truncates)
		print_line(stdout, "%" PRId64 " truncate event%s would be skipped\n", p->truncates,
			text_s(p->truncates));
	if (p->own)
		print_line(stdout, "%" PRId64 " event%s of PgQ's own would be skipped\n", p->own,
			text_s(p->own));
	if (p->passed)
		print_line(stdout, "%" PRId64 " event%s would be left out by filters\n", p->passed,
			text_s(p->passed));
	if (p->late)
		print_line(stdout, "%" PRId64 " row%s older than part_keep would be left out\n",
			p->late, text_s(p->late));
}

static void print_plan(const struct pass *p, struct plan *plan)
{
	print_rows(p, plan);
	print_skipped(p);
	for (size_t i = 0; i < plan->n; i++)
		upkeep_tell_late(p->job, p->job->dests.place[i], p->batch->id,
			&sink_done(p->sink, i)->rows);
	print_bad(&p->dead, p->reader ? "row" : "event");
	print_faults(plan);
	if (plan->ddl.len)
		print_line(stdout, "SQL that would be run:\n");
	print_page(stdout, buf_cstr(&plan->ddl));
	puts("Nothing was changed. The values were not shown to the target: types, constraints and"
		" triggers may still refuse some.");
}

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

static void free_plan(struct plan *plan)
{
	for (size_t i = 0; i < plan->n; i++) {
		tally_clear(&plan->place[i].create);
		tally_clear(&plan->place[i].missing);
		tally_clear(&plan->place[i].lacking);
		tally_clear(&plan->place[i].wrong);
	}
	free(plan->place);
	buf_free(&plan->ddl);
	buf_free(&plan->faults);
}

/* Without sections there is one dest_table, and what is wrong with it is told without events. */
static int look_at_dest(struct pass *p, struct err *e)
{
	const struct dests *ds = &p->job->dests;

	if (!p->job->conf->nrule)
		plan_at(p, ds->place[0], ds->place[0]->dest, e);
	return e->code;
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
	if (look_at_dest(&p, e) == 0 && pass_run(&p, e) == 0)
		print_plan(&p, &plan);
	bool fails = p.dead.n > 0 || plan.nfaults > 0;
	for (size_t i = 0; i < plan.n; i++)
		fails |= plan.place[i].missing.n > 0;
	letters_clear(&p.dead);
	places_free(&j->dests);
	free_plan(&plan);
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
