/*
 * The rights that a role needs on both servers, as the statements that give those it lacks. All are
 * found at once: what one right hides is looked for in the catalogs, which everybody can read.
 *
 * Where part_template makes children of dest_table, the role must be a member of its owner's, and
 * then has that role's rights too.
 */
#include <stdlib.h>
#include <string.h>

#include "ops.h"

/* Appends the CTE `who`: oid and quoted name of the role. */
static void add_who(struct buf *sql, const char *role)
{
	if (role && strcmp(role, RIGHTS_OF_ANYBODY) == 0) {
		buf_str(sql, "WITH who AS (SELECT 0::oid AS oid, '" RIGHTS_OF_ANYBODY "' AS name)");
		return;
	}
	buf_str(sql, "WITH who AS (SELECT oid, quote_ident(rolname) AS name FROM pg_roles"
		" WHERE rolname = ");
	if (role)
		buf_literal(sql, span_of(role));
	else
		buf_str(sql, "current_user");
	buf_str(sql, ")");
}

static bool has_right(const struct rights *r, const char *give)
{
	for (size_t i = 0; i < r->n; i++)
		if (strcmp(r->at[i].give, give) == 0)
			return true;
	return false;
}

/* Runs sql, whose rows are a statement without the role's name, that name, a use, and the column
 * of a default; frees it. */
static int add_rows(struct rights *r, struct pq *q, struct buf *sql, struct err *e)
{
	struct buf give = { 0 };

	queue_expand(sql, q);
	int rc = pq_query(q, buf_cstr(sql), e);

	buf_free(sql);
	for (int row = 0; rc == 0 && row < pq_rows(q); row++) {
		const char *column = pq_value(q, row, 3);
		give.len = 0;
		buf_fmt(&give, "%s TO %s;", pq_value(q, row, 0), pq_value(q, row, 1));
		if (has_right(r, buf_cstr(&give)))
			continue;
		r->at = mem_grow(r->at, r->n, &r->cap, sizeof *r->at);
		r->at[r->n++] = (struct right){
			.give = mem_str(give.p, give.len), .use = (enum right_use)pq_int(q, row, 2,
				0),
			.column = mem_text(column),
		};
	}
	buf_free(&give);
	return rc;
}

void rights_free(struct rights *r)
{
	for (size_t i = 0; i < r->n; i++) {
		free(r->at[i].give);
		free(r->at[i].column);
	}
	free(r->at);
	*r = (struct rights){ 0 };
}

/* Begins a list of what is lacking, with CONNECT, in which others are joined by UNION ALL. */
#define NEEDS_CONNECT ", needs (give, use, col) AS (" \
	"SELECT 'GRANT CONNECT ON DATABASE ' || quote_ident(current_database()), 0, NULL::name" \
	" FROM who WHERE NOT has_database_privilege(who.oid, current_database(), 'CONNECT')"

/* ---- a table: what is there */

static bool template_says(const struct dest *d, const char *words)
{
	return d->part_template && strcasestr(d->part_template, words);
}

/* The schemas in which dest_table is looked for. */
static void add_schemas(struct buf *sql, const struct dest *d)
{
	if (d->schema.n) {
		buf_str(sql, "ARRAY[");
		buf_literal(sql, d->schema);
		buf_str(sql, "]::name[]");
	} else {
		buf_str(sql, "current_setting('tdispatch.schemas')::name[]");
	}
}

/* The CTE `written`: the tables that rows go to, dest_table or what is there of its partitions. */
static void add_written(struct buf *sql, const struct dest *d)
{
	if (d->period.method == PERIOD_NONE) {
		buf_str(sql, ", written AS (SELECT oid, relname FROM parent)");
		return;
	}
	buf_str(sql, ", written AS (SELECT t.oid, relname FROM pg_class t"
		" JOIN home ON home.oid = relnamespace WHERE relkind IN ('r', 'p', 'f', 'v', 'm')"
		" AND ");
	table_add_named(sql, d, "t.oid");
	buf_str(sql, ")");
}

