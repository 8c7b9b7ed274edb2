/*
 * Upkeep between two batches: partitions that are made ahead of time, by part_premake, and those
 * that part_keep removes (keep.c); and after a batch, the warning of rows that came too late. None
 * of it stops the loading of rows: what fails is a warning, and tried again the next time.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "private.h"

#define EVERY_MS (60 * 60 * 1000)       /* between two looks for partitions that are too old */
#define RETRY_MS (60 * 1000)            /* when a connection was lost */
#define CONFLICT_MS (60 * 1000)         /* while another process creates partitions of the table */
#define LOCK_WAITS 3                    /* lock timeouts before the rest is left for later */
#define WARNED_MAX 10                   /* partitions that cannot be created, named one by one */
#define NAMED_MAX 5                     /* partitions with late rows that a warning names */

/* Logs what failed, and closes ddl, whatever state the error left it in. */
static void failed(struct job *j, const char *what, const struct err *e)
{
	if (e->code != ERR_STOP)
		log_warn("%s: %s; it will be tried again", what, e->msg);
	pq_close(j->ddl);
	j->ddl = NULL;
}

/* ---- rows that come late */

/* How many of the rows are in old periods. Appends their partitions to text. */
static int64_t late_rows(const struct job *j, const struct place *k, const struct tally *rows,
	struct buf *text)
{
	int64_t n = 0, start_s;
	size_t parts = 0;

	for (size_t i = 0; i < rows->n; i++) {
		const struct tally_part *part = &rows->at[i];
		if (!part->rows || !age_of_name(k->dest, part->name, &start_s) ||
		    !age_is_old(j, k->dest, start_s) || tally_find(&k->stay, part->name))
			continue;
		n += part->rows;
		if (parts++ < NAMED_MAX)
			buf_fmt(text, "%s%" PRId64 " into %s", text->len ? ", " : "", part->rows,
				part->name);
	}
	if (parts > NAMED_MAX)
		buf_fmt(text, ", and into %zu more", parts - NAMED_MAX);
	return n;
}

/* Minutes until the look that removes what was written now. A look that is due already spares what
 * the last batch wrote, so that the next one counts. */
static int64_t minutes_left(const struct place *k)
{
	int64_t left_ms = k->keep_at_ms - clock_ms();

	return ((left_ms > 0 ? left_ms : EVERY_MS) + 59999) / 60000;
}

int64_t upkeep_tell_late(struct job *j, const struct place *k, int64_t batch,
	const struct tally *rows)
{
	const struct dest *d = k->dest;
	struct buf text = { 0 };
	struct err e = { 0 };

	if (d->keep.unit == PERIOD_NONE || !rows->n)
		return 0;
	if (!j->clocks.known && age_look(j, &e) < 0)
		failed(j, "part_keep", &e);
	int64_t n = late_rows(j, k, rows, &text), min = minutes_left(k);
	if (n)
		log_warn("batch %" PRId64 ": %" PRId64 " row%s older than part_keep = %s: %s; they"
			" will be %s with their partitions in about %" PRId64 " minute%s, or when"
			" a process starts%s (part_late = create)", batch, n, text_s(n),
			d->part_keep, buf_cstr(&text),
			d->part_keep_action == KEEP_DETACH ? "detached" : "dropped",
			min, text_s(min), d->part_keep_action == KEEP_DETACH ?
			", where they are not yet" : "");
	buf_free(&text);
	return n;
}

/* ---- partitions made ahead of time */

static bool is_premake_due(const struct place *k)
{
	bool numbers = k->dest->period.method == PERIOD_NUMBER;

	if (numbers && (!k->has_newest || (k->premade && k->premade_from == k->newest)))
		return false;
	return k->dest->part_premake && clock_ms() >= k->premake_at_ms &&
		(k->ev_type || !strstr(k->dest->part_template, "_PKEY"));
}

/* Creates the partition unless it exists, in a transaction of its own. *created: it did. */
static int ensure(struct pq *ddl, const struct part_want *want, bool *created, struct err *e)
{
	struct part_new part = { .name = mem_str(want->name.p, want->name.n), .old = want->old };
	struct buf sql = { 0 };
	size_t at;

	if (part_look(ddl, want->dest, &part, 1, &at, e) == 0 && !part.there &&
	    partsql_add(&sql, want, e) == 0) {
		buf_cstr(&sql);
		part.sql = sql.p;
		creation_run(ddl, want->dest, &part, 1, UPKEEP_LOCK_TIMEOUT_MS, &at, e);
		*created = !e->code && part.made;
	}
	buf_free(&sql);
	free(part.name);
	return e->code;
}

static int make_ahead(struct job *j, const struct place *k, int64_t start_s, struct err *e)
{
	struct buf name = { 0 };
	bool created = false;

	if (local_know(&k->dest->period, start_s, e) < 0)
		return e->code;
	part_name(&name, k->dest, start_s);
	struct part_want want = {
		.dest = k->dest, .name = { name.p, name.len }, .start_s = start_s,
		.end_s = period_end(&k->dest->period, start_s),
		.ev_type = span_of(k->ev_type), .route = k->route,
	};
	ensure(j->ddl, &want, &created, e);
	if (created)
		watch_partition(j->watch, want.name, true);
	buf_free(&name);
	return e->code;
}

static bool is_locked(const struct err *e)
{
	return e->code == ERR_TIMEOUT || e->code == ERR_CONFLICT;
}

