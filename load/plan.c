/*
 * The plan of --dry-run: which partitions the rows of a batch would go to, which of them would be
 * created and how, and why a run would fail.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "private.h"

#define SHOWN_MAX 100                   /* events without a place that are printed */

struct plan_place {                     /* for a dest_table */
	bool asked;                     /* the rest was looked up */
	struct tally create;            /* partitions that a run would create */
	struct tally missing;           /* missing tables that would not be created */
	struct tally lacking;           /* columns that a table does not have */
	struct tally wrong;             /* tables that are no partitions of dest_table */
	struct table parent;            /* dest_table */
};

/* Reports, once, the first column that the rows have and the table, called name, lacks. table may
 * be at->parent, for a partition that would be created like it. */
static int check_columns(struct pass *p, struct plan_place *at, const struct dest *d,
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
static int find(struct pass *p, struct plan_place *at, const struct part_want *want,
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

/* The partition exists; found_wrong: as find has it. */
static int take_found(struct pass *p, struct plan_place *at, const struct part_want *want,
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
	return check_columns(p, at, want->dest, found, name, shape, e);
}

/* The partition does not exist, and a run would create it. */
static int take_missing(struct pass *p, struct plan_place *at, const struct dest *d,
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
		return check_columns(p, at, d, &at->parent, d->dest_table, shape, e);
	if (first && strstr(d->part_template, "_PARENT")) {
		buf_fmt(&plan->faults, "  table %s is not there, and part_template needs it"
			" (_PARENT): create it, or check dest_table\n", d->dest_table);
		plan->nfaults++;
	}
	return 0;
}

/* Adds the SQL that would create the partition. */
static int add_sql(struct plan *plan, const struct part_want *want, struct err *e)
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
static int check_generated(struct job *j, struct plan *plan, const struct dest *d, struct err *e)
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
static struct plan_place *place_at(struct pass *p, const struct place *k, const struct dest *d,
	struct err *e)
{
	struct plan *plan = p->place_for;

	while (plan->n <= k->number) {
		plan->place = mem_grow(plan->place, plan->n, &plan->cap, sizeof *plan->place);
		plan->place[plan->n++] = (struct plan_place){ 0 };
	}
	struct plan_place *at = &plan->place[k->number];
	if (!at->asked && (table_find(p->job->dst[0], d, d->table, &at->parent, e) < 0 ||
	    check_generated(p->job, plan, d, e) < 0))
		return NULL;
	at->asked = true;
	return at;
}

int plan_partition(struct pass *p, struct place *k, struct part_want *want,
	const struct shape *shape, struct buf *table, struct err *e)
{
	struct plan *plan = p->place_for;
	struct plan_place *at = place_at(p, k, want->dest, e);
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
		find(p, at, want, part, &found, &wrong, e);
	if (!e->code && *found.oid)
		take_found(p, at, want, &found, &wrong, part, shape, e);
	else if (!e->code && !want->dest->part_template)
		tally_add(&at->missing, part, 0);
	else if (!e->code && (known || add_sql(plan, want, e) == 0))
		take_missing(p, at, want->dest, part, shape, e);
	buf_free(&name);
	return e->code;
}

int plan_look(struct pass *p, struct err *e)
{
	const struct dests *ds = &p->job->dests;

	if (!p->job->conf->nrule)
		place_at(p, ds->place[0], ds->place[0]->dest, e);
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

void plan_print(const struct pass *p, struct plan *plan)
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

bool plan_fails(const struct plan *plan)
{
	bool fails = plan->nfaults > 0;

	for (size_t i = 0; i < plan->n; i++)
		fails |= plan->place[i].missing.n > 0;
	return fails;
}

void plan_free(struct plan *plan)
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