/* Appends what all queries about dest_table begin with: its oid is in `parent`, the schema of its
 * partitions in `home`, `role` has who and whom it is to be a member of. */
static void add_dest(struct buf *sql, const struct dest *d, const char *role)
{
	buf_str(sql, "SELECT pg_catalog.set_config('tdispatch.schemas',"
		" pg_catalog.current_schemas(false)::pg_catalog.text, true);" PQ_OWN_PATH);
	add_who(sql, role);
	buf_str(sql, ", home AS (SELECT oid, nspname FROM pg_namespace WHERE nspname = coalesce((");
	add_schemas(sql, d);
	buf_str(sql, ")[1], 'public')), parent AS (SELECT t.oid, relname, relowner FROM pg_class t"
		" JOIN pg_namespace n ON n.oid = relnamespace WHERE relname = ");
	buf_literal(sql, d->table);
	buf_str(sql, " AND relkind IN ('r', 'p', 'f', 'v', 'm') AND nspname = ANY (");
	add_schemas(sql, d);
	buf_str(sql, ") ORDER BY array_position(");
	add_schemas(sql, d);
	buf_fmt(sql, ", nspname) LIMIT 1), owner AS (SELECT o.oid, rolname, rolsuper FROM parent"
		" JOIN pg_roles o ON o.oid = relowner WHERE %s),"
		" role AS (SELECT oid FROM who UNION SELECT oid FROM owner WHERE NOT rolsuper)",
		table_makes_children(d) ? "true" : "false");
	add_written(sql, d);
	buf_str(sql, ", newest AS (SELECT oid FROM written ORDER BY relname DESC LIMIT 1)");
}

/* ---- the source */

/* Functions of PgQ that a run calls, and those that these call. */
#define CALLED "('next_batch_info', 'next_batch_custom', 'batch_event_sql', 'batch_event_tables'," \
	" 'quote_fqname', 'finish_batch', 'get_batch_info', 'register_consumer'," \
	" 'register_consumer_at')"

/* Those that ticker = 1 calls besides, which are PgQ's administrator's. */
#define TICKS "('ticker', 'maint_operations', 'maint_rotate_tables_step1'," \
	" 'maint_rotate_tables_step2', 'maint_retry_events')"

/* Has a role of PgQ's the right to call function p? If there is no such role, as in PgQue. */
#define ROLE_MAY(role) "coalesce(has_function_privilege(to_regrole(" role ")::oid, p.oid," \
	" 'EXECUTE'), p.proname <> ALL (ARRAY['batch_event_sql', 'batch_event_tables'," \
	" 'quote_fqname', 'force_tick']))"

/* SQL: a function of PgQ's that our role may not call. */
#define DENIED " FROM pg_proc p WHERE pronamespace = n.oid" \
	" AND NOT has_function_privilege(who.oid, p.oid, 'EXECUTE') AND proname IN "

/* The CTE `giver`: the one role of PgQ's that brings most of what is lacking, or NULL. */
static void add_giver(struct buf *sql, bool ticks)
{
	buf_fmt(sql, ", giver AS (SELECT n.oid, CASE WHEN %s AND EXISTS (SELECT 1" DENIED TICKS ")"
		" THEN '" PGQ "_admin' WHEN EXISTS (SELECT 1" DENIED CALLED
		" AND " ROLE_MAY("'" PGQ "_reader'") ") OR EXISTS (SELECT 1 FROM pg_class t"
		" WHERE relnamespace = n.oid AND relname IN ('queue', 'consumer', 'subscription',"
		" 'tick') AND NOT has_table_privilege(who.oid, t.oid, 'SELECT'))"
		" THEN '" PGQ "_reader' END AS name"
		" FROM who, pg_namespace n WHERE nspname = '" PGQ "')", ticks ? "true" : "false");
}

