/*
 * --check's part about the tables that get rows: dest_table itself, or those there are under
 * partitions' names. What keeps rows out of them, and what could lose them? Changes nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "ops.h"

#define SHOWN_MAX 3                     /* tables of one kind that are named */

/* Appends a query for these columns of the tables: c in pg_class; more conditions may follow. */
static void add_written(struct buf *sql, const struct look *l, const char *columns)
{
	const struct dest *d = l->dest;
	buf_fmt(sql, "SELECT pg_catalog.set_config('tdispatch.schemas',"
		" pg_catalog.current_schemas(false)::pg_catalog.text, true);"
		PQ_OWN_PATH "SELECT %s FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
		" WHERE ", columns);
	if (d->period.method == PERIOD_NONE) {
		buf_fmt(sql, "c.oid = '%s'", *l->table.oid ? l->table.oid : "0");
		return;
	}
	table_add_named(sql, d, "c.oid");
	buf_str(sql, " AND nspname = ");
	if (d->schema.n)
		buf_literal(sql, d->schema);
	else
		buf_str(sql, "ANY (current_setting('tdispatch.schemas')::name[])");
}

/* ---- the right tables */

static void find_parts(struct look *l, struct tally *parts)
{
	const struct dest *d = l->dest;
	struct buf sql = { 0 };
	int64_t start_s;

	add_written(&sql, l, "relname");
	buf_str(&sql, " AND relkind IN ('r', 'p', 'f')");
	for (int row = 0, rows = finding_ask(l->found, l->dst, &sql); row < rows; row++) {
		const char *name = pq_value(l->dst, row, 0);
		if (period_of_suffix(&d->period, span_of(name + d->table.n), &start_s))
			tally_add(parts, name, 0);
	}
}

/* The first partition that is right, or NULL: names in the order of their periods. wrong: those
 * that are not. */
static const char *first_right(const struct tally *parts, const struct tally *wrong)
{
	for (size_t i = 0; i < parts->n; i++)
		if (!tally_find(wrong, parts->at[i].name))
			return parts->at[i].name;
	return NULL;
}

/* Unattached tables older than all partitions are an archive, or were detached by part_keep. */
static void tell_wrong(struct look *l, int rows, const char *first)
{
	const char *dest_table = l->dest->dest_table, *name;
	int told = 0, archived = 0, detached = 0;
	bool loose;

	for (int row = 0; row < rows; row++) {
		struct err e = { 0 };
		admit_fault(l->dst, l->dest, row, &loose, &e);
		name = pq_value(l->dst, row, 0);
		if (loose && age_may_be_loose(l->job, l->dest, span_of(name)))
			detached++;
		else if (loose && first && strcmp(name, first) < 0)
			archived++;
		else if (e.code != ERR_CONFLICT && told++ < SHOWN_MAX)
			finding_wrong(l->found, "%s", e.msg);
	}
	if (told > SHOWN_MAX)
		finding_wrong(l->found, "and %d tables more under names of partitions of %s",
			told - SHOWN_MAX, dest_table);
	if (detached)
		finding_ok("%d table%s older than part_keep %s detached%s", detached,
			text_s(detached), detached == 1 ? "is" : "are",
			l->dest->part_late == PART_LATE_CREATE ? ": late rows go there" : "");
	if (archived && l->dest->part_keep_action != KEEP_DETACH)
		finding_warning("%d table%s older than the partitions of %s and under such names"
			" are none of its children: a row for one of them would be refused",
			archived, text_s(archived), dest_table);
}

static void check_right(struct look *l)
{
	struct tally parts = { 0 }, wrong = { 0 };
	struct err e = { 0 };

	find_parts(l, &parts);
	struct table_name *names = mem_alloc((parts.n + 1) * sizeof *names);
	for (size_t i = 0; i < parts.n; i++)            /* the newest first */
		names[i] = (struct table_name){ .name = span_of(parts.at[parts.n - 1 - i].name) };
	if (parts.n && admit_list(l->dst, l->dest, names, parts.n, &e) == 0) {
		for (int row = 0; row < pq_rows(l->dst); row++)
			tally_add(&wrong, pq_value(l->dst, row, 0), 0);
		tell_wrong(l, pq_rows(l->dst), first_right(&parts, &wrong));
	}
	if (e.code)
		finding_missing(l->found, "%s", e.msg);
	tally_clear(&wrong);
	tally_clear(&parts);
	free(names);
}

/* ---- do they take rows, and keep them? */

/* Tables that refuse each COPY: under row-level security, views,
	foreign tables for reading only. */
static void check_take_rows(struct look *l)
{
	struct buf sql = { 0 };

	add_written(&sql, l, "c.oid::regclass, CASE WHEN relkind IN ('v', 'm') THEN 'is a view'"
		" WHEN relkind = 'f' THEN 'is a foreign table that cannot be inserted into'"
		" ELSE 'has row-level security for role ' || quote_ident(current_user)"
		" || ': ALTER ROLE ... BYPASSRLS, or ALTER TABLE ... DISABLE ROW LEVEL SECURITY'"
		" END || CASE WHEN count(*) OVER () > 1 THEN '; and others like it' ELSE '' END");
	buf_str(&sql, " AND (relkind = 'm' OR relkind IN ('r', 'p', 'f', 'v') AND"
		" row_security_active(c.oid)"
		" OR relkind = 'f' AND pg_relation_is_updatable(c.oid, false) & 8 = 0"
		" OR relkind = 'v' AND NOT EXISTS (SELECT 1 FROM"
		" pg_trigger"    /* instead of insert */
		" WHERE tgrelid = c.oid AND tgtype & 68 = 68)) ORDER BY relname DESC LIMIT 1");
	if (finding_ask(l->found, l->dst, &sql) > 0)
		finding_wrong(l->found, "table %s takes no COPY: it %s", pq_value(l->dst, 0, 0),
			pq_value(l->dst, 0, 1));
}

static void check_unlogged(struct look *l)
{
	struct buf sql = { 0 };

	add_written(&sql, l, "c.oid::regclass, count(*) OVER () - 1");
	buf_str(&sql, " AND relpersistence = 'u' AND relkind IN ('r', 'p') ORDER BY relname DESC"
		" LIMIT 1");
	if (finding_ask(l->found, l->dst, &sql) == 0)
		return;
	const char *more = pq_value(l->dst, 0, 1);
	finding_warning("table %s is unlogged%s%s%s: after a crash of its server it is empty,"
		" and no event comes again", pq_value(l->dst, 0, 0), *more == '0' ? "" : " (and ",
		*more == '0' ? "" : more, *more == '0' ? "" : " more)");
}

static void check_keep(struct look *l)
{
	const struct dest *dest = l->dest;

	if (dest->keep.unit == PERIOD_NONE || !*l->table.oid)
		return;
	if (dest->part_template && !table_makes_children(dest))
		finding_warning("part_keep removes only children of %s, and part_template seems to"
			" make none", dest->dest_table);
}

void checkparts_run(struct look *l)
{
	if (l->dest->part_by != PART_BY_NOTHING)
		check_right(l);
	check_take_rows(l);
	check_unlogged(l);
	check_keep(l);
}
