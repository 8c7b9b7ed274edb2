/*
 * What --check finds out about those who write events: which triggers feed the queue, and how the
 * source's sessions write values. Changes nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "ops.h"

static bool is_true(struct pq *q, int row, int col)
{
	const char *value = pq_value(q, row, col);

	return value && *value == 't';
}

/* ---- triggers */

/* The CTE feed: the triggers of PgQ's functions that have the queue as their first argument, with
 * their table, function and arguments. */
static void add_triggers(struct buf *sql, const struct pq *src, const char *queue)
{
	buf_str(sql, "WITH feed AS (SELECT t.tgname, t.tgenabled, t.tgrelid, p.proname, a.args"
		" FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid"
		" JOIN pg_namespace n ON n.oid = p.pronamespace"
		" CROSS JOIN LATERAL (SELECT array_agg("
		"convert_from(decode(x, 'escape'), getdatabaseencoding()) ORDER BY i) AS args"
		" FROM unnest(string_to_array(encode(t.tgargs, 'escape'), E'\\\\000'))"
		" WITH ORDINALITY AS u (x, i)) a"
		" WHERE NOT t.tgisinternal AND n.nspname = ");
	buf_literal(sql, span_of(queue_schema(src)));
	buf_str(sql, " AND a.args[1] = ");
	buf_literal(sql, span_of(queue));
	buf_str(sql, ") ");
}

/* What the argument's list names. */
#define LIST_OF(name) "(SELECT string_to_array(substr(x, " "length('" name "=') + 1), ',')" \
	" FROM unnest(args) x WHERE x LIKE '" name "=%' LIMIT 1)"

/* The columns that all events have: those that no table lacks, and no trigger ignores. */
static int find_columns(struct pq *src, const char *queue, struct feed *feed, struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, PQ_OWN_PATH);
	add_triggers(&sql, src, queue);
	buf_str(&sql, "SELECT attname FROM feed JOIN pg_attribute ON attrelid = tgrelid"
		" AND attnum > 0 AND NOT attisdropped"
		" AND attname::text <> ALL (coalesce(" LIST_OF("ignore") ", '{}'))"
		" GROUP BY attname HAVING count(*) = (SELECT count(*) FROM feed)");
	if (pq_query(src, buf_cstr(&sql), e) == 0)
		for (int row = 0; row < pq_rows(src); row++)
			tally_add(&feed->columns, pq_value(src, row, 0), 0);
	buf_free(&sql);
	return e->code;
}

/* Of what type is the column that picks the partition, in all tables? */
static int find_part(struct pq *src, const struct conf *conf, struct feed *feed, struct err *e)
{
	struct span column = dest_part_column(&conf->dest);
	struct buf sql = { 0 };

	if (!column.n)
		return 0;
	buf_str(&sql, PQ_OWN_PATH);
	add_triggers(&sql, src, conf->queue_name);
	buf_fmt(&sql, "SELECT CASE WHEN count(*) < (SELECT count(*) FROM feed) THEN %d"
		" WHEN bool_or(atttypid = 'timestamptz'::regtype) THEN %d ELSE %d END FROM feed"
		" JOIN pg_attribute ON attrelid = tgrelid AND NOT attisdropped WHERE atttypid IN"
		" ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype) AND attname = ",
		FEED_TEXT, FEED_MOMENT, FEED_CLOCK);
	buf_literal(&sql, column);
	if (pq_query(src, buf_cstr(&sql), e) == 0)
		feed->part = (enum feed_time)pq_int(src, 0, 0, FEED_TEXT);
	buf_free(&sql);
	return e->code;
}

/* A row for each trigger: name, table, function, is it disabled, the primary key that it names. */
static int list_triggers(struct pq *src, const char *queue, struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, PQ_OWN_PATH);
	add_triggers(&sql, src, queue);
	buf_str(&sql, "SELECT tgname, tgrelid::regclass, proname, tgenabled = 'D',"
		" array_to_string(coalesce((SELECT array_agg(trim(x)) FROM"
		" unnest(" LIST_OF("pkey") ") x),"
		" (SELECT array_agg(k.attname::text ORDER BY k.attnum)"
		" FROM pg_index i JOIN pg_attribute k ON k.attrelid = i.indexrelid"
		" WHERE i.indrelid = tgrelid AND i.indisprimary)), ',') FROM feed ORDER BY 2, 1");
	pq_query(src, buf_cstr(&sql), e);
	buf_free(&sql);
	return e->code;
}

/* Takes over the key that all rows of list_triggers name, if it is one. */
static void take_key(struct pq *src, struct feed *feed)
{
	const char *first = pq_value(src, 0, 4);

	feed->one_key = first != NULL;
	for (int row = 1; row < pq_rows(src); row++) {
		const char *key = pq_value(src, row, 4);
		feed->one_key = feed->one_key && key && strcmp(key, first) == 0;
	}
	buf_str(&feed->key, first ? first : "");
	buf_cstr(&feed->key);           /* read as a string elsewhere */
}

