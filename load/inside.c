/*
 * Creating partitions inside the transaction of the lane that loads them, with a part_template that
 * makes a table like the parent and attaches it, or one that inherits (event/attach.c). No other
 * connection is needed, and a rollback leaves nothing behind. The table gets its rows, then its
 * indexes, which are built faster so, and is attached last, right before the commit of its lane, if
 * the parent allows it (entry_last); else it is complete before its first row, and there must be
 * one lane: with two, the second to attach would wait for the first, which commits last. So with
 * several lanes a table that inherits does it last, too: it inherits from a table like the parent
 * until then (build_model). What fails after the rows is rolled back and done before them, since
 * only a COPY tells which row is at fault.
 *
 * Locks until the commit, and whom they block:
 * - ShareUpdateExclusive on the parent; with several lanes one after the other, from ATTACH or
 *   INHERIT to the commit, and before that RowExclusive or AccessShare. None of them blocks
 *   readers or COPYs. ATTACH locks more if there is a default partition (AccessExclusive) or
 *   a foreign key from or to the parent (ShareRowExclusive): then partitions are created before;
 *   entry_try checks. All other locks are on the new table, which nobody sees.
 * - The advisory lock for creating partitions of the parent is only tried, in lane 0, which commits
 *   last. A process that has it inside holds it for a batch and waits for no other: the others wait
 *   for it before they create anything. So two processes that need a, b and b, a cannot deadlock.
 *   One that waits rolls its own rows back first, since the holder may wait for a key among them.
 * - Names are taken under that lock. If somebody creates the same name by hand, we wait until the
 *   lock timeout; then, as after any error inside, all is rolled back and done before.
 * After a kill at any message, a lane's rows and partitions both exist, or neither do.
 */
#include <stdlib.h>
#include <string.h>

#include "parts.h"

#define LAST_LOCK_TIMEOUT_MS 500        /* after the rows: below deadlock_timeout (1 s) */

#define MODELS_SINCE 130000             /* then LIKE knows NO INHERIT */

/* May new partitions be finished after their rows, as far as the config tells? */
static bool may_be_last(const struct place *at, bool finishes)
{
	return finishes && !at->parts->split.mixed && at->dest->row_mode != ROWS_KEEP_LATEST;
}

bool inside_may(const struct place *at, const struct job *j, bool finishes)
{
	const struct parts *k = at->parts;

	return k->want.n && k->simple && !k->fails_inside &&
		(j->lanes == 1 || (may_be_last(at, finishes) &&
		(!k->split.inherits || pq_server(j->dst[0])->version >= MODELS_SINCE)));
}

/* Are new partitions to be finished after their rows? Locks the parent then. */
static int enter_last(struct place *at, struct job *j, bool finishes, struct err *e)
{
	struct parts *k = at->parts;
	bool alone = j->lanes == 1;

	k->last = may_be_last(at, finishes);
	k->copies = false;
	if (k->last && !k->split.inherits)
		entry_last(j->dst[0], at->dest, alone, DDL_LOCK_TIMEOUT_MS, &k->last, e);
	if (k->last && k->split.like && !e->code)
		indexes_look(j->dst[0], at->dest, &k->indexes, &k->copies, e);
	if (e->code)
		k->fails_inside = !sqlstate_is_lost(e) && !missing_waits(e);
	if (!e->code && !k->last && !alone)
		err_set(e, ERR_CONFLICT, "%s was changed at this moment", at->dest->dest_table);
	return e->code;
}

/* Gets the lock for creating partitions; *yes: it is ours, and they may be created inside. Looks
 * again under it, since another process may have created them in the meantime. */
static int lock_and_look(struct place *at, struct job *j, bool finishes, int64_t *event, bool *yes,
	struct err *e)
{
	struct parts *k = at->parts;
	enum entry_way way = k->split.inherits ? ENTRY_INHERITS : j->lanes == 1 ? ENTRY_ATTACHED :
		ENTRY_ATTACHED_LAST;

	if (entry_try(j->dst[0], at->dest, way, yes, e) < 0 || !*yes ||
	    missing_ask(at, j->dst[0], event, e) < 0 || !k->want.n)
		return e->code;
	return enter_last(at, j, finishes, e);
}

