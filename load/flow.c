/*
 * The streams that a pass's rows go into, one for each partition and shape, which the lanes send.
 * The two servers and tdispatch work at the same time.
 */
#include <stdlib.h>

#include "private.h"

/* When dead letters take much memory: tells them now. Not with keep_latest, where an event may get
 * another one later. While events are read only for their partitions, the letters are dropped: the
 * next pass will find them again. */
static int tell_letters(struct pass *p, struct err *e)
{
	if (!p->tell || p->want.parts & EVENT_OLD || !letters_are_large(&p->dead))
		return 0;
	if (!p->scan && send_free(p, e) < 0)
		return e->code;
	if (p->scan)
		letters_drop_texts(&p->dead);
	else if (p->tell(p, e) < 0)
		p->judged = true;
	return e->code;
}

/* Wants the partition, and appends its name for COPY. If the event's values do not suffice to
 * create it, it must exist. */
static int into_partition(struct pass *p, struct place *k, const struct part_want *want,
	int64_t event, struct buf *table, struct err *e)
{
	if (missing_refuses(k, want->start_s, e) < 0)
		return e->code;
	if (missing_want(k, want, event, e) == ERR_DATA) {
		struct err why = *e;
		*e = (struct err){ 0 };
		if (settle_all(p, e) == 0 && !known_has(&k->known, want->start_s))
			*e = why;
	}
	buf_qualified(table, want->dest->schema, want->name);
	return e->code;
}

/* Remembers the type of an event that names its primary key, for part_premake. */
static void remember_key(struct place *k, struct span ev_type)
{
	struct buf text = { 0 };
	struct span first;

	if (!k->dest->part_premake)
		return;
	if (type_pkey(ev_type, &text, &first, 1)) {
		free(k->ev_type);
		k->ev_type = mem_str(ev_type.p, ev_type.n);
	}
	buf_free(&text);
}

static int find_place(struct pass *p, struct place *k, struct part_want *want,
	const struct event *ev, const struct shape *shape, struct buf *table, struct err *e)
{
	if (row_check_names(p->job, ev, shape, e) < 0)
		return e->code;
	if (p->place)
		return p->place(p, k, want, shape, table, e);
	return into_partition(p, k, want, ev->id, table, e);
}

/* A number of the way's shape that no shape of another way has. */
static uint64_t shape_id(const struct way *w, const struct shape *shape)
{
	return (uint64_t)w->number << 32 | route_shape_id(w->route, shape);
}

struct stagings *flow_stagings(const struct pass *p)
{
	return p->stagings ? p->stagings : p->job->dests.stagings;
}

bool flow_reads_lane(const struct pass *p, size_t lane)
{
	return p->job->loads[lane] || p->keep;
}

struct stream *flow_add_stage(struct pass *p, struct place *k, int64_t start_s, uint64_t id,
	size_t lane, struct span name, const char *columns)
{
	struct stagings *all = flow_stagings(p);
	struct buf table = { 0 }, list = { 0 };

	stagings_name(all, stagings_at(all, k), &table);
	buf_str(&list, columns);
	stage_add_columns(&list);
	struct stream *stream = sink_add(p->sink, k->number, start_s, id, lane, name,
		buf_cstr(&table), buf_cstr(&list));
	buf_free(&table);
	buf_free(&list);
	return stream;
}

struct stream *flow_add_staged(struct pass *p, struct place *k, const struct part_want *want,
	uint64_t id, size_t kind, const char *columns)
{
	struct staging *g = stagings_at(flow_stagings(p), k);
	size_t lane = job_lane_of(p->job, want->name);
	struct stream *stream = flow_add_stage(p, k, want->start_s, id, lane, want->name, columns);

	sink_stage(stream, (int32_t)staging_part(g, want->start_s, lane, want->name), kind);
	if (!p->dry)
		sink_join(stream);
	return stream;
}

uint64_t flow_id(const struct way *w, const struct shape *shape, bool staged)
{
	return shape_id(w, shape) | (uint64_t)staged << 63;
}