int checksource_feed(struct pq *src, const struct conf *c, struct feed *feed, struct err *e)
{
	if (list_triggers(src, c->queue_name, e) < 0 || pq_rows(src) == 0)
		return e->code;
	feed->known = true;
	take_key(src, feed);
	if (find_columns(src, c->queue_name, feed, e) == 0)
		find_part(src, c, feed, e);
	return e->code;
}

static void check_trigger(struct findings *found, struct pq *src, const char *queue, int row)
{
	const char *name = pq_value(src, row, 0), *table = pq_value(src, row, 1);
	const char *function = pq_value(src, row, 2), *schema = queue_schema(src);

	if (strcmp(function, "logutriga") != 0)
		finding_wrong(found, "trigger %s on %s feeds queue %s by %s.%s, whose events are"
			" no rows: create it with %s.logutriga", name, table, queue, schema,
			function, schema);
	else if (is_true(src, row, 3))
		finding_warning("trigger %s on %s, which feeds queue %s, is disabled", name, table,
			queue);
}

static void check_triggers(struct findings *found, struct pq *src, const struct conf *c,
	struct feed *feed)
{
	const char *queue = c->queue_name, *schema = queue_schema(src);
	struct err e = { 0 };

	if (checksource_feed(src, c, feed, &e) == 0 && list_triggers(src, queue, &e) == 0)
		for (int row = 0; row < pq_rows(src); row++)
			check_trigger(found, src, queue, row);
	if (e.code)
		finding_missing(found, "%s", e.msg);
	else if (!feed->known)
		finding_warning("no trigger in src_db feeds queue %s: create one with"
			" %s.logutriga('%s'), unless an application calls %s.insert_event", queue,
			schema, queue, schema);
}

/* ---- how values are written */

static void check_dates(const char *style, const char *whose)
{
	finding_warning("src_db: DateStyle is %s%s: dates so written are refused, or, with names"
		" of months, read with zones as abbreviations (IST, EST), which the target may"
		" take for others: set DateStyle = ISO there", style, whose);
}

static bool is_iso(const char *date_style)
{
	return !strcasestr(date_style, "sql") && !strcasestr(date_style, "german") &&
		!strcasestr(date_style, "postgres");
}

static void check_setting(const char *name, const char *value, const char *whose)
{
	if (strcasecmp(name, "datestyle") == 0 && !is_iso(value))
		check_dates(value, whose);
	else if (strcasecmp(name, "intervalstyle") == 0 && strcasecmp(value, "postgres") != 0)
		finding_ok("src_db: IntervalStyle is %s%s: intervals are read as it means them",
			value, whose);
	else if (strcasecmp(name, "extra_float_digits") == 0 && atoi(value) < 1)
		finding_warning("src_db: extra_float_digits is %s%s: numbers with a floating point"
			" are written with fewer digits than they have", value, whose);
}

/* Settings with which producers' sessions begin and ours does not. What they set themselves is
 * unknown. */
static void check_settings(struct findings *found, struct pq *src)
{
	struct buf sql = { 0 };

	buf_str(&sql, PQ_OWN_PATH "SELECT split_part(c, '=', 1), substr(c, strpos(c, '=') + 1),"
		" coalesce(' for role ' || rolname, '') || coalesce(' in database ' || datname, '')"
		" FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = setdatabase"
		" LEFT JOIN pg_roles r ON r.oid = setrole, unnest(setconfig) c"
		" WHERE (setdatabase = 0 OR datname = current_database())"
		" AND substr(c, strpos(c, '=') + 1)"
		" IS DISTINCT FROM current_setting(split_part(c, '=', 1), true) ORDER BY 3, 1");
	for (int row = 0, rows = finding_ask(found, src, &sql); row < rows; row++)
		check_setting(pq_value(src, row, 0), pq_value(src, row, 1), pq_value(src, row, 2));
}

static void check_style(struct findings *found, struct pq *src, const struct conf *conf,
	struct style *style)
{
	struct err e = { 0 };
	const char *encoding = pq_server(src)->encoding;

	if (style_ask(src, conf, style, &e) < 0) {
		finding_missing(found, "%s", e.msg);
		return;
	}
	check_setting("datestyle", style->date, "");
	check_setting("intervalstyle", style->interval, "");
	check_settings(found, src);
	if (strcmp(encoding, "SQL_ASCII") == 0)
		finding_warning("src_db has no encoding (SQL_ASCII): an event with text that is"
			" invalid in dst_db's cannot be written");
	if (strcmp(encoding, style->encoding) != 0)
		finding_warning("%s.logutriga in src_db is in PL/pgSQL and writes UTF8 in a"
			" database of %s: events are read so, and those that a version in C wrote"
			" before are not", queue_schema(src), encoding);
}

void checksource_run(struct findings *found, struct pq *src, const struct conf *conf,
	struct style *style,
	struct feed *feed)
{
	check_triggers(found, src, conf, feed);
	check_style(found, src, conf, style);
}

void checksource_free(struct feed *feed)
{
	buf_free(&feed->key);
	tally_clear(&feed->columns);
}
