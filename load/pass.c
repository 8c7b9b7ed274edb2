/*
 * One reading of a batch's events: each to its partition, which is created where it is missing,
 * as a line of COPY or, in large batches, as binary values; both servers and we work at the same
 * time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

#define DDL_LOCK_TIMEOUT_MS 1000        /* while a partition's creation waits, readers queue behind it */
#define DDL_TRIES 30                    /* attempts to get that lock before the batch is given up */
#define BURST 256                       /* events taken between two looks at the target */
#define DDL_PAUSE_MS 500                /* between two attempts to create a partition */
#define OWN_LOCK_TIMEOUT_MS 100         /* when the lock in the way is probably our own */
#define TOGETHER_MAX 16                 /* partitions created in one transaction, within a burst; */
#define TOGETHER_MS 100                 /* none is added to one that is as old as this */
#define DATE_RAW_MAX 192                /* encoded bytes of a date that is worth decoding */
#define BINARY (UINT32_C(1) << 31)      /* with a shape's id: the stream of its binary rows */

/* ---- partitions */

static void say_created(struct pass *p, struct span name)
{
	p->parts++;
	log_info("created partition %.*s", (int)name.n, name.p);
}

static void say_committed(struct pass *p)
{
	const struct buf *names = &p->open_names;

	for (const char *s = names->p; s < names->p + names->len; s += strlen(s) + 1)
		say_created(p, span_of(s));
	buf_free(&p->open_names);
}

/* The batch is rolled back and begins anew once the rest of its events is read for the partitions
 * alone, each in a transaction of its own. */
static void begin_scan(struct pass *p)
{
	p->scan = true;
	sink_forget(p->job->sink);
	job_close_lanes(p->job);
}

/* Open partitions were rolled back, but the sink knows them already. */
static int lost_open(struct pass *p, struct err *e)
{
	buf_free(&p->open_names);
	if (e->code == ERR_CONN || e->code == ERR_STOP || e->code == ERR_READONLY || (e->code == ERR_RESOURCE && !*e->sqlstate)) {
		sink_forget(p->job->sink);
		return e->code;
	}
	log_debug("new partitions are rolled back and created one by one: %s", e->msg);
	*e = (struct err){ 0 };
	p->job->parts_alone = true;
	begin_scan(p);
	return 0;
}

static int commit_partitions(struct pass *p, struct err *e)
{
	struct err failed = { 0 };

	if (!p->open)
		return e->code;
	if (part_commit(p->job->ddl, &p->open, &failed) == 0)
		say_committed(p);
	else if (lost_open(p, &failed) < 0 && !e->code)
		*e = failed;
	return e->code;
}

/* Once. -1: its transaction was lost with those before, and the pass goes on in another way. */
static int try_partition(struct pass *p, struct part_want *want, struct err *e)
{
	struct job *j = p->job;
	size_t before = p->open;
	bool alone = p->scan || p->careful || j->parts_alone, created = false;

	if (!before)
		p->open_ms = clock_ms();
	if (part_open(&j->ddl, j->conf, &j->style, e) == 0)
		part_ensure(j->ddl, want, alone ? NULL : &p->open, &created, e);
	if (before && !p->open) {
		if (e->code)
			return lost_open(p, e) < 0 ? 0 : -1;
		say_committed(p);
	}
	if (created && p->open) {
		buf_add(&p->open_names, want->name.p, want->name.n);
		buf_add(&p->open_names, "", 1);
	} else if (created) {
		say_created(p, want->name);
	}
	return 0;
}

/* Rows already copied may hold the very lock that a partition's creation waits for: then the batch
 * begins anew too. */