void inside_await(struct job *j)
{
	struct err ignored = { 0 };

	for (size_t n = 0; n < j->dests.nplace; n++)
		for (size_t i = 0; i < j->lanes; i++)
			if (making_busy(j->dests.place[n], i) && j->dst[i])
				pq_drain(j->dst[i], &ignored);
}

/* Creates those that are requested, in all lanes at the same time. */
static int make(struct place *at, struct job *j, struct err *e)
{
	bool waits = true;

	for (size_t i = 0; i < j->lanes && !e->code; i++)
		if (making_left(at, i))
			making_begin(at, j, i, e);
	while (waits && !e->code) {
		waits = false;
		for (size_t i = 0; i < j->lanes && !e->code; i++)
			waits |= making_step(at, j, i, e) == PQ_WAIT;
		if (waits && !e->code)
			pq_wait(j->dst, j->lanes, -1, e);
	}
	return e->code;
}

int inside_create(struct place *at, struct job *j, bool finishes, int64_t *event, struct err *e)
{
	struct parts *k = at->parts;
	bool yes = k->made.n > 0;

	if (missing_ask(at, j->dst[0], event, e) < 0 || !k->want.n)
		return e->code;
	if (!yes && lock_and_look(at, j, finishes, event, &yes, e) < 0)
		return e->code;
	if (!yes || !k->want.n)
		return !yes;
	return make(at, j, e);
}

bool inside_goes_on(const struct place *at)
{
	const struct parts *k = at->parts;

	return k->made.n && k->simple && !k->fails_inside && !missing_counts(at);
}

bool inside_any(const struct dests *ds)
{
	for (size_t i = 0; i < ds->nplace; i++)
		if (ds->place[i]->parts->made.n)
			return true;
	return false;
}

struct walk { size_t place, next; };    /* over the new partitions of a lane; begins zeroed */

/* The next one; NULL after the last. */
static const struct part_new *next_made(const struct dests *ds, size_t lane, struct walk *at)
{
	for (; at->place < ds->nplace; at->place++, at->next = 0) {
		const struct parts *k = ds->place[at->place]->parts;
		while (at->next < k->made.n)
			if (k->made.at[at->next++].lane == lane)
				return &k->made.at[at->next - 1];
	}
	return NULL;
}

/* The statements that finish a lane's new partitions. Those of one have a server_timeout of their
 * own, and their end is progress. But where partitions are small, to wait for it costs as much as
 * they do: then 3, 7, 15, 31 go together. */
#define TOGETHER_MAX 31
#define TOGETHER_ROWS 20000             /* and no more after so many rows */
#define TOGETHER_MS 50                  /* took longer: one by one again */

typedef void add_statements(struct buf *, const struct dest *, const struct part_new *);

struct finishing {                      /* of a lane; zeroed but add */
	add_statements *add;
	struct walk next;
	size_t together;                /* so many partitions at a time; 0 is 1 */
	int64_t sent_ms;                /* clock_ms() */
	bool waits;                     /* the server works */
};

/* How many rows this pass has sent to it. */
static int64_t rows_of(const struct dests *ds, size_t place, const struct part_new *part)
{
	const struct tally_part *at = tally_find(&sink_done(ds->sink, place)->rows, part->name);

	return at ? at->rows : 0;
}

static int send_next(struct job *j, size_t lane, struct finishing *x, struct err *e)
{
	const struct part_new *part;
	struct buf sql = { 0 };
	int64_t rows = 0;

	for (size_t n = 0; (!sql.len || (n < x->together && rows < TOGETHER_ROWS)) &&
	     (part = next_made(&j->dests, lane, &x->next)); n++) {
		x->add(&sql, j->dests.place[x->next.place]->dest, part);
		rows += rows_of(&j->dests, x->next.place, part);
	}
	x->sent_ms = clock_ms();
	x->waits = sql.len &&
		build_finish(j->dst[lane], buf_cstr(&sql), LAST_LOCK_TIMEOUT_MS, e) == 0;
	buf_free(&sql);
	return e->code;
}

