/*
 * --check's part about dest_table: is it there, has it the columns that rows bring, and do values
 * mean there what they meant in the source? Changes nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "ops.h"

static bool has_column(struct look *l, struct span name)
{
	struct err e = { 0 };
	size_t which;

	if (table_lacks(l->dst, &l->table, &name, 1, &which, &e) < 0)
		finding_missing(l->found, "%s", e.msg);
	return e.code || which;
}

/* ---- columns */

/* Is the event's column written for the * of fields? */
static bool is_brought(const struct dest *d, struct span column)
{
	for (size_t i = 0; i < d->nfield - d->nword; i++)
		if (span_eq(d->field[i].source, column))
			return false;
	return d->all && !filter_has(d->skip_fields, column);
}

/* With fields = * each column of an event is written, so that one which picks the partition must
 * be there to be written to. */
static void check_part_field(struct look *l)
{
	const struct dest *dest = l->dest;
	struct span column = dest_part_target(dest);

	for (size_t i = 0; i < dest->nfield; i++)
		if (span_is(dest->field[i].source, dest->part_field ? dest->part_field : ""))
			return;         /* it was looked for with the others */
	if (!column.n || filter_has(dest->skip_fields, column) || has_column(l, column))
		return;
	if (dest->all && table_is_model(dest, &l->table, column))
		finding_wrong(l->found, "%s has no column %s, which part_field names: check"
			" part_field", dest->dest_table, dest->part_field);
	else
		finding_warning("no column of %s is called %s, which part_field names; events must"
			" carry it", dest->dest_table, dest->part_field);
}

static void check_generated(struct look *l)
{
	const struct dest *d = l->dest;
	struct err e = { 0 };
	size_t i;

	if (table_lists_generated(l->dst, d, &i, &e) < 0)
		finding_missing(l->found, "%s", e.msg);
	else if (i < d->nfield)
		finding_wrong(l->found, "column %.*s of %s is generated there, and fields names"
			" it: take it out", (int)d->field[i].target.n, d->field[i].target.p,
			d->dest_table);
}

static void check_fields(struct look *l)
{
	const struct dest *dest = l->dest;

	for (size_t i = 0; i < dest->nfield; i++)
		if (!has_column(l, dest->field[i].target))
			finding_missing(l->found, "column %.*s of %s, which fields names",
				(int)dest->field[i].target.n, dest->field[i].target.p,
				dest->dest_table);
}

/* With fields = *: columns that all events bring and the table lacks. */
static void check_brought(struct look *l)
{
	const struct tally *brought = &l->feed->columns;
	struct span *column = mem_alloc((brought->n + 1) * sizeof *column);
	struct err e = { 0 };
	size_t n = 0, at = 0, which;

	for (size_t i = 0; i < brought->n; i++) {
		struct span name = span_of(brought->at[i].name);
		if (!span_eq(name, dest_part_column(l->dest)) && is_brought(l->dest, name))
			column[n++] = name;
	}
	for (; at < n; at++) {
		if (table_lacks(l->dst, &l->table, column + at, n - at, &which, &e) < 0)
			break;
		at += which;
		if (at < n)
			finding_warning("%s has no column %.*s, which events bring (fields = *): a"
				" run would end. ALTER TABLE %s ADD COLUMN ...",
				l->dest->dest_table, (int)column[at].n, column[at].p,
				l->dest->dest_table);
	}
	if (e.code)
		finding_missing(l->found, "%s", e.msg);
	free(column);
}

/* ---- dates and other values */

/* Is the column that picks the partition of these types? Its type is the only row then. */
static bool ask_part_type(struct look *l, const char *types)
{
	struct span column = dest_part_target(l->dest);
	struct buf sql = { 0 };

	if (!column.n)
		return false;
	buf_fmt(&sql, PQ_OWN_PATH "SELECT format_type(atttypid, atttypmod) FROM pg_attribute"
		" WHERE attrelid = '%s' AND %s AND attname = ", l->table.oid, types);
	buf_literal(&sql, column);
	return finding_ask(l->found, l->dst, &sql) > 0;
}

static void check_part_zone(struct look *l)
{
	struct span column = dest_part_target(l->dest);

	if (!l->dest->period.zoned && ask_part_type(l, "atttypid = 'timestamptz'::regtype"))
		finding_warning("%.*s is a timestamptz and part_timezone is text: a producer in"
			" another time zone puts a moment into another day. part_timezone = UTC"
			" follows the moment", (int)column.n, column.p);
}

/* A row goes to the partition of its date as the event writes it. */
static void check_rounding(struct look *l)
{
	struct span column = dest_part_target(l->dest);

	if (ask_part_type(l, "atttypid IN ('timestamp'::regtype, 'timestamptz'::regtype)"
	    " AND atttypmod BETWEEN 0 AND 5"))
		finding_warning("%.*s is a %s, which rounds: the end of a period becomes the"
			" beginning of the next one, and the row does not belong into its"
			" partition. Give the column the precision of the source's", (int)column.n,
			column.p, pq_value(l->dst, 0, 0));
}

