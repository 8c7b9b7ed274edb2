/*
 * The target's side of exactly-once: pgq_ext stores the tick up to which everything is loaded, in
 * the same transaction as the rows.
 *
 * pgq_ext.set_last_tick does not check the old value, and PgQ gives the active batch to every
 * process that asks under the consumer's name. So each transaction takes an advisory lock before
 * it reads the tick and writes rows. The lock belongs to the transaction, so it works through a
 * transaction pooler.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "pq.h"

/* 2000-01-01. A smaller number is no tick's time: somebody has set all subconsumers of the consumer
 * to one tick by hand. */
#define TIME_MIN_US INT64_C(946684800000000)

/* Appends the arguments that name a position. Lane 0 is the consumer itself, so that a consumer
 * with one lane looks like any other PgQ consumer; the other lanes are subconsumers of it. what:
 * "", or another number that is stored for the lane: " from", the tick at which its last batch
 * began; " identity tick" and " identity time", the tick and its time, which stay as they are when
 * another program sets the position; " rule", the judge_rule by which rows went to the lane. */
static void add_name(struct buf *sql, const char *consumer, size_t lane, size_t lanes,
	const char *what)
{
	buf_literal(sql, span_of(consumer));
	if (lane)
		buf_fmt(sql, ", 'lane %zu of %zu%s'", lane, lanes, what);
	else if (*what)
		buf_fmt(sql, ", '%s'", what + 1);
}

static int run(struct pq *dst, struct buf *sql, struct err *e)
{
	int rc = pq_query(dst, buf_cstr(sql), e);

	buf_free(sql);
	return rc;
}

/* Without the number of lanes: a process that uses another number must meet the same locks. */
static int64_t lock_key(const char *consumer, size_t lane)
{
	char kind[40];

	snprintf(kind, sizeof kind, "tdispatch position %zu", lane);
	return (int64_t)span_hash(kind, span_of(consumer));
}

/* Appends a call that reads a number. what: as in add_name, after a comma. */
static void add_get(struct buf *sql, const char *consumer, size_t lane, size_t lanes,
	const char *what)
{
	buf_fmt(sql, "%spgq_ext.get_last_tick(", *what ? ", " : "");
	add_name(sql, consumer, lane, lanes, *what ? what + 1 : "");
	buf_str(sql, ")");
}

/* Reads the columns from col on: the tick; where pgq_ext has subconsumers, also from (for lane 0
 * the number of lanes), identity time, identity tick; for other lanes, rule. pgq_ext reads each in
 * a snapshot of its own, and without our lock another process may commit in between: the time is
 * that of the tick if the identity tick, which is read after it, is still the tick. */
static struct position take_position(const struct pq *dst, int row, int col, size_t lane,
	enum position_kind kind)
{
	struct position pos = {
		.known = pq_value(dst, row, col) != NULL, .tick = pq_int(dst, row, col, 0),
		.lanes = 1,
	};

	if (kind != POSITION_LANES)
		return pos;
	pos.lanes = lane ? 0 : pq_int(dst, row, col + 1, 1);
	pos.from = lane ? pq_int(dst, row, col + 1, 0) : 0;
	pos.rule = lane ? pq_int(dst, row, col + 4, 0) : 0;
	int64_t time_us = pq_int(dst, row, col + 2, 0);
	if (pq_int(dst, row, col + 3, 0) == pos.tick && time_us > TIME_MIN_US)
		pos.time_us = time_us;
	return pos;
}

/* Queries who holds the lock. *standby: the holder has committed, and waits for a synchronous
 * standby. */
