/*
 * Where rows go, and which partitions exist. While rows of a partition that is not known to exist
 * wait in the sink, the partition is looked up and, if missing, created, many in one call, before
 * any of these rows is sent. There are two ways to create it.
 *
 * Inside: in the transaction of the lane that loads it, with a part_template that makes a table
 * like the parent and attaches it, or with one lane also one that inherits (attach.c). No other
 * connection is needed, and a rollback leaves nothing behind. The table gets its rows, then its
 * indexes, which are built faster so, and is attached last, right before the commit of its lane, if
 * the parent allows it (part_enter_last); else it is complete before its first row, and there must
 * be one lane: with two, the second to attach, or to inherit, would wait for the first, which
 * commits last. What fails after the rows is rolled back and done before them, since only a COPY
 * tells which row is at fault.
 *
 * Locks until the commit, and whom they block:
 * - ShareUpdateExclusive on the parent, with several lanes RowExclusive until they attach. Neither
 *   blocks readers or COPYs. ATTACH locks more if there is a default partition (AccessExclusive) or
 *   a foreign key from or to the parent (ShareRowExclusive): then partitions are created before;
 *   part_enter checks. All other locks are on the new table, which nobody sees.
 * - The advisory lock for creating partitions of the parent is only tried, in lane 0, which commits
 *   last. A process that has it inside holds it for a batch and waits for no other: the others wait
 *   for it before they create anything. So two processes that need a, b and b, a cannot deadlock.
 *   One that waits rolls its own rows back first, since the holder may wait for a key among them.
 * - Names are taken under that lock. If somebody creates the same name by hand, we wait until the
 *   lock timeout; then, as after any error inside, all is rolled back and done before.
 * After a kill at any message, a lane's rows and partitions both exist, or neither do.
 *
 * Before: everything else, in a short transaction on another connection with a lock timeout. Our
 * own rows may hold the lock it waits for (PARTITION OF takes AccessExclusive on the parent, a COPY
 * into a partition holds AccessShare): then the batch is rolled back, the rest of it is read only
 * for its partitions, and the batch starts over. After a kill between the two transactions a
 * partition exists without rows, and the next attempt finds it.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

#define DDL_LOCK_TIMEOUT_MS 1000        /* while a creation waits, readers queue behind it */
#define DDL_TRIES 30                    /* attempts to get that lock before the batch is given up */
#define CREATOR_TRIES 4                 /* the same, where another process creates partitions */
#define DDL_PAUSE_MS 500                /* between two attempts to create a partition */
#define OWN_LOCK_TIMEOUT_MS 100         /* when the lock in the way is probably our own */
#define ATTACH_LOCK_TIMEOUT_MS 500      /* after the rows: below deadlock_timeout (1 s) */
#define INDEXED_LAST_MAX 1000           /* of those created inside; more cost the server time */
#define TOGETHER_MAX 16                 /* in one transaction, as readers may wait for its locks */

struct parts {                          /* of a place */
	struct part_new *want;          /* those before `inside` are created and not committed */
	size_t nwant, want_cap, inside;
	bool simple;                    /* part_template does no more than attach_is_all knows */
	struct attach_split split;      /* of part_template */
	bool last;                      /* those before `inside` are finished after their rows */
	bool fails_inside;              /* creating inside was refused */
	bool alone;                     /* each is created in a transaction of its own */
	/* By a list: values whose partitions cannot be, because something else has the name. */
	struct refused { int64_t start_s; char *why; } *refused;
	size_t nrefused, refused_cap;
	bool refuses;                   /* one was added since places_has_refused */
};

/* ---- partitions that are wanted */

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

/* Some are wanted that are neither created nor known to exist. */
static bool is_unsettled(const struct parts *k)
{
	return k->nwant > k->inside;
}

static bool is_wanted(const struct parts *k, int64_t start_s)
{
	for (size_t i = 0; i < k->nwant; i++)
		if (k->want[i].start_s == start_s)
			return true;
	return false;
}

