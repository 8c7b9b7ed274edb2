/*
 * What --check finds out about dest_table: its columns, the rights there, and whether part_template
 * can make partitions of it. Changes nothing.
 */
#include <stdio.h>
#include <string.h>

#include "ops.h"

struct look {
	struct findings *found;
	struct pq *dst;
	const struct conf *conf;
	struct buf schema;              /* where the partitions are, or are to be */
	struct part_table table;
};

/* Are these words in part_template, whatever their case? */
static bool template_says(const struct conf *c, const char *words)
{
	return c->part_template && strcasestr(c->part_template, words);
}

/* Does it make them of a partitioned table? */
static bool template_makes_partitions(const struct conf *c)
{
	return template_says(c, "partition of") || template_says(c, "attach partition");
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

	if (l->conf->schema.n) {
		buf_add(&l->schema, l->conf->schema.p, l->conf->schema.n);
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
	if (template_says(l->conf, "create table")) {
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

	if (part_lacks(l->dst, &l->table, &name, 1, &which, &e) < 0)
		finding_missing(l->found, "%s", e.msg);
	return e.code || which;
}

/* The target's name of the column that picks the partition, or nothing. */
static struct span part_column(const struct conf *conf)
{
	if (conf->period.method == PERIOD_NONE || strcmp(conf->part_field, "_EVTIME") == 0)
		return (struct span){ 0 };
	for (size_t i = 0; i < conf->nfield; i++)
		if (span_is(conf->field[i].source, conf->part_field))
			return conf->field[i].target;
	return span_of(conf->part_field);
}

static void check_zone(struct look *l)
{
	const struct conf *conf = l->conf;
	struct buf sql = { 0 };

	struct span column = part_column(conf);

	if (!column.n || conf->period.zoned)
		return;
	buf_fmt(&sql, PQ_OWN_PATH "SELECT attname FROM pg_attribute WHERE atttypid = 'timestamptz'::regtype"
		" AND attrelid = '%s' AND attname = ", l->table.oid);
	buf_literal(&sql, column);
	if (ask(l, &sql))
		finding_warning("%.*s is a timestamptz and part_timezone is text: a producer in another time zone puts a moment"
			" into another day. part_timezone = UTC follows the moment", (int)column.n, column.p);
}

/* A child of a table can only be made by its owner, a copy by who may read it. */
static void check_parent_rights(struct look *l)
{
	const struct conf *conf = l->conf;
	struct buf sql = { 0 };

	if (part_makes_children(conf))
		buf_fmt(&sql, PQ_OWN_PATH "SELECT CASE WHEN rolsuper THEN 'ALTER TABLE ' || t.oid::regclass || ' OWNER TO '"
			" ELSE 'GRANT ' || quote_ident(rolname) || ' TO ' END || quote_ident(current_user)"
			" FROM pg_class t JOIN pg_roles r ON r.oid = relowner WHERE t.oid = '%s'"
			" AND NOT pg_has_role(relowner, 'USAGE')", l->table.oid);
	else if (template_says(conf, "like _PARENT"))
		buf_fmt(&sql, PQ_OWN_PATH "SELECT 'GRANT SELECT ON ' || oid::regclass || ' TO ' || quote_ident(current_user)"
			" FROM pg_class WHERE oid = '%s' AND NOT has_table_privilege(oid, 'SELECT')", l->table.oid);
	if (sql.len)
		ask_grants(l, &sql);
}

/* The right to insert into dest_table itself or, where that has partitions, into the last of them. */
static void check_insert(struct look *l)
{
	const struct conf *conf = l->conf;
	struct buf sql = { 0 }, name = { 0 }, prefix = { 0 };

	buf_str(&sql, PQ_OWN_PATH "SELECT 'GRANT INSERT ON ' || oid::regclass || ' TO ' || quote_ident(current_user) FROM ");
	if (conf->period.method == PERIOD_NONE) {
		buf_fmt(&sql, "pg_class WHERE oid = '%s'", *l->table.oid ? l->table.oid : "0");
	} else {
		buf_fmt(&name, "%.*s_", (int)conf->table.n, conf->table.p);
		buf_literal(&prefix, (struct span){ name.p, name.len });
		buf_cstr(&prefix);
		buf_str(&sql, "(SELECT t.oid FROM pg_class t JOIN pg_namespace n ON n.oid = relnamespace"
			" WHERE relkind IN ('r', 'p', 'f') AND nspname = ");
		buf_literal(&sql, (struct span){ l->schema.p, l->schema.len });
		buf_fmt(&sql, " AND left(relname, length(%s)) = %s AND substr(relname, length(%s) + 1) ~ '^[0-9]{4}[w0-9_]*$'"
			" ORDER BY relname DESC LIMIT 1) last WHERE true", prefix.p, prefix.p, prefix.p);
	}
	buf_str(&sql, " AND NOT has_table_privilege(oid, 'INSERT')");
	ask_grants(l, &sql);
	buf_free(&prefix);
	buf_free(&name);
}

/* Only an owner can drop or detach a table. By the length of the name, which is near enough. */
static void check_keep(struct look *l)
{
	const struct conf *conf = l->conf;
	struct buf sql = { 0 };

	if (conf->keep.unit == PERIOD_NONE)
		return;
	if (conf->part_template && !part_makes_children(conf))
		finding_warning("part_keep removes only children of %s, and part_template seems to make none",
			conf->dest_table);
	buf_fmt(&sql, PQ_OWN_PATH "SELECT relname FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = '%s'"
		" AND octet_length(relname::text) = %zu AND NOT pg_has_role(relowner, 'USAGE') LIMIT 1", l->table.oid,
		conf->table.n + period_suffix_len(conf->period.method));
	if (ask(l, &sql))
		finding_warning("some partitions of %s have another owner: part_keep cannot remove them. --show-partitions says"
			" which; ALTER TABLE ... OWNER TO the user of dst_db", conf->dest_table);
}

/* ---- part_template */

/* One that calls something may leave the name of the partition to that. */
static void check_name(struct look *l)
{
	const struct conf *conf = l->conf;
	bool names = strstr(conf->part_template, "_DEST_TABLE") || strstr(conf->part_template, "_SCHEMA_TABLE");
	bool calls = template_says(conf, "execute") || (!template_says(conf, "create table") &&
		(template_says(conf, "select") || template_says(conf, "call")));

	if (!names && calls)
		finding_warning("part_template has the word _DEST_TABLE nowhere: what it calls must know the partition's name");
	else if (!names)
		finding_wrong(l->found, "part_template has the word _DEST_TABLE nowhere, so it cannot create a partition: write"
			" create table _DEST_TABLE ...");
}

/* With dest_table there. */
static void check_kind(struct look *l)
{
	const struct conf *conf = l->conf;

	if (template_makes_partitions(conf) && !l->table.partitioned)
		finding_wrong(l->found, "table %s is not partitioned, and part_template says %s: create it with PARTITION BY"
			" RANGE (...), or let part_template say create table _DEST_TABLE () inherits (_PARENT)", conf->dest_table,
			template_says(conf, "partition of") ? "partition of" : "attach partition");
	else if (template_says(conf, "inherits (_PARENT)") && l->table.partitioned &&
	    !template_makes_partitions(conf))
		finding_wrong(l->found, "table %s is partitioned, which nothing inherits from: let part_template say create table"
			" _DEST_TABLE partition of _PARENT for values from (_PART_START) to (_PART_END)", conf->dest_table);
}

static void check_template(struct look *l)
{
	const struct conf *conf = l->conf;

	if (conf->period.method == PERIOD_NONE)
		return;
	if (!conf->part_template) {
		finding_warning("part_template is not set: each partition of %s must be there before its rows come",
			conf->dest_table);
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
	const struct conf *conf = l->conf;
	struct span column = part_column(conf);

	for (size_t i = 0; i < conf->nfield; i++)
		if (span_is(conf->field[i].source, conf->part_field ? conf->part_field : ""))
			return;         /* it was looked for with the others */
	if (!column.n || has_column(l, column))
		return;
	if (!conf->nfield && part_is_model(conf, &l->table, column))
		finding_wrong(l->found, "%s has no column %s, which part_field names: check part_field", conf->dest_table,
			conf->part_field);
	else
		finding_warning("no column of %s is called %s, which part_field names; events must carry it", conf->dest_table,
			conf->part_field);
}

static void no_table(struct look *l)
{
	const struct conf *conf = l->conf;
	bool partitioned = conf->period.method != PERIOD_NONE;

	if (partitioned && !conf->part_template)
		finding_warning("table %s is not there: only its partitions are written to", conf->dest_table);
	else if (partitioned || !conf->part_template)
		finding_missing(l->found, "table %s: create it, or check dest_table (names are written without quotes, as they"
			" are stored)", conf->dest_table);
}

static void check_table(struct look *l)
{
	const struct conf *conf = l->conf;

	finding_ok("table %s", conf->dest_table);
	for (size_t i = 0; i < conf->nfield; i++)
		if (!has_column(l, conf->field[i].target))
			finding_missing(l->found, "column %.*s of %s, which fields names", (int)conf->field[i].target.n,
				conf->field[i].target.p, conf->dest_table);
	check_part_field(l);
	check_zone(l);
	check_parent_rights(l);
	check_keep(l);
}

bool checkdest_run(struct findings *found, struct pq *dst, const struct conf *conf)
{
	struct look l = { .found = found, .dst = dst, .conf = conf };
	struct err e = { 0 };

	find_schema(&l);
	bool usable = check_schema(&l);
	if (usable) {
		if (part_find(dst, conf, conf->table, &l.table, &e) < 0)
			finding_missing(found, "%s", e.msg);
		else if (*l.table.oid)
			check_table(&l);
		else
			no_table(&l);
		check_template(&l);
		check_insert(&l);
	}
	buf_free(&l.schema);
	return usable;
}