static int ensure_partition(struct pass *p, struct part_want *want, struct err *e)
{
	if ((p->open == TOGETHER_MAX || clock_ms() - p->open_ms > TOGETHER_MS) && commit_partitions(p, e) < 0)
		return e->code;
	for (int tries = 1;; tries++) {
		bool own = !p->scan && sink_sent_any(p->job->sink);
		want->lock_timeout_ms = own ? OWN_LOCK_TIMEOUT_MS : DDL_LOCK_TIMEOUT_MS;
		if (try_partition(p, want, e) < 0)
			continue;
		if (e->code != ERR_TIMEOUT || tries == DDL_TRIES)
			return e->code;
		if (own) {
			log_debug("creating a partition waits for this batch's own rows: all partitions are created first");
			begin_scan(p);
		} else {
			log_warn("%s; trying again", e->msg);
			process_sleep(DDL_PAUSE_MS);
			if (process_stop_now())
				return e->code;
		}
		*e = (struct err){ 0 };
	}
}

static int into_partition(struct pass *p, struct part_want *want, const struct shape *shape, struct buf *table, struct err *e)
{
	(void)shape;
	if (want->conf->part_template && ensure_partition(p, want, e) < 0)
		return e->code;
	buf_qualified(table, want->conf->schema, want->name);
	return 0;
}

static struct stream *open_stream(struct pass *p, int64_t start_s, const struct shape *shape, struct span ev_type,
	struct err *e)
{
	const struct conf *c = p->job->conf;
	struct buf name = { 0 }, sql = { 0 };
	struct stream *stream = NULL;

	part_name(&name, c, start_s);
	retain_key(p->job, ev_type);
	struct part_want want = {
		.conf = c, .name = { name.p, name.len }, .start_s = start_s, .end_s = period_end(&c->period, start_s),
		.ev_type = ev_type, .route = p->job->route,
	};
	buf_str(&sql, "COPY ");
	if (retain_may_be_loose(p->job, want.name, &want.old, e) == 0 &&
	    (p->place ? p->place : into_partition)(p, &want, shape, &sql, e) == 0) {
		buf_fmt(&sql, " (%s) FROM STDIN", shape->columns);
		stream = sink_add(p->job->sink, start_s, route_shape_id(p->job->route, shape), job_lane_of(p->job, want.name),
			want.name, buf_cstr(&sql));
	}
	buf_free(&name);
	buf_free(&sql);
	return stream;
}

/* A careful pass keeps to text: it is the judge of what failed. */
static bool may_go_binary(const struct pass *p)
{
	return !p->scan && !p->careful && !p->place && !p->open;
}

/* Without an answer all goes on as text. No connection is opened for the question: it might wait for
 * ours, where their number is limited. */
static bool find_kinds(struct job *j, struct span table, const struct shape *shape, enum binary_kind *kinds)
{
	struct err e = { 0 };
	bool known = false;

	if (j->ddl && part_kinds(j->ddl, j->conf, table, shape, kinds, &known, &e) < 0) {
		log_debug("partition %.*s: rows go as text: %s", (int)table.n, table.p, e.msg);
		pq_close(j->ddl);
		j->ddl = NULL;
	}
	return known;
}

/* Once a COPY to the partition is over, its table is locked as it is. Where the types of all its
 * columns are known, further rows go as binary values, which the target takes with less work. */
static void go_binary(struct job *j, int64_t start_s, const struct shape *shape, const struct stream *text)
{
	struct span table = span_of(sink_table(text));
	enum binary_kind *kinds = mem_alloc(shape->n * sizeof *kinds);
	struct buf sql = { 0 };

	if (!find_kinds(j, table, shape, kinds)) {
		free(kinds);
		return;
	}
	log_debug("partition %s: further rows of this batch go as binary values", sink_table(text));
	buf_str(&sql, "COPY ");
	buf_qualified(&sql, j->conf->schema, table);
	buf_fmt(&sql, " (%s) FROM STDIN (FORMAT binary)", shape->columns);
	sink_set_binary(j->sink, sink_add(j->sink, start_s, route_shape_id(j->route, shape) | BINARY, sink_lane(text), table,
		buf_cstr(&sql)), kinds);
	buf_free(&sql);
}

