/*
 * The data transactions of a batch, one in each lane: opened and judged by the position that is
 * stored there, and committed with the batch's tick.
 *
 * Each lane loads and commits its rows with its own tick: lane 0 under the consumer's name, lane k
 * of n under a subconsumer's. All lanes have sent their rows before the first commits, and lane 0
 * commits last. So lane 0's tick is the consumer's position as any PgQ consumer stores it, and
 * after a kill between two commits the other lanes' ticks tell which of them have the batch: these
 * are skipped when it comes again.
 *
 * The number of lanes is stored on the target, and changes only while all are at the same tick: n
 * lanes finish a batch that n lanes began, whatever the config says by then. Each position has its
 * own lock, which does not depend on n.
 */
#include <stdlib.h>
#include <string.h>

#include "private.h"

#define LOOKS_MAX 10                    /* at positions that another process is moving */

static int busy(const struct job *j, struct err *e)
{
	return err_set(e, ERR_CONFLICT, "another process loads for consumer %s at this moment",
		j->conf->consumer_name);
}

/* ---- before a batch */

static int roll_back(struct job *j, size_t n, struct err *e)
{
	for (size_t i = 0; i < n && !e->code; i++)
		pq_query(j->dst[i], "ROLLBACK", e);
	return e->code;
}

static int move_queue(struct job *j, int64_t tick, struct err *e)
{
	const struct conf *c = j->conf;

	if (consumer_rewind(j->src, c->queue_name, c->consumer_name, tick, e) < 0)
		return e->code;
	return TXN_MOVED;
}

/* ERR_CONFLICT when another process has finished the batch since we asked for it. */
static int check_active(struct job *j, const struct queue_batch *b, struct err *e)
{
	bool active = true;

	if (qbatch_active(j->src, b->id, &active, e) == 0 && !active)
		busy(j, e);
	return e->code;
}

/* Carries out a verdict other than loading. */
static int follow(struct job *j, const struct queue_batch *b, const struct verdict *v,
	struct err *e)
{
	if (roll_back(j, j->lanes, e) < 0 || job_unask(j, e) < 0)
		return e->code;
	if (v->kind == VERDICT_IS_IN)
		return TXN_IS_IN;
	if (check_active(j, b, e) < 0)
		return e->code;
	if (v->stops)
		return err_set(e, ERR_POSITION, "%s", v->words);
	if (v->kind == VERDICT_MOVE) {
		log_warn("%s: moving queue %s there", v->words, j->conf->queue_name);
		return move_queue(j, v->tick, e);
	}
	log_warn("%s: going tick by tick", v->words);
	j->single_until = v->tick;
	job_close_lanes(j);
	return move_queue(j, b->prev_tick, e);
}

int txn_ask(struct job *j, struct err *e)
{
	return position_ask(j->dst[0], j->conf->consumer_name, 0, 1, j->kind, e);
}

int txn_unask(struct job *j, struct err *e)
{
	return position_unask(j->dst[0], e);
}

/* Opens the transactions of all lanes that have a position, and reads the positions. */
static int begin_lanes(struct job *j, struct position pos[LANES_MAX], struct err *e)
{
	if (job_open_lanes(j, 1, e) < 0 ||
	    position_begin(j->dst[0], j->conf->consumer_name, 0, 1, j->kind, &pos[0], e) < 0)
		return e->code;
	j->lanes = judge_lanes(&pos[0]);
	j->stored_lanes = pos[0].known ? j->lanes : 0;
	if (job_open_lanes(j, j->lanes, e) < 0)
		return e->code;
	for (size_t i = 1; i < j->lanes && !e->code; i++)
		position_begin(j->dst[i], j->conf->consumer_name, i, j->lanes, j->kind, &pos[i], e);
	return e->code;
}

/* All lanes are at the same tick: changes their number to the config's. */
static int change_number(struct job *j, const struct queue_batch *b, struct err *e)
{
	struct position pos = { .tick = b->prev_tick, .time_us = b->prev_us, .from = b->prev_tick };
	size_t others = j->lanes;

	j->lanes = (size_t)j->conf->lanes;
	if (j->kind != POSITION_LANES)
		return err_set(e, ERR_SHAPE, "pgq_ext on the target knows no subconsumers:"
			" lanes must be 1");
	pos.rule = judge_rule(j->conf, j->lanes);
	if (position_set_lanes(j->dst[0], j->conf->consumer_name, j->lanes, &pos, e) < 0)
		return e->code;
	j->stored_lanes = j->lanes;
	log_info("lanes: %zu from now on", j->lanes);
	for (size_t i = 1; i < others && !e->code; i++)
		pq_query(j->dst[i], "ROLLBACK", e);
	return e->code;
}