/* Goes on as far as that needs no waiting. */
static int finish_some(struct job *j, size_t lane, struct finishing *x, struct err *e)
{
	while (x->waits && build_step_last(j->dst[lane], e) == PQ_END) {
		watch_alive(j->watch);
		if (clock_ms() - x->sent_ms > TOGETHER_MS)
			x->together = 1;
		else if (x->together < TOGETHER_MAX)
			x->together = 2 * x->together + 1;
		send_next(j, lane, x, e);
	}
	return e->code;
}

static int64_t tell_work(const struct job *j)
{
	return watch_pass(j->watch, j->dests.events, sink_bytes(j->dests.sink));
}

/* Of lanes `first` to end - 1, at the same time. */
static int finish(struct job *j, size_t first, size_t end, add_statements *add, struct err *e)
{
	struct finishing lane[LANES_MAX] = { 0 };
	bool waits = true;

	for (size_t i = first; i < end && !e->code; i++) {
		lane[i].add = add;
		send_next(j, i, &lane[i], e);
	}
	while (waits && !e->code) {
		waits = false;
		for (size_t i = first; i < end && !e->code; i++) {
			finish_some(j, i, &lane[i], e);
			waits |= lane[i].waits;
		}
		if (waits && !e->code)
			pq_wait(j->dst + first, end - first, tell_work(j), e);
	}
	return e->code;
}

static void add_indexes(struct buf *sql, const struct dest *d, const struct part_new *part)
{
	(void)d;
	build_add_indexes(sql, part);
}

/* Partitions could not be finished after their rows. A connection may be lost for it, too, when
 * server_timeout is over before. */
static void note_failure(struct dests *ds, const struct err *e)
{
	ds->fails_last = e->code != ERR_STOP;
}

int inside_index(struct job *j, int64_t events, struct err *e)
{
	struct dests *ds = &j->dests;

	ds->events = events;
	if (finish(j, 0, j->lanes, add_indexes, e) == 0)
		return 0;
	note_failure(ds, e);
	for (size_t i = 0; i < ds->nplace && e->code == ERR_TIMEOUT && j->lanes > 1; i++)
		ds->place[i]->parts->fails_inside |= ds->place[i]->parts->made.n > 0;
	return e->code;
}

/* Appends what drops the models of the lane's partitions, which are made one after the other. */
static void add_drops(struct buf *sql, const struct dests *ds, size_t lane)
{
	const struct part_new *part;
	struct walk at = { 0 };
	uint64_t dropped = 0;

	while ((part = next_made(ds, lane, &at))) {
		if (part->model && part->model != dropped)
			build_add_drop(sql, ds->place[at.place]->dest, part->model);
		dropped = part->model;
	}
}

/* Runs the statements. */
static int run_last(struct job *j, size_t lane, const char *sql, struct err *e)
{
	struct pq *dst = j->dst[lane];

	if (!*sql || build_finish(dst, sql, LAST_LOCK_TIMEOUT_MS, e) < 0)
		return e->code;
	while (!e->code && build_step_last(dst, e) == PQ_WAIT)
		pq_wait(&dst, 1, tell_work(j), e);
	watch_alive(j->watch);
	return e->code;
}

int inside_attach(struct job *j, size_t lane, struct err *e)
{
	struct buf sql = { 0 };

	if (finish(j, lane, lane + 1, build_add_attach, e) == 0) {
		add_drops(&sql, &j->dests, lane);
		run_last(j, lane, buf_cstr(&sql), e);
	}
	if (e->code)
		note_failure(&j->dests, e);
	buf_free(&sql);
	return e->code;
}

void inside_told(const struct job *j, size_t lane)
{
	const struct part_new *part;
	struct walk at = { 0 };

	while ((part = next_made(&j->dests, lane, &at)))
		watch_partition(j->watch, span_of(part->name), false);
}

void inside_committed(struct dests *ds)
{
	ds->fails_last = false;
	for (size_t i = 0; i < ds->nplace; i++) {
		struct parts *k = ds->place[i]->parts;
		missing_drop(&k->made, 0, k->made.n);
		missing_forget_refused(k);
	}
}

void inside_rolled_back(struct dests *ds)
{
	for (size_t i = 0; i < ds->nplace; i++) {
		struct parts *k = ds->place[i]->parts;
		if (k->made.n)
			known_clear(&ds->place[i]->known);
		missing_again(k);
	}
	sink_forget(ds->sink);
}
