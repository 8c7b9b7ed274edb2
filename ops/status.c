/*
 * --status: one line with the verdict, then where queue, consumer and target are, and what the
 * running process does. Asks both servers and reads the state file; changes nothing.
 *
 * Its lines and the members of --json have the same names: "name value" or "name":value, and
 * what is not known is - or null.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ops.h"

#define WATCH_MS 1000

struct status {
	struct job *job;
	bool json;
	struct buf out;
	struct buf problems;            /* lines for standard error */
	bool failed;                    /* there are some */
	struct state state;      /* of the running process; pid 0: none */
	struct queue_state queue;
	struct queue_backlog backlog;
	/* -1: unknown, as in the backlog */
	int64_t consumer_tick, target_tick, dead, partitions;
	int64_t copied, begun;          /* of from_table: tables that are, or in a part; the same */
	char dead_error[1024];          /* why dead is unknown; "" */
	char partitions_error[256];     /* the same of partitions */
};

/* ---- looking */

/* Takes e down, if it is one. */
static void tell(struct status *s, struct err *e)
{
	if (!e->code)
		return;
	buf_str(&s->problems, "tdispatch: ");
	buf_line(&s->problems, e->msg);
	buf_str(&s->problems, "\n");
	*e = (struct err){ 0 };
	s->failed = true;
}

/* As tell, of an error of *q; closes it, since it may not be at rest. */
static void problem(struct status *s, struct pq **q, struct err *e)
{
	if (!e->code)
		return;
	tell(s, e);
	pq_close(*q);
	*q = NULL;
}

/* Appends " OR ..." for tables with a partition's name, in dest_table's schema or on
 * search_path. */
static void add_named(struct buf *sql, const struct dest *d)
{
	struct buf table = { 0 };

	buf_literal(&table, d->table);
	buf_fmt(sql, " OR c.relkind" PQ_OWN("=") "ANY ('{r,p,f}'::pg_catalog.\"char\"[])"
		" AND pg_catalog.\"left\"(c.relname::pg_catalog.text,"
		" pg_catalog.length(%s::pg_catalog.text))" PQ_OWN("=") "%s::pg_catalog.text"
		" AND pg_catalog.substr(c.relname::pg_catalog.text,"
		" pg_catalog.length(%s::pg_catalog.text)" PQ_OWN("+") "1)" PQ_OWN("~")
		"'%s'::pg_catalog.text AND ",
		buf_cstr(&table), buf_cstr(&table), buf_cstr(&table),
		period_is_dated(&d->period) ? "^_[0-9]{4}(_w?[0-9]{2}){0,3}$" :
		period_pattern(d->period.method));
	if (d->schema.n) {
		buf_str(sql, "n.nspname::pg_catalog.text" PQ_OWN("="));
		buf_literal(sql, d->schema);
		buf_str(sql, "::pg_catalog.text");
	} else {
		buf_str(sql, "pg_catalog.pg_table_is_visible(c.oid)");
	}
	buf_free(&table);
}

/* Counts the children of dest_table and other tables with a partition's name; without
 * partitioning it is dest_table itself. */
static int count_of(struct pq *dst, const struct dest *d, int64_t *n, struct err *e)
{
	bool parted = d->period.method != PERIOD_NONE;
	struct buf sql = { 0 };

	buf_str(&sql, "SELECT pg_catalog.count(*) FROM pg_catalog.pg_class c"
		" JOIN pg_catalog.pg_namespace n ON n.oid" PQ_OWN("=") "c.relnamespace WHERE ");
	buf_regclass(&sql, d->schema, d->table);
	buf_fmt(&sql, PQ_OWN("=") "%s", !parted ? "c.oid" : "ANY (SELECT inhparent"
		" FROM pg_catalog.pg_inherits WHERE inhrelid" PQ_OWN("=") "c.oid)");
	if (parted && d->period.method != PERIOD_LIST)
		add_named(&sql, d);
	if (pq_query(dst, buf_cstr(&sql), e) == 0)
		*n = pq_int(dst, 0, 0, -1);
	buf_free(&sql);
	return e->code;
}

/* The section whose destinations follow the events' names, and of which none is known; or NULL. */
static const struct rule *unknown_rule(const struct job *j)
{
	for (size_t i = 0; i < j->conf->nrule; i++) {
		const struct rule *rule = &j->conf->rule[i];
		size_t n = 0;
		while (n < j->dests.nway && j->dests.way[n]->rule != rule)
			n++;
		if (rule->by_name && n == j->dests.nway)
			return rule;
	}
	return NULL;
}

/* Those of all destinations that the config names, or patterns lead to by the triggers that feed
 * the queue. */
