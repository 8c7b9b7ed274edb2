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

/* A table as PgQ's triggers write it into ev_extra1. */
#define NAME_OF(oid) "(SELECT s.nspname::text || '.' || c.relname FROM pg_class c" \
	" JOIN pg_namespace s ON s.oid = c.relnamespace WHERE c.oid = " oid ")"

/* The CTE feed: the triggers of PgQ's functions that have the queue as their first argument, with
 * their table, function and arguments. tables: only theirs; empty: all that key tables names. */
static void add_triggers(struct buf *sql, const struct pq *src, const struct conf *c,
	const struct tally *tables)
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
	buf_literal(sql, span_of(c->queue_name));
	if (c->tables) {
		buf_str(sql, " AND ");
		events_add_tables(sql, NAME_OF("t.tgrelid"), c->tables);
	}
	for (size_t i = 0; i < tables->n; i++) {
		buf_str(sql, i ? "," : " AND " NAME_OF("t.tgrelid") " = ANY (ARRAY[");
		buf_literal(sql, span_of(tables->at[i].name));
	}
	buf_str(sql, tables->n ? "])) " : ") ");
}

/* What the argument's list names. */
#define LIST_OF(name) "(SELECT string_to_array(substr(x, " "length('" name "=') + 1), ',')" \
	" FROM unnest(args) x WHERE x LIKE '" name "=%' LIMIT 1)"

/* The columns that all events have: those that no table lacks, and no trigger ignores. */
static int find_columns(struct pq *src, const struct conf *c, struct feed *feed, struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, PQ_OWN_PATH);
	add_triggers(&sql, src, c, &feed->tables);
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
static int find_part(struct pq *src, const struct conf *c, const struct dest *d, struct feed *feed,
	struct err *e)
{
	struct span column = dest_part_column(d);
	struct buf sql = { 0 };

	if (!column.n)
		return 0;
	buf_str(&sql, PQ_OWN_PATH);
	add_triggers(&sql, src, c, &feed->tables);
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
static int list_triggers(struct pq *src, const struct conf *c, const struct tally *tables,
	struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, PQ_OWN_PATH);
	add_triggers(&sql, src, c, tables);
	buf_str(&sql, "SELECT tgname, tgrelid::regclass, proname, tgenabled = 'D',"
		" array_to_string(coalesce((SELECT array_agg(trim(x)) FROM"
		" unnest(" LIST_OF("pkey") ") x),"
		" (SELECT array_agg(k.attname::text ORDER BY k.attnum)"
		" FROM pg_index i JOIN pg_attribute k ON k.attrelid = i.indexrelid"
		" WHERE i.indrelid = tgrelid AND i.indisprimary)), ','),"
		" 'backup' = ANY (args) FROM feed ORDER BY 2, 1");
	pq_query(src, buf_cstr(&sql), e);
	buf_free(&sql);
	return e->code;
}

/* Takes over the key that all rows of list_triggers name, if it is one; and what else they have in
 * common. */
static void take_key(struct pq *src, struct feed *feed)
{
	const char *first = pq_value(src, 0, 4);

	feed->one_key = first != NULL;
	feed->backup = true;
	for (int row = 0; row < pq_rows(src); row++) {
		const char *key = pq_value(src, row, 4);
		feed->one_key = feed->one_key && key && strcmp(key, first) == 0;
		feed->no_key |= !key;
		feed->several |= strcmp(pq_value(src, row, 1), pq_value(src, 0, 1)) != 0;
		feed->backup = feed->backup && is_true(src, row, 5);
	}
	buf_str(&feed->key, first ? first : "");
	buf_cstr(&feed->key);           /* read as a string elsewhere */
}

static const struct tally all_tables;

/* Adds the source tables whose events go that way. */
static void add_tables(const struct dests *ds, const struct way *way, struct tally *tables)
{
	for (size_t i = 0; i < DESTS_BUCKETS; i++)
		for (const struct source *s = ds->bucket[i]; s; s = s->next)
			if (s->way == way && !s->by_type)
				tally_add(tables, s->name.p, 0);
}

int checksource_feed(struct job *j, const struct way *way, struct feed *feed, struct err *e)
{
	const struct conf *c = j->conf;

	if (checkfrom_alone(c))
		return checkfrom_feed(j, feed, e);
	if (way->rule)
		add_tables(&j->dests, way, &feed->tables);
	if (!j->src || (way->rule && !feed->tables.n) ||
	    list_triggers(j->src, c, &feed->tables, e) < 0 || pq_rows(j->src) == 0)
		return e->code;
	feed->known = true;
	take_key(j->src, feed);
	if (find_columns(j->src, c, feed, e) == 0)
		find_part(j->src, c, way->dest, feed, e);
	return e->code;
}

/* Goes the ways of the tables in the rows of the last query. */
static void meet_rows(struct job *j, struct findings *found)
{
	for (int row = 0; row < pq_rows(j->src); row++) {
		const struct event ev = { .table = span_of(pq_value(j->src, row, 0)) };
		const struct source *s = dests_source(&j->dests, j->conf, &ev);
		if (s->why && found)
			finding_wrong(found, "%s", s->why);
	}
}

int checksource_meet(struct job *j, struct findings *found, struct err *e)
{
	struct buf sql = { 0 };

	dests_open(&j->dests, j->conf, &j->style);
	if (!j->conf->nrule || !j->src)
		return 0;
	if (checkfrom_alone(j->conf))
		return checkfrom_meet(j, found, e);
	buf_str(&sql, PQ_OWN_PATH);
	add_triggers(&sql, j->src, j->conf, &all_tables);
	buf_str(&sql, "SELECT DISTINCT " NAME_OF("tgrelid") " FROM feed ORDER BY 1");
	if (pq_query(j->src, buf_cstr(&sql), e) == 0)
		meet_rows(j, found);
	buf_free(&sql);
	return e->code;
}

/* Does the function write events that event_format takes? */
static bool writes_rows(const char *function, enum event_format format)
{
	bool json = strcmp(function, "jsontriga") == 0;

	return (json && format != EVENT_URLENC) ||
		(strcmp(function, "logutriga") == 0 && format != EVENT_JSON);
}

static void check_trigger(struct findings *found, struct pq *src, const struct conf *c, int row)
{
	const char *name = pq_value(src, row, 0), *table = pq_value(src, row, 1);
	const char *function = pq_value(src, row, 2), *schema = queue_schema(src);

	if (!writes_rows(function, c->event_format))
		finding_wrong(found, "trigger %s on %s feeds queue %s by %s.%s, whose events are"
			" no rows%s: create it with %s.%s", name, table, c->queue_name, schema,
			function, c->event_format == EVENT_AUTO ? "" : " by event_format", schema,
			c->event_format == EVENT_JSON ? "jsontriga" : "logutriga");
	else if (is_true(src, row, 3))
		finding_warning("trigger %s on %s, which feeds queue %s, is disabled", name, table,
			c->queue_name);
}

static void check_triggers(struct findings *found, struct pq *src, const struct conf *c)
{
	const char *queue = c->queue_name, *schema = queue_schema(src);
	struct err e = { 0 };

	if (list_triggers(src, c, &all_tables, &e) == 0)
		for (int row = 0; row < pq_rows(src); row++)
			check_trigger(found, src, c, row);
	if (e.code)
		finding_missing(found, "%s", e.msg);
	else if (!pq_rows(src))
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
	struct style *style)
{
	check_triggers(found, src, conf);
	check_style(found, src, conf, style);
}

void checksource_free(struct feed *feed)
{
	buf_free(&feed->key);
	tally_clear(&feed->tables);
	tally_clear(&feed->columns);
}
