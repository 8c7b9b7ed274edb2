/*
 * Making ticks and PgQ's maintenance: what pgqd does otherwise.
 *
 * PgQ's ticker takes its snapshot before it takes the tick's number, so two at once can store a
 * tick whose snapshot is older than its predecessor's, and then consumers get events twice. The
 * table of ticks is locked against that: an INSERT that waits for the lock takes its snapshot after
 * it.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "pq.h"

#define TICK_LOCK_TIMEOUT_MS 500        /* other queues' tickers wait behind us meanwhile */
#define MAINTENANCE_LOCK_TIMEOUT_MS 2000

static void begin(struct buf *sql, const struct pq *src, int lock_timeout_ms)
{
	buf_str(sql, "BEGIN ISOLATION LEVEL READ COMMITTED;" PQ_OWN_PATH
		"SET LOCAL client_min_messages = error;");
	pq_add_settings(sql, src, lock_timeout_ms);
}

/* Of the processes that tick one queue, or do its maintenance, one works at a time. */
static void add_lock(struct buf *sql, const char *queue)
{
	buf_fmt(sql, "SELECT pg_advisory_xact_lock(%" PRId64 ");",
		(int64_t)span_hash("tdispatch ticker", span_of(queue)));
}

/* Runs sql and frees it. After an error no transaction is left open. */
static int run(struct pq *src, struct buf *sql, struct err *e)
{
	struct err ignored = { 0 };

	queue_expand(sql, src);
	if (pq_query(src, buf_cstr(sql), e) < 0 && !sqlstate_is_lost(e))
		pq_query(src, "ROLLBACK", &ignored);
	buf_free(sql);
	return e->code;
}

static bool is_true(struct pq *src, int col)
{
	const char *value = pq_value(src, 0, col);

	return value && *value == 't';
}

/* ---- looking */

#define MS(interval) "(extract(epoch FROM " interval ") * 1000)::bigint"

/* pgqd may have no application_name. Then it is known by what it asks, where our role may see that;
 * else by its ticks alone. */
static const char look_sql[] = "SELECT coalesce(t.tick_id, 0),"
	" coalesce(" MS("clock_timestamp() - t.tick_time") ", 0),"
	" NOT EXISTS (SELECT FROM \1.tick WHERE tick_queue = queue_id AND tick_id < t.tick_id),"
	" CASE WHEN has_sequence_privilege(seq, 'SELECT, USAGE') THEN"
	" coalesce(pg_sequence_last_value(seq), 1) - t.tick_event_seq"
	" ELSE 0 END, " MS("queue_ticker_max_lag") ", " MS("queue_ticker_idle_period") ","
	" " MS("queue_rotation_period") ","
	" queue_ticker_paused OR queue_external_ticker,"
	" EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()"
	" AND (application_name ~ '^pgqd' OR query ~ '^select (pgq\\.ticker\\(\\)"
	"|\\* from pgq\\.maint_retry_events|func_name, func_arg from pgq\\.maint_operations)')),"
	" has_function_privilege('\1.ticker(text)', 'EXECUTE'),"
	" has_table_privilege('\1.tick', 'UPDATE, DELETE')"
	/* no longer there if the queue is being dropped */
	" FROM \1.queue LEFT JOIN LATERAL to_regclass(queue_event_seq) seq ON true"
	" LEFT JOIN LATERAL (SELECT * FROM \1.tick WHERE tick_queue = queue_id"
	" ORDER BY tick_id DESC LIMIT 1) t ON true WHERE queue_name = ";