static void count_partitions(struct status *s, struct err *e)
{
	struct job *j = s->job;
	int64_t sum = 0, n = 0;

	if (!j->dst[0] || checksource_meet(j, NULL, e) < 0)
		return;
	const struct rule *unknown = unknown_rule(j);
	for (size_t i = 0; i < j->dests.nplace && !unknown && !e->code; i++)
		if (count_of(j->dst[0], j->dests.place[i]->dest, &n, e) == 0)
			sum += n;
	if (unknown)
		snprintf(s->partitions_error, sizeof s->partitions_error, "the tables of section"
			" [%.130s] are not known: %s", unknown->section, !j->src ?
			"src_db could not be asked" : "no trigger in src_db tells them");
	else if (!e->code)
		s->partitions = sum;
}

/* Loading needs no right to read dead letters, and they may be another job's: then it is said why
 * they are not counted. */
static void count_dead(struct status *s, struct pq *dst, const struct conf *c, struct err *e)
{
	if (dead_count(dst, c, &s->dead, e) != ERR_RIGHTS)
		return;
	s->dead = -1;
	snprintf(s->dead_error, sizeof s->dead_error, "%s", e->msg);
	*e = (struct err){ 0 };
}

static void count_copied(struct status *s, struct pq *dst, const struct conf *c, struct err *e)
{
	struct marks marks = { 0 };

	if (!c->from_table || mark_require(dst, e) < 0 ||
	    mark_look(dst, c->consumer_name, NULL, &marks, e) < 0)
		return;
	s->copied = s->begun = 0;
	for (size_t i = 0; i < marks.n; i++) {
		const struct mark *m = &marks.at[i];
		if (m->oid && m->lane == 0)
			*(strcmp(m->upto, SLICE_END) == 0 ? &s->copied : &s->begun) += 1;
	}
	mark_clear(&marks);
}

static void look_at_position(struct status *s, struct pq *dst, const struct conf *c, struct err *e)
{
	enum position_kind kind;
	bool known = false;
	int64_t tick;

	if (position_kind(dst, &kind, e) == 0 && position_require(kind, e) == 0 &&
	    position_get(dst, c->consumer_name, &known, &tick, e) == 0 && known)
		s->target_tick = tick;
}

static void look_at_target(struct status *s, struct err *e)
{
	const struct conf *c = s->job->conf;
	struct pq **dst = &s->job->dst[0];

	if (!*dst)
		*dst = pq_open("dst_db", c->dst_db, "UTF8", e);
	if (*dst)
		count_copied(s, *dst, c, e);
	if (!e->code && !checkfrom_alone(c))
		look_at_position(s, *dst, c, e);
	if (!e->code)
		count_dead(s, *dst, c, e);
}

static int look_at_queue(struct status *s, struct err *e)
{
	const struct conf *c = s->job->conf;

	if (queue_state(s->job->src, c->queue_name, c->consumer_name, &s->queue, e) < 0)
		return e->code;
	return queue_require(&s->queue, c->queue_name, e);
}

/* Sets the consumer's tick. */
static void look_at_source(struct status *s, struct err *e)
{
	const struct conf *c = s->job->conf;
	struct pq **src = &s->job->src;
	bool alone = checkfrom_alone(c);

	if (!*src)
		*src = alone ? pq_open("src_db", c->src_db, "UTF8", e) : queue_open(c, "UTF8", e);
	if (*src && !alone && look_at_queue(s, e) == 0 && s->queue.consumer)
		s->consumer_tick = s->queue.consumer_tick;
}

/* Sets the newest tick, and what comes after the target's. */
static void look_at_backlog(struct status *s, struct err *e)
{
	const struct conf *c = s->job->conf;
	struct pq *src = s->job->src;

	if (src && !checkfrom_alone(c) && look_at_queue(s, e) == 0)
		queue_backlog(src, c->queue_name, c->consumer_name, s->target_tick, &s->backlog, e);
}

/* A process that loads moves the ticks meanwhile: the consumer's follows the target's, and that
 * follows the newest. Read in this order, none is told as ahead of the one that it follows. */
static void look(struct status *s)
{
	struct job *j = s->job;
	struct err e = { 0 };

	look_at_source(s, &e);
	problem(s, &j->src, &e);
	look_at_target(s, &e);
	problem(s, &j->dst[0], &e);
	look_at_backlog(s, &e);
	problem(s, &j->src, &e);
	count_partitions(s, &e);
	tell(s, &e);
	if (s->failed)
		job_disconnect(j);
	if (s->job->conf->state_file)
		state_read(s->job->conf->state_file, &s->state);
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

/* seconds since 1970; 0: unknown */
static void say_time(struct status *s, const char *name, int64_t at_s)
{
	char when[32];
	struct tm tm;
	time_t at = at_s;

	strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&at, &tm));
	say_text(s, name, at ? when : NULL);
}

