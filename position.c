/*
 * The target's side of exactly-once: the tick up to which everything is in, kept by pgq_ext in
 * the same transaction as the rows.
 *
 * pgq_ext.set_last_tick is a blind update, and PgQ gives one active batch to every process that
 * asks under the consumer's name. So a lock of the transaction comes first, tick and rows after:
 * it also holds through a pooler that hands out connections per transaction.
 */
#include <inttypes.h>
#include <string.h>

#include "tdispatch.h"

static void add_call(struct buf *sql, const char *function, const char *consumer)
{
	buf_fmt(sql, "SELECT pgq_ext.%s(", function);
	buf_literal(sql, span_of(consumer));
}

static int run(struct pq *dst, struct buf *sql, struct err *e)
{
	int rc = pq_query(dst, buf_cstr(sql), e);

	buf_free(sql);
	return rc;
}

/* Read committed, so that the tick is read as it is after the lock was had. */
int position_begin(struct pq *dst, const char *consumer, bool *known, int64_t *tick, struct err *e)
{
	struct buf sql = { 0 };

	buf_fmt(&sql, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;"
		"SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;"
		"SET LOCAL lock_timeout = %d; SET LOCAL client_min_messages = warning;"
		"SELECT pg_catalog.set_config('tdispatch.locked', "
		"pg_catalog.pg_try_advisory_xact_lock(%" PRId64 ")::pg_catalog.text, true);",
		DATA_LOCK_TIMEOUT_MS, (int64_t)span_hash("tdispatch position", span_of(consumer)));
	add_call(&sql, "get_last_tick", consumer);
	buf_str(&sql, "), pg_catalog.current_setting('tdispatch.locked')");
	if (run(dst, &sql, e) < 0)
		return e->code;
	if (strcmp(pq_value(dst, 0, 1), "true") != 0)
		return err_set(e, ERR_CONFLICT, "another process loads for consumer %s at this moment", consumer);
	*known = pq_value(dst, 0, 0) != NULL;
	*tick = pq_int(dst, 0, 0, 0);
	return 0;
}

int position_commit(struct pq *dst, const char *consumer, int64_t tick, struct err *e)
{
	struct buf sql = { 0 };

	add_call(&sql, "set_last_tick", consumer);
	buf_fmt(&sql, ", %" PRId64 "); COMMIT", tick);
	if (run(dst, &sql, e) < 0)
		return e->code;
	if (strcmp(pq_tag(dst), "COMMIT") != 0)
		return err_set(e, ERR_OTHER, "dst_db: the server answered the COMMIT with %s", pq_tag(dst));
	return 0;
}

int position_rollback(struct pq *dst, struct err *e)
{
	return pq_query(dst, "ROLLBACK", e);
}

int position_get(struct pq *dst, const char *consumer, bool *known, int64_t *tick, struct err *e)
{
	struct buf sql = { 0 };

	add_call(&sql, "get_last_tick", consumer);
	buf_str(&sql, ")");
	if (run(dst, &sql, e) < 0)
		return e->code;
	*known = pq_value(dst, 0, 0) != NULL;
	*tick = pq_int(dst, 0, 0, 0);
	return 0;
}

int position_forget(struct pq *dst, const char *consumer, struct err *e)
{
	struct buf sql = { 0 };

	add_call(&sql, "set_last_tick", consumer);
	buf_str(&sql, ", NULL)");
	return run(dst, &sql, e);
}

int position_installed(struct pq *dst, bool *yes, struct err *e)
{
	if (pq_query(dst, "SELECT pg_catalog.to_regprocedure('pgq_ext.get_last_tick(text)') IS NOT NULL"
	    " AND pg_catalog.to_regprocedure('pgq_ext.set_last_tick(text, bigint)') IS NOT NULL", e) < 0)
		return e->code;
	*yes = strcmp(pq_value(dst, 0, 0), "t") == 0;
	return 0;
}

/* The signatures and the table are those of the pgq_ext extension, so that each reads the
 * other's positions. A consumer without lanes has the empty subconsumer. */
static const char install_sql[] =
	"BEGIN;"
	"SET LOCAL client_min_messages = warning;"
	"CREATE SCHEMA IF NOT EXISTS pgq_ext;"
	"CREATE TABLE IF NOT EXISTS pgq_ext.completed_tick ("
	" consumer_id text NOT NULL, subconsumer_id text NOT NULL, last_tick_id bigint NOT NULL,"
	" PRIMARY KEY (consumer_id, subconsumer_id));"

	"CREATE OR REPLACE FUNCTION pgq_ext.get_last_tick(a_consumer text, a_subconsumer text)"
	" RETURNS bigint LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$"
	" SELECT last_tick_id FROM pgq_ext.completed_tick"
	" WHERE consumer_id = a_consumer AND subconsumer_id = a_subconsumer $$;"

	"CREATE OR REPLACE FUNCTION pgq_ext.get_last_tick(a_consumer text)"
	" RETURNS bigint LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$"
	" SELECT pgq_ext.get_last_tick(a_consumer, '') $$;"

	"CREATE OR REPLACE FUNCTION pgq_ext.set_last_tick(a_consumer text, a_subconsumer text, a_tick_id bigint)"
	" RETURNS integer LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$"
	" DELETE FROM pgq_ext.completed_tick"
	" WHERE a_tick_id IS NULL AND consumer_id = a_consumer AND subconsumer_id = a_subconsumer;"
	" INSERT INTO pgq_ext.completed_tick AS t (consumer_id, subconsumer_id, last_tick_id)"
	" SELECT a_consumer, a_subconsumer, a_tick_id WHERE a_tick_id IS NOT NULL"
	" ON CONFLICT (consumer_id, subconsumer_id) DO UPDATE SET last_tick_id = EXCLUDED.last_tick_id;"
	" SELECT 1 $$;"

	"CREATE OR REPLACE FUNCTION pgq_ext.set_last_tick(a_consumer text, a_tick_id bigint)"
	" RETURNS integer LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$"
	" SELECT pgq_ext.set_last_tick(a_consumer, '', a_tick_id) $$;"
	"COMMIT";

int position_install(struct pq *dst, bool *created, struct err *e)
{
	bool there = false;

	if (position_installed(dst, &there, e) < 0)
		return e->code;
	*created = !there;
	return there ? 0 : pq_query(dst, install_sql, e);
}
