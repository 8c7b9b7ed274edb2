/*
 * Whether rows may go to a table: is it a partition of dest_table, or else who owns it?
 *
 * Any role that may create tables on our search_path can give one a partition's name, to read our
 * rows or to have us run a trigger. And a partition may have stopped being one: it was detached, or
 * its parent was renamed and replaced.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "pg.h"

/* Appends a condition: does the template name the parent m, pg_class's row? */
static void add_is_meant(struct buf *sql, const struct dest *d)
{
	struct buf words = { 0 };

	table_words(&words, d);
	buf_str(&words, d->part_template ? d->part_template : "");
	buf_str(sql, "pg_catalog.strpos(");
	buf_literal(sql, (struct span){ words.p, words.len });
	buf_str(sql, ", CASE WHEN pg_catalog.quote_ident(m.relname)"
		PQ_OWN("=") "m.relname::pg_catalog.text"
		" THEN ' '" PQ_OWN("||") "m.relname::pg_catalog.text" PQ_OWN("||") "' '"
		" ELSE pg_catalog.quote_ident(m.relname) END)" PQ_OWN(">") "0");
	/* without dest_table and _PARENT nothing says whose children the partitions are */
	if (!d->part_template || !strstr(d->part_template, "_PARENT"))
		buf_str(sql, " OR top.oid IS NULL");
	buf_free(&words);
}

/* A condition on row i of pg_inherits: it is not being detached. */
static const char *attached(const struct pq *dst)
{
	return pq_server(dst)->version >= 140000 ? " AND NOT i.inhdetachpending" : "";
}

/* Appends the tables to ask about: want, the names with their oids; up, each table's oid with those
 * of all its ancestors and its own; top, dest_table. */
static void add_tables(struct buf *sql, const struct pq *dst, const struct dest *d,
	const struct table_name *names, size_t n)
{
	buf_str(sql, "WITH RECURSIVE want (name, old, oid) AS (VALUES ");
	for (size_t i = 0; i < n; i++) {
		buf_str(sql, i ? ", (" : "(");
		buf_literal(sql, names[i].name);
		buf_fmt(sql, "::pg_catalog.text, %s, ", names[i].old ? "true" : "false");
		buf_regclass(sql, d->schema, names[i].name);
		buf_str(sql, ")");
	}
	buf_fmt(sql, "), up (part, oid) AS (SELECT oid, oid FROM want"
		" UNION SELECT up.part, i.inhparent FROM up"
		" JOIN pg_catalog.pg_inherits i ON i.inhrelid" PQ_OWN("=") "up.oid%s),"
		" top (oid) AS (SELECT ", attached(dst));
	buf_regclass(sql, d->schema, d->table);
	buf_str(sql, ") ");
}

/* Appends a join for each table of want: other, its direct parents: how many, the name of one, and
 * whether the template names any. */
static void add_parents(struct buf *sql, const struct pq *dst, const struct dest *d)
{
	buf_str(sql, " CROSS JOIN LATERAL (SELECT pg_catalog.count(*) AS n,"
		" pg_catalog.min(m.oid::pg_catalog.regclass::pg_catalog.text) AS name,"
		" pg_catalog.bool_or(");
	add_is_meant(sql, d);
	buf_fmt(sql, ") AS meant"
		" FROM pg_catalog.pg_inherits i"
		" JOIN pg_catalog.pg_class m ON m.oid" PQ_OWN("=") "i.inhparent"
		" WHERE i.inhrelid" PQ_OWN("=") "want.oid%s) other", attached(dst));
}

/* A join for each table of want: stranger, its owner, if that role is neither ours nor dest_table's
 * owner nor a superuser. */