/* ---- values of a list that are refused */

static void refuse(struct parts *k, size_t at, const struct err *e)
{
	k->refused = mem_grow(k->refused, k->nrefused, &k->refused_cap, sizeof *k->refused);
	k->refused[k->nrefused++] = (struct refused){ k->want[at].start_s, mem_text(e->msg) };
	k->refuses = true;
	drop_wanted(k, at, at + 1);
}

static void forget_refused(struct parts *k)
{
	while (k->nrefused)
		free(k->refused[--k->nrefused].why);
	k->refuses = false;
}

bool places_has_refused(struct place *at)
{
	bool refuses = at->parts->refuses;

	at->parts->refuses = false;
	return refuses;
}

int places_refuses(const struct place *at, int64_t start_s, struct err *e)
{
	const struct parts *k = at->parts;

	for (size_t i = 0; i < k->nrefused && !e->code; i++)
		if (k->refused[i].start_s == start_s)
			err_set(e, ERR_DATA, "%s", k->refused[i].why);
	return e->code;
}

/* ---- wanting them, and what is there */

/* Takes over sql; NULL: the event's values do not suffice to create the partition. */
static void want(struct parts *k, const struct part_want *w, int64_t event, char *sql,
	const struct attach_split *split)
{
	k->want = mem_grow(k->want, k->nwant, &k->want_cap, sizeof *k->want);
	k->want[k->nwant++] = (struct part_new){
		.name = mem_str(w->name.p, w->name.n), .sql = sql, .split = *split,
		.start_s = w->start_s, .event = event, .old = w->old,
	};
}

int places_want(struct place *at, const struct part_want *w, int64_t event, struct err *e)
{
	struct parts *k = at->parts;
	struct attach_split split = k->split;
	struct buf sql = { 0 };

	if (!at->has_newest || w->start_s > at->newest)
		at->newest = w->start_s;
	at->has_newest = true;
	if (!w->dest->part_template || known_has(&at->known, w->start_s) ||
	    is_wanted(k, w->start_s))
		return 0;
	if (part_sql_split(&sql, w, &split, e) < 0) {
		buf_free(&sql);
		if (e->code == ERR_DATA)
			want(k, w, event, NULL, &split);
		return e->code;
	}
	buf_cstr(&sql);
	want(k, w, event, sql.p, &split);
	return 0;
}

bool places_counts(const struct place *at)
{
	return at->dest->period.method == PERIOD_LIST;
}

bool places_wants(const struct place *at)
{
	return is_unsettled(at->parts);
}

/* Looks at the entries from `from` on: those that exist become known, those that neither exist nor
 * can be created are dropped, the others stay wanted. */
static void sort_out(struct place *at, size_t from)
{
	struct parts *k = at->parts;

	for (size_t i = from; i < k->nwant;) {
		if (k->want[i].there)
			known_add(&at->known, k->want[i].start_s);
		if (k->want[i].there || !k->want[i].sql)
			drop_wanted(k, i, i + 1);
		else
			i++;
	}
}

/* Names the event that needs the partition at that index, if there is one. ERR_DATA: it is wanted
 * no more. Returns e's code. */
static int blame(struct parts *k, size_t at, int64_t *event, const struct err *e)
{
	if (at < k->nwant)
		*event = k->want[at].event;
	if (at < k->nwant && e->code == ERR_DATA)
		refuse(k, at, e);
	return e->code;
}

/* Are there more than part_list_max that do not exist? That is a list gone wild. */
static int check_number(const struct place *at, struct err *e)
{
	const struct parts *k = at->parts;
	int64_t max = at->dest->part_list_max;

	if (!places_counts(at) || (int64_t)k->nwant <= max)
		return 0;
	return err_set(e, ERR_SHAPE, "the batch needs more new partitions of %s than part_list_max"
		" = %" PRId64 ", %s is one of them: has part_field = %s so many values?",
		at->dest->dest_table, max, k->want[k->nwant - 1].name, at->dest->part_field);
}

