/*
 * --check's part about dest_table: its columns, the privileges on it, and whether part_template can
 * create partitions of it. Changes nothing.
 */
#include <stdio.h>
#include <string.h>

#include "ops.h"

struct look {
	struct findings *found;
	struct pq *dst;
	const struct dest *dest;
	const struct feed *feed;
	struct buf schema;              /* where the partitions are, or are to be */
	struct table table;
};

/* Are these words in part_template, whatever their case? */
static bool template_says(const struct dest *d, const char *words)
{
	return d->part_template && strcasestr(d->part_template, words);
}

/* Does it make them of a partitioned table? */
static bool template_makes_partitions(const struct dest *d)
{
	return template_says(d, "partition of") || template_says(d, "attach partition");
}

/* Runs sql on the target and frees it. The first value, or NULL. */
static const char *ask(struct look *l, struct buf *sql)
{
	struct pq *dst = l->dst;
	struct err e = { 0 };
	int rc = pq_query(dst, buf_cstr(sql), &e);

	buf_free(sql);
	if (rc < 0)
		finding_missing(l->found, "%s", e.msg);
	return rc == 0 && pq_rows(dst) > 0 ? pq_value(dst, 0, 0) : NULL;
}

/* The rows of sql are GRANT statements that are missing; frees it. */
static bool ask_grants(struct look *l, struct buf *sql)
{
	struct err e = { 0 };
	bool all = finding_grants(l->found, "dst_db", l->dst, pq_query(l->dst, buf_cstr(sql), &e), &e);

	buf_free(sql);
	return all;
}

/* In which schema the partitions are, or are to be. */
static void find_schema(struct look *l)
{
	struct buf sql = { 0 };

	if (l->dest->schema.n) {
		buf_add(&l->schema, l->dest->schema.p, l->dest->schema.n);
		return;
	}
	buf_str(&sql, "SELECT coalesce(pg_catalog.current_schema(), 'public')");
	const char *schema = ask(l, &sql);
	buf_str(&l->schema, schema ? schema : "public");
}

static void add_schema_grant(struct look *l, struct buf *sql, const char *right)
{
	buf_fmt(sql, "SELECT 'GRANT %s ON SCHEMA ' || quote_ident(nspname) || ' TO ' || quote_ident(current_user)"
		" FROM pg_namespace WHERE NOT has_schema_privilege(oid, '%s') AND nspname = ", right, right);
	buf_literal(sql, (struct span){ l->schema.p, l->schema.len });
}

/* false: what is in the schema cannot be looked at. */
static bool check_schema(struct look *l)
{
	struct buf sql = { 0 };

	buf_str(&sql, PQ_OWN_PATH);
	add_schema_grant(l, &sql, "USAGE");
	bool usable = ask_grants(l, &sql);
	if (template_says(l->dest, "create table")) {
		buf_str(&sql, PQ_OWN_PATH);
		add_schema_grant(l, &sql, "CREATE");
		ask_grants(l, &sql);
	}
	return usable;
}

static bool has_column(struct look *l, struct span name)
{
	struct err e = { 0 };
	size_t which;

	if (table_lacks(l->dst, &l->table, &name, 1, &which, &e) < 0)
		finding_missing(l->found, "%s", e.msg);
	return e.code || which;
}

/* The target's name of the column that picks the partition, or nothing. */
static struct span part_column(const struct dest *dest)
{
	struct span source = dest_part_column(dest);

	for (size_t i = 0; i < dest->nfield; i++)
		if (source.p && span_eq(dest->field[i].source, source))
			return dest->field[i].target;
	return source;
}

static void check_zone(struct look *l)
{
	const struct dest *dest = l->dest;
	struct buf sql = { 0 };

	struct span column = part_column(dest);

	if (!column.n || dest->period.zoned)
		return;
	buf_fmt(&sql, PQ_OWN_PATH "SELECT attname FROM pg_attribute WHERE atttypid = 'timestamptz'::regtype"
		" AND attrelid = '%s' AND attname = ", l->table.oid);
	buf_literal(&sql, column);
	if (ask(l, &sql))
		finding_warning("%.*s is a timestamptz and part_timezone is text: a producer in another time zone puts a moment"
			" into another day. part_timezone = UTC follows the moment", (int)column.n, column.p);
}