/* ---- events */

static int no_period(struct pass *p, struct span raw, const char *why, struct err *e)
{
	struct buf shown = { 0 };

	buf_printable(&shown, raw, 60);
	err_set(e, ERR_DATA, "column %s: \"%s\" picks no partition: %s", p->job->conf->part_field, buf_cstr(&shown), why);
	style_explain(&p->job->style, e);
	buf_free(&shown);
	return e->code;
}

static int period_of_event(struct pass *p, const struct event *ev, struct span raw, int64_t *start_s, struct err *e)
{
	const struct period_rule *rule = &p->job->conf->period;
	char text[DATE_RAW_MAX];
	const char *why = "it is too long for a date";
	size_t bad;

	*start_s = 0;
	if (rule->method == PERIOD_NONE)
		return 0;
	if (p->time != QUEUE_TIME_NONE)
		return period_of_usecs(rule, ev->time, start_s, &why) < 0 ? no_period(p, span_of("the event's time"), why, e) : 0;
	if (!raw.p)
		return err_set(e, ERR_DATA, "column %s is NULL: it picks no partition", p->job->conf->part_field);
	if (period_recall(&p->memo, raw, start_s))
		return 0;
	if (raw.n > sizeof text)
		return no_period(p, raw, why, e);
	ssize_t n = urlenc_decode(text, raw, &bad);
	if (n < 0)
		return err_set(e, ERR_DATA, "column %s: bad escape at byte %zu of ev_data", p->job->conf->part_field,
			(size_t)(raw.p - ev->data.p) + bad);
	if (period_of_text(rule, (struct span){ text, (size_t)n }, start_s, &why) < 0)
		return no_period(p, (struct span){ text, (size_t)n }, why, e);
	period_remember(&p->memo, raw, *start_s);
	return 0;
}

/* Appends the row as a line of COPY text to its stream. */
static int put_row(struct pass *p, const struct event *ev, struct stream *stream, const struct shape *shape,
	const struct span *values, struct err *e)
{
	size_t room = 0;        /* a column may be asked for twice, so the event's length is no bound */

	for (size_t i = 0; i < shape->n; i++)
		room += 2 * values[i].n + 3;
	char *start = sink_room(p->job->sink, stream, room), *out = start;
	for (size_t i = 0; i < shape->n; i++) {
		size_t bad;
		ssize_t n = 2;
		if (values[i].p)
			n = urlenc_copy(out, values[i], &bad);
		else
			memcpy(out, "\\N", 2);
		if (n < 0)
			return err_set(e, ERR_DATA, "column %.*s: bad escape at byte %zu of ev_data", (int)shape->target[i].n,
				shape->target[i].p, (size_t)(values[i].p - ev->data.p) + bad);
		out += n;
		*out++ = i + 1 < shape->n ? '\t' : '\n';
	}
	sink_put(p->job->sink, stream, (size_t)(out - start), ev->id);
	p->rows++;
	return 0;
}

/* Appends the row to its binary stream; false, and nothing is appended, when it must go as text. */
static bool put_binary(struct pass *p, const struct event *ev, struct stream *stream, size_t n, const struct span *values)
{
	const enum binary_kind *kinds = sink_kinds(stream);
	size_t room = sizeof(uint16_t);

	for (size_t i = 0; i < n; i++)
		room += binary_room(values[i]);
	char *start = sink_room(p->job->sink, stream, room), *out = start + binary_begin_row(start, n);
	for (size_t i = 0; i < n; i++) {
		ssize_t len = binary_put(out, kinds[i], values[i]);
		if (len < 0)
			return false;
		out += len;
	}
	sink_put(p->job->sink, stream, (size_t)(out - start), ev->id);
	p->rows++;
	return true;
}