int ticker_look(struct pq *src, const char *queue, struct ticker_look *l, struct err *e)
{
	struct buf sql = { 0 };

	begin(&sql, src, TICK_LOCK_TIMEOUT_MS);
	buf_str(&sql, look_sql);
	buf_literal(&sql, span_of(queue));
	buf_str(&sql, "; COMMIT");
	if (run(src, &sql, e) < 0)
		return e->code;
	if (!pq_rows(src))
		return err_set(e, ERR_SHAPE, "src_db has no queue %s", queue);
	*l = (struct ticker_look){
		.tick = pq_int(src, 0, 0, 0), .age_ms = pq_int(src, 0, 1, 0),
		.only = is_true(src, 2), .unticked = pq_int(src, 0, 3, 0),
		.lag_ms = pq_int(src, 0, 4, 0), .idle_ms = pq_int(src, 0, 5, 0),
		.rotation_ms = pq_int(src, 0, 6, 0), .paused = is_true(src, 7),
		.pgqd = is_true(src, 8), .may_tick = is_true(src, 9), .may_lock = is_true(src, 10),
	};
	return 0;
}

/* ---- a tick */

/* Ends the tick's transaction. */
static int end(struct pq *src, const char *how, struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, how);
	return run(src, &sql, e);
}

static void add_newest(struct buf *sql, const char *what, const char *queue)
{
	buf_fmt(sql, "(SELECT %s FROM \1.tick, \1.queue WHERE tick_queue = queue_id"
		" AND queue_name = ", what);
	buf_literal(sql, span_of(queue));
	buf_str(sql, " ORDER BY tick_id DESC LIMIT 1)");
}

/* Appends a query: is the snapshot of the queue's newest tick older than that of one before? */
static void add_is_older(struct buf *sql, const char *queue)
{
	buf_str(sql, "SELECT coalesce(bool_or(txid_snapshot_xmin(new) < txid_snapshot_xmin(old)"
		" OR txid_snapshot_xmax(new) < txid_snapshot_xmax(old)), false) FROM (SELECT"
		" tick_snapshot::text::txid_snapshot AS new,"
		" lead(tick_snapshot::text::txid_snapshot)"
		" OVER (ORDER BY tick_id DESC) AS old FROM \1.tick, \1.queue"
		" WHERE tick_queue = queue_id AND queue_name = ");
	buf_literal(sql, span_of(queue));
	buf_str(sql, " ORDER BY tick_id DESC LIMIT 2) t");
}

int ticker_tick(struct pq *src, const char *queue, const struct ticker_look *l, int64_t *tick,
	struct err *e)
{
	struct buf sql = { 0 };

	*tick = 0;
	begin(&sql, src, TICK_LOCK_TIMEOUT_MS);
	add_lock(&sql, queue);
	if (l->may_lock)
		buf_str(&sql, "LOCK TABLE \1.tick IN SHARE ROW EXCLUSIVE MODE;");
	buf_str(&sql, "SELECT \1.ticker(");
	buf_literal(&sql, span_of(queue));
	buf_fmt(&sql, ") FROM (SELECT 1) one WHERE %" PRId64 " = coalesce(", l->tick);
	add_newest(&sql, "tick_id", queue);
	buf_str(&sql, ", 0)");
	if (run(src, &sql, e) < 0)
		return e->code;
	*tick = pq_rows(src) ? pq_int(src, 0, 0, 0) : 0;
	if (!*tick)
		return end(src, "COMMIT", e);
	add_is_older(&sql, queue);
	if (run(src, &sql, e) < 0)
		return e->code;
	if (!is_true(src, 0))
		return end(src, "COMMIT", e);
	*tick = 0;
	return end(src, "ROLLBACK", e);
}

/* ---- maintenance */

/* Appends a name of PgQ's, schema.name, which is not quoted, as SQL. */
static void add_name(struct buf *sql, const char *name)
{
	size_t n = strcspn(name, ".");

	buf_ident(sql, (struct span){ name, n });
	if (!name[n])
		return;
	buf_str(sql, ".");
	buf_ident(sql, span_of(name + n + 1));
}

/* VACUUM takes no transaction. */
static int vacuum(struct pq *src, const char *how, const char *table, struct err *e)
{
	struct buf sql = { 0 };

	buf_fmt(&sql, "%s ", how);
	add_name(&sql, table);
	return run(src, &sql, e);
}