static bool find_holder(struct pq *dst, int64_t key, bool *standby)
{
	struct err ignored = { 0 };
	struct buf sql = { 0 };

	buf_fmt(&sql, PQ_OWN_PATH "SELECT l.pid, coalesce(application_name, ''),"
		" coalesce(state, 'state unknown') ||"
		" coalesce(', waits for ' || wait_event_type || ' ' || wait_event, ''),"
		" (wait_event = 'SyncRep')::int4"
		" FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid"
		" WHERE l.locktype = 'advisory' AND l.granted AND l.pid <> pg_backend_pid()"
		" AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
		" AND l.classid = %" PRIu64 " AND l.objid = %" PRIu64 " AND l.objsubid = 1",
		(uint64_t)key >> 32, (uint64_t)key & UINT32_MAX);
	bool found = pq_query(dst, buf_cstr(&sql), &ignored) == 0 && pq_rows(dst) > 0;
	*standby = found && pq_int(dst, 0, 3, 0);
	buf_free(&sql);
	return found;
}

/* The holder may be a server process that once worked for us: it goes on after we disconnected. */
static int locked_out(struct pq *dst, const char *consumer, size_t lane, struct err *e)
{
	bool standby, found = find_holder(dst, lock_key(consumer, lane), &standby);
	bool ours = found && pq_was_ours(pq_int(dst, 0, 0, 0));

	err_set(e, ERR_CONFLICT, ours ?
		"an earlier connection of this process still loads for consumer %s" :
		"another process loads for consumer %s at this moment", consumer);
	if (found)
		err_add(e, ": server process %s (%s, %s)%s", pq_value(dst, 0, 0),
			pq_value(dst, 0, 1), pq_value(dst, 0, 2), standby ?
			", which has committed and waits for a synchronous standby" : "");
	return e->code;
}

/* READ COMMITTED, so that the tick is read as it is after the lock was granted. tcp_user_timeout:
 * if the network loses the server's last answer, the server keeps our locks while it resends it. */
static void add_begin(struct buf *sql, const struct pq *dst)
{
	buf_str(sql, "BEGIN ISOLATION LEVEL READ COMMITTED;"
		" SET LOCAL client_min_messages = warning;");
	pq_add_settings(sql, dst, DATA_LOCK_TIMEOUT_MS);
	style_add_settings(sql);
	if (pq_server(dst)->version >= 120000)
		buf_str(sql, "SET LOCAL tcp_user_timeout = 12000;");
}

int position_ask(struct pq *dst, const char *consumer, size_t lane, size_t lanes,
	enum position_kind kind, struct err *e)
{
	struct buf sql = { 0 };

	if (dst->begins)
		return 0;
	assert(lane < lanes && lanes <= LANES_MAX);
	add_begin(&sql, dst);
	buf_fmt(&sql, "SELECT pg_catalog.set_config('tdispatch.locked', "
		"pg_catalog.pg_try_advisory_xact_lock(%" PRId64 ")::pg_catalog.text, true);"
		"SELECT pg_catalog.current_setting('tdispatch.locked'),"
		" pg_catalog.current_setting('transaction_read_only'), ",
		lock_key(consumer, lane));
	add_get(&sql, consumer, lane, lanes, "");
	if (kind == POSITION_LANES) {
		add_get(&sql, consumer, lane, lanes, lane ? ", from" : ", lanes");
		add_get(&sql, consumer, lane, lanes, ", identity time");
		add_get(&sql, consumer, lane, lanes, ", identity tick");
	}
	if (kind == POSITION_LANES && lane)
		add_get(&sql, consumer, lane, lanes, ", rule");
	if (pq_send(dst, buf_cstr(&sql), e) == 0)
		pq_flush(dst, e);
	buf_free(&sql);
	dst->begins = !e->code;
	return e->code;
}

int position_unask(struct pq *dst, struct err *e)
{
	if (!dst->begins)
		return e->code;
	dst->begins = false;
	return pq_answer(dst, e) < 0 ? e->code : pq_query(dst, "ROLLBACK", e);
}

