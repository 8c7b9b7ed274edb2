/*
 * row_mode = keep_latest: what an event does is staged until the end of the batch: a row that comes
 * is one action, a key that goes another. An update that moves a row to another partition is both.
 */
#include <string.h>

#include "private.h"

struct goner {                          /* a row that is to go */
	struct event event;             /* its data is that row */
	int64_t start_s;
	struct span key[ACTION_KEY_MAX];
	size_t n;
	bool nowhere;                   /* its value picks no partition, */
	struct err why;                 /* since */
};

static int drop_stages(struct pass *p, struct err *e)
{
	struct staging *g;

	for (size_t i = 0; (g = stagings_next(flow_stagings(p), &i)) && !e->code;) {
		for (size_t k = 0; k < p->job->lanes && !e->code; k++)
			if (g->stage[k].columns)
				stage_drop(p->job->dst[k], &g->stage[k], e);
		sink_unstage(p->sink, g->place->number);
	}
	return e->code;
}

/* The source table has got another primary key. What came before it by ev_id is merged by the old
 * one; for that events must come in that order, or the batch is read again. */
static int change_key(struct pass *p, struct staging *g, const struct span *names, size_t n,
	struct err *e)
{
	if (!p->ordered || !p->merge) {
		p->rekeyed = p->judged = true;
		return err_set(e, ERR_DATA, "%s gets events with another key than %s",
			g->place->dest->dest_table, g->key->columns);
	}
	if (flow_drain(p, e) < 0 || p->scan)
		return e->code;
	if (p->merge(p, e) < 0) {
		p->judged = true;
		return e->code;
	}
	if (drop_stages(p, e) < 0)
		return e->code;
	g->used = false;
	staging_key(g, names, n);
	return e->code;
}

/* The one key of the batch's rows for the place. */
static int check_key(struct pass *p, struct way *w, const struct shape *shape, const size_t *at,
	size_t n, struct err *e)
{
	struct staging *g = stagings_at(flow_stagings(p), w->place);
	struct span names[ACTION_KEY_MAX];

	for (size_t i = 0; i < n; i++)
		names[i] = shape->target[at[i]];
	if (!staging_key(g, names, n) && change_key(p, g, names, n, e) < 0)
		return e->code;
	g->used = true;
	return 0;
}

/* The key's columns and values in a row of the way, found by the route. */
static int find_key(struct pass *p, struct way *w, const struct route *route,
	const struct event *ev, const struct shape *shape, const struct span *values,
	struct span *key, size_t *n, struct err *e)
{
	const size_t *at;

	if (p->scan)
		return *n = 0;
	if (action_key(w, route, ev, shape, &at, n, e) < 0 ||
	    check_key(p, w, shape, at, *n, e) < 0)
		return e->code;
	return action_values(shape, at, *n, values, key, e);
}

/* data: the row that is to go; its other columns do not matter. It is no error if it picks no
 * partition: nowhere and why tell. */
static int read_goner(struct pass *p, struct way *w, const struct event *ev, struct span data,
	enum format format, struct goner *g, struct err *e)
{
	const struct shape *shape;
	const struct span *values;
	struct span part;

	g->event = *ev;
	g->event.data = data;
	g->nowhere = false;
	if (row_check(&g->event, format, e) < 0 ||
	    route_row(w->old, format, data, &shape, &values, &part, e) < 0)
		return e->code;
	if (row_period(&w->old_dates, &g->event, format, part, &g->start_s, e) < 0) {
		g->nowhere = e->code == ERR_DATA;
		if (!g->nowhere)
			return e->code;
		g->why = *e;
		*e = (struct err){ 0 };
	}
	return find_key(p, w, w->old, &g->event, shape, values, g->key, &g->n, e);
}

/* ---- actions that need not be staged */

static bool is_replaced(struct pass *p, const struct newest_key *k, const struct event *ev)
{
	bool replaced = p->want.newest_first && newest_is_after(p->job->dests.newest, k, ev->id);

	p->left_out += replaced;
	return replaced;
}

static struct newest_key goner_key(const struct way *w, const struct goner *g, enum format format)
{
	return (struct newest_key){ w->place->number, g->start_s, format, g->key, g->n };
}

/* Only when all of the event is staged: one that is refused replaces nothing. */
static void remember(struct pass *p, const struct newest_key *k, const struct event *ev)
{
	if (p->want.newest_first)
		newest_add(p->job->dests.newest, k, ev->id);
}

static void remember_goner(struct pass *p, const struct way *w, const struct goner *g,
	enum format format)
{
	const struct newest_key key = goner_key(w, g, format);

	if (!g->nowhere)
		remember(p, &key, &g->event);
}

/* ---- keys that go */

/* Adds the stream of the keys that are to go from the period. Their partition is not created for
 * them. */