/* Calls it until it does not want to be called again at once. argument: NULL for none. */
static int call(struct pq *src, const char *queue, const char *function, const char *argument,
	struct err *e)
{
	struct buf sql = { 0 };
	int64_t again = 1;

	while (again > 0 && !e->code) {
		begin(&sql, src, MAINTENANCE_LOCK_TIMEOUT_MS);
		add_lock(&sql, queue);
		buf_str(&sql, "SELECT ");
		add_name(&sql, function);
		buf_str(&sql, "(");
		if (argument)
			buf_literal(&sql, span_of(argument));
		buf_str(&sql, "); COMMIT");
		run(src, &sql, e);
		again = e->code ? 0 : pq_int(src, 0, 0, 0);
	}
	return e->code;
}

struct operation {
	char *function, *argument;      /* argument NULL: none */
};

static int operate(struct pq *src, const char *queue, struct operation *o, struct err *e)
{
	bool plain = strcmp(o->function, "vacuum") == 0;

	if (!e->code && o->argument && (plain || strcmp(o->function, "vacuum analyze") == 0))
		vacuum(src, o->function, o->argument, e);
	else if (!e->code)
		call(src, queue, o->function, o->argument, e);
	free(o->function);
	free(o->argument);
	return e->code;
}

int ticker_maintain(struct pq *src, const char *queue, struct err *e)
{
	struct buf sql = { 0 };

	begin(&sql, src, MAINTENANCE_LOCK_TIMEOUT_MS);
	buf_str(&sql, "SELECT func_name, func_arg FROM \1.maint_operations(); COMMIT");
	if (run(src, &sql, e) < 0)
		return e->code;
	size_t n = (size_t)pq_rows(src);
	struct operation *list = mem_alloc((n + 1) * sizeof *list);
	for (size_t i = 0; i < n; i++)
		list[i] = (struct operation){
			mem_text(pq_value(src, (int)i, 0)), mem_text(pq_value(src, (int)i, 1)),
		};
	for (size_t i = 0; i < n; i++)
		operate(src, queue, &list[i], e);
	free(list);
	return e->code ? e->code : call(src, queue, "\1.maint_retry_events", NULL, e);
}

/* ---- a tick that somebody waits for */

int ticker_force(struct pq *src, const char *queue, int64_t *txid, struct err *e)
{
	struct buf sql = { 0 };

	begin(&sql, src, TICK_LOCK_TIMEOUT_MS);
	buf_str(&sql, "SELECT txid_current(), \1.force_tick(");
	buf_literal(&sql, span_of(queue));
	buf_str(&sql, "); COMMIT");
	if (run(src, &sql, e) == 0)
		*txid = pq_int(src, 0, 0, 0);
	return e->code;
}

int ticker_sees(struct pq *src, const char *queue, int64_t txid, int64_t *tick, struct err *e)
{
	struct buf sql = { 0 };

	begin(&sql, src, TICK_LOCK_TIMEOUT_MS);
	buf_str(&sql, "SELECT ");
	add_newest(&sql, "tick_id", queue);
	buf_fmt(&sql, ", txid_visible_in_snapshot(%" PRId64 ", ", txid);
	add_newest(&sql, "tick_snapshot::text::txid_snapshot", queue);
	buf_str(&sql, "); COMMIT");
	if (run(src, &sql, e) == 0)
		*tick = is_true(src, 1) ? pq_int(src, 0, 0, 0) : 0;
	return e->code;
}

int ticker_denied(struct pq *src, struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, "SELECT quote_ident(current_user)");
	if (run(src, &sql, e) == 0)
		err_set(e, ERR_RIGHTS, "src_db: our role may make no ticks: GRANT %s_admin TO %s;",
			queue_schema(src), pq_value(src, 0, 0));
	return e->code;
}