/* A row goes to the partition of its date as the event writes it. */
static void check_rounding(struct look *l)
{
	struct span column = part_column(l->dest);
	struct buf sql = { 0 };

	if (!column.n)
		return;
	buf_fmt(&sql, PQ_OWN_PATH "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = '%s'"
		" AND atttypid IN ('timestamp'::regtype, 'timestamptz'::regtype) AND atttypmod BETWEEN 0 AND 5 AND attname = ",
		l->table.oid);
	buf_literal(&sql, column);
	const char *type = ask(l, &sql);
	if (type)
		finding_warning("%.*s is a %s, which rounds: the end of a period becomes the beginning of the next one, and the row"
			" does not belong into its partition. Give the column the precision of the source's", (int)column.n,
			column.p, type);
}

/* What the column stores as another day than that of the partition. No server writes such times,
 * but for offsets; a text may hold them. Declarative partitions refuse them. */
static void check_odd_times(struct look *l)
{
	struct span column = part_column(l->dest);
	bool zoned = l->dest->period.zoned, text = l->feed->part == FEED_TEXT;
	struct buf sql = { 0 };

	if (!column.n || l->table.partitioned || l->feed->part == FEED_CLOCK)
		return;
	buf_fmt(&sql, PQ_OWN_PATH "SELECT atttypid::regtype FROM pg_attribute WHERE attrelid = '%s'"
		" AND atttypid IN ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype)"
		" AND attname = ", l->table.oid);
	buf_literal(&sql, column);
	const char *type = ask(l, &sql);
	bool date = type && strcmp(type, "date") == 0;
	if (date && zoned)
		finding_warning("%.*s is a date and part_timezone is not text: a value with an offset%s goes"
			" to the partition of its moment, which may be another day's than the date that is"
			" stored", (int)column.n, column.p, text ? ", or of 24:00:00," : "");
	else if (type && !date && text)
		finding_warning("%.*s is a %s, and events may hold any text: %smore than six digits of a"
			" second can become the next period's time, in the partition of what was written."
			" A CHECK of _PART_START and _PART_END in part_template refuses such rows",
			(int)column.n, column.p, type, zoned ? "" : "24:00:00, a second 60 or ");
}

/* A child of a table can only be made by its owner, a copy by who may read it. */
static void check_parent_rights(struct look *l)
{
	const struct dest *dest = l->dest;
	struct buf sql = { 0 };

	if (table_makes_children(dest))
		buf_fmt(&sql, PQ_OWN_PATH "SELECT CASE WHEN rolsuper THEN 'ALTER TABLE ' || t.oid::regclass || ' OWNER TO '"
			" ELSE 'GRANT ' || quote_ident(rolname) || ' TO ' END || quote_ident(current_user)"
			" FROM pg_class t JOIN pg_roles r ON r.oid = relowner WHERE t.oid = '%s'"
			" AND NOT pg_has_role(relowner, 'USAGE')", l->table.oid);
	else if (template_says(dest, "like _PARENT"))
		buf_fmt(&sql, PQ_OWN_PATH "SELECT 'GRANT SELECT ON ' || oid::regclass || ' TO ' || quote_ident(current_user)"
			" FROM pg_class WHERE oid = '%s' AND NOT has_table_privilege(oid, 'SELECT')", l->table.oid);
	if (sql.len)
		ask_grants(l, &sql);
}

/* Appends a query for oid and name of the tables that rows go to: dest_table, or what is there of
 * its partitions. */
static void add_written(const struct look *l, struct buf *sql)
{
	const struct dest *dest = l->dest;
	struct buf name = { 0 }, prefix = { 0 };

	if (dest->period.method == PERIOD_NONE) {
		buf_fmt(sql, "(SELECT oid, relname FROM pg_class WHERE oid = '%s')",
			*l->table.oid ? l->table.oid : "0");
		return;
	}
	buf_fmt(&name, "%.*s_", (int)dest->table.n, dest->table.p);
	buf_literal(&prefix, (struct span){ name.p, name.len });
	buf_cstr(&prefix);
	buf_str(sql, "(SELECT t.oid, relname FROM pg_class t"
		" JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind IN ('r', 'p', 'f', 'v', 'm') AND nspname = ");
	buf_literal(sql, (struct span){ l->schema.p, l->schema.len });
	buf_fmt(sql, " AND left(relname, length(%s)) = %s"
		" AND substr(relname, length(%s) + 1) ~ '^[0-9]{4}[w0-9_]*$')", prefix.p, prefix.p, prefix.p);
	buf_free(&prefix);
	buf_free(&name);
}