/* Rows of PgQ's for everything that a run and --tick need. */
static void add_needs_pgq(struct buf *sql)
{
	buf_fmt(sql, " UNION ALL SELECT 'GRANT USAGE ON SCHEMA " PGQ "', 0, NULL FROM who, giver"
		" WHERE NOT has_schema_privilege(who.oid, giver.oid, 'USAGE')"
		" UNION ALL SELECT 'GRANT ' || name, 0, NULL FROM giver WHERE name IS NOT NULL"
		" UNION ALL SELECT 'GRANT EXECUTE ON FUNCTION ' || p.oid::regprocedure,"
		" CASE WHEN proname = 'force_tick' THEN %d ELSE 0 END, NULL"
		" FROM who, giver, pg_proc p WHERE pronamespace = giver.oid"
		" AND (proname IN " CALLED " OR proname = 'force_tick')"
		" AND (giver.name IS NULL OR NOT " ROLE_MAY("giver.name") ")"
		" AND NOT has_function_privilege(who.oid, p.oid, 'EXECUTE'))"
		" SELECT give, who.name, use, col FROM needs, who", RIGHT_TICK);
}

/* Event tables that pgq_reader, whose right to them was taken away, would not bring. */
static int add_event_tables(struct rights *r, struct pq *src, const char *queue, const char *role,
	struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, PQ_OWN_PATH);
	add_who(&sql, role);
	buf_fmt(&sql, " SELECT 'GRANT SELECT ON ' || inhrelid::regclass, name, 0, NULL"
		" FROM who, " PGQ ".queue JOIN pg_inherits"
		" ON inhparent = to_regclass(queue_data_pfx)"
		" WHERE NOT has_table_privilege(who.oid, inhrelid, 'SELECT')"
		" AND (%s OR NOT coalesce(has_table_privilege(to_regrole('" PGQ "_reader')::oid,"
		" inhrelid, 'SELECT'), false)) AND queue_name = ", r->n ? "false" : "true");
	buf_literal(&sql, span_of(queue));
	return add_rows(r, src, &sql, e);
}

/* The table that is copied, and those below it: without a key each is read by itself. */
static int add_table(struct rights *r, struct pq *src, const struct conf *conf, const char *role,
	struct err *e)
{
	const char *dot = strchr(conf->from_table, '.');
	const struct dest named = {
		.schema = { conf->from_table, dot ? (size_t)(dot - conf->from_table) : 0 },
		.table = span_of(dot ? dot + 1 : conf->from_table),
	};
	struct buf sql = { 0 };

	add_dest(&sql, &named, role);
	buf_fmt(&sql, ", source AS (SELECT c.oid, relnamespace FROM (WITH RECURSIVE t (oid) AS"
		" (SELECT oid FROM parent UNION SELECT inhrelid FROM pg_inherits"
		" JOIN t ON inhparent = t.oid WHERE %s) SELECT oid FROM t) t"
		" JOIN pg_class c ON c.oid = t.oid)" NEEDS_CONNECT
		" UNION ALL SELECT 'GRANT USAGE ON SCHEMA ' || relnamespace::regnamespace, 0, NULL"
		" FROM who, source WHERE NOT has_schema_privilege(who.oid, relnamespace, 'USAGE')"
		" UNION ALL SELECT 'GRANT SELECT ON ' || source.oid::regclass, 0, NULL"
		" FROM who, source WHERE NOT has_table_privilege(who.oid, source.oid, 'SELECT'))"
		" SELECT give, name, use, col FROM needs, who",
		conf->from_key ? "false" : "true");
	return add_rows(r, src, &sql, e);
}

int rights_source(struct rights *r, struct pq *src, const struct conf *conf, const char *role,
	struct err *e)
{
	struct buf sql = { 0 };