static struct stream *open_goners(struct pass *p, const struct way *w, int64_t start_s, uint64_t id,
	const struct shape *key)
{
	struct buf name = { 0 };

	part_name(&name, w->dest, start_s);
	const struct part_want want = {
		.name = { name.p, name.len }, .start_s = start_s,
	};
	struct stream *stream = flow_add_staged(p, w->place, &want, id, 0, key->columns);
	buf_free(&name);
	return stream;
}

/* *stream: where it was put, also if it was not. */
static int put_goner(struct pass *p, struct way *w, const struct goner *g, enum format format,
	struct stream **stream, struct err *e)
{
	const struct staging *staging = stagings_at(flow_stagings(p), w->place);
	const struct newest_key key = goner_key(w, g, format);
	uint64_t id = (uint64_t)w->number << 32 | UINT32_C(1) << 31 | staging->key_id;

	*stream = sink_find(p->sink, g->start_s, id);
	if (!*stream)
		*stream = open_goners(p, w, g->start_s, id, staging->key);
	if (p->scan || !flow_reads_lane(p, (*stream)->lane) || is_replaced(p, &key, &g->event))
		return 0;
	return stream_put(p->sink, *stream, staging->key, format, g->key, &g->event, e);
}

static bool is_same_row(const struct goner *g, int64_t start_s, const struct span *key)
{
	bool same = g->start_s == start_s;

	for (size_t i = 0; i < g->n && same; i++)
		same = span_eq(g->key[i], key[i]);
	return same;
}

/* The row may be in any partition: it goes from whatever has its key. Where that cannot be looked
 * for, a delete is refused, and an update leaves it. */
static int take_from_anywhere(struct pass *p, struct way *w, const struct goner *g,
	enum format format, struct err *e)
{
	bool reaches;

	if (spread_reaches(p, w->place, &reaches, e) < 0)
		return e->code;
	if (!reaches && span_is(g->event.op, "D"))
		*e = g->why;
	return !reaches || p->dry || p->scan ? e->code :
		spread_put(p, w, &g->event, format, g->key, e);
}

static int take_delete(struct pass *p, struct way *w, const struct event *ev, enum format format,
	struct stream **stream, struct err *e)
{
	struct goner g;

	if (p->scan)
		return 0;
	if (read_goner(p, w, ev, ev->data, format, &g, e) < 0)
		return e->code;
	if (g.nowhere)
		take_from_anywhere(p, w, &g, format, e);
	else if (put_goner(p, w, &g, format, stream, e) == 0)
		remember_goner(p, w, &g, format);
	p->rows += !e->code;
	return e->code;
}

/* A row of the event, and what becomes of it. */
struct upsert {
	const struct shape *shape;
	const struct span *values;
	int64_t start_s;
	struct span key[ACTION_KEY_MAX];
	size_t n;
	bool staged;                    /* else it goes straight to its partition */
};

static int read_upsert(struct pass *p, struct way *w, const struct event *ev, enum format format,
	struct upsert *u, struct err *e)
{
	struct span part;

	if (row_check(ev, format, e) < 0 ||
	    route_row(w->route, format, ev->data, &u->shape, &u->values, &part, e) < 0 ||
	    row_period(&w->dates, ev, format, part, &u->start_s, e) < 0)
		return e->code;
	return find_key(p, w, w->route, ev, u->shape, u->values, u->key, &u->n, e);
}

/* The stream of the new row. NULL: it goes nowhere, as *late says, or there is an error. */
static struct stream *stream_of_upsert(struct pass *p, struct way *w, const struct event *ev,
	const struct upsert *u, bool *late, struct err *e)
{
	struct stream *stream = sink_find(p->sink, u->start_s, flow_id(w, u->shape, u->staged));

	*late = !stream && flow_is_late(p, w->dest, ev, u->start_s, e);
	if (!stream && !*late)
		stream = flow_open(p, w, ev, u->start_s, u->shape, u->staged, e);
	return stream;
}

/* That of a move is staged in any case: if it is refused, the old row stays. */
static int put_upsert(struct pass *p, struct way *w, const struct event *ev, enum format format,
	bool moved, const struct upsert *u, struct stream *stream, struct err *e)
{
	const struct newest_key key = { w->place->number, u->start_s, format, u->key, u->n };

	if (u->staged && !moved && is_replaced(p, &key, ev))
		return 0;
	if (stream_put(p->sink, stream, u->shape, format, u->values, ev, e) == 0 && u->staged)
		remember(p, &key, ev);
	return e->code;
}

/* Puts the new row, and before it the old one of a move, which goes. If the new one is refused, the
 * old one stays: merge_run forgets it with all else of dead letters. *stream: of the new one, NULL
 * if it goes nowhere. */