/* An error that is the event's own goes to the list, if there is one with room. 0, or the error. */
static int bury(struct pass *p, int64_t event, size_t lane, const char *partition, struct err *e)
{
	char why[sizeof e->msg];

	p->event = event;
	if (e->code != ERR_DATA || !p->keep)
		return e->code;
	if ((int64_t)p->dead.n >= p->max_dead) {
		snprintf(why, sizeof why, "%s", e->msg);
		snprintf(e->msg, sizeof e->msg, "%.900s; the batch has more such events than max_errors = %lld", why,
			(long long)p->max_dead);
		return e->code;
	}
	dead_add(&p->dead, event, lane, partition, e);
	p->event = -1;
	*e = (struct err){ 0 };
	return 0;
}

/* A row that is too old for part_keep. true: part_late deals with it, or an error is set. */
static bool is_late(struct pass *p, const struct event *ev, int64_t start_s, struct err *e)
{
	const struct conf *c = p->job->conf;
	struct buf name = { 0 };
	bool late = false;

	if (c->late == PART_LATE_CREATE || commit_partitions(p, e) < 0 || retain_is_late(p->job, start_s, &late, e) < 0 || !late)
		return e->code != 0;
	part_name(&name, c, start_s);
	size_t lane = job_lane_of(p->job, (struct span){ name.p, name.len });
	bool ours = !p->scan && p->job->loads[lane];
	if (ours && c->late == PART_LATE_SKIP)
		p->late++;
	if (ours && c->late == PART_LATE_ERROR) {
		err_set(e, ERR_DATA, "its partition %s is older than part_keep = %s", buf_cstr(&name), c->part_keep);
		bury(p, ev->id, lane, buf_cstr(&name), e);
	}
	buf_free(&name);
	return true;
}

/* *stream: where the row goes, as far as that is known when it fails. */
static int take_event(struct pass *p, const struct event *ev, struct stream **stream, struct err *e)
{
	const struct shape *shape;
	const struct span *values;
	struct span part;
	int64_t start_s;

	if (ev->type.n && ev->type.p[0] == '{')
		return err_set(e, ERR_DATA, "its type begins with '{': it comes from pgq.jsontriga, which is not supported;"
			" use pgq.logutriga in the trigger");
	if (ev->data.n == 0)
		return err_set(e, ERR_DATA, "ev_data is %s: there is no row", ev->data.p ? "empty" : "NULL");
	if (route_row(p->job->route, ev->data, &shape, &values, &part, e) < 0 ||
	    period_of_event(p, ev, part, &start_s, e) < 0)
		return e->code;
	uint32_t id = route_shape_id(p->job->route, shape);
	struct stream *binary = p->scan ? NULL : sink_find(p->job->sink, start_s, id | BINARY);
	if (binary && put_binary(p, ev, binary, shape->n, values))
		return 0;
	*stream = sink_find(p->job->sink, start_s, id);
	if (!*stream && is_late(p, ev, start_s, e))
		return e->code;
	if (!*stream)
		*stream = open_stream(p, start_s, shape, ev->type, e);
	if (e->code || p->scan || !p->job->loads[sink_lane(*stream)])
		return e->code;
	/* the row in it keeps the stream from being forgotten */
	if (put_row(p, ev, *stream, shape, values, e) == 0 && !binary && may_go_binary(p) && sink_take_settled(p->job->sink, *stream))
		go_binary(p->job, start_s, shape, *stream);
	return e->code;
}

/* A lane's transaction keeps the dead letters of its own partitions, since a lane that has the
 * batch already does not look at their rows again; lane 0, which commits last, keeps all others. */
static int take_or_bury(struct pass *p, const struct event *ev, struct err *e)
{
	struct stream *stream = NULL;

	p->events++;
	if (ev->type.n == 1 && ev->type.p[0] == 'R') {
		p->truncates++;
		return 0;
	}
	if (take_event(p, ev, &stream, e) == 0)
		return 0;
	p->fault = (struct sink_fault){ .event = -1 };
	/* a partition cannot be created, which is not this event's own fault; or it was judged already */
	if (*e->sqlstate || p->event == ev->id) {
		p->event = ev->id;
		return e->code;
	}
	return bury(p, ev->id, stream ? sink_lane(stream) : 0, stream ? sink_table(stream) : "", e);
}

