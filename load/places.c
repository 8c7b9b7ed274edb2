/*
 * Where rows go, and which partitions are there. Partitions that nobody knows to be there are wanted
 * while their rows wait in the sink, and looked for and created, many in one call, before any of
 * these rows is sent.
 *
 * Inside: in the transaction that loads, where there is one lane and part_template makes a table
 * like the parent and attaches it (attach.c). One connection is enough, and a rollback leaves nothing
 * behind. What it locks until the commit, and for whom:
 * - ShareUpdateExclusive on the parent, which no reader and no COPY waits for. Therefore not where
 *   ATTACH locks more: a default partition (AccessExclusive), or tables of foreign keys from or to
 *   the parent (ShareRowExclusive); part_enter looks. All else is on the new table, which nobody
 *   sees. With two lanes, the second to attach would wait for the first, which commits last.
 * - The advisory lock of all who create partitions of the parent; it is only tried for. Whoever
 *   has it inside holds it for a batch and waits for none of the others: these wait for it before
 *   they have created a name. So two processes that need a, b and b, a cannot deadlock. One that
 *   waits rolls its own rows back first, since the holder may wait for a key among them.
 * - Names are taken under that lock. Somebody else who takes one by hand makes us wait for the lock
 *   timeout; then, as after any error inside, all is rolled back and done before.
 * Killed at any message, rows and partitions are both there, or neither is.
 *
 * Before: everything else, in a transaction of its own on another connection, which is short and has
 * a lock timeout. Our own rows may hold the lock it waits for (PARTITION OF takes AccessExclusive
 * on the parent, a COPY into a partition holds AccessShare): then the batch is rolled back, the rest
 * of it read for its partitions alone, and all begins anew. Killed between the two transactions, a
 * partition is there without rows, and is found the next time.
 */
#include <stdlib.h>
#include <string.h>

#include "load.h"

#define DDL_LOCK_TIMEOUT_MS 1000        /* while a partition's creation waits, readers queue behind it */
#define DDL_TRIES 30                    /* attempts to get that lock before the batch is given up */
#define DDL_PAUSE_MS 500                /* between two attempts to create a partition */
#define OWN_LOCK_TIMEOUT_MS 100         /* when the lock in the way is probably our own */
#define TOGETHER_MAX 16                 /* in one transaction, whose lock on the parent readers may wait for */

struct parts {
	const struct dest *dest;
	struct known *known;
	struct part_new *want;          /* those before `inside` are created and not committed */
	size_t nwant, want_cap, inside;
	bool attaches;                  /* part_template does this and nothing else */
	bool alone;                     /* each is created in a transaction of its own */
};

/* ---- those that are wanted */

static void drop_wanted(struct parts *k, size_t from, size_t to)
{
	if (from == to)
		return;
	for (size_t i = from; i < to; i++) {
		free(k->want[i].name);
		free(k->want[i].sql);
	}
	memmove(k->want + from, k->want + to, (k->nwant - to) * sizeof *k->want);
	k->nwant -= to - from;
}

static bool is_wanted(const struct parts *k, int64_t start_s)
{
	for (size_t i = 0; i < k->nwant; i++)
		if (k->want[i].start_s == start_s)
			return true;
	return false;
}

static void want(struct parts *k, const struct part_want *w, int64_t event, char *sql)
{
	k->want = mem_grow(k->want, k->nwant, &k->want_cap, sizeof *k->want);
	k->want[k->nwant++] = (struct part_new){
		.name = mem_str(w->name.p, w->name.n), .sql = sql, .start_s = w->start_s, .event = event,
	};
}

int places_want(struct places *at, const struct part_want *w, int64_t event, struct err *e)
{
	struct parts *k = at->parts;
	struct buf sql = { 0 };

	if (!w->dest->part_template || known_has(k->known, w->start_s) || is_wanted(k, w->start_s))
		return 0;
	if (part_sql(&sql, w, e) < 0) {
		buf_free(&sql);
		if (e->code == ERR_DATA)
			want(k, w, event, NULL);
		return e->code;
	}
	buf_cstr(&sql);
	want(k, w, event, sql.p);
	return 0;
}

bool places_unsettled(const struct places *at)
{
	return at->parts->nwant > at->parts->inside;
}

bool places_known(const struct places *at, int64_t start_s)
{
	return known_has(at->parts->known, start_s);
}

/* The entries from there on that are there are known; those without SQL that are not are dropped. */
static void sort_out(struct parts *k, size_t from)
{
	for (size_t i = from; i < k->nwant;) {
		if (k->want[i].there)
			known_add(k->known, k->want[i].start_s);
		if (k->want[i].there || !k->want[i].sql)
			drop_wanted(k, i, i + 1);
		else
			i++;
	}
}

static int blame(const struct parts *k, size_t at, int64_t *event, const struct err *e)
{
	if (at < k->nwant)
		*event = k->want[at].event;
	return e->code;
}

static int look(struct parts *k, struct pq *pq, int64_t *event, struct err *e)
{
	size_t from = k->inside, at;

	if (part_look(pq, k->dest, k->want + from, k->nwant - from, &at, e) < 0)
		return blame(k, from + at, event, e);
	sort_out(k, from);
	return 0;
}

/* ---- inside */

bool places_may_enter(const struct places *at, const struct job *j)
{
	return at->parts->attaches && j->lanes == 1;
}