static int put_both(struct pass *p, struct way *w, const struct event *ev, enum format format,
	const struct goner *g, const struct upsert *u, struct stream **stream, struct err *e)
{
	struct stream *from = NULL;
	bool comes = *stream && flow_reads_lane(p, (*stream)->lane);

	if (g) {
		int rc = g->nowhere ? take_from_anywhere(p, w, g, format, e) :
			put_goner(p, w, g, format, &from, e);
		if (*stream)            /* the sink may have forgotten it for the other */
			*stream = sink_find(p->sink, u->start_s,
				flow_id(w, u->shape, true));
		if (comes && !*stream)
			*stream = flow_open(p, w, ev, u->start_s, u->shape, true, e);
		if (rc < 0)
			return rc;
	}
	if (!e->code && !p->scan && comes)
		put_upsert(p, w, ev, format, g, u, *stream, e);
	if (g && !e->code && !p->scan)
		remember_goner(p, w, g, format);
	return e->code;
}

/* Where the event's row goes: an insert may go straight to its partition while no other event has
 * come. After that the batch is loaded again, since its events come in any order. */
static int choose_way(struct pass *p, struct way *w, const struct event *ev, bool *staged,
	struct err *e)
{
	struct staging *g = stagings_at(flow_stagings(p), w->place);
	bool insert = span_is(ev->op, "I");

	if (!g->begun) {
		g->direct = p->direct && p->all_load && !p->dry && !p->stagings && !g->skip;
		g->begun = g->pure = true;
	}
	g->pure = g->pure && insert;
	*staged = !g->direct || !insert;
	if (!g->direct || insert || !g->directed) {
		g->direct = g->direct && insert;
		return 0;
	}
	p->mixed = p->judged = true;
	return err_set(e, ERR_DATA, "%s gets more than inserts", w->dest->dest_table);
}

/* *moved: the update's old row lies elsewhere, or nobody knows where, and goes from there. */
static int read_moved(struct pass *p, struct way *w, const struct event *ev, enum format format,
	const struct upsert *u, struct goner *g, bool *moved, struct err *e)
{
	if (read_goner(p, w, ev, ev->old, format, g, e) == 0)
		*moved = g->nowhere || !is_same_row(g, u->start_s, u->key);
	return e->code;
}

static int take_upsert(struct pass *p, struct way *w, const struct event *ev, enum format format,
	bool staged, struct stream **stream, struct err *e)
{
	struct upsert u;
	struct goner g;
	bool moved = false, late;

	u.staged = staged;
	if (read_upsert(p, w, ev, format, &u, e) < 0)
		return e->code;
	if (ev->old.p && span_is(ev->op, "U") && !p->scan &&
	    read_moved(p, w, ev, format, &u, &g, &moved, e) < 0)
		return e->code;
	*stream = stream_of_upsert(p, w, ev, &u, &late, e);
	if (!*stream && !late)
		return flow_no_stream(p, w->dest, ev, u.start_s, e);
	if (e->code || (late && w->dest->part_late == PART_LATE_ERROR))
		return e->code;
	if (!u.staged && *stream) {
		stagings_at(flow_stagings(p), w->place)->directed = true;
		if (p->want.by_id && sink_has_beside(p->sink, *stream) && flow_drain(p, e) < 0)
			return e->code;
		if (p->scan)            /* the streams are forgotten */
			return 0;
	}
	if (put_both(p, w, ev, format, moved ? &g : NULL, &u, stream, e) == 0 && !p->scan)
		p->rows++;
	return e->code;
}

int latest_stage(struct pass *p, struct way *w, const struct event *ev, const struct shape *shape,
	size_t *key, size_t *n, struct err *e)
{
	const size_t *at;

	if (action_key(w, w->route, ev, shape, &at, n, e) < 0)
		return e->code;
	memcpy(key, at, *n * sizeof *at);
	return check_key(p, w, shape, at, *n, e);
}

/* A table has one source, or rows of two would have one key. */
static int check_source(struct place *k, const struct event *ev, struct err *e)
{
	struct span table = ev->table.p ? ev->table : span_of("");
	struct buf shown = { 0 };

	if (!k->source)
		k->source = mem_str(table.p, table.n);
	if (span_is(table, k->source))
		return 0;
	buf_printable(&shown, table, 2 * NAME_BYTES_MAX);
	err_set(e, ERR_DATA, "it is of source table %s, and %s has the rows of %s: with row_mode ="
		" keep_latest a table has one source table", buf_cstr(&shown), k->dest->dest_table,
		k->source);
	buf_free(&shown);
	return e->code;
}

/* As take_event. */
int latest_take(struct pass *p, struct way *w, const struct event *ev, enum format format,
	struct stream **stream, struct err *e)
{
	bool staged;

	if (check_source(w->place, ev, e) < 0 || choose_way(p, w, ev, &staged, e) < 0)
		return e->code;
	return span_is(ev->op, "D") ? take_delete(p, w, ev, format, stream, e) :
		take_upsert(p, w, ev, format, staged, stream, e);
}