/* Takes events as long as they are here and there is room, but not for long. */
static int take_burst(struct pass *p, struct err *e)
{
	struct event ev;
	int step = PQ_READY;

	for (int i = 0; i < BURST && !sink_full(p->job->sink); i++) {
		step = queue_event(p->job->src, p->time, &ev, e);
		if (step != PQ_READY)
			return step;
		if (take_or_bury(p, &ev, e) < 0)
			return e->code;
	}
	return step;
}

static int pump_lane(struct pass *p, size_t lane, bool drain, struct err *e)
{
	struct job *j = p->job;

	while (!pq_blocked(j->dst[lane]) && sink_pump(j->sink, lane, j->dst[lane], drain, &p->fault, e) < 0) {
		style_explain(&j->style, e);
		p->event = p->fault.event;
		if (p->event < 0 || bury(p, p->event, lane, p->fault.table, e) < 0)
			return e->code;
		p->rows--;
		if (sink_leave_out(j->sink, lane, j->dst[lane], e) < 0)
			return e->code;
	}
	return 0;
}

static int pump(struct pass *p, bool drain, struct err *e)
{
	if (p->dry && (drain || sink_full(p->job->sink)))
		sink_swallow(p->job->sink);
	if (p->dry)
		return 0;
	for (size_t i = 0; i < p->job->lanes && !p->scan; i++)
		if (pump_lane(p, i, drain, e) < 0)
			return e->code;
	return 0;
}

/* Waits for the source when it may give more, and for the lanes. */
static int wait_for_servers(struct pass *p, bool source, int64_t timeout_ms, struct err *e)
{
	struct job *j = p->job;
	struct pq *set[LANES_MAX + 1] = { source ? j->src : NULL };

	for (size_t i = 0; i < j->lanes; i++)
		set[i + 1] = j->dst[i];
	return pq_wait(set, j->lanes + 1, timeout_ms, e);
}

static enum queue_time time_wanted(const struct conf *c)
{
	if (c->period.method == PERIOD_NONE || strcmp(c->part_field, "_EVTIME") != 0)
		return QUEUE_TIME_NONE;
	return c->period.zoned ? QUEUE_TIME_UTC : QUEUE_TIME_SESSION;
}

/* Of two limits in ms, of which a negative one is none. */
static int64_t sooner(int64_t a, int64_t b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

/* Nobody waits while one of the others could go on. */
int pass_run(struct pass *p, struct err *e)
{
	struct job *j = p->job;
	int step = PQ_READY;

	p->scan = false;
	p->events = p->rows = p->truncates = p->late = 0;
	p->event = -1;
	p->fault = (struct sink_fault){ .event = -1 };
	p->time = time_wanted(j->conf);
	dead_clear(&p->dead);
	sink_begin(j->sink, p->careful);
	if (queue_read(j->src, p->batch, p->time, e) < 0)
		return e->code;
	for (;;) {
		if (step != PQ_END)
			step = take_burst(p, e);
		if (commit_partitions(p, e) < 0)
			return e->code;
		if (pump(p, step == PQ_END, e) < 0)
			return e->code;
		bool done = step == PQ_END, full = sink_full(j->sink);
		if (done && (p->scan || sink_idle(j->sink)))
			return 0;
		int64_t most_ms = sooner(progress_show(j->progress, p->events, p->parts),
			report_progress(j->report, p->events, sink_sent_bytes(j->sink)));
		if (wait_for_servers(p, !done && !full, step == PQ_READY && !full ? 0 : most_ms, e) < 0)
			return e->code;
	}
}