int position_begin(struct pq *dst, const char *consumer, size_t lane, size_t lanes,
	enum position_kind kind, struct position *pos, struct err *e)
{
	if (position_ask(dst, consumer, lane, lanes, kind, e) < 0)
		return e->code;
	dst->begins = false;
	if (pq_answer(dst, e) < 0)
		return e->code;
	if (strcmp(pq_value(dst, 0, 1), "on") == 0)
		return err_set(e, ERR_READONLY, "dst_db is read-only:"
			" default_transaction_read_only is on, or it is a standby");
	if (strcmp(pq_value(dst, 0, 0), "true") != 0)
		return locked_out(dst, consumer, lane, e);
	*pos = take_position(dst, 0, 2, lane, kind);
	return 0;
}

static void add_set(struct buf *sql, const char *consumer, size_t lane, size_t lanes,
	const char *what, int64_t value)
{
	buf_fmt(sql, "%spgq_ext.set_last_tick(", *what ? ", " : "");
	add_name(sql, consumer, lane, lanes, what);
	buf_fmt(sql, ", %" PRId64 ")", value);
}

/* One statement, so that other sessions see the tick and its time change together. */
static void add_position(struct buf *sql, const char *consumer, size_t lane, size_t lanes,
	enum position_kind kind, const struct position *pos)
{
	buf_str(sql, "SELECT ");
	add_set(sql, consumer, lane, lanes, "", pos->tick);
	if (kind == POSITION_LANES) {
		add_set(sql, consumer, lane, lanes, " identity tick", pos->tick);
		add_set(sql, consumer, lane, lanes, " identity time", pos->time_us);
	}
	if (lane) {
		add_set(sql, consumer, lane, lanes, " from", pos->from);
		add_set(sql, consumer, lane, lanes, " rule", pos->rule);
	}
	buf_str(sql, ";");
}

static int run_to_commit(struct pq *dst, struct buf *sql, struct err *e)
{
	buf_str(sql, "COMMIT");
	if (run(dst, sql, e) < 0)
		return e->code;
	if (strcmp(dst->tag, "COMMIT") != 0)
		return err_set(e, ERR_OTHER, "dst_db: the server answered the COMMIT with %s",
			dst->tag);
	return 0;
}

int position_commit(struct pq *dst, const char *before, const char *consumer, size_t lane,
	size_t lanes, enum position_kind kind, const struct position *pos, struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, before);
	if (pos)
		add_position(&sql, consumer, lane, lanes, kind, pos);
	return run_to_commit(dst, &sql, e);
}

static void add_forget_lanes(struct buf *sql, const char *consumer)
{
	struct buf name = { 0 };

	buf_literal(&name, span_of(consumer));
	buf_fmt(sql, "SELECT pgq_ext.set_last_tick(%s,"
		" pg_catalog.format('lane %%s of %%s%%s', k, l, what), NULL)"
		" FROM (SELECT pgq_ext.get_last_tick(%s, 'lanes') AS l) x,"
		" pg_catalog.generate_series(1, l) k,"
		" (VALUES (''), (' from'), (' rule'), (' identity tick'), (' identity time'))"
		" w (what);"
		"SELECT pgq_ext.set_last_tick(%s, what, NULL)"
		" FROM (VALUES ('lanes'), ('identity tick'), ('identity time')) w (what);",
		buf_cstr(&name), buf_cstr(&name), buf_cstr(&name));
	buf_free(&name);
}

int position_set_lanes(struct pq *dst, const char *consumer, size_t lanes,
	const struct position *pos, struct err *e)
{
	struct buf sql = { 0 };

	add_forget_lanes(&sql, consumer);
	for (size_t lane = 0; lane < lanes; lane++)
		add_position(&sql, consumer, lane, lanes, POSITION_LANES, pos);
	if (lanes > 1) {
		buf_str(&sql, "SELECT pgq_ext.set_last_tick(");
		buf_literal(&sql, span_of(consumer));
		buf_fmt(&sql, ", 'lanes', %zu);", lanes);
	}
	return run_to_commit(dst, &sql, e);
}