/* Would it fail in the same way for every period? */
static bool is_general(const struct err *e)
{
	return e->code != ERR_SHAPE && e->code != ERR_DATA && !is_locked(e);
}

/* Makes those of the periods after start_s; *failed counts the ones that could not be made. */
static int make_all(struct job *j, struct place *k, int64_t start_s, int *failed, struct err *e)
{
	const struct period_rule *rule = &k->dest->period;
	int64_t left = k->dest->part_premake;
	int waits = 0;

	for (; left > 0 && !process_stop_after_batch(); left--) {
		struct err own = { 0 };
		if (rule->method == PERIOD_NUMBER && !number_has_next(rule, start_s))
			break;
		start_s = period_end(rule, start_s);
		if (make_ahead(j, k, start_s, &own) == 0)
			continue;
		waits += is_locked(&own);
		if (own.code == ERR_CONFLICT)   /* another process creates: not for an hour */
			k->premake_at_ms = clock_ms() + CONFLICT_MS;
		if (is_general(&own) || waits == LOCK_WAITS)
			return err_set(e, own.code, "%s", own.msg);
		if (++*failed <= WARNED_MAX)
			log_warn("part_premake: %s; it will be tried again", own.msg);
	}
	return 0;
}

/* Begins with the period of now, or by numbers with the highest range that got rows. *next_ms:
 * when there will be a new one. */
static int begin_premake(const struct job *j, struct place *k, int64_t *start_s, int64_t *next_ms,
	struct err *e)
{
	const struct period_rule *rule = &k->dest->period;
	int64_t now_s = j->clocks.now_s;
	const char *why;

	*start_s = k->newest;
	*next_ms = clock_ms();
	if (rule->method == PERIOD_NUMBER)
		return 0;
	if (period_of_clock(rule, now_s, start_s, &why) < 0)
		return err_set(e, ERR_OTHER, "dst_db: its clock is wrong: %s", why);
	if (local_know(rule, *start_s, e) < 0)
		return e->code;
	*next_ms += (period_end(rule, *start_s) - now_s) * 1000;
	return 0;
}

/* Makes the partitions that part_premake asks for. A period whose partition cannot be created is a
 * warning, and no reason to leave out the later ones; what fails for all periods is an error. */
static int premake(struct job *j, struct place *k, struct err *e)
{
	int64_t start_s, next_ms;
	int failed = 0;

	if (j->clocks.apart && k->dest->period.method != PERIOD_NUMBER)
		return 0;
	if (begin_premake(j, k, &start_s, &next_ms, e) < 0 ||
	    make_all(j, k, start_s, &failed, e) < 0)
		return e->code;
	if (failed > WARNED_MAX)
		log_warn("part_premake: %d more partitions cannot be created", failed - WARNED_MAX);
	if (!failed && !process_stop_after_batch()) {
		k->premake_at_ms = next_ms;
		k->premade = true;
		k->premade_from = start_s;
	}
	return 0;
}

/* ---- between two batches */

static void look(struct job *j, struct place *k, const struct sink *sink, bool keep, bool make)
{
	struct err e = { 0 };

	if (keep && keep_run(j, k, sink, &e) < 0)
		failed(j, "part_keep", &e);
	e = (struct err){ 0 };
	if (make && (style_open(&j->ddl, j->conf, &j->style, &e) < 0 || premake(j, k, &e) < 0))
		failed(j, "part_premake", &e);
}

static bool is_keep_due(const struct place *k)
{
	return k->dest->keep.unit != PERIOD_NONE && clock_ms() >= k->keep_at_ms;
}

/* Is there anything to do? Asks for the clocks once for all, and says when the next look is. false:
 * they could not be asked. */
static bool begin(struct job *j, bool *keep, bool *make)
{
	struct err e = { 0 };

	for (size_t i = 0; i < j->dests.nplace; i++) {
		*keep |= is_keep_due(j->dests.place[i]);
		*make |= is_premake_due(j->dests.place[i]);
	}
	if ((!*keep && !*make) || age_look(j, &e) == 0)
		return true;
	for (size_t i = 0; i < j->dests.nplace; i++) {
		struct place *k = j->dests.place[i];
		if (is_keep_due(k))
			k->keep_at_ms = clock_ms() + (e.code == ERR_CONN ? RETRY_MS : EVERY_MS);
		if (is_premake_due(k))
			k->premake_at_ms = clock_ms() + EVERY_MS;
	}
	failed(j, *keep ? "part_keep" : "part_premake", &e);
	return false;
}

bool upkeep_run(struct job *j, const struct sink *sink)
{
	bool any_keep = false, any_make = false;
	bool known = begin(j, &any_keep, &any_make), any = any_keep || any_make;

	for (size_t i = 0; i < j->dests.nplace && any && known; i++) {
		struct place *k = j->dests.place[i];
		bool keep = is_keep_due(k), make = is_premake_due(k);
		struct err e = { 0 };
		if (keep)
			k->keep_at_ms = clock_ms() + EVERY_MS;
		if (make)
			k->premake_at_ms = clock_ms() + EVERY_MS;
		/* the one before may have lost the connection */
		if ((keep || make) && style_open(&j->ddl, j->conf, &j->style, &e) < 0)
			failed(j, keep ? "part_keep" : "part_premake", &e);
		else if (keep || make)
			look(j, k, sink, keep, make);
	}
	return any;
}