/* Asks the server which of the wanted partitions exist. */
static int look(struct place *at, struct pq *pq, int64_t *event, struct err *e)
{
	struct parts *k = at->parts;
	size_t from = k->inside, which;

	if (part_look(pq, at->dest, k->want + from, k->nwant - from, &which, e) < 0)
		return blame(k, from + which, event, e);
	sort_out(at, from);
	return check_number(at, e);
}

int places_look(struct place *at, struct job *j, int64_t *event, struct err *e)
{
	if (style_open(&j->ddl, j->conf, &j->style, e) < 0)
		return e->code;
	return look(at, j->ddl, event, e);
}

/* Did somebody else stand in the way for a while? */
static bool waits(const struct err *e)
{
	return e->code == ERR_TIMEOUT || e->code == ERR_CONFLICT;
}

/* ---- inside */

/* May new partitions be finished after their rows, as far as the config tells? */
static bool may_be_last(const struct place *at, bool finishes)
{
	return finishes && !at->parts->split.mixed && at->dest->row_mode != ROWS_KEEP_LATEST;
}

bool places_may_enter(const struct place *at, const struct job *j, bool finishes)
{
	const struct parts *k = at->parts;

	return is_unsettled(k) && k->simple && !k->fails_inside &&
		(j->lanes == 1 || (may_be_last(at, finishes) && !k->split.inherits));
}

/* Are new partitions to be finished after their rows? Locks the parent then. */
static int enter_last(struct place *at, struct job *j, bool finishes, struct err *e)
{
	struct parts *k = at->parts;
	bool alone = j->lanes == 1;

	k->last = may_be_last(at, finishes);
	if (k->last && !k->split.inherits && part_enter_last(j->dst[0], at->dest, alone,
	    DDL_LOCK_TIMEOUT_MS, &k->last, e) < 0)
		k->fails_inside = !sqlstate_is_lost(e) && !waits(e);
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
	enum part_way way = k->split.inherits ? PART_INHERITS : j->lanes == 1 ? PART_ATTACHED :
		PART_ATTACHED_LAST;

	if (part_enter(j->dst[0], at->dest, way, yes, e) < 0 || !*yes ||
	    look(at, j->dst[0], event, e) < 0 || !is_unsettled(k))
		return e->code;
	return enter_last(at, j, finishes, e);
}

static int by_lane(const void *a, const void *b)
{
	const struct part_new *x = a, *y = b;

	return (x->lane > y->lane) - (x->lane < y->lane);
}

/* Sets the lanes of those that are to be created, in whose order they are sorted then, and how much
 * of each is done before its rows. */
static int assign(struct parts *k, const struct job *j, struct err *e)
{
	struct part_new *new = k->want + k->inside;
	size_t n = k->nwant - k->inside;

	for (size_t i = 0; i < n; i++) {
		new[i].lane = job_lane_of(j, span_of(new[i].name));
		if (!j->loads[new[i].lane])
			return err_set(e, ERR_CONFLICT, "partition %s is gone, whose lane has the"
				" batch", new[i].name);
		if (k->last)
			new[i].first = k->inside + i < INDEXED_LAST_MAX ? new[i].split.tail :
				new[i].split.attach;
	}
	qsort(new, n, sizeof *new, by_lane);
	return 0;
}

/* Creates the wanted ones of the lane of the first of them. */
static int make_in_lane(struct place *at, struct job *j, struct err *e)
{
	struct parts *k = at->parts;
	struct part_new *new = k->want + k->inside;
	size_t n = 1, most = k->nwant - k->inside;

	while (n < most && new[n].lane == new->lane)
		n++;
	if (part_make_inside(j->dst[new->lane], at->dest, new, n, DDL_LOCK_TIMEOUT_MS, e) < 0) {
		k->fails_inside = !sqlstate_is_lost(e) && !waits(e);
		return e->code;
	}
	for (size_t i = 0; i < n; i++)
		known_add(&at->known, new[i].start_s);
	k->inside += n;
	return 0;
}

