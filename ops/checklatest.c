/*
 * --check's part about row_mode = keep_latest: does the target let rows be replaced by their key,
 * and do the source's triggers tell which row that is? Changes nothing.
 */
#include <string.h>

#include "ops.h"

/* Takes the next column off a list of names. false: there is none. */
static bool next_column(const char **list, struct span *column)
{
	size_t n = *list ? strcspn(*list, ",") : 0;

	*column = (struct span){ *list, n };
	if (n)
		*list += n + ((*list)[n] == ',');
	return n > 0;
}

static bool is_in_key(const struct look *l, struct span name)
{
	const char *list = l->feed->key.p;
	struct span column;

	while (next_column(&list, &column))
		if (span_eq(column, name))
			return true;
	return false;
}

static struct span target_of(const struct dest *d, struct span source)
{
	for (size_t i = 0; i < d->nfield - d->nword; i++)
		if (span_eq(d->field[i].source, source))
			return d->field[i].target;
	return source;
}

/* ---- the source */

static void check_triggers(struct look *l)
{
	const struct dest *d = l->dest;
	const struct feed *feed = l->feed;
	struct span part = dest_part_column(d);

	if (feed->several)
		finding_wrong(l->found, "several source tables feed %s: with row_mode ="
			" keep_latest it takes the rows of one, those of the others are bad events",
			d->dest_table);
	if (feed->no_key && !d->row_key)
		finding_wrong(l->found, "a trigger that feeds %s names no primary key, which"
			" row_mode = keep_latest needs: give its table one, or the trigger the"
			" argument pkey=..., or set row_key", d->dest_table);
	if (feed->one_key && part.p && !is_in_key(l, part) && !feed->backup)
		finding_warning("part_field %s is not in the key (%s), and the trigger that feeds"
			" %s has no argument backup: after an update that moves a row to another"
			" partition the old one would stay", d->part_field, feed->key.p,
			d->dest_table);
}

/* ---- the target */

static void check_references(struct look *l)
{
	const struct table_name table = { .name = l->dest->table };
	struct err e = { 0 };

	if (stage_referenced(l->dst, l->dest, &table, 1, &e) == ERR_SHAPE && !*e.sqlstate)
		finding_wrong(l->found, "%s", e.msg);
	else if (e.code)
		finding_missing(l->found, "%s", e.msg);
}

/* Is there an index that begins with a column of the key? Partitions get those of a partitioned
 * table. */
static void check_index(struct look *l)
{
	const char *list = l->feed->key.p;
	struct span column;
	struct buf sql = { 0 };
	size_t n = 0;

	if (!l->feed->one_key || !*l->table.oid ||
	    (!l->table.partitioned && l->dest->period.method != PERIOD_NONE))
		return;
	buf_fmt(&sql, PQ_OWN_PATH "SELECT 1 FROM pg_index JOIN pg_attribute ON attrelid = indrelid"
		" AND attnum = indkey[0] WHERE indrelid = '%s' AND attname::text IN (",
		l->table.oid);
	for (; next_column(&list, &column); n++) {
		buf_str(&sql, n ? ", " : "");
		buf_literal(&sql, target_of(l->dest, column));
	}
	buf_str(&sql, ")");
	if (n && finding_ask(l->found, l->dst, &sql) == 0)
		finding_warning("no index of %s begins with a column of the key (%s): each batch"
			" reads all rows of the partitions that it changes", l->dest->dest_table,
			l->feed->key.p);
	buf_free(&sql);
}

void checklatest_run(struct look *l)
{
	if (l->dest->row_mode != ROWS_KEEP_LATEST)
		return;
	check_triggers(l);
	check_references(l);
	check_index(l);
}