int position_complete(struct pq *dst, const char *consumer, size_t lane, size_t lanes,
	const struct position *pos, struct err *e)
{
	struct position now;
	struct buf sql = { 0 };

	if (position_begin(dst, consumer, lane, lanes, POSITION_LANES, &now, e) < 0)
		return e->code;
	if (!now.known || now.tick != pos->tick || now.time_us)
		return pq_query(dst, "ROLLBACK", e);
	now.time_us = pos->source_us;
	add_position(&sql, consumer, lane, lanes, POSITION_LANES, &now);
	return run_to_commit(dst, &sql, e);
}

int position_get(struct pq *dst, const char *consumer, bool *known, int64_t *tick, struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, "SELECT pgq_ext.get_last_tick(");
	buf_literal(&sql, span_of(consumer));
	buf_str(&sql, ")");
	if (run(dst, &sql, e) < 0)
		return e->code;
	*known = pq_value(dst, 0, 0) != NULL;
	*tick = pq_int(dst, 0, 0, 0);
	return 0;
}

static void add_look(struct buf *sql, const char *consumer)
{
	static const char *const more[] = { "identity time", "identity tick", "rule" };
	struct buf name = { 0 };

	buf_literal(&name, span_of(consumer));
	buf_fmt(sql, PQ_OWN_PATH "SELECT pgq_ext.get_last_tick(%s, lane)", buf_cstr(&name));
	buf_fmt(sql, ", CASE k WHEN 0 THEN l ELSE pgq_ext.get_last_tick(%s, lane || ' from') END",
		buf_cstr(&name));
	for (size_t i = 0; i < sizeof more / sizeof *more; i++)
		buf_fmt(sql, ", pgq_ext.get_last_tick(%s, ltrim(lane || ' %s'))", buf_cstr(&name),
			more[i]);
	buf_fmt(sql, " FROM (SELECT coalesce(pgq_ext.get_last_tick(%s, 'lanes'), 1) AS l) x,"
		" generate_series(0, CASE WHEN l BETWEEN 1 AND %d THEN l - 1 ELSE 0 END) k,"
		" LATERAL (SELECT CASE k WHEN 0 THEN '' ELSE format('lane %%s of %%s', k, l) END"
		" AS lane) y ORDER BY k", buf_cstr(&name), LANES_MAX);
	buf_free(&name);
}

int position_look(struct pq *dst, const char *consumer, enum position_kind kind,
	struct position pos[LANES_MAX], size_t *n, struct err *e)
{
	struct buf sql = { 0 };

	if (kind == POSITION_LANES) {
		add_look(&sql, consumer);
	} else {
		buf_str(&sql, "SELECT ");
		add_get(&sql, consumer, 0, 1, "");
	}
	if (run(dst, &sql, e) < 0)
		return e->code;
	*n = (size_t)pq_rows(dst);
	for (size_t i = 0; i < *n; i++)
		pos[i] = take_position(dst, (int)i, 0, i, kind);
	return 0;
}

int position_forget(struct pq *dst, const char *consumer, enum position_kind kind, int64_t *tick,
	struct err *e)
{
	struct position pos;
	struct buf sql = { 0 };

	if (position_begin(dst, consumer, 0, 1, kind, &pos, e) < 0)
		return e->code;
	*tick = pos.tick;
	if (kind == POSITION_LANES)
		add_forget_lanes(&sql, consumer);
	buf_str(&sql, "SELECT pgq_ext.set_last_tick(");
	buf_literal(&sql, span_of(consumer));
	buf_str(&sql, ", NULL);");
	return run_to_commit(dst, &sql, e);
}

/* The functions of the simple pgq_ext, and those of the full one. */
static const char kind_sql[] = PQ_OWN_PATH
	"SELECT (to_regprocedure('pgq_ext.get_last_tick(text)') IS NOT NULL"
	" AND to_regprocedure('pgq_ext.set_last_tick(text, bigint)') IS NOT NULL)::int4,"
	" (to_regprocedure('pgq_ext.get_last_tick(text, text)') IS NOT NULL"
	" AND to_regprocedure('pgq_ext.set_last_tick(text, text, bigint)') IS NOT NULL)::int4";