int places_enter(struct place *at, struct job *j, bool finishes, int64_t *event, struct err *e)
{
	struct parts *k = at->parts;
	bool yes = k->inside > 0;

	if (look(at, j->dst[0], event, e) < 0 || !is_unsettled(k))
		return e->code;
	if (!yes && lock_and_look(at, j, finishes, event, &yes, e) < 0)
		return e->code;
	if (!yes || !is_unsettled(k))
		return !yes;
	if (assign(k, j, e) < 0)
		return e->code;
	while (is_unsettled(k))
		if (make_in_lane(at, j, e) < 0)
			return e->code;
	return 0;
}

bool places_inside(const struct dests *ds)
{
	for (size_t i = 0; i < ds->nplace; i++)
		if (ds->place[i]->parts->inside)
			return true;
	return false;
}

static void tell_made(struct parts *k, struct watch *watch)
{
	size_t n = k->inside;

	for (size_t i = 0; i < n; i++)
		watch_partition(watch, span_of(k->want[i].name), false);
	k->inside = 0;
	drop_wanted(k, 0, n);
}

/* Appends what is to follow the rows of the lane's new partitions. */
static void add_rest(struct buf *sql, const struct dests *ds, size_t lane,
	void (*add)(struct buf *, const struct part_new *))
{
	for (size_t i = 0; i < ds->nplace; i++) {
		const struct parts *k = ds->place[i]->parts;
		for (size_t n = 0; n < k->inside; n++)
			if (k->want[n].lane == lane)
				add(sql, &k->want[n]);
	}
}

int places_index(struct job *j, struct err *e)
{
	struct buf sql[LANES_MAX] = { 0 };

	for (size_t i = 0; i < j->lanes; i++)
		add_rest(&sql[i], &j->dests, i, part_add_indexes);
	if (part_index(j->dst, sql, j->lanes, e) < 0)
		j->dests.fails_last = !sqlstate_is_lost(e);
	for (size_t i = 0; i < j->lanes; i++)
		buf_free(&sql[i]);
	return e->code;
}

int places_attach(struct job *j, size_t lane, struct err *e)
{
	struct buf sql = { 0 };

	add_rest(&sql, &j->dests, lane, part_add_attach);
	if (sql.len && part_attach(j->dst[lane], buf_cstr(&sql), ATTACH_LOCK_TIMEOUT_MS, e) < 0)
		j->dests.fails_last = !sqlstate_is_lost(e);
	buf_free(&sql);
	return e->code;
}

void places_committed(struct dests *ds, struct watch *watch)
{
	ds->fails_last = false;
	for (size_t i = 0; i < ds->nplace; i++) {
		tell_made(ds->place[i]->parts, watch);
		forget_refused(ds->place[i]->parts);
	}
}

void places_rolled_back(struct dests *ds)
{
	for (size_t i = 0; i < ds->nplace; i++) {
		struct parts *k = ds->place[i]->parts;
		for (size_t n = 0; n < k->nwant; n++) {
			k->want[n].there = k->want[n].made = false;
			k->want[n].first = 0;
		}
		if (k->inside)
			known_clear(&ds->place[i]->known);
		k->inside = 0;
	}
	sink_forget(ds->sink);
}

/* ---- before */

/* Creates the first n in one transaction. Those that exist then are reported and known, whatever
 * became of the others. */
