/*
 * --check's part about row_mode, most of it about keep_latest: does the target let rows be replaced
 * by their key, and do the source's triggers tell which row that is? Changes nothing.
 */
#include <string.h>

#include "ops.h"

/* The columns of the key, as far as triggers and row_key tell; NULL: they do not. */
static const char *key_list(const struct look *l)
{
	return l->feed->one_key ? l->feed->key.p : l->dest->row_key;
}

static struct span target_of(const struct dest *d, struct span source)
{
	for (size_t i = 0; i < d->nfield - d->nword; i++)
		if (span_eq(d->field[i].source, source))
			return d->field[i].target;
	return source;
}

/* ---- the source */

/* A column that is renamed, or taken by *, is written. */
static void check_key_is_written(struct look *l)
{
	const char *list = key_list(l);
	struct span column;

	while (filter_next(&list, &column))
		if (!dest_writes(l->dest, column))
			finding_wrong(l->found, "column %.*s is of the key that the trigger names,"
				" and not among those that are written to %s: check fields and"
				" skip_fields", (int)column.n, column.p, l->dest->dest_table);
}

/* Without the old row in the event, an update may move a row unseen. */
static void check_moves(struct look *l)
{
	struct span part = dest_part_column(l->dest);
	const char *key = key_list(l);

	if (l->feed->known && !l->feed->backup && key && part.p && !filter_has(key, part))
		finding_warning("part_field %s is not in the key (%s), and the trigger that feeds"
			" %s has no argument backup: after an update that moves a row to another"
			" partition the old one would stay", l->dest->part_field, key,
			l->dest->dest_table);
}

static void check_triggers(struct look *l)
{
	const struct dest *d = l->dest;
	const struct feed *feed = l->feed;

	if (feed->several)
		finding_wrong(l->found, "several source tables feed %s: with row_mode ="
			" keep_latest it takes the rows of one, those of the others are bad events",
			d->dest_table);
	if (feed->no_key && !d->row_key)
		finding_wrong(l->found, "a trigger that feeds %s names no primary key, which"
			" row_mode = keep_latest needs: give its table one, or the trigger the"
			" argument pkey=..., or set row_key", d->dest_table);
	check_key_is_written(l);
	check_moves(l);
}

/* Of these the target never hears. */
static void check_types(struct look *l)
{
	const struct dest *d = l->dest;
	bool log = d->row_mode == ROWS_LOG || !d->event_types;

	if (d->row_mode == ROWS_KEEP_LATEST && !log && !filter_has(d->event_types, span_of("D")))
		finding_warning("event_types leaves out D: rows that are deleted in the source stay"
			" in %s", d->dest_table);
	if (d->on_truncate == ON_TRUNCATE_ERROR && !log &&
	    !filter_has(d->event_types, span_of("R")))
		finding_warning("event_types leaves out R: a truncate of the source is passed over,"
			" its rows stay in %s, and on_truncate = error does not tell. Add R, or"
			" set on_truncate = skip", d->dest_table);
}

/* ---- the target */

static void check_references(struct look *l)
{
	const struct table_name table = { .name = l->dest->table };
	struct err e = { 0 };

	if (constraint_referenced(l->dst, l->dest, &table, 1, &e) == ERR_SHAPE && !*e.sqlstate)
		finding_wrong(l->found, "%s", e.msg);
	else if (e.code)
		finding_missing(l->found, "%s", e.msg);
}

/* Is there an index that begins with a column of the key? Partitions get those of a partitioned
 * table. */
static void check_index(struct look *l)
{
	const char *list = key_list(l);
	struct span column;
	struct buf sql = { 0 };
	size_t n = 0;

	if (!*l->table.oid ||
	    (!l->table.partitioned && l->dest->period.method != PERIOD_NONE))
		return;
	buf_fmt(&sql, PQ_OWN_PATH "SELECT 1 FROM pg_index JOIN pg_attribute ON attrelid = indrelid"
		" AND attnum = indkey[0] WHERE indrelid = '%s' AND attname::text IN (",
		l->table.oid);
	for (; filter_next(&list, &column); n++) {
		buf_str(&sql, n ? ", " : "");
		buf_literal(&sql, target_of(l->dest, column));
	}
	buf_str(&sql, ")");
	if (n && finding_ask(l->found, l->dst, &sql) == 0)
		finding_warning("no index of %s begins with a column of the key (%s): each batch"
			" reads all rows of the partitions that it changes", l->dest->dest_table,
			key_list(l));
	buf_free(&sql);
}

void checklatest_run(struct look *l)
{
	check_types(l);
	if (l->dest->row_mode != ROWS_KEEP_LATEST)
		return;
	check_triggers(l);
	check_references(l);
	check_index(l);
}