static const char stranger_sql[] =
	" LEFT JOIN LATERAL (SELECT r.rolname::pg_catalog.text AS name"
	" FROM pg_catalog.pg_class c"
	" JOIN pg_catalog.pg_roles r ON r.oid" PQ_OWN("=") "c.relowner"
	" JOIN pg_catalog.pg_class t ON t.oid" PQ_OWN("=") "top.oid"
	" WHERE c.oid" PQ_OWN("=") "want.oid AND t.relowner" PQ_OWN("<>") "c.relowner"
	" AND NOT r.rolsuper"
	" AND r.rolname" PQ_OWN("<>") "current_user) stranger ON true";

/* A condition on a row of want: it is an index or the like. */
static const char no_table_sql[] =
	"EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid" PQ_OWN("=") "want.oid"
	" AND c.relkind" PQ_OWN("<>") "ALL ('{r,p,f,v}'::pg_catalog.\"char\"[]))";

/* Appends a query for the tables that no row may go to: name, why, and whose it is. */
static void add_wrong(struct buf *sql, const struct pq *dst, const struct dest *d,
	const struct table_name *names, size_t n)
{
	add_tables(sql, dst, d, names, n);
	buf_fmt(sql, "SELECT want.name,"
		" CASE WHEN want.oid IS NULL THEN 'gone'"
		" WHEN %s THEN 'no table'"
		" WHEN other.n" PQ_OWN(">") "0 AND NOT other.meant THEN 'other'"
		" WHEN stranger.name IS NOT NULL THEN 'stranger'"
		" ELSE 'loose' END AS why,"
		" CASE WHEN other.n" PQ_OWN(">") "0 THEN other.name"
		" ELSE stranger.name END AS whose"
		" FROM want CROSS JOIN top", no_table_sql);
	add_parents(sql, dst, d);
	buf_str(sql, stranger_sql);
	buf_fmt(sql, " WHERE NOT EXISTS (SELECT FROM up"
		" WHERE up.part" PQ_OWN("=") "want.oid AND up.oid" PQ_OWN("=") "top.oid)"
		" AND (want.oid IS NULL"
		" OR stranger.name IS NOT NULL"
		" OR (other.n" PQ_OWN(">") "0 AND NOT other.meant)"
		" OR %s%s)", no_table_sql,
		table_makes_children(d) ? " OR (other.n" PQ_OWN("=") "0 AND NOT want.old)" : "");
}

int admit_list(struct pq *dst, const struct dest *d, const struct table_name *names, size_t n,
	struct err *e)
{
	struct buf sql = { 0 };

	add_wrong(&sql, dst, d, names, n);
	pq_query(dst, buf_cstr(&sql), e);
	buf_free(&sql);
	return e->code;
}

int admit_fault(struct pq *dst, const struct dest *d, int row, bool *loose, struct err *e)
{
	const char *name = pq_value(dst, row, 0), *why = pq_value(dst, row, 1);
	const char *whose = pq_value(dst, row, 2);

	*loose = strcmp(why, "loose") == 0;
	if (*loose)
		return err_set(e, ERR_SHAPE, "table %s is no child of %s, as part_template makes"
			" them: rows in it would not be in %s. Attach it (ALTER TABLE ... ATTACH"
			" PARTITION, or INHERIT), or rename it, so that a new one is made",
			name, d->dest_table, d->dest_table);
	if (strcmp(why, "other") == 0)
		return err_set(e, ERR_SHAPE, "table %s is a child of %s, not of %s: no row goes"
			" there. Rename it, so that a new one is made; or, if %s is meant, name"
			" that in part_template, if only in a comment",
			name, whose, d->dest_table, whose);
	if (strcmp(why, "stranger") == 0)
		return err_set(e, ERR_RIGHTS, "table %s is not ours to fill: it belongs to %s, is"
			" no partition of %s, and its owner is another", name, whose,
			d->dest_table);
	if (strcmp(why, "no table") == 0)
		return err_set(e, ERR_SHAPE, "%s has the name of a partition of %s, and is no"
			" table: rename it", name, d->dest_table);
	return err_set(e, ERR_CONFLICT, "table %s is there no more under that name", name);
}

/* Appends a FROM item: own, the tables by their oids. Each name is looked up once, not again for
 * every row of a catalog. */