static int make_some(struct place *at, struct job *j, size_t n, int lock_timeout_ms,
	int64_t *event, struct err *e)
{
	struct parts *k = at->parts;
	size_t which;

	int rc = part_make(j->ddl, at->dest, k->want, n, lock_timeout_ms, &which, e);
	for (size_t i = 0; i < n; i++)
		if (k->want[i].made && k->want[i].there)
			watch_partition(j->watch, span_of(k->want[i].name), false);
	if (rc < 0 && (n == 1 || rc != ERR_DATA))
		blame(k, which, event, e);
	sort_out(at, 0);
	return e->code;
}

/* How many are created together. */
static size_t together(const struct parts *k)
{
	if (k->alone)
		return 1;
	return k->nwant < TOGETHER_MAX ? k->nwant : TOGETHER_MAX;
}

/* Creates all that are wanted. Where several fail together, one of them may be at fault, or the one
 * transaction: they are created one by one. */
static int make(struct place *at, struct job *j, int lock_timeout_ms, int64_t *event,
	struct err *e)
{
	struct parts *k = at->parts;

	while (k->nwant && !e->code) {
		size_t n = together(k);
		if (make_some(at, j, n, lock_timeout_ms, event, e) == 0 || n == 1 ||
		    sqlstate_is_lost(e) || waits(e))
			continue;
		log_debug("new partitions are rolled back and created one by one: %s", e->msg);
		*e = (struct err){ 0 };
		*event = -1;
		k->alone = true;
	}
	return e->code;
}

/* After attempt number `tries` failed with e. true: try again; e is cleared. *warned: e was logged
 * as a warning. */
static bool pause_to_try_again(struct job *j, int tries, bool *warned, struct err *e)
{
	bool creator = e->code == ERR_CONFLICT;

	if (tries >= (creator ? CREATOR_TRIES : DDL_TRIES))
		return false;
	(creator || *warned ? log_debug : log_warn)("%s; trying again", e->msg);
	*warned |= !creator;
	watch_alive(j->watch);
	process_sleep(DDL_PAUSE_MS);
	if (process_stop_now() || (creator && process_stop_after_batch()))
		return false;
	*e = (struct err){ 0 };
	return true;
}

int places_settle(struct place *at, struct job *j, bool sent, int64_t *event, struct err *e)
{
	struct parts *k = at->parts;
	int timeout_ms = sent ? OWN_LOCK_TIMEOUT_MS : DDL_LOCK_TIMEOUT_MS;
	bool warned = false;

	if (!is_unsettled(k))
		return 0;
	for (int tries = 1;; tries++) {
		if (style_open(&j->ddl, j->conf, &j->style, e) < 0 ||
		    look(at, j->ddl, event, e) < 0)
			return e->code;
		if (make(at, j, timeout_ms, event, e) == 0 || !waits(e))
			return e->code;
		if (sent) {
			log_debug("creating a partition waits for this batch's own rows:"
				" all partitions are created first");
			*e = (struct err){ 0 };
			return 1;
		}
		if (!pause_to_try_again(j, tries, &warned, e))
			return e->code;
		*event = -1;
	}
}

/* ---- column types, for the sink; arg is the struct dests */

static int look_at_types(void *arg, struct pq *dst, size_t of, int64_t start_s, const char *table,
	struct err *e)
{
	const struct dests *ds = arg;

	return known_look(&ds->place[of]->known, dst, start_s, table, e);
}

static bool kinds_of(void *arg, size_t of, int64_t start_s, const char *table,
	const struct shape *shape, enum binary_kind *kinds)
{
	const struct dests *ds = arg;

	return known_kinds(&ds->place[of]->known, start_s, table, shape, kinds);
}

static int make_stage(void *arg, struct pq *dst, size_t lane, size_t of, const char *table,
	bool *made, struct err *e)
{
	const struct dests *ds = arg;

	return stagings_make(ds->stagings, dst, lane, of, table, made, e);
}

static bool kinds_of_stage(void *arg, size_t lane, size_t of, const struct shape *shape,
	enum binary_kind *kinds)
{
	const struct dests *ds = arg;