	if ((conf->from_table && add_table(r, src, conf, role, e) < 0) || !*conf->queue_name)
		return e->code;
	buf_str(&sql, PQ_OWN_PATH);
	add_who(&sql, role);
	add_giver(&sql, conf->ticker);
	buf_str(&sql, NEEDS_CONNECT);
	add_needs_pgq(&sql);
	if (add_rows(r, src, &sql, e) < 0)
		return e->code;
	/* the queue's tables can be found by those alone who can read pgq.queue */
	buf_str(&sql, PQ_OWN_PATH "SELECT 1 FROM pg_class t"
		" JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = '" PGQ "'"
		" AND relname = 'queue' AND has_schema_privilege(n.oid, 'USAGE')"
		" AND has_table_privilege(t.oid, 'SELECT')");
	queue_expand(&sql, src);
	int rc = pq_query(src, buf_cstr(&sql), e);
	buf_free(&sql);
	if (rc < 0 || pq_rows(src) == 0)
		return rc;
	return add_event_tables(r, src, conf->queue_name, role, e);
}

int rights_create_queue(struct rights *r, struct pq *src, struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, PQ_OWN_PATH "SELECT 'GRANT " PGQ "_admin', quote_ident(current_user), 0, NULL"
		" WHERE NOT has_function_privilege('" PGQ ".create_queue(text)', 'EXECUTE')");
	return add_rows(r, src, &sql, e);
}

/* ---- the target: what is needed */

/* SQL: no role has that privilege, a text in SQL, of the object x. NULL: x was dropped since the
 * statement began, and nobody lacks a right on it. */
#define NONE_HAS(kind, x, privilege) \
	"NOT EXISTS (SELECT 1 FROM role WHERE has_" kind "_privilege(role.oid, " x \
	", " privilege ") IS NOT FALSE)"

static const char needs_position[] =
	" UNION ALL SELECT 'GRANT USAGE ON SCHEMA pgq_ext', 0, NULL FROM who, pg_namespace n"
	" WHERE nspname = 'pgq_ext' AND NOT has_schema_privilege(who.oid, n.oid, 'USAGE')"
	" UNION ALL SELECT 'GRANT EXECUTE ON FUNCTION ' || p.oid::regprocedure, 0, NULL"
	" FROM who, pg_proc p JOIN pg_namespace n ON n.oid = pronamespace WHERE nspname = 'pgq_ext'"
	" AND proname IN ('get_last_tick', 'set_last_tick')"
	" AND NOT has_function_privilege(who.oid, p.oid, 'EXECUTE')";

/* Letters are written by INSERT; --replay and --status read them. */
static const char needs_dead_letters[] =
	" UNION ALL SELECT 'GRANT USAGE ON SCHEMA tdispatch', 0, NULL FROM who, pg_namespace n"
	" WHERE nspname = 'tdispatch' AND NOT has_schema_privilege(who.oid, n.oid, 'USAGE')"
	" UNION ALL SELECT 'GRANT ' || string_agg(privilege, ', ' ORDER BY privilege DESC)"
	" || ' ON ' || t.oid::regclass, use, NULL"
	" FROM who, pg_class t JOIN pg_namespace n ON n.oid = relnamespace,"
	" (VALUES ('INSERT', 0), ('SELECT', 2), ('DELETE', 2)) p (privilege, use)"
	" WHERE nspname = 'tdispatch' AND relname = 'dead_letter'"
	" AND NOT has_table_privilege(who.oid, t.oid, privilege) GROUP BY t.oid, use";

static const char needs_slice[] =
	" UNION ALL SELECT 'GRANT USAGE ON SCHEMA tdispatch', 0, NULL FROM who, pg_namespace n"
	" WHERE nspname = 'tdispatch' AND NOT has_schema_privilege(who.oid, n.oid, 'USAGE')"
	" UNION ALL SELECT 'GRANT ' || string_agg(privilege, ', ' ORDER BY privilege DESC)"
	" || ' ON ' || t.oid::regclass, 0, NULL"
	" FROM who, pg_class t JOIN pg_namespace n ON n.oid = relnamespace,"
	" (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE')) p (privilege)"
	" WHERE nspname = 'tdispatch' AND relname = 'slice'"
	" AND NOT has_table_privilege(who.oid, t.oid, privilege) GROUP BY t.oid";