static void add_own(struct buf *sql, const struct dest *d, const struct table_name *names, size_t n)
{
	buf_str(sql, "(VALUES ");
	for (size_t i = 0; i < n; i++) {
		buf_str(sql, i ? ", (" : "(");
		buf_regclass(sql, d->schema, names[i].name);
		buf_str(sql, ")");
	}
	buf_str(sql, ") own (oid)");
}

/* Appends FROM and WHERE for those that are children of dest_table itself: much cheaper than
 * add_wrong. */
static void add_children(struct buf *sql, const struct pq *dst, const struct dest *d,
	const struct table_name *names, size_t n)
{
	buf_str(sql, "FROM ");
	add_own(sql, d, names, n);
	buf_str(sql, " JOIN pg_catalog.pg_inherits i ON i.inhrelid" PQ_OWN("=") "own.oid"
		" WHERE i.inhparent" PQ_OWN("=") "(SELECT ");
	buf_regclass(sql, d->schema, d->table);
	buf_str(sql, ")");
	buf_str(sql, attached(dst));
}

static int are_children(struct pq *dst, const struct dest *d, const struct table_name *names,
	size_t n, bool *yes, struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, "SELECT pg_catalog.count(*) ");
	add_children(&sql, dst, d, names, n);
	if (pq_query(dst, buf_cstr(&sql), e) == 0)
		*yes = pq_int(dst, 0, 0, 0) == (int64_t)n;
	buf_free(&sql);
	return e->code;
}

int admit_check(struct pq *dst, const struct dest *d, const struct table_name *names, size_t n,
	bool *children, size_t *which, struct err *e)
{
	bool loose;

	*children = true;
	if (n == 0 || d->part_by == PART_BY_NOTHING ||
	    are_children(dst, d, names, n, children, e) < 0 || *children)
		return e->code;
	if (admit_list(dst, d, names, n, e) < 0 || pq_rows(dst) == 0)
		return e->code;
	for (size_t i = 0; which && i < n; i++)
		if (span_is(names[i].name, pq_value(dst, 0, 0)))
			*which = i;
	return admit_fault(dst, d, 0, &loose, e);
}

/* Texts that the failing statement casts to an integer, before the destination's number and a
 * slash: the server's message quotes them, in any language. */
#define NO_CHILDREN "tdispatch: children: "
#define NOT_GENERATED "tdispatch: generated: "
#define OTHER_TYPES "tdispatch: types: "
#define NOT_FILLED "tdispatch: defaults: "

/* Appends the SELECT list of a query that fails unless it counts n rows. */
static void add_must_be(struct buf *sql, const char *what, size_t number, size_t n)
{
	buf_fmt(sql, "SELECT CASE WHEN pg_catalog.count(*)" PQ_OWN("<>") "%zu"
		" THEN ('%s%zu/'" PQ_OWN("||") "pg_catalog.count(*)::pg_catalog.text)"
		"::pg_catalog.int4 END ", n, what, number);
}

static void add_names(struct buf *sql, const struct tally *columns)
{
	buf_str(sql, "ANY (ARRAY[");
	for (size_t i = 0; i < columns->n; i++) {
		buf_str(sql, i ? "," : "");
		buf_literal(sql, span_of(columns->at[i].name));
	}
	buf_str(sql, "]::pg_catalog.name[])");
}

/* Appends a statement that fails unless each of the tables has all of these columns, with that
 * condition on a, their rows of pg_attribute; join: what it needs besides. */
static void add_columns(struct buf *sql, const struct admit *a, const char *what,
	const struct tally *columns, const char *join, const char *condition)
{
	add_must_be(sql, what, a->number, a->n * columns->n);
	buf_str(sql, "FROM ");
	add_own(sql, a->dest, a->names, a->n);
	buf_fmt(sql, " JOIN pg_catalog.pg_attribute a ON a.attrelid" PQ_OWN("=") "own.oid%s"
		" WHERE a.attname" PQ_OWN("="), join);
	add_names(sql, columns);
	buf_fmt(sql, " AND %s;", condition);
}