/* What the servers say now replaces what the process last saw. */
static struct health health(const struct status *s)
{
	struct health h = state_health(&s->state);

	if (!s->job->conf->state_file)
		h.pid = -1;
	if (s->backlog.newest_ms >= 0)
		h.queue = s->backlog;
	return h;
}

static void say_verdict(struct status *s)
{
	const char *pidfile = s->job->conf->pidfile;
	int old = pidfile ? pidfile_old_program(pidfile) : 0;
	struct health h = health(s);
	struct buf line = { 0 };

	health_line(&h, HEALTH_STALL_S * 1000, 0, &line);
	if (old)
		buf_fmt(&line, "; process %d of the pidfile is a table_dispatcher", old);
	say_text(s, "verdict", buf_cstr(&line));
	buf_free(&line);
}

static void say_process(struct status *s)
{
	const struct state *state = &s->state;
	bool live = state_is_live(state), failing = live && state->failing_ms;

	say_count(s, "pid", live ? state->pid : -1);
	say_text(s, "version", live && *state->version ? state->version : NULL);
	say_text(s, "doing", live ? state->doing : NULL);
	say_seconds(s, "progress_age_seconds", live, clock_ms() - state->progress_ms);
	say_seconds(s, "failing_seconds", failing, clock_ms() - state->failing_ms);
	say_text(s, "last_error", state->error_at_s ? state->error : NULL);
	say_time(s, "last_error_at", state->error_at_s);
	say_time(s, "last_error_over_at", state->error_over_s);
	say_seconds(s, "last_error_seconds", state->error_over_s, state->error_lasted_ms);
}

static void say_all(struct status *s)
{
	const struct conf *c = s->job->conf;
	const struct queue_backlog *b = &s->backlog;

	say_verdict(s);
	say_text(s, "queue", *c->queue_name ? c->queue_name : NULL);
	say_text(s, "consumer", c->consumer_name);
	say_count(s, "source_tick", s->queue.last_tick ? s->queue.last_tick : -1);
	say_seconds(s, "source_tick_age_seconds", s->queue.last_tick, s->queue.last_tick_age_ms);
	say_count(s, "consumer_tick", s->consumer_tick);
	say_count(s, "target_tick", s->target_tick);
	say_count(s, "pending_events", b->events);
	say_count(s, "unticked_events", b->unticked);
	say_seconds(s, "lag_seconds", b->lag_ms >= 0 && s->target_tick >= 0, b->lag_ms);
	if (c->from_table) {
		say_text(s, "from_table", c->from_table);
		say_count(s, "tables_copied", s->copied);
		say_count(s, "tables_in_part", s->begun);
	}
	say_process(s);
	say_count(s, "dead_letters", s->dead);
	if (s->json || (*s->dead_error && c->on_error == ON_ERROR_DEAD_LETTER))
		say_text(s, "dead_letters_error", *s->dead_error ? s->dead_error : NULL);
	say_count(s, "partitions", s->partitions);
	if (s->json || *s->partitions_error)
		say_text(s, "partitions_error", *s->partitions_error ? s->partitions_error : NULL);
	buf_str(&s->out, s->json ? "}\n" : "");
}

/* Home and clear: the lines are drawn over the last ones. */
static void print(struct status *s, bool redraw)
{
	if (redraw && isatty(STDOUT_FILENO))
		fputs("\033[H\033[2J", stdout);
	fputs(buf_cstr(&s->out), stdout);
	fflush(stdout);
	fputs(buf_cstr(&s->problems), stderr);
}

/* 0; 1: something could not be determined. */
static int show(struct job *job, bool json, bool redraw)
{
	struct status s = {
		.job = job, .json = json, .consumer_tick = -1, .target_tick = -1, .dead = -1,
		.partitions = -1, .copied = -1, .begun = -1,
		.state = { .queue = QUEUE_UNKNOWN, .gain = -1 }, .backlog = QUEUE_UNKNOWN,
	};

	look(&s);
	say_all(&s);
	print(&s, redraw);
	int rc = s.problems.len > 0;
	buf_free(&s.out);
	buf_free(&s.problems);
	return rc;
}

int status_run(struct job *job, bool json, bool again)
{
	int rc = 0;

	if (!again)
		return show(job, json, false);
	process_signals(0);
	do
		rc = show(job, json, !json);
	while (!ferror(stdout) && process_sleep(WATCH_MS));
	return rc;
}