/* The right to insert into dest_table or, where that has partitions, into the last of them. */
static void check_insert(struct look *l)
{
	struct buf sql = { 0 };

	buf_str(&sql, PQ_OWN_PATH "SELECT 'GRANT INSERT ON ' || oid::regclass || ' TO '"
		" || quote_ident(current_user) FROM (SELECT oid FROM ");
	add_written(l, &sql);
	buf_str(&sql, " written ORDER BY relname DESC LIMIT 1) last"
		" WHERE NOT has_table_privilege(oid, 'INSERT')");
	ask_grants(l, &sql);
}

/* Tables that refuse each COPY: under row-level security, views, foreign tables for reading only. */
static void check_takes_rows(struct look *l)
{
	struct buf sql = { 0 };

	buf_str(&sql, PQ_OWN_PATH "SELECT oid::regclass, CASE WHEN relkind IN ('v', 'm') THEN 'is a view'"
		" WHEN relkind = 'f' THEN 'is a foreign table that cannot be inserted into'"
		" ELSE 'has row-level security for role ' || quote_ident(current_user)"
		" || ': ALTER ROLE ... BYPASSRLS, or ALTER TABLE ... DISABLE ROW LEVEL SECURITY' END"
		" || CASE WHEN count(*) OVER () > 1 THEN '; and others like it' ELSE '' END FROM ");
	add_written(l, &sql);
	buf_str(&sql, " written JOIN pg_class t USING (oid, relname) WHERE row_security_active(oid)"
		" OR relkind = 'm' OR (relkind = 'f' AND pg_relation_is_updatable(oid, false) & 8 = 0)"
		" OR (relkind = 'v' AND NOT EXISTS (SELECT 1 FROM pg_trigger"    /* instead of insert */
		" WHERE tgrelid = t.oid AND tgtype & 68 = 68)) ORDER BY relname DESC LIMIT 1");
	const char *table = ask(l, &sql);
	if (table)
		finding_wrong(l->found, "table %s takes no COPY: it %s", table, pq_value(l->dst, 0, 1));
}

/* Partitions do not inherit it, and rows are written to them alone. */
static void check_parent_policies(struct look *l)
{
	struct buf sql = { 0 };

	if (l->dest->period.method == PERIOD_NONE)
		return;
	buf_fmt(&sql, PQ_OWN_PATH "SELECT 1 WHERE row_security_active('%s'::oid)", l->table.oid);
	if (ask(l, &sql))
		finding_warning("%s has row-level security: partitions are without it, unless part_template"
			" says more, and one that has it takes no COPY", l->dest->dest_table);
}

/* Only an owner can drop or detach a table. By the length of the name, which is near enough. */
static void check_keep(struct look *l)
{
	const struct dest *dest = l->dest;
	struct buf sql = { 0 };

	if (dest->keep.unit == PERIOD_NONE)
		return;
	if (dest->part_template && !table_makes_children(dest))
		finding_warning("part_keep removes only children of %s, and part_template seems to make none",
			dest->dest_table);
	buf_fmt(&sql, PQ_OWN_PATH "SELECT relname FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = '%s'"
		" AND octet_length(relname::text) = %zu AND NOT pg_has_role(relowner, 'USAGE') LIMIT 1", l->table.oid,
		dest->table.n + period_suffix_len(dest->period.method));
	if (ask(l, &sql))
		finding_warning("some partitions of %s have another owner: part_keep cannot remove them. --show-partitions says"
			" which; ALTER TABLE ... OWNER TO the user of dst_db", dest->dest_table);
}

/* ---- part_template */

