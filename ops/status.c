/*
 * --status: where queue, consumer and target are, what the running process does, and which
 * partitions there are. Asks both servers and reads the state file; changes nothing.
 *
 * Its lines and the members of --json have the same names: "name value" or "name":value, and
 * what is not known is - or null.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ops.h"

#define LOCK_TIMEOUT_MS 5000            /* reading a partition's size takes a mild lock */

struct status {
	struct job *job;
	bool json;
	struct buf out;
	struct report_state state;      /* of the running process; pid 0: none */
	struct queue_state queue;
	struct queue_backlog backlog;
	int64_t target_tick, dead;      /* -1: unknown, as in the backlog */
	bool partitions;                /* the target's connection holds rows about them */
	int rc;
};

/* ---- looking */

static void problem(struct status *s, struct err *e)
{
	print_line(stderr, "tdispatch: %s\n", e->msg);
	*e = (struct err){ 0 };
	s->rc = 1;
}

/* Appends " OR ..." for tables with a partition's name, in dest_table's schema or on
 * search_path. */
static void add_named(struct buf *sql, const struct conf *c)
{
	struct buf table = { 0 };

	buf_literal(&table, c->dest.table);
	buf_fmt(sql, " OR c.relkind" PQ_OWN("=") "ANY ('{r,p,f}'::pg_catalog.\"char\"[])"
		" AND pg_catalog.\"left\"(c.relname::pg_catalog.text, pg_catalog.length(%s::pg_catalog.text))" PQ_OWN("=") "%s::pg_catalog.text"
		" AND pg_catalog.substr(c.relname::pg_catalog.text, pg_catalog.length(%s::pg_catalog.text)" PQ_OWN("+") "1)" PQ_OWN("~")
		"'^_[0-9]{4}(_w?[0-9]{2}){0,3}$'::pg_catalog.text AND ", buf_cstr(&table), buf_cstr(&table), buf_cstr(&table));
	if (c->dest.schema.n) {
		buf_str(sql, "n.nspname::pg_catalog.text" PQ_OWN("="));
		buf_literal(sql, c->dest.schema);
		buf_str(sql, "::pg_catalog.text");
	} else {
		buf_str(sql, "pg_catalog.pg_table_is_visible(c.oid)");
	}
	buf_free(&table);
}

/* Queries name and bytes, sorted by name: of the children of dest_table and of other tables with a
 * partition's name; without partitioning, of dest_table itself. */
static int list_partitions(struct pq *dst, const struct conf *c, struct err *e)
{
	bool parted = c->dest.period.method != PERIOD_NONE;
	struct buf sql = { 0 };

	buf_fmt(&sql, "BEGIN; SET LOCAL lock_timeout = %d;"
		"SELECT c.relname, ", LOCK_TIMEOUT_MS);
	table_add_size(&sql, dst);
	buf_str(&sql, " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid" PQ_OWN("=") "c.relnamespace"
		" WHERE ");
	buf_regclass(&sql, c->dest.schema, c->dest.table);
	buf_fmt(&sql, PQ_OWN("=") "%s", parted ?
		"ANY (SELECT inhparent FROM pg_catalog.pg_inherits WHERE inhrelid" PQ_OWN("=") "c.oid)" : "c.oid");
	if (parted)
		add_named(&sql, c);
	buf_str(&sql, " ORDER BY 1; COMMIT");
	int rc = pq_query(dst, buf_cstr(&sql), e);
	buf_free(&sql);
	return rc;
}

static void look_at_target(struct status *s, struct err *e)
{
	const struct conf *c = s->job->conf;
	enum position_kind kind;
	bool known = false;
	int64_t tick;

	s->job->dst[0] = pq_open("dst_db", c->dst_db, "UTF8", e);
	if (!s->job->dst[0] || position_kind(s->job->dst[0], &kind, e) < 0 || position_require(kind, e) < 0 ||
	    position_get(s->job->dst[0], c->consumer_name, &known, &tick, e) < 0)
		return;
	if (known)
		s->target_tick = tick;
	if (dead_count(s->job->dst[0], c, &s->dead, e) == ERR_RIGHTS) {
		s->dead = -1;           /* another job's? loading needs no such right */
		*e = (struct err){ 0 };
	}
	if (!e->code)
		s->partitions = list_partitions(s->job->dst[0], c, e) == 0;
}