int position_kind(struct pq *dst, enum position_kind *kind, struct err *e)
{
	if (trust_require(dst, "pgq_ext", e) < 0 || pq_query(dst, kind_sql, e) < 0)
		return e->code;
	*kind = !pq_int(dst, 0, 0, 0) ? POSITION_NONE :
		pq_int(dst, 0, 1, 0) ? POSITION_LANES : POSITION_SIMPLE;
	return 0;
}

int position_require(enum position_kind kind, struct err *e)
{
	if (kind == POSITION_NONE)
		return err_set(e, ERR_SHAPE, "dst_db has no pgq_ext.get_last_tick and"
			" set_last_tick: create them with --install");
	return 0;
}

/* In PL/pgSQL, which plans a statement once a connection; SQL functions plan at each call. */
#define INSTALL_AS " LANGUAGE plpgsql VOLATILE SECURITY DEFINER" \
	" SET search_path = pg_catalog, pg_temp AS $$ BEGIN "

/* The signatures and the table are those of the pgq_ext extension, so that each can read the
 * positions that the other stored. A consumer without lanes has the empty subconsumer. */
static const char install_sql[] =
	"BEGIN;" PQ_OWN_PATH INSTALL_LOCK
	"SET LOCAL client_min_messages = warning;"
	"CREATE SCHEMA IF NOT EXISTS pgq_ext;"
	"CREATE TABLE IF NOT EXISTS pgq_ext.completed_tick ("
	" consumer_id text NOT NULL, subconsumer_id text NOT NULL, last_tick_id bigint NOT NULL,"
	" PRIMARY KEY (consumer_id, subconsumer_id));"

	"CREATE OR REPLACE FUNCTION pgq_ext.get_last_tick(a_consumer text, a_subconsumer text)"
	" RETURNS bigint" INSTALL_AS
	"RETURN (SELECT last_tick_id FROM pgq_ext.completed_tick"
	" WHERE consumer_id = a_consumer AND subconsumer_id = a_subconsumer); END $$;"

	"CREATE OR REPLACE FUNCTION pgq_ext.get_last_tick(a_consumer text)"
	" RETURNS bigint" INSTALL_AS
	"RETURN pgq_ext.get_last_tick(a_consumer, ''); END $$;"

	"CREATE OR REPLACE FUNCTION"
	" pgq_ext.set_last_tick(a_consumer text, a_subconsumer text, a_tick_id bigint)"
	" RETURNS integer" INSTALL_AS
	"IF a_tick_id IS NULL THEN"
	" DELETE FROM pgq_ext.completed_tick"
	" WHERE consumer_id = a_consumer AND subconsumer_id = a_subconsumer;"
	" ELSE"
	" INSERT INTO pgq_ext.completed_tick AS t (consumer_id, subconsumer_id, last_tick_id)"
	" VALUES (a_consumer, a_subconsumer, a_tick_id)"
	" ON CONFLICT (consumer_id, subconsumer_id)"
	" DO UPDATE SET last_tick_id = EXCLUDED.last_tick_id;"
	" END IF; RETURN 1; END $$;"

	"CREATE OR REPLACE FUNCTION pgq_ext.set_last_tick(a_consumer text, a_tick_id bigint)"
	" RETURNS integer" INSTALL_AS
	"RETURN pgq_ext.set_last_tick(a_consumer, '', a_tick_id); END $$;"
	"COMMIT";

int position_install(struct pq *dst, bool *created, struct err *e)
{
	enum position_kind kind = POSITION_NONE;

	if (position_kind(dst, &kind, e) < 0)
		return e->code;
	*created = kind == POSITION_NONE;
	return *created ? pq_query(dst, install_sql, e) : 0;
}