/* Begins the lanes' transactions, and judges the batch by the positions that they find. */
static int begin_and_judge(struct job *j, const struct queue_batch *b, bool single,
	struct position pos[LANES_MAX], struct verdict *v, struct err *e)
{
	struct judge_case c = { .conf = j->conf, .batch = b, .pos = pos, .single = single };

	if (begin_lanes(j, pos, e) < 0)
		return e->code;
	c.n = j->lanes;
	return job_judge(j, &c, pos, v, e);
}

int txn_begin(struct job *j, const struct queue_batch *b, struct err *e)
{
	struct position pos[LANES_MAX];
	struct verdict v;

	if (begin_and_judge(j, b, b->prev_tick < j->single_until, pos, &v, e) < 0)
		return e->code;
	if (v.kind != VERDICT_LOAD)
		return follow(j, b, &v, e);
	memcpy(j->loads, v.loads, sizeof j->loads);
	if (v.ahead || j->lanes == (size_t)j->conf->lanes)
		return TXN_TO_LOAD;
	return change_number(j, b, e) < 0 ? e->code : txn_begin(j, b, e);
}

/* As follows from judge_position for a queue that is empty. */
static int change_if_level(struct job *j, struct queue_batch *b, struct err *e)
{
	struct position pos[LANES_MAX];
	struct verdict v;

	if (begin_and_judge(j, b, false, pos, &v, e) < 0)
		return e->code;
	bool level = v.kind == VERDICT_LOAD && v.loads[0] && !v.ahead;
	if (level && j->lanes != (size_t)j->conf->lanes) {
		b->prev_us = pos[0].time_us;
		return change_number(j, b, e);
	}
	roll_back(j, j->lanes, e);
	return v.stops && !e->code ? err_set(e, ERR_POSITION, "%s", v.words) : e->code;
}

int txn_idle(struct job *j, struct err *e)
{
	const struct conf *c = j->conf;
	struct queue_state state;
	struct queue_batch none = { 0 };

	if (!j->stored_lanes || j->stored_lanes == (size_t)c->lanes || j->kind != POSITION_LANES)
		return 0;
	if (queue_state(j->src, c->queue_name, c->consumer_name, &state, e) < 0)
		return e->code;
	none.prev_tick = state.consumer_tick;
	return change_if_level(j, &none, e);
}

/* ---- what a run would find */

/* One look at both sides; a process that loads may move them in between. */
static int look_once(struct job *j, struct pq *dst, struct queue_batch *b, struct verdict *v,
	struct err *e)
{
	const struct conf *c = j->conf;
	struct position pos[LANES_MAX];
	struct judge_case judged = { .conf = c, .batch = b, .pos = pos };
	struct queue_state state;

	qbatch_free(b);
	*b = (struct queue_batch){ 0 };
	/* the queue before the target: a running process moves it last */
	if (qbatch_peek(j->src, c->queue_name, c->consumer_name, c->batch_min_events, b, e) < 0)
		return e->code;
	if (!b->tick && queue_state(j->src, c->queue_name, c->consumer_name, &state, e) == 0)
		b->prev_tick = state.consumer_tick;
	if (e->code || position_look(dst, c->consumer_name, j->kind, pos, &judged.n, e) < 0)
		return e->code;
	return job_judge(j, &judged, pos, v, e);
}

int txn_look(struct job *j, struct pq *dst, struct queue_batch *b, struct verdict *v, struct err *e)
{
	int64_t before = -1;

	for (int tries = LOOKS_MAX; tries-- > 0;) {
		int rc = look_once(j, dst, b, v, e);
		if (rc != ERR_CONFLICT && (rc < 0 || !v->stops || b->prev_tick == before))
			return rc;
		before = rc < 0 ? -1 : b->prev_tick;
		*e = (struct err){ 0 };
	}
	return busy(j, e);
}

/* ---- the commit */

/* One that part_keep may have detached is no child for sure. */
static bool has_old(const struct table_name *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (names[i].old)
			return true;
	return false;
}

