/*
 * What creating a partition and removing one have in common: a short transaction, and the name of
 * whoever holds the lock that it could not get.
 */
#include <inttypes.h>

#include "pq.h"

void ddl_begin(struct buf *sql, const struct pq *ddl, int lock_timeout_ms)
{
	buf_str(sql, "BEGIN ISOLATION LEVEL READ COMMITTED;"
		"SET LOCAL standard_conforming_strings = on;"
		" SET LOCAL client_min_messages = warning;");
	pq_add_settings(sql, ddl, lock_timeout_ms);
}

void ddl_add_oid(struct buf *sql, const char *setting, const struct dest *d, struct span table)
{
	buf_fmt(sql, "SELECT pg_catalog.set_config('tdispatch.%s', coalesce(", setting);
	buf_regclass(sql, d->schema, table);
	buf_str(sql, ", '0')::pg_catalog.text, true);");
}

/* Who has a lock on one of the tables that creating or removing a partition locks, the most likely
 * culprit first: a lock that conflicts with any DDL; then one on the partition or on the default
 * partition, which is locked exclusively; then a writer of a table with a foreign key to or from
 * ours; last a reader of the parent, who blocks only a template with PARTITION OF. */
static const char holders[] = PQ_OWN_PATH
	"WITH t (part, parent) AS ("
	"SELECT current_setting('tdispatch.part')::oid, current_setting('tdispatch.parent')::oid),"
	" near (oid, kind) AS ("
	"SELECT parent, 3 FROM t"
	" UNION ALL SELECT part, 1 FROM t WHERE part <> parent"
	" UNION ALL SELECT partdefid, 1 FROM pg_partitioned_table, t"
	" WHERE partrelid IN (part, parent)"
	" UNION ALL SELECT confrelid, 2 FROM pg_constraint, t"
	" WHERE contype = 'f' AND conrelid IN (part, parent)"
	" UNION ALL SELECT conrelid, 2 FROM pg_constraint, t"
	" WHERE contype = 'f' AND confrelid IN (part, parent)),"
	" held AS ("
	"SELECT l.pid, l.relation, l.virtualtransaction,"
	" CASE WHEN mode IN ('ShareUpdateExclusiveLock', 'ShareLock',"
	" 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')"
	" THEN 0 ELSE kind END AS rank"
	" FROM pg_locks l JOIN near ON near.oid = l.relation"
	" WHERE granted AND pid IS DISTINCT FROM pg_backend_pid()"
	" AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
	" AND NOT (kind = 2 AND mode IN ('AccessShareLock', 'RowShareLock')))"
	" SELECT relation::regclass, held.pid, usename, application_name, state, gid,"
	" extract(epoch FROM clock_timestamp() - coalesce(xact_start, prepared))::bigint"
	" FROM held"
	" LEFT JOIN pg_stat_activity a ON a.pid = held.pid"
	" LEFT JOIN pg_prepared_xacts x ON virtualtransaction = '-1/' || x.transaction"
	" ORDER BY rank, coalesce(xact_start, prepared) LIMIT 1";

static void add_holder(const struct pq *ddl, struct err *e)
{
	const char *table = pq_value(ddl, 0, 0), *pid = pq_value(ddl, 0, 1);
	const char *user = pq_value(ddl, 0, 2), *name = pq_value(ddl, 0, 3);
	const char *state = pq_value(ddl, 0, 4), *gid = pq_value(ddl, 0, 5);
	int64_t age_s = pq_int(ddl, 0, 6, -1);

	if (pid)
		err_add(e, "; %s is open in server process %s (user %s, %s, %s", table, pid,
			user ? user : "?", name && *name ? name : "no application name",
			state ? state : "state unknown");
	if (pid && age_s >= 0)
		err_add(e, ", for %" PRId64 " s", age_s);
	if (pid)
		err_add(e, ")");
	else
		err_add(e, "; %s is locked by prepared transaction %s", table, gid ? gid : "?");
}

void ddl_say_who(struct pq *ddl, const struct dest *d, struct span table, struct err *e)
{
	struct err ignored = { 0 };
	struct buf sql = { 0 };

	ddl_add_oid(&sql, "parent", d, d->table);
	ddl_add_oid(&sql, "part", d, table);
	buf_str(&sql, holders);
	if (pq_query(ddl, buf_cstr(&sql), &ignored) == 0 && pq_rows(ddl) > 0)
		add_holder(ddl, e);
	buf_free(&sql);
}

void ddl_add_tablespace(struct pq *dst, const struct dest *d, struct span table, struct buf *text)
{
	struct err ignored = { 0 };
	struct buf sql = { 0 };

	ddl_add_oid(&sql, "part", d, table);
	buf_str(&sql, PQ_OWN_PATH "SELECT coalesce(t.spcname, d.spcname) FROM pg_class c"
		" LEFT JOIN pg_tablespace t ON t.oid = c.reltablespace,"
		" pg_database JOIN pg_tablespace d ON d.oid = dattablespace"
		" WHERE datname = current_database()"
		" AND c.oid = current_setting('tdispatch.part')::oid");
	if (pq_query(dst, buf_cstr(&sql), &ignored) == 0 && pq_rows(dst) > 0)
		buf_fmt(text, ", tablespace %s", pq_value(dst, 0, 0));
	buf_free(&sql);
}