/* A table is given a child by its owner alone. We never ask for membership in a
 * superuser's role. */
static const char needs_owner[] =
	" UNION ALL SELECT CASE WHEN rolsuper"
	" THEN 'ALTER TABLE ' || parent.oid::regclass || ' OWNER'"
	" ELSE 'GRANT ' || quote_ident(rolname) END, 0, NULL FROM who, owner, parent"
	" WHERE NOT pg_has_role(who.oid, owner.oid, 'USAGE')";

/* Only an owner can drop or detach a table. By the length of the name, which is near enough. What
 * the membership above gives is left out. */
static void add_keep(struct buf *sql, const struct dest *d)
{
	buf_fmt(sql, " UNION ALL SELECT DISTINCT CASE WHEN o.rolsuper"
		" THEN 'ALTER TABLE ' || c.oid::regclass || ' OWNER'"
		" ELSE 'GRANT ' || quote_ident(o.rolname) END, %d, NULL::name FROM who, parent"
		" JOIN pg_inherits ON inhparent = parent.oid JOIN pg_class c ON c.oid = inhrelid"
		" JOIN pg_roles o ON o.oid = c.relowner WHERE who.oid <> 0"
		" AND octet_length(c.relname::text) = %zu"
		" AND NOT pg_has_role(who.oid, o.oid, 'USAGE')"
		" AND NOT EXISTS (SELECT 1 FROM owner WHERE owner.oid = o.oid AND NOT o.rolsuper)",
		RIGHT_KEEP, d->table.n + period_suffix_len(d->period.method));
}

static const char needs_schema[] =
	" UNION ALL SELECT 'GRANT USAGE ON SCHEMA ' || quote_ident(nspname), 0, NULL FROM home"
	" WHERE " NONE_HAS("schema", "home.oid", "'USAGE'");

static const char needs_create[] =
	" UNION ALL SELECT 'GRANT CREATE ON SCHEMA ' || quote_ident(nspname), 0, NULL FROM home"
	" WHERE " NONE_HAS("schema", "home.oid", "'CREATE'");

static const char needs_to_copy[] =
	" UNION ALL SELECT 'GRANT SELECT ON ' || parent.oid::regclass, 0, NULL FROM parent"
	" WHERE " NONE_HAS("table", "parent.oid", "'SELECT'");

/* The newest partition tells whether there is anything to do: old ones may be another's. */
static const char needs_rows[] =
	" UNION ALL SELECT 'GRANT INSERT ON ' || written.oid::regclass, 0, NULL"
	" FROM written, newest WHERE " NONE_HAS("table", "newest.oid", "'INSERT'")
	" AND " NONE_HAS("table", "written.oid", "'INSERT'");

/* --verify makes temporary tables, and reads what was written. */
static const char needs_verify[] =
	" UNION ALL SELECT 'GRANT TEMPORARY ON DATABASE ' || quote_ident(current_database()), 3,"
	" NULL"
	" WHERE " NONE_HAS("database", "current_database()", "'TEMPORARY'")
	" UNION ALL SELECT 'GRANT SELECT ON ' || written.oid::regclass, 3, NULL"
	" FROM written, newest WHERE " NONE_HAS("table", "newest.oid", "'SELECT'")
	" AND " NONE_HAS("table", "written.oid", "'SELECT'");

/* Rows wait in a temporary table like dest_table, and replace those of their keys. */
static const char needs_latest[] =
	" UNION ALL SELECT 'GRANT TEMPORARY ON DATABASE ' || quote_ident(current_database()), 0,"
	" NULL WHERE " NONE_HAS("database", "current_database()", "'TEMPORARY'")
	" UNION ALL SELECT 'GRANT SELECT ON ' || parent.oid::regclass, 0, NULL FROM parent"
	" WHERE " NONE_HAS("table", "parent.oid", "'SELECT'")
	" UNION ALL SELECT 'GRANT ' || privilege || ' ON ' || written.oid::regclass, 0, NULL"
	" FROM written, newest, (VALUES ('SELECT'), ('DELETE')) p (privilege)"
	" WHERE " NONE_HAS("table", "newest.oid", "privilege")
	" AND " NONE_HAS("table", "written.oid", "privilege");