	return stagings_kinds(ds->stagings, lane, of, shape, kinds);
}

/* ---- all of them */

static void open_parts(struct place *at)
{
	const char *template = at->dest->part_template;

	if (at->parts)
		return;
	at->parts = mem_alloc(sizeof *at->parts);
	*at->parts = (struct parts){ 0 };
	at->parts->simple = template && attach_is_all(span_of(template), &at->parts->split);
}

void places_open(struct job *j)
{
	struct dests *ds = &j->dests;

	dests_open(ds, j->conf, &j->style);
	for (size_t i = 0; i < ds->nplace; i++) {
		open_parts(ds->place[i]);
		forget_refused(ds->place[i]->parts);
	}
	if (!ds->sink)
		ds->sink = sink_new(&(struct sink_types){
			ds, look_at_types, kinds_of, make_stage, kinds_of_stage });
	if (!ds->stagings)
		ds->stagings = stagings_new(ds, "tdispatch_stage_");
}

void places_open_rows(struct job *j)
{
	struct dests *ds = &j->dests;

	if (!ds->sink)
		ds->sink = sink_new(&(struct sink_types){ .arg = ds, .stage = make_stage });
	places_open(j);
}

struct source *places_source(struct job *j, const struct event *ev)
{
	struct dests *ds = &j->dests;
	size_t known = ds->nplace;
	struct source *s = dests_source(ds, j->conf, ev);

	while (known < ds->nplace)
		open_parts(ds->place[known++]);
	return s;
}

int places_ready(struct job *j, struct way *w, struct err *e)
{
	struct place *at = w->place;

	if (w->ready)
		return 0;
	bool latest = w->dest->row_mode == ROWS_KEEP_LATEST;
	if (!at->asked && (w->dest->all || latest) &&
	    (style_open(&j->ddl, j->conf, &j->style, e) < 0 ||
	    job_ask_references(at, j->ddl, e) < 0 || job_ask_generated(at, j->ddl, e) < 0))
		return e->code;
	route_leave_out(w->route, &at->generated);
	if (w->old)
		route_leave_out(w->old, &at->generated);
	w->ready = true;
	return 0;
}

static void forget(struct place *at)
{
	struct parts *k = at->parts;

	drop_wanted(k, 0, k->nwant);
	forget_refused(k);
	k->inside = 0;
	k->fails_inside = false;
	known_clear(&at->known);
}

void places_forget(struct dests *ds)
{
	if (!ds->sink)
		return;
	sink_forget(ds->sink);
	stagings_forget(ds->stagings);
	for (size_t i = 0; i < ds->nplace; i++)
		forget(ds->place[i]);
}

void places_begin(struct dests *ds)
{
	bool changed = false;

	for (size_t i = 0; i < ds->nway; i++) {
		struct way *w = ds->way[i];
		changed |= route_leave_out(w->route, &w->place->generated);
		if (w->old)
			changed |= route_leave_out(w->old, &w->place->generated);
	}
	if (changed)
		places_forget(ds);      /* the streams of shapes that are gone */
	stagings_begin(ds->stagings);
	if (places_inside(ds))          /* a failed pass left these, and they were rolled back */
		places_rolled_back(ds);
	for (size_t i = 0; i < ds->nplace; i++) {
		struct parts *k = ds->place[i]->parts;
		drop_wanted(k, 0, k->nwant);
		k->alone = false;
		known_begin(&ds->place[i]->known, tally_rows(&sink_done(ds->sink, i)->rows));
	}
}

void places_free(struct dests *ds)
{
	places_forget(ds);
	sink_free(ds->sink);
	stagings_free(ds->stagings);
	for (size_t i = 0; i < ds->nplace; i++) {
		struct parts *k = ds->place[i]->parts;
		if (k) {
			forget_refused(k);
			free(k->refused);
			free(k->want);
		}
		free(k);
	}
	dests_free(ds);
}