static void look_at_source(struct status *s, struct err *e)
{
	const struct conf *c = s->job->conf;

	s->job->src = pq_open("src_db", c->src_db, "UTF8", e);
	if (s->job->src && queue_state(s->job->src, c->queue_name, c->consumer_name, &s->queue, e) == 0 &&
	    queue_require(&s->queue, c->queue_name, e) == 0)
		queue_backlog(s->job->src, c->queue_name, c->consumer_name, s->target_tick, &s->backlog, e);
}

/* ---- saying */

static void begin(struct status *s, const char *name)
{
	if (s->json)
		buf_fmt(&s->out, "%s\"%s\":", s->out.len ? "," : "{", name);
	else
		buf_fmt(&s->out, "%-24s ", name);
}

/* text NULL: unknown */
static void say_text(struct status *s, const char *name, const char *text)
{
	begin(s, name);
	if (!text)
		buf_str(&s->out, s->json ? "null" : "-");
	else if (s->json)
		buf_json(&s->out, text);
	else
		buf_line(&s->out, text);
	if (!s->json)
		buf_str(&s->out, "\n");
}

/* text: a number. */
static void say_figure(struct status *s, const char *name, const char *text)
{
	begin(s, name);
	buf_fmt(&s->out, "%s%s", text ? text : s->json ? "null" : "-", s->json ? "" : "\n");
}

static void say_count(struct status *s, const char *name, int64_t n)
{
	char text[24];

	snprintf(text, sizeof text, "%" PRId64, n);
	say_figure(s, name, n < 0 ? NULL : text);
}

static void say_seconds(struct status *s, const char *name, bool known, int64_t ms)
{
	char text[32];

	snprintf(text, sizeof text, "%.1f", (double)ms / 1000);
	say_figure(s, name, known ? text : NULL);
}

static void say_process(struct status *s)
{
	bool live = report_is_live(&s->state);
	char when[32];
	struct tm tm;
	time_t at = s->state.error_at_s;

	say_count(s, "pid", live ? s->state.pid : -1);
	say_text(s, "doing", live ? s->state.doing : NULL);
	say_seconds(s, "progress_age_seconds", live, clock_ms() - s->state.progress_ms);
	strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&at, &tm));
	say_text(s, "last_error", at ? s->state.error : NULL);
	say_text(s, "last_error_at", at ? when : NULL);
}

static void say_partition(struct status *s, int row)
{
	struct pq *dst = s->job->dst[0];
	const char *name = pq_value(dst, row, 0);
	int64_t bytes = pq_int(dst, row, 1, 0);

	if (!s->json) {
		buf_str(&s->out, "  ");
		buf_line(&s->out, name);
		buf_fmt(&s->out, " %" PRId64 " bytes\n", bytes);
		return;
	}
	buf_str(&s->out, row ? ",{\"name\":" : "{\"name\":");
	buf_json(&s->out, name);
	buf_fmt(&s->out, ",\"bytes\":%" PRId64 "}", bytes);
}

static void say_partitions(struct status *s)
{
	int n = s->partitions ? pq_rows(s->job->dst[0]) : -1;

	if (!s->json || n < 0) {
		say_count(s, "partitions", n);
	} else {
		begin(s, "partitions");
		buf_str(&s->out, "[");
	}
	for (int row = 0; row < n; row++)
		say_partition(s, row);
	buf_str(&s->out, !s->json ? "" : n < 0 ? "}\n" : "]}\n");
}

static void say_all(struct status *s)
{
	const struct conf *c = s->job->conf;

	say_text(s, "queue", c->queue_name);
	say_text(s, "consumer", c->consumer_name);
	say_count(s, "source_tick", s->queue.last_tick ? s->queue.last_tick : -1);
	say_seconds(s, "source_tick_age_seconds", s->queue.last_tick, s->queue.last_tick_age_ms);
	say_count(s, "consumer_tick", s->backlog.consumer_tick);
	say_count(s, "target_tick", s->target_tick);
	say_count(s, "pending_events", s->backlog.events);
	say_seconds(s, "lag_seconds", s->backlog.lag_ms >= 0, s->backlog.lag_ms);
	say_process(s);
	say_count(s, "dead_letters", s->dead);
	say_partitions(s);
}

int status_run(struct job *job, bool json)
{
	struct status s = { .job = job, .json = json, .target_tick = -1, .dead = -1, .backlog = { -1, -1, -1 } };
	struct err e = { 0 };

	look_at_target(&s, &e);
	if (e.code)
		problem(&s, &e);
	look_at_source(&s, &e);
	if (e.code)
		problem(&s, &e);
	if (job->conf->state_file)
		report_read(job->conf->state_file, &s.state);
	say_all(&s);
	fputs(buf_cstr(&s.out), stdout);
	buf_free(&s.out);
	return s.rc;
}