int places_enter(struct places *at, struct job *j, int64_t *event, struct err *e)
{
	struct parts *k = at->parts;
	bool yes = k->inside > 0;

	if (!yes && part_enter(j->dst[0], k->dest, &yes, e) < 0)
		return e->code;
	if (look(k, j->dst[0], event, e) < 0 || !yes)
		return e->code ? e->code : places_unsettled(at);
	size_t n = k->nwant - k->inside;
	if (part_make_inside(j->dst[0], k->dest, k->want + k->inside, n, DDL_LOCK_TIMEOUT_MS, e) < 0)
		return e->code;
	for (; k->inside < k->nwant; k->inside++)
		known_add(k->known, k->want[k->inside].start_s);
	return 0;
}

void places_committed(struct places *at, struct watch *watch)
{
	struct parts *k = at->parts;
	size_t n = k->inside;

	for (size_t i = 0; i < n; i++)
		watch_partition(watch, span_of(k->want[i].name), false);
	k->inside = 0;
	drop_wanted(k, 0, n);
}

void places_rolled_back(struct places *at)
{
	struct parts *k = at->parts;

	for (size_t i = 0; i < k->nwant; i++)
		k->want[i].there = k->want[i].made = false;
	if (k->inside)
		known_clear(k->known);
	k->inside = 0;
	sink_forget(at->sink);
}

/* ---- before */

/* n entries, together. What is made is told and known, whatever becomes of the rest. */
static int make_some(struct parts *k, struct job *j, size_t n, int lock_timeout_ms, int64_t *event, struct err *e)
{
	size_t at;

	if (part_make(j->ddl, k->dest, k->want, n, lock_timeout_ms, &at, e) < 0)
		blame(k, at, event, e);
	for (size_t i = 0; i < n; i++) {
		if (!k->want[i].made || !k->want[i].there)
			continue;
		watch_partition(j->watch, span_of(k->want[i].name), false);
	}
	sort_out(k, 0);
	return e->code;
}

/* A fault of one of several, or of all in one transaction? */
static bool may_be_of_one(const struct err *e)
{
	return e->code == ERR_SHAPE || e->code == ERR_RIGHTS || (e->code == ERR_RESOURCE && *e->sqlstate);
}

static int make(struct parts *k, struct job *j, int lock_timeout_ms, int64_t *event, struct err *e)
{
	while (k->nwant && !e->code) {
		size_t n = k->alone ? 1 : k->nwant < TOGETHER_MAX ? k->nwant : TOGETHER_MAX;
		if (make_some(k, j, n, lock_timeout_ms, event, e) == 0 || n == 1 || !may_be_of_one(e))
			continue;
		log_debug("new partitions are rolled back and created one by one: %s", e->msg);
		*e = (struct err){ 0 };
		*event = -1;
		k->alone = true;
	}
	return e->code;
}

static bool waits(const struct err *e)
{
	return e->code == ERR_TIMEOUT || e->code == ERR_CONFLICT;
}

int places_settle(struct places *at, struct job *j, bool sent, int64_t *event, struct err *e)
{
	struct parts *k = at->parts;
	int timeout_ms = sent ? OWN_LOCK_TIMEOUT_MS : DDL_LOCK_TIMEOUT_MS;
	bool told = false;              /* who holds the lock */

	for (int tries = 1;; tries++) {
		if (part_open(&j->ddl, j->conf, j->encoding, e) < 0 || look(k, j->ddl, event, e) < 0 ||
		    make(k, j, timeout_ms, event, e) == 0 || !waits(e) || tries == DDL_TRIES)
			return e->code;
		if (sent) {
			log_debug("creating a partition waits for this batch's own rows: all partitions are created first");
			*e = (struct err){ 0 };
			return 1;
		}
		if (e->code == ERR_CONFLICT)    /* it may load a long batch */
			tries--;
		(e->code == ERR_CONFLICT ? log_info : told ? log_debug : log_warn)("%s; trying again", e->msg);
		told |= e->code == ERR_TIMEOUT;
		process_sleep(DDL_PAUSE_MS);
		if (process_stop_now() || (e->code == ERR_CONFLICT && process_stop_after_batch()))
			return e->code;
		*e = (struct err){ 0 };
		*event = -1;
	}
}

/* ---- all of them */

void places_open(struct places *at, const struct dest *d)
{
	if (at->route)
		return;
	at->route = route_new(d->field, d->nfield, dest_part_column(d).p);
	at->parts = mem_alloc(sizeof *at->parts);
	*at->parts = (struct parts){
		.dest = d, .known = known_new(d),
		.attaches = d->part_template && attach_is_all(span_of(d->part_template)),
	};
	at->sink = sink_new(&(struct sink_types){ at->parts->known, known_look, known_kinds });
}

/* What a pass that failed has left was rolled back with its transactions. */
void places_begin(struct places *at)
{
	struct parts *k = at->parts;

	if (!k)
		return;
	if (k->inside)
		places_rolled_back(at);
	drop_wanted(k, 0, k->nwant);
	known_begin(k->known);
}

void places_forget(struct places *at)
{
	struct parts *k = at->parts;

	if (!k)
		return;
	sink_forget(at->sink);
	drop_wanted(k, 0, k->nwant);
	k->inside = 0;
	known_clear(k->known);
}

void places_free(struct places *at)
{
	places_forget(at);
	route_free(at->route);
	sink_free(at->sink);
	if (at->parts) {
		known_free(at->parts->known);
		free(at->parts->want);
	}
	free(at->parts);
	*at = (struct places){ 0 };
}
