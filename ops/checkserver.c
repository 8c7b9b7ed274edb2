/*
 * --check's part about a server: can we connect and write, and may we have as many connections as a
 * run opens? Changes nothing.
 */
#include <inttypes.h>
#include <string.h>

#include "ops.h"

/* A frozen database, a standby: a run would wait for it. */
static void check_read_only(struct findings *found, const char *what, struct pq *q)
{
	struct err e = { 0 };

	if (pq_query(q, "SELECT pg_catalog.current_setting('transaction_read_only')", &e) == 0 &&
	    strcmp(pq_value(q, 0, 0), "on") == 0)
		finding_wrong(found, "%s is read-only: default_transaction_read_only is on, or it"
			" is a standby", what);
}

struct pq *checkserver_open(struct findings *found, const char *what, const char *conninfo,
	const char *encoding)
{
	struct err e = { 0 };
	struct pq *q = pq_open(what, conninfo, encoding, &e);

	if (!q) {
		finding_missing(found, "%s", e.msg);
		return NULL;
	}
	const struct pq_server *server = pq_server(q);
	finding_ok("%s: connected, server version %d, encoding %s, %s", what,
		server->version / 10000, server->encoding,
		server->encrypted ? "encrypted" : "not encrypted");
	if (server->exposed)
		finding_warning("%s: rows cross the network unencrypted: sslmode=verify-full in %s,"
			" and ssl = on at the server", what, what);
	check_read_only(found, what, q);
	return q;
}

/* ---- connections */

/* Each scope has three columns: its name, how many connections it takes (NULL: any number), and how
 * many it has. The first name is that of the server, whatever way leads to it. */
static const char scopes_sql[] = PQ_OWN_PATH
	"SELECT pg_postmaster_start_time() || ' ' || current_setting('port'),"
	" current_setting('max_connections')::int - CASE WHEN rolsuper THEN 0 ELSE"
	" current_setting('superuser_reserved_connections')::int"
	" + coalesce(current_setting('reserved_connections', true)::int, 0) END,"
	" (SELECT sum(numbackends) FROM pg_stat_database),"
	" rolname, CASE WHEN NOT rolsuper AND rolconnlimit >= 0 THEN rolconnlimit END,"
	" (SELECT count(*) FROM pg_stat_activity a WHERE a.usesysid = r.oid),"
	" datname, CASE WHEN NOT rolsuper AND datconnlimit >= 0 THEN datconnlimit END,"
	" (SELECT numbackends FROM pg_stat_database s WHERE s.datid = d.oid)"
	" FROM pg_roles r, pg_database d"
	" WHERE rolname = session_user AND datname = current_database()";

enum scope { SCOPE_SERVER, SCOPE_ROLE, SCOPE_DATABASE, SCOPES };

static const char *name_of(const struct pq *q, enum scope scope)
{
	return pq_value(q, 0, 3 * (int)scope);
}

static bool is_shared(const struct pq *a, const struct pq *b, enum scope scope)
{
	return b && strcmp(name_of(a, SCOPE_SERVER), name_of(b, SCOPE_SERVER)) == 0 &&
		strcmp(name_of(a, scope), name_of(b, scope)) == 0;
}

/* ours: of --check itself. */
static void check_scope(struct findings *found, const char *what, const struct pq *q,
	enum scope scope, int64_t needed, int64_t ours)
{
	static const char *const called[] = { "the server", "the role", "the database" };
	static const char *const cure[] = {
		"raise max_connections", "ALTER ROLE ... CONNECTION LIMIT",
		"ALTER DATABASE ... CONNECTION LIMIT",
	};
	int64_t limit = pq_int(q, 0, 3 * (int)scope + 1, INT64_MAX);
	int64_t others = pq_int(q, 0, 3 * (int)scope + 2, ours) - ours;

	if (limit < needed)
		finding_wrong(found, "%s: a run needs %" PRId64 " connections, and %s takes %"
			PRId64 ": %s, or set fewer lanes", what, needed, called[scope], limit,
			cure[scope]);
	else if (limit - others < needed)
		finding_warning("%s: a run needs %" PRId64 " connections, and %s has %" PRId64
			" of %" PRId64 " to spare, unless a tdispatch that runs has them", what,
			needed, called[scope], limit > others ? limit - others : 0, limit);
}

static bool needs_another(const struct conf *c, const struct dest *d)
{
	struct attach_split split;
	bool inside = d->part_template && c->lanes == 1 &&
		attach_is_all(span_of(d->part_template), &split);

	return (d->part_template && d->period.method != PERIOD_NONE && !inside) ||
		d->keep.unit != PERIOD_NONE || d->part_premake > 0 || d->period.zone;
}

/* How many the target gets: lanes, and one to create and remove partitions. */
static int64_t needed_by(const struct conf *c)
{
	bool another = false;

	for (size_t i = 0; i < c->nrule && !another; i++)
		another = c->rule[i].by_name;   /* a new destination is asked about there */
	for (size_t i = 0; conf_dest(c, i) && !another; i++)
		another = needs_another(c, conf_dest(c, i));
	return c->lanes + another;
}

/* The source: one that reads, and with from_table one that holds the snapshot. */
static int64_t needed_by_source(const struct conf *c)
{
	return 1 + (c->from_table && c->from_snapshot == FROM_SNAPSHOT_TABLE);
}

void checkserver_connections(struct findings *found, const struct conf *c, struct pq *src,
	struct pq *dst)
{
	struct err e = { 0 };
	int64_t needed = needed_by(c), source = needed_by_source(c);

	if ((src && pq_query(src, scopes_sql, &e) < 0) ||
	    (dst && pq_query(dst, scopes_sql, &e) < 0)) {
		finding_missing(found, "%s", e.msg);
		return;
	}
	for (enum scope scope = SCOPE_SERVER; scope < SCOPES; scope++) {
		bool shared = src && is_shared(src, dst, scope);
		if (src && !shared)
			check_scope(found, "src_db", src, scope, source, 1);
		if (dst)
			check_scope(found, "dst_db", dst, scope, needed + (shared ? source : 0),
				1 + shared);
	}
}