/* One that calls something may leave the name of the partition to that. */
static void check_name(struct look *l)
{
	const struct dest *dest = l->dest;
	bool names = strstr(dest->part_template, "_DEST_TABLE") || strstr(dest->part_template, "_SCHEMA_TABLE");
	bool calls = template_says(dest, "execute") || (!template_says(dest, "create table") &&
		(template_says(dest, "select") || template_says(dest, "call")));

	if (!names && calls)
		finding_warning("part_template has the word _DEST_TABLE nowhere: what it calls must know the partition's name");
	else if (!names)
		finding_wrong(l->found, "part_template has the word _DEST_TABLE nowhere, so it cannot create a partition: write"
			" create table _DEST_TABLE ...");
}

/* With dest_table there. */
static void check_kind(struct look *l)
{
	const struct dest *dest = l->dest;

	if (template_makes_partitions(dest) && !l->table.partitioned)
		finding_wrong(l->found, "table %s is not partitioned, and part_template says %s: create it with PARTITION BY"
			" RANGE (...), or let part_template say create table _DEST_TABLE () inherits (_PARENT)", dest->dest_table,
			template_says(dest, "partition of") ? "partition of" : "attach partition");
	else if (template_says(dest, "inherits (_PARENT)") && l->table.partitioned &&
	    !template_makes_partitions(dest))
		finding_wrong(l->found, "table %s is partitioned, which nothing inherits from: let part_template say create table"
			" _DEST_TABLE partition of _PARENT for values from (_PART_START) to (_PART_END)", dest->dest_table);
}

static void check_template(struct look *l)
{
	const struct dest *dest = l->dest;

	if (dest->period.method == PERIOD_NONE)
		return;
	if (!dest->part_template) {
		finding_warning("part_template is not set: each partition of %s must be there before its rows come",
			dest->dest_table);
		return;
	}
	check_name(l);
	if (*l->table.oid)
		check_kind(l);
}

/* With fields = * each column of an event is written, so that one which picks the partition must
 * be there to be written to. */
static void check_part_field(struct look *l)
{
	const struct dest *dest = l->dest;
	struct span column = part_column(dest);

	for (size_t i = 0; i < dest->nfield; i++)
		if (span_is(dest->field[i].source, dest->part_field ? dest->part_field : ""))
			return;         /* it was looked for with the others */
	if (!column.n || has_column(l, column))
		return;
	if (!dest->nfield && table_is_model(dest, &l->table, column))
		finding_wrong(l->found, "%s has no column %s, which part_field names: check part_field", dest->dest_table,
			dest->part_field);
	else
		finding_warning("no column of %s is called %s, which part_field names; events must carry it", dest->dest_table,
			dest->part_field);
}

static void no_table(struct look *l)
{
	const struct dest *dest = l->dest;
	bool partitioned = dest->period.method != PERIOD_NONE;

	if (partitioned && !dest->part_template)
		finding_warning("table %s is not there: only its partitions are written to", dest->dest_table);
	else if (partitioned || !dest->part_template)
		finding_missing(l->found, "table %s: create it, or check dest_table (names are written without quotes, as they"
			" are stored)", dest->dest_table);
}

static void check_table(struct look *l)
{
	const struct dest *dest = l->dest;

	finding_ok("table %s", dest->dest_table);
	for (size_t i = 0; i < dest->nfield; i++)
		if (!has_column(l, dest->field[i].target))
			finding_missing(l->found, "column %.*s of %s, which fields names", (int)dest->field[i].target.n,
				dest->field[i].target.p, dest->dest_table);
	check_part_field(l);
	check_zone(l);
	check_rounding(l);
	check_odd_times(l);
	check_parent_rights(l);
	check_parent_policies(l);
	check_keep(l);
}

bool checkdest_run(struct findings *found, struct pq *dst, const struct dest *dest,
	const struct feed *feed)
{
	struct look l = { .found = found, .dst = dst, .dest = dest, .feed = feed };
	struct err e = { 0 };

	find_schema(&l);
	bool usable = check_schema(&l);
	if (usable) {
		if (table_find(dst, dest, dest->table, &l.table, &e) < 0)
			finding_missing(found, "%s", e.msg);
		else if (*l.table.oid)
			check_table(&l);
		else
			no_table(&l);
		check_template(&l);
		check_insert(&l);
		check_takes_rows(&l);
	}
	buf_free(&l.schema);
	return usable;
}