static void add_generated(struct buf *sql, const struct admit *a)
{
	add_columns(sql, a, NOT_GENERATED, a->columns, "",
		"a.attgenerated" PQ_OWN("<>") "''::pg_catalog.\"char\"");
}

/* Our locks on the tables are as old as the rows, and last until the commit: a default that is not
 * there now was not there for any of them. */
static void add_filled(struct buf *sql, const struct admit *a)
{
	add_columns(sql, a, NOT_FILLED, a->filled,
		" JOIN pg_catalog.pg_type t ON t.oid" PQ_OWN("=") "a.atttypid", table_no_default);
}

void admit_add_checks(struct buf *sql, const struct pq *dst, const struct admit *a)
{
	if (a->n && a->children && a->dest->part_by != PART_BY_NOTHING) {
		add_must_be(sql, NO_CHILDREN, a->number, a->n);
		add_children(sql, dst, a->dest, a->names, a->n);
		buf_str(sql, ";");
	}
	if (a->n && a->columns->n)
		add_generated(sql, a);
	if (a->n && a->filled->n)
		add_filled(sql, a);
}

/* An array is hashed, where a condition for each column would be compared one by one. */
void admit_add_types(struct buf *sql, const struct dest *d, size_t number,
	const struct table_name *names, size_t n, const struct table_columns *list)
{
	add_must_be(sql, OTHER_TYPES, number, n * list->n);
	buf_str(sql, "FROM ");
	add_own(sql, d, names, n);
	buf_str(sql, " JOIN pg_catalog.pg_attribute ON attrelid" PQ_OWN("=") "own.oid"
		" WHERE NOT attisdropped AND (attname::pg_catalog.text" PQ_OWN("||") "' '"
		PQ_OWN("||") "atttypid::pg_catalog.text)" PQ_OWN("=") "ANY (ARRAY[");
	for (size_t i = 0; i < list->n; i++) {
		char column[NAME_BYTES_MAX + 20];
		snprintf(column, sizeof column, "%s %" PRIu32, list->at[i].name, list->at[i].type);
		buf_str(sql, i ? "," : "");
		buf_literal(sql, span_of(column));
	}
	buf_str(sql, "]::pg_catalog.text[]);");
}

/* Is e the error of the destination's statement with that text? */
static bool is_error_of(const struct err *e, size_t number, const char *what)
{
	char text[60];

	snprintf(text, sizeof text, "%s%zu/", what, number);
	return sqlstate_is(e->sqlstate, SQLSTATE_BAD_TEXT) && strstr(e->msg, text);
}

bool admit_other_types(const struct err *e, size_t number)
{
	return is_error_of(e, number, OTHER_TYPES);
}

bool admit_not_filled(const struct err *e, size_t number)
{
	return is_error_of(e, number, NOT_FILLED);
}

int admit_explain(struct pq *dst, const struct admit *a, struct err *e)
{
	bool generated = is_error_of(e, a->number, NOT_GENERATED), children;
	struct tally now = { 0 };

	if (!generated && !is_error_of(e, a->number, NO_CHILDREN))
		return e->code;
	*e = (struct err){ 0 };
	if (pq_query(dst, "ROLLBACK", e) == 0 &&
	    admit_check(dst, a->dest, a->names, a->n, &children, NULL, e) == 0)
		table_generated(dst, a->dest, &now, e);
	if (e->code == ERR_CONFLICT)            /* a table that the rolled back transaction made */
		*e = (struct err){ 0 };
	if (!e->code && generated && now.n == a->columns->n)
		err_set(e, ERR_SHAPE, "column %s of %s is generated, and one of its partitions has"
			" it as a column like others, so that it would get no value",
			now.at[0].name, a->dest->dest_table);
	tally_clear(&now);
	return err_set(e, ERR_CONFLICT, "%s or its partitions were changed at this moment",
		a->dest->dest_table);
}