/* Sets the place's tables that got rows on that lane. */
static void take_tables(const struct job *j, size_t lane, struct place *k, const struct sink *sink)
{
	const struct tally *rows = &sink_done(sink, k->number)->rows;
	size_t n = 0;

	for (size_t i = 0; i < rows->n; i++) {
		struct span name = span_of(rows->at[i].name);
		if (job_lane_of(j, name) != lane)
			continue;
		k->names = mem_grow(k->names, n, &k->names_cap, sizeof *k->names);
		k->names[n++] = (struct table_name){ name, age_may_be_loose(j, k->dest, name) };
	}
	k->tables = (struct admit){
		.dest = k->dest, .number = k->number, .names = k->names, .n = n,
		.columns = &k->generated, .filled = &k->fill.used,
		.children = k->children && !has_old(k->names, n),
	};
}

/* Commits one lane. first: statements to run before, in the same message. b: NULL leaves the
 * position as it is. */
static int commit_after(struct job *j, const char *first, size_t lane, const struct queue_batch *b,
	struct err *e)
{
	struct position pos = { 0 };

	if (b)
		pos = (struct position){
			.tick = b->tick, .time_us = b->tick_us,
			.from = b->prev_tick, .rule = judge_rule(j->conf, j->lanes),
		};
	return position_commit(j->dst[lane], first, j->conf->consumer_name, lane, j->lanes, j->kind,
		b ? &pos : NULL, e);
}

/* After a refused commit: what is known of dest_table may no longer be true. */
static void look_anew(struct job *j, struct place *k, size_t lane, const struct err *e)
{
	struct err ignored = { 0 };

	k->children = false;
	if ((admit_other_types(e, k->number) && known_distrust(&k->known)) ||
	    (admit_not_filled(e, k->number) && fill_doubt(k)))
		j->mistyped = true;
	if (e->code == ERR_CONFLICT && k->generated.n)
		job_ask_generated(k, j->dst[lane], &ignored);
}

/* Appends the checks of those types of the place's tables that were trusted. */
static void check_types(struct job *j, struct place *k, size_t lane, struct buf *first)
{
	for (const struct known_columns *c = k->known.columns; c; c = c->next) {
		size_t all, n = 0;
		struct table_name *names = known_trusted(&k->known, c, &all);
		for (size_t i = 0; i < all; i++)
			if (job_lane_of(j, names[i].name) == lane)
				names[n++] = names[i];
		if (n)
			admit_add_types(first, k->dest, k->number, names, n, c->list);
	}
}

/* Appends the checks of the place's tables, for the message with the COMMIT. Where they may be no
 * children of dest_table, that is checked now. */
static int check_place(struct job *j, struct place *k, size_t lane, struct buf *first,
	struct err *e)
{
	const struct admit *a = &k->tables;

	if (!a->n)
		return 0;
	admit_add_checks(first, j->dst[lane], a);
	if (!a->children)
		admit_check(j->dst[lane], a->dest, a->names, a->n, &k->children, NULL, e);
	return e->code;
}

/* Checks that the tables which got rows are the right ones, and commits. They are locked by now, so
 * a table that is right remains so. Where all are children of dest_table, as they were in the last
 * batch, the check is sent with the COMMIT. */
static int commit_lane(struct job *j, size_t lane, const struct queue_batch *b,
	const struct sink *sink, struct err *e)
{
	struct place *const *place = j->dests.place;
	size_t n = j->dests.nplace;
	struct buf first = { 0 };

	if (inside_attach(j, lane, e) < 0)
		return e->code;
	for (size_t i = 0; i < n && !e->code; i++) {
		take_tables(j, lane, place[i], sink);
		check_place(j, place[i], lane, &first, e);
	}
	for (size_t i = 0; i < n && !e->code; i++)
		check_types(j, place[i], lane, &first);
	if (!e->code && commit_after(j, buf_cstr(&first), lane, b, e) < 0)
		for (size_t i = 0; i < n; i++) {
			admit_explain(j->dst[lane], &place[i]->tables, e);
			look_anew(j, place[i], lane, e);
		}
	buf_free(&first);
	return e->code;
}

int txn_commit(struct job *j, const struct queue_batch *b, const struct sink *sink, struct err *e)
{
	for (size_t i = j->lanes; i-- > 0 && !e->code;) {
		if (!j->loads[i]) {
			pq_query(j->dst[i], "ROLLBACK", e);
		} else if (commit_lane(j, i, b, sink, e) == 0) {
			j->loads[i] = false;
			inside_told(j, i);
		}
	}
	return e->code;
}