/* A default that takes its value from a sequence is worked out for a column that no row brings. */
static const char needs_sequences[] =
	" UNION ALL SELECT DISTINCT 'GRANT USAGE ON SEQUENCE ' || s.oid::regclass, 1, attname"
	" FROM (SELECT oid FROM parent UNION SELECT oid FROM newest) t"
	" JOIN pg_attrdef d ON adrelid = t.oid"
	" JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum"
	" JOIN pg_depend x ON x.classid = 'pg_attrdef'::regclass AND x.objid = d.oid"
	" AND x.refclassid = 'pg_class'::regclass JOIN pg_class s ON s.oid = x.refobjid"
	" WHERE CASE WHEN s.relkind = 'S' THEN " NONE_HAS("sequence", "s.oid", "'USAGE'")
	" AND " NONE_HAS("sequence", "s.oid", "'UPDATE'") " END";

/* Do events bring the column? *sure: that is known. */
static bool is_brought(const struct dest *d, const struct feed *feed, const char *column,
	bool *sure)
{
	*sure = !d->all || feed->known;
	for (size_t i = 0; i < d->nfield; i++)
		if (span_is(d->field[i].target, column))
			return true;
	return d->all && tally_find(&feed->columns, column);
}

/* Leaves out sequences that no row needs; from: the first right of the destination. */
static void judge_sequences(struct rights *r, size_t from, const struct dest *d,
	const struct feed *feed)
{
	size_t kept = from;
	bool sure;

	for (size_t i = from; i < r->n; i++) {
		struct right right = r->at[i];
		if (right.column && is_brought(d, feed, right.column, &sure)) {
			free(right.give);
			free(right.column);
			continue;
		}
		if (right.column && sure)
			right.use = RIGHT_RUN;
		r->at[kept++] = right;
	}
	r->n = kept;
}

int rights_target(struct rights *r, struct pq *dst, const struct conf *c, const struct dest *d,
	const struct feed *feed, const char *role, struct err *e)
{
	size_t before = r->n;
	struct buf sql = { 0 };

	add_dest(&sql, d, role);
	buf_str(&sql, NEEDS_CONNECT);
	buf_str(&sql, needs_position);
	if (c->on_error == ON_ERROR_DEAD_LETTER)
		buf_str(&sql, needs_dead_letters);
	if (c->from_table)
		buf_str(&sql, needs_slice);
	buf_str(&sql, needs_owner);
	buf_str(&sql, needs_schema);
	if (template_says(d, "create table") || template_says(d, "create unlogged table"))
		buf_str(&sql, needs_create);
	if (template_says(d, "like _PARENT") && !table_makes_children(d))
		buf_str(&sql, needs_to_copy);
	buf_str(&sql, needs_rows);
	if (d->row_mode == ROWS_KEEP_LATEST)
		buf_str(&sql, needs_latest);
	buf_str(&sql, needs_sequences);
	buf_str(&sql, needs_verify);
	if (d->keep.unit != PERIOD_NONE)
		add_keep(&sql, d);
	buf_str(&sql, ") SELECT give, name, use, col FROM needs, who ORDER BY use, give");
	if (add_rows(r, dst, &sql, e) == 0)
		judge_sequences(r, before, d, feed);
	return e->code;
}

int rights_create_schema(struct rights *r, struct pq *dst, struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, PQ_OWN_PATH
		"SELECT 'GRANT CREATE ON DATABASE ' || quote_ident(current_database()),"
		" quote_ident(current_user), 0, NULL"
		" WHERE NOT has_database_privilege(current_database(), 'CREATE')");
	return add_rows(r, dst, &sql, e);
}