/* Warns of values that the column stores as a day other than that of their partition. A server
 * writes no such times except those with an offset; a text column may hold them. Declarative
 * partitions refuse them. */
static void check_odd_times(struct look *l)
{
	struct span column = dest_part_target(l->dest);
	bool zoned = l->dest->period.zoned, text = l->feed->part == FEED_TEXT;

	if (l->table.partitioned || l->feed->part == FEED_CLOCK ||
	    !ask_part_type(l, "atttypid IN ('date'::regtype, 'timestamp'::regtype,"
	    " 'timestamptz'::regtype)"))
		return;
	const char *type = pq_value(l->dst, 0, 0);
	bool date = strcmp(type, "date") == 0;
	if (date && zoned)
		finding_warning("%.*s is a date and part_timezone is not text: a value with an"
			" offset%s goes to the partition of its moment, which may be another day's"
			" than the date that is stored", (int)column.n, column.p,
			text ? ", or of 24:00:00," : "");
	else if (!date && text)
		finding_warning("%.*s is a %s, and events may hold any text: %smore than six"
			" digits of a second can become the next period's time, in the partition"
			" of what was written. A CHECK of _PART_START and _PART_END in"
			" part_template refuses such rows", (int)column.n, column.p, type,
			zoned ? "" : "24:00:00, a second 60 or ");
}

static void check_money(struct look *l)
{
	struct buf sql = { 0 };

	buf_fmt(&sql, PQ_OWN_PATH "SELECT attname FROM pg_attribute WHERE attrelid = '%s'"
		" AND NOT attisdropped AND atttypid = 'money'::regtype LIMIT 1", l->table.oid);
	if (finding_ask(l->found, l->dst, &sql) > 0)
		finding_warning("dst_db has no locale %s, which is lc_monetary in src_db: column"
			" %s is read by locale C", l->style->money, pq_value(l->dst, 0, 0));
}

static void check_style(struct look *l)
{
	const struct style *style = l->style;
	bool zone = false, money = false;
	struct err e = { 0 };

	if (!*style->encoding)
		return;                 /* the source was not asked */
	if (style_takes(l->dst, style, &zone, &money, &e) < 0) {
		finding_missing(l->found, "%s", e.msg);
		return;
	}
	if (!zone && !l->dest->period.named)
		finding_warning("dst_db does not know time zone %s: times without an offset are"
			" read by its own", style->zone);
	if (!money && *l->table.oid)
		check_money(l);
}

/* ---- the table */

/* Partitions do not inherit it, and rows are written to them alone. */
static void check_parent_policies(struct look *l)
{
	struct buf sql = { 0 };

	if (l->dest->period.method == PERIOD_NONE)
		return;
	buf_fmt(&sql, PQ_OWN_PATH "SELECT 1 WHERE row_security_active('%s'::oid)", l->table.oid);
	if (finding_ask(l->found, l->dst, &sql) > 0)
		finding_warning("%s has row-level security: partitions are without it, unless"
			" part_template says more, and one that has it takes no COPY",
			l->dest->dest_table);
}

static void no_table(struct look *l)
{
	const struct dest *dest = l->dest;
	bool partitioned = dest->period.method != PERIOD_NONE;

	if (partitioned && !dest->part_template)
		finding_warning("table %s is not there: only its partitions are written to",
			dest->dest_table);
	else if (partitioned || !dest->part_template)
		finding_missing(l->found, "table %s: create it, or check dest_table (names are"
			" written without quotes, as they are stored)", dest->dest_table);
}

static void check_table(struct look *l)
{
	finding_ok("table %s", l->dest->dest_table);
	check_fields(l);
	check_brought(l);
	check_part_field(l);
	if (l->dest->period.method == PERIOD_NONE || period_is_dated(&l->dest->period)) {
		check_part_zone(l);
		check_rounding(l);
		check_odd_times(l);
	}
	check_parent_policies(l);
}

static void check_all(struct look *l)
{
	if (*l->table.oid)
		check_table(l);
	else
		no_table(l);
	checktemplate_run(l);
	checkparts_run(l);
	checklatest_run(l);
	check_generated(l);
	check_style(l);
}

void checkdest_run(struct findings *found, const struct job *job, struct pq *dst,
	const struct dest *dest, const struct style *style, const struct feed *feed)
{
	struct look l = {
		.found = found, .job = job, .dst = dst, .dest = dest, .style = style, .feed = feed,
	};
	struct buf name = { 0 };
	struct err e = { 0 };

	table_words(&l.words, dest);
	buf_cstr(&l.words);
	buf_fmt(&name, "table %s", dest->dest_table);
	if (table_find(dst, dest, dest->table, &l.table, &e) < 0)
		finding_error(found, &e, buf_cstr(&name));
	else
		check_all(&l);
	buf_free(&name);
	buf_free(&l.words);
}
