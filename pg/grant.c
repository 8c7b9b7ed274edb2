/*
 * Which privileges our role lacks, as the GRANT statements that an administrator would run.
 */
#include "pg.h"

/* Without these two, table pgq.queue cannot be queried. */
static const char pgq_sql[] = PQ_OWN_PATH
	"SELECT 'GRANT USAGE ON SCHEMA pgq TO ' || quote_ident(current_user)"
	" FROM pg_namespace"
	" WHERE nspname = 'pgq' AND NOT has_schema_privilege(oid, 'USAGE')"
	" UNION ALL"
	" SELECT 'GRANT pgq_reader TO ' || quote_ident(current_user)"
	" FROM pg_namespace n"
	" WHERE nspname = 'pgq' AND ("
	"EXISTS (SELECT 1 FROM pg_proc p"
	" WHERE pronamespace = n.oid"
	" AND proname IN ('next_batch_info', 'next_batch_custom', 'batch_event_sql',"
	" 'batch_event_tables', 'finish_batch', 'get_batch_info',"
	" 'register_consumer', 'register_consumer_at')"
	" AND NOT has_function_privilege(p.oid, 'EXECUTE'))"
	" OR EXISTS (SELECT 1 FROM pg_class t"
	" WHERE relnamespace = n.oid"
	" AND relname IN ('queue', 'consumer', 'subscription', 'tick')"
	" AND NOT has_table_privilege(t.oid, 'SELECT')))";

/* Only with a result if PgQ is installed. */
static const char has_pgq_sql[] = PQ_OWN_PATH
	"SELECT 1 FROM pg_class WHERE oid = to_regclass('pgq.queue')";

/* On the tables of a queue's events; the queue's name follows. */
static const char events_sql[] = PQ_OWN_PATH
	"SELECT 'GRANT SELECT ON ' || inhrelid::regclass || ' TO ' || quote_ident(current_user)"
	" FROM pgq.queue"
	" JOIN pg_inherits ON inhparent = to_regclass(queue_data_pfx)"
	" WHERE NOT has_table_privilege(inhrelid, 'SELECT') AND queue_name = ";

static const char queue_sql[] = PQ_OWN_PATH
	"SELECT 'GRANT pgq_admin TO ' || quote_ident(current_user)"
	" WHERE NOT has_function_privilege('pgq.create_queue(text)', 'EXECUTE')";

static const char positions_sql[] = PQ_OWN_PATH
	"SELECT 'GRANT USAGE ON SCHEMA pgq_ext TO ' || quote_ident(current_user)"
	" FROM pg_namespace"
	" WHERE nspname = 'pgq_ext' AND NOT has_schema_privilege(oid, 'USAGE')"
	" UNION ALL"
	" SELECT 'GRANT EXECUTE ON FUNCTION ' || p.oid::regprocedure || ' TO '"
	" || quote_ident(current_user)"
	" FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace"
	" WHERE nspname = 'pgq_ext' AND proname IN ('get_last_tick', 'set_last_tick')"
	" AND NOT has_function_privilege(p.oid, 'EXECUTE')";

static const char letters_sql[] = PQ_OWN_PATH
	"SELECT 'GRANT USAGE ON SCHEMA tdispatch TO ' || quote_ident(current_user)"
	" FROM pg_namespace"
	" WHERE nspname = 'tdispatch' AND NOT has_schema_privilege(oid, 'USAGE')"
	" UNION ALL"
	" SELECT 'GRANT INSERT ON ' || t.oid::regclass || ' TO ' || quote_ident(current_user)"
	" FROM pg_class t JOIN pg_namespace n ON n.oid = relnamespace"
	" WHERE nspname = 'tdispatch' AND relname = 'dead_letter'"
	" AND NOT has_table_privilege(t.oid, 'INSERT')";

static const char install_sql[] = PQ_OWN_PATH
	"SELECT 'GRANT CREATE ON DATABASE ' || quote_ident(current_database()) || ' TO '"
	" || quote_ident(current_user)"
	" WHERE NOT has_database_privilege(current_database(), 'CREATE')";

static int query_consume(struct pq *src, const char *queue, struct err *e)
{
	struct buf sql = { 0 };

	if (pq_query(src, pgq_sql, e) < 0 || pq_rows(src) > 0 ||
	    pq_query(src, has_pgq_sql, e) < 0 || pq_rows(src) == 0)
		return e->code;
	buf_str(&sql, events_sql);
	buf_literal(&sql, span_of(queue));
	pq_query(src, buf_cstr(&sql), e);
	buf_free(&sql);
	return e->code;
}

int grant_query(struct pq *q, enum grant_for what, const char *queue, struct err *e)
{
	static const char *const statements[] = {
		[GRANT_QUEUE] = queue_sql, [GRANT_POSITIONS] = positions_sql,
		[GRANT_LETTERS] = letters_sql, [GRANT_INSTALL] = install_sql,
	};

	return what == GRANT_CONSUME ? query_consume(q, queue, e) :
		pq_query(q, statements[what], e);
}
