/*
 * Who owns the objects that store our positions and dead letters? Any role that may create a schema
 * could have made pgq_ext first, with a function or trigger that then runs with our privileges.
 */
#include <string.h>

#include "pq.h"

/* What is used of each schema; of it all that runs something, and whose that is. A rule is
 * nobody's: there is none in what --install makes, or the extension. */
static const char objects_sql[] =
	"WITH used AS (SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
	" WHERE nspname = %s AND relname IN ('completed_tick', 'dead_letter', 'slice')),"
	" object (shown, owner, class, oid) AS ("
	" SELECT 'schema ' || nspname, nspowner, 'pg_namespace'::regclass, oid FROM pg_namespace"
	" WHERE nspname = %s"
	" UNION ALL SELECT 'table ' || oid::regclass, relowner, 'pg_class'::regclass, oid FROM"
	" pg_class JOIN used USING (oid)"
	" UNION ALL SELECT 'function ' || p.oid::regprocedure, proowner, 'pg_proc'::regclass, p.oid"
	" FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace"
	" WHERE nspname = %s AND proname IN ('get_last_tick', 'set_last_tick')"
	" UNION ALL SELECT 'what trigger ' || tgname || ' of table ' || used.oid::regclass || '"
	" calls', proowner,"
	" 'pg_proc'::regclass, p.oid FROM pg_trigger JOIN used ON tgrelid = used.oid JOIN pg_proc"
	" p ON p.oid = tgfoid"
	" WHERE NOT tgisinternal"
	" UNION ALL SELECT 'rule ' || rulename || ' of table ' || used.oid::regclass, 0,"
	" 'pg_rewrite'::regclass, r.oid"
	" FROM pg_rewrite r JOIN used ON ev_class = used.oid)"
	" SELECT shown, coalesce(rolname, 'nobody'), current_user FROM object LEFT JOIN pg_roles"
	" ON pg_roles.oid = owner"
	" WHERE NOT coalesce(rolsuper OR rolname = current_user, false)"
	" AND owner NOT IN (SELECT datdba FROM pg_database WHERE datname = current_database())"
	" AND NOT EXISTS (SELECT 1 FROM pg_depend d JOIN pg_extension x ON d.refobjid = x.oid"
	" WHERE d.classid = object.class AND d.objid = object.oid AND d.deptype = 'e' AND extname"
	" = 'pgq_ext') LIMIT 1";

int trust_require(struct pq *dst, const char *schema, struct err *e)
{
	struct buf sql = { 0 }, name = { 0 };

	buf_literal(&name, span_of(schema));
	buf_str(&sql, PQ_OWN_PATH);
	buf_cstr(&name);
	buf_fmt(&sql, objects_sql, name.p, name.p, name.p);
	if (pq_query(dst, buf_cstr(&sql), e) == 0 && pq_rows(dst) > 0)
		err_set(e, ERR_RIGHTS, "dst_db: %s belongs to %s, who is neither a superuser nor"
			" the database's owner nor %s, and"
			" could run anything with our rights. Nothing was written. Drop it and"
			" --install, or make it theirs: ALTER"
			" ... OWNER TO", pq_value(dst, 0, 0), pq_value(dst, 0, 1),
			pq_value(dst, 0, 2));
	buf_free(&sql);
	buf_free(&name);
	return e->code;
}