static struct stream *add_stream(struct pass *p, const struct way *w, const struct part_want *want,
	const struct shape *shape, const char *table, bool staged)
{
	uint64_t id = flow_id(w, shape, staged);

	if (staged)
		return flow_add_staged(p, w->place, want, id,
			staging_kind(stagings_at(flow_stagings(p), w->place), shape->columns),
			shape->columns);
	return sink_add(p->sink, w->place->number, want->start_s, id,
		job_lane_of(p->job, want->name), want->name, table, shape->columns);
}

struct stream *flow_open(struct pass *p, const struct way *w, const struct event *ev,
	int64_t start_s, const struct shape *shape, bool staged, struct err *e)
{
	const struct dest *d = w->dest;
	struct buf name = { 0 }, table = { 0 };
	struct stream *stream = NULL;

	part_name(&name, d, start_s);
	remember_key(w->place, ev->type);
	struct part_want want = {
		.dest = d, .name = { name.p, name.len },
		.start_s = start_s, .end_s = period_end(&d->period, start_s),
		.ev_type = ev->type, .route = w->route,
	};
	want.old = age_may_be_loose(p->job, d, want.name);
	want.lane = job_lane_of(p->job, want.name);
	if (find_place(p, w->place, &want, ev, shape, &table, e) == 0)
		stream = add_stream(p, w, &want, shape, buf_cstr(&table), staged);
	buf_free(&name);
	buf_free(&table);
	return stream;
}

/* ---- sending */

int flow_pump(struct pass *p, bool done, struct err *e)
{
	struct sink *sink = p->sink;

	if (p->dry && (done || sink_full(sink)))
		sink_swallow(sink);
	if (p->dry || tell_letters(p, e) < 0)
		return e->code;
	for (size_t i = 0; i < p->job->lanes && !p->scan; i++)
		if (!settle_waits(p, i) &&
		    send_lane(p, i, done ? SINK_EMPTY : SINK_FULL, e) < 0)
			return e->code;
	return 0;
}

int flow_drain(struct pass *p, struct err *e)
{
	const struct sink *sink = p->sink;

	if (p->dry || settle_all(p, e) < 0)
		return e->code;
	while (!e->code && !p->scan && !sink_idle(sink)) {
		int64_t most_ms = watch_pass(p->job->watch, p->events, sink_bytes(sink));
		if (flow_pump(p, true, e) == 0 && !sink_idle(sink))
			send_wait(p, false, most_ms, e);
	}
	p->judged = e->code != 0;
	return e->code;
}

/* ---- rows that go nowhere */

bool flow_is_late(struct pass *p, const struct dest *d, const struct event *ev, int64_t start_s,
	struct err *e)
{
	struct buf name = { 0 };

	if (d->part_late == PART_LATE_CREATE || !age_is_old(p->job, d, start_s))
		return e->code != 0;
	part_name(&name, d, start_s);
	size_t lane = job_lane_of(p->job, (struct span){ name.p, name.len });
	bool ours = !p->scan && p->job->loads[lane];
	if (ours && d->part_late == PART_LATE_SKIP)
		p->late++;
	if (ours && d->part_late == PART_LATE_ERROR) {
		err_set(e, ERR_DATA, "its partition %s is older than part_keep = %s",
			buf_cstr(&name), d->part_keep);
		send_bury(p, ev->id, lane, buf_cstr(&name), e);
	}
	buf_free(&name);
	return true;
}

int flow_no_stream(struct pass *p, const struct dest *d, const struct event *ev, int64_t start_s,
	struct err *e)
{
	struct buf name = { 0 };

	if (e->code != ERR_DATA || *e->sqlstate || p->judged)
		return e->code;
	part_name(&name, d, start_s);
	size_t lane = job_lane_of(p->job, (struct span){ name.p, name.len });
	if (p->job->loads[lane])
		send_bury(p, ev->id, lane, "", e);
	else
		*e = (struct err){ 0 };
	buf_free(&name);
	return e->code;
}
